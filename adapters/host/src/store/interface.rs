//! What a host asks of any store: files, a keychain, memory.

use std::time::Duration;

use mcp_auth::{HostError, Revision};

use super::{Entry, StoreError};

/// An exclusive lock of one login's place. It ends when it is dropped.
///
/// ```
/// use std::time::Duration;
///
/// use mcp_auth_host::store::{Lock, MemoryStore, Store};
///
/// let store = MemoryStore::new();
/// let lock: Lock = store.lock(Duration::ZERO)?;
/// assert!(store.lock(Duration::ZERO).is_err_and(|error| error.is_busy()));
/// drop(lock);
/// assert!(store.lock(Duration::ZERO).is_ok());
/// # Ok::<(), mcp_auth::HostError>(())
/// ```
pub type Lock = Box<dyn Send>;

/// The place of one login. All calls may block; none is made while a host holds a lock of its own.
///
/// Errors are shown to people: they must hold no secrets.
///
/// A store over a vault of one's own, which tags each version of an entry and replaces one only if
/// the tag is given that it has now (`If-Match`, RFC 9110 §13.1.1). What was stored may be kept
/// aside as another entry, and so may the lock. [`contract::check`](super::contract::check) says
/// whether it is one.
///
/// ```
/// # use std::collections::HashMap;
/// # use std::sync::{Arc, Mutex};
/// use std::time::{Duration, Instant};
///
/// use mcp_auth::{HostError, Revision};
/// use mcp_auth_host::store::{Lock, Store, contract};
///
/// # /// An entry's bytes, and its tag.
/// # type Entries = HashMap<String, (Vec<u8>, u64)>;
/// # #[derive(Clone, Default)]
/// # struct Client(Arc<Mutex<(Entries, u64)>>);
/// # impl Client {
/// #     fn get(&self, name: &str) -> Option<(Vec<u8>, u64)> {
/// #         self.0.lock().unwrap().0.get(name).cloned()
/// #     }
/// #     /// Replaces what has this tag; `false` if something else is there.
/// #     fn put(&self, name: &str, bytes: Option<&[u8]>, tag: Option<u64>) -> bool {
/// #         let (entries, last) = &mut *self.0.lock().unwrap();
/// #         let fits = entries.get(name).map(|(_, tag)| *tag) == tag;
/// #         *last += 1;
/// #         match bytes {
/// #             Some(bytes) if fits => drop(entries.insert(name.into(), (bytes.into(), *last))),
/// #             None if fits => drop(entries.remove(name)),
/// #             _ => {}
/// #         }
/// #         fits
/// #     }
/// # }
/// struct Vault {
///     client: Client,
///     name: String,
/// }
///
/// impl Vault {
///     fn replace(&self, new: Option<&[u8]>, expected: Option<Revision>) -> Result<(), HostError> {
///         let there = self.client.get(&self.name);
///         let revision = Revision::of(there.as_ref().map(|(bytes, _)| bytes.as_slice()));
///         let replaced = expected.is_none_or(|expected| expected == revision)
///             && self.client.put(&self.name, new, there.map(|(_, tag)| tag));
///         replaced.then_some(()).ok_or_else(|| HostError::conflict("another program was faster"))
///     }
/// }
///
/// impl Store for Vault {
///     fn load(&self) -> Result<Option<Vec<u8>>, HostError> {
///         Ok(self.client.get(&self.name).map(|(bytes, _)| bytes))
///     }
///
///     fn save(&self, record: &[u8], expected: Revision) -> Result<(), HostError> {
///         self.replace(Some(record), Some(expected))
///     }
///
///     fn erase(&self, expected: Option<Revision>) -> Result<(), HostError> {
///         self.replace(None, expected)
///     }
///
///     fn set_aside(&self, expected: Revision) -> Result<(), HostError> {
///         let there = self.client.get(&self.name);
///         if let Some((damaged, tag)) = there.filter(|(b, _)| Revision::of(Some(b)) == expected) {
///             self.client.put(&format!("{}.damaged-{tag}", self.name), Some(&damaged), None);
///         }
///         self.replace(None, Some(expected))
///     }
///
///     fn lock(&self, timeout: Duration) -> Result<Lock, HostError> {
///         let (client, name) = (self.client.clone(), format!("{}.lock", self.name));
///         let began = Instant::now();
///         // A real one has an end, or it outlives its holder.
///         while !client.put(&name, Some(b"locked"), None) {
///             if began.elapsed() >= timeout {
///                 return Err(HostError::busy("another program is using this login"));
///             }
///             std::thread::sleep(Duration::from_millis(5));
///         }
///         Ok(Box::new(Held(client, name)))
///     }
/// }
///
/// struct Held(Client, String);
///
/// impl Drop for Held {
///     fn drop(&mut self) {
///         self.0.put(&self.1, None, self.0.get(&self.1).map(|(_, tag)| tag));
///     }
/// }
///
/// let client = Client::default();
/// contract::check(|login| Vault { client: client.clone(), name: login.into() })?;
/// # Ok::<(), contract::Broken>(())
/// ```
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
