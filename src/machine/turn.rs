//! Turns: of the programs on one store that need a login, one asks its person. It says so in the
//! record, by a mark that it renews; the others wait for what comes of it.
//!
//! ```text
//! login: … ─▶ lock and read ─▶ save the mark, unlock ─▶ listen, register, ask ─▶ save tokens, end mark
//!                 │     ▲
//!    another asks │     │ it has given up, or is gone
//!                 ▼     │
//!            look every second ─▶ its tokens do, or its person said no
//! ```
//!
//! The exchange is free between two looks, and between two renewals of the mark: all else goes on. A
//! store that can't be read or written holds up nobody; then two programs may ask.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Error, ErrorKind};
use crate::event::Goal;
use crate::flow::Notes;
use crate::machine::AuthMachine;
use crate::machine::lane::{After, Change, Flight, Lane, LaneName, State, Want, Work};
use crate::machine::store::{Again, Loaded};
use crate::notice::Notice;
use crate::output::{Action, LoadCall, STORE_DEADLINE};
use crate::session::pending::{BEAT, Ended, PendingLogin, Sight, Watch};
use crate::session::record::Record;
use crate::time::{Mono, Now};

/// How often a program that waits looks.
const LOOK: Duration = Duration::from_secs(1);

/// Whose turn it is, as far as this program cares.
#[derive(Debug, Default)]
pub(super) enum Turn {
    #[default]
    Nobodys,
    /// Another program asks, and ours waits for that until this moment.
    Theirs(Watch, Mono),
    /// We ask; the mark is renewed at this moment.
    Ours(PendingLogin, Mono),
    /// We have asked. The next save takes the mark away, or leaves in it what others wait for.
    Over(PendingLogin),
}

/// Why the store is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glance {
    /// Does the other still ask? Without the lock.
    Look,
    /// To take the turn.
    Claim,
    /// To renew the mark.
    Beat,
}

impl Turn {
    /// Puts our mark into a record that is about to be saved. Another program's is left alone: it
    /// has taken our turn over.
    pub(super) fn sign(&self, record: &mut Record) {
        let there = &mut record.login;
        match self {
            Turn::Ours(mark, _) => {
                if there.as_ref().is_none_or(|t| t.is_of(mark) || !t.is_pending()) {
                    *there = Some(mark.clone());
                }
            }
            Turn::Over(mark) => {
                if there.as_ref().is_some_and(|t| t.is_of(mark)) {
                    *there = mark.ended().map(|_| mark.clone());
                }
            }
            Turn::Nobodys | Turn::Theirs(..) => {}
        }
    }

    fn is_ours(&self) -> bool {
        matches!(self, Turn::Ours(..))
    }

    /// A renewal of the mark is due: whether, and not again at once.
    pub(super) fn take_beat(&mut self, now: Mono) -> bool {
        match self {
            Turn::Ours(_, at) if *at <= now => {
                *at = now.plus(BEAT);
                true
            }
            _ => false,
        }
    }
}

impl AuthMachine {
    /// Reads the store for a turn.
    pub(super) fn glance(&mut self, now: Now, lane: Option<LaneName>, why: Glance) {
        let lock = why != Glance::Look;
        if lock && self.store.locked {
            // By a renewal that pauses: what was read then is what is there.
            return self.glanced(now, lane, why, Again::Same);
        }
        // The code that comes back from the browser doesn't wait for a beat.
        let patience = if why == Glance::Beat { BEAT } else { STORE_DEADLINE };
        let id = self.fly(now, patience, lane, Flight::Glance(why));
        self.act(Action::Load(LoadCall { id, lock, patience }));
    }

    pub(super) fn on_glance(
        &mut self,
        now: Now,
        lane: Option<LaneName>,
        why: Glance,
        loaded: Loaded,
    ) {
        if why != Glance::Look {
            self.store.locked = loaded.is_ok();
        }
        // Cancelled meanwhile.
        if lane.is_none() && !(why == Glance::Beat && self.turn.is_ours()) {
            return self.unlock_after(lane);
        }
        let again = self.read_again(now, loaded);
        self.glanced(now, lane, why, again);
    }

    fn glanced(&mut self, now: Now, lane: Option<LaneName>, why: Glance, again: Again) {
        match lane.and_then(|name| self.take_lane(name)) {
            Some(lane) => self.whose_turn(now, lane, why, again),
            None => self.beat(now, again),
        }
    }

    /// Whose turn is it?
    fn whose_turn(&mut self, now: Now, mut lane: Lane, why: Glance, again: Again) {
        let (mut watch, until) = match std::mem::take(&mut self.turn) {
            Turn::Theirs(watch, until) => (Some(watch), Some(until)),
            // Ours of an earlier login that could not be taken away.
            Turn::Over(mark) => {
                self.session.record.login.take_if(|there| there.is_of(&mark));
                (None, None)
            }
            Turn::Ours(..) | Turn::Nobodys => (None, None),
        };
        let mark = self.session.record.login.as_ref();
        let mut sight = Watch::look(&mut watch, mark, now.mono);
        if let (Again::Unreadable(error), Glance::Claim) = (again, why) {
            // Whoever has the lock may be the one that is waited for.
            if !(error.is_busy() && until.is_some()) {
                self.tell(Notice::Unannounced(error));
                self.take_turn(now);
                return self.claimed(now, lane);
            }
            sight = Sight::Asking;
        }
        if self.is_served(now, &lane, sight) {
            self.unlock_after(None);
            return self.settle(&lane, Ok(()));
        }
        match (sight, watch) {
            (Sight::Ended(Ended::Denied), _) => {
                self.unlock_after(None);
                self.settle(&lane, Err(ErrorKind::DeniedElsewhere.into()));
            }
            (Sight::Asking, Some(watch)) => {
                if until.is_none() {
                    self.tell(Notice::AskedElsewhere);
                }
                let patience = Duration::from_secs(self.config.login_timeout_seconds);
                self.turn = Turn::Theirs(watch, until.unwrap_or(now.mono.plus(patience)));
                lane.state = State::Waiting(now.mono.plus(LOOK));
                self.put_lane(lane);
                self.unlock_after(None);
            }
            // Only under the lock nobody else finds the same.
            (_, watch) if why == Glance::Look => {
                if let (Some(watch), Some(until)) = (watch, until) {
                    self.turn = Turn::Theirs(watch, until);
                }
                lane.state = State::Ready(Want::Glance(Glance::Claim));
                self.put_lane(lane);
            }
            _ => {
                self.take_turn(now);
                self.session.record.login = None;
                self.put_lane(lane);
                self.write(now, Some(LaneName::Login), Change::None, Some(After::Claimed));
            }
        }
    }

    fn take_turn(&mut self, now: Now) {
        let mark = PendingLogin::new(URL_SAFE_NO_PAD.encode(self.entropy.draw()));
        self.turn = Turn::Ours(mark, now.mono.plus(BEAT));
    }

    /// Whether the tokens that are there by now do. To who wants a new login only those of one that
    /// was waited for.
    fn is_served(&self, now: Now, lane: &Lane, sight: Sight) -> bool {
        let new = lane.demand.goal != Goal::Login || sight == Sight::Ended(Ended::Obtained);
        new && self.session.grant(now, &lane.demand.need, &self.config, false).is_some()
    }

    /// It is our turn, and others know it unless the store fails.
    pub(super) fn claimed(&mut self, now: Now, mut lane: Lane) {
        let Work::Login(login) = std::mem::replace(&mut lane.work, Work::Over) else { return };
        let wanted = self.session.wanted(&lane.demand.need);
        let mut notes = Notes::new();
        let turn = login.on_claimed(&self.session.record, wanted, now.wall, &mut notes);
        self.take_notes(notes);
        self.login_turned(now, lane, turn);
    }

    /// Renews our mark. Where we were taken for dead, that other program has the turn; but our login
    /// goes on, for a person may still come back from it, and theirs may serve us too.
    fn beat(&mut self, now: Now, again: Again) {
        // The next beat may find the store in a better state.
        if let Again::Unreadable(_) = again {
            return;
        }
        if let Again::Newer = again
            && let Some(lane) = self.login.take_if(|lane| !lane.must_be_seen_through())
        {
            if self.is_served(now, &lane, Sight::Nobody) {
                self.end_turn(Some(Ended::Obtained));
                self.settle(&lane, Ok(()));
            } else {
                self.put_lane(lane);
            }
        }
        if let Turn::Ours(mark, _) = &mut self.turn {
            let there = self.session.record.login.as_ref();
            if there.is_some_and(|there| !there.is_of(mark) && there.is_pending()) {
                return self.unlock_after(None);
            }
            mark.renewed();
        }
        self.write(now, None, Change::None, None);
    }

    /// We don't ask any more; whether we did.
    pub(super) fn end_turn(&mut self, how: Option<Ended>) -> bool {
        match std::mem::take(&mut self.turn) {
            Turn::Ours(mut mark, _) => {
                mark.end(how);
                self.turn = Turn::Over(mark);
                true
            }
            Turn::Over(mark) => {
                self.turn = Turn::Over(mark);
                false
            }
            Turn::Theirs(..) | Turn::Nobodys => false,
        }
    }

    /// The same, where no other save would tell the others.
    pub(super) fn leave_turn(&mut self, how: Option<Ended>) {
        // What is saved anyway does.
        if self.end_turn(how) && self.chores.is_empty() {
            self.chores.push_back(Change::None);
        }
    }

    /// Acts on the moments that have come for who waits.
    pub(super) fn on_time_to_look(&mut self, now: Now) {
        let within = Duration::from_secs(self.config.login_timeout_seconds);
        if let Turn::Theirs(_, until) = &self.turn
            && *until <= now.mono
            && let Some(lane) = self.login.take()
        {
            let error = ErrorKind::NobodyCame { within, earlier_client: None, client: None };
            return self.settle(&lane, Err(error.into()));
        }
        if let Some(lane) = &mut self.login
            && matches!(lane.state, State::Waiting(at) if at <= now.mono)
        {
            lane.state = State::Ready(Want::Glance(Glance::Look));
        }
    }

    /// When something is due for a turn.
    pub(super) fn turn_at(&self) -> Option<Mono> {
        match &self.turn {
            Turn::Theirs(_, until) => Some(*until),
            Turn::Ours(_, at) => Some(*at).filter(|_| self.exchange.is_none()),
            Turn::Nobodys | Turn::Over(_) => None,
        }
    }
}

/// What those who wait have to know of the end of a login.
pub(super) fn end_of(lane: &Lane, result: &Result<(), Error>) -> Option<Ended> {
    match result {
        Ok(()) if !lane.detached => Some(Ended::Obtained),
        Err(error) if error.is_refusal_by_person() => Some(Ended::Denied),
        _ => None,
    }
}
