//! What stays between logins: refreshing in time, refusals, step-ups, several callers, logging out.

use mcp_auth::wire::scope::ScopeSet;
use mcp_auth::{Demand, ErrorKind, Event, Need, TokenState};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{
    Canned, Challenge, Fault, Mood, Person, ScopeChallenge, What, World, assert_fails,
};

fn logged_in() -> Scenario {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.take_log();
    s
}

/// The server no longer takes the access token that it issued last.
fn revoke(s: &mut Scenario) {
    let token = s.world.newest_access_token().expect("a token").to_owned();
    s.world.resource.revoke(&token);
}

mod expiry {
    use super::*;

    #[test]
    fn is_not_waited_for() {
        let mut s = logged_in();
        s.sleep(3560);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.take_log(), ["POST mcp.example.com/mcp 200"]);
        s.sleep(15);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        let renewed = ["POST auth.example.com/token 200", "POST mcp.example.com/mcp 200"];
        assert_eq!(s.take_log(), renewed);
    }

    #[test]
    fn of_short_lived_tokens_does_not_mean_a_refresh_each_time() {
        let mut s = Scenario::new();
        s.world.authorization[0].token_lifetime = 20;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(10);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), 0);
        s.sleep(9);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), 1);
    }
}

mod a_401 {
    use super::*;

    #[test]
    fn on_a_fresh_token_is_one_refresh() {
        let mut s = logged_in();
        revoke(&mut s);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(
            s.take_log(),
            [
                "POST mcp.example.com/mcp 401",
                "POST auth.example.com/token 200",
                "POST mcp.example.com/mcp 200",
            ]
        );
    }

    #[test]
    fn that_a_refresh_does_not_help_is_a_login() {
        let mut s = logged_in();
        s.world.resource.refuse_next = 3;
        assert_eq!(s.call_tool("whoami").status(), 200);
        // The second names the scopes.
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (2, 2));
    }

    #[test]
    fn that_nothing_helps_is_an_error_and_no_loop() {
        let mut s = logged_in();
        s.world.resource.mood = Mood::RefusesAll;
        assert_fails!(s.call_tool("whoami"), ErrorKind::FreshTokenRefused);
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (2, 2));
        assert_eq!(s.take_log().iter().filter(|line| line.ends_with("/mcp 401")).count(), 4);
        // The person isn't bothered again, call after call.
        for _ in 0..5 {
            let _ = s.call_tool("whoami").error();
        }
        assert_eq!(s.browser_opened(), 2);
        s.world.resource.mood = Mood::Fair;
        s.sleep(120);
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn in_the_background_needs_a_login_in_the_end() {
        let mut s = logged_in();
        s.world.resource.mood = Mood::RefusesAll;
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (2, 1));
    }

    #[test]
    fn seen_by_ten_callers_is_one_refresh() {
        let mut s = logged_in();
        let grant = s.grant();
        revoke(&mut s);
        let refusals: Vec<_> = (0..10).map(|_| s.send("whoami", Some(&grant))).collect();
        let (early, late) = refusals.split_at(5);
        for refusal in early {
            assert!(s.report("whoami", refusal, Some(&grant)));
            s.demand(Demand::background(need("whoami")));
        }
        s.run();
        // Those who were slow find that it has been done.
        for refusal in late {
            assert!(s.report("whoami", refusal, Some(&grant)));
            let TokenState::Ready(newer) = s.token() else { panic!("{:?}", s.token()) };
            assert!(newer.generation() > grant.generation());
        }
        assert_eq!(s.world.count(What::Refreshes), 1);
    }

    #[test]
    fn of_a_request_without_a_token_does_not_touch_the_token_at_hand() {
        let mut s = logged_in();
        let refusal = s.send("whoami", None);
        assert!(s.report("whoami", &refusal, None));
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), 0);
    }
}

mod a_step_up {
    use super::*;

    #[test]
    fn asks_for_what_was_had_and_what_is_needed() {
        for naming in [ScopeChallenge::NamesMissing, ScopeChallenge::NamesAll] {
            let mut s = logged_in();
            s.world.resource.scope_challenge = naming;
            assert_eq!(s.call_tool("write_note").status(), 200);
            let asked = s.authorize_param("scope").unwrap();
            for scope in ["notes:read", "notes:write", "offline_access"] {
                assert!(ScopeSet::parse(&asked).contains(scope), "{asked}");
            }
            assert_eq!((s.browser_opened(), s.world.registrations()), (2, 1));
            // The new token does for both.
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        }
    }

    #[test]
    fn is_remembered_after_a_restart_and_not_asked_for_step_by_step() {
        let mut s = logged_in();
        assert_eq!(s.call_tool("write_note").status(), 200);
        s.restart();
        assert_eq!(s.call_tool_in_background("write_note").status(), 200);
        assert_eq!(s.browser_opened(), 2);
        // The server ends the login: the next one for that operation asks for all of it at once.
        s.world.authorization[0].revoke_everything();
        s.restart();
        assert_eq!(s.call_tool("write_note").status(), 200);
        let asked = s.authorize_param("scope").unwrap();
        for scope in ["notes:read", "notes:write"] {
            assert!(ScopeSet::parse(&asked).contains(scope), "{asked}");
        }
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 3);
    }

    #[test]
    fn in_the_background_needs_a_login_and_takes_nothing_away() {
        let mut s = logged_in();
        assert_fails!(s.call_tool_in_background("write_note"), ErrorKind::LoginRequired { .. });
        assert_eq!(s.browser_opened(), 1);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }

    #[test]
    fn that_is_asked_for_nothing_new_is_an_error() {
        let mut s = logged_in();
        s.world.resource.mood = Mood::ForbidsAll;
        assert_fails!(s.call_tool("whoami"), ErrorKind::StepUpLimit { rounds: 0, .. });
        assert_eq!(s.browser_opened(), 1);
        s.world.resource.mood = Mood::Fair;
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn that_never_satisfies_ends_after_three_for_each_operation() {
        let mut s = logged_in();
        s.world.authorization[0].scopes_supported.clear();
        let demands = |s: &mut Scenario, round: u32| {
            let more = format!("Bearer error=\"insufficient_scope\", scope=\"more:{round}\"");
            let refusal = Canned::new(403, "").header("www-authenticate", &more);
            s.world.faults.push(Fault::answer("POST", "/mcp", refusal));
        };
        (0..4).for_each(|round| demands(&mut s, round));
        assert_fails!(s.call_tool("write_note"), ErrorKind::StepUpLimit { rounds: 3, .. });
        assert_eq!(s.browser_opened(), 4);
        // Another operation has its own count.
        demands(&mut s, 9);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 5);
    }

    #[test]
    fn that_the_person_refuses_each_time_ends_too() {
        let mut s = logged_in();
        s.person = Person::ApprovesOnly(vec!["notes:read".to_owned()]);
        assert_fails!(s.call_tool("write_note"), ErrorKind::StepUpLimit { rounds: 3, .. });
        assert_eq!(s.browser_opened(), 4);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }

    #[test]
    fn that_fails_leaves_the_old_token_in_use() {
        let mut s = logged_in();
        s.person = Person::Denies;
        assert_fails!(s.call_tool("write_note"), ErrorKind::Denied(_));
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }

    #[test]
    fn is_not_made_again_for_a_late_refusal_of_the_older_token() {
        let mut s = logged_in();
        let old = s.grant();
        let refusal = s.send("write_note", Some(&old));
        assert_eq!(s.call_tool("write_note").status(), 200);
        assert!(s.report("write_note", &refusal, Some(&old)));
        assert_eq!(s.call_tool_in_background("write_note").status(), 200);
        assert_eq!(s.browser_opened(), 2);
    }

    #[test]
    fn is_not_undone_by_a_renewal_that_is_tried_again_after_it() {
        let mut s = logged_in();
        s.try_tool("write_note");
        s.demand(Demand::interactive(need("write_note")));
        s.run_until("redirect");
        s.deliver("browse");
        revoke(&mut s);
        assert_eq!(s.try_tool("whoami"), 401);
        s.world.faults.push(Fault::answer("POST", "/token", Canned::new(503, "")));
        s.demand(Demand::background(need("whoami")));
        s.run_but("redirect");
        // The renewal waits for its second try, and the person finishes meanwhile.
        s.run();
        assert_eq!(s.try_tool("write_note"), 200);
        let stepped_up = s.world.newest_refresh_token().unwrap().to_owned();
        s.advance(60);
        assert_eq!(s.try_tool("write_note"), 200, "the step-up is lost");
        assert!(s.store.text().contains(&stepped_up));
        s.restart();
        assert_eq!(s.call_tool_in_background("write_note").status(), 200);
    }

    #[test]
    fn is_not_begun_by_a_403_to_a_request_without_a_token() {
        let mut s = logged_in();
        let grant = s.grant();
        let refusal = s.send("write_note", Some(&grant));
        assert_eq!(refusal.status(), 403);
        // It was another caller's, who had no token to send.
        assert!(s.report("write_note", &refusal, None));
        let TokenState::Ready(still) = s.token_for(&need("write_note")) else {
            panic!("the token at hand is marked");
        };
        assert_eq!(still.generation(), grant.generation());
    }

    #[test]
    fn is_made_ahead_where_the_caller_knows_what_it_needs() {
        let mut s = logged_in();
        let need = Need { scopes: ScopeSet::parse("notes:write"), ..need("write_note") };
        s.obtain(&need, Demand::interactive).unwrap();
        s.take_log();
        assert_eq!(s.call_tool_in_background("write_note").status(), 200);
        assert_eq!(s.take_log(), ["POST mcp.example.com/mcp 200"]);
    }
}

mod a_move_to_another_server {
    use super::*;

    #[test]
    fn shows_it_nothing_of_the_old_one() {
        let two = ["https://auth.example.com", "https://new.example.com"];
        let mut s = Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &two));
        s.eavesdrop();
        assert_eq!(s.call_tool("write_note").status(), 200);
        s.world.migrate_to(1);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.machine().status().unwrap().issuer, two[1]);
        // Scopes that the old one was asked for are its business.
        assert_eq!(s.authorize_param("scope").unwrap(), "notes:read offline_access");
        s.sleep(4000);
        s.take_log();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.take_log()[0], "POST new.example.com/token 200");
        s.check_secrets();
    }
}

mod callers {
    use super::*;

    #[test]
    fn join_the_attempt_that_is_under_way() {
        let mut s = Scenario::new();
        let first = s.demand(Demand::interactive(need("whoami")));
        s.run_until("browse");
        let second = s.demand(Demand::interactive(need("write_note")));
        assert_eq!(first, second);
        s.settle(second).unwrap();
        assert_eq!(s.browser_opened(), 1);
    }

    #[test]
    fn who_welcome_a_browser_bring_it_to_those_who_do_not() {
        let mut s = Scenario::new();
        let background = s.demand(Demand::background(need("whoami")));
        s.run_until("GET");
        let interactive = s.demand(Demand::interactive(need("whoami")));
        assert_eq!(background, interactive);
        s.settle(interactive).unwrap();
        s.grant();
    }

    #[test]
    fn whose_renewal_is_refused_wait_for_the_login_that_is_under_way() {
        for cancelled in [None, Some(true), Some(false)] {
            let mut s = logged_in();
            s.person = Person::Ignores;
            let login = s.demand(Demand::interactive(need("whoami")).fresh());
            s.run();
            s.world.authorization[0].revoke_everything();
            assert_eq!(s.try_tool("whoami"), 401);
            let renewal = s.demand(Demand::background(need("whoami")));
            s.run();
            assert!(s.machine().is_running(login) && s.machine().is_running(renewal));
            let gives_up = cancelled.map(|first| if first { login } else { renewal });
            if let Some(attempt) = gives_up {
                s.handle(Event::Cancel(attempt));
                s.run();
                let why = s.machine().failure(attempt).unwrap();
                assert!(matches!(why.kind(), ErrorKind::Cancelled), "{why}");
                let other = if attempt == login { renewal } else { login };
                assert!(s.machine().is_running(other));
            }
            s.person = Person::Approves;
            assert!(s.goes_back_to_tab(1, &Person::Approves));
            for attempt in [login, renewal].into_iter().filter(|it| Some(*it) != gives_up) {
                s.settle(attempt).unwrap();
            }
            assert_eq!(s.browser_opened(), 2);
            s.grant();
        }
    }

    #[test]
    fn who_only_look_make_no_other_log_in_anew() {
        let mut s = logged_in();
        s.restart();
        let look = s.demand(Demand::inspect());
        let token = s.demand(Demand::interactive(need("whoami")));
        assert_eq!(look, token);
        s.settle(token).unwrap();
        assert_eq!(s.browser_opened(), 1);
        s.grant();
    }

    #[test]
    fn get_and_renew_good_tokens_while_a_person_sits_in_the_browser() {
        let mut s = logged_in();
        s.try_tool("write_note");
        s.demand(Demand::interactive(need("write_note")));
        s.run_until("redirect");
        s.deliver("browse");
        s.take_log();
        assert_eq!(s.try_tool("whoami"), 200);
        revoke(&mut s);
        assert_eq!(s.try_tool("whoami"), 401);
        s.demand(Demand::background(need("whoami")));
        // The lock, the refresh, the save: all but the person's answer.
        s.run_but("redirect");
        assert_eq!(s.open(), ["redirect"]);
        assert_eq!(s.store.locked_by, None);
        assert_eq!(s.try_tool("whoami"), 200);
        s.run();
        assert_eq!(s.call_tool_in_background("write_note").status(), 200);
    }
}

mod forgetting {
    use super::*;

    #[test]
    fn erases_all_that_is_stored() {
        let mut s = logged_in();
        s.handle(Event::Forget);
        s.run();
        assert_eq!(s.store.bytes, None);
        assert!(matches!(s.token(), TokenState::Missing));
        s.restart();
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.world.registrations(), 2);
    }

    #[test]
    fn is_possible_before_anything_was_loaded() {
        let mut s = logged_in();
        s.restart();
        s.handle(Event::Forget);
        s.run();
        assert_eq!(s.store.bytes, None);
    }

    #[test]
    fn ends_what_is_under_way_at_every_point() {
        for point in ["lock", "/token", "save"] {
            let mut s = logged_in();
            s.sleep(4000);
            let attempt = s.demand(Demand::background(need("whoami")));
            s.run_until(point);
            s.handle(Event::Forget);
            assert_fails!(s.settle(attempt).unwrap_err(), ErrorKind::Cancelled);
            s.run();
            assert_eq!((s.store.bytes.clone(), s.store.locked_by), (None, None), "{point}");
            assert!(matches!(s.token(), TokenState::Missing | TokenState::Failed(..)));
        }
    }

    #[test]
    fn while_the_record_is_being_read_is_not_undone_by_what_is_read() {
        for answered in [false, true] {
            let mut s = logged_in();
            s.restart();
            let attempt = s.demand(Demand::background(need("whoami")));
            s.run_until("load");
            if answered {
                s.perform("load");
            }
            s.handle(Event::Forget);
            assert_fails!(s.settle(attempt).unwrap_err(), ErrorKind::Cancelled);
            s.run();
            assert_eq!(s.store.bytes, None);
            assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        }
    }

    #[test]
    fn gives_every_attempt_its_failure() {
        let mut s = logged_in();
        s.try_tool("write_note");
        let login = s.demand(Demand::interactive(need("write_note")));
        s.run_until("redirect");
        s.deliver("browse");
        revoke(&mut s);
        assert_eq!(s.try_tool("whoami"), 401);
        let renewal = s.demand(Demand::background(need("whoami")));
        s.drain();
        assert_ne!(login, renewal);
        s.handle(Event::Forget);
        for attempt in [login, renewal] {
            assert!(!s.machine().is_running(attempt));
            assert_fails!(s.machine().failure(attempt).expect("a failure"), ErrorKind::Cancelled);
        }
    }

    #[test]
    fn that_the_disk_refused_is_not_undone_by_the_login_that_follows() {
        let mut s = logged_in();
        let old = s.world.newest_refresh_token().unwrap().to_owned();
        s.store.fail_saves(true);
        s.handle(Event::Forget);
        s.run();
        assert!(s.store.text().contains(&old));
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        s.store.fail_saves(false);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.browser_opened(), s.world.registrations()), (2, 2));
        assert!(!s.store.text().contains(&old));
        // The erasure that was due does not come after it.
        s.advance(300);
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }

    #[test]
    fn is_tried_again_if_the_disk_refuses() {
        let mut s = logged_in();
        s.store.fail_saves(true);
        s.handle(Event::Forget);
        s.run();
        assert!(s.store.bytes.is_some());
        s.store.fail_saves(false);
        s.advance(60);
        assert_eq!(s.store.bytes, None);
    }

    #[test]
    fn does_not_take_a_late_refusal_for_one_of_the_new_login() {
        let mut s = logged_in();
        let old = s.grant();
        revoke(&mut s);
        let refusal = s.send("whoami", Some(&old));
        s.handle(Event::Forget);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(s.report("whoami", &refusal, Some(&old)));
        s.take_log();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.take_log(), ["POST mcp.example.com/mcp 200"]);
    }
}

mod a_configured_token {
    use super::*;

    #[test]
    fn is_sent_as_it_is_and_nobody_is_asked() {
        let mut s = Scenario::new();
        s.world.resource.api_keys.insert("the-key".to_owned());
        s.config.bearer_token = Some("the-key".into());
        assert_eq!(s.call_tool_in_background("write_note").status(), 200);
        assert_eq!(s.take_log(), ["POST mcp.example.com/mcp 200"]);
    }

    #[test]
    fn that_is_refused_is_an_error() {
        let mut s = Scenario::new();
        s.world.resource.challenge = Challenge::Full;
        s.config.bearer_token = Some("stale-key".into());
        assert_fails!(s.call_tool("whoami"), ErrorKind::StaticTokenRefused);
        assert_eq!(s.browser_opened(), 0);
        // It is tried again: it may have been put right on the other side.
        s.world.resource.api_keys.insert("stale-key".to_owned());
        assert_eq!(s.call_tool("whoami").status(), 200);
    }
}
