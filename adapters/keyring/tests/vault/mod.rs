//! A keyring in memory, with the moods of a real one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mcp_auth_keyring::{Keyring, KeyringError};
use zeroize::Zeroizing;

/// Clones are the same keyring.
#[derive(Clone, Default)]
pub struct Vault(Arc<Inside>);

#[derive(Default)]
struct Inside {
    items: Mutex<BTreeMap<String, Vec<u8>>>,
    locked: AtomicBool,
    forgetful: AtomicBool,
    asked: AtomicU32,
}

impl Vault {
    pub fn lock(&self, locked: bool) {
        self.0.locked.store(locked, Ordering::SeqCst);
    }

    /// It takes what it is given, and keeps nothing.
    pub fn forget_from_now_on(&self) {
        self.0.forgetful.store(true, Ordering::SeqCst);
    }

    /// Replaces all that it has by what is returned.
    pub fn replace(&self, items: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
        std::mem::replace(&mut self.0.items.lock().unwrap(), items)
    }

    pub fn names(&self) -> Vec<String> {
        self.0.items.lock().unwrap().keys().cloned().collect()
    }

    /// How often it was asked for a secret.
    pub fn asked(&self) -> u32 {
        self.0.asked.load(Ordering::SeqCst)
    }

    fn unlocked(&self) -> Result<(), KeyringError> {
        match self.0.locked.load(Ordering::SeqCst) {
            true => Err(KeyringError::Locked { why: "prompt dismissed".into() }),
            false => Ok(()),
        }
    }
}

impl Keyring for Vault {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        self.unlocked()?;
        Ok(self.0.items.lock().unwrap().get(name).cloned().map(Zeroizing::new))
    }

    fn set(&self, name: &str, secret: &[u8]) -> Result<(), KeyringError> {
        self.unlocked()?;
        assert!(secret.len() <= 64 && secret.is_ascii());
        // As slow as a real one: whoever else makes a key has time to.
        thread::sleep(Duration::from_millis(20));
        if !self.0.forgetful.load(Ordering::SeqCst) {
            self.0.items.lock().unwrap().insert(name.into(), secret.into());
        }
        Ok(())
    }
}
