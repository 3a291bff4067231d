//! The keyring of the system that this runs on.

use std::collections::HashMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

#[cfg(target_os = "macos")]
use apple_native_keyring_store::keychain::Store;
use keyring_core::api::CredentialStoreApi as _;
use keyring_core::{Entry, Error};
#[cfg(windows)]
use windows_native_keyring_store::Store;
#[cfg(all(unix, not(target_vendor = "apple")))]
use zbus_secret_service_keyring_store::Store;
use zeroize::Zeroizing;

use crate::{Keyring, KeyringError};

/// Less than what a store has for the whole of a load or save.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the items are for, next to their names.
const SERVICE: &str = "mcp-auth";

/// The keyring of this system: the Keychain on macOS, the Credential Manager on Windows, the Secret
/// Service elsewhere (GNOME Keyring, KWallet, KeePassXC).
///
/// One that is locked may ask for its password in a window of its own.
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcp_auth_host::store::FileStore;
/// use mcp_auth_keyring::{SealedStore, SystemKeyring};
///
/// // A person may have to type a password.
/// let keyring = SystemKeyring::new().patience(Duration::from_secs(120));
/// let store = SealedStore::new(FileStore::open("logins")?, keyring);
/// store.entry("https://mcp.example.com/mcp", "work").rehearse()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SystemKeyring {
    patience: Duration,
}

impl SystemKeyring {
    /// It isn't asked for anything yet.
    pub fn new() -> Self {
        Self { patience: PATIENCE }
    }

    /// How long the keyring, and the person whom it may ask, have to answer. Default: 60 s.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience }
    }

    /// A dialog that nobody answers, or a service that hangs, must not hang the program: what is
    /// still being done then is left to its thread.
    fn in_time<T: Send + 'static>(
        self,
        ask: impl FnOnce() -> Result<T, KeyringError> + Send + 'static,
    ) -> Result<T, KeyringError> {
        let (send, receive) = mpsc::sync_channel(1);
        let asking = move || {
            // Nobody listens any more: the time is over.
            let _ = send.send(ask());
        };
        let started = thread::Builder::new().name("keyring".into()).spawn(asking);
        started.map_err(|e| KeyringError::Unavailable { why: e.to_string() })?;
        receive.recv_timeout(self.patience).unwrap_or_else(|e| {
            Err(match e {
                RecvTimeoutError::Timeout => KeyringError::Silent { waited: self.patience },
                RecvTimeoutError::Disconnected => {
                    KeyringError::Unavailable { why: "it panicked".into() }
                }
            })
        })
    }
}

impl Default for SystemKeyring {
    fn default() -> Self {
        Self::new()
    }
}

impl Keyring for SystemKeyring {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
        let name = name.to_owned();
        self.in_time(move || get(&name))
    }

    fn set(&self, name: &str, secret: &[u8]) -> Result<(), KeyringError> {
        let (name, secret) = (name.to_owned(), Zeroizing::new(secret.to_vec()));
        self.in_time(move || item(&name)?.set_secret(&secret).map_err(failed))
    }
}

fn get(name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
    match item(name)?.get_secret() {
        Ok(secret) => Ok(Some(Zeroizing::new(secret))),
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// The place of one secret; it may be empty.
fn item(name: &str) -> Result<Entry, KeyringError> {
    let label = HashMap::from([("label", "mcp-auth: the key of sealed logins")]);
    // Elsewhere the service is what people see.
    let shown = cfg!(all(unix, not(target_vendor = "apple"))).then_some(&label);
    Store::new().and_then(|store| store.build(SERVICE, name, shown)).map_err(failed)
}

/// Without the contents that some of these errors carry.
fn failed(error: Error) -> KeyringError {
    match error {
        Error::NoStorageAccess(why) => KeyringError::Locked { why: why.to_string() },
        Error::PlatformFailure(why) => KeyringError::Unavailable { why: why.to_string() },
        Error::Ambiguous(items) => {
            let why = format!("{} of its items have one name", items.len());
            KeyringError::Unavailable { why }
        }
        other => KeyringError::Unavailable { why: other.to_string() },
    }
}
