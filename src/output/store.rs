//! What a host's store is asked for: read, and replace what is still as it was read.

use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{CallId, HostError, answer};
use crate::event::{AnswerContent, Event};
use crate::secret::Secret;

/// A store that waits for a lock may wait for another process's whole refresh.
pub(crate) const STORE_DEADLINE: Duration = Duration::from_secs(90);

/// Read the stored record of this server and account.
///
/// ```
/// use std::path::Path;
/// use std::{fs, io};
/// use mcp_auth::output::LoadCall;
/// use mcp_auth::{Event, HostError};
///
/// /// For a program that has its file to itself, and so nothing to lock.
/// fn load(call: LoadCall, path: &Path) -> Event {
///     call.answer(match fs::read(path) {
///         Ok(record) => Ok(Some(record)),
///         Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
///         Err(error) => Err(HostError::new(error)),
///     })
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # let attempt = s.demand(mcp_auth::Demand::interactive(mcp_auth::Need::default()));
/// # let mcp_auth::Action::Load(call) = s.take_action("load") else { panic!() };
/// # s.handle(load(call, Path::new("no/such/login")));
/// # s.settle(attempt)?;
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Debug)]
pub struct LoadCall {
    pub(crate) id: CallId,
    pub(crate) lock: bool,
    pub(crate) servers: Vec<String>,
}

impl LoadCall {
    /// Take the store's exclusive lock first, and hold it until
    /// [`Output::Release`](super::Output::Release). Where it can't be had within
    /// [`Self::deadline`], answer with [`HostError::busy`], and where it was not even tried, with
    /// [`HostError::throttled`]. A lock that is taken only after the
    /// deadline has passed is given back by the host: no release comes for it.
    pub fn lock(&self) -> bool {
        self.lock
    }

    /// Whom the lock may be held for the longer, because they are slow to answer: the token endpoint's
    /// server, and that of the metadata where they are looked up again, as `host` or `host:port`, in
    /// order, each once. Empty where nothing is sent before it is released, or nobody knows yet to whom. For a host that bounds how
    /// much goes on at once, and wants no server to take all of it.
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    /// How long this may take.
    pub fn deadline(&self) -> Duration {
        STORE_DEADLINE
    }

    /// The bytes as they were saved, `None` where nothing is stored.
    pub fn answer(self, result: Result<Option<Vec<u8>>, HostError>) -> Event {
        answer(self.id, AnswerContent::Loaded(result.map(|bytes| bytes.map(Secret::new))))
    }
}

/// Replace the stored record, durably, if it is still what this machine has read there: compare and
/// swap, in one step that no other program can come between. The lock doesn't replace it: who has
/// held that for too long is overtaken by others.
///
/// ```
/// use mcp_auth::output::SaveCall;
/// use mcp_auth::{Event, HostError, Revision};
///
/// /// `stored`: what nobody else changes meanwhile. A file is written beside it and moved there.
/// fn save(call: SaveCall, stored: &mut Option<Vec<u8>>) -> Event {
///     let is_expected = |expected| expected == Revision::of(stored.as_deref());
///     if !call.expected().is_none_or(is_expected) {
///         return call.answer(Err(HostError::conflict("another program was faster")));
///     }
///     *stored = call.record().map(<[u8]>::to_vec);
///     call.answer(Ok(()))
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.demand(mcp_auth::Demand::interactive(mcp_auth::Need::default()));
/// # let mut stored = Some(b"{}".to_vec());
/// # let mcp_auth::Action::Save(call) = s.take_action("save") else { panic!() };
/// # s.handle(save(call, &mut stored));
/// # assert_eq!(stored.as_deref(), Some(&b"{}"[..]));
/// # stored = None;
/// # let mcp_auth::Action::Save(call) = s.take_action("save") else { panic!() };
/// # s.handle(save(call, &mut stored));
/// # assert!(stored.unwrap().starts_with(b"{\"version\":"));
/// ```
#[derive(Debug)]
pub struct SaveCall {
    pub(crate) id: CallId,
    pub(crate) record: Option<Secret<Vec<u8>>>,
    pub(crate) expected: Option<Revision>,
    pub(crate) set_aside: bool,
}

impl SaveCall {
    /// The bytes to store: JSON that holds secrets. `None`: erase what is stored.
    pub fn record(&self) -> Option<&[u8]> {
        self.record.as_ref().map(|bytes| bytes.expose().as_slice())
    }

    /// What must be stored now; where it is anything else, nothing is changed and the answer is
    /// [`HostError::conflict`]. `None` only where there is no [`record`](Self::record): what is
    /// stored could never be read, and whoever logs out wants it gone, whatever it is.
    pub fn expected(&self) -> Option<Revision> {
        self.expected
    }

    /// What is stored now couldn't be read: keep a copy of it aside before replacing it.
    pub fn set_aside(&self) -> bool {
        self.set_aside
    }

    /// How long this may take.
    pub fn deadline(&self) -> Duration {
        STORE_DEADLINE
    }

    /// `Ok` once the record would survive a power cut.
    pub fn answer(self, result: Result<(), HostError>) -> Event {
        answer(self.id, AnswerContent::Saved(result))
    }
}

/// What is stored, as a comparison sees it: the same bytes are the same revision, and so is nothing
/// and nothing.
///
/// A store that has entity tags of its own reads, compares the revision of what it has read, and
/// writes on the condition that the tag is still the same.
///
/// ```
/// use mcp_auth::output::Revision;
///
/// assert_eq!(Revision::of(Some(b"{}")), Revision::of(Some(b"{}")));
/// assert_ne!(Revision::of(Some(b"{}")), Revision::of(Some(b"{ }")));
/// assert_eq!(Revision::of(None), Revision::NOTHING);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Revision(Option<[u8; 32]>);

impl Revision {
    /// Nothing is stored.
    pub const NOTHING: Self = Self(None);

    /// Of what a load of the store brings.
    pub fn of(stored: Option<&[u8]>) -> Self {
        Self(stored.map(|bytes| Sha256::digest(bytes).into()))
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // Enough to tell one from another, too little to guess by what was hashed.
            Some([a, b, ..]) => write!(f, "Revision({a:02x}{b:02x}…)"),
            None => f.write_str("Revision(nothing)"),
        }
    }
}
