//! Turns: of the programs on one store that need a login, one asks its person. It says so in the
//! record, by a mark that it renews; the others wait for what comes of it.
//!
//! ```text
//! login: … ─▶ read, compare and swap ─▶ listen, register, ask ─▶ save the tokens, end the mark
//!                 │     ▲
//!    another asks │     │ it has given up, or is gone
//!                 ▼     │
//!            look every second ─▶ its tokens do, or its person said no
//! ```
//!
//! The comparison alone decides who is first: nobody's lock is waited for. The exchange is free between
//! two looks, and between two renewals of the mark: all else goes on. A store that can't be read or
//! written holds up nobody; then two programs may ask.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Error, ErrorKind};
use crate::event::{AttemptId, Demand, Goal};
use crate::flow::Notes;
use crate::flow::job::login_required;
use crate::machine::AuthMachine;
use crate::machine::lane::{After, Change, Flight, Lane, LaneName, State, Want, Work};
use crate::machine::store::{Again, Loaded};
use crate::notice::Notice;
use crate::output::{Action, LoadCall, STORE_DEADLINE};
use crate::session::pending::{BEAT, EarlierClient, Ended, LIFE, PendingLogin, Sight, Watch};
use crate::session::policy::Plan;
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
    /// We ask.
    Ours {
        mark: PendingLogin,
        /// When it is renewed.
        beat_at: Mono,
        /// How long others are told that we may be silent, and until when the mark lives by that.
        silence: Duration,
        lives: Mono,
        /// They were just told: what that is for is begun, whether or not it could be saved.
        announced: bool,
        /// Another program's tokens were found since.
        adopted: bool,
    },
    /// We have asked. The next save takes the mark away, or leaves in it what others wait for.
    Over {
        mark: PendingLogin,
        /// No other save does that.
        owed: bool,
    },
}

impl Turn {
    /// Puts our mark into a record that is about to be saved. Another program's is left alone: it
    /// has taken our turn over.
    pub(super) fn sign(&self, record: &mut Record) {
        let there = &mut record.login;
        match self {
            Turn::Ours { mark, .. } => {
                if there.as_ref().is_none_or(|t| t.is_of(mark) || !t.is_pending()) {
                    *there = Some(mark.clone());
                }
            }
            Turn::Over { mark, .. } => {
                if there.as_ref().is_some_and(|t| t.is_of(mark)) {
                    *there = mark.ended().map(|_| mark.clone());
                }
            }
            Turn::Nobodys | Turn::Theirs(..) => {}
        }
    }

    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Turn::Ours { .. })
    }

    /// Another program's tokens were found.
    pub(super) fn adopted(&mut self) {
        if let Turn::Ours { adopted, .. } = self {
            *adopted = true;
        }
    }

    /// The person was sent away, with that client.
    pub(super) fn sent(&mut self, client: Option<EarlierClient>) {
        if let Turn::Ours { mark, .. } = self {
            mark.sent = client;
        }
    }

    /// Others are still to be told that we don't ask any more.
    pub(super) fn is_owed(&self) -> bool {
        matches!(self, Turn::Over { owed: true, .. })
    }

    /// A save tells them.
    pub(super) fn paid(&mut self) {
        if let Turn::Over { owed, .. } = self {
            *owed = false;
        }
    }

    /// A renewal of the mark is due: whether, and not again at once. While the person is waited for, which
    /// may be long, it lives no longer than it must.
    pub(super) fn take_beat(&mut self, now: Mono, person: bool) -> bool {
        let due = match self {
            Turn::Ours { beat_at, silence, .. } => *beat_at <= now || person && !silence.is_zero(),
            _ => false,
        };
        if due {
            self.beat(now, Duration::ZERO);
        }
        due
    }

    /// We are about to be silent: whether others are to be told first, and not again at once.
    pub(super) fn falls_silent(&mut self, now: Mono, by: Duration) -> bool {
        let Turn::Ours { lives, announced, .. } = self else { return false };
        let late = !by.is_zero() && lives.plus(BEAT) < now.plus(by + LIFE);
        let untold = late && !std::mem::take(announced);
        *announced = untold;
        if untold {
            self.beat(now, by);
        }
        untold
    }

    fn beat(&mut self, now: Mono, by: Duration) {
        if let Turn::Ours { beat_at, silence, lives, .. } = self {
            *beat_at = now.plus(BEAT);
            (*silence, *lives) = (by, now.plus(by + LIFE));
        }
    }
}

impl AuthMachine {
    /// Before a save: whether it is still to be made, now that the store was read.
    pub(super) fn may_write(
        &mut self,
        now: Now,
        lane: Option<LaneName>,
        after: Option<After>,
    ) -> Option<Option<After>> {
        let goes_on = match &after {
            Some(After::Claimed) => match lane.and_then(|name| self.take_lane(name)) {
                Some(lane) => self.takes_turn(now, lane),
                // Cancelled meanwhile.
                None => false,
            },
            Some(After::Beat) => self.beats(now),
            Some(After::Send(_)) if lane == Some(LaneName::Renewal) => !self.is_elsewhere(),
            _ => return Some(after),
        };
        if goes_on {
            return Some(after);
        }
        self.store.conflicts = 0;
        self.unlock_after(lane);
        None
    }

    /// Looks whether another program's person has done what ours would be asked for.
    pub(super) fn look(&mut self, now: Now, lane: LaneName) {
        if self.store.locked {
            // By a renewal that pauses: nothing has changed.
            return self.looked(now, Some(lane), false);
        }
        let id = self.fly(now, STORE_DEADLINE, Some(lane), Flight::Look);
        self.act(Action::Load(LoadCall { id, lock: false, servers: Vec::new() }));
    }

    pub(super) fn on_look(&mut self, now: Now, lane: Option<LaneName>, loaded: Loaded) {
        if lane.is_none() {
            return;
        }
        // What can't be read is as it was, and has ended in the end.
        let again = loaded.map(|bytes| self.read_again(now, bytes, &mut Change::None));
        self.looked(now, lane, matches!(again, Ok(Again::Newer)));
    }

    fn looked(&mut self, now: Now, lane: Option<LaneName>, newer: bool) {
        let Some(mut lane) = lane.and_then(|name| self.take_lane(name)) else { return };
        if let Work::Looking(why) = &lane.work {
            return self.nobody_to_ask(now, lane.attempt, lane.demand, &why.clone(), newer);
        }
        let Turn::Theirs(watch, until) = std::mem::take(&mut self.turn) else {
            return self.put_lane(lane);
        };
        let (mut watch, until) = (Some(watch), until);
        let sight = Watch::look(&mut watch, self.session.record.login.as_ref(), now.mono);
        if let Some(result) = self.outcome(now, &lane, sight) {
            return self.settle(&lane, result);
        }
        if let Some(watch) = watch {
            self.turn = Turn::Theirs(watch, until);
        }
        lane.state = match sight {
            Sight::Asking => State::Waiting(now.mono.plus(LOOK)),
            _ => State::Ready(Want::Claim),
        };
        self.put_lane(lane);
    }

    /// Unless somebody has joined. `newer`: another program's tokens were found.
    fn nobody_to_ask(
        &mut self,
        now: Now,
        attempt: AttemptId,
        demand: Demand,
        why: &str,
        newer: bool,
    ) {
        if self.session.grant(now, &demand.need, &self.config, false).is_some() {
            return;
        }
        if demand.browser_welcome {
            return self.start_login(now, attempt, demand, why);
        }
        if newer && let Plan::Refresh = self.session.plan(now, &demand.need, &self.config) {
            return self.renew(now, attempt, demand);
        }
        let scopes = self.session.lacking(&demand.need);
        let there = self.session.record.login.as_ref();
        let elsewhere = there.is_some_and(PendingLogin::is_pending);
        self.fail(attempt, login_required(why, elsewhere, scopes));
    }

    /// Whose turn is it? If it is ours, the mark that says so is about to be saved.
    fn takes_turn(&mut self, now: Now, mut lane: Lane) -> bool {
        let (mut watch, until) = match std::mem::take(&mut self.turn) {
            Turn::Theirs(watch, until) => (Some(watch), Some(until)),
            // Of an earlier login, and it could not be taken away.
            Turn::Over { mark, .. } => {
                self.session.record.login.take_if(|there| there.is_of(&mark));
                (None, None)
            }
            // Somebody else was faster to save something.
            Turn::Ours { .. } | Turn::Nobodys => (None, None),
        };
        let sight = Watch::look(&mut watch, self.session.record.login.as_ref(), now.mono);
        if let Some(result) = self.outcome(now, &lane, sight) {
            self.settle(&lane, result);
            return false;
        }
        if let (Sight::Asking, Some(watch)) = (sight, watch) {
            if until.is_none() {
                self.tell(Notice::AskedElsewhere);
            }
            let patience = Duration::from_secs(self.config.login_timeout_seconds);
            self.turn = Turn::Theirs(watch, until.unwrap_or(now.mono.plus(patience)));
            lane.state = State::Waiting(now.mono.plus(LOOK));
            self.put_lane(lane);
            return false;
        }
        let gone = self.session.record.login.take().filter(PendingLogin::is_pending);
        if let Some(client) = gone.and_then(|gone| gone.sent) {
            self.session.record.suspect(&client);
        }
        self.take_turn(now);
        self.put_lane(lane);
        true
    }

    /// How a login ends that another program's has made needless.
    fn outcome(&self, now: Now, lane: &Lane, sight: Sight) -> Option<Result<(), Error>> {
        match sight {
            _ if self.is_served(now, lane, sight) => Some(Ok(())),
            Sight::Ended(Ended::Denied) => Some(Err(ErrorKind::DeniedElsewhere.into())),
            _ => None,
        }
    }

    fn take_turn(&mut self, now: Now) {
        let mark = PendingLogin::new(URL_SAFE_NO_PAD.encode(self.entropy.draw()));
        self.turn = Turn::Ours {
            mark,
            beat_at: now.mono.plus(BEAT),
            silence: Duration::ZERO,
            lives: now.mono.plus(LIFE),
            announced: false,
            adopted: false,
        };
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
        if !matches!(self.turn, Turn::Ours { .. }) {
            // The next beat may find the store in a better state.
            self.take_turn(now);
        }
        if login.restores()
            && let Some(error) = self.is_too_early(now)
        {
            return self.postpone(now, lane, error);
        }
        let wanted = self.session.wanted(&lane.demand.need);
        let mut notes = Notes::new();
        let turn = login.on_claimed(&self.session.record, wanted, now.wall, &mut notes);
        self.take_notes(notes);
        self.login_turned(now, lane, turn);
    }

    /// Tells other programs that we ask, or don't any more.
    pub(super) fn say_so(&mut self, now: Now, lane: Option<LaneName>, after: After) {
        if self.store.locked {
            // By a renewal that pauses: what it has read is what is there.
            return self.write(now, lane, Change::None, Some(after));
        }
        self.read_without_lock(now, lane, Change::None, Some(after));
    }

    /// Whether there is something to tell. Where we were taken for dead, another program has the turn;
    /// but our login goes on, for a person may still come back from it, and theirs may serve us too.
    fn beats(&mut self, now: Now) -> bool {
        self.turn.paid();
        let there = self.session.record.login.as_ref();
        let (mark, silence, adopted) = match &mut self.turn {
            Turn::Ours { mark, silence, adopted, .. } => (mark, *silence, adopted),
            Turn::Over { mark, .. } => return there.is_some_and(|there| there.is_of(mark)),
            Turn::Theirs(..) | Turn::Nobodys => return false,
        };
        mark.renewed(silence);
        let taken = there.is_some_and(|there| !there.is_of(mark) && there.is_pending());
        if std::mem::take(adopted)
            && let Some(lane) = self.login.take_if(|lane| !lane.must_be_seen_through())
        {
            if self.is_served(now, &lane, Sight::Nobody) {
                self.end_turn(Some(Ended::Obtained));
                self.settle(&lane, Ok(()));
            } else {
                self.put_lane(lane);
            }
        }
        !taken
    }

    /// We don't ask any more; whether we did.
    pub(super) fn end_turn(&mut self, how: Option<Ended>) -> bool {
        match std::mem::take(&mut self.turn) {
            Turn::Ours { mut mark, .. } => {
                mark.end(how);
                self.turn = Turn::Over { mark, owed: false };
                true
            }
            over @ Turn::Over { .. } => {
                self.turn = over;
                false
            }
            Turn::Theirs(..) | Turn::Nobodys => false,
        }
    }

    /// The save that brings what others wait for tells them so; until then we ask.
    pub(super) fn end_turn_with(&mut self, lane: Option<LaneName>, change: &Change) {
        if lane == Some(LaneName::Login) && matches!(change, Change::Tokens(..)) {
            self.end_turn(Some(Ended::Obtained));
        }
    }

    /// The same, where others are still to be told.
    pub(super) fn leave_turn(&mut self, how: Option<Ended>) {
        if self.end_turn(how)
            && let Turn::Over { owed, .. } = &mut self.turn
        {
            *owed = true;
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
            lane.state = State::Ready(Want::Look);
        }
    }

    /// When something is due for a turn.
    pub(super) fn turn_at(&self) -> Option<Mono> {
        match &self.turn {
            Turn::Theirs(_, until) => Some(*until),
            Turn::Ours { beat_at, .. } => Some(*beat_at).filter(|_| self.exchange.is_none()),
            Turn::Nobodys | Turn::Over { .. } => None,
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
