//! The async host of [`mcp_auth`]: any number of logins to remote MCP servers, under tokio.

mod builder;
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
pub use mcp_auth_host::{browser, secrets, store, tokens};

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
