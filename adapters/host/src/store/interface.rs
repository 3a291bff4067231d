//! What a host asks of any store: files, a keychain, memory.

use std::time::Duration;

use mcp_auth::{HostError, Revision};

use super::{Entry, StoreError};

/// An exclusive lock of one login's place. It ends when it is dropped.
pub type Lock = Box<dyn Send>;

/// The place of one login. All calls may block; none is made while a host holds a lock of its own.
///
/// Errors are shown to people: they must hold no secrets.
pub trait Store: Send + Sync {
    /// Reads the record as it was saved, or `None` where nothing is stored.
    ///
    /// # Errors
    ///
    /// Where something may be stored but can't be read, or isn't to be trusted.
    fn load(&self) -> Result<Option<Vec<u8>>, HostError>;

    /// Replaces what is stored, if its [`Revision`] is `expected`: nobody can come between the
    /// comparison and the replacement. `Ok` once the record would survive a power cut, as far as
    /// this kind of store can.
    ///
    /// # Errors
    ///
    /// [`HostError::conflict`] where something else is stored; any other error where the record
    /// wasn't saved. What was stored is still there, whole.
    fn save(&self, record: &[u8], expected: Revision) -> Result<(), HostError>;

    /// Removes what is stored, if its revision is `expected`; `None`: whatever it is, even if it
    /// can't be read. Nothing to remove, where nothing is expected, is no error.
    ///
    /// # Errors
    ///
    /// [`HostError::conflict`] where something else is stored; any other error where it may still
    /// be there.
    fn erase(&self, expected: Option<Revision>) -> Result<(), HostError>;

    /// Keeps what is stored aside, if its revision is `expected`, for a person to look at: it can't
    /// be read, and is about to be replaced. From then on nothing is stored.
    ///
    /// # Errors
    ///
    /// [`HostError::conflict`] where something else is stored; any other error where it would be
    /// lost.
    fn set_aside(&self, expected: Revision) -> Result<(), HostError>;

    /// Locks the place against every other holder, in this process and in others, waiting up to
    /// `timeout` for whoever has it. Nothing else needs the lock: it keeps programs from doing the
    /// same work twice.
    ///
    /// # Errors
    ///
    /// [`HostError::busy`] after `timeout`, any other error where there can be no lock.
    fn lock(&self, timeout: Duration) -> Result<Lock, HostError>;
}

impl Store for Entry {
    fn load(&self) -> Result<Option<Vec<u8>>, HostError> {
        Entry::load(self).map_err(HostError::from)
    }

    fn save(&self, record: &[u8], expected: Revision) -> Result<(), HostError> {
        Entry::save(self, record, expected).map_err(HostError::from)
    }

    fn erase(&self, expected: Option<Revision>) -> Result<(), HostError> {
        Entry::erase(self, expected).map_err(HostError::from)
    }

    fn set_aside(&self, expected: Revision) -> Result<(), HostError> {
        Entry::set_aside(self, expected).map(|_| ()).map_err(HostError::from)
    }

    fn lock(&self, timeout: Duration) -> Result<Lock, HostError> {
        match Entry::lock(self, timeout) {
            Ok(guard) => Ok(Box::new(guard)),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<StoreError> for HostError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked { .. } => Self::busy(error),
            StoreError::Changed { .. } => Self::conflict(error),
            error => Self::new(error),
        }
    }
}
