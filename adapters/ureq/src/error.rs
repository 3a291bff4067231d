//! Why a request has no response.

use mcp_auth::{Error, TransportError};

/// Why [`Session::send`](crate::Session::send) has no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no token to send it with.
    #[error("there is no authorization for the request")]
    Auth(#[from] Error),
    /// It didn't reach the server, or its answer didn't come back whole.
    #[error("the request to {url} failed")]
    Transport {
        /// Where it went, without its query.
        url: String,
        /// What went wrong.
        source: TransportError,
    },
}
