//! Processes of the command that need a login at the same time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use mcp_auth_world::{Person, What};

use crate::stage::{Ran, Running, Stage};

const PROCESSES: usize = 5;

const WAITS: &str = "Another program is asking you";

/// A browser with a person who does nothing before all have come.
fn slow_browser(stage: &Stage) -> String {
    let walker = stage.browser();
    let wait = r#"until [ -e "$0.go" ]; do sleep 0.05; done"#;
    let script = format!("#!/bin/sh\n{wait}\nexec '{}' \"$1\"\n", walker.display());
    let path = stage.file("slow-browser", &script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

/// Starts the command so many times, and lets the person go on once each has a browser or waits.
fn all_at_once(stage: &Stage, args: &[&str]) -> Vec<Ran> {
    let browser = slow_browser(stage);
    let start = |_| stage.start_with_browser(args, &browser);
    let mut running: Vec<Running> = (0..PROCESSES).map(start).collect();
    let said: Vec<_> =
        running.iter_mut().map(|run| run.hear_one_of(&["Your browser opens", WAITS])).collect();
    assert_eq!(said.iter().filter(|line| line.contains(WAITS)).count(), PROCESSES - 1, "{said:?}");
    fs::write(format!("{browser}.go"), "").unwrap();
    running.into_iter().map(Running::ends).collect()
}

#[test]
fn of_five_logins_one_opens_a_browser_and_all_are_logged_in() {
    let stage = Stage::new();
    let all = all_at_once(&stage, &["login", stage.url()]);
    for ran in all {
        ran.exits_with(0).says("Logged in");
    }
    let count = (stage.count(What::Authorizations), stage.servers.world().registrations());
    assert_eq!(count, (1, 1));
    assert_eq!(stage.count(What::TokenRequests), 1);
    stage.run(&["token", stage.url()]).exits_with(0).prints(&stage.newest_token());
}

#[test]
fn of_five_requests_one_opens_a_browser_and_all_are_answered() {
    let stage = Stage::new();
    let all = all_at_once(&stage, &["request", "--login", stage.url()]);
    for ran in all {
        ran.exits_with(0).prints("protocolVersion");
    }
    let count = (stage.count(What::Authorizations), stage.servers.world().registrations());
    assert_eq!(count, (1, 1));
}

#[test]
fn a_person_who_says_no_is_asked_once() {
    let stage = Stage::new();
    stage.servers.world().person = Person::Denies;
    let all = all_at_once(&stage, &["login", stage.url()]);
    for ran in all {
        ran.exits_with(1).says("fault: the person").says("allow the access");
    }
    assert_eq!(stage.count(What::Authorizations), 1);
    // Another day, another answer.
    stage.servers.world().person = Person::Approves;
    stage.run(&["login", stage.url()]).exits_with(0);
}

#[test]
fn a_login_that_is_given_up_with_ctrl_c_keeps_nobody_waiting() {
    let stage = Stage::new();
    for signal in ["-INT", "-TERM", "-HUP"] {
        let mut login = stage.start(&["login", "--no-browser", stage.url()]);
        login.address();
        login.hear("Ctrl-C");
        let id = login.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        login.ends().exits_with(1).says("cancelled");
    }
    let ran = stage.run(&["login", stage.url()]).exits_with(0);
    assert!(!ran.stderr.contains(WAITS), "{ran:?}");
}

#[test]
fn a_token_is_not_waited_for_where_nobody_may_be_asked() {
    let stage = Stage::new();
    let mut login = stage.start(&["login", "--no-browser", stage.url()]);
    let address = login.address();
    stage.run(&["token", stage.url()]).exits_with(3).says("another program is asking");
    assert_eq!(crate::walker::walk(&address).unwrap(), 200);
    login.ends().exits_with(0);
    stage.run(&["token", stage.url()]).exits_with(0);
}
