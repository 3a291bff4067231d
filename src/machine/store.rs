//! What the machine knows about its store: loaded? damaged? saved? locked?

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::flow::Notes;
use crate::machine::AuthMachine;
use crate::machine::answer::ready;
use crate::machine::lane::{After, Base, Change, Flight, Lane, LaneName, Work};
use crate::notice::Notice;
use crate::output::{Action, HostError, LoadCall, STORE_DEADLINE, SaveCall};
use crate::secret::Secret;
use crate::session::Recovery;
use crate::session::record::Record;
use crate::time::{Mono, Now, UnixTime};

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) loaded: bool,
    /// What is stored can't be read: the next save sets it aside.
    pub(super) damaged: bool,
    /// We hold the exclusive lock.
    pub(super) locked: bool,
    /// Something of ours is stored: if it is gone, somebody has logged out.
    pub(super) present: bool,
    /// A logout is not saved yet: what is stored of logins up to this moment doesn't count.
    pub(super) erasing: Option<UnixTime>,
    /// The access token that was stored when we last read or wrote: another one is somebody else's.
    seen: Option<Secret>,
    unsaved: Option<Unsaved>,
}

#[derive(Debug)]
struct Unsaved {
    retry_at: Mono,
    delay: Duration,
    /// A person has logged in, and that is not saved.
    login: bool,
}

const FIRST_DELAY: Duration = Duration::from_secs(10);
const LONGEST_DELAY: Duration = Duration::from_secs(120);

impl Store {
    pub(super) fn is_saved(&self) -> bool {
        self.unsaved.is_none()
    }

    pub(super) fn retry_at(&self) -> Option<Mono> {
        self.unsaved.as_ref().map(|unsaved| unsaved.retry_at)
    }

    /// Takes a save's answer; told once when it begins to fail, and once when it works again.
    pub(super) fn answered(
        &mut self,
        now: Now,
        result: Result<(), HostError>,
        record: &Record,
        login: bool,
    ) -> Option<Notice> {
        match result {
            Ok(()) => {
                self.damaged = false;
                self.present = !record.is_blank();
                self.saw(Some(record));
                self.unsaved.take().map(|_| Notice::SaveRecovered)
            }
            Err(error) => {
                let first = self.unsaved.is_none();
                let delay = match &self.unsaved {
                    Some(unsaved) => (unsaved.delay * 2).min(LONGEST_DELAY),
                    None => FIRST_DELAY,
                };
                let login = login || self.holds_login();
                self.unsaved = Some(Unsaved { retry_at: now.mono.plus(delay), delay, login });
                self.erasing = self.erasing.map(|until| until.min(now.wall));
                first.then_some(Notice::SaveFailed(error))
            }
        }
    }

    fn saw(&mut self, record: Option<&Record>) {
        let tokens = record.and_then(|record| record.tokens.as_ref());
        self.seen = tokens.map(|tokens| tokens.access_token.clone());
    }

    /// A person has logged in, and that could not be saved.
    fn holds_login(&self) -> bool {
        self.unsaved.as_ref().is_some_and(|unsaved| unsaved.login)
    }

    /// A try is due: whether, and not again before its answer.
    pub(super) fn take_due(&mut self, now: Mono) -> bool {
        match &mut self.unsaved {
            Some(unsaved) if unsaved.retry_at <= now => {
                unsaved.retry_at = now.plus(LONGEST_DELAY);
                true
            }
            _ => false,
        }
    }
}

/// What the store holds when it is read again, under its lock.
pub(super) enum Again {
    /// Nothing newer than what we have.
    Same,
    /// Another process's tokens; they are adopted.
    Newer,
    /// Nothing any more: somebody has logged out.
    Gone,
    Unreadable(HostError),
}

pub(super) type Loaded = Result<Option<Secret<Vec<u8>>>, HostError>;

impl AuthMachine {
    pub(super) fn on_loaded(&mut self, now: Now, loaded: Loaded) {
        // Forgotten meanwhile: what was read is to be erased.
        if self.store.loaded {
            return;
        }
        let result = match loaded {
            Ok(bytes) => {
                self.store.loaded = true;
                if let Some(record) = self.read_record(bytes) {
                    self.store.saw(Some(&record));
                    self.session.adopt(now, record, false);
                    self.session.give_another_chance();
                }
                Ok(())
            }
            Err(error) => Err(Error::from(ErrorKind::Store(error))),
        };
        if let Some((attempt, demand)) = self.waiting.take() {
            match result {
                Ok(()) => self.begin(now, attempt, demand),
                Err(error) => self.fail(attempt, error),
            }
        }
    }

    pub(super) fn read_record(&mut self, bytes: Option<Secret<Vec<u8>>>) -> Option<Record> {
        self.store.present = bytes.is_some();
        match Record::parse(bytes?.expose(), &self.session.site.text) {
            Ok(record) => Some(record),
            Err(error) => {
                if !std::mem::replace(&mut self.store.damaged, true) {
                    self.tell(Notice::RecordDamaged { why: error.to_string() });
                }
                None
            }
        }
    }

    /// What we could not save counts more than `theirs`, if those are what it was made from; a login
    /// of ours counts more than what was made from older tokens.
    fn ours_is_newer(&self, theirs: &Record) -> bool {
        let (ours, there) = (&self.session.record, theirs.tokens.as_ref());
        let unchanged = there.map(|tokens| &tokens.access_token) == self.store.seen.as_ref();
        let login = self.store.holds_login() && ours.last_generation >= theirs.last_generation;
        !self.store.is_saved() && (unchanged || login)
    }

    /// A newer record is another process's work: ours would undo it.
    pub(super) fn read_again(&mut self, now: Now, loaded: Loaded) -> Again {
        match loaded {
            Err(error) => Again::Unreadable(error),
            Ok(None) if self.store.present && !self.store.holds_login() => {
                self.store.present = false;
                self.store.saw(None);
                self.session.adopt(now, self.session.record.emptied(), false);
                Again::Gone
            }
            Ok(bytes) => {
                let erasing = self.store.erasing;
                let counts = |record: &Record| erasing.is_none_or(|until| record.is_newer(until));
                let theirs = self.read_record(bytes).filter(counts);
                let Some(theirs) = theirs else { return Again::Same };
                let ours_is_newer = self.ours_is_newer(&theirs);
                self.store.saw(Some(&theirs));
                if ours_is_newer {
                    self.session.record.catch_up(&theirs);
                    return Again::Same;
                }
                let ours = &self.session.record;
                let same = ours.same_tokens(&theirs);
                self.session.adopt(now, ours.replaced_by(theirs), false);
                if same {
                    return Again::Same;
                }
                if let Some(unsaved) = &mut self.store.unsaved {
                    unsaved.login = false;
                }
                self.tell(Notice::Adopted);
                Again::Newer
            }
        }
    }

    /// Saves, under the lock, what another process has left there: what is in memory may be older.
    pub(super) fn save(
        &mut self,
        now: Now,
        lane: Option<LaneName>,
        change: Change,
        after: Option<After>,
    ) {
        if let Change::Forget(until) = change {
            self.store.erasing = Some(until);
        }
        if self.store.locked {
            return self.write(now, lane, change, after);
        }
        let id = self.fly(now, STORE_DEADLINE, lane, Flight::Lock(change, after));
        self.act(Action::Load(LoadCall { id, lock: true }));
    }

    pub(super) fn on_locked(
        &mut self,
        now: Now,
        lane: Option<LaneName>,
        change: Change,
        after: Option<After>,
        loaded: Loaded,
    ) {
        self.store.locked = loaded.is_ok();
        // Neither a logout nor new tokens wait for a store in trouble.
        let urgent = matches!(change, Change::Forget(_) | Change::Tokens(..));
        match self.read_again(now, loaded) {
            // It will be tried again.
            Again::Unreadable(error) if !urgent => {
                self.on_saved(now, lane, change, after, Err(error));
            }
            _ => self.write(now, lane, change, after),
        }
    }

    fn write(&mut self, now: Now, lane: Option<LaneName>, change: Change, after: Option<After>) {
        let mut record = self.session.record.clone();
        change.clone().apply(&mut record);
        let id = self.fly(now, STORE_DEADLINE, lane, Flight::Save(change, after));
        let record = (!record.is_blank()).then(|| record.to_bytes());
        // Who logs out wants nothing kept.
        let set_aside = self.store.damaged && record.is_some();
        self.act(Action::Save(SaveCall { id, record, set_aside }));
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
        let brought = matches!(change, Change::Tokens(..));
        let ends_erasing = brought || matches!(change, Change::Forget(_));
        let login = matches!(change, Change::Tokens(Base::Any, ..));
        let mut record = self.session.record.clone();
        change.apply(&mut record);
        let obtained = brought && record.generation() != self.session.record.generation();
        // Not by a save that the logout has overtaken.
        self.store.erasing.take_if(|_| ends_erasing && result.is_ok());
        let notice = self.store.answered(now, result.clone(), &record, login);
        self.session.adopt(now, record, obtained);
        self.take_notes(notice);
        // The lock was taken for this save alone, unless a renewal or a logout goes on under it.
        let renewing = |lane: &Lane| !matches!(lane.work, Work::Reading);
        let needed = self.logout.is_some() || self.renewal.as_ref().is_some_and(renewing);
        if lane != Some(LaneName::Renewal) && !needed {
            self.unlock();
        }
        let Some(mut lane) = lane.and_then(|name| self.take_lane(name)) else { return };
        match (after, std::mem::replace(&mut lane.work, Work::Over)) {
            (Some(After::Kept), Work::Login(login)) => {
                let mut notes = Notes::new();
                let turn = login.on_kept(&mut notes);
                self.take_notes(notes);
                self.login_turned(now, lane, turn);
            }
            (Some(After::LogIn(why)), _) => self.log_in_instead(now, lane, &why),
            (Some(After::Send(ask)), Work::Upkeep(upkeep, then)) if result.is_ok() => {
                lane.work = Work::Upkeep(upkeep, then);
                lane.state = ready(now, ask);
                self.put_lane(lane);
            }
            (Some(After::Send(_) | After::Upkept), Work::Upkeep(_, then)) => {
                self.look_after(now, lane, None, then);
            }
            (Some(After::Send(ask)), Work::Refreshing(exchange, tokens)) => {
                // Read again for this save, the store may have held newer ones.
                if self.session.record.generation() != Some(tokens.generation) {
                    return self.settle(&lane, Ok(()));
                }
                lane.work = Work::Refreshing(exchange, tokens);
                lane.state = ready(now, ask);
                self.put_lane(lane);
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
}
