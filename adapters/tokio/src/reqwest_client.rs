//! [`reqwest`] as the HTTP client of a session.

use std::error::Error as _;
use std::sync::Arc;

use http::{HeaderMap, Request, Response, header};
use mcp_auth::output::Limits;
use mcp_auth::{TransportError, TransportErrorKind};
use reqwest::redirect::Policy;
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::http_client::{Answering, HttpClient};

/// Sends requests with reqwest.
#[derive(Clone, Debug)]
pub struct ReqwestClient(reqwest::Client);

impl ReqwestClient {
    /// The default client: TLS by rustls, proxies from the environment, no redirects, no cookies.
    ///
    /// # Errors
    ///
    /// Where the system's certificates can't be read.
    pub fn new() -> Result<Self, TransportError> {
        let name = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
        let client = reqwest::Client::builder()
            .user_agent(name)
            .redirect(Policy::none())
            .tls_backend_preconfigured(tls()?)
            .build();
        client.map(Self).map_err(|error| failure(&error))
    }
}

impl HttpClient for ReqwestClient {
    fn send(&self, request: Request<Vec<u8>>, limits: Limits) -> Answering<'_> {
        Box::pin(async move {
            let sent = tokio::time::timeout(limits.deadline, self.exchange(request, limits));
            sent.await.unwrap_or_else(|_| {
                Err(TransportError::new(TransportErrorKind::Timeout, "no answer in time"))
            })
        })
    }
}

impl ReqwestClient {
    async fn exchange(
        &self,
        request: Request<Vec<u8>>,
        limits: Limits,
    ) -> Result<Response<Vec<u8>>, TransportError> {
        let request = reqwest::Request::try_from(request).map_err(|error| failure(&error))?;
        let mut answer = self.0.execute(request).await.map_err(|error| failure(&error))?;
        let mut response = Response::new(Vec::new());
        *response.status_mut() = answer.status();
        *response.version_mut() = answer.version();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        // An event stream may never end; of anything else, what comes is enough.
        if limits.head_only && !is_json(response.headers()) {
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

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.to_ascii_lowercase().starts_with("application/json"))
}

/// The core's words for it. reqwest's own texts name the URL, query and all: only what lies beneath
/// is told.
fn failure(error: &reqwest::Error) -> TransportError {
    let kind = if error.is_timeout() {
        TransportErrorKind::Timeout
    } else if error.is_connect() || error.is_builder() {
        TransportErrorKind::Connect
    } else {
        TransportErrorKind::Other
    };
    let mut deepest = error.source();
    while let Some(next) = deepest.and_then(std::error::Error::source) {
        deepest = Some(next);
    }
    match deepest {
        Some(cause) => TransportError::new(kind, cause),
        None => TransportError::new(kind, "the request could not be sent"),
    }
}
