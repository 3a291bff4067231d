//! The hosts: two programs with one store, and the calls that they have not answered yet.

use std::time::Duration;

use http::Request;
use mcp_auth::output::{
    BrowseCall, CallbackPort, HttpCall, KeyCall, ListenCall, LoadCall, Purpose, SaveCall,
    SecretCall, ShowCodeCall, SignCall,
};
use mcp_auth::{
    AttemptId, AuthMachine, Event, HostError, Mono, PeerAddress, TransportError, TransportErrorKind,
};

use super::laws::Laws;
use crate::text::Response;
use crate::{NetworkError, World};

/// A machine gives up on a host that is this much late.
pub(super) const GRACE: Duration = Duration::from_secs(5);
const LISTEN_DEADLINE: Duration = Duration::from_secs(30);

/// A program: its machine, what it has not answered yet, and what is on its way.
pub(super) struct Program {
    pub(super) machine: AuthMachine,
    pub(super) exchange: Option<Pending<Exchange>>,
    pub(super) prompt: Option<Pending<Prompt>>,
    pub(super) parked: Vec<Reply>,
    /// What will never be answered.
    pub(super) lost: Vec<Pending<Exchange>>,
    /// Redirects that a browser was sent back with, oldest first.
    pub(super) redirects: Vec<String>,
    /// The authorization URL that was opened last.
    pub(super) opened: Option<String>,
    /// The token request that was given up on last.
    pub(super) given_up: Option<u64>,
    /// The last logout.
    pub(super) logout: Option<AttemptId>,
    pub(super) deadline: Option<Mono>,
    /// Counts the runs of all programs.
    pub(super) run: usize,
    /// It has said on disk that it asks its person.
    pub(super) has_turn: bool,
    /// It has asked for a listener since.
    pub(super) listens: bool,
    /// The store has failed it, or shown it what isn't there.
    pub(super) misled: bool,
    /// Somebody has logged out of it.
    pub(super) forgot: bool,
    pub(super) laws: Laws,
}

/// A call without an answer.
pub(super) struct Pending<C> {
    pub(super) call: C,
    /// Counts the calls of all programs.
    pub(super) number: u64,
    /// From here on, once it is told the time, the machine goes on without.
    pub(super) due: Mono,
    /// A logout came after it.
    pub(super) forgotten: bool,
    /// The machine goes on without.
    pub(super) late: bool,
}

impl Pending<Exchange> {
    /// Whether it empties the store.
    pub(super) fn erases(&self) -> bool {
        matches!(&self.call, Exchange::Save(call) if call.record().is_none())
    }
}

pub(super) enum Exchange {
    Load(LoadCall),
    Save(SaveCall),
    Secret(SecretCall),
    Key(KeyCall),
    Sign(SignCall),
    Http(HttpCall),
}

pub(super) enum Prompt {
    Listen(ListenCall),
    Browse(BrowseCall),
    ShowCode(ShowCodeCall),
}

/// An answer, and what is known about it.
pub(super) struct Reply {
    pub(super) event: Event,
    pub(super) said: Said,
    pub(super) number: u64,
    pub(super) due: Mono,
    pub(super) forgotten: bool,
    pub(super) late: bool,
}

pub(super) enum Said {
    Loaded(Option<Vec<u8>>),
    Saved(Option<Vec<u8>>),
    Http(Purpose, Box<Request<Vec<u8>>>, Option<Box<Response>>),
    Prompted,
}

impl Program {
    pub(super) fn new(machine: AuthMachine, run: usize) -> Self {
        Self {
            machine,
            exchange: None,
            prompt: None,
            parked: Vec::new(),
            lost: Vec::new(),
            redirects: Vec::new(),
            opened: None,
            given_up: None,
            logout: None,
            deadline: None,
            run,
            has_turn: false,
            listens: false,
            misled: false,
            forgot: false,
            laws: Laws::default(),
        }
    }

    /// The machine was told the time: it has given up on what is due.
    pub(super) fn give_up(&mut self, now: Mono) {
        let is_due =
            |late: &mut bool, due: Mono| !*late && due <= now && !std::mem::replace(late, true);
        let mut given_up = |is_token: bool, number: u64| {
            if is_token {
                self.given_up = self.given_up.max(Some(number));
            }
        };
        for pending in self.exchange.iter_mut().chain(&mut self.lost) {
            if is_due(&mut pending.late, pending.due) {
                self.misled |= !matches!(pending.call, Exchange::Http(_));
                given_up(pending.call.is_token_request(), pending.number);
            }
        }
        for reply in &mut self.parked {
            if is_due(&mut reply.late, reply.due) {
                given_up(matches!(reply.said, Said::Http(Purpose::Token, ..)), reply.number);
            }
        }
    }
}

impl Exchange {
    fn is_token_request(&self) -> bool {
        matches!(self, Exchange::Http(call) if call.purpose() == Purpose::Token)
    }

    /// How long the machine waits for it.
    pub(super) fn patience(&self) -> Duration {
        GRACE
            + match self {
                Exchange::Load(call) => call.deadline(),
                Exchange::Save(call) => call.deadline(),
                Exchange::Secret(call) => call.deadline(),
                Exchange::Key(call) => call.deadline(),
                Exchange::Sign(call) => call.deadline(),
                Exchange::Http(call) => call.limits().deadline,
            }
    }
}

impl Prompt {
    pub(super) fn patience(&self, person: Duration) -> Duration {
        match self {
            Prompt::Listen(_) => LISTEN_DEADLINE,
            Prompt::Browse(_) => person,
            Prompt::ShowCode(call) => call.expires_in(),
        }
    }
}

impl<C> Pending<C> {
    pub(super) fn reply(self, answer: impl FnOnce(C) -> (Event, Said)) -> Reply {
        let Self { call, number, due, forgotten, late } = self;
        let (event, said) = answer(call);
        Reply { event, said, number, due, forgotten, late }
    }
}

pub(super) fn saved(call: SaveCall, result: Result<(), HostError>) -> (Event, Said) {
    let record = call.record().map(<[u8]>::to_vec);
    (call.answer(result), Said::Saved(record))
}

pub(super) fn loaded(call: LoadCall, bytes: Option<Vec<u8>>) -> (Event, Said) {
    (call.answer(Ok(bytes.clone())), Said::Loaded(bytes))
}

pub(super) fn answered(call: HttpCall, response: Option<Response>, broken: u8) -> (Event, Said) {
    let kinds = [
        TransportErrorKind::Other,
        TransportErrorKind::Connect,
        TransportErrorKind::Timeout,
        TransportErrorKind::TooLarge,
    ];
    let (purpose, request) = (call.purpose(), call.request().clone());
    let kind = kinds[usize::from(broken) % kinds.len()];
    let result = response.clone().ok_or_else(|| TransportError::new(kind, "no response"));
    (call.answer(result), Said::Http(purpose, Box::new(request), response.map(Box::new)))
}

/// What the servers answer; `None` if nothing comes back.
pub(super) fn ask(world: &mut World, now: u64, call: &HttpCall) -> Option<Response> {
    let addresses = world.addresses(call.request().uri().host().unwrap_or_default());
    let address = *addresses.first()?;
    // Law: a request to an address that it may not reach doesn't come out at all.
    assert!(call.reach().allows(address).is_ok(), "{call:?} at {address}");
    let mut response = world.handle(now, call.request()).map_err(|_: NetworkError| ()).ok()?;
    response.extensions_mut().insert(PeerAddress(address));
    Some(response)
}

/// The address that a listener is bound to.
pub(super) fn bound(call: &ListenCall) -> String {
    let spec = call.spec();
    let port = match spec.port {
        CallbackPort::Fixed(port) | CallbackPort::Prefer(port) => port,
        CallbackPort::Free => 49152,
    };
    format!("http://{}:{port}{}", spec.host.as_str(), spec.path)
}
