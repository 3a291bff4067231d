//! Everything that can come out.
//!
//! An [`Action`] is performed by the host and answered exactly once: `answer` consumes it, so a
//! second answer, or one of a wrong kind, doesn't compile. At most one *exchange* (load, save,
//! secret, key, signature, HTTP) and one *prompt* (listen, browse, show a code) are unanswered at a
//! time.

mod code;
mod secrets;
mod signer;
mod store;

use std::fmt;
use std::time::Duration;

use url::Url;

use crate::config::ClientCertificate;
use crate::event::{Answer, AnswerContent, Event, HttpReply};
use crate::notice::Notice;
use crate::reach::{PeerAddress, Reach, Witness};
use crate::text::{printable, printable_at_length, printable_url};
use crate::time::Mono;

pub use code::ShowCodeCall;
pub(crate) use code::UserCode;
pub(crate) use secrets::SECRET_DEADLINE;
pub use secrets::{FoundSecret, SecretCall};
pub(crate) use signer::SIGNER_DEADLINE;
pub use signer::{FoundKey, KeyCall, SignCall};
pub(crate) use store::STORE_DEADLINE;
pub use store::{LoadCall, Revision, SaveCall};

/// What comes out of [`AuthMachine::poll_output`](crate::AuthMachine::poll_output).
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
pub struct CallId(pub(crate) u64);

/// What a request is for; adapters don't need it, logs and tests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Does the MCP server want authorization?
    Probe,
    /// Protected resource metadata (RFC 9728).
    ResourceMetadata,
    /// Authorization server metadata (RFC 8414, OpenID Connect Discovery).
    ServerMetadata,
    /// Dynamic client registration (RFC 7591).
    Registration,
    /// An authorization request is pushed (RFC 9126).
    PushedAuthorization,
    /// A code for another device is asked for (RFC 8628 §3.1).
    DeviceAuthorization,
    /// Code exchange, refresh or poll at the token endpoint (RFC 6749, RFC 8628).
    Token,
    /// The end of a token at the revocation endpoint (RFC 7009).
    Revocation,
    /// The end of a registration (RFC 7592 §2.3).
    Management,
    /// A registration is read or renewed (RFC 7592 §2.1, §2.2).
    Upkeep,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Purpose::Probe => "probe",
            Purpose::ResourceMetadata => "protected resource metadata",
            Purpose::ServerMetadata => "authorization server metadata",
            Purpose::Registration => "client registration",
            Purpose::PushedAuthorization => "pushed authorization request",
            Purpose::DeviceAuthorization => "device authorization",
            Purpose::Token => "token request",
            Purpose::Revocation => "token revocation",
            Purpose::Management => "client registration management",
            Purpose::Upkeep => "client registration upkeep",
        })
    }
}

/// Bounds of an HTTP action: data, so that every host keeps the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For the whole exchange, from the name lookup to the last byte.
    pub deadline: Duration,
    /// The most bytes of body to read; more is [`TransportErrorKind::TooLarge`].
    pub max_body: usize,
    /// Only status and header fields matter: the body may be endless, don't read past what has
    /// come (at most `max_body`), and don't fail over it.
    pub head_only: bool,
}

impl Limits {
    pub(crate) fn of(purpose: Purpose) -> Self {
        // Documents of real servers are below 100 KiB, token replies below 10 KiB. A token request
        // is given longer: its answer is the one that must not be lost.
        let (seconds, max_body, head_only) = match purpose {
            Purpose::Probe => (10, 64 << 10, true),
            Purpose::ResourceMetadata | Purpose::ServerMetadata => (10, 1 << 20, false),
            Purpose::Registration | Purpose::PushedAuthorization | Purpose::DeviceAuthorization => {
                (30, 64 << 10, false)
            }
            Purpose::Token => (60, 64 << 10, false),
            // The store's lock is held meanwhile, and perhaps for a refresh after it. But the answer
            // may hold a new secret.
            Purpose::Upkeep => (20, 64 << 10, false),
            // The store's lock is held meanwhile, and somebody may wait for the command to end.
            Purpose::Revocation | Purpose::Management => (10, 64 << 10, false),
        };
        Self { deadline: Duration::from_secs(seconds), max_body, head_only }
    }

    /// Whether the body of an answer with these header fields is read at all: with
    /// [`head_only`](Self::head_only), JSON alone is, for an event stream may never end.
    pub fn want_body(&self, headers: &http::HeaderMap) -> bool {
        let kind = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json =
            kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/json"));
        is_json || !self.head_only
    }
}

/// Send one HTTP request: follow no redirect, keep no cookie, treat no status as an error.
pub struct HttpCall {
    pub(crate) id: CallId,
    /// Boxed: it is by far the largest part of an [`Output`].
    pub(crate) request: Box<http::Request<Vec<u8>>>,
    pub(crate) limits: Limits,
    pub(crate) purpose: Purpose,
    pub(crate) reach: Reach,
    /// It goes to the operator's own server.
    pub(crate) home: bool,
    pub(crate) certificate: Option<ClientCertificate>,
}

impl HttpCall {
    /// The request, with an absolute URI.
    pub fn request(&self) -> &http::Request<Vec<u8>> {
        &self.request
    }

    /// The bounds to keep.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// What the client shows when it connects (mutual TLS, RFC 8705): for this request alone, on a
    /// connection of its own. Where it can't be had, send nothing.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref()
    }

    /// What it may reach: of the addresses that the host name has, dial those that this allows, and
    /// no other. Look the name up once, so that what is dialled is what was asked about. Where none
    /// is allowed, send nothing and answer [`TransportErrorKind::Refused`].
    ///
    /// A connection that is kept for later requests was dialled under the bounds of an earlier one:
    /// reuse it for a call without bounds, or for one with the same. Where a proxy looks the names
    /// up, it is the proxy that decides; requests to addresses themselves are judged before they
    /// come out here.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The response of any status, or why there is none. Put the [`PeerAddress`] of the connection
    /// into the response's extensions: it tells where the operator's server is, and so what it may
    /// name.
    pub fn answer(self, mut result: Result<http::Response<Vec<u8>>, TransportError>) -> Event {
        if let Ok(response) = &mut result
            && let Some(PeerAddress(address)) = response.extensions_mut().remove()
        {
            let lenient = self.reach.is_lenient(address);
            response.extensions_mut().insert(Witness { address, home: self.home, lenient });
        }
        answer(self.id, AnswerContent::Http(HttpReply(result)))
    }
}

impl fmt::Debug for HttpCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = printable_url(&self.request.uri().to_string());
        write!(f, "HttpCall({} {uri}, {})", self.request.method(), self.purpose)
    }
}

/// Where the callback listener shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    /// The host name in the redirect URI; always a loopback name.
    pub host: CallbackHost,
    /// Which port.
    pub port: CallbackPort,
    /// The path, with its leading slash.
    pub path: String,
}

/// The loopback name in a redirect URI (RFC 8252 §7.3).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum CallbackHost {
    /// `127.0.0.1`: what RFC 8252 §8.3 recommends.
    #[default]
    #[serde(rename = "127.0.0.1")]
    V4,
    /// `[::1]`.
    #[serde(rename = "::1")]
    V6,
    /// `localhost`, for servers that accept nothing else; the host listens on both addresses.
    #[serde(rename = "localhost")]
    Localhost,
}

impl CallbackHost {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.1",
            Self::V6 => "[::1]",
            Self::Localhost => "localhost",
        }
    }
}

/// Which port a callback listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallbackPort {
    /// Any free one.
    Free,
    /// This one, or else any free one.
    Prefer(u16),
    /// This one and no other.
    Fixed(u16),
}

/// Bind the callback address; the redirect URI is built from what was really bound.
#[derive(Debug)]
pub struct ListenCall {
    pub(crate) id: CallId,
    pub(crate) spec: ListenSpec,
}

impl ListenCall {
    /// Where to listen.
    pub fn spec(&self) -> &ListenSpec {
        &self.spec
    }

    /// The redirect URI, e.g. `http://127.0.0.1:49152/callback`. Requests that come to it are
    /// [`Event::Redirected`], until [`Output::Dismiss`]. See also [`HostError::headless`].
    pub fn answer(self, result: Result<String, HostError>) -> Event {
        answer(self.id, AnswerContent::Listening(result))
    }
}

/// Take a person to the authorization endpoint.
pub struct BrowseCall {
    pub(crate) id: CallId,
    pub(crate) url: Url,
}

impl BrowseCall {
    /// Where to. It holds `state` and the PKCE challenge: show it to the person only.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// `Ok` once the person has the URL, however it was handed over. Their return is an
    /// [`Event::Redirected`].
    ///
    /// [`HostError::headless`] lets the login go on by a code, where settings and server do
    /// ([`Config::device_grant`](crate::Config::device_grant)).
    pub fn answer(self, result: Result<(), HostError>) -> Event {
        answer(self.id, AnswerContent::Browsed(result))
    }
}

impl fmt::Debug for BrowseCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrowseCall({})", printable_url(self.url.as_str()))
    }
}

/// What the person's browser shows after a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Page {
    /// The authorization came back; the tab can be closed.
    Success,
    /// It came back with this error.
    Failure(String),
    /// The request was none of ours: the login goes on.
    NotForUs,
    /// It may be ours and can't be used, for this reason: the login goes on.
    Unusable(&'static str),
    /// It came to the right address and brought nothing: the answer may stand behind the `#` of the
    /// address, which browsers keep to themselves. The login goes on; the person may paste the
    /// address, which is an [`Event::Redirected`] too.
    Bare,
    /// It answers a login that was given up on: another one is to be started.
    Expired,
}

/// Why the host could not do something, in its own words.
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

    /// Whether it was made by [`busy`](Self::busy).
    pub fn is_busy(&self) -> bool {
        self.weight == Weight::Busy
    }

    /// Whether it was made by [`conflict`](Self::conflict).
    pub fn is_conflict(&self) -> bool {
        self.weight == Weight::Conflict
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.weight == Weight::Silent
    }

    pub(crate) fn forbids_refresh(&self) -> bool {
        matches!(self.weight, Weight::Busy | Weight::Required)
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for HostError {}

/// Why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportError {
    /// What kind of failure.
    pub kind: TransportErrorKind,
    message: String,
}

/// The kinds of failure that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// Name lookup, connection or TLS failed: the request was certainly not processed.
    Connect,
    /// The deadline passed.
    Timeout,
    /// The body is larger than allowed.
    TooLarge,
    /// The host name has no address that the call [may reach](HttpCall::reach): nothing was sent.
    Refused,
    /// Anything else.
    Other,
}

impl TransportError {
    /// `message` is shown to people: no secrets.
    pub fn new(kind: TransportErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: printable(&message.to_string()) }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TransportError {}

fn answer(call: CallId, content: AnswerContent) -> Event {
    Event::Answer(Answer { call, content })
}
