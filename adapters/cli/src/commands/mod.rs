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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use etcetera::BaseStrategy;
use mcp_auth::Notice;
use mcp_auth::output::Purpose;
use mcp_auth_host::secrets::{EnvSecrets, TOOLHIVE_PREFIX};
use mcp_auth_ureq::Session;

use self::store::{Logins, OneRun, Place};
use crate::args::{Args, Command, StoreArgs, Target};
use crate::demo;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::prompt::{Prompt, show_code};
use crate::report::Report;
use crate::settings::Chosen;

/// How long a command stays for what is still under way when it has its result.
const FAREWELL: Duration = Duration::from_secs(2);
/// And where a client's secret is being renewed: what the server answers, nobody else gets. Longer
/// than the store, the request and its deadline together take, as a rule.
const LONG_FAREWELL: Duration = Duration::from_secs(25);
/// And where a token request is out, whose answer may hold the only refresh token: longer than its
/// deadline, and than a second try.
const LONGEST_FAREWELL: Duration = Duration::from_secs(150);

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
    fn session(self, entry: &Place, chosen: Chosen) -> Result<Open, Failure> {
        let report = self.report;
        self.open(entry, chosen, None, move |notice| report.notice(notice))
    }

    /// The same, with a person at hand.
    fn session_with(self, entry: &Place, chosen: Chosen) -> Result<Open, Failure> {
        let report = self.report;
        let (prompt, verdicts, paste) = Prompt::new(&chosen.person, report);
        let interrupt = Interrupt::default();
        let armed = interrupt.clone();
        let open = self.open(entry, chosen, Some(prompt), move |notice| {
            report.notice(notice);
            verdicts.hear(notice);
            if matches!(notice, Notice::Browsing) {
                armed.arm();
            }
        })?;
        interrupt.belongs_to(&open.session);
        if let Some(paste) = paste {
            paste.read_for(Arc::downgrade(&open.session))?;
        }
        Ok(open)
    }

    fn open(
        self,
        entry: &Place,
        chosen: Chosen,
        prompt: Option<Prompt>,
        tell: impl Fn(&Notice) + Send + Sync + 'static,
    ) -> Result<Open, Failure> {
        let report = self.report;
        let (life, ended) = channel::<()>();
        let renews = Arc::new(AtomicBool::new(false));
        let spends = Arc::new(AtomicBool::new(false));
        let (renewing, spending) = (renews.clone(), spends.clone());
        let mut builder = Session::builder(entry.server())
            .config(chosen.config)
            .store(OneRun(entry.clone()))
            .secrets(EnvSecrets::new(["MCP_AUTH_SECRET_", TOOLHIVE_PREFIX]))
            .program_name("mcp-auth")
            .on_notice(move |notice| {
                let _ = &life;
                if matches!(notice, Notice::Asking { purpose: Purpose::Upkeep, .. }) {
                    renewing.store(true, Ordering::Relaxed);
                }
                match notice {
                    Notice::Asking { purpose: Purpose::Token, .. } => {
                        spending.store(true, Ordering::Relaxed);
                    }
                    Notice::Answered { purpose: Purpose::Token, .. } => {
                        spending.store(false, Ordering::Relaxed);
                    }
                    _ => {}
                }
                tell(notice);
            });
        if let Some(cached) = chosen.cached {
            builder = builder.restore(cached);
        }
        if let Some(prompt) = prompt {
            builder = builder.browser(prompt).show_code(move |code| {
                show_code(report, code);
                Ok(())
            });
        }
        if let Some(left) = self.left() {
            builder = builder.timeout(left);
        }
        Ok(Open {
            session: Arc::new(builder.build()?),
            _ended: Ended { ended, renews, spends, report },
        })
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
struct Ended {
    ended: Receiver<()>,
    renews: Arc<AtomicBool>,
    spends: Arc<AtomicBool>,
    report: Report,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let stays = |within| self.ended.recv_timeout(within) == Err(RecvTimeoutError::Timeout);
        if !stays(FAREWELL) {
            return;
        }
        if self.spends.load(Ordering::Relaxed) {
            self.report.say(format_args!(
                "waiting for the answer of the token endpoint: without it the login may be lost"
            ));
            let began = Instant::now();
            while self.spends.load(Ordering::Relaxed) && began.elapsed() < LONGEST_FAREWELL {
                if !stays(FAREWELL) {
                    return;
                }
            }
            // It is saved.
            if !stays(FAREWELL) {
                return;
            }
        }
        if self.renews.load(Ordering::Relaxed) {
            let _ = self.ended.recv_timeout(LONG_FAREWELL);
        }
    }
}

impl StoreArgs {
    fn open(&self) -> Result<Logins, Failure> {
        let dir = match &self.store {
            Some(dir) => dir.clone(),
            None => etcetera::base_strategy::choose_native_strategy()
                .map_err(|e| Failure::Usage(format!("no data directory: {e}; give --store")))?
                .data_dir()
                .join("mcp-auth"),
        };
        store::open(dir, self)
    }

    fn account(&self) -> &str {
        self.account.as_deref().unwrap_or("default")
    }
}

impl Target {
    fn entry(&self) -> Result<Place, Failure> {
        Ok(self.store.open()?.entry(&self.url.0, self.store.account()))
    }
}
