//! `FEATURES.md` says which of the field's 116 features are here, and which test shows each. That the
//! tests have run, and passed, is what `.ci/features` finds in the log.

#![expect(clippy::disallowed_methods, reason = "the table and the tests are files")]

use std::fs;
use std::path::Path;

const ROWS: usize = 116;

struct Row {
    number: usize,
    feature: String,
    state: String,
    shown_by: String,
}

fn rows() -> Vec<Row> {
    let table = fs::read_to_string(root().join("FEATURES.md")).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(|cell| cell.trim().to_owned());
        let number = cells.next()?.parse().ok()?;
        let (feature, state, shown_by) = (cells.next()?, cells.next()?, cells.next()?);
        Some(Row { number, feature, state, shown_by })
    };
    table.lines().filter_map(row).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2).filter(|name| name.contains("::"))
}

/// Whether the file has a test of that name.
fn is_there(name: &str) -> bool {
    let (file, test) = name.rsplit_once("::").unwrap();
    if file == "conformance" {
        return test.starts_with("auth/");
    }
    let source = fs::read_to_string(root().join(file)).unwrap_or_default();
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let head = format!("fn {test}(");
    lines.iter().enumerate().any(|(at, line)| {
        let before = lines.iter().take(at).rev();
        let mut attributes = before.take_while(|l| l.starts_with('#') || l.starts_with("//"));
        line.trim_start_matches("async ").starts_with(&head)
            && attributes.any(|attribute| attribute.contains("test]"))
    })
}

#[test]
fn every_feature_has_its_row_in_order() {
    let numbers: Vec<_> = rows().iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=ROWS).collect::<Vec<_>>());
}

#[test]
fn a_done_feature_names_tests_that_exist_and_another_says_what_it_waits_for() {
    let mut wrong = Vec::new();
    for Row { number, feature, state, shown_by } in rows() {
        let named: Vec<_> = names(&shown_by).collect();
        match state.as_str() {
            "done" if named.is_empty() => wrong.push(format!("{number} {feature}: no test")),
            "done" => wrong.extend(
                named.iter().filter(|n| !is_there(n)).map(|n| format!("{number}: no test {n}")),
            ),
            "not yet" if shown_by.is_empty() => wrong.push(format!("{number}: why not yet?")),
            "not yet" => {}
            other => wrong.push(format!("{number} {feature}: neither done nor not yet: {other}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_name_that_stands_for_no_test_is_found_out() {
    assert!(is_there("tests/features.rs::a_name_that_stands_for_no_test_is_found_out"));
    assert!(!is_there("tests/features.rs::rows"));
    assert!(!is_there("tests/nowhere.rs::rows"));
}
