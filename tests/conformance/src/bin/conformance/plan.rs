//! Which scenarios are run at which wire versions, held against what the suite offers.

use std::collections::BTreeSet;

/// The oldest MCP revision that is run by name. What ended before it runs once, at the suite's
/// default.
const OLDEST: &str = "2025-11-25";
const BOTH: &[&str] = &["2025-11-25", "2026-07-28"];
const NEW: &[&str] = &["2026-07-28"];
const DEFAULT: &[&str] = &[];

/// Every `auth/*` client scenario that is no extension. Written down, so that one that vanishes
/// from the suite (or joins it) is noticed.
const SCENARIOS: &[(&str, &[&str])] = &[
    ("auth/metadata-default", BOTH),
    ("auth/metadata-var1", BOTH),
    ("auth/metadata-var2", BOTH),
    ("auth/metadata-var3", BOTH),
    ("auth/basic-cimd", BOTH),
    ("auth/scope-from-www-authenticate", BOTH),
    ("auth/scope-from-scopes-supported", BOTH),
    ("auth/scope-omitted-when-undefined", BOTH),
    ("auth/scope-step-up", BOTH),
    ("auth/scope-retry-limit", BOTH),
    ("auth/token-endpoint-auth-basic", BOTH),
    ("auth/token-endpoint-auth-post", BOTH),
    ("auth/token-endpoint-auth-none", BOTH),
    ("auth/pre-registration", BOTH),
    ("auth/resource-mismatch", NEW),
    ("auth/offline-access-scope", NEW),
    ("auth/offline-access-not-supported", NEW),
    ("auth/authorization-server-migration", NEW),
    ("auth/iss-supported", NEW),
    ("auth/iss-not-advertised", NEW),
    ("auth/iss-supported-missing", NEW),
    ("auth/iss-wrong-issuer", NEW),
    ("auth/iss-unexpected", NEW),
    ("auth/iss-normalized", NEW),
    ("auth/metadata-issuer-mismatch", NEW),
    ("auth/2025-03-26-oauth-metadata-backcompat", DEFAULT),
    ("auth/2025-03-26-oauth-endpoint-fallback", DEFAULT),
];

/// One scenario at one wire version; without one, at the suite's own choice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    pub scenario: String,
    pub wire: Option<String>,
}

/// The runs that the project promises to pass.
pub fn expected() -> Vec<Run> {
    SCENARIOS.iter().flat_map(|(name, wires)| runs(name, wires)).collect()
}

/// The runs that a listing offers, from its lines `- auth/NAME [REVISION,REVISION]`.
pub fn offered(listing: &str) -> BTreeSet<Run> {
    let entry = |line: &str| {
        let (name, revisions) = line.trim().strip_prefix("- ")?.split_once(" [")?;
        let revisions: Vec<String> =
            revisions.trim_end_matches(']').split(',').map(|text| text.trim().into()).collect();
        let wanted = name.starts_with("auth/") && !revisions.iter().any(|text| text == "extension");
        wanted.then(|| (name.to_owned(), revisions))
    };
    listing
        .lines()
        .filter_map(entry)
        .flat_map(|(name, revisions)| {
            // Revisions are dates: they compare as text.
            let current: Vec<&str> =
                revisions.iter().map(String::as_str).filter(|text| *text >= OLDEST).collect();
            runs(&name, &current)
        })
        .collect()
}

fn runs(name: &str, wires: &[&str]) -> Vec<Run> {
    let run = |wire: Option<&str>| Run { scenario: name.into(), wire: wire.map(Into::into) };
    if wires.is_empty() {
        vec![run(None)]
    } else {
        wires.iter().map(|wire| run(Some(wire))).collect()
    }
}

/// What can be run, and what can't because plan and suite differ, with the reason.
pub fn compare(expected: Vec<Run>, offered: &BTreeSet<Run>) -> (Vec<Run>, Vec<(Run, String)>) {
    let known: BTreeSet<Run> = expected.iter().cloned().collect();
    let (runs, gone): (Vec<_>, Vec<_>) =
        expected.into_iter().partition(|run| offered.contains(run));
    let gone = gone.into_iter().map(|run| (run, "the suite no longer offers it".to_owned()));
    let new = offered.difference(&known).cloned();
    let new = new.map(|run| (run, "the suite offers it and plan.rs does not know it".to_owned()));
    (runs, gone.chain(new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "Client scenarios (test against a client):\n\
        \x20 - initialize [2025-06-18,2025-11-25]\n\
        \x20 - auth/token-endpoint-auth-none [2025-06-18,2025-11-25,2026-07-28]\n\
        \x20 - auth/2025-03-26-oauth-endpoint-fallback [2025-03-26]\n\
        \x20 - auth/resource-mismatch [2026-07-28]\n\
        \x20 - auth/dpop [extension]\n";

    fn run(scenario: &str, wire: Option<&str>) -> Run {
        Run { scenario: scenario.into(), wire: wire.map(Into::into) }
    }

    #[test]
    fn the_plan_is_27_scenarios_in_41_runs() {
        assert_eq!(SCENARIOS.len(), 27);
        assert_eq!(expected().len(), 41);
    }

    #[test]
    fn a_scenario_runs_at_each_current_revision_and_an_ended_one_at_the_default() {
        assert_eq!(
            offered(LISTING),
            BTreeSet::from([
                run("auth/token-endpoint-auth-none", Some("2025-11-25")),
                run("auth/token-endpoint-auth-none", Some("2026-07-28")),
                run("auth/2025-03-26-oauth-endpoint-fallback", None),
                run("auth/resource-mismatch", Some("2026-07-28")),
            ])
        );
    }

    #[test]
    fn a_scenario_that_vanished_and_one_that_joined_are_both_noticed() {
        let plan = vec![run("auth/kept", None), run("auth/gone", None)];
        let suite = BTreeSet::from([run("auth/kept", None), run("auth/kept", Some("2027-01-01"))]);
        let (runs, drift) = compare(plan, &suite);
        assert_eq!(runs, [run("auth/kept", None)]);
        let drifted: Vec<_> = drift.into_iter().map(|(run, _)| run).collect();
        assert_eq!(drifted, [run("auth/gone", None), run("auth/kept", Some("2027-01-01"))]);
    }
}
