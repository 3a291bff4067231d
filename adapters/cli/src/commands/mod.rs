//! What is done, one file per command, and what the commands share.

mod inspect;
mod login;
mod logout;
mod request;
mod status;
mod store;
mod token;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use etcetera::BaseStrategy;
use mcp_auth::{Config, Notice};
use mcp_auth_host::secrets::{EnvSecrets, TOOLHIVE_PREFIX};
use mcp_auth_host::store::{Entry, FileStore};
use mcp_auth_ureq::Session;

use self::store::OneRun;
use crate::args::{Args, Command, PersonArgs, StoreArgs, Target};
use crate::demo;
use crate::failure::{Exit, Failure};
use crate::prompt::Prompt;
use crate::report::Report;

/// How long a command stays for what is still under way when it has its result.
const FAREWELL: Duration = Duration::from_secs(2);

/// Does what was asked for, and tells what came of it.
pub fn run(args: Args) -> Exit {
    let output = args.output;
    let report = Report { json: output.json, verbose: output.verbose };
    let limit = output.timeout.map(Duration::from_secs);
    let call = Call { report, started: Instant::now(), limit };
    let result = match &args.command {
        Command::Login(args) => login::run(args, call),
        Command::Token(args) => token::run(args, call),
        Command::Request(args) => request::run(args, call),
        Command::Status(args) => status::run(args, call),
        Command::Logout(args) => logout::run(args, call),
        Command::Inspect(args) => inspect::run(args, call),
        Command::Demo(args) => demo::run(args, report),
    };
    result.unwrap_or_else(|failure| report.failure(&failure))
}

/// One run of a command.
#[derive(Clone, Copy)]
struct Call {
    report: Report,
    started: Instant,
    limit: Option<Duration>,
}

impl Call {
    /// A session that tells its steps as `-v` wants them.
    fn session(self, entry: &Entry, config: Config) -> Result<Open, Failure> {
        let report = self.report;
        self.open(entry, config, None, move |notice| report.notice(notice))
    }

    /// The same, with a person at hand.
    fn session_with(
        self,
        entry: &Entry,
        config: Config,
        person: &PersonArgs,
    ) -> Result<Open, Failure> {
        let report = self.report;
        let (prompt, verdicts, paste) = Prompt::new(person, report);
        let open = self.open(entry, config, Some(prompt), move |notice| {
            report.notice(notice);
            verdicts.hear(notice);
        })?;
        if let Some(paste) = paste {
            paste.read_for(Arc::downgrade(&open.session))?;
        }
        Ok(open)
    }

    fn open(
        self,
        entry: &Entry,
        config: Config,
        prompt: Option<Prompt>,
        tell: impl Fn(&Notice) + Send + Sync + 'static,
    ) -> Result<Open, Failure> {
        let (life, ended) = channel::<()>();
        let mut builder = Session::builder(entry.server())
            .config(config)
            .store(OneRun(entry.clone()))
            .secrets(EnvSecrets::new(["MCP_AUTH_SECRET_", TOOLHIVE_PREFIX]))
            .program_name("mcp-auth")
            .on_notice(move |notice| {
                let _ = &life;
                tell(notice);
            });
        if let Some(prompt) = prompt {
            builder = builder.browser(prompt);
        }
        if let Some(left) = self.left() {
            builder = builder.timeout(left);
        }
        Ok(Open { session: Arc::new(builder.build()?), _ended: Ended(ended) })
    }

    /// What is left of `--timeout`, in whole seconds, for it is told to people.
    fn left(self) -> Option<Duration> {
        let left = self.limit?.saturating_sub(self.started.elapsed());
        Some(Duration::from_secs(left.as_millis().div_ceil(1000) as u64))
    }
}

/// A session for the time of a command.
struct Open {
    // The order matters: the session is let go, then its end is waited for.
    session: Arc<Session>,
    _ended: Ended,
}

impl Deref for Open {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

/// Waits, when dropped, for what a session still does when its callers have left: the page that a
/// browser is being shown, the answer to a token request. The other end of the channel belongs to
/// the session, and goes with it.
struct Ended(Receiver<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.recv_timeout(FAREWELL);
    }
}

impl StoreArgs {
    fn open(&self) -> Result<FileStore, Failure> {
        let dir = match &self.store {
            Some(dir) => dir.clone(),
            None => etcetera::base_strategy::choose_native_strategy()
                .map_err(|e| Failure::Usage(format!("no data directory: {e}; give --store")))?
                .data_dir()
                .join("mcp-auth"),
        };
        Ok(FileStore::open(dir)?)
    }

    fn account(&self) -> &str {
        self.account.as_deref().unwrap_or("default")
    }
}

impl Target {
    fn entry(&self) -> Result<Entry, Failure> {
        Ok(self.store.open()?.entry(&self.url.0, self.store.account()))
    }
}
