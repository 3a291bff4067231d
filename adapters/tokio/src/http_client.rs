//! The program's own HTTP, as a session uses it.

use std::future::Future;
use std::pin::Pin;

use http::{Request, Response};
use mcp_auth::TransportError;
use mcp_auth::output::Limits;

/// An answer on its way.
pub type Answering<'a> =
    Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, TransportError>> + Send + 'a>>;

/// Sends the requests of a session.
pub trait HttpClient: Send + Sync + 'static {
    /// Sends one request within its limits: follows no redirect, keeps no cookie, treats no status as
    /// an error. The answer of any status, with its whole body.
    ///
    /// # Errors
    ///
    /// [`TransportError`] where there is no whole answer; its text is shown to people: no secrets.
    fn send(&self, request: Request<Vec<u8>>, limits: Limits) -> Answering<'_>;
}
