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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(json: &str) -> ServerMetadata {
        ServerMetadata::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_document_is_read_with_its_own_bytes() {
        let metadata = parse(
            r#"{"issuer":"https://a.example/tenant1",
                "authorization_endpoint":"https://a.example/authorize?addr=1",
                "token_endpoint":"https://A.example:443/token",
                "scopes_supported":["mcp:basic","offline_access"],
                "code_challenge_methods_supported":["plain","S256"],
                "authorization_response_iss_parameter_supported":true,
                "client_id_metadata_document_supported":true,
                "jwks_uri":""}"#,
        );
        assert_eq!(metadata.issuer, "https://a.example/tenant1");
        assert_eq!(metadata.token_endpoint.as_deref(), Some("https://A.example:443/token"));
        assert_eq!(metadata.token_endpoint().unwrap().as_str(), "https://a.example/token");
        assert_eq!(metadata.authorization_endpoint().unwrap().query(), Some("addr=1"));
        assert!(metadata.scopes_supported.as_ref().unwrap().contains("offline_access"));
        assert_eq!(metadata.supports_s256(), Some(true), "second in the list counts too");
        assert!(metadata.authorization_response_iss_parameter_supported);
        assert!(metadata.client_id_metadata_document_supported);
        assert_eq!(metadata.registration_endpoint(), None);
    }

    #[test]
    fn null_and_empty_mean_absent() {
        let metadata = parse(
            r#"{"issuer":"https://a.example","token_endpoint":"","scopes_supported":null,
                "registration_endpoint":null,"code_challenge_methods_supported":null,
                "grant_types_supported":7,"client_id_metadata_document_supported":null}"#,
        );
        assert_eq!(metadata, parse(r#"{"issuer":"https://a.example"}"#));
        assert_eq!(metadata.supports_s256(), None);
    }

    #[test]
    fn pkce_is_a_yes_a_no_or_silence() {
        let s256 = |methods: &str| {
            let json = r#"{"issuer":"i","code_challenge_methods_supported":METHODS}"#;
            parse(&json.replace("METHODS", methods)).supports_s256()
        };
        assert_eq!(s256(r#"["S256"]"#), Some(true));
        assert_eq!(s256(r#""S256""#), Some(true));
        assert_eq!(s256(r#"["plain"]"#), Some(false));
        assert_eq!(s256("[]"), Some(false));
        assert_eq!(s256("null"), None);
    }

    #[test]
    fn without_an_issuer_there_is_no_server() {
        for json in
            [r#"{}"#, r#"{"issuer":null}"#, r#"{"issuer":""}"#, r#"{"issuer":["https://a"]}"#]
        {
            let refused = ServerMetadata::parse(json.as_bytes()).unwrap_err();
            assert_eq!(refused.expected, "`issuer`, a string", "{json}");
        }
    }

    #[test]
    fn an_endpoint_that_cannot_be_used_is_named() {
        let cases = ["/token", "http://a.example/token", "ftp://a", "https://u@a.example/", "x y"];
        for name in ["authorization_endpoint", "token_endpoint", "registration_endpoint"] {
            for url in cases {
                let json = format!(r#"{{"issuer":"https://a.example","{name}":"{url}"}}"#);
                let refused = ServerMetadata::parse(json.as_bytes()).unwrap_err();
                assert!(refused.expected.contains(name), "{refused}");
            }
            let json = format!(r#"{{"issuer":"https://a.example","{name}":7}}"#);
            let refused = ServerMetadata::parse(json.as_bytes()).unwrap_err();
            assert_eq!(refused.got, "a number");
        }
        let loopback = parse(r#"{"issuer":"i","token_endpoint":"http://127.0.0.1:8/t"}"#);
        assert!(loopback.token_endpoint().is_some());
    }

    #[test]
    fn a_useless_endpoint_that_one_can_do_without_does_not_stop_a_login() {
        for url in [r#""/there""#, "[]", r#""http://a.example/there""#] {
            for name in ["revocation_endpoint", "device_authorization_endpoint"] {
                let metadata = parse(&format!(r#"{{"issuer":"i","{name}":{url}}}"#));
                assert_eq!(metadata, parse(r#"{"issuer":"i"}"#));
            }
        }
    }

    #[test]
    fn a_server_without_metadata_has_the_old_endpoints() {
        let url = Url::parse("https://u:p@a.example:8443/deep/mcp?x=1").unwrap();
        let legacy = ServerMetadata::legacy(&url);
        assert_eq!(legacy.issuer, "https://a.example:8443");
        let token = legacy.token_endpoint().unwrap();
        assert_eq!(token.as_str(), "https://a.example:8443/token");
        let authorize = legacy.authorization_endpoint().unwrap();
        assert_eq!(authorize.as_str(), "https://a.example:8443/authorize");
        let register = legacy.registration_endpoint().unwrap();
        assert_eq!(register.as_str(), "https://a.example:8443/register");
        assert_eq!(legacy.supports_s256(), Some(true));
    }

    #[test]
    fn two_documents_of_one_issuer_complete_each_other() {
        let mut openid = parse(
            r#"{"issuer":"https://a.example/","token_endpoint":"https://a.example/openid",
                "scopes_supported":["openid"]}"#,
        );
        let oauth = parse(
            r#"{"issuer":"https://a.example","token_endpoint":"https://a.example/oauth",
                "registration_endpoint":"https://a.example/register",
                "code_challenge_methods_supported":["S256"],
                "authorization_response_iss_parameter_supported":true}"#,
        );
        openid.complete_from(&oauth);
        assert_eq!(openid.token_endpoint.as_deref(), Some("https://a.example/openid"));
        assert_eq!(openid.registration_endpoint, oauth.registration_endpoint);
        assert_eq!(openid.supports_s256(), Some(true));
        assert_eq!(openid.scopes_supported, Some(ScopeSet::parse("openid")));
        assert!(openid.authorization_response_iss_parameter_supported);
    }

    #[test]
    fn a_document_of_another_issuer_adds_nothing() {
        let mut ours = parse(r#"{"issuer":"https://a.example/tenant1"}"#);
        let before = ours.clone();
        ours.complete_from(&ServerMetadata::legacy(&Url::parse("https://a.example").unwrap()));
        assert_eq!(ours, before);
    }

    #[test]
    fn a_record_is_read_back_and_a_tampered_one_leads_nowhere() {
        let metadata = ServerMetadata::legacy(&Url::parse("https://a.example").unwrap());
        let json = serde_json::to_string(&metadata).unwrap();
        assert_eq!(serde_json::from_str::<ServerMetadata>(&json).unwrap(), metadata);
        let json = json.replace("https://a.example/token", "http://evil.example/token");
        let tampered: ServerMetadata = serde_json::from_str(&json).unwrap();
        assert_eq!(tampered.token_endpoint(), None);
        let old: ServerMetadata =
            serde_json::from_str(r#"{"issuer":"https://a.example"}"#).unwrap();
        assert_eq!(old.supports_s256(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ServerMetadata::parse(&body);
        }

        #[test]
        fn every_endpoint_that_is_kept_can_be_used(url in ".{0,40}") {
            let json = serde_json::json!({ "issuer": "i", "token_endpoint": url }).to_string();
            if let Ok(metadata) = ServerMetadata::parse(json.as_bytes()) {
                prop_assert_eq!(metadata.token_endpoint().is_some(), metadata.token_endpoint.is_some());
            }
        }
    }
}
