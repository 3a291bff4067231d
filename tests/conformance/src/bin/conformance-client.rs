//! The client that the conformance suite tests.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let _ = writeln!(std::io::stderr(), "conformance-client: not built yet");
    ExitCode::FAILURE
}
