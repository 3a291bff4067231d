//! Presets: a provider that nobody can log in to, or stay with, until all of its settings are there.

use mcp_auth::{Config, ErrorKind, Preset, SendResource};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{AuthorizationServer, Challenge, IssParameter, ResourceIndicators, World};

/// A provider, and how to take one setting of its preset away again.
struct Provider {
    preset: &'static str,
    issuer: &'static str,
    build: fn(&mut Scenario),
    without: &'static [fn(&mut Config)],
}

const PROVIDERS: &[Provider] = &[
    Provider {
        preset: "entra",
        issuer: "https://login.microsoftonline.com/common/v2.0",
        build: |s| {
            let challenge = "Bearer scope=\"mcp.access\"".to_owned();
            s.world.resource.challenge = Challenge::Raw(vec![challenge]);
            let server = provider(s);
            let claimed = "https://login.microsoftonline.com/{tenantid}/v2.0";
            server.claimed_issuer = Some(claimed.to_owned());
            server.challenge_methods = None;
            server.resources = ResourceIndicators::Refused;
            server.refresh_needs_scope = true;
            server.refuses_redirect_host = Some("127.0.0.1".to_owned());
        },
        without: &[
            |config| config.assume_s256 = false,
            |config| config.send_resource = SendResource::Always,
            |config| config.scope_on_refresh = false,
            |config| config.callback_host = Config::default().callback_host,
            |config| config.trusted_issuers.clear(),
        ],
    },
    Provider {
        preset: "google",
        issuer: "https://accounts.google.com",
        build: |s| {
            let parameters = [("access_type", "offline"), ("prompt", "consent")];
            provider(s).refresh_needs_parameters =
                parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        },
        without: &[
            |config| drop(config.oauth_params.remove("access_type")),
            |config| drop(config.oauth_params.remove("prompt")),
        ],
    },
    Provider {
        preset: "slack",
        issuer: "https://mcp.slack.com",
        build: |s| {
            let scopes = vec!["search:read".to_owned()];
            s.world.resource.scopes.clone_from(&scopes);
            let challenge = "Bearer scope=\"search:read\"".to_owned();
            s.world.resource.challenge = Challenge::Raw(vec![challenge]);
            let server = provider(s);
            server.claimed_issuer = Some("https://slack.com".to_owned());
            server.scope_parameter = "user_scope".to_owned();
        },
        without: &[
            |config| config.scope_param_name = Config::default().scope_param_name,
            |config| config.trusted_issuers.clear(),
        ],
    },
];

/// As large providers are: no registration, no `iss`, a client from the console.
fn provider(s: &mut Scenario) -> &mut AuthorizationServer {
    let server = &mut s.world.authorization[0];
    server.registration.open = false;
    server.iss = IssParameter::Silent;
    server.resources = ResourceIndicators::Ignored;
    server.default_scopes.clear();
    server.scopes_supported.clear();
    server.preregister("from-the-console", Some("its secret"));
    server
}

impl Provider {
    fn scenario(&self, config: Config) -> Scenario {
        let mut world = World::with_urls("https://mcp.example.com/mcp", &[self.issuer]);
        world.resource.scopes.clear();
        world.resource.scopes_supported.clear();
        world.resource.tool_scopes.clear();
        let mut s = Scenario::in_world(world);
        (self.build)(&mut s);
        s.config = Config {
            client_id: Some("from-the-console".to_owned()),
            client_secret: Some("its secret".into()),
            ..config
        };
        s
    }

    /// Whether a person can log in, and then stay logged in.
    fn serves(&self, config: Config) -> bool {
        let mut s = self.scenario(config);
        let Ok(()) = s.log_in() else { return false };
        if s.try_tool("whoami") != 200 {
            return false;
        }
        s.sleep(4000);
        match s.obtain(&mcp_auth::Need::default(), mcp_auth::Demand::background) {
            Ok(grant) => s.send("whoami", grant.as_ref()).status() == 200,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::LoginRequired { .. }), "{error}");
                false
            }
        }
    }
}

fn of(preset: &str) -> Config {
    Config { preset: Some(preset.to_owned()), ..Config::default() }
}

#[test]
fn each_is_what_its_provider_needs_and_no_more() {
    assert_eq!(Preset::ALL.len(), PROVIDERS.len());
    for (preset, provider) in Preset::ALL.iter().zip(PROVIDERS) {
        assert_eq!(preset.name, provider.preset);
        assert!(!provider.serves(Config::default()), "{} is served without", preset.name);
        assert!(provider.serves(of(preset.name)), "{} is not served", preset.name);
        for (index, without) in provider.without.iter().enumerate() {
            let mut config = of(preset.name).resolved().unwrap();
            without(&mut config);
            assert!(!provider.serves(config), "{} doesn't need {index}", preset.name);
        }
        for other in PROVIDERS.iter().filter(|other| other.preset != preset.name) {
            assert!(!provider.serves(of(other.preset)), "{} for {}", other.preset, preset.name);
        }
    }
}

#[test]
fn a_setting_that_was_made_counts_more() {
    let config: Config = serde_json::from_str(
        r#"{ "preset": "entra", "send_resource": "auto", "trusted_issuers": ["https://a.example"] }"#,
    )
    .unwrap();
    let resolved = config.resolved().unwrap();
    assert_eq!((resolved.preset.clone(), resolved.send_resource), (None, SendResource::Auto));
    assert_eq!(resolved.trusted_issuers.len(), 2);
    let config: Config = serde_json::from_str(
        r#"{ "preset": "google", "oauth_params": { "prompt": "none" }, "scope_param_name": "s" }"#,
    )
    .unwrap();
    let resolved = config.resolved().unwrap();
    assert_eq!((&*resolved.oauth_params["prompt"], &*resolved.scope_param_name), ("none", "s"));
    assert_eq!(resolved.oauth_params["access_type"], "offline");
}

#[test]
fn one_that_there_is_not_is_an_error_that_names_those_that_there_are() {
    let error = of("entre").check().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidSetting(_)));
    let told = error.to_string();
    assert!(told.contains("entre") && told.contains("entra, google, slack"), "{told}");
    assert!(of("entre").resolved().is_err());
}
