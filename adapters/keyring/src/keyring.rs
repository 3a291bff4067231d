//! What is asked of a keyring.

use zeroize::Zeroizing;

use crate::KeyringError;

/// Keeps small secrets by name: the system's, or a host's own vault. Its calls may block.
pub trait Keyring: Send + Sync {
    /// The secret with this name, `None` where there surely is none.
    ///
    /// # Errors
    ///
    /// Where there may be one: the keyring is locked, or can't be reached.
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError>;

    /// Keeps a secret, at most 64 bytes of text, under this name.
    ///
    /// # Errors
    ///
    /// Where it wasn't kept.
    fn set(&self, name: &str, secret: &[u8]) -> Result<(), KeyringError>;
}

impl<K: Keyring + ?Sized> Keyring for std::sync::Arc<K> {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
        (**self).get(name)
    }

    fn set(&self, name: &str, secret: &[u8]) -> Result<(), KeyringError> {
        (**self).set(name, secret)
    }
}
