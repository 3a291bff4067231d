//! Where the key of a store is: in the keyring, under a name that a file of the store remembers.
//!
//! ```text
//! first use:  lock ─ draw a key ─ put it into the keyring ─ read it there ─ write its name down
//! ```
//!
//! Whoever dies in between leaves an item in the keyring that nobody uses, and no sealed record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcp_auth::Revision;
use mcp_auth_host::store::{Entry, FileStore, Stored};
use zeroize::Zeroizing;

use crate::seal::{Key, KeyId, Sealed};
use crate::{Keyring, KeyringError};

/// The file that names the key.
const FILE: &str = "key";

/// How long another process may take to make the key: as long as the keyring itself.
const PATIENCE: Duration = Duration::from_secs(70);

/// How long a refusal counts: a person who has just closed one dialog isn't shown another for each
/// login that there is.
const REST: Duration = Duration::from_secs(2);

/// The keys of one store. One that was asked for once is known from then on: the keyring may be
/// locked later.
pub(crate) struct Keys {
    keyring: Box<dyn Keyring>,
    files: FileStore,
    name: Entry,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: BTreeMap<KeyId, Arc<Key>>,
    refused: Option<(Instant, KeyringError)>,
}

impl Keys {
    pub(crate) fn new(files: FileStore, keyring: Box<dyn Keyring>) -> Self {
        let name = files.private(FILE);
        Self { keyring, files, name, known: Mutex::default() }
    }

    /// The key that a file is sealed with.
    pub(crate) fn of(&self, sealed: &Sealed, path: &Path) -> Result<Arc<Key>, KeyringError> {
        self.find(&sealed.key, path)?.ok_or_else(|| missing(&sealed.key, path))
    }

    /// The key to seal with. It is made where the store has none yet.
    pub(crate) fn current(&self) -> Result<Arc<Key>, KeyringError> {
        if let (_, Some(key)) = self.named()? {
            return Ok(key);
        }
        let _lock = self.name.lock(PATIENCE)?;
        match self.named()? {
            // Made while we waited.
            (_, Some(key)) => Ok(key),
            (Some(id), None) => match self.sealed_with(&id)? {
                Some(path) => Err(missing(&id, &path)),
                None => self.make(),
            },
            (None, None) => self.make(),
        }
    }

    /// The name that is written down, and its key if the keyring has it.
    fn named(&self) -> Result<(Option<KeyId>, Option<Arc<Key>>), KeyringError> {
        // What can't be understood names no key that anything could be opened with.
        let id = self.name.load()?.and_then(|bytes| serde_json::from_slice::<KeyId>(&bytes).ok());
        let key = id.as_ref().map(|id| self.find(id, self.name.path())).transpose()?.flatten();
        Ok((id, key))
    }

    fn find(&self, id: &KeyId, path: &Path) -> Result<Option<Arc<Key>>, KeyringError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = known.keys.get(id) {
            return Ok(Some(key.clone()));
        }
        let text = match &known.refused {
            Some((at, error)) if at.elapsed() < REST => Err(error.again()),
            _ => self.keyring.get(id.as_str()),
        };
        let Some(text) = text.inspect_err(|error| known.refused(error))? else { return Ok(None) };
        let other = || KeyringError::OtherKey { path: path.into(), key: id.to_string() };
        let key = Key::from_text(&text).filter(|key| key.id() == id).ok_or_else(other)?;
        let key = Arc::new(key);
        known.keys.insert(id.clone(), key.clone());
        Ok(Some(key))
    }

    /// A login that would be lost with this key.
    fn sealed_with(&self, id: &KeyId) -> Result<Option<PathBuf>, KeyringError> {
        let uses = |entry: &Entry| match entry.read() {
            Ok(Some(Stored::Sealed(bytes))) => {
                Sealed::parse(&bytes, entry.path()).is_ok_and(|sealed| sealed.key == *id)
            }
            _ => false,
        };
        let mut logins = self.files.list()?.into_iter().flatten();
        Ok(logins.find(uses).map(|entry| entry.path().to_owned()))
    }

    fn make(&self) -> Result<Arc<Key>, KeyringError> {
        // A key whose name can't be written down would be made again and again.
        self.name.rehearse()?;
        let key = Key::draw()?;
        let text: Zeroizing<String> = key.to_text();
        self.keyring.set(key.id().as_str(), text.as_bytes())?;
        let kept = self.find(key.id(), self.name.path())?.ok_or(KeyringError::Forgetful)?;
        let there = Revision::of(self.name.load()?.as_deref());
        self.name.save(serde_json::json!(key.id().as_str()).to_string().as_bytes(), there)?;
        Ok(kept)
    }
}

impl Known {
    fn refused(&mut self, error: &KeyringError) {
        if self.refused.as_ref().is_none_or(|(at, _)| at.elapsed() >= REST) {
            self.refused = Some((Instant::now(), error.again()));
        }
    }
}

fn missing(id: &KeyId, path: &Path) -> KeyringError {
    KeyringError::NoKey { path: path.to_owned(), key: id.to_string() }
}
