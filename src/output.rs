//! Everything that can come out.
//!
//! An [`Action`] is performed by the host and answered exactly once: `answer` consumes it, so a
//! second answer, or one of a wrong kind, doesn't compile. At most one *exchange* (load, save,
//! secret, key, signature, HTTP) and one *prompt* (listen, browse, show a code) are unanswered at a
//! time.

mod code;
mod http;
mod prompt;
mod secrets;
pub(crate) mod shared;
mod signer;
mod store;

use std::fmt;

use crate::event::{Answer, AnswerContent, Event};
use crate::notice::Notice;
use crate::text::printable_at_length;
use crate::time::Mono;

pub use code::ShowCodeCall;
pub(crate) use code::UserCode;
pub use http::{HttpCall, Limits, Purpose, TransportError, TransportErrorKind};
pub use prompt::{BrowseCall, CallbackHost, CallbackPort, ListenCall, ListenSpec, Page};
pub(crate) use secrets::SECRET_DEADLINE;
pub use secrets::{FoundSecret, SecretCall};
pub(crate) use signer::SIGNER_DEADLINE;
pub use signer::{FoundKey, KeyCall, SignCall};
pub(crate) use store::STORE_DEADLINE;
pub use store::{LoadCall, Revision, SaveCall};

/// What comes out of [`AuthMachine::poll_output`](crate::AuthMachine::poll_output).
///
/// ```
/// use mcp_auth::Output;
/// # use std::sync::Arc;
/// # use mcp_auth::{Action, AuthMachine, Config, Demand, Entropy, Event, HostError, Need, Now};
/// # let (now, config) = (Now::default(), Arc::new(Config::default()));
/// # let mut machine = AuthMachine::new("https://mcp.example.com", config, Entropy::from_bytes([7; 32]))?;
/// # machine.handle(now, Event::Demand(Demand::background(Need::default())));
/// # let perform = |action| match action {
/// #     Action::Load(call) => call.answer(Err(HostError::busy("another program has it"))),
/// #     other => panic!("{other:?}"),
/// # };
///
/// let deadline = loop {
///     match machine.poll_output() {
///         Output::Do(action) => machine.handle(now, perform(action)),
///         Output::Tell(notice) => println!("{notice}"),
///         Output::Wait(deadline) => break deadline, // then send `Event::Tick`
///         _ => {} // show a page, close the listener, release the lock: no answer is due
///     }
/// };
/// assert_eq!(deadline, None, "nothing is pending");
/// # let failure = machine.last_attempt().and_then(|attempt| machine.failure(attempt));
/// # assert!(failure.is_some());
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Perform this, and feed its answer back.
    Do(Action),
    /// Show this page in the browser that sent the redirect with this ticket. No answer is due.
    Show {
        /// The ticket of the [`Redirected`](crate::event::Redirected) event.
        ticket: u64,
        /// What to show.
        page: Page,
    },
    /// The prompt is over: close the listener, take the code away. No answer is due.
    Dismiss,
    /// Release the store's lock, taken by a [`LoadCall`]. No answer is due.
    Release,
    /// Something happened that a log, a progress line or a metric may want.
    Tell(Notice),
    /// Nothing to do until an event comes, or until this moment: then send
    /// [`Event::Tick`]. `None`: nothing is pending.
    Wait(Option<Mono>),
}

/// Something only the host can do.
///
/// ```
/// use mcp_auth::{Action, Event, HostError, TransportError, TransportErrorKind};
///
/// /// A host that can do nothing says so: nothing stays unanswered.
/// fn perform(action: Action) -> Event {
///     let why = HostError::new("there is nothing here");
///     match action {
///         Action::Load(call) => call.answer(Ok(None)),
///         Action::Save(call) => call.answer(Err(why)),
///         Action::Secret(call) => call.answer(Ok(None)),
///         Action::Key(call) => call.answer(Err(why)),
///         Action::Sign(call) => call.answer(Err(why)),
///         Action::Http(call) => {
///             call.answer(Err(TransportError::new(TransportErrorKind::Connect, why)))
///         }
///         Action::Listen(call) => call.answer(Err(why)),
///         Action::Browse(call) => call.answer(Err(why)),
///         Action::ShowCode(call) => call.answer(Err(why)),
///         other => panic!("this host doesn't know {other:?}"),
///     }
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # let attempt = s.demand(mcp_auth::Demand::interactive(mcp_auth::Need::default()));
/// # for what in ["load", "POST mcp.example.com"] {
/// #     let action = s.take_action(what);
/// #     s.handle(perform(action));
/// # }
/// # s.settle(attempt).unwrap();
/// # assert!(s.notices().iter().any(|notice| notice.ends_with("there is nothing here")));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Read the stored record.
    Load(LoadCall),
    /// Replace, or erase, the stored record, if it is what was read.
    Save(SaveCall),
    /// Read a secret that the settings name instead of holding it.
    Secret(SecretCall),
    /// Tell the public half of a key that the settings name.
    Key(KeyCall),
    /// Sign with such a key.
    Sign(SignCall),
    /// Send an HTTP request.
    Http(HttpCall),
    /// Start to listen at the callback address.
    Listen(ListenCall),
    /// Take a person to a URL.
    Browse(BrowseCall),
    /// Show a code that a person enters on another device.
    ShowCode(ShowCodeCall),
}

/// Names an action; answers carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CallId(pub(crate) u64);

/// Why the host could not do something, in its own words.
///
/// ```
/// use std::io;
/// use mcp_auth::HostError;
///
/// /// Why a store did not do it, as the machine tells one reason from another.
/// fn refusal(error: io::Error) -> HostError {
///     match error.kind() {
///         io::ErrorKind::WouldBlock => HostError::busy("another program has the lock"),
///         io::ErrorKind::AlreadyExists => HostError::conflict("another program was faster"),
///         _ => HostError::new(error),
///     }
/// }
///
/// assert!(refusal(io::ErrorKind::WouldBlock.into()).is_busy());
/// assert!(!refusal(io::ErrorKind::StorageFull.into()).is_conflict());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    why: String,
    weight: Weight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    Plain,
    Silent,
    Busy,
    Throttled,
    Conflict,
    Required,
    Headless,
}

impl HostError {
    /// From any error or text. It is shown to people: no secrets.
    pub fn new(why: impl fmt::Display) -> Self {
        Self { why: printable_at_length(&why.to_string()), weight: Weight::Plain }
    }

    /// The host has not answered: whether it has done what it was asked for, nobody knows.
    pub(crate) fn silent() -> Self {
        Self { weight: Weight::Silent, ..Self::new("no answer in time") }
    }

    /// Somebody else holds the store's lock; it may be free later.
    pub fn busy(why: impl fmt::Display) -> Self {
        Self { weight: Weight::Busy, ..Self::new(why) }
    }

    /// The host has not tried to take the store's lock, for too much else is under way: the attempt fails,
    /// and the next one may be luckier. Of [`busy`](Self::busy) ones, so many make a holder one that
    /// hangs, and the machine goes on without the lock; of these, none do.
    pub fn throttled(why: impl fmt::Display) -> Self {
        Self { weight: Weight::Throttled, ..Self::new(why) }
    }

    /// What is stored is not what it was expected to be, and nothing was changed: the answer to a
    /// [`SaveCall`] that another program was faster than. The machine reads again.
    pub fn conflict(why: impl fmt::Display) -> Self {
        Self { weight: Weight::Conflict, ..Self::new(why) }
    }

    /// The store can't be used, and there must be no refresh without it: for a program that ends
    /// before the store is mended. It would spend the stored refresh token, and lose the new one.
    ///
    /// With any other error, a program that goes on refreshes, and keeps its tokens in memory.
    pub fn required(why: impl fmt::Display) -> Self {
        Self { weight: Weight::Required, ..Self::new(why) }
    }

    /// No browser can be opened here, and this host can show a code instead: the answer to a
    /// [`BrowseCall`], or, where that is known before, to a [`ListenCall`]; then no client is registered
    /// for a browser first.
    pub fn headless(why: impl fmt::Display) -> Self {
        Self { weight: Weight::Headless, ..Self::new(why) }
    }

    /// Whether it was made by [`headless`](Self::headless).
    pub fn is_headless(&self) -> bool {
        self.weight == Weight::Headless
    }

    /// Whether it was made by [`busy`](Self::busy) or [`throttled`](Self::throttled): what was asked for
    /// may be had later.
    pub fn is_busy(&self) -> bool {
        matches!(self.weight, Weight::Busy | Weight::Throttled)
    }

    /// Whether it was made by [`throttled`](Self::throttled).
    pub fn is_throttled(&self) -> bool {
        self.weight == Weight::Throttled
    }

    /// Whether it was made by [`conflict`](Self::conflict).
    pub fn is_conflict(&self) -> bool {
        self.weight == Weight::Conflict
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.weight == Weight::Silent
    }

    pub(crate) fn forbids_refresh(&self) -> bool {
        matches!(self.weight, Weight::Busy | Weight::Throttled | Weight::Required)
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for HostError {}

fn answer(call: CallId, content: AnswerContent) -> Event {
    Event::Answer(Answer { call, content })
}
