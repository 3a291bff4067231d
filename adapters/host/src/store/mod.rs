//! Logins on disk: one private file per account and server.
//!
//! ```text
//! save:  write a temporary file ─ fsync ─ rename over the old one ─ fsync the directory
//! ```
//!
//! A reader therefore sees the old record or the new one, never a mix, whenever the writer dies.
//! The record is opaque: the file wraps it with the server and account that it belongs to, so that
//! [`FileStore::list`] can name them and a copied file is not taken for another server's login.

pub mod contract;
mod error;
mod files;
mod interface;
mod memory;

use std::fs::{self, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use error::StoreError;
pub use interface::{Lock, Store};
pub use memory::MemoryStore;

/// The largest file that is read or written, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// How long to sleep between two tries of a lock that somebody else holds.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// How many damaged files are kept beside one login before the user must look at them.
const MAX_SET_ASIDE: u32 = 100;

/// By how many bytes a record may grow from one save to the next.
const ROOM: usize = 16 << 10;

/// A temporary file this old was left behind by a writer that died.
const STALE: Duration = Duration::from_secs(600);

/// A directory that holds logins.
#[derive(Debug, Clone)]
pub struct FileStore {
    dir: PathBuf,
}

/// The place of one login: one account at one server. It may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    dir: PathBuf,
    path: PathBuf,
    server: String,
    account: String,
}

/// An exclusive lock on an [`Entry`], among processes and within one. It ends when it is dropped,
/// and when the process that holds it dies.
#[derive(Debug)]
#[must_use = "the lock ends when the guard is dropped"]
pub struct Guard {
    file: fs::File,
}

/// What an [`Entry`] holds: one JSON value, as it lies in the file. It has no `Debug`: the record is
/// secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Stored {
    /// The record itself.
    Plain(Vec<u8>),
    /// What another store has made of the record, and alone can open (`mcp-auth-keyring`).
    Sealed(Vec<u8>),
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    server: String,
    account: String,
    #[serde(borrow, default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    record: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    sealed: Option<&'a RawValue>,
}

/// Any value that is there, `null` too.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

/// The envelope without its secret part.
#[derive(Deserialize)]
struct Label {
    server: String,
    account: String,
}

impl FileStore {
    /// Opens the store in `dir`, which is made (mode 700) where it is missing.
    ///
    /// # Errors
    ///
    /// [`StoreError::OpenDirectory`] where it isn't a directory, or (Unix) its group or others can
    /// write to it; [`StoreError::NotOurs`] where it is another user's; [`StoreError::Io`] where it can't be made or looked at.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let dir = dir.into();
        files::create_private_dir(&dir)?;
        Ok(Self { dir })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The place of `account`'s login at `server`. Nothing is read or made yet.
    ///
    /// Both are compared byte for byte, so give the server's URL in one spelling.
    pub fn entry(&self, server: &str, account: &str) -> Entry {
        let path = self.dir.join(file_name(server, account));
        Entry {
            dir: self.dir.clone(),
            path,
            server: server.to_owned(),
            account: account.to_owned(),
        }
    }

    /// A place beside the logins that [`list`](Self::list) doesn't show: for what a store has to
    /// remember for itself. `name` is a word in letters, and the file's name.
    pub fn private(&self, name: &str) -> Entry {
        Entry {
            dir: self.dir.clone(),
            path: self.dir.join(name),
            server: String::new(),
            account: name.to_owned(),
        }
    }

    /// All logins of the store, plain and sealed, in the order of their file names. A file that can't be trusted or
    /// understood is an error in its place, so that the others can still be shown.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] where the directory can't be read.
    pub fn list(&self) -> Result<Vec<Result<Entry, StoreError>>, StoreError> {
        let mut paths = Vec::new();
        for item in fs::read_dir(&self.dir).map_err(StoreError::io("list", &self.dir))? {
            let path = item.map_err(StoreError::io("list", &self.dir))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths.into_iter().filter_map(|path| self.read_label(path).transpose()).collect())
    }

    fn read_label(&self, path: PathBuf) -> Result<Option<Entry>, StoreError> {
        // Gone since the directory was listed: that is no error.
        let Some(bytes) = files::read_private(&path)? else { return Ok(None) };
        match serde_json::from_slice::<Label>(&bytes) {
            Ok(label) => {
                let entry = self.entry(&label.server, &label.account);
                if entry.path == path { Ok(Some(entry)) } else { Err(StoreError::Damaged { path }) }
            }
            Err(_) => Err(StoreError::Damaged { path }),
        }
    }
}

impl Entry {
    /// The server's URL, as it was given.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The account's name, as it was given.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The file, whether or not it exists.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the record, or `None` where nothing is stored.
    ///
    /// A file that isn't this entry's envelope is returned as it is, for the caller to find that it
    /// holds no record and to [set it aside](Self::set_aside).
    ///
    /// # Errors
    ///
    /// [`StoreError::Sealed`] where it is for another store to open. [`StoreError::NotAFile`],
    /// [`StoreError::NotOurs`], [`StoreError::Exposed`], [`StoreError::TooBig`]: the file isn't to be
    /// trusted. [`StoreError::Io`] where it can't be read.
    pub fn load(&self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.read()? {
            Some(Stored::Plain(record)) => Ok(Some(record)),
            Some(Stored::Sealed(_)) => Err(StoreError::Sealed { path: self.path.clone() }),
            None => Ok(None),
        }
    }

    /// What is stored, sealed or not, as [`load`](Self::load) reads it.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load), but for [`StoreError::Sealed`].
    pub fn read(&self) -> Result<Option<Stored>, StoreError> {
        let Some(bytes) = files::read_private(&self.path)? else { return Ok(None) };
        let envelope = serde_json::from_slice::<Envelope<'_>>(&bytes).ok();
        let ours = envelope.filter(|e| e.server == self.server && e.account == self.account);
        Ok(Some(match ours.map(|envelope| (envelope.record, envelope.sealed)) {
            Some((Some(record), None)) => Stored::Plain(record.get().into()),
            Some((None, Some(sealed))) => Stored::Sealed(sealed.get().into()),
            _ => Stored::Plain(bytes.to_vec()),
        }))
    }

    /// Replaces the record by `bytes`, which must be one JSON value. When this returns `Ok`, the
    /// record survives a loss of power; when it fails, the old or the new one is there, whole.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotJson`], [`StoreError::TooBig`], or [`StoreError::Io`].
    pub fn save(&self, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(bytes, false)
    }

    /// Replaces what is stored, sealed or not, as [`save`](Self::save) does.
    ///
    /// # Errors
    ///
    /// Those of [`save`](Self::save).
    pub fn write(&self, stored: &Stored) -> Result<(), StoreError> {
        match stored {
            Stored::Plain(bytes) => self.put(bytes, false),
            Stored::Sealed(bytes) => self.put(bytes, true),
        }
    }

    fn put(&self, bytes: &[u8], sealed: bool) -> Result<(), StoreError> {
        let value = serde_json::from_slice::<&RawValue>(bytes)
            .map_err(|_| StoreError::NotJson { path: self.path.clone() })?;
        let envelope = Envelope {
            server: self.server.clone(),
            account: self.account.clone(),
            record: Some(value).filter(|_| !sealed),
            sealed: Some(value).filter(|_| sealed),
        };
        let text = serde_json::to_vec(&envelope)
            .map(Zeroizing::new)
            .map_err(|_| StoreError::NotJson { path: self.path.clone() })?;
        if text.len() > MAX_BYTES {
            return Err(StoreError::TooBig { path: self.path.clone() });
        }
        self.sweep(STALE);
        self.replace(&text).map_err(StoreError::io("write", &self.path))
    }

    /// Whether a save of a record somewhat larger than what is stored would succeed now: as many
    /// bytes are written to a temporary file, which is removed again.
    ///
    /// For a program that is about to spend what is stored (a refresh token) or a person's time,
    /// and couldn't wait for a store to be mended.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`], as [`save`](Self::save) would.
    pub fn rehearse(&self) -> Result<(), StoreError> {
        let stored = fs::symlink_metadata(&self.path).map_or(0, |file| file.len());
        let size = usize::try_from(stored).unwrap_or(MAX_BYTES).saturating_add(ROOM);
        let zeros = vec![0; size.min(MAX_BYTES)];
        self.temporary(&zeros).map(drop).map_err(StoreError::io("write", &self.path))
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        self.temporary(text)?.persist(&self.path).map_err(|e| e.error)?;
        files::sync_dir(&self.dir)
    }

    /// A temporary file with this in it, made with mode 600, and removed when it is dropped.
    fn temporary(&self, text: &[u8]) -> io::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::Builder::new()
            .prefix(&self.temporary_prefix())
            .suffix(".tmp")
            .tempfile_in(&self.dir)
            .map_err(without_path)?;
        file.as_file_mut().write_all(text)?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    /// Moves a damaged file to `….damaged-N` beside it, never over another, and says where; `None`
    /// where there is no file.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`], also where a hundred damaged files are there already.
    pub fn set_aside(&self) -> Result<Option<PathBuf>, StoreError> {
        self.try_set_aside().map_err(StoreError::io("set aside", &self.path))
    }

    fn try_set_aside(&self) -> io::Result<Option<PathBuf>> {
        if absent(fs::symlink_metadata(&self.path))?.is_none() {
            return Ok(None);
        }
        for n in 1..=MAX_SET_ASIDE {
            let target = self.path.with_extension(format!("damaged-{n}"));
            // Making the file claims the name; the rename then replaces nobody else's.
            match files::create_private(&target) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                claim => drop(claim?),
            }
            return match fs::rename(&self.path, &target) {
                Ok(()) => files::sync_dir(&self.dir).map(|()| Some(target)),
                Err(e) => {
                    fs::remove_file(&target)?;
                    absent(Err(e))
                }
            };
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Removes the record and what interrupted saves left of it. Nothing to remove is no error.
    /// Files that were [set aside](Self::set_aside) stay.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn erase(&self) -> Result<(), StoreError> {
        absent(fs::remove_file(&self.path))
            .and_then(|_| files::sync_dir(&self.dir))
            .map_err(StoreError::io("remove", &self.path))?;
        self.sweep(Duration::ZERO);
        Ok(())
    }

    /// Locks the entry, waiting up to `timeout` for whoever holds it.
    ///
    /// The lock is advisory, and on a file of its own (`….lock`), which stays: removing it would
    /// let two holders in. Reading and saving don't need it; deciding what to save on the strength
    /// of what was read does.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] after `timeout`; [`StoreError::NotAFile`]; [`StoreError::NotOurs`];
    /// [`StoreError::Io`], also where the file system has no locks.
    pub fn lock(&self, timeout: Duration) -> Result<Guard, StoreError> {
        let path = self.path.with_extension("lock");
        let file = files::open_lock(&path)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Guard { file }),
                Err(TryLockError::Error(reason)) => {
                    return Err(StoreError::io("lock", &path)(reason));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            let waited = start.elapsed();
            if waited >= timeout {
                return Err(StoreError::Locked { path, waited });
            }
            thread::sleep(LOCK_POLL.min(timeout - waited));
        }
    }

    fn temporary_prefix(&self) -> String {
        format!(".{}.", self.path.file_name().unwrap_or_default().to_string_lossy())
    }

    /// Removes temporary files that dead writers left, for they hold tokens. Best effort: what
    /// can't be removed now is tried again with the next save.
    fn sweep(&self, older_than: Duration) {
        let prefix = self.temporary_prefix();
        for item in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let old = || item.metadata().ok()?.modified().ok()?.elapsed().ok();
            let name = item.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&prefix)
                && name.ends_with(".tmp")
                && (older_than.is_zero() || old().is_some_and(|age| age > older_than))
            {
                let _ = fs::remove_file(item.path());
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Closing would do, but for a copy of the descriptor in a child that is being started.
        let _ = self.file.unlock();
    }
}

/// Turns "not found" into `None`.
fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The system's own error: `tempfile` adds its random path, which tells nobody anything.
fn without_path(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.source());
    let inner = inner.and_then(|inner| inner.downcast_ref::<io::Error>());
    match inner.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error,
    }
}

/// The host for people, and a hash of account and server for uniqueness.
fn file_name(server: &str, account: &str) -> String {
    let after_scheme = server.split_once("://").map_or(server, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let readable: String = host
        .chars()
        .take(48)
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' })
        .collect();
    // No dot in front: it would hide the file.
    let readable = readable.trim_start_matches(['.', '-']);
    let readable = if readable.is_empty() { "server" } else { readable };
    let mut name = format!("{readable}-");
    for byte in
        Sha256::new().chain_update(account).chain_update([0]).chain_update(server).finalize()
    {
        name.push_str(&format!("{byte:02x}"));
    }
    name.push_str(".json");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_shows_the_host_and_nothing_that_a_path_could_misread() {
        let name = file_name("https://user:pw@MCP.Example.com:8443/a/b?c", "work");
        assert!(name.starts_with("mcp.example.com-8443-"), "{name}");
        for server in ["../../etc/passwd", "https://../x", "\0", "", "https://[::1]/", "C:\\x", "é"]
        {
            let name = file_name(server, "../..");
            assert!(!name.starts_with('.') && name.len() < 128, "{name}");
            assert!(
                name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'),
                "{name}"
            );
        }
    }

    #[test]
    fn account_and_server_cannot_run_into_each_other() {
        assert_ne!(file_name("https://a/", "xhttps://a/"), file_name("https://a/https://a/", "x"));
        assert_ne!(file_name("https://a/", ""), file_name("https://a/", "x"));
    }
}
