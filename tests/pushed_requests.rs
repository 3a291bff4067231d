//! Authorization requests that the browser doesn't carry: pushed to the server (PAR, RFC 9126), signed by
//! the client's key (JAR, RFC 9101), or both.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcp_auth::output::Purpose;
use mcp_auth::{Demand, ErrorKind, Need, SecretRef, SendResource};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::signer::public_key;
use mcp_auth_world::{Canned, ClientAuthentication, Fault, NetworkError, What, assert_fails};
use serde_json::{Value, json};

fn place() -> SecretRef {
    SecretRef::File("/run/keys/client.pem".to_owned())
}

/// A server that takes pushed requests, and demands them.
fn pushing() -> Scenario {
    let mut s = Scenario::new();
    s.world.authorization[0].takes_pushed_requests = true;
    s.world.authorization[0].requires_pushed_requests = true;
    s.eavesdrop();
    s
}

/// A server that demands signed ones, and a client with a key.
fn signing() -> Scenario {
    let mut s = Scenario::new();
    s.world.authorization[0].preregister_key("by-hand", public_key("ours"));
    s.world.authorization[0].requires_signed_requests = true;
    s.config.client_id = Some("by-hand".to_owned());
    s.config.client_key = Some(place());
    s.keys.insert(place(), "ours".to_owned());
    s
}

/// The names of the parameters that the browser carried last.
fn carried(s: &Scenario) -> Vec<String> {
    let url = s.browsed.last().unwrap();
    url.query_pairs().map(|(name, _)| name.into_owned()).collect()
}

#[test]
fn where_it_is_demanded_the_browser_carries_a_reference() {
    let mut s = pushing();
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(carried(&s), ["client_id", "request_uri"]);
    let pushed = s.world.log.iter().find(|exchange| exchange.path == "/par").unwrap();
    let form = String::from_utf8_lossy(pushed.request.body()).into_owned();
    for name in ["response_type=code", "state=", "code_challenge=", "redirect_uri=", "resource="] {
        assert!(form.contains(name), "{form}");
    }
    // A step-up is another.
    assert_eq!(s.call_tool("write_note").status(), 200);
    assert_eq!(s.asked_for(Purpose::PushedAuthorization), 2);
    s.check_secrets();
}

#[test]
fn where_it_is_offered_the_settings_decide() {
    for wanted in [false, true] {
        let mut s = pushing();
        s.world.authorization[0].requires_pushed_requests = false;
        s.config.push_requests = wanted;
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(carried(&s).contains(&"request_uri".to_owned()), wanted);
        assert_eq!(s.asked_for(Purpose::PushedAuthorization), usize::from(wanted));
    }
    let mut s = Scenario::new();
    s.config.push_requests = true;
    let answer = s.call_tool("whoami");
    assert!(answer.error().to_string().contains("no endpoint for that"), "{answer:?}");
    assert_eq!(s.browser_opened(), 0);
}

#[test]
fn the_client_proves_itself_as_it_does_for_tokens() {
    for method in [ClientAuthentication::Basic, ClientAuthentication::Post] {
        let mut s = pushing();
        s.world.authorization[0].registration.assigns = Some(method);
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.check_secrets();
    }
    // A secret that is kept elsewhere is read for it, and again for the token.
    let mut s = pushing();
    let file = SecretRef::File("/run/secrets/client".to_owned());
    s.world.authorization[0].preregister("by-hand", Some("hush, by hand"));
    s.config.client_id = Some("by-hand".to_owned());
    s.config.client_secret_from = vec![file.clone()];
    s.secrets.insert(file.clone(), "hush, by hand".to_owned());
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.secrets_read, [file.clone(), file.clone(), file]);
    // And so does its key.
    let mut s = signing();
    s.world.authorization[0].requires_signed_requests = false;
    s.world.authorization[0].takes_pushed_requests = true;
    s.config.push_requests = true;
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.signed, 2);
}

#[test]
fn where_they_are_to_be_signed_the_browser_carries_what_the_key_has_signed() {
    let mut s = signing();
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(carried(&s), ["client_id", "request"]);
    assert_eq!(s.signed, 2);
    // Somebody who changes the request is found out.
    let mut s = signing();
    s.keys.insert(place(), "theirs".to_owned());
    s.demand(Demand::interactive(Need::default()));
    s.run();
    assert_eq!((s.browser_opened(), s.world.count(What::TokenRequests)), (1, 0));
    // Both at once: what is pushed is what was signed.
    let mut s = signing();
    s.world.authorization[0].takes_pushed_requests = true;
    s.world.authorization[0].requires_pushed_requests = true;
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(carried(&s), ["client_id", "request_uri"]);
    assert_eq!(s.signed, 3);
    // Where nobody demands it, the settings may.
    let mut s = signing();
    s.world.authorization[0].requires_signed_requests = false;
    s.config.sign_requests = true;
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(carried(&s), ["client_id", "request"]);
}

/// Whom the last signed request is for, and the assertion that came with it.
fn audiences(s: &Scenario) -> Vec<String> {
    let pushed = s.world.log.iter().rfind(|exchange| exchange.path == "/par");
    let form = pushed.map(|exchange| exchange.request.body().clone()).unwrap_or_default();
    let query = s.browsed.last().and_then(|url| url.query()).unwrap_or_default();
    let form = if form.is_empty() { query.as_bytes() } else { &form };
    let jwts = url::form_urlencoded::parse(form)
        .filter(|(name, _)| ["request", "client_assertion"].contains(&&**name));
    jwts.map(|(_, jwt)| {
        let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        claims["aud"].as_str().unwrap().to_owned()
    })
    .collect()
}

#[test]
fn what_the_key_signs_is_for_the_issuer_in_its_own_words_and_never_for_somebody_else() {
    const OURS: &str = "https://auth.example.com";
    const OTHER: &str = "https://other.example.com";
    for (claims, audience) in
        [(OURS, OURS), ("https://auth.example.com/", "https://auth.example.com/"), (OTHER, OURS)]
    {
        let mut s = signing();
        let server = &mut s.world.authorization[0];
        server.takes_pushed_requests = true;
        server.requires_pushed_requests = true;
        server.claimed_issuer = Some(claims.to_owned());
        s.config.trusted_issuers = vec![OTHER.to_owned()];
        let _ = s.call_tool("whoami");
        assert_eq!(audiences(&s), [audience, audience], "{claims}");
    }
    // Of endpoints that are configured nobody knows the issuer, and their origin may be many people's.
    let mut s = signing();
    s.config.authorize_url = Some(format!("{OURS}/authorize"));
    s.config.token_url = Some(format!("{OURS}/token"));
    s.config.sign_requests = true;
    s.demand(Demand::interactive(Need::default()));
    s.run();
    assert_eq!(audiences(&s), ["https://auth.example.com/token"]);
    s.config.issuer = Some(OURS.to_owned());
    s.restart();
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(audiences(&s), [OURS]);
}

#[test]
fn a_server_that_wants_signatures_from_a_client_without_a_key_is_told_of_before_anybody_is_asked() {
    let mut s = Scenario::new();
    s.world.authorization[0].requires_signed_requests = true;
    let answer = s.call_tool("whoami");
    assert!(answer.error().to_string().contains("`client_key`"), "{answer:?}");
    assert_eq!(s.browser_opened(), 0);
    // A key signs for the client that it belongs to, and for no other that we are here.
    let mut s = signing();
    s.config.client_issuer = Some("https://other.example.com".to_owned());
    let answer = s.call_tool("whoami");
    assert!(answer.error().to_string().contains("`client_key`"), "{answer:?}");
    assert_eq!((s.signed, s.browser_opened()), (0, 0));
    let mut s = Scenario::new();
    s.config.sign_requests = true;
    assert!(s.try_start().unwrap_err().to_string().contains("sign_requests"));
    let mut s = signing();
    let algorithms = json!(["RS256"]);
    let changes = &mut s.world.authorization[0].metadata_changes;
    changes.insert("request_object_signing_alg_values_supported".to_owned(), algorithms);
    assert_fails!(s.call_tool("whoami"), ErrorKind::SigningFailed { .. });
    assert_eq!(s.browser_opened(), 0);
}

#[test]
fn a_refusal_is_told_and_nobody_is_asked() {
    let mut s = pushing();
    let refusal = Canned::json(400, r#"{"error":"invalid_scope","error_description":"no such"}"#);
    s.world.faults.push(Fault::answer("POST", "/par", refusal));
    let answer = s.call_tool("whoami");
    assert!(matches!(answer.kind(), ErrorKind::PushRefused { .. }));
    assert!(answer.error().to_string().contains("invalid_scope (no such)"), "{answer:?}");
    assert_eq!(s.browser_opened(), 0);
    for (answer, passes) in [
        (Canned::new(503, ""), true),
        (Canned::json(201, r#"{"expires_in":60}"#), false),
        (Canned::json(201, r#"{"request_uri":"urn:x","expires_in":0}"#), false),
    ] {
        let mut s = pushing();
        s.world.faults.push(Fault::answer("POST", "/par", answer));
        let failed = s.call_tool("whoami");
        match passes {
            true => assert!(matches!(failed.kind(), ErrorKind::Passing { .. }), "{failed:?}"),
            false => assert!(matches!(failed.kind(), ErrorKind::Unusable { .. }), "{failed:?}"),
        }
        assert_eq!(s.browser_opened(), 0);
        assert_eq!(s.call_tool("whoami").status(), 200);
    }
    let mut s = pushing();
    s.world.faults.push(Fault::fails("POST", "/par", NetworkError::Unreachable));
    assert_fails!(s.call_tool("whoami"), ErrorKind::Unreachable { .. });
}

#[test]
fn a_client_that_the_server_forgot_is_registered_again_before_anybody_is_asked() {
    let mut s = pushing();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.world.authorization[0].forget_clients();
    s.log_in().unwrap();
    assert_eq!((s.browser_opened(), s.world.registrations()), (2, 2));
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
}

#[test]
fn a_resource_that_is_refused_is_left_out_where_the_settings_say_so() {
    let mut s = pushing();
    s.config.send_resource = SendResource::Auto;
    let refusal = Canned::json(400, r#"{"error":"invalid_target"}"#);
    s.world.faults.push(Fault::answer("POST", "/par", refusal));
    let _ = s.call_tool("whoami");
    let pushed = s.world.log.iter().filter(|exchange| exchange.path == "/par");
    let with: Vec<_> =
        pushed.map(|e| String::from_utf8_lossy(e.request.body()).contains("resource=")).collect();
    assert_eq!(with, [true, false]);
}

#[test]
fn an_endpoint_that_leads_inside_is_not_asked() {
    let mut s = pushing();
    let inside = json!("https://10.0.0.1/par");
    let changes = &mut s.world.authorization[0].metadata_changes;
    changes.insert("pushed_authorization_request_endpoint".to_owned(), inside);
    assert_fails!(s.call_tool("whoami"), ErrorKind::AddressRefused { .. });
    assert_eq!(s.browser_opened(), 0);
}
