//! The token request and its reply: RFC 6749 §4.1.3, §5 and §6, client authentication §2.3.1,
//! resource indicators RFC 8707 §2.2, device codes RFC 8628 §3.4.

use std::time::Duration;

use ::url::{Url, form_urlencoded};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::device;
use super::failure::{Failure, Fields, is_page};
use super::scope::ScopeSet;
use super::{Malformed, assertion};
use crate::{Secret, UnixTime};

const DOCUMENT: &str = "token reply";

/// The longest lifetime that is believed: a hundred years.
const MAX_LIFETIME: f64 = 100.0 * 365.25 * 86_400.0;

/// How a client authenticates at the token endpoint (RFC 7591 §2).
///
/// ```
/// use mcp_auth::wire::token::AuthMethod;
///
/// // `token_endpoint_auth_methods_supported`
/// let supported = ["private_key_jwt".to_owned(), "client_secret_post".to_owned()];
/// let method = AuthMethod::choose(Some(&supported), true);
/// assert_eq!(method.map(AuthMethod::as_str), Some("client_secret_post"));
/// assert_eq!(AuthMethod::choose(Some(&supported), false), Some(AuthMethod::None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AuthMethod {
    /// `none`: a public client, its identifier in the body.
    #[serde(rename = "none")]
    None,
    /// `client_secret_basic`: identifier and secret in the `Authorization` header.
    #[serde(rename = "client_secret_basic")]
    Basic,
    /// `client_secret_post`: identifier and secret in the body.
    #[serde(rename = "client_secret_post")]
    Post,
    /// `private_key_jwt`: an assertion that the client's key has signed, in the body (RFC 7523 §2.2).
    #[serde(rename = "private_key_jwt")]
    PrivateKeyJwt,
    /// `tls_client_auth`: the certificate of the connection, under a root that the server trusts (RFC
    /// 8705 §2.1); the identifier in the body.
    #[serde(rename = "tls_client_auth")]
    TlsClientAuth,
    /// `self_signed_tls_client_auth`: the same with a certificate that the server was told (§2.2).
    #[serde(rename = "self_signed_tls_client_auth")]
    SelfSignedTlsClientAuth,
}

impl AuthMethod {
    /// The registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
        }
    }

    /// The method of a registered name, if it's one of those that a client can be registered with as we
    /// go: one with a key of its own is registered by hand.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::None, Self::Basic, Self::Post].into_iter().find(|method| method.as_str() == name)
    }

    /// Picks from `token_endpoint_auth_methods_supported`; an absent or empty list means
    /// `client_secret_basic` (RFC 8414 §2). Without a secret it is always `none`: some servers leave
    /// `none` out and have public clients all the same. `None` if the server only knows methods that
    /// aren't here.
    pub fn choose(supported: Option<&[String]>, has_secret: bool) -> Option<AuthMethod> {
        if !has_secret {
            return Some(Self::None);
        }
        match supported {
            None | Some([]) => Some(Self::Basic),
            Some(listed) => [Self::Basic, Self::Post, Self::None]
                .into_iter()
                .find(|method| listed.iter().any(|name| name == method.as_str())),
        }
    }

    /// Whether it takes a client secret.
    pub fn needs_secret(self) -> bool {
        matches!(self, Self::Basic | Self::Post)
    }
}

/// What is given for the tokens.
///
/// ```
/// use mcp_auth::wire::token::{AuthMethod, Grant, TokenRequest};
///
/// // RFC 6749 §6.
/// let refresh = Grant::RefreshToken { refresh_token: "tGzv3JOkF0XG5Qx2TlKWIA", scope: None };
/// let request = TokenRequest {
///     endpoint: &"https://server.example.com/token".parse()?,
///     client_id: "s6BhdRkqt3",
///     client_secret: None,
///     auth_method: AuthMethod::None,
///     grant: refresh,
///     resource: None,
///     extra: &[],
/// };
/// let form = "grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA&client_id=s6BhdRkqt3";
/// assert_eq!(request.to_http().body(), form.as_bytes());
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Grant<'a> {
    /// The code of an authorization response (RFC 6749 §4.1.3).
    AuthorizationCode {
        /// The code.
        code: &'a str,
        /// The redirect URI of the authorization request, the same bytes.
        redirect_uri: &'a str,
        /// The PKCE verifier (RFC 7636 §4.5).
        code_verifier: &'a str,
    },
    /// A device code (RFC 8628 §3.4).
    DeviceCode {
        /// The code, which is not the one that the person enters.
        device_code: &'a str,
    },
    /// A refresh token (RFC 6749 §6).
    RefreshToken {
        /// The token.
        refresh_token: &'a str,
        /// Fewer scopes than were granted, or the same; none means the same.
        scope: Option<&'a ScopeSet>,
    },
}

/// Everything that a token request says.
///
/// ```
/// use mcp_auth::wire::token::{AuthMethod, Grant, TokenRequest};
///
/// // RFC 6749 §4.1.3.
/// let request = TokenRequest {
///     endpoint: &"https://server.example.com/token".parse()?,
///     client_id: "s6BhdRkqt3",
///     client_secret: Some(&"gX1fBat3bV".into()),
///     auth_method: AuthMethod::Basic,
///     grant: Grant::AuthorizationCode {
///         code: "SplxlOBeZQQYbYS6WxSbIA",
///         redirect_uri: "https://client.example.com/cb",
///         code_verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
///     },
///     resource: Some("https://mcp.example.com/mcp"),
///     extra: &[],
/// };
/// let post = request.to_http();
/// assert_eq!(post.headers()["authorization"], "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
/// # assert!(post.body().starts_with(b"grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA&"));
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Clone, Copy)]
pub struct TokenRequest<'a> {
    /// The token endpoint.
    pub endpoint: &'a Url,
    /// The client identifier.
    pub client_id: &'a str,
    /// The client secret, or with [`AuthMethod::PrivateKeyJwt`] the assertion; without one the client
    /// is public, whatever `auth_method` says.
    pub client_secret: Option<&'a Secret<String>>,
    /// How the secret travels.
    pub auth_method: AuthMethod,
    /// What is given for the tokens.
    pub grant: Grant<'a>,
    /// The resource indicator, byte for byte as the metadata has it.
    pub resource: Option<&'a str>,
    /// Further parameters. One whose name the request has already is left out.
    pub extra: &'a [(String, String)],
}

impl TokenRequest<'_> {
    /// The POST to send. It holds secrets: the header is marked sensitive, the body is the caller's
    /// to keep out of logs.
    ///
    /// The client authenticates in one way only, as RFC 6749 §2.3 demands. Its identifier, which
    /// proves nothing, is in the body in any case: servers of the MCP Python SDK look for it there
    /// beside `Basic` too.
    pub fn to_http(&self) -> Request<Vec<u8>> {
        let scope;
        let mut params = match self.grant {
            Grant::AuthorizationCode { code, redirect_uri, code_verifier } => vec![
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", redirect_uri),
                ("code_verifier", code_verifier),
            ],
            Grant::DeviceCode { device_code } => {
                vec![("grant_type", device::GRANT_TYPE), ("device_code", device_code)]
            }
            Grant::RefreshToken { refresh_token, scope: wanted } => {
                scope = wanted.map(ScopeSet::to_string).unwrap_or_default();
                let mut params =
                    vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
                if !scope.is_empty() {
                    params.push(("scope", &scope));
                }
                params
            }
        };
        let basic = identify(&mut params, self.client_id, self.client_secret, self.auth_method);
        if let Some(resource) = self.resource {
            params.push(("resource", resource));
        }
        let taken = |name: &str| params.iter().any(|(ours, _)| *ours == name);
        let extra = self.extra.iter().filter(|(name, _)| !taken(name));
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&params)
            .extend_pairs(extra)
            .finish();
        let mut request = post(self.endpoint, "application/x-www-form-urlencoded", body.into());
        if let Some(secret) = basic {
            set_authorization(&mut request, &basic_credentials(self.client_id, secret));
        }
        request
    }
}

/// Adds to a form what it says of its client, in one way only (RFC 6749 §2.3); the secret that goes
/// into the `Authorization` header instead, if it does.
pub(super) fn identify<'a>(
    params: &mut Vec<(&str, &'a str)>,
    client_id: &'a str,
    client_secret: Option<&'a Secret<String>>,
    auth_method: AuthMethod,
) -> Option<&'a Secret<String>> {
    params.push(("client_id", client_id));
    match (auth_method, client_secret) {
        (AuthMethod::Basic, secret) => secret,
        (AuthMethod::Post, Some(secret)) => {
            params.push(("client_secret", secret.expose()));
            None
        }
        (AuthMethod::PrivateKeyJwt, Some(assertion)) => {
            params.push(("client_assertion_type", assertion::TYPE));
            params.push(("client_assertion", assertion.expose()));
            None
        }
        _ => None,
    }
}

/// The `Authorization` header of HTTP Basic.
pub(super) fn basic_credentials(client_id: &str, secret: &Secret<String>) -> String {
    format!("Basic {}", basic_token(client_id, secret).expose())
}

/// What follows `Basic`: identifier and secret, form-encoded first (RFC 6749 §2.3.1), so that a colon
/// inside doesn't split them.
pub(crate) fn basic_token(client_id: &str, secret: &Secret<String>) -> Secret {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(client_id), encode(secret.expose()));
    Secret::new(STANDARD.encode(pair))
}

/// A POST that wants JSON back.
///
/// A [`Url`] with a host is an [`http::Uri`] too; were one not, the request would have no host and go
/// nowhere.
pub(super) fn post(endpoint: &Url, content_type: &'static str, body: Vec<u8>) -> Request<Vec<u8>> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.as_str().parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    request
}

/// Sets the `Authorization` header, marked sensitive. A value that isn't one line of text is left
/// out, and the server will say that it's missing.
pub(super) fn set_authorization(request: &mut Request<Vec<u8>>, credentials: &str) {
    if let Ok(mut value) = HeaderValue::from_str(credentials) {
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
}

/// The tokens that a server gave.
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use mcp_auth::UnixTime;
/// use mcp_auth::wire::token::TokenReply;
///
/// // RFC 6750 §4.
/// let body = br#"{
///     "access_token": "mF_9.B5f-4.1JqM",
///     "token_type": "Bearer",
///     "expires_in": 3600,
///     "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA"
/// }"#;
/// let (headers, now) = (HeaderMap::new(), UnixTime(1_790_000_000));
/// let reply = TokenReply::parse(StatusCode::OK, &headers, body, now)?;
/// assert_eq!(reply.access_token.expose(), "mF_9.B5f-4.1JqM");
/// assert_eq!(reply.expires_in.map(|life| now.plus(life)), Some(UnixTime(1_790_003_600)));
/// # Ok::<(), mcp_auth::wire::failure::Failure>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenReply {
    /// The access token: visible ASCII, fit for a header.
    pub access_token: Secret<String>,
    /// The type as the server wrote it: a bearer token, or `DPoP` (in any case). Absent means
    /// bearer.
    pub token_type: Option<String>,
    /// The lifetime from now; zero if it has passed, at most a hundred years, `None` if unknown.
    pub expires_in: Option<Duration>,
    /// The next refresh token; `None` means that the one at hand stays.
    pub refresh_token: Option<Secret<String>>,
    /// The scopes granted; `None` means those asked for, or on refresh those held.
    pub scope: Option<ScopeSet>,
    /// OpenID Connect's ID token, not checked.
    pub id_token: Option<Secret<String>>,
}

impl TokenReply {
    /// Reads the answer of a token endpoint: JSON, or the form that GitHub sends, whatever type it
    /// claims. Slack's user tokens, in an object inside, are read if there is none outside; and so
    /// are their scopes.
    ///
    /// # Errors
    ///
    /// See [`Failure::read`]; an `error` in place of a token is one at any status. A reply without a
    /// usable access token is [`Failure::Malformed`], and so is a token type that isn't known: such a
    /// token must not be used (RFC 6749 §7.1).
    pub fn parse(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: UnixTime,
    ) -> Result<TokenReply, Failure> {
        let failure = || Failure::read(DOCUMENT, status, headers, body, now);
        if !status.is_success() || is_page(headers, body) {
            return Err(failure());
        }
        let mut fields = Fields::json_or_form(DOCUMENT, body)?;
        let mut user = None;
        if !fields.has("access_token") {
            if fields.has("error") {
                return Err(failure());
            }
            fields = match fields.object("authed_user") {
                Some(user) if user.has("access_token") => user,
                _ => fields,
            };
        } else if !fields.has("scope") {
            user = fields.object("authed_user");
        }
        let access_token = Secret::new(fields.required_text("access_token")?);
        if !access_token.expose().bytes().all(|b| b.is_ascii_graphic()) {
            let got = "other characters";
            return Err(Malformed::new(DOCUMENT, "`access_token` in visible ASCII", got).into());
        }
        let token_type = fields.text("token_type");
        if let Some(unknown) = token_type.as_deref().filter(|name| !is_known_type(name)) {
            return Err(Malformed::new(DOCUMENT, "`token_type` Bearer or DPoP", unknown).into());
        }
        Ok(TokenReply {
            access_token,
            token_type,
            expires_in: fields
                .number("expires_in")
                .map(|seconds| Duration::from_secs(seconds.clamp(0.0, MAX_LIFETIME) as u64)),
            refresh_token: fields.secret("refresh_token"),
            scope: user.as_mut().unwrap_or(&mut fields).scopes("scope").filter(|s| !s.is_empty()),
            id_token: fields.secret("id_token"),
        })
    }
}

/// `bot` and `user` are Slack's words for bearer tokens.
fn is_known_type(name: &str) -> bool {
    ["bearer", "dpop", "bot", "user"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests;
