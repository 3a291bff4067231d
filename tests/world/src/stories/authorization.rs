use super::*;
use crate::{
    Cimd, Decision, IssParameter, MetadataPlace, Redirects, ResourceIndicators, ScopeGrant,
};

fn visit_with(world: &mut World, changes: &[(&str, &str)], person: &Person) -> Visit {
    let client = register_at(world, AUTH);
    world.visit(NOW, &authorize_url(AUTH, &client, changes), person)
}

fn refused_with(changes: &[(&str, &str)]) -> Option<String> {
    parameter(&visit_with(&mut World::new(), changes, &Person::Approves), "error")
}

#[test]
fn a_person_decides() {
    let mut world = World::new();
    let yes = visit_with(&mut world, &[], &Person::Approves);
    assert_eq!(parameter(&yes, "state").as_deref(), Some("a state"));
    assert!(parameter(&yes, "code").is_some());
    let no = visit_with(&mut world, &[], &Person::Denies);
    assert_eq!(parameter(&no, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(&no, "iss").as_deref(), Some(AUTH));
    assert_eq!(visit_with(&mut world, &[], &Person::Ignores), Visit::Nothing);
    let decisions: Vec<_> = world.authorization_requests().map(|r| r.decision.clone()).collect();
    let expected = [
        Decision::Approved(vec!["notes:read".to_owned()]),
        Decision::Refused("access_denied".to_owned()),
        Decision::Open,
    ];
    assert_eq!(decisions, expected);
}

#[test]
fn without_a_known_client_and_redirect_the_browser_is_sent_nowhere() {
    let mut world = World::new();
    let foreign = [("redirect_uri", "https://evil.example.com/callback")];
    assert!(matches!(visit_with(&mut world, &foreign, &Person::Approves), Visit::Page(_)));
    let unknown = authorize_url(AUTH, "nobody", &[]);
    assert!(matches!(world.visit(NOW, &unknown, &Person::Approves), Visit::Page(_)));
    let client = register_at(&mut world, AUTH);
    assert!(world.authorization[0].forget_client(&client));
    let forgotten = authorize_url(AUTH, &client, &[]);
    assert!(matches!(world.visit(NOW, &forgotten, &Person::Approves), Visit::Page(_)));
    let twice = format!("{}&state=other", authorize_url(AUTH, &client, &[]));
    assert!(matches!(world.visit(NOW, &twice, &Person::Approves), Visit::Page(_)));
}

#[test]
fn the_port_of_a_loopback_redirect_is_free_unless_the_server_is_exact() {
    let mut world = World::new();
    assert!(matches!(visit_with(&mut world, &[], &Person::Approves), Visit::Redirect(_)));
    let other_path = [("redirect_uri", "http://127.0.0.1:49152/other")];
    assert!(matches!(visit_with(&mut world, &other_path, &Person::Approves), Visit::Page(_)));
    world.authorization[0].redirects = Redirects::Exact;
    assert!(matches!(visit_with(&mut world, &[], &Person::Approves), Visit::Page(_)));
    let registered = [("redirect_uri", "http://127.0.0.1/callback")];
    assert!(matches!(visit_with(&mut world, &registered, &Person::Approves), Visit::Redirect(_)));
    world.authorization[0].refuses_redirect_host = Some("127.0.0.1".to_owned());
    assert!(matches!(visit_with(&mut world, &registered, &Person::Approves), Visit::Page(_)));
}

#[test]
fn a_request_that_is_out_of_order_is_sent_back() {
    assert_eq!(refused_with(&[("code_challenge", "")]).as_deref(), Some("invalid_request"));
    let plain = [("code_challenge_method", "plain")];
    assert_eq!(refused_with(&plain).as_deref(), Some("invalid_request"));
    let token = [("response_type", "token")];
    assert_eq!(refused_with(&token).as_deref(), Some("unsupported_response_type"));
    assert_eq!(refused_with(&[("scope", "root")]).as_deref(), Some("invalid_scope"));
    assert_eq!(refused_with(&[("resource", "")]).as_deref(), Some("invalid_target"));
    assert_eq!(refused_with(&[("resource", "/mcp")]).as_deref(), Some("invalid_target"));
    assert_eq!(refused_with(&[]), None);
}

#[test]
fn the_code_challenge_methods_are_those_that_are_announced() {
    let mut world = World::new();
    let mut taken = |announced: Option<&[&str]>, method: &str| {
        let methods = announced.map(|m| m.iter().map(|m| (*m).to_owned()).collect());
        world.authorization[0].challenge_methods = methods;
        let visit = visit_with(&mut world, &[("code_challenge_method", method)], &Person::Approves);
        parameter(&visit, "code").is_some()
    };
    assert!(taken(None, "S256"));
    assert!(!taken(None, "plain"));
    assert!(taken(Some(&["plain"]), "plain"));
    assert!(!taken(Some(&["plain"]), "S256"));
    assert!(taken(Some(&["plain", "S256"]), "S256"));
}

#[test]
fn iss_is_announced_and_sent_as_the_story_needs() {
    let evil = "https://evil.example.com".to_owned();
    let cases = [
        (IssParameter::Sent, true, Some(AUTH.to_owned())),
        (IssParameter::Silent, false, None),
        (IssParameter::SentUnannounced, false, Some(AUTH.to_owned())),
        (IssParameter::Missing, true, None),
        (IssParameter::Wrong(evil.clone()), true, Some(evil.clone())),
        (IssParameter::Unexpected(evil.clone()), false, Some(evil)),
        (IssParameter::TrailingSlash, true, Some(format!("{AUTH}/"))),
    ];
    for (mode, announced, sent) in cases {
        let mut world = World::new();
        world.authorization[0].iss = mode.clone();
        let url = world.authorization[0].metadata_url().unwrap();
        let metadata = body(&get(&mut world, &url));
        let flag = metadata["authorization_response_iss_parameter_supported"].as_bool();
        assert_eq!(flag.unwrap_or(false), announced, "{mode:?}");
        let visit = visit_with(&mut world, &[], &Person::Approves);
        assert_eq!(parameter(&visit, "iss"), sent, "{mode:?}");
    }
}

#[test]
fn the_metadata_of_a_tenant_is_at_one_of_three_places() {
    let issuer = "https://auth.example.com/tenant";
    let places = [
        "https://auth.example.com/.well-known/oauth-authorization-server/tenant",
        "https://auth.example.com/.well-known/openid-configuration/tenant",
        "https://auth.example.com/tenant/.well-known/openid-configuration",
    ];
    let mut world = World::with_urls(MCP, &[issuer]);
    let mut found = |place| {
        world.authorization[0].metadata = place;
        places.map(|url| get(&mut world, url).status() == 200)
    };
    assert_eq!(found(MetadataPlace::Rfc8414), [true, false, false]);
    assert_eq!(found(MetadataPlace::OidcInserted), [false, true, false]);
    assert_eq!(found(MetadataPlace::OidcAppended), [false, false, true]);
    assert_eq!(found(MetadataPlace::Absent), [false; 3]);
    let client = register_at(&mut world, issuer);
    let visit = world.visit(NOW, &authorize_url(issuer, &client, &[]), &Person::Approves);
    assert_eq!(parameter(&visit, "iss").as_deref(), Some(issuer));
}

#[test]
fn the_metadata_can_lie() {
    let mut world = World::new();
    let url = world.authorization[0].metadata_url().unwrap();
    world.authorization[0].claimed_issuer = Some("https://attacker.example.com".to_owned());
    let changes = &mut world.authorization[0].metadata_changes;
    changes.insert("grant_types_supported".to_owned(), Value::Null);
    changes.insert("device_authorization_endpoint".to_owned(), json!(""));
    let metadata = body(&get(&mut world, &url));
    assert_eq!(metadata["issuer"], "https://attacker.example.com");
    assert_eq!(metadata.get("grant_types_supported"), None);
    assert_eq!(metadata["device_authorization_endpoint"], "");
    world.authorization[0].metadata_body = Some("<html>".to_owned());
    assert_eq!(get(&mut world, &url).body(), b"<html>");
}

#[test]
fn a_client_metadata_document_is_taken_or_refused_at_each_step() {
    let id = "https://app.example.com/client.json";
    let mut world = World::new();
    let url = authorize_url(AUTH, id, &[]);
    assert!(matches!(world.visit(NOW, &url, &Person::Approves), Visit::Page(_)));
    world.authorization[0].cimd = Cimd::Accepted;
    let code = approved_code(&mut world, AUTH, id, "notes:read");
    assert_eq!(redeem(&mut world, NOW, id, &code, VERIFIER).status(), 200);
    world.authorization[0].cimd = Cimd::RefusedWithPage;
    assert!(matches!(world.visit(NOW, &url, &Person::Approves), Visit::Page(_)));
    world.authorization[0].cimd = Cimd::RefusedWithRedirect;
    let visit = world.visit(NOW, &url, &Person::Approves);
    assert_eq!(parameter(&visit, "error").as_deref(), Some("unauthorized_client"));
    world.authorization[0].cimd = Cimd::RefusedAtToken;
    let code = approved_code(&mut world, AUTH, id, "notes:read");
    let refused = redeem(&mut world, NOW, id, &code, VERIFIER);
    assert_eq!((refused.status().as_u16(), error(&refused).as_str()), (401, "invalid_client"));
}

#[test]
fn the_server_or_the_person_may_grant_less() {
    let mut world = World::new();
    let scope = [("scope", "notes:read notes:write")];
    let read_only = Person::ApprovesOnly(vec!["notes:read".to_owned()]);
    visit_with(&mut world, &scope, &read_only);
    world.authorization[0].grants = ScopeGrant::Only(vec!["notes:write".to_owned()]);
    visit_with(&mut world, &scope, &Person::Approves);
    let decisions: Vec<_> = world.authorization_requests().map(|r| r.decision.clone()).collect();
    let approved = |scope: &str| Decision::Approved(vec![scope.to_owned()]);
    assert_eq!(decisions, [approved("notes:read"), approved("notes:write")]);
}

#[test]
fn a_server_may_refuse_resource_indicators() {
    let mut world = World::new();
    world.authorization[0].resources = ResourceIndicators::Refused;
    let with = visit_with(&mut world, &[], &Person::Approves);
    assert_eq!(parameter(&with, "error").as_deref(), Some("invalid_target"));
    let without = visit_with(&mut world, &[("resource", "")], &Person::Approves);
    assert!(parameter(&without, "code").is_some());
    world.authorization[0].resources = ResourceIndicators::Only(MCP.to_owned());
    let slash = [("resource", "https://mcp.example.com/mcp/")];
    let other = visit_with(&mut world, &slash, &Person::Approves);
    assert_eq!(parameter(&other, "error").as_deref(), Some("invalid_target"));
}

#[test]
fn a_real_browser_is_asked_and_follows_a_link() {
    let mut world = World::new();
    world.person = Person::Ignores;
    let client = register_at(&mut world, AUTH);
    let url = authorize_url(AUTH, &client, &[]);
    let page = get(&mut world, &url);
    assert_eq!(page.status(), 200);
    assert!(String::from_utf8_lossy(page.body()).contains("&amp;decision=approve"));
    let approved = get(&mut world, &format!("{url}&decision=approve"));
    assert_eq!(approved.status(), 302);
    assert!(approved.headers()["location"].to_str().unwrap().contains("code=code-"));
    let denied = get(&mut world, &format!("{url}&decision=deny"));
    assert!(denied.headers()["location"].to_str().unwrap().contains("error=access_denied"));
}

#[test]
fn a_request_through_a_socket_is_routed_by_its_host() {
    let issuer = "http://127.0.0.1:8081";
    let mut world = World::with_urls("http://127.0.0.1:8080/mcp", &[issuer]);
    let path = "/.well-known/oauth-authorization-server";
    let mut ask = |host: &str| {
        let request = Request::get(path).header("host", host).body(Vec::new()).unwrap();
        world.handle(NOW, &request).unwrap().status().as_u16()
    };
    assert_eq!(ask("127.0.0.1:8081"), 200);
    assert_eq!(ask("127.0.0.1:8080"), 404);
    assert_eq!(ask("127.0.0.1:8082"), 502);
}

#[test]
fn in_the_legacy_world_one_origin_is_both_servers() {
    let mut world = World::legacy(MCP);
    let origin = "https://mcp.example.com";
    assert_eq!(challenge(&call(&mut world, NOW, None, "whoami")), "Bearer scope=\"notes:read\"");
    let client = register_at(&mut world, origin);
    let visit = world.visit(NOW, &authorize_url(origin, &client, &[]), &Person::Approves);
    assert_eq!(parameter(&visit, "iss"), None);
    assert!(parameter(&visit, "code").is_some());
}
