//! Protected resource metadata (RFC 9728).

use mcp_auth::wire::scope::ScopeSet;
use mcp_auth::{Demand, Error, ErrorKind, Leniency, SendResource};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{
    Canned, Challenge, Fault, IssParameter, Person, ResourceIndicators, ResourceMetadata,
    assert_fails,
};
use serde_json::{Map, Value, json};
use url::Url;

use crate::runner::Check;
use crate::stage::{documents, lenient, meet, server};

pub const CHECKS: &[Check] = &[
    Check::new("PRM-001", |entry| {
        let mut s = described("https://mcp.slack.com/mcp", &entry.members("/json"));
        s.world.resource.metadata = ResourceMetadata::At(entry.text("/url").to_owned());
        meet(&mut s);
        let resource = entry.text("/json/resource");
        sends(&s, resource);
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.form_field("grant_type").as_deref(), Some("refresh_token"));
        assert_eq!(s.form_field("resource").as_deref(), Some(resource));
    }),
    Check::new("PRM-002", |entry| {
        let mut s = described("https://mcp.hubspot.com/anthropic", &entry.members("/json"));
        s.world.authorization[0].scopes_supported = vec!["crm.objects.contacts.read".to_owned()];
        meet(&mut s);
        sends(&s, "https://mcp.hubspot.com");
        names_no_scope(&s);
    }),
    Check::new("PRM-003", |entry| {
        let mut s = described("https://mcp.airtable.com/mcp", &entry.members("/json"));
        meet(&mut s);
        sends(&s, "https://mcp.airtable.com");
        let server = "airtable.com/.well-known/oauth-authorization-server/oauth2/v1 200";
        assert_eq!(documents(&mut s)[1], server);
    }),
    Check::new("PRM-007", |entry| {
        let url = entry.text("/configured");
        let members = entry.members("/json");
        let mut s = described(url, &members);
        assert_eq!(entry.header("content-type"), ["application/json, application/json"]);
        let document = s.world.resource.metadata_body.clone().unwrap();
        let doubled = entry
            .headers()
            .iter()
            .fold(Canned::new(200, document), |canned, field| canned.header(&field.0, &field.1));
        let path = "/.well-known/oauth-protected-resource/mcp/";
        s.world.faults.push(Fault::answer("GET", path, doubled));
        meet(&mut s);
        sends(&s, entry.text("/json/resource"));
        assert!(s.world.faults.is_empty());
        // And the other way round.
        let mut s = described(entry.text("/json/resource"), &with(&members, "resource", url));
        meet(&mut s);
        sends(&s, url);
    }),
    Check::new("PRM-008", |entry| {
        let mut s = described(entry.text("/configured"), &entry.members("/json"));
        s.world.authorization[0].claimed_issuer = Some("https://mcp.tavily.com".to_owned());
        meet(&mut s);
        sends(&s, entry.text("/json/resource"));
    }),
    Check::new("PRM-010", |entry| {
        let (root, absent) = exchange(entry.text("/root"));
        let (path, found) = exchange(entry.text("/path"));
        assert_eq!((absent, found), (404, 200));
        let mut s = server("https://gmailmcp.googleapis.com/mcp/v1", "https://auth.example.com");
        s.world.resource.challenge = Challenge::WithoutMetadata;
        s.world.resource.metadata = ResourceMetadata::At(path.clone());
        meet(&mut s);
        assert_eq!(documents(&mut s)[0], format!("{} 200", &path["https://".len()..]));
        assert_ne!(root, path);
    }),
    Check::new("PRM-011", |entry| {
        let statuses = numbers(entry.text("/note"));
        let mut s = server("https://mcp.linear.app/sse", "https://auth.example.com");
        s.world.resource.challenge = Challenge::WithoutMetadata;
        s.world.resource.metadata = ResourceMetadata::AtRoot;
        meet(&mut s);
        assert_eq!(
            documents(&mut s)[..2],
            [
                format!("mcp.linear.app/.well-known/oauth-protected-resource/sse {}", statuses[0]),
                format!("mcp.linear.app/.well-known/oauth-protected-resource {}", statuses[1]),
            ]
        );
    }),
    Check::new("PRM-012", |entry| {
        let url = "https://mcp-server.macro.com/mcp";
        let mut s = described(url, &entry.members("/json"));
        s.world.resource.identifier = Some(url.to_owned());
        meet(&mut s);
        sends(&s, url);
        assert!(lenient(&s, Leniency::ResourceAbsent));
        // From anywhere else, it could be anybody's.
        let mut s = described(url, &entry.members("/json"));
        s.world.resource.metadata = ResourceMetadata::At("https://docs.macro.com/meta".to_owned());
        s.config.legacy_fallback = false;
        assert_fails!(s.call_tool("whoami"), ErrorKind::NoAuthorizationServer { .. });
    }),
    Check::new("PRM-016", |entry| {
        let mut s = described("http://localhost:8000/mcp", &entry.members("/json"));
        meet(&mut s);
        sends(&s, entry.text("/json/resource"));
    }),
    Check::against(
        "PRM-017",
        "nothing is left out by itself, because the specification demands the resource indicator: `send_resource` `auto` does what is wished, and the error names it",
        |entry| {
            let resource = entry.filled("/json/resource");
            let members = with(&entry.members("/json"), "resource", &resource);
            let entra = || {
                let mut s = described(&resource, &members);
                s.world.authorization[0].resources = ResourceIndicators::RefusedAtToken;
                s
            };
            // The number comes with `invalid_target`, or alone.
            for refusal in [
                r#"{"error":"invalid_target","error_description":"AADSTS9010010: The resource parameter provided in the request doesn't match with the requested scopes."}"#,
                r#"{"error":"invalid_request","error_description":"AADSTS901002: The 'resource' request parameter isn't supported."}"#,
            ] {
                let refusal = || Fault::answer("POST", "/token", Canned::json(400, refusal));
                let mut s = entra();
                s.world.faults.push(refusal());
                let answer = s.call_tool("whoami");
                assert_fails!(answer, ErrorKind::TokenRefused { .. });
                assert!(answer.error().to_string().contains("AADSTS"), "{}", answer.error());
                assert!(answer.error().advice().contains("`send_resource`"));
                // Always without.
                let mut s = entra();
                s.config.send_resource = SendResource::Never;
                meet(&mut s);
                assert_eq!(s.authorize_param("resource"), None);
                assert!(lenient(&s, Leniency::ResourceOmitted));
                // Without once it is refused: for the code, and for a refresh.
                let mut s = entra();
                s.config.send_resource = SendResource::Auto;
                s.world.faults.push(refusal());
                meet(&mut s);
                assert_eq!(s.authorize_param("resource").as_deref(), Some(resource.as_str()));
                assert_eq!(s.form_field("resource"), None);
                assert!(lenient(&s, Leniency::ResourceOmitted));
                s.sleep(4000);
                assert_eq!(s.call_tool_in_background("whoami").status(), 200);
                assert_eq!(s.form_field("grant_type").as_deref(), Some("refresh_token"));
                // Another one in its place.
                let mut s = entra();
                s.config.resource = Some("https://org.crm.dynamics.com".to_owned());
                s.world.authorization[0].resources =
                    ResourceIndicators::Only("https://org.crm.dynamics.com".to_owned());
                s.world.resource.identifier.clone_from(&s.config.resource);
                meet(&mut s);
                sends(&s, "https://org.crm.dynamics.com");
            }
        },
    ),
    Check::new("PRM-018", |entry| {
        let mut s =
            described("https://api.us2.coralogix.com/mgmt/api/v1/mcp", &entry.members("/json"));
        let refused = entry.text("/error_if_defaults_sent").split_once(": ").unwrap().1;
        meet(&mut s);
        names_no_scope(&s);
        for scope in refused.split(", ") {
            assert!(!s.was_sent("https://api.us2.coralogix.com", scope), "{scope}");
        }
    }),
    Check::new("PRM-019", |entry| {
        let mut s = server("https://ai.todoist.net/mcp", "https://todoist.com");
        let suggested = entry.texts("/prm_scopes");
        s.world.resource.scopes_supported.clone_from(&suggested);
        let dangerous = entry.texts("/as_scopes_sample");
        s.world.authorization[0].scopes_supported = [suggested.clone(), dangerous.clone()].concat();
        meet(&mut s);
        assert_eq!(s.authorize_param("scope").as_deref(), Some("data:read_write"));
        // Nor where the resource suggests none.
        let mut s = server("https://ai.todoist.net/mcp", "https://todoist.com");
        s.world.authorization[0].scopes_supported = dangerous;
        meet(&mut s);
        names_no_scope(&s);
    }),
    Check::new("PRM-020", |entry| {
        // The entry stands for about eighty.
        let told = entry.texts("/json/scopes_supported");
        let mut count = 0;
        let some = |scope: String| -> Vec<String> {
            if scope != "..." {
                return vec![scope];
            }
            count += 26;
            (count..count + 26).map(|n| format!("a-resource-of-pagerduty-{n}.write")).collect()
        };
        let scopes: Vec<_> = told.into_iter().flat_map(some).collect();
        let mut members = entry.members("/json");
        members.insert("scopes_supported".to_owned(), json!(scopes));
        let mut s = described("https://mcp.pagerduty.com/mcp", &members);
        meet(&mut s);
        let url = s.browsed[0].as_str();
        assert!(url.len() > 2_000 && url.len() < 8_000, "{}", url.len());
        assert_eq!(s.authorize_param("scope"), Some(scopes.join(" ")));
        let mut s = described("https://mcp.pagerduty.com/mcp", &members);
        s.config.scopes = Some(ScopeSet::parse("incidents.read"));
        meet(&mut s);
        assert_eq!(s.authorize_param("scope").as_deref(), Some("incidents.read"));
    }),
    Check::new("PRM-022", |entry| {
        let scope = entry.texts("/json/scopes_supported").concat();
        let mut s = described("https://cipp.azurewebsites.net/mcp", &entry.members("/json"));
        let number = entry.symptom().split_once("-> ").unwrap().1;
        let text = format!("{number}: The resource principal named {scope} was not found.");
        let error = denied(&mut s, "invalid_resource", &text);
        assert!(matches!(error.kind(), ErrorKind::Denied(_)), "{error}");
        assert!(error.to_string().contains(&text), "{error}");
        assert_eq!(s.authorize_param("scope"), Some(scope));
    }),
    Check::new("PRM-025", |entry| {
        for (name, url) in [
            ("/semgrep", "https://mcp.semgrep.ai/mcp"),
            ("/mongodb", "https://mcp.mongodb.com/mcp"),
        ] {
            let mut s = described(url, &entry.members(name));
            let issuer = entry.find(&format!("{name}/as_issuer")).and_then(Value::as_str);
            s.world.authorization[0].claimed_issuer = issuer.map(str::to_owned);
            let listed = ["email", "offline_access", "openid", "profile"];
            s.world.authorization[0].scopes_supported = listed.map(str::to_owned).to_vec();
            meet(&mut s);
            sends(&s, entry.text(&format!("{name}/resource")));
            assert_eq!(s.authorize_param("scope").as_deref(), Some("offline_access"));
            assert_eq!(lenient(&s, Leniency::RootSlash), issuer.is_some());
        }
    }),
    Check::new("PRM-026", |entry| {
        let mut s = described("https://mcp.squareup.com/sse", &entry.members("/json"));
        s.world.authorization[0].scopes_supported = vec!["PAYMENTS_WRITE".to_owned()];
        meet(&mut s);
        sends(&s, entry.text("/json/resource"));
        names_no_scope(&s);
    }),
];

/// A server whose metadata is made of these members, and the authorization server that they name; one
/// of its own origin where they name none.
fn described(url: &str, members: &Map<String, Value>) -> Scenario {
    let mut members = members.clone();
    let own = Url::parse(url).unwrap().origin().ascii_serialization();
    let servers = members.entry("authorization_servers").or_insert_with(|| json!([own]));
    let issuer = servers[0].as_str().unwrap().to_owned();
    let mut s = server(url, &issuer);
    s.world.resource.identifier =
        members.get("resource").and_then(Value::as_str).map(str::to_owned);
    s.world.resource.metadata_body = Some(Value::from(members).to_string());
    s
}

fn with(members: &Map<String, Value>, name: &str, value: &str) -> Map<String, Value> {
    let mut members = members.clone();
    members.insert(name.to_owned(), json!(value));
    members
}

/// The browser comes back with this error.
fn denied(s: &mut Scenario, error: &str, description: &str) -> Error {
    s.world.authorization[0].iss = IssParameter::Silent;
    s.person = Person::Ignores;
    let attempt = s.demand(Demand::interactive(need("whoami")));
    s.run_until("browse");
    s.run();
    let sent = |name| s.authorize_param(name).unwrap();
    let (mut url, state) = (Url::parse(&sent("redirect_uri")).unwrap(), sent("state"));
    let pairs = [("error", error), ("error_description", description), ("state", &state)];
    url.query_pairs_mut().extend_pairs(pairs);
    s.redirect(url.as_str());
    s.machine().failure(attempt).cloned().expect("a failure")
}

/// Byte for byte, to the authorization endpoint and with the last form.
#[track_caller]
fn sends(s: &Scenario, resource: &str) {
    assert_eq!(s.authorize_param("resource").as_deref(), Some(resource));
    assert_eq!(s.form_field("resource").as_deref(), Some(resource));
}

#[track_caller]
fn names_no_scope(s: &Scenario) {
    assert_eq!(s.authorize_param("scope"), None);
    for exchange in s.world.log.iter().filter(|exchange| exchange.path.ends_with("/register")) {
        let sent: Value = serde_json::from_slice(exchange.request.body()).unwrap();
        assert_eq!(sent.get("scope"), None);
    }
}

/// `GET url -> status`.
fn exchange(line: &str) -> (String, u16) {
    let (request, status) = line.split_once(" -> ").unwrap();
    (request.trim_start_matches("GET ").to_owned(), status.parse().unwrap())
}

fn numbers(text: &str) -> Vec<u16> {
    text.split(' ').filter_map(|word| word.parse().ok()).collect()
}
