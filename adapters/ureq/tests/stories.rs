//! What this host alone has, over real sockets on the loopback address; `tests/hosts` has the rest.

mod handler;
mod this_machine;

use mcp_auth::Need;
use mcp_auth_ureq::{Builder, Session};

type Town = mcp_auth_hosts::Town<Session>;

/// A session whose person approves.
fn session(town: &Town) -> Builder {
    town.setup().into()
}

fn need() -> Need {
    Need::default()
}
