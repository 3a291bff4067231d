//! The sources of this workspace, as text.

use std::fs;
use std::path::{Path, PathBuf};

/// Adds the Rust files of a folder, their tests aside.
pub fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            if !entry.ends_with("tests") {
                sources(&entry, found);
            }
        } else if entry.extension().is_some_and(|e| e == "rs") && !entry.ends_with("tests.rs") {
            found.push(entry);
        }
    }
}
