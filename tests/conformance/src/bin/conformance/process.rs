//! Child processes that end in bounded time.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// First argument that makes this program a guard around the client.
pub const WATCH: &str = "--watch";

/// How the guard begins what it reports.
pub const REPORT: &str = "conformance: ";

/// The exit code of a Rust program that panicked.
const PANICKED: i32 = 101;

/// A scenario takes a second or two. Less than the suite's own 30 s, so that the guard ends a
/// client that hangs: the suite would end only the shell around it.
const CLIENT_LIMIT: Duration = Duration::from_secs(25);

/// Runs to the end, or kills at the limit and returns `None`.
pub fn bounded(command: &mut Command, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let mut child = command.spawn()?;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the client for the suite, and reports an end that is no decision of the client's. The
/// suite takes death of a signal for a success, and where a scenario lets the client fail, it
/// takes a panic for a refusal.
pub fn watch(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(program) = args.next() else { return ExitCode::FAILURE };
    let report = match bounded(Command::new(&program).args(args), CLIENT_LIMIT) {
        Ok(Some(status)) => match status.code() {
            Some(0) => return ExitCode::SUCCESS,
            Some(code) if code != PANICKED => return ExitCode::FAILURE,
            _ => format!("the client crashed with {status}"),
        },
        Ok(None) => format!("the client was killed after {} s", CLIENT_LIMIT.as_secs()),
        Err(error) => format!("{} can't run: {error}", program.display()),
    };
    let _ = writeln!(io::stderr(), "{REPORT}{report}");
    ExitCode::FAILURE
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_process_that_hangs_is_ended_at_the_limit() {
        let begun = Instant::now();
        let ended = bounded(&mut sh("exec sleep 60"), Duration::from_millis(100)).unwrap();
        assert_eq!(ended, None);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_client_that_dies_of_a_signal_is_a_failure() {
        let client = |script: &str| ["sh", "-c", script].map(OsString::from).into_iter();
        assert_eq!(watch(client("kill -ABRT $$")), ExitCode::FAILURE);
        assert_eq!(watch(client("exit 0")), ExitCode::SUCCESS);
    }
}
