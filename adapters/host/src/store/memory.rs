//! A store that ends with the program.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp_auth::{HostError, Revision};
use zeroize::Zeroizing;

use super::{Lock, Store};

/// Keeps one login in memory. Clones are the same place.
///
/// ```
/// use mcp_auth::Revision;
/// use mcp_auth_host::store::{MemoryStore, Store};
///
/// let store = MemoryStore::new();
/// let same = store.clone(); // for another session of this program
/// store.save(b"{}", Revision::NOTHING)?;
/// assert_eq!(same.load()?.unwrap(), b"{}");
/// assert!(same.save(b"[]", Revision::NOTHING).unwrap_err().is_conflict());
/// # Ok::<(), mcp_auth::HostError>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Place>);

#[derive(Default)]
struct Place {
    contents: Mutex<Contents>,
    /// Told when the lock becomes free.
    freed: Condvar,
}

#[derive(Default)]
struct Contents {
    record: Option<Zeroizing<Vec<u8>>>,
    aside: Option<Zeroizing<Vec<u8>>>,
    locked: bool,
}

impl MemoryStore {
    /// An empty place.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn load(&self) -> Result<Option<Vec<u8>>, HostError> {
        Ok(self.0.contents().record.as_ref().map(|record| record.to_vec()))
    }

    fn save(&self, record: &[u8], expected: Revision) -> Result<(), HostError> {
        self.0.expecting(Some(expected))?.record = Some(Zeroizing::new(record.to_vec()));
        Ok(())
    }

    fn erase(&self, expected: Option<Revision>) -> Result<(), HostError> {
        self.0.expecting(expected)?.record = None;
        Ok(())
    }

    fn set_aside(&self, expected: Revision) -> Result<(), HostError> {
        let mut contents = self.0.expecting(Some(expected))?;
        contents.aside = contents.record.take();
        Ok(())
    }

    fn lock(&self, timeout: Duration) -> Result<Lock, HostError> {
        let contents = self.0.contents();
        let waited = self.0.freed.wait_timeout_while(contents, timeout, |c| c.locked);
        let (mut contents, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        if timed_out.timed_out() {
            return Err(HostError::busy("another session is using this login"));
        }
        contents.locked = true;
        drop(contents);
        Ok(Box::new(Held(self.0.clone())))
    }
}

impl Place {
    /// The contents, for as long as the guard lives, if they are these.
    fn expecting(&self, expected: Option<Revision>) -> Result<MutexGuard<'_, Contents>, HostError> {
        let contents = self.contents();
        let there = Revision::of(contents.record.as_ref().map(|record| record.as_slice()));
        if expected.is_some_and(|expected| expected != there) {
            return Err(HostError::conflict("another session has changed this login"));
        }
        Ok(contents)
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryStore")
    }
}

struct Held(Arc<Place>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.contents().locked = false;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_sees_what_was_saved_and_an_erasure() {
        let store = MemoryStore::new();
        let same = store.clone();
        store.save(b"{}", Revision::NOTHING).unwrap();
        assert_eq!(same.load().unwrap().unwrap(), b"{}");
        same.erase(Some(Revision::of(Some(b"{}")))).unwrap();
        assert_eq!(store.load().unwrap(), None);
    }

    #[test]
    fn what_is_set_aside_is_no_longer_the_record() {
        let store = MemoryStore::new();
        store.save(b"?", Revision::NOTHING).unwrap();
        store.set_aside(Revision::of(Some(b"?"))).unwrap();
        assert_eq!(store.load().unwrap(), None);
        assert_eq!(store.0.contents().aside.as_ref().unwrap().as_slice(), b"?");
    }

    #[test]
    fn one_lock_excludes_another_until_it_is_dropped() {
        let store = MemoryStore::new();
        let lock = store.lock(Duration::ZERO).unwrap();
        assert!(store.clone().lock(Duration::from_millis(5)).is_err());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| store.lock(Duration::from_secs(10)).is_ok());
            drop(lock);
            assert!(waiting.join().unwrap());
        });
    }
}
