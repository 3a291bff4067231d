//! The command against an authorization server that nobody here wrote: npm's `oidc-provider`, with
//! dynamic registration, PKCE, resource indicators and rotating refresh tokens. Its person is a
//! small program that submits the forms. Needs npm.

#![cfg(unix)]

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

#[test]
fn a_person_logs_in_and_stays_logged_in() {
    let world = World::start(&[]);
    world.whole_story();
}

#[test]
fn the_issuer_has_a_path() {
    let world = World::start(&["--path", "/tenant1"]);
    assert!(world.server.issuer.ends_with("/tenant1"));
    world.whole_story();
}

#[test]
fn access_tokens_are_jwts() {
    let world = World::start(&["--token-format", "jwt"]);
    world.logs_in();
    world.is_served();
}

#[test]
fn a_denial_is_told_and_a_later_login_works() {
    let world = World::start(&[]);
    let denied = world.command(&["login"]).env("WALKER_DENY", "1").output().unwrap();
    assert_eq!(denied.status.code(), Some(1), "{}", text(&denied));
    assert!(text(&denied).contains("access_denied"), "{}", text(&denied));
    world.logs_in();
    world.is_served();
}

#[test]
fn an_expired_token_is_renewed_without_a_person() {
    let world = World::start(&["--access-ttl", "2"]);
    world.logs_in();
    let first = world.token();
    std::thread::sleep(Duration::from_secs(3));
    let second = world.token();
    assert_ne!(first, second);
    world.is_served();
    assert_eq!(world.server.stat("refreshReuse"), 0);
    assert_eq!(world.server.stat("authorizations"), 1);
}

#[test]
fn a_logout_ends_tokens_and_registration_at_the_server() {
    let world = World::start(&[]);
    world.logs_in();
    world.is_served();
    let token = world.token();
    assert_eq!(world.serves(&token), 200);
    let output = world.command(&["logout", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for part in ["refresh_token", "access_token", "registration"] {
        assert_eq!(told[part]["status"], "ended", "{told}");
    }
    assert!(world.server.stat("revocations") >= 1);
    assert_eq!(world.server.stat("registrationsDeleted"), 1);
    assert_eq!(world.serves(&token), 401);
    assert_eq!(world.request().status.code(), Some(3));
    world.logs_in();
    world.is_served();
    assert_eq!(world.server.stat("registrations"), 2);
}

impl World {
    /// What the MCP server says to a call with this token.
    fn serves(&self, token: &str) -> u16 {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build();
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}"#;
        let request = ureq::Agent::new_with_config(agent)
            .post(&self.server.mcp)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        request.send(call).unwrap().status().as_u16()
    }

    fn whole_story(&self) {
        self.logs_in();
        assert_eq!(self.server.stat("registrations"), 1);
        self.is_served();

        // The server refuses the token before its time: it is renewed, and the request sent again.
        let first = self.token();
        self.server.control("expire-access-tokens");
        self.is_served();
        assert_ne!(self.token(), first);
        assert_eq!(self.server.stat("refreshGrants"), 1);

        // The refresh token is revoked too: only a person helps, and the registration serves again.
        self.server.control("revoke-refresh-tokens");
        self.server.control("expire-access-tokens");
        let refused = self.request();
        assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
        self.logs_in();
        self.is_served();
        assert_eq!(self.server.stat("registrations"), 1);
        assert_eq!(self.server.stat("refreshReuse"), 0);

        // A server that forgot its clients: registered again, once.
        self.server.control("forget-clients");
        self.server.control("revoke-refresh-tokens");
        self.server.control("expire-access-tokens");
        assert_eq!(self.request().status.code(), Some(3));
    }

    fn logs_in(&self) {
        let output = self.command(&["login"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }

    fn is_served(&self) {
        let output = self.request();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let reply: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(reply["result"]["content"].is_array(), "{reply}");
    }

    fn request(&self) -> Output {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}"#;
        self.command(&["request"]).args(["--data", call]).output().unwrap()
    }

    fn token(&self) -> String {
        let output = self.command(&["token"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-auth"));
        command
            .args(words)
            .arg(&self.server.mcp)
            .arg("--store")
            .arg(self.dir.path().join("store"))
            .args(["--timeout", "60", "-v"])
            .env("BROWSER", self.dir.path().join("browser"))
            .env("WALKER_LOG", self.dir.path().join("walker.log"))
            .stdin(Stdio::null());
        command
    }
}

/// A server, a store, and a browser.
struct World {
    server: Server,
    dir: TempDir,
}

impl World {
    fn start(options: &[&str]) -> Self {
        let home = install();
        let dir = tempfile::tempdir().unwrap();
        let browser = dir.path().join("browser");
        let (node, walker) = (node(&home), home.join("walker.mjs"));
        let script =
            format!("#!/bin/sh\nexec '{}' '{}' \"$1\"\n", node.display(), walker.display());
        fs::write(&browser, script).unwrap();
        fs::set_permissions(&browser, fs::Permissions::from_mode(0o700)).unwrap();
        Self { server: Server::start(&home, options), dir }
    }
}

struct Server {
    process: Child,
    issuer: String,
    mcp: String,
    control: String,
    /// It would end if it could say nothing more.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Server {
    fn start(home: &Path, options: &[&str]) -> Self {
        let mut process = Command::new(node(home))
            .arg("server.mjs")
            .args(options)
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = said
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.starts_with(r#"{"ready":true"#))
            .expect("the server starts");
        let ready: Value = serde_json::from_str(&ready).unwrap();
        let word = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self {
            process,
            issuer: word("issuer"),
            mcp: word("mcp"),
            control: word("control"),
            _said: said,
        }
    }

    fn control(&self, what: &str) {
        ureq::post(format!("{}{what}", self.control)).send_empty().unwrap();
    }

    fn stat(&self, name: &str) -> u64 {
        let mut reply = ureq::get(format!("{}stats", self.control)).call().unwrap();
        let stats: Value =
            serde_json::from_str(&reply.body_mut().read_to_string().unwrap()).unwrap();
        stats[name].as_u64().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder of the servers, with what they need installed from its lock file.
fn install() -> PathBuf {
    static ONCE: Mutex<bool> = Mutex::new(false);
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oidc");
    let mut done = ONCE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !*done {
        let (lock, installed) =
            (home.join("package-lock.json"), home.join("node_modules/.installed-lock"));
        if fs::read(&lock).ok() != fs::read(&installed).ok() {
            let status = Command::new("npm").arg("ci").current_dir(&home).status();
            assert!(status.expect("npm can be run").success(), "npm ci");
            fs::copy(&lock, &installed).unwrap();
        }
        *done = true;
    }
    home
}

fn node(home: &Path) -> PathBuf {
    home.join("node_modules/.bin/node")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
