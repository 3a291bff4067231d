//! What every story needs: two servers, an empty store, and the command.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use mcp_auth_world::{AuthorizationServer, ExpiresIn, What};
use serde_json::Value;
use tempfile::TempDir;

use crate::servers::Servers;

pub struct Stage {
    pub servers: Servers,
    dir: TempDir,
}

/// A login in the words of another program.
pub struct Cached {
    pub client_id: String,
    pub refresh_token: String,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A command that is still running.
pub struct Running {
    pub child: Child,
    stderr: BufReader<ChildStderr>,
    heard: String,
}

impl Stage {
    pub fn new() -> Self {
        Self { servers: Servers::start().unwrap(), dir: tempfile::tempdir().unwrap() }
    }

    /// One where a person has logged in.
    pub fn logged_in() -> Self {
        let stage = Self::new();
        stage.run(&["login", stage.url()]).exits_with(0);
        stage
    }

    /// One whose token is as good as expired, as soon as another process looks at it.
    pub fn expired() -> Self {
        let stage = Self::new();
        stage.authorization(|server| server.expires_in = ExpiresIn::Zero);
        stage.run(&["login", stage.url()]).exits_with(0);
        stage
    }

    /// The servers go; what is stored stays as long as what is returned.
    pub fn close(self) -> TempDir {
        self.dir
    }

    pub fn url(&self) -> &str {
        &self.servers.mcp
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A file beside the store.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The command with this store, and a browser whose person does as the world says.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = plain(args);
        if args.first().is_some_and(|name| *name != "demo") {
            command.arg("--store").arg(self.store());
        }
        command.env("BROWSER", walker());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    pub fn start(&self, args: &[&str]) -> Running {
        start(&mut self.command(args))
    }

    /// The same with another browser.
    #[cfg(unix)]
    pub fn start_with_browser(&self, args: &[&str], browser: &str) -> Running {
        start(self.command(args).env("BROWSER", browser))
    }

    /// The browser that commands are given.
    #[cfg(unix)]
    pub fn browser(&self) -> PathBuf {
        walker()
    }

    /// The login in the store, as another program would keep it.
    pub fn cached_login(&self) -> Cached {
        let files = std::fs::read_dir(self.store()).unwrap();
        let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        let text = texts.into_iter().find(|text| text.contains("refresh_token")).unwrap();
        let field = |name: &str| {
            let (_, rest) = text.split_once(&format!("\"{name}\":\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        Cached { client_id: field("client_id"), refresh_token: field("refresh_token") }
    }

    pub fn count(&self, what: What) -> usize {
        self.servers.world().count(what)
    }

    pub fn newest_token(&self) -> String {
        self.servers.world().newest_access_token().unwrap().to_owned()
    }

    /// Changes the authorization server.
    pub fn authorization(&self, change: impl FnOnce(&mut AuthorizationServer)) {
        change(self.servers.world().authorization.first_mut().unwrap());
    }
}

/// The command without a store or browser of a stage; it never hangs.
pub fn plain(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-auth"));
    command.args(args).stdin(Stdio::null());
    for name in ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"] {
        command.env_remove(name);
    }
    if !args.contains(&"--timeout") && args.first().is_some_and(|name| !name.starts_with('-')) {
        command.args(["--timeout", "30"]);
    }
    command
}

pub fn run(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
}

fn start(command: &mut Command) -> Running {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    Running { child, stderr, heard: String::new() }
}

/// Built beside the tests: see examples/walker.rs.
fn walker() -> PathBuf {
    let bin = Path::new(env!("CARGO_BIN_EXE_mcp-auth"));
    let name = format!("walker{}", std::env::consts::EXE_SUFFIX);
    let walker = bin.parent().unwrap().join("examples").join(name);
    assert!(walker.exists(), "run `cargo build --examples -p mcp-auth-cli` first");
    walker
}

impl Ran {
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in {self:#?}");
        self
    }

    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "{text:?} is not in {self:#?}");
        self
    }

    #[track_caller]
    pub fn prints_nothing(self) -> Self {
        assert_eq!(self.stdout, "", "{self:#?}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

impl Running {
    /// This command, started.
    pub fn of(command: &mut Command) -> Self {
        start(command)
    }

    /// Reads stderr up to a line that holds `text`, and returns that line.
    #[track_caller]
    pub fn hear(&mut self, text: &str) -> String {
        self.hear_one_of(&[text])
    }

    #[track_caller]
    pub fn hear_one_of(&mut self, texts: &[&str]) -> String {
        loop {
            let mut line = String::new();
            self.stderr.read_line(&mut line).unwrap();
            assert!(!line.is_empty(), "none of {texts:?} was said: {}", self.heard);
            self.heard.push_str(&line);
            if texts.iter().any(|text| line.contains(text)) {
                return line.trim().to_owned();
            }
        }
    }

    /// The address that the person is sent to.
    pub fn address(&mut self) -> String {
        self.hear("/authorize?")
    }

    pub fn ends(mut self) -> Ran {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.stderr, &mut rest).unwrap();
        let Output { status, stdout, .. } = self.child.wait_with_output().unwrap();
        let stdout = String::from_utf8(stdout).unwrap();
        Ran { code: status.code().unwrap(), stdout, stderr: self.heard + &rest }
    }
}
