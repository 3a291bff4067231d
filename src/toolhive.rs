//! ToolHive's configuration for remote MCP servers (`remote.Config` of its Go package
//! `pkg/auth/remote`): read in each form that its versions have written, written so that ToolHive
//! reads it, and translated into [`Config`](crate::Config).
//!
//! ```
//! use mcp_auth::toolhive::RemoteConfig;
//!
//! let text = br#"{ "client_id": "by-hand", "scopes": ["notes:read"], "timeout": 300000000000,
//!                  "callback_port": 8666, "use_pkce": true, "colour": "red" }"#;
//! let (remote, warnings) = RemoteConfig::from_json(text)?;
//! assert_eq!(remote.timeout.map(|timeout| timeout.as_secs()), Some(300));
//! assert_eq!(warnings[0].to_string(), "`colour` is no setting of ToolHive's: it is ignored");
//! let imported = remote.import();
//! assert_eq!(imported.config.client_id.as_deref(), Some("by-hand"));
//! imported.config.check()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod go;
mod import;
mod read;
mod session;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret::{Secret, exposed};
use crate::time::UnixTime;

pub use import::Imported;
pub use session::CachedSession;

/// The environment variable that ToolHive takes a bearer token from, where neither a value nor a
/// file is given.
pub const BEARER_TOKEN_ENV_VAR_NAME: &str = "TOOLHIVE_REMOTE_AUTH_BEARER_TOKEN";

/// The callback port that ToolHive's command asks for unless it is told otherwise. In a stored
/// configuration no port means any free one.
pub const DEFAULT_CALLBACK_PORT: u16 = 8666;

/// ToolHive's `remote.Config`. An empty text, zero and Go's zero time mean that a setting isn't
/// given, and are `None` here.
///
/// As JSON it is written as ToolHive does: in snake_case, the timeout in nanoseconds, times as
/// RFC 3339 in UTC, absent times as `0001-01-01T00:00:00Z`. [`RemoteConfig::from_json`] reads the
/// older form too.
///
/// ```
/// use mcp_auth::toolhive::RemoteConfig;
///
/// let (remote, _) = RemoteConfig::from_json(br#"{ "client_id": "by-hand", "timeout": "5m" }"#)?;
/// assert!(!remote.has_valid_cached_tokens());
/// let imported = remote.import();
/// assert_eq!(imported.config.login_timeout_seconds, 300);
/// # let json = String::from_utf8(remote.to_json().expose().clone()).unwrap();
/// # assert!(json.contains(r#""timeout":300000000000"#), "{json}");
/// # Ok::<(), mcp_auth::wire::Malformed>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoteConfig {
    /// A client registered by hand.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its secret, or a reference to it: `NAME,target=oauth_secret`.
    #[serde(
        serialize_with = "exposed::option::serialize",
        deserialize_with = "read::secret",
        skip_serializing_if = "Option::is_none"
    )]
    pub client_secret: Option<Secret>,
    /// The file that holds the secret.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<String>,
    /// The scopes to ask for.
    #[serde(deserialize_with = "read::list", skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Show the URL instead of opening a browser.
    #[serde(deserialize_with = "read::or_zero", skip_serializing_if = "std::ops::Not::not")]
    pub skip_browser: bool,
    /// How long a login may take; nanoseconds, or text in Go's form ([`go::parse_duration`]).
    #[serde(
        serialize_with = "read::write_duration",
        deserialize_with = "read::duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub timeout: Option<Duration>,
    /// The callback port.
    #[serde(deserialize_with = "read::port", skip_serializing_if = "Option::is_none")]
    pub callback_port: Option<u16>,
    /// Whether to use PKCE. ToolHive always writes it, and always uses PKCE.
    #[serde(deserialize_with = "read::or_zero")]
    pub use_pkce: bool,
    /// The resource indicator (RFC 8707).
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The authorization server.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Its authorization endpoint.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<String>,
    /// Its token endpoint.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// Header fields that the server takes.
    #[serde(deserialize_with = "read::list", skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
    /// Environment variables that the client takes.
    #[serde(deserialize_with = "read::list", skip_serializing_if = "Vec::is_empty")]
    pub env_vars: Vec<EnvVar>,
    /// Parameters added to the authorization request.
    #[serde(deserialize_with = "read::texts", skip_serializing_if = "BTreeMap::is_empty")]
    pub oauth_params: BTreeMap<String, String>,
    /// The name of the scope parameter.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub scope_param_name: Option<String>,
    /// A static bearer token, or a reference to it: `NAME,target=bearer_token`.
    #[serde(
        serialize_with = "exposed::option::serialize",
        deserialize_with = "read::secret",
        skip_serializing_if = "Option::is_none"
    )]
    pub bearer_token: Option<Secret>,
    /// The file that holds the bearer token.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<String>,
    /// The name of the refresh token in the secret provider.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub cached_refresh_token_ref: Option<String>,
    /// When the access token that came with it expires.
    #[serde(serialize_with = "read::write_time", deserialize_with = "read::time")]
    pub cached_token_expiry: Option<UnixTime>,
    /// A client that was registered dynamically.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub cached_client_id: Option<String>,
    /// The name of its secret in the secret provider.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub cached_client_secret_ref: Option<String>,
    /// When that secret expires; `None` means never.
    #[serde(serialize_with = "read::write_time", deserialize_with = "read::time")]
    pub cached_secret_expiry: Option<UnixTime>,
    /// The name of its registration access token (RFC 7592) in the secret provider.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub cached_reg_token_ref: Option<String>,
    /// The client ID metadata document that the cached login was made with.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub cached_cimd_client_id: Option<String>,
    /// Where the registration is managed (RFC 7592).
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub cached_reg_client_uri: Option<String>,
    /// How the registered client authenticates, e.g. `client_secret_basic`.
    #[serde(deserialize_with = "read::text", skip_serializing_if = "Option::is_none")]
    pub cached_token_auth_method: Option<String>,
    /// The callback port that it was registered with.
    #[serde(deserialize_with = "read::port", skip_serializing_if = "Option::is_none")]
    pub cached_dcr_callback_port: Option<u16>,
}

/// A header field that a remote server takes, as ToolHive's registry describes it.
///
/// ```
/// use mcp_auth::toolhive::RemoteConfig;
///
/// let (remote, _) = RemoteConfig::from_json(
///     br#"{ "headers": [{ "name": "X-Team", "default": "notes" }], "use_pkce": true }"#,
/// )?;
/// assert_eq!(remote.headers[0].name, "X-Team");
/// // It goes with each request to the MCP server.
/// assert_eq!(remote.import().config.headers["X-Team"].expose(), "notes");
/// # Ok::<(), mcp_auth::wire::Malformed>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Its name.
    #[serde(deserialize_with = "read::or_zero")]
    pub name: String,
    /// What it is for.
    #[serde(deserialize_with = "read::or_zero")]
    pub description: String,
    /// Whether the server insists on it.
    #[serde(deserialize_with = "read::or_zero")]
    pub required: bool,
    /// Its value where no other is given.
    #[serde(
        serialize_with = "exposed::option::serialize",
        deserialize_with = "read::secret",
        skip_serializing_if = "Option::is_none"
    )]
    pub default: Option<Secret>,
    /// Whether its value is a secret.
    #[serde(deserialize_with = "read::or_zero", skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
    /// The values that it may have; any if empty.
    #[serde(deserialize_with = "read::list", skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

/// An environment variable that a client takes, as ToolHive's registry describes it.
///
/// ```
/// use mcp_auth::toolhive::RemoteConfig;
///
/// let (remote, _) = RemoteConfig::from_json(
///     br#"{ "env_vars": [{ "name": "NOTES_ZONE", "required": true }], "use_pkce": true }"#,
/// )?;
/// let wanted = remote.import().env_vars; // the program's own: see `std::env::var`
/// assert!(wanted[0].required && wanted[0].name == "NOTES_ZONE");
/// # Ok::<(), mcp_auth::wire::Malformed>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvVar {
    /// Its name.
    #[serde(deserialize_with = "read::or_zero")]
    pub name: String,
    /// What it is for.
    #[serde(deserialize_with = "read::or_zero")]
    pub description: String,
    /// Whether the client insists on it.
    #[serde(deserialize_with = "read::or_zero")]
    pub required: bool,
    /// Its value where no other is given.
    #[serde(
        serialize_with = "exposed::option::serialize",
        deserialize_with = "read::secret",
        skip_serializing_if = "Option::is_none"
    )]
    pub default: Option<Secret>,
    /// Whether its value is a secret.
    #[serde(deserialize_with = "read::or_zero", skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

/// Something in a configuration that has no effect, or another than its author may think. Its
/// `Display` is one line, without a value.
///
/// ```
/// use mcp_auth::toolhive::RemoteConfig;
///
/// let text = br#"{ "oauth_params": { "state": "mine" }, "use_pkce": true, "colour": "red" }"#;
/// let (remote, mut warnings) = RemoteConfig::from_json(text)?;
/// warnings.extend(remote.import().warnings);
/// let lines: Vec<_> = warnings.iter().map(ToString::to_string).collect();
/// assert_eq!(lines, [
///     "`colour` is no setting of ToolHive's: it is ignored",
///     "`state` in `oauth_params` can't be overridden",
/// ]);
/// # Ok::<(), mcp_auth::wire::Malformed>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub(crate) String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RemoteConfig {
    /// Whether there is a cached session to restore: `HasValidCachedTokens`. Whether its refresh
    /// token still works is found out when it is used.
    pub fn has_valid_cached_tokens(&self) -> bool {
        self.cached_refresh_token_ref.is_some()
    }

    /// Forgets the cached session: `ClearCachedTokens`. The secret provider is not touched.
    pub fn clear_cached_tokens(&mut self) {
        self.cached_refresh_token_ref = None;
        self.cached_token_expiry = None;
    }

    /// Whether there is a client that was registered dynamically: `HasCachedClientCredentials`.
    pub fn has_cached_client_credentials(&self) -> bool {
        self.cached_client_id.is_some()
    }

    /// Whether the cached session was made with a client ID metadata document:
    /// `HasCachedCIMDClientID`.
    pub fn has_cached_cimd_client_id(&self) -> bool {
        self.cached_cimd_client_id.is_some()
    }

    /// Forgets the client that was registered dynamically: `ClearCachedClientCredentials`. The
    /// secret provider, and a client ID metadata document, are not touched.
    pub fn clear_cached_client_credentials(&mut self) {
        self.cached_client_id = None;
        self.cached_client_secret_ref = None;
        self.cached_secret_expiry = None;
        self.cached_reg_token_ref = None;
        self.cached_reg_client_uri = None;
        self.cached_token_auth_method = None;
        self.cached_dcr_callback_port = None;
    }

    /// The JSON that ToolHive reads back. It holds secrets, where the configuration does.
    pub fn to_json(&self) -> Secret<Vec<u8>> {
        // Texts, numbers and lists only: serialisation has nothing to fail on.
        Secret::new(serde_json::to_vec(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
