//! The program's own HTTP, as a session uses it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use mcp_auth::output::{HttpCall, Limits};
use mcp_auth::{HostError, Reach, TransportError, TransportErrorKind};
use mcp_auth_host::desk::now;
use mcp_auth_host::hands::Hands;
use mcp_auth_host::identity::Identity;
use tokio::time::timeout;

use crate::office::Office;

/// The answer of any status, or why there is none.
pub(crate) type HttpResult = Result<Response<Vec<u8>>, TransportError>;

/// An answer on its way.
///
/// ```
/// use std::time::Duration;
///
/// use http::Response;
/// use mcp_auth_tokio::Answering;
///
/// /// A slow network.
/// fn late(after: Duration) -> Answering<'static> {
///     Box::pin(async move {
///         tokio::time::sleep(after).await;
///         Ok(Response::new(b"{}".to_vec()))
///     })
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mcp_auth::TransportError> {
/// let response = late(Duration::from_millis(5)).await?;
/// assert_eq!(response.status(), 200);
/// # Ok(())
/// # }
/// ```
pub type Answering<'a> =
    Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, TransportError>> + Send + 'a>>;

impl Office {
    /// The answer, and how long ago it came.
    pub(crate) async fn http(&self, call: &HttpCall) -> (HttpResult, Duration) {
        let start = now().mono;
        let sent = match (self.identity(call).await, &self.common.documents) {
            (Ok(None), Some(documents)) if call.is_shareable() => return documents.ask(call).await,
            (Ok(identity), _) => match call.limits().after(start.until(now().mono)) {
                Ok(limits) => send(self.client.clone(), call, limits, identity).await,
                Err(late) => Err(late),
            },
            (Err(error), _) => Err(TransportError::new(TransportErrorKind::Other, error)),
        };
        (sent, Duration::ZERO)
    }

    /// What the call is to be sent with.
    async fn identity(&self, call: &HttpCall) -> Result<Option<Identity>, HostError> {
        let Some(places) = call.certificate() else { return Ok(None) };
        let (read, _) = self.blocking(places.clone(), Hands::identity).await;
        read.flatten().map(Some)
    }
}

/// For how long past its deadline a client is waited for: longer than by the machine, which still adopts
/// tokens that come late.
const GRACE: Duration = Duration::from_secs(10);

/// In a task of its own: a panic in somebody else's code is the failure of one action. A client that
/// misses its limits is given up on.
pub(crate) async fn send(
    client: Arc<dyn HttpClient>,
    call: &HttpCall,
    limits: Limits,
    identity: Option<Identity>,
) -> HttpResult {
    let (request, reach) = (call.request().clone(), call.reach().clone());
    let mut sent = tokio::spawn(async move {
        match identity {
            Some(identity) => client.send_as(identity, request, limits, reach).await,
            None => client.send(request, limits, reach).await,
        }
    });
    let Ok(ended) = timeout(limits.deadline.saturating_add(GRACE), &mut sent).await else {
        sent.abort();
        let why = "the HTTP client has not ended in time";
        return Err(TransportError::new(TransportErrorKind::Timeout, why));
    };
    match ended {
        Ok(result) => result,
        Err(error) if error.is_panic() => {
            Err(TransportError::new(TransportErrorKind::Other, "the HTTP client panicked"))
        }
        // The runtime ends, and this task with it.
        Err(_) => std::future::pending().await,
    }
}

/// Sends the requests of a session.
///
/// ```
/// use http::{Request, Response};
/// use mcp_auth::output::Limits;
/// use mcp_auth::{Reach, TransportError, TransportErrorKind};
/// use mcp_auth_tokio::{Answering, HttpClient, Session};
///
/// /// A test's network.
/// struct Unplugged;
///
/// impl HttpClient for Unplugged {
///     fn send(&self, _: Request<Vec<u8>>, _: Limits, _: Reach) -> Answering<'_> {
///         let why = TransportError::new(TransportErrorKind::Connect, "the cable is out");
///         Box::pin(async { Err(why) })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mcp_auth::Error> {
/// let session = Session::builder("https://mcp.example.com/mcp").client(Unplugged).build()?;
/// assert!(session.inspect().await.is_err());
/// # Ok(())
/// # }
/// ```
pub trait HttpClient: Send + Sync + 'static {
    /// Sends one request within its limits (soon after its deadline it is dropped): follows no redirect,
    /// keeps no cookie, treats no status as an error. The answer of any status, with its whole body, and with the
    /// [`PeerAddress`](mcp_auth::PeerAddress) of the connection in its extensions.
    ///
    /// The host name is looked up once, and of its addresses only those are dialled that
    /// [`reach`](mcp_auth::output::HttpCall::reach) allows.
    ///
    /// # Errors
    ///
    /// [`TransportError`] where there is no whole answer; its text is shown to people: no secrets.
    fn send(&self, request: Request<Vec<u8>>, limits: Limits, reach: Reach) -> Answering<'_>;

    /// The same as a client that shows this certificate when it connects (mutual TLS, RFC 8705), for
    /// this request alone: on a connection that no other request has, and to the server itself, not to
    /// a proxy.
    ///
    /// Default: nothing is sent.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); where the certificate can't be shown.
    fn send_as(
        &self,
        identity: Identity,
        request: Request<Vec<u8>>,
        limits: Limits,
        reach: Reach,
    ) -> Answering<'_> {
        // A client that doesn't show it isn't the one that the server knows.
        let _ = (identity, request, limits, reach);
        let what = "this HTTP client shows no client certificates: log in with one that does";
        let refused = TransportError::new(TransportErrorKind::Other, what);
        Box::pin(std::future::ready(Err(refused)))
    }
}
