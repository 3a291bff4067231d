//! Logins to remote MCP servers for [`rmcp`], the official Rust SDK: its streamable HTTP client over
//! the sessions of [`mcp_auth_tokio`].
//!
//! ```no_run
//! use mcp_auth_rmcp::AuthClient;
//! use mcp_auth_tokio::{Asking, Session};
//! use rmcp::ServiceExt as _;
//! use rmcp::transport::StreamableHttpClientTransport;
//! use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let url = "https://mcp.example.com/mcp";
//! let session = Session::builder(url).program_name("Notes").build()?;
//! let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
//!
//! let client = AuthClient::new(session, http).asking(Asking::Welcome);
//! let config = StreamableHttpClientTransportConfig::with_uri(url);
//! let service = ().serve(StreamableHttpClientTransport::with_client(client, config)).await?;
//! for tool in service.list_all_tools().await? {
//!     println!("{}", tool.name);
//! }
//! service.cancel().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Each of its requests (messages, event streams, the end of a session) is sent with the session's token
//! and the settings' header fields. Where the server refuses it, by 401 or 403, a token is got: refreshed,
//! or, where a person is [welcome](AuthClient::asking), from a login with what the server names; and the
//! request is sent again. Session ids, protocol versions and event streams are rmcp's alone.
//!
//! Scopes are remembered for each tool, prompt and resource, so that a step-up for one costs the others
//! nothing.
//!
//! # Errors
//!
//! Where there is no token, rmcp's error holds an [`mcp_auth::Error`], which [`auth_error`] finds. Where
//! the server's own refusal led to it, rmcp's `auth_challenge` and `is_authorization_required` know it as
//! ever.
//!
//! # Tokens that are bound to a key
//!
//! With [`Config::dpop`](mcp_auth::Config::dpop), each request has its proof. A server may want a nonce in
//! it (`use_dpop_nonce`, RFC 9449 §9), and says it in a header field that rmcp's clients drop with the
//! refusal. Such a message fails with rmcp's `AuthRequired`: no token is spent on it, and nobody is asked.
//! A request of the session's own learns the nonce for all that follow, until the server wants another:
//!
//! ```
//! use http::Request;
//! use mcp_auth::Need;
//! use mcp_auth_tokio::{Asking, SendError, Session};
//!
//! async fn learn_nonce(session: &Session, url: &str) -> Result<(), SendError> {
//!     // Whatever the server makes of an empty message, it looks at the token and the proof first.
//!     let empty = Request::post(url).body(Vec::new()).expect("a URL");
//!     session.send(empty, &Need::default(), Asking::Never).await?;
//!     Ok(())
//! }
//! ```
//!
//! # Cancel safety
//!
//! A request of rmcp's may be dropped at any moment: see [`Session`].
//!
//! # Coming from `AuthorizationManager`
//!
//! The README of this crate shows how, name by name.

#![warn(unreachable_pub)]

mod client;
mod failure;
mod operation;

use mcp_auth_tokio::{Asking, Session};

pub use failure::auth_error;

/// An HTTP client of rmcp's, with the tokens of a session. Clones share the session.
///
/// Nobody is asked for a login, unless [`asking`](Self::asking) says so.
///
/// ```no_run
/// use mcp_auth_rmcp::AuthClient;
/// use mcp_auth_tokio::{Registry, store::FileStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A gateway: many accounts, one login for each, and one HTTP client for all.
/// let logins = FileStore::open("logins")?;
/// let sessions = Registry::new(move |session, key| {
///     session.store(logins.entry(&key.server, &key.account))
/// })?;
/// // One that follows redirects would take what is for this server to others.
/// let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
/// let alice = AuthClient::new(sessions.session("https://mcp.example.com/mcp", "alice")?, http);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AuthClient<C> {
    session: Session,
    http: C,
    asking: Asking,
}

impl<C> AuthClient<C> {
    /// Over this client, with the tokens of this session. It is for the session's server alone: requests
    /// to another fail with [`ErrorKind::ForeignRequest`](mcp_auth::ErrorKind::ForeignRequest).
    pub fn new(session: Session, http: C) -> Self {
        Self { session, http, asking: Asking::Never }
    }

    /// Whether a person may be asked. Default: [`Asking::Never`].
    #[must_use]
    pub fn asking(self, asking: Asking) -> Self {
        Self { asking, ..self }
    }

    /// The session: to log in or out, and to see how it stands.
    pub fn session(&self) -> &Session {
        &self.session
    }
}

/// What the README shows does compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
