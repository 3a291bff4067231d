//! The settings, with the reason for each default, and their JSON form.

mod choices;

pub use choices::{
    AssertionAudience, ClientCertificate, DeviceGrant, DpopUse, Retry, SendResource,
};

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, ErrorKind};
use crate::output::CallbackHost;
use crate::preset::Preset;
use crate::reach::Rule;
use crate::secret::{Secret, SecretRef, exposed};
use crate::wire::scope::ScopeSet;
use crate::wire::{Malformed, headers, url as address};

/// Settings for one MCP server, or shared by many. The default is the MCP authorization
/// specification 2026-07-28; every leniency is a named switch.
///
/// The JSON form has the field names in snake_case; absent fields have their defaults, unknown ones
/// are ignored.
///
/// ```
/// let config: mcp_auth::Config = serde_json::from_str(
///     r#"{ "client_id": "my-program", "callback_port": 8666, "scopes": "notes:read" }"#,
/// )?;
/// assert_eq!(config.refresh_ahead_seconds, 30);
/// config.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The settings that a provider needs, by name: see [`Preset`]. They count where a setting is as
    /// it is by default, and add to lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// A client registered with the provider by hand. It comes before every other identity.
    pub client_id: Option<String>,
    /// Its secret, if it has one. Name the issuer that it is for in `client_issuer`: without, the first
    /// authorization server that the MCP server names gets it.
    #[serde(with = "exposed::option", skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// Where its secret is, in the place of `client_secret`: the first place that has it counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_secret_from: Vec<SecretRef>,
    /// The key that the client proves itself by in the place of a secret (`private_key_jwt`, RFC 7523):
    /// of `client_id`, or of the client that `client_metadata_url` describes, whose `jwks` or `jwks_uri`
    /// the document has. It is the host's to keep, and to sign with ([`Action::Sign`](crate::Action)); it is
    /// used where the server takes it, before a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<SecretRef>,
    /// The certificate that the client shows when it connects, in the place of a secret (mutual TLS, RFC
    /// 8705 §2): of `client_id`, or of the client that `client_metadata_url` describes. It is shown where
    /// tokens and codes for other devices are asked for, requests pushed and tokens revoked, and nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// What the server calls the key of `client_key` (`kid`), if it has a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_id: Option<String>,
    /// Whom the client's assertions are for (`aud`). Default the issuer.
    pub client_assertion_audience: AssertionAudience,
    /// Push authorization requests to the server (RFC 9126), so that the browser carries a reference and
    /// nobody can change them. Off: it is done where the server demands it.
    pub push_requests: bool,
    /// Sign them with `client_key` (RFC 9101). Off: it is done where the server demands it.
    pub sign_requests: bool,
    /// Whether tokens are bound to a key (DPoP, RFC 9449), so that whoever steals one can't use it.
    /// Default never: it takes a key, and a signature for each request.
    pub dpop: DpopUse,
    /// That key: the host's to keep, and to sign with. Tokens that were bound to it are of no use without,
    /// and tokens that are bound stay so whatever `dpop` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpop_key: Option<SecretRef>,
    /// The issuer that `client_id` belongs to, as the MCP server names it. With it, the client is
    /// never shown to another. Default: `issuer`, if that is given. Without either, a client with a
    /// secret, key or certificate stays with the issuer that it first logged in with, for each MCP
    /// server and account, until a logout: that erases what was stored, and only a program that goes on
    /// running still knows where the client lives. So give it with every such client, and whenever a
    /// configuration serves more than one server.
    pub client_issuer: Option<String>,
    /// The URL of our client ID metadata document; used where the server supports it.
    pub client_metadata_url: Option<String>,
    /// The name people see when a client is registered dynamically.
    pub client_name: String,
    /// A page about the program, for dynamic registration.
    pub client_uri: Option<String>,
    /// For registration endpoints that want a token (RFC 7591 §3). It needs `client_issuer` or
    /// `issuer` beside it, and is shown to no other.
    #[serde(with = "exposed::option", skip_serializing_if = "Option::is_none")]
    pub initial_access_token: Option<Secret>,

    /// The authorization server to use, whatever the MCP server names.
    pub issuer: Option<String>,
    /// With `token_url`: no discovery of the authorization server.
    pub authorize_url: Option<String>,
    /// See `authorize_url`.
    pub token_url: Option<String>,

    /// Ask for these scopes, whatever the server suggests; step-ups still add to them. In JSON, one
    /// text or a list of texts.
    #[serde(deserialize_with = "scopes")]
    pub scopes: Option<ScopeSet>,
    /// The name of the scope parameter, for servers that call it otherwise. Default `scope`.
    pub scope_param_name: String,
    /// The resource indicator (RFC 8707). Default: the metadata's `resource`, byte for byte, else
    /// the server's URL.
    pub resource: Option<String>,
    /// Whether the resource indicator is sent. Default always: the specification demands it.
    pub send_resource: SendResource,
    /// Parameters added to the authorization request. `state`, PKCE, `redirect_uri`, `client_id`
    /// and `response_type` can't be overridden.
    pub oauth_params: BTreeMap<String, String>,
    /// Parameters added to every token request, e.g. Auth0's `audience`. What the request says
    /// itself can't be overridden, and no secret or grant be added.
    pub token_params: BTreeMap<String, String>,
    /// Name the scopes in every refresh. Off: none means the same as before (RFC 6749 §6). A refresh
    /// whose token the server refuses at once is made again with them in any case, and they are
    /// named from then on: Entra ID gives a token for something else without.
    pub scope_on_refresh: bool,
    /// Where a client with a secret is refused, try once more with the secret in the body
    /// (`client_secret_post`), and go on so if that works. On: it shows the secret to nobody new,
    /// and there are servers that issue a secret with the method `none` and then demand it, or list
    /// `client_secret_basic` and read only the body.
    pub retry_secret_in_body: bool,

    /// Header fields that go with each request to the MCP server itself, and to nobody else: probes, and
    /// what is sent with a [`Grant`](crate::Grant). They are taken for secrets. `Authorization` is the
    /// token's, and what the transport sets can't be set here.
    #[serde(with = "exposed::map", skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,

    /// The loopback name in the redirect URI. Default `127.0.0.1` (RFC 8252 §8.3).
    pub callback_host: CallbackHost,
    /// The callback port, 1024 to 65535; 0 is any free one, and so is none. Where it is taken, a
    /// client that is registered dynamically takes another; one that was registered by hand, or has
    /// a metadata document, can't. A registration keeps the port it was made with.
    pub callback_port: Option<u16>,
    /// A redirect URI that the host itself serves: no listener. For a native app a scheme of its own,
    /// its domain in reverse, as in `com.example.notes:/oauth2redirect` (RFC 8252 §7.1); for a web app
    /// an https URL. What comes to it, or its query alone, is an
    /// [`Event::Redirected`](crate::Event::Redirected). A web app hands in only what comes from the
    /// browser session that it sent away.
    pub redirect_uri: Option<String>,
    /// How long a person may take, in the browser or with a code, in seconds. Default 600: a second factor, a password
    /// that must be looked up, or a colleague who has to consent takes minutes. Who comes later is
    /// told to start again.
    pub login_timeout_seconds: u64,

    /// Whether a person is shown a code to enter on another device (RFC 8628), instead of a browser
    /// here.
    pub device_grant: DeviceGrant,

    /// A token to send as is: no discovery, no login.
    #[serde(with = "exposed::option", skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<Secret>,
    /// Where such a token is, in the place of `bearer_token`: the first place that has one counts. It
    /// is read again when it is refused. Where no place has one, a login is made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bearer_token_from: Vec<SecretRef>,
    /// Renew tokens this many seconds before they expire (at most a tenth of their life).
    /// Default 30: longer than a slow request, and than most clocks are wrong.
    pub refresh_ahead_seconds: u64,
    /// Renew tokens before anybody asks, for programs that live long: no request waits for a refresh,
    /// and refresh tokens that end when they aren't used stay alive. The moment is drawn from the
    /// last tenth of the token's life, so that a fleet doesn't refresh in the same second. It begins
    /// once the record was loaded by any demand, and never opens a browser. Off: a program that asks
    /// now and then needs no refresh while it doesn't.
    pub refresh_proactively: bool,
    /// What is done about a refresh that fails in passing.
    pub retry: Retry,
    /// Delete a client that was registered dynamically when logging out, where the server lets us
    /// (RFC 7592). On: the registration belongs to the one record that is erased, and so does the
    /// only token that could ever delete it.
    pub delete_registration: bool,
    /// Register anew, at the next login, in place of a client that nothing was done with for longer
    /// than this, in seconds. `None` (`null`): never. Default 2592000, thirty days: servers clear away
    /// clients that aren't used, and then show an error in the browser, which nobody but the person
    /// can see.
    pub client_idle_seconds: Option<u64>,
    /// How many step-ups are made for one operation. Default 3, as the specification suggests "a
    /// few".
    pub step_up_limit: u8,

    /// Accept a server that doesn't advertise PKCE; S256 is sent all the same. Off: without it a
    /// stolen code is a stolen login, and the specification says to refuse.
    pub assume_s256: bool,
    /// Issuers that this server's metadata, and its authorization responses (`iss`, RFC 9207), may
    /// name though they differ from the one asked for.
    /// Credentials are kept by the identifier that was asked for, whatever the document claims.
    pub trusted_issuers: Vec<String>,
    /// Accept metadata whose issuer is the bare origin of the one asked for, `https://a.example` for
    /// `https://a.example/tenant`. Off: on an origin with many tenants, one could speak for another.
    pub trust_origin_issuer: bool,
    /// Try the specification of 2025-03-26 where there is no protected resource metadata. On: it
    /// reaches only the server's own origin.
    pub legacy_fallback: bool,
    /// Where URLs that a server supplies may lead though it is not public: host names, addresses, or
    /// networks as `10.0.0.0/8`. None by default: whoever can name a URL could have this program
    /// knock at doors in its own network. It needs no entry what is at the origin of the server's own
    /// URL, of `issuer`, `client_issuer` or `token_url`, nor what the server could reach itself: a
    /// server in a private network may name private addresses, one on this machine this machine's.
    /// The metadata services of clouds are allowed by their exact address only.
    pub allow_private_addresses: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            preset: None,
            client_id: None,
            client_secret: None,
            client_secret_from: Vec::new(),
            client_key: None,
            client_certificate: None,
            client_key_id: None,
            client_assertion_audience: AssertionAudience::default(),
            push_requests: false,
            sign_requests: false,
            dpop: DpopUse::default(),
            dpop_key: None,
            client_issuer: None,
            client_metadata_url: None,
            client_name: "mcp-auth".into(),
            client_uri: None,
            initial_access_token: None,
            issuer: None,
            authorize_url: None,
            token_url: None,
            scopes: None,
            scope_param_name: "scope".into(),
            resource: None,
            send_resource: SendResource::Always,
            oauth_params: BTreeMap::new(),
            token_params: BTreeMap::new(),
            scope_on_refresh: false,
            retry_secret_in_body: true,
            headers: BTreeMap::new(),
            callback_host: CallbackHost::default(),
            callback_port: None,
            redirect_uri: None,
            login_timeout_seconds: 600,
            device_grant: DeviceGrant::default(),
            bearer_token: None,
            bearer_token_from: Vec::new(),
            refresh_ahead_seconds: 30,
            refresh_proactively: false,
            retry: Retry::default(),
            delete_registration: true,
            client_idle_seconds: Some(30 * 24 * 60 * 60),
            step_up_limit: 3,
            assume_s256: false,
            trusted_issuers: Vec::new(),
            trust_origin_issuer: false,
            legacy_fallback: true,
            allow_private_addresses: Vec::new(),
        }
    }
}

impl Config {
    /// Checks every setting by itself and against the others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSetting`] names the first setting that can't be used, and what it should
    /// be.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |name, expected: &str, got: &str| {
            Err(Error::from(ErrorKind::InvalidSetting(Malformed::new(name, expected, got))))
        };
        self.preset.as_deref().map(Preset::find).transpose()?;
        for (name, url) in [
            ("issuer", &self.issuer),
            ("client_issuer", &self.client_issuer),
            ("authorize_url", &self.authorize_url),
            ("token_url", &self.token_url),
        ] {
            if let Some(url) = url {
                address::parse(name, url).map_err(ErrorKind::InvalidSetting)?;
            }
        }
        if let Some(text) = &self.client_metadata_url {
            let url =
                address::parse("client_metadata_url", text).map_err(ErrorKind::InvalidSetting)?;
            if url.scheme() != "https" || url.path() == "/" {
                return bad("client_metadata_url", "an https URL with a path", text);
            }
        }
        if self.authorize_url.is_some() != self.token_url.is_some() {
            return bad("authorize_url and token_url", "both or neither", "only one");
        }
        if self.has_client_secret() && self.client_id.is_none() {
            return bad("client_secret", "a client_id beside it", "none");
        }
        if self.client_certificate.is_some()
            && self.client_id.is_none()
            && self.client_metadata_url.is_none()
        {
            let expected = "a client_id or client_metadata_url beside it";
            return bad("client_certificate", expected, "none");
        }
        if self.client_key.is_some()
            && self.client_id.is_none()
            && self.client_metadata_url.is_none()
        {
            return bad("client_key", "a client_id or client_metadata_url beside it", "none");
        }
        // Whoever names another server's token endpoint as its own would be shown what is good there.
        if self.client_key.is_some()
            && self.client_assertion_audience == AssertionAudience::TokenEndpoint
            && self.client_home().is_none()
        {
            let expected = "a client_issuer or issuer beside `token_endpoint`";
            return bad("client_assertion_audience", expected, "none");
        }
        if self.sign_requests && self.client_key.is_none() {
            return bad("sign_requests", "a client_key beside it", "none");
        }
        if self.dpop != DpopUse::Never && self.dpop_key.is_none() {
            return bad("dpop", "a dpop_key beside it", "none");
        }
        if self.initial_access_token.is_some() && self.client_home().is_none() {
            return bad("initial_access_token", "a client_issuer or issuer beside it", "none");
        }
        if let Some(resource) = &self.resource
            && !url::Url::parse(resource).is_ok_and(|url| url.fragment().is_none())
        {
            return bad("resource", "an absolute URI without a fragment (RFC 8707 §2)", resource);
        }
        if self.callback_port.is_some_and(|port| (1..1024).contains(&port)) {
            return bad("callback_port", "0 or 1024 to 65535", "another");
        }
        headers::read(&self.headers).map_err(ErrorKind::InvalidSetting)?;
        if let Some(uri) = &self.redirect_uri
            && !url::Url::parse(uri).is_ok_and(|url| comes_back(&url))
        {
            let expected = "an https, loopback http or custom-scheme URI without a fragment";
            return bad("redirect_uri", expected, uri);
        }
        if let Some(token) = &self.bearer_token
            && !usable_token(token.expose())
        {
            return bad("bearer_token", "visible ASCII without spaces", "other characters");
        }
        for (name, seconds) in [
            ("retry.first_delay_seconds", self.retry.first_delay_seconds),
            ("retry.longest_delay_seconds", self.retry.longest_delay_seconds),
            ("retry.quiet_seconds", self.retry.quiet_seconds),
        ] {
            if seconds == 0 {
                return bad(name, "at least 1", "0");
            }
        }
        if self.oauth_params.contains_key("resource") {
            return bad("oauth_params", "`resource` in the setting of that name", "it in here");
        }
        if let Some(name) = self.token_params.keys().find(|name| is_protected(name)) {
            return bad("token_params", "parameters that are no grant and no credential", name);
        }
        if let Some(entry) = self.allow_private_addresses.iter().find(|e| Rule::parse(e).is_none())
        {
            let expected = "host names, addresses, and networks as 10.0.0.0/8";
            return bad("allow_private_addresses", expected, entry);
        }
        if self.scope_param_name.is_empty() {
            return bad("scope_param_name", "a parameter name", "nothing");
        }
        Ok(())
    }

    /// The settings with those of [`preset`](Self::preset) in their place. A machine does that by
    /// itself; of settings that many machines share, do it once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSetting`] where there is no preset of that name.
    pub fn resolved(&self) -> Result<Self, Error> {
        let mut resolved = self.clone();
        if let Some(name) = resolved.preset.take() {
            Preset::find(&name)?.fill(&mut resolved);
        }
        Ok(resolved)
    }

    /// Whether the configured client has a secret, here or elsewhere.
    pub(crate) fn has_client_secret(&self) -> bool {
        self.client_secret.is_some() || !self.client_secret_from.is_empty()
    }

    /// Whether it proves itself by anything that was agreed on with one server.
    pub(crate) fn client_proves_itself(&self) -> bool {
        let key = self.client_key.is_some() || self.client_certificate.is_some();
        key || self.has_client_secret()
    }

    /// Whether the configured client may be shown to this issuer.
    pub(crate) fn client_belongs_to(&self, issuer: &str) -> bool {
        self.client_home().is_none_or(|home| address::issuers_match(home, issuer))
    }

    /// The issuer that our credentials belong to, where the settings say so.
    pub(crate) fn client_home(&self) -> Option<&str> {
        self.client_issuer.as_deref().or(self.issuer.as_deref())
    }
}

/// Whether a browser could bring somebody back there, and not run or open something of its own.
fn comes_back(url: &url::Url) -> bool {
    let own = ["javascript", "vbscript", "data", "blob", "file", "about", "ftp", "ws", "wss"];
    let fits = match url.scheme() {
        "http" => address::is_loopback(url),
        scheme => !own.contains(&scheme),
    };
    fits && url.fragment().is_none()
}

/// One text, as OAuth has it, or a list, as people and ToolHive have it.
fn scopes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ScopeSet>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Scopes {
        Text(ScopeSet),
        List(Vec<String>),
    }

    Ok(Option::deserialize(from)?.map(|scopes| match scopes {
        Scopes::Text(scopes) => scopes,
        Scopes::List(scopes) => ScopeSet::parse(&scopes.join(" ")),
    }))
}

/// RFC 6750 §2.1: what fits behind `Bearer`; anything else could break out of the header field.
pub(crate) fn usable_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic())
}

/// What `token_params` may not hold: the flow alone says what is spent, and who spends it.
fn is_protected(name: &str) -> bool {
    let names = ["grant_type", "redirect_uri", "client_id", "refresh_token", "token", "resource"];
    names.contains(&name)
        || ["code", "client_secret", "client_assertion"].iter().any(|start| name.starts_with(start))
}
