//! Outages of the token endpoint: short ones are waited out, long ones are told, and none costs a
//! login before its time.

use std::time::Duration;

use mcp_auth::{
    CachedClient, CachedLogin, CachedRegistration, Demand, ErrorKind, Event, Notice, SavedLogin,
    SessionState, TokenState,
};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{Canned, Effect, Fault, NetworkError, What, assert_fails};

const HOUR: u64 = 3600;

fn logged_in() -> Scenario {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s
}

/// A login whose access token has expired.
fn expired() -> Scenario {
    let mut s = logged_in();
    s.sleep(4000);
    s.take_log();
    s
}

fn down() -> Canned {
    Canned::new(503, "")
}

/// The token endpoint answers nothing else until [`mend`].
fn break_it(s: &mut Scenario, answer: Canned) {
    s.world.faults.push(Fault::answer("POST", "/token", answer).times(u32::MAX));
}

fn mend(s: &mut Scenario) {
    s.world.faults.clear();
}

/// How many requests the token endpoint has got since the log was last taken.
fn asked(s: &mut Scenario) -> usize {
    s.take_log().iter().filter(|line| line.contains("/token")).count()
}

fn state(s: &mut Scenario) -> SessionState {
    let now = s.now();
    s.machine().state(now)
}

fn is_retrying(s: &mut Scenario) -> bool {
    matches!(state(s), SessionState::Retrying { .. })
}

/// Seconds until the next try, as a caller in the background is told at once.
fn told_to_wait(s: &mut Scenario) -> u64 {
    let before = s.now().mono;
    let answer = s.call_tool_in_background("whoami");
    assert_eq!(s.now().mono, before, "a caller was kept waiting");
    assert_fails!(answer, ErrorKind::Passing { .. });
    answer.error().retry_in().unwrap().as_secs()
}

/// Has used up the short phase.
fn in_the_quiet_phase() -> Scenario {
    let mut s = expired();
    break_it(&mut s, down());
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::Passing { .. });
    s.take_log();
    s
}

mod a_short_one {
    use super::*;

    #[test]
    fn is_waited_out_inside_one_attempt() {
        for effect in [
            Effect::Answer(down()),
            Effect::Answer(Canned::new(429, "").header("retry-after", "30")),
            Effect::Answer(Canned::new(403, "<html>checking your browser</html>")),
            Effect::Answer(Canned::new(200, "not what was asked for")),
            Effect::Fails(NetworkError::Unreachable),
            Effect::Fails(NetworkError::TimedOut),
        ] {
            let mut s = expired();
            s.world.faults.push(Fault::new("POST", "/token", effect).times(3));
            let before = s.now().mono;
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            let took = before.until(s.now().mono).as_secs();
            assert!((20..150).contains(&took), "{took}");
            assert_eq!((s.browser_opened(), state(&mut s)), (1, SessionState::Authorized));
        }
    }

    #[test]
    fn has_five_tries_ten_seconds_to_two_minutes_apart() {
        let mut s = expired();
        break_it(&mut s, down());
        let before = s.now().mono;
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::Passing { .. });
        // The first hiccup is followed by a second look.
        assert_eq!(asked(&mut s), 1 + 5);
        assert_eq!(before.until(s.now().mono), Duration::from_secs(1 + 10 + 20 + 40 + 80));
        let waits = s.notices.iter().filter_map(|notice| match notice {
            Notice::Retrying { after, .. } => Some(after.as_secs()),
            _ => None,
        });
        assert_eq!(waits.collect::<Vec<_>>(), [1, 10, 20, 40, 80, 600]);
    }

    #[test]
    fn is_no_longer_than_the_settings_allow() {
        let mut s = Scenario::new();
        s.config.retry.tries = 1;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(4000);
        break_it(&mut s, down());
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::Passing { .. });
        assert_eq!(told_to_wait(&mut s), 600);
    }

    #[test]
    fn holds_no_lock_while_it_waits() {
        let mut s = expired();
        break_it(&mut s, down());
        let attempt = s.demand(Demand::background(need("whoami")));
        s.run();
        s.wait(); // the quick second look
        s.run();
        assert_eq!(s.store.locked_by, None);
        assert!(s.machine().is_running(attempt));
        // Another program that looks meanwhile waits with the first, and adopts what it gets.
        mend(&mut s);
        s.switch_to(1);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.switch_to(0);
        assert!(s.settle(attempt).is_ok());
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert!(!s.world.reuse_seen());
    }

    #[test]
    fn joined_by_others_is_still_one_try_at_a_time() {
        let mut s = expired();
        break_it(&mut s, down());
        let first = s.demand(Demand::background(need("whoami")));
        s.run();
        s.wait();
        s.run();
        asked(&mut s);
        for _ in 0..5 {
            assert_eq!(s.demand(Demand::background(need("whoami"))), first);
            s.run();
        }
        assert_eq!(asked(&mut s), 0);
    }

    #[test]
    fn ends_at_once_for_who_loses_interest_and_goes_on_where_it_was() {
        let mut s = expired();
        break_it(&mut s, down());
        let attempt = s.demand(Demand::background(need("whoami")));
        s.run();
        s.wait();
        s.run();
        s.handle(Event::Cancel(attempt));
        assert_eq!(s.run(), None, "nobody waits, so nothing is tried");
        asked(&mut s);
        let again = s.demand(Demand::background(need("whoami")));
        s.run();
        assert!(s.machine().is_running(again));
        assert_eq!(asked(&mut s), 0, "not before its time");
        mend(&mut s);
        assert!(s.settle(again).is_ok());
    }

    #[test]
    fn is_ended_by_an_answer_that_comes_late() {
        let mut s = expired();
        let attempt = s.demand(Demand::background(need("whoami")));
        for _ in 0..2 {
            s.run_until("/token");
            s.perform("/token");
            let late = s.hold("/token");
            s.wait();
            if s.machine().is_running(attempt) && s.open().is_empty() {
                s.run();
                s.bring(late);
                break;
            }
        }
        assert!(s.settle(attempt).is_ok());
        assert_eq!((s.world.count(What::Refreshes), s.world.reuse_seen()), (1, false));
    }
}

mod a_long_one {
    use super::*;

    #[test]
    fn is_told_at_once_with_the_time_of_the_next_try() {
        let mut s = in_the_quiet_phase();
        assert_eq!(told_to_wait(&mut s), 600);
        s.sleep(200);
        assert_eq!(told_to_wait(&mut s), 400);
        assert_eq!(asked(&mut s), 0);
        // And nobody is bothered with a browser for a server that is down.
        assert_fails!(s.call_tool("whoami"), ErrorKind::Passing { .. });
        assert_eq!(s.browser_opened(), 1);
    }

    #[test]
    fn is_tried_every_ten_minutes_and_over_when_the_server_is_back() {
        let mut s = in_the_quiet_phase();
        for _ in 0..3 {
            s.sleep(600);
            assert_eq!(told_to_wait(&mut s), 600);
            assert_eq!(asked(&mut s), 1);
        }
        mend(&mut s);
        s.sleep(600);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((s.browser_opened(), state(&mut s)), (1, SessionState::Authorized));
        // The next outage begins from the start.
        s.sleep(4000);
        s.world.faults.push(Fault::answer("POST", "/token", down()).times(3));
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }

    #[test]
    fn waits_as_long_as_the_server_asks_for() {
        let mut s = expired();
        break_it(&mut s, Canned::new(429, "").header("retry-after", "7200"));
        assert_eq!(told_to_wait(&mut s), 7200);
    }

    #[test]
    fn lends_the_access_token_for_as_long_as_it_is_valid() {
        let mut s = logged_in();
        break_it(&mut s, down());
        s.sleep(3575);
        for _ in 0..4 {
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert!(matches!(s.token(), TokenState::Ready(_)));
            s.sleep(5);
        }
        assert!(is_retrying(&mut s));
        s.sleep(10);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::Passing { .. });
    }

    #[test]
    fn is_seen_by_the_host_at_each_turn() {
        let mut s = in_the_quiet_phase();
        let SessionState::Retrying { since, next } = state(&mut s) else { panic!() };
        assert_eq!(since.until(s.now().wall).as_secs(), 150);
        assert_eq!(s.now().wall.until(next).as_secs(), 600);
        mend(&mut s);
        s.sleep(600);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        let told: Vec<_> = s
            .notices
            .iter()
            .filter_map(|notice| match notice {
                Notice::State(SessionState::Authorized) => Some("authorized"),
                Notice::State(SessionState::Retrying { .. }) => Some("retrying"),
                Notice::State(SessionState::LoginRequired) => Some("login required"),
                _ => None,
            })
            .collect();
        let mut turns = told;
        turns.dedup();
        assert_eq!(turns, ["authorized", "retrying", "authorized"]);
    }

    #[test]
    fn of_more_than_a_day_needs_a_login_and_keeps_the_client() {
        let mut s = in_the_quiet_phase();
        s.sleep(23 * HOUR);
        assert_eq!(told_to_wait(&mut s), 600);
        s.sleep(HOUR);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(state(&mut s), SessionState::LoginRequired);
        assert_eq!(s.told(|notice| matches!(notice, Notice::GrantEnded { .. })), 1);
        assert!(!s.machine().status().unwrap().refreshable);
        asked(&mut s);
        s.restart();
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(asked(&mut s), 0);
        mend(&mut s);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.browser_opened(), s.world.registrations()), (2, 1));
        assert_eq!(state(&mut s), SessionState::Authorized);
    }

    #[test]
    fn that_nobody_looked_at_has_one_more_try_after_the_day() {
        let mut s = in_the_quiet_phase();
        mend(&mut s);
        s.sleep(72 * HOUR);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 1);
    }
}

mod a_restart {
    use super::*;

    #[test]
    fn begins_no_new_round_of_tries() {
        let mut s = in_the_quiet_phase();
        for _ in 0..5 {
            s.restart();
            assert_eq!(told_to_wait(&mut s), 600);
        }
        assert_eq!(asked(&mut s), 0);
        s.sleep(600);
        s.restart();
        assert_eq!(told_to_wait(&mut s), 600);
        assert_eq!(asked(&mut s), 1);
    }

    #[test]
    fn does_not_forget_when_the_trouble_began() {
        let mut s = in_the_quiet_phase();
        for _ in 0..4 {
            s.sleep(6 * HOUR - 60);
            s.restart();
            assert_eq!(told_to_wait(&mut s), 600);
        }
        s.sleep(HOUR);
        s.restart();
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    }

    #[test]
    fn of_another_program_on_the_same_store_is_told_too() {
        let mut s = in_the_quiet_phase();
        s.switch_to(1);
        assert_eq!(told_to_wait(&mut s), 600);
        assert_eq!(asked(&mut s), 0);
    }
}

mod a_record {
    use super::*;

    const REPAINTS: &str = "\u{1b}[2J\u{1b}]0;all is well\u{7}\nlogin: ok";

    /// Who can write to the store says that the next try is far away, in words that are not for a terminal.
    fn forge(s: &mut Scenario, trouble: &str) {
        let mut record: serde_json::Value = serde_json::from_str(&s.store.text()).unwrap();
        let now = s.now().wall.0;
        let there = record.pointer_mut(trouble).unwrap();
        there["last"] = now.into();
        there["wait"] = u64::MAX.into();
        there["what"] = REPAINTS.into();
        s.store.overwrite(&record.to_string());
        s.restart();
        s.eavesdrop();
    }

    /// What a caller is told is harmless, and a day later all is well.
    fn is_believed_for_a_day(s: &mut Scenario) {
        mend(s);
        let answer = s.call_tool_in_background("whoami");
        assert_fails!(answer, ErrorKind::Passing { .. });
        assert_eq!(answer.error().retry_in().unwrap().as_secs(), 24 * HOUR);
        let said = format!("{} {}", answer.error(), s.notices().join(" "));
        assert!(said.contains("all is well") && !said.chars().any(char::is_control), "{said:?}");
        s.sleep(24 * HOUR);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 1);
    }

    #[test]
    fn that_is_forged_holds_up_a_renewal_for_no_more_than_a_day() {
        let mut s = in_the_quiet_phase();
        forge(&mut s, "/tokens/renewal/trouble");
        is_believed_for_a_day(&mut s);
    }

    #[test]
    fn that_is_forged_holds_up_a_cached_login_for_no_more_than_a_day() {
        let mut s = logged_in();
        let kept = SavedLogin::read(s.store.text().as_bytes()).unwrap();
        let client_id = kept.client.unwrap().client_id;
        let client = CachedRegistration { client_id, ..CachedRegistration::default() };
        let cached = CachedLogin::new(kept.session.unwrap().to_text());
        s.cached = Some(cached.of(CachedClient::Registered(Box::new(client))));
        s.crash();
        s.store = Default::default();
        break_it(&mut s, down());
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::Passing { .. });
        forge(&mut s, "/untaken");
        is_believed_for_a_day(&mut s);
    }

    #[test]
    fn keeps_no_longer_wait_than_a_day_whatever_the_settings_say() {
        let mut s = expired();
        s.config.retry.quiet_seconds = u64::MAX;
        s.restart();
        break_it(&mut s, down());
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::Passing { .. });
        assert_eq!(told_to_wait(&mut s), 24 * HOUR);
    }
}

mod a_wall_clock {
    use super::*;

    #[test]
    fn that_is_set_makes_no_storm_and_no_longer_wait() {
        for by in [-40 * 86_400, 40 * 86_400, i64::MIN, i64::MAX] {
            let mut s = in_the_quiet_phase();
            s.set_wall_clock(by);
            for _ in 0..10 {
                assert!(told_to_wait(&mut s) <= 600);
            }
            assert_eq!(asked(&mut s), 0, "{by}");
            mend(&mut s);
            s.sleep(600);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.browser_opened(), 1);
        }
    }

    #[test]
    fn that_is_set_between_two_runs_costs_a_try_at_most() {
        for by in [-40 * 86_400, 86_400] {
            let mut s = in_the_quiet_phase();
            s.set_wall_clock(by);
            for _ in 0..5 {
                s.restart();
                let _ = s.call_tool_in_background("whoami").error();
            }
            assert!(asked(&mut s) <= 1, "{by}");
        }
    }

    #[test]
    fn that_was_set_back_between_two_runs_makes_no_longer_wait() {
        let mut s = in_the_quiet_phase();
        s.set_wall_clock(-86_400);
        mend(&mut s);
        s.sleep(600);
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }

    #[test]
    fn that_is_set_forward_while_a_program_runs_does_not_end_its_patience() {
        let mut s = in_the_quiet_phase();
        s.set_wall_clock(40 * 86_400);
        s.sleep(600);
        assert_eq!(told_to_wait(&mut s), 600);
        assert!(is_retrying(&mut s));
    }
}

mod a_final_refusal {
    use super::*;

    #[test]
    fn is_known_under_its_many_names_and_keeps_the_client() {
        for (status, body) in [
            (400, r#"{"error":"invalid_grant"}"#),
            (401, r#"{"error":"invalid_grant","error_description":"expired"}"#),
            (403, r#"{"error":"invalid_grant"}"#),
            (200, "error=bad_refresh_token&error_description=expired"),
            (200, r#"{"ok":false,"error":"invalid_refresh_token"}"#),
            (200, r#"{"error":"bad_refresh_token","error_description":"expired"}"#),
            (400, r#"{"error":{"code":"invalid_grant","message":"expired"}}"#),
            (403, r#"{"error":"access_denied"}"#),
            (400, r#"{"error":"invalid_request"}"#),
            (401, r#"{"error":"invalid_request"}"#),
            (403, r#"{"error":"invalid_scope"}"#),
            (200, "error=invalid_request&error_description=expired"),
        ] {
            let mut s = expired();
            break_it(&mut s, Canned::json(status, body));
            assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
            assert_eq!(state(&mut s), SessionState::LoginRequired, "{body}");
            // Nor is it asked again for each who comes.
            asked(&mut s);
            for _ in 0..3 {
                assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
            }
            assert_eq!(asked(&mut s), 0, "{body}");
            mend(&mut s);
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!((s.browser_opened(), s.world.registrations()), (2, 1), "{body}");
            assert_eq!(state(&mut s), SessionState::Authorized, "{body}");
        }
    }
}

/// The mark that a refresh was sent: row 2 of the crash table, crash after crash.
mod a_crash_between_sending_and_saving {
    use super::*;

    /// The refresh reaches the server, or not, and the program dies before it sees the answer.
    fn crash_in_the_window(s: &mut Scenario, arrives: bool) {
        s.demand(Demand::background(need("whoami")));
        s.run_until("/token");
        if arrives {
            s.perform("/token");
        }
        s.restart();
    }

    #[test]
    fn leaves_one_more_try() {
        let mut s = expired();
        crash_in_the_window(&mut s, false);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 1);
    }

    #[test]
    fn twice_leads_to_a_login_rather_than_to_a_loop() {
        let mut s = expired();
        s.world.authorization[0].reuse_detection = false;
        crash_in_the_window(&mut s, true);
        crash_in_the_window(&mut s, true);
        s.take_log();
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(asked(&mut s), 0);
        assert_eq!(s.told(|notice| matches!(notice, Notice::GrantEnded { .. })), 1);
        s.restart();
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.browser_opened(), s.world.registrations()), (2, 1));
    }

    #[test]
    fn is_not_what_a_failure_is_that_the_program_has_seen() {
        let mut s = in_the_quiet_phase();
        for _ in 0..5 {
            s.sleep(600);
            s.restart();
            assert_eq!(told_to_wait(&mut s), 600);
        }
        mend(&mut s);
        s.sleep(600);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }

    #[test]
    fn is_not_what_a_cancelled_demand_is() {
        let mut s = expired();
        for _ in 0..5 {
            let attempt = s.demand(Demand::background(need("whoami")));
            s.run_until("save");
            s.handle(Event::Cancel(attempt));
            break_it(&mut s, down());
            s.run();
            s.wait();
            s.run();
            mend(&mut s);
            s.sleep(600);
        }
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }
}

mod a_renewal_ahead {
    use super::*;

    fn long_lived() -> Scenario {
        let mut s = Scenario::new();
        s.config.refresh_proactively = true;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.take_log();
        s
    }

    #[test]
    fn keeps_the_token_fresh_without_anybody_asking() {
        let mut s = long_lived();
        for _ in 0..48 {
            s.advance(1800);
            assert!(matches!(s.token(), TokenState::Ready(_)));
        }
        let refreshes = s.world.count(What::Refreshes);
        assert!((24..30).contains(&refreshes), "{refreshes}");
        assert_eq!((s.browser_opened(), s.world.reuse_seen()), (1, false));
    }

    #[test]
    fn is_not_made_where_nobody_wants_it() {
        let mut s = logged_in();
        assert_eq!(s.run(), None);
    }

    #[test]
    fn is_spread_over_the_fleet() {
        let moments: std::collections::BTreeSet<_> = (0..40)
            .map(|turns| {
                let mut s = Scenario::new();
                // Each has a seed of its own.
                (0..turns).for_each(|_| s.restart());
                s.config.refresh_proactively = true;
                s.restart();
                assert_eq!(s.call_tool("whoami").status(), 200);
                let at = s.run().unwrap();
                s.now().mono.until(at).as_secs()
            })
            .collect();
        assert!(moments.len() > 30, "{moments:?}");
        assert!(moments.iter().all(|at| (3210..3570).contains(at)), "{moments:?}");
    }

    #[test]
    fn never_opens_a_browser_and_is_nobodys_failure() {
        let mut s = long_lived();
        s.world.authorization[0].revoke_everything();
        s.advance(3 * HOUR);
        assert_eq!(asked(&mut s), 1);
        assert_eq!((s.browser_opened(), state(&mut s)), (1, SessionState::LoginRequired));
        assert_eq!(s.told(|notice| matches!(notice, Notice::Failed(_))), 0);
        assert_eq!(s.run(), None);
    }

    #[test]
    fn waits_an_outage_out_in_the_background() {
        let mut s = long_lived();
        break_it(&mut s, down());
        s.advance(5 * HOUR);
        let tries = asked(&mut s);
        assert!((20..35).contains(&tries), "{tries}");
        mend(&mut s);
        s.advance(700);
        assert!(matches!(s.token(), TokenState::Ready(_)));
        assert_eq!(state(&mut s), SessionState::Authorized);
    }

    #[test]
    fn of_tokens_that_live_for_seconds_is_no_storm() {
        let mut s = Scenario::new();
        s.config.refresh_proactively = true;
        s.world.authorization[0].token_lifetime = 2;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.take_log();
        s.advance(HOUR);
        assert!(asked(&mut s) <= 60);
    }

    #[test]
    fn is_joined_by_whoever_asks_meanwhile() {
        let mut s = long_lived();
        s.run_until("/token");
        s.sleep(400);
        let attempt = s.demand(Demand::background(need("whoami")));
        assert!(s.settle(attempt).is_ok());
        assert_eq!(s.world.count(What::Refreshes), 1);
    }
}
