//! The blocking host of [`mcp_auth`]: log in to a remote MCP server, and call it, with [`ureq`].
//!
//! ```no_run
//! use mcp_auth::Need;
//! use mcp_auth_ureq::{Asking, Session};
//!
//! let session = Session::builder("https://mcp.example.com/mcp").program_name("Notes").build()?;
//!
//! // Takes the person through the browser if there is no login yet.
//! let request = http::Request::post("https://mcp.example.com/mcp")
//!     .header("content-type", "application/json")
//!     .header("accept", "application/json, text/event-stream")
//!     .body(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_vec())?;
//! let response = session.send(request, &Need::default(), Asking::Welcome)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Session`] is one account at one server, and is shared by as many threads as there are. They
//! cost one refresh together, and one browser window. The login lives where the builder's store
//! keeps it: [`FileStore`](mcp_auth_host::store::FileStore) for one that outlives the program.
//!
//! # Bounds
//!
//! Each call ends by the builder's [`timeout`](Builder::timeout), and each request keeps the core's
//! limits of time and size. No redirect is followed by itself, no cookie is kept unless somebody
//! switches ureq's `cookies` on, and proxies come from the environment as ureq reads it.
//!
//! # Threads
//!
//! What the core wants done is done by one thread, which is there only while there is something to
//! do: so every caller can leave in time, while a token request that is out, or a save, is seen
//! through. The listener for the redirect has threads of its own, while a person is in the browser.

mod builder;
mod desk;
mod driver;
mod error;
mod exchange;
mod hands;
mod session;

pub use builder::Builder;
pub use error::SendError;
pub use session::{Asking, Session};

// What the builder takes.
pub use mcp_auth_host::{browser, store};
