//! Losing interest: at every point of a login and of a refresh, and without losing a token.

use mcp_auth::{Demand, ErrorKind, Event};
use mcp_auth_world::scenario::{Held, Scenario, need};
use mcp_auth_world::{Canned, Fault, What, assert_fails};

/// Cancels a login at this point, and lets everything come to rest.
fn cancelled_at(point: &str) -> Scenario {
    let mut s = Scenario::new();
    let attempt = s.demand(Demand::interactive(need("whoami")));
    s.run_until(point);
    s.handle(Event::Cancel(attempt));
    assert!(!s.machine().is_running(attempt));
    assert_fails!(s.machine().failure(attempt).expect("a failure"), ErrorKind::Cancelled);
    s.run();
    s
}

#[test]
fn a_login_can_be_cancelled_at_every_point_and_begun_again() {
    for point in [
        "load",
        "GET mcp.example.com/mcp",
        "POST mcp.example.com/mcp",
        "oauth-protected-resource",
        "oauth-authorization-server",
        "listen",
        "/register",
        "save",
        "browse",
        "redirect",
    ] {
        let mut s = cancelled_at(point);
        assert_eq!(s.world.count(What::TokenRequests), 0, "{point}");
        assert_eq!(s.call_tool("whoami").status(), 200, "{point}");
        assert!(s.world.registrations() <= 1, "{point}: a registration was lost");
        s.check_secrets();
    }
}

#[test]
fn a_code_that_is_being_paid_for_is_not_lost() {
    let mut s = cancelled_at("/token");
    // Nobody waits for it, but there it is.
    s.grant();
    s.restart();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.browser_opened(), 1);
}

#[test]
fn a_refresh_that_is_out_is_seen_through() {
    for point in ["/token", "save"] {
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(4000);
        let attempt = s.demand(Demand::background(need("whoami")));
        s.run_until(point);
        s.handle(Event::Cancel(attempt));
        s.run();
        s.grant();
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), 1);
    }
}

#[test]
fn who_comes_while_it_is_seen_through_gets_its_token() {
    let mut s = Scenario::new();
    let first = s.demand(Demand::interactive(need("whoami")));
    s.run_until("/token");
    s.handle(Event::Cancel(first));
    let second = s.demand(Demand::interactive(need("whoami")));
    assert_ne!(first, second);
    s.settle(second).unwrap();
    assert_eq!(s.browser_opened(), 1);
    s.grant();
}

#[test]
fn a_refresh_that_was_not_sent_yet_gives_the_lock_back() {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.sleep(4000);
    let attempt = s.demand(Demand::background(need("whoami")));
    s.run_until("lock");
    s.perform("lock");
    s.handle(Event::Cancel(attempt));
    s.run();
    assert_eq!(s.store.locked_by, None);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.world.count(What::Refreshes), 1);
}

#[test]
fn cancelling_what_is_over_changes_nothing() {
    let mut s = Scenario::new();
    let attempt = s.demand(Demand::interactive(need("whoami")));
    s.settle(attempt).unwrap();
    s.handle(Event::Cancel(attempt));
    s.run();
    s.grant();
    assert!(s.machine().failure(attempt).is_none());
}

#[test]
fn the_listener_is_closed_when_nobody_waits_any_more() {
    for point in ["listen", "/register", "browse", "redirect"] {
        let mut s = cancelled_at(point);
        assert_eq!(s.listening(), None, "{point}");
    }
    let mut s = Scenario::new();
    s.demand(Demand::interactive(need("whoami")));
    s.run_until("redirect");
    assert!(s.listening().is_some());
    s.run();
    assert_eq!(s.listening(), None);
}

#[test]
fn a_token_answer_that_comes_after_its_time_is_adopted() {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.sleep(4000);
    let attempt = s.demand(Demand::background(need("whoami")));
    s.run_until("/token");
    s.perform("/token");
    // The host is silent for longer than a host may be; then the answer comes after all.
    s.wait();
    s.drain();
    s.deliver("/token");
    let _ = s.settle(attempt);
    s.sleep(300);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!((s.browser_opened(), s.world.reuse_seen()), (1, false));
}

/// Gives up on each try of a token request, after the server has answered those that are `true`;
/// their answers.
fn given_up(s: &mut Scenario, tries: [bool; 2]) -> Vec<Held> {
    let mut late = Vec::new();
    for answered in tries {
        s.run_until("/token");
        if answered {
            s.perform("/token");
            late.push(s.hold("/token"));
        } else {
            s.lose("/token");
        }
        // Its time passes, and then the pause before the next.
        s.wait();
        s.wait();
    }
    late
}

#[test]
fn of_several_renewals_given_up_on_any_answer_is_adopted_and_none_replaces_another() {
    for order in [vec![0], vec![1], vec![0, 1], vec![1, 0]] {
        let mut s = Scenario::new();
        s.world.authorization[0].reuse_grace = Some(3600);
        s.config.retry.tries = 1;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(4000);
        let attempt = s.demand(Demand::background(need("whoami")));
        let mut late: Vec<_> = given_up(&mut s, [true, true]).into_iter().map(Some).collect();
        assert_fails!(s.settle(attempt).unwrap_err(), ErrorKind::Passing { .. });
        let mut lent = None;
        for index in order {
            s.bring(late[index].take().unwrap());
            s.run();
            let generation = s.grant().generation();
            assert_eq!(*lent.get_or_insert(generation), generation, "an answer was replaced");
        }
        assert_eq!(s.world.count(What::Refreshes), 2);
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 1);
    }
}

/// A login that has failed though the server has answered one of its two tries: that answer.
fn login_given_up(s: &mut Scenario, first: bool) -> Held {
    let attempt = s.demand(Demand::interactive(need("whoami")).fresh());
    if !first {
        // A server that takes longer than its own codes live.
        let reply = r#"{"access_token":"late","token_type":"Bearer","expires_in":3600}"#;
        s.world.faults.push(Fault::answer("POST", "/token", Canned::json(200, reply)));
    }
    let mut late = given_up(s, [first, !first]);
    s.settle(attempt).unwrap_err();
    late.remove(0)
}

/// For those who were not logged in before, and those who were; for each of the two tries.
const CASES: [(bool, bool); 4] = [(false, true), (false, false), (true, true), (true, false)];

#[test]
fn an_answer_that_comes_after_its_login_has_failed_is_adopted() {
    for (logged_in, first) in CASES {
        let mut s = Scenario::new();
        if logged_in {
            s.log_in().unwrap();
        }
        let late = login_given_up(&mut s, first);
        s.bring(late);
        s.run();
        let issued = if first { s.world.newest_access_token().unwrap() } else { "late" }.to_owned();
        assert_eq!(s.grant().access_token().expose(), &issued);
        assert!(s.store.text().contains(&issued));
    }
}

#[test]
fn an_answer_that_comes_after_its_login_has_failed_does_not_replace_a_newer_login() {
    for (logged_in, first) in CASES {
        let mut s = Scenario::new();
        if logged_in {
            s.log_in().unwrap();
        }
        let late = login_given_up(&mut s, first);
        // The person logs in again, perhaps as somebody else.
        s.log_in().unwrap();
        let newer = s.world.newest_access_token().unwrap().to_owned();
        s.bring(late);
        s.run();
        assert_eq!(s.grant().access_token().expose(), &newer);
        assert!(s.store.text().contains(&newer));
    }
}

#[test]
fn an_answer_that_comes_after_a_logout_is_not_adopted() {
    let mut s = Scenario::new();
    let late = login_given_up(&mut s, false);
    s.handle(Event::Forget);
    s.run();
    s.bring(late);
    s.run();
    assert_eq!(s.store.bytes, None);
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
}
