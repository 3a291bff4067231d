//! A cached login that can't be taken up for the time being: it is tried again as a renewal is, and no
//! person is asked meanwhile.
//!
//! ```text
//! taken up ◀── tried ──▶ fails: a pause inside the attempt, and it begins anew
//!                 ▲        │ tries or time used up
//!                 └──── quiet: callers get an error at once ──ceiling──▶ a login
//! ```
//!
//! Nobody's turn is held meanwhile. What is known of the trouble is saved, so that the other programs
//! and the next start heed it.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Fault};
use crate::event::{Demand, Goal};
use crate::machine::AuthMachine;
use crate::machine::lane::{After, Change, Lane, State, Want, Work};
use crate::notice::Notice;
use crate::session::trouble::{Phase, Setback, Trouble};
use crate::text::printable;
use crate::time::Now;

impl AuthMachine {
    /// Whether a login for this takes up the cached one.
    pub(super) fn restores(&self, demand: &Demand) -> bool {
        demand.goal == Goal::Token && self.cached.is_some() && self.session.record.tokens.is_none()
    }

    /// What keeps the cached login from being taken up.
    pub(super) fn hindrance(&self) -> Option<&Trouble> {
        let untaken = self.cached.is_some() && self.session.record.tokens.is_none();
        self.session.trouble().filter(|_| untaken)
    }

    /// A login has failed; whether that may pass, and what it was to take up is kept.
    pub(super) fn is_passing(&self, lane: &Lane, error: &Error) -> bool {
        error.fault() == Fault::Network && self.restores(&lane.demand)
    }

    /// It could not be taken up, and nothing was decided.
    pub(super) fn restore_failed(&mut self, now: Now, mut lane: Lane, error: Error) {
        let what = printable(&match error.kind() {
            ErrorKind::Passing { url, what, .. } => format!("{url}: {what}"),
            _ => error.to_string(),
        });
        let (before, retry) = (self.hindrance(), &self.config.retry);
        let lasted = self.session.trouble_lasted(now.mono);
        if before.is_some() && lasted >= Duration::from_secs(retry.give_up_seconds) {
            let lasted = lasted.as_secs();
            let why = format!("the cached login could not be taken up for {lasted} s: {what}");
            return self.not_restored(now, lane, &why);
        }
        let setback = Setback { what: what.clone(), asked: error.retry_in(), refused: false };
        let trouble = Trouble::after(before, lasted, setback, retry, now.wall);
        let after = trouble.wait();
        self.tell(Notice::Retrying { after, why: what });
        let error = self.still_failing(&trouble.what, after);
        let change = Change::Untaken(Box::new(trouble));
        lane.work = Work::Over;
        lane.state = State::Ready(Want::Save(change, After::Rest(error)));
        self.put_lane(lane);
    }

    /// It is not to be tried now, by what this program or another has met with.
    pub(super) fn is_too_early(&self, now: Now) -> Option<Error> {
        let what = &self.hindrance()?.what;
        Some(self.still_failing(what, self.session.retry_in(now.mono)?))
    }

    /// The attempt waits for the next try, or ends. Others may have their turn.
    pub(super) fn postpone(&mut self, now: Now, mut lane: Lane, error: Error) {
        let short = self.hindrance().is_some_and(|trouble| trouble.phase == Phase::Short);
        if !short || lane.detached {
            return self.settle(&lane, Err(error));
        }
        self.leave_turn(None);
        let left = self.session.retry_in(now.mono).unwrap_or_default();
        lane.work = Work::Postponed;
        lane.state = State::Paused(now.mono.plus(left));
        self.put_lane(lane);
    }

    /// It is of no use: everything begins anew without it.
    pub(super) fn not_restored(&mut self, now: Now, lane: Lane, why: &str) {
        self.cached = None;
        self.session.record.untaken = None;
        self.leave_turn(None);
        self.tell(Notice::NotRestored { why: why.to_owned() });
        self.log_in_instead(now, lane, why);
    }

    fn still_failing(&self, what: &str, retry_in: Duration) -> Error {
        let (url, what) = (printable(&self.session.site.text), what.to_owned());
        ErrorKind::Passing { url, what, retry_in }.into()
    }
}
