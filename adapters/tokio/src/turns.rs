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

    /// Waits for one that takes up the time of these servers, each named once. Nothing is held
    /// meanwhile: who waits for a server holds up nobody who wants another.
    ///
    /// Cancel safe.
    pub(crate) async fn take(&self, servers: &[String]) -> Turn {
        let shares = servers.iter().map(|server| self.share_of(server));
        let counters: Vec<_> = shares.chain([self.0.all.clone()]).collect();
        let mut waited = None;
        loop {
            match all_at_once(&counters, waited.take()) {
                Ok(permits) => return Turn(permits),
                Err(at) => {
                    // In a queue; none is ever closed.
                    let permit = counters[at].clone().acquire_owned().await;
                    waited = permit.ok().map(|permit| (at, permit));
                }
            }
        }
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

/// One of each, or which is missing. `waited`: one that is there already.
fn all_at_once(
    counters: &[Arc<Semaphore>],
    mut waited: Option<(usize, OwnedSemaphorePermit)>,
) -> Result<Vec<OwnedSemaphorePermit>, usize> {
    let one = |(at, counter): (usize, &Arc<Semaphore>)| {
        let there = waited.take_if(|(which, _)| *which == at).map(|(_, permit)| permit);
        there.or_else(|| counter.clone().try_acquire_owned().ok()).ok_or(at)
    };
    counters.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn named(servers: &[&str]) -> Vec<String> {
        servers.iter().map(ToString::to_string).collect()
    }

    async fn waits(turns: &Turns, servers: &[&str]) -> bool {
        let servers = named(servers);
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
    async fn who_waits_for_a_server_that_hangs_holds_up_nobody_at_another() {
        let turns = Turns::new(2);
        let hangs = turns.take(&named(&["hangs"])).await;
        let two = named(&["shared", "hangs"]);
        let mut waiting = pin!(turns.take(&two));
        assert!(timeout(Duration::from_millis(10), &mut waiting).await.is_err());
        assert!(!waits(&turns, &["shared"]).await);
        drop(hangs);
        assert!(timeout(Duration::from_secs(1), waiting).await.is_ok());
    }

    #[tokio::test]
    async fn two_that_want_the_same_servers_in_another_order_get_them_one_after_the_other() {
        let turns = Turns::new(2);
        let (a, b) = (turns.take(&named(&["a"])).await, turns.take(&named(&["b"])).await);
        let mut both = tokio::task::JoinSet::new();
        for servers in [["a", "b"], ["b", "a"]] {
            let turns = turns.clone();
            both.spawn(async move { drop(turns.take(&named(&servers)).await) });
        }
        // Each waits for its first, and gets that before anybody gives another back.
        tokio::task::yield_now().await;
        drop((a, b));
        assert!(timeout(Duration::from_secs(1), both.join_all()).await.is_ok());
        assert!(!waits(&turns, &["a", "b"]).await);
    }

    #[tokio::test]
    async fn a_crowd_at_many_servers_keeps_the_bounds_and_everybody_has_a_turn() {
        let turns = Turns::new(4);
        let most = Arc::new(Mutex::new((HashMap::<String, usize>::new(), 0)));
        let mut crowd = tokio::task::JoinSet::new();
        for number in 0..400 {
            let servers = named(&[["a", "b", "c"][number % 3], ["c", "d", "a", "b"][number % 4]]);
            let servers = if servers[0] == servers[1] { servers[..1].to_vec() } else { servers };
            let (turns, most) = (turns.clone(), most.clone());
            crowd.spawn(async move {
                let turn = turns.take(&servers).await;
                {
                    let (at, all) = &mut *most.lock().unwrap();
                    *all += 1;
                    servers.iter().for_each(|it| *at.entry(it.clone()).or_default() += 1);
                    assert!(*all <= 4 && at.values().all(|number| *number <= 2));
                }
                for _ in 0..number % 3 {
                    tokio::task::yield_now().await;
                }
                let (at, all) = &mut *most.lock().unwrap();
                *all -= 1;
                servers.iter().for_each(|it| *at.get_mut(it).unwrap() -= 1);
                drop(turn);
            });
        }
        let all = timeout(Duration::from_secs(10), crowd.join_all()).await;
        assert_eq!(all.map(|all| all.len()), Ok(400));
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
