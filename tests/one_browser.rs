//! One browser per server and account: of the programs that need a login at the same time, one asks
//! its person, and the others wait for what comes of it.

use mcp_auth::{AttemptId, Demand, Error, ErrorKind, Event, Need, Notice, TokenState};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{Canned, Fault, NetworkError, Person, What, assert_fails};

type Attempts = Vec<(usize, AttemptId)>;

/// So many programs are asked for the same at the same moment, each with a person there.
fn start(s: &mut Scenario, programs: usize, demand: &Demand) -> Attempts {
    let one = |at| (at, s.switch_to(at).demand(demand.clone()));
    let attempts = (0..programs).map(one).collect();
    s.switch_to(0);
    attempts
}

fn interactive() -> Demand {
    Demand::interactive(need("whoami"))
}

/// Program 0 has opened its browser, where nobody does anything; program 1 waits for it.
fn asking(demand: &Demand) -> (Scenario, Attempts) {
    let mut s = Scenario::new();
    let attempts = asking_in(&mut s, demand);
    (s, attempts)
}

fn asking_in(s: &mut Scenario, demand: &Demand) -> Attempts {
    s.person = Person::Ignores;
    let (before, waiting) = (s.browser_opened(), told_to_wait(s));
    let first = s.switch_to(0).demand(demand.clone());
    s.run();
    let second = s.switch_to(1).demand(demand.clone());
    s.together(3);
    assert_eq!((s.browser_opened() - before, told_to_wait(s) - waiting), (1, 1));
    s.switch_to(0);
    vec![(0, first), (1, second)]
}

fn all_are_served(s: &mut Scenario, attempts: &Attempts) {
    let ended = s.settle_together(attempts);
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    for (at, _) in attempts {
        assert_eq!(s.switch_to(*at).call_tool_in_background("whoami").status(), 200);
    }
    at_rest(s);
}

fn at_rest(s: &mut Scenario) {
    s.together(30);
    assert_eq!((mark(s), s.store.locked_by), (None, None));
    s.check_secrets();
}

fn told_to_wait(s: &Scenario) -> usize {
    s.told(|notice| matches!(notice, Notice::AskedElsewhere))
}

/// What the record says of a login that is pending.
fn mark(s: &Scenario) -> Option<serde_json::Value> {
    let record: serde_json::Value = serde_json::from_slice(s.store.bytes.as_ref()?).unwrap();
    record.get("login").cloned().filter(|login| login.get("ended").is_none())
}

/// Puts this in the place of the mark.
fn set_mark(s: &mut Scenario, mark: serde_json::Value) {
    let mut record: serde_json::Value = serde_json::from_str(&s.store.text()).unwrap();
    record["login"] = mark;
    s.store.overwrite(&record.to_string());
}

/// The first of two has failed, and the second has a token; why the first has.
fn only_the_second_is_served(s: &mut Scenario, attempts: &[(usize, AttemptId)]) -> Error {
    let mut ended = s.settle_together(attempts);
    ended.pop().unwrap().unwrap();
    at_rest(s);
    ended.pop().unwrap().unwrap_err()
}

fn error(result: &Result<(), Error>) -> &ErrorKind {
    result.as_ref().unwrap_err().kind()
}

#[test]
fn eight_programs_that_start_together_open_one_browser() {
    let mut s = Scenario::new();
    let attempts = start(&mut s, 8, &interactive());
    all_are_served(&mut s, &attempts);
    assert_eq!((s.browser_opened(), s.world.registrations()), (1, 1));
    assert_eq!(s.world.count(What::TokenRequests), 1);
    assert_eq!(told_to_wait(&s), 7, "{:#?}", s.notices());
}

#[test]
fn whoever_starts_first_and_whoever_is_slow() {
    // Each program in turn is the one that the others get ahead of, by so many steps.
    for slow in 0..3 {
        for steps in 0..40 {
            let mut s = Scenario::new();
            let attempts = start(&mut s, 3, &interactive());
            for _ in 0..steps {
                s.switch_to(slow).advance_one();
            }
            s.switch_to(0);
            all_are_served(&mut s, &attempts);
            assert_eq!((s.browser_opened(), s.world.registrations()), (1, 1), "{slow} {steps}");
        }
    }
}

#[test]
fn however_long_the_person_takes_the_others_wait() {
    let (mut s, attempts) = asking(&interactive());
    s.together(200);
    assert_eq!((s.browser_opened(), told_to_wait(&s)), (1, 1));
    assert!(s.goes_back_to_tab(0, &Person::Approves));
    all_are_served(&mut s, &attempts);
    assert_eq!((s.browser_opened(), s.world.registrations()), (1, 1));
}

#[test]
fn what_was_obtained_while_this_one_was_about_to_ask_is_adopted() {
    let mut s = Scenario::new();
    let second = s.switch_to(1).demand(interactive());
    s.run_until("oauth-authorization-server");
    s.run_until("load");
    assert_eq!(s.switch_to(0).call_tool("whoami").status(), 200);
    s.switch_to(1).settle(second).unwrap();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!((s.browser_opened(), s.world.registrations(), told_to_wait(&s)), (1, 1, 0));
}

#[test]
fn in_the_background_nobody_waits_for_a_person() {
    let (mut s, attempts) = asking(&interactive());
    s.switch_to(2);
    let answer = s.call_tool_in_background("whoami");
    assert_fails!(answer, ErrorKind::LoginRequired { .. });
    assert!(answer.error().to_string().contains("another program"), "{}", answer.error());
    assert!(s.goes_back_to_tab(0, &Person::Approves));
    all_are_served(&mut s, &attempts);
}

mod the_program_that_asks {
    use super::*;

    /// Plays program 0 up to the point with this number, while program 1 wants the same; what both
    /// have. `None` if there are not so many.
    fn at_point(number: usize) -> Option<(Scenario, Attempts, String)> {
        let mut s = Scenario::new();
        let first = s.switch_to(0).demand(interactive());
        let mut left = number;
        let mut is_here = || left.checked_sub(1).map(|fewer| left = fewer).is_none();
        let point = loop {
            s.drain();
            let Some(action) = s.open().first().cloned() else {
                break is_here().then(|| "at the end".to_owned())?;
            };
            if action != "redirect" {
                if is_here() {
                    break format!("before {action}");
                }
                assert!(s.perform(&action));
            }
            if is_here() {
                break format!("{action} unanswered");
            }
            s.deliver(&action);
        };
        let second = s.switch_to(1).demand(interactive());
        s.switch_to(0);
        Some((s, vec![(0, first), (1, second)], point))
    }

    #[test]
    fn may_be_killed_at_any_point_and_another_takes_over() {
        let mut points = Vec::new();
        for number in 0.. {
            let Some((mut s, attempts, point)) = at_point(number) else { break };
            s.crash();
            let began = s.switch_to(1).now().mono;
            let client_saved = s.store.text().contains("client_id");
            let (browsers, registrations) = (s.browser_opened(), s.world.registrations());
            s.settle(attempts[1].1).unwrap();
            let waited = began.until(s.now().mono).as_secs();
            // Each as long as it said that it may be silent: see `may_be_killed_while_it_waits`.
            assert!(waited <= 65 + BEYOND, "{point}: {waited} s for a program that is gone");
            assert_eq!(s.call_tool_in_background("whoami").status(), 200, "{point}");
            let (more_browsers, more) =
                (s.browser_opened() - browsers, s.world.registrations() - registrations);
            assert_eq!(more, usize::from(!client_saved), "{point}: registrations");
            let served = s.world.count(What::CodeExchanges) > more_browsers;
            assert!(more_browsers <= 1 && (more_browsers == 1 || served), "{point}: browsers");
            at_rest(&mut s);
            points.push(point);
        }
        assert!(points.len() > 25, "{points:?}");
    }

    #[test]
    fn may_be_killed_while_seven_wait_and_one_of_them_takes_over() {
        let mut s = Scenario::new();
        s.person = Person::Ignores;
        let attempts = start(&mut s, 8, &interactive());
        s.together(10);
        let holder = (0..8).find(|at| s.switch_to(*at).listening().is_some()).unwrap();
        s.switch_to(holder).crash();
        let attempts: Attempts = attempts.into_iter().filter(|(at, _)| *at != holder).collect();
        s.person = Person::Approves;
        s.switch_to((holder + 1) % 8);
        all_are_served(&mut s, &attempts);
        assert_eq!((s.browser_opened(), s.world.registrations()), (2, 1));
    }

    #[test]
    fn may_be_slow_with_its_host_and_nobody_takes_over() {
        // Whatever is open stays so for a while; a registration may take the longest.
        for (point, seconds) in [("listen", 28), ("/register", 33), ("save", 40), ("browse", 200)] {
            let mut s = Scenario::new();
            let first = s.switch_to(0).demand(interactive());
            s.run_until("listen");
            s.run_until(point);
            assert!(s.perform(point));
            let slow = s.hold(point);
            let waiter = s.switch_to(1).demand(interactive());
            s.together(seconds);
            s.switch_to(0).bring(slow);
            all_are_served(&mut s, &vec![(0, first), (1, waiter)]);
            assert_eq!((s.browser_opened(), s.world.registrations()), (1, 1), "{point}");
        }
    }

    /// What goes out next for program 0, unless it waits for something else: its tab, or time.
    fn next_out(s: &mut Scenario) -> Option<String> {
        s.switch_to(0).drain();
        s.open().first().cloned()
    }

    /// Plays program 0 to its end, while a third program has the lock; what servers are asked for takes
    /// long. Whatever it asked for.
    fn whatever_is_slow(s: &mut Scenario) -> Vec<String> {
        let mut stages = Vec::new();
        s.store.locked_by = Some(2);
        let first = s.switch_to(0).machine().last_attempt().unwrap();
        while s.switch_to(0).machine().is_running(first) {
            let Some(stage) = next_out(s) else {
                assert!(s.wait());
                s.switch_to(1).handle(Event::Tick);
                s.run();
                continue;
            };
            if stage == "redirect" {
                s.deliver("redirect");
                continue;
            }
            assert!(s.perform(&stage));
            let seconds = match stage.as_str() {
                stage if stage.contains("/register") => 28,
                stage if stage.contains("/par") => 33,
                stage if stage.contains("/token") => 50,
                stage if stage.contains("secret") => 22,
                _ => 0,
            };
            if seconds > 0 {
                let slow = s.hold(&stage);
                s.together(seconds);
                s.switch_to(0).bring(slow);
            } else {
                s.deliver(&stage);
            }
            stages.push(stage);
        }
        s.store.locked_by = None;
        stages
    }

    #[test]
    fn may_wait_for_its_servers_and_for_the_lock_and_nobody_takes_over() {
        let mut s = Scenario::new();
        s.world.authorization[0].takes_pushed_requests = true;
        s.world.authorization[0].requires_pushed_requests = true;
        // The first try fails after a minute.
        s.world.faults.push(Fault::answer("POST", "/token", Canned::new(503, "")).times(1));
        let first = s.demand(interactive());
        s.run_until("listen");
        let waiter = s.switch_to(1).demand(interactive());
        let stages = whatever_is_slow(&mut s);
        let count = |what: &str| stages.iter().filter(|stage| stage.contains(what)).count();
        // It waits for nobody's lock.
        let slow = ["/register", "/par", "/token", "lock"].map(count);
        assert_eq!(slow, [1, 1, 2, 0], "{stages:?}");
        all_are_served(&mut s, &vec![(0, first), (1, waiter)]);
        assert_eq!((s.browser_opened(), s.world.registrations(), told_to_wait(&s)), (1, 1, 1));
    }

    #[test]
    fn may_have_to_register_after_its_person_came_and_nobody_takes_over() {
        let mut s = Scenario::new();
        s.log_in().unwrap();
        let fresh = Demand::interactive(Need::default()).fresh();
        let first = s.demand(fresh.clone());
        s.run_until("/token");
        let waiter = s.switch_to(1).demand(fresh);
        s.advance(2);
        // Too late for its person: another client has to send them once more.
        s.world.authorization[0].forget_clients();
        let stages = whatever_is_slow(&mut s);
        assert_eq!(stages.iter().filter(|stage| stage.contains("/register")).count(), 1);
        all_are_served(&mut s, &vec![(0, first), (1, waiter)]);
        // A login, and one that took two.
        assert_eq!((s.browser_opened(), told_to_wait(&s)), (3, 1));
    }

    /// How long a mark lives beyond the call that its program is busy with, in seconds.
    const BEYOND: u64 = 20;

    #[test]
    fn may_be_killed_while_it_waits_and_another_takes_over_once_that_would_have_ended() {
        // A call's deadline, and five seconds for its host.
        for (stage, call) in [("browse", 0), ("/register", 35), ("/par", 35), ("/token", 65)] {
            let mut s = Scenario::new();
            s.world.authorization[0].takes_pushed_requests = true;
            s.world.authorization[0].requires_pushed_requests = true;
            s.demand(interactive());
            s.run_until("listen");
            let waiter = s.switch_to(1).demand(interactive());
            s.run();
            s.switch_to(0).run_until(stage);
            if stage == "browse" {
                // Its person does nothing.
                s.person = Person::Ignores;
                s.run();
                s.person = Person::Approves;
            }
            let browsers = s.browser_opened();
            // The others have seen that it lives.
            s.switch_to(1).advance(1);
            s.switch_to(0).crash();
            let began = s.switch_to(1).now().mono;
            s.run_until("browse");
            let waited = began.until(s.now().mono).as_secs();
            let (least, most) = (call.max(10), call + BEYOND + 1);
            assert!((least..=most).contains(&waited), "{stage}: {waited} s");
            s.settle(waiter).unwrap();
            assert_eq!(s.browser_opened(), browsers + 1, "{stage}");
            at_rest(&mut s);
        }
    }

    #[test]
    fn is_told_no_and_so_are_those_who_have_waited() {
        let (mut s, attempts) = asking(&interactive());
        assert!(s.goes_back_to_tab(0, &Person::Denies));
        let ended = s.settle_together(&attempts);
        assert!(matches!(error(&ended[0]), ErrorKind::Denied(_)));
        assert!(matches!(error(&ended[1]), ErrorKind::DeniedElsewhere));
        assert!(ended[1].as_ref().unwrap_err().advice().contains("allow the access"));
        at_rest(&mut s);
        // Whoever asks afterwards asks anew, and so do they.
        s.person = Person::Approves;
        for at in [2, 1] {
            s.switch_to(at).log_in().unwrap();
        }
        assert_eq!((s.browser_opened(), s.world.registrations()), (3, 1));
    }

    #[test]
    fn is_told_no_without_having_registered_and_the_others_hear_of_it() {
        let mut s = Scenario::new();
        s.config.client_metadata_url = Some("https://client.example/client.json".into());
        s.world.authorization[0].cimd = mcp_auth_world::Cimd::Accepted;
        let attempts = asking_in(&mut s, &interactive());
        assert!(s.goes_back_to_tab(0, &Person::Denies));
        let ended = s.settle_together(&attempts);
        assert!(matches!(error(&ended[1]), ErrorKind::DeniedElsewhere));
        s.person = Person::Approves;
        assert_eq!(s.switch_to(1).call_tool("whoami").status(), 200);
        assert_eq!((s.browser_opened(), s.world.registrations()), (2, 0));
    }

    #[test]
    fn is_refused_for_another_reason_and_the_next_takes_over() {
        let (mut s, attempts) = asking(&interactive());
        let state = s.authorize_param("state").unwrap();
        let back = s.authorize_param("redirect_uri").unwrap();
        let iss = "https%3A%2F%2Fauth.example.com";
        s.redirect(&format!("{back}?error=server_error&state={state}&iss={iss}"));
        s.person = Person::Approves;
        let first = only_the_second_is_served(&mut s, &attempts);
        assert!(matches!(first.kind(), ErrorKind::Denied(_)));
        assert_eq!((s.browser_opened(), s.world.registrations()), (2, 1));
    }

    #[test]
    fn waits_in_vain_and_whoever_came_later_takes_over() {
        let mut s = Scenario::new();
        s.person = Person::Ignores;
        let first = s.switch_to(0).demand(interactive());
        s.together(200);
        let second = s.switch_to(1).demand(interactive());
        s.together(50);
        s.person = Person::Approves;
        let first = only_the_second_is_served(&mut s, &[(0, first), (1, second)]);
        assert!(matches!(first.kind(), ErrorKind::NobodyCame { .. }));
        // The first still listens for who comes late, so the second has another port.
        assert_eq!((s.browser_opened(), s.world.registrations()), (2, 2));
    }

    #[test]
    fn has_no_browser_and_the_next_tries() {
        let mut s = Scenario::new();
        s.switch_to(0).demand(interactive());
        s.run_until("browse");
        let second = s.switch_to(1).demand(interactive());
        s.advance(3);
        s.browser_is_missing = true;
        s.switch_to(0).perform("browse");
        s.deliver("browse");
        s.browser_is_missing = false;
        let first = s.machine().last_attempt().unwrap();
        let first = only_the_second_is_served(&mut s, &[(0, first), (1, second)]);
        assert!(matches!(first.kind(), ErrorKind::Browser(_)));
        assert_eq!((s.browser_opened(), s.world.registrations()), (1, 1));
    }

    #[test]
    fn is_cancelled_and_the_next_takes_over_at_once() {
        let (mut s, attempts) = asking(&interactive());
        s.handle(Event::Cancel(attempts[0].1));
        s.person = Person::Approves;
        s.together(3);
        let first = only_the_second_is_served(&mut s, &attempts);
        assert!(matches!(first.kind(), ErrorKind::Cancelled));
        assert_eq!((s.browser_opened(), s.world.registrations()), (2, 1));
    }

    #[test]
    fn is_cancelled_at_any_point_and_leaves_no_mark() {
        for number in 0.. {
            let Some((mut s, attempts, point)) = at_point(number) else { break };
            s.handle(Event::Cancel(attempts[0].1));
            let ended = s.settle_together(&attempts);
            assert!(ended[1].is_ok(), "{point}: {ended:?}");
            assert!(s.world.registrations() <= 2 && s.browser_opened() <= 2, "{point}");
            at_rest(&mut s);
        }
    }

    #[test]
    fn logs_out_and_the_next_takes_over() {
        for event in [Event::Forget, Event::Logout] {
            let (mut s, attempts) = asking(&interactive());
            s.handle(event);
            s.person = Person::Approves;
            s.together(5);
            let first = only_the_second_is_served(&mut s, &attempts);
            assert!(matches!(first.kind(), ErrorKind::Cancelled));
            assert_eq!(s.browser_opened(), 2);
        }
    }

    #[test]
    fn says_so_again_after_somebody_has_logged_out_elsewhere() {
        let (mut s, mut attempts) = asking(&interactive());
        s.switch_to(2).handle(Event::Forget);
        s.run();
        assert_eq!(s.store.bytes, None);
        s.switch_to(0).advance(6);
        assert!(mark(&s).is_some());
        attempts.push((3, s.switch_to(3).demand(interactive())));
        s.together(30);
        assert_eq!(s.world.registrations(), 1 + s.browser_opened() - 1);
        let tab = s.browser_opened() - 1;
        assert!(s.goes_back_to_tab(tab, &Person::Approves));
        s.person = Person::Approves;
        all_are_served(&mut s, &attempts);
    }

    #[test]
    fn is_not_taken_for_dead_because_a_third_holds_the_lock() {
        let (mut s, attempts) = asking(&interactive());
        // A third program has the lock, for as long as a slow token endpoint takes.
        s.switch_to(2).demand(Demand::load());
        s.run();
        s.store.locked_by = Some(2);
        s.together(60);
        s.store.locked_by = None;
        s.together(60);
        assert_eq!((s.browser_opened(), told_to_wait(&s)), (1, 1));
        assert!(s.goes_back_to_tab(0, &Person::Approves));
        all_are_served(&mut s, &attempts);
    }
}

mod a_laptop_that_slept {
    use super::*;

    #[test]
    fn keeps_its_one_browser() {
        let (mut s, attempts) = asking(&interactive());
        // Both are suspended; whoever wakes up first thinks nothing of it.
        for first in [1, 0] {
            s.sleep(100);
            s.switch_to(first).handle(Event::Tick);
            s.run();
            s.switch_to(0).together(20);
        }
        assert_eq!(s.browser_opened(), 1);
        assert!(s.goes_back_to_tab(0, &Person::Approves));
        all_are_served(&mut s, &attempts);
    }

    /// Program 0 sleeps, and program 1 takes over: two tabs are open.
    fn taken_over() -> (Scenario, Attempts) {
        let (mut s, attempts) = asking(&interactive());
        s.switch_to(1).advance(60);
        assert_eq!(s.browser_opened(), 2);
        (s, attempts)
    }

    #[test]
    fn does_not_take_its_turn_back() {
        let (mut s, attempts) = taken_over();
        let theirs = mark(&s).unwrap();
        s.switch_to(0).advance(30);
        assert_eq!(mark(&s).unwrap()["by"], theirs["by"]);
        // A third waits for whoever has it now.
        let third = s.switch_to(2).demand(interactive());
        s.together(60);
        assert_eq!(s.browser_opened(), 2);
        assert!(s.goes_back_to_tab(1, &Person::Approves));
        all_are_served(&mut s, &[attempts, vec![(2, third)]].concat());
        assert_eq!(s.world.count(What::CodeExchanges), 1);
        assert_eq!(s.switch_to(0).listening(), None);
    }

    #[test]
    fn is_not_told_that_its_person_came_for_nothing() {
        let (mut s, attempts) = taken_over();
        assert!(s.goes_back_to_tab(0, &Person::Approves));
        all_are_served(&mut s, &attempts);
        assert_eq!((s.browser_opened(), s.world.count(What::CodeExchanges)), (2, 1));
        assert_eq!(s.switch_to(1).listening(), None);
    }
}

mod whoever_waits {
    use super::*;

    #[test]
    fn may_leave() {
        let (mut s, attempts) = asking(&interactive());
        s.switch_to(1).handle(Event::Cancel(attempts[1].1));
        assert!(matches!(s.machine().failure(attempts[1].1).unwrap().kind(), ErrorKind::Cancelled));
        s.together(100);
        assert!(mark(&s).is_some());
        assert!(s.goes_back_to_tab(0, &Person::Approves));
        all_are_served(&mut s, &vec![attempts[0]]);
        assert_eq!(s.browser_opened(), 1);
    }

    #[test]
    fn waits_no_longer_than_for_a_person_of_its_own() {
        let mut s = Scenario::new();
        s.config.login_timeout_seconds = 3600;
        s.person = Person::Ignores;
        s.switch_to(0).demand(interactive());
        s.run();
        s.config.login_timeout_seconds = 100;
        let waiter = s.switch_to(1).demand(interactive());
        s.together(99);
        assert!(s.switch_to(1).machine().is_running(waiter));
        s.together(2);
        let why = s.machine().failure(waiter).unwrap();
        assert!(matches!(why.kind(), ErrorKind::NobodyCame { .. }), "{why}");
        assert_eq!(s.browser_opened(), 1);
    }

    #[test]
    fn is_pending_and_joined_by_others_of_its_program() {
        let (mut s, attempts) = asking(&interactive());
        s.switch_to(1);
        let TokenState::Pending(attempt) = s.token_for(&need("whoami")) else { panic!() };
        assert_eq!((attempt, s.demand(interactive())), (attempts[1].1, attempt));
        assert!(s.goes_back_to_tab(0, &Person::Approves));
        all_are_served(&mut s, &attempts);
    }

    #[test]
    fn has_waited_for_more_than_comes_and_then_asks_itself() {
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.switch_to(1);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.person = Person::Ignores;
        // Both need more than they have, and not the same.
        let fresh = s.switch_to(0).demand(interactive().fresh());
        s.run();
        assert_eq!(s.switch_to(1).try_tool("write_note"), 403);
        let more = s.demand(Demand::interactive(need("write_note")));
        s.together(10);
        assert_eq!((s.browser_opened(), told_to_wait(&s)), (2, 1));
        s.person = Person::Approves;
        assert!(s.goes_back_to_tab(1, &Person::Approves));
        let ended = s.settle_together(&[(0, fresh), (1, more)]);
        assert!(ended.iter().all(Result::is_ok), "{ended:?}");
        assert_eq!((s.browser_opened(), s.world.registrations()), (3, 1));
        s.switch_to(1);
        assert_eq!(s.call_tool_in_background("write_note").status(), 200);
        at_rest(&mut s);
    }

    #[test]
    fn for_the_same_step_up_asks_nobody() {
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        for at in [0, 1] {
            s.switch_to(at);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.try_tool("write_note"), 403);
        }
        let attempts = asking_in(&mut s, &Demand::interactive(need("write_note")));
        assert!(s.goes_back_to_tab(1, &Person::Approves));
        all_are_served(&mut s, &attempts);
        assert_eq!(s.switch_to(1).call_tool_in_background("write_note").status(), 200);
        assert_eq!((s.browser_opened(), s.world.registrations()), (2, 1));
    }
}

mod a_new_login {
    use super::*;

    fn fresh() -> Demand {
        Demand::interactive(Need::default()).fresh()
    }

    #[test]
    fn asked_for_twice_at_once_is_one() {
        for logged_in in [false, true] {
            let mut s = Scenario::new();
            if logged_in {
                s.log_in().unwrap();
            }
            let before = s.browser_opened();
            let attempts = start(&mut s, 5, &fresh());
            all_are_served(&mut s, &attempts);
            assert_eq!((s.browser_opened() - before, s.world.registrations()), (1, 1));
        }
    }

    #[test]
    fn asked_for_when_none_is_pending_opens_a_browser_each_time() {
        let mut s = Scenario::new();
        for number in 1..4 {
            s.switch_to(number % 2).log_in().unwrap();
            assert_eq!(s.browser_opened(), number);
        }
        assert_eq!(s.world.registrations(), 1);
    }

    #[test]
    fn is_not_what_a_renewal_has_brought() {
        let mut s = Scenario::new();
        s.log_in().unwrap();
        let attempts = asking_in(&mut s, &fresh());
        // Meanwhile a third program renews what is there, and the one that asks gives up.
        s.sleep(4000);
        s.switch_to(2);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        let ended = s.settle_together(&attempts);
        assert!(ended.iter().all(Result::is_err), "{ended:?}");
    }

    #[test]
    fn that_was_waited_for_counts_though_it_was_renewed_since() {
        let mut s = Scenario::new();
        s.log_in().unwrap();
        let attempts = asking_in(&mut s, &fresh());
        s.switch_to(1).run();
        // The second sleeps while the first is done, and a third renews it.
        assert!(s.goes_back_to_tab(1, &Person::Approves));
        s.switch_to(0).run();
        s.sleep(200);
        let token = s.grant().access_token();
        s.world.resource.revoke(token.expose());
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.switch_to(1).settle(attempts[1].1).unwrap();
        assert_eq!(s.browser_opened(), 2);
    }
}

mod meanwhile {
    use super::*;

    /// Both have tokens with an hour to live, and want more than these are good for.
    fn both_want_more() -> (Scenario, Attempts) {
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        for at in [0, 1] {
            s.switch_to(at);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.try_tool("write_note"), 403);
        }
        s.config.login_timeout_seconds = 10_000;
        let attempts = asking_in(&mut s, &Demand::interactive(need("write_note")));
        (s, attempts)
    }

    #[test]
    fn what_is_good_is_lent_and_renewed_on_both_sides() {
        for renews in [0, 1] {
            let mut s = Scenario::new();
            s.config.login_timeout_seconds = 10_000;
            assert_eq!(s.call_tool("whoami").status(), 200);
            for at in [0, 1] {
                s.switch_to(at);
                assert_eq!(s.call_tool_in_background("whoami").status(), 200);
                assert_eq!(s.try_tool("write_note"), 403);
            }
            let attempts = asking_in(&mut s, &Demand::interactive(need("write_note")));
            for _ in 0..3 {
                s.together(3_590);
                for at in [renews, 1 - renews] {
                    let refresh = s.switch_to(at).demand(Demand::background(need("whoami")));
                    s.settle_together(&[(at, refresh)])[0].clone().unwrap();
                    assert_eq!(s.switch_to(at).try_tool("whoami"), 200);
                }
                if s.world.count(What::Refreshes) == 2 {
                    break;
                }
            }
            assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (2, 2));
            assert!(!s.world.reuse_seen());
            assert!(s.goes_back_to_tab(1, &Person::Approves));
            all_are_served(&mut s, &attempts);
            assert_eq!(s.switch_to(1).call_tool_in_background("write_note").status(), 200);
            assert_eq!(s.browser_opened(), 2);
        }
    }

    #[test]
    fn a_program_that_was_taken_for_dead_renews_and_leaves_the_turn_to_the_other() {
        let (mut s, attempts) = both_want_more();
        s.switch_to(1).advance(60);
        assert_eq!(s.browser_opened(), 3, "it has taken over");
        let theirs = mark(&s).unwrap();
        let token = s.switch_to(0).grant().access_token();
        s.world.resource.revoke(token.expose());
        assert_eq!(s.try_tool("whoami"), 401);
        let renewal = s.demand(Demand::background(need("whoami")));
        for _ in 0..20 {
            s.advance_one();
        }
        s.settle(renewal).unwrap();
        assert_eq!(mark(&s).unwrap()["by"], theirs["by"]);
        assert!(s.goes_back_to_tab(2, &Person::Approves));
        all_are_served(&mut s, &attempts);
    }

    #[test]
    fn a_renewal_that_waits_for_the_lock_and_for_the_server_is_no_sign_of_death() {
        let (mut s, attempts) = both_want_more();
        let token = s.grant().access_token();
        s.world.resource.revoke(token.expose());
        assert_eq!(s.try_tool("whoami"), 401);
        let renewal = s.demand(Demand::background(need("whoami")));
        s.store.locked_by = Some(2);
        s.together(60);
        s.store.locked_by = None;
        s.switch_to(0).run_until("/token");
        s.perform("/token");
        let slow = s.hold("/token");
        s.together(60);
        s.switch_to(0).bring(slow);
        s.settle_together(&[(0, renewal)])[0].clone().unwrap();
        assert_eq!((s.browser_opened(), told_to_wait(&s)), (2, 1));
        assert!(s.goes_back_to_tab(1, &Person::Approves));
        all_are_served(&mut s, &attempts);
        assert_eq!(s.browser_opened(), 2);
    }

    #[test]
    fn a_renewal_that_waits_for_the_lock_again_is_no_sign_of_death() {
        let (mut s, attempts) = both_want_more();
        let token = s.grant().access_token();
        s.world.resource.revoke(token.expose());
        assert_eq!(s.try_tool("whoami"), 401);
        let renewal = s.demand(Demand::background(need("whoami")));
        s.run_until("lock");
        // After a while, the disk can't be read under the lock: what is in memory may be spent.
        s.store.fail_loads(true);
        assert!(s.perform("lock"));
        s.store.fail_loads(false);
        let failed = s.hold("lock");
        s.together(60);
        s.store.locked_by = Some(2);
        s.switch_to(0).bring(failed);
        s.together(88);
        s.store.locked_by = None;
        s.switch_to(0).run_until("/token");
        s.perform("/token");
        let slow = s.hold("/token");
        s.together(60);
        s.switch_to(0).bring(slow);
        s.settle_together(&[(0, renewal)])[0].clone().unwrap();
        assert_eq!((s.browser_opened(), told_to_wait(&s)), (2, 1));
        assert!(s.goes_back_to_tab(1, &Person::Approves));
        all_are_served(&mut s, &attempts);
        assert_eq!(s.browser_opened(), 2);
    }

    #[test]
    fn a_renewal_that_pauses_with_the_lock_keeps_it() {
        for at in [0, 1] {
            let (mut s, attempts) = both_want_more();
            let token = s.grant().access_token();
            s.world.resource.revoke(token.expose());
            assert_eq!(s.switch_to(at).try_tool("whoami"), 401);
            let once = Fault::answer("POST", "/token", Canned::new(503, "")).times(1);
            s.world.faults.push(once);
            let renewal = s.demand(Demand::background(need("whoami")));
            s.settle_together(&[(at, renewal)])[0].clone().unwrap();
            assert!(!s.world.reuse_seen());
            assert!(s.goes_back_to_tab(1, &Person::Approves));
            all_are_served(&mut s, &attempts);
            assert_eq!(s.browser_opened(), 2);
        }
    }
}

mod clocks {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn set_by_a_day_make_no_second_browser_and_no_endless_wait() {
        for by in [DAY, -DAY] {
            let (mut s, attempts) = asking(&interactive());
            s.set_wall_clock(by);
            s.together(100);
            assert_eq!(s.browser_opened(), 1);
            assert!(s.goes_back_to_tab(0, &Person::Approves));
            all_are_served(&mut s, &attempts);
            assert_eq!(s.browser_opened(), 1);
        }
    }

    #[test]
    fn that_two_programs_read_differently_don_t_matter() {
        for by in [DAY, -DAY] {
            let (mut s, attempts) = asking(&interactive());
            for _ in 0..60 {
                // The second's clock is another.
                s.set_wall_clock(by);
                s.switch_to(1).advance(1);
                s.set_wall_clock(-by);
                s.switch_to(0).advance(0);
                s.handle(Event::Tick);
                s.run();
            }
            assert_eq!(s.browser_opened(), 1);
            s.switch_to(0).crash();
            s.set_wall_clock(by);
            s.person = Person::Approves;
            let began = s.switch_to(1).now().mono;
            s.settle(attempts[1].1).unwrap();
            assert!(began.until(s.now().mono).as_secs() <= 30);
        }
    }
}

mod the_store {
    use super::*;

    #[test]
    fn that_cannot_be_read_holds_up_nobody() {
        let mut s = Scenario::new();
        s.demand(Demand::load());
        s.run();
        s.store.fail_loads(true);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.told(|notice| matches!(notice, Notice::SaveFailed(_))), 1);
        assert_eq!(s.browser_opened(), 1);
    }

    #[test]
    fn that_cannot_be_written_holds_up_nobody() {
        let mut s = Scenario::new();
        s.store.fail_saves(true);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.told(|notice| matches!(notice, Notice::SaveFailed(_))), 1);
        assert_eq!((s.browser_opened(), s.store.bytes.is_none()), (1, true));
        s.store.fail_saves(false);
        s.advance(100);
        assert!(s.store.text().contains(s.grant().access_token().expose()));
        assert_eq!(mark(&s), None);
    }

    #[test]
    fn that_works_again_learns_of_the_login_that_is_pending() {
        let mut s = Scenario::new();
        s.store.fail_saves(true);
        s.person = Person::Ignores;
        let first = s.demand(interactive());
        s.advance(30);
        s.store.fail_saves(false);
        s.advance(6);
        let second = s.switch_to(1).demand(interactive());
        s.together(60);
        assert_eq!((s.browser_opened(), told_to_wait(&s)), (1, 1));
        assert!(s.goes_back_to_tab(0, &Person::Approves));
        all_are_served(&mut s, &vec![(0, first), (1, second)]);
    }

    #[test]
    fn that_fails_while_others_wait_makes_them_ask_themselves() {
        let (mut s, attempts) = asking(&interactive());
        s.store.fail_loads(true);
        s.person = Person::Approves;
        let ended = s.settle_together(&attempts[1..]);
        ended[0].clone().unwrap();
        assert_eq!(s.browser_opened(), 2);
    }

    #[test]
    fn that_is_slow_hides_no_death() {
        let (mut s, attempts) = asking(&interactive());
        s.crash();
        s.person = Person::Approves;
        let began = s.switch_to(1).now().mono;
        while s.browser_opened() == 1 && began.until(s.now().mono).as_secs() < 120 {
            s.run_until("load");
            s.perform("load");
            let slow = s.hold("load");
            s.sleep(8);
            s.bring(slow);
            s.run_until_rest_or("load");
        }
        s.settle(attempts[1].1).unwrap();
        let took = began.until(s.now().mono).as_secs();
        assert!((20..60).contains(&took), "{took} s");
        assert_eq!(s.browser_opened(), 2);
    }

    #[test]
    fn that_is_damaged_meanwhile_is_mended_and_nobody_waits_for_ever() {
        let (mut s, attempts) = asking(&interactive());
        s.store.overwrite("{ torn");
        s.together(30);
        assert_eq!((s.browser_opened(), s.store.set_aside.len()), (1, 1));
        assert!(s.goes_back_to_tab(0, &Person::Approves));
        all_are_served(&mut s, &attempts);
    }

    #[test]
    fn with_a_mark_that_is_nonsense_is_as_good_as_one_without() {
        for nonsense in [
            serde_json::json!(7),
            serde_json::json!({ "by": "nobody" }),
            serde_json::json!({ "by": "nobody", "beat": "x", "life": 3 }),
            serde_json::json!({ "by": "nobody", "beat": 1, "life": 5, "ended": "denied" }),
        ] {
            let mut s = Scenario::new();
            s.log_in().unwrap();
            s.restart();
            set_mark(&mut s, nonsense);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            s.log_in().unwrap();
            assert_eq!((s.browser_opened(), told_to_wait(&s)), (2, 0));
            assert_eq!(s.store.set_aside.len(), 0);
        }
    }

    #[test]
    fn with_a_mark_that_claims_to_live_for_ever_is_waited_for_three_minutes() {
        let mut s = Scenario::new();
        s.log_in().unwrap();
        set_mark(&mut s, serde_json::json!({ "by": "nobody", "beat": 1, "life": u64::MAX }));
        let began = s.switch_to(1).now().mono;
        s.log_in().unwrap();
        let waited = began.until(s.now().mono).as_secs();
        assert!((160..=185).contains(&waited), "{waited} s");
    }

    #[test]
    fn and_the_network_fail_and_come_back_and_all_are_served() {
        let mut s = Scenario::new();
        let down = Fault::fails("*", "*", NetworkError::Unreachable).times(1);
        s.world.faults.push(down.at("https://auth.example.com"));
        let attempts = start(&mut s, 3, &interactive());
        s.settle_together(&attempts);
        let again = start(&mut s, 3, &interactive());
        all_are_served(&mut s, &again);
        assert_eq!((s.browser_opened(), s.world.registrations()), (1, 1));
    }
}
