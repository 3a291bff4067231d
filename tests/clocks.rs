//! Clocks that jump: a wall clock that is set, a machine that sleeps; clocks that are wrong.

use mcp_auth::{Demand, Event, Need, Notice, TokenState};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{Canned, Fault, Person, What};

const HOUR: i64 = 3600;
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
fn set_back_by_a_little_a_restart_believes_the_record() {
    let mut s = logged_in();
    s.restart();
    s.set_wall_clock(-2);
    assert_eq!(call(&mut s), 0);
}

#[test]
fn set_forward_and_back_again_it_costs_no_more_than_a_refresh_each() {
    let mut s = logged_in();
    s.set_wall_clock(40 * DAY);
    assert_eq!(call(&mut s), 1);
    s.set_wall_clock(-40 * DAY);
    for restarted in [false, true, true] {
        if restarted {
            s.restart();
        }
        call(&mut s);
        assert_eq!(call(&mut s), 0);
    }
    assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (2, 1));
}

#[test]
fn set_to_and_fro_it_makes_no_storm_of_a_renewal_that_nobody_asks_for() {
    let mut s = Scenario::new();
    s.config.refresh_proactively = true;
    assert_eq!(s.call_tool("whoami").status(), 200);
    for turn in 0..100 {
        s.set_wall_clock(if turn % 2 == 0 { 40 * DAY } else { -40 * DAY });
        s.handle(Event::Tick);
        s.advance(6);
    }
    let refreshes = s.world.count(What::Refreshes);
    assert!((1..=11).contains(&refreshes), "{refreshes} in ten minutes");
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

mod a_wrong_one {
    use super::*;

    /// By how many seconds ours is known to be ahead, and of whose.
    fn skew(s: &mut Scenario) -> Option<(i64, String)> {
        s.machine().clock_skew().map(|skew| (skew.seconds, skew.server.clone()))
    }

    fn told(s: &Scenario) -> usize {
        s.told(|notice| matches!(notice, Notice::ClockSkew(_)))
    }

    #[test]
    fn is_noticed_by_the_servers_date_and_told_once() {
        for by in [-2 * DAY, -HOUR, HOUR, 2 * DAY] {
            let mut s = Scenario::new();
            s.set_own_clock(by);
            assert_eq!(s.call_tool("whoami").status(), 200);
            let (seconds, _) = skew(&mut s).unwrap();
            assert!(seconds.abs_diff(by) <= 2, "{seconds} for {by}");
            for _ in 0..5 {
                s.sleep(4000);
                assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            }
            assert_eq!(told(&s), 1);
            let skew = s.machine().clock_skew().unwrap();
            assert!(skew.advice().contains("clock"), "{}", skew.advice());
        }
    }

    #[test]
    fn changes_nothing_about_how_long_a_token_lives() {
        for by in [-2 * DAY, 2 * DAY] {
            let mut s = Scenario::new();
            s.set_own_clock(by);
            assert_eq!(s.call_tool("whoami").status(), 200);
            s.sleep(3500);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.world.count(What::Refreshes), 0);
            s.sleep(100);
            s.take_log();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            let refreshed = ["POST auth.example.com/token 200", "POST mcp.example.com/mcp 200"];
            assert_eq!(s.take_log(), refreshed, "ahead of the refusal");
        }
    }

    #[test]
    fn is_none_if_it_is_off_by_less_than_a_minute() {
        for by in [-55, 55] {
            let mut s = Scenario::new();
            s.set_own_clock(by);
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!((skew(&mut s), told(&s)), (None, 0));
        }
    }

    #[test]
    fn is_no_longer_one_once_it_was_set() {
        let mut s = Scenario::new();
        s.set_own_clock(HOUR);
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.set_own_clock(-HOUR);
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(skew(&mut s), None);
        assert_eq!(s.told(|notice| matches!(notice, Notice::ClockRight { .. })), 1);
        s.restart();
        s.demanded(Demand::load()).unwrap();
        assert_eq!(skew(&mut s), None);
    }

    #[test]
    fn is_known_after_a_restart_without_a_request() {
        let mut s = Scenario::new();
        s.set_own_clock(HOUR);
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.restart();
        s.take_log();
        s.demanded(Demand::load()).unwrap();
        assert!(s.take_log().is_empty());
        assert_eq!(skew(&mut s).map(|(seconds, _)| seconds / 60), Some(59));
    }

    #[test]
    fn is_not_what_a_slow_answer_is() {
        let mut s = logged_in();
        s.sleep(4000);
        let attempt = s.demand(Demand::background(Need::default()));
        s.run_until("/token");
        s.perform("/token");
        s.sleep(62);
        s.deliver("/token");
        s.settle(attempt).unwrap();
        assert_eq!((skew(&mut s), s.world.count(What::Refreshes)), (None, 1));
    }

    #[test]
    fn is_not_what_a_page_from_a_cache_shows() {
        let old =
            |status| Canned::new(status, "{}").header("date", "Mon, 01 Jan 2018 00:00:00 GMT");
        let mut s = Scenario::new();
        s.world.faults.push(Fault::answer(
            "GET",
            "/.well-known/oauth-protected-resource/mcp",
            old(404),
        ));
        let _ = s.inspect();
        assert_eq!(told(&s), 0);
        // But what comes from the future was not kept.
        let new = Canned::new(404, "{}").header("date", "Fri, 01 Jan 2038 00:00:00 GMT");
        s.world.faults.push(Fault::answer("GET", "/.well-known/oauth-protected-resource/mcp", new));
        let _ = s.inspect();
        assert_eq!(told(&s), 1);
    }

    #[test]
    fn is_not_what_a_document_of_another_session_shows() {
        for (by, told_in_all) in [(-600, 1), (-100, 1), (600, 1), (0, 0)] {
            let mut s = Scenario::new();
            s.documents_are_shared = true;
            s.set_own_clock(by);
            s.log_in().unwrap();
            for _ in 0..2 {
                s.sleep(130);
                s.log_in().unwrap();
            }
            assert_eq!(told(&s), told_in_all, "{by}");
            assert_eq!(s.told(|notice| matches!(notice, Notice::ClockRight { .. })), 0, "{by}");
        }
    }

    #[test]
    fn of_one_server_among_others_is_told_once_too() {
        let mut s = Scenario::new();
        s.config.issuer = Some("https://auth.example.com".to_owned());
        let wrong = Canned::new(401, "").header("date", "Mon, 01 Jan 2018 00:00:00 GMT");
        let wrong = Fault::answer("*", "*", wrong).at("https://mcp.example.com");
        s.world.faults.push(wrong.times(u32::MAX));
        s.person = Person::Denies;
        for _ in 0..5 {
            assert!(s.log_in().is_err());
        }
        assert_eq!(told(&s), 1);
        assert_eq!(skew(&mut s), None, "what was said last counts");
    }

    #[test]
    fn in_a_form_that_nobody_reads_says_nothing() {
        for date in ["", "soon", "1700000000", "Mon, 31 Feb 2026 00:00:00 GMT"] {
            let mut s = Scenario::new();
            let answer = Canned::new(401, "").header("date", date);
            s.world.faults.push(Fault::answer("*", "/mcp", answer));
            s.inspect().unwrap();
            assert_eq!(skew(&mut s), None);
        }
    }
}
