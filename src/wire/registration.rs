//! Dynamic client registration: RFC 7591 §2 and §3, with `application_type` of OpenID Connect
//! Dynamic Client Registration §2; the management of a registration, RFC 7592.

use ::url::Url;
use http::{HeaderMap, Request, StatusCode};
use serde::Serialize;

use super::Malformed;
use super::failure::{Failure, Fields, OAuthError, is_page};
use super::scope::ScopeSet;
use super::token::{AuthMethod, post, set_authorization};
use super::url;
use crate::{Secret, UnixTime};

mod management;
pub use management::{Registered, UpdateRequest, delete_request, read_deleted, read_request};

const DOCUMENT: &str = "client registration reply";

/// Numbers above this are milliseconds: as seconds they are in the year 5138.
const MAX_SECONDS: f64 = 1e11;

/// What a client says about itself.
///
/// ```
/// use mcp_auth::wire::registration::{self, ClientMetadata};
///
/// let client = ClientMetadata::new("http://127.0.0.1:49152/callback", "My Example Client");
/// let endpoint = "https://server.example.com/register".parse()?;
/// let post = registration::request(&endpoint, &client, None);
/// let sent: serde_json::Value = serde_json::from_slice(post.body())?;
/// assert_eq!(sent["client_name"], "My Example Client");
/// assert_eq!(sent["token_endpoint_auth_method"], "none");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientMetadata {
    /// Where the browser may come back to.
    pub redirect_uris: Vec<String>,
    /// The name that people see.
    pub client_name: String,
    /// A page about the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// [`ClientMetadata::GRANTS`], or fewer for a server that doesn't know them all.
    pub grant_types: &'static [&'static str],
    /// [`ClientMetadata::RESPONSES`].
    pub response_types: &'static [&'static str],
    /// Always said, because servers assume `client_secret_basic` otherwise.
    pub token_endpoint_auth_method: AuthMethod,
    /// Some servers judge redirect URIs by it.
    pub application_type: ApplicationType,
    /// The scopes that will be asked for, as far as they are known; not sent if empty.
    #[serde(skip_serializing_if = "ScopeSet::is_empty")]
    pub scope: ScopeSet,
    /// Identifies the program, over all its versions and registrations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    /// The program's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
}

impl ClientMetadata {
    /// The grants of a client with a browser: code and refresh token.
    pub const GRANTS: &'static [&'static str] = &["authorization_code", "refresh_token"];

    /// The response types that go with them.
    pub const RESPONSES: &'static [&'static str] = &["code"];

    /// A public client with one redirect URI, which also decides the application type.
    pub fn new(redirect_uri: impl Into<String>, client_name: impl Into<String>) -> Self {
        let redirect_uri = redirect_uri.into();
        Self {
            application_type: ApplicationType::of(&redirect_uri),
            redirect_uris: vec![redirect_uri],
            client_name: client_name.into(),
            client_uri: None,
            grant_types: Self::GRANTS,
            response_types: Self::RESPONSES,
            token_endpoint_auth_method: AuthMethod::None,
            scope: ScopeSet::new(),
            software_id: None,
            software_version: None,
        }
    }
}

/// Where a client runs.
///
/// ```
/// use mcp_auth::wire::registration::{ApplicationType, ClientMetadata};
///
/// let app = ClientMetadata::new("com.example.notes:/oauth2redirect", "Notes");
/// assert_eq!(app.application_type, ApplicationType::Native);
/// let site = ClientMetadata::new("https://notes.example.com/callback", "Notes");
/// assert_eq!(site.application_type, ApplicationType::Web);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ApplicationType {
    /// On the person's machine: loopback or custom-scheme redirects (RFC 8252 §7).
    Native,
    /// On a server: `https` redirects.
    Web,
}

impl ApplicationType {
    /// The type that a redirect URI belongs to.
    pub fn of(redirect_uri: &str) -> Self {
        match Url::parse(redirect_uri) {
            Ok(uri) if matches!(uri.scheme(), "https" | "http") && !url::is_loopback(&uri) => {
                Self::Web
            }
            _ => Self::Native,
        }
    }
}

/// The POST that registers a client (RFC 7591 §3.1), with the token that closed endpoints want.
pub fn request(
    endpoint: &Url,
    client: &ClientMetadata,
    initial_access_token: Option<&Secret<String>>,
) -> Request<Vec<u8>> {
    // Strings and lists only: serialisation has nothing to fail on.
    let body = serde_json::to_vec(client).unwrap_or_default();
    let mut request = post(endpoint, "application/json", body);
    if let Some(token) = initial_access_token {
        set_authorization(&mut request, &format!("Bearer {}", token.expose()));
    }
    request
}

/// The client that a server made (RFC 7591 §3.2.1).
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use mcp_auth::UnixTime;
/// use mcp_auth::wire::registration::RegistrationReply;
/// use mcp_auth::wire::token::AuthMethod;
///
/// // RFC 7591 §3.2.1, without what it repeats of the request.
/// let body = br#"{
///     "client_id": "s6BhdRkqt3",
///     "client_secret": "cf136dc3c1fc93f31185e5885805d",
///     "client_id_issued_at": 2893256800,
///     "client_secret_expires_at": 2893276800
/// }"#;
/// let (headers, now) = (HeaderMap::new(), UnixTime(1_790_000_000));
/// let reply = RegistrationReply::parse(StatusCode::CREATED, &headers, body, now)?;
/// assert_eq!(reply.client_id, "s6BhdRkqt3");
/// // We asked for none, and were given a secret.
/// assert_eq!(reply.auth_method(AuthMethod::None)?, AuthMethod::Basic);
/// # Ok::<(), mcp_auth::wire::failure::Failure>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistrationReply {
    /// The client identifier, byte for byte.
    pub client_id: String,
    /// The client secret.
    pub client_secret: Option<Secret<String>>,
    /// When the secret expires; `None` means never. Some servers give a time that has passed.
    pub client_secret_expires_at: Option<UnixTime>,
    /// When the identifier was made.
    pub client_id_issued_at: Option<UnixTime>,
    /// The authentication method in the server's words, see [`RegistrationReply::auth_method`].
    pub token_endpoint_auth_method: Option<String>,
    /// The redirect URIs that the server registered.
    pub redirect_uris: Option<Vec<String>>,
    /// The token for [`RegistrationReply::registration_client_uri`].
    pub registration_access_token: Option<Secret<String>>,
    /// Where the registration is managed (RFC 7592), a URL that [`url::parse`] accepted.
    pub registration_client_uri: Option<String>,
    /// The scopes that the client may ask for.
    pub scope: Option<ScopeSet>,
    /// All that it says of the client, to be sent back with an update.
    pub metadata: Registered,
    /// Whether anything is said of the secret's end: `0` is, and means never.
    pub(crate) names_expiry: bool,
}

impl RegistrationReply {
    /// Reads the answer of a registration endpoint, or to a [`read_request`] or an [`UpdateRequest`];
    /// any success with an identifier will do.
    ///
    /// # Errors
    ///
    /// See [`Failure::read`]. A bare 403 is a refusal here (`access_denied`), because providers close
    /// their registration endpoints with it. A success without an identifier is
    /// [`Failure::Malformed`], or what its `error` says.
    pub fn parse(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Self, Failure> {
        let failure = || Failure::read(DOCUMENT, status, headers, body, now);
        if !status.is_success() || is_page(headers, body) {
            return Err(match failure() {
                Failure::Passing { status: 403, error: None, .. } if !is_page(headers, body) => {
                    let error = OAuthError::code("access_denied");
                    Failure::Refused { status: 403, error }
                }
                other => other,
            });
        }
        let mut fields = Fields::json(DOCUMENT, body)?;
        if !fields.has("client_id") && fields.has("error") {
            return Err(failure());
        }
        Ok(Self {
            metadata: Registered::read(fields.members()),
            names_expiry: fields.has("client_secret_expires_at"),
            client_id: fields.identifier("client_id")?,
            client_secret: fields.secret("client_secret"),
            client_secret_expires_at: time(&mut fields, "client_secret_expires_at"),
            client_id_issued_at: time(&mut fields, "client_id_issued_at"),
            token_endpoint_auth_method: fields.text("token_endpoint_auth_method"),
            redirect_uris: fields.texts("redirect_uris"),
            registration_access_token: fields.secret("registration_access_token"),
            registration_client_uri: fields
                .text("registration_client_uri")
                .filter(|uri| url::parse(DOCUMENT, uri).is_ok()),
            scope: fields.scopes("scope").filter(|scope| !scope.is_empty()),
        })
    }

    /// How the client is to authenticate: the reply decides. If it names no method, a secret means
    /// the method that was `asked` for, or `client_secret_basic` if that takes none, and no secret
    /// means `none`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the reply names a method that isn't known here, or one that needs a secret
    /// and gives none.
    pub fn auth_method(&self, asked: AuthMethod) -> Result<AuthMethod, Malformed> {
        let has_secret = self.client_secret.is_some();
        let Some(name) = &self.token_endpoint_auth_method else {
            return Ok(match (has_secret, asked) {
                (false, _) => AuthMethod::None,
                (true, AuthMethod::None) => AuthMethod::Basic,
                (true, asked) => asked,
            });
        };
        let expected =
            "`token_endpoint_auth_method` none, client_secret_basic or client_secret_post";
        let method =
            AuthMethod::parse(name).ok_or_else(|| Malformed::new(DOCUMENT, expected, name))?;
        if method.needs_secret() && !has_secret {
            let expected = format!("`client_secret` for {name}");
            return Err(Malformed::new(DOCUMENT, expected, "nothing"));
        }
        Ok(method)
    }
}

/// A time in seconds, or as some servers have it in milliseconds; zero and less mean none.
fn time(fields: &mut Fields, name: &str) -> Option<UnixTime> {
    let number = fields.number(name).filter(|n| *n >= 1.0)?;
    let seconds = if number > MAX_SECONDS { number / 1000.0 } else { number };
    Some(UnixTime(seconds as u64))
}

#[cfg(test)]
mod tests;
