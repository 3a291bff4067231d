//! The same for an agent that a program has already: [`Authentication`] is ureq's middleware.

use std::fmt;
use std::io::{Cursor, Read as _};

use http::header::AUTHORIZATION;
use http::{Method, Request, Response, StatusCode, request};
use mcp_auth::{Challenged, Error, Need};
use mcp_auth_host::desk::Asking;
use ureq::middleware::{Middleware, MiddlewareNext};
use ureq::{AsSendBody as _, Body, RequestExt as _, SendBody};

use crate::session::Session;

/// The largest body that is kept to be sent again, in bytes, where nobody says.
const MAX_BODY: usize = 1 << 20;

type NeedOf = Box<dyn Fn(&request::Parts) -> Need + Send + Sync>;

/// Lets an agent authenticate to its session's MCP server: adds the token, and sends a request again
/// whose refusal a refresh, more scopes or a login can help. Requests to any other server pass through
/// untouched, and so do those that have an `Authorization` of their own.
///
/// ```
/// use mcp_auth_ureq::{Asking, Session};
/// use ureq::Agent;
///
/// # let server = mcp_auth_host::serve::Server::start(|_| http::Response::new(Vec::new()))?;
/// # let url = server.url();
/// let session = Session::builder(&url).build()?;
/// let agent: Agent =
///     Agent::config_builder().middleware(session.middleware(Asking::Welcome)).build().into();
/// let response = agent.post(&url).send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)?;
/// assert_eq!(response.status(), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ureq lets a middleware go on once. What is sent again goes the session's own way, with the settings of
/// the builder's [`agent`](crate::Builder::agent): give it one like yours, but without this middleware. No
/// redirect of a request to the MCP server is followed, but as [`Session::send`] does.
///
/// A body of more than [`max_body`](Self::max_body) is sent once, in chunks; its refusal counts for the next request. Where statuses are
/// errors (ureq's default), a refused request is first sent once more, to be told what would help.
pub struct Authentication {
    session: Session,
    asking: Asking,
    need: NeedOf,
    max_body: usize,
}

impl Session {
    /// What gives an agent of the program's own this session's authorization.
    pub fn middleware(&self, asking: Asking) -> Authentication {
        let need = Box::new(|_: &request::Parts| Need::default());
        Authentication { session: self.clone(), asking, need, max_body: MAX_BODY }
    }
}

impl Authentication {
    /// What each request needs a token for. Default: the server as a whole.
    #[must_use]
    pub fn need(self, need: impl Fn(&request::Parts) -> Need + Send + Sync + 'static) -> Self {
        Self { need: Box::new(need), ..self }
    }

    /// The largest body that is kept to be sent again, in bytes. Default 1 MiB.
    #[must_use]
    pub fn max_body(self, bytes: usize) -> Self {
        Self { max_body: bytes, ..self }
    }
}

impl Middleware for Authentication {
    fn handle(
        &self,
        request: Request<SendBody<'_>>,
        next: MiddlewareNext<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        let own = request.headers().contains_key(AUTHORIZATION);
        if own || !self.session.is_home(request.uri()) {
            return next.handle(request);
        }
        let (parts, body) = request.into_parts();
        let need = (self.need)(&parts);
        let mut bytes = Vec::new();
        let mut rest = body.into_reader();
        let limit = u64::try_from(self.max_body).unwrap_or(u64::MAX).saturating_add(1);
        (&mut rest).take(limit).read_to_end(&mut bytes)?;
        let request = Request::from_parts(parts, bytes);
        if request.body().len() > self.max_body {
            return self.send_once(request, rest, &need, next);
        }
        self.send(request, &need, next)
    }
}

impl Authentication {
    fn send(
        &self,
        request: Request<Vec<u8>>,
        need: &Need,
        next: MiddlewareNext<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut next = Some(next);
        let mut errors = false;
        let send = |request: &Request<Vec<u8>>| -> Result<_, Trouble> {
            let Some(next) = next.take() else { return Ok(self.session.send_again(request)?) };
            let (mut body, mut nothing) = (request.body().as_slice(), ());
            let none = body.is_empty() && [Method::GET, Method::HEAD].contains(request.method());
            let body = if none { nothing.as_body() } else { body.as_body() };
            match next.handle(within_bounds(head(request)).map(|()| body)) {
                Err(ureq::Error::StatusCode(status)) if may_be_refusal(status) => {
                    errors = true;
                    Ok(self.session.send_again(request)?)
                }
                answered => Ok(answered?),
            }
        };
        match self.session.converse(request, need, self.asking, send)? {
            response if errors && response.status().as_u16() >= 400 => {
                Err(ureq::Error::StatusCode(response.status().as_u16()))
            }
            response => Ok(response),
        }
    }

    /// `rest`: what of the body was not read yet.
    fn send_once(
        &self,
        request: Request<Vec<u8>>,
        rest: impl std::io::Read,
        need: &Need,
        next: MiddlewareNext<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        let (mut next, mut rest) = (Some(next), Some(rest));
        let answered = self.session.say(request, need, self.asking, |request| {
            let (Some(next), Some(rest)) = (next.take(), rest.take()) else {
                return Err(Trouble::Ureq(ureq::Error::ConnectionFailed));
            };
            let mut reader = Cursor::new(request.body()).chain(rest);
            let body = SendBody::from_reader(&mut reader);
            Ok(next.handle(within_bounds(head(request)).map(|()| body))?)
        });
        Ok(answered?)
    }
}

fn may_be_refusal(status: u16) -> bool {
    StatusCode::from_u16(status).is_ok_and(Challenged::is_possible)
}

/// All but the body.
fn head(request: &Request<Vec<u8>>) -> Request<()> {
    let (mut head, _) = Request::new(()).into_parts();
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.version = request.version();
    head.headers = request.headers().clone();
    head.extensions = request.extensions().clone();
    Request::from_parts(head, ())
}

/// A redirect is shown, and not followed with a token on board.
fn within_bounds(head: Request<()>) -> Request<()> {
    // `None` is for requests that are in no middleware's hands.
    match head.clone().middleware_config() {
        Some(config) => config.max_redirects(0).max_redirects_will_error(false).build(),
        None => head,
    }
}

/// What ends a conversation.
pub(crate) enum Trouble {
    Auth(Error),
    Ureq(ureq::Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Auth(error)
    }
}

impl From<ureq::Error> for Trouble {
    fn from(error: ureq::Error) -> Self {
        Trouble::Ureq(error)
    }
}

impl From<Trouble> for ureq::Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Auth(error) => ureq::Error::Other(Box::new(error)),
            Trouble::Ureq(error) => error,
        }
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication")
            .field("session", &self.session)
            .field("asking", &self.asking)
            .finish_non_exhaustive()
    }
}
