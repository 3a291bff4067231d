//! Challenges (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9728 §5.1).

use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{ResourceMetadata, World};

use crate::entry::Entry;
use crate::runner::Check;

pub const CHECKS: &[Check] = &[Check::new("CH-001", |entry| {
    let metadata = "https://api.githubcopilot.com/.well-known/oauth-protected-resource/mcp/";
    let mut s = refused(entry, "https://api.githubcopilot.com/mcp/");
    s.world.resource.metadata = ResourceMetadata::At(metadata.to_owned());
    assert_eq!(s.call_tool("whoami").status(), 200);
    let log = s.take_log();
    assert!(
        log.contains(&format!("GET {} 200", metadata.trim_start_matches("https://"))),
        "{log:?}"
    );
})];

/// A server that refuses who brings no token in the very bytes of the entry.
fn refused(entry: &Entry, url: &str) -> Scenario {
    let mut s = Scenario::in_world(World::with_urls(url, &["https://auth.example.com"]));
    s.world.resource.no_token_answer = Some(entry.canned());
    s
}
