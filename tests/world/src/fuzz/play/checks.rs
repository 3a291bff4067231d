//! What comes out of a machine, and what must hold whenever it says that it waits.

use mcp_auth::output::Purpose;
use std::time::Duration;

use mcp_auth::output::{Action, Output};
use mcp_auth::{Event, TokenState};

use super::{MOST_OUTPUTS, Play, need};
use crate::fuzz::host::{self, Exchange, Pending, Prompt};
use crate::fuzz::op::NEEDS;
use crate::text::Form;

impl Play {
    /// Takes what comes out, and checks what must hold now.
    pub(super) fn settle(&mut self, at: usize) {
        self.drain(at);
        if self.programs[at].deadline.is_some_and(|deadline| deadline <= self.now.mono) {
            // Something fell due by the event itself, e.g. a login without patience.
            self.programs[at].machine.handle(self.now, Event::Tick);
            self.drain(at);
        }
        let (now, program) = (self.now, &mut self.programs[at]);
        assert!(program.deadline.is_none_or(|next| next > now.mono), "a tick changes nothing");
        self.secrets.assert_hidden("a machine", &format!("{:?}", program.machine));
        for (by, attempt) in &self.attempts {
            if *by == at && program.machine.is_running(*attempt) {
                assert!(program.deadline.is_some(), "an attempt that may wait for ever");
            }
            if *by == at
                && let Some(error) = program.machine.failure(*attempt)
            {
                let shown = format!("{error} {error:?} {:?} {}", error.fault(), error.advice());
                self.secrets.assert_hidden("an error", &shown);
            }
        }
        for which in 0..NEEDS.len() {
            match program.machine.token(now, &need(which as u8)) {
                TokenState::Ready(grant) => {
                    self.secrets.assert_hidden("a grant", &format!("{grant:?}"));
                    program.laws.lent(&grant, &self.configured, now.mono);
                    let mut foreign = http::Request::new(());
                    *foreign.uri_mut() =
                        http::Uri::from_static("https://mcp.example.com.stray.example/mcp");
                    assert!(grant.authorize(&mut foreign).is_err(), "a token for a stranger");
                    assert!(foreign.headers().is_empty(), "a token for a stranger");
                }
                TokenState::Pending(attempt) => {
                    assert!(program.machine.is_running(attempt), "waits for what doesn't run");
                }
                _ => {}
            }
        }
    }

    /// Law: outputs end with `Wait`, after a bounded number.
    pub(super) fn drain(&mut self, at: usize) {
        for _ in 0..MOST_OUTPUTS {
            let output = self.programs[at].machine.poll_output();
            self.secrets.assert_hidden("an output", &format!("{output:?}"));
            match output {
                Output::Wait(deadline) => return self.programs[at].deadline = deadline,
                Output::Do(action) => self.asked(at, action),
                Output::Tell(notice) => {
                    self.secrets.assert_hidden("a notice", &notice.to_string());
                }
                Output::Release => {
                    let owner = self.lock.take();
                    assert_eq!(owner.map(|(owner, _)| owner), Some(at), "released another's lock");
                }
                Output::Dismiss => {
                    // The listener of a login that has failed is kept for a late person: another
                    // login may have the turn by now.
                    let program = &mut self.programs[at];
                    program.has_turn &= !std::mem::take(&mut program.listens);
                }
                Output::Show { .. } => panic!("a page for nobody"),
                _ => {}
            }
        }
        panic!("it never waits");
    }

    /// Laws: one unanswered exchange, one unanswered prompt; and what each kind may hold.
    pub(super) fn asked(&mut self, at: usize, action: Action) {
        let (now, program) = (self.now, &mut self.programs[at]);
        let exchange = match action {
            Action::Load(call) => Exchange::Load(call),
            Action::Save(call) => {
                program.laws.saving(call.record(), now.mono.plus(call.deadline() + host::GRACE));
                Exchange::Save(call)
            }
            Action::Secret(call) => Exchange::Secret(call),
            Action::Key(call) => Exchange::Key(call),
            Action::Sign(call) => Exchange::Sign(call),
            Action::Http(call) => {
                self.secrets.assert_home(call.request(), call.purpose());
                let proves = matches!(
                    call.purpose(),
                    Purpose::Token | Purpose::Revocation | Purpose::PushedAuthorization
                );
                assert!(proves || call.certificate().is_none(), "shown at {call:?}");
                Exchange::Http(call)
            }
            Action::Listen(call) => {
                program.listens = true;
                return self.prompted(at, Prompt::Listen(call));
            }
            Action::Browse(call) => {
                let url = call.url().to_string();
                let query = url.split_once('?').map(|(_, query)| query).unwrap_or_default();
                self.secrets.read_state(&Form::parse(query.as_bytes()));
                let known = program.has_turn || program.misled;
                assert!(known, "a browser that the other program doesn't know of");
                program.opened = Some(url);
                return self.prompted(at, Prompt::Browse(call));
            }
            Action::ShowCode(call) => {
                self.secrets.add(call.user_code(), None);
                let known = program.has_turn || program.misled;
                assert!(known, "a code that the other program doesn't know of");
                return self.prompted(at, Prompt::ShowCode(call));
            }
            other => panic!("an action that nobody knows: {other:?}"),
        };
        self.calls += 1;
        let pending = Pending {
            due: now.mono.plus(exchange.patience()),
            call: exchange,
            number: self.calls,
            forgotten: false,
            late: false,
        };
        let before = program.exchange.replace(pending);
        assert!(before.is_none_or(|b| b.due <= now.mono), "two unanswered exchanges");
    }

    pub(super) fn prompted(&mut self, at: usize, call: Prompt) {
        let (now, program) = (self.now, &mut self.programs[at]);
        program.laws.assert_welcome(&program.machine);
        self.calls += 1;
        let person = Duration::from_secs(self.config.login_timeout_seconds);
        let due = now.mono.plus(call.patience(person));
        let number = self.calls;
        let pending = Pending { call, number, due, forgotten: false, late: false };
        let before = program.prompt.replace(pending);
        assert!(before.is_none_or(|b| b.due <= now.mono), "two unanswered prompts");
    }
}
