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
    /// Those that have become another, and which.
    joined: Vec<(AttemptId, AttemptId)>,
    /// The last failures, the newest last.
    failures: VecDeque<(AttemptId, Error)>,
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
        self.joined.iter().find(|(id, _)| *id == attempt).map_or(attempt, |(_, other)| *other)
    }

    fn become_another(&mut self, attempt: AttemptId, other: AttemptId) {
        self.joined.iter_mut().filter(|(_, to)| *to == attempt).for_each(|(_, to)| *to = other);
        self.joined.push((attempt, other));
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
    pub(super) fn joined(&mut self, attempt: AttemptId, other: AttemptId) {
        if attempt == other {
            return;
        }
        let over: Vec<_> = self.attempts.joined.iter().map(|(_, other)| *other).collect();
        let over: Vec<_> = over.into_iter().filter(|other| !self.is_known(*other)).collect();
        self.attempts.joined.retain(|(_, other)| !over.contains(other));
        self.attempts.become_another(attempt, other);
    }

    fn is_known(&self, attempt: AttemptId) -> bool {
        self.is_running(attempt) || self.attempts.failure(attempt).is_some()
    }

    /// A command's attempt was never given out if it has joined another.
    pub(super) fn answer_with(&mut self, attempt: AttemptId) {
        let now = self.attempts.now(attempt);
        self.attempts.last = Some(now);
        self.attempts.joined.retain(|(id, _)| *id != attempt);
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
        let joined = &mut self.attempts.joined;
        if let Some(at) = joined.iter().position(|(id, _)| *id == attempt) {
            // The others go on.
            joined.remove(at);
        } else if let Some(at) = joined.iter().position(|(_, other)| *other == attempt) {
            let (heir, _) = joined.remove(at);
            self.attempts.joined.iter_mut().for_each(|(_, other)| {
                if *other == attempt {
                    *other = heir;
                }
            });
            let lanes = [&mut self.renewal, &mut self.login, &mut self.logout];
            let lanes = lanes.into_iter().flatten().map(|lane| &mut lane.attempt);
            let waiting = self.waiting.iter_mut().map(|(id, _)| id);
            lanes.chain(waiting).filter(|id| **id == attempt).for_each(|id| *id = heir);
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
}
