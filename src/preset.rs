//! Presets: the settings that a provider needs, under its name.

use crate::config::{Config, SendResource};
use crate::error::ErrorKind;
use crate::output::CallbackHost;
use crate::wire::Malformed;

/// What a provider's servers need besides a client of yours; chosen by
/// [`Config::preset`](crate::Config::preset).
///
/// | name | servers | settings |
/// |---|---|---|
/// | `entra` | Microsoft Entra ID: Dataverse, Power BI, Azure DevOps, what App Service protects | `assume_s256`, `send_resource` never, `scope_on_refresh`, `callback_host` localhost, `trusted_issuers` for its shared tenants |
/// | `google` | Google accounts | `oauth_params` that a refresh token takes: `access_type=offline`, `prompt=consent` |
/// | `slack` | Slack | `scope_param_name` user_scope, `trusted_issuers` `https://slack.com` |
///
/// ```
/// use mcp_auth::{Config, SendResource};
///
/// let config: Config = serde_json::from_str(r#"{ "preset": "entra", "client_id": "…" }"#)?;
/// assert_eq!(config.resolved()?.send_resource, SendResource::Never);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    assume_s256: bool,
    send_resource: SendResource,
    scope_on_refresh: bool,
    callback_host: CallbackHost,
    scope_param_name: &'static str,
    trusted_issuers: &'static [&'static str],
    oauth_params: &'static [(&'static str, &'static str)],
}

const NOTHING: Preset = Preset {
    name: "",
    assume_s256: false,
    send_resource: SendResource::Always,
    scope_on_refresh: false,
    callback_host: CallbackHost::V4,
    scope_param_name: SCOPE,
    trusted_issuers: &[],
    oauth_params: &[],
};

const SCOPE: &str = "scope";

impl Preset {
    /// All that there are, by name.
    pub const ALL: &[Preset] = &[
        Preset {
            name: "entra",
            // Its metadata doesn't speak of PKCE, and it does S256.
            assume_s256: true,
            // It knows hosts, not endpoints, and says so to the person (AADSTS9010010).
            send_resource: SendResource::Never,
            // Without, the token is for something else.
            scope_on_refresh: true,
            // The one loopback name at which it disregards the port.
            callback_host: CallbackHost::Localhost,
            // What the documents of `common` and `organizations` say, to the letter.
            trusted_issuers: &["https://login.microsoftonline.com/{tenantid}/v2.0"],
            ..NOTHING
        },
        Preset {
            name: "google",
            oauth_params: &[("access_type", "offline"), ("prompt", "consent")],
            ..NOTHING
        },
        Preset {
            name: "slack",
            // `scope` is for bots.
            scope_param_name: "user_scope",
            trusted_issuers: &["https://slack.com"],
            ..NOTHING
        },
    ];

    /// The one of this name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSetting`] names those that there are.
    pub(crate) fn find(name: &str) -> Result<&'static Preset, ErrorKind> {
        let names = || Self::ALL.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
        Self::ALL
            .iter()
            .find(|preset| preset.name == name)
            .ok_or_else(|| ErrorKind::InvalidSetting(Malformed::new("preset", names(), name)))
    }

    /// Sets what is still as it is by default, and adds to what is a list.
    pub(crate) fn fill(&self, config: &mut Config) {
        config.assume_s256 |= self.assume_s256;
        config.scope_on_refresh |= self.scope_on_refresh;
        if config.send_resource == SendResource::default() {
            config.send_resource = self.send_resource;
        }
        if config.callback_host == CallbackHost::default() {
            config.callback_host = self.callback_host;
        }
        if config.scope_param_name == SCOPE {
            self.scope_param_name.clone_into(&mut config.scope_param_name);
        }
        config.trusted_issuers.extend(self.trusted_issuers.iter().map(|issuer| (*issuer).into()));
        for (name, value) in self.oauth_params {
            config.oauth_params.entry((*name).into()).or_insert_with(|| (*value).into());
        }
    }
}
