use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::stage::{plain, run};

#[test]
fn the_demo_tells_a_true_story_in_a_few_seconds() {
    let start = Instant::now();
    let ran = run(&mut plain(&["demo"])).exits_with(0);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(!ran.stdout.contains("NOT TRUE"), "{}", ran.stdout);
    assert!(ran.stdout.matches('✓').count() >= 15, "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
}

#[test]
fn the_demo_is_told_to_programs_as_json() {
    let ran = run(&mut plain(&["demo", "--json"])).exits_with(0);
    assert_eq!(ran.json()["status"], "done");
    assert!(ran.json()["claims"].as_array().unwrap().iter().all(|claim| claim["true"] == true));
}

#[test]
fn the_servers_of_the_demo_can_be_tried_with_the_other_commands() {
    let mut command = plain(&["demo", "--serve", "--json"]);
    let mut servers = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(servers.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let served: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = served["url"].as_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ran = run(plain(&["inspect", url]).arg("--store").arg(dir.path()));
    servers.kill().unwrap();
    servers.wait().unwrap();
    ran.exits_with(0).prints("wants authorization");
}
