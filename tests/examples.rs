//! The examples do what they say.

#[path = "../examples/recorded.rs"]
mod recorded;
#[path = "../examples/std_only.rs"]
mod std_only;
#[path = "../examples/ui_shell.rs"]
mod ui_shell;

#[test]
fn a_host_of_std_alone_logs_in() {
    let result = std_only::run().unwrap();
    assert!(result.contains("logged in to http://127.0.0.1:"), "{result}");
    assert!(result.contains("Generation(1)"), "{result}");
}

#[test]
fn what_was_recorded_is_played_again_without_a_secret() {
    let result = recorded::run().unwrap();
    assert!(result.contains("replayed as recorded"), "{result}");
}

#[test]
fn a_shell_opens_urls_and_hands_redirects_in() {
    let result = ui_shell::run().unwrap();
    assert_eq!(result.last().map(String::as_str), Some("signed in"), "{result:?}");
}
