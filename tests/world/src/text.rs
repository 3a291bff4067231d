//! What the servers share about text: URLs, forms, JSON replies, opaque values.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Request, header};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

pub(crate) type Response = http::Response<Vec<u8>>;

/// Scheme and authority in lower case, without a default port; empty for a URL that has none.
pub(crate) fn origin(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_ascii_lowercase();
    let scheme = scheme.to_ascii_lowercase();
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    // An empty port is the default one, too (RFC 3986 §6.2.3).
    let host = host.strip_suffix(default_port).or(host.strip_suffix(':')).unwrap_or(&host);
    format!("{scheme}://{host}")
}

/// The bytes between the authority and the query of a URL; empty where there are none.
pub(crate) fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default()
}

/// `well-known` inserted between the origin of a URL and a path.
pub(crate) fn insert_well_known(url: &str, well_known: &str, path: &str) -> String {
    format!("{}/.well-known/{well_known}{path}", origin(url))
}

/// A value that nobody can guess and that each run repeats: `kind-` and a hash.
pub(crate) fn opaque(kind: &str, minter: &str, count: u64) -> String {
    let hash = Sha256::digest(format!("{minter}\n{kind}\n{count}"));
    let mut text = URL_SAFE_NO_PAD.encode(hash);
    text.truncate(27);
    format!("{kind}-{text}")
}

/// The S256 code challenge of a verifier (RFC 7636 §4.2).
pub(crate) fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// The words of a scope string.
pub(crate) fn words(scope: &str) -> Vec<String> {
    scope.split_whitespace().map(str::to_owned).collect()
}

/// A query or a form body. A parameter without a value counts as omitted (RFC 6749 §3.1).
#[derive(Debug, Default, Clone)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn parse(bytes: &[u8]) -> Form {
        let pairs = form_urlencoded::parse(bytes).into_owned();
        Form(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Is a parameter given twice? Only `resource` may be (RFC 8707 §2).
    pub(crate) fn repeats(&self) -> bool {
        let mut seen = BTreeSet::new();
        self.0.iter().any(|(key, _)| key != "resource" && !seen.insert(key))
    }

    /// The parameters as a query again, safe in a URL and in HTML but for its `&`.
    pub(crate) fn encode(&self) -> String {
        encode(&self.0)
    }
}

pub(crate) fn encode(pairs: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The credential of the only `Authorization` header, if it has this scheme, spelled this way.
pub(crate) fn credential<'a>(request: &'a Request<Vec<u8>>, scheme: &str) -> Option<&'a str> {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()?.strip_prefix(scheme)?.strip_prefix(' ')
}

pub(crate) fn response(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    if !content_type.is_empty() {
        add_header(&mut response, "content-type", content_type);
    }
    response
}

pub(crate) fn empty(status: u16) -> Response {
    response(status, "", Vec::new())
}

/// A JSON reply that must not be kept (RFC 6749 §5.1).
pub(crate) fn json(status: u16, body: &Value) -> Response {
    let mut response = response(status, "application/json", body.to_string());
    add_header(&mut response, "cache-control", "no-store");
    response
}

/// Adds a header; bytes that no header may hold become spaces, a name that none may have is
/// dropped.
pub(crate) fn add_header(response: &mut Response, name: &str, value: &str) {
    let clean: Vec<u8> =
        value.bytes().map(|b| if b.is_ascii_control() && b != b'\t' { b' ' } else { b }).collect();
    let name = http::HeaderName::try_from(name);
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&clean)) {
        response.headers_mut().append(name, value);
    }
}

/// Adds the moment of the answer (RFC 9110 §6.6.1), unless it has one.
pub(crate) fn add_date(response: &mut Response, now: u64) {
    /// The last second of the year 9999: later ones have no form.
    const LAST: u64 = 253_402_300_799;
    if !response.headers().contains_key(header::DATE) {
        let at = UNIX_EPOCH + Duration::from_secs(now.min(LAST));
        add_header(response, "date", &httpdate::fmt_http_date(at));
    }
}

/// A quoted string of a challenge (RFC 9110 §5.6.4).
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
