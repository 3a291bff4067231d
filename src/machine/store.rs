//! What the machine knows about its store: loaded? damaged? saved? locked? And what it makes of what
//! it reads there.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::machine::AuthMachine;
use crate::machine::lane::{Base, Change};
use crate::machine::overtake::{self, Vain};
use crate::notice::Notice;
use crate::output::{HostError, Revision};
use crate::secret::Secret;
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
    present: bool,
    /// What was stored when we last read or wrote; `None`: we have never read it.
    pub(super) revision: Option<Revision>,
    /// What is being written.
    writing: Option<Revision>,
    /// A save was never answered: perhaps it was done.
    unsure: bool,
    /// It is looked up whether the mark that a refresh is sent was saved: nobody has said so.
    pub(super) doubt: bool,
    /// A mark that may be stored, of a refresh that was not sent.
    pub(super) unused: Option<String>,
    /// The lock is waited for in vain.
    pub(super) vain: Option<Vain>,
    /// When somebody has begun to wait, and when a refresh was marked without the lock, as this run has it.
    pub(super) awaited: Option<overtake::Seen>,
    pub(super) marked: Option<overtake::Seen>,
    pub(super) ahead: overtake::SetAhead,
    /// How often in a row somebody else was faster.
    pub(super) conflicts: u8,
    erasing: Option<Erasing>,
    seen: Option<Seen>,
    unsaved: Option<Unsaved>,
}

/// A logout that is not saved yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Erasing {
    /// Whatever is found is to go.
    Anything,
    /// It was tried, on what we had seen: another login was made since, and is spared.
    Seen,
    /// It was tried at this moment, unseen: a login made since is spared.
    Unseen(UnixTime),
}

/// The tokens that were stored when we last read or wrote: others are somebody else's.
#[derive(Debug)]
struct Seen {
    access_token: Secret,
    /// The login that they descend from.
    logged_in_at: UnixTime,
}

#[derive(Debug)]
struct Unsaved {
    retry_at: Mono,
    delay: Duration,
    /// It is being tried again.
    tried: bool,
    what: Unsaveable,
}

/// What of a change can't be found out again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsaveable {
    /// A person has logged in.
    pub(super) login: bool,
    /// How it stands with the renewal of the tokens, by our own doing.
    pub(super) renewal: bool,
}

const FIRST_DELAY: Duration = Duration::from_secs(10);
const LONGEST_DELAY: Duration = Duration::from_secs(120);
/// So often a save is tried again at once where somebody else was faster.
const MOST_CONFLICTS: u8 = 4;

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
        what: Unsaveable,
    ) -> Option<Notice> {
        let later = |delay| (delay, now.mono.plus(delay));
        match result {
            Ok(()) => {
                self.unsure = false;
                self.damaged = false;
                self.erasing = None;
                self.present = !record.is_blank();
                self.saw(Some(record));
                self.unsaved.take().map(|_| Notice::SaveRecovered)
            }
            Err(error) => {
                let first = self.unsaved.is_none();
                let (delay, retry_at) = match &self.unsaved {
                    // Somebody else had something to save meanwhile.
                    Some(Unsaved { delay, retry_at, tried: false, .. }) => (*delay, *retry_at),
                    Some(unsaved) => later((unsaved.delay * 2).min(LONGEST_DELAY)),
                    None => later(FIRST_DELAY),
                };
                let before = self.unsaved.as_ref().map(|unsaved| unsaved.what).unwrap_or_default();
                let what = Unsaveable {
                    login: what.login || before.login,
                    renewal: what.renewal || before.renewal,
                };
                self.unsaved = Some(Unsaved { retry_at, delay, tried: false, what });
                first.then_some(Notice::SaveFailed(error))
            }
        }
    }

    /// This is written, in the place of what it gives: the answer says whether it is stored from then
    /// on.
    pub(super) fn writes(
        &mut self,
        now: UnixTime,
        record: Option<&[u8]>,
        forgets: bool,
    ) -> Option<Revision> {
        self.writing = Some(Revision::of(record));
        if forgets {
            let seen = self.revision.is_some();
            self.erasing = Some(if seen { Erasing::Seen } else { Erasing::Unseen(now) });
        }
        self.revision.or(record.map(|_| Revision::NOTHING))
    }

    /// A save is over; whether it was one that somebody else was faster than, and is worth another
    /// try.
    pub(super) fn written(&mut self, result: &Result<(), HostError>) -> bool {
        let written = self.writing.take();
        match result {
            Ok(()) => self.revision = written.or(self.revision),
            Err(error) if error.is_conflict() && self.conflicts < MOST_CONFLICTS => {
                self.conflicts += 1;
                return true;
            }
            Err(_) => {}
        }
        self.conflicts = 0;
        false
    }

    /// What a logout has overtaken is stored all the same, and is to be erased.
    pub(super) fn overtaken(&mut self, result: &Result<(), HostError>) {
        self.present |= result.is_ok();
        self.conflicts = 0;
    }

    /// What is to be saved when it is tried again.
    pub(super) fn retry(&self) -> Change {
        match self.erasing {
            Some(_) if !self.holds_login() => Change::Forget,
            _ => Change::None,
        }
    }

    /// Somebody logs out: a login that could not be saved is forgotten with the rest.
    pub(super) fn forget(&mut self) {
        self.loaded = true;
        self.damaged = false;
        self.erasing = Some(Erasing::Anything);
        self.unsaved.iter_mut().for_each(|unsaved| unsaved.what.login = false);
    }

    fn saw(&mut self, record: Option<&Record>) {
        let tokens = record.and_then(|record| record.tokens.as_ref());
        self.seen = tokens.map(|tokens| Seen {
            access_token: tokens.access_token.clone(),
            logged_in_at: tokens.logged_in_at,
        });
    }

    /// A person has logged in, and that could not be saved.
    pub(super) fn holds_login(&self) -> bool {
        self.unsaved.as_ref().is_some_and(|unsaved| unsaved.what.login)
    }

    /// What could not be saved is due.
    pub(super) fn hasten(&mut self, now: Mono) {
        self.unsaved.iter_mut().for_each(|unsaved| unsaved.retry_at = unsaved.retry_at.min(now));
    }

    /// A try is due: whether, and not again before its answer.
    pub(super) fn take_due(&mut self, now: Mono) -> bool {
        match &mut self.unsaved {
            Some(unsaved) if unsaved.retry_at <= now => {
                unsaved.retry_at = now.plus(LONGEST_DELAY);
                unsaved.tried = true;
                true
            }
            _ => false,
        }
    }

    /// The host has not said whether it has saved.
    pub(super) fn unanswered(&mut self) {
        self.unsure = true;
    }

    /// Whether an empty store says that somebody has logged out of what we have: then something was
    /// there that is no more. A login that is in memory alone is none of it, and what was damaged was
    /// set aside.
    fn tells_of_logout(&self) -> bool {
        self.present && !self.damaged && (self.unsure || !self.holds_login())
    }

    /// Whether these are the tokens that we saw.
    fn is_unchanged(&self, theirs: &Record) -> bool {
        let there = theirs.tokens.as_ref().map(|tokens| &tokens.access_token);
        there == self.seen.as_ref().map(|seen| &seen.access_token)
    }

    /// When a person logged in for what is stored, if that is another login than the one that we saw.
    /// That one is older than a login of ours, whatever the clock said then.
    fn another_login(&self, theirs: &Record) -> Option<UnixTime> {
        let seen = self.seen.as_ref().map(|seen| seen.logged_in_at);
        let there = theirs.tokens.as_ref().map(|tokens| tokens.logged_in_at);
        there.filter(|_| there != seen)
    }

    /// Whether a login is spared by the logout that is not saved yet: it was made since.
    fn spares(&self, erasing: Erasing, theirs: &Record) -> bool {
        match erasing {
            Erasing::Anything => false,
            Erasing::Seen => self.another_login(theirs).is_some(),
            Erasing::Unseen(at) => theirs.is_newer(at),
        }
    }
}

/// What the store holds when it is read again.
pub(super) enum Again {
    /// Nothing newer than what we have.
    Same,
    /// Another process's tokens; they are adopted.
    Newer,
    /// Nothing any more: somebody has logged out.
    Gone,
    /// Somebody has logged out of this program: it is to be erased.
    Doomed(Box<Doomed>),
}

/// What a logout finds.
pub(super) struct Doomed {
    pub(super) record: Record,
    /// Its tokens are the ones that were known.
    pub(super) known: bool,
}

pub(super) type Stored = Option<Secret<Vec<u8>>>;
pub(super) type Loaded = Result<Stored, HostError>;

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

    /// Reads what a logout is to end.
    pub(super) fn read_to_end(&mut self, bytes: Stored) -> Option<Record> {
        let record = self.read_record(bytes);
        // It is erased whatever it is; nothing of it is kept aside.
        self.store.damaged = false;
        self.store.saw(record.as_ref());
        record
    }

    fn read_record(&mut self, bytes: Stored) -> Option<Record> {
        let bytes = bytes.as_ref().map(|bytes| bytes.expose().as_slice());
        self.store.revision = Some(Revision::of(bytes));
        self.store.unsure = false;
        self.store.present = bytes.is_some();
        self.store.damaged &= bytes.is_some();
        match Record::parse(bytes?, &self.session.site.text) {
            Ok(mut record) => {
                if let (Some(by), Some(tokens)) = (&self.store.unused, &mut record.tokens) {
                    tokens.renewal.take_back(by);
                }
                Some(record)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.store.damaged, true) {
                    self.tell(Notice::RecordDamaged { why: error.to_string() });
                }
                None
            }
        }
    }

    /// What we could not save counts more than `theirs`, if those are what it was made from; a login
    /// of ours counts more than what was made from an older one. It may be stored after all, and
    /// renewed since.
    fn ours_is_newer(&self, theirs: &Record) -> bool {
        let outdone = |ours: UnixTime| {
            let login = self.store.another_login(theirs);
            login.is_some_and(|login| login >= ours)
        };
        let ours = self.session.record.tokens.as_ref();
        let login =
            self.store.holds_login() && ours.is_some_and(|ours| !outdone(ours.logged_in_at));
        !self.store.is_saved() && (self.store.is_unchanged(theirs) || login)
    }

    /// A newer record is another process's work: ours would undo it. So would the change that is about
    /// to be made, where that work has overtaken it: then nothing is left of the change.
    pub(super) fn read_again(&mut self, now: Now, bytes: Stored, change: &mut Change) -> Again {
        let logged_out = bytes.is_none() && self.store.tells_of_logout();
        let Some(theirs) = self.read_record(bytes) else {
            self.store.saw(None);
            self.session.record.login.take_if(|_| !self.store.damaged);
            if !logged_out {
                return Again::Same;
            }
            self.session.adopt(now, self.session.record.emptied(), false);
            return Again::Gone;
        };
        self.session.record.login.clone_from(&theirs.login);
        if let Some(erasing) = self.store.erasing {
            if !self.store.spares(erasing, &theirs) {
                let known = self.store.is_unchanged(&theirs);
                self.store.saw(Some(&theirs));
                return Again::Doomed(Box::new(Doomed { record: theirs, known }));
            }
            self.store.erasing = None;
            if matches!(change, Change::Forget) {
                *change = Change::None;
            }
        }
        if let Change::Tokens(Base::Any, tokens, _) = change
            && self.store.another_login(&theirs).is_some_and(|login| login > tokens.logged_in_at)
        {
            *change = Change::None;
        }
        let ours_is_newer = self.ours_is_newer(&theirs);
        self.store.saw(Some(&theirs));
        if ours_is_newer {
            if let Some(Unsaved { what: Unsaveable { renewal, .. }, .. }) = &mut self.store.unsaved
            {
                *renewal &= !self.session.record.heed_renewal(&theirs, *renewal);
            }
            self.session.record.catch_up(&theirs);
            return Again::Same;
        }
        let ours = &self.session.record;
        let same = ours.same_tokens(&theirs);
        self.session.adopt(now, ours.replaced_by(theirs), false);
        // It is overtaken, or there after all.
        self.store.unsaved.iter_mut().for_each(|unsaved| unsaved.what = Unsaveable::default());
        if same {
            return Again::Same;
        }
        self.turn.adopted();
        self.tell(Notice::Adopted);
        Again::Newer
    }
}
