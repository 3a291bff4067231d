use std::process::Stdio;

use crate::stage::{Stage, plain, run};

#[test]
fn help_and_version_are_no_errors() {
    run(&mut plain(&["--help"])).exits_with(0).prints("Examples:").prints("Exit codes:");
    run(&mut plain(&["-V"])).exits_with(0).prints(env!("CARGO_PKG_VERSION"));
    run(&mut plain(&["--version"])).exits_with(0).prints("mcp-auth");
    run(&mut plain(&["--nonsense"])).exits_with(2).prints_nothing();
}

#[test]
fn a_url_that_no_token_may_go_to_is_refused_with_the_reason() {
    for (url, reason) in [
        ("http://mcp.example.com/mcp", "https"),
        ("mcp.example.com", "absolute URL"),
        ("https://me:pw@mcp.example.com", "user name"),
        ("https://mcp.example.com/\u{7}", "control characters"),
    ] {
        for command in ["login", "token", "request", "status", "logout", "inspect"] {
            run(&mut plain(&[command, url])).exits_with(2).says(reason).prints_nothing();
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
    let stage = Stage::new();
    let empty = stage.file("empty", " \n");
    let (broken, torn) = (stage.file("broken", "{"), stage.file("torn", "client_id: ["));
    let url = stage.url();
    for (args, reason) in [
        (&["login", url, "--callback-port", "80"][..], "1024"),
        (&["login", url, "--callback-host", "example.com"], "localhost"),
        (&["login", url, "--authorize-url", "https://a.example/authorize"], "both or neither"),
        (&["login", url, "--issuer", "http://a.example"], "https"),
        (&["login", url, "--client-id", "a", "--client-secret-file", &empty], "empty"),
        (&["login", url, "--client-id", "a", "--client-secret-file", "/nowhere"], "/nowhere"),
        (&["login", url, "--config", &broken], "JSON"),
        (&["login", url, "--config", &torn], "YAML"),
        (&["login", url, "--config", "/nowhere"], "/nowhere"),
        (&["login", url, "--scope", "a\"b"], "scope"),
        (&["login", url, "--send-resource", "sometimes"], "--send-resource"),
        (&["login", url, "--preset", "entre"], "entra"),
        (&["login", url, "--timeout", "0"], "--timeout"),
        (&["request", url, "--data", "{"], "JSON"),
        (&["request", url, "--data", "@/nowhere"], "/nowhere"),
        (&["request", url, "--header", "Authorization: Bearer mine"], "Authorization"),
        (&["request", url, "--header", "nothing"], "Name: value"),
        (&["request", url, "--method", "a b"], "--method"),
    ] {
        stage.run(args).exits_with(2).says(reason).prints_nothing();
    }
    assert!(stage.servers.world().log.is_empty());
}

#[test]
#[cfg(unix)]
fn a_secret_that_others_can_read_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new();
    stage.authorization(|server| {
        server.preregister("by-hand", Some("hush"));
    });
    let file = stage.file("secret", "hush");
    let args = ["login", stage.url(), "--client-id", "by-hand", "--client-secret-file", &file];
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode));
    mode(0o644).unwrap();
    stage.run(&args).exits_with(0).says("warning").says("chmod 600");
    mode(0o600).unwrap();
    assert!(!stage.run(&args).exits_with(0).stderr.contains("warning"));
}

#[test]
fn a_reader_that_has_heard_enough_is_no_failure() {
    let stage = Stage::logged_in();
    for command in [&["inspect", stage.url()][..], &["status"], &["request", stage.url()]] {
        let mut child =
            stage.command(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{command:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn stdin_is_not_waited_for_beyond_the_timeout() {
    let stage = Stage::logged_in();
    let request = stage.start(&["request", "--data", "-", "--timeout", "1", stage.url()]);
    // Its stdin stays open until the command has ended.
    let mut request = request;
    let stdin = request.child.stdin.take();
    request.ends().exits_with(1).says("--timeout");
    drop(stdin);
}
