//! The device authorization grant (RFC 8628): a code that a person enters on another device, for
//! machines where no browser can be opened.

use mcp_auth::output::Purpose;
use mcp_auth::wire::device::GRANT_TYPE;
use mcp_auth::{
    AttemptId, Config, Demand, DeviceGrant, DpopUse, ErrorKind, Event, Fault as Whose, Need,
    Notice, Secret, SecretRef, SendResource, TokenState,
};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{
    Canned, ClientAuthentication, Fault, NetworkError, Person, ResourceIndicators, Visit, What,
    assert_fails,
};
use serde_json::{Value, json};

/// A server that offers it, and a program without a browser.
fn headless() -> Scenario {
    let mut s = Scenario::new();
    s.world.authorization[0].device = true;
    s.browser_is_missing = true;
    s
}

/// The same, where the settings want a code in any case.
fn by_code() -> Scenario {
    let mut s = headless();
    s.config.device_grant = DeviceGrant::Always;
    s
}

/// The code is shown, and nobody has done anything yet.
fn shown(s: &mut Scenario) -> AttemptId {
    let person = std::mem::replace(&mut s.person, Person::Ignores);
    let attempt = s.demand(Demand::interactive(need("whoami")));
    s.run();
    assert!(s.shows_code(), "{:#?}", s.notices());
    s.person = person;
    attempt
}

fn polls(s: &Scenario) -> usize {
    s.world.count(What::Polls)
}

/// When the token endpoint was polled, in seconds since the code was given.
fn times(s: &Scenario) -> Vec<u64> {
    let log = || s.world.log.iter();
    let given = log().find(|e| e.path == "/device_authorization").unwrap().at;
    log().filter(|e| e.path == "/token").map(|e| e.at - given).collect()
}

fn enters(s: &mut Scenario, person: &Person) {
    let visit = s.enter_code(person);
    assert!(matches!(visit, Visit::Page(_)), "{visit:?}");
}

fn registered(s: &Scenario, index: usize) -> Value {
    let mut all = s.world.log.iter().filter(|exchange| exchange.path == "/register");
    serde_json::from_slice(all.nth(index).unwrap().request.body()).unwrap()
}

mod where_no_browser_can_be_opened {
    use super::*;

    #[test]
    fn a_code_is_shown_and_the_login_goes_on() {
        let mut s = headless();
        s.eavesdrop();
        assert_eq!(s.call_tool("whoami").status(), 200);
        let code = s.codes.pop().unwrap();
        assert!(code.user_code.starts_with("enter"), "{code:?}");
        assert_eq!(code.verification_uri, "https://auth.example.com/device");
        let complete = format!("{}?user_code={}", code.verification_uri, code.user_code);
        assert_eq!((code.verification_uri_complete, code.expires_in), (Some(complete), 300));
        assert_eq!((s.browser_opened(), s.world.count(What::DeviceAuthorizations)), (0, 1));
        assert_eq!(s.listening(), None, "what was opened for a browser is closed");
        assert!(!s.shows_code(), "what was shown is taken away");
        s.check_secrets();
    }

    #[test]
    fn the_client_is_registered_for_it_once_and_for_good() {
        let mut s = headless();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(
            registered(&s, 0)["grant_types"],
            json!(["authorization_code", "refresh_token"])
        );
        let both = json!(["authorization_code", "refresh_token", GRANT_TYPE]);
        assert_eq!(registered(&s, 1)["grant_types"], both);
        s.log_in().unwrap();
        s.restart();
        s.log_in().unwrap();
        assert_eq!((s.world.registrations(), s.codes.len()), (2, 3));
        // And a browser that is there again takes the same one.
        s.browser_is_missing = false;
        s.log_in().unwrap();
        assert_eq!((s.world.registrations(), s.codes.len()), (2, 3));
        s.check_secrets();
    }

    #[test]
    fn and_that_is_known_before_no_client_is_registered_for_a_browser() {
        let mut s = headless();
        s.absence_is_known = true;
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.world.registrations(), s.codes.len()), (1, 1));
        assert!(!s.shows_code());
        // Nor for a code that the server doesn't give.
        let mut s = headless();
        (s.absence_is_known, s.world.authorization[0].device) = (true, false);
        let failed = s.call_tool("whoami");
        assert_fails!(failed, ErrorKind::Browser(_));
        assert!(failed.error().advice().contains("--paste"));
        assert_eq!(s.world.registrations(), 0);
        s.check_secrets();
    }

    #[test]
    fn it_is_an_error_as_before_where_the_server_offers_none_or_nobody_could_show_it() {
        let cases: [fn(&mut Scenario); 3] = [
            |s| s.world.authorization[0].device = false,
            |s| s.codes_can_be_shown = false,
            |s| s.config.device_grant = DeviceGrant::Never,
        ];
        for spoil in cases {
            let mut s = headless();
            spoil(&mut s);
            assert_fails!(s.call_tool("whoami"), ErrorKind::Browser(_));
            assert_eq!(s.world.count(What::DeviceAuthorizations), 0);
            assert_eq!(s.world.registrations(), 1);
        }
    }

    #[test]
    fn a_background_task_shows_no_code() {
        let mut s = by_code();
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!((s.codes.len(), s.world.count(What::DeviceAuthorizations)), (0, 0));
    }
}

mod instead_of_a_browser {
    use super::*;

    #[test]
    fn neither_browser_nor_listener_is_asked_for() {
        let mut s = by_code();
        s.browser_is_missing = false;
        let attempt = shown(&mut s);
        assert_eq!((s.browser_opened(), s.listening()), (0, None));
        enters(&mut s, &Person::Approves);
        s.settle(attempt).unwrap();
        assert_eq!(s.take_log().last().unwrap(), "POST auth.example.com/token 200");
        assert_eq!(s.world.registrations(), 1);
        assert_eq!(registered(&s, 0)["redirect_uris"], json!(["http://127.0.0.1/callback"]));
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.check_secrets();
    }

    #[test]
    fn the_request_says_what_an_authorization_request_would() {
        let mut s = by_code();
        s.config.oauth_params.insert("audience".into(), "notes".into());
        let attempt = shown(&mut s);
        for (name, value) in [
            ("scope", "notes:read offline_access"),
            ("resource", "https://mcp.example.com/mcp"),
            ("prompt", "consent"),
            ("audience", "notes"),
        ] {
            assert_eq!(s.form_field(name).as_deref(), Some(value), "{name}");
        }
        enters(&mut s, &Person::Approves);
        s.settle(attempt).unwrap();
        assert_eq!(s.form_field("grant_type").as_deref(), Some(GRANT_TYPE));
        assert_eq!(s.form_field("resource").as_deref(), Some("https://mcp.example.com/mcp"));
    }

    #[test]
    fn a_server_that_does_not_offer_it_is_an_error_before_anything_is_asked() {
        let mut s = by_code();
        s.world.authorization[0].device = false;
        let failed = s.call_tool("whoami");
        assert_fails!(failed, ErrorKind::NoDeviceGrant { issuer } if issuer == "https://auth.example.com");
        assert!(failed.error().advice().contains("device_grant"));
        assert_eq!(failed.error().fault(), Whose::Settings);
        assert_eq!(s.world.registrations(), 0);
    }

    #[test]
    fn what_follows_is_a_login_like_any_other() {
        let mut s = by_code();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.advance(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), 1);
        // A step-up is another code.
        assert_eq!(s.call_tool("write_note").status(), 200);
        assert_eq!(s.codes.len(), 2);
        s.restart();
        s.take_log();
        assert_eq!(s.call_tool_in_background("write_note").status(), 200);
        assert_eq!(s.take_log(), ["POST mcp.example.com/mcp 200"]);
        assert!(s.log_out().erased.is_ok());
        assert_eq!(s.store.bytes, None);
        s.check_secrets();
    }
}

mod polls {
    use super::*;

    #[test]
    fn come_as_often_as_the_server_says_until_the_person_has_entered_the_code() {
        for (said, meant) in [(Some(5), 5), (Some(17), 17), (None, 5)] {
            let mut s = by_code();
            s.world.authorization[0].poll_interval = said;
            let attempt = shown(&mut s);
            s.advance(60);
            let expected: Vec<_> = (1..=60 / meant).map(|n| n * meant).collect();
            assert_eq!(times(&s), expected);
            enters(&mut s, &Person::Approves);
            s.settle(attempt).unwrap();
            assert_eq!(polls(&s), expected.len() + 1);
            assert_eq!(s.told(|n| matches!(n, Notice::Browsing)), 1);
        }
    }

    #[test]
    fn come_five_seconds_later_each_time_the_server_wants_it_slower() {
        let mut s = by_code();
        let attempt = shown(&mut s);
        // It wants 17 s from now on: too soon are those after 5, 10 and 15, and 20 is kept up.
        s.world.authorization[0].slow_down(12);
        s.advance(80);
        assert_eq!(times(&s), [5, 15, 30, 50, 70]);
        enters(&mut s, &Person::Approves);
        s.settle(attempt).unwrap();
        s.check_secrets();
    }

    #[test]
    fn that_get_no_answer_come_more_and_more_seldom_and_as_before_after_one() {
        let mut s = by_code();
        let attempt = shown(&mut s);
        let errors = [NetworkError::Unreachable, NetworkError::Reset, NetworkError::Tls];
        s.world.faults.extend(errors.map(|error| Fault::fails("POST", "/token", error)));
        s.advance(90);
        assert_eq!(times(&s), [5, 15, 35, 75, 80, 85, 90]);
        assert_eq!(s.told(|n| matches!(n, Notice::Retrying { .. })), 3);
        enters(&mut s, &Person::Approves);
        s.settle(attempt).unwrap();
    }

    #[test]
    fn go_on_where_each_answer_has_another_nonce_for_the_next_proof() {
        let mut s = by_code();
        let key = SecretRef::File("/run/keys/dpop.pem".to_owned());
        s.config.dpop = DpopUse::Auto;
        s.config.dpop_key = Some(key.clone());
        s.keys.insert(key, "ours".to_owned());
        let server = &mut s.world.authorization[0];
        (server.dpop, server.dpop_nonce_rotates) = (true, true);
        server.dpop_nonce = Some("the first".to_owned());
        let attempt = shown(&mut s);
        s.advance(20);
        // The first poll alone had none; all others have the one of the answer before.
        assert_eq!(times(&s), [5, 5, 10, 15, 20]);
        // `slow_down` comes with one, too, and one that has ended is replaced at any poll.
        s.world.authorization[0].slow_down(7);
        s.advance(25);
        s.world.authorization[0].dpop_nonce = Some("another".to_owned());
        s.advance(15);
        assert_eq!(times(&s)[5..], [25, 35, 50, 50]);
        enters(&mut s, &Person::Approves);
        s.settle(attempt).unwrap();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 0);
    }

    #[test]
    fn wait_as_long_as_a_server_in_trouble_asks_for() {
        let mut s = by_code();
        let attempt = shown(&mut s);
        let busy = Canned::new(503, "").header("retry-after", "42");
        let portal = Canned::new(200, "<!doctype html>").header("content-type", "text/html");
        s.world.faults.extend([busy, portal].map(|c| Fault::answer("POST", "/token", c)));
        s.advance(100);
        assert_eq!(times(&s), [5, 47, 67, 72, 77, 82, 87, 92, 97]);
        enters(&mut s, &Person::Approves);
        s.settle(attempt).unwrap();
    }

    #[test]
    fn are_told_that_they_are_too_many_by_any_status() {
        for status in [400, 403, 428, 429] {
            let mut s = by_code();
            let attempt = shown(&mut s);
            for error in ["authorization_pending", "slow_down"] {
                let canned = Canned::json(status, format!(r#"{{"error":"{error}"}}"#));
                s.world.faults.push(Fault::answer("POST", "/token", canned));
            }
            s.advance(20);
            assert_eq!(times(&s), [5, 10, 20], "{status}");
            enters(&mut s, &Person::Approves);
            s.settle(attempt).unwrap();
        }
    }

    #[test]
    fn end_with_the_tokens_also_where_their_answer_comes_too_late() {
        let mut s = by_code();
        let attempt = shown(&mut s);
        enters(&mut s, &Person::Approves);
        s.run_until("POST auth.example.com/token");
        s.perform("POST auth.example.com/token");
        let answer = s.hold("POST auth.example.com/token");
        s.wait();
        s.run();
        assert!(s.machine().is_running(attempt));
        s.bring(answer);
        s.settle(attempt).unwrap();
        s.grant();
        assert_eq!((polls(&s), s.world.reuse_seen()), (1, false));
        assert!(!s.shows_code());
    }

    #[test]
    fn hold_no_lock_and_keep_no_good_token_from_being_renewed() {
        let mut s = by_code();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.person = Person::Ignores;
        s.world.authorization[0].code_lifetime = 10_000;
        s.config.login_timeout_seconds = 10_000;
        s.restart();
        let attempt = s.demand(Demand::interactive(need("write_note")).fresh());
        s.run();
        for _ in 0..40 {
            s.advance(100);
            assert_eq!(s.store.locked_by, None);
        }
        assert!(s.machine().is_running(attempt));
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), 1);
        enters(&mut s, &Person::Approves);
        s.settle(attempt).unwrap();
        s.check_secrets();
    }
}

mod the_person {
    use super::*;

    #[test]
    fn says_no_and_is_not_asked_again() {
        let mut s = by_code();
        s.person = Person::Denies;
        let failed = s.call_tool("whoami");
        assert_fails!(failed, ErrorKind::Denied(error) if error.error == "access_denied");
        assert_eq!((failed.error().fault(), polls(&s)), (Whose::User, 1));
        s.person = Person::Approves;
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn who_is_too_late_for_the_code_is_told_to_start_again() {
        let mut s = by_code();
        s.person = Person::Ignores;
        let failed = s.call_tool("whoami");
        assert_fails!(failed, ErrorKind::CodeExpired { within } if within.as_secs() == 300);
        assert!(failed.error().advice().contains("new code"));
        assert_eq!(times(&s).last(), Some(&295), "nobody asks for a code that has ended");
        assert!(!s.shows_code());
        let visit = s.enter_code(&Person::Approves);
        assert_eq!(visit, Visit::Page("This code is not known here.".into()));
        s.person = Person::Approves;
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.world.registrations(), s.codes.len()), (1, 2));
    }

    #[test]
    fn is_told_the_same_by_a_server_whose_clock_is_ahead() {
        let mut s = by_code();
        let attempt = shown(&mut s);
        s.world.clock_ahead = 290;
        let failed = s.settle(attempt).unwrap_err();
        assert!(matches!(failed.kind(), ErrorKind::CodeExpired { .. }), "{failed}");
        assert_eq!(times(&s).len(), 2);
    }

    #[test]
    fn has_no_longer_than_the_settings_say() {
        let mut s = by_code();
        s.config.login_timeout_seconds = 33;
        let attempt = shown(&mut s);
        assert_eq!(s.codes[0].expires_in, 33);
        let failed = s.settle(attempt).unwrap_err();
        assert!(
            matches!(failed.kind(), ErrorKind::CodeExpired { within } if within.as_secs() == 33)
        );
        assert_eq!(times(&s), [5, 10, 15, 20, 25, 30]);
    }

    #[test]
    fn agrees_to_less() {
        let mut s = by_code();
        s.person = Person::ApprovesOnly(vec!["notes:read".into()]);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.machine().status().unwrap().scopes.to_string(), "notes:read");
    }

    #[test]
    fn who_cannot_be_shown_it_is_told_why() {
        let mut s = by_code();
        s.codes_can_be_shown = false;
        let failed = s.call_tool("whoami");
        assert_fails!(failed, ErrorKind::CodeNotShown(_));
        assert_eq!((failed.error().fault(), polls(&s)), (Whose::Host, 0));
        s.advance(60);
        assert_eq!(polls(&s), 0);
        assert!(!s.shows_code());
    }
}

mod cancelled {
    use super::*;

    #[test]
    fn between_two_polls_it_is_over_at_once() {
        let mut s = by_code();
        let attempt = shown(&mut s);
        s.advance(12);
        s.handle(Event::Cancel(attempt));
        s.run();
        assert_eq!(s.machine().failure(attempt).unwrap().to_string(), "the attempt was cancelled");
        assert!(!s.shows_code());
        enters(&mut s, &Person::Approves);
        s.advance(100);
        assert_eq!(polls(&s), 2);
        assert!(!matches!(s.token(), TokenState::Ready(_)));
        // And nobody else waits for it.
        s.switch_to(1);
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.check_secrets();
    }

    #[test]
    fn in_a_poll_that_brings_tokens_they_are_kept() {
        let mut s = by_code();
        let attempt = shown(&mut s);
        enters(&mut s, &Person::Approves);
        s.run_until("POST auth.example.com/token");
        s.perform("POST auth.example.com/token");
        s.handle(Event::Cancel(attempt));
        assert!(s.machine().failure(attempt).is_some());
        s.run();
        s.grant();
        assert!(!s.shows_code());
    }

    #[test]
    fn in_a_poll_that_brings_none_there_is_no_other() {
        let mut s = by_code();
        let attempt = shown(&mut s);
        s.run_until("POST auth.example.com/token");
        s.handle(Event::Cancel(attempt));
        s.run();
        s.advance(100);
        assert_eq!(polls(&s), 1);
        assert!(!s.shows_code());
    }

    #[test]
    fn by_a_logout_what_a_poll_brings_is_ended_too() {
        let mut s = by_code();
        shown(&mut s);
        enters(&mut s, &Person::Approves);
        s.run_until("POST auth.example.com/token");
        s.perform("POST auth.example.com/token");
        let token = s.world.newest_access_token().unwrap().to_owned();
        assert!(s.log_out().erased.is_ok());
        assert_eq!(s.world.authorization[0].access_token(&token), None);
        assert_eq!(s.store.bytes, None);
    }

    #[test]
    fn by_a_crash_nothing_is_left_but_the_client() {
        let mut s = by_code();
        shown(&mut s);
        s.advance(12);
        s.restart();
        assert!(matches!(s.token(), TokenState::Missing));
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.world.registrations(), s.codes.len()), (1, 2));
    }
}

#[test]
fn of_several_programs_one_shows_a_code_and_all_are_served() {
    let mut s = by_code();
    s.person = Person::Ignores;
    let demand = Demand::interactive(need("whoami"));
    let attempts: Vec<_> = (0..4).map(|at| (at, s.switch_to(at).demand(demand.clone()))).collect();
    s.switch_to(0).together(100);
    assert_eq!((s.codes.len(), s.world.registrations()), (1, 1));
    enters(&mut s, &Person::Approves);
    assert!(s.settle_together(&attempts).iter().all(Result::is_ok));
    assert_eq!((s.codes.len(), s.world.count(What::DeviceAuthorizations)), (1, 1));
    s.check_secrets();
}

#[test]
fn of_several_programs_all_are_told_that_the_person_said_no() {
    let mut s = by_code();
    s.person = Person::Ignores;
    let demand = Demand::interactive(need("whoami"));
    let attempts: Vec<_> = (0..2).map(|at| (at, s.switch_to(at).demand(demand.clone()))).collect();
    s.switch_to(0).together(20);
    enters(&mut s, &Person::Denies);
    let ended = s.settle_together(&attempts);
    let kinds: Vec<_> = ended.iter().map(|ended| ended.as_ref().unwrap_err().kind()).collect();
    assert!(matches!(kinds[..], [ErrorKind::Denied(_), ErrorKind::DeniedElsewhere]), "{kinds:?}");
    assert_eq!(s.codes.len(), 1);
}

mod the_client {
    use super::*;

    #[test]
    fn that_the_server_has_forgotten_is_replaced_once() {
        let mut s = by_code();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.world.authorization[0].forget_clients();
        s.log_in().unwrap();
        assert_eq!((s.world.registrations(), s.codes.len()), (2, 2));
        assert_eq!(s.told(|n| matches!(n, Notice::ClientRejected { .. })), 1);
    }

    #[test]
    fn that_was_configured_and_may_not_use_it_is_an_error_with_what_to_do() {
        let mut s = by_code();
        let client = s.world.authorization[0].preregister("by-hand", None);
        client.grant_types.retain(|grant| grant != GRANT_TYPE);
        s.config.client_id = Some("by-hand".into());
        let failed = s.call_tool("whoami");
        assert_fails!(failed, ErrorKind::DeviceRefused { error, .. } if error.error == "unauthorized_client");
        assert!(failed.error().advice().contains("device authorization grant"));
        assert_eq!(s.world.registrations(), 0);
    }

    #[test]
    fn proves_itself_in_both_requests_with_a_secret_that_is_read_once_a_login() {
        let mut s = by_code();
        s.world.authorization[0].preregister("by-hand", Some("hand-written-secret"));
        let place = SecretRef::File("/run/secrets/client".into());
        s.secrets.insert(place.clone(), "hand-written-secret\n".into());
        s.config = Config {
            client_id: Some("by-hand".into()),
            client_secret_from: vec![place],
            client_issuer: Some("https://auth.example.com".into()),
            ..s.config.clone()
        };
        s.eavesdrop();
        let attempt = shown(&mut s);
        s.advance(30);
        enters(&mut s, &Person::Approves);
        s.settle(attempt).unwrap();
        assert_eq!(s.secrets_read.len(), 1);
        assert!(!s.store.text().contains("hand-written-secret"));
        s.check_secrets();
    }

    #[test]
    fn with_a_secret_of_its_own_shows_it_in_the_way_that_it_was_registered_with() {
        for method in [ClientAuthentication::Basic, ClientAuthentication::Post] {
            let mut s = by_code();
            s.world.authorization[0].registration.assigns = Some(method);
            assert_eq!(s.call_tool("whoami").status(), 200);
            s.check_secrets();
        }
    }

    #[test]
    fn of_a_server_that_knows_no_refresh_tokens_asks_for_none() {
        let mut s = by_code();
        s.world.authorization[0].grant_types.retain(|grant| grant != "refresh_token");
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(registered(&s, 0)["grant_types"], json!(["authorization_code", GRANT_TYPE]));
    }
}

mod the_server {
    use super::*;

    /// Its answer with this in the place of a member.
    fn answering(name: &str, value: Value) -> Scenario {
        let mut s = by_code();
        s.world.authorization[0].device_changes.insert(name.into(), value);
        s
    }

    #[test]
    fn that_sends_people_to_what_is_no_web_page_is_not_followed() {
        for (name, value) in [
            ("verification_uri", json!("javascript:alert(1)")),
            ("verification_uri", json!("http://auth.example.com/device")),
            ("verification_uri", json!("https://auth.example.com@evil.example/")),
            ("user_code", json!("A\u{1b}[2J")),
            ("device_code", json!("")),
            ("expires_in", json!("soon")),
        ] {
            let mut s = answering(name, value.clone());
            assert_fails!(s.call_tool("whoami"), ErrorKind::Unusable { .. });
            assert_eq!(s.codes, [], "{name} {value}");
        }
    }

    #[test]
    fn cannot_have_the_code_lead_elsewhere_than_it_says() {
        let mut s =
            answering("verification_uri_complete", json!("https://evil.example/?user_code=A"));
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.codes[0].verification_uri_complete, None);
    }

    #[test]
    fn that_wants_to_be_asked_all_the_time_is_asked_once_a_second() {
        let mut s = answering("interval", json!(0));
        s.world.authorization[0].poll_interval = Some(0);
        let attempt = shown(&mut s);
        s.advance(10);
        assert_eq!(polls(&s), 10);
        enters(&mut s, &Person::Approves);
        s.settle(attempt).unwrap();
    }

    #[test]
    fn may_name_an_endpoint_only_where_it_could_go_itself() {
        let mut s = by_code();
        let inside = json!("https://inside.example.com/device_authorization");
        s.world.name("inside.example.com", &["10.0.0.7"]);
        s.world.authorization[0]
            .metadata_changes
            .insert("device_authorization_endpoint".into(), inside);
        let failed = s.call_tool("whoami");
        assert_fails!(
            failed,
            ErrorKind::AddressRefused { purpose: Purpose::DeviceAuthorization, .. }
        );
        assert_eq!(failed.error().fault(), Whose::AuthorizationServer);
        assert_eq!(s.world.count(What::DeviceAuthorizations), 0);
        s.config.allow_private_addresses = vec!["inside.example.com".into()];
        s.restart();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.check_secrets();
    }

    #[test]
    fn that_claims_another_issuer_gets_nothing() {
        let mut s = by_code();
        s.world.authorization[0].claimed_issuer = Some("https://evil.example".into());
        assert_fails!(s.call_tool("whoami"), ErrorKind::IssuerMismatch { .. });
        assert_eq!(s.world.count(What::DeviceAuthorizations), 0);
    }

    #[test]
    fn that_takes_no_resource_indicator_is_asked_without_where_the_settings_say_so() {
        let mut s = by_code();
        s.world.authorization[0].resources = ResourceIndicators::Refused;
        let failed = s.call_tool("whoami");
        assert_fails!(failed, ErrorKind::DeviceRefused { error, .. } if error.error == "invalid_target");
        assert!(failed.error().advice().contains("send_resource"));
        s.config.send_resource = SendResource::Auto;
        s.restart();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.world.count(What::DeviceAuthorizations), 3);
    }

    #[test]
    fn in_trouble_is_asked_again_by_who_wants_it() {
        let mut s = by_code();
        let busy = Canned::new(503, "").header("retry-after", "7");
        s.world.faults.push(Fault::answer("POST", "/device_authorization", busy));
        let failed = s.call_tool("whoami");
        assert_eq!(failed.error().retry_in().unwrap().as_secs(), 7);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.world.registrations(), 1);
    }

    #[test]
    fn that_quotes_what_it_was_sent_shows_nobody_a_secret() {
        let mut s = by_code();
        s.config.client_id = Some("by-hand".into());
        s.config.client_secret = Some(Secret::from("hand-written-secret"));
        s.config.client_issuer = Some("https://auth.example.com".into());
        s.world.authorization[0].preregister("by-hand", Some("hand-written-secret"));
        let quoting = Canned::json(
            400,
            r#"{"error":"invalid_request","error_description":"by-hand:hand-written-secret?"}"#,
        );
        s.world.faults.push(Fault::answer("POST", "/device_authorization", quoting));
        s.eavesdrop();
        let failed = s.call_tool("whoami");
        assert_fails!(failed, ErrorKind::DeviceRefused { .. });
        assert!(!failed.error().to_string().contains("hand-written-secret"));
        s.check_secrets();
    }
}

#[test]
fn a_login_without_a_code_is_none_of_its_business() {
    let mut s = Scenario::new();
    s.world.authorization[0].device = true;
    s.demanded(Demand::interactive(Need::default())).unwrap();
    assert_eq!((s.codes.len(), s.browser_opened(), s.world.registrations()), (0, 1, 1));
    assert_eq!(registered(&s, 0)["grant_types"], json!(["authorization_code", "refresh_token"]));
}
