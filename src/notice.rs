//! What the machine tells: each transition, for logs, progress lines and metrics. Never a secret.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::logout::{Credential, Ending};
use crate::output::{HostError, Purpose};
use crate::session::clock::ClockSkew;
use crate::session::trouble::SessionState;
use crate::time::UnixTime;
use crate::wire::scope::ScopeSet;

/// Something that happened. Its `Display` is one line for people.
///
/// ```
/// use mcp_auth::Notice;
///
/// /// What a progress line shows; a log would take all of it.
/// fn progress(notice: &Notice) -> Option<String> {
///     match notice {
///         Notice::Asking { .. } | Notice::Answered { .. } => None,
///         Notice::Browsing => Some("Please go on in your browser.".into()),
///         other => Some(other.to_string()),
///     }
/// }
///
/// assert_eq!(progress(&Notice::Authorized).as_deref(), Some("the authorization came back"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A request goes out.
    Asking {
        /// What for.
        purpose: Purpose,
        /// The method.
        method: String,
        /// The URL without its query.
        url: String,
    },
    /// Its answer came, or didn't.
    Answered {
        /// What for.
        purpose: Purpose,
        /// The status, or what the transport said.
        outcome: Result<u16, String>,
    },
    /// An answer didn't do, and the next way is tried.
    Skipped {
        /// Whose answer.
        url: String,
        /// Why.
        why: String,
    },
    /// The server wants no authorization.
    NotRequired,
    /// The server wants authorization.
    Required,
    /// Protected resource metadata was found.
    ResourceFound {
        /// Its `resource`.
        resource: String,
        /// Where.
        url: String,
    },
    /// The authorization server is known.
    ServerFound {
        /// Its issuer.
        issuer: String,
        /// Where its metadata was, if anywhere.
        url: Option<String>,
    },
    /// A named leniency of the configuration, or one that is always on, was needed.
    Lenient(Leniency),
    /// This client identity is used.
    Client {
        /// Its public name at the server.
        client_id: String,
        /// How we came by it.
        source: ClientSource,
    },
    /// The server no longer knows, or never accepted, this client identity.
    ClientRejected {
        /// Which.
        client_id: String,
    },
    /// The server still knows this client, and no browser needs to find out.
    ClientConfirmed {
        /// Which.
        client_id: String,
    },
    /// The client's secret was renewed before its end (RFC 7592 §2.2).
    SecretRenewed {
        /// Whose.
        client_id: String,
        /// When the new one ends; `None` for never.
        expires_at: Option<UnixTime>,
    },
    /// It was not. The old one is used while it lives.
    SecretNotRenewed {
        /// Whose.
        client_id: String,
        /// What failed.
        why: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// A secret, or a key, is where others than its owner can read it.
    SecretExposed {
        /// Where.
        place: String,
    },
    /// The callback port that was wanted is taken: another is used.
    OtherPort {
        /// Which was wanted.
        wanted: u16,
        /// Where the browser comes back to.
        redirect_uri: String,
    },
    /// A cached login can't be taken up: a login is needed.
    NotRestored {
        /// Why.
        why: String,
    },
    /// A person is being asked.
    Browsing,
    /// Another program is asking its person for this login: what comes of that is waited for.
    AskedElsewhere,
    /// A request to the callback address was not the answer that is waited for.
    RedirectIgnored {
        /// Why.
        why: String,
    },
    /// The authorization came back.
    Authorized,
    /// New tokens are there.
    Renewed {
        /// Seconds they live, where the server said so.
        expires_in: Option<u64>,
        /// Whether there is a refresh token.
        refreshable: bool,
    },
    /// Newer tokens were found in the store: another program renewed them, or logged in.
    Adopted,
    /// A failure that passes; everything is kept.
    Retrying {
        /// After this long.
        after: Duration,
        /// What failed.
        why: String,
    },
    /// The grant has ended; a login is needed.
    GrantEnded {
        /// What the server said.
        why: String,
    },
    /// A redirect was followed.
    Followed {
        /// To where, without its query.
        url: String,
    },
    /// The stored record can't be used; it is kept aside when the next one is saved.
    RecordDamaged {
        /// What is wrong with it.
        why: String,
    },
    /// The record could not be saved; it is kept in memory, and saving is tried again.
    SaveFailed(HostError),
    /// The record was saved again after a failure.
    SaveRecovered,
    /// An inspection is over: this is what a login would do.
    Proposed(Proposal),
    /// This machine's clock isn't that of a server.
    ClockSkew(ClockSkew),
    /// The two clocks agree again.
    ClockRight {
        /// Whose clock ours was compared with.
        server: String,
    },
    /// The session stands otherwise than before.
    State(SessionState),
    /// A part of a logout is over.
    Ended {
        /// What was to end.
        what: Credential,
        /// What came of it.
        ending: Ending,
    },
    /// A logout is over.
    LoggedOut {
        /// Whether the stored record is gone; if not, erasing it is tried again.
        erased: bool,
    },
    /// An attempt failed.
    Failed(Error),
}

/// What a login would ask for, and as whom.
///
/// ```
/// use mcp_auth::Proposal;
///
/// /// What a person is asked before a login.
/// fn question(proposal: &Proposal) -> String {
///     match &proposal.client {
///         Ok((_, Some(client_id))) => format!("Log in as {client_id} for {}?", proposal.scopes),
///         Ok((_, None)) => format!("Register, and log in for {}?", proposal.scopes),
///         Err(error) => format!("No login is possible. {}", error.advice()),
///     }
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.inspect()?;
/// # let asked: Vec<_> = s.notices.iter().filter_map(|notice| match notice {
/// #     mcp_auth::Notice::Proposed(proposal) => Some(question(proposal)),
/// #     _ => None,
/// # }).collect();
/// # assert_eq!(asked, ["Register, and log in for notes:read offline_access?"]);
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Proposal {
    /// How it would come by its client, and the client's public name: `None` for one that would be
    /// registered. Or why there is no way to one.
    pub client: Result<(ClientSource, Option<String>), Error>,
    /// The scopes; empty where none would be named.
    pub scopes: ScopeSet,
    /// The resource indicator (RFC 8707), if one would be sent.
    pub resource: Option<String>,
}

/// A leniency that a login needed.
///
/// ```
/// use mcp_auth::{Config, Leniency};
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.world.authorization[0].challenge_methods = None;
///
/// let config = Config { assume_s256: true, ..Config::default() };
/// # s.config = config;
/// # let discovery = s.inspect()?.unwrap();
/// // What an inspection finds with it, at a server that doesn't say whether it knows PKCE:
/// assert_eq!(discovery.leniencies, [Leniency::AssumedS256]);
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Leniency {
    /// The issuer differed by the root slash only.
    RootSlash,
    /// The issuer was one of `trusted_issuers`.
    TrustedIssuer,
    /// The issuer was the bare origin of the one asked for, and `trust_origin_issuer` is on.
    OriginIssuer,
    /// `code_challenge_methods_supported` was absent, and `assume_s256` is on.
    AssumedS256,
    /// The protected resource metadata had no `resource`.
    ResourceAbsent,
    /// There was no protected resource metadata: the specification of 2025-03-26 was followed.
    LegacyServer,
    /// There was no metadata at all: the default endpoints of 2025-03-26 are used.
    LegacyEndpoints,
    /// Something was at an address that only `allow_private_addresses` allows.
    PrivateAddress,
    /// No resource indicator is sent, as [`send_resource`](crate::Config::send_resource) allows.
    ResourceOmitted,
    /// The client was refused until it showed its secret in the body
    /// ([`Config::retry_secret_in_body`](crate::Config::retry_secret_in_body)).
    SecretInBody,
    /// The token of a refresh was refused at once, and the next one names the scopes
    /// ([`Config::scope_on_refresh`](crate::Config::scope_on_refresh) names them always).
    ScopeOnRefresh,
}

/// How a client identity was come by.
///
/// ```
/// use mcp_auth::{ClientSource, Notice};
///
/// /// Whether the server has just made us a client: a word to whoever looks after its list.
/// fn is_new_client(notice: &Notice) -> bool {
///     matches!(notice, Notice::Client { source: ClientSource::Registered, .. })
/// }
///
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.log_in()?;
/// # assert_eq!(s.told(is_new_client), 1);
/// # s.log_in()?;
/// # assert_eq!(s.told(is_new_client), 1);
/// assert_eq!(ClientSource::Remembered.to_string(), "registered earlier");
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClientSource {
    /// From the configuration.
    Configured,
    /// A client ID metadata document.
    MetadataDocument,
    /// Dynamic registration, just now.
    Registered,
    /// Dynamic registration, earlier.
    Remembered,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Asking { purpose, method, url } => write!(f, "{purpose}: {method} {url}"),
            Notice::Answered { purpose, outcome: Ok(status) } => write!(f, "{purpose}: {status}"),
            Notice::Answered { purpose, outcome: Err(why) } => write!(f, "{purpose}: {why}"),
            Notice::Skipped { url, why } => write!(f, "passed over {url}: {why}"),
            Notice::NotRequired => f.write_str("the server wants no authorization"),
            Notice::Required => f.write_str("the server wants authorization"),
            Notice::ResourceFound { resource, url } => write!(f, "resource {resource} ({url})"),
            Notice::ServerFound { issuer, url: Some(url) } => {
                write!(f, "authorization server {issuer} ({url})")
            }
            Notice::ServerFound { issuer, url: None } => {
                write!(f, "authorization server {issuer} (no metadata)")
            }
            Notice::Lenient(leniency) => write!(f, "leniency: {leniency}"),
            Notice::Client { client_id, source } => {
                write!(f, "client {client_id} ({source})")
            }
            Notice::ClientRejected { client_id } => write!(f, "the client {client_id} is rejected"),
            Notice::ClientConfirmed { client_id } => {
                write!(f, "the server still knows the client {client_id}")
            }
            Notice::SecretRenewed { client_id, .. } => {
                write!(f, "the secret of the client {client_id} was renewed")
            }
            Notice::SecretNotRenewed { client_id, why, retry_in } => write!(
                f,
                "the secret of the client {client_id} was not renewed ({why}); trying again in {} s",
                retry_in.as_secs()
            ),
            Notice::SecretExposed { place } => {
                write!(f, "{place} holds a secret that others can read")
            }
            Notice::OtherPort { wanted, redirect_uri } => {
                write!(f, "port {wanted} is taken: the browser comes back to {redirect_uri}")
            }
            Notice::NotRestored { why } => write!(f, "the cached login is of no use: {why}"),
            Notice::Browsing => f.write_str("waiting for the person in the browser"),
            Notice::AskedElsewhere => {
                f.write_str("another program is asking for this login; waiting for it")
            }
            Notice::RedirectIgnored { why } => {
                write!(f, "ignored a request to the callback: {why}")
            }
            Notice::Authorized => f.write_str("the authorization came back"),
            Notice::Renewed { expires_in, refreshable } => {
                f.write_str("new tokens")?;
                if let Some(seconds) = expires_in {
                    write!(f, ", good for {seconds} s")?;
                }
                f.write_str(if *refreshable { ", refreshable" } else { ", not refreshable" })
            }
            Notice::Adopted => f.write_str("another program has brought newer tokens; using them"),
            Notice::Retrying { after, why } => {
                write!(f, "{why}; trying again in {} s", after.as_secs())
            }
            Notice::GrantEnded { why } => write!(f, "the grant has ended: {why}"),
            Notice::Followed { url } => write!(f, "redirected to {url}"),
            Notice::RecordDamaged { why } => write!(f, "the stored record can't be used: {why}"),
            Notice::SaveFailed(why) => write!(f, "could not save (kept in memory): {why}"),
            Notice::SaveRecovered => f.write_str("saved, after an earlier failure"),
            Notice::Proposed(Proposal { client, scopes, .. }) => {
                f.write_str("a login would ")?;
                match client {
                    Ok((_, Some(client_id))) => write!(f, "go as client {client_id}")?,
                    Ok((_, None)) => f.write_str("register a client")?,
                    Err(error) => write!(f, "fail: {error}")?,
                }
                if scopes.is_empty() { Ok(()) } else { write!(f, ", and ask for {scopes}") }
            }
            Notice::ClockSkew(skew) => skew.fmt(f),
            Notice::ClockRight { server } => {
                write!(f, "this machine's clock is right again, by that of {server}")
            }
            Notice::State(state) => write!(f, "session: {state}"),
            Notice::Ended { what, ending } => write!(f, "{what}: {ending}"),
            Notice::LoggedOut { erased: true } => f.write_str("logged out"),
            Notice::LoggedOut { erased: false } => {
                f.write_str("logged out, but the stored login could not be erased")
            }
            Notice::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

impl ClientSource {
    /// The kind of client, whenever it was come by.
    pub(crate) fn kind(self) -> Self {
        match self {
            ClientSource::Remembered => ClientSource::Registered,
            other => other,
        }
    }
}

impl fmt::Display for ClientSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClientSource::Configured => "configured",
            ClientSource::MetadataDocument => "client ID metadata document",
            ClientSource::Registered => "registered now",
            ClientSource::Remembered => "registered earlier",
        })
    }
}

impl fmt::Display for Leniency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Leniency::RootSlash => "the issuer differs by its root slash only",
            Leniency::TrustedIssuer => "another issuer, which `trusted_issuers` names",
            Leniency::OriginIssuer => "the issuer is a bare origin (`trust_origin_issuer`)",
            Leniency::AssumedS256 => "PKCE support is not advertised (`assume_s256`)",
            Leniency::ResourceAbsent => "protected resource metadata without `resource`",
            Leniency::LegacyServer => "no protected resource metadata (2025-03-26)",
            Leniency::LegacyEndpoints => "no metadata: default endpoints (2025-03-26)",
            Leniency::PrivateAddress => "an address that `allow_private_addresses` allows",
            Leniency::ResourceOmitted => "no resource indicator is sent (`send_resource`)",
            Leniency::SecretInBody => "the client's secret goes in the body",
            Leniency::ScopeOnRefresh => "the refresh names the scopes",
        })
    }
}
