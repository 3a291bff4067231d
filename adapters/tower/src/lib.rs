//! Logins to remote MCP servers for the HTTP services that a program has: a [`tower`] layer over the
//! sessions of [`mcp_auth_tokio`].
//!
//! [`tower`]: https://docs.rs/tower
//!
//! ```
//! use http::{Request, Response};
//! use mcp_auth_tokio::Session;
//! use mcp_auth_tower::AuthLayer;
//! use tower::{BoxError, ServiceBuilder, ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let session = Session::builder("https://mcp.example.com/mcp").build()?;
//!
//! // hyper-util's client, a balancer, a test's closure, …
//! let transport = service_fn(|request: Request<String>| async move {
//!     Ok::<_, BoxError>(Response::new(request.into_body()))
//! });
//! let client = ServiceBuilder::new().layer(AuthLayer::new(session)).service(transport);
//!
//! let request = Request::post("https://mcp.example.com/mcp").body("{}".to_owned())?;
//! assert_eq!(client.oneshot(request).await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! | a request | |
//! |---|---|
//! | to the session's server | gets the token and the settings' header fields; where its answer asks for another token (see [`judge`](mcp_auth::AuthMachine::judge)), that is got, by a refresh or from a person, and the request is sent again |
//! | to any other origin, or without one in its URI | is passed on as it is, and so is its answer |
//!
//! Answers are passed on as they come: their bodies are not read, so event streams stream. Bodies of
//! requests are cloned, because they may be sent again: let them be cheap to clone, such as `Bytes` or
//! `http_body_util::Full<Bytes>`.
//!
//! # Order
//!
//! Outside of this layer belongs what counts the program's requests, inside what counts those on the
//! wire: timeouts of a single answer, retries of a transport, traces without secrets. Services that
//! follow redirects belong outside, or nowhere: inside, they would carry the token along.
//!
//! # What a request is for
//!
//! A [`Need`] among the extensions of a request says which scopes or which operation it is for, and an
//! [`Asking`] whether a person may be asked. They go before those of the layer.
//!
//! # Cancel safety
//!
//! A future of the service may be dropped at any moment: see [`Session`].
//!
//! # Features
//!
//! `reqwest-middleware`: [`AuthLayer`] is a `reqwest_middleware::Middleware`, too.

#![warn(unreachable_pub)]

#[cfg(feature = "reqwest-middleware")]
mod middleware;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response, Uri};
use mcp_auth::{Error, ErrorKind, Need};
use mcp_auth_tokio::{Asking, Sending, Session};
use tower_layer::Layer;
use tower_service::Service;

/// What services of this crate fail with: an [`mcp_auth::Error`] where there is no token to send a
/// request with, else the error of the service inside, as it is.
///
/// ```
/// use mcp_auth_tower::BoxError;
///
/// fn needs_a_person(error: &BoxError) -> bool {
///     let error = error.downcast_ref::<mcp_auth::Error>();
///     error.is_some_and(|e| matches!(e.kind(), mcp_auth::ErrorKind::LoginRequired { .. }))
/// }
/// # assert!(!needs_a_person(&"the cable is out".into()));
/// ```
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Sends the requests of a service with the tokens of a session.
///
/// Nobody is asked for a login, unless [`asking`](Self::asking) says so.
///
/// ```
/// use mcp_auth::Need;
/// use mcp_auth::wire::scope::ScopeSet;
/// use mcp_auth_tokio::{Asking, Session};
/// use mcp_auth_tower::AuthLayer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let session = Session::builder("https://mcp.example.com/mcp").build()?;
/// let need = Need { scopes: ScopeSet::parse("notes:write"), ..Need::default() };
/// let layer = AuthLayer::new(session).need(need).asking(Asking::Welcome);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AuthLayer {
    session: Session,
    need: Need,
    asking: Asking,
}

impl AuthLayer {
    /// With the tokens of this session.
    pub fn new(session: Session) -> Self {
        Self { session, need: Need::default(), asking: Asking::Never }
    }

    /// What requests are for that don't say so themselves. Default: nothing in particular.
    #[must_use]
    pub fn need(self, need: Need) -> Self {
        Self { need, ..self }
    }

    /// Whether a person may be asked, for requests that don't say so themselves. Default:
    /// [`Asking::Never`].
    #[must_use]
    pub fn asking(self, asking: Asking) -> Self {
        Self { asking, ..self }
    }

    /// Begins a request; `None` where it isn't one to the session's server.
    async fn begin(&self, uri: &Uri, said: &Extensions) -> Result<Option<Sending>, Error> {
        let need = said.get().unwrap_or(&self.need).clone();
        let asking = said.get().copied().unwrap_or(self.asking);
        match self.session.sending(uri, need, asking).await {
            Ok(sending) => Ok(Some(sending)),
            Err(error) if matches!(error.kind(), ErrorKind::ForeignRequest { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, layer: self.clone() }
    }
}

/// A service whose requests are sent with the tokens of a session. Made by [`AuthLayer`].
///
/// ```
/// use mcp_auth_tokio::{Asking, Session};
/// use mcp_auth_tower::{Auth, AuthLayer};
/// use tower::Layer as _;
///
/// /// Over whatever the program sends its requests with.
/// fn with_logins<S>(session: Session, transport: S) -> Auth<S> {
///     AuthLayer::new(session).asking(Asking::Welcome).layer(transport)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Auth<S> {
    inner: S,
    layer: AuthLayer,
}

impl<S> Auth<S> {
    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside, alone again.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

/// An answer on its way.
pub type Answering<R> = Pin<Box<dyn Future<Output = Result<Response<R>, BoxError>> + Send>>;

impl<S, B, R> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Clone + Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = Answering<R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Answering<R> {
        // This one is ready; its clone need not be.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            let (uri, said) = (request.uri().clone(), request.extensions().clone());
            let Some(mut sending) = layer.begin(&uri, &said).await? else {
                return inner.call(request).await.map_err(Into::into);
            };
            loop {
                sending.prepare(&mut request).await?;
                let response = inner.call(request.clone()).await.map_err(Into::into)?;
                if !sending.is_to_be_repeated(&mut request, &response).await? {
                    return Ok(response);
                }
                poll_fn(|context| inner.poll_ready(context)).await.map_err(Into::into)?;
            }
        })
    }
}
