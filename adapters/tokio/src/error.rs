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

impl SendError {
    pub(crate) fn transport(uri: &http::Uri, source: TransportError) -> Self {
        // Without userinfo and query: both may hold secrets.
        let scheme = uri.scheme_str().unwrap_or_default();
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        let url = format!("{scheme}://{}{port}{}", uri.host().unwrap_or_default(), uri.path());
        Self::Transport { url, source }
    }
}
