//! Several programs, one store: one refresh between them, and nobody loses a login.

use mcp_auth::{Demand, ErrorKind, Event, Notice};
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
    for action in ["lock", "/token"] {
        s.perform(action);
        s.deliver(action);
        s.drain();
    }
    s.settle(login).unwrap();
    s.settle(renewal).unwrap();
    assert_eq!(s.world.count(What::Refreshes), 1, "the one that failed");
    assert!(s.store.text().contains(s.grant().access_token().expose()));
}
