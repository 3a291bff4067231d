//! The blocking host of [`mcp_auth`].

mod builder;
mod error;
mod session;

pub use builder::Builder;
pub use error::SendError;
pub use session::{Asking, Session};
