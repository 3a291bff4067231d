//! Saves: how a change gets into the store, and nothing of anybody else's is lost there.
//!
//! ```text
//! lock and read ─▶ compare and swap ─▶ saved: now it is lent
//!       │              │    ▲
//!       │ busy         ▼    │ again, a few times
//!       └─────▶ read without the lock
//! ```
//!
//! The lock keeps programs from doing the same work twice; a login that has its turn is alone at it, and
//! does without. That nothing newer is overwritten rests on
//! the comparison alone: a program that is stopped while it holds the lock is overtaken by those who
//! have waited for it in vain.

use crate::error::ErrorKind;
use crate::flow::Notes;
use crate::machine::AuthMachine;
use crate::machine::answer::ready;
use crate::machine::lane::{After, Base, Change, Flight, Lane, LaneName, Work};
use crate::machine::overtake::elsewhere;
use crate::machine::store::{Again, Loaded, Unsaveable};
use crate::output::{Action, HostError, LoadCall, STORE_DEADLINE, SaveCall};
use crate::session::Recovery;
use crate::time::Now;

impl AuthMachine {
    /// Saves what another process has left there, too, for what is in memory may be older: under the lock, or, for
    /// who asks a person, by compare and swap alone.
    pub(super) fn save(
        &mut self,
        now: Now,
        lane: Option<LaneName>,
        change: Change,
        after: Option<After>,
    ) {
        // They have just read what is there, with the lock or after they had waited for it.
        let lockless = match lane {
            Some(LaneName::Logout) => true,
            Some(LaneName::Renewal) => self.renewal.as_ref().is_some_and(|lane| lane.lockless),
            Some(LaneName::Login) | None => false,
        };
        if self.store.locked || lockless {
            return self.write(now, lane, change, after);
        }
        if lane != Some(LaneName::Renewal) && self.turn.is_ours() {
            // Whoever asks a person waits for nobody's lock: others would take it for dead.
            return self.read_without_lock(now, lane, change, after);
        }
        let id = self.fly(now, STORE_DEADLINE, lane, Flight::Lock(change, after));
        self.act(Action::Load(LoadCall { id, lock: true, servers: Vec::new() }));
    }

    pub(super) fn on_locked(
        &mut self,
        now: Now,
        lane: Option<LaneName>,
        mut change: Change,
        after: Option<After>,
        loaded: Loaded,
    ) {
        self.store.locked = loaded.is_ok();
        match loaded {
            _ if matches!(change, Change::Void) => self.unlock_after(lane),
            Ok(bytes) => {
                self.read_again(now, bytes, &mut change);
                self.is_not_in_vain();
                self.write(now, lane, change, after);
            }
            Err(error) if error.is_busy() => {
                // Whoever holds the lock may hang; but first it is to be waited for.
                let spends = |lane: &mut Lane| {
                    matches!((&after, &lane.work), (Some(After::Send(_)), Work::Refreshing(..)))
                };
                match self.renewal.take_if(spends) {
                    Some(renewal) => self.waited_in_vain(now, renewal, error),
                    None => self.read_without_lock(now, lane, change, after),
                }
            }
            Err(error) => self.write_unread(now, lane, change, after, error),
        }
    }

    pub(super) fn read_without_lock(
        &mut self,
        now: Now,
        lane: Option<LaneName>,
        change: Change,
        after: Option<After>,
    ) {
        let id = self.fly(now, STORE_DEADLINE, lane, Flight::Again(change, after));
        self.act(Action::Load(LoadCall { id, lock: false, servers: Vec::new() }));
    }

    pub(super) fn on_again(
        &mut self,
        now: Now,
        lane: Option<LaneName>,
        mut change: Change,
        after: Option<After>,
        loaded: Loaded,
    ) {
        let leaves = |logout: &mut Lane| {
            lane == Some(LaneName::Logout) && matches!(logout.work, Work::Leaving(..))
        };
        if let Some(logout) = self.logout.take_if(leaves) {
            return self.left_with(now, logout, loaded);
        }
        let overtakes = |renewal: &mut Lane| {
            lane == Some(LaneName::Renewal) && matches!(renewal.work, Work::Overtaking(_))
        };
        if let Some(renewal) = self.renewal.take_if(overtakes) {
            return self.overtake(now, renewal, loaded);
        }
        let bytes = match loaded {
            _ if matches!(change, Change::Void) => return self.unlock_after(lane),
            Ok(bytes) => bytes,
            Err(error) if error.is_silent() && matches!(change, Change::Resent) => {
                return self.is_not_resent(error);
            }
            // Whoever can't read the disk goes on as it has begun.
            Err(_) if matches!(change, Change::Resent) => return self.spend(now, lane, after),
            Err(_) if self.store.doubt => {
                return self.on_saved(now, lane, change, after, Err(HostError::silent()));
            }
            // It is tried again.
            Err(error) if self.store.conflicts > 0 => {
                self.store.conflicts = 0;
                return self.on_saved(now, lane, change, after, Err(error));
            }
            Err(error) => return self.write_unread(now, lane, change, after, error),
        };
        match (self.read_again(now, bytes, &mut change), after) {
            // Newer tokens of the login that is being ended: they are to end as well.
            (Again::Doomed(doomed), Some(After::LoggedOut(report))) if !doomed.known => {
                self.leave_again(now, doomed.record, *report);
            }
            (_, after) if self.is_marked(&change) => self.spend(now, lane, after),
            (_, _) if matches!(change, Change::Resent) => self.is_not_resent(elsewhere()),
            (_, after) => self.write(now, lane, change, after),
        }
    }

    /// The store can't be read. Neither a logout nor new tokens wait until that is mended.
    fn write_unread(
        &mut self,
        now: Now,
        lane: Option<LaneName>,
        change: Change,
        after: Option<After>,
        error: HostError,
    ) {
        match &change {
            Change::Forget => {}
            Change::Tokens(..) if self.store.revision.is_some() => {}
            _ => return self.on_saved(now, lane, change, after, Err(error)),
        }
        self.write(now, lane, change, after);
    }

    pub(super) fn write(
        &mut self,
        now: Now,
        lane: Option<LaneName>,
        mut change: Change,
        after: Option<After>,
    ) {
        let Some(after) = self.may_write(now, lane, after) else { return };
        self.end_turn_with(lane, &change);
        if let Change::Sent(_, mark) = &mut change {
            mark.lockless = !self.store.locked;
        }
        let mut record = self.session.record.clone();
        change.clone().apply(&mut record);
        self.turn.sign(&mut record);
        self.turn.paid();
        let record = (!record.is_blank()).then(|| record.to_bytes());
        let bytes = record.as_ref().map(|bytes| bytes.expose().as_slice());
        let forgets = matches!(change, Change::Forget);
        let expected = self.store.writes(now.wall, bytes, forgets);
        let id = self.fly(now, STORE_DEADLINE, lane, Flight::Save(change, after));
        // Who logs out wants nothing kept.
        let set_aside = self.store.damaged && record.is_some();
        self.act(Action::Save(SaveCall { id, record, expected, set_aside }));
    }

    /// Save before lend: only now does the change become visible, whether or not it was saved.
    pub(super) fn on_saved(
        &mut self,
        now: Now,
        lane: Option<LaneName>,
        change: Change,
        after: Option<After>,
        result: Result<(), HostError>,
    ) {
        // Whoever was stopped meanwhile counts as dead, and another refreshes in its place.
        let silent = result.as_ref().is_err_and(HostError::is_silent);
        let looked_up = std::mem::take(&mut self.store.doubt);
        if silent && !looked_up && matches!(change, Change::Sent(..)) {
            self.store.doubt = true;
            return self.read_without_lock(now, lane, change, after);
        }
        self.end_turn_with(lane, &change);
        let again = self.store.written(&result);
        if matches!(change, Change::Void) {
            self.store.overtaken(&result);
            return self.unlock_after(lane);
        }
        if again {
            return self.read_without_lock(now, lane, change, after);
        }
        // Who doesn't know what is stored may not spend it.
        let lockless = self.renewal.as_ref().is_some_and(|lane| lane.lockless);
        let unsure = |error: &HostError| error.is_conflict() || error.is_silent() || lockless;
        let mut unsent = false;
        let change = match change {
            Change::Sent(_, mark) if result.as_ref().is_err_and(unsure) => {
                unsent = true;
                self.store.unused = Some(mark.by);
                Change::None
            }
            change => change,
        };
        let brought = matches!(change, Change::Tokens(..));
        let what = Unsaveable {
            login: matches!(change, Change::Tokens(Base::Any, ..)),
            renewal: matches!(
                change,
                Change::Tokens(..)
                    | Change::Sent(..)
                    | Change::Trouble(..)
                    | Change::Rotated(..)
                    | Change::GiveUp(..)
                    | Change::EndGrant { .. }
            ),
        };
        let mut record = self.session.record.clone();
        change.apply(&mut record);
        self.turn.sign(&mut record);
        let obtained = brought && record.generation() != self.session.record.generation();
        let notice = self.store.answered(now, result.clone(), &record, what);
        self.session.adopt(now, record, obtained);
        self.take_notes(notice);
        self.unlock_after(lane);
        let Some(mut lane) = lane.and_then(|name| self.take_lane(name)) else { return };
        match (after, std::mem::replace(&mut lane.work, Work::Over)) {
            (Some(After::Kept), Work::Login(login)) => {
                let mut notes = Notes::new();
                let turn = login.on_kept(now.wall, &mut notes);
                self.take_notes(notes);
                self.login_turned(now, lane, turn);
            }
            (Some(After::Claimed), work) => {
                lane.work = work;
                self.claimed(now, lane);
            }
            (Some(After::LogIn(why)), _) => self.log_in_instead(now, lane, &why),
            // Read again for this save, the store may have held another state of the client.
            (Some(After::Send(ask)), Work::Upkeep(Some(upkeep), then))
                if result.is_ok() && self.session.record.knows(upkeep.client()) =>
            {
                lane.work = Work::Upkeep(Some(upkeep), then);
                lane.state = ready(now, ask);
                self.put_lane(lane);
            }
            (Some(After::Send(_)), Work::Upkeep(_, then)) => {
                self.look_after(now, lane, None, then);
            }
            (Some(After::Upkept(wish)), Work::Upkeep(_, then)) => {
                self.look_after(now, lane, wish, then);
            }
            (Some(After::Send(_)), Work::Refreshing(..))
                if let (true, Err(error)) = (unsent, &result) =>
            {
                self.session.acquit();
                self.settle(&lane, Err(ErrorKind::Store(error.clone()).into()));
            }
            (after @ Some(After::Send(_)), work @ Work::Refreshing(..)) => {
                lane.work = work;
                let name = Some(lane.name);
                self.put_lane(lane);
                self.spend(now, name, after);
            }
            (Some(After::Rest(error)), _) if lane.name == LaneName::Login => {
                self.postpone(now, lane, error);
            }
            (Some(After::Rest(error)), _) => self.rest(now, lane, error),
            (Some(After::Failed(error)), _) => self.settle(&lane, Err(error)),
            (Some(After::LoggedOut(report)), _) => {
                self.logged_out_with(now, &lane, *report, result);
            }
            _ => {
                self.session.recovery = match (lane.after_refusal, lane.name) {
                    (false, _) => Recovery::None,
                    (true, LaneName::Renewal) => Recovery::Refreshed,
                    (true, _) => Recovery::LoggedIn,
                };
                self.session.refusal = None;
                self.settle(&lane, Ok(()));
            }
        }
    }

    /// Gives the lock back if it was taken for this save alone, and no renewal or logout goes on
    /// under it.
    pub(super) fn unlock_after(&mut self, lane: Option<LaneName>) {
        let renewing = |lane: &Lane| !matches!(lane.work, Work::Reading | Work::Overtaking(_));
        let needed = self.logout.is_some() || self.renewal.as_ref().is_some_and(renewing);
        if lane != Some(LaneName::Renewal) && !needed {
            self.unlock();
        }
    }
}
