//! The suite: installed from the lock, listed, and run one scenario at a time.
//!
//! Always in `--scenario` mode: in `--suite` mode the suite ignores the client's exit code.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::plan::Run;
use crate::process::{self, bounded};
use crate::verdict::{Evidence, Verdict};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CLIENT: &str = "conformance-client";
const INSTALL_LIMIT: Duration = Duration::from_secs(600);
const LIST_LIMIT: Duration = Duration::from_secs(60);
/// Over the guard's limit and over the suite's own.
const RUN_LIMIT: Duration = Duration::from_secs(60);

/// Builds our client and says where it is.
pub fn build_client() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "-p", env!("CARGO_PKG_NAME"), "--bin", CLIENT])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(ROOT)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo can't run: {error}"))?;
    if !built.status.success() {
        return Err(format!("{CLIENT} does not build"));
    }
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == CLIENT)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| format!("cargo does not say where {CLIENT} is"))
}

pub struct Suite {
    node: PathBuf,
    script: PathBuf,
    results: PathBuf,
    /// As the suite wants it: a line for the shell, to which the host's name and, by the suite, the
    /// server's URL are added.
    command: String,
}

impl Suite {
    /// Installs what `package-lock.json` says, unless that is what is there.
    pub fn install(client: &Path) -> Result<Self, String> {
        let root = Path::new(ROOT);
        let modules = root.join("node_modules");
        let suite = Self {
            node: modules.join(".bin/node"),
            script: modules.join("@modelcontextprotocol/conformance/dist/index.js"),
            results: results()?,
            command: command(client)?,
        };

        let text = |path: &Path| fs::read_to_string(path);
        let lock = text(&root.join("package-lock.json"))
            .map_err(|error| format!("package-lock.json can't be read: {error}"))?;
        // Written last, and `npm ci` begins by removing it: it vouches for a whole install.
        let stamp = modules.join(".installed-lock");
        if text(&stamp).is_ok_and(|installed| installed == lock) {
            return Ok(suite);
        }
        match bounded(Command::new("npm").arg("ci").current_dir(root), INSTALL_LIMIT) {
            Ok(Some(status)) if status.success() => {}
            Ok(Some(status)) => return Err(format!("npm ci ended with {status}")),
            Ok(None) => return Err("npm ci took too long".to_owned()),
            Err(error) => return Err(format!("npm can't run: {error}")),
        }
        fs::write(&stamp, lock).map_err(|error| format!("{}: {error}", stamp.display()))?;
        Ok(suite)
    }

    /// The client scenarios that the suite knows.
    pub fn list(&self) -> Result<String, String> {
        let log = self.results.join("list.txt");
        match self.call(["list", "--client"].as_ref(), &log, LIST_LIMIT)? {
            Some(0) => Ok(read(&log)),
            _ => Err(format!("the suite can't list its scenarios: {}", read(&log))),
        }
    }

    /// Makes one run and judges it.
    pub fn run(&self, run: &Run, adapter: &str) -> Verdict {
        self.evidence(run, adapter)
            .map_or_else(|error| Verdict::Failed(vec![error]), |left| Verdict::of(&left))
    }

    fn evidence(&self, run: &Run, adapter: &str) -> Result<Evidence, String> {
        if !adapter.chars().all(|c: char| c.is_ascii_alphanumeric() || c == '-') {
            return Err(format!("{adapter} is not the name of an adapter"));
        }
        let command = format!("{} --adapter {adapter}", self.command);
        let wire = run.wire.as_deref();
        let folder = self.results.join(adapter).join(&run.scenario);
        let folder = folder.join(wire.unwrap_or("default"));
        // Nothing of an earlier run may be read as this one's.
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;

        let log = folder.join("log.txt");
        let out = folder.to_string_lossy();
        let mut args = vec!["client", "--scenario", &run.scenario, "--output-dir", &out];
        args.extend(["--command", &command]);
        args.extend(wire.into_iter().flat_map(|wire| ["--spec-version", wire]));
        let code = self.call(&args, &log, RUN_LIMIT)?;

        let written = written(&folder);
        Ok(Evidence {
            code,
            checks: written.as_ref().and_then(|at| fs::read_to_string(at.join("checks.json")).ok()),
            log: read(&log),
            client: written.map(|at| read(&at.join("stderr.txt"))).unwrap_or_default(),
        })
    }

    /// Its exit code, or `None` if it was killed at the limit. A file takes what it says, so that
    /// no full pipe can stop it.
    fn call(&self, args: &[&str], log: &Path, limit: Duration) -> Result<Option<i32>, String> {
        let failed = |error| format!("{}: {error}", log.display());
        let out = File::create(log).map_err(failed)?;
        let err = out.try_clone().map_err(failed)?;
        let mut command = Command::new(&self.node);
        command.arg(&self.script).args(args).stdin(Stdio::null()).stdout(out).stderr(err);
        let ended = bounded(&mut command, limit)
            .map_err(|error| format!("{}: {error}", self.node.display()))?;
        // No code means that a signal ended it.
        Ok(ended.map(|status| status.code().unwrap_or(-1)))
    }
}

/// The client under this program's guard.
fn command(client: &Path) -> Result<String, String> {
    let guard = std::env::current_exe().map_err(|error| format!("who am I? {error}"))?;
    let quoted = |path: &Path| match path.to_str() {
        Some(text) if !text.contains(['"', '$', '`']) => Ok(format!("\"{text}\"")),
        _ => Err(format!("a shell would misread the path {}", path.display())),
    };
    Ok(format!("{} {} {}", quoted(&guard)?, process::WATCH, quoted(client)?))
}

/// Where results go: beside this program, which is in the target folder.
fn results() -> Result<PathBuf, String> {
    let folder = std::env::current_exe()
        .map_err(|error| format!("who am I? {error}"))?
        .with_file_name("conformance-results");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// The one folder `auth/NAME-TIME` that the suite makes for a run.
fn written(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder.join("auth")).ok()?.find_map(|entry| Some(entry.ok()?.path()))
}

/// The beginning of a text file, as well as it can be read.
fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(1 << 20).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
