//! A client that proves itself by the certificate that it shows when it connects: RFC 8705. The
//! connection itself is real in `tests/hosts/src/mutual.rs`.

use mcp_auth::output::Purpose;
use mcp_auth::{ClientCertificate, SecretRef};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{Cimd, Presented};
use serde_json::json;

fn file(path: &str) -> SecretRef {
    SecretRef::File(path.to_owned())
}

fn certificate() -> ClientCertificate {
    let (certificate, key) = (file("/run/keys/client.crt"), file("/run/keys/client.pem"));
    ClientCertificate { certificate, key }
}

/// A client that was registered by hand with our certificate.
fn with_certificate() -> Scenario {
    let mut s = Scenario::new();
    let ours = Presented(certificate().certificate.to_string());
    s.world.authorization[0].preregister_certificate("by-hand", ours);
    s.config.client_id = Some("by-hand".to_owned());
    s.config.client_certificate = Some(certificate());
    s.eavesdrop();
    s
}

#[test]
fn it_logs_in_refreshes_and_logs_out_by_its_certificate_and_shows_no_secret() {
    let mut s = with_certificate();
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.form_field("client_id").unwrap(), "by-hand");
    assert!(s.form_field("client_secret").is_none());
    s.restart();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert!(s.log_out().is_complete());
    assert_eq!((s.browser_opened(), s.world.registrations()), (1, 0));
    s.check_secrets();
}

#[test]
fn where_the_server_has_other_endpoints_for_it_they_are_used() {
    let mut s = with_certificate();
    s.world.authorization[0].mtls_origin = Some("https://mtls.example.com".to_owned());
    s.world.authorization[0].takes_pushed_requests = true;
    s.config.push_requests = true;
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.restart();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert!(s.log_out().is_complete());
    let posts: Vec<_> = s.take_log().into_iter().filter(|line| line.starts_with("POST ")).collect();
    let at = |line: &str| posts.iter().filter(|post| post.as_str() == line).count();
    assert_eq!(at("POST mtls.example.com/par 201"), 1, "{posts:?}");
    assert_eq!(at("POST mtls.example.com/token 200"), 2, "{posts:?}");
    assert_eq!(at("POST mtls.example.com/revoke 200"), 2, "{posts:?}");
    // A client without one goes where everybody goes.
    let mut s = Scenario::new();
    s.world.authorization[0].mtls_origin = Some("https://mtls.example.com".to_owned());
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert!(s.take_log().iter().all(|line| !line.contains("mtls.example.com")));
}

#[test]
fn it_is_shown_where_it_proves_something_and_nowhere_else() {
    let mut s = with_certificate();
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert!(s.log_out().is_complete());
    let shown = s
        .world
        .log
        .iter()
        .filter(|exchange| exchange.request.extensions().get::<Presented>().is_some());
    let paths: Vec<_> = shown.map(|exchange| exchange.path.as_str()).collect();
    assert_eq!(paths, ["/token", "/revoke", "/revoke"]);
    // Nor to an issuer that it isn't for.
    let mut s = with_certificate();
    s.config.client_issuer = Some("https://other.example.com".to_owned());
    let _ = s.call_tool("whoami");
    assert!(s.world.log.iter().all(|e| e.request.extensions().get::<Presented>().is_none()));
}

#[test]
fn both_methods_are_known_and_a_server_that_knows_neither_is_told_of_before_anybody_is_asked() {
    for (methods, works) in [
        (json!(["tls_client_auth"]), true),
        (json!(["client_secret_basic", "self_signed_tls_client_auth"]), true),
        (json!(null), true),
        (json!(["client_secret_basic"]), false),
    ] {
        let mut s = with_certificate();
        let changes = &mut s.world.authorization[0].metadata_changes;
        changes.insert("token_endpoint_auth_methods_supported".to_owned(), methods.clone());
        let answer = s.call_tool("whoami");
        match works {
            true => assert_eq!(answer.status(), 200, "{methods}"),
            false => {
                let said = answer.error().to_string();
                assert!(said.contains("accepts no authentication method"), "{said}");
                assert_eq!(s.browser_opened(), 0);
            }
        }
    }
}

#[test]
fn another_certificate_or_none_is_refused() {
    let mut s = with_certificate();
    s.config.client_certificate =
        Some(ClientCertificate { certificate: file("/theirs.crt"), ..certificate() });
    let answer = s.call_tool("whoami");
    assert!(answer.error().to_string().contains("invalid_client"), "{answer:?}");
    let mut s = with_certificate();
    s.config.client_certificate = None;
    let answer = s.call_tool("whoami");
    assert!(answer.error().to_string().contains("invalid_client"), "{answer:?}");
}

#[test]
fn a_metadata_document_may_name_one_and_a_certificate_needs_a_client() {
    let mut s = Scenario::new();
    s.world.authorization[0].cimd = Cimd::Accepted;
    s.config.client_metadata_url = Some("https://client.example/client.json".to_owned());
    s.config.client_certificate = Some(certificate());
    let changes = &mut s.world.authorization[0].metadata_changes;
    let methods = json!(["none", "self_signed_tls_client_auth"]);
    changes.insert("token_endpoint_auth_methods_supported".to_owned(), methods);
    assert_eq!(s.call_tool("whoami").status(), 200);
    let token = s.world.log.iter().find(|exchange| exchange.path == "/token").unwrap();
    assert!(token.request.extensions().get::<Presented>().is_some());
    assert_eq!(s.asked_for(Purpose::Registration), 0);
    let mut s = Scenario::new();
    s.config.client_certificate = Some(certificate());
    assert!(s.try_start().unwrap_err().to_string().contains("client_certificate"));
}
