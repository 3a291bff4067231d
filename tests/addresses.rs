//! Where URLs that servers supply may lead, and where the operator's may.

use mcp_auth::output::Purpose;
use mcp_auth::{Ending, ErrorKind, Leniency, Notice};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::traps::{HOST, PLACES, REVOCATION, TRAPS};
use mcp_auth_world::{Canned, Challenge, Fault, What, World, assert_fails};
use serde_json::json;

const TRAP: &str = "https://trap.example.com";

/// No request went to the trap, and no browser was sent there.
#[track_caller]
fn nobody_went(s: &Scenario, host: &str) {
    let there = s.world.log.iter().filter(|exchange| exchange.origin.contains(host));
    assert_eq!(there.count(), 0, "a request went to {host}");
    s.check_secrets();
}

/// A public server names its authorization server in a private network.
fn private_authorization_server() -> Scenario {
    let mut s = Scenario::new();
    s.world.authorization[0].registration.manageable = true;
    s.world.name("auth.example.com", &["10.0.0.6"]);
    s
}

/// Both are in a private network.
fn private_network() -> Scenario {
    let mut s = private_authorization_server();
    s.world.name("mcp.example.com", &["10.0.0.5"]);
    s
}

fn lenient(s: &Scenario) -> usize {
    s.told(|notice| matches!(notice, Notice::Lenient(Leniency::PrivateAddress)))
}

mod a_public_server {
    use super::*;

    #[test]
    fn names_nothing_that_leads_inside_whatever_the_name_says() {
        for trap in TRAPS {
            for place in PLACES {
                let mut s = Scenario::new();
                s.world.name(HOST, &[place]);
                trap.set(&mut s.world, TRAP);
                let answer = s.call_tool("whoami");
                trap.assert_refused(answer.error());
                nobody_went(&s, HOST);
            }
        }
    }

    #[test]
    fn names_no_address_inside_and_nobody_is_asked_to_look() {
        for trap in TRAPS {
            for origin in [
                "https://127.0.0.1",
                "http://127.0.0.2:8080",
                "https://10.1.2.3:8443",
                "https://169.254.169.254",
                "https://[::1]",
                "http://[::1]:631",
                "https://[::ffff:10.1.2.3]",
                "https://2130706433",
                "https://0x7f.1",
                "https://localhost",
                "http://metadata.localhost",
            ] {
                let mut s = Scenario::new();
                trap.set(&mut s.world, origin);
                let answer = s.call_tool("whoami");
                trap.assert_refused(answer.error());
                let asked = s.told(|notice| match notice {
                    Notice::Asking { url, .. } => !url.contains("example.com"),
                    _ => false,
                });
                assert_eq!(asked, 0, "{}: {origin}", trap.name);
            }
        }
    }

    #[test]
    fn is_told_of_in_the_error_with_who_said_so_and_what_would_help() {
        let mut s = private_authorization_server();
        let answer = s.call_tool("whoami");
        assert_eq!(
            answer.error().to_string(),
            "https://auth.example.com/.well-known/oauth-authorization-server, which the MCP server \
             supplied, was not asked: 10.0.0.6 is a private address (RFC 1918)"
        );
        assert!(answer.error().advice().contains("`allow_private_addresses`"));
    }

    #[test]
    fn is_logged_in_to_where_only_the_rest_of_what_it_names_leads_inside() {
        let mut s = Scenario::new();
        s.world.name(HOST, &["10.0.0.1"]);
        s.world.resource.challenge =
            Challenge::Raw(vec![format!("Bearer resource_metadata=\"{TRAP}/meta\"")]);
        s.world.resource.authorization_servers =
            Some(vec![TRAP.to_owned(), "https://auth.example.com".to_owned()]);
        assert_eq!(s.call_tool("whoami").status(), 200);
        nobody_went(&s, HOST);
    }

    #[test]
    fn is_not_taken_for_one_without_metadata_because_its_metadata_is_out_of_reach() {
        // The document that can't be had may name another server: no login at the defaults of 2025.
        let mut s = Scenario::in_world(World::legacy("https://mcp.example.com/mcp"));
        s.world.name(HOST, &["10.0.0.1"]);
        s.world.resource.challenge =
            Challenge::Raw(vec![format!("Bearer resource_metadata=\"{TRAP}/meta\"")]);
        assert_fails!(s.call_tool("whoami"), ErrorKind::AddressRefused { .. });
        assert_eq!(s.browser_opened(), 0);
    }

    #[test]
    fn is_dialled_at_its_public_addresses_alone() {
        let mut s = private_authorization_server();
        s.world.name("auth.example.com", &["10.0.0.6", "8.8.8.8", "::1"]);
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn gains_nothing_from_a_name_that_says_something_else_the_next_time() {
        let mut s = Scenario::new();
        s.world.authorization[0].token_lifetime = 60;
        s.demand(mcp_auth::Demand::interactive(mcp_auth::Need::default()));
        s.run_until("POST auth.example.com/token");
        s.world.name("auth.example.com", &["169.254.169.254"]);
        s.run();
        let attempt = s.machine().last_attempt().unwrap();
        let error = s.machine().failure(attempt).unwrap();
        assert!(matches!(error.kind(), ErrorKind::AddressRefused { purpose: Purpose::Token, .. }));
        assert_eq!(s.world.count(What::TokenRequests), 0);
        // Nothing is lost: the name is mended, and the next login works.
        s.world.name("auth.example.com", &["8.8.8.8"]);
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn does_not_get_the_refresh_token_sent_inside_and_the_login_is_kept() {
        let mut s = Scenario::new();
        s.world.authorization[0].token_lifetime = 60;
        s.world.authorization[0].registration.manageable = true;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(120);
        s.take_log();
        s.world.name("auth.example.com", &["127.0.0.1"]);
        assert_fails!(
            s.call_tool_in_background("whoami"),
            ErrorKind::AddressRefused { purpose: Purpose::Token, .. }
        );
        assert_eq!(s.world.count(What::Refreshes), 0);
        // The operator meant it: the same login goes on.
        s.config.allow_private_addresses = vec!["127.0.0.1".to_owned()];
        s.restart();
        s.sleep(3_600);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (1, 1));
    }

    #[test]
    fn does_not_get_tokens_sent_inside_by_a_logout_either() {
        let mut s = Scenario::new();
        s.world.name(HOST, &["10.0.0.1"]);
        REVOCATION.set(&mut s.world, TRAP);
        s.world.authorization[0].registration.manageable = true;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.world.name("auth.example.com", &["fd00:ec2::254"]);
        let report = s.log_out();
        for (ending, purpose) in [
            (&report.refresh_token, Purpose::Revocation),
            (&report.access_token, Purpose::Revocation),
            (&report.registration, Purpose::Management),
        ] {
            let Ending::Failed(error) = ending else { panic!("{ending:?}") };
            assert!(
                matches!(error.kind(), ErrorKind::AddressRefused { purpose: p, .. } if *p == purpose),
                "{error}"
            );
        }
        assert!(report.erased.is_ok());
        nobody_went(&s, HOST);
        assert_eq!(s.store.bytes, None);
    }
}

mod a_server_in_a_private_network {
    use super::*;

    #[test]
    fn names_others_there() {
        let mut s = private_network();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(s.log_out().is_complete());
        assert_eq!(lenient(&s), 0);
    }

    #[test]
    fn names_nothing_on_this_machine_and_no_metadata_service() {
        for place in ["127.0.0.1", "::1", "169.254.169.254", "169.254.1.1", "fe80::1", "0.0.0.0"] {
            for trap in TRAPS {
                let mut s = private_network();
                s.world.name(HOST, &[place]);
                trap.set(&mut s.world, TRAP);
                let answer = s.call_tool("whoami");
                trap.assert_refused(answer.error());
                nobody_went(&s, HOST);
            }
        }
    }

    #[test]
    fn is_known_for_one_from_the_refusal_that_the_program_itself_got() {
        let mut s = private_network();
        // Another host than the server's own is asked first.
        s.world.name("docs.example.com", &["10.0.0.7"]);
        s.world.resource.metadata =
            mcp_auth_world::ResourceMetadata::At("https://docs.example.com/meta".to_owned());
        assert_eq!(s.try_tool("whoami"), 401);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.take_log()[1], "GET docs.example.com/meta 200");
    }

    #[test]
    fn is_taken_for_a_public_one_where_the_host_does_not_say_what_it_dialled() {
        let mut s = private_network();
        s.peers_are_told = false;
        assert_fails!(s.call_tool("whoami"), ErrorKind::AddressRefused { .. });
        // Its URL may say it.
        let mut world = World::with_urls("https://10.0.0.5/mcp", &["https://10.0.0.6"]);
        world.name("auth.example.com", &["10.0.0.6"]);
        let mut s = Scenario::in_world(world);
        s.peers_are_told = false;
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn is_known_for_one_after_a_restart_without_being_asked() {
        let mut s = private_network();
        s.world.authorization[0].token_lifetime = 60;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.restart();
        s.sleep(120);
        s.take_log();
        assert!(s.obtain(&mcp_auth::Need::default(), mcp_auth::Demand::background).is_ok());
        assert_eq!(s.take_log(), ["POST auth.example.com/token 200"]);
        s.restart();
        let report = s.log_out();
        assert!(report.is_complete(), "{report:?}");
        assert!(s.take_log().iter().all(|line| line.contains("auth.example.com")));
    }

    #[test]
    fn that_has_become_public_is_judged_as_it_is_now() {
        let mut s = private_network();
        s.world.authorization[0].token_lifetime = 60;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.world.name("mcp.example.com", &["8.8.8.8"]);
        s.world.resource.refuse_next = 1;
        assert_fails!(s.call_tool("whoami"), ErrorKind::AddressRefused { .. });
    }
}

#[test]
fn a_server_on_this_machine_names_others_there_and_in_its_networks() {
    for (server, issuer, place) in [
        ("http://127.0.0.1:8000/mcp", "http://127.0.0.1:9000", "-"),
        ("http://localhost:8000/mcp", "http://[::1]:9000", "-"),
        ("https://mcp.localhost/mcp", "https://auth.example.com", "10.0.0.6"),
        ("http://[::1]:8000/mcp", "https://auth.example.com", "127.0.0.1"),
        ("https://mcp.example.com/mcp", "https://auth.example.com", "127.0.0.3"),
    ] {
        for told in [true, false] {
            let mut world = World::with_urls(server, &[issuer]);
            world.name("mcp.example.com", &["127.0.0.1"]);
            if place != "-" {
                world.name("auth.example.com", &[place]);
            }
            let mut s = Scenario::in_world(world);
            s.peers_are_told = told;
            let answer = s.call_tool("whoami");
            // Only a connection can tell that a name is one of this machine.
            if told || !server.contains("mcp.example.com") {
                assert_eq!(answer.status(), 200, "{server}, {issuer}");
            } else {
                assert_fails!(answer, ErrorKind::AddressRefused { .. });
            }
        }
    }
}

mod what_the_operator_says {
    use super::*;

    #[test]
    fn an_exception_lets_it_in_and_the_login_says_so() {
        for entry in ["10.0.0.0/8", "10.0.0.6", "auth.example.com"] {
            let mut s = private_authorization_server();
            s.config.allow_private_addresses = vec![entry.to_owned()];
            assert_eq!(s.call_tool("whoami").status(), 200, "{entry}");
            assert_eq!(lenient(&s), 1, "{entry}");
            let found = s.machine().discovery().unwrap();
            assert!(found.leniencies.contains(&Leniency::PrivateAddress));
            assert!(s.log_out().is_complete());
        }
        let mut s = private_authorization_server();
        s.config.allow_private_addresses = vec!["10.0.1.0/24".to_owned(), "example.com".to_owned()];
        assert_fails!(s.call_tool("whoami"), ErrorKind::AddressRefused { .. });
    }

    #[test]
    fn an_inspection_says_so_too() {
        let mut s = private_authorization_server();
        s.config.allow_private_addresses = vec!["auth.example.com".to_owned()];
        let found = s.inspect().unwrap().unwrap();
        assert_eq!(found.leniencies, [Leniency::PrivateAddress]);
    }

    #[test]
    fn an_exception_that_is_not_needed_is_no_leniency() {
        let mut s = Scenario::new();
        s.config.allow_private_addresses = vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()];
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(lenient(&s), 0);
    }

    #[test]
    fn no_exception_but_the_very_address_opens_a_metadata_service() {
        let mut s = Scenario::new();
        s.world.name("auth.example.com", &["169.254.169.254"]);
        s.config.allow_private_addresses =
            ["0.0.0.0/0", "auth.example.com"].map(str::to_owned).to_vec();
        assert_fails!(s.call_tool("whoami"), ErrorKind::AddressRefused { .. });
    }

    #[test]
    fn an_issuer_that_is_configured_may_be_anywhere_with_all_of_its_origin() {
        let mut s = private_authorization_server();
        s.config.issuer = Some("https://auth.example.com".into());
        s.world.authorization[0].token_lifetime = 60;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(120);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert!(s.log_out().is_complete());
        assert_eq!(lenient(&s), 0);
    }

    #[test]
    fn a_token_endpoint_at_another_origin_than_the_configured_issuer_is_the_servers_word() {
        let mut s = private_authorization_server();
        s.config.issuer = Some("https://auth.example.com".into());
        s.world.name(HOST, &["10.0.0.7"]);
        TRAPS[5].set(&mut s.world, TRAP);
        let answer = s.call_tool("whoami");
        TRAPS[5].assert_refused(answer.error());
        nobody_went(&s, HOST);
    }

    #[test]
    fn endpoints_that_are_configured_may_be_anywhere() {
        let mut s = private_authorization_server();
        s.config.authorize_url = Some("https://auth.example.com/authorize".into());
        s.config.token_url = Some("https://auth.example.com/token".into());
        s.config.client_id = Some("by-hand".into());
        s.world.authorization[0].preregister("by-hand", None);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(lenient(&s), 0);
    }
}

/// `accounts.google.com` and `oauth2.googleapis.com`: the issuer's document vouches for both.
#[test]
fn a_public_endpoint_may_be_at_another_host_than_its_issuer() {
    let mut s = Scenario::new();
    let token = json!("https://tokens.example.com/token");
    s.world.authorization[0].metadata_changes.insert("token_endpoint".to_owned(), token);
    let reply = json!({ "access_token": "from-elsewhere", "token_type": "Bearer" });
    let reply = Canned::json(200, reply.to_string());
    s.world.faults.push(Fault::answer("POST", "/token", reply));
    s.log_in().unwrap();
    assert!(s.take_log().contains(&"POST tokens.example.com/token 200".to_owned()));
}

#[test]
fn no_url_of_a_server_is_followed_that_is_not_https_or_has_more_than_an_address() {
    for origin in [
        "http://trap.example.com",
        "ftp://trap.example.com",
        "//trap.example.com",
        "https://somebody@trap.example.com",
        "https://somebody:secret@trap.example.com",
        "https://@trap.example.com",
        "https://trap.example.com/#",
        "https://auth.example.com\\@trap.example.com",
        "https:trap.example.com",
        "https://trap%2eexample.com",
    ] {
        for trap in TRAPS {
            // A realm's fragment is dropped: what is left is a public https address.
            if trap.name == "realm" && origin.ends_with('#') {
                continue;
            }
            let mut s = Scenario::new();
            trap.set(&mut s.world, origin);
            // The metadata may have another way to the server; nobody goes this one.
            if let Ok(()) = s.log_in() {
                assert_eq!(trap.name, "registration endpoint", "{origin}");
            }
            nobody_went(&s, HOST);
            let told = s.notices().join("\n");
            assert!(!told.contains("secret@"), "{told}");
        }
    }
}

mod posts {
    use super::*;

    /// Credentials are in them: they go to where they were meant to, or nowhere.
    #[test]
    fn are_not_sent_on_by_a_redirect() {
        for (path, purpose) in [("/register", Purpose::Registration), ("/token", Purpose::Token)] {
            for status in [301, 302, 303, 307, 308] {
                for target in [TRAP, "https://auth.example.com/elsewhere", "/elsewhere"] {
                    let mut s = Scenario::new();
                    let away = Canned::redirect(status, target);
                    s.world.faults.push(Fault::answer("POST", path, away).times(9));
                    s.log_in().unwrap_err();
                    assert!(s.asked_for(purpose) > 0);
                    nobody_went(&s, HOST);
                    assert!(!s.take_log().iter().any(|line| line.contains("/elsewhere")));
                }
            }
        }
    }

    #[test]
    fn of_a_refresh_or_a_logout_are_not_either() {
        let mut s = Scenario::new();
        s.world.authorization[0].token_lifetime = 60;
        s.world.authorization[0].registration.manageable = true;
        s.log_in().unwrap();
        s.sleep(120);
        for (method, path) in [("POST", "/token"), ("POST", "/revoke"), ("DELETE", "*")] {
            let away = Canned::redirect(307, &format!("{TRAP}/elsewhere"));
            s.world.faults.push(Fault::answer(method, path, away).times(9));
        }
        let _ = s.call_tool_in_background("whoami").error();
        let report = s.log_out();
        assert!(!report.is_complete());
        nobody_went(&s, HOST);
    }
}
