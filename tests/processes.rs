//! Several programs, one store: one refresh between them, and nobody loses a login.

use mcp_auth::{Action, Demand, ErrorKind, Event, HostError, Notice};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{Canned, Fault, What, assert_fails};

/// Two programs that hold the same login; its access token has expired.
fn two() -> Scenario {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!((s.browser_opened(), s.world.count(What::TokenRequests)), (1, 1));
    s.sleep(4000);
    s.take_log();
    s.switch_to(0);
    s
}

fn adopted(s: &Scenario) -> usize {
    s.told(|notice| matches!(notice, Notice::Adopted))
}

#[test]
fn who_comes_second_takes_up_what_the_first_has_renewed() {
    let mut s = two();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!((s.world.count(What::Refreshes), adopted(&s)), (1, 1));
    assert!(!s.world.reuse_seen());
}

#[test]
fn who_comes_at_the_same_time_waits_for_the_lock() {
    let mut s = two();
    s.demand(Demand::background(need("whoami")));
    s.run_until("/token");
    s.switch_to(1);
    let waiting = s.demand(Demand::background(need("whoami")));
    s.run_until("lock");
    assert!(!s.perform("lock"), "the lock is held by the other");
    s.switch_to(0).run();
    s.switch_to(1);
    assert!(s.perform("lock"));
    s.settle(waiting).unwrap();
    assert_eq!((s.world.count(What::Refreshes), adopted(&s)), (1, 1));
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
}

#[test]
fn who_wants_the_lock_for_longer_says_whose_answer_that_is_for() {
    let mut s = two();
    // A login does without, and a save is soon done.
    assert!(s.locked_for.is_empty());
    let mut another = two();
    another.handle(Event::Forget);
    another.run();
    assert_eq!(another.locked_for, [Vec::<String>::new()]);
    // The MCP server is asked for nothing, and may be the host of many.
    s.locked_for.clear();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.locked_for, [["auth.example.com"]]);

    // The tokens' own server counts, where that is another than the metadata's.
    let elsewhere = serde_json::json!("https://tokens.example.com:8443/token");
    s.world.authorization[0].metadata_changes.insert("token_endpoint".to_owned(), elsewhere);
    s.log_in().unwrap();
    s.sleep(4000);
    s.locked_for.clear();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.locked_for, [["tokens.example.com:8443"]]);

    // And that of the metadata, where they are looked up again.
    s.sleep(8 * 86_400);
    s.locked_for.clear();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.locked_for, [["auth.example.com", "tokens.example.com:8443"]]);
}

#[test]
fn who_waits_in_vain_is_told_so_and_keeps_everything() {
    let mut s = two();
    s.demand(Demand::background(need("whoami")));
    s.run_until("/token");
    s.switch_to(1);
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::Store(_));
    s.switch_to(0).run();
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert!(!s.world.reuse_seen());
}

#[test]
fn a_host_that_does_not_try_is_asked_again_and_nobody_is_taken_for_one_that_hangs() {
    let mut s = two();
    let stored = s.store.text();
    let throttled = |s: &mut Scenario| {
        let attempt = s.demand(Demand::background(need("whoami")));
        s.run_until("lock");
        let Action::Load(call) = s.take_action("lock") else { panic!("no lock is wanted") };
        s.handle(call.answer(Err(HostError::throttled("too much is under way"))));
        s.run();
        attempt
    };
    // Longer, and more often, than any holder is waited for.
    for _ in 0..20 {
        let attempt = throttled(&mut s);
        let error = s.machine().failure(attempt).unwrap();
        assert!(matches!(error.kind(), ErrorKind::Store(why) if why.is_throttled()), "{error}");
        assert!(error.advice().contains("under way"), "{}", error.advice());
        s.sleep(100);
    }
    assert_eq!((s.store.text(), s.world.count(What::Refreshes)), (stored, 0));
    // What another program has renewed meanwhile needs no turn.
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.switch_to(0);
    let attempt = throttled(&mut s);
    s.settle(attempt).unwrap();
    assert_eq!((s.world.count(What::Refreshes), adopted(&s)), (1, 1));

    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.world.count(What::Refreshes), 2);
}

#[test]
fn a_program_that_dies_with_the_lock_gives_it_back() {
    let mut s = two();
    s.demand(Demand::background(need("whoami")));
    s.run_until("/token");
    s.crash();
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.world.count(What::Refreshes), 1);
}

#[test]
fn a_refusal_seen_by_both_is_one_refresh() {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let token = s.world.newest_access_token().unwrap().to_owned();
    s.world.resource.revoke(&token);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.switch_to(0);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!((s.world.count(What::Refreshes), adopted(&s)), (1, 1));
}

#[test]
fn a_new_login_of_one_is_taken_up_by_the_other() {
    let mut s = two();
    s.world.authorization[0].revoke_everything();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.browser_opened(), 2);
}

#[test]
fn logging_out_of_one_logs_out_the_other() {
    let mut s = two();
    s.handle(Event::Forget);
    s.run();
    s.switch_to(1);
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert_eq!((s.store.bytes.clone(), s.world.count(What::Refreshes)), (None, 0));
}

#[test]
fn a_login_does_not_undo_what_the_other_has_renewed_meanwhile() {
    let mut s = two();
    // The first begins a login that registers another client.
    s.taken_ports.extend(49152..=49152);
    s.demand(Demand::interactive(need("whoami")).fresh());
    s.run_until("listen");
    // Meanwhile the second renews the tokens of the old login.
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    // The first keeps its registration, and then everything stops.
    s.switch_to(0).run_until("browse");
    s.crash();
    s.switch_to(1);
    s.restart();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert!(!s.world.reuse_seen());
}

/// Both hold the login, and the access token has expired; the first renews it on a disk that is full.
fn one_with_unsaved_tokens() -> Scenario {
    let mut s = two();
    s.store.fail_saves(true);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.store.fail_saves(false);
    s
}

#[test]
fn tokens_that_could_not_be_saved_do_not_overwrite_a_newer_login() {
    let mut s = one_with_unsaved_tokens();
    // The second has only the spent refresh token, and a person logs in.
    s.switch_to(1);
    assert_eq!(s.call_tool("whoami").status(), 200);
    let (login, stored) = (s.grant().access_token(), s.store.text());
    assert!(stored.contains(login.expose()));
    // Now the first tries again to save.
    s.switch_to(0).advance(20);
    assert!(s.store.text().contains(login.expose()), "the newer login is still there");
    assert_eq!((s.call_tool_in_background("whoami").status(), s.browser_opened()), (200, 2));
}

#[test]
fn tokens_that_could_not_be_saved_do_not_undo_a_logout() {
    let mut s = one_with_unsaved_tokens();
    s.switch_to(1).handle(Event::Forget);
    s.run();
    assert_eq!(s.store.bytes, None);
    s.switch_to(0).advance(20);
    assert_eq!(s.store.bytes, None);
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
}

#[test]
fn a_login_that_could_not_be_saved_is_saved_after_the_other_has_renewed_the_old_one() {
    let mut s = two();
    s.store.fail_saves(true);
    s.log_in().unwrap();
    let login = s.grant().access_token();
    s.store.fail_saves(false);
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.switch_to(0).advance(20);
    assert!(s.store.text().contains(login.expose()));
}

#[test]
fn a_renewal_that_pauses_gives_way_to_a_login_of_the_same_program() {
    let mut s = two();
    let busy = Fault::answer("POST", "/token", Canned::new(503, ""));
    s.world.faults.push(busy);
    let login = s.demand(Demand::interactive(need("whoami")).fresh());
    s.run_until("browse");
    s.perform("browse");
    s.deliver("browse");
    let renewal = s.demand(Demand::background(need("whoami")));
    s.drain();
    // It fails once, and pauses with the lock.
    s.run_but("redirect");
    assert_eq!((s.world.count(What::Refreshes), s.store.locked_by), (1, Some(0)));
    s.settle(login).unwrap();
    s.settle(renewal).unwrap();
    assert_eq!(s.world.count(What::Refreshes), 1, "the one that failed");
    assert!(s.store.text().contains(s.grant().access_token().expose()));
}

mod a_login_elsewhere {
    use super::*;

    #[test]
    fn is_found_by_a_program_that_has_none_and_nobody_to_ask() {
        for later in [0, 4000] {
            let mut s = Scenario::new();
            assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
            s.switch_to(1).log_in().unwrap();
            s.sleep(later);
            s.switch_to(0).take_log();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.take_log().len(), if later == 0 { 1 } else { 2 }, "a refresh at most");
            assert_eq!(s.browser_opened(), 1);
        }
    }

    #[test]
    fn for_more_scopes_is_found_too() {
        let mut s = two();
        for at in [0, 1] {
            s.switch_to(at);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_fails!(s.call_tool_in_background("write_note"), ErrorKind::LoginRequired { .. });
        }
        assert_eq!(s.call_tool("write_note").status(), 200);
        s.switch_to(0);
        assert_eq!(s.call_tool_in_background("write_note").status(), 200);
        assert_eq!(s.browser_opened(), 2);
    }

    #[test]
    fn is_looked_for_on_a_disk_that_fails_and_the_answer_is_as_before() {
        let mut s = Scenario::new();
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        s.store.fail_loads(true);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(s.browser_opened(), 0);
    }

    #[test]
    fn is_looked_for_while_a_person_comes_and_then_that_one_logs_in() {
        let mut s = Scenario::new();
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        let background = s.demand(Demand::background(need("whoami")));
        s.run_until("load");
        let person = s.demand(Demand::interactive(need("whoami")));
        assert_eq!(background, person, "they wait for the same");
        s.settle(person).unwrap();
        assert_eq!(s.browser_opened(), 1);
    }

    #[test]
    fn after_a_logout_elsewhere_is_taken_up_however_often_this_program_has_renewed() {
        for renewals in [0, 1, 3] {
            let mut s = Scenario::new();
            assert_eq!(s.call_tool("whoami").status(), 200);
            for _ in 0..renewals {
                s.sleep(4000);
                assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            }
            // Two commands that run and end: `logout`, then `login`.
            s.switch_to(1).handle(Event::Forget);
            s.run();
            assert_eq!(s.store.bytes, None);
            s.crash();
            s.switch_to(2).log_in().unwrap();
            let theirs = s.world.newest_refresh_token().unwrap().to_owned();
            assert!(s.store.text().contains(&theirs));
            s.crash();

            s.switch_to(0).sleep(4000);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(adopted(&s), 1, "after {renewals} renewals");
            // The refresh that followed was theirs, and is what the store holds.
            assert_eq!((s.browser_opened(), s.world.count(What::Refreshes)), (2, renewals + 1));
            let newest = s.world.newest_refresh_token().unwrap();
            let server = &s.world.authorization[0];
            assert_eq!(
                server.lineage(newest).unwrap().family,
                server.lineage(&theirs).unwrap().family
            );
            assert!(s.store.text().contains(newest));
        }
    }

    /// The first has renewed to a number, and the second logs in to the same one.
    fn of_equal_numbers() -> Scenario {
        let mut s = two();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        let number = s.grant().generation();
        s.switch_to(1).log_in().unwrap();
        let login = s.world.newest_refresh_token().unwrap().to_owned();
        assert!(s.store.text().contains(&login), "the login is not saved");
        assert!(s.grant().generation() >= number);
        s.switch_to(0).sleep(4000);
        s
    }

    #[test]
    fn of_an_equal_number_is_taken_up() {
        let mut s = of_equal_numbers();
        let before = adopted(&s);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((adopted(&s), s.world.reuse_seen()), (before + 1, false));
    }

    #[test]
    fn is_renewed_in_the_place_of_the_older_one() {
        let mut s = of_equal_numbers();
        let login = s.world.newest_refresh_token().unwrap().to_owned();
        let old = s.world.authorization[0].lineage(&login).unwrap().family - 1;
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        let spent = s.world.token_requests().filter_map(|token| token.refresh);
        assert_eq!(spent.filter(|lineage| lineage.family == old).count(), 1, "the renewal before");
        let newest = s.world.newest_refresh_token().unwrap();
        assert!(s.store.text().contains(newest));
    }

    #[test]
    fn is_saved_without_waiting_for_a_renewal_that_holds_the_lock() {
        let mut s = two();
        s.switch_to(1).demand(Demand::interactive(need("whoami")).fresh());
        s.run_until("POST auth.example.com/token");
        s.switch_to(0).demand(Demand::background(need("whoami")));
        s.run_until("/token");
        assert_eq!(s.store.locked_by, Some(0));
        s.switch_to(1).run();
        let login = s.world.newest_refresh_token().unwrap().to_owned();
        assert_eq!(s.world.authorization[0].lineage(&login).unwrap().generation, 0);
        assert!(s.store.text().contains(&login));
        // What the renewal brings is of an older login.
        s.switch_to(0).run();
        assert_eq!(s.world.count(What::Refreshes), 1);
        assert!(s.store.text().contains(&login));
        assert_eq!(s.store.locked_by, None);
        // And the first goes on with it.
        s.switch_to(0).sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((s.browser_opened(), s.world.reuse_seen()), (2, false));
    }
}

mod a_logout {
    use super::*;

    #[test]
    fn waits_for_the_renewal_of_another_and_then_ends_what_it_brought() {
        let mut s = two();
        s.switch_to(1).demand(Demand::background(need("whoami")));
        s.run_until("/token");
        s.switch_to(0).handle(Event::Forget);
        s.run_until("lock");
        assert!(!s.perform("lock"), "the lock is held by the other");
        s.switch_to(1).run();
        s.switch_to(0).run();
        assert_eq!((s.store.bytes.clone(), s.store.locked_by), (None, None));
        s.switch_to(1).sleep(4000);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(s.store.bytes, None);
    }

    #[test]
    fn that_the_disk_refused_is_tried_again_and_spares_a_login_made_since() {
        let mut s = two();
        s.store.fail_saves(true);
        s.handle(Event::Forget);
        s.run();
        s.store.fail_saves(false);
        s.advance(1);
        s.switch_to(1).log_in().unwrap();
        let login = s.world.newest_refresh_token().unwrap().to_owned();
        s.switch_to(0).advance(300);
        assert!(s.store.text().contains(&login), "the newer login is erased");
    }
}

#[test]
fn tokens_that_were_adopted_keep_their_number_when_they_are_read_again() {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.sleep(1000);
    // Another program, which has never seen our login, logs out and in: it begins to count anew.
    s.switch_to(1).handle(Event::Forget);
    s.run();
    s.log_in().unwrap();
    s.switch_to(0).sleep(2590);
    let ours = s.machine().status().unwrap().generation;
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let theirs = s.grant().generation();
    assert!(theirs > ours);
    s.sleep(1000);
    s.demand(Demand::background(need("whoami")));
    s.run_until("save");
    assert_eq!(s.machine().status().unwrap().generation, theirs);
}
