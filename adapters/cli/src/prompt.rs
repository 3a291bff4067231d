//! How the person gets the URL, and how a pasted redirect comes back.

use std::io::{self, BufRead, Read};
use std::sync::Weak;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mcp_auth::Notice;
use mcp_auth::output::ShowCodeCall;
use mcp_auth_host::browser::{Browser, BrowserError, SystemBrowser};
use mcp_auth_host::system::has_terminal;
use mcp_auth_ureq::Session;

use crate::args::PersonArgs;
use crate::failure::Failure;
use crate::report::Report;

/// The most that is read from the terminal, in bytes.
const MAX_INPUT: u64 = 1 << 20;

const WAITING: &str = "Waiting for you to finish there (Ctrl-C to give up) …";

/// Shows the URL in the way that was asked for.
pub struct Prompt {
    report: Report,
    way: Way,
    /// Has the redirect read from the terminal, beside the listener.
    paste: Option<Sender<()>>,
}

enum Way {
    Open(SystemBrowser),
    Print,
}

/// The other end of a prompt that reads from the terminal.
pub struct Paste {
    report: Report,
    /// The browser is elsewhere: without the terminal nothing comes.
    alone: bool,
    asked: Receiver<()>,
    verdicts: Receiver<Verdict>,
}

/// What became of a redirect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Taken,
    Ignored,
}

/// Makes verdicts of notices.
#[derive(Clone)]
pub struct Verdicts(Option<Sender<Verdict>>);

impl Prompt {
    pub fn new(args: &PersonArgs, report: Report) -> (Self, Verdicts, Option<Paste>) {
        let print = args.no_browser || args.paste;
        let way = if print { Way::Print } else { Way::Open(SystemBrowser::new()) };
        if !args.paste && !has_terminal() {
            return (Self { report, way, paste: None }, Verdicts(None), None);
        }
        let (ask, asked) = channel();
        let (judge, verdicts) = channel();
        let paste = Paste { report, alone: args.paste, asked, verdicts };
        (Self { report, way, paste: Some(ask) }, Verdicts(Some(judge)), Some(paste))
    }
}

/// Shows a code, and where to enter it.
pub fn show_code(report: Report, code: &ShowCodeCall) {
    let (page, user_code) = (code.verification_uri(), code.user_code());
    report
        .say(format_args!("Open this address on any device:\n{page}\nEnter the code: {user_code}"));
    if let Some(complete) = code.verification_uri_complete() {
        report
            .say(format_args!("Or open this one, and see that the code is the same:\n{complete}"));
    }
    let minutes = code.expires_in().as_secs().div_ceil(60);
    report.say(format_args!("The code is good for {minutes} min. {WAITING}"));
}

impl Browser for Prompt {
    fn check(&self) -> Result<(), BrowserError> {
        match &self.way {
            Way::Open(browser) => browser.check(),
            Way::Print => Ok(()),
        }
    }

    fn open(&self, url: &str) -> Result<(), BrowserError> {
        match &self.way {
            Way::Open(browser) => {
                browser.open(url)?;
                self.report.say("Your browser opens; if it doesn't, try again with --no-browser.");
            }
            Way::Print => self.report.say(format_args!("Open this address in a browser:\n{url}")),
        }
        match &self.paste {
            Some(read) => {
                self.report.say(
                    "Should the browser end at a page that doesn't load, paste that page's address \
                     here:",
                );
                // The reader is there for as long as the command is.
                let _ = read.send(());
            }
            None => self.report.say(WAITING),
        }
        Ok(())
    }
}

impl Verdicts {
    pub fn hear(&self, notice: &Notice) {
        let verdict = match notice {
            Notice::Authorized | Notice::Failed(_) | Notice::ClientRejected { .. } => {
                Verdict::Taken
            }
            Notice::RedirectIgnored { .. } => Verdict::Ignored,
            _ => return,
        };
        if let Some(judge) = &self.0 {
            let _ = judge.send(verdict);
        }
    }
}

impl Paste {
    /// Reads lines from the terminal whenever the person has been asked, until one of them is the
    /// redirect, or the browser was faster. Where the browser is elsewhere, the end of the input is
    /// the end of the login.
    pub fn read_for(self, session: Weak<Session>) -> Result<(), Failure> {
        let read = move || {
            let mut lines = io::stdin().lock().take(MAX_INPUT).lines();
            while self.asked.recv().is_ok() {
                if !self.read_redirect(&mut lines, &session) {
                    if !self.alone {
                        return;
                    }
                    self.report.say("The input ended before the address came.");
                    return if let Some(session) = session.upgrade() {
                        session.cancel()
                    };
                }
            }
        };
        thread::Builder::new()
            .name("paste".into())
            .spawn(read)
            .map(drop)
            .map_err(|e| Failure::Machine(format!("the terminal can't be read: {e}")))
    }

    fn read_redirect(
        &self,
        lines: &mut impl Iterator<Item = io::Result<String>>,
        session: &Weak<Session>,
    ) -> bool {
        for line in lines.map_while(Result::ok) {
            let address = line.trim();
            if address.is_empty() {
                continue;
            }
            // Of what came before, e.g. through the listener.
            while self.verdicts.try_recv().is_ok() {}
            // None: the command has its result.
            let Some(session) = session.upgrade() else { return true };
            session.redirected(address.to_owned());
            drop(session);
            match self.verdicts.recv() {
                Ok(Verdict::Ignored) => self.report.say("That isn't the address. Paste it again:"),
                Ok(Verdict::Taken) | Err(_) => return true,
            }
        }
        false
    }
}
