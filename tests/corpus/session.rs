//! What happens over time: refreshes that race, refusals, clocks, servers that move.

use mcp_auth::{ErrorKind, Notice};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{Canned, Fault, Mood, NetworkError, RefreshTokens, What, World, assert_fails};

use crate::entry::Entry;
use crate::runner::Check;

pub const CHECKS: &[Check] = &[
    Check::new("SE-001", two_programs_refresh_once),
    Check::new("SE-002", the_loser_spares_what_the_winner_saved),
    Check::new("SE-003", many_refusals_are_one_refresh),
    Check::new("SE-004", a_server_error_in_a_race),
    Check::new("SE-005", a_refusal_before_its_time),
    Check::against(
        "SE-008",
        "tokens are renewed 30 s ahead, not 60 (`refresh_ahead_seconds`), and at most a tenth of their \
         life; tokens of the future are renewed once, which sets their times right, where lending them \
         until they are refused would make a request fail after each correction of the clock",
        clocks_that_differ,
    ),
    Check::new("SE-010", a_server_that_moves_to_another_issuer),
    Check::new("SE-012", a_step_up_that_does_not_help),
    Check::new("SE-015", failures_that_leave_the_client_alone),
    Check::against(
        "SE-018",
        "one refresh more, naming the scopes, comes before a person is bothered: with Entra ID that \
         helps (TK-030)",
        tokens_for_another_audience,
    ),
    Check::new("SE-019", a_grace_period_covers_a_lost_answer),
    Check::new("SE-020", a_lost_answer_is_tried_again_once),
];

fn logged_in() -> Scenario {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s
}

/// A login whose access token has expired.
fn expired() -> Scenario {
    let mut s = logged_in();
    s.sleep(4000);
    s
}

/// The error in a line like `B: refresh r1 -> 400 invalid_grant (family revoked)`.
fn status_and_error(line: &str) -> Option<(u16, &str)> {
    let mut words = line.split(" -> ").nth(1)?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?))
}

fn two_programs_refresh_once(entry: &Entry) {
    let mut s = logged_in();
    // The server ends the family when a spent token comes back.
    assert!(s.world.authorization[0].reuse_detection);
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.sleep(4000);
    // Each line is a program that wants a token now; the second would spend what the first did.
    let sequence = entry.texts("/sequence");
    let programs: Vec<_> = sequence.iter().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(programs, ["A", "B"]);
    assert_eq!(status_and_error(&sequence[1]), Some((400, "invalid_grant")));
    for (number, _) in programs.iter().enumerate() {
        s.switch_to(number);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }
    assert_eq!((s.world.count(What::Refreshes), s.world.reuse_seen()), (1, false));
    assert!(s.told(|notice| matches!(notice, Notice::Adopted)) > 0);
    // Where the family is gone all the same, what the server said is told.
    let (_, said) = entry.text("/log").rsplit_once("invalid_grant: ").unwrap();
    let body = format!(r#"{{"error":"invalid_grant","error_description":"{said}"}}"#);
    s.world.faults.push(Fault::answer("POST", "/token", Canned::json(400, body)));
    s.sleep(4000);
    let told = s.call_tool_in_background("whoami");
    assert_fails!(told, ErrorKind::LoginRequired { reason, .. } if reason.contains("Grant not found"));
}

fn the_loser_spares_what_the_winner_saved(entry: &Entry) {
    let sequence = entry.texts("/sequence");
    let winner = sequence[0].split(' ').next().unwrap();
    let loser = sequence[1].split(' ').next().unwrap();
    assert_eq!((winner, loser), ("A", "B"));
    let error = sequence[1].split(' ').find(|word| word.starts_with("invalid_")).unwrap();
    assert_eq!(error, "invalid_grant");
    // B is at it when the lock doesn't hold A back: another machine, or an old version.
    let mut s = expired();
    s.switch_to(1);
    s.demand(mcp_auth::Demand::background(mcp_auth::Need::default()));
    s.run_until("POST auth.example.com/token");
    let lock = s.store.locked_by.take();
    s.switch_to(0);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let saved = s.world.newest_refresh_token().unwrap().to_owned();
    assert!(s.store.text().contains(&saved));
    s.store.locked_by = lock;
    s.world.authorization[0].reuse_detection = false;
    s.switch_to(1);
    s.run();
    assert!(s.world.reuse_seen());
    assert!(s.store.text().contains(&saved), "the winner's token is gone");
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.browser_opened(), 1);
}

fn many_refusals_are_one_refresh(entry: &Entry) {
    let many = entry.number("/requests") as usize;
    assert!(many > 1);
    let mut s = logged_in();
    let grant = s.grant();
    s.world.resource.revoke(grant.access_token().expose());
    let before = s.world.count(What::McpRequests);
    let refusals: Vec<_> = (0..many).map(|_| s.send("whoami", Some(&grant))).collect();
    for refusal in &refusals {
        assert_eq!(refusal.status(), 401);
        s.report("whoami", refusal, Some(&grant));
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }
    assert_eq!(s.world.count(What::Refreshes), 1);
    assert_eq!(s.world.count(What::McpRequests), before + 2 * many);
}

fn a_server_error_in_a_race(entry: &Entry) {
    let mut s = expired();
    s.switch_to(1);
    s.demand(mcp_auth::Demand::background(mcp_auth::Need::default()));
    // The loser's refresh, and its quick repetition.
    let failure = Canned::new(entry.status(), "");
    s.world.faults.push(Fault::answer("POST", "/token", failure).times(2));
    s.run_until("POST auth.example.com/token");
    for _ in 0..2 {
        s.run();
        s.wait();
    }
    let failed = format!("HTTP {}", entry.status());
    assert!(s.told(|notice| notice.to_string().contains(&failed)) > 0);
    // While it waits, another program renews.
    s.switch_to(0);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let refreshes = s.world.count(What::Refreshes);
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!((s.world.count(What::Refreshes), s.world.reuse_seen()), (refreshes, false));
    assert_eq!(s.browser_opened(), 1);
    // Where nobody does, it tries again itself.
    let mut s = expired();
    s.world.faults.push(Fault::answer("POST", "/token", Canned::new(entry.status(), "")));
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.world.count(What::Refreshes), 2);
}

fn a_refusal_before_its_time(entry: &Entry) {
    let refused = |times| {
        let mut s = logged_in();
        s.world.faults.push(Fault::answer("POST", "/mcp", entry.canned()).times(times));
        s.take_log();
        s
    };
    let mut s = refused(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let once = [
        "POST mcp.example.com/mcp 401",
        "POST auth.example.com/token 200",
        "POST mcp.example.com/mcp 200",
    ];
    assert_eq!(s.take_log(), once);
    let mut s = refused(u32::MAX);
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert_eq!(s.world.count(What::Refreshes), 2);
    // And nothing is sent any more.
    s.take_log();
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert!(s.take_log().is_empty());
}

fn clocks_that_differ(entry: &Entry) {
    let (life, skew) = (entry.number("/expires_in") as u64, entry.number("/skew_s") as u64);
    let short = || {
        let mut s = Scenario::new();
        s.world.authorization[0].token_lifetime = life;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s
    };
    // A tenth of its life ahead, and not all the time.
    let mut s = short();
    s.sleep(life - life / 10 - 1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.world.count(What::Refreshes), 0);
    s.sleep(2);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.world.count(What::Refreshes), 1);
    // The program's clock is ahead, or behind: told by the servers' own, and by no loop.
    for (ahead, restarted) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut s = short();
        s.set_wall_clock(if ahead { skew as i64 } else { -(skew as i64) });
        if restarted {
            s.restart();
        }
        for _ in 0..5 {
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            s.sleep(1);
        }
        let refreshes = s.world.count(What::Refreshes);
        assert!(refreshes <= 1, "{refreshes} with the clock {ahead} {restarted}");
        // A refusal leads to a refresh in any case.
        let token = s.grant().access_token();
        s.world.resource.revoke(token.expose());
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), refreshes + 1);
    }
    assert!(life < skew, "with the clock ahead the token is expired from the start");
}

fn a_server_that_moves_to_another_issuer(entry: &Entry) {
    let (old, new) = (entry.text("/old"), entry.text("/new").trim_end_matches('.').to_owned());
    let mut s =
        Scenario::in_world(World::with_urls("https://mcp.atlassian.com/v1/sse", &[old, &new]));
    s.world.authorization[0].registration.assigns =
        Some(mcp_auth_world::ClientAuthentication::Basic);
    assert_eq!(s.call_tool("whoami").status(), 200);
    // The metadata names the new one; the old one still renews what it has issued.
    s.world.resource.authorization_servers = Some(vec![new.clone()]);
    s.restart();
    s.sleep(4000);
    s.take_log();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let host = |issuer: &str| url::Url::parse(issuer).unwrap().host_str().unwrap().to_owned();
    let (from, to) = (host(old), host(&new));
    assert_eq!(
        s.take_log(),
        [&format!("POST {from}/token 200"), "POST mcp.atlassian.com/v1/sse 200"]
    );
    // It is refused: a login with the new one, as another client.
    s.world.migrate_to(1);
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.browsed.last().unwrap().host_str(), Some(to.as_str()));
    assert_eq!((s.browser_opened(), s.world.registrations()), (2, 2));
    assert_ne!(from, to);
    s.check_secrets();
}

fn a_step_up_that_does_not_help(entry: &Entry) {
    let sequence = entry.texts("/sequence");
    assert_eq!(sequence, ["403", "authorize", "403"]);
    let mut s = logged_in();
    s.world.resource.mood = Mood::ForbidsAll;
    s.take_log();
    let told = s.call_tool("write_note");
    assert_fails!(told, ErrorKind::StepUpLimit { rounds: 1, .. });
    let told = told.error().to_string();
    assert!(told.contains("still refuses") && told.contains("doesn't have"), "{told}");
    let lines = s.take_log();
    let met = lines.iter().filter_map(|line| match line {
        line if line.starts_with("browser") => Some("authorize"),
        line if line.ends_with("/mcp 403") => Some("403"),
        _ => None,
    });
    assert_eq!(met.collect::<Vec<_>>(), sequence);
    // Nor is anybody bothered by the next call.
    let _ = s.call_tool("write_note").error();
    assert_eq!(s.browser_opened(), 2);
}

fn failures_that_leave_the_client_alone(entry: &Entry) {
    let wiped = entry.texts("/wiped");
    assert_eq!(wiped, ["client.json", "tokens.json"]);
    let oauth = |error: &str| Canned::json(400, format!(r#"{{"error":"{error}"}}"#));
    for answer in [
        Canned::new(500, ""),
        Canned::new(403, "<html>no</html>"),
        oauth("invalid_grant"),
        oauth("invalid_request"),
        oauth("invalid_scope"),
        oauth("access_denied"),
    ] {
        let mut s = expired();
        let client = s.machine().status().unwrap().client_id;
        s.world.faults.push(Fault::answer("POST", "/token", answer).times(9));
        let _ = s.call_tool_in_background("whoami").error();
        s.restart();
        assert!(s.store.text().contains(&client));
        s.world.faults.clear();
        s.sleep(700);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.world.registrations(), s.machine().status().unwrap().client_id), (1, client));
    }
    for error in ["invalid_client", "unauthorized_client"] {
        let mut s = expired();
        s.world.faults.push(Fault::answer("POST", "/token", oauth(error)));
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.world.registrations(), 2, "{error}");
    }
    // A network that is away costs neither.
    let mut s = expired();
    let tokens = s.world.newest_refresh_token().unwrap().to_owned();
    s.world.faults.push(Fault::fails("POST", "/token", NetworkError::Unreachable).times(99));
    assert_fails!(s.call_tool("whoami"), ErrorKind::Passing { .. });
    assert!(s.store.text().contains(&tokens));
}

fn tokens_for_another_audience(entry: &Entry) {
    let sequence = entry.texts("/sequence");
    assert_eq!(sequence, ["401", "refresh 200", "401"]);
    let mut s = logged_in();
    s.world.resource.mood = Mood::RefusesAll;
    s.take_log();
    let told = s.call_tool("whoami");
    assert_fails!(told, ErrorKind::FreshTokenRefused);
    let advice = told.error().advice();
    assert!(advice.contains("audience"), "{advice}");
    let lines = s.take_log();
    let met = lines.iter().filter_map(|line| match line {
        line if line.starts_with("browser") => Some("login"),
        line if line.ends_with("/mcp 401") => Some("401"),
        line if line.ends_with("/token 200") => Some("refresh 200"),
        _ => None,
    });
    let again: Vec<&str> = sequence.iter().skip(1).map(String::as_str).collect();
    // The code exchange is the last request to the token endpoint.
    let rest = ["login", "refresh 200", "401"];
    let expected: Vec<_> = sequence.iter().map(String::as_str).chain(again).chain(rest).collect();
    assert_eq!(met.collect::<Vec<_>>(), expected);
}

fn a_grace_period_covers_a_lost_answer(entry: &Entry) {
    let graces: Vec<u64> =
        entry.members("/grace_s").values().map(|s| s.as_u64().unwrap()).collect();
    assert_eq!(graces.len(), 4);
    for grace in graces {
        assert!(grace > 1);
        let mut s = expired();
        s.world.authorization[0].reuse_grace = Some(grace);
        s.world.faults.push(Fault::answer_lost("POST", "/token"));
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (2, 1));
    }
}

fn a_lost_answer_is_tried_again_once(entry: &Entry) {
    let sequence = entry.texts("/sequence");
    assert!(sequence[0].ends_with("(connection reset)"), "{sequence:?}");
    let (status, error) = status_and_error(&sequence[1]).unwrap();
    assert!(sequence[1].ends_with("or r2"), "{sequence:?}");
    let lost = |refresh_tokens| {
        let mut s = expired();
        s.world.authorization[0].refresh_tokens = refresh_tokens;
        s.world.faults.push(Fault::answer_lost("POST", "/token"));
        s.take_log();
        s
    };
    // r2: it isn't rotated at all.
    let mut s = lost(RefreshTokens::Repeated);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.world.count(What::Refreshes), 2);
    // It was, and is spent.
    let mut s = lost(RefreshTokens::Rotating);
    let told = s.call_tool_in_background("whoami");
    assert_fails!(told, ErrorKind::LoginRequired { reason, .. } if reason.contains(error));
    let answers = s.take_log();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert_eq!(answers[1], format!("POST auth.example.com/token {status}"));
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert_eq!(s.world.count(What::Refreshes), 2);
    assert_eq!(s.call_tool("whoami").status(), 200);
}
