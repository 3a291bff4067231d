//! Logging out: what is ended at the servers, in which order, and what happens when a part fails.

use mcp_auth::{Demand, Ending, ErrorKind, Event, Logout, Notice, TokenState};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{
    Canned, ClientAuthentication, Fault, NetworkError, What, World, assert_fails,
};
use serde_json::json;

/// A login at a server that lets clients end everything.
fn logged_in() -> Scenario {
    let mut s = Scenario::new();
    s.world.authorization[0].registration.manageable = true;
    login(&mut s);
    s
}

fn login(s: &mut Scenario) {
    s.eavesdrop();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.take_log();
}

/// Refresh token, access token, registration, record.
fn parts(report: &Logout) -> [&'static str; 4] {
    let name = |ending: &Ending| match ending {
        Ending::NoneKnown => "none known",
        Ending::Kept => "kept",
        Ending::Ended => "ended",
        Ending::NotOffered => "not offered",
        Ending::Failed(_) => "failed",
        _ => "?",
    };
    let erased = if report.erased.is_ok() { "erased" } else { "still there" };
    [name(&report.refresh_token), name(&report.access_token), name(&report.registration), erased]
}

const ALL: [&str; 4] = ["ended", "ended", "ended", "erased"];

/// The hints of the revocations, in order, and how the tokens were named.
fn revoked(s: &Scenario) -> Vec<(String, String)> {
    let sent = s.world.log.iter().filter(|exchange| exchange.path == "/revoke");
    let field = |body: &[u8], name: &str| {
        let mut pairs = url::form_urlencoded::parse(body);
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap()
    };
    sent.map(|exchange| {
        let body = exchange.request.body();
        (field(body, "token_type_hint"), field(body, "token"))
    })
    .collect()
}

/// Nothing is lent, nothing is stored, nobody holds the lock, and no secret got out.
#[track_caller]
fn assert_gone(s: &mut Scenario) {
    assert!(!matches!(s.token(), TokenState::Ready(_)));
    assert_eq!((s.store.bytes.clone(), s.store.locked_by), (None, None));
    assert_eq!(s.machine().status(), None);
    s.check_secrets();
}

mod at_the_servers {
    use super::*;

    #[test]
    fn ends_refresh_token_access_token_and_registration_in_this_order() {
        let mut s = logged_in();
        let refresh = s.world.newest_refresh_token().unwrap().to_owned();
        let access = s.world.newest_access_token().unwrap().to_owned();
        let client = s.machine().status().unwrap().client_id;
        let report = s.log_out();
        assert_eq!(parts(&report), ALL);
        assert!(report.is_complete());
        let log = s.take_log();
        assert_eq!(log[..2], ["POST auth.example.com/revoke 200"; 2]);
        assert!(log[2].starts_with("DELETE auth.example.com/register/"), "{log:?}");
        assert_eq!(log.len(), 3);
        let expected = [("refresh_token", refresh), ("access_token", access.clone())];
        assert_eq!(revoked(&s), expected.map(|(hint, token)| (hint.to_owned(), token)));
        assert!(s.world.authorization[0].access_token(&access).is_none());
        assert!(s.world.authorization[0].client(&client).is_none());
        assert_eq!(s.told(|notice| matches!(notice, Notice::Ended { .. })), 3);
        assert_eq!(s.told(|notice| matches!(notice, Notice::LoggedOut { erased: true })), 1);
        assert_gone(&mut s);
    }

    #[test]
    fn needs_no_request_but_these_after_a_restart() {
        let mut s = logged_in();
        s.restart();
        assert_eq!(parts(&s.log_out()), ALL);
        assert_eq!(s.take_log().len(), 3);
        assert_gone(&mut s);
    }

    #[test]
    fn proves_the_client_as_at_the_token_endpoint() {
        for method in ClientAuthentication::ALL {
            let mut s = Scenario::new();
            s.world.authorization[0].registration.assigns = Some(method);
            login(&mut s);
            let parts = parts(&s.log_out());
            assert_eq!(parts, ["ended", "ended", "not offered", "erased"], "{method:?}");
            assert_gone(&mut s);
        }
        let mut s = Scenario::new();
        s.world.authorization[0].preregister("by-hand", Some("by-hand-secret"));
        s.config.client_id = Some("by-hand".to_owned());
        s.config.client_secret = Some("by-hand-secret".into());
        s.config.client_issuer = Some("https://auth.example.com".to_owned());
        login(&mut s);
        assert_eq!(parts(&s.log_out()), ["ended", "ended", "none known", "erased"]);
        assert_gone(&mut s);
    }

    #[test]
    fn works_for_a_client_that_the_settings_no_longer_name_if_it_has_no_secret() {
        for (secret, told) in [(None, "ended"), (Some("by-hand-secret"), "failed")] {
            let mut s = Scenario::new();
            s.world.authorization[0].preregister("by-hand", secret);
            s.config.client_id = Some("by-hand".to_owned());
            s.config.client_secret = secret.map(Into::into);
            s.config.client_issuer = Some("https://auth.example.com".to_owned());
            login(&mut s);
            s.config = mcp_auth::Config::default();
            s.restart();
            assert_eq!(parts(&s.log_out()), [told, told, "none known", "erased"]);
            assert_gone(&mut s);
        }
    }

    #[test]
    fn keeps_the_registration_where_the_settings_say_so() {
        let mut s = logged_in();
        let client = s.machine().status().unwrap().client_id;
        s.config.delete_registration = false;
        s.restart();
        assert_eq!(parts(&s.log_out()), ["ended", "ended", "kept", "erased"]);
        assert!(s.world.authorization[0].client(&client).is_some());
        assert_gone(&mut s);
    }

    #[test]
    fn sends_nothing_where_nothing_is_offered_or_known() {
        let mut s = Scenario::new();
        s.world.authorization[0].revocation = false;
        login(&mut s);
        let report = s.log_out();
        assert_eq!(parts(&report), ["not offered", "not offered", "not offered", "erased"]);
        assert!(report.is_complete());
        assert_eq!(s.take_log().len(), 0);
        assert_gone(&mut s);

        let report = s.log_out();
        assert_eq!(parts(&report), ["none known", "none known", "none known", "erased"]);
        assert_eq!(s.take_log().len(), 0);
    }

    #[test]
    fn sends_no_token_to_an_endpoint_that_is_not_to_be_trusted() {
        for endpoint in ["http://auth.example.com/revoke", "https://u:p@auth.example.com/revoke"] {
            let mut s = Scenario::new();
            let changes = &mut s.world.authorization[0].metadata_changes;
            changes.insert("revocation_endpoint".to_owned(), json!(endpoint));
            login(&mut s);
            assert_eq!(parts(&s.log_out())[..2], ["not offered"; 2]);
            assert_eq!(s.take_log().len(), 0);
            // Nor if somebody puts one into the record.
            let mut s = logged_in();
            let text = s.store.text().replace("https://auth.example.com/revoke", endpoint);
            s.store.overwrite(&text);
            s.restart();
            assert_eq!(parts(&s.log_out()), ["not offered", "not offered", "ended", "erased"]);
            assert_gone(&mut s);
        }
    }

    #[test]
    fn sends_the_tokens_of_one_issuer_to_no_other() {
        let issuers = ["https://auth.example.com", "https://other.example.com"];
        let mut s = Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &issuers));
        login(&mut s);
        // The server has moved. A login there was begun: of the old issuer only the tokens are left.
        s.world.migrate_to(1);
        s.demand(Demand::interactive(need("whoami")).fresh());
        s.run_until("browse");
        s.restart();
        s.take_log();
        assert_eq!(parts(&s.log_out())[..2], ["not offered"; 2]);
        assert_eq!(s.take_log().len(), 0);
        assert_gone(&mut s);
    }

    #[test]
    fn knows_from_the_store_what_a_later_discovery_has_replaced_in_memory() {
        let issuers = ["https://auth.example.com", "https://other.example.com"];
        let mut s = Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &issuers));
        login(&mut s);
        s.world.migrate_to(1);
        s.inspect().unwrap();
        assert_eq!(s.machine().discovery().unwrap().issuer, issuers[1]);
        s.take_log();
        assert_eq!(parts(&s.log_out())[..2], ["ended"; 2]);
        assert_eq!(s.take_log(), ["POST auth.example.com/revoke 200"; 2]);
        assert_gone(&mut s);
    }

    #[test]
    fn deletes_each_client_that_was_registered_where_it_was() {
        let issuers = ["https://auth.example.com", "https://other.example.com"];
        let mut s = Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &issuers));
        for server in &mut s.world.authorization {
            server.registration.manageable = true;
        }
        login(&mut s);
        s.world.migrate_to(1);
        s.log_in().unwrap();
        s.take_log();
        assert_eq!(parts(&s.log_out()), ALL);
        let log = s.take_log();
        assert_eq!(log.iter().filter(|line| line.starts_with("DELETE")).count(), 2, "{log:?}");
        for server in &s.world.authorization {
            assert_eq!(server.clients().count(), 0);
        }
        assert_gone(&mut s);
    }
}

mod a_part_that_fails {
    use super::*;

    /// The first answer of each path in turn goes wrong.
    fn faults() -> Vec<Fault> {
        let refused = || Canned::json(400, r#"{"error":"invalid_request"}"#);
        let all = |fault: fn(&str, &str) -> Fault| {
            [("POST", "/revoke"), ("DELETE", "*")].map(|(m, p)| fault(m, p))
        };
        let mut faults = Vec::new();
        faults.extend(all(|m, p| Fault::answer(m, p, Canned::new(503, "busy"))));
        faults.extend(all(|m, p| Fault::answer(m, p, Canned::new(200, "<html>log in</html>"))));
        faults.extend(all(|m, p| {
            Fault::answer(m, p, Canned::redirect(302, "https://stray.example/"))
        }));
        faults.extend(all(|m, p| Fault::fails(m, p, NetworkError::Reset)));
        faults.push(Fault::answer("POST", "/revoke", refused()));
        faults.push(Fault::answer("POST", "/revoke", refused()).after(1));
        faults.push(Fault::answer("DELETE", "*", refused()));
        faults.push(Fault::answer("POST", "/revoke", Canned::new(404, "")));
        faults
    }

    #[test]
    fn does_not_stop_the_others_and_is_reported() {
        for fault in faults() {
            let mut s = logged_in();
            let broken = match (fault.method.as_str(), fault.after) {
                ("DELETE", _) => 2,
                (_, after) => after as usize,
            };
            s.world.faults.push(fault.clone());
            let report = s.log_out();
            let mut expected = ALL;
            expected[broken] = "failed";
            assert_eq!(parts(&report), expected, "{fault:?}");
            assert!(!report.is_complete());
            assert_eq!(s.take_log().len(), 3, "{fault:?}");
            let Ending::Failed(error) =
                [&report.refresh_token, &report.access_token, &report.registration][broken]
            else {
                panic!("{fault:?}")
            };
            assert_fails!(error, ErrorKind::NotEnded { url, .. } if url.contains("auth.example.com"));
            assert!(s.notices().iter().any(|notice| notice.contains("not ended")));
            assert!(s.world.leaks().is_empty());
            assert_gone(&mut s);
        }
    }

    #[test]
    fn and_another_that_fails_do_not_either() {
        let mut s = logged_in();
        s.world.faults.push(Fault::answer("*", "*", Canned::new(500, "")).times(3));
        assert_eq!(parts(&s.log_out()), ["failed", "failed", "failed", "erased"]);
        assert_eq!(s.take_log().len(), 3);
        assert_gone(&mut s);
    }

    #[test]
    fn for_a_token_type_that_the_server_does_not_end_is_no_failure() {
        let mut s = logged_in();
        let unsupported = Canned::json(400, r#"{"error":"unsupported_token_type"}"#);
        s.world.faults.push(Fault::answer("POST", "/revoke", unsupported).after(1));
        let report = s.log_out();
        assert_eq!(parts(&report), ["ended", "not offered", "ended", "erased"]);
        assert!(report.is_complete());
    }

    #[test]
    fn because_nobody_can_be_reached_is_waited_for_once() {
        for error in [NetworkError::Unreachable, NetworkError::TimedOut] {
            let mut s = logged_in();
            s.world.faults.push(Fault::fails("*", "*", error).times(9));
            assert_eq!(parts(&s.log_out()), ["failed", "failed", "failed", "erased"]);
            assert_eq!(s.take_log().len(), 1);
            assert_gone(&mut s);
        }
    }

    #[test]
    fn because_the_host_never_answers_has_a_deadline() {
        let mut s = logged_in();
        let before = s.now().mono;
        let attempt = s.begin_logout();
        s.run_until("/revoke");
        s.lose("/revoke");
        assert_eq!(parts(&s.finish_logout(attempt)), ["failed", "failed", "failed", "erased"]);
        assert!(before.until(s.now().mono).as_secs() <= 15);
        assert_gone(&mut s);
    }

    #[test]
    fn is_told_without_the_token_that_the_server_quotes() {
        let mut s = logged_in();
        let token = s.world.newest_refresh_token().unwrap().to_owned();
        let quoting =
            json!({ "error": "invalid_request", "error_description": format!("no {token}") });
        s.world.faults.push(Fault::answer(
            "POST",
            "/revoke",
            Canned::json(400, quoting.to_string()),
        ));
        let report = s.log_out();
        let Ending::Failed(error) = &report.refresh_token else { panic!("{report:?}") };
        assert!(error.to_string().contains("no …"), "{error}");
        assert!(!format!("{report:?} {error} {}", error.advice()).contains(&token));
        assert_gone(&mut s);
    }
}

mod the_store {
    use super::*;

    #[test]
    fn that_cannot_be_erased_is_reported_and_tried_again() {
        let mut s = logged_in();
        s.store.fail_saves(true);
        let attempt = s.begin_logout();
        let report = s.finish_logout(attempt);
        assert_eq!(parts(&report), ["ended", "ended", "ended", "still there"]);
        assert_fails!(report.erased.unwrap_err(), ErrorKind::Store(_));
        assert_fails!(s.machine().failure(attempt).unwrap(), ErrorKind::Store(_));
        assert!(matches!(s.token(), TokenState::Failed(..)));
        s.store.fail_saves(false);
        s.advance(60);
        assert_gone(&mut s);
    }

    #[test]
    fn that_cannot_be_read_leaves_what_is_in_memory_to_be_ended() {
        let mut s = logged_in();
        s.store.fail_loads(true);
        assert_eq!(parts(&s.log_out()), ALL);
        assert_gone(&mut s);
        // With nothing in memory nobody can say what would have to be ended.
        let mut s = logged_in();
        s.restart();
        s.store.fail_loads(true);
        let report = s.log_out();
        assert_eq!(parts(&report), ["failed", "failed", "none known", "erased"]);
        assert!(!report.is_complete());
    }

    #[test]
    fn with_a_damaged_record_is_erased_and_nothing_is_kept_aside() {
        let mut s = logged_in();
        s.store.overwrite("{\"version\":99}");
        s.restart();
        assert_eq!(parts(&s.log_out())[3], "erased");
        assert_eq!(s.store.set_aside.len(), 0);
        assert_gone(&mut s);
    }

    #[test]
    fn that_never_got_the_newest_tokens_does_not_hide_them() {
        let mut s = logged_in();
        s.store.fail_saves(true);
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        let newest = s.world.newest_refresh_token().unwrap().to_owned();
        s.store.fail_saves(false);
        assert_eq!(parts(&s.log_out()), ALL);
        assert!(revoked(&s).iter().any(|(_, token)| *token == newest));
        assert_gone(&mut s);
    }

    #[test]
    fn is_locked_from_the_reading_to_the_erasing() {
        let mut s = logged_in();
        s.begin_logout();
        for point in ["/revoke", "/register/", "erase"] {
            s.run_until(point);
            assert_eq!(s.store.locked_by, Some(0), "{point}");
            s.perform(point);
            s.deliver(point);
        }
        s.run();
        assert_gone(&mut s);
    }
}

mod meanwhile {
    use super::*;

    #[test]
    fn nothing_is_lent_from_the_moment_of_the_event() {
        let mut s = logged_in();
        s.grant();
        let attempt = s.begin_logout();
        while s.machine().is_running(attempt) {
            assert!(!matches!(s.token(), TokenState::Ready(_)));
            assert_eq!(s.machine().status(), None);
            if !s.advance_one() {
                s.wait();
            }
        }
        s.drain();
        assert_gone(&mut s);
    }

    #[test]
    fn whoever_asks_for_a_token_waits_and_then_begins_anew() {
        let mut s = logged_in();
        let logout = s.begin_logout();
        let demand = s.demand(Demand::interactive(need("whoami")));
        assert_ne!(demand, logout);
        assert!(matches!(s.token(), TokenState::Pending(attempt) if attempt == demand));
        s.run_until("erase");
        assert_eq!(s.browser_opened(), 1);
        assert_eq!(parts(&s.finish_logout(logout)), ALL);
        s.settle(demand).unwrap();
        assert_eq!((s.browser_opened(), s.world.registrations()), (2, 2));
        s.grant();
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }

    #[test]
    fn a_second_logout_joins_the_first() {
        let mut s = logged_in();
        let first = s.begin_logout();
        s.run_until("/revoke");
        assert_eq!(s.begin_logout(), first);
        assert_eq!(parts(&s.finish_logout(first)), ALL);
        assert_eq!(s.world.count(What::Revocations), 2);
    }

    #[test]
    fn a_cancelled_logout_is_seen_through() {
        let mut s = logged_in();
        let attempt = s.begin_logout();
        s.run_until("/revoke");
        s.handle(Event::Cancel(attempt));
        assert_fails!(s.settle(attempt).unwrap_err(), ErrorKind::Cancelled);
        s.run();
        assert_eq!(s.world.count(What::Revocations), 2);
        assert_gone(&mut s);
    }

    #[test]
    fn forgetting_ends_a_logout_at_every_point() {
        for point in ["lock", "/revoke", "DELETE", "erase"] {
            let mut s = logged_in();
            let attempt = s.begin_logout();
            s.run_until(point);
            s.handle(Event::Forget);
            assert_fails!(s.settle(attempt).unwrap_err(), ErrorKind::Cancelled);
            s.run();
            assert_gone(&mut s);
        }
    }

    #[test]
    fn a_crash_at_any_point_leaves_a_login_that_can_be_ended_or_made_again() {
        let crashed_after = |steps| {
            let mut s = logged_in();
            let attempt = s.begin_logout();
            for _ in 0..steps {
                s.advance_one();
            }
            let over = !s.machine().is_running(attempt);
            s.restart();
            assert_eq!(s.store.locked_by, None);
            (s, over)
        };
        let mut steps = 0;
        loop {
            let (mut s, over) = crashed_after(steps);
            assert_eq!(parts(&s.log_out())[3], "erased", "after {steps} steps");
            assert_eq!(s.world.newest_refresh_token(), None, "after {steps} steps");
            assert_gone(&mut s);
            let (mut s, _) = crashed_after(steps);
            assert_eq!(s.call_tool("whoami").status(), 200, "after {steps} steps");
            if over {
                break;
            }
            steps += 1;
        }
        assert!(steps > 8, "{steps}");
    }
}

mod work_under_way {
    use super::*;

    fn refreshing(point: &str) -> Scenario {
        let mut s = logged_in();
        s.sleep(4000);
        s.demand(Demand::background(need("whoami")));
        s.run_until(point);
        s.take_log();
        s
    }

    #[test]
    fn a_refresh_is_seen_through_and_what_it_brought_is_ended() {
        for point in ["lock", "/token", "save"] {
            for performed in [false, true] {
                let mut s = refreshing(point);
                let refresh = s.machine().last_attempt().unwrap();
                if performed {
                    s.perform(point);
                }
                let logout = s.begin_logout();
                assert_fails!(s.settle(refresh).unwrap_err(), ErrorKind::Cancelled);
                assert_eq!(parts(&s.finish_logout(logout)), ALL, "{point} {performed}");
                assert_eq!(s.world.newest_refresh_token(), None, "{point} {performed}");
                assert!(!s.world.reuse_seen());
                let access = s.world.newest_access_token().unwrap();
                let known = &s.world.authorization[0];
                assert!(known.access_token(access).is_none(), "{point} {performed}");
                assert_gone(&mut s);
            }
        }
    }

    #[test]
    fn a_refresh_that_is_never_answered_is_waited_for_no_longer_than_ever() {
        let mut s = refreshing("/token");
        s.perform("/token");
        let before = s.now().mono;
        let logout = s.begin_logout();
        let access = s.world.newest_access_token().unwrap().to_owned();
        s.sleep(70);
        s.handle(Event::Tick);
        assert_eq!(parts(&s.finish_logout(logout)), ALL);
        assert!(before.until(s.now().mono).as_secs() < 120);
        // The family ended with the token that was sent; and the late answer brings nothing back.
        assert!(s.world.authorization[0].access_token(&access).is_none());
        s.run();
        assert_gone(&mut s);
    }

    #[test]
    fn a_login_is_ended_at_every_point_with_all_that_it_was_given() {
        let mut points = 0;
        for steps in 0.. {
            let mut s = Scenario::new();
            s.world.authorization[0].registration.manageable = true;
            s.eavesdrop();
            let login = s.demand(Demand::interactive(need("whoami")));
            let goes_on = |s: &mut Scenario| s.advance_one() && s.machine().is_running(login);
            if !(0..steps).all(|_| goes_on(&mut s)) {
                break;
            }
            points += 1;
            let point = format!("{steps}: {:?}", s.open());
            let logout = s.begin_logout();
            assert_fails!(s.settle(login).unwrap_err(), ErrorKind::Cancelled);
            let report = s.finish_logout(logout);
            assert!(report.is_complete(), "{point}: {report:?}");
            s.run();
            assert_eq!(s.world.authorization[0].clients().count(), 0, "{point}");
            assert_eq!(s.world.newest_refresh_token(), None, "{point}");
            assert_eq!(s.listening(), None);
            assert_gone(&mut s);
        }
        assert!(points > 60, "{points}");
    }

    #[test]
    fn the_last_save_of_a_login_does_not_bring_it_back() {
        let mut s = logged_in();
        s.demand(Demand::interactive(need("whoami")).fresh());
        s.run_until("/token");
        s.perform("/token");
        s.deliver("/token");
        s.run_until("save");
        s.perform("save");
        let newest = s.world.newest_refresh_token().unwrap().to_owned();
        assert_eq!(parts(&s.log_out()), ALL);
        // Both logins have ended, and no token was revoked twice.
        let tokens = revoked(&s);
        assert_eq!(tokens.len(), 4);
        assert_eq!(tokens[0], ("refresh_token".to_owned(), newest));
        assert_eq!(s.world.newest_refresh_token(), None);
        assert_gone(&mut s);
    }
}

mod several_programs {
    use super::*;

    fn two() -> Scenario {
        let mut s = logged_in();
        s.switch_to(1);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.switch_to(0);
        s
    }

    #[test]
    fn are_logged_out_together() {
        let mut s = two();
        assert_eq!(parts(&s.log_out()), ALL);
        s.switch_to(1);
        // It still holds the token, which is good for nothing.
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(s.world.count(What::Refreshes), 0);
        assert_gone(&mut s);
    }

    #[test]
    fn end_what_the_other_has_renewed() {
        let mut s = two();
        s.sleep(4000);
        s.switch_to(1);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        let newest = s.world.newest_refresh_token().unwrap().to_owned();
        s.switch_to(0);
        assert_eq!(parts(&s.log_out()), ALL);
        assert_eq!(revoked(&s)[0].1, newest);
        assert_eq!(s.world.newest_refresh_token(), None);
        assert_gone(&mut s);
    }

    #[test]
    fn wait_for_a_refresh_of_the_other_and_end_what_it_brought() {
        let mut s = two();
        s.sleep(4000);
        s.switch_to(1);
        s.demand(Demand::background(need("whoami")));
        s.run_until("/token");
        s.switch_to(0);
        let logout = s.begin_logout();
        s.run_until("lock");
        assert!(!s.perform("lock"), "the other holds it");
        s.switch_to(1).run();
        let newest = s.world.newest_refresh_token().unwrap().to_owned();
        s.switch_to(0);
        assert_eq!(parts(&s.finish_logout(logout)), ALL);
        assert_eq!(revoked(&s)[0].1, newest);
        assert!(!s.world.reuse_seen());
        s.switch_to(1);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_gone(&mut s);
    }

    #[test]
    fn do_not_renew_what_the_other_is_ending() {
        let mut s = two();
        s.sleep(4000);
        let logout = s.begin_logout();
        s.run_until("/revoke");
        s.switch_to(1);
        let renewal = s.demand(Demand::background(need("whoami")));
        s.run_until("lock");
        assert!(!s.perform("lock"), "the other holds it");
        s.switch_to(0);
        assert_eq!(parts(&s.finish_logout(logout)), ALL);
        s.switch_to(1);
        assert_fails!(s.settle(renewal).unwrap_err(), ErrorKind::LoginRequired { .. });
        assert_eq!(s.world.count(What::Refreshes), 0);
        assert_gone(&mut s);
    }

    #[test]
    fn cannot_be_kept_from_logging_out_by_one_that_hangs_with_the_lock() {
        let mut s = two();
        s.sleep(4000);
        s.switch_to(1);
        s.demand(Demand::background(need("whoami")));
        s.run_until("/token");
        s.switch_to(0);
        assert_eq!(parts(&s.log_out()), ALL);
        assert_eq!(s.store.bytes, None);
    }
}
