//! Whose turn it is to refresh: so many at a time, and never all of them at one server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Clones count together.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Counters>);

struct Counters {
    all: Arc<Semaphore>,
    /// How many of them one server may have: one that hangs leaves the others the rest.
    share: usize,
    /// By host and port. Those that nobody waits for go when there are more than before.
    servers: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Until it is dropped.
pub(crate) struct Turn(#[expect(dead_code, reason = "it is held")] Vec<OwnedSemaphorePermit>);

impl Turns {
    /// So many at a time, half of them at one server.
    pub(crate) fn new(all: usize) -> Self {
        let all = all.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Counters {
            all: Arc::new(Semaphore::new(all)),
            share: all.div_ceil(2),
            servers: Mutex::default(),
        }))
    }

    /// Waits for one that takes up the time of these servers. Who waits for a server holds up nobody
    /// who waits for another.
    ///
    /// Cancel safe.
    pub(crate) async fn take(&self, servers: &[String]) -> Turn {
        let shares = servers.iter().map(|server| self.share_of(server));
        let mut permits = Vec::new();
        for counter in shares.chain([self.0.all.clone()]) {
            permits.extend(counter.acquire_owned().await);
        }
        Turn(permits)
    }

    fn share_of(&self, server: &str) -> Arc<Semaphore> {
        let mut servers = self.0.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if servers.len() == servers.capacity() {
            servers.retain(|_, counter| Arc::strong_count(counter) > 1);
        }
        let full = || Arc::new(Semaphore::new(self.0.share));
        servers.entry(server.to_owned()).or_insert_with(full).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn waits(turns: &Turns, servers: &[&str]) -> bool {
        let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
        let mut turn = pin!(turns.take(&servers));
        timeout(Duration::from_millis(10), &mut turn).await.is_err()
    }

    #[tokio::test]
    async fn half_of_them_are_for_others() {
        let turns = Turns::new(4);
        let take = async |server: &str| turns.take(&[server.to_owned()]).await;
        let (first, _second) = (take("a").await, take("a").await);
        assert!(waits(&turns, &["a"]).await && waits(&turns, &["b", "a"]).await);
        let _third = take("b").await;
        assert!(!waits(&turns, &["b"]).await && !waits(&turns, &[]).await);
        let fourth = turns.take(&[]).await;
        assert!(waits(&turns, &["b"]).await && waits(&turns, &[]).await);
        drop(fourth);
        assert!(waits(&turns, &["a"]).await);
        drop(first);
        assert!(!waits(&turns, &["a"]).await);
    }

    #[tokio::test]
    async fn one_at_a_time_is_one_for_whoever_comes() {
        for all in [0, 1] {
            let turns = Turns::new(all);
            let one = turns.take(&["a".to_owned()]).await;
            assert!(waits(&turns, &["b"]).await);
            drop(one);
            assert!(!waits(&turns, &["b"]).await);
        }
    }

    #[tokio::test]
    async fn servers_that_nobody_waits_for_are_forgotten() {
        let turns = Turns::new(4);
        let held = turns.take(&["held".to_owned()]).await;
        for number in 0..10_000 {
            turns.take(&[number.to_string()]).await;
        }
        assert!(turns.0.servers.lock().unwrap().len() < 100);
        let _second = turns.take(&["held".to_owned()]).await;
        assert!(waits(&turns, &["held"]).await);
        drop(held);
    }
}
