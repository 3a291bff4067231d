//! Servers of 2025-03-26: no protected resource metadata, the origin is the authorization server.

use mcp_auth::{ErrorKind, Leniency, Notice, Provenance};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{Canned, Fault, MetadataPlace, What, World, assert_fails};

fn legacy() -> Scenario {
    Scenario::in_world(World::legacy("https://mcp.example.com/mcp"))
}

#[test]
fn without_any_metadata_the_default_endpoints_are_used() {
    let mut s = legacy();
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(
        s.take_log()[2..],
        [
            "GET mcp.example.com/.well-known/oauth-protected-resource/mcp 404",
            "GET mcp.example.com/.well-known/oauth-protected-resource 404",
            "GET mcp.example.com/.well-known/oauth-authorization-server 404",
            "GET mcp.example.com/.well-known/openid-configuration 404",
            "POST mcp.example.com/register 201",
            "browser mcp.example.com/authorize 302",
            "POST mcp.example.com/token 200",
            "POST mcp.example.com/mcp 200",
        ]
    );
    let told = s.told(|n| matches!(n, Notice::Lenient(Leniency::LegacyEndpoints)));
    assert_eq!(told, 1);
    assert_eq!(s.machine().discovery().unwrap().provenance, Provenance::Origin);
}

#[test]
fn with_server_metadata_at_the_origin_that_is_used() {
    let mut s = legacy();
    s.world.authorization[0].metadata = MetadataPlace::Rfc8414;
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.told(|n| matches!(n, Notice::Lenient(Leniency::LegacyServer))), 1);
    assert_eq!(s.world.count(What::ServerMetadata), 1);
}

#[test]
fn tokens_are_refreshed_there_too() {
    let mut s = legacy();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.sleep(4000);
    s.take_log();
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.take_log(), ["POST mcp.example.com/token 200", "POST mcp.example.com/mcp 200"]);
}

#[test]
fn the_fallback_can_be_switched_off() {
    let mut s = legacy();
    s.config.legacy_fallback = false;
    let answer = s.call_tool("whoami");
    assert_fails!(answer, ErrorKind::NoAuthorizationServer { .. });
    assert!(answer.error().to_string().contains("`legacy_fallback`"), "{}", answer.error());
    assert_eq!(s.browser_opened(), 0);
}

#[test]
fn nothing_is_assumed_while_the_origins_metadata_cannot_be_read() {
    for broken in
        [Canned::new(503, ""), Canned::json(200, "{\"issuer\": \"https://evil.example\"}")]
    {
        let mut s = legacy();
        s.world.faults.push(Fault::answer(
            "GET",
            "/.well-known/oauth-authorization-server",
            broken,
        ));
        let _ = s.call_tool("whoami").error();
        assert_eq!((s.browser_opened(), s.world.registrations()), (0, 0));
    }
}
