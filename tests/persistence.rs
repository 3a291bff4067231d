//! What survives: restarts, crashes at every point, damaged records, disks that fail.

use mcp_auth::{Demand, ErrorKind, Event, Notice, TokenState};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{What, assert_fails};
use serde_json::{Value, json};

fn logged_in() -> Scenario {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.take_log();
    s
}

const LENT: [&str; 1] = ["POST mcp.example.com/mcp 200"];
const RENEWED: [&str; 2] = ["POST auth.example.com/token 200", "POST mcp.example.com/mcp 200"];

mod a_restart {
    use super::*;

    #[test]
    fn needs_no_request_while_the_token_is_good() {
        let mut s = logged_in();
        s.restart();
        let saves = s.store.saves;
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.take_log(), LENT);
        assert_eq!(s.store.saves, saves);
    }

    #[test]
    fn needs_one_refresh_and_no_discovery_after_expiry() {
        for _ in 0..3 {
            let mut s = logged_in();
            s.restart();
            s.sleep(100_000);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.take_log(), RENEWED);
        }
    }

    #[test]
    fn goes_on_counting_generations() {
        let mut s = logged_in();
        let first = s.grant().generation();
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.grant().generation(), first);
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert!(s.grant().generation() > first);
    }

    #[test]
    fn for_another_server_does_not_take_this_ones_tokens() {
        let mut s = logged_in();
        s.server = Some("https://other.example.com/mcp".to_owned());
        s.restart();
        s.demand(Demand::background(need("whoami")));
        s.run();
        assert!(matches!(s.token(), TokenState::Missing | TokenState::Failed(..)));
        s.check_secrets();
    }
}

/// The promise of the crash table, row by row: what happened before the crash, and what the next
/// start has to do.
mod a_crash {
    use super::*;

    /// A refresh that has come to this action.
    fn refreshing(point: &str) -> Scenario {
        let mut s = logged_in();
        s.sleep(4000);
        s.demand(Demand::background(need("whoami")));
        if point == "save" {
            // Not the save before the request, but the one after its answer.
            s.run_until("/token");
            s.perform("/token");
            s.deliver("/token");
        }
        s.run_until(point);
        s.take_log();
        s
    }

    #[test]
    fn before_the_refresh_is_sent_costs_nothing() {
        for point in ["load", "lock", "/token"] {
            let mut s = logged_in();
            s.sleep(4000);
            s.restart();
            s.demand(Demand::background(need("whoami")));
            s.run_until(point);
            s.restart();
            assert_eq!(s.store.locked_by, None);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200, "{point}");
            assert_eq!((s.world.reuse_seen(), s.world.count(What::Refreshes)), (false, 1));
        }
    }

    #[test]
    fn before_the_answer_is_seen_costs_a_login_at_most() {
        for grace in [None, Some(60)] {
            let mut s = refreshing("/token");
            s.world.authorization[0].reuse_grace = grace;
            s.perform("/token");
            s.restart();
            match grace {
                Some(_) => assert_eq!(s.call_tool_in_background("whoami").status(), 200),
                None => {
                    let answer = s.call_tool_in_background("whoami");
                    assert_fails!(answer, ErrorKind::LoginRequired { .. });
                }
            }
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!(s.world.count(What::Refreshes), 2);
        }
    }

    #[test]
    fn before_the_save_is_done_is_the_same() {
        let mut s = refreshing("save");
        s.restart();
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn after_the_save_costs_nothing() {
        let mut s = refreshing("save");
        s.perform("save");
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.take_log(), LENT);
    }

    #[test]
    fn at_any_point_of_a_login_leaves_a_store_that_can_be_read() {
        let mut steps = 0;
        loop {
            let mut s = Scenario::new();
            s.demand(Demand::interactive(need("whoami")));
            let finished = !(0..steps).all(|_| s.advance_one());
            s.restart();
            assert_eq!(s.call_tool("whoami").status(), 200, "after {steps} steps");
            assert_eq!(s.told(|notice| matches!(notice, Notice::RecordDamaged { .. })), 0);
            assert!(s.world.registrations() <= 2);
            s.check_secrets();
            if finished {
                break;
            }
            steps += 1;
        }
        assert!(steps > 15, "{steps}");
    }
}

mod a_damaged_record {
    use super::*;

    #[test]
    fn is_set_aside_and_the_login_goes_on() {
        let valid = logged_in().store.text();
        let ancient = valid.replace("\"version\":2", "\"version\":0");
        assert_ne!(ancient, valid);
        let torn = valid.split_at(valid.len() / 2).0;
        for damaged in [torn, &ancient, "", "null", "{}", "\u{0}\u{1}", "[[[["] {
            let mut s = Scenario::new();
            s.store.overwrite(damaged);
            s.eavesdrop();
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!(s.told(|notice| matches!(notice, Notice::RecordDamaged { .. })), 1);
            assert_eq!(s.store.set_aside, [damaged.as_bytes()]);
            // Once: what replaced it is good.
            s.restart();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.store.set_aside.len(), 1);
            s.check_secrets();
        }
    }

    #[test]
    fn is_erased_by_a_logout_and_not_set_aside() {
        for loaded in [true, false] {
            let mut s = Scenario::new();
            s.store.overwrite(r#"{"version":0,"tokens":{"refresh_token":"alive"}}"#);
            if loaded {
                s.demanded(Demand::load()).unwrap();
                assert_eq!(s.told(|notice| matches!(notice, Notice::RecordDamaged { .. })), 1);
            }
            s.handle(Event::Forget);
            s.run();
            assert_eq!((s.store.bytes.clone(), s.store.set_aside.len()), (None, 0));
            // Nor is it by the login that follows.
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!(s.store.set_aside.len(), 0);
        }
    }

    #[test]
    fn is_one_whose_count_has_come_to_its_end() {
        let end = u64::MAX.to_string();
        for (name, value) in [("generation", &end), ("last_generation", &end)] {
            let mut s = logged_in();
            let valid = s.store.text();
            let ended = valid.replace(&format!("\"{name}\":1"), &format!("\"{name}\":{value}"));
            assert_ne!(ended, valid);
            s.store.overwrite(&ended);
            s.restart();
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!(s.told(|notice| matches!(notice, Notice::RecordDamaged { .. })), 1);
            let first = s.grant().generation();
            s.sleep(4000);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert!(s.grant().generation() > first);
        }
    }

    #[test]
    fn is_not_touched_before_there_is_something_better() {
        let mut s = Scenario::new();
        s.store.overwrite("{\"version\":0}");
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!((s.store.text().as_str(), s.store.saves), ("{\"version\":0}", 0));
    }
}

/// It may hold what this program can't know of, and its tokens are good: nothing is spent, and nothing
/// put in its place.
mod a_record_of_a_newer_version {
    use super::*;

    fn is_refused(answer: Result<(), mcp_auth::Error>) {
        let ErrorKind::Store(why) = answer.unwrap_err().kind().clone() else { panic!() };
        assert!(why.to_string().contains("update"), "{why}");
    }

    #[test]
    fn is_left_alone() {
        let mut s = logged_in();
        let newer = s.store.text().replace("\"version\":2", "\"version\":99");
        s.store.overwrite(&newer);
        s.restart();
        for demand in [Demand::background, Demand::interactive] {
            is_refused(s.demanded(demand(need("whoami"))));
        }
        is_refused(s.log_in());
        assert_eq!((s.store.text(), s.store.set_aside.len()), (newer, 0));
        assert_eq!((s.browser_opened(), s.store.locked_by), (1, None));
        // Who logs out means whatever is there.
        s.handle(Event::Forget);
        s.run();
        assert_eq!(s.store.bytes, None);
    }

    #[test]
    fn that_has_come_meanwhile_ends_the_spending_of_what_is_in_memory() {
        let mut s = logged_in();
        let newer = s.store.text().replace("\"version\":2", "\"version\":99");
        s.store.overwrite(&newer);
        s.sleep(4000);
        is_refused(s.demanded(Demand::background(need("whoami"))));
        assert_eq!((s.world.count(What::Refreshes), s.store.text()), (0, newer));
        assert_eq!(s.store.locked_by, None);
    }
}

/// Version 1 is what the first programs wrote: without whom a client was registered with, what kind of
/// client bought the tokens, when a person had logged in, and under which name the authorization server
/// was looked up.
mod a_record_of_an_older_version {
    use super::*;

    /// As one of those programs wrote it, with tokens and a client that are good today.
    fn version_1(s: &Scenario) -> Value {
        let today: Value = serde_json::from_str(&s.store.text()).unwrap();
        let mut record: Value =
            serde_json::from_str(include_str!("../src/session/record/version_1.json")).unwrap();
        for name in ["access_token", "refresh_token", "client_id", "granted", "requested"] {
            record["tokens"][name] = today["tokens"][name].clone();
        }
        for (_, client) in record["registrations"].as_object_mut().unwrap() {
            client["client_id"] = today["tokens"]["client_id"].clone();
        }
        record
    }

    fn stored(s: &Scenario) -> Value {
        serde_json::from_str(&s.store.text()).unwrap()
    }

    #[test]
    fn is_read_and_written_back_as_one_of_today() {
        let mut s = logged_in();
        let old = version_1(&s);
        s.store.overwrite(&old.to_string());
        s.restart();
        s.take_log();
        let saves = s.store.saves;
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((s.take_log(), s.store.saves), (LENT.map(str::to_owned).to_vec(), saves));
        // Its refresh token is good, and its client is known.
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.take_log(), RENEWED);
        let (new, issuer) = (stored(&s), "https://auth.example.com");
        assert_eq!((&old["version"], &new["version"]), (&json!(1), &json!(2)));
        assert_eq!(new["registrations"][issuer]["issuer"], issuer);
        assert_eq!(new["tokens"]["client_source"], "registered");
        assert_eq!(new["tokens"]["logged_in_at"], old["tokens"]["obtained_at"]);
        assert_eq!(new["discovery"]["issuer"], issuer);
        assert_eq!(new["discovery"]["knows_issuer"], true);
        assert_eq!(new["step_ups"], old["step_ups"]);
        assert_eq!(s.told(|notice| matches!(notice, Notice::RecordDamaged { .. })), 0);
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((s.browser_opened(), s.store.set_aside.len()), (1, 0));
    }

    #[test]
    fn that_lacks_nothing_is_the_same_but_for_its_version() {
        let mut s = logged_in();
        let new = s.store.text();
        let old = new.replace("\"version\":2", "\"version\":1");
        assert_ne!(old, new);
        s.store.overwrite(&old);
        s.restart();
        s.sleep(4000);
        s.demand(Demand::background(need("whoami")));
        s.run_until("/token");
        // Only that a refresh is sent was added.
        let (mut read, renewal) = (stored(&s), stored(&s)["tokens"]["renewal"].clone());
        assert_eq!(renewal["sent"], 1);
        read["tokens"].as_object_mut().unwrap().remove("renewal");
        assert_eq!(read, serde_json::from_str::<Value>(&new).unwrap());
    }
}

mod a_failing_disk {
    use super::*;

    fn saves_failed(s: &Scenario) -> (usize, usize) {
        let failed = s.told(|notice| matches!(notice, Notice::SaveFailed(_)));
        (failed, s.told(|notice| matches!(notice, Notice::SaveRecovered)))
    }

    #[test]
    fn is_tried_again_at_once_by_a_host_that_is_about_to_end() {
        let mut s = Scenario::new();
        s.store.fail_saves(true);
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.store.fail_saves(false);
        s.handle(Event::Flush);
        s.run();
        assert!(s.machine().status().unwrap().saved && s.store.bytes.is_some());
        assert_eq!(saves_failed(&s), (1, 1));
        // Nothing is left to be saved, and nothing is.
        let saves = s.store.saves;
        s.handle(Event::Flush);
        s.run();
        assert_eq!(s.store.saves, saves);
    }

    #[test]
    fn does_not_take_the_token_away_and_is_told_once() {
        let mut s = Scenario::new();
        s.store.fail_saves(true);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(!s.machine().status().unwrap().saved);
        s.advance(1000);
        assert_eq!((saves_failed(&s), s.store.bytes.is_none()), ((1, 0), true));

        s.store.fail_saves(false);
        s.advance(130);
        assert_eq!(saves_failed(&s), (1, 1));
        assert!(s.machine().status().unwrap().saved);
        s.restart();
        s.take_log();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.take_log(), LENT);
    }

    #[test]
    fn does_not_stop_refreshing() {
        let mut s = logged_in();
        s.store.fail_saves(true);
        for _ in 0..3 {
            s.advance(4000);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        }
        assert_eq!((saves_failed(&s).0, s.world.reuse_seen()), (1, false));
        s.store.fail_saves(false);
        s.advance(130);
        s.restart();
        s.take_log();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.take_log(), LENT);
    }

    #[test]
    fn that_cannot_be_read_is_an_error_and_nothing_is_overwritten() {
        let mut s = logged_in();
        let before = s.store.text();
        s.restart();
        s.store.fail_loads(true);
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::Store(_));
        assert!(answer.error().advice().contains("nothing was overwritten"));
        assert_eq!((s.store.text(), s.browser_opened()), (before, 1));
        s.store.fail_loads(false);
        s.take_log();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.take_log(), LENT);
    }

    #[test]
    fn that_cannot_be_read_before_a_refresh_does_not_end_the_login() {
        let mut s = logged_in();
        s.sleep(4000);
        s.store.fail_loads(true);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.store.fail_loads(false);
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), 1);
    }

    #[test]
    fn that_a_short_program_requires_is_mended_before_the_refresh_token_is_spent() {
        let mut s = logged_in();
        s.restart();
        s.sleep(4000);
        s.store.require(true);
        let answer = s.call_tool_in_background("whoami");
        assert_fails!(answer, ErrorKind::Store(_));
        assert!(answer.error().advice().contains("Mend the store"));
        assert_eq!(s.world.count(What::Refreshes), 0);

        s.store.require(false);
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (1, 1));
    }
}

mod a_new_token {
    use super::*;

    #[test]
    fn is_not_lent_before_its_save_was_answered() {
        let mut s = Scenario::new();
        let attempt = s.demand(Demand::interactive(need("whoami")));
        s.run_until("/token");
        s.perform("/token");
        s.deliver("/token");
        s.run_until("save");
        assert!(matches!(s.token(), TokenState::Pending(id) if id == attempt));
        s.perform("save");
        assert!(matches!(s.token(), TokenState::Pending(_)));
        s.deliver("save");
        s.grant();
    }

    #[test]
    fn is_lent_after_the_save_was_waited_for_in_vain() {
        let mut s = Scenario::new();
        s.demand(Demand::interactive(need("whoami")));
        s.run_until("/token");
        s.perform("/token");
        s.deliver("/token");
        s.run_until("save");
        s.lose("save");
        s.wait();
        s.drain();
        s.grant();
    }

    #[test]
    fn that_replaces_one_in_use_leaves_that_in_use_until_then() {
        let mut s = logged_in();
        let old = s.grant().generation();
        s.demand(Demand::interactive(need("whoami")).fresh());
        s.run_until("save");
        assert_eq!(s.grant().generation(), old);
        s.run();
        assert!(s.grant().generation() > old);
    }
}

#[test]
fn lists_with_giants_in_them_do_not_swell_the_record() {
    let giant = "x".repeat(400_000);
    for list in [
        "scopes_supported",
        "response_types_supported",
        "grant_types_supported",
        "token_endpoint_auth_methods_supported",
        "code_challenge_methods_supported",
    ] {
        let mut s = Scenario::new();
        let server = &mut s.world.authorization[0];
        let usual = ["S256", "none", "authorization_code", "refresh_token", &giant];
        server.metadata_changes.insert(list.to_owned(), json!(usual));
        assert_eq!(s.call_tool("whoami").status(), 200, "{list}");
        assert!(s.store.text().len() < 10_000, "{list}: {}", s.store.text().len());
    }
}

#[test]
fn a_save_that_belongs_to_a_forgotten_login_does_not_bring_it_back() {
    let mut s = Scenario::new();
    s.demand(Demand::interactive(need("whoami")));
    s.run_until("/token");
    s.perform("/token");
    s.deliver("/token");
    s.run_until("save");
    s.handle(Event::Forget);
    s.run();
    assert_eq!(s.store.bytes, None);
    assert!(!matches!(s.token(), TokenState::Ready(_)));
}
