//! Attempts: what callers wait for. Two that want the same share one; where one has become the
//! other's only after it was given out, it goes by the other's name from then on.

use std::collections::VecDeque;

use crate::error::{Error, ErrorKind};
use crate::event::AttemptId;
use crate::machine::AuthMachine;
use crate::machine::lane::Lane;
use crate::notice::Notice;

/// More than attempts that can end in the same moment.
const MAX_FAILURES: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// The one that the last command began or joined.
    pub(super) last: Option<AttemptId>,
    /// Those that have become another.
    joined: Vec<Joined>,
    /// The last failures, the newest last.
    failures: VecDeque<(AttemptId, Error)>,
}

#[derive(Debug)]
struct Joined {
    attempt: AttemptId,
    /// What it goes by.
    other: AttemptId,
    /// Whether who waits for it welcomes a browser: that ends with the wait.
    welcome: bool,
}

impl Attempts {
    pub(super) fn failure(&self, attempt: AttemptId) -> Option<&Error> {
        let of = |attempt| self.failures.iter().find(|(id, _)| *id == attempt);
        of(attempt).or_else(|| of(self.now(attempt))).map(|(_, error)| error)
    }

    pub(super) fn last_failure(&self) -> Option<&(AttemptId, Error)> {
        self.failures.back()
    }

    /// What it goes by.
    fn now(&self, attempt: AttemptId) -> AttemptId {
        self.joined.iter().find(|it| it.attempt == attempt).map_or(attempt, |it| it.other)
    }

    fn take(&mut self, is_it: impl Fn(&Joined) -> bool) -> Option<Joined> {
        let at = self.joined.iter().position(is_it)?;
        Some(self.joined.remove(at))
    }

    /// Whoever went by `attempt` goes by `other`.
    fn rename(&mut self, attempt: AttemptId, other: AttemptId) {
        let those = self.joined.iter_mut().filter(|it| it.other == attempt);
        those.for_each(|it| it.other = other);
    }
}

impl AuthMachine {
    pub(super) fn new_attempt(&mut self) -> AttemptId {
        let attempt = AttemptId(self.next_id());
        self.attempts.last = Some(attempt);
        attempt
    }

    /// Whether this attempt is still on its way.
    pub fn is_running(&self, attempt: AttemptId) -> bool {
        let attempt = self.attempts.now(attempt);
        self.waiting.as_ref().is_some_and(|(id, _)| *id == attempt)
            || self.lanes().any(|lane| lane.attempt == attempt && !lane.detached)
    }

    /// One has joined another: a command's own, which nobody has seen yet, or an earlier one.
    pub(super) fn joined(&mut self, attempt: AttemptId, other: AttemptId, welcome: bool) {
        if attempt == other {
            return;
        }
        let mut joined = std::mem::take(&mut self.attempts.joined);
        joined.retain(|it| self.is_known(it.other));
        joined.push(Joined { attempt, other, welcome });
        self.attempts.joined = joined;
        self.attempts.rename(attempt, other);
    }

    fn is_known(&self, attempt: AttemptId) -> bool {
        self.is_running(attempt) || self.attempts.failure(attempt).is_some()
    }

    /// A command's attempt was never given out if it has joined another.
    pub(super) fn answer_with(&mut self, attempt: AttemptId) {
        self.attempts.last = Some(self.attempts.now(attempt));
        if let Some(joined) = self.attempts.take(|it| it.attempt == attempt) {
            let lanes = self.lanes_mut().filter(|lane| lane.attempt == joined.other);
            lanes.for_each(|lane| lane.welcome |= joined.welcome);
        }
    }

    pub(super) fn fail(&mut self, attempt: AttemptId, error: Error) {
        self.tell(Notice::Failed(error.clone()));
        self.attempts.failures.push_back((attempt, error));
        if self.attempts.failures.len() > MAX_FAILURES {
            self.attempts.failures.pop_front();
        }
    }

    /// The demander has lost interest. What a server has made, or is making, for us is seen through.
    pub(super) fn on_cancel(&mut self, attempt: AttemptId) {
        if !self.is_running(attempt) {
            return;
        }
        if let Some(left) = self.attempts.take(|it| it.attempt == attempt) {
            self.count_welcomes(left.other);
        } else if let Some(heir) = self.attempts.take(|it| it.other == attempt) {
            self.inherit(attempt, &heir);
            self.count_welcomes(heir.attempt);
        } else {
            let is_its = |lane: &&Lane| lane.attempt == attempt && !lane.detached;
            let name = self.lanes().find(is_its).map(|lane| lane.name);
            match name {
                Some(name) => self.detach(name),
                None => self.waiting = None,
            }
        }
        self.fail(attempt, ErrorKind::Cancelled.into());
    }

    /// One that has joined goes on in the place of the one that it has joined.
    fn inherit(&mut self, from: AttemptId, heir: &Joined) {
        self.attempts.rename(from, heir.attempt);
        let waiting = self.waiting.iter_mut().filter(|(id, _)| *id == from);
        waiting.for_each(|(id, _)| *id = heir.attempt);
        for lane in self.lanes_mut().filter(|lane| lane.attempt == from) {
            (lane.attempt, lane.welcome) = (heir.attempt, heir.welcome);
        }
    }

    /// Who has left welcomes nothing any more.
    fn count_welcomes(&mut self, attempt: AttemptId) {
        let mut joined = self.attempts.joined.iter().filter(|it| it.other == attempt);
        let joined = joined.any(|it| it.welcome);
        for lane in self.lanes_mut().filter(|lane| lane.attempt == attempt) {
            lane.set_welcome(lane.welcome || joined);
        }
    }

    fn lanes_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.renewal.iter_mut().chain(&mut self.login).chain(&mut self.logout)
    }
}
