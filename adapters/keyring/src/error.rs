//! What can go wrong between a sealed record and its key, and what the user can do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use mcp_auth::HostError;
use mcp_auth_host::store::StoreError;

/// Why a sealed record can't be read or written. A message is complete (there is no source behind
/// it): it names the remedy, and never contents. Nothing was overwritten.
///
/// ```
/// use mcp_auth_host::store::FileStore;
/// use mcp_auth_keyring::{KeyringError, SealedStore};
///
/// # use std::collections::HashMap;
/// # use std::sync::Mutex;
/// # use mcp_auth_keyring::Keyring;
/// # use zeroize::Zeroizing;
/// # #[derive(Default)]
/// # struct Vault(Mutex<HashMap<String, Vec<u8>>>);
/// # impl Keyring for Vault {
/// #     fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
/// #         let why = format!("no password for {name}");
/// #         Err(KeyringError::Locked { why })
/// #     }
/// #     fn set(&self, name: &str, secret: &[u8]) -> Result<(), KeyringError> {
/// #         self.0.lock().unwrap().insert(name.into(), secret.into());
/// #         Ok(())
/// #     }
/// # }
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("logins");
/// # let keyring = Vault::default();
/// let store = SealedStore::new(FileStore::open(dir)?, keyring);
/// // Before a person is sent to log in: could the login be kept?
/// match store.entry("https://mcp.example.com/mcp", "work").rehearse() {
///     Err(error @ KeyringError::Locked { .. }) => {
///         assert!(error.to_string().ends_with("unlock it, then try again"));
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// There is no keyring, or it doesn't do its work.
    #[error(
        "the system's keyring can't be used: {why}; {}",
        if cfg!(all(unix, not(target_vendor = "apple"))) {
            "start one in this session (GNOME Keyring, KWallet), or keep the login in a plain file"
        } else {
            "mend it, or keep the login in a plain file"
        }
    )]
    Unavailable {
        /// The system's own reason.
        why: String,
    },
    /// It is locked, and nobody has unlocked it.
    #[error("the keyring is locked ({why}): unlock it, then try again")]
    Locked {
        /// The system's own reason.
        why: String,
    },
    /// It may be showing a dialog.
    #[error(
        "the keyring didn't answer within {} s: if it is asking for its password, answer it, then \
         try again",
        waited.as_secs()
    )]
    Silent {
        /// How long this call waited.
        waited: Duration,
    },
    /// The keyring works, but the key that was once put into it isn't there.
    #[error(
        "{} is sealed with a key (`{key}`) that isn't in this keyring: unlock or restore the keyring \
         that has it; if that is gone for good, remove the file and log in again",
        path.display()
    )]
    NoKey {
        /// A sealed file.
        path: PathBuf,
        /// The name of the item in the keyring.
        key: String,
    },
    /// Under the key's name the keyring has something else.
    #[error(
        "what the keyring has under the name `{key}` is not the key of {}: restore it; if that can't \
         be done, remove the file and log in again",
        path.display()
    )]
    OtherKey {
        /// A sealed file, or the one that names the key.
        path: PathBuf,
        /// The name of the item in the keyring.
        key: String,
    },
    /// The keyring took the key, and doesn't have it.
    #[error("the keyring did not keep what it was given, so nothing is sealed with it")]
    Forgetful,
    /// Not what this store has sealed for this login: changed, or moved here from another.
    #[error(
        "{} can't be opened with its key: the file was changed, or it is another login's; find out \
         how, then remove it and log in again",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A newer program has sealed it.
    #[error("{} was sealed by a newer program: use that", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// A plain record, where only sealed ones are accepted.
    #[error(
        "{} is not sealed, and only sealed logins are accepted: seal it without that restriction if \
         you trust it, else remove it and log in again",
        path.display()
    )]
    Plain {
        /// The file.
        path: PathBuf,
    },
    /// More than can be sealed.
    #[error("the record is too big to be sealed")]
    TooBig,
    /// The system has none to give.
    #[error("no random numbers: {0}")]
    NoRandomness(io::Error),
    /// The file that holds it, sealed or not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl KeyringError {
    /// The same for another caller, as far as a keyring says it.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Locked { why } => Self::Locked { why: why.clone() },
            Self::Silent { waited } => Self::Silent { waited: *waited },
            Self::Unavailable { why } => Self::Unavailable { why: why.clone() },
            other => Self::Unavailable { why: other.to_string() },
        }
    }
}

impl From<KeyringError> for HostError {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Store(error) => error.into(),
            error => Self::new(error),
        }
    }
}
