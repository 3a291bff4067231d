//! The authorization request and its response: RFC 6749 §4.1, with PKCE (RFC 7636 §4.3), resource
//! indicators (RFC 8707 §2) and the issuer in the response (RFC 9207 §2).

use url::{Url, form_urlencoded};

use super::Malformed;
use super::pkce::Pkce;
use super::scope::ScopeSet;
use crate::Secret;
use crate::text::printable;

/// What nobody may change but the flow itself: login would break, or stop being safe.
const PROTECTED: [&str; 6] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "code_challenge",
    "code_challenge_method",
];

/// Whether a parameter is the flow's own.
pub(crate) fn is_protected(name: &str) -> bool {
    PROTECTED.contains(&name)
}

/// The longest redirect that is read, in bytes.
const MAX_RESPONSE: usize = 32 * 1024;

/// Everything that the browser carries to the authorization endpoint.
///
/// ```
/// use mcp_auth::wire::authorization::AuthorizationRequest;
/// use mcp_auth::wire::scope::ScopeSet;
///
/// let request = AuthorizationRequest {
///     endpoint: &"https://server.example.com/authorize?tenant=1".parse()?,
///     client_id: "s6BhdRkqt3",
///     redirect_uri: "http://127.0.0.1:49152/callback",
///     state: "xyz",
///     code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
///     scope: &ScopeSet::parse("notes:read"),
///     scope_parameter: "scope",
///     resource: Some("https://mcp.example.com/mcp"),
///     prompt: None,
///     extra: &[],
/// };
/// let url = request.to_url(); // for the browser
/// assert!(url.as_str().starts_with("https://server.example.com/authorize?tenant=1&response_type=code"));
/// # assert!(url.as_str().ends_with("&scope=notes%3Aread&resource=https%3A%2F%2Fmcp.example.com%2Fmcp"));
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Clone, Copy)]
pub struct AuthorizationRequest<'a> {
    /// The authorization endpoint; its own query is kept.
    pub endpoint: &'a Url,
    /// The client identifier.
    pub client_id: &'a str,
    /// Where the browser comes back to, the same bytes as in the token request.
    pub redirect_uri: &'a str,
    /// The unguessable value that ties the response to this request.
    pub state: &'a str,
    /// The `S256` challenge, see [`Pkce`].
    pub code_challenge: &'a str,
    /// What is asked for; no parameter if empty.
    pub scope: &'a ScopeSet,
    /// The name of the scope parameter: `scope`, save for servers with a name of their own.
    pub scope_parameter: &'a str,
    /// The resource indicator, the metadata's own bytes: a normalised URL is another resource.
    pub resource: Option<&'a str>,
    /// OpenID Connect's `prompt`, e.g. `consent`.
    pub prompt: Option<&'a str>,
    /// Further parameters. They replace ours and the endpoint's, except `response_type`,
    /// `client_id`, `redirect_uri`, `state`, `code_challenge` and `code_challenge_method`.
    pub extra: &'a [(String, String)],
}

impl AuthorizationRequest<'_> {
    /// The URL to open. Each parameter of ours stands in it once (RFC 6749 §3.1), in place of one of
    /// the same name in the endpoint's own query.
    pub fn to_url(&self) -> Url {
        let scope = self.scope.to_string();
        let params = self.params(&scope);
        let ours = |name: &str| params.iter().any(|(known, _)| *known == name);
        let own = self.endpoint.query().unwrap_or_default().split('&').filter(|pair| {
            let name = form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name);
            name.is_some_and(|name| !ours(&name))
        });
        // Kept as it is, not decoded and encoded again: the endpoint's owner chose these bytes.
        let mut query = own.collect::<Vec<_>>().join("&");
        if !query.is_empty() {
            query.push('&');
        }
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        // Every server decodes %20; not every one decodes `+`. A real plus is %2B by now.
        query.push_str(&encoded.replace('+', "%20"));
        let mut url = self.endpoint.clone();
        url.set_query(Some(&query));
        url
    }

    /// Our parameters alone, for a request that doesn't travel in the browser.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let scope = self.scope.to_string();
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        self.params(&scope).into_iter().map(owned).collect()
    }

    /// Our parameters, no name twice.
    fn params<'p>(&'p self, scope: &'p str) -> Vec<(&'p str, &'p str)> {
        let mut params = vec![
            ("response_type", "code"),
            ("client_id", self.client_id),
            ("redirect_uri", self.redirect_uri),
            ("state", self.state),
            ("code_challenge", self.code_challenge),
            ("code_challenge_method", Pkce::METHOD),
        ];
        let optional = [
            (self.scope_parameter, Some(scope).filter(|scope| !scope.is_empty())),
            ("resource", self.resource),
            ("prompt", self.prompt),
        ];
        let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let extra = self.extra.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in optional.chain(extra).filter(|(name, _)| !is_protected(name)) {
            params.retain(|(known, _)| *known != name);
            params.push((name, value));
        }
        params
    }
}

/// The URL to open where the browser carries a reference to the request, or the request as one value:
/// `request_uri` (RFC 9126 §4) or `request` (RFC 9101 §5).
pub fn by_reference(endpoint: &Url, client_id: &str, name: &str, value: &str) -> Url {
    let mut url = endpoint.clone();
    url.query_pairs_mut().append_pair("client_id", client_id).append_pair(name, value);
    url
}

/// What the browser brought back. Nothing in it is to be believed before `state` was compared.
///
/// A parameter with an empty value counts as absent (RFC 6749 §3.1), unknown ones are ignored.
///
/// ```
/// use mcp_auth::wire::authorization::AuthorizationResponse;
///
/// // RFC 9207 §2.
/// let response = AuthorizationResponse::parse(
///     "https://client.example/cb?\
///      code=x1848ZT64p4IirMPT0R-X3141MFPTuBX-VFL_cvaplMH58\
///      &state=ZWVlNDBlYzA1NjdkMDNhYjg3ZjUxZjAyNGQzMTM2NzI\
///      &iss=https%3A%2F%2Fhonest.as.example",
/// )?;
/// let sent = "ZWVlNDBlYzA1NjdkMDNhYjg3ZjUxZjAyNGQzMTM2NzI".into();
/// assert_eq!(response.state, Some(sent)); // first of all
/// assert_eq!(response.iss.as_deref(), Some("https://honest.as.example"));
/// assert!(response.code.is_some() && response.duplicated.is_none());
/// # Ok::<(), mcp_auth::wire::Malformed>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizationResponse {
    /// The value of the request.
    pub state: Option<Secret<String>>,
    /// The issuer, as it came, to be compared as a string (RFC 9207 §2.4): not safe to show.
    pub iss: Option<String>,
    /// The authorization code.
    pub code: Option<Secret<String>>,
    /// The error code of RFC 6749 §4.1.2.1, made safe to show.
    pub error: Option<String>,
    /// The server's explanation, made safe to show.
    pub error_description: Option<String>,
    /// A page about the error, made safe to show, which doesn't make it safe to open.
    pub error_uri: Option<String>,
    /// The first of these parameters that came a second time, whatever its value; the fields hold
    /// what came first.
    pub duplicated: Option<&'static str>,
}

impl AuthorizationResponse {
    /// Reads a redirect: a whole URL, the target of an HTTP request (`/callback?code=…`), or a query
    /// with or without its `?`. Whitespace and quotes around it, as left by a paste, are dropped,
    /// and so is a fragment, unless it alone holds the parameters: some servers answer that way to
    /// everybody, and only who pastes the address can show it.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if there's no parameter at all, or more than 32 KiB of text.
    pub fn parse(redirect: &str) -> Result<Self, Malformed> {
        // The text may hold a code, so the error doesn't quote it.
        let refuse = |expected: &str, got: &str| {
            Err(Malformed::new("authorization response", expected, got))
        };
        if redirect.len() > MAX_RESPONSE {
            return refuse("at most 32 KiB", &format!("{} bytes", redirect.len()));
        }
        let query = query_of(redirect);
        let mut pairs = form_urlencoded::parse(query.as_bytes()).peekable();
        if pairs.peek().is_none() {
            return refuse("a URL with the parameters of the response", "none");
        }
        let mut response = Self::default();
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            response.set(&name, value.into_owned());
        }
        Ok(response)
    }

    fn set(&mut self, name: &str, value: String) {
        let repeated = match name {
            "state" => put(&mut self.state, "state", || Secret::new(value)),
            "iss" => put(&mut self.iss, "iss", || value),
            "code" => put(&mut self.code, "code", || Secret::new(value)),
            "error" => put(&mut self.error, "error", || printable(&value)),
            "error_description" => {
                put(&mut self.error_description, "error_description", || printable(&value))
            }
            "error_uri" => put(&mut self.error_uri, "error_uri", || printable(&value)),
            _ => None,
        };
        self.duplicated = self.duplicated.or(repeated);
    }
}

/// Fills an empty field; names one that is full.
fn put<T>(
    field: &mut Option<T>,
    name: &'static str,
    value: impl FnOnce() -> T,
) -> Option<&'static str> {
    if field.is_some() {
        return Some(name);
    }
    *field = Some(value());
    None
}

/// The query of a redirect in any of its forms, empty if there is none.
fn query_of(redirect: &str) -> &str {
    let around = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
    let (text, fragment) = match redirect.trim_matches(around).split_once('#') {
        Some((text, fragment)) => (text, fragment),
        None => (redirect.trim_matches(around), ""),
    };
    match text.split_once('?') {
        // A bare query may hold a `?` too, in a value: `iss=https://as.example/?tenant=1`.
        Some((head, query)) if !head.contains('=') && !query.is_empty() => query,
        _ if text.contains('=') && !text.starts_with('/') => text,
        _ if fragment.contains('=') => fragment,
        _ => "",
    }
}

#[cfg(test)]
mod tests;
