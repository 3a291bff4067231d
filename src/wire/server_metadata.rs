//! Authorization server metadata: RFC 8414 §2 and OpenID Connect Discovery §3, with RFC 9207 §3 and
//! client ID metadata documents.

use ::url::Url;
use serde::{Deserialize, Serialize};

use super::Malformed;
use super::failure::Fields;
use super::scope::ScopeSet;
use super::url;

const DOCUMENT: &str = "authorization server metadata";

/// What an authorization server says about itself. It is also kept in the session's record.
///
/// Endpoints are the server's own bytes of a URL that [`url::parse`] accepted; the methods of the
/// same names parse it again, because a record may have been tampered with.
///
/// ```
/// use mcp_auth::wire::server_metadata::ServerMetadata;
///
/// // From RFC 8414 §3.2.
/// let metadata = ServerMetadata::parse(br#"{
///     "issuer": "https://server.example.com",
///     "authorization_endpoint": "https://server.example.com/authorize",
///     "token_endpoint": "https://server.example.com/token",
///     "registration_endpoint": "https://server.example.com/register",
///     "response_types_supported": ["code", "code token"]
/// }"#)?;
/// assert_eq!(metadata.token_endpoint().unwrap().path(), "/token");
/// assert_eq!(metadata.supports_s256(), None, "it doesn't say");
/// # Ok::<(), mcp_auth::wire::Malformed>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerMetadata {
    /// The issuer identifier, byte for byte.
    pub issuer: String,
    /// Where the browser goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_endpoint: Option<String>,
    /// Where codes and refresh tokens are exchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    /// Where clients are registered (RFC 7591).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<String>,
    /// Where tokens are revoked (RFC 7009).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// Where codes for other devices are given (RFC 8628 §4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_authorization_endpoint: Option<String>,
    /// The scopes that the server knows; far more than a client should ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes_supported: Option<ScopeSet>,
    /// PKCE methods, see [`ServerMetadata::supports_s256`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_challenge_methods_supported: Option<Vec<String>>,
    /// How clients may authenticate at the token endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// The algorithms that clients may sign their assertions with (`private_key_jwt`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    /// Where some endpoints are for clients that show a certificate (RFC 8705 §5).
    #[serde(default, skip_serializing_if = "MtlsEndpoints::is_empty")]
    pub mtls_endpoint_aliases: MtlsEndpoints,
    /// Where authorization requests are pushed to (RFC 9126).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_authorization_request_endpoint: Option<String>,
    /// Whether they must be.
    #[serde(default)]
    pub require_pushed_authorization_requests: bool,
    /// Whether they must be signed (RFC 9101).
    #[serde(default)]
    pub require_signed_request_object: bool,
    /// The algorithms that they may be signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_object_signing_alg_values_supported: Option<Vec<String>>,
    /// The algorithms of DPoP proofs (RFC 9449 §5.1): with them the server binds tokens to a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_signing_alg_values_supported: Option<Vec<String>>,
    /// The grants; `authorization_code` and `implicit` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_types_supported: Option<Vec<String>>,
    /// The response types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_types_supported: Option<Vec<String>>,
    /// Whether authorization responses carry `iss` (RFC 9207 §3).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
    /// Whether a client may be identified by the URL of its metadata document.
    #[serde(default)]
    pub client_id_metadata_document_supported: bool,
}

/// Endpoints for clients that show a certificate when they connect: `mtls_endpoint_aliases` (RFC 8705
/// §5). One that can't be used is none.
///
/// ```
/// use mcp_auth::wire::server_metadata::ServerMetadata;
///
/// // From RFC 8705 §5.
/// let metadata = ServerMetadata::parse(br#"{
///     "issuer": "https://server.example.com",
///     "token_endpoint": "https://server.example.com/token",
///     "mtls_endpoint_aliases": { "token_endpoint": "https://mtls.example.com/token" }
/// }"#)?;
/// let with_certificate = metadata.with_certificate();
/// assert_eq!(with_certificate.token_endpoint().unwrap().host_str(), Some("mtls.example.com"));
/// # Ok::<(), mcp_auth::wire::Malformed>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MtlsEndpoints {
    /// In the place of the token endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    /// In the place of the revocation endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// In the place of the endpoint that requests are pushed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed_authorization_request_endpoint: Option<String>,
}

impl MtlsEndpoints {
    fn read(fields: &mut Fields) -> Self {
        let Some(mut fields) = fields.object("mtls_endpoint_aliases") else {
            return Self::default();
        };
        let mut read = |name| endpoint(&mut fields, name).unwrap_or_default();
        Self {
            token_endpoint: read("token_endpoint"),
            revocation_endpoint: read("revocation_endpoint"),
            pushed_authorization_request_endpoint: read("pushed_authorization_request_endpoint"),
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl ServerMetadata {
    /// The same as a client sees it that shows a certificate when it connects (RFC 8705 §5).
    #[must_use]
    pub fn with_certificate(&self) -> Self {
        let (mut seen, other) = (self.clone(), &self.mtls_endpoint_aliases);
        for (own, alias) in [
            (&mut seen.token_endpoint, &other.token_endpoint),
            (&mut seen.revocation_endpoint, &other.revocation_endpoint),
            (
                &mut seen.pushed_authorization_request_endpoint,
                &other.pushed_authorization_request_endpoint,
            ),
        ] {
            if alias.is_some() {
                own.clone_from(alias);
            }
        }
        seen
    }

    /// Reads the document. Whether its issuer is the one that was looked up (RFC 8414 §3.3) is
    /// [`url::issuers_match`]' question.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the body isn't a JSON object, has no issuer, or names an authorization, token
    /// or registration endpoint that isn't a URL to use. A useless revocation or device authorization
    /// endpoint is dropped: one can log in without; so is one to push requests to, and where they must be
    /// pushed the login says that it is missing.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::json(DOCUMENT, body)?;
        Ok(Self {
            issuer: fields.identifier("issuer")?,
            authorization_endpoint: endpoint(&mut fields, "authorization_endpoint")?,
            token_endpoint: endpoint(&mut fields, "token_endpoint")?,
            registration_endpoint: endpoint(&mut fields, "registration_endpoint")?,
            revocation_endpoint: endpoint(&mut fields, "revocation_endpoint").unwrap_or_default(),
            device_authorization_endpoint: endpoint(&mut fields, "device_authorization_endpoint")
                .unwrap_or_default(),
            scopes_supported: fields.scopes("scopes_supported"),
            code_challenge_methods_supported: fields.texts("code_challenge_methods_supported"),
            token_endpoint_auth_methods_supported: fields
                .texts("token_endpoint_auth_methods_supported"),
            token_endpoint_auth_signing_alg_values_supported: fields
                .texts("token_endpoint_auth_signing_alg_values_supported"),
            mtls_endpoint_aliases: MtlsEndpoints::read(&mut fields),
            pushed_authorization_request_endpoint: endpoint(
                &mut fields,
                "pushed_authorization_request_endpoint",
            )
            .unwrap_or_default(),
            require_pushed_authorization_requests: fields
                .flag("require_pushed_authorization_requests"),
            require_signed_request_object: fields.flag("require_signed_request_object"),
            request_object_signing_alg_values_supported: fields
                .texts("request_object_signing_alg_values_supported"),
            dpop_signing_alg_values_supported: fields.texts("dpop_signing_alg_values_supported"),
            grant_types_supported: fields.texts("grant_types_supported"),
            response_types_supported: fields.texts("response_types_supported"),
            authorization_response_iss_parameter_supported: fields
                .flag("authorization_response_iss_parameter_supported"),
            client_id_metadata_document_supported: fields
                .flag("client_id_metadata_document_supported"),
        })
    }

    /// What the MCP specification of 2025-03-26 assumes of a server without metadata: `/authorize`,
    /// `/token` and `/register` at the origin, and S256.
    pub fn legacy(origin: &Url) -> Self {
        let issuer = origin.origin().ascii_serialization();
        Self {
            authorization_endpoint: Some(format!("{issuer}/authorize")),
            token_endpoint: Some(format!("{issuer}/token")),
            registration_endpoint: Some(format!("{issuer}/register")),
            revocation_endpoint: None,
            device_authorization_endpoint: None,
            scopes_supported: None,
            code_challenge_methods_supported: Some(vec![String::from("S256")]),
            token_endpoint_auth_methods_supported: None,
            token_endpoint_auth_signing_alg_values_supported: None,
            mtls_endpoint_aliases: MtlsEndpoints::default(),
            pushed_authorization_request_endpoint: None,
            require_pushed_authorization_requests: false,
            require_signed_request_object: false,
            request_object_signing_alg_values_supported: None,
            dpop_signing_alg_values_supported: None,
            grant_types_supported: None,
            response_types_supported: None,
            authorization_response_iss_parameter_supported: false,
            client_id_metadata_document_supported: false,
            issuer,
        }
    }

    /// Fills what is absent here from the issuer's other document: an OpenID Connect one often lacks
    /// the registration endpoint. A document of another issuer changes nothing.
    pub fn complete_from(&mut self, other: &ServerMetadata) {
        if !url::issuers_match(&self.issuer, &other.issuer) {
            return;
        }
        fill(&mut self.authorization_endpoint, &other.authorization_endpoint);
        fill(&mut self.token_endpoint, &other.token_endpoint);
        fill(&mut self.registration_endpoint, &other.registration_endpoint);
        fill(&mut self.revocation_endpoint, &other.revocation_endpoint);
        fill(&mut self.device_authorization_endpoint, &other.device_authorization_endpoint);
        fill(&mut self.scopes_supported, &other.scopes_supported);
        fill(&mut self.code_challenge_methods_supported, &other.code_challenge_methods_supported);
        fill(
            &mut self.token_endpoint_auth_methods_supported,
            &other.token_endpoint_auth_methods_supported,
        );
        fill(
            &mut self.token_endpoint_auth_signing_alg_values_supported,
            &other.token_endpoint_auth_signing_alg_values_supported,
        );
        fill(
            &mut self.pushed_authorization_request_endpoint,
            &other.pushed_authorization_request_endpoint,
        );
        let (ours, theirs) = (&mut self.mtls_endpoint_aliases, &other.mtls_endpoint_aliases);
        fill(&mut ours.token_endpoint, &theirs.token_endpoint);
        fill(&mut ours.revocation_endpoint, &theirs.revocation_endpoint);
        fill(
            &mut ours.pushed_authorization_request_endpoint,
            &theirs.pushed_authorization_request_endpoint,
        );
        self.require_pushed_authorization_requests |= other.require_pushed_authorization_requests;
        self.require_signed_request_object |= other.require_signed_request_object;
        fill(
            &mut self.request_object_signing_alg_values_supported,
            &other.request_object_signing_alg_values_supported,
        );
        fill(&mut self.dpop_signing_alg_values_supported, &other.dpop_signing_alg_values_supported);
        fill(&mut self.grant_types_supported, &other.grant_types_supported);
        fill(&mut self.response_types_supported, &other.response_types_supported);
        self.authorization_response_iss_parameter_supported |=
            other.authorization_response_iss_parameter_supported;
        self.client_id_metadata_document_supported |= other.client_id_metadata_document_supported;
    }

    /// Whether PKCE with S256 is supported; `None` if the document doesn't speak of PKCE.
    pub fn supports_s256(&self) -> Option<bool> {
        let methods = self.code_challenge_methods_supported.as_ref()?;
        Some(methods.iter().any(|method| method == "S256"))
    }

    /// The parsed `authorization_endpoint`.
    pub fn authorization_endpoint(&self) -> Option<Url> {
        parsed(&self.authorization_endpoint)
    }

    /// The parsed `token_endpoint`.
    pub fn token_endpoint(&self) -> Option<Url> {
        parsed(&self.token_endpoint)
    }

    /// The parsed `registration_endpoint`.
    pub fn registration_endpoint(&self) -> Option<Url> {
        parsed(&self.registration_endpoint)
    }

    /// The parsed `pushed_authorization_request_endpoint`.
    pub fn pushed_authorization_request_endpoint(&self) -> Option<Url> {
        parsed(&self.pushed_authorization_request_endpoint)
    }

    /// The parsed `device_authorization_endpoint`.
    pub fn device_authorization_endpoint(&self) -> Option<Url> {
        parsed(&self.device_authorization_endpoint)
    }

    /// The parsed `revocation_endpoint`.
    pub fn revocation_endpoint(&self) -> Option<Url> {
        parsed(&self.revocation_endpoint)
    }
}

fn endpoint(fields: &mut Fields, name: &str) -> Result<Option<String>, Malformed> {
    let Some(text) = fields.text_or_nothing(name)? else { return Ok(None) };
    match url::parse(DOCUMENT, &text) {
        Ok(_) => Ok(Some(text)),
        Err(e) => Err(Malformed { expected: format!("`{name}`, {}", e.expected), ..e }),
    }
}

fn parsed(endpoint: &Option<String>) -> Option<Url> {
    url::parse(DOCUMENT, endpoint.as_deref()?).ok()
}

fn fill<T: Clone>(ours: &mut Option<T>, theirs: &Option<T>) {
    if ours.is_none() {
        ours.clone_from(theirs);
    }
}

#[cfg(test)]
mod tests;
