//! Runs the checks, each against its entry, and counts.

use std::cell::RefCell;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use serde_json::Value;

use crate::entry::Entry;

/// What is asserted of one entry.
pub struct Check {
    pub id: &'static str,
    pub run: fn(&Entry),
    pub decision: Decision,
}

/// Whether the machine does what the entry wishes.
pub enum Decision {
    AsWished,
    /// It doesn't, at least not in all: why. What it does instead is asserted.
    Against(&'static str),
}

impl Check {
    pub const fn new(id: &'static str, run: fn(&Entry)) -> Self {
        Self { id, run, decision: Decision::AsWished }
    }

    /// For an entry whose wish is not, or not in all, followed: `why`, in a sentence.
    pub const fn against(id: &'static str, why: &'static str, run: fn(&Entry)) -> Self {
        Self { id, run, decision: Decision::Against(why) }
    }
}

/// The checks of one area of the corpus.
pub struct Area {
    name: &'static str,
    checks: &'static [Check],
    summary: Option<Summary>,
}

/// Takes what the checks of an area have said.
type Summary = fn(&[String]) -> Result<(), String>;

impl Area {
    /// Every entry has its check.
    pub const fn new(name: &'static str, checks: &'static [Check]) -> Self {
        Self { name, checks, summary: None }
    }

    /// The same, and once all have passed, what they have said is looked at as a whole.
    pub const fn with_summary(self, summary: Summary) -> Self {
        Self { summary: Some(summary), ..self }
    }
}

/// What came of an area.
#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
}

thread_local! {
    /// What the last panic said, and where.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn corpus() -> Vec<Entry> {
    let read = |text: &str| -> Vec<Value> {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("the corpus: {error}"))
    };
    let vendors = read(include_str!("vendors.json")).into_iter().map(Entry::vendor);
    vendors.chain(read(include_str!("quirks.json")).into_iter().map(Entry::quirk)).collect()
}

/// The checks that the command line names, or all; their counts on stdout.
pub fn run(areas: &[Area]) -> ExitCode {
    let command = Command::read();
    let entries = corpus();
    let mut out = io::stdout().lock();
    if command.list {
        for entry in &entries {
            let _ = writeln!(out, "{}::{}: test", entry.area, entry.id);
        }
        return ExitCode::SUCCESS;
    }
    panic::set_hook(Box::new(|panic| PANIC.set(panic.to_string())));
    let mut counts = Vec::new();
    for area in areas {
        let mut count = Count::default();
        for (name, outcome) in judge(area, &entries, &command) {
            let _ = match outcome {
                Verdict::Passed(remarks) => {
                    count.passed += 1;
                    writeln!(out, "test {name} ... ok{}", beneath(&remarks))
                }
                Verdict::Failed(why) => {
                    count.failed += 1;
                    writeln!(out, "test {name} ... FAILED{}", beneath(&[why]))
                }
            };
        }
        counts.push((area, count));
    }
    let known = |entry: &&Entry| areas.iter().any(|area| area.name == entry.area);
    let strays = entries.len() - entries.iter().filter(known).count();
    let _ = writeln!(out);
    for (area, Count { passed, failed }) in &counts {
        let _ = writeln!(out, "{:<12}{passed:>3} passed, {failed} failed", area.name);
    }
    let passed: usize = counts.iter().map(|(_, count)| count.passed).sum();
    let failed: usize = counts.iter().map(|(_, count)| count.failed).sum::<usize>() + strays;
    let _ = writeln!(out, "{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

enum Verdict {
    Passed(Vec<String>),
    Failed(String),
}

/// Every entry of the area, in the order of the file, then what is wrong with its table.
fn judge(area: &Area, entries: &[Entry], command: &Command) -> Vec<(String, Verdict)> {
    let mut verdicts = Vec::new();
    let own: Vec<_> = entries.iter().filter(|entry| entry.area == area.name).collect();
    for entry in &own {
        let name = format!("{}::{}", area.name, entry.id);
        if !command.wants(&name) {
            continue;
        }
        let mut checks = area.checks.iter().filter(|check| check.id == entry.id);
        let verdict = match (checks.next(), checks.next()) {
            (None, _) => Verdict::Failed("it has no check".to_owned()),
            (Some(_), Some(_)) => Verdict::Failed("it has two checks".to_owned()),
            (Some(check), None) => perform(check, entry),
        };
        verdicts.push((name, verdict));
    }
    let passed = verdicts.iter().all(|(_, verdict)| matches!(verdict, Verdict::Passed(_)));
    if let (Some(summary), true, true) = (area.summary, passed, command.filters.is_empty()) {
        let said: Vec<_> = own.iter().flat_map(|entry| entry.said()).collect();
        if let Err(why) = summary(&said) {
            verdicts.push((format!("{}, all of them", area.name), Verdict::Failed(why)));
        }
    }
    let mut complain = |name: &str, why: &str| {
        let name = format!("{}::{name}", area.name);
        verdicts.push((name, Verdict::Failed(why.to_owned())));
    };
    for check in area.checks {
        if !own.iter().any(|entry| entry.id == check.id) {
            complain(check.id, "the area has no such entry");
        }
    }
    verdicts
}

fn perform(check: &Check, entry: &Entry) -> Verdict {
    if panic::catch_unwind(AssertUnwindSafe(|| (check.run)(entry))).is_err() {
        return Verdict::Failed(PANIC.take());
    }
    let spoiled = entry.spoiled();
    if panic::catch_unwind(AssertUnwindSafe(|| (check.run)(&spoiled))).is_ok() {
        return Verdict::Failed("it passes whatever the entry's bytes are".to_owned());
    }
    let mut remarks = entry.said();
    if let Decision::Against(why) = check.decision {
        remarks.push(format!("against the wish: {why}"));
    }
    Verdict::Passed(remarks)
}

fn beneath(lines: &[String]) -> String {
    let indented = lines.iter().flat_map(|text| text.lines());
    indented.map(|line| format!("\n    {line}")).collect()
}

/// As much of libtest's command line as `cargo test` may pass on.
struct Command {
    list: bool,
    filters: Vec<String>,
}

impl Command {
    #[expect(clippy::disallowed_methods, reason = "this is a program, not the core")]
    fn read() -> Self {
        let mut command = Self { list: false, filters: Vec::new() };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => command.list = true,
                "--test-threads" | "--skip" | "--format" | "--color" | "-Z" => drop(args.next()),
                option if option.starts_with('-') => {}
                _ => command.filters.push(arg),
            }
        }
        command
    }

    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}
