//! HTTP requests that the machine wants sent, and why one has no response.

use std::fmt;
use std::time::Duration;

use super::{CallId, answer};
use crate::config::ClientCertificate;
use crate::event::{AnswerContent, Event, HttpReply};
use crate::reach::{PeerAddress, Reach, Witness};
use crate::text::{printable, printable_url};

/// What a request is for; adapters don't need it, logs and tests do.
///
/// ```
/// use std::collections::BTreeMap;
/// use mcp_auth::Notice;
///
/// /// Counts requests for a metric.
/// fn count(requests: &mut BTreeMap<String, u64>, notice: &Notice) {
///     if let Notice::Asking { purpose, .. } = notice {
///         *requests.entry(purpose.to_string()).or_default() += 1;
///     }
/// }
///
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.log_in()?;
/// # let notices = s.notices;
/// let mut requests = BTreeMap::new();
/// notices.iter().for_each(|notice| count(&mut requests, notice)); // those of a login
/// assert_eq!(requests["token request"], 1);
/// # Ok::<(), mcp_auth::Error>(())
/// ```
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
///
/// ```
/// use std::io::{self, Read};
/// use std::time::Duration;
/// use mcp_auth::output::Limits;
///
/// /// What is read of a body; `None` where it is too large.
/// fn read(limits: Limits, body: impl Read) -> io::Result<Option<Vec<u8>>> {
///     let mut bytes = Vec::new();
///     body.take(limits.max_body as u64 + 1).read_to_end(&mut bytes)?;
///     let fits = bytes.len() <= limits.max_body || limits.head_only;
///     bytes.truncate(limits.max_body);
///     Ok(fits.then_some(bytes))
/// }
///
/// let deadline = Duration::from_secs(10);
/// let limits = Limits { deadline, max_body: 4, head_only: false };
/// assert_eq!(read(limits, &b"1234"[..])?, Some(b"1234".to_vec()));
/// assert_eq!(read(limits, &b"12345"[..])?, None); // `TransportErrorKind::TooLarge`
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    /// What is left of them once so much time is gone, as with the reading of a
    /// [certificate](HttpCall::certificate).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use mcp_auth::TransportErrorKind;
    /// # let limits = mcp_auth::output::Limits {
    /// #     deadline: Duration::from_secs(60), max_body: 4, head_only: false,
    /// # };
    /// let left = limits.after(Duration::from_secs(20))?;
    /// assert_eq!(left.deadline, Duration::from_secs(40));
    /// let error = limits.after(Duration::from_secs(60)).unwrap_err();
    /// assert_eq!(error.kind, TransportErrorKind::Timeout);
    /// # Ok::<(), mcp_auth::TransportError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TransportErrorKind::Timeout`] where nothing is left: then send nothing. The machine may have
    /// given the call up, and another program may have sent the same.
    pub fn after(self, gone: Duration) -> Result<Self, TransportError> {
        let left = self.deadline.saturating_sub(gone);
        if left.is_zero() {
            let why = "no time is left: what it is to be sent with was waited for too long";
            return Err(TransportError::new(TransportErrorKind::Timeout, why));
        }
        Ok(Self { deadline: left, ..self })
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
///
/// ```
/// use mcp_auth::output::HttpCall;
/// use mcp_auth::{Event, PeerAddress, TransportError, TransportErrorKind};
/// # fn look_up(host: Option<&str>) -> Vec<core::net::IpAddr> {
/// #     assert_eq!(host, Some("mcp.example.com"));
/// #     vec!["93.184.216.34".parse().unwrap()]
/// # }
/// # fn exchange(
/// #     _: core::net::IpAddr, request: &http::Request<Vec<u8>>, _: mcp_auth::output::Limits,
/// # ) -> Result<http::Response<Vec<u8>>, TransportError> {
/// #     assert_eq!(request.method(), "POST");
/// #     let challenge = r#"Bearer resource_metadata="https://mcp.example.com/about""#;
/// #     let response = http::Response::builder().status(401).header("www-authenticate", challenge);
/// #     Ok(response.body(Vec::new()).unwrap())
/// # }
///
/// fn send(call: HttpCall) -> Event {
///     let mut found = look_up(call.request().uri().host()).into_iter(); // once
///     let Some(address) = found.find(|address| call.reach().allows(*address).is_ok()) else {
///         let error = TransportError::new(TransportErrorKind::Refused, "no address may be dialled");
///         return call.answer(Err(error));
///     };
///     let mut result = exchange(address, call.request(), call.limits());
///     if let Ok(response) = &mut result {
///         response.extensions_mut().insert(PeerAddress(address));
///     }
///     call.answer(result)
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.demand(mcp_auth::Demand::inspect());
/// # let mcp_auth::Action::Http(call) = s.take_action("POST") else { panic!() };
/// # s.handle(send(call));
/// # let mcp_auth::Action::Http(call) = s.take_action("GET mcp.example.com/about") else { panic!() };
/// # assert!(call.reach().is_anywhere());
/// ```
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
    /// connection of its own. Where it can't be had, send nothing; reading it takes up part of the
    /// deadline ([`Limits::after`]).
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

/// Why a request has no response.
///
/// ```
/// use std::io;
/// use mcp_auth::{TransportError, TransportErrorKind};
///
/// fn failure(error: io::Error) -> TransportError {
///     let kind = match error.kind() {
///         io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable => {
///             TransportErrorKind::Connect
///         }
///         io::ErrorKind::TimedOut => TransportErrorKind::Timeout,
///         _ => TransportErrorKind::Other,
///     };
///     TransportError::new(kind, error)
/// }
///
/// assert_eq!(failure(io::ErrorKind::TimedOut.into()).kind, TransportErrorKind::Timeout);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportError {
    /// What kind of failure.
    pub kind: TransportErrorKind,
    message: String,
}

/// The kinds of failure that matter.
///
/// ```
/// use mcp_auth::{Error, ErrorKind, TransportError, TransportErrorKind};
///
/// fn hint(error: &Error) -> Option<&'static str> {
///     let ErrorKind::Unreachable { source, .. } = error.kind() else { return None };
///     match source.kind {
///         TransportErrorKind::Connect => Some("Are you online?"),
///         TransportErrorKind::Timeout => Some("It is slow today."),
///         _ => None,
///     }
/// }
///
/// let source = TransportError::new(TransportErrorKind::Connect, "no such host");
/// let error = ErrorKind::Unreachable { url: "https://mcp.example.com".into(), source };
/// assert_eq!(hint(&error.into()), Some("Are you online?"));
/// ```
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
