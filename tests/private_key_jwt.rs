//! A client that proves itself by a key of the host's, in the place of a secret: RFC 7523, RFC 7521 §4.2.

use mcp_auth::output::Purpose;
use mcp_auth::wire::jws::PublicKey;
use mcp_auth::{
    AssertionAudience, Config, Demand, DeviceGrant, DpopUse, ErrorKind, Fault as Whose, Need,
    Notice, SecretRef,
};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::signer::public_key;
use mcp_auth_world::{
    Canned, Cimd, ClientAuthentication, Fault, NetworkError, Person, Visit, What, World,
    assert_fails,
};
use serde_json::json;

const DOCUMENT: &str = "https://client.example/client.json";

fn place() -> SecretRef {
    SecretRef::File("/run/keys/client.pem".to_owned())
}

/// A client that was registered by hand with the key "ours".
fn with_key() -> Scenario {
    let mut s = Scenario::new();
    s.world.authorization[0].preregister_key("by-hand", public_key("ours"));
    s.config.client_id = Some("by-hand".to_owned());
    s.config.client_key = Some(place());
    s.keys.insert(place(), "ours".to_owned());
    s.eavesdrop();
    s
}

fn jwts(s: &Scenario) -> Vec<String> {
    let forms = s.world.log.iter().map(|e| String::from_utf8_lossy(e.request.body()).into_owned());
    let forms = forms.filter(|form| form.contains("client_assertion="));
    forms.map(|form| form.split("client_assertion=").nth(1).unwrap().to_owned()).collect()
}

#[test]
fn it_logs_in_refreshes_and_logs_out_by_what_the_key_signs_and_shows_no_secret() {
    let mut s = with_key();
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.form_field("client_id").unwrap(), "by-hand");
    assert_eq!(
        s.form_field("client_assertion_type").unwrap(),
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    assert!(s.form_field("client_secret").is_none());
    s.restart();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let report = s.log_out();
    assert!(report.is_complete(), "{report:?}");
    // One for each request, none twice, and none but to the server that it is for.
    let mut all = jwts(&s);
    assert_eq!(all.len(), 4);
    all.dedup();
    assert_eq!((all.len(), s.signed), (4, 4));
    let others =
        s.world.log.iter().filter(|exchange| exchange.origin != "https://auth.example.com");
    for exchange in others {
        let shown = format!("{:?}", exchange.request);
        assert!(all.iter().all(|jwt| !shown.contains(jwt)), "{shown}");
    }
    assert_eq!(s.world.registrations(), 0);
    s.check_secrets();
}

#[test]
fn a_metadata_document_with_a_key_is_a_client_that_proves_itself() {
    let mut s = Scenario::new();
    let server = &mut s.world.authorization[0];
    server.cimd = Cimd::Accepted;
    server.client_authentication.push(ClientAuthentication::PrivateKeyJwt);
    server.document_keys.insert(DOCUMENT.to_owned(), public_key("ours"));
    s.config.client_metadata_url = Some(DOCUMENT.to_owned());
    s.config.client_key = Some(place());
    s.keys.insert(place(), "ours".to_owned());
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.restart();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!((s.signed, s.world.registrations()), (2, 0));
    // Without the key it is nobody to this server.
    s.config.client_key = None;
    s.restart();
    s.sleep(4000);
    assert!(s.call_tool_in_background("whoami").error().to_string().contains("invalid_client"));
}

#[test]
fn it_is_for_the_issuer_or_where_the_settings_say_so_for_the_token_endpoint() {
    for (setting, strange, works) in [
        (AssertionAudience::Issuer, false, true),
        (AssertionAudience::TokenEndpoint, true, true),
        (AssertionAudience::Issuer, true, false),
        (AssertionAudience::TokenEndpoint, false, false),
    ] {
        let mut s = with_key();
        s.config.client_assertion_audience = setting;
        if setting == AssertionAudience::TokenEndpoint {
            // Anybody may name another's token endpoint: whose this is has to be said.
            assert!(s.config.check().unwrap_err().to_string().contains("client_issuer"));
            s.config.client_issuer = Some("https://auth.example.com".to_owned());
        }
        s.world.authorization[0].takes_token_endpoint_as_audience = strange;
        let answer = s.call_tool("whoami");
        match works {
            true => assert_eq!(answer.status(), 200),
            false => assert!(matches!(answer.kind(), ErrorKind::TokenRefused { .. })),
        }
        drop(answer);
        if works {
            assert!(s.log_out().is_complete());
        }
    }
    let written = serde_json::to_value(Config::default()).unwrap();
    assert_eq!(written["client_assertion_audience"], "issuer");
}

#[test]
fn endpoints_of_the_settings_without_an_issuer_have_only_themselves() {
    let mut s = with_key();
    s.world.authorization[0].takes_token_endpoint_as_audience = true;
    s.config.authorize_url = Some("https://auth.example.com/authorize".to_owned());
    s.config.token_url = Some("https://auth.example.com/token".to_owned());
    assert_eq!(s.call_tool("whoami").status(), 200);
}

#[test]
fn the_key_has_to_suit_what_the_server_takes_before_anybody_is_asked() {
    for (methods, algorithms, says) in [
        (Some(json!(["client_secret_basic"])), None, "accepts no authentication method"),
        (None, Some(json!(["RS256", "EdDSA"])), "signs with ES256; the server takes RS256, EdDSA"),
    ] {
        let mut s = with_key();
        let changes = &mut s.world.authorization[0].metadata_changes;
        for (name, value) in [
            ("token_endpoint_auth_methods_supported", methods),
            ("token_endpoint_auth_signing_alg_values_supported", algorithms),
        ] {
            value.map(|value| changes.insert(name.to_owned(), value));
        }
        let answer = s.call_tool("whoami");
        let error = answer.error();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.fault(), Whose::Settings);
        assert_eq!((s.browser_opened(), s.signed), (0, 0));
    }
    // One that lists nothing takes what its client was registered with.
    let mut s = with_key();
    let changes = &mut s.world.authorization[0].metadata_changes;
    changes.insert("token_endpoint_auth_methods_supported".to_owned(), json!(null));
    assert_eq!(s.call_tool("whoami").status(), 200);
}

#[test]
fn a_signer_that_fails_before_the_login_asks_nobody_and_one_that_fails_later_loses_nothing() {
    let mut s = with_key();
    s.signer_fails = Some("the vault is locked".to_owned());
    let answer = s.call_tool("whoami");
    let error = answer.error();
    assert!(matches!(error.kind(), ErrorKind::SigningFailed { .. }));
    let said = error.to_string();
    assert!(
        said.contains("/run/keys/client.pem") && said.contains("the vault is locked"),
        "{said}"
    );
    assert_eq!(s.browser_opened(), 0);
    s.signer_fails = None;
    assert_eq!(s.call_tool("whoami").status(), 200);
    for failure in ["the vault is locked", "again"] {
        s.sleep(4000);
        s.signer_fails = Some(failure.to_owned());
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::SigningFailed { .. });
    }
    assert_eq!(s.world.count(What::Refreshes), 0);
    s.signer_fails = None;
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!((s.browser_opened(), s.world.count(What::Refreshes)), (1, 1));
}

#[test]
fn a_key_file_that_others_can_read_is_a_warning() {
    let told = |s: &Scenario| s.told(|notice| matches!(notice, Notice::SecretExposed { .. }));
    let mut s = with_key();
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(told(&s), 0);
    s.exposed.insert(place());
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(told(&s), 1);
    let line = s.notices().into_iter().find(|line| line.contains("others can read")).unwrap();
    assert_eq!(line, "the file /run/keys/client.pem holds a secret that others can read");
    // And so is one that tokens are bound to.
    let (mut s, dpop) = (with_key(), SecretRef::File("/run/keys/dpop.pem".to_owned()));
    s.world.authorization[0].dpop = true;
    s.config.dpop = DpopUse::Always;
    s.config.dpop_key = Some(dpop.clone());
    s.keys.insert(dpop.clone(), "bound".to_owned());
    s.exposed.insert(dpop);
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(told(&s), 1);
}

#[test]
fn a_signer_that_never_answers_is_given_up_on_and_too_late_an_answer_changes_nothing() {
    for (asked, nth) in [("key:", 0), ("sign:", 1)] {
        let mut s = with_key();
        let attempt = s.demand(Demand::interactive(Need::default()));
        s.run_until(asked);
        s.perform(asked);
        let late = s.hold(asked);
        let failed = s.settle(attempt).unwrap_err();
        assert!(matches!(failed.kind(), ErrorKind::SigningFailed { .. }), "{failed}");
        s.bring(late);
        s.run();
        assert_eq!((s.browser_opened(), s.world.count(What::TokenRequests)), (nth, 0));
        assert_eq!(s.call_tool("whoami").status(), 200);
    }
}

#[test]
fn each_try_has_an_assertion_of_its_own() {
    let mut s = with_key();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.sleep(4000);
    s.world.faults.push(Fault::fails("POST", "/token", NetworkError::TimedOut));
    s.world.faults.push(Fault::answer("POST", "/token", Canned::new(503, "")).after(1));
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let mut all = jwts(&s);
    let sent = all.len();
    assert!(sent >= 3);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), sent);
}

#[test]
fn it_comes_before_a_secret_and_is_not_shown_to_another_issuer() {
    let mut s = with_key();
    s.config.client_secret = Some("hush, by hand".into());
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert!(s.form_field("client_secret").is_none());
    let mut s = with_key();
    s.config.client_issuer = Some("https://other.example.com".to_owned());
    let _ = s.call_tool("whoami");
    assert_eq!((s.signed, jwts(&s).len()), (0, 0));
}

#[test]
fn another_key_than_the_registered_one_is_refused() {
    let mut s = with_key();
    s.keys.insert(place(), "theirs".to_owned());
    assert_fails!(s.call_tool("whoami"), ErrorKind::TokenRefused { .. });
    assert!(s.asked_for(Purpose::Token) > 0);
}

#[test]
fn a_key_needs_a_client() {
    let mut s = Scenario::in_world(World::new());
    s.config.client_key = Some(place());
    let error = s.try_start().unwrap_err();
    assert!(error.to_string().contains("client_key"), "{error}");
    assert_eq!(PublicKey::ed25519(&[7; 32]).algorithms()[0].as_str(), "EdDSA");
}

#[test]
fn a_code_for_another_device_is_asked_for_and_polled_with_by_the_key_each_time_anew() {
    let mut s = with_key();
    s.world.authorization[0].device = true;
    s.world.authorization[0].dpop = true;
    s.config.device_grant = DeviceGrant::Always;
    s.config.dpop = DpopUse::Auto;
    s.config.dpop_key = Some(place());
    let person = std::mem::replace(&mut s.person, Person::Ignores);
    let attempt = s.demand(Demand::interactive(Need::default()));
    s.run();
    assert!(s.shows_code());
    for _ in 0..2 {
        s.wait();
        s.run();
    }
    assert!(matches!(s.enter_code(&person), Visit::Page(_)));
    s.settle(attempt).unwrap();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let mut all = jwts(&s);
    // The code, two polls in vain, and the one that brought the tokens.
    assert_eq!(all.len(), 4);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4);
    assert_eq!(s.browser_opened(), 0);
}
