//! What can go wrong: whose fault it is, what was expected, what came, what to do next.

mod advice;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::notice::ClientSource;
use crate::output::{HostError, Purpose, TransportError, TransportErrorKind};
use crate::wire::Malformed;
use crate::wire::failure::OAuthError;
use crate::wire::scope::ScopeSet;

/// Why there is no token. Cheap to clone: every waiter of an attempt gets it.
///
/// It never holds a secret, nor the body of an answer.
///
/// ```
/// use std::sync::Arc;
/// use mcp_auth::{AuthMachine, Config, Entropy, Fault};
///
/// let (config, entropy) = (Arc::new(Config::default()), Entropy::from_bytes([7; 32]));
/// let error = AuthMachine::new("http://mcp.example.com", config, entropy).unwrap_err();
/// assert_eq!(error.fault(), Fault::Settings);
/// eprintln!("{error}"); // what was expected, and what came
/// assert_eq!(error.advice(), "Correct the setting.");
/// ```
#[derive(Clone)]
pub struct Error(Arc<ErrorKind>);

/// Who can do something about an [`Error`].
///
/// ```
/// use mcp_auth::{Error, ErrorKind, Fault};
///
/// /// The exit code of a command.
/// fn exit_code(error: &Error) -> u8 {
///     match error.fault() {
///         Fault::Settings => 2,
///         Fault::User => 3,     // a script asks somebody to log in
///         Fault::Network => 75, // and tries again later
///         _ => 1,
///     }
/// }
///
/// assert_eq!(exit_code(&ErrorKind::DeniedElsewhere.into()), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The settings: the server's URL or the configuration.
    Settings,
    /// The program around the machine: its store, listener or browser.
    Host,
    /// The person who logs in, or their absence.
    User,
    /// The MCP server.
    ResourceServer,
    /// The authorization server.
    AuthorizationServer,
    /// The way there; it may pass.
    Network,
}

/// Every kind of failure.
///
/// ```
/// use mcp_auth::{Error, ErrorKind};
///
/// fn react(error: &Error) -> String {
///     match error.kind() {
///         ErrorKind::LoginRequired { .. } => "show the login button".into(),
///         ErrorKind::Passing { retry_in, .. } => format!("come back in {} s", retry_in.as_secs()),
///         ErrorKind::Cancelled => "go on".into(),
///         _ => format!("{error}. {}", error.advice()),
///     }
/// }
///
/// assert_eq!(react(&ErrorKind::Cancelled.into()), "go on");
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting doesn't have its form.
    #[error("invalid setting: {0}")]
    InvalidSetting(Malformed),
    /// A login needs a person, and the demand didn't allow a browser.
    #[error("login required: {reason}{}", if .scopes.is_empty() { String::new() } else { format!(" ({scopes})") })]
    LoginRequired {
        /// Why the tokens at hand don't do.
        reason: String,
        /// The scopes that are missing, where that is the reason.
        scopes: ScopeSet,
    },
    /// The attempt was cancelled.
    #[error("the attempt was cancelled")]
    Cancelled,
    /// The person didn't finish in the browser in time.
    #[error("nobody finished the login in the browser within {}", seconds(.within))]
    NobodyCame {
        /// How long was waited.
        within: Duration,
        /// The client that the browser was sent with, where it was registered before this login: the
        /// server may have forgotten it, and have told the person so instead of sending them back.
        /// The next login registers afresh.
        earlier_client: Option<String>,
        /// How that client, or the one of this login, was come by.
        client: Option<ClientSource>,
    },
    /// Nobody entered the code on another device in time (RFC 8628 §3.5).
    #[error("nobody entered the code within {}", seconds(.within))]
    CodeExpired {
        /// How long it was good, or was waited for.
        within: Duration,
    },
    /// The settings want the device authorization grant, and the server doesn't offer it.
    #[error("{issuer} offers no device authorization grant")]
    NoDeviceGrant {
        /// The authorization server.
        issuer: String,
    },
    /// The server gave no code for another device (RFC 8628 §3.2).
    #[error("{url} refused to give a code: {error}")]
    DeviceRefused {
        /// The device authorization endpoint.
        url: String,
        /// What it said.
        error: OAuthError,
    },
    /// A server could not be reached, or its answer not be read.
    #[error("{url} could not be reached: {source}")]
    Unreachable {
        /// Where the request went, without its query.
        url: String,
        /// What the transport said.
        source: TransportError,
    },
    /// A server supplied a URL that leads where it could not reach itself: nothing was sent there.
    #[error("{url}, which {} supplied, was not asked: {source}", supplier(.purpose))]
    AddressRefused {
        /// The URL, without its query.
        url: String,
        /// What the request would have been for; who supplied the URL follows from it.
        purpose: Purpose,
        /// The address, and what kind it is of.
        source: TransportError,
    },
    /// A passing failure; everything is kept.
    #[error("{url} has a passing failure ({what}); try again in {}", seconds(.retry_in))]
    Passing {
        /// Who failed, without its query.
        url: String,
        /// What it said, e.g. `HTTP 503`.
        what: String,
        /// When to try again, from the moment the error was made.
        retry_in: Duration,
    },
    /// The probe found out neither that authorization is needed nor that it isn't.
    #[error("could not find out whether {url} wants authorization: {what}")]
    ProbeFailed {
        /// The MCP server.
        url: String,
        /// What it answered.
        what: String,
        /// The resource that its metadata describes, where that is another URL: perhaps it is meant.
        instead: Option<String>,
    },
    /// The protected resource metadata speaks for another resource (RFC 9728 §3.3).
    #[error("{metadata_url} says it describes {got}, but the server is {server}")]
    ResourceMismatch {
        /// The MCP server.
        server: String,
        /// The document's `resource`.
        got: String,
        /// Where the document came from.
        metadata_url: String,
    },
    /// No authorization server could be found.
    #[error("no authorization server found for {server}: {}", .tried.join("; "))]
    NoAuthorizationServer {
        /// The MCP server.
        server: String,
        /// What was tried, and why it didn't do.
        tried: Vec<String>,
    },
    /// Server metadata names another issuer than the one it was asked for (RFC 8414 §3.3).
    #[error("{metadata_url} says its issuer is {got}, expected {expected}")]
    IssuerMismatch {
        /// The issuer that was looked up.
        expected: String,
        /// The document's `issuer`.
        got: String,
        /// Where the document came from.
        metadata_url: String,
    },
    /// The authorization server doesn't say that it does PKCE with S256.
    #[error("{issuer} {}", if *.absent { "doesn't say whether it supports PKCE" } else { "doesn't support PKCE with S256" })]
    NoPkce {
        /// The authorization server.
        issuer: String,
        /// Whether `code_challenge_methods_supported` is absent, rather than without S256.
        absent: bool,
    },
    /// There is no way to get a client identity.
    #[error("no client identity for {issuer}: {why}")]
    NoClient {
        /// The authorization server.
        issuer: String,
        /// Why each way is closed.
        why: String,
    },
    /// Dynamic registration was refused (RFC 7591 §3.2.2).
    #[error("{url} refused to register a client: {error}")]
    RegistrationRefused {
        /// The registration endpoint.
        url: String,
        /// What it said.
        error: OAuthError,
    },
    /// The authorization server sent the person back with an error (RFC 6749 §4.1.2.1).
    #[error("the authorization was not given: {0}")]
    Denied(OAuthError),
    /// The same, told to another program on this store: this one has waited for it instead of asking.
    #[error("another program asked for this login, and the authorization was not given")]
    DeniedElsewhere,
    /// The authorization response is not from the server that was asked (RFC 9207 §2.4).
    #[error("the authorization response names the issuer {}, expected {expected}", .got.as_deref().unwrap_or("(none)"))]
    MixUp {
        /// The issuer of the server that was asked.
        expected: String,
        /// The response's `iss`.
        got: Option<String>,
    },
    /// A pushed authorization request was refused (RFC 9126 §2.3).
    #[error("{url} refused the authorization request: {error}")]
    PushRefused {
        /// The endpoint.
        url: String,
        /// What it said.
        error: OAuthError,
    },
    /// The token endpoint refused (RFC 6749 §5.2).
    #[error("{url} refused the token request: {error}")]
    TokenRefused {
        /// The token endpoint.
        url: String,
        /// What it said.
        error: OAuthError,
    },
    /// A server's answer doesn't have its form.
    #[error("{url} sent an unusable answer: {what}")]
    Unusable {
        /// Who sent it, without its query.
        url: String,
        /// What was expected, and what came.
        what: Malformed,
    },
    /// A server didn't end what a logout asked it to end.
    #[error("{url} did not end it: {why}")]
    NotEnded {
        /// Who was asked, without its query.
        url: String,
        /// What it said instead, or why nobody knows.
        why: String,
    },
    /// The server asks for scopes that the token already has, or has been asked too often.
    #[error("the server still refuses with insufficient_scope after {rounds} step-up(s): {why}")]
    StepUpLimit {
        /// How many step-ups were made for this operation.
        rounds: u8,
        /// Why there is no other.
        why: String,
    },
    /// Tokens that were just issued are refused.
    #[error("the server refuses tokens that its authorization server has just issued")]
    FreshTokenRefused,
    /// The configured static bearer token was refused.
    #[error("the server refused the configured bearer token")]
    StaticTokenRefused,
    /// A token was about to be sent to a server that it doesn't belong to.
    #[error("{request} is not at {server}: its token is not sent there")]
    ForeignRequest {
        /// The server that the token belongs to.
        server: String,
        /// Where the request goes, without its query.
        request: String,
    },
    /// The token is bound to a key, and the request has no proof of it.
    #[error("the token is bound to a key, and a request with it needs a proof")]
    ProofMissing,
    /// The store could not be read, locked or erased.
    #[error("the store failed: {0}")]
    Store(HostError),
    /// The caller's own limit passed first. A token request that is under way is seen through.
    #[error("there was no result within the {} that the program allowed", seconds(.0))]
    TimedOut(Duration),
    /// The system's generator failed: no secret can be drawn.
    #[error("the system has no randomness to give: {0}")]
    NoRandomness(HostError),
    /// The host has no HTTP client.
    #[error("there is no HTTP client: {0}")]
    NoHttpClient(HostError),
    /// A secret that the settings name could not be read.
    #[error("{what} could not be had from {place}: {source}")]
    SecretUnavailable {
        /// Whose or what for.
        what: &'static str,
        /// Where it should be.
        place: String,
        /// Why it can't be used.
        source: HostError,
    },
    /// A key of the settings could not be used, or the host's signer failed.
    #[error("{what}, {key}, can't sign: {source}")]
    SigningFailed {
        /// Whose key.
        what: &'static str,
        /// Where it is.
        key: String,
        /// Why.
        source: HostError,
    },
    /// The callback address could not be had.
    #[error("the callback address could not be had: {0}")]
    Listener(HostError),
    /// The browser could not be opened.
    #[error("the browser could not be opened: {0}")]
    Browser(HostError),
    /// The code could not be shown.
    #[error("the code could not be shown: {0}")]
    CodeNotShown(HostError),
    /// The host didn't answer an action by its deadline.
    #[error("the program didn't answer the action \"{action}\" in time")]
    Unanswered {
        /// Which action.
        action: &'static str,
    },
}

impl Error {
    /// The kind, with its data.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// Who can do something about it.
    pub fn fault(&self) -> Fault {
        use ErrorKind as K;
        match self.kind() {
            K::InvalidSetting(_) | K::StaticTokenRefused | K::NoClient { .. } => Fault::Settings,
            K::SecretUnavailable { .. } | K::SigningFailed { .. } => Fault::Settings,
            K::NoDeviceGrant { .. } => Fault::Settings,
            K::Store(_) | K::Listener(_) | K::Browser(_) | K::Unanswered { .. } => Fault::Host,
            K::ProofMissing => Fault::Host,
            K::ForeignRequest { .. } | K::TimedOut(_) | K::NoRandomness(_) => Fault::Host,
            K::CodeNotShown(_) | K::NoHttpClient(_) => Fault::Host,
            K::LoginRequired { .. } | K::Cancelled | K::Denied(_) => Fault::User,
            K::NobodyCame { .. } | K::CodeExpired { .. } | K::DeniedElsewhere => Fault::User,
            K::ProbeFailed { .. } | K::ResourceMismatch { .. } => Fault::ResourceServer,
            K::StepUpLimit { .. } | K::FreshTokenRefused => Fault::ResourceServer,
            K::NoAuthorizationServer { .. } => Fault::ResourceServer,
            K::AddressRefused { purpose, .. } => match purpose {
                Purpose::ResourceMetadata | Purpose::ServerMetadata => Fault::ResourceServer,
                _ => Fault::AuthorizationServer,
            },
            K::Unreachable { .. } | K::Passing { .. } => Fault::Network,
            K::IssuerMismatch { .. } | K::NoPkce { .. } | K::MixUp { .. } => {
                Fault::AuthorizationServer
            }
            K::RegistrationRefused { .. }
            | K::DeviceRefused { .. }
            | K::TokenRefused { .. }
            | K::PushRefused { .. }
            | K::Unusable { .. }
            | K::NotEnded { .. } => Fault::AuthorizationServer,
        }
    }

    /// Whether the person said no (RFC 6749 §4.1.2.1).
    pub(crate) fn is_refusal_by_person(&self) -> bool {
        matches!(self.kind(), ErrorKind::Denied(error) if error.error == "access_denied")
    }

    /// How long to wait before another try makes sense, where the failure is a passing one.
    pub fn retry_in(&self) -> Option<Duration> {
        match self.kind() {
            ErrorKind::Passing { retry_in, .. } => Some(*retry_in),
            _ => None,
        }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Arc::new(kind))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Why a request has no answer.
pub(crate) fn unanswered(url: String, purpose: Purpose, source: TransportError) -> ErrorKind {
    match source.kind {
        TransportErrorKind::Refused => ErrorKind::AddressRefused { url, purpose, source },
        _ => ErrorKind::Unreachable { url, source },
    }
}

/// Whose word a URL is that was asked for this.
fn supplier(purpose: &Purpose) -> &'static str {
    match purpose {
        Purpose::Probe => "the operator",
        Purpose::ResourceMetadata => "the MCP server's challenge",
        Purpose::ServerMetadata => "the MCP server",
        Purpose::Registration
        | Purpose::PushedAuthorization
        | Purpose::DeviceAuthorization
        | Purpose::Token
        | Purpose::Revocation => "the authorization server's metadata",
        Purpose::Management | Purpose::Upkeep => "the answer to the client's registration",
    }
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs())
}
