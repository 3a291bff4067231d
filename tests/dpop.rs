//! Tokens that are bound to a key of the host's: DPoP, RFC 9449.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcp_auth::{DpopUse, ErrorKind, Need, Notice, SecretRef, TokenState, Verdict};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::signer::public_key;
use mcp_auth_world::{Canned, Fault, NetworkError, What, World, assert_fails};
use serde_json::{Value, json};

fn place() -> SecretRef {
    SecretRef::File("/run/keys/dpop.pem".to_owned())
}

/// A server that knows DPoP, and a program that wants it.
fn bound() -> Scenario {
    let mut s = Scenario::new();
    s.world.authorization[0].dpop = true;
    s.config.dpop = DpopUse::Auto;
    s.config.dpop_key = Some(place());
    s.keys.insert(place(), "ours".to_owned());
    s.eavesdrop();
    s
}

fn record(s: &Scenario) -> Value {
    serde_json::from_str(&s.store.text()).unwrap()
}

/// The `Authorization` schemes that the MCP server was shown, and whether a proof came along.
fn shown(s: &Scenario) -> Vec<(String, bool)> {
    let calls = s.world.log.iter().filter(|exchange| exchange.origin == "https://mcp.example.com");
    let headers = calls.map(|exchange| exchange.request.headers());
    headers
        .filter_map(|headers| {
            let scheme = headers.get("authorization")?.to_str().unwrap().split(' ').next()?;
            Some((scheme.to_owned(), headers.contains_key("dpop")))
        })
        .collect()
}

#[test]
fn each_request_has_a_proof_and_a_restart_keeps_the_key() {
    let mut s = bound();
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.restart();
    s.take_log();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.take_log(), ["POST mcp.example.com/mcp 200"]);
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.take_log(), ["POST auth.example.com/token 200", "POST mcp.example.com/mcp 200"]);
    assert!(shown(&s).iter().all(|(scheme, proved)| scheme == "DPoP" && *proved));
    // The public half alone is kept.
    assert_eq!(record(&s)["tokens"]["dpop"], json!(public_key("ours").jwk()));
    assert!(s.log_out().is_complete());
    s.check_secrets();
}

#[test]
fn a_request_without_a_proof_does_not_go_out_and_a_stolen_token_is_of_no_use() {
    let mut s = bound();
    assert_eq!(s.call_tool("whoami").status(), 200);
    let grant = s.grant();
    let request = || http::Request::post("https://mcp.example.com/mcp");
    let mut bare = request().body(Vec::<u8>::new()).unwrap();
    let error = grant.authorize(&mut bare).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ProofMissing), "{error}");
    assert!(bare.headers().is_empty());
    let token = grant.access_token();
    let stolen = request().header("authorization", format!("Bearer {}", token.expose()));
    let now = s.now().wall.0;
    let answer = s.world.handle(now, &stolen.body(Vec::new()).unwrap()).unwrap();
    assert_eq!(answer.status(), 401);
}

#[test]
fn a_nonce_of_the_token_endpoint_is_taken_up_once() {
    let mut s = bound();
    s.world.authorization[0].dpop_nonce = Some("n-1".to_owned());
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!((s.browser_opened(), s.world.count(What::TokenRequests)), (1, 2));
    s.sleep(4000);
    s.world.authorization[0].dpop_nonce = Some("n-2".to_owned());
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.world.count(What::Refreshes), 2);
    assert!(!s.world.reuse_seen());
    // A server that is never content is not asked for ever, and the login is kept.
    s.sleep(4000);
    let never = Canned::json(400, r#"{"error":"use_dpop_nonce"}"#).header("dpop-nonce", "again");
    s.world.faults.push(Fault::answer("POST", "/token", never.clone()).times(2));
    let _ = s.call_tool_in_background("whoami").error();
    assert_eq!(s.world.faults.len(), 0);
    s.sleep(4000);
    let answer = s.call_tool("whoami");
    assert_eq!((answer.status(), s.browser_opened()), (200, 1));
}

/// The nonces of the proofs that this server's token endpoint was shown.
fn nonces(s: &Scenario, origin: &str) -> Vec<Option<String>> {
    let calls = s.world.log.iter().filter(|e| e.origin == origin && e.path == "/token");
    let proofs = calls.filter_map(|exchange| exchange.request.headers().get("dpop"));
    proofs
        .map(|proof| {
            let claims = proof.to_str().unwrap().split('.').nth(1).unwrap();
            let claims: Value =
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
            claims["nonce"].as_str().map(str::to_owned)
        })
        .collect()
}

#[test]
fn the_last_nonce_of_the_token_endpoint_is_in_its_next_proof_and_on_no_disk() {
    let mut s = bound();
    s.world.authorization[0].dpop_nonce = Some("the first".to_owned());
    s.world.authorization[0].dpop_nonce_rotates = true;
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.world.count(What::TokenRequests), 2);
    for refreshes in 1..4 {
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), refreshes);
    }
    // A step-up is a login, and knows it too.
    assert_eq!(s.call_tool("write_note").status(), 200);
    assert_eq!((s.browser_opened(), s.world.count(What::TokenRequests)), (2, 6));
    let last = s.world.authorization[0].dpop_nonce.clone().unwrap();
    assert!(!s.store.text().contains(&last));
    // One that has ended costs the request that it saves otherwise, and so does a restart.
    s.sleep(4000);
    s.world.authorization[0].dpop_nonce = Some("another".to_owned());
    assert_eq!(s.call_tool_in_background("write_note").status(), 200);
    assert_eq!(s.world.count(What::Refreshes), 5);
    s.restart();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("write_note").status(), 200);
    assert_eq!(s.world.count(What::Refreshes), 7);
}

#[test]
fn a_nonce_is_shown_to_the_token_endpoint_that_gave_it_alone() {
    let two = ["https://auth.example.com", "https://new.example.com"];
    let mut s = bound();
    s.world = World::with_urls("https://mcp.example.com/mcp", &two);
    for (server, nonce) in s.world.authorization.iter_mut().zip(["ours", "theirs"]) {
        (server.dpop, server.dpop_nonce) = (true, Some(nonce.to_owned()));
    }
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.world.migrate_to(1);
    assert_eq!(s.call_tool("whoami").status(), 200);
    for (origin, nonce) in two.into_iter().zip(["ours", "theirs"]) {
        let shown = nonces(&s, origin);
        assert_eq!(shown[0], None, "{origin}");
        assert!(shown[1..].iter().all(|shown| shown.as_deref() == Some(nonce)), "{shown:?}");
    }
}

#[test]
fn a_nonce_of_the_mcp_server_is_taken_up_and_costs_no_token() {
    let mut s = bound();
    s.world.resource.dpop_nonce = Some("m-1".to_owned());
    assert_eq!(s.call_tool("whoami").status(), 200);
    for nonce in ["m-1", "m-2"] {
        s.world.resource.dpop_nonce = Some(nonce.to_owned());
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }
    assert_eq!((s.browser_opened(), s.world.count(What::TokenRequests)), (1, 1));
    let refused = s.world.log.iter().filter(|exchange| exchange.answer == Ok(401)).count();
    // The probe, the first call, and the first with a new nonce.
    assert_eq!(refused, 3);
}

#[test]
fn a_refusal_for_a_nonce_that_nobody_sees_is_the_callers_and_costs_no_token() {
    let hidden = || {
        let answer = Canned::json(401, r#"{"error":"use_dpop_nonce"}"#);
        answer.header("www-authenticate", r#"DPoP error="use_dpop_nonce""#)
    };
    let mut s = bound();
    assert_eq!(s.call_tool("whoami").status(), 200);
    // Some transports keep no header fields of refusals, and some servers forget this one.
    for _ in 0..2 {
        s.world.faults.push(Fault::answer("POST", "/mcp", hidden()));
        assert_eq!(s.call_tool("whoami").status(), 401);
    }
    assert_eq!((s.browser_opened(), s.world.count(What::TokenRequests)), (1, 1));
    // The nonce that another request has brought meanwhile is tried.
    let before = s.grant();
    s.world.resource.dpop_nonce = Some("m-1".to_owned());
    assert_eq!(s.call_tool("whoami").status(), 200);
    let (now, after) = (s.now(), s.grant());
    let request = http::Request::post("https://mcp.example.com/mcp").body(()).unwrap();
    let response = http::Response::builder()
        .status(401)
        .header("www-authenticate", r#"DPoP error="use_dpop_nonce""#)
        .body(())
        .unwrap();
    let mut judge = |grant| s.machine().judge(now, &request, &response, grant, &Need::default());
    assert!(matches!(judge(Some(&before)), Verdict::Again(_)));
    assert!(matches!(judge(Some(&after)), Verdict::Deliver));
    // Without a token, or with another kind of one, it is a refusal like any other.
    assert!(matches!(judge(None), Verdict::Refused(_)));
}

#[test]
fn it_is_used_where_the_settings_and_the_server_say_so() {
    for (setting, knows, outcome) in [
        (DpopUse::Never, true, Some("Bearer")),
        (DpopUse::Auto, false, Some("Bearer")),
        (DpopUse::Auto, true, Some("DPoP")),
        (DpopUse::Always, true, Some("DPoP")),
        (DpopUse::Always, false, None),
    ] {
        let mut s = bound();
        s.config.dpop = setting;
        s.world.authorization[0].dpop = knows;
        let answer = s.call_tool("whoami");
        match outcome {
            Some(scheme) => {
                assert_eq!(answer.status(), 200);
                assert!(shown(&s).iter().all(|(shown, _)| shown == scheme));
                assert_eq!(s.signed > 0, scheme == "DPoP");
            }
            None => assert!(matches!(answer.kind(), ErrorKind::Unusable { .. }), "{answer:?}"),
        }
    }
    let mut s = bound();
    s.config.dpop_key = None;
    assert!(s.try_start().unwrap_err().to_string().contains("dpop_key"));
}

#[test]
fn a_server_that_requires_it_is_served() {
    let mut s = bound();
    s.world.authorization[0].dpop_required = true;
    assert_eq!(s.call_tool("whoami").status(), 200);
    let mut s = bound();
    s.world.authorization[0].dpop_required = true;
    s.config.dpop = DpopUse::Never;
    let answer = s.call_tool("whoami");
    assert!(answer.error().to_string().contains("invalid_dpop_proof"), "{answer:?}");
}

#[test]
fn with_another_key_the_tokens_are_kept_and_of_no_use_until_a_login() {
    let mut s = bound();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.restart();
    s.sleep(4000);
    s.keys.insert(place(), "another".to_owned());
    let answer = s.call_tool_in_background("whoami");
    assert!(answer.error().to_string().contains("bound to another key"), "{answer:?}");
    assert_eq!(s.world.count(What::Refreshes), 0);
    s.keys.insert(place(), "ours".to_owned());
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.sleep(4000);
    s.keys.insert(place(), "another".to_owned());
    s.log_in().unwrap();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(record(&s)["tokens"]["dpop"], json!(public_key("another").jwk()));
}

#[test]
fn bound_tokens_are_not_lent_where_nobody_knows_the_key() {
    let mut s = bound();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.config.dpop = DpopUse::Never;
    s.config.dpop_key = None;
    s.restart();
    s.demanded(mcp_auth::Demand::load()).unwrap();
    assert!(!matches!(s.token(), TokenState::Ready(_)));
    // Whoever only switches it off goes on with what is bound.
    s.config.dpop_key = Some(place());
    s.restart();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
}

#[test]
fn each_try_has_a_proof_of_its_own() {
    let mut s = bound();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.sleep(4000);
    s.world.faults.push(Fault::fails("POST", "/token", NetworkError::TimedOut));
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let proofs = s.world.log.iter().filter_map(|exchange| exchange.request.headers().get("dpop"));
    let mut proofs: Vec<_> = proofs.map(|proof| proof.to_str().unwrap().to_owned()).collect();
    let all = proofs.len();
    proofs.sort();
    proofs.dedup();
    assert_eq!(proofs.len(), all);
    assert_eq!(s.told(|notice| matches!(notice, Notice::Retrying { .. })), 1);
}

#[test]
fn a_refresh_that_brings_a_bound_token_unasked_loses_no_refresh_token() {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.sleep(4000);
    s.world.authorization[0].token_type = "DPoP".to_owned();
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::Unusable { .. });
    // It has rotated the refresh token all the same.
    s.world.authorization[0].token_type = "Bearer".to_owned();
    s.restart();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert!(!s.world.reuse_seen());
    // Five tries, each with what the one before had brought, and the last.
    assert_eq!((s.browser_opened(), s.world.count(What::Refreshes)), (1, 6));
}

#[test]
fn where_it_is_always_wanted_a_bearer_token_is_not_lent_and_nothing_is_lost() {
    let mut s = bound();
    s.config.dpop = DpopUse::Always;
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.sleep(4000);
    s.world.authorization[0].dpop = false;
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::Unusable { .. });
    s.world.authorization[0].dpop = true;
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.browser_opened(), 1);
    assert!(shown(&s).iter().all(|(scheme, _)| scheme == "DPoP"));
}
