//! A login that another program has made, such as ToolHive, is taken up: its refresh token is spent once,
//! and what it brings is ours.

use mcp_auth::output::CallbackHost;
use mcp_auth::toolhive::{CachedSession, RemoteConfig};
use mcp_auth::{
    CachedClient, CachedLogin, CachedRegistration, Demand, ErrorKind, Need, Notice, Secret,
    SecretRef, SecretSource, TokenState, UnixTime,
};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{
    AuthorizationServer, Canned, ClientAuthentication, Fault, NetworkError, RefreshTokens, What,
    assert_fails,
};
use serde_json::Value;

const ISSUER: &str = "https://auth.example.com";
const TOKEN: &str = "https://auth.example.com/token";

fn name(name: &str) -> SecretRef {
    SecretRef::Name(name.to_owned())
}

/// What ToolHive has kept of a login of a client that it registered: everything by name.
fn toolhive() -> Scenario {
    let mut s = Scenario::new();
    s.world.authorization[0].registration.assigns = Some(ClientAuthentication::Basic);
    s.world.authorization[0].registration.manageable = true;
    s.config.callback_host = CallbackHost::Localhost;
    s.log_in().unwrap();
    let record: Value = serde_json::from_str(&s.store.text()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let client = &record["registrations"][ISSUER];
    s.secrets.insert(name("REFRESH"), text(&record["tokens"]["refresh_token"]));
    s.secrets.insert(name("CLIENT"), text(&client["client_secret"]));
    s.secrets.insert(name("MANAGE"), text(&client["management_token"]));
    let remote = RemoteConfig {
        use_pkce: true,
        cached_refresh_token_ref: Some("REFRESH".to_owned()),
        cached_client_id: Some(text(&client["client_id"])),
        cached_client_secret_ref: Some("CLIENT,target=oauth_secret".to_owned()),
        cached_reg_token_ref: Some("MANAGE".to_owned()),
        cached_reg_client_uri: Some(text(&client["management_uri"])),
        cached_token_auth_method: Some("client_secret_basic".to_owned()),
        cached_dcr_callback_port: Some(49152),
        ..RemoteConfig::default()
    };
    let imported = remote.import();
    (s.config, s.cached) = (imported.config, imported.cached);
    s.crash();
    s.store = Default::default();
    s.browsed.clear();
    s.notices.clear();
    s.world.log.clear();
    s.take_log();
    s.eavesdrop();
    s
}

/// The cached refresh token as ToolHive's newer versions keep it.
fn envelope(s: &mut Scenario, issuer: &str, token_url: &str) {
    let bare = Secret::from(s.secrets[&name("REFRESH")].as_str());
    let text = CachedSession::new(bare, issuer, token_url).to_text();
    s.secrets.insert(name("REFRESH"), text.expose().clone());
}

fn refreshes(s: &Scenario) -> (usize, usize) {
    (s.world.count(What::Refreshes), s.browser_opened())
}

#[test]
fn the_first_use_refreshes_and_then_it_renews_itself_without_the_cache() {
    let mut s = toolhive();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(refreshes(&s), (1, 0));
    assert_eq!(s.secrets_read, [name("REFRESH"), name("CLIENT"), name("MANAGE")]);
    s.secrets.clear();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.restart();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(refreshes(&s), (2, 0));
    assert_eq!((s.secrets_read.len(), s.world.registrations()), (3, 0));
    assert!(!s.world.reuse_seen());
    s.check_secrets();
}

#[test]
fn the_registration_is_ours_with_its_port_and_its_end() {
    let mut s = toolhive();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.log_in().unwrap();
    let callback = s.authorize_param("redirect_uri").unwrap();
    assert_eq!(callback, "http://localhost:49152/callback");
    let report = s.log_out();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.registration.to_string(), "ended at the server");
}

#[test]
fn an_envelope_is_opened_and_its_token_goes_to_its_own_server_alone() {
    let mut s = toolhive();
    envelope(&mut s, ISSUER, TOKEN);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(refreshes(&s), (1, 0));
    for (issuer, token_url) in
        [("https://other.example.com", TOKEN), (ISSUER, "https://auth.example.com/other")]
    {
        let mut s = toolhive();
        envelope(&mut s, issuer, token_url);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(s.world.count(What::TokenRequests), 0);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(refreshes(&s), (0, 1));
        s.check_secrets();
    }
}

#[test]
fn the_clients_secret_goes_to_no_server_that_was_only_discovered() {
    let without_uri = || {
        let mut s = toolhive();
        let Some(CachedLogin { client: CachedClient::Registered(client), .. }) = &mut s.cached
        else {
            panic!()
        };
        client.registration_client_uri = None;
        s
    };
    // The MCP server names another one, which would take anything.
    let mut s = toolhive();
    s.world.authorization.push(AuthorizationServer::new("https://evil.example.com"));
    s.world.migrate_to(1);
    for _ in 0..2 {
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    }
    assert_eq!(s.world.count(What::TokenRequests), 0);
    let told =
        |notice: &Notice| matches!(notice, Notice::NotRestored { why } if why.contains("`issuer`"));
    assert_eq!(s.told(told), 1);
    s.check_secrets();
    // Nothing says whose it is, so that it may be anybody's.
    let mut s = without_uri();
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert_eq!(s.world.count(What::TokenRequests), 0);
    // Each of these says it.
    let mut named = without_uri();
    named.config.issuer = Some(ISSUER.to_owned());
    let mut homed = without_uri();
    homed.config.client_issuer = Some(ISSUER.to_owned());
    let mut enveloped = without_uri();
    envelope(&mut enveloped, ISSUER, TOKEN);
    for mut s in [toolhive(), named, homed, enveloped] {
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(refreshes(&s), (1, 0));
    }
}

#[test]
fn a_failure_of_the_network_keeps_it_and_opens_no_browser() {
    let mut s = toolhive();
    for _ in 0..2 {
        s.world.faults.push(Fault::fails("POST", "/token", NetworkError::Unreachable));
    }
    assert_fails!(s.call_tool("whoami"), ErrorKind::Passing { .. });
    for path in ["/.well-known/oauth-protected-resource/mcp", "/mcp"] {
        s.world.faults.push(Fault::fails("GET", path, NetworkError::TimedOut));
        s.world.faults.push(Fault::fails("POST", path, NetworkError::TimedOut));
    }
    let _ = s.call_tool("whoami");
    s.world.faults.clear();
    assert_eq!(s.call_tool("whoami").status(), 200);
    // Two that never arrived, and one.
    assert_eq!(refreshes(&s), (3, 0));
}

#[test]
fn a_provider_that_fails_keeps_it_too() {
    let mut s = toolhive();
    s.demand(Demand::interactive(Need::default()));
    s.run_until("secret REFRESH");
    s.lose("secret REFRESH");
    s.wait();
    s.run();
    assert_eq!(s.told(|notice| matches!(notice, Notice::Failed(error) if matches!(error.kind(), ErrorKind::SecretUnavailable { .. }))), 1);
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(refreshes(&s), (1, 0));
}

#[test]
fn one_that_the_server_refuses_is_a_login_and_is_not_tried_again() {
    let mut s = toolhive();
    s.world.authorization[0].revoke_everything();
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert_eq!(refreshes(&s), (1, 0));
    assert_eq!(s.told(|notice| matches!(notice, Notice::NotRestored { .. })), 1);
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(refreshes(&s), (1, 1));
}

#[test]
fn one_that_is_gone_from_the_provider_is_a_login() {
    for gone in ["REFRESH", "CLIENT"] {
        let mut s = toolhive();
        s.secrets.remove(&name(gone));
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(refreshes(&s), (0, 1));
    }
    // Without this one the registration can't be managed, and that is all.
    let mut s = toolhive();
    s.secrets.remove(&name("MANAGE"));
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(refreshes(&s), (1, 0));
}

#[test]
fn a_client_whose_secret_has_expired_is_not_shown() {
    let mut s = toolhive();
    let Some(CachedLogin { client: CachedClient::Registered(client), .. }) = &mut s.cached else {
        panic!()
    };
    client.secret_expires_at = Some(UnixTime(1_600_000_000));
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert_eq!(s.world.count(What::TokenRequests), 0);
}

#[test]
fn tokens_of_our_own_and_a_new_login_come_before_it() {
    let mut s = toolhive();
    s.log_in().unwrap();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.restart();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!((refreshes(&s), s.secrets_read.len()), ((0, 1), 0));
}

#[test]
fn a_logout_ends_it_too() {
    let mut s = toolhive();
    s.start();
    let _ = s.log_out();
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert_eq!(refreshes(&s), (0, 0));
}

#[test]
fn a_server_that_repeats_no_refresh_token_is_refreshed_with_the_same() {
    let mut s = toolhive();
    s.world.authorization[0].refresh_tokens = RefreshTokens::Omitted;
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert!(s.machine().status().unwrap().refreshable);
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(refreshes(&s), (2, 0));
}

#[test]
fn an_answer_that_comes_late_is_not_lost() {
    let mut s = toolhive();
    s.demand(Demand::background(Need::default()));
    s.run_until("/token");
    s.perform("/token");
    let late = s.hold("/token");
    s.wait();
    s.run();
    s.bring(late);
    s.run();
    assert!(matches!(s.token(), TokenState::Ready(_)));
    assert_eq!(refreshes(&s), (1, 0));
    s.restart();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
}

mod with_configured_endpoints {
    use super::*;

    /// `CreateTokenSourceFromCached`: a client, its endpoints, and a refresh token.
    fn endpoints() -> Scenario {
        let mut s = Scenario::new();
        s.world.authorization[0].preregister("by-hand", Some("hush, by hand"));
        s.config.client_id = Some("by-hand".to_owned());
        s.config.client_secret = Some("hush, by hand".into());
        s.config.authorize_url = Some("https://auth.example.com/authorize".to_owned());
        s.config.token_url = Some(TOKEN.to_owned());
        s.log_in().unwrap();
        let record: Value = serde_json::from_str(&s.store.text()).unwrap();
        let token = Secret::from(record["tokens"]["refresh_token"].as_str().unwrap());
        s.cached = Some(CachedLogin::new(token));
        s.crash();
        s.store = Default::default();
        s.browsed.clear();
        s.take_log();
        s
    }

    #[test]
    fn nothing_is_probed_or_discovered() {
        let mut s = endpoints();
        s.demanded(Demand::background(Need::default())).unwrap();
        assert_eq!(s.take_log(), ["POST auth.example.com/token 200"]);
        assert_eq!(s.form_field("resource").unwrap(), "https://mcp.example.com/mcp");
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 0);
    }

    #[test]
    fn another_client_may_be_named_and_one_that_is_unknown_is_a_login() {
        let mut s = endpoints();
        let client = CachedRegistration {
            client_id: "by-hand".to_owned(),
            client_secret: Some(SecretSource::Value("hush, by hand".into())),
            ..CachedRegistration::default()
        };
        s.cached = s.cached.map(|cached| cached.of(CachedClient::Registered(Box::new(client))));
        s.config.client_id = None;
        s.config.client_secret = None;
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);

        let mut s = endpoints();
        s.config.client_id = None;
        s.config.client_secret = None;
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });

        let mut s = endpoints();
        let unknown = Canned::json(401, r#"{"error":"invalid_client"}"#);
        s.config.retry_secret_in_body = false;
        s.world.faults.push(Fault::answer("POST", "/token", unknown));
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    }

    #[test]
    fn a_mistake_in_the_settings_keeps_it() {
        let mut s = endpoints();
        let mistaken = Canned::json(400, r#"{"error":"invalid_target"}"#);
        s.world.faults.push(Fault::answer("POST", "/token", mistaken));
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::TokenRefused { .. });
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }
}

#[test]
fn programs_that_take_it_up_together_spend_it_once() {
    let mut s = toolhive();
    let attempts = [0, 1, 2].map(|at| {
        let demand = Demand::background(Need::default());
        (at, s.switch_to(at).demand(demand))
    });
    let ended = s.settle_together(&attempts);
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    assert_eq!((refreshes(&s), s.world.reuse_seen()), ((1, 0), false));
    for at in [0, 1, 2] {
        assert_eq!(s.switch_to(at).call_tool_in_background("whoami").status(), 200);
    }
}

#[test]
fn a_program_that_waits_for_one_that_takes_it_up_in_vain_tries_itself() {
    let mut s = toolhive();
    s.switch_to(0).demand(Demand::background(Need::default()));
    s.run_until("/token");
    let attempt = s.switch_to(1).demand(Demand::background(Need::default()));
    s.run();
    assert!(s.machine().is_running(attempt));
    s.switch_to(0).crash();
    s.switch_to(1).settle(attempt).unwrap();
    assert_eq!(refreshes(&s), (1, 0));
}

#[test]
fn a_program_that_takes_it_up_slowly_is_not_taken_for_dead() {
    let mut s = toolhive();
    let first = s.switch_to(0).demand(Demand::background(Need::default()));
    s.run_until("/token");
    let second = s.switch_to(1).demand(Demand::background(Need::default()));
    for _ in 0..60 {
        s.run();
        s.advance(1);
    }
    assert!(s.machine().is_running(second));
    assert_eq!(refreshes(&s), (0, 0));
    s.switch_to(0).settle(first).unwrap();
    s.switch_to(1).settle(second).unwrap();
    assert_eq!((refreshes(&s), s.world.reuse_seen()), ((1, 0), false));
}
