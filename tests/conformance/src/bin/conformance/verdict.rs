//! Did a run pass? Read from the suite's exit code and from what it wrote.

use serde::Deserialize;

use crate::process::REPORT;

#[derive(Debug, PartialEq)]
pub enum Verdict {
    Passed,
    /// Why, one line each.
    Failed(Vec<String>),
}

/// What one run of the suite left behind.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Exit code of the suite; `None` if it had to be killed.
    pub code: Option<i32>,
    /// `checks.json`, where it was written.
    pub checks: Option<String>,
    /// What the suite said.
    pub log: String,
    /// What the client said to its stderr.
    pub client: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    id: String,
    status: String,
    #[serde(default)]
    description: String,
    error_message: Option<String>,
}

impl Verdict {
    /// Passed only if the suite says so *and* its checks do: the suite's exit code alone is also
    /// zero for a scenario that it skipped. A client that crashed never passes.
    pub fn of(evidence: &Evidence) -> Self {
        let mut reasons = match &evidence.checks {
            None => vec![format!("did not run: {}", last_lines(&evidence.log, 1).concat())],
            Some(json) => match serde_json::from_str::<Vec<Check>>(json) {
                Err(error) => vec![format!("checks.json can't be read: {error}")],
                Ok(checks) => complaints(&checks),
            },
        };
        match evidence.code {
            Some(0) => {}
            Some(code) => reasons.push(format!("the suite exited with code {code}")),
            None => reasons.push("the suite was killed: it took too long".to_owned()),
        }
        reasons.extend(crash(&evidence.client));
        if reasons.is_empty() {
            return Self::Passed;
        }
        let said = last_lines(&evidence.client, 5).into_iter();
        let said = said.filter(|line| !line.starts_with(REPORT));
        reasons.extend(said.map(|line| format!("client: {line}")));
        Self::Failed(reasons)
    }
}

/// What the guard reported, at the end of what the client said.
fn crash(client: &str) -> Option<String> {
    client.lines().next_back()?.strip_prefix(REPORT).map(str::to_owned)
}

/// What speaks against a pass. The suite fails a client for a WARNING, too.
fn complaints(checks: &[Check]) -> Vec<String> {
    let mut found: Vec<String> = checks
        .iter()
        .filter(|check| matches!(check.status.as_str(), "FAILURE" | "WARNING"))
        .map(|check| {
            let message = check.error_message.as_deref().unwrap_or(&check.description);
            format!("{} {}: {message}", check.status, check.id)
        })
        .collect();
    found.dedup();
    if !checks.iter().any(|check| check.status == "SUCCESS") {
        found.push("no check succeeded".to_owned());
    }
    found
}

fn last_lines(text: &str, count: usize) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"[{"id": "pkce", "status": "SUCCESS"}, {"id": "in", "status": "INFO"}]"#;

    fn left(code: Option<i32>, checks: Option<&str>) -> Evidence {
        Evidence { code, checks: checks.map(Into::into), ..Evidence::default() }
    }

    fn reasons(evidence: &Evidence) -> Vec<String> {
        match Verdict::of(evidence) {
            Verdict::Passed => Vec::new(),
            Verdict::Failed(reasons) => reasons,
        }
    }

    #[test]
    fn exit_code_zero_and_a_success_is_a_pass() {
        assert_eq!(Verdict::of(&left(Some(0), Some(GOOD))), Verdict::Passed);
    }

    #[test]
    fn a_skipped_scenario_is_a_failure_though_the_suite_exits_with_zero() {
        let log = "SKIPPED: scenario 'auth/x' is not applicable\n".to_owned();
        let skipped = Evidence { log, ..left(Some(0), None) };
        assert_eq!(
            reasons(&skipped),
            ["did not run: SKIPPED: scenario 'auth/x' is not applicable"]
        );
    }

    #[test]
    fn green_checks_do_not_excuse_a_client_that_failed() {
        let client = "warming up\nno token\n".to_owned();
        let died = Evidence { client, ..left(Some(1), Some(GOOD)) };
        assert_eq!(
            reasons(&died),
            ["the suite exited with code 1", "client: warming up", "client: no token"]
        );
    }

    #[test]
    fn a_crash_is_no_refusal_even_where_the_suite_lets_the_client_fail() {
        let client = format!("thread main panicked\n{REPORT}the client crashed\n");
        let crashed = Evidence { client, ..left(Some(0), Some(GOOD)) };
        assert_eq!(reasons(&crashed), ["the client crashed", "client: thread main panicked"]);
    }

    #[test]
    fn a_failed_check_and_a_warning_are_told_with_their_messages() {
        let json = r#"[
            {"id": "a", "status": "SUCCESS"},
            {"id": "b", "status": "FAILURE", "description": "must b", "errorMessage": "no b"},
            {"id": "c", "status": "WARNING", "description": "should c"}
        ]"#;
        assert_eq!(reasons(&left(Some(0), Some(json))), ["FAILURE b: no b", "WARNING c: should c"]);
    }

    #[test]
    fn a_run_in_which_nothing_was_checked_is_no_pass() {
        assert_eq!(reasons(&left(Some(0), Some("[]"))), ["no check succeeded"]);
        assert_eq!(reasons(&left(Some(0), Some("{"))).len(), 1);
    }

    #[test]
    fn a_run_that_had_to_be_killed_is_a_failure() {
        assert_eq!(reasons(&left(None, Some(GOOD))), ["the suite was killed: it took too long"]);
    }
}
