//! A request that the program sends itself: by a connection pool of its own, a `tower` service, an
//! event stream.

use std::future::Future;

use http::{Request, Response};
use mcp_auth::{Error, Event, Grant, Mono, Need};
use mcp_auth_host::desk::{self, Asking, Next, Quest};

use crate::session::Session;

/// One request on its way to the MCP server, however often it is sent. Made by
/// [`Session::sending`].
///
/// ```
/// use http::{Request, Response};
/// use mcp_auth::Need;
/// use mcp_auth_tokio::{Asking, Session};
///
/// # async fn transport(_: Request<()>) -> Response<()> { Response::new(()) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mcp_auth::Error> {
/// let session = Session::builder("https://mcp.example.com/mcp").build()?;
/// let mut request = Request::post("https://mcp.example.com/mcp").body(()).unwrap();
///
/// let mut sending = session.sending(request.uri(), Need::default(), Asking::Never).await?;
/// let response = loop {
///     sending.prepare(&mut request).await?;
///     let response = transport(request.clone()).await;
///     if !sending.is_to_be_repeated(&mut request, &response).await? {
///         break response;
///     }
/// };
/// assert_eq!(response.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sending {
    session: Session,
    until: Mono,
    need: Need,
    asking: Asking,
    inner: desk::Sending,
}

impl Sending {
    pub(crate) fn new(
        session: Session,
        until: Mono,
        need: Need,
        asking: Asking,
        grant: Option<Grant>,
    ) -> Self {
        Self { session, until, need, asking, inner: desk::Sending::new(grant) }
    }

    pub(crate) fn deadline(&self) -> Mono {
        self.until
    }

    /// Adds to the request what it is sent with: a token, where one is needed, and the settings' header
    /// fields. To be called each time before it is sent. It waits only where a token is bound to a key
    /// ([`Config::dpop`](mcp_auth::Config::dpop)), which signs a proof for this very request.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`](mcp_auth::ErrorKind::ForeignRequest) where it goes to another
    /// server; [`ErrorKind::SigningFailed`](mcp_auth::ErrorKind::SigningFailed).
    pub async fn prepare<B>(&mut self, request: &mut Request<B>) -> Result<(), Error> {
        let inner = &mut self.inner;
        let proof = self.session.at_desk(|desk| inner.prepare(desk, request))?;
        let Some(proof) = proof else { return Ok(()) };
        let (proof, signature) = self.session.prove(proof).await?;
        inner.proven(request, &proof, &signature)
    }

    /// Whether the server's answer calls for the same request again: with another token, which this
    /// gets, or at a URL that this puts into the request. Otherwise the answer is the caller's.
    ///
    /// Put the [`PeerAddress`](mcp_auth::PeerAddress) of the connection into the response's extensions
    /// where it is known.
    ///
    /// Cancel safe, as [`Session::token`].
    ///
    /// # Errors
    ///
    /// As [`Session::token`]: there is no other token.
    pub fn is_to_be_repeated<'s, B, C>(
        &'s mut self,
        request: &mut Request<B>,
        response: &Response<C>,
    ) -> impl Future<Output = Result<bool, Error>> + Send + use<'s, B, C> {
        let (session, need, asking) = (&self.session, &self.need, self.asking);
        let inner = &mut self.inner;
        // Judged before anything is awaited: bodies need not be `Sync`.
        let next = session.at_desk(|desk| {
            let next = inner.answered(desk, need, request, response);
            if let Next::Refused(challenged) = &next {
                desk.feed(Event::Challenged((**challenged).clone()));
            }
            next
        });
        let until = self.until;
        async move {
            match next {
                Next::Deliver => Ok(false),
                Next::Again => Ok(true),
                Next::Refused(_) => {
                    let grant = session.seek(until, Quest::new(need, asking)).await?;
                    Ok(inner.renewed(grant))
                }
            }
        }
    }
}
