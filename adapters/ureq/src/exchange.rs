//! One HTTP request within its bounds: no redirect is followed, no status is an error, and what is
//! for this machine stays on it.

use std::io::{self, Read as _};
use std::time::{Duration, Instant};

use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use mcp_auth::output::Limits;
use mcp_auth::wire::url::is_loopback;
use mcp_auth::{OutOfReach, PeerAddress, Reach, TransportError, TransportErrorKind};
use ureq::config::Config;
use ureq::tls::{ClientCert, TlsConfig};
use ureq::{Agent, AsSendBody, Body, Timeout};
use url::Url;

use crate::network::{Network, witness};

/// Longer than anybody waits, and short enough to be added to any clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Where names of this machine lead, best first.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "[::1]"];

/// Proxies come from the environment, as ureq reads it.
pub(crate) fn default_config() -> Config {
    let name = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
    Agent::config_builder().user_agent(name).build()
}

pub(crate) fn exchange(
    network: &Network,
    request: &Request<Vec<u8>>,
    limits: Limits,
    reach: &Reach,
    shown: Option<ClientCert>,
) -> Result<Response<Vec<u8>>, TransportError> {
    let (answered, peer) = witness(|| dial(network, request, limits.deadline, reach, shown));
    let (mut parts, mut body) = answered.map_err(|error| failure(&error))?.into_parts();
    let limit = u64::try_from(limits.max_body).unwrap_or(u64::MAX);
    let bytes = if limits.head_only {
        let mut bytes = Vec::new();
        // What comes of it is enough.
        if limits.want_body(&parts.headers) {
            let _ = body.as_reader().take(limit).read_to_end(&mut bytes);
        }
        bytes
    } else {
        body.with_config().limit(limit).read_to_vec().map_err(|error| failure(&error))?
    };
    if let Some(peer) = peer {
        parts.extensions.insert(PeerAddress(peer));
    }
    Ok(Response::from_parts(parts, bytes))
}

/// The same without bounds but the agent's own, and with the body left to be read.
pub(crate) fn stream(
    network: &Network,
    request: &Request<Vec<u8>>,
) -> Result<Response<Body>, ureq::Error> {
    let deadline = network.config().timeouts().global.unwrap_or(LONGEST);
    let (answered, peer) = witness(|| dial(network, request, deadline, &Reach::anywhere(), None));
    let mut response = answered?;
    if let Some(peer) = peer {
        response.extensions_mut().insert(PeerAddress(peer));
    }
    Ok(response)
}

/// Sends the request to where its URL leads. What is for this machine takes no proxy, and its names
/// are not looked up: whoever answered for them would get tokens in clear text (RFC 6761 §6.3).
/// With https a name stays, for the certificate to prove it.
fn dial(
    network: &Network,
    request: &Request<Vec<u8>>,
    deadline: Duration,
    reach: &Reach,
    shown: Option<ClientCert>,
) -> Result<Response<Body>, ureq::Error> {
    let (head, body) = (head_of(request), request.body());
    let url = Url::parse(&request.uri().to_string()).ok();
    let Some(url) = url.filter(is_loopback) else {
        let agent = network.agent(reach, head.uri(), shown.is_some());
        return call(&agent, with(head, &agent, shown), body, deadline);
    };
    let direct = |head: Request<()>, deadline| {
        let agent = network.agent(reach, head.uri(), shown.is_some());
        let head = with(head, &agent, shown.clone());
        let head = agent.configure_request(head).proxy(None).build();
        call(&agent, head, body, deadline)
    };
    if url.scheme() != "http" || url.domain().is_none() {
        return direct(head, deadline);
    }
    let start = Instant::now();
    match direct(moved(head.clone(), LOOPBACK[0])?, deadline) {
        Err(refused) if nobody_there(&refused) => {
            let left = deadline.saturating_sub(start.elapsed());
            direct(moved(head, LOOPBACK[1])?, left)
                .map_err(|error| if nobody_there(&error) { refused } else { error })
        }
        answered => answered,
    }
}

/// The same request from a client that shows this certificate when it connects.
fn with(head: Request<()>, agent: &Agent, shown: Option<ClientCert>) -> Request<()> {
    let Some(shown) = shown else { return head };
    let own = agent.config().tls_config();
    let mut tls = TlsConfig::builder()
        .provider(own.provider())
        .root_certs(own.root_certs().clone())
        .use_sni(own.use_sni())
        .disable_verification(own.disable_verification())
        .client_cert(Some(shown));
    if let Some(provider) = own.unversioned_rustls_crypto_provider() {
        tls = tls.unversioned_rustls_crypto_provider(provider.clone());
    }
    agent.configure_request(head).tls_config(tls.build()).build()
}

/// The request without its body: that is not copied.
fn head_of(request: &Request<Vec<u8>>) -> Request<()> {
    let mut head = Request::new(());
    request.method().clone_into(head.method_mut());
    request.uri().clone_into(head.uri_mut());
    request.headers().clone_into(head.headers_mut());
    request.extensions().clone_into(head.extensions_mut());
    head
}

/// The same request to another host, which is told the name that it is called by.
fn moved(mut head: Request<()>, address: &str) -> Result<Request<()>, http::Error> {
    let port = head.uri().port().map_or_else(String::new, |port| format!(":{port}"));
    let host = format!("{}{port}", head.uri().host().unwrap_or_default());
    if !head.headers().contains_key(header::HOST) {
        head.headers_mut().insert(header::HOST, HeaderValue::try_from(host)?);
    }
    let mut parts = head.uri().clone().into_parts();
    parts.authority = Some(Authority::try_from(format!("{address}{port}"))?);
    *head.uri_mut() = Uri::from_parts(parts)?;
    Ok(head)
}

fn call(
    agent: &Agent,
    head: Request<()>,
    body: &[u8],
    deadline: Duration,
) -> Result<Response<Body>, ureq::Error> {
    // An empty body is none, where a method has none: some servers refuse `GET` with a length.
    if body.is_empty() && [Method::GET, Method::HEAD].contains(head.method()) {
        run(agent, head, deadline)
    } else {
        run(agent, head.map(|()| body), deadline)
    }
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
    if let E::Other(other) = error
        && other.is::<OutOfReach>()
    {
        return TransportError::new(Kind::Refused, other);
    }
    let kind = match error {
        E::Timeout(Timeout::Resolve | Timeout::Connect) => Kind::Connect,
        E::Timeout(_) => Kind::Timeout,
        E::BodyExceedsLimit(_) => Kind::TooLarge,
        E::InvalidProxyUrl | E::ConnectProxyFailed(_) => Kind::Connect,
        E::Tls(_) | E::Rustls(_) | E::TlsRequired | E::Pem(_) => Kind::Connect,
        E::BadUri(_) | E::Http(_) | E::RequireHttpsOnly(_) => Kind::Connect,
        error if nobody_there(error) => Kind::Connect,
        E::Io(error) if error.kind() == io::ErrorKind::TimedOut => Kind::Timeout,
        _ => Kind::Other,
    };
    match error {
        E::BadUri(_) => TransportError::new(kind, "the URL can't be used"),
        E::RequireHttpsOnly(_) => TransportError::new(kind, "the agent allows https only"),
        E::Io(error) => TransportError::new(kind, error),
        error => TransportError::new(kind, error),
    }
}

/// Whether nothing was sent, because nobody listens there.
fn nobody_there(error: &ureq::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
    match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable
        ),
        _ => false,
    }
}
