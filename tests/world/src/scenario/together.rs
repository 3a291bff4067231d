//! Several programs at the same time: each does one thing in turn, and time passes for all.

use std::time::Duration;

use mcp_auth::{AttemptId, Error, Event};

use super::Scenario;
use super::program::{Open, OpenState};
use crate::person::{Person, Visit};

/// No story is longer.
const MAX_ROUNDS: usize = 20_000;

impl Scenario {
    /// The programs that run, from the current one on.
    fn running(&self) -> Vec<usize> {
        let all = self.programs.len();
        let turn = |at: usize| (at + self.current) % all.max(1);
        (0..all).map(turn).filter(|at| self.programs[*at].is_some()).collect()
    }

    /// All programs that run do what they have to, one thing each in turn, until all only wait. No
    /// time passes: who wants a lock that another holds waits for it.
    pub fn run_together(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let everybody = self.running();
            let current = self.current;
            let moved = everybody.into_iter().filter(|at| self.switch_to(*at).one_thing()).count();
            self.current = current;
            if moved == 0 {
                return;
            }
        }
        panic!("the story doesn't end");
    }

    /// The same for so many seconds: whatever comes due in any program is done in time.
    pub fn together(&mut self, seconds: u64) {
        let end = self.mono + Duration::from_secs(seconds);
        loop {
            self.run_together();
            let next = self.next_deadline().filter(|next| *next <= end);
            self.pass(next.unwrap_or(end).saturating_sub(self.mono));
            if next.is_none() {
                return;
            }
            self.tick_together();
        }
    }

    /// The same until all these attempts have ended, however long it takes; how each did.
    pub fn settle_together(&mut self, attempts: &[(usize, AttemptId)]) -> Vec<Result<(), Error>> {
        for _ in 0..MAX_ROUNDS {
            self.run_together();
            let current = self.current;
            let running = attempts
                .iter()
                .any(|(at, attempt)| self.switch_to(*at).machine().is_running(*attempt));
            self.current = current;
            if !running {
                return attempts.iter().map(|(at, attempt)| self.ended(*at, *attempt)).collect();
            }
            let Some(next) = self.next_deadline() else { break };
            self.pass(next.saturating_sub(self.mono));
            self.tick_together();
        }
        panic!("the attempts don't end");
    }

    /// How this attempt of another program has ended.
    fn ended(&mut self, at: usize, attempt: AttemptId) -> Result<(), Error> {
        let current = std::mem::replace(&mut self.current, at);
        let failure = self.machine().failure(attempt).cloned();
        self.current = current;
        failure.map_or(Ok(()), Err)
    }

    /// Somebody goes back to the tab that was opened as this one, counted from 0, and does what
    /// this person does. `false`: the program that opened it does not listen any more.
    pub fn goes_back_to_tab(&mut self, tab: usize, person: &Person) -> bool {
        let url = self.browsed[tab].to_string();
        let Visit::Redirect(back) = self.world.visit(self.wall, &url, person) else {
            panic!("the browser does not come back from {url}")
        };
        let current = self.current;
        let listens = self.running().into_iter().find(|at| self.switch_to(*at).listens_at(&back));
        if let Some(at) = listens {
            self.switch_to(at);
            self.tickets += 1;
            let redirect = Open::redirect(self.tickets, back);
            self.program().open.push(redirect);
        }
        self.current = current;
        listens.is_some()
    }

    /// Takes all outputs; then the first thing goes on that can, if there is one.
    fn one_thing(&mut self) -> bool {
        self.drain();
        let free = self.store.is_free_for(self.current);
        let can = |open: &Open| {
            free || open.label != "lock" || !matches!(open.state, OpenState::Asked(_))
        };
        let Some(index) = self.program().open.iter().position(can) else { return false };
        match self.program().open[index].state {
            OpenState::Asked(_) => self.perform_at(index),
            OpenState::Answered(_) => {
                self.deliver_at(index);
                true
            }
        }
    }

    /// The first moment that any program waits for.
    fn next_deadline(&mut self) -> Option<Duration> {
        let current = self.current;
        let deadlines = self.running().into_iter().filter_map(|at| {
            let deadline = self.switch_to(at).drain()?;
            Some(self.program().started + deadline.0)
        });
        let next = deadlines.min();
        self.current = current;
        next
    }

    /// Tells all programs the time whose moment has come.
    fn tick_together(&mut self) {
        let current = self.current;
        for at in self.running() {
            let due = self.switch_to(at).drain();
            if due.is_some_and(|due| due <= self.now().mono) {
                self.handle(Event::Tick);
            }
        }
        self.current = current;
    }
}
