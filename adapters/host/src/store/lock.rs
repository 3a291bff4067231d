//! Locks among processes: files of their own, which stay, for removing one would let two holders in.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{StoreError, files};

/// How long to sleep between two tries of a lock that somebody else holds.
const POLL: Duration = Duration::from_millis(20);

/// An exclusive lock, among processes and within one. It ends when it is dropped, and when the
/// process that holds it dies.
///
/// ```
/// use std::time::Duration;
///
/// use mcp_auth_host::store::{FileStore, StoreError};
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("logins");
/// let entry = FileStore::open(dir)?.entry("https://mcp.example.com/mcp", "work");
/// let guard = entry.lock(Duration::from_secs(5))?;
/// assert!(matches!(entry.lock(Duration::ZERO), Err(StoreError::Locked { .. })));
/// drop(guard);
/// assert!(entry.lock(Duration::ZERO).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the lock ends when the guard is dropped"]
pub struct Guard {
    file: File,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Closing would do, but for a copy of the descriptor in a child that is being started.
        let _ = self.file.unlock();
    }
}

/// Takes the lock at `path`, made where it is missing, waiting up to `timeout` for whoever has it.
pub(super) fn take(path: PathBuf, timeout: Duration) -> Result<Guard, StoreError> {
    let file = files::open_lock(&path)?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Guard { file }),
            Err(TryLockError::Error(reason)) => return Err(cannot_lock(&path, reason)),
            Err(TryLockError::WouldBlock) => {}
        }
        let waited = start.elapsed();
        if waited >= timeout {
            return Err(StoreError::Locked { path, waited });
        }
        thread::sleep(POLL.min(timeout - waited));
    }
}

fn cannot_lock(path: &Path, reason: io::Error) -> StoreError {
    #[cfg(unix)]
    let none = reason.raw_os_error() == Some(rustix::io::Errno::NOLCK.raw_os_error());
    #[cfg(not(unix))]
    let none = false;
    if none || reason.kind() == io::ErrorKind::Unsupported {
        return StoreError::NoLocks { path: path.to_owned(), reason };
    }
    StoreError::io("lock", path)(reason)
}
