//! Each public type of the libraries is shown by an example that is built and, where it can be, run.
//!
//! The sources are read as text: in a crate that warns of `unreachable_pub`, whatever says `pub` is public.

#![expect(clippy::disallowed_methods, reason = "sources are files")]

mod sources;

use std::fs;
use std::path::Path;

use sources::sources;

/// The libraries whose types are looked at, by their folders.
const CRATES: [&str; 1] = ["."];

/// The public types of a file that no example shows.
fn unshown(code: &str) -> Vec<&str> {
    let (mut docs, mut attribute, mut found) = (Vec::new(), false, Vec::new());
    for line in code.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            docs.push(text.trim());
        } else if attribute || line.starts_with("#[") {
            attribute = !line.ends_with(']');
        } else if !line.starts_with("//") {
            if let Some(name) = public_type(line)
                && !has_example(&docs)
            {
                found.push(name);
            }
            docs.clear();
        }
    }
    found
}

/// The name of the type that this line begins, if it is a public one.
fn public_type(line: &str) -> Option<&str> {
    let (kind, rest) = line.strip_prefix("pub ")?.split_once(' ')?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    matches!(kind, "struct" | "enum" | "union" | "trait").then_some(name)
}

/// Whether there is a block of Rust that is built.
fn has_example(docs: &[&str]) -> bool {
    let fences = docs.iter().filter_map(|line| line.strip_prefix("```"));
    // Each second one ends a block.
    fences.step_by(2).any(|language| matches!(language, "" | "rust" | "no_run" | "rust,no_run"))
}

#[test]
fn each_public_type_is_shown_by_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in CRATES {
        let folder = root.join(folder).join("src");
        let crate_root = fs::read_to_string(folder.join("lib.rs")).unwrap();
        let warns = crate_root.contains("\n#![warn(unreachable_pub)]\n");
        assert!(warns, "{} doesn't warn of unreachable_pub", folder.display());
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        sources(&folder, &mut files);
        for file in files {
            let code = fs::read_to_string(&file).unwrap();
            let place = file.strip_prefix(&folder).unwrap().display();
            missing.extend(unshown(&code).iter().map(|name| format!("{place}: {name}")));
        }
        assert!(missing.is_empty(), "no example in the documentation of {missing:#?}");
    }
}

#[test]
fn a_type_without_one_would_be_seen() {
    let code = r#"
/// Shown.
///
/// ```
/// assert_eq!(1 + 1, 2);
/// ```
#[derive(
    Clone, Copy,
)]
pub struct Shown(u8);

/// Not at all.
pub struct Bare<T>(T);

/// By a picture.
///
/// ```text
/// a ──▶ b
/// ```
pub enum Picture {}

/// By what nobody builds.
///
/// ```ignore
/// let it = be;
/// ```
#[non_exhaustive]
pub trait Unbuilt: Sized {}

/// After a picture.
///
/// ```text
/// a ──▶ b
/// ```
///
/// ```no_run
/// std::process::exit(1);
/// ```
// Why it is so.
pub trait Late {}

pub mod inside {
    #[derive(Debug)]
    pub union Undocumented { a: u8 }

    pub(crate) struct Ours;
}
"#;
    assert_eq!(unshown(code), ["Bare", "Picture", "Unbuilt", "Undocumented"]);
}
