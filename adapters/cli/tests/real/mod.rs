//! A real authorization server before a protected MCP server, from a folder of `tests`, and a person:
//! a small program that follows its pages. Needs npm.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;

use serde_json::Value;
use tempfile::TempDir;

/// A server, a store, and a browser.
pub struct World {
    pub server: Server,
    pub dir: TempDir,
    /// What every command is given that can take it.
    pub settings: Vec<String>,
}

impl World {
    /// The servers of this folder.
    pub fn start(folder: &str, options: &[&str]) -> Self {
        let home = install(folder);
        let dir = tempfile::tempdir().unwrap();
        let browser = dir.path().join("browser");
        let walker = home.join("walker.mjs");
        // Where nobody has to log in and agree, following redirects is enough.
        let walker = match walker.exists() {
            true => format!("'{}' '{}'", node(&home).display(), walker.display()),
            false => format!("'{}'", example("walker").display()),
        };
        fs::write(&browser, format!("#!/bin/sh\nexec {walker} \"$1\"\n")).unwrap();
        fs::set_permissions(&browser, fs::Permissions::from_mode(0o700)).unwrap();
        Self { server: Server::start(&home, options), dir, settings: Vec::new() }
    }

    pub fn logs_in(&self) {
        let output = self.command(&["login"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }

    pub fn is_served(&self) {
        let output = self.request();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let reply: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(reply["result"]["content"].is_array(), "{reply}");
    }

    pub fn request(&self) -> Output {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}"#;
        self.command(&["request"]).args(["--data", call]).output().unwrap()
    }

    pub fn token(&self) -> String {
        let output = self.command(&["token"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn command(&self, words: &[&str]) -> Command {
        self.command_within(60, words)
    }

    /// The command with a time limit, in seconds.
    pub fn command_within(&self, limit: u32, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-auth"));
        command
            .args(words)
            .arg(self.server.word("mcp"))
            .arg("--store")
            .arg(self.dir.path().join("store"))
            .args(["--timeout", &limit.to_string(), "-v"])
            .env("BROWSER", self.dir.path().join("browser"))
            .env("WALKER_LOG", self.dir.path().join("walker.log"))
            .stdin(Stdio::null());
        // It asks no server, so it takes none.
        if words.first() != Some(&"status") {
            command.args(&self.settings);
        }
        command
    }
}

pub struct Server {
    process: Child,
    /// Where its parts are, as it told when it was ready.
    ready: Value,
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
        Self { process, ready, _said: said }
    }

    pub fn word(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap()
    }

    pub fn control(&self, what: &str) {
        ureq::post(format!("{}{what}", self.word("control"))).send_empty().unwrap();
    }

    pub fn stat(&self, name: &str) -> u64 {
        self.asked("stats")[name].as_u64().unwrap()
    }

    pub fn asked(&self, what: &str) -> Value {
        let mut reply = ureq::get(format!("{}{what}", self.word("control"))).call().unwrap();
        serde_json::from_str(&reply.body_mut().read_to_string().unwrap()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder of the servers, with what they need installed from its lock file.
fn install(folder: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(folder);
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (lock, installed) =
        (home.join("package-lock.json"), home.join("node_modules/.installed-lock"));
    if fs::read(&lock).ok() != fs::read(&installed).ok() {
        let status = Command::new("npm").arg("ci").current_dir(&home).status();
        assert!(status.expect("npm can be run").success(), "npm ci");
        fs::copy(&lock, &installed).unwrap();
    }
    home
}

/// Built beside the tests.
fn example(name: &str) -> PathBuf {
    let bin = Path::new(env!("CARGO_BIN_EXE_mcp-auth"));
    let example = bin.parent().unwrap().join("examples").join(name);
    assert!(example.exists(), "run `cargo build --examples -p mcp-auth-cli` first");
    example
}

fn node(home: &Path) -> PathBuf {
    home.join("node_modules/.bin/node")
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
