//! Clocks that jump: a wall clock that is set, a machine that sleeps.

use mcp_auth::TokenState;
use mcp_auth_world::What;
use mcp_auth_world::scenario::Scenario;

const DAY: i64 = 86_400;

fn logged_in() -> Scenario {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s
}

/// The servers' clock is the world's: after ours was set, theirs is what it was.
fn call(s: &mut Scenario) -> usize {
    let before = s.world.count(What::Refreshes);
    s.obtain(&mcp_auth::Need::default(), mcp_auth::Demand::background).unwrap();
    s.world.count(What::Refreshes) - before
}

#[test]
fn set_back_the_wall_clock_brings_no_token_back_to_life() {
    let mut s = logged_in();
    s.sleep(4000);
    s.set_wall_clock(-3500);
    assert_eq!(call(&mut s), 1);
}

#[test]
fn set_back_a_good_token_stays_good() {
    let mut s = logged_in();
    s.set_wall_clock(-2 * DAY);
    for _ in 0..5 {
        assert_eq!(call(&mut s), 0);
        s.sleep(60);
    }
    // And it ends when its time has passed, whatever the wall clock says.
    s.sleep(3600);
    assert_eq!(call(&mut s), 1);
}

#[test]
fn set_forward_it_costs_one_refresh() {
    let mut s = logged_in();
    s.set_wall_clock(2 * DAY);
    assert_eq!(call(&mut s), 1);
    for _ in 0..5 {
        s.sleep(60);
        assert_eq!(call(&mut s), 0);
    }
}

#[test]
fn while_a_machine_sleeps_only_the_wall_clock_goes_on() {
    let mut s = logged_in();
    s.set_wall_clock(4000);
    assert!(!matches!(s.token(), TokenState::Ready(_)));
    assert_eq!(call(&mut s), 1);
}

#[test]
fn set_back_before_the_tokens_were_issued_a_restart_does_not_trust_them() {
    let mut s = logged_in();
    s.restart();
    s.set_wall_clock(-2 * DAY);
    assert_eq!(call(&mut s), 1);
    assert_eq!(call(&mut s), 0);
    assert_eq!(s.browser_opened(), 1);
}

#[test]
fn at_the_ends_of_time_nothing_breaks() {
    for by in [i64::MAX, i64::MIN] {
        let mut s = logged_in();
        s.set_wall_clock(by);
        s.obtain(&mcp_auth::Need::default(), mcp_auth::Demand::background).unwrap();
        s.restart();
        s.obtain(&mcp_auth::Need::default(), mcp_auth::Demand::background).unwrap();
    }
}
