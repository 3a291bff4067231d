//! Runs the official MCP conformance suite's `auth/*` client scenarios, one at a time.
//!
//! ```text
//! cargo run -p mcp-auth-conformance --bin conformance [-- OPTIONS]
//!
//!   --adapter NAME    the host that the client runs on: ureq or tokio (default: one after the other)
//!   --only SCENARIO   this scenario alone, at each of its wire versions
//!   --client PROGRAM  another client than ours; its arguments are `--adapter NAME URL`
//! ```
//!
//! Needs npm; the suite and the Node.js that it runs on are installed from `package-lock.json`.
//! Ends with `N passed, N failed`, and with a failure if any planned run failed or did not happen.

mod plan;
mod process;
mod suite;
mod verdict;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use plan::Run;
use suite::Suite;
use verdict::Verdict;

/// Each run has its own servers on ports of the system's choice, so runs don't meet.
const PARALLEL: usize = 2;
const ADAPTERS: [&str; 2] = ["ureq", "tokio"];

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|first| first == process::WATCH).is_some() {
        return process::watch(args);
    }
    match Options::parse(args).and_then(|options| conform(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            let _ = writeln!(io::stderr(), "conformance: {message}");
            ExitCode::from(2)
        }
    }
}

#[derive(Debug, PartialEq)]
struct Options {
    adapter: Option<String>,
    only: Option<String>,
    client: Option<PathBuf>,
}

impl Options {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self { adapter: None, only: None, client: None };
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{} lacks its value", name.display()));
            let text = |value: OsString| {
                value.into_string().map_err(|value| format!("not text: {}", value.display()))
            };
            match name.to_str() {
                Some("--adapter") => options.adapter = Some(text(value?)?),
                Some("--only") => options.only = Some(text(value?)?),
                Some("--client") => options.client = Some(value?.into()),
                _ => return Err(format!("unknown argument {}", name.display())),
            }
        }
        Ok(options)
    }

    fn wants(&self, run: &Run) -> bool {
        let bare = |name: &str| name.trim_start_matches("auth/").to_owned();
        self.only.as_ref().is_none_or(|only| bare(only) == bare(&run.scenario))
    }
}

/// Makes every wanted run and reports; says whether all passed.
fn conform(options: &Options) -> Result<bool, String> {
    let client = options.client.clone().map_or_else(suite::build_client, Ok)?;
    let adapters = options.adapter.as_deref().map_or(ADAPTERS.to_vec(), |adapter| vec![adapter]);
    let suite = Suite::install(&client)?;

    let (mut runs, drift) = plan::compare(plan::expected(), &plan::offered(&suite.list()?));
    runs.retain(|run| options.wants(run));
    let runs: Vec<_> =
        adapters.iter().flat_map(|on| runs.iter().map(move |run| (*on, run))).collect();
    let verdicts = in_parallel(&runs, |(adapter, run)| suite.run(run, adapter));
    let mut rows: Vec<Row<'_>> = runs
        .into_iter()
        .zip(verdicts)
        .map(|((adapter, run), verdict)| Row { adapter, run: run.clone(), verdict })
        .collect();
    let drift = drift.into_iter().filter(|(run, _)| options.wants(run));
    rows.extend(drift.map(|(run, why)| {
        let verdict = Verdict::Failed(vec![why]);
        Row { adapter: "", run, verdict }
    }));
    if rows.is_empty() {
        return Err(format!("no scenario is named {}", options.only.as_deref().unwrap_or("so")));
    }
    report(&mut io::stdout().lock(), &rows).map_err(|error| format!("can't report: {error}"))
}

/// What came of one run on one host; on none, where the suite isn't what was expected.
struct Row<'a> {
    adapter: &'a str,
    run: Run,
    verdict: Verdict,
}

/// `work` done on each item by a few threads; results in the items' order.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let Some((at, item)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    items.get(at).map(|item| (at, item))
                } {
                    let result = work(item);
                    done.lock().unwrap_or_else(|poison| poison.into_inner()).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(|poison| poison.into_inner());
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The table, then the line that a script may read; says whether all passed.
fn report(out: &mut impl Write, rows: &[Row<'_>]) -> io::Result<bool> {
    let width = rows.iter().map(|row| row.run.scenario.len()).max().unwrap_or(0);
    let mut passed = 0;
    for Row { adapter, run, verdict } in rows {
        let wire = run.wire.as_deref().unwrap_or("default");
        write!(out, "{:width$}  {wire:10}  ", run.scenario)?;
        match verdict {
            Verdict::Passed => {
                passed += 1;
                writeln!(out, "passed  {adapter}")?;
            }
            Verdict::Failed(reasons) => {
                writeln!(out, "FAILED  {adapter}")?;
                for reason in reasons {
                    writeln!(out, "    {reason}")?;
                }
            }
        }
    }
    writeln!(out, "{passed} passed, {} failed", rows.len() - passed)?;
    Ok(passed == rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(scenario: &str, wire: Option<&str>) -> Run {
        Run { scenario: scenario.into(), wire: wire.map(Into::into) }
    }

    #[test]
    fn one_failed_run_fails_the_whole_and_tells_why() {
        let row = |run, adapter, verdict| Row { adapter, run, verdict };
        let failed = Verdict::Failed(vec!["did not run".into()]);
        let rows = [
            row(run("auth/iss-supported", Some("2026-07-28")), "ureq", Verdict::Passed),
            row(run("auth/old", None), "tokio", failed),
        ];
        let mut out = Vec::new();
        assert!(!report(&mut out, &rows).unwrap());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "auth/iss-supported  2026-07-28  passed  ureq\n\
             auth/old            default     FAILED  tokio\n    did not run\n\
             1 passed, 1 failed\n"
        );
    }

    #[test]
    fn a_scenario_is_asked_for_with_or_without_its_folder() {
        for name in ["scope-step-up", "auth/scope-step-up"] {
            let options = Options::parse(["--only".into(), name.into()]).unwrap();
            assert!(options.wants(&run("auth/scope-step-up", None)));
            assert!(!options.wants(&run("auth/scope-step", None)));
        }
    }

    #[test]
    fn an_option_without_its_value_is_told_so() {
        assert_eq!(Options::parse(["--only".into()]), Err("--only lacks its value".to_owned()));
        assert!(Options::parse(["--suite".into(), "auth".into()]).is_err());
    }

    #[test]
    fn parallel_results_come_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..50).collect();
        let doubled = in_parallel(&items, |item| item * 2);
        assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
    }
}
