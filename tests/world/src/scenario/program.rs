//! One program: its machine, and what its host holds open for it.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Uri;
use mcp_auth::output::{CallbackPort, HttpCall, ListenSpec, Page, ShowCodeCall};
use mcp_auth::{
    Action, AuthMachine, Event, HostError, Mono, Notice, PeerAddress, Redirected, SecretRef,
    TransportError, TransportErrorKind,
};
use url::Url;

use crate::faults::NetworkError;
use crate::text;
use crate::world::World;

/// One run of a program, from start to crash.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) machine: AuthMachine,
    /// When it was started: its monotonic clock counts from here.
    pub(super) started: Duration,
    pub(super) open: Vec<Open>,
    /// The redirect URI that is listened at.
    pub(super) listening: Option<String>,
    /// A code is shown.
    pub(super) shows_code: bool,
    /// Redirects whose page has not been shown yet.
    pub(super) untold: BTreeSet<u64>,
    /// When it was last handed an event.
    pub(super) handled: Option<Mono>,
}

/// What a person was shown to enter on another device (RFC 8628).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The code itself.
    pub user_code: String,
    /// Where to enter it.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long the person has, in seconds.
    pub expires_in: u64,
}

impl Code {
    pub(super) fn of(call: &ShowCodeCall) -> Self {
        Self {
            user_code: call.user_code().to_owned(),
            verification_uri: call.verification_uri().to_string(),
            verification_uri_complete: call.verification_uri_complete().map(ToString::to_string),
            expires_in: call.expires_in().as_secs(),
        }
    }
}

/// Something between the program and the world that is not over yet.
#[derive(Debug)]
pub(super) struct Open {
    /// How stories name it, e.g. `POST auth.example.com/token`.
    pub(super) label: String,
    pub(super) kind: Kind,
    /// When the program gives up on it, on its own clock.
    pub(super) until: Mono,
    pub(super) state: OpenState,
    /// The tokens that its answer brings, by the number that a crowd gives them.
    pub(super) brings: Option<usize>,
    /// The record that it has read or tried to save, and whether it has.
    pub(super) record: Option<(Option<Vec<u8>>, bool)>,
    /// It will not be answered before the program gives up on it.
    pub(super) stuck: bool,
}

/// An answer that is on its way for as long as the story likes.
#[derive(Debug)]
#[must_use]
pub struct Held(pub(super) Open);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Exchange,
    Prompt,
    Redirect,
    /// The answer to an exchange that the program has given up on.
    Late,
}

#[derive(Debug)]
pub(super) enum OpenState {
    /// The program has asked; nothing has happened.
    Asked(Action),
    /// It has happened; the program doesn't know yet.
    Answered(Event),
}

/// What came of one output.
#[derive(Debug)]
pub enum Stepped {
    /// The program asks for this; it stays open until it is performed and delivered.
    Asked(String),
    /// The browser that brought the redirect with this ticket shows this page.
    Showed(u64, Page),
    /// The listener is closed.
    Dismissed,
    /// The store's lock is released.
    Released,
    /// The program told something.
    Told(Notice),
    /// The program waits: for an event, or for this moment on its own clock.
    Waits(Option<Mono>),
}

/// A host keeps an action's own deadline; the machine must not give up before it, nor long after.
const GRACE: Duration = Duration::from_secs(5);

impl Open {
    pub(super) fn asked(action: Action, now: Mono, login_timeout: Duration) -> Self {
        let (label, kind, patience) = match &action {
            Action::Load(call) if call.lock() => {
                ("lock".to_owned(), Kind::Exchange, call.deadline() + GRACE)
            }
            Action::Load(call) => ("load".to_owned(), Kind::Exchange, call.deadline() + GRACE),
            Action::Save(call) => {
                let label = if call.record().is_some() { "save" } else { "erase" };
                (label.to_owned(), Kind::Exchange, call.deadline() + GRACE)
            }
            Action::Secret(call) => {
                let (SecretRef::File(at) | SecretRef::Env(at) | SecretRef::Name(at)) = call.place();
                (format!("secret {at}"), Kind::Exchange, call.deadline() + GRACE)
            }
            Action::Key(call) => {
                (format!("key: {}", call.key()), Kind::Exchange, call.deadline() + GRACE)
            }
            Action::Sign(call) => {
                (format!("sign: {}", call.key()), Kind::Exchange, call.deadline() + GRACE)
            }
            Action::Http(call) => {
                let request = call.request();
                let label = format!("{} {}", request.method(), place(request.uri()));
                (label, Kind::Exchange, call.limits().deadline + GRACE)
            }
            Action::Listen(_) => ("listen".to_owned(), Kind::Prompt, Duration::from_secs(30)),
            Action::Browse(_) => ("browse".to_owned(), Kind::Prompt, login_timeout),
            Action::ShowCode(call) => ("code".to_owned(), Kind::Prompt, call.expires_in()),
            other => panic!("the scenario doesn't know {other:?}"),
        };
        Self {
            label,
            kind,
            until: now.plus(patience),
            state: OpenState::Asked(action),
            brings: None,
            record: None,
            stuck: false,
        }
    }

    pub(super) fn redirect(ticket: u64, url: String) -> Self {
        let event = redirected(ticket, url);
        let until = Mono(Duration::MAX);
        Self {
            label: "redirect".to_owned(),
            kind: Kind::Redirect,
            until,
            state: OpenState::Answered(event),
            brings: None,
            record: None,
            stuck: false,
        }
    }
}

pub(super) fn redirected(ticket: u64, url: String) -> Event {
    Event::Redirected(Redirected { ticket, url: mcp_auth::Secret::new(url) })
}

/// Host and path.
pub(super) fn place(uri: &Uri) -> String {
    format!("{}{}", uri.host().unwrap_or_default(), uri.path())
}

/// The address that a host dials: the first that the call may reach.
pub(super) fn dialled(world: &World, call: &HttpCall) -> Result<PeerAddress, TransportError> {
    let mut refused = None;
    for address in world.addresses(call.request().uri().host().unwrap_or_default()) {
        match call.reach().allows(address) {
            Ok(()) => return Ok(PeerAddress(address)),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(match refused {
        Some(error) => TransportError::new(TransportErrorKind::Refused, error),
        None => TransportError::new(TransportErrorKind::Connect, "the name leads nowhere"),
    })
}

/// What a host makes of a response: bounds kept, failures named.
pub(super) fn received(
    result: Result<text::Response, NetworkError>,
    limits: mcp_auth::output::Limits,
) -> Result<text::Response, TransportError> {
    let mut response = result.map_err(|error| {
        let kind = match error {
            NetworkError::Unreachable | NetworkError::Tls => TransportErrorKind::Connect,
            NetworkError::TimedOut => TransportErrorKind::Timeout,
            NetworkError::Reset => TransportErrorKind::Other,
        };
        TransportError::new(kind, error)
    })?;
    if response.body().len() > limits.max_body {
        if !limits.head_only {
            return Err(TransportError::new(TransportErrorKind::TooLarge, "the body is too large"));
        }
        response.body_mut().truncate(limits.max_body);
    }
    Ok(response)
}

/// Binds a callback address, as a host would.
pub(super) fn bind(
    spec: &ListenSpec,
    taken: &BTreeSet<u16>,
    next: &mut u16,
) -> Result<String, HostError> {
    let free = |port: u16| !taken.contains(&port);
    let wanted = match spec.port {
        CallbackPort::Fixed(port) if !free(port) => {
            return Err(HostError::new(format!("port {port} is taken")));
        }
        CallbackPort::Fixed(port) | CallbackPort::Prefer(port) => Some(port),
        CallbackPort::Free => None,
    };
    let port = wanted.filter(|port| free(*port)).unwrap_or_else(|| {
        *next = next.wrapping_add(1).max(49152);
        *next
    });
    Ok(format!("http://{}:{port}{}", spec.host.as_str(), spec.path))
}

/// Whether a browser that is sent to `url` arrives at `redirect_uri`.
pub(super) fn arrives(url: &str, redirect_uri: &str) -> bool {
    let parts = |url: &str| {
        let url = Url::parse(url).ok()?;
        Some((
            url.scheme().to_owned(),
            url.host_str().map(str::to_owned),
            url.port(),
            url.path().to_owned(),
        ))
    };
    parts(url).is_some_and(|at| Some(at) == parts(redirect_uri))
}
