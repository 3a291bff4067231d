//! What can go wrong: whose fault it is, what was expected, what came, what to do next.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::notice::ClientSource;
use crate::output::{HostError, Purpose, TransportError, TransportErrorKind};
use crate::wire::failure::OAuthError;
use crate::wire::scope::ScopeSet;
use crate::wire::{Malformed, url as address};

/// Why there is no token. Cheap to clone: every waiter of an attempt gets it.
///
/// It never holds a secret, nor the body of an answer.
#[derive(Clone)]
pub struct Error(Arc<ErrorKind>);

/// Who can do something about an [`Error`].
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
            K::Store(_) | K::Listener(_) | K::Browser(_) | K::Unanswered { .. } => Fault::Host,
            K::ProofMissing => Fault::Host,
            K::ForeignRequest { .. } | K::TimedOut(_) | K::NoRandomness(_) => Fault::Host,
            K::LoginRequired { .. } | K::Cancelled | K::Denied(_) => Fault::User,
            K::NobodyCame { .. } | K::DeniedElsewhere => Fault::User,
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
            | K::TokenRefused { .. }
            | K::PushRefused { .. }
            | K::Unusable { .. }
            | K::NotEnded { .. } => Fault::AuthorizationServer,
        }
    }

    /// What to do next, in a sentence.
    pub fn advice(&self) -> String {
        use ErrorKind as K;
        match self.kind() {
            K::InvalidSetting(_) => "Correct the setting.".into(),
            K::LoginRequired { scopes, .. } if !scopes.is_empty() => {
                format!("Log in where a browser is welcome, asking for {scopes}.")
            }
            K::LoginRequired { .. } => "Log in where a browser is welcome, then try again.".into(),
            K::NobodyCame { earlier_client: Some(client), .. } => format!(
                "If the browser showed an error: the server may have forgotten the client {client}. Start the login again: a new client is then registered."
            ),
            K::NobodyCame { client: Some(ClientSource::Registered), .. } => format!(
                "Start the login again. Did the browser show an error? {ONLY_KNOWN_CLIENTS}."
            ),
            K::NobodyCame { client: Some(ClientSource::Configured), .. } => {
                "Start the login again. Did the browser show an error? Check the client's settings at the provider, its redirect URI above all.".into()
            }
            K::Cancelled | K::NobodyCame { .. } => "Start the login again.".into(),
            K::TimedOut(_) => "Try again, or allow more time.".into(),
            K::NoRandomness(_) => "Mend the system's random generator, then try again.".into(),
            K::Unreachable { .. } => "Check the network and the URL, then try again.".into(),
            K::AddressRefused { .. } => {
                "If that is where it should lead, add the host or its address to `allow_private_addresses`; otherwise tell the server's operator, and don't log in.".into()
            }
            K::Passing { .. } => "Nothing is lost: try again later.".into(),
            K::ProbeFailed { instead: Some(instead), .. } => {
                format!("Use {instead} as the server's URL: that is what its metadata describes. If this one is right all the same, name its authorization server (`issuer`).")
            }
            K::ProbeFailed { .. } => {
                "Check that the URL is the MCP endpoint; if the server needs a login all the same, name its authorization server (`issuer`).".into()
            }
            K::ResourceMismatch { got, .. } => format!(
                "If {got} is the server you mean, use that URL; otherwise tell the server's operator, and don't log in."
            ),
            K::NoAuthorizationServer { .. } => {
                "Name the authorization server (`issuer`), or its endpoints (`authorize_url` and `token_url`).".into()
            }
            K::IssuerMismatch { expected, got, .. } if address::is_origin_of(got, expected) => format!(
                "If you know that {got} is right for this server, switch on `trust_origin_issuer`, or add it to `trusted_issuers`; otherwise don't log in."
            ),
            K::IssuerMismatch { got, .. } => format!(
                "If you know that {got} is right for this server, add it to `trusted_issuers`; otherwise don't log in."
            ),
            K::NoPkce { absent: true, .. } => {
                "If the server does support S256, switch on `assume_s256`.".into()
            }
            K::NoPkce { .. } => "The server must support S256; there is no safe way around.".into(),
            K::NoClient { .. } => {
                "Register a client with the provider, in its console for developers, and give `client_id`, `client_secret` if it has one, and `callback_port` if its redirect URI has one; or give `client_metadata_url`.".into()
            }
            K::RegistrationRefused { .. } => format!("{ONLY_KNOWN_CLIENTS}, or an `initial_access_token`."),
            K::Denied(error) if error.error == "invalid_scope" => {
                "Ask for other scopes (`scopes`).".into()
            }
            K::DeniedElsewhere => "Log in again and allow the access.".into(),
            K::Denied(_) if self.is_refusal_by_person() => {
                "Log in again and allow the access.".into()
            }
            K::Denied(error) | K::TokenRefused { error, .. } if error.is_refused_resource() => {
                "If the server takes no resource indicators, set `send_resource` to `auto`, or to `never`.".into()
            }
            K::Denied(error) if error.error == "unauthorized_client" => {
                format!("{ONLY_KNOWN_CLIENTS}.")
            }
            K::Denied(_) => "Log in again; if it stays, ask the server's operator.".into(),
            K::MixUp { got: Some(got), .. } => format!(
                "Don't log in before the server's operator has explained it: it may be an attack. If {got} is theirs too, add it to `trusted_issuers`."
            ),
            K::MixUp { .. } => {
                "Don't log in before the server's operator has explained it: it may be an attack.".into()
            }
            K::PushRefused { .. } => "Check the client's settings, its scopes and its redirect URI.".into(),
            K::TokenRefused { .. } => "Log in again; if it stays, check the client's settings.".into(),
            K::Unusable { .. } => "Ask the server's operator.".into(),
            K::NotEnded { .. } => {
                "It may live until it expires: end the access in your account at the server.".into()
            }
            K::StepUpLimit { .. } => {
                "Ask the server's operator which access the operation needs.".into()
            }
            K::FreshTokenRefused => {
                "Check `resource` and `scopes`: the token may be meant for another audience. Some servers want to be told by an `audience` in `oauth_params` and `token_params`.".into()
            }
            K::StaticTokenRefused => "Replace `bearer_token`.".into(),
            K::ForeignRequest { .. } => "Use a session of its own for the other server.".into(),
            K::ProofMissing => "Have it signed: `Grant::proof`, then `Grant::authorize_with`.".into(),
            K::Store(error) if error.is_busy() => {
                "Another program is renewing the tokens: try again in a moment.".into()
            }
            K::Store(_) => "Mend the store, then try again; nothing was overwritten.".into(),
            K::SecretUnavailable { .. } => "Put the secret there, or name its place anew.".into(),
            K::SigningFailed { .. } => "Put a key there that the server takes, or give the program a signer that has it.".into(),
            K::Listener(_) => "Free the port, or choose another `callback_port`.".into(),
            K::Browser(_) => "Open the URL by hand (`--no-browser`), or paste the redirect back (`--paste`).".into(),
            K::Unanswered { .. } => "This is a bug of the program or its adapter.".into(),
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
        | Purpose::Token
        | Purpose::Revocation => "the authorization server's metadata",
        Purpose::Management | Purpose::Upkeep => "the answer to the client's registration",
    }
}

/// Registration is open to all, or seems so, and the client is refused.
const ONLY_KNOWN_CLIENTS: &str = "The provider may let in only clients that it knows: register one there and give `client_id` (and `client_secret`)";

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs())
}
