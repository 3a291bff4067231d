//! What is asked of a keyring.

use zeroize::Zeroizing;

use crate::KeyringError;

/// Keeps small secrets by name: the system's, or a host's own vault. Its calls may block.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
///
/// use mcp_auth::Revision;
/// use mcp_auth_host::store::{FileStore, Store};
/// use mcp_auth_keyring::{Keyring, KeyringError, SealedStore};
/// use zeroize::Zeroizing;
///
/// /// A vault of the program's own.
/// #[derive(Default)]
/// struct Vault(Mutex<HashMap<String, Zeroizing<Vec<u8>>>>);
///
/// impl Keyring for Vault {
///     fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
///         Ok(self.0.lock().unwrap().get(name).cloned())
///     }
///
///     fn set(&self, name: &str, secret: &[u8]) -> Result<(), KeyringError> {
///         self.0.lock().unwrap().insert(name.into(), Zeroizing::new(secret.to_vec()));
///         Ok(())
///     }
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("logins");
/// let store = SealedStore::new(FileStore::open(dir)?, Vault::default());
/// let entry = store.entry("https://mcp.example.com/mcp", "work");
/// entry.save(b"{}", Revision::NOTHING)?; // makes the key, and puts it into the vault
/// assert_eq!(entry.load()?.unwrap(), b"{}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
