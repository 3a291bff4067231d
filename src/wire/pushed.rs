//! Authorization requests that don't travel in the browser: pushed ones (RFC 9126), and signed request
//! objects (RFC 9101 §4).

use std::time::Duration;

use ::url::{Url, form_urlencoded};
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Map, json};

use super::Malformed;
use super::failure::{Failure, Fields};
use super::jws::{SigningAlgorithm, signing_input};
use super::token::{AuthMethod, basic_credentials, identify, post, set_authorization};
use crate::{Secret, UnixTime};

const DOCUMENT: &str = "pushed authorization reply";

/// The longest reference that is believed, in bytes.
const MAX_REFERENCE: usize = 2048;

/// It is sent at once, and the person's browser follows; clocks differ.
const LIFETIME: Duration = Duration::from_secs(300);

/// An authorization request that goes to the server itself.
///
/// ```
/// use mcp_auth::wire::pushed::PushedRequest;
/// use mcp_auth::wire::token::AuthMethod;
///
/// let params = [("response_type", "code"), ("state", "af0ifjsldkj")]; // and so on: RFC 9126 §2.1
/// let request = PushedRequest {
///     endpoint: &"https://as.example.com/as/par".parse()?,
///     client_id: "s6BhdRkqt3",
///     client_secret: None,
///     auth_method: AuthMethod::None,
///     params: &params.map(|(name, value)| (name.to_owned(), value.to_owned())),
/// };
/// assert_eq!(
///     request.to_http().body(),
///     b"client_id=s6BhdRkqt3&response_type=code&state=af0ifjsldkj"
/// );
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Clone, Copy)]
pub struct PushedRequest<'a> {
    /// The pushed authorization request endpoint.
    pub endpoint: &'a Url,
    /// The client identifier.
    pub client_id: &'a str,
    /// As in [`TokenRequest`](super::token::TokenRequest).
    pub client_secret: Option<&'a Secret>,
    /// How the client proves itself.
    pub auth_method: AuthMethod,
    /// What the browser would carry otherwise.
    pub params: &'a [(String, String)],
}

impl PushedRequest<'_> {
    /// The POST to send (RFC 9126 §2.1). It holds secrets: the header is marked sensitive, the body is
    /// the caller's to keep out of logs.
    pub fn to_http(&self) -> Request<Vec<u8>> {
        let mut params = Vec::new();
        let basic = identify(&mut params, self.client_id, self.client_secret, self.auth_method);
        let others = self.params.iter().filter(|(name, _)| name != "client_id");
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&params)
            .extend_pairs(others)
            .finish();
        let mut request = post(self.endpoint, "application/x-www-form-urlencoded", body.into());
        if let Some(secret) = basic {
            set_authorization(&mut request, &basic_credentials(self.client_id, secret));
        }
        request
    }
}

/// Where the server keeps a request that was pushed.
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use mcp_auth::UnixTime;
/// use mcp_auth::wire::authorization::by_reference;
/// use mcp_auth::wire::pushed::PushedReply;
///
/// // RFC 9126 §2.2.
/// let body = br#"{
///     "request_uri": "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c",
///     "expires_in": 60
/// }"#;
/// let reply = PushedReply::parse(StatusCode::CREATED, &HeaderMap::new(), body, UnixTime(0))?;
/// let endpoint = "https://server.example.com/authorize".parse()?;
/// let url = by_reference(&endpoint, "s6BhdRkqt3", "request_uri", &reply.request_uri); // for the browser
/// assert!(url.as_str().ends_with("request_uri%3A6esc_11ACC5bwc014ltc14eY22c"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedReply {
    /// What the browser carries in its place: `request_uri`.
    pub request_uri: String,
    /// How long the person has to get there.
    pub expires_in: Duration,
}

impl PushedReply {
    /// Reads the answer of the endpoint (RFC 9126 §2.2).
    ///
    /// # Errors
    ///
    /// See [`Failure::read`]; a reply without a reference, or with one that has expired already, is
    /// malformed.
    pub fn parse(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Self, Failure> {
        if !status.is_success() {
            return Err(Failure::read(DOCUMENT, status, headers, body, now));
        }
        let mut fields = Fields::json(DOCUMENT, body)?;
        let request_uri = fields.required_text("request_uri")?;
        if request_uri.len() > MAX_REFERENCE {
            return Err(Malformed::new(DOCUMENT, "`request_uri` of at most 2 KiB", "more").into());
        }
        let seconds = fields.number("expires_in").unwrap_or_default();
        if seconds < 1.0 {
            return Err(Malformed::new(DOCUMENT, "`expires_in`, a while", "none").into());
        }
        Ok(Self { request_uri, expires_in: Duration::from_secs(seconds.min(86_400.0) as u64) })
    }
}

/// What is signed of a request object (RFC 9101 §4, §10.8): the parameters, by whom (`iss`) and for whom
/// (`aud`), which is the server's issuer.
pub fn request_object(
    params: &[(String, String)],
    client_id: &str,
    audience: &str,
    id: &str,
    key_id: Option<&str>,
    algorithm: SigningAlgorithm,
    now: UnixTime,
) -> String {
    let mut header = json!({ "alg": algorithm.as_str(), "typ": "oauth-authz-req+jwt" });
    if let (Some(key_id), Some(header)) = (key_id, header.as_object_mut()) {
        header.insert("kid".to_owned(), json!(key_id));
    }
    let mut claims = Map::new();
    for (name, value) in params {
        claims.insert(name.clone(), json!(value));
    }
    for (name, value) in [
        ("iss", json!(client_id)),
        ("aud", json!(audience)),
        ("jti", json!(id)),
        ("iat", json!(now)),
        ("nbf", json!(now)),
        ("exp", json!(now.plus(LIFETIME))),
    ] {
        claims.insert(name.to_owned(), value);
    }
    signing_input(&header, &claims.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(status: u16, body: &str) -> Result<PushedReply, Failure> {
        let status = StatusCode::from_u16(status).unwrap();
        PushedReply::parse(status, &HeaderMap::new(), body.as_bytes(), UnixTime(0))
    }

    #[test]
    fn a_reference_lives_for_a_while() {
        let reply = parse(201, r#"{"request_uri":"urn:x:1","expires_in":"60"}"#).unwrap();
        assert_eq!((reply.request_uri.as_str(), reply.expires_in.as_secs()), ("urn:x:1", 60));
        for body in [
            "{}",
            r#"{"request_uri":"urn:x:1"}"#,
            r#"{"request_uri":"urn:x:1","expires_in":0}"#,
            r#"{"request_uri":"","expires_in":60}"#,
            r#"{"request_uri":7,"expires_in":60}"#,
            "<html>",
        ] {
            assert!(matches!(parse(200, body), Err(Failure::Malformed(_))), "{body}");
        }
        let long = format!(r#"{{"request_uri":"{}","expires_in":60}}"#, "x".repeat(4000));
        assert!(parse(201, &long).is_err());
        assert!(matches!(
            parse(400, r#"{"error":"invalid_request"}"#),
            Err(Failure::Refused { .. })
        ));
        assert!(matches!(parse(503, ""), Err(Failure::Passing { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(status in 100..600_u16, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let status = StatusCode::from_u16(status).unwrap();
            let _ = PushedReply::parse(status, &HeaderMap::new(), &body, UnixTime(0));
        }
    }
}
