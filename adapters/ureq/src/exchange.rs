//! One HTTP request within its bounds: no redirect is followed, no status is an error.

use std::io;
use std::time::Duration;

use http::{Method, Request, Response};
use mcp_auth::output::Limits;
use mcp_auth::{TransportError, TransportErrorKind};
use ureq::{Agent, AsSendBody, Body, Timeout};

/// Longer than anybody waits, and short enough to be added to any clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Proxies come from the environment, as ureq reads it.
pub(crate) fn default_agent() -> Agent {
    let name = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
    Agent::config_builder().user_agent(name).build().into()
}

pub(crate) fn exchange(
    agent: &Agent,
    request: &Request<Vec<u8>>,
    limits: Limits,
) -> Result<Response<Vec<u8>>, TransportError> {
    // An empty body is none, where a method has none: some servers refuse `GET` with a length.
    let bare = request.body().is_empty() && [Method::GET, Method::HEAD].contains(request.method());
    let answered = if bare {
        run(agent, with_body(request, ()), limits.deadline)
    } else {
        run(agent, with_body(request, request.body()), limits.deadline)
    };
    let (parts, mut body) = answered.map_err(|error| failure(&error))?.into_parts();
    let bytes = if limits.head_only {
        Vec::new()
    } else {
        let limit = u64::try_from(limits.max_body).unwrap_or(u64::MAX);
        body.with_config().limit(limit).read_to_vec().map_err(|error| failure(&error))?
    };
    Ok(Response::from_parts(parts, bytes))
}

/// The same request around another body: what the body holds is not copied.
fn with_body<B>(request: &Request<Vec<u8>>, body: B) -> Request<B> {
    let mut copy = Request::new(body);
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    request.headers().clone_into(copy.headers_mut());
    request.extensions().clone_into(copy.extensions_mut());
    copy
}

/// What is demanded here holds for an agent that somebody else has configured, too.
fn run(
    agent: &Agent,
    request: Request<impl AsSendBody>,
    deadline: Duration,
) -> Result<Response<Body>, ureq::Error> {
    let configured = agent
        .configure_request(request)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(deadline.clamp(Duration::from_millis(1), LONGEST)))
        .build();
    agent.run(configured)
}

/// The core's words for it. Texts that could hold a URL, and so a secret, are left out.
fn failure(error: &ureq::Error) -> TransportError {
    use TransportErrorKind as Kind;
    use ureq::Error as E;
    let kind = match error {
        E::Timeout(Timeout::Resolve | Timeout::Connect) => Kind::Connect,
        E::Timeout(_) => Kind::Timeout,
        E::BodyExceedsLimit(_) => Kind::TooLarge,
        E::HostNotFound | E::ConnectionFailed | E::InvalidProxyUrl | E::ConnectProxyFailed(_) => {
            Kind::Connect
        }
        E::Tls(_) | E::Rustls(_) | E::TlsRequired | E::Pem(_) => Kind::Connect,
        E::BadUri(_) | E::Http(_) | E::RequireHttpsOnly(_) => Kind::Connect,
        E::Io(error) => match error.kind() {
            io::ErrorKind::TimedOut => Kind::Timeout,
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable => Kind::Connect,
            _ => Kind::Other,
        },
        _ => Kind::Other,
    };
    match error {
        E::BadUri(_) => TransportError::new(kind, "the URL can't be used"),
        E::RequireHttpsOnly(_) => TransportError::new(kind, "the agent allows https only"),
        E::Io(error) => TransportError::new(kind, error),
        error => TransportError::new(kind, error),
    }
}
