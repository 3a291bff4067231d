//! The async host of [`mcp_auth`]: any number of logins to remote MCP servers, under tokio.
mod builder;
mod driver;
mod error;
mod hands;
mod http_client;
#[cfg(feature = "reqwest")]
mod reqwest_client;
mod session;
mod timer;

pub use builder::Builder;
pub use error::SendError;
pub use http_client::{Answering, HttpClient};
#[cfg(feature = "reqwest")]
pub use reqwest_client::ReqwestClient;
pub use session::{Asking, Session};
pub use timer::Timer;

// What the builder takes.
pub use mcp_auth_host::{browser, store};
