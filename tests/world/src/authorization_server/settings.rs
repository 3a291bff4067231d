//! The switches of an authorization server, and their defaults: strict and complete.

use std::collections::BTreeMap;

use mcp_auth::wire::jws::PublicKey;
use serde_json::{Map, Value};

use super::clients::ClientAuthentication;
use super::state::State;
use crate::faults::Canned;

/// An authorization server. Change a field at any time.
#[derive(Debug, Clone)]
pub struct AuthorizationServer {
    /// Its identifier, with or without a path. The endpoints are `authorize`, `token`, `register`
    /// and `revoke` beneath it, unless [`metadata_changes`](Self::metadata_changes) moves them.
    pub issuer: String,
    /// Where its metadata is.
    pub metadata: MetadataPlace,
    /// Served in place of the metadata, byte for byte.
    pub metadata_body: Option<String>,
    /// The `Cache-Control` of the metadata.
    pub metadata_cache_control: Option<String>,
    /// Members that replace or join those of the metadata; `null` removes one. An endpoint is where
    /// its changed URL says.
    pub metadata_changes: Map<String, Value>,
    /// The `issuer` in its metadata and its `iss`, where that isn't [`issuer`](Self::issuer).
    pub claimed_issuer: Option<String>,
    /// How it uses `iss` (RFC 9207).
    pub iss: IssParameter,
    /// The PKCE methods that it announces and takes (RFC 7636); `None` announces none and takes
    /// S256. A challenge is always required.
    pub challenge_methods: Option<Vec<String>>,
    /// How clients may authenticate.
    pub client_authentication: Vec<ClientAuthentication>,
    /// The keys that client metadata documents name, by their URLs.
    pub document_keys: BTreeMap<String, PublicKey>,
    /// Assertions are to be for the token endpoint, and not for the issuer.
    pub takes_token_endpoint_as_audience: bool,
    /// Where token endpoint, revocation and pushed requests are for clients with a certificate, too (RFC
    /// 8705 §5).
    pub mtls_origin: Option<String>,
    /// Whether authorization requests may be pushed.
    pub takes_pushed_requests: bool,
    /// Whether they must be.
    pub requires_pushed_requests: bool,
    /// Whether they must be signed.
    pub requires_signed_requests: bool,
    /// Whether it announces DPoP, and binds tokens to the keys of proofs. Off: it ignores them.
    pub dpop: bool,
    /// Token requests without a proof are refused.
    pub dpop_required: bool,
    /// Proofs at the token endpoint must have this nonce.
    pub dpop_nonce: Option<String>,
    /// Each answer of the token endpoint has a new one, and the one before is of no use any more.
    pub dpop_nonce_rotates: bool,
    /// What a token request gets that shows its client by Basic, good or not.
    pub refuses_basic: Option<Canned>,
    /// What a token request gets that doesn't name its client in the form.
    pub wants_client_id: Option<Canned>,
    /// The grants that it knows, of `authorization_code`, `refresh_token`, `client_credentials`.
    pub grant_types: Vec<String>,
    /// How clients register themselves (RFC 7591).
    pub registration: Registration,
    /// How it takes client identifiers that are URLs.
    pub cimd: Cimd,
    /// How redirect URIs are compared.
    pub redirects: Redirects,
    /// A host that no redirect URI may have, such as `localhost`: the browser shows an error page.
    pub refuses_redirect_host: Option<String>,
    /// What it does with `resource` (RFC 8707).
    pub resources: ResourceIndicators,
    /// The scopes that exist; anything goes if empty.
    pub scopes_supported: Vec<String>,
    /// The authorization request's parameter that names the scopes.
    pub scope_parameter: String,
    /// The scopes of a request that names none (RFC 6749 §3.3).
    pub default_scopes: Vec<String>,
    /// Which of the asked scopes it grants.
    pub grants: ScopeGrant,
    /// Does a token reply name the scopes?
    pub reply_names_scopes: bool,
    /// What becomes of refresh tokens.
    pub refresh_tokens: RefreshTokens,
    /// Are refresh tokens for those alone who asked for `offline_access`?
    pub refresh_needs_offline_access: bool,
    /// Refresh tokens are for those alone whose authorization request has these parameters.
    pub refresh_needs_parameters: Vec<(String, String)>,
    /// Does a refresh that names no scope give a token for something else?
    pub refresh_needs_scope: bool,
    /// Does a spent refresh token end its whole family?
    pub reuse_detection: bool,
    /// For how many seconds a spent refresh token is still good; `None` for not at all.
    pub reuse_grace: Option<u64>,
    /// For how many seconds an access token is good.
    pub token_lifetime: u64,
    /// For how many seconds a refresh token is good; `None` for ever.
    pub refresh_lifetime: Option<u64>,
    /// How a reply tells the lifetime, or lies about it.
    pub expires_in: ExpiresIn,
    /// The `token_type` of a reply.
    pub token_type: String,
    /// The form of a reply.
    pub reply: TokenReply,
    /// The claims of the ID token in the reply to a login, if it has one (OpenID Connect Core §3.1.3.3).
    pub id_token: Option<Value>,
    /// Is there a revocation endpoint (RFC 7009)?
    pub revocation: bool,
    /// Does it give codes for other devices (RFC 8628)? It has the grant then, whatever
    /// [`grant_types`](Self::grant_types) says.
    pub device: bool,
    /// For how many seconds such a code is good.
    pub code_lifetime: u64,
    /// How many seconds it wants between two polls; `None` says nothing, and means five.
    pub poll_interval: Option<u64>,
    /// Does it give a `verification_uri_complete`?
    pub completes_uri: bool,
    /// Members that replace those of the answer with the code.
    pub device_changes: Map<String, Value>,
    pub(super) state: State,
}

/// Where authorization server metadata is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataPlace {
    /// `oauth-authorization-server` between origin and path (RFC 8414 §3).
    Rfc8414,
    /// `openid-configuration` between origin and path (RFC 8414 §5).
    OidcInserted,
    /// `openid-configuration` after the path (OpenID Connect Discovery §4).
    OidcAppended,
    /// `oauth-authorization-server` after the path, which no specification knows.
    Rfc8414Appended,
    /// Nowhere.
    Absent,
}

/// How an authorization response uses `iss` (RFC 9207).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssParameter {
    /// Announced and sent.
    Sent,
    /// Neither announced nor sent.
    Silent,
    /// Sent, though not announced.
    SentUnannounced,
    /// Announced, but not sent.
    Missing,
    /// Announced; this is sent in its place.
    Wrong(String),
    /// Not announced; this is sent all the same.
    Unexpected(String),
    /// Announced; sent with a slash too many.
    TrailingSlash,
}

/// How clients register themselves (RFC 7591).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Is there a registration endpoint?
    pub open: bool,
    /// The status of success; some servers say 200.
    pub status: u16,
    /// An `application_type` that is refused; a request without one counts as `web`.
    pub refuses_application_type: Option<String>,
    /// The authentication method that each client gets, whatever it asked for.
    pub assigns: Option<ClientAuthentication>,
    /// For how many seconds a client's secret is good; `None` for ever.
    pub secret_lifetime: Option<u64>,
    /// The token that a registration needs (RFC 7591 §3).
    pub initial_access_token: Option<String>,
    /// Can a client read, change and delete its registration (RFC 7592)?
    pub manageable: bool,
    /// Does a change bring a new secret, with a life of its own?
    pub renews_secrets: bool,
    /// Is a secret that was replaced good to its own end?
    pub keeps_old_secrets: bool,
    /// Does a change bring a new token to manage the registration with, in the place of the old?
    pub rotates_tokens: bool,
    /// Where it says after a change that the registration is managed, if that is elsewhere.
    pub manages_at: Option<String>,
}

/// How a server takes client identifiers that are URLs of metadata documents. The document is not
/// fetched: any loopback or `https` redirect URI is taken to be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cimd {
    /// It neither announces nor takes them.
    Unsupported,
    /// It does both.
    Accepted,
    /// It announces them, and then shows an error page in the browser.
    RefusedWithPage,
    /// It announces them, and then sends the browser back with `unauthorized_client`.
    RefusedWithRedirect,
    /// It announces them, lets the person sign in, and then answers `invalid_client`.
    RefusedAtToken,
}

/// How redirect URIs are compared with the registered ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// Byte for byte, but for the port of a loopback host (RFC 8252 §7.3).
    LoopbackAnyPort,
    /// Byte for byte.
    Exact,
}

/// What a server does with `resource` (RFC 8707).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceIndicators {
    /// Required everywhere, the same each time; it becomes the token's audience.
    Required,
    /// Required to be this.
    Only(String),
    /// Not looked at; tokens are good for any resource.
    Ignored,
    /// A request with it gets `invalid_target`; tokens are good for any resource.
    Refused,
    /// The same, but the authorization endpoint doesn't look at it.
    RefusedAtToken,
}

/// Which of the asked scopes a server grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeGrant {
    /// All of them.
    AllAsked,
    /// Those that are listed here.
    Only(Vec<String>),
}

/// What becomes of refresh tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshTokens {
    /// Each use gives a new one and spends the old one.
    Rotating,
    /// The same one stays good, and each reply repeats it.
    Repeated,
    /// The same one stays good, and the reply to a refresh leaves it out.
    Omitted,
    /// There are none.
    Never,
}

/// The `expires_in` of a reply. But for the first two it is a lie: tokens always live for
/// [`AuthorizationServer::token_lifetime`].
#[derive(Debug, Clone, PartialEq)]
pub enum ExpiresIn {
    /// The lifetime as a number.
    Number,
    /// The lifetime as a string.
    String,
    /// Nothing is said.
    Absent,
    /// 0.
    Zero,
    /// -1.
    Negative,
    /// This.
    Raw(Value),
}

/// The form of a token reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenReply {
    /// JSON (RFC 6749 §5.1).
    Json,
    /// A form, as early servers sent it.
    FormEncoded,
    /// JSON with everything inside `authed_user`.
    InsideAuthedUser,
    /// JSON; errors come with status 200 too.
    ErrorsWith200,
}

impl AuthorizationServer {
    /// A server with everything that the MCP specification asks for, and the scopes `notes:read`,
    /// `notes:write` and `offline_access`.
    pub fn new(issuer: &str) -> AuthorizationServer {
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        AuthorizationServer {
            issuer: issuer.to_owned(),
            metadata: MetadataPlace::Rfc8414,
            metadata_body: None,
            metadata_cache_control: None,
            metadata_changes: Map::new(),
            claimed_issuer: None,
            iss: IssParameter::Sent,
            challenge_methods: Some(strings(&["S256"])),
            client_authentication: ClientAuthentication::ALL.to_vec(),
            document_keys: BTreeMap::new(),
            takes_token_endpoint_as_audience: false,
            mtls_origin: None,
            takes_pushed_requests: false,
            requires_pushed_requests: false,
            requires_signed_requests: false,
            dpop: false,
            dpop_required: false,
            dpop_nonce: None,
            dpop_nonce_rotates: false,
            refuses_basic: None,
            wants_client_id: None,
            grant_types: strings(&["authorization_code", "refresh_token"]),
            registration: Registration::default(),
            cimd: Cimd::Unsupported,
            redirects: Redirects::LoopbackAnyPort,
            refuses_redirect_host: None,
            resources: ResourceIndicators::Required,
            scopes_supported: strings(&["notes:read", "notes:write", "offline_access"]),
            scope_parameter: "scope".to_owned(),
            default_scopes: strings(&["notes:read"]),
            grants: ScopeGrant::AllAsked,
            reply_names_scopes: true,
            refresh_tokens: RefreshTokens::Rotating,
            refresh_needs_offline_access: false,
            refresh_needs_parameters: Vec::new(),
            refresh_needs_scope: false,
            reuse_detection: true,
            reuse_grace: None,
            token_lifetime: 3600,
            refresh_lifetime: None,
            expires_in: ExpiresIn::Number,
            token_type: "Bearer".to_owned(),
            reply: TokenReply::Json,
            id_token: None,
            revocation: true,
            device: false,
            code_lifetime: 300,
            poll_interval: Some(5),
            completes_uri: true,
            device_changes: Map::new(),
            state: State::default(),
        }
    }
}

impl Default for Registration {
    fn default() -> Registration {
        Registration {
            open: true,
            status: 201,
            refuses_application_type: None,
            assigns: None,
            secret_lifetime: None,
            initial_access_token: None,
            manageable: false,
            renews_secrets: true,
            keeps_old_secrets: false,
            rotates_tokens: true,
            manages_at: None,
        }
    }
}
