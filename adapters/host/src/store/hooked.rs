//! A store that tells what is new in what it saves.

use std::sync::Arc;
use std::time::Duration;

use mcp_auth::{HostError, Revision};

use super::{Lock, Store};
use crate::tokens::Hooks;

/// Another store, and somebody who is told of each new refresh token and each new client: after they
/// are saved there, and before the tokens are lent. What another process saved is told when it is
/// loaded.
pub(crate) struct HookedStore {
    store: Box<dyn Store>,
    hooks: Arc<Hooks>,
}

impl HookedStore {
    /// What the hooks fail to keep is tried again at the next save; the save itself doesn't fail.
    pub(crate) fn new(store: Box<dyn Store>, hooks: Arc<Hooks>) -> Self {
        Self { store, hooks }
    }
}

impl Store for HookedStore {
    fn load(&self) -> Result<Option<Vec<u8>>, HostError> {
        let loaded = self.store.load()?;
        if let Some(record) = &loaded {
            self.hooks.seen(record);
        }
        Ok(loaded)
    }

    fn save(&self, record: &[u8], expected: Revision) -> Result<(), HostError> {
        self.store.save(record, expected)?;
        self.hooks.seen(record);
        Ok(())
    }

    fn erase(&self, expected: Option<Revision>) -> Result<(), HostError> {
        self.store.erase(expected)
    }

    fn set_aside(&self, expected: Revision) -> Result<(), HostError> {
        self.store.set_aside(expected)
    }

    fn lock(&self, timeout: Duration) -> Result<Lock, HostError> {
        self.store.lock(timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use super::*;
    use crate::store::{MemoryStore, contract};

    #[test]
    fn it_keeps_the_promises_of_the_store_behind_it() {
        let places = Mutex::new(HashMap::<String, MemoryStore>::new());
        let open = |login: &str| places.lock().unwrap().entry(login.into()).or_default().clone();
        let hooked = |login: &str| HookedStore::new(Box::new(open(login)), Arc::default());
        contract::check(hooked).unwrap();
    }
}
