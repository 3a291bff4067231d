//! Drivers are easy: no host decides anything about OAuth, and a whole one is read in one sitting.

#![expect(clippy::disallowed_methods, reason = "sources are files")]

mod sources;

use std::fs;
use std::path::Path;

use sources::sources;

/// Words of the protocols that whoever decides about them would use.
const PROTOCOL: [&str; 21] = [
    "access_denied",
    "authorization_endpoint",
    "authorization_pending",
    "authorization_servers",
    "client_assertion",
    "code_challenge",
    "code_verifier",
    "expired_token",
    "grant_type",
    "insufficient_scope",
    "invalid_client",
    "invalid_grant",
    "invalid_target",
    "invalid_token",
    "registration_endpoint",
    "resource_metadata",
    "response_type",
    "scopes_supported",
    "slow_down",
    "token_endpoint",
    "well-known",
];

/// The code of a file: without comments, and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines();
    let code = code.map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    code.collect::<Vec<_>>().join("\n")
}

fn words_in(code: &str) -> Vec<&'static str> {
    PROTOCOL.into_iter().filter(|word| code.contains(word)).collect()
}

#[test]
fn no_host_decides_anything_about_oauth() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for adapter in fs::read_dir(root.join("adapters")).unwrap().map(|entry| entry.unwrap().path()) {
        // The command shows people what servers say, and brings servers of its own for its demo.
        if adapter.is_dir() && !adapter.ends_with("cli") {
            sources(&adapter.join("src"), &mut found);
        }
    }
    sources(&root.join("examples"), &mut found);
    // It names the members that it hides.
    found.retain(|path| !path.ends_with("examples/recorded.rs"));
    assert!(found.len() > 20, "{found:?}");
    let knowing = found.iter().map(|path| (path, words_in(&code(path))));
    let knowing: Vec<_> = knowing.filter(|(_, words)| !words.is_empty()).collect();
    assert!(knowing.is_empty(), "{knowing:#?}");
}

#[test]
fn a_decision_would_be_seen() {
    assert_eq!(words_in(r#"if error == "invalid_grant" { log_in() }"#), ["invalid_grant"]);
    let exchange = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire/token.rs");
    assert!(words_in(&code(&exchange)).contains(&"code_verifier"));
}

#[test]
fn a_driver_is_read_in_one_sitting() {
    for host in ["ureq", "tokio"] {
        let driver = Path::new(env!("CARGO_MANIFEST_DIR"));
        let driver = driver.join("adapters").join(host).join("src/driver.rs");
        let lines = fs::read_to_string(driver).unwrap().lines().count();
        assert!((100..=200).contains(&lines), "{host}: {lines} lines");
    }
}

#[test]
fn a_whole_host_with_its_own_http_is_read_in_one_sitting() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/std_only.rs");
    let lines = code(&example).lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines < 250, "{lines} lines");
}
