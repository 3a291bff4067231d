//! From ToolHive's configuration to ours: what it says in our words, and what is outside of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{EnvVar, RemoteConfig, Warning};
use crate::config::Config;
use crate::output::CallbackHost;
use crate::restore::{CachedClient, CachedLogin, CachedRegistration};
use crate::secret::{Secret, SecretRef};
use crate::text::printable;
use crate::wire::authorization::is_protected;
use crate::wire::headers::is_forbidden;
use crate::wire::scope::ScopeSet;

/// What ToolHive's configuration comes to here.
///
/// ```
/// use mcp_auth::toolhive::RemoteConfig;
///
/// let (remote, _) = RemoteConfig::from_json(
///     br#"{ "client_id": "by-hand", "cached_refresh_token_ref": "NOTES_REFRESH", "use_pkce": true }"#,
/// )?;
/// let imported = remote.import();
/// imported.config.check()?; // for `AuthMachine::new`
/// assert!(imported.cached.is_some()); // for `Event::Restore`
/// assert!(imported.warnings.is_empty()); // for a person
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The settings.
    pub config: Config,
    /// The cached login, for [`Event::Restore`](crate::Event::Restore). Its refresh token is spent when
    /// it is taken up.
    pub cached: Option<CachedLogin>,
    /// Environment variables that the client takes: they are the program's own.
    pub env_vars: Vec<EnvVar>,
    /// Show the person the URL instead of opening a browser.
    pub skip_browser: bool,
    /// What has no effect here, or another.
    pub warnings: Vec<Warning>,
}

impl RemoteConfig {
    /// Translates it. Whether the settings can be used says [`Config::check`].
    ///
    /// The redirect URI says `localhost`, as ToolHive's does: a client that was registered by hand
    /// was registered with it.
    pub fn import(&self) -> Imported {
        let mut warnings = Vec::new();
        let mut warn = |text: String| warnings.push(Warning(text));
        let defaults = Config::default();
        let mut oauth_params = self.oauth_params.clone();
        let mut resource = self.resource.clone();
        if let Some(other) = oauth_params.remove("resource") {
            let kept = resource.get_or_insert_with(|| other.clone());
            if *kept != other {
                warn(
                    "`oauth_params` has another `resource` than the setting: it is ignored".into(),
                );
            }
        }
        oauth_params.retain(|name, _| {
            let protected = is_protected(name);
            if protected {
                warn(format!("`{}` in `oauth_params` can't be overridden", printable(name)));
            }
            !protected
        });
        if !self.use_pkce {
            warn("`use_pkce` is off, but PKCE is always used".into());
        }
        let mut headers = BTreeMap::new();
        for header in &self.headers {
            let name = printable(&header.name);
            match &header.default {
                _ if is_forbidden(&header.name) => {
                    warn(format!("the header field `{name}` is the token's or the transport's"));
                }
                Some(value) => drop(headers.insert(header.name.clone(), value.clone())),
                None if header.required => {
                    warn(format!("the header field `{name}` is required: give it in `headers`"));
                }
                None => {}
            }
        }
        let (client_secret, client_secret_from) =
            source(self.client_secret.as_ref(), self.client_secret_file.as_ref());
        let (bearer_token, bearer_token_from) =
            source(self.bearer_token.as_ref(), self.bearer_token_file.as_ref());
        let scopes = ScopeSet::parse(&self.scopes.join(" "));
        let config = Config {
            client_id: self.client_id.clone(),
            client_metadata_url: self.cached_cimd_client_id.clone(),
            client_secret,
            client_secret_from,
            scopes: Some(scopes).filter(|scopes| !scopes.is_empty()),
            login_timeout_seconds: self.timeout.map_or(defaults.login_timeout_seconds, seconds),
            callback_host: CallbackHost::Localhost,
            callback_port: self.callback_port,
            resource,
            issuer: self.issuer.clone(),
            authorize_url: self.authorize_url.clone(),
            token_url: self.token_url.clone(),
            oauth_params,
            headers,
            scope_param_name: self
                .scope_param_name
                .clone()
                .unwrap_or_else(|| defaults.scope_param_name.clone()),
            bearer_token,
            bearer_token_from,
            ..defaults
        };
        Imported {
            config,
            cached: self.cached_login(),
            env_vars: self.env_vars.clone(),
            skip_browser: self.skip_browser,
            warnings,
        }
    }
}

impl RemoteConfig {
    fn cached_login(&self) -> Option<CachedLogin> {
        let cached = CachedLogin::new(named(self.cached_refresh_token_ref.as_ref()?));
        // In the order that ToolHive has.
        if let Some(url) = &self.cached_cimd_client_id {
            return Some(cached.of(CachedClient::MetadataDocument(url.clone())));
        }
        let Some(client_id) = self.cached_client_id.clone() else { return Some(cached) };
        let at = |name: &Option<String>| name.as_ref().map(|name| named(name).into());
        let port = self.cached_dcr_callback_port.or(self.callback_port);
        Some(cached.of(CachedClient::Registered(Box::new(CachedRegistration {
            client_id,
            client_secret: at(&self.cached_client_secret_ref),
            secret_expires_at: self.cached_secret_expiry,
            auth_method: self.cached_token_auth_method.clone(),
            redirect_uri: port.map(|port| format!("http://localhost:{port}/callback")),
            registration_access_token: at(&self.cached_reg_token_ref),
            registration_client_uri: self.cached_reg_client_uri.clone(),
        }))))
    }
}

/// A name, or ToolHive's longer form of one.
fn named(name: &str) -> SecretRef {
    SecretRef::parse_toolhive(name).unwrap_or_else(|| SecretRef::Name(name.to_owned()))
}

/// A value comes before a file.
fn source(value: Option<&Secret>, file: Option<&String>) -> (Option<Secret>, Vec<SecretRef>) {
    match value {
        Some(value) => match SecretRef::parse_toolhive(value.expose()) {
            Some(reference) => (None, vec![reference]),
            None => (Some(value.clone()), Vec::new()),
        },
        None => (None, file.cloned().map(SecretRef::File).into_iter().collect()),
    }
}

/// Whole seconds, none of them lost.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
