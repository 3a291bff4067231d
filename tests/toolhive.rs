//! ToolHive's configuration: files as its versions wrote them, what they mean here, and that ToolHive
//! reads back what is written.

use std::time::Duration;

use mcp_auth::output::CallbackHost;
use mcp_auth::toolhive::{RemoteConfig, Warning};
use mcp_auth::{Secret, SecretRef, UnixTime};
use serde_json::{Value, json};

const TODAY: &str = include_str!("corpus/toolhive/today.json");
const NOTHING: &str = include_str!("corpus/toolhive/nothing.json");
const OLD: &str = include_str!("corpus/toolhive/old.json");
const BY_HAND: &str = include_str!("corpus/toolhive/by_hand.json");

fn read(text: &str) -> (RemoteConfig, Vec<String>) {
    let (config, warnings) = RemoteConfig::from_json(text.as_bytes()).unwrap();
    (config, lines(&warnings))
}

fn lines(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}

fn written(config: &RemoteConfig) -> String {
    String::from_utf8(config.to_json().expose().clone()).unwrap()
}

mod forms {
    use super::*;

    #[test]
    fn todays_file_is_written_again_to_the_byte() {
        for text in [TODAY, NOTHING] {
            let (config, warnings) = read(text);
            assert_eq!(written(&config), text.trim_end());
            assert_eq!(warnings, [""; 0]);
        }
    }

    #[test]
    fn every_field_of_todays_file_is_read() {
        let (config, _) = read(TODAY);
        let Value::Object(members) = serde_json::to_value(&config).unwrap() else { panic!() };
        assert_eq!(members.len(), 28);
        assert_eq!(config.timeout, Some(Duration::from_secs(300)));
        assert_eq!(config.cached_token_expiry, Some(UnixTime(1_786_969_805)));
        assert_eq!(config.headers[0].choices, ["blue", "green"]);
        assert!(config.headers[1].required && config.headers[1].secret);
        assert_eq!(config.env_vars[0].default, Some(Secret::from("eu")));
        let (nothing, _) = read(NOTHING);
        assert_eq!(nothing, RemoteConfig::default());
    }

    #[test]
    fn the_old_form_is_recognised_by_its_client_id_and_knows_no_resource() {
        let (config, warnings) = read(OLD);
        assert_eq!(config.client_id.as_deref(), Some("by-hand"));
        assert_eq!(config.scopes, ["notes:read", "notes:write"]);
        assert_eq!((config.callback_port, config.use_pkce), (Some(8666), true));
        assert_eq!(config.token_url.as_deref(), Some("https://auth.example.com/token"));
        assert_eq!(config.headers.len(), 1);
        assert_eq!(config.oauth_params["prompt"], "login");
        assert_eq!(config.bearer_token_file.as_deref(), Some("/run/secrets/token"));
        assert_eq!(
            (config.client_secret_file, config.bearer_token, config.resource),
            Default::default()
        );
        assert_eq!(warnings, ["`Resource` is no setting of ToolHive's: it is ignored"]);
        // Without that member the same names say nothing, as they say nothing to ToolHive.
        let (config, warnings) =
            read(r#"{"ClientSecret":"hush","UsePKCE":true,"Issuer":"https://a"}"#);
        assert_eq!((config.client_secret, config.use_pkce), (None, false));
        assert_eq!(config.issuer.as_deref(), Some("https://a"));
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn what_people_write_is_read_as_go_reads_it() {
        let (config, warnings) = read(BY_HAND);
        assert_eq!(config.client_id.as_deref(), Some("by-hand"));
        assert_eq!(config.timeout, Some(Duration::from_millis(3_750_500)));
        assert_eq!(config.oauth_params["audience"], "");
        assert_eq!(config.headers[0].default, Some(Secret::from("blue")));
        assert_eq!(config.cached_token_expiry, Some(UnixTime(1_786_969_805)));
        assert_eq!(
            warnings,
            ["client_secrt", "colour"]
                .map(|name| format!("`{name}` is no setting of ToolHive's: it is ignored"))
        );
        // The same name in another case gives way to the name itself.
        assert_eq!(read(r#"{"client_id":"a","CLIENT_ID":"b"}"#).0.client_id.as_deref(), Some("a"));
    }

    #[test]
    fn a_value_of_another_form_is_named_and_not_quoted() {
        for (text, named) in [
            (r#"{"client_secret":["hush"]}"#, "`client_secret`, a text"),
            (r#"{"ClientID":"a","BearerToken":7}"#, "`bearer_token`, a text"),
            (r#"{"scopes":"hush"}"#, "`scopes`, a list of texts"),
            (r#"{"timeout":"5 minutes"}"#, "`timeout`, nanoseconds"),
            (r#"{"timeout":1.5}"#, "`timeout`, nanoseconds"),
            (r#"{"callback_port":65536}"#, "`callback_port`, a port"),
            (r#"{"callback_port":-1}"#, "`callback_port`, a port"),
            (r#"{"cached_token_expiry":"tomorrow"}"#, "`cached_token_expiry`, an RFC 3339 time"),
            (r#"{"oauth_params":{"a":1}}"#, "`oauth_params`, an object of texts"),
            (r#"{"headers":{}}"#, "`headers`, a list of header fields"),
            (r#"["hush"]"#, "a JSON object"),
            ("{\"client_secret\": \"hush", "line 1, column"),
        ] {
            let error = RemoteConfig::from_json(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("hush"), "{text}: {error}");
        }
    }

    #[test]
    fn no_value_that_may_be_a_secret_is_printed() {
        let (config, _) = read(TODAY);
        let shown = format!("{config:?} {:?}", config.import());
        for secret in ["a secret, by hand", "a-token,by-hand", "blue\")"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn it_is_told_from_our_own_by_names_that_only_toolhive_has() {
        for (theirs, names) in [
            (true, &["client_id", "use_pkce"][..]),
            (true, &["ClientID"]),
            (true, &["issuer", "cached_refresh_token_ref"]),
            (true, &["bearer_token_file"]),
            (false, &["client_id", "issuer", "scopes", "oauth_params", "callback_port"]),
            (false, &["client_metadata_url"]),
            (false, &[]),
        ] {
            assert_eq!(RemoteConfig::is_written_as(names.iter().copied()), theirs, "{names:?}");
        }
    }
}

mod cached {
    use super::*;

    #[test]
    fn what_is_cached_is_told_and_forgotten_part_by_part() {
        let (mut config, _) = read(TODAY);
        assert!(config.has_valid_cached_tokens() && config.has_cached_client_credentials());
        assert!(config.has_cached_cimd_client_id());
        config.clear_cached_tokens();
        assert!(!config.has_valid_cached_tokens() && config.has_cached_client_credentials());
        config.clear_cached_client_credentials();
        assert!(!config.has_cached_client_credentials() && config.has_cached_cimd_client_id());
        let left: Value = serde_json::from_str(&written(&config)).unwrap();
        let left = left.as_object().unwrap().iter();
        let left: Vec<_> = left.filter(|(name, _)| name.starts_with("cached")).collect();
        let zero = json!("0001-01-01T00:00:00Z");
        assert_eq!(
            left[1..],
            [(&"cached_secret_expiry".into(), &zero), (&"cached_token_expiry".into(), &zero)]
        );
        assert_eq!(left[0].0, "cached_cimd_client_id");
    }
}

mod import {
    use super::*;

    #[test]
    fn each_setting_has_its_counterpart() {
        let (remote, _) = read(TODAY);
        let imported = remote.import();
        let config = &imported.config;
        config.check().unwrap();
        assert_eq!(config.client_id.as_deref(), Some("by-hand"));
        assert_eq!(config.client_secret, Some(Secret::from("a secret, by hand")));
        assert_eq!(config.scopes.as_ref().unwrap().to_string(), "notes:read notes:write");
        assert_eq!((config.login_timeout_seconds, config.callback_port), (300, Some(8666)));
        assert_eq!(config.resource.as_deref(), Some("https://mcp.example.com/mcp"));
        assert_eq!(config.issuer.as_deref(), Some("https://auth.example.com"));
        assert_eq!(config.authorize_url.as_deref(), Some("https://auth.example.com/authorize"));
        assert_eq!(config.token_url.as_deref(), Some("https://auth.example.com/token"));
        assert_eq!(config.oauth_params.len(), 2);
        assert_eq!(config.scope_param_name, "user_scope");
        assert_eq!(config.bearer_token, Some(Secret::from("a-token,by-hand")));
        assert_eq!(config.headers, [("X-Tenant".to_owned(), "blue".into())].into());
        assert!(imported.env_vars.len() == 1 && imported.skip_browser);
        let required = "the header field `X-Api-Key` is required: give it in `headers`";
        assert_eq!(lines(&imported.warnings), [required]);
        // A client that was registered by hand was registered with ToolHive's redirect URI.
        assert_eq!(config.callback_host, CallbackHost::Localhost);
    }

    #[test]
    fn what_is_not_given_is_our_default() {
        let imported = RemoteConfig { use_pkce: true, ..RemoteConfig::default() }.import();
        let ours =
            mcp_auth::Config { callback_host: CallbackHost::Localhost, ..Default::default() };
        assert_eq!(json!(imported.config), json!(ours));
        assert!(imported.warnings.is_empty());
    }

    #[test]
    fn a_value_comes_before_a_file_and_a_reference_is_none_of_both() {
        let (old, _) = read(OLD);
        let imported = old.import();
        let named = SecretRef::Name("OAUTH_CLIENT_SECRET_notes".to_owned());
        assert_eq!(imported.config.client_secret, None);
        assert_eq!(imported.config.client_secret_from, [named]);
        let file = SecretRef::File("/run/secrets/token".to_owned());
        assert_eq!(imported.config.bearer_token_from, [file]);
        for (text, name) in [
            ("NAME,target=bearer_token", Some("NAME")),
            ("a,target=b,target=c", Some("a")),
            ("NAME", None),
            ("NAME,target=", None),
            (",target=x", None),
            ("NAME, target=x", None),
        ] {
            let named = name.map(|name| SecretRef::Name(name.to_owned()));
            assert_eq!(SecretRef::parse_toolhive(text), named, "{text}");
        }
    }

    #[test]
    fn what_means_something_else_here_is_a_warning() {
        let params = json!({ "state": "mine", "resource": "urn:other", "prompt": "login" });
        let text = json!({ "resource": "urn:notes", "oauth_params": params }).to_string();
        let imported = read(&text).0.import();
        assert_eq!(
            lines(&imported.warnings),
            [
                "`oauth_params` has another `resource` than the setting: it is ignored",
                "`state` in `oauth_params` can't be overridden",
                "`use_pkce` is off, but PKCE is always used",
            ]
        );
        imported.config.check().unwrap();
        assert_eq!(imported.config.oauth_params.len(), 1);
        let text = r#"{"use_pkce":true,"oauth_params":{"resource":"urn:notes"},"timeout":1}"#;
        let imported = read(text).0.import();
        assert_eq!(imported.config.resource.as_deref(), Some("urn:notes"));
        assert_eq!(imported.config.login_timeout_seconds, 1);
        assert!(imported.warnings.is_empty());
    }
}
