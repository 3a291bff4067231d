//! Upkeep of a registered client (RFC 7592): its secret is renewed before it ends, and a client that
//! the server may have forgotten is asked for before another is registered.

use mcp_auth::output::Purpose;
use mcp_auth::{ClientSource, Demand, ErrorKind, Event, Need, Notice, SessionState, TokenState};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{
    Canned, ClientAuthentication, Effect, Fault, NetworkError, Person, What, assert_fails,
};
use serde_json::{Value, json};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// A world where clients have a secret that lives for a week, and can manage their registration.
fn world() -> Scenario {
    let mut s = Scenario::new();
    let server = &mut s.world.authorization[0];
    server.client_authentication = vec![ClientAuthentication::Basic];
    server.registration.secret_lifetime = Some(7 * DAY);
    server.registration.manageable = true;
    s.eavesdrop();
    s
}

/// A login, and its first request.
fn logged_in() -> Scenario {
    let mut s = world();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.take_log();
    s
}

/// The same a day before the end of the client's secret.
fn near_the_end() -> Scenario {
    let mut s = logged_in();
    s.sleep(6 * DAY + HOUR);
    s
}

/// The same with an access token that outlives the secret.
fn near_the_end_with_a_good_token() -> Scenario {
    let mut s = world();
    s.world.authorization[0].token_lifetime = 90 * DAY;
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.take_log();
    s.sleep(6 * DAY + HOUR);
    s
}

fn updates(s: &Scenario) -> usize {
    s.world.count(What::RegistrationUpdates)
}

fn client(s: &Scenario) -> mcp_auth_world::Client {
    s.world.authorization[0].clients().next().unwrap().clone()
}

/// What is stored of the client.
fn stored(s: &Scenario) -> Value {
    let record: Value = serde_json::from_slice(s.store.bytes.as_ref().unwrap()).unwrap();
    record["registrations"]["https://auth.example.com"].clone()
}

fn works(s: &mut Scenario) {
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
}

/// An answer to the next updates.
fn answers(s: &mut Scenario, effect: Effect, times: u32) {
    let path = format!("/register/{}", client(s).id);
    s.world.faults.push(Fault::new("PUT", &path, effect).times(times));
}

fn answer(s: &mut Scenario, canned: Canned) {
    answers(s, Effect::Answer(canned), 1);
}

/// Why secrets were not renewed, in order, and in how many seconds it is tried again.
fn not_renewed(s: &Scenario) -> Vec<(String, u64)> {
    let told = s.notices.iter().filter_map(|notice| match notice {
        Notice::SecretNotRenewed { why, retry_in, .. } => Some((why.clone(), retry_in.as_secs())),
        _ => None,
    });
    told.collect()
}

fn renewed(s: &Scenario) -> usize {
    s.told(|notice| matches!(notice, Notice::SecretRenewed { .. }))
}

mod a_secret_that_ends_within_a_day {
    use super::*;

    #[test]
    fn is_renewed_before_a_refresh_under_the_same_lock() {
        let mut s = near_the_end();
        let id = client(&s).id;
        s.demand(Demand::background(need("whoami")));
        s.run_until("PUT");
        assert_eq!(s.store.locked_by, Some(0));
        s.run_until("/token");
        assert_eq!(s.store.locked_by, Some(0));
        works(&mut s);
        assert_eq!(
            s.take_log(),
            [
                format!("PUT auth.example.com/register/{id} 200"),
                "POST auth.example.com/token 200".to_owned(),
                "POST mcp.example.com/mcp 200".to_owned(),
            ]
        );
        assert_eq!((s.world.registrations(), renewed(&s), s.store.locked_by), (1, 1, None));
        s.check_secrets();
    }

    #[test]
    fn is_renewed_week_after_week_without_a_person() {
        let mut s = logged_in();
        for _ in 0..120 {
            s.sleep(DAY / 2);
            works(&mut s);
        }
        assert_eq!((s.browser_opened(), s.world.registrations()), (1, 1));
        assert!((8..=10).contains(&updates(&s)), "{}", updates(&s));
        s.check_secrets();
    }

    #[test]
    fn is_renewed_before_a_login_that_is_made_anyway() {
        let mut s = near_the_end();
        let id = client(&s).id;
        s.log_in().unwrap();
        let log = s.take_log();
        let at = |what: &str| log.iter().position(|line| line.contains(what)).unwrap();
        assert!(at("PUT auth.example.com/register/") < at("browser"), "{log:?}");
        assert_eq!((s.world.registrations(), s.browser_opened(), updates(&s)), (1, 2, 1));
        assert_eq!(s.world.token_requests().last().unwrap().client_id, id);
        s.check_secrets();
    }

    #[test]
    fn is_what_an_inspection_reckons_with() {
        for (manageable, expected) in
            [(true, ClientSource::Remembered), (false, ClientSource::Registered)]
        {
            let mut s = world();
            s.world.authorization[0].registration.manageable = manageable;
            assert_eq!(s.call_tool("whoami").status(), 200);
            s.sleep(6 * DAY + HOUR);
            s.inspect().unwrap();
            let source = s.notices.iter().rev().find_map(|notice| match notice {
                Notice::Proposed(proposal) => proposal.client.clone().ok(),
                _ => None,
            });
            assert_eq!(source.map(|(source, _)| source), Some(expected));
        }
    }

    #[test]
    fn is_renewed_in_the_middle_of_a_short_life() {
        let mut s = world();
        s.world.authorization[0].registration.secret_lifetime = Some(2 * HOUR);
        assert_eq!(s.call_tool("whoami").status(), 200);
        for _ in 0..24 {
            s.sleep(HOUR / 2);
            works(&mut s);
        }
        assert_eq!((s.browser_opened(), s.world.registrations()), (1, 1));
        assert!((8..=13).contains(&updates(&s)), "{}", updates(&s));
    }

    #[test]
    fn is_sent_back_with_all_that_was_registered() {
        let mut s = near_the_end();
        works(&mut s);
        let update = s.world.log.iter().find(|e| e.request.method() == "PUT").unwrap();
        let said: Value = serde_json::from_slice(update.request.body()).unwrap();
        assert_eq!(said["x_tier"], "standard");
        assert_eq!(said["client_id"], client(&s).id);
        assert_eq!(said["token_endpoint_auth_method"], "client_secret_basic");
        assert_eq!(said.get("client_secret_expires_at"), None);
    }
}

mod while_the_token_is_good {
    use super::*;

    #[test]
    fn a_demand_starts_it_and_does_not_wait_for_it() {
        let mut s = near_the_end_with_a_good_token();
        s.restart();
        let attempt = s.demand(Demand::background(need("whoami")));
        s.run_until("PUT");
        assert!(!s.machine().is_running(attempt));
        assert!(s.machine().failure(attempt).is_none());
        assert!(matches!(s.token(), TokenState::Ready(_)));
        s.run();
        assert_eq!((updates(&s), renewed(&s), s.world.count(What::Refreshes)), (1, 1, 0));
        assert_eq!(s.store.locked_by, None);
    }

    #[test]
    fn time_starts_it_where_nobody_asks() {
        let mut s = world();
        s.world.authorization[0].token_lifetime = 90 * DAY;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.advance(6 * DAY - HOUR);
        assert_eq!(updates(&s), 0);
        s.advance(2 * HOUR);
        assert_eq!((updates(&s), renewed(&s)), (1, 1));
        s.advance(30 * DAY);
        assert_eq!(updates(&s), 6);
        assert!(matches!(s.token(), TokenState::Ready(_)));
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (0, 1));
    }

    #[test]
    fn whoever_only_looks_sends_nothing() {
        let mut s = near_the_end_with_a_good_token();
        s.restart();
        s.demanded(Demand::load()).unwrap();
        assert_eq!(s.run(), None);
        s.inspect().unwrap();
        s.sleep(DAY);
        s.handle(Event::Tick);
        s.run();
        assert_eq!(updates(&s), 0);
    }

    #[test]
    fn whoever_needs_another_token_meanwhile_gets_it_under_the_same_lock() {
        let mut s = near_the_end_with_a_good_token();
        s.restart();
        s.demand(Demand::background(need("whoami")));
        s.run_until("PUT");
        // The server refuses the token that was lent.
        let token = s.world.newest_access_token().unwrap().to_owned();
        s.world.resource.revoke(&token);
        assert_eq!(s.try_tool("whoami"), 401);
        let attempt = s.demand(Demand::background(need("whoami")));
        s.settle(attempt).unwrap();
        works(&mut s);
        let locks = s.notices().iter().filter(|line| line.contains("upkeep: PUT")).count();
        assert_eq!((locks, updates(&s), s.world.count(What::Refreshes)), (1, 1, 1));
    }

    #[test]
    fn without_a_refresh_token_there_is_nothing_to_keep_it_for() {
        let mut s = world();
        let server = &mut s.world.authorization[0];
        server.token_lifetime = 90 * DAY;
        server.refresh_tokens = mcp_auth_world::RefreshTokens::Never;
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.run(), None);
        s.sleep(6 * DAY + HOUR);
        s.restart();
        works(&mut s);
        assert_eq!(updates(&s), 0);
    }
}

mod what_the_server_answers {
    use super::*;

    #[test]
    fn takes_the_place_of_what_was_there() {
        let mut s = near_the_end();
        let old = client(&s);
        works(&mut s);
        let (new, stored) = (client(&s), stored(&s));
        assert_ne!((&new.secret, &new.registration_token), (&old.secret, &old.registration_token));
        assert_eq!(stored["client_secret"], json!(new.secret));
        assert_eq!(stored["management_token"], json!(new.registration_token));
        assert!(!s.store.text().contains(old.registration_token.as_deref().unwrap()));
        // And so the next time works too, after a restart.
        s.restart();
        s.sleep(6 * DAY + HOUR);
        works(&mut s);
        assert_eq!((updates(&s), renewed(&s)), (2, 2));
        s.check_secrets();
    }

    #[test]
    fn is_saved_before_it_is_used() {
        let mut s = near_the_end();
        s.demand(Demand::background(need("whoami")));
        s.run_until("PUT");
        s.perform("PUT");
        s.deliver("PUT");
        s.drain();
        assert_eq!(s.open(), ["save"]);
        s.perform("save");
        assert_eq!(stored(&s)["client_secret"], json!(client(&s).secret));
    }

    #[test]
    fn may_lead_elsewhere_on_the_same_server_and_to_no_other() {
        for (elsewhere, follows) in [
            ("https://auth.example.com/register/{id}?version=2", true),
            ("https://stray.example/register/{id}", false),
            ("https://auth.example.com:8443/register/{id}", false),
            ("http://auth.example.com/register/{id}", false),
        ] {
            let mut s = near_the_end();
            let elsewhere = elsewhere.replace("{id}", &client(&s).id);
            s.world.authorization[0].registration.manages_at = Some(elsewhere.clone());
            works(&mut s);
            s.sleep(6 * DAY + HOUR);
            works(&mut s);
            let last = s.world.log.iter().rfind(|e| e.request.method() == "PUT").unwrap();
            assert_eq!(last.request.uri().to_string() == elsewhere, follows, "{elsewhere}");
            assert_eq!((updates(&s), renewed(&s)), (2, 2), "{elsewhere}");
            assert_eq!(s.world.count(What::Strays), 0);
            s.check_secrets();
        }
    }

    #[test]
    fn is_not_believed_about_another_client() {
        let mut s = near_the_end();
        let before = client(&s);
        answer(
            &mut s,
            Canned::json(
                200,
                r#"{"client_id":"another","client_secret":"another-secret",
                    "client_secret_expires_at":0,"registration_access_token":"another-token"}"#,
            ),
        );
        works(&mut s);
        assert!(not_renewed(&s)[0].0.contains("another client"));
        let stored = stored(&s);
        assert_eq!(stored["client_id"], json!(before.id));
        assert_eq!(stored["client_secret"], json!(before.secret));
        assert_eq!(stored["management_token"], json!(before.registration_token));
    }

    #[test]
    fn may_leave_out_the_secret_which_is_then_the_same() {
        let mut s = near_the_end();
        let id = client(&s).id;
        answer(&mut s, Canned::json(200, json!({ "client_id": id }).to_string()));
        works(&mut s);
        assert_eq!(not_renewed(&s).len(), 1, "it lives no longer");
        assert_eq!(stored(&s)["client_secret"], json!(client(&s).secret));
        // Unless the server says that it does.
        let mut s = near_the_end();
        let id = client(&s).id;
        let never = json!({ "client_id": id, "client_secret_expires_at": 0 });
        answer(&mut s, Canned::json(200, never.to_string()));
        works(&mut s);
        assert_eq!((renewed(&s), &stored(&s)["secret_expires_at"]), (1, &Value::Null));
        assert_eq!(stored(&s)["client_secret"], json!(client(&s).secret));
        s.sleep(10 * HOUR);
        works(&mut s);
        assert_eq!(updates(&s), 1);
    }

    #[test]
    fn that_a_secret_lives_no_longer_is_tried_again_later() {
        let mut s = near_the_end();
        s.world.authorization[0].registration.renews_secrets = false;
        for _ in 0..3 {
            works(&mut s);
            s.sleep(600);
        }
        assert_eq!((updates(&s), renewed(&s)), (1, 0));
        assert!(not_renewed(&s)[0].0.contains("no longer"));
        // Though what the server has rotated was taken over.
        s.sleep(HOUR);
        s.world.authorization[0].registration.renews_secrets = true;
        works(&mut s);
        assert_eq!((updates(&s), renewed(&s)), (2, 1));
    }

    #[test]
    fn that_ends_a_good_secret_in_the_past_is_not_believed_and_makes_no_storm() {
        for end in [1, 1_700_000_000] {
            let mut s = near_the_end();
            let before = stored(&s);
            let same = json!({
                "client_id": before["client_id"], "client_secret": client(&s).secret,
                "client_secret_expires_at": end,
            });
            answer(&mut s, Canned::json(200, same.to_string()));
            works(&mut s);
            works(&mut s);
            assert_eq!((updates(&s), renewed(&s)), (1, 0));
            assert_eq!(stored(&s)["secret_expires_at"], before["secret_expires_at"]);
        }
    }

    #[test]
    fn that_ends_each_new_secret_at_once_makes_no_storm() {
        let mut s = world();
        s.world.authorization[0].registration.secret_lifetime = Some(1);
        assert_eq!(s.call_tool("whoami").status(), 200);
        for _ in 0..60 {
            s.advance(10);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        }
        assert!((1..=10).contains(&renewed(&s)), "{} in ten minutes", renewed(&s));
    }

    #[test]
    fn that_cannot_be_read_changes_nothing() {
        let page = Canned::new(200, "<html>log in</html>").header("content-type", "text/html");
        let huge = Canned::json(200, format!(r#"{{"client_id":"{}"}}"#, "x".repeat(100_000)));
        for canned in [page, huge, Canned::new(204, ""), Canned::json(200, "[]")] {
            let mut s = near_the_end();
            let before = client(&s);
            answer(&mut s, canned);
            works(&mut s);
            assert_eq!((not_renewed(&s).len(), updates(&s)), (1, 1));
            assert_eq!(stored(&s)["client_secret"], json!(before.secret));
            assert_eq!(stored(&s)["management_token"], json!(before.registration_token));
        }
    }

    #[test]
    fn shows_no_secret_that_the_server_was_shown() {
        for status in [400, 401, 503] {
            let mut s = near_the_end();
            let known = client(&s);
            let (secret, token) = (known.secret.unwrap(), known.registration_token.unwrap());
            let why = format!("not with {secret} of Bearer {token}");
            let said = match status {
                401 => json!([{ "message": why }]),
                _ => json!({ "error": "invalid_client_metadata", "error_description": why }),
            };
            answer(&mut s, Canned::json(status, said.to_string()));
            works(&mut s);
            assert_eq!(not_renewed(&s).len(), 1);
            s.check_secrets();
        }
    }
}

mod what_is_registered {
    use super::*;

    /// A record that doesn't say, as an imported login's.
    fn unknown() -> Scenario {
        let mut s = near_the_end();
        let mut record: Value = serde_json::from_slice(s.store.bytes.as_ref().unwrap()).unwrap();
        let client = &mut record["registrations"]["https://auth.example.com"];
        client.as_object_mut().unwrap().remove("metadata").unwrap();
        s.store.overwrite(&record.to_string());
        s.restart();
        s
    }

    #[test]
    fn is_asked_for_first_where_nobody_knows_it() {
        for login in [false, true] {
            let mut s = unknown();
            let id = client(&s).id;
            if login {
                s.log_in().unwrap();
            } else {
                works(&mut s);
            }
            let log = s.take_log();
            let managed: Vec<_> = log.iter().filter(|line| line.contains(&id)).collect();
            let place = format!("auth.example.com/register/{id} 200");
            assert_eq!(managed, [&format!("GET {place}"), &format!("PUT {place}")]);
            assert_eq!((renewed(&s), s.world.registrations(), s.store.locked_by), (1, 1, None));
            s.check_secrets();
        }
    }

    #[test]
    fn that_cannot_be_had_is_asked_for_again_later() {
        let huge = |id: &str| json!({ "client_id": id, "client_name": "x".repeat(20_000) });
        for large in [true, false] {
            let mut s = unknown();
            let id = client(&s).id;
            let canned = match large {
                true => Canned::json(200, huge(&id).to_string()),
                false => Canned::new(503, ""),
            };
            let fault = Fault::answer("GET", &format!("/register/{id}"), canned);
            s.world.faults.push(fault.times(u32::MAX));
            for _ in 0..3 {
                works(&mut s);
                s.sleep(600);
            }
            assert_eq!((s.asked_for(Purpose::Upkeep), not_renewed(&s).len()), (1, 1), "{large}");
            s.world.faults.clear();
            s.sleep(HOUR);
            works(&mut s);
            assert_eq!((renewed(&s), s.browser_opened()), (1, 1), "{large}");
        }
    }
}

mod a_renewal_that_fails {
    use super::*;

    #[test]
    fn costs_nothing_while_the_secret_lives_and_is_tried_again_after_a_pause() {
        let mut s = near_the_end();
        answer(&mut s, Canned::new(503, ""));
        let tokens = s.machine().status().unwrap().generation;
        works(&mut s);
        assert_eq!(not_renewed(&s), [("HTTP 503".to_owned(), HOUR)]);
        assert_ne!(s.machine().status().unwrap().generation, tokens, "refreshed all the same");
        for restarted in [false, true, true] {
            if restarted {
                s.restart();
            }
            s.sleep(1000);
            works(&mut s);
            assert_eq!(updates(&s), 1);
        }
        s.sleep(700);
        works(&mut s);
        assert_eq!((updates(&s), renewed(&s), s.browser_opened()), (2, 1, 1));
    }

    #[test]
    fn is_tried_again_when_the_server_says_so() {
        let mut s = near_the_end();
        answer(&mut s, Canned::new(429, "").header("retry-after", "7200"));
        works(&mut s);
        assert_eq!(not_renewed(&s)[0].1, 7200);
        s.sleep(2 * HOUR - 60);
        works(&mut s);
        assert_eq!(updates(&s), 1);
        s.advance(60);
        assert_eq!((updates(&s), renewed(&s)), (2, 1));
    }

    #[test]
    fn is_tried_again_by_time_alone() {
        let mut s = near_the_end_with_a_good_token();
        answers(&mut s, Effect::Fails(NetworkError::Unreachable), 3);
        s.restart();
        works(&mut s);
        s.advance(4 * HOUR);
        assert_eq!((updates(&s), renewed(&s)), (4, 1));
    }

    #[test]
    fn for_good_is_no_storm_and_ends_in_a_new_client() {
        let mut s = near_the_end();
        let gone = Canned::json(401, r#"{"error":"invalid_token"}"#);
        answers(&mut s, Effect::Answer(gone), u32::MAX);
        for _ in 0..135 {
            works(&mut s);
            s.sleep(600);
        }
        assert!((22..40).contains(&updates(&s)), "{}", updates(&s));
        s.sleep(HOUR);
        let answer = s.call_tool_in_background("whoami");
        assert_fails!(answer, ErrorKind::LoginRequired { reason, .. } if reason.contains("secret"));
        assert_eq!((s.world.registrations(), s.browser_opened()), (1, 1));
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.world.registrations(), s.browser_opened()), (2, 2));
        s.sleep(2 * HOUR);
        works(&mut s);
        s.check_secrets();
    }

    #[test]
    fn may_work_after_the_end_of_the_secret() {
        let mut s = logged_in();
        s.sleep(10 * DAY);
        assert_eq!(state(&mut s), SessionState::Authorized);
        works(&mut s);
        assert_eq!((updates(&s), s.world.registrations(), s.browser_opened()), (1, 1, 1));
        // If not, a person is asked, and the server isn't for each who comes.
        s.sleep(10 * DAY);
        answers(&mut s, Effect::Answer(Canned::new(500, "")), u32::MAX);
        for _ in 0..5 {
            let answer = s.call_tool_in_background("whoami");
            assert_fails!(answer, ErrorKind::LoginRequired { .. });
            assert_eq!(state(&mut s), SessionState::LoginRequired);
        }
        assert_eq!(updates(&s), 2);
    }

    fn state(s: &mut Scenario) -> SessionState {
        let now = s.now();
        s.machine().state(now)
    }

    #[test]
    fn before_a_login_leads_to_a_new_client_at_once() {
        let mut s = near_the_end();
        answers(&mut s, Effect::Answer(Canned::new(503, "")), 1);
        s.log_in().unwrap();
        assert_eq!((updates(&s), s.world.registrations(), s.browser_opened()), (1, 2, 2));
        s.sleep(2 * DAY);
        works(&mut s);
    }

    #[test]
    fn before_a_login_where_nobody_can_register_costs_nothing_while_the_secret_lives() {
        let mut s = near_the_end();
        answers(&mut s, Effect::Answer(Canned::new(503, "")), 1);
        s.world.authorization[0]
            .metadata_changes
            .insert("registration_endpoint".into(), Value::Null);
        s.log_in().unwrap();
        assert_eq!((s.world.registrations(), s.browser_opened()), (1, 2));
        // And once it has ended, the renewal is the only way.
        s.sleep(10 * DAY);
        s.log_in().unwrap();
        assert_eq!((s.world.registrations(), updates(&s)), (1, 2));
    }

    #[test]
    fn was_not_sent_where_its_answer_could_not_be_saved() {
        let mut s = near_the_end();
        s.store.fail_saves(true);
        works(&mut s);
        s.store.fail_saves(false);
        s.advance(300);
        assert_eq!(updates(&s), 0);
        s.sleep(HOUR);
        works(&mut s);
        assert_eq!((updates(&s), renewed(&s)), (1, 1));
    }

    #[test]
    fn was_not_sent_where_the_store_could_not_be_locked() {
        for required in [true, false] {
            let mut s = near_the_end_with_a_good_token();
            s.restart();
            s.demanded(Demand::load()).unwrap();
            let fail = |s: &mut Scenario, fail: bool| match required {
                true => s.store.require(fail),
                false => s.store.fail_loads(fail),
            };
            fail(&mut s, true);
            for _ in 0..20 {
                s.demand(Demand::background(need("whoami")));
                s.run();
                s.sleep(1);
            }
            assert_eq!(updates(&s), 0);
            fail(&mut s, false);
            s.advance(120);
            assert_eq!((updates(&s), renewed(&s)), (1, 1));
        }
    }

    #[test]
    fn is_not_tried_more_often_because_a_clock_is_set() {
        let mut s = near_the_end();
        answers(&mut s, Effect::Answer(Canned::new(503, "")), u32::MAX);
        works(&mut s);
        for turn in 0..20_i64 {
            s.set_own_clock(if turn % 2 == 0 { -(DAY as i64) } else { DAY as i64 });
            let _ = s.obtain(&Need::default(), Demand::background);
            s.sleep(5);
        }
        assert!(updates(&s) <= 4, "{}", updates(&s));
    }
}

mod a_program {
    use super::*;

    #[test]
    fn finds_what_another_one_has_renewed() {
        let mut s = near_the_end();
        s.switch_to(1);
        works(&mut s);
        s.switch_to(0);
        works(&mut s);
        s.sleep(4000);
        works(&mut s);
        assert_eq!((updates(&s), renewed(&s), s.browser_opened()), (1, 1, 1));
        assert!(!s.world.reuse_seen());
    }

    #[test]
    fn that_logs_in_finds_it_too() {
        let mut s = near_the_end();
        s.switch_to(1);
        works(&mut s);
        s.switch_to(0);
        s.log_in().unwrap();
        assert_eq!((updates(&s), s.world.registrations(), s.browser_opened()), (1, 1, 2));
    }

    #[test]
    fn that_waits_for_the_lock_meanwhile_sends_no_other() {
        let mut s = near_the_end_with_a_good_token();
        s.restart();
        s.demand(Demand::background(need("whoami")));
        s.run_until("PUT");
        s.switch_to(1);
        s.demand(Demand::background(need("whoami")));
        s.run_but("lock");
        s.switch_to(0).run();
        s.switch_to(1).run();
        assert_eq!((updates(&s), renewed(&s)), (1, 1));
    }

    #[test]
    fn whose_save_is_tried_again_keeps_what_another_one_has_renewed() {
        let mut s = near_the_end_with_a_good_token();
        s.restart();
        s.store.fail_saves(true);
        s.demand(Demand::background(need("whoami")));
        s.run();
        assert!(!s.machine().status().unwrap().saved);
        s.store.fail_saves(false);
        s.switch_to(1);
        works(&mut s);
        s.run();
        assert_eq!((updates(&s), renewed(&s)), (1, 1));
        s.switch_to(0).advance(300);
        assert!(s.machine().status().unwrap().saved);
        assert_eq!(stored(&s)["client_secret"], json!(client(&s).secret));
        assert_eq!(updates(&s), 1);
    }

    #[test]
    fn that_crashes_with_the_answer_does_not_try_again_at_once() {
        for keeps_old_secrets in [true, false] {
            let mut s = near_the_end();
            s.world.authorization[0].registration.keeps_old_secrets = keeps_old_secrets;
            s.demand(Demand::background(need("whoami")));
            s.run_until("PUT");
            s.perform("PUT");
            s.restart();
            if keeps_old_secrets {
                // The token to manage it with is spent, and nobody has the new one.
                for _ in 0..8 {
                    works(&mut s);
                    s.sleep(1000);
                }
                assert_eq!((updates(&s), not_renewed(&s).len()), (2, 1));
                s.sleep(DAY);
            }
            let answer = s.call_tool_in_background("whoami");
            assert_fails!(answer, ErrorKind::LoginRequired { .. });
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!((s.world.registrations(), s.browser_opened()), (2, 2));
        }
    }

    #[test]
    fn that_nobody_waits_for_any_more_still_saves_the_answer() {
        let mut s = near_the_end();
        let attempt = s.demand(Demand::background(need("whoami")));
        s.run_until("PUT");
        s.handle(Event::Cancel(attempt));
        s.run();
        assert_eq!((renewed(&s), s.world.count(What::Refreshes)), (1, 0));
        assert_eq!(
            (stored(&s)["client_secret"].clone(), s.store.locked_by),
            (json!(client(&s).secret), None)
        );
        works(&mut s);
    }

    #[test]
    fn whose_login_is_cancelled_meanwhile_still_saves_the_answer() {
        let mut s = near_the_end();
        let attempt = s.demand(Demand::interactive(Need::default()).fresh());
        s.run_until("PUT");
        s.handle(Event::Cancel(attempt));
        s.run();
        assert_eq!((renewed(&s), s.browser_opened(), s.store.locked_by), (1, 1, None));
        works(&mut s);
    }

    #[test]
    fn that_is_logged_out_meanwhile_ends_the_client_with_the_new_token() {
        let mut s = near_the_end();
        s.demand(Demand::background(need("whoami")));
        s.run_until("PUT");
        let attempt = s.begin_logout();
        let report = s.finish_logout(attempt);
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(s.world.authorization[0].clients().count(), 0);
        assert_eq!((s.store.bytes.as_deref(), s.store.locked_by), (None, None));
        s.check_secrets();
    }

    #[test]
    fn that_forgets_meanwhile_has_forgotten() {
        let mut s = near_the_end();
        s.demand(Demand::background(need("whoami")));
        s.run_until("PUT");
        s.handle(Event::Forget);
        s.run();
        assert_eq!((s.store.bytes.as_deref(), s.store.locked_by), (None, None));
    }

    #[test]
    fn whose_person_is_in_the_browser_meanwhile_pays_with_the_new_secret() {
        let mut s = logged_in();
        s.sleep(6 * DAY - 10);
        let attempt = s.demand(Demand::interactive(Need::default()).fresh());
        s.run_until("redirect");
        assert_eq!(updates(&s), 0);
        s.sleep(20);
        s.demand(Demand::background(need("whoami")));
        s.run_but("redirect");
        assert_eq!((updates(&s), renewed(&s)), (1, 1));
        s.settle(attempt).unwrap();
        assert_eq!((s.world.registrations(), s.browser_opened()), (1, 2));
        // What the login has saved is not what it knew when it began.
        assert_eq!(stored(&s)["client_secret"], json!(client(&s).secret));
        s.sleep(4000);
        works(&mut s);
    }

    #[test]
    fn whose_host_falls_silent_goes_on() {
        let mut s = near_the_end();
        let attempt = s.demand(Demand::interactive(Need::default()).fresh());
        s.run_until("PUT");
        s.lose("PUT");
        assert!(s.settle(attempt).is_ok());
        assert_eq!((s.world.registrations(), s.store.locked_by), (2, None));
    }

    #[test]
    fn in_an_outage_of_the_token_endpoint_does_not_keep_a_login_waiting() {
        let mut s = near_the_end_with_a_good_token();
        s.world.authorization[0].registration.keeps_old_secrets = true;
        answers(&mut s, Effect::Answer(Canned::new(503, "")), 1);
        let token = s.world.newest_access_token().unwrap().to_owned();
        s.world.resource.revoke(&token);
        s.world.faults.push(Fault::answer("POST", "/token", Canned::new(503, "")).times(9));
        assert_eq!(s.try_tool("whoami"), 401);
        let renewal = s.demand(Demand::background(need("whoami")));
        for _ in 0..4 {
            s.run();
            s.wait();
        }
        s.run();
        assert!(s.machine().is_running(renewal), "it waits for its next try");
        let before = s.now().mono;
        let login = s.demand(Demand::interactive(Need::default()).fresh());
        s.run_until("browse");
        assert_eq!(s.now().mono, before);
        assert_eq!((updates(&s), renewed(&s)), (2, 1));
        s.world.faults.clear();
        s.settle(login).unwrap();
        s.settle(renewal).unwrap();
        assert_eq!(s.world.registrations(), 1);
    }
}

mod a_client_whose_browser_never_came_back {
    use super::*;

    /// The person never comes back; the registration can be read.
    fn suspected() -> Scenario {
        let mut s = Scenario::new();
        s.world.authorization[0].registration.manageable = true;
        s.eavesdrop();
        assert_eq!(s.call_tool("whoami").status(), 200);
        nobody_comes(&mut s);
        s
    }

    fn nobody_comes(s: &mut Scenario) {
        s.person = Person::Ignores;
        assert!(matches!(s.log_in().unwrap_err().kind(), ErrorKind::NobodyCame { .. }));
        s.person = Person::Approves;
        s.take_log();
    }

    fn reads(s: &Scenario) -> usize {
        s.asked_for(Purpose::Upkeep)
    }

    #[test]
    fn is_kept_where_the_server_still_knows_it() {
        for restarted in [false, true] {
            let mut s = suspected();
            if restarted {
                s.restart();
            }
            s.log_in().unwrap();
            assert_eq!((reads(&s), s.world.registrations()), (1, 1));
            assert_eq!(s.told(|notice| matches!(notice, Notice::ClientConfirmed { .. })), 1);
            assert!(
                s.take_log().iter().any(|line| line.starts_with("GET auth.example.com/register/"))
            );
            // That was it.
            s.log_in().unwrap();
            assert_eq!((reads(&s), s.world.registrations()), (1, 1));
            s.check_secrets();
        }
    }

    #[test]
    fn twice_is_replaced_though_the_server_knows_it() {
        let mut s = suspected();
        nobody_comes(&mut s);
        assert_eq!((reads(&s), s.world.registrations()), (1, 1));
        s.log_in().unwrap();
        assert_eq!((reads(&s), s.world.registrations()), (1, 2));
    }

    #[test]
    fn is_replaced_at_once_where_the_server_does_not_know_it_or_will_not_say() {
        for status in [401, 403, 404, 410, 500, 204] {
            let mut s = suspected();
            let path = format!("/register/{}", client(&s).id);
            s.world.faults.push(Fault::answer("GET", &path, Canned::new(status, "")));
            let before = s.now().mono;
            s.log_in().unwrap();
            assert_eq!((reads(&s), s.world.registrations()), (1, 2), "{status}");
            assert_eq!(s.now().mono, before, "{status}");
            assert_eq!(s.store.locked_by, None);
        }
        // And where it has really forgotten it.
        let mut s = suspected();
        s.world.authorization[0].forget_clients();
        s.log_in().unwrap();
        assert_eq!((reads(&s), s.world.registrations()), (1, 2));
        s.check_secrets();
    }

    #[test]
    fn is_replaced_where_it_may_no_longer_come_back_to_us() {
        for (uris, registrations) in [
            (json!(["https://elsewhere.example/callback"]), 2),
            (json!(["http://127.0.0.1/callback"]), 1),
            (json!(["http://127.0.0.1:1/other"]), 2),
        ] {
            let mut s = suspected();
            let id = client(&s).id;
            let said = json!({ "client_id": id, "redirect_uris": uris });
            let canned = Canned::json(200, said.to_string());
            s.world.faults.push(Fault::answer("GET", &format!("/register/{id}"), canned));
            s.log_in().unwrap();
            assert_eq!((reads(&s), s.world.registrations()), (1, registrations), "{said}");
        }
    }

    #[test]
    fn is_replaced_where_a_person_wishes_it_whatever_the_server_knows() {
        for mut s in [suspected(), near_the_end()] {
            let new_client = Demand::interactive(Need::default()).fresh().with_new_client();
            s.demanded(new_client).unwrap();
            assert_eq!((s.world.registrations(), updates(&s) < 2), (2, true));
        }
    }

    #[test]
    fn may_also_be_one_that_was_of_no_use_for_a_month() {
        for known in [true, false] {
            let mut s = Scenario::new();
            s.world.authorization[0].registration.manageable = true;
            s.world.authorization[0].refresh_lifetime = Some(DAY);
            assert_eq!(s.call_tool("whoami").status(), 200);
            if !known {
                s.world.authorization[0].forget_clients();
            }
            s.sleep(40 * DAY);
            s.log_in().unwrap();
            assert_eq!((reads(&s), s.world.registrations()), (1, if known { 1 } else { 2 }));
        }
    }

    #[test]
    fn is_not_asked_for_where_nothing_was_given_to_ask_with() {
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        nobody_comes(&mut s);
        s.log_in().unwrap();
        assert_eq!((reads(&s), s.world.registrations()), (0, 2));
    }
}
