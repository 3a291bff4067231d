//! A program is stopped while it holds the store's lock, for longer than others wait for that. They go
//! on without it; and when it wakes up, it finds that out before it overwrites anything of theirs.

use mcp_auth::{Challenged, Demand, DpopUse, Ending, ErrorKind, Event, Notice, SecretRef};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{Canned, Effect, Fault, What, assert_fails};

/// The first program knows a login, as does the second, and its access token has expired.
fn two() -> Scenario {
    two_of(Scenario::new())
}

fn two_of(mut s: Scenario) -> Scenario {
    s.world.authorization[0].registration.manageable = true;
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.sleep(4000);
    s.switch_to(0);
    s
}

/// Where the first program is stopped in its refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Unsent,
    Unanswered,
    Unsaved,
}

const POINTS: [Point; 3] = [Point::Unsent, Point::Unanswered, Point::Unsaved];

/// What a program does first when it wakes up: what it was about to do, or what its clock tells it.
const FIRST: [&str; 2] = ["goes on", "is late"];

fn stopped(point: Point) -> Scenario {
    let mut s = two();
    s.demand(Demand::background(need("whoami")));
    s.run_until("/token");
    if point != Point::Unsent {
        s.perform("/token");
    }
    if point == Point::Unsaved {
        s.deliver("/token");
        s.run_until("save");
    }
    assert_eq!(s.store.locked_by, Some(0));
    s.switch_to(1);
    s
}

fn wakes_up(s: &mut Scenario, first: &str) {
    s.switch_to(0);
    if first == "is late" {
        s.handle(Event::Tick);
    }
    s.run();
    s.advance(300);
    assert_eq!(s.store.locked_by, None);
}

fn newest(s: &Scenario) -> String {
    s.world.newest_refresh_token().unwrap().to_owned()
}

/// The login that this refresh token descends from.
fn family(s: &Scenario, token: &str) -> u64 {
    s.world.authorization[0].lineage(token).unwrap().family
}

/// What is stored, as the server's number for that login.
fn stored_family(s: &Scenario) -> u64 {
    let record: serde_json::Value = serde_json::from_str(&s.store.text()).unwrap();
    family(s, record["tokens"]["refresh_token"].as_str().unwrap())
}

fn each() -> impl Iterator<Item = (Point, &'static str)> {
    POINTS.into_iter().flat_map(|point| FIRST.map(|first| (point, first)))
}

#[test]
fn a_login_elsewhere_survives_a_renewal_that_wakes_up() {
    for (point, first) in each() {
        let mut s = stopped(point);
        s.log_in().unwrap();
        assert!(s.machine().status().unwrap().saved, "without the lock");
        let login = family(&s, &newest(&s));
        wakes_up(&mut s, first);
        assert_eq!(stored_family(&s), login, "{point:?}, {first}");
        // Both go on with it.
        for program in [0, 1] {
            s.switch_to(program).sleep(4000);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(stored_family(&s), login, "{point:?}, {first}");
        }
        assert_eq!((s.browser_opened(), s.world.reuse_seen()), (2, false));
    }
}

#[test]
fn a_logout_elsewhere_is_not_undone_by_a_renewal_that_wakes_up() {
    for (point, first) in each() {
        for at_the_servers in [true, false] {
            let mut s = stopped(point);
            if at_the_servers {
                let report = s.log_out();
                assert!(report.erased.is_ok());
            } else {
                s.handle(Event::Forget);
                s.run();
            }
            assert_eq!(s.store.bytes, None);
            wakes_up(&mut s, first);
            assert_eq!(s.store.bytes, None, "{point:?}, {first}");
            assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
            assert_eq!(s.told(|notice| matches!(notice, Notice::SaveFailed(_))), 0);
        }
    }
}

/// Locks that are leases end while their holder is stopped, and the second program refreshes with the
/// refresh token that the first has sent, or is about to. The server doesn't end the login for that.
fn stopped_with_a_lease(point: Point) -> Scenario {
    let mut s = stopped(point);
    s.store.leases = true;
    s.world.authorization[0].reuse_detection = false;
    s
}

#[test]
fn a_refresh_elsewhere_survives_one_that_wakes_up_and_is_refused() {
    for first in FIRST {
        let mut s = stopped_with_a_lease(Point::Unsent);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        let theirs = newest(&s);
        assert!(s.store.text().contains(&theirs));
        wakes_up(&mut s, first);
        assert!(s.store.text().contains(&theirs), "{first}: invalid is said of a generation");
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 1);
    }
}

#[test]
fn the_newest_tokens_of_a_login_are_kept_though_another_has_seen_it_end() {
    for refused in [false, true] {
        for point in [Point::Unanswered, Point::Unsaved] {
            let mut s = stopped_with_a_lease(point);
            let kept = newest(&s);
            if refused {
                // Then nothing is left of the login on disk.
                let generation = s.machine().status().unwrap().generation;
                let (status, headers) = (http::StatusCode::UNAUTHORIZED, http::HeaderMap::new());
                let challenged =
                    Challenged::read(status, &headers, Some(generation), &need("whoami"));
                s.handle(Event::Challenged(challenged.unwrap()));
            }
            assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
            assert!(!s.store.text().contains("\"refresh_token\":"), "the second has seen it end");
            assert_eq!(s.store.text().contains("\"access_token\":"), !refused);
            wakes_up(&mut s, "goes on");
            assert!(s.store.text().contains(&kept), "{refused}, {point:?}");
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            s.switch_to(1).restart();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.browser_opened(), 1);
        }
    }
}

mod a_logout_that_wakes_up {
    use super::*;

    /// The first program is stopped on this way out. It leaves the client alone, which others log in
    /// with meanwhile.
    fn stopped_before(event: Event, point: &str) -> Scenario {
        let mut s = two();
        s.config.delete_registration = false;
        s.restart();
        // Where a revoked refresh token takes nothing along that is renewed meanwhile.
        s.world.faults.push(Fault::answer("POST", "/revoke", Canned::new(200, "")).times(2));
        s.handle(event);
        s.run_until(point);
        assert_eq!(s.store.locked_by, Some(0));
        s.switch_to(1);
        s
    }

    #[test]
    fn spares_a_login_that_was_made_meanwhile() {
        for (local, point) in [(false, "/revoke"), (false, "erase"), (true, "erase")] {
            for first in FIRST {
                let event = if local { Event::Forget } else { Event::Logout };
                let mut s = stopped_before(event, point);
                s.log_in().unwrap();
                let login = stored_family(&s);
                wakes_up(&mut s, first);
                assert_eq!(stored_family(&s), login, "{point}, {first}");
                let server = &s.world.authorization[0];
                assert!(server.takes_refresh_token(u64::MAX / 2, &newest(&s)), "{point}, {first}");
                // The one that has logged out knows of the new login from then on.
                assert_eq!(s.call_tool_in_background("whoami").status(), 200);
                assert_eq!(s.browser_opened(), 2);
            }
        }
    }

    #[test]
    fn ends_what_was_renewed_meanwhile_at_the_server_too() {
        for point in ["/revoke", "erase"] {
            let mut s = stopped_before(Event::Logout, point);
            s.store.leases = true;
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            let renewed = newest(&s);
            let attempt = s.switch_to(0).machine().last_attempt().unwrap();
            let report = s.finish_logout(attempt);
            assert!(matches!(report.refresh_token, Ending::Ended), "{report:?}");
            assert!(report.is_complete(), "{report:?}");
            assert!(s.was_sent("https://auth.example.com", &renewed), "{point}: it is revoked");
            assert_eq!(s.store.bytes, None);
        }
    }

    #[test]
    fn does_not_wait_for_ever_for_a_renewal_that_hangs() {
        let mut s = stopped(Point::Unsent);
        let before = s.now().mono;
        assert!(s.log_out().is_complete());
        assert!(before.until(s.now().mono).as_secs() < 200);
        assert_eq!(s.store.bytes, None);
    }
}

mod a_login_that_wakes_up {
    use super::*;

    /// A person has logged in, and the first program is about to save that.
    fn stopped_at_the_save() -> Scenario {
        let mut s = two();
        s.demand(Demand::interactive(need("whoami")).fresh());
        s.run_until("/token");
        s.perform("/token");
        s.deliver("/token");
        s.run_until("save");
        assert_eq!(s.store.locked_by, None, "nobody has to wait for it");
        s.switch_to(1);
        s
    }

    #[test]
    fn gives_way_to_a_later_one() {
        for first in FIRST {
            let mut s = stopped_at_the_save();
            s.sleep(5);
            s.log_in().unwrap();
            let login = stored_family(&s);
            wakes_up(&mut s, first);
            assert_eq!(stored_family(&s), login, "{first}");
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.browser_opened(), 3);
        }
    }

    #[test]
    fn counts_more_than_what_was_made_of_an_older_one() {
        for first in FIRST {
            let mut s = stopped_at_the_save();
            let login = family(&s, &newest(&s));
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_ne!(stored_family(&s), login);
            wakes_up(&mut s, first);
            assert_eq!(stored_family(&s), login, "{first}");
        }
    }

    #[test]
    fn counts_more_than_an_older_one_that_a_wrong_clock_has_dated_ahead() {
        for renewed_meanwhile in [false, true] {
            let mut s = Scenario::new();
            s.set_wall_clock(1_000_000);
            assert_eq!(s.call_tool("whoami").status(), 200);
            s.switch_to(1);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            s.set_wall_clock(-1_000_000);
            s.switch_to(0);
            s.store.fail_saves(renewed_meanwhile);
            s.log_in().unwrap();
            let login = family(&s, &newest(&s));
            s.store.fail_saves(false);
            if renewed_meanwhile {
                s.switch_to(1).sleep(4000);
                assert_eq!(s.call_tool_in_background("whoami").status(), 200);
                assert_eq!(s.world.count(What::Refreshes), 1);
                s.switch_to(0).advance(300);
            }
            assert_eq!(stored_family(&s), login, "{renewed_meanwhile}");
        }
    }

    #[test]
    fn comes_back_after_a_logout_elsewhere() {
        let mut s = stopped_at_the_save();
        let login = family(&s, &newest(&s));
        s.handle(Event::Forget);
        s.run();
        assert_eq!(s.store.bytes, None);
        wakes_up(&mut s, "goes on");
        assert_eq!(stored_family(&s), login, "nobody has logged out of this one");
    }
}

#[test]
fn what_could_not_be_read_is_not_set_aside_where_it_is_a_good_record_by_now() {
    let mut s = two();
    s.store.overwrite("{\"version\":0}");
    for program in [0, 1] {
        s.switch_to(program).restart();
    }
    s.switch_to(0).demand(Demand::interactive(need("whoami")));
    s.run_until("/token");
    s.perform("/token");
    s.deliver("/token");
    s.run_until("save");
    s.switch_to(1).sleep(5);
    s.log_in().unwrap();
    let login = stored_family(&s);
    wakes_up(&mut s, "goes on");
    assert_eq!((stored_family(&s), s.store.set_aside.len()), (login, 1));
}

#[test]
fn a_program_that_hangs_with_the_lock_keeps_nobody_from_saving() {
    let mut s = stopped(Point::Unsent);
    s.restart();
    let began = s.now().mono;
    s.log_in().unwrap();
    assert!(s.machine().status().unwrap().saved);
    assert_eq!(s.told(|notice| matches!(notice, Notice::SaveFailed(_))), 0);
    assert!(began.until(s.now().mono).as_secs() < 300);
    assert_eq!(s.store.locked_by, Some(0));
}

#[test]
fn whoever_is_overtaken_again_and_again_keeps_its_tokens_and_tries_again_later() {
    let mut s = stopped(Point::Unsaved);
    s.switch_to(0);
    // Somebody else writes all the time: of the same login, and nothing newer.
    let record = s.store.text();
    let mut spaces = 0;
    let mut write = |s: &mut Scenario| {
        spaces += 1;
        s.store.overwrite(&format!("{record}{}", " ".repeat(spaces)));
    };
    while s.store.conflicts < 5 {
        s.run_until("save");
        write(&mut s);
        s.perform("save");
        s.deliver("save");
        s.drain();
    }
    assert_eq!(s.told(|notice| matches!(notice, Notice::SaveFailed(_))), 1);
    let status = s.machine().status().unwrap();
    assert!(!status.saved);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.advance(20);
    assert!(s.store.text().contains(&newest(&s)));
    assert_eq!(s.told(|notice| matches!(notice, Notice::SaveRecovered)), 1);
    assert!(s.machine().status().unwrap().saved);
}

/// The host never answers, whether or not it has saved.
#[test]
fn a_logout_after_a_save_that_was_not_answered_is_not_undone() {
    for saved in [true, false] {
        let mut s = Scenario::new();
        s.demand(Demand::interactive(need("whoami")));
        s.run_until("/token");
        s.perform("/token");
        s.deliver("/token");
        s.run_until("save");
        if saved {
            s.perform("save");
        }
        s.lose("save");
        s.wait();
        s.drain();
        s.grant();
        // The client was there, and is there no more.
        s.switch_to(1).handle(Event::Forget);
        s.run();
        assert_eq!(s.store.bytes, None);
        s.switch_to(0).advance(300);
        assert_eq!(s.store.bytes, None, "{saved}");
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    }
}

#[test]
fn a_first_save_that_was_not_answered_and_not_done_is_made_again() {
    let mut s = Scenario::new();
    // No client has to be registered, so this save is the first.
    s.world.authorization[0].preregister("by-hand", None);
    s.config.client_id = Some("by-hand".to_owned());
    s.demand(Demand::interactive(need("whoami")));
    s.run_until("save");
    s.lose("save");
    s.wait();
    s.advance(300);
    assert!(s.store.text().contains(&newest(&s)));
}

#[test]
fn a_login_whose_save_was_not_answered_does_not_overwrite_what_was_made_of_it() {
    let mut s = Scenario::new();
    s.demand(Demand::interactive(need("whoami")));
    s.run_until("/token");
    s.perform("/token");
    s.deliver("/token");
    s.run_until("save");
    s.perform("save");
    s.lose("save");
    s.wait();
    s.drain();
    assert!(!s.machine().status().unwrap().saved);
    s.sleep(4000);
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let renewed = newest(&s);
    s.switch_to(0).advance(300);
    assert!(s.store.text().contains(&renewed));
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert!(!s.world.reuse_seen());
}

mod a_holder_that_hangs {
    use super::*;

    /// Three programs know the login; the first holds the lock, and is about to say that it refreshes.
    fn stopped_before_the_mark() -> Scenario {
        let mut s = two();
        s.switch_to(2).start();
        s.demanded(Demand::load()).unwrap();
        s.switch_to(0).demand(Demand::background(need("whoami")));
        s.run_until("save");
        assert_eq!(s.store.locked_by, Some(0));
        s
    }

    /// The program with this number asks until it is not told any more that the lock is held; how
    /// often it was.
    fn asks_in_vain(s: &mut Scenario, program: usize) -> usize {
        s.switch_to(program);
        for times in 0..20 {
            let attempt = s.demand(Demand::background(need("whoami")));
            s.run_until_rest_or("save");
            if s.machine().is_running(attempt) && !s.store.text().contains("awaited") {
                // The first one says so to those who come after it.
                s.run();
            }
            if s.machine().is_running(attempt) {
                return times;
            }
            match s.machine().failure(attempt).map(mcp_auth::Error::kind) {
                Some(ErrorKind::Store(error)) => assert!(error.is_busy()),
                other => panic!("{other:?}"),
            }
        }
        panic!("it is kept out for ever");
    }

    #[test]
    fn keeps_nobody_from_what_others_have_saved() {
        let mut s = stopped_before_the_mark();
        s.switch_to(1).log_in().unwrap();
        let login = family(&s, &newest(&s));
        s.switch_to(2);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((stored_family(&s), s.world.count(What::Refreshes)), (login, 0));
    }

    #[test]
    fn and_has_sent_nothing_sends_nothing_when_it_wakes_up() {
        for first in FIRST {
            let mut s = stopped_before_the_mark();
            assert_eq!(asks_in_vain(&mut s, 1), 4);
            s.run();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            let renewed = newest(&s);
            wakes_up(&mut s, first);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert!(s.store.text().contains(&renewed));
            assert_eq!(
                (s.world.count(What::Refreshes), s.world.reuse_seen()),
                (1, false),
                "{first}"
            );
        }
    }

    #[test]
    fn is_overtaken_by_one_refresh() {
        let mut s = stopped_before_the_mark();
        assert_eq!(asks_in_vain(&mut s, 1), 4);
        // It knows how long another has waited.
        assert_eq!(asks_in_vain(&mut s, 2), 2);
        // Both are about to say that they refresh.
        s.switch_to(1).run();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        let attempt = s.switch_to(2).machine().last_attempt().unwrap();
        s.settle(attempt).unwrap();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((s.world.count(What::Refreshes), s.world.reuse_seen()), (1, false));
    }

    #[test]
    fn and_another_is_at_it_by_now_is_not_joined() {
        let mut s = stopped_before_the_mark();
        assert_eq!(asks_in_vain(&mut s, 2), 4);
        // It knows how long another has waited.
        assert_eq!(asks_in_vain(&mut s, 1), 2);
        s.switch_to(1).run_until("/token");
        // The second has said so, and its answer is still to come.
        let attempt = s.switch_to(2).machine().last_attempt().unwrap();
        assert_fails!(s.settle(attempt).unwrap_err(), ErrorKind::Store(_));
        s.switch_to(1).run();
        assert_eq!((s.world.count(What::Refreshes), s.world.reuse_seen()), (1, false));
        s.switch_to(2);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }

    /// As a command does, which is run again and again.
    #[test]
    fn is_overtaken_by_programs_that_end_with_their_first_wait() {
        let mut s = stopped_before_the_mark();
        let mut runs = 0;
        loop {
            s.switch_to(1).restart();
            runs += 1;
            assert!(runs < 12, "they are kept out for ever");
            match s.demanded(Demand::background(need("whoami"))) {
                Ok(()) => break,
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Store(why) if why.is_busy()))
                }
            }
        }
        assert!((6..=8).contains(&runs), "{runs} runs");
        assert_eq!((s.world.count(What::Refreshes), s.world.reuse_seen()), (1, false));
    }

    #[test]
    fn whose_overtaker_is_killed_locks_nobody_out() {
        let mut s = stopped_before_the_mark();
        assert_eq!(asks_in_vain(&mut s, 1), 4);
        s.run_until("/token");
        s.crash();
        s.switch_to(0).crash();
        s.switch_to(2);
        let mut waited = 0;
        while let Err(error) = s.demanded(Demand::background(need("whoami"))) {
            assert!(matches!(error.kind(), ErrorKind::Store(why) if why.is_busy()), "{error}");
            s.restart();
            s.advance(60);
            waited += 60;
            assert!(waited <= 300, "it is kept out for ever");
        }
        assert_eq!((s.world.count(What::Refreshes), s.world.reuse_seen()), (1, false));
    }

    /// An hour and a day, back and ahead.
    const SET_BY: [i64; 4] = [-86_400, -3_600, 3_600, 86_400];

    #[test]
    fn whose_overtaker_lives_is_not_joined_because_a_clock_was_set() {
        for by in SET_BY {
            // Whoever has not seen the mark before knows all the same that the clock was set.
            for seen_before in [true, false] {
                let mut s = stopped_before_the_mark();
                assert_eq!(asks_in_vain(&mut s, 1), 4);
                s.run_until("/token");
                s.perform("/token");
                let slow = s.hold("/token");
                s.switch_to(0).crash();
                let asks =
                    |s: &mut Scenario| s.switch_to(2).demanded(Demand::background(need("whoami")));
                if seen_before {
                    assert_fails!(asks(&mut s).unwrap_err(), ErrorKind::Store(_));
                }
                s.set_wall_clock(by);
                assert_fails!(asks(&mut s).unwrap_err(), ErrorKind::Store(_));
                assert_eq!(s.world.count(What::Refreshes), 1, "{by} {seen_before}");
                s.switch_to(1).bring(slow);
                s.run();
                s.switch_to(2);
                assert_eq!(s.call_tool_in_background("whoami").status(), 200);
                assert_eq!((s.browser_opened(), s.world.reuse_seen()), (1, false), "{by}");
            }
        }
    }

    #[test]
    fn whose_overtaker_is_killed_locks_nobody_out_though_a_clock_was_set() {
        for by in SET_BY {
            for ends_with_each_wait in [true, false] {
                let mut s = stopped_before_the_mark();
                assert_eq!(asks_in_vain(&mut s, 1), 4);
                s.run_until("/token");
                s.crash();
                s.switch_to(0).crash();
                s.set_wall_clock(by);
                s.switch_to(2);
                let mut waited = 0;
                while let Err(error) = s.demanded(Demand::background(need("whoami"))) {
                    let busy = matches!(error.kind(), ErrorKind::Store(why) if why.is_busy());
                    assert!(busy, "{by}: {error}");
                    if ends_with_each_wait {
                        s.restart();
                    }
                    s.advance(60);
                    waited += 60;
                    assert!(waited <= 600, "{by} {ends_with_each_wait}: it is kept out for ever");
                }
                // A clock that was set back makes the old access token a fresh one.
                assert!(s.world.count(What::Refreshes) <= 1 && !s.world.reuse_seen(), "{by}");
            }
        }
    }

    #[test]
    fn and_lives_is_not_overtaken_because_a_clock_was_set() {
        for by in SET_BY {
            let mut s = two();
            s.switch_to(0).demand(Demand::background(need("whoami")));
            s.run_until("/token");
            s.perform("/token");
            let slow = s.hold("/token");
            for number in 0..2 {
                let asked = s.switch_to(1).demanded(Demand::background(need("whoami")));
                assert_fails!(asked.unwrap_err(), ErrorKind::Store(_));
                assert_eq!(s.world.count(What::Refreshes), 1, "{by} {number}");
                s.set_wall_clock(by);
            }
            s.switch_to(0).bring(slow);
            s.run();
            s.switch_to(1);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!((s.browser_opened(), s.world.reuse_seen()), (1, false), "{by}");
        }
    }

    #[test]
    fn before_it_sends_again_does_not_when_it_wakes_up() {
        for first in FIRST {
            let mut s = two();
            let busy = Effect::Answer(Canned::json(503, "{}"));
            s.world.faults.push(Fault::new("POST", "/token", busy).times(1));
            s.switch_to(0).demand(Demand::background(need("whoami")));
            s.run_until("/token");
            s.perform("/token");
            assert_eq!(asks_in_vain(&mut s, 1), 4);
            s.run();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            wakes_up(&mut s, first);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(
                (s.world.count(What::Refreshes), s.world.reuse_seen()),
                (2, false),
                "{first}"
            );
        }
    }

    /// The server wants a nonce, and so another proof (RFC 9449 §8): between the two requests a key signs.
    #[test]
    fn before_what_it_sends_again_is_signed_does_not_send_it_when_it_wakes_up() {
        for (first, point) in
            FIRST.into_iter().flat_map(|first| [(first, "/token"), (first, "sign")])
        {
            let mut s = Scenario::new();
            let place = SecretRef::File("/run/keys/dpop.pem".to_owned());
            s.world.authorization[0].dpop = true;
            s.config.dpop = DpopUse::Auto;
            s.config.dpop_key = Some(place.clone());
            s.keys.insert(place, "ours".to_owned());
            let mut s = two_of(s);
            s.world.authorization[0].dpop_nonce = Some("n-1".to_owned());
            s.demand(Demand::background(need("whoami")));
            s.run_until("/token");
            s.perform("/token");
            if point == "sign" {
                s.deliver("/token");
                s.run_until("sign");
            }
            assert_eq!(asks_in_vain(&mut s, 1), 4);
            s.run();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            wakes_up(&mut s, first);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            // The first was refused for its nonce, as was the other program's first.
            assert_eq!(
                (s.world.count(What::Refreshes), s.world.reuse_seen()),
                (3, false),
                "{first} at {point}"
            );
        }
    }

    #[test]
    fn in_its_refresh_counts_as_one_that_has_crashed_there() {
        for (point, outcome) in [(Point::Unsent, 200), (Point::Unanswered, 0)] {
            let mut s = stopped(point);
            assert_eq!(asks_in_vain(&mut s, 1), 4);
            s.run();
            let answer = s.call_tool_in_background("whoami");
            if outcome == 200 {
                assert_eq!(answer.status(), 200);
            } else {
                assert_fails!(answer, ErrorKind::LoginRequired { .. });
            }
        }
    }
}
