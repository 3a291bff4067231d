use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = Option<String>> {
    option::of(".{1,12}")
}

fn secret() -> impl Strategy<Value = Option<Secret>> {
    text().prop_map(|text| text.map(Secret::new))
}

fn time() -> impl Strategy<Value = Option<UnixTime>> {
    option::of((0_u64..253_402_300_800).prop_map(UnixTime))
}

fn port() -> impl Strategy<Value = Option<u16>> {
    option::of(1_u16..)
}

prop_compose! {
    fn headers()(name in ".{0,8}", description in ".{0,8}", required: bool, default in secret(),
        secret: bool, choices in vec(".{0,4}", 0..3)) -> Header
    {
        Header { name, description, required, default, secret, choices }
    }
}

prop_compose! {
    fn variables()(name in ".{0,8}", description in ".{0,8}", required: bool, default in secret(),
        secret: bool) -> EnvVar
    {
        EnvVar { name, description, required, default, secret }
    }
}

prop_compose! {
    fn configs()(
        texts in vec(text(), 14),
        secrets in vec(secret(), 2),
        ports in vec(port(), 2),
        times in vec(time(), 2),
        timeout in option::of((1_u64..=i64::MAX as u64).prop_map(Duration::from_nanos)),
        (skip_browser, use_pkce) in any::<(bool, bool)>(),
        scopes in vec(".{0,8}", 0..3),
        headers in vec(headers(), 0..3),
        env_vars in vec(variables(), 0..3),
        oauth_params in btree_map(".{0,8}", ".{0,8}", 0..3),
    ) -> RemoteConfig {
        let (mut texts, mut secrets) = (texts.into_iter(), secrets.into_iter());
        let mut text = || texts.next().flatten();
        RemoteConfig {
            client_id: text(),
            client_secret: secrets.next().flatten(),
            client_secret_file: text(),
            scopes,
            skip_browser,
            timeout,
            callback_port: ports[0],
            use_pkce,
            resource: text(),
            issuer: text(),
            authorize_url: text(),
            token_url: text(),
            headers,
            env_vars,
            oauth_params,
            scope_param_name: text(),
            bearer_token: secrets.next().flatten(),
            bearer_token_file: text(),
            cached_refresh_token_ref: text(),
            cached_token_expiry: times[0],
            cached_client_id: text(),
            cached_client_secret_ref: text(),
            cached_secret_expiry: times[1],
            cached_reg_token_ref: text(),
            cached_cimd_client_id: text(),
            cached_reg_client_uri: text(),
            cached_token_auth_method: text(),
            cached_dcr_callback_port: ports[1],
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(config in configs()) {
        let written = config.to_json();
        let (read, warnings) = RemoteConfig::from_json(written.expose()).unwrap();
        prop_assert_eq!(&read, &config);
        prop_assert!(warnings.is_empty());
        prop_assert!(read.to_json() == written);
        let imported = read.import();
        let check = imported.config.check().is_ok();
        let ours = serde_json::to_vec(&imported.config).unwrap();
        let ours: crate::Config = serde_json::from_slice(&ours).unwrap();
        prop_assert_eq!(ours.check().is_ok(), check);
    }

    #[test]
    fn no_bytes_make_it_panic(text in vec(any::<u8>(), 0..200), name in "[A-Za-z_]{0,12}", value in ".{0,8}") {
        let _ = RemoteConfig::from_json(&text);
        let text = serde_json::json!({ "ClientID": value, name.clone(): value, "timeout": value });
        let _ = RemoteConfig::from_json(text.to_string().as_bytes());
    }
}
