//! The store: sealed files, and what is done about plain ones.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mcp_auth::{HostError, Revision};
use mcp_auth_host::store::{Entry, FileStore, Lock, Store, StoreError, Stored};

use crate::keys::Keys;
use crate::seal::{Login, Sealed};
use crate::{Keyring, KeyringError};

/// What is done about records that aren't sealed, and what a save writes.
///
/// ```
/// use mcp_auth::Revision;
/// use mcp_auth_host::store::{FileStore, Store, Stored};
/// use mcp_auth_keyring::{Policy, SealedStore};
///
/// # use mcp_auth_keyring::KeyringError;
/// # use std::collections::HashMap;
/// # use std::sync::Mutex;
/// # use mcp_auth_keyring::Keyring;
/// # use zeroize::Zeroizing;
/// # #[derive(Default)]
/// # struct Vault(Mutex<HashMap<String, Vec<u8>>>);
/// # impl Keyring for Vault {
/// #     fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
/// #         Ok(self.0.lock().unwrap().get(name).cloned().map(Zeroizing::new))
/// #     }
/// #     fn set(&self, name: &str, secret: &[u8]) -> Result<(), KeyringError> {
/// #         self.0.lock().unwrap().insert(name.into(), secret.into());
/// #         Ok(())
/// #     }
/// # }
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("logins");
/// # let keyring = Vault::default();
/// let files = FileStore::open(dir)?;
/// let plain = files.entry("https://mcp.example.com/mcp", "work");
/// plain.save(b"{}", Revision::NOTHING)?;
///
/// let store = SealedStore::new(files, keyring);
/// let strict = store.clone().policy(Policy::SealedOnly);
/// assert!(strict.entry(plain.server(), plain.account()).load().is_err());
/// // By default, the next save seals it.
/// let entry = store.entry(plain.server(), plain.account());
/// entry.save(b"{}", Revision::of(entry.load()?.as_deref()))?;
/// assert!(matches!(plain.read()?, Some(Stored::Sealed(_))));
/// assert!(strict.entry(plain.server(), plain.account()).load()?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// A plain record is read, and sealed by the next save: this is how logins move here.
    #[default]
    Seal,
    /// A plain record is an error. Whoever can write to the directory, but not read the keyring,
    /// could otherwise put a login of their own there.
    SealedOnly,
    /// A save leaves a login as it is: sealed or plain. A new one is plain.
    AsFound,
    /// Every save is plain; a sealed record is read. This is the way back.
    Unseal,
}

/// A directory of logins whose records are sealed.
///
/// ```
/// use mcp_auth_host::store::FileStore;
/// use mcp_auth_keyring::{SealedStore, SystemKeyring};
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("logins");
/// let store = SealedStore::new(FileStore::open(dir)?, SystemKeyring::new());
/// // Who has logged in is no secret: the keyring isn't asked.
/// for login in store.list()? {
///     let login = login?;
///     println!("{} at {}", login.account(), login.server());
/// }
/// # assert!(store.list()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SealedStore {
    files: FileStore,
    keys: Arc<Keys>,
    policy: Policy,
}

/// The place of one login in a [`SealedStore`]. Clones are the same place.
///
/// ```
/// use mcp_auth::Revision;
/// use mcp_auth_host::store::{FileStore, Store};
/// use mcp_auth_keyring::SealedStore;
///
/// # use mcp_auth_keyring::KeyringError;
/// # use std::collections::HashMap;
/// # use std::sync::Mutex;
/// # use mcp_auth_keyring::Keyring;
/// # use zeroize::Zeroizing;
/// # #[derive(Default)]
/// # struct Vault(Mutex<HashMap<String, Vec<u8>>>);
/// # impl Keyring for Vault {
/// #     fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
/// #         Ok(self.0.lock().unwrap().get(name).cloned().map(Zeroizing::new))
/// #     }
/// #     fn set(&self, name: &str, secret: &[u8]) -> Result<(), KeyringError> {
/// #         self.0.lock().unwrap().insert(name.into(), secret.into());
/// #         Ok(())
/// #     }
/// # }
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("logins");
/// # let keyring = Vault::default();
/// let files = FileStore::open(dir)?;
/// let store = SealedStore::new(files.clone(), keyring);
/// let entry = store.entry("https://mcp.example.com/mcp", "work");
/// entry.save(br#"{"access_token":"hush"}"#, Revision::NOTHING)?;
/// assert_eq!(entry.load()?.unwrap(), br#"{"access_token":"hush"}"#);
/// // What is on disk doesn't show it.
/// let file = std::fs::read_to_string(files.entry(entry.server(), entry.account()).path())?;
/// assert!(!file.contains("hush"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SealedEntry {
    file: Entry,
    keys: Arc<Keys>,
    policy: Policy,
    /// It was sealed when it was last read.
    sealed: Arc<AtomicBool>,
}

impl SealedStore {
    /// The logins of `files`, sealed with a key that `keyring` keeps. Neither is asked for anything
    /// yet.
    pub fn new(files: FileStore, keyring: impl Keyring + 'static) -> Self {
        let keys = Arc::new(Keys::new(files.clone(), Box::new(keyring)));
        Self { files, keys, policy: Policy::default() }
    }

    /// What is done about plain records. Default: [`Policy::Seal`].
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.files.dir()
    }

    /// The place of `account`'s login at `server`: see [`FileStore::entry`].
    pub fn entry(&self, server: &str, account: &str) -> SealedEntry {
        self.seal(self.files.entry(server, account))
    }

    /// All logins, sealed or not: see [`FileStore::list`]. The keyring isn't asked.
    ///
    /// # Errors
    ///
    /// Those of [`FileStore::list`].
    pub fn list(&self) -> Result<Vec<Result<SealedEntry, StoreError>>, StoreError> {
        Ok(self.files.list()?.into_iter().map(|file| Ok(self.seal(file?))).collect())
    }

    fn seal(&self, file: Entry) -> SealedEntry {
        let (keys, policy) = (self.keys.clone(), self.policy);
        SealedEntry { file, keys, policy, sealed: Arc::default() }
    }
}

impl SealedEntry {
    /// The server's URL, as it was given.
    pub fn server(&self) -> &str {
        self.file.server()
    }

    /// The account's name, as it was given.
    pub fn account(&self) -> &str {
        self.file.account()
    }

    /// Whether a save would succeed now: see [`Entry::rehearse`]. Where it would need a key, that is
    /// asked for, and made where the store has none yet.
    ///
    /// # Errors
    ///
    /// Those that the save would have.
    pub fn rehearse(&self) -> Result<(), KeyringError> {
        self.file.rehearse()?;
        if self.seals(self.file.read()?.as_ref()) {
            self.keys.current()?;
        }
        Ok(())
    }

    /// The record in what is stored.
    fn open(&self, stored: &Stored) -> Result<Vec<u8>, KeyringError> {
        let path = self.file.path();
        match stored {
            Stored::Plain(_) if self.policy == Policy::SealedOnly => {
                Err(KeyringError::Plain { path: path.to_owned() })
            }
            Stored::Plain(record) => Ok(record.clone()),
            Stored::Sealed(bytes) => {
                self.sealed.store(true, Ordering::Relaxed);
                let sealed = Sealed::parse(bytes, path)?;
                let key = self.keys.of(&sealed, path)?;
                let changed = || KeyringError::Changed { path: path.to_owned() };
                key.open(self.login(), &sealed).ok_or_else(changed)
            }
        }
    }

    /// What is stored, if the record in it is what is expected, and what tells it from anything that
    /// takes its place before it is replaced.
    fn expecting(&self, expected: Revision) -> Result<(Option<Stored>, Revision), KeyringError> {
        let stored = self.file.read()?;
        let record = stored.as_ref().map(|stored| self.open(stored)).transpose()?;
        if Revision::of(record.as_deref()) != expected {
            return Err(StoreError::Changed { path: self.file.path().to_owned() }.into());
        }
        let revision = Revision::of(stored.as_ref().map(Stored::bytes));
        Ok((stored, revision))
    }

    /// A record in the form in which it is stored, next to what is stored now.
    fn close(&self, record: &[u8], now: Option<&Stored>) -> Result<Stored, KeyringError> {
        if !self.seals(now) {
            return Ok(Stored::Plain(record.to_vec()));
        }
        let sealed = self.keys.current()?.seal(self.login(), record)?;
        Ok(Stored::Sealed(sealed.to_bytes()))
    }

    fn seals(&self, now: Option<&Stored>) -> bool {
        match self.policy {
            Policy::Seal | Policy::SealedOnly => true,
            Policy::Unseal => false,
            // Also where another program has erased it meanwhile.
            Policy::AsFound => {
                matches!(now, Some(Stored::Sealed(_))) || self.sealed.load(Ordering::Relaxed)
            }
        }
    }

    fn login(&self) -> Login<'_> {
        Login { server: self.file.server(), account: self.file.account() }
    }
}

impl Store for SealedEntry {
    fn load(&self) -> Result<Option<Vec<u8>>, HostError> {
        let stored = self.file.read()?;
        Ok(stored.map(|stored| self.open(&stored)).transpose()?)
    }

    fn save(&self, record: &[u8], expected: Revision) -> Result<(), HostError> {
        let (now, revision) = self.expecting(expected)?;
        Ok(self.file.write(&self.close(record, now.as_ref())?, revision)?)
    }

    fn erase(&self, expected: Option<Revision>) -> Result<(), HostError> {
        let there = expected.map(|expected| self.expecting(expected)).transpose()?;
        Ok(self.file.erase(there.map(|(_, revision)| revision))?)
    }

    fn set_aside(&self, expected: Revision) -> Result<(), HostError> {
        let (_, revision) = self.expecting(expected)?;
        Ok(self.file.set_aside(revision).map(drop)?)
    }

    /// The keyring is asked first: nobody waits for the lock while a dialog is open.
    fn lock(&self, timeout: Duration) -> Result<Lock, HostError> {
        let began = Instant::now();
        if let Some(stored) = self.file.read()? {
            self.open(&stored)?;
        }
        Store::lock(&self.file, timeout.saturating_sub(began.elapsed()))
    }
}
