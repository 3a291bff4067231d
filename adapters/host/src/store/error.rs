//! What can go wrong with the store, and what the user can do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::MAX_BYTES;

/// Why the store can't do what was asked. A message is complete (there is no source behind it): it
/// names the path and the remedy, never contents.
///
/// ```
/// use mcp_auth::Revision;
/// use mcp_auth_host::store::{FileStore, StoreError};
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("logins");
/// let entry = FileStore::open(dir)?.entry("https://mcp.example.com/mcp", "work");
/// entry.save(b"1", Revision::NOTHING)?;
/// // Somebody who has not read that:
/// let error = entry.save(b"2", Revision::NOTHING).unwrap_err();
/// assert!(matches!(error, StoreError::Changed { .. }));
/// assert_eq!(error.path(), entry.path());
/// assert_eq!(entry.load()?.unwrap(), b"1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system said no.
    #[error("cannot {doing} {}: {reason}", path.display())]
    Io {
        /// What was being done: "read", "write", …
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's own reason.
        reason: io::Error,
    },
    /// The directory isn't one, or others may put files into it.
    #[error(
        "{} must be a directory that only its owner can write to: \
         check what is in it, then run `chmod 700 {}`",
        path.display(), path.display()
    )]
    OpenDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// A link, a pipe or a directory stands where a file is expected.
    #[error(
        "{} must be a plain file, not a link or anything else: \
         find out who put it there, then remove it",
        path.display()
    )]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Other users can read the credentials, or could have written them.
    #[error(
        "{} has mode {mode:03o}, so others may have read or changed it; expected 600: \
         run `chmod 600 {}` if you trust its contents, else remove it and log in again",
        path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file or directory belongs to another user (Unix), who can read and change it at will.
    #[error(
        "{} belongs to user {owner}, but this program runs as user {user}: \
         run it as user {owner}, or find out who put it there and move it away",
        path.display()
    )]
    NotOurs {
        /// The file or directory.
        path: PathBuf,
        /// The number of the user that it belongs to.
        owner: u32,
        /// The number of the user that the program runs as.
        user: u32,
    },
    /// More than the store reads or writes.
    #[error(
        "{} would hold more than {MAX_BYTES} bytes, which no login needs: \
         move the file away and log in again",
        path.display()
    )]
    TooBig {
        /// The file.
        path: PathBuf,
    },
    /// The record to be saved isn't JSON. Nothing was written.
    #[error("not saved to {}: a record must be one JSON value", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
    },
    /// Its record is sealed with a key from the system's keyring, which this store doesn't ask.
    #[error(
        "{} is sealed with a key from the system's keyring, which this program doesn't use: use one \
         that does, or remove the file and log in again",
        path.display()
    )]
    Sealed {
        /// The file.
        path: PathBuf,
    },
    /// A file of the store whose contents aren't what the store wrote there.
    #[error("{} is damaged: move it away and log in again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Locks can't be had where the store is: no file system has to know them.
    #[error(
        "cannot lock {}: {reason}; a store needs a file system with locks, \
         which some network and shared folders are not: choose another directory",
        path.display()
    )]
    NoLocks {
        /// The lock file.
        path: PathBuf,
        /// The system's own reason.
        reason: io::Error,
    },
    /// What is stored isn't what it was expected to be. Nothing was changed.
    #[error("another program has changed {} meanwhile: read it again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error(
        "{} was still locked after {:.1} s: another program is using this login; try again, \
         or end that program if it hangs",
        path.display(), waited.as_secs_f32()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long this call waited.
        waited: Duration,
    },
}

impl StoreError {
    /// The file or directory that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::OpenDirectory { path }
            | Self::NotAFile { path }
            | Self::Exposed { path, .. }
            | Self::NotOurs { path, .. }
            | Self::TooBig { path }
            | Self::NotJson { path }
            | Self::Sealed { path }
            | Self::Damaged { path }
            | Self::NoLocks { path, .. }
            | Self::Changed { path }
            | Self::Locked { path, .. } => path,
        }
    }

    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |reason| Self::Io { doing, path: path.to_owned(), reason }
    }
}
