//! The async host of [`mcp_auth`]: any number of logins to remote MCP servers, under tokio.
//!
//! ```
//! use mcp_auth::Need;
//! use mcp_auth_tokio::{Asking, Session};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = mcp_auth_host::serve::Server::start(|_| http::Response::new(Vec::new()))?;
//! # let url = server.url();
//! let session = Session::builder(&url).program_name("Notes").build()?;
//!
//! // Takes the person through the browser if the server wants a login and there is none yet.
//! let request = http::Request::post(&url)
//!     .header("content-type", "application/json")
//!     .header("accept", "application/json, text/event-stream")
//!     .body(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_vec())?;
//! let response = session.send(request, &Need::default(), Asking::Welcome).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! | for | there is |
//! |---|---|
//! | one account at one server, shared by any number of tasks | [`Session`] |
//! | many of them in one process | [`Registry`] |
//! | requests that the program sends itself: pools, event streams, `tower` services | [`Sending`] |
//! | programs that only want a token | [`SessionTokenSource`] |
//! | another HTTP client than reqwest | [`HttpClient`] |
//!
//! Whoever shares a session costs one refresh together, and one browser window. The login lives where
//! the builder's store keeps it: in memory, or, for one that outlives the program, in an entry of a
//! [`FileStore`](mcp_auth_host::store::FileStore).
//!
//! # Tasks
//!
//! What the core wants done is done by tasks of their own, which are there only while there is something
//! to do; whatever blocks (stores, the browser, secret providers, signers) is done on the runtime's threads for
//! that. So a future that is dropped loses nothing: a token request that is out is seen through, and so
//! is the save of what it brings. The listener for the redirect has threads of its own, while a person is
//! in the browser.
//!
//! A session belongs to the runtime that it was built in, which needs its timer. What is under way when
//! that ends is lost, as in a crash: await [`Session::shutdown`] or [`Registry::shutdown`] before.
//!
//! # Bounds
//!
//! Each call ends by the builder's [`timeout`](Builder::timeout), and each request keeps the core's
//! limits of time and size. No redirect is followed by itself, no cookie is kept, and proxies come from
//! the environment as reqwest reads it. Of the sessions of a registry, so many as it says
//! ([`Registry::with`]) refresh at once, or do else what takes the store's lock (a logout, a client's upkeep),
//! and half as many at one server; a login that somebody waits for is not held up by that.
//!
//! # Where requests may lead
//!
//! What the core says of a request ([`HttpCall::reach`](mcp_auth::output::HttpCall::reach)) is asked
//! about each address that its host name has, and only those within reach are dialled. A connection is
//! used again only for requests with the very same bounds. Where the MCP server is, each connection to it
//! tells the core, those of [`Session::send`] too.
//!
//! What is for this machine stays on it: `localhost`, `*.localhost` and loopback addresses take no
//! proxy, and such a name is not looked up but dialled at `127.0.0.1`, or else `[::1]`.
//!
//! Through a proxy (HTTP ones alone), names are the proxy's to look up and to judge: let it refuse what is
//! inside. URLs that hold an address are judged here all the same, and a server behind a proxy counts as
//! public unless its URL says otherwise.
//!
//! An HTTP client of the program's own promises the same: see [`HttpClient::send`].
//!
//! # Client certificates
//!
//! A certificate of the settings ([`Config::client_certificate`](mcp_auth::Config::client_certificate)) is
//! read anew for each request that has to show it, and shown on a connection of that request's own: to the
//! server alone, also through a proxy of HTTP. Where other roots than the system's are to be trusted,
//! [`ReqwestBuilder::tls`] says so. A client of the program's own shows none unless it has
//! [`HttpClient::send_as`].
//!
//! # Features
//!
//! `reqwest`, on by default: [`ReqwestClient`], which sessions have unless they are given another. It
//! brings rustls with *ring*, as `mcp-auth-ureq` does.
//!
//! `signer`, on by default: keys in PEM sign, where a session is given no
//! [`Signer`](mcp_auth_host::signer::Signer) of the program's own. It brings *ring*, too.

#![warn(unreachable_pub)]

mod builder;
mod callback;
mod documents;
mod driver;
mod http_client;
mod office;
mod registry;
#[cfg(feature = "reqwest")]
mod reqwest_client;
mod sending;
mod session;
mod source;
mod timer;
mod turns;

use std::sync::Arc;

use mcp_auth::{Error, ErrorKind, HostError};

pub use builder::Builder;
pub use http_client::{Answering, HttpClient};
pub use registry::{Key, Registry};
#[cfg(feature = "reqwest")]
pub use reqwest_client::{ReqwestBuilder, ReqwestClient};
pub use sending::Sending;
pub use session::Session;
pub use source::SessionTokenSource;

pub use mcp_auth_host::desk::{Asking, SendError};
// What the builder takes.
pub use mcp_auth_host::{browser, identity, secrets, signer, store, tokens};

#[cfg(feature = "reqwest")]
fn default_client() -> Result<Arc<dyn HttpClient>, Error> {
    Ok(Arc::new(ReqwestClient::new().map_err(no_client)?))
}

#[cfg(not(feature = "reqwest"))]
fn default_client() -> Result<Arc<dyn HttpClient>, Error> {
    Err(no_client("give the session an HTTP client, or switch the feature `reqwest` on"))
}

fn no_client(why: impl std::fmt::Display) -> Error {
    ErrorKind::NoHttpClient(HostError::new(why)).into()
}
