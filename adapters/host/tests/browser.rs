//! `$BROWSER` as users set it: scripts that return, stay, fail or are missing.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcp_auth_host::browser::{Browser, BrowserError, SystemBrowser};

/// A script that is open for writing can't be run, and a process that is being started by another
/// test holds copies of all open files: these tests take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const URL: &str = "https://as.example/authorize?client_id=a&state=s";

fn script(dir: &Path, name: &str, body: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn eventually_read(path: &Path) -> String {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("{} was never written", path.display());
}

#[test]
fn a_script_that_returns_gets_the_url_as_its_only_argument() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    // A space in the path: the value is a file, so it isn't split.
    let path = script(dir.path(), "my browser", &format!("echo \"$# $1\" > '{}'", seen.display()));
    SystemBrowser::with_command(path).open(URL).unwrap();
    assert_eq!(eventually_read(&seen), format!("1 {URL}\n"));
}

#[test]
fn a_browser_that_stays_running_does_not_hold_us_up() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = script(dir.path(), "stays", "exec sleep 10");
    let start = Instant::now();
    SystemBrowser::with_command(path).open(URL).unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_next_browser_of_the_list_is_tried_when_one_is_missing_or_fails() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let fails = script(dir.path(), "fails", "exit 3");
    let works = script(dir.path(), "works", &format!("echo \"$1\" > '{}'", seen.display()));
    let list = format!("/nonexistent/browser:{}:{}", fails.display(), works.display());
    SystemBrowser::with_command(list).open(URL).unwrap();
    assert_eq!(eventually_read(&seen), format!("{URL}\n"));
}

#[test]
fn a_browser_that_cannot_start_is_an_error_without_the_url() {
    let _alone = alone();
    let error = SystemBrowser::with_command("/nonexistent/browser").open(URL).unwrap_err();
    assert_eq!(error, BrowserError::NotStarted { kind: std::io::ErrorKind::NotFound });
    assert!(!error.to_string().contains("as.example"));
}

#[test]
fn a_text_browser_never_gets_the_terminal() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let path = script(dir.path(), "lynx", &format!("echo ran > '{}'", seen.display()));
    let error = SystemBrowser::with_command(path).open(URL).unwrap_err();
    assert!(matches!(error, BrowserError::TextBrowser { .. }));
    assert!(!seen.exists());
}

#[test]
#[cfg(target_os = "linux")]
fn the_browser_shares_none_of_our_standard_streams() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let body = format!(
        "for fd in 0 1 2; do [ /proc/$$/fd/$fd -ef /dev/null ] || exit 9; done\n\
         echo none > '{}'",
        seen.display()
    );
    SystemBrowser::with_command(script(dir.path(), "loud", &body)).open(URL).unwrap();
    assert_eq!(eventually_read(&seen), "none\n");
}
