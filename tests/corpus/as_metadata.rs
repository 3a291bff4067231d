//! Authorization server metadata (RFC 8414, OpenID Connect Discovery).

use mcp_auth::{ErrorKind, Leniency, Secret};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{
    Canned, ClientAuthentication, Fault, IssParameter, MetadataPlace, What, assert_fails,
};
use serde_json::{Value, json};

use crate::entry::Entry;
use crate::runner::Check;
use crate::stage::{documents, lenient, meet, server};

const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

pub const CHECKS: &[Check] = &[
    Check::new("AS-001", |entry| {
        let issuer = entry.text("/prm_as");
        let atlassian = || {
            let mut s = server("https://mcp.atlassian.com/v2/mcp", issuer);
            s.world.authorization[0].metadata = MetadataPlace::Rfc8414Appended;
            s.world.authorization[0].claimed_issuer = Some(entry.text("/json/issuer").to_owned());
            assert_eq!(s.world.authorization[0].metadata_url().unwrap(), entry.text("/as_url"));
            s
        };
        refuses(&mut atlassian(), issuer, entry.text("/json/issuer"));
        // By name, or because it is the same origin.
        let mut s = atlassian();
        s.config.trusted_issuers = vec![entry.text("/json/issuer").to_owned()];
        meet(&mut s);
        assert!(lenient(&s, Leniency::TrustedIssuer));
        let mut s = atlassian();
        s.config.trust_origin_issuer = true;
        meet(&mut s);
        assert!(lenient(&s, Leniency::OriginIssuer));
        for other in
            ["https://atlassian.com", "http://auth.atlassian.com", "https://auth.atlassian.com/x"]
        {
            let mut s = atlassian();
            s.config.trust_origin_issuer = true;
            s.world.authorization[0].claimed_issuer = Some(other.to_owned());
            refuses(&mut s, issuer, other);
        }
    }),
    Check::new("AS-002", |entry| {
        let issuer = entry.text("/json/issuer");
        let mut s = server("https://mcp.atlassian.com/v2/mcp", issuer);
        let origin = "https://auth.atlassian.com";
        s.world.authorization[0].metadata_changes = entry.members("/json");
        s.world.authorization[0].metadata_changes.remove("issuer");
        s.world.authorization[0].claimed_issuer = Some(origin.to_owned());
        s.config.trusted_issuers = vec![origin.to_owned()];
        meet(&mut s);
        assert!(s.browsed[0].as_str().starts_with(entry.text("/json/authorization_endpoint")));
        // The server names itself properly: tokens and client are still there, by any login.
        s.world.authorization[0].claimed_issuer = None;
        s.config.trusted_issuers.clear();
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.log_in().unwrap();
        assert_eq!(s.world.registrations(), 1);
        let log = s.take_log();
        let token = entry.text("/json/token_endpoint").trim_start_matches("https://");
        assert!(log.contains(&format!("POST {token} 200")), "{log:?}");
    }),
    Check::new("AS-004", |entry| {
        let mut s = misnamed(entry, "https://mcp.slack.com/mcp", "https://mcp.slack.com");
        // Two names: the one that credentials are kept by, and the one that `iss` is compared with.
        let found = s.machine().discovery().unwrap();
        assert_eq!(found.issuer, "https://mcp.slack.com");
        assert_eq!(found.server.issuer, "https://slack.com");
    }),
    Check::new("AS-006", |entry| {
        let expected = entry.text("/expected");
        let mut s = server("https://mcp.indeed.com/mcp", expected);
        s.world.authorization[0].metadata_changes = entry.members("/json");
        s.world.authorization[0].iss = IssParameter::Silent;
        meet(&mut s);
        assert!(lenient(&s, Leniency::RootSlash));
        let mut s = server("https://mcp.indeed.com/mcp", entry.text("/json/issuer"));
        s.world.authorization[0].claimed_issuer = Some(expected.to_owned());
        meet(&mut s);
        assert!(lenient(&s, Leniency::RootSlash));
    }),
    Check::against(
        "AS-008",
        "the specification says to refuse a server that doesn't advertise PKCE; `assume_s256`, which the error names, is the switch",
        |entry| {
            let issuer = entry.filled("/url").replace(OPENID, "");
            let cognito = || {
                let mut s = server("https://gateway.example.com/mcp", &issuer);
                s.world.authorization[0].metadata = MetadataPlace::OidcAppended;
                s.world.authorization[0].metadata_changes = entry.members("/json");
                s
            };
            let mut s = cognito();
            let answer = s.call_tool("whoami");
            assert_fails!(answer, ErrorKind::NoPkce { absent: true, .. });
            assert!(answer.error().advice().contains("`assume_s256`"));
            assert_eq!((s.browser_opened(), s.world.registrations()), (0, 0));
            let mut s = cognito();
            s.config.assume_s256 = true;
            meet(&mut s);
            assert!(lenient(&s, Leniency::AssumedS256));
            assert_eq!(s.authorize_param("code_challenge_method").as_deref(), Some("S256"));
            // Methods without it are refused in any case.
            let mut s = cognito();
            s.config.assume_s256 = true;
            let name = "code_challenge_methods_supported".to_owned();
            s.world.authorization[0].metadata_changes.insert(name, json!(["plain"]));
            assert_fails!(s.call_tool("whoami"), ErrorKind::NoPkce { absent: false, .. });
        },
    ),
    Check::new("AS-012", |entry| {
        let mut s = server("https://mcp.hubspot.com/anthropic", "https://mcp.hubspot.com");
        s.world.authorization[0].metadata_changes = entry.members("/json");
        let (guess, _) = entry.text("/naive_fallback").split_once(" -> ").unwrap();
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::NoClient { .. });
        let advice = answer.error().advice();
        for setting in ["console", "`client_id`", "`client_secret`", "`callback_port`"] {
            assert!(advice.contains(setting), "{advice}");
        }
        let guess = guess.replace("https://", "");
        assert!(!s.take_log().iter().any(|line| line.starts_with(&guess)));
        s.world.authorization[0].preregister("from-the-console", Some("a-secret"));
        s.config.client_id = Some("from-the-console".to_owned());
        s.config.client_secret = Some(Secret::from("a-secret"));
        s.restart();
        meet(&mut s);
    }),
    Check::new("AS-013", |entry| {
        let mut s = misnamed(entry, "https://mcp.zoom.us/mcp", entry.text("/queried"));
        let basic = ClientAuthentication::Basic;
        assert_eq!(entry.texts("/json/token_endpoint_auth_methods_supported"), [basic.as_str()]);
        assert_eq!(s.world.token_requests().last().unwrap().authentication, Some(basic));
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.token_requests().last().unwrap().authentication, Some(basic));
    }),
    Check::new("AS-015", |entry| {
        let served = |issuer: &str| {
            let mut s = server("https://mcp.monday.com/mcp", issuer);
            let both = [entry.text("/root/issuer"), entry.text("/mcp/issuer")];
            s.world.authorization = both.map(mcp_auth_world::AuthorizationServer::new).into();
            for server in &mut s.world.authorization {
                server.scopes_supported.clear();
                let migration = "token_migration_endpoint".to_owned();
                server.metadata_changes.insert(migration, json!("https://auth.monday.com/migrate"));
            }
            s.world.resource.home = both.iter().position(|known| *known == issuer).unwrap();
            s
        };
        let root = entry.text("/root/issuer");
        for (issuer, path) in [(root, ""), (entry.text("/mcp/issuer"), "/mcp")] {
            let mut s = served(issuer);
            meet(&mut s);
            assert_eq!(documents(&mut s)[1], format!("auth.monday.com{WELL_KNOWN}{path} 200"));
            assert_eq!(s.machine().status().unwrap().issuer, issuer);
        }
    }),
    Check::new("AS-016", |entry| {
        let mut s = server("https://mcp.vercel.com", "https://vercel.com");
        s.world.authorization[0].metadata_changes = entry.members("/json");
        s.world.authorization[0].registration.assigns = Some(ClientAuthentication::None);
        meet(&mut s);
        assert_eq!(registration(&s)["token_endpoint_auth_method"], "client_secret_basic");
        let last = s.world.token_requests().last().unwrap();
        assert_eq!(last.authentication, Some(ClientAuthentication::None));
        assert_eq!(s.authorize_param("response_mode"), None);
    }),
    Check::new("AS-017", |entry| {
        let mut s = server("https://mcp.calendly.com", "https://calendly.com/");
        s.world.authorization[0].metadata_changes = entry.members("/json");
        meet(&mut s);
        let sent = registration(&s);
        assert_eq!(sent["token_endpoint_auth_method"], "none");
        assert_eq!(sent["grant_types"], json!(["authorization_code", "refresh_token"]));
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), 1);
    }),
    Check::new("AS-018", |entry| {
        let mut s = server("https://mcp.clickup.com/mcp", "https://mcp.clickup.com");
        s.world.authorization[0].metadata_changes = entry.members("/json");
        s.world.authorization[0].grant_types = entry.texts("/json/grant_types_supported");
        meet(&mut s);
        assert_eq!(registration(&s)["grant_types"], *entry.get("/json/grant_types_supported"));
        s.sleep(4000);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (0, 2));
        // It says that it sends `iss`: a response without is not taken.
        s.world.authorization[0].iss = IssParameter::Missing;
        assert!(matches!(s.log_in().unwrap_err().kind(), ErrorKind::MixUp { .. }));
    }),
    Check::new("AS-019", |entry| {
        let mut s = server("https://mcp.dropbox.com/mcp", "https://www.dropbox.com");
        s.world.authorization[0].metadata_changes = entry.members("/json");
        s.world.authorization[0].challenge_methods =
            Some(entry.texts("/json/code_challenge_methods_supported"));
        meet(&mut s);
        assert_eq!(s.authorize_param("code_challenge_method").as_deref(), Some("S256"));
    }),
    Check::new("AS-022", |entry| {
        assert_eq!(entry.text("/json/token_endpoint"), entry.text("/json/revocation_endpoint"));
        let mut s = server("https://mcp.notion.com/mcp", "https://mcp.notion.com");
        s.world.authorization[0].metadata_changes = entry.members("/json");
        meet(&mut s);
        s.take_log();
        assert!(s.log_out().is_complete());
        assert_eq!(s.take_log(), ["POST mcp.notion.com/token 200"; 2]);
        assert_eq!(s.world.count(What::Revocations), 2);
        assert_eq!(s.form_field("grant_type"), None);
        assert!(s.form_field("token").is_some());
    }),
    Check::new("AS-024", |entry| {
        let host = entry.text("/mcp_host");
        let issuer = entry.text("/as").replace(WELL_KNOWN, "");
        let mut s = server(&format!("{host}/mcp"), &issuer);
        meet(&mut s);
        let documents = documents(&mut s);
        assert_eq!(documents[1], format!("{} 200", &entry.text("/as")["https://".len()..]));
        assert_eq!(documents.len(), 2);
    }),
    Check::new("AS-025", |entry| {
        assert_eq!(entry.text("/note"), "two documents differ");
        let (openid, missing) =
            entry.symptom().split(';').next().unwrap().split_once(" lacks ").unwrap();
        assert_eq!(format!("/.well-known/{openid}"), OPENID);
        let gitlab = |claims: &str| {
            let mut s = server("https://gitlab.com/api/v4/mcp", "https://gitlab.com");
            let document = json!({
                "issuer": claims,
                "authorization_endpoint": "https://gitlab.com/authorize",
                "token_endpoint": "https://gitlab.com/token",
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": true,
            });
            assert_eq!(document.get(missing), None);
            s.world.faults.push(Fault::answer(
                "GET",
                OPENID,
                Canned::json(200, document.to_string()),
            ));
            s
        };
        // The one that has it all comes first, and is enough.
        let mut s = gitlab("https://gitlab.com");
        meet(&mut s);
        assert_eq!(s.world.faults.len(), 1);
        // Where it has not, the other one completes it, and one of another issuer doesn't.
        for (claims, registers) in [("https://gitlab.com", true), ("https://gitlab.example", false)]
        {
            let mut s = gitlab(claims);
            s.world.authorization[0].metadata_changes.insert(missing.to_owned(), Value::Null);
            let full = json!({
                "issuer": claims, "authorization_endpoint": "https://gitlab.com/authorize",
                "token_endpoint": "https://gitlab.com/token", missing: "https://gitlab.com/register",
                "code_challenge_methods_supported": ["S256"],
            });
            s.world.faults =
                vec![Fault::answer("GET", OPENID, Canned::json(200, full.to_string()))];
            if registers {
                meet(&mut s);
            } else {
                assert_fails!(s.call_tool("whoami"), ErrorKind::NoClient { .. });
            }
            assert!(s.world.faults.is_empty());
        }
    }),
    Check::new("AS-026", |entry| {
        let mut s = server("https://mcp.instacart.com/mcp", "https://www.instacart.com");
        s.world.authorization[0].metadata_changes = entry.members("/json");
        meet(&mut s);
        let endpoint = entry.text("/json/authorization_endpoint");
        let url = s.browsed[0].as_str();
        assert!(url.starts_with(&format!("{endpoint}&response_type=code&")), "{url}");
    }),
    Check::new("AS-028", |entry| {
        let mut s = server("https://mcp.figma.com/mcp", "https://api.figma.com");
        s.world.authorization[0].metadata_changes = entry.members("/json");
        s.world.authorization[0].client_authentication =
            vec![ClientAuthentication::Basic, ClientAuthentication::Post];
        meet(&mut s);
        assert!(s.authorize_param("state").is_some_and(|state| state.len() >= 43));
        assert_eq!(registration(&s)["token_endpoint_auth_method"], "client_secret_basic");
    }),
    Check::new("AS-029", |entry| {
        let document = |body: String| {
            let mut s = server("https://mcp.example.com/mcp", "https://as.example");
            let canned = Canned { body: body.into_bytes(), ..entry.canned() };
            s.world.faults.push(Fault::answer("GET", WELL_KNOWN, canned));
            s.config.legacy_fallback = false;
            s.world.authorization[0].preregister("by-hand", None);
            s.config.client_id = Some("by-hand".to_owned());
            s
        };
        let body = entry.body();
        assert!(body.starts_with('\u{feff}'));
        // An address that could be of any server is of none.
        let mut s = document(body.clone());
        s.world.authorization[0].metadata = MetadataPlace::Absent;
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::NoAuthorizationServer { .. });
        assert!(answer.error().to_string().contains("`authorization_endpoint`"));
        assert_eq!(s.browser_opened(), 0);
        // All the rest is good, and of a member that comes twice the last counts.
        let absolute = body
            .replace(r#":"/"#, r#":"https://as.example/"#)
            .replace("\"scopes_supported\"", "\"code_challenge_methods_supported\":[\"S256\"],\"issuer\":\"https://other.example\",\"issuer\":\"https://as.example\",\"scopes_supported\"");
        let mut s = document(absolute);
        s.world.authorization[0].iss = IssParameter::Silent;
        meet(&mut s);
        assert_eq!(s.authorize_param("scope"), None);
    }),
];

/// The document names another issuer: nobody is asked, both are named, and so is the setting.
#[track_caller]
fn refuses(s: &mut Scenario, expected: &str, got: &str) {
    let answer = s.call_tool("whoami");
    let error = answer.error();
    assert_fails!(answer, ErrorKind::IssuerMismatch { .. });
    assert!(error.to_string().contains(expected) && error.to_string().contains(got), "{error}");
    assert!(error.advice().contains("`trusted_issuers`"), "{}", error.advice());
    assert_eq!((s.browser_opened(), s.world.registrations()), (0, 0));
}

/// The document of `issuer` names another one: refused, and good once that one is trusted.
#[track_caller]
fn misnamed(entry: &Entry, url: &str, issuer: &str) -> Scenario {
    let other = entry.text("/json/issuer");
    let build = || {
        let mut s = server(url, issuer);
        s.world.authorization[0].metadata_changes = entry.members("/json");
        s.world.authorization[0].claimed_issuer = Some(other.to_owned());
        s
    };
    refuses(&mut build(), issuer, other);
    let mut s = build();
    s.config.trusted_issuers = vec![other.to_owned()];
    meet(&mut s);
    assert!(lenient(&s, Leniency::TrustedIssuer));
    s
}

/// The last registration request.
fn registration(s: &Scenario) -> Value {
    let mut sent = s.world.log.iter().rev().filter(|exchange| exchange.path.ends_with("/register"));
    serde_json::from_slice(sent.next().expect("a registration").request.body()).unwrap()
}
