//! A login that another program has made, such as ToolHive, is taken up: its refresh token is spent once,
//! and what it brings is ours.

use mcp_auth::output::CallbackHost;
use mcp_auth::toolhive::{CachedSession, RemoteConfig};
use mcp_auth::{
    CachedClient, CachedLogin, CachedRegistration, Demand, ErrorKind, Event, Need, Notice, Secret,
    SecretRef, SecretSource, SessionState, TokenState, UnixTime,
};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{
    AuthorizationServer, Canned, ClientAuthentication, Effect, Fault, NetworkError, RefreshTokens,
    What, assert_fails,
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
fn a_public_client_is_taken_up_where_the_mcp_server_says() {
    let mut s = Scenario::new();
    s.world.authorization[0].preregister("by-hand", None);
    s.config.client_id = Some("by-hand".to_owned());
    s.log_in().unwrap();
    let record: Value = serde_json::from_str(&s.store.text()).unwrap();
    let token = Secret::from(record["tokens"]["refresh_token"].as_str().unwrap());
    s.cached = Some(CachedLogin::new(token));
    s.crash();
    s.store = Default::default();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(refreshes(&s), (1, 1));
}

#[test]
fn a_failure_of_the_network_keeps_it_and_opens_no_browser() {
    let mut s = toolhive();
    let gone = Fault::fails("POST", "/token", NetworkError::Unreachable).times(u32::MAX);
    s.world.faults.push(gone);
    assert_fails!(s.call_tool("whoami"), ErrorKind::Passing { .. });
    let tried = refreshes(&s).0;
    s.world.faults.clear();
    s.sleep(600);
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!((refreshes(&s), s.browser_opened()), ((tried + 1, 0), 0));
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

mod an_outage {
    use super::*;

    fn down(s: &mut Scenario) {
        s.world.faults.push(Fault::answer("POST", "/token", Canned::new(503, "")).times(u32::MAX));
    }

    fn state(s: &mut Scenario) -> SessionState {
        let now = s.now();
        s.machine().state(now)
    }

    /// The short phase is used up.
    fn in_the_quiet_phase() -> Scenario {
        let mut s = toolhive();
        down(&mut s);
        assert_fails!(s.call_tool("whoami"), ErrorKind::Passing { .. });
        s
    }

    /// Seconds until the next try, as a caller is told at once, whether or not somebody is there.
    fn told_to_wait(s: &mut Scenario) -> u64 {
        let (before, tried) = (s.now().mono, refreshes(s));
        for call in [Scenario::call_tool, Scenario::call_tool_in_background] {
            let answer = call(s, "whoami");
            assert_fails!(answer, ErrorKind::Passing { .. });
            assert_eq!((s.now().mono, refreshes(s)), (before, tried), "nothing is tried");
        }
        let answer = s.call_tool("whoami");
        answer.error().retry_in().unwrap().as_secs()
    }

    #[test]
    fn that_is_short_is_waited_out_inside_one_attempt() {
        for effect in [
            Effect::Answer(Canned::new(503, "")),
            Effect::Answer(Canned::new(429, "").header("retry-after", "30")),
            Effect::Fails(NetworkError::Unreachable),
        ] {
            let mut s = toolhive();
            s.world.faults.push(Fault::new("POST", "/token", effect).times(3));
            let before = s.now().mono;
            assert_eq!(s.call_tool("whoami").status(), 200);
            let took = before.until(s.now().mono).as_secs();
            assert!((20..150).contains(&took), "{took}");
            assert_eq!((s.browser_opened(), refreshes(&s)), (0, (4, 0)));
            assert_eq!(state(&mut s), SessionState::Authorized);
        }
    }

    #[test]
    fn that_lasts_has_five_tries_and_then_a_quiet_phase_that_is_told() {
        let mut s = in_the_quiet_phase();
        assert_eq!(refreshes(&s), (1 + 5, 0));
        assert_eq!(told_to_wait(&mut s), 600);
        let SessionState::Retrying { since, next } = state(&mut s) else { panic!() };
        assert_eq!((since.until(next).as_secs(), s.now().wall.until(next).as_secs()), (750, 600));
        s.sleep(400);
        assert_eq!(told_to_wait(&mut s), 200);
        s.sleep(200);
        // One try each time that it is due.
        assert_fails!(s.call_tool("whoami"), ErrorKind::Passing { .. });
        assert_eq!((refreshes(&s), told_to_wait(&mut s)), ((7, 0), 600));
        s.world.faults.clear();
        s.sleep(600);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((s.browser_opened(), state(&mut s)), (0, SessionState::Authorized));
        let states = s.notices.iter().filter_map(|notice| match notice {
            Notice::State(state) => Some(std::mem::discriminant(state)),
            _ => None,
        });
        let states: Vec<_> = states.collect();
        let first = states.first().copied();
        let retrying = SessionState::Retrying { since, next };
        assert_eq!(first, Some(std::mem::discriminant(&retrying)), "{:?}", s.notices);
        assert_eq!(states.last(), Some(&std::mem::discriminant(&SessionState::Authorized)));
    }

    #[test]
    fn of_the_metadata_is_one_too() {
        let mut s = toolhive();
        let gone = Fault::fails("*", "*", NetworkError::Unreachable).times(u32::MAX);
        s.world.faults.push(gone.at(ISSUER));
        assert_fails!(s.call_tool("whoami"), ErrorKind::Passing { .. });
        assert_eq!((told_to_wait(&mut s), refreshes(&s)), (600, (0, 0)));
        s.world.faults.clear();
        s.sleep(600);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.browser_opened(), refreshes(&s)), (0, (1, 0)));
    }

    #[test]
    fn is_remembered_across_restarts_and_by_the_other_programs() {
        for other in [0, 1] {
            let mut s = in_the_quiet_phase();
            s.sleep(100);
            s.switch_to(0).crash();
            assert_eq!(told_to_wait(s.switch_to(other)), 500);
            s.world.faults.clear();
            s.sleep(500);
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!((s.browser_opened(), refreshes(&s)), (0, (7, 0)));
        }
    }

    #[test]
    fn of_a_day_ends_it_and_a_person_logs_in() {
        let mut s = in_the_quiet_phase();
        for hour in 1..=23 {
            s.sleep(3600);
            if hour % 5 == 0 {
                s.restart();
            }
            assert_fails!(s.call_tool("whoami"), ErrorKind::Passing { .. });
        }
        s.sleep(3600);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(s.told(|notice| matches!(notice, Notice::NotRestored { .. })), 1);
        assert_eq!(state(&mut s), SessionState::LoginRequired);
        s.world.faults.clear();
        assert_eq!((s.call_tool("whoami").status(), s.browser_opened()), (200, 1));
        assert!(!s.store.text().contains("untaken"));
    }

    #[test]
    fn keeps_nobody_from_a_new_login_that_is_asked_for() {
        // In the quiet phase, and while an attempt waits for its next try.
        for quiet in [true, false] {
            let mut s = toolhive();
            down(&mut s);
            let waits = s.demand(Demand::background(Need::default()));
            s.advance(if quiet { 300 } else { 5 });
            assert_eq!(s.machine().is_running(waits), !quiet);
            s.world.faults.clear();
            s.log_in().unwrap();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.browser_opened(), 1);
        }
    }

    #[test]
    fn is_met_by_one_program_at_a_time_and_those_who_wait_are_served_by_it() {
        for settled in [false, true] {
            let mut s = toolhive();
            if settled {
                s.config.authorize_url = Some(format!("{ISSUER}/authorize"));
                s.config.token_url = Some(TOKEN.to_owned());
                s.config.issuer = Some(ISSUER.to_owned());
            }
            s.world.faults.push(Fault::answer("POST", "/token", Canned::new(503, "")).times(3));
            let all: Vec<_> = (0..3)
                .map(|at| (at, s.switch_to(at).demand(Demand::interactive(Need::default()))))
                .collect();
            let ended = s.settle_together(&all);
            assert!(ended.iter().all(Result::is_ok), "{settled}: {ended:?}");
            assert_eq!((refreshes(&s), s.browser_opened()), ((4, 0), 0), "{settled}");
            assert!(!s.world.reuse_seen());
        }
    }

    #[test]
    fn may_end_by_a_wish_and_its_attempt_leaves_nothing_behind() {
        let mut s = toolhive();
        down(&mut s);
        let waits = s.demand(Demand::interactive(Need::default()));
        s.advance(30);
        s.handle(Event::Cancel(waits));
        s.advance(300);
        let tried = refreshes(&s);
        s.advance(3600);
        assert_eq!(refreshes(&s), tried);
        assert!(!s.store.text().contains("\"login\""), "{}", s.store.text());
        let _ = s.log_out();
        assert_eq!(s.store.bytes, None);
    }
}
