//! Logins on disk: one private file per account and server.
//!
//! ```text
//! save:  write a temporary file ─ fsync ─ ┤ compare ─ rename over the old one ├ ─ fsync the directory
//!                                         └─────────── in one's turn ──────────┘
//! ```
//!
//! A reader therefore sees the old record or the new one, never a mix, whenever the writer dies. The
//! record is replaced only if it is what the writer has read, and writers take turns for that: a
//! turn is a lock of its own (`….turn`), held for the comparison and the rename, and by nobody who
//! waits for anything.
//!
//! The record is opaque: the file wraps it with the server and account that it belongs to, so that
//! [`FileStore::list`] can name them and a copied file is not taken for another server's login.

pub mod contract;
mod error;
mod files;
mod hooked;
mod interface;
mod lock;
mod memory;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mcp_auth::Revision;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use error::StoreError;
pub(crate) use hooked::HookedStore;
pub use interface::{Lock, Store};
pub use lock::Guard;
pub use memory::MemoryStore;

/// The largest file that is read or written, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// How long to wait for others who compare and rename: that takes milliseconds.
const TURN: Duration = Duration::from_secs(5);

/// How many damaged files are kept beside one login before the user must look at them.
const MAX_SET_ASIDE: u32 = 100;

/// By how many bytes a record may grow from one save to the next.
const ROOM: usize = 16 << 10;

/// A temporary file this old was left behind by a writer that died.
const STALE: Duration = Duration::from_secs(600);

/// A directory that holds logins.
///
/// ```
/// use mcp_auth_host::store::FileStore;
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("logins");
/// let store = FileStore::open(dir)?;
/// # store.entry("https://mcp.example.com/mcp", "work").save(b"{}", mcp_auth::Revision::NOTHING)?;
/// # assert_eq!(store.list()?.len(), 1);
/// for login in store.list()? {
///     match login {
///         Ok(entry) => println!("{} at {}", entry.account(), entry.server()),
///         Err(error) => println!("{error}"), // the others are there all the same
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct FileStore {
    dir: PathBuf,
}

/// The place of one login: one account at one server. It may be empty.
///
/// ```
/// use mcp_auth::Revision;
/// use mcp_auth_host::store::FileStore;
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("logins");
/// let entry = FileStore::open(dir)?.entry("https://mcp.example.com/mcp", "work");
/// assert!(entry.load()?.is_none());
/// entry.save(br#"{"any":"JSON"}"#, Revision::NOTHING)?;
/// let record = entry.load()?;
/// entry.erase(Some(Revision::of(record.as_deref())))?;
/// assert!(!entry.path().exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    dir: PathBuf,
    path: PathBuf,
    server: String,
    account: String,
}

/// What an [`Entry`] holds: one JSON value, as it lies in the file. It has no `Debug`: the record is
/// secret.
///
/// ```
/// use mcp_auth::Revision;
/// use mcp_auth_host::store::{FileStore, StoreError, Stored};
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("logins");
/// let entry = FileStore::open(dir)?.entry("https://mcp.example.com/mcp", "work");
/// entry.write(&Stored::Sealed(br#""c2VhbGVk""#.to_vec()), Revision::NOTHING)?;
/// // A program that can't open it is told so.
/// assert!(matches!(entry.load(), Err(StoreError::Sealed { .. })));
/// let stored = entry.read()?.unwrap();
/// entry.write(&Stored::Plain(b"{}".to_vec()), stored.revision())?;
/// assert_eq!(entry.load()?.unwrap(), b"{}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum Stored {
    /// The record itself.
    Plain(Vec<u8>),
    /// What another store has made of the record, and alone can open (`mcp-auth-keyring`).
    Sealed(Vec<u8>),
}

impl Stored {
    /// The value's bytes, in whichever form: what [`Entry::write`] compares the revision of.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) | Self::Sealed(bytes) => bytes,
        }
    }

    /// What [`Entry::write`] expects where this is stored.
    pub fn revision(&self) -> Revision {
        Revision::of(Some(self.bytes()))
    }
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
        Ok(Some(match self.value_in(&bytes) {
            (value, false) => Stored::Plain(value.to_vec()),
            (value, true) => Stored::Sealed(value.to_vec()),
        }))
    }

    /// The value in a file, and whether it is sealed.
    fn value_in<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], bool) {
        let envelope = serde_json::from_slice::<Envelope<'_>>(bytes).ok();
        let ours = envelope.filter(|e| e.server == self.server && e.account == self.account);
        match ours.map(|envelope| (envelope.record, envelope.sealed)) {
            Some((Some(record), None)) => (record.get().as_bytes(), false),
            Some((None, Some(sealed))) => (sealed.get().as_bytes(), true),
            _ => (bytes, false),
        }
    }

    /// Replaces the record by `bytes`, which must be one JSON value, if what is stored now is what
    /// is `expected`. When this returns `Ok`, the record survives a loss of power; when it fails,
    /// the old or the new one is there, whole.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] where something else is stored; [`StoreError::Locked`] where others
    /// are at it for too long; [`StoreError::NotJson`], [`StoreError::TooBig`], or
    /// [`StoreError::Io`].
    pub fn save(&self, bytes: &[u8], expected: Revision) -> Result<(), StoreError> {
        self.put(bytes, false, expected)
    }

    /// Replaces what is stored, sealed or not, as [`save`](Self::save) does: what is `expected` is
    /// the revision of the [bytes](Stored::bytes) that [`read`](Self::read) brings.
    ///
    /// # Errors
    ///
    /// Those of [`save`](Self::save).
    pub fn write(&self, stored: &Stored, expected: Revision) -> Result<(), StoreError> {
        match stored {
            Stored::Plain(bytes) => self.put(bytes, false, expected),
            Stored::Sealed(bytes) => self.put(bytes, true, expected),
        }
    }

    fn put(&self, bytes: &[u8], sealed: bool, expected: Revision) -> Result<(), StoreError> {
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
        let write = |reason| StoreError::io("write", &self.path)(reason);
        // All that takes long comes before one's turn, and after it.
        let file = self.temporary(&text).map_err(write)?;
        self.in_turn(Some(expected), || {
            file.persist(&self.path).map(drop).map_err(|e| match e.error.kind() {
                // Swept away by whoever has just erased the record.
                io::ErrorKind::NotFound => self.changed(),
                _ => write(e.error),
            })
        })?;
        files::sync_dir(&self.dir).map_err(write)
    }

    /// Does something to the file if it holds what is expected; nobody else does anything to it
    /// meanwhile.
    fn in_turn<T>(
        &self,
        expected: Option<Revision>,
        act: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _turn = self.turn()?;
        self.expecting(expected, act)
    }

    fn expecting<T>(
        &self,
        expected: Option<Revision>,
        act: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(expected) = expected
            && !self.holds(expected)?
        {
            return Err(self.changed());
        }
        act()
    }

    /// Whether this is what is stored: nothing is said about whether that is to be trusted.
    fn holds(&self, expected: Revision) -> Result<bool, StoreError> {
        match files::read(&self.path) {
            Ok(file) => {
                let value = file.as_ref().map(|(bytes, _)| self.value_in(bytes).0);
                Ok(Revision::of(value) == expected)
            }
            Err(StoreError::Io { doing, path, reason }) => {
                Err(StoreError::Io { doing, path, reason })
            }
            // No save of ours has left it there.
            Err(_) => Ok(false),
        }
    }

    fn changed(&self) -> StoreError {
        StoreError::Changed { path: self.path.clone() }
    }

    fn turn(&self) -> Result<Guard, StoreError> {
        lock::take(self.path.with_extension("turn"), TURN)
    }

    /// Whether a save of a record somewhat larger than what is stored would succeed now: a turn is
    /// taken, and as many bytes are written to a temporary file, which is removed again.
    ///
    /// For a program that is about to spend what is stored (a refresh token) or a person's time,
    /// and couldn't wait for a store to be mended.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] and others, as [`save`](Self::save) would.
    pub fn rehearse(&self) -> Result<(), StoreError> {
        drop(self.turn()?);
        let stored = fs::symlink_metadata(&self.path).map_or(0, |file| file.len());
        let size = usize::try_from(stored).unwrap_or(MAX_BYTES).saturating_add(ROOM);
        let zeros = vec![0; size.min(MAX_BYTES)];
        self.temporary(&zeros).map(drop).map_err(StoreError::io("write", &self.path))
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

    /// Moves a damaged file, if it is what is `expected`, to `….damaged-N` beside it, never over
    /// another, and says where; `None` where there is no file.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] and [`StoreError::Locked`], as [`save`](Self::save);
    /// [`StoreError::Io`], also where a hundred damaged files are there already.
    pub fn set_aside(&self, expected: Revision) -> Result<Option<PathBuf>, StoreError> {
        self.in_turn(Some(expected), || {
            self.try_set_aside().map_err(StoreError::io("set aside", &self.path))
        })
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

    /// Removes the record, if it is what is `expected` (`None`: whatever it is), and what
    /// interrupted saves left of it. Nothing to remove is no error. Files that were
    /// [set aside](Self::set_aside) stay.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] and [`StoreError::Locked`], as [`save`](Self::save);
    /// [`StoreError::Io`].
    pub fn erase(&self, expected: Option<Revision>) -> Result<(), StoreError> {
        let remove = |reason| StoreError::io("remove", &self.path)(reason);
        let act = || absent(fs::remove_file(&self.path)).map_err(remove).map(drop);
        match self.in_turn(expected, act) {
            // Then nobody can save anything either.
            Err(StoreError::NoLocks { .. }) => self.expecting(expected, act)?,
            result => result?,
        }
        files::sync_dir(&self.dir).map_err(remove)?;
        self.sweep(Duration::ZERO);
        Ok(())
    }

    /// Locks the entry, waiting up to `timeout` for whoever holds it.
    ///
    /// The lock is advisory, and on a file of its own (`….lock`). Reading and saving don't need it;
    /// it keeps programs from doing the same work twice.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] after `timeout`; [`StoreError::NotAFile`]; [`StoreError::NotOurs`];
    /// [`StoreError::NoLocks`]; [`StoreError::Io`].
    pub fn lock(&self, timeout: Duration) -> Result<Guard, StoreError> {
        lock::take(self.path.with_extension("lock"), timeout)
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
