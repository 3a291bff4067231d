//! The settings that stories are told with, and the secrets in them.

use mcp_auth::{ClientCertificate, Config, DeviceGrant, DpopUse, Secret, SecretRef, SendResource};

use super::secrets::{Home, Secrets};
use crate::{World, signer, text};

/// How many configurations there are.
pub(super) const MANY: u8 = 12;

/// One of a few configurations.
pub(super) fn pick(which: u8) -> Config {
    let auth = || Some("https://auth.example.com".to_owned());
    let base = Config { refresh_proactively: which % (2 * MANY) >= MANY, ..Config::default() };
    match which % MANY {
        0 => base,
        1 => Config {
            client_id: Some("configured-client".to_owned()),
            client_secret: Some(Secret::from("configured-client-secret")),
            client_certificate: Some(ClientCertificate {
                certificate: SecretRef::File("/run/client.crt".to_owned()),
                key: SecretRef::File("/run/client.pem".to_owned()),
            }),
            client_issuer: auth(),
            ..base
        },
        2 => Config {
            client_metadata_url: Some("https://client.example/client.json".to_owned()),
            ..base
        },
        3 => Config { bearer_token: Some(Secret::from("configured-bearer-token")), ..base },
        4 => Config { login_timeout_seconds: 0, ..base },
        5 => Config {
            redirect_uri: Some("https://app.example/callback".to_owned()),
            headers: [("X-Api-Key".to_owned(), Secret::from("configured-header-key"))].into(),
            send_resource: SendResource::Never,
            ..base
        },
        6 => Config {
            initial_access_token: Some(Secret::from("initial-access-token")),
            issuer: auth(),
            callback_port: Some(8666),
            ..base
        },
        8 => Config {
            bearer_token_from: vec![
                SecretRef::Env("UNSET_BEARER_TOKEN".to_owned()),
                SecretRef::File("/run/secrets/token".to_owned()),
            ],
            ..base
        },
        7 => Config {
            client_id: Some("configured-client".to_owned()),
            client_secret_from: vec![
                SecretRef::Env("UNSET_CLIENT_SECRET".to_owned()),
                SecretRef::File("/run/secrets/client".to_owned()),
            ],
            client_issuer: auth(),
            ..base
        },
        11 => Config {
            client_id: Some("configured-client".to_owned()),
            client_key: Some(SecretRef::Name("client".to_owned())),
            dpop: DpopUse::Auto,
            dpop_key: Some(SecretRef::Name("dpop".to_owned())),
            issuer: auth(),
            ..base
        },
        10 => Config { device_grant: DeviceGrant::Always, ..base },
        _ => Config {
            assume_s256: true,
            legacy_fallback: false,
            step_up_limit: 1,
            send_resource: SendResource::Auto,
            ..base
        },
    }
}

/// What is at this place, and where it may be sent.
pub(super) fn secret_at(config: &Config, place: &SecretRef) -> Option<(String, Option<Home>)> {
    let SecretRef::File(at) = place else { return None };
    let home = config.client_issuer.as_ref().or(config.issuer.as_ref());
    let home = home.filter(|_| config.client_secret_from.contains(place));
    Some((text::opaque("secret-of-a-file", at, 1), home.cloned().map(Home::OfIssuer)))
}

/// The name of the key at this place.
pub(super) fn key(place: &SecretRef) -> String {
    place.to_string()
}

/// What is signed goes to the configured issuer.
pub(super) fn home_of_signed(config: &Config, _input: &str) -> Option<Home> {
    config.issuer.clone().map(Home::OfIssuer)
}

/// Makes the configured client known to its own server.
pub(super) fn introduce(config: &Config, world: &mut World) {
    let issuer = config.client_issuer.as_ref().or(config.issuer.as_ref());
    let home = world.authorization.iter_mut().find(|server| Some(&server.issuer) == issuer);
    if let (Some(client_id), Some(home)) = (&config.client_id, home) {
        if let Some(place) = &config.client_key {
            home.preregister_key(client_id, signer::public_key(&key(place)));
            return;
        }
        let kept = config.client_secret.as_ref().map(|secret| secret.expose().clone());
        let mut places = config.client_secret_from.iter();
        let named = places.find_map(|place| Some(secret_at(config, place)?.0));
        home.preregister(client_id, kept.or(named).as_deref());
    }
}

/// The most that a person is waited for, in seconds: meanwhile the login tells other programs of it
/// every few seconds, and stories have an end.
const PATIENCE: u64 = 1000;

/// The same with secrets that nobody could have put elsewhere in what it is `made_of`.
pub(super) fn playable(mut config: Config, made_of: &str) -> Config {
    for (count, secret) in (1..).zip([
        &mut config.client_secret,
        &mut config.bearer_token,
        &mut config.initial_access_token,
    ]) {
        if secret.is_some() {
            *secret = Some(Secret::new(text::opaque("configured", made_of, count)));
        }
    }
    config.login_timeout_seconds = config.login_timeout_seconds.min(PATIENCE);
    config
}

/// The secrets of a configuration. Those that may be sent are for the one known server.
pub(super) fn plant(config: &Config, secrets: &mut Secrets) {
    for value in config.headers.values() {
        secrets.add(value.expose(), Some(Home::At(text::origin(super::play::SERVER))));
    }
    let issuer = config.client_issuer.as_ref().or(config.issuer.as_ref());
    let home = || issuer.cloned().map(Home::OfIssuer);
    for (secret, home) in [
        (&config.client_secret, home()),
        (&config.initial_access_token, home()),
        (&config.bearer_token, None),
    ] {
        if let Some(secret) = secret {
            secrets.add(secret.expose(), home);
        }
    }
}

/// The secrets of a record that a machine has taken up.
pub(super) fn plant_record(record: Option<&[u8]>, secrets: &mut Secrets) {
    let Some(record) = record.and_then(|r| serde_json::from_slice::<serde_json::Value>(r).ok())
    else {
        return;
    };
    let text = |name: &str| record["tokens"][name].as_str().unwrap_or_default();
    let origin = text::origin(text("token_endpoint"));
    secrets.add_tokens(text("access_token"), text("refresh_token"), origin);
}
