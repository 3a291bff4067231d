//! Which client are we? Configured, a metadata document, or registered; and what happens when a
//! server thinks otherwise.

use mcp_auth::{Demand, ErrorKind, Notice, TokenState};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{
    Canned, Cimd, ClientAuthentication, Fault, Outcome, Person, Redirects, What, World,
    assert_fails,
};
use serde_json::Value;

const DOCUMENT: &str = "https://client.example.com/mcp.json";

/// The client of the last token request, and how it authenticated.
fn last_client(s: &Scenario) -> (String, Option<ClientAuthentication>) {
    let last = s.world.token_requests().last().expect("a token request");
    (last.client_id.clone(), last.authentication)
}

/// The last registration request.
fn application(s: &Scenario) -> Value {
    let sent = s.world.log.iter().rev().find(|exchange| exchange.path == "/register");
    serde_json::from_slice(sent.expect("a registration").request.body()).unwrap()
}

fn rejected(s: &Scenario) -> usize {
    s.told(|notice| matches!(notice, Notice::ClientRejected { .. }))
}

mod configured {
    use super::*;

    fn by_hand(secret: Option<&str>) -> Scenario {
        let mut s = Scenario::new();
        s.world.authorization[0].preregister("by-hand", secret);
        s.config.client_id = Some("by-hand".to_owned());
        s.config.client_secret = secret.map(Into::into);
        s
    }

    #[test]
    fn it_comes_before_every_other_identity() {
        let mut s = by_hand(None);
        s.world.authorization[0].cimd = Cimd::Accepted;
        s.config.client_metadata_url = Some(DOCUMENT.to_owned());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(last_client(&s).0, "by-hand");
        assert_eq!(s.world.count(What::Registrations), 0);
    }

    #[test]
    fn it_is_shown_to_its_own_issuer_alone() {
        let mut s = by_hand(Some("a secret, by hand"));
        s.config.client_issuer = Some("https://other.example.com".to_owned());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_ne!(last_client(&s).0, "by-hand");
        let shown = |text: &str| text.contains("by-hand") || text.contains("by hand");
        for exchange in &s.world.log {
            assert!(!shown(&String::from_utf8_lossy(exchange.request.body())));
            assert!(!shown(&exchange.request.uri().to_string()));
        }
        s.check_secrets();
    }

    #[test]
    fn its_secret_goes_by_the_method_that_the_server_lists() {
        use ClientAuthentication::{Basic, None, Post};
        for (listed, used) in [(vec![Post], Post), (vec![Basic], Basic), (vec![None, Basic], Basic)]
        {
            let mut s = by_hand(Some("s3cret: &+%/="));
            s.world.authorization[0].client_authentication = listed;
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!(last_client(&s).1, Some(used));
        }
    }

    #[test]
    fn a_server_that_does_not_know_it_ends_the_login() {
        let mut s = by_hand(None);
        let unknown = Canned::json(401, r#"{"error":"invalid_client"}"#);
        s.world.faults.push(Fault::answer("POST", "/token", unknown));
        assert_fails!(s.call_tool("whoami"), ErrorKind::TokenRefused { .. });
        assert_eq!((s.browser_opened(), s.world.count(What::Registrations)), (1, 0));
    }
}

mod metadata_document {
    use super::*;

    fn with_document(cimd: Cimd) -> Scenario {
        let mut s = Scenario::new();
        s.world.authorization[0].cimd = cimd;
        s.config.client_metadata_url = Some(DOCUMENT.to_owned());
        s
    }

    #[test]
    fn it_is_used_where_the_server_supports_it() {
        let mut s = with_document(Cimd::Accepted);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(last_client(&s), (DOCUMENT.to_owned(), Some(ClientAuthentication::None)));
        assert_eq!(s.world.count(What::Registrations), 0);
    }

    #[test]
    fn elsewhere_a_client_is_registered() {
        let mut s = with_document(Cimd::Unsupported);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.world.registrations(), 1);
    }

    #[test]
    fn tokens_that_it_got_are_refreshed_with_it() {
        let mut s = with_document(Cimd::Accepted);
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.restart();
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(last_client(&s).0, DOCUMENT);
    }

    #[test]
    fn rejected_by_the_browser_or_at_the_token_endpoint_a_client_is_registered_once() {
        for cimd in [Cimd::RefusedWithRedirect, Cimd::RefusedAtToken] {
            let mut s = with_document(cimd);
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!((rejected(&s), s.world.registrations(), s.browser_opened()), (1, 1, 2));
            // It is remembered: the next login doesn't try again.
            s.restart();
            s.log_in().unwrap();
            assert_eq!((rejected(&s), s.world.registrations(), s.browser_opened()), (1, 1, 3));
        }
    }

    #[test]
    fn rejected_where_nothing_else_goes_the_servers_own_words_are_told() {
        let mut s = with_document(Cimd::RefusedAtToken);
        s.world.authorization[0].registration.open = false;
        assert_fails!(s.call_tool("whoami"), ErrorKind::TokenRefused { .. });
        assert_eq!(s.browser_opened(), 1);
    }
}

mod registered {
    use super::*;

    #[test]
    fn one_registration_serves_every_login() {
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.log_in().unwrap();
        s.restart();
        s.log_in().unwrap();
        assert_eq!((s.browser_opened(), s.world.registrations()), (3, 1));
    }

    #[test]
    fn it_is_kept_before_the_person_is_asked() {
        let mut s = Scenario::new();
        s.demand(Demand::interactive(need("whoami")));
        s.run_until("browse");
        s.restart();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.world.registrations(), 1);
    }

    #[test]
    fn it_says_that_it_is_native_and_wants_refresh_tokens() {
        let mut s = Scenario::new();
        s.config.client_name = "Notes, at home".to_owned();
        assert_eq!(s.call_tool("whoami").status(), 200);
        let sent = application(&s);
        assert_eq!(sent["application_type"], "native");
        assert_eq!(sent["client_name"], "Notes, at home");
        assert_eq!(sent["token_endpoint_auth_method"], "none");
        assert_eq!(sent["grant_types"], serde_json::json!(["authorization_code", "refresh_token"]));
    }

    #[test]
    fn a_server_that_forgot_it_gets_another_once() {
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.world.authorization[0].forget_clients();
        s.sleep(4000);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.world.registrations(), s.browser_opened()), (2, 2));
        // The refresh that revealed it, and no second one.
        assert_eq!(s.world.count(What::Refreshes), 1);
    }

    #[test]
    fn a_server_that_forgot_it_in_the_middle_of_a_login_may_say_so_without_a_word() {
        for answer in [Canned::new(401, ""), Canned::json(401, r#"{"error":"invalid_client"}"#)] {
            let mut s = Scenario::new();
            assert_eq!(s.call_tool("whoami").status(), 200);
            s.world.faults.push(Fault::answer("POST", "/token", answer));
            s.log_in().unwrap();
            assert_eq!((s.world.registrations(), s.browser_opened()), (2, 3));
        }
    }

    #[test]
    fn in_the_background_the_next_login_knows_that_it_is_forgotten() {
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.world.authorization[0].forget_clients();
        s.sleep(4000);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        s.restart();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.world.registrations(), s.browser_opened()), (2, 2));
    }

    #[test]
    fn a_server_that_rejects_what_it_has_just_registered_is_not_asked_for_ever() {
        let mut s = Scenario::new();
        let unknown = Canned::json(401, r#"{"error":"invalid_client"}"#);
        s.world.faults.push(Fault::answer("POST", "/token", unknown).times(9));
        assert_fails!(s.call_tool("whoami"), ErrorKind::TokenRefused { .. });
        assert_eq!((s.world.registrations(), s.browser_opened()), (1, 1));
        // The next login tries the remembered client, then another, and that's all.
        assert_fails!(s.call_tool("whoami"), ErrorKind::TokenRefused { .. });
        assert_eq!((s.world.registrations(), s.browser_opened()), (2, 3));
    }

    #[test]
    fn a_server_that_takes_no_native_client_gets_a_web_one() {
        let mut s = Scenario::new();
        let registration = &mut s.world.authorization[0].registration;
        registration.refuses_application_type = Some("native".to_owned());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(application(&s)["application_type"], "web");
    }

    #[test]
    fn the_reply_decides_how_it_authenticates() {
        use ClientAuthentication::{Basic, None, Post};
        for assigned in [Basic, Post, None] {
            let mut s = Scenario::new();
            s.world.authorization[0].registration.assigns = Some(assigned);
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!(last_client(&s).1, Some(assigned));
            s.restart();
            s.sleep(4000);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(last_client(&s).1, Some(assigned));
        }
    }

    #[test]
    fn one_whose_secret_has_expired_is_replaced() {
        let mut s = Scenario::new();
        let server = &mut s.world.authorization[0];
        server.registration.assigns = Some(ClientAuthentication::Basic);
        server.registration.secret_lifetime = Some(7200);
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(8000);
        s.log_in().unwrap();
        assert_eq!(s.world.registrations(), 2);
        assert_eq!(last_client(&s).1, Some(ClientAuthentication::Basic));
    }

    #[test]
    fn its_port_is_kept_where_it_is_free() {
        let mut s = Scenario::new();
        s.world.authorization[0].redirects = Redirects::Exact;
        assert_eq!(s.call_tool("whoami").status(), 200);
        let registered = s.authorize_param("redirect_uri");
        s.restart();
        s.log_in().unwrap();
        assert_eq!(s.authorize_param("redirect_uri"), registered);
        assert_eq!(s.world.registrations(), 1);

        // Taken by another program: another port needs another registration.
        let port = url_port(&registered.clone().unwrap());
        s.taken_ports.insert(port);
        s.log_in().unwrap();
        assert_ne!(s.authorize_param("redirect_uri"), registered);
        assert_eq!(s.world.registrations(), 2);
    }

    #[test]
    fn one_that_is_replaced_goes_on_renewing_the_tokens_that_it_got() {
        let mut s = Scenario::new();
        s.world.authorization[0].registration.assigns = Some(ClientAuthentication::Basic);
        assert_eq!(s.call_tool("whoami").status(), 200);
        let first = last_client(&s);
        // A login that had to register another client, and that nobody finished.
        s.taken_ports.insert(url_port(&s.authorize_param("redirect_uri").unwrap()));
        s.person = Person::Ignores;
        s.log_in().unwrap_err();
        assert_eq!(s.world.registrations(), 2);
        for _ in 0..2 {
            s.restart();
            s.sleep(4000);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(last_client(&s), first);
        }
        // The next login is the other client's, and so are its tokens.
        s.person = Person::Approves;
        s.log_in().unwrap();
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_ne!(last_client(&s), first);
        assert_eq!(s.world.registrations(), 2);
    }

    #[test]
    fn a_closed_endpoint_is_opened_by_the_initial_access_token() {
        let mut s = Scenario::new();
        s.world.authorization[0].registration.initial_access_token = Some("let-me-in".to_owned());
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::RegistrationRefused { .. });
        assert!(answer.error().advice().contains("initial_access_token"));

        s.config.initial_access_token = Some("let-me-in".into());
        s.config.client_issuer = Some("https://auth.example.com".to_owned());
        s.restart();
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn it_is_used_at_no_other_server() {
        let two = ["https://auth.example.com", "https://new.example.com"];
        let mut s = Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &two));
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.world.migrate_to(1);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.world.registrations(), 2);
        s.check_secrets();
    }

    fn url_port(url: &str) -> u16 {
        url::Url::parse(url).unwrap().port().unwrap()
    }
}

#[test]
fn whoever_comes_while_a_renewal_becomes_a_login_waits_for_that_login() {
    let mut s = Scenario::new();
    s.world.authorization[0].preregister("by-hand", None);
    s.config.client_id = Some("by-hand".to_owned());
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.config.client_id = None;
    s.restart();
    s.sleep(4000);
    let first = s.demand(Demand::interactive(need("whoami")));
    s.run_until("redirect");
    s.deliver("browse");
    s.drain();
    assert!(matches!(s.token_for(&need("whoami")), TokenState::Pending(id) if id == first));
    let second = s.demand(Demand::interactive(need("whoami")));
    s.run_but("redirect");
    assert!(matches!(s.token_for(&need("whoami")), TokenState::Pending(_)));
    s.settle(first).unwrap();
    s.settle(second).unwrap();
    s.grant();
    assert_eq!((s.browser_opened(), s.world.count(What::Refreshes)), (2, 0));
}

#[test]
fn where_there_is_no_way_the_error_names_the_settings() {
    let mut s = Scenario::new();
    s.world.authorization[0].registration.open = false;
    let answer = s.call_tool("whoami");
    assert_fails!(answer, ErrorKind::NoClient { .. });
    let advice = answer.error().advice();
    assert!(advice.contains("client_id") && advice.contains("client_metadata_url"), "{advice}");
    assert_eq!(s.browser_opened(), 0);
}

#[test]
fn every_registration_endpoint_failure_is_told_without_asking_anybody() {
    for answer in [
        Canned::new(500, "oops"),
        Canned::new(403, "<html>no</html>"),
        Canned::json(400, r#"{"error":"invalid_redirect_uri"}"#),
        Canned::json(201, "{}"),
        Canned::json(201, r#"{"client_id":""}"#),
        Canned::new(201, "client_id=1"),
    ] {
        let mut s = Scenario::new();
        s.world.faults.push(Fault::answer("POST", "/register", answer).times(3));
        let _ = s.call_tool("whoami").error();
        assert_eq!(s.browser_opened(), 0);
        let refused = |t: &mcp_auth_world::TokenRequest| t.outcome != Outcome::Granted;
        assert!(s.world.token_requests().all(refused));
    }
}
