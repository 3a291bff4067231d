//! A browser with a person in it, for the tests: `BROWSER=walker mcp-auth login URL`.

use std::process::ExitCode;

#[path = "../src/walker.rs"]
mod walker;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref().map(walker::walk) {
        Some(Ok(_)) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
