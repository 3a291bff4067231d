//! A key that nobody sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mcp_auth::wire::jws::{PublicKey, SigningAlgorithm};
use mcp_auth::{HostError, SecretRef};
use mcp_auth_host::signer::Signer;
use mcp_auth_world::signer::{public_key, sign};

/// It signs, and counts.
#[derive(Clone, Debug, Default)]
pub struct Vault {
    signed: Arc<AtomicUsize>,
    locked: Arc<AtomicBool>,
}

impl Vault {
    /// Where its one key is.
    pub fn place() -> SecretRef {
        SecretRef::Name("ours".to_owned())
    }

    /// How often it has signed.
    pub fn signed(&self) -> usize {
        self.signed.load(Ordering::SeqCst)
    }

    /// Whether it refuses from now on.
    pub fn lock(&self, locked: bool) {
        self.locked.store(locked, Ordering::SeqCst);
    }

    fn open<T>(&self, key: &SecretRef, act: impl FnOnce() -> T) -> Result<T, HostError> {
        assert_eq!(*key, Self::place());
        match self.locked.load(Ordering::SeqCst) {
            true => Err(HostError::new("the vault is locked")),
            false => Ok(act()),
        }
    }
}

impl Signer for Vault {
    fn public_key(&self, key: &SecretRef) -> Result<PublicKey, HostError> {
        self.open(key, || public_key("ours"))
    }

    fn sign(
        &self,
        key: &SecretRef,
        _: SigningAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, HostError> {
        self.open(key, || {
            self.signed.fetch_add(1, Ordering::SeqCst);
            sign("ours", message)
        })
    }
}
