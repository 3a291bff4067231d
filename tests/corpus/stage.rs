//! What the checks share: servers without scopes of their own, and a program that meets them.

use mcp_auth::{Demand, Leniency, Notice};
use mcp_auth_world::World;
use mcp_auth_world::scenario::{Scenario, need};

/// An MCP server and its authorization server, which has whatever scope it is asked for and offers
/// everything else: what an entry doesn't say is no obstacle.
pub fn server(url: &str, issuer: &str) -> Scenario {
    let mut world = World::with_urls(url, &[issuer]);
    world.resource.scopes.clear();
    world.resource.tool_scopes.clear();
    world.resource.scopes_supported.clear();
    world.authorization[0].scopes_supported.clear();
    world.authorization[0].default_scopes.clear();
    Scenario::in_world(world)
}

/// A program sends its first request without a token, and does what the refusal asks for, with a
/// person who is there. No probe is made: what follows, follows from the refusal.
#[track_caller]
pub fn meet(s: &mut Scenario) {
    let refusal = s.send("whoami", None);
    assert!(s.report("whoami", &refusal, None), "{} is taken for no refusal", refusal.status());
    let grant = s.obtain(&need("whoami"), Demand::interactive);
    let grant = grant.unwrap_or_else(|error| panic!("{error}\n{:#?}", s.notices()));
    let status = s.send("whoami", grant.as_ref()).status();
    assert_eq!(status, 200, "{:#?}", s.notices());
    assert_eq!(s.browser_opened(), 1);
    s.check_secrets();
}

/// The documents that were asked for, in order, as `host/path status`.
pub fn documents(s: &mut Scenario) -> Vec<String> {
    let log = s.take_log();
    let gets = log.iter().filter_map(|line| line.strip_prefix("GET "));
    gets.map(str::to_owned).collect()
}

pub fn lenient(s: &Scenario, wanted: Leniency) -> bool {
    s.told(|notice| matches!(notice, Notice::Lenient(found) if *found == wanted)) > 0
}
