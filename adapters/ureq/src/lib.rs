//! The blocking host of [`mcp_auth`]: log in to a remote MCP server, and call it, with [`ureq`].
//!
//! ```
//! use mcp_auth::Need;
//! use mcp_auth_ureq::{Asking, Session};
//!
//! # let server = mcp_auth_host::serve::Server::start(|_| http::Response::new(Vec::new()))?;
//! # let url = server.url();
//! let session = Session::builder(&url).program_name("Notes").build()?;
//!
//! // Takes the person through the browser if the server wants a login and there is none yet.
//! let request = http::Request::post(&url)
//!     .header("content-type", "application/json")
//!     .header("accept", "application/json, text/event-stream")
//!     .body(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_vec())?;
//! let response = session.send(request, &Need::default(), Asking::Welcome)?;
//! assert_eq!(response.status(), 200);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Session`] is one account at one server, and is shared by as many threads as there are. They
//! cost one refresh together, and one browser window. The login lives where the builder's store
//! keeps it: in memory, or, for one that outlives the program, in an entry of a
//! [`FileStore`](mcp_auth_host::store::FileStore):
//!
//! ```
//! use mcp_auth_ureq::{Session, store::FileStore};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("logins");
//! let url = "https://mcp.example.com/mcp";
//! let store = FileStore::open(dir)?.entry(url, "default");
//! let session = Session::builder(url).store(store).build()?;
//! assert!(session.load()?.is_none()); // nobody has logged in yet
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Bounds
//!
//! Each call ends by the builder's [`timeout`](Builder::timeout), and each request keeps the core's
//! limits of time and size. No redirect is followed by itself, no cookie is kept unless somebody
//! switches ureq's `cookies` on, and proxies come from the environment as ureq reads it.
//!
//! What is for this machine stays on it: `localhost`, `*.localhost` and loopback addresses take no
//! proxy, and with `http` such a name is not looked up but dialled at `127.0.0.1`, or else `[::1]`.
//!
//! # Where requests may lead
//!
//! What the core says of a request ([`HttpCall::reach`](mcp_auth::output::HttpCall::reach)) is asked
//! about each address that its host name has, and only those within reach are dialled. A request is
//! one lookup, so there is no second one to say something else; a request with bounds has a connection
//! of its own, so there is none that was made under other bounds. Where the MCP server is, each
//! connection to it tells the core, those of [`Session::send`] too.
//!
//! Through a proxy (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, as far as `NO_PROXY` doesn't say otherwise;
//! HTTP and SOCKS), names are the proxy's to look up and to judge: let it refuse what is inside. Only
//! `socks4` and `socks5` proxies are given addresses, and those within reach. URLs that hold an address
//! are judged here all the same, and a server behind a proxy counts as public unless its URL says
//! otherwise.
//!
//! # Threads
//!
//! What the core wants done is done by one thread, which is there only while there is something to
//! do: so every caller can leave in time, while a token request that is out, or a save, is seen
//! through. The listener for the redirect has threads of its own, while a person is in the browser.

#![warn(unreachable_pub)]

mod builder;
mod certificate;
mod driver;
mod exchange;
mod handler;
mod middleware;
mod network;
mod office;
mod session;
mod source;

pub use builder::Builder;
pub use handler::Handler;
pub use middleware::Authentication;
pub use session::Session;
pub use source::SessionTokenSource;

pub use mcp_auth_host::desk::{Asking, SendError};
// What the builder takes.
pub use mcp_auth_host::{browser, secrets, store, tokens};
