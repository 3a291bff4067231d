//! How long the authorization server's metadata, which is kept with the login, is trusted: as long as
//! its server says (RFC 9111), within bounds.

use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{Canned, Fault, NetworkError, What};
use serde_json::json;

const METADATA: &str = "GET auth.example.com/.well-known/oauth-authorization-server 200";
const REFRESH: &str = "POST auth.example.com/token 200";
const CALL: &str = "POST mcp.example.com/mcp 200";
const PATH: &str = "/.well-known/oauth-authorization-server";

/// A login at a server that says this of its metadata; the program has ended since.
fn logged_in(cache_control: Option<&str>) -> Scenario {
    let mut s = Scenario::new();
    s.world.authorization[0].metadata_cache_control = cache_control.map(str::to_owned);
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.restart();
    s.take_log();
    s
}

/// What a call costs after so many seconds.
#[track_caller]
fn costs(s: &mut Scenario, after: u64, log: &[&str]) {
    s.sleep(after);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.take_log(), log, "after {after} s");
}

#[test]
fn while_it_is_fresh_an_expired_token_costs_one_request_and_then_one_more() {
    let mut s = logged_in(Some("public, max-age=9000"));
    for _ in 0..2 {
        costs(&mut s, 4000, &[REFRESH, CALL]);
        s.restart();
    }
    costs(&mut s, 4000, &[METADATA, REFRESH, CALL]);
    s.restart();
    costs(&mut s, 4000, &[REFRESH, CALL]);
    assert_eq!((s.browser_opened(), s.world.registrations()), (1, 1));
}

#[test]
fn what_is_absurd_has_bounds() {
    const WEEK: u64 = 7 * 24 * 60 * 60;
    // Neither is a document asked for with each request, nor is it believed for a year.
    for said in ["no-store", "no-cache", "max-age=0", "max-age=-5", "max-age=soon"] {
        let mut s = logged_in(Some(said));
        s.world.authorization[0].token_lifetime = 100;
        costs(&mut s, 4000, &[METADATA, REFRESH, CALL]);
        costs(&mut s, 150, &[REFRESH, CALL]);
        costs(&mut s, 170, &[METADATA, REFRESH, CALL]);
    }
    for said in
        [None, Some("public"), Some("max-age=31536000"), Some("max-age=99999999999999999999")]
    {
        let mut s = logged_in(said);
        costs(&mut s, WEEK - 100, &[REFRESH, CALL]);
        costs(&mut s, 4000, &[METADATA, REFRESH, CALL]);
    }
}

#[test]
fn a_token_endpoint_that_has_moved_is_found() {
    let mut s = logged_in(Some("max-age=3600"));
    let moved = json!("https://auth.example.com/v2/token");
    s.world.authorization[0].metadata_changes.insert("token_endpoint".to_owned(), moved);
    let moved = "POST auth.example.com/v2/token 200";
    costs(&mut s, 4000, &[METADATA, moved, CALL]);
    s.restart();
    costs(&mut s, 3500, &[CALL]);
    // It is remembered where the next one goes.
    s.sleep(50);
    s.world.authorization[0].metadata_cache_control = None;
    costs(&mut s, 500, &[METADATA, moved, CALL]);
    costs(&mut s, 4000, &[moved, CALL]);
}

#[test]
fn a_refresh_token_follows_to_no_other_origin() {
    let mut s = logged_in(Some("max-age=3600"));
    let moved = json!("https://tokens.example.com/token");
    s.world.authorization[0].metadata_changes.insert("token_endpoint".to_owned(), moved);
    s.sleep(4000);
    let _ = s.call_tool_in_background("whoami");
    assert!(s.take_log().iter().all(|line| !line.contains("tokens.example.com")));
    // A login does.
    s.log_in().unwrap();
    assert!(s.take_log().contains(&"POST tokens.example.com/token 200".to_owned()));
    s.check_secrets();
}

#[test]
fn where_it_cannot_be_had_the_old_one_is_used() {
    let down = || Fault::fails("GET", PATH, NetworkError::TimedOut);
    let page = || Fault::answer("GET", PATH, Canned::new(200, "<html>"));
    let gone = || Fault::answer("GET", PATH, Canned::new(404, ""));
    let other = json!({ "issuer": "https://evil.example.com", "token_endpoint":
        "https://evil.example.com/token", "authorization_endpoint": "https://evil.example.com/a" });
    let other = || Fault::answer("GET", PATH, Canned::json(200, other.to_string()));
    let elsewhere =
        || Fault::answer("GET", PATH, Canned::redirect(302, "https://evil.example.com/"));
    let all: [(&dyn Fn() -> Fault, _); 5] = [
        (&down, "timed out"),
        (&page, "200"),
        (&gone, "404"),
        (&other, "200"),
        (&elsewhere, "302"),
    ];
    for (fault, how) in all {
        let mut s = logged_in(Some("max-age=600"));
        s.world.faults.push(fault());
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200, "{how}");
        let log = s.take_log();
        assert!(log[0].starts_with("GET auth.example.com") && log.len() == 3, "{log:?}");
        assert_eq!(log[1..], [REFRESH, CALL]);
        assert_eq!(s.world.count(What::Strays), 0);
        // It is asked for again, and not at once.
        s.world.authorization[0].token_lifetime = 100;
        costs(&mut s, 4000, &[METADATA, REFRESH, CALL]);
        s.check_secrets();
    }
}

#[test]
fn a_crash_while_it_is_looked_up_spends_nothing() {
    let mut s = logged_in(Some("max-age=600"));
    s.sleep(4000);
    s.demand(mcp_auth::Demand::background(Default::default()));
    s.run_until("oauth-authorization-server");
    s.restart();
    costs(&mut s, 0, &[METADATA, REFRESH, CALL]);
    assert!(!s.world.reuse_seen());
}

#[test]
fn a_clock_that_is_set_back_makes_it_last_no_longer() {
    let mut s = logged_in(Some("max-age=600"));
    s.set_own_clock(-30 * 24 * 60 * 60);
    costs(&mut s, 0, &[METADATA, REFRESH, CALL]);
}

#[test]
fn one_that_another_session_has_got_counts_from_when_it_came() {
    let mut s = Scenario::new();
    s.documents_are_shared = true;
    s.world.authorization[0].metadata_cache_control = Some("no-store".to_owned());
    s.world.authorization[0].token_lifetime = 5;
    s.log_in().unwrap();
    s.sleep(280);
    s.take_log();
    s.log_in().unwrap();
    let asked = |s: &mut Scenario| s.take_log().contains(&METADATA.to_owned());
    assert!(!asked(&mut s));
    for (after, looks) in [(15, false), (10, true), (280, false), (30, true)] {
        s.sleep(after);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(asked(&mut s), looks, "after {after} s");
    }
}
