//! [`reqwest`] as the HTTP client of sessions.

mod mutual;
mod network;

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Request, Response, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use mcp_auth::output::Limits;
use mcp_auth::wire::url::is_loopback;
use mcp_auth::{OutOfReach, PeerAddress, Reach, TransportError, TransportErrorKind};
use mcp_auth_host::identity::Identity;
use reqwest::{ClientBuilder, Proxy, Url, redirect};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::http_client::{Answering, HttpClient, HttpResult};
use network::{Lookup, Names, Road};

/// Longer than anybody waits, and short enough to be added to any clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long a connection may take, all addresses of its host together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections to one host that are kept for later requests.
const IDLE_CONNECTIONS: usize = 32;
/// Ways to send requests that are kept, with their connections. Most programs have two: to the
/// operator's own servers, and to those that they name.
const WAYS: usize = 8;

type Settings = Arc<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>;

/// Sends requests with reqwest. Clones share their connections.
///
/// TLS is rustls with the system's certificates, no redirect is followed, no cookie kept, and proxies
/// come from the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), as
/// reqwest reads them; HTTP ones alone.
///
/// ```
/// use mcp_auth_tokio::{ReqwestClient, Session};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ReqwestClient::builder().settings(|client| client.user_agent("notes/1")).build()?;
/// let session = Session::builder("https://mcp.example.com/mcp").client(client).build()?;
/// # drop(session);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ReqwestClient(Arc<Shared>);

struct Shared {
    settings: Settings,
    tls: rustls::ClientConfig,
    proxies: Matcher,
    lookup: Option<Lookup>,
    road: Road,
    /// The most recently used comes last.
    ways: Mutex<Vec<(Way, reqwest::Client)>>,
}

/// How a request gets to its server. Connections of one are not used for another: what was dialled
/// under some bounds is not there for requests with others.
#[derive(Clone, PartialEq)]
enum Way {
    Direct(Reach),
    Through { proxy: Uri, authorization: Option<HeaderValue> },
}

/// Builds a [`ReqwestClient`].
///
/// ```
/// use std::net::IpAddr;
///
/// use mcp_auth::{Config, ErrorKind};
/// use mcp_auth_tokio::{ReqwestClient, Session};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ReqwestClient::builder()
///     .settings(|reqwest| reqwest.user_agent("notes/1"))
///     .no_proxy()
///     // As the company's DNS has it.
///     .resolver(|_name| Err(std::io::ErrorKind::NotFound.into()))
///     .build()?;
/// let session = Session::builder("https://mcp.example.com/mcp").client(client).build()?;
/// let error = session.inspect().await.unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::Unreachable { .. }));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ReqwestBuilder {
    settings: Settings,
    tls: Option<rustls::ClientConfig>,
    proxies: Option<Matcher>,
    lookup: Option<Lookup>,
    road: Road,
}

impl ReqwestBuilder {
    /// Changes what reqwest is asked for: the user agent, timeouts. It is called whenever
    /// connections of another kind are needed. What this crate promises of redirects, status, time, this
    /// machine and [where requests may lead](crate#where-requests-may-lead) holds all the same: a
    /// redirect policy, a resolver or a proxy that is set here isn't used.
    pub fn settings(
        self,
        change: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        Self { settings: Arc::new(change), ..self }
    }

    /// TLS as this says, where the system's certificates are not the ones to trust. Here, and not among
    /// reqwest's settings: what shows a client's certificate
    /// ([`Config::client_certificate`](mcp_auth::Config::client_certificate)) is made from it.
    pub fn tls(self, config: rustls::ClientConfig) -> Self {
        Self { tls: Some(config), ..self }
    }

    /// Sends requests through this HTTP proxy (`http://user:password@proxy.example.com:3128`), but for
    /// those to the hosts of the list, as in `NO_PROXY`. Default: what the environment says.
    pub fn proxy(self, url: &str, except: &str) -> Self {
        Self { proxies: Some(Matcher::builder().all(url).no(except).build()), ..self }
    }

    /// Takes no proxy, whatever the environment says.
    pub fn no_proxy(self) -> Self {
        Self { proxies: Some(Matcher::builder().build()), ..self }
    }

    /// Looks host names up here instead of at the system's resolver: for split-horizon DNS, and for
    /// tests. It may block, and must come back in good time.
    ///
    /// What it answers is judged as any other answer is: it opens no way that is closed.
    pub fn resolver(
        self,
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { lookup: Some(Arc::new(lookup)), ..self }
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// Where the system's certificates can't be read, or a setting can't be used.
    pub fn build(self) -> Result<ReqwestClient, TransportError> {
        let client = ReqwestClient(Arc::new(Shared {
            settings: self.settings,
            tls: self.tls.map_or_else(tls, Ok)?,
            proxies: self.proxies.unwrap_or_else(Matcher::from_env),
            lookup: self.lookup,
            road: self.road,
            ways: Mutex::default(),
        }));
        client.0.client(Way::Direct(Reach::anywhere()))?;
        Ok(client)
    }
}

impl ReqwestClient {
    /// As everybody wants it.
    ///
    /// # Errors
    ///
    /// Where the system's certificates can't be read.
    pub fn new() -> Result<Self, TransportError> {
        Self::builder().build()
    }

    /// With settings of one's own.
    pub fn builder() -> ReqwestBuilder {
        let (settings, road) = (Arc::new(|builder| builder), Road::default());
        ReqwestBuilder { settings, tls: None, proxies: None, lookup: None, road }
    }
}

impl HttpClient for ReqwestClient {
    fn send(&self, request: Request<Vec<u8>>, limits: Limits, reach: Reach) -> Answering<'_> {
        Box::pin(in_time(limits, self.0.exchange(request, limits, reach, None)))
    }

    /// Refused where a proxy of `https` is between: it would be shown the certificate, too.
    fn send_as(
        &self,
        identity: Identity,
        request: Request<Vec<u8>>,
        limits: Limits,
        reach: Reach,
    ) -> Answering<'_> {
        Box::pin(in_time(limits, self.0.exchange(request, limits, reach, Some(identity))))
    }
}

impl Shared {
    async fn exchange(
        &self,
        request: Request<Vec<u8>>,
        limits: Limits,
        reach: Reach,
        identity: Option<Identity>,
    ) -> HttpResult {
        let way = self.way(request.uri(), reach)?;
        let is_direct = matches!(way, Way::Direct(_));
        let request = reqwest::Request::try_from(request).map_err(|error| failure(&error))?;
        let client = match identity {
            Some(identity) => self.client_as(&way, &identity)?,
            None => self.client(way)?,
        };
        let sent = client.execute(request).await;
        let mut answer = sent.map_err(|error| failure(&error))?;
        let mut response = Response::new(Vec::new());
        *response.status_mut() = answer.status();
        *response.version_mut() = answer.version();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        // A proxy's address says nothing.
        if let Some(peer) = answer.remote_addr().filter(|_| is_direct) {
            response.extensions_mut().insert(PeerAddress((self.road.from)(peer)));
        }
        if !limits.want_body(response.headers()) {
            return Ok(response);
        }
        let body = response.body_mut();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(response),
                Err(_) if limits.head_only => return Ok(response),
                Err(error) => return Err(failure(&error)),
            }
            if body.len() > limits.max_body {
                if limits.head_only {
                    body.truncate(limits.max_body);
                    return Ok(response);
                }
                let what = format!("the body is larger than {} bytes", limits.max_body);
                return Err(TransportError::new(TransportErrorKind::TooLarge, what));
            }
        }
    }

    /// What is for this machine takes no proxy.
    fn way(&self, uri: &Uri, reach: Reach) -> Result<Way, TransportError> {
        let unusable =
            |_| TransportError::new(TransportErrorKind::Connect, "the URL can't be used");
        let url = Url::parse(&uri.to_string()).map_err(unusable)?;
        // No lookup comes for an address.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        if let Ok(address) = host.parse() {
            reach.allows(address).map_err(refused)?;
        }
        match self.proxies.intercept(uri).filter(|_| !is_loopback(&url)) {
            None => Ok(Way::Direct(reach)),
            Some(proxy) if matches!(proxy.uri().scheme_str(), Some("http" | "https")) => {
                let authorization = proxy.basic_auth().cloned();
                Ok(Way::Through { proxy: proxy.uri().clone(), authorization })
            }
            Some(_) => {
                let what = "the proxy is not an HTTP one, and this client knows no others";
                Err(TransportError::new(TransportErrorKind::Connect, what))
            }
        }
    }

    fn client(&self, way: Way) -> Result<reqwest::Client, TransportError> {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let (way, client) = match ways.iter().position(|(known, _)| *known == way) {
            Some(at) => ways.remove(at),
            None => {
                let client = self.build(&way, None).map_err(|error| failure(&error))?;
                (way, client)
            }
        };
        if ways.len() == WAYS {
            ways.remove(0);
        }
        ways.push((way, client.clone()));
        Ok(client)
    }

    /// One of its own, which ends with its request, and the connection with it.
    fn client_as(&self, way: &Way, identity: &Identity) -> Result<reqwest::Client, TransportError> {
        if let Way::Through { proxy, .. } = way
            && proxy.scheme_str() == Some("https")
        {
            let what = "a client certificate can't be kept from a proxy of https";
            return Err(TransportError::new(TransportErrorKind::Connect, what));
        }
        let tls = mutual::showing(&self.tls, identity)
            .map_err(|error| TransportError::new(TransportErrorKind::Other, error))?;
        self.build(way, Some(tls)).map_err(|error| failure(&error))
    }

    /// What is demanded here holds for settings that somebody else has made, too.
    fn build(
        &self,
        way: &Way,
        showing: Option<rustls::ClientConfig>,
    ) -> Result<reqwest::Client, reqwest::Error> {
        let name = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
        let ours = reqwest::Client::builder()
            .user_agent(name)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .tls_backend_preconfigured(self.tls.clone());
        let mut builder = (self.settings)(ours).redirect(redirect::Policy::none()).no_proxy();
        if let Some(tls) = showing {
            builder = builder.tls_backend_preconfigured(tls);
        }
        // A proxy is the operator's own, and names are its to look up.
        let reach = if let Way::Direct(reach) = way { reach.clone() } else { Reach::anywhere() };
        let (lookup, road) = (self.lookup.clone(), self.road.clone());
        let mut builder = builder.dns_resolver(Names { lookup, road, reach });
        if let Way::Through { proxy, authorization } = way {
            let mut proxy = Proxy::all(proxy.to_string())?;
            if let Some(value) = authorization {
                proxy = proxy.custom_http_auth(value.clone());
            }
            builder = builder.proxy(proxy);
        }
        builder.build()
    }
}

async fn in_time(limits: Limits, exchange: impl Future<Output = HttpResult>) -> HttpResult {
    let sent = tokio::time::timeout(limits.deadline.min(LONGEST), exchange);
    sent.await.unwrap_or_else(|_| {
        Err(TransportError::new(TransportErrorKind::Timeout, "no answer in time"))
    })
}

/// Its provider is named here: a program may have set another as its default, or none.
fn tls() -> Result<rustls::ClientConfig, TransportError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_platform_verifier());
    let refused = |error| TransportError::new(TransportErrorKind::Connect, error);
    config.map(|config| config.with_no_client_auth()).map_err(refused)
}

fn refused(error: OutOfReach) -> TransportError {
    TransportError::new(TransportErrorKind::Refused, error)
}

/// The core's words for it. reqwest's own texts name the URL, query and all: only what lies beneath
/// is told.
fn failure(error: &reqwest::Error) -> TransportError {
    let mut deepest = None;
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(out_of_reach) = cause.downcast_ref::<OutOfReach>() {
            return refused(*out_of_reach);
        }
        (deepest, next) = (Some(cause), cause.source());
    }
    let kind = if error.is_connect() || error.is_builder() {
        TransportErrorKind::Connect
    } else if error.is_timeout() {
        TransportErrorKind::Timeout
    } else {
        TransportErrorKind::Other
    };
    match deepest {
        Some(cause) => TransportError::new(kind, cause),
        None => TransportError::new(kind, "the request could not be sent"),
    }
}

impl fmt::Debug for ReqwestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReqwestClient")
    }
}

impl fmt::Debug for ReqwestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReqwestBuilder")
    }
}

#[cfg(test)]
mod tests;
