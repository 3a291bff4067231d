//! From a refusal to an authorization server: where documents are looked for, and which are believed.

use mcp_auth::{ErrorKind, Leniency, Notice};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{
    Canned, Challenge, Fault, MetadataPlace, NetworkError, RequiresLogin, ResourceMetadata, What,
    World, assert_fails,
};
use serde_json::json;

const PATH: &str = "/.well-known/oauth-protected-resource/mcp";
const ROOT: &str = "/.well-known/oauth-protected-resource";
const SERVER: &str = "/.well-known/oauth-authorization-server";
const ISSUER: &str = "https://auth.example.com";
const ENDPOINT: &str = "https://mcp.example.com/v1/mcp/";
const TENANT: &str = "https://auth.example.com/tenant";

/// The paths of documents that were asked for, with the status of each.
fn documents(s: &mut Scenario) -> Vec<String> {
    let log = s.take_log();
    log.into_iter()
        .filter(|line| line.contains("/.well-known/") || line.contains("/meta"))
        .collect()
}

/// Nobody was asked to log in, and no client was registered.
#[track_caller]
fn nothing_began(s: &Scenario) {
    assert_eq!((s.browser_opened(), s.world.registrations()), (0, 0));
    assert_eq!((s.world.count(What::TokenRequests), s.world.count(What::Strays)), (0, 0));
}

fn lenient(s: &Scenario, wanted: Leniency) -> bool {
    s.told(|notice| matches!(notice, Notice::Lenient(found) if *found == wanted)) > 0
}

mod resource_metadata {
    use super::*;

    #[test]
    fn the_challenges_url_comes_first_and_no_other_is_tried() {
        let mut s = Scenario::new();
        s.world.resource.metadata =
            ResourceMetadata::At("https://mcp.example.com/meta/resource".to_owned());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(
            documents(&mut s),
            [
                "GET mcp.example.com/meta/resource 200",
                "GET auth.example.com/.well-known/oauth-authorization-server 200",
            ]
        );
    }

    #[test]
    fn it_may_be_on_another_origin_if_the_challenge_says_so() {
        let mut s = Scenario::new();
        s.world.resource.metadata =
            ResourceMetadata::At("https://docs.example.com/meta".to_owned());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(documents(&mut s)[0], "GET docs.example.com/meta 200");
        s.check_secrets();
    }

    #[test]
    fn without_a_url_it_is_looked_for_at_the_path_and_then_at_the_root() {
        let mut s = Scenario::new();
        s.world.resource.challenge = Challenge::WithoutMetadata;
        s.world.resource.metadata = ResourceMetadata::AtRoot;
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(
            documents(&mut s)[..2],
            [
                "GET mcp.example.com/.well-known/oauth-protected-resource/mcp 404",
                "GET mcp.example.com/.well-known/oauth-protected-resource 200",
            ]
        );
    }

    #[test]
    fn a_dead_url_in_the_challenge_is_not_the_end() {
        let mut s = Scenario::new();
        s.world.resource.challenge = Challenge::Raw(vec![
            "Bearer resource_metadata=\"https://mcp.example.com/meta\"".to_owned(),
        ]);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(
            documents(&mut s)[..2],
            [
                "GET mcp.example.com/meta 404",
                "GET mcp.example.com/.well-known/oauth-protected-resource/mcp 200",
            ]
        );
    }

    #[test]
    fn a_relative_url_in_the_challenge_is_resolved_against_the_one_that_was_asked() {
        // The probe is refused, and what it asked is the endpoint; or it is let in, and the request
        // of the caller's own is refused.
        for requires_login in [RequiresLogin::Always, RequiresLogin::ForToolCalls] {
            for (text, at) in [
                ("/meta/resource", "/meta/resource"),
                ("meta", "/v1/mcp/meta"),
                ("../meta?v=2", "/v1/meta"),
                ("./", "/v1/mcp/"),
            ] {
                let mut s = Scenario::in_world(World::with_urls(ENDPOINT, &[ISSUER]));
                s.world.resource.requires_login = requires_login;
                // What a server is asked at is the URL that it moved us to, slash and all.
                s.server = Some("https://mcp.example.com/v1/mcp".to_owned());
                let moved = Fault::answer("*", "/v1/mcp", Canned::redirect(307, ENDPOINT));
                s.world.faults.push(moved.times(9));
                let document = json!({
                    "resource": "https://mcp.example.com/v1/mcp", "authorization_servers": [ISSUER],
                });
                let document = Canned::json(200, document.to_string());
                s.world.faults.push(Fault::answer("GET", at, document));
                s.world.resource.identifier = Some("https://mcp.example.com/v1/mcp".to_owned());
                s.world.resource.metadata = ResourceMetadata::Absent;
                s.config.legacy_fallback = false;
                let challenge =
                    format!("Bearer scope=\"notes:read\", resource_metadata=\"{text}\"");
                s.world.resource.challenge = Challenge::Raw(vec![challenge]);
                assert_eq!(s.call_tool("whoami").status(), 200, "{text}");
                s.check_secrets();
            }
        }
    }

    #[test]
    fn a_relative_url_stays_with_the_server_that_was_asked() {
        for text in
            ["//evil.example.com/meta", "\\\\evil.example.com/meta", "/\\evil.example.com/m"]
        {
            let mut s = Scenario::new();
            let challenge = format!("Bearer scope=\"notes:read\", resource_metadata='{text}'");
            s.world.resource.challenge = Challenge::Raw(vec![challenge]);
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!(s.world.count(What::Strays), 0);
            assert_eq!(
                documents(&mut s)[0],
                "GET mcp.example.com/.well-known/oauth-protected-resource/mcp 200"
            );
        }
    }

    #[test]
    fn one_for_another_resource_ends_the_login_before_it_begins() {
        for other in [
            "https://other.example.com/mcp",
            "https://mcp.example.com/mcp/deeper",
            "https://mcp.example.com/mc",
            "http://mcp.example.com/mcp",
        ] {
            let mut s = Scenario::new();
            s.world.resource.identifier = Some(other.to_owned());
            assert_fails!(s.call_tool("whoami"), ErrorKind::ResourceMismatch { .. });
            assert_eq!(s.world.count(What::ServerMetadata), 0);
            nothing_began(&s);
        }
    }

    #[test]
    fn one_for_a_parent_of_the_endpoint_is_good() {
        for parent in ["https://mcp.example.com", "https://mcp.example.com/"] {
            let mut s = Scenario::new();
            s.world.resource.identifier = Some(parent.to_owned());
            assert_eq!(s.call_tool("whoami").status(), 200);
            // Byte for byte: no slash is added, none is taken away.
            assert_eq!(s.authorize_param("resource").unwrap(), parent);
            assert_eq!(s.form_field("resource").unwrap(), parent);
        }
    }

    #[test]
    fn one_without_a_resource_is_lenience() {
        let mut s = Scenario::new();
        let body = json!({ "authorization_servers": ["https://auth.example.com"] });
        s.world.resource.metadata_body = Some(body.to_string());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(lenient(&s, Leniency::ResourceAbsent));
        assert_eq!(s.authorize_param("resource").unwrap(), "https://mcp.example.com/mcp");
    }

    #[test]
    fn what_is_no_json_object_is_passed_over() {
        for body in ["<html>", "[]", "", "{\"resource\": 7}", "null"] {
            let mut s = Scenario::new();
            s.config.legacy_fallback = false;
            s.world.resource.metadata_body = Some(body.to_owned());
            assert_fails!(s.call_tool("whoami"), ErrorKind::NoAuthorizationServer { .. });
            nothing_began(&s);
        }
    }

    #[test]
    fn one_that_is_too_large_is_passed_over() {
        let mut s = Scenario::new();
        s.world.resource.metadata_body = Some(" ".repeat(2 << 20));
        let _ = s.call_tool("whoami").error();
        nothing_began(&s);
    }

    #[test]
    fn one_that_is_too_large_does_not_hide_a_server_of_before_there_was_any() {
        let mut s = Scenario::in_world(World::legacy("https://mcp.example.com/mcp"));
        let large = || Canned::new(200, " ".repeat(2 << 20));
        for path in [PATH, ROOT, SERVER, "/.well-known/openid-configuration"] {
            s.world.faults.push(Fault::answer("GET", path, large()));
        }
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(lenient(&s, Leniency::LegacyEndpoints));
    }

    #[test]
    fn while_it_cannot_be_had_nothing_is_guessed() {
        let mut s = Scenario::new();
        let outage = Fault::answer("GET", PATH, Canned::new(503, "")).times(9);
        s.world.faults.push(outage);
        s.world.resource.challenge = Challenge::WithoutMetadata;
        let _ = s.call_tool("whoami").error();
        nothing_began(&s);
    }
}

mod redirects {
    use super::*;

    #[test]
    fn are_followed_within_the_origin() {
        let mut s = Scenario::new();
        s.world.resource.metadata = ResourceMetadata::AtRoot;
        s.world.resource.challenge = Challenge::WithoutMetadata;
        s.world.faults.push(Fault::answer("GET", PATH, Canned::redirect(307, ROOT)));
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.told(|notice| matches!(notice, Notice::Followed { .. })), 1);
    }

    #[test]
    fn are_not_followed_to_another_origin_or_down_to_http() {
        for target in [
            "https://evil.example.com/meta",
            "http://mcp.example.com/meta",
            "https://mcp.example.com:8443/meta",
            "//evil.example.com/meta",
            "ftp://mcp.example.com/meta",
            "",
        ] {
            let mut s = Scenario::new();
            s.world.faults.push(Fault::answer("GET", PATH, Canned::redirect(302, target)));
            s.config.legacy_fallback = false;
            assert_fails!(s.call_tool("whoami"), ErrorKind::NoAuthorizationServer { .. });
            nothing_began(&s);
        }
    }

    #[test]
    fn end_after_a_few() {
        let mut s = Scenario::new();
        s.world
            .faults
            .push(Fault::answer("GET", "*", Canned::redirect(302, ROOT)).after(1).times(99));
        let _ = s.call_tool("whoami").error();
        // Four documents are looked for, three hops each.
        assert_eq!(s.told(|notice| matches!(notice, Notice::Followed { .. })), 12);
        nothing_began(&s);
    }
}

mod authorization_server {
    use super::*;

    #[test]
    fn a_refusal_that_names_nothing_leads_to_where_the_first_one_led() {
        for (metadata, first) in [
            (
                ResourceMetadata::At("https://mcp.example.com/meta".to_owned()),
                "Bearer scope=\"notes:read\", resource_metadata=\"https://mcp.example.com/meta\"",
            ),
            (
                ResourceMetadata::Absent,
                "Bearer scope=\"notes:read\", realm=\"https://auth.example.com\"",
            ),
        ] {
            let mut s = Scenario::new();
            s.world.resource.metadata = metadata;
            s.world.resource.challenge = Challenge::Raw(vec![first.to_owned()]);
            assert_eq!(s.call_tool("whoami").status(), 200);
            // Many servers say where their metadata is in the 401, and not in the 403.
            s.world.resource.challenge = Challenge::WithoutMetadata;
            assert_eq!(s.call_tool("write_note").status(), 200);
            assert_eq!(s.world.registrations(), 1);
        }
    }

    #[test]
    fn each_that_is_named_is_tried_in_order() {
        let mut s = Scenario::new();
        s.world.resource.authorization_servers = Some(vec![
            "https://gone.example.com".to_owned(),
            "http://plain.example.com".to_owned(),
            "https://auth.example.com".to_owned(),
        ]);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(
            documents(&mut s)[1..],
            [
                "GET gone.example.com/.well-known/oauth-authorization-server 502",
                "GET gone.example.com/.well-known/openid-configuration 502",
                "GET auth.example.com/.well-known/oauth-authorization-server 200",
            ]
        );
    }

    #[test]
    fn its_metadata_is_found_in_each_of_its_places() {
        let places = [
            "auth.example.com/.well-known/oauth-authorization-server/tenant",
            "auth.example.com/.well-known/openid-configuration/tenant",
            "auth.example.com/tenant/.well-known/openid-configuration",
            "auth.example.com/tenant/.well-known/oauth-authorization-server",
        ];
        for (index, place) in [
            MetadataPlace::Rfc8414,
            MetadataPlace::OidcInserted,
            MetadataPlace::OidcAppended,
            MetadataPlace::Rfc8414Appended,
        ]
        .into_iter()
        .enumerate()
        {
            let mut s =
                Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &[TENANT]));
            s.world.authorization[0].metadata = place;
            assert_eq!(s.call_tool("whoami").status(), 200);
            let asked = documents(&mut s);
            assert_eq!(asked.len(), index + 2, "{asked:?}");
            for (line, place) in asked[1..].iter().zip(places) {
                assert!(line.starts_with(&format!("GET {place} ")), "{line}");
            }
        }
    }

    #[test]
    fn one_that_says_it_is_another_is_refused() {
        let mut s = Scenario::new();
        s.world.authorization[0].claimed_issuer = Some("https://evil.example.com".to_owned());
        assert_fails!(s.call_tool("whoami"), ErrorKind::IssuerMismatch { .. });
        nothing_began(&s);
    }

    #[test]
    fn one_that_says_it_is_a_trusted_other_is_used_under_that_name() {
        let mut s = Scenario::new();
        let name = "https://login.example.com/v2";
        s.world.authorization[0].claimed_issuer = Some(name.to_owned());
        s.config.trusted_issuers = vec![name.to_owned()];
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(lenient(&s, Leniency::TrustedIssuer));
        assert_eq!(s.machine().discovery().unwrap().server.issuer, name);
    }

    #[test]
    fn the_root_slash_alone_makes_no_other_issuer() {
        let mut s = Scenario::new();
        s.world.resource.authorization_servers = Some(vec!["https://auth.example.com/".to_owned()]);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(lenient(&s, Leniency::RootSlash));

        let mut s = Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &[TENANT]));
        s.world.resource.authorization_servers = Some(vec![format!("{TENANT}/")]);
        assert_fails!(s.call_tool("whoami"), ErrorKind::IssuerMismatch { .. });
    }

    #[test]
    fn a_document_without_registration_is_completed_from_the_other_one() {
        let mut s = Scenario::new();
        s.world.authorization[0].metadata = MetadataPlace::OidcInserted;
        let partial = json!({
            "issuer": "https://auth.example.com",
            "authorization_endpoint": "https://auth.example.com/authorize",
            "token_endpoint": "https://auth.example.com/token",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        });
        let partial = Canned::json(200, partial.to_string());
        s.world.faults.push(Fault::answer("GET", SERVER, partial));
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.world.registrations(), 1);
    }

    #[test]
    fn a_configured_issuer_is_used_whatever_the_server_names() {
        let two = ["https://auth.example.com", "https://sso.example.com"];
        let mut s = Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &two));
        s.world.resource.authorization_servers = Some(vec![two[0].to_owned()]);
        s.world.resource.home = 1;
        s.config.issuer = Some(two[1].to_owned());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(s.take_log().iter().all(|line| !line.contains("auth.example.com")));
    }

    #[test]
    fn configured_endpoints_are_used_without_looking_anything_up() {
        let mut s = Scenario::new();
        s.world.authorization[0].metadata = MetadataPlace::Absent;
        s.world.authorization[0].preregister("by-hand", None);
        s.config.client_id = Some("by-hand".to_owned());
        s.config.authorize_url = Some("https://auth.example.com/authorize".to_owned());
        s.config.token_url = Some("https://auth.example.com/token".to_owned());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.world.count(What::ServerMetadata), 0);
        assert!(s.take_log().iter().all(|line| !line.contains("oauth-authorization-server")));
    }

    #[test]
    fn a_realm_that_is_an_issuers_url_names_it() {
        let mut s = Scenario::new();
        s.world.resource.metadata = ResourceMetadata::Absent;
        s.world.resource.challenge =
            Challenge::Raw(vec![format!("Bearer realm=\"{ISSUER}\", scope=\"notes:read\"")]);
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn a_realm_is_cleaned_before_it_names_an_issuer_and_much_of_it_is_none() {
        let world = || World::with_urls("https://mcp.example.com/mcp", &[TENANT]);
        for (realm, is_issuer) in [
            (TENANT, true),
            ("https://auth.example.com/tenant?hint=1#top", true),
            ("https://auth.example.com/other/../tenant", true),
            ("https://auth.example.com/./tenant/", true),
            ("https://auth.example.com/%2e%2e/tenant", true),
            ("http://auth.example.com/tenant", false),
            ("https://user@auth.example.com/tenant", false),
            ("auth.example.com/tenant", false),
            ("Notes", false),
            ("", false),
        ] {
            let mut s = Scenario::in_world(world());
            s.config.legacy_fallback = false;
            s.world.resource.metadata = ResourceMetadata::Absent;
            s.world.resource.challenge = Challenge::Raw(vec![format!("Bearer realm=\"{realm}\"")]);
            assert_eq!(s.log_in().is_ok(), is_issuer, "{realm}");
            let strays = s.world.count(What::Strays);
            assert_eq!(strays, 0, "{realm}");
        }
    }

    #[test]
    fn without_any_other_hint_the_servers_own_origin_is_asked() {
        let mut s = Scenario::in_world(World::legacy("https://mcp.example.com/mcp"));
        assert_eq!(s.call_tool("whoami").status(), 200);
        let found = s.machine().discovery().unwrap();
        assert_eq!(found.issuer, "https://mcp.example.com");
    }

    #[test]
    fn one_that_does_not_speak_of_pkce_is_refused_and_the_error_names_the_switch() {
        let mut s = Scenario::new();
        s.world.authorization[0].challenge_methods = None;
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::NoPkce { absent: true, .. });
        assert!(answer.error().advice().contains("assume_s256"));
        nothing_began(&s);

        s.config.assume_s256 = true;
        s.restart();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(lenient(&s, Leniency::AssumedS256));
        assert_eq!(s.authorize_param("code_challenge_method").unwrap(), "S256");
    }

    #[test]
    fn one_that_does_only_plain_pkce_is_refused_whatever_is_configured() {
        let mut s = Scenario::new();
        s.world.authorization[0].challenge_methods = Some(vec!["plain".to_owned()]);
        s.config.assume_s256 = true;
        assert_fails!(s.call_tool("whoami"), ErrorKind::NoPkce { absent: false, .. });
        nothing_began(&s);
    }

    #[test]
    fn one_that_cannot_be_reached_may_be_there_later() {
        let mut s = Scenario::new();
        let outage = Fault::fails("GET", "*", NetworkError::Unreachable);
        s.world.faults.push(outage.at("https://auth.example.com").times(2));
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::Passing { .. });
        assert!(answer.error().retry_in().is_some());
        nothing_began(&s);
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn endpoints_that_are_no_https_urls_are_refused() {
        for name in ["authorization_endpoint", "token_endpoint"] {
            for url in ["http://auth.example.com/x", "javascript:alert(1)", "/x", "", "file:///x"] {
                let mut s = Scenario::new();
                let changes = &mut s.world.authorization[0].metadata_changes;
                changes.insert(name.to_owned(), json!(url));
                let _ = s.call_tool("whoami").error();
                nothing_began(&s);
            }
        }
    }
}
