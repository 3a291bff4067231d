//! Does the server want a login? A story for each way in which servers say so, or don't.

use mcp_auth::{Demand, ErrorKind, Need, Notice, TokenState};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{
    Canned, Challenge, Fault, GetAnswer, NetworkError, RequiresLogin, ResourceMetadata, What,
    assert_fails,
};

const PROBE: [&str; 2] = ["GET mcp.example.com/mcp 405", "POST mcp.example.com/mcp 401"];

/// Both probes fail this way.
fn probes_fail(s: &mut Scenario, effect: fn(&str) -> Fault) {
    s.world.faults.extend([effect("GET"), effect("POST")]);
}

#[test]
fn a_401_to_get_is_enough() {
    let mut s = Scenario::new();
    s.world.resource.get = GetAnswer::Unauthorized;
    assert_eq!(s.call_tool("whoami").status(), 200);
    let log = s.take_log();
    assert_eq!(log[0], "GET mcp.example.com/mcp 401");
    assert_eq!(log[1], "GET mcp.example.com/.well-known/oauth-protected-resource/mcp 200");
}

#[test]
fn a_server_without_get_is_asked_by_post() {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(
        s.take_log(),
        [
            PROBE[0],
            PROBE[1],
            "GET mcp.example.com/.well-known/oauth-protected-resource/mcp 200",
            "GET auth.example.com/.well-known/oauth-authorization-server 200",
            "POST auth.example.com/register 201",
            "browser auth.example.com/authorize 302",
            "POST auth.example.com/token 200",
            "POST mcp.example.com/mcp 200",
        ]
    );
    s.check_secrets();
}

#[test]
fn an_open_server_needs_no_token() {
    let mut s = Scenario::new();
    s.world.resource.requires_login = RequiresLogin::Never;
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert!(matches!(s.token(), TokenState::NotRequired));
    let log = s.take_log();
    assert_eq!(log, [PROBE[0], "POST mcp.example.com/mcp 200", "POST mcp.example.com/mcp 200"]);
    // It isn't asked again.
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.take_log(), ["POST mcp.example.com/mcp 200"]);
}

#[test]
fn a_server_that_wants_a_login_for_tools_alone_gets_one_when_it_asks() {
    let mut s = Scenario::new();
    s.world.resource.requires_login = RequiresLogin::ForToolCalls;
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!((s.browser_opened(), s.world.count(What::CodeExchanges)), (1, 1));
}

#[test]
fn a_refusal_that_the_caller_saw_is_not_asked_for_again() {
    let mut s = Scenario::new();
    assert_eq!(s.try_tool("whoami"), 401);
    s.demanded(Demand::interactive(Need::default())).unwrap();
    let log = s.take_log();
    assert_eq!(log[0], "POST mcp.example.com/mcp 401");
    assert_eq!(log[1], "GET mcp.example.com/.well-known/oauth-protected-resource/mcp 200");
}

#[test]
fn a_probe_that_fails_does_not_mean_that_no_login_is_wanted() {
    let unreachable: fn(&str) -> Fault = |m| Fault::fails(m, "/mcp", NetworkError::Unreachable);
    let broken: fn(&str) -> Fault = |m| Fault::answer(m, "/mcp", Canned::new(500, "oops"));
    let forbidden: fn(&str) -> Fault = |m| Fault::answer(m, "/mcp", Canned::new(403, ""));
    let moved: fn(&str) -> Fault =
        |m| Fault::answer(m, "/mcp", Canned::redirect(302, "https://mcp.example.com/login"));
    let effects = [(unreachable, true), (broken, false), (forbidden, false), (moved, false)];
    for (effect, silent) in effects {
        let mut s = Scenario::new();
        s.world.resource.metadata = ResourceMetadata::Absent;
        probes_fail(&mut s, effect);
        let answer = s.call_tool("whoami");
        let unreached = matches!(answer.kind(), ErrorKind::Unreachable { .. });
        assert!(unreached || matches!(answer.kind(), ErrorKind::ProbeFailed { .. }));
        assert_eq!(unreached, silent, "{:?}", answer.kind());
        assert!(matches!(s.token(), TokenState::Failed(..)));
        // Nothing was decided: the next try finds out.
        s.world.resource.metadata = ResourceMetadata::AtPath;
        assert_eq!(s.call_tool("whoami").status(), 200);
    }
}

#[test]
fn metadata_settles_what_a_failed_probe_left_unclear() {
    let mut s = Scenario::new();
    probes_fail(&mut s, |m| Fault::answer(m, "/mcp", Canned::new(500, "oops")));
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.browser_opened(), 1);
}

#[test]
fn a_page_for_people_says_nothing_about_the_endpoint() {
    let mut s = Scenario::new();
    let page = Canned::new(200, "<html>hello</html>").header("content-type", "text/html");
    s.world.faults.push(Fault::answer("GET", "/mcp", page));
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.browser_opened(), 1);
}

#[test]
fn an_error_in_the_protocols_own_form_means_that_nobody_asked_who_we_are() {
    let mut s = Scenario::new();
    s.world.resource.requires_login = RequiresLogin::Never;
    s.world.resource.metadata = ResourceMetadata::Absent;
    let error = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"no"}}"#;
    s.world.faults.push(Fault::answer("POST", "/mcp", Canned::json(404, error)));
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert!(matches!(s.token(), TokenState::NotRequired));
}

#[test]
fn a_person_may_log_in_where_everybody_is_let_in_if_the_server_knows_a_login() {
    let open = || {
        let mut s = Scenario::new();
        s.world.resource.requires_login = RequiresLogin::Never;
        s
    };
    let mut s = open();
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert!(matches!(s.token(), TokenState::NotRequired));
    s.log_in().unwrap();
    assert_eq!(s.browser_opened(), 1);
    let grant = s.grant();
    assert_eq!(s.send("whoami", Some(&grant)).status(), 200);
    // The token is used from then on, and renewed.
    s.restart();
    assert!(s.obtain(&need("whoami"), Demand::background).unwrap().is_some());

    // Without metadata, or where that names nobody, there is none.
    let nobody = Some("{\"resource\":\"https://mcp.example.com/mcp\"}".to_owned());
    for (metadata, body) in [(ResourceMetadata::Absent, None), (ResourceMetadata::AtPath, nobody)] {
        let mut s = open();
        (s.world.resource.metadata, s.world.resource.metadata_body) = (metadata, body);
        s.log_in().unwrap();
        assert!(matches!(s.token(), TokenState::NotRequired));
        assert_eq!(s.browser_opened(), 0);
    }
}

#[test]
fn a_401_without_www_authenticate_is_a_401() {
    let mut s = Scenario::new();
    s.world.resource.challenge = Challenge::Absent;
    assert_eq!(s.call_tool("whoami").status(), 200);
    // Without a challenge the metadata says which scopes there are.
    assert_eq!(s.authorize_param("scope").unwrap(), "notes:read notes:write offline_access");
}

#[test]
fn a_bare_401_to_a_request_is_believed_though_the_probe_is_welcome() {
    let mut s = Scenario::new();
    s.world.resource.requires_login = RequiresLogin::ForToolCalls;
    s.world.resource.challenge = Challenge::Absent;
    let refusal = s.send("whoami", None);
    assert_eq!(refusal.status(), 401);
    assert!(s.report("whoami", &refusal, None));
    assert!(s.obtain(&need("whoami"), Demand::interactive).unwrap().is_some());
    assert_eq!((s.browser_opened(), s.told(|n| matches!(n, Notice::NotRequired))), (1, 0));

    // The same to one who was told before that no token is required.
    let mut s = Scenario::new();
    s.world.resource.requires_login = RequiresLogin::ForToolCalls;
    s.world.resource.challenge = Challenge::Absent;
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.browser_opened(), 1);
}

#[test]
fn a_page_in_answer_to_a_post_is_no_open_server() {
    let page = || {
        Canned::new(200, "<html>sign in to the WiFi</html>")
            .header("content-type", "text/html; charset=utf-8")
    };
    let mut s = Scenario::new();
    s.world.resource.metadata = ResourceMetadata::Absent;
    s.world.faults.push(Fault::answer("*", "/mcp", page()).times(2));
    assert_fails!(s.call_tool("whoami"), ErrorKind::ProbeFailed { .. });
    assert!(!matches!(s.token(), TokenState::NotRequired));

    // Metadata settles it.
    let mut s = Scenario::new();
    s.world.faults.push(Fault::answer("*", "/mcp", page()).times(2));
    assert!(s.obtain(&Need::default(), Demand::interactive).unwrap().is_some());
    assert_eq!(s.browser_opened(), 1);
}

#[test]
fn the_bearer_challenge_is_found_among_others() {
    let url = "https://mcp.example.com/elsewhere";
    let bearer = format!("Bearer scope=\"notes:read\", resource_metadata=\"{url}\"");
    for lines in [
        vec![format!("Basic realm=\"a, Bearer b\", {bearer}")],
        vec!["Negotiate".to_owned(), bearer.clone()],
        vec![format!("{bearer}, DPoP algs=\"ES256\"")],
    ] {
        let mut s = Scenario::new();
        s.world.resource.metadata = ResourceMetadata::At(url.to_owned());
        s.world.resource.challenge = Challenge::Raw(lines);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.take_log()[2], "GET mcp.example.com/elsewhere 200");
    }
}

#[test]
fn a_403_with_a_bearer_challenge_wants_a_login() {
    let mut s = Scenario::new();
    let refusal = Canned::new(403, "").header("www-authenticate", "Bearer scope=\"notes:read\"");
    s.world.faults.push(Fault::answer("GET", "/mcp", refusal));
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.browser_opened(), 1);
}

#[test]
fn an_inspection_registers_nothing_and_asks_nobody() {
    let mut s = Scenario::new();
    let found = s.inspect().unwrap().expect("a discovery");
    assert_eq!(found.resource, "https://mcp.example.com/mcp");
    assert_eq!(found.server.issuer, "https://auth.example.com");
    assert_eq!((s.browser_opened(), s.world.registrations(), s.store.saves), (0, 0, 0));
    assert_eq!(
        s.take_log(),
        [
            PROBE[0],
            PROBE[1],
            "GET mcp.example.com/.well-known/oauth-protected-resource/mcp 200",
            "GET auth.example.com/.well-known/oauth-authorization-server 200",
        ]
    );
}

#[test]
fn a_background_call_never_opens_a_browser() {
    let mut s = Scenario::new();
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    // Nor does it look for an authorization server that it couldn't use.
    assert_eq!(s.take_log(), PROBE);
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert!(s.take_log().is_empty());
}
