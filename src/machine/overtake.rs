//! Renewals that have waited for the lock in vain: its holder refreshes slowly, or hangs.
//!
//! ```text
//! lock: busy ─▶ read without it ─▶ what others have saved is adopted
//!                     │
//!                     ├─▶ the holder may still be at it: the caller is told so
//!                     ▼
//!      it hangs: refresh without the lock, as after a crash
//! ```
//!
//! Whoever goes on without the lock keeps others out by the mark that a refresh is sent: it is saved by
//! compare and swap, and who finds that another has set it meanwhile sends none. So does a holder that
//! wakes up, and one that is about to send again. Who has the lock by then finds the mark, and waits for as
//! long; a mark of an overtaker that is gone is passed over once its date is long ago. A program that was
//! there when the wall clock was set is not misled; one that starts afterwards may be.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::machine::AuthMachine;
use crate::machine::answer::ready;
use crate::machine::lane::{After, Change, Lane, LaneName, Work};
use crate::machine::store::{Again, Loaded};
use crate::output::HostError;
use crate::secret::Secret;
use crate::session::tokens::Tokens;
use crate::session::trouble::{Mark, Renewal};
use crate::time::{Mono, Now, UnixTime};

/// A lock, or another program's refresh without it, that is waited for in vain.
#[derive(Debug)]
pub(super) struct Vain {
    /// The tokens that were stored then, and what was known of their renewal.
    there: Option<(Secret, Renewal)>,
    since: Mono,
    times: u8,
}

/// A holder that has saved nothing for so long hangs: two requests and their answers take half of it.
const HANGS_AFTER: Duration = Duration::from_secs(300);
/// And for so many waits: a machine that sleeps makes a single one long.
const HANGS_AFTER_WAITS: u8 = 4;
/// The same as the record has it, for programs that end with their first wait: by a clock that may be
/// set.
const HANGS_AFTER_BY_CLOCK: Duration = Duration::from_secs(600);
/// A refresh is sent within this time of its mark, or not at all: before anybody takes its sender for one
/// that hangs.
const SENT_WITHIN: Duration = Duration::from_secs(240);
/// What rounding to seconds may make of two moments.
const ROUNDING: Duration = Duration::from_secs(2);
/// A mark that is dated further ahead says nothing of the time.
const MOST_AHEAD: Duration = Duration::from_secs(2 * 86_400);

impl Vain {
    /// Counts another wait; whether the holder hangs.
    fn count(vain: &mut Option<Self>, there: Option<(Secret, Renewal)>, now: Mono) -> bool {
        let same = vain.take().filter(|vain| vain.there == there);
        let vain = vain.insert(same.unwrap_or(Self { there, since: now, times: 0 }));
        vain.times = vain.times.saturating_add(1);
        vain.times >= HANGS_AFTER_WAITS && vain.since.until(now) >= HANGS_AFTER
    }
}

/// How far the wall clock was set ahead in this run, in all.
#[derive(Debug, Default)]
pub(super) struct SetAhead {
    last: Option<Now>,
    by: Duration,
}

impl SetAhead {
    pub(super) fn note(&mut self, now: Now) {
        let Some(last) = self.last.replace(now) else { return };
        let step = last.wall.until(now.wall).saturating_sub(last.mono.until(now.mono));
        if step > ROUNDING {
            self.by = self.by.saturating_add(step);
        }
    }
}

/// A moment that is stored, on the clock of this run: what the wall clock says of it is believed once, when
/// it is first seen, less what it was set ahead in this run. A machine that has slept waits longer by that.
#[derive(Debug)]
pub(super) struct Seen {
    at: UnixTime,
    age: Duration,
    since: Mono,
}

impl Seen {
    /// How long ago that is. One that is still to come, for a clock was set, is from just now.
    fn age(seen: &mut Option<Self>, at: UnixTime, now: Now, ahead: &SetAhead) -> Duration {
        let known = seen.take().filter(|seen| seen.at == at);
        let age = || at.until(now.wall).saturating_sub(ahead.by);
        let first = || Self { at, age: age(), since: now.mono };
        let seen = seen.insert(known.unwrap_or_else(first));
        seen.age.saturating_add(seen.since.until(now.mono))
    }
}

impl AuthMachine {
    /// The lock is not to be had; perhaps what it was wanted for is done.
    pub(super) fn waited_in_vain(&mut self, now: Now, mut lane: Lane, busy: HostError) {
        lane.work = Work::Overtaking(busy);
        let name = Some(lane.name);
        self.put_lane(lane);
        self.read_without_lock(now, name, Change::Void, None);
    }

    pub(super) fn overtake(&mut self, now: Now, mut lane: Lane, loaded: Loaded) {
        let Work::Overtaking(busy) = std::mem::replace(&mut lane.work, Work::Reading) else {
            return self.put_lane(lane);
        };
        let hangs = match loaded.map(|bytes| self.read_again(now, bytes, &mut Change::None)) {
            Ok(Again::Newer) => return self.settle(&lane, Ok(())),
            Ok(Again::Gone) => {
                return self.log_in_instead(now, lane, "the login was ended elsewhere");
            }
            // The host has waited for nobody.
            _ if busy.is_throttled() => false,
            Ok(Again::Same | Again::Doomed(_)) => {
                // Both are counted in any case.
                let long_awaited = self.is_long_awaited(now);
                self.waits_in_vain(now) || long_awaited
            }
            Err(_) => false,
        };
        if hangs && !(lane.for_client && lane.detached) {
            lane.lockless = true;
            return self.refresh(now, lane);
        }
        self.gives_way(now, lane, busy);
    }

    /// Another program has the lock, or is at it without, or the host has too much to do: it isn't tried
    /// now.
    pub(super) fn gives_way(&mut self, now: Now, lane: Lane, busy: HostError) {
        self.session.acquit();
        let waited = !busy.is_throttled();
        let error = Error::from(ErrorKind::Store(busy));
        let untold = |tokens: &&Tokens| waited && tokens.renewal.awaited.is_none();
        match self.session.record.tokens.as_ref().filter(untold) {
            // Told to those who come after this program.
            Some(tokens) => {
                Seen::age(&mut self.store.awaited, now.wall, now, &self.store.ahead);
                let change = Change::Awaited(tokens.generation, now.wall);
                let name = Some(lane.name);
                self.put_lane(lane);
                self.write(now, name, change, Some(After::Failed(error)));
            }
            None => self.settle(&lane, Err(error)),
        }
    }

    /// Whether somebody has waited so long that whoever is waited for hangs.
    fn is_long_awaited(&mut self, now: Now) -> bool {
        let since = self.session.record.tokens.as_ref().and_then(|t| t.renewal.awaited);
        let (seen, ahead) = (&mut self.store.awaited, &self.store.ahead);
        since.is_some_and(|since| Seen::age(seen, since, now, ahead) >= HANGS_AFTER_BY_CLOCK)
    }

    fn waits_in_vain(&mut self, now: Now) -> bool {
        let tokens = self.session.record.tokens.as_ref();
        let there = tokens.map(|tokens| {
            let renewal = Renewal { awaited: None, ..tokens.renewal.clone() };
            (tokens.access_token.clone(), renewal)
        });
        Vain::count(&mut self.store.vain, there, now.mono)
    }

    /// Whether nobody else is at it without the lock: then its mark is there, and nothing follows.
    pub(super) fn is_alone(
        &mut self,
        now: Now,
        lane: &Lane,
        tokens: &Tokens,
    ) -> Result<(), HostError> {
        self.is_not_in_vain();
        let mark = tokens.renewal.mark.as_ref().filter(|mark| mark.lockless && !lane.lockless);
        let Some(mark) = mark else { return Ok(()) };
        // A clock may have been set back by hours since; what is days ahead was never true.
        let wrong = now.wall.until(mark.at) > MOST_AHEAD;
        let age = Seen::age(&mut self.store.marked, mark.at, now, &self.store.ahead);
        let long_awaited = self.is_long_awaited(now);
        let hangs = self.waits_in_vain(now) || long_awaited || wrong || age >= HANGS_AFTER;
        if hangs { Ok(()) } else { Err(elsewhere()) }
    }

    /// The lock was to be had, and nobody goes on without it: whoever had it does not hang.
    pub(super) fn is_not_in_vain(&mut self) {
        let tokens = self.session.record.tokens.as_ref();
        let lockless = |mark: &Mark| mark.lockless;
        let elsewhere =
            tokens.and_then(|tokens| tokens.renewal.mark.as_ref()).is_some_and(lockless);
        if self.store.locked && !elsewhere {
            self.store.vain = None;
        }
    }

    /// Before a refresh is marked as sent, or sent again: whether another program has marked its own
    /// meanwhile. Then nothing is sent.
    pub(super) fn is_elsewhere(&mut self) -> bool {
        let there = self.session.record.tokens.as_ref();
        let marked = |lane: &mut Lane| match (&lane.work, there) {
            (Work::Refreshing(_, tokens), Some(there)) if there.generation == tokens.generation => {
                let own = |mark: &&Mark| Some(&mark.by) != lane.mark.as_ref();
                let theirs = there.renewal.mark.as_ref().filter(own);
                let marked = theirs.is_some() && theirs != tokens.renewal.mark.as_ref();
                // Whoever has the lock has saved something: it does not hang.
                let since = tokens.renewal.awaited;
                let awake = since.is_some() && there.renewal.awaited != since;
                marked || lane.lockless && awake
            }
            _ => false,
        };
        let Some(lane) = self.renewal.take_if(marked) else { return false };
        self.session.acquit();
        self.settle(&lane, Err(ErrorKind::Store(elsewhere()).into()));
        true
    }

    /// Whether the mark that is to be saved, or that a refresh is sent again under, is the one that is
    /// stored.
    pub(super) fn is_marked(&self, change: &Change) -> bool {
        if !matches!(change, Change::Sent(..) | Change::Resent) {
            return false;
        }
        let by = self.renewal.as_ref().and_then(|lane| lane.mark.as_deref());
        let there = self.session.record.tokens.as_ref();
        by.zip(there).is_some_and(|(by, there)| there.renewal.is_marked_by(by))
    }

    /// Its mark is gone, or can't be seen: another program has renewed the tokens, or is at it.
    pub(super) fn is_not_resent(&mut self, why: HostError) {
        let refreshes = |lane: &mut Lane| matches!(lane.work, Work::Refreshing(..));
        let Some(lane) = self.renewal.take_if(refreshes) else { return };
        let there = self.session.record.generation();
        let same =
            matches!(&lane.work, Work::Refreshing(_, tokens) if Some(tokens.generation) == there);
        self.session.acquit();
        let failed = |why| Err(ErrorKind::Store(why).into());
        self.settle(&lane, if same { failed(why) } else { Ok(()) });
    }

    /// The refresh is marked: it is sent, unless the store has held newer tokens.
    pub(super) fn spend(&mut self, now: Now, name: Option<LaneName>, after: Option<After>) {
        let Some(mut lane) = name.and_then(|name| self.take_lane(name)) else { return };
        let there = self.session.record.tokens.as_ref();
        let good = match &lane.work {
            Work::Refreshing(_, tokens) => there.is_some_and(|there| {
                there.generation == tokens.generation
                    && there.same(tokens)
                    && there.is_refreshable()
            }),
            _ => false,
        };
        if good && lane.marked_at.until(now.mono) >= SENT_WITHIN {
            // Whoever has slept so long may be overtaken at any moment.
            self.store.unused.clone_from(&lane.mark);
            self.session.acquit();
            return self.settle(&lane, Err(ErrorKind::Store(elsewhere()).into()));
        }
        match after {
            Some(After::Send(ask)) if good => {
                lane.state = ready(now, ask);
                self.put_lane(lane);
            }
            _ => self.settle(&lane, Ok(())),
        }
    }
}

pub(super) fn elsewhere() -> HostError {
    HostError::busy("another program is renewing the tokens")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    /// After how many waits, of so many seconds each, the holder counts as one that hangs.
    fn waits(each: u64) -> usize {
        let mut vain = None;
        (1..100).find(|n| Vain::count(&mut vain, None, at(each * *n as u64))).unwrap_or(100)
    }

    #[test]
    fn a_holder_hangs_that_has_saved_nothing_for_minutes_and_several_waits() {
        assert_eq!((waits(90), waits(10), waits(3600)), (5, 31, 4));
    }

    #[test]
    fn what_the_clock_was_set_ahead_by_makes_nothing_older() {
        // Wall and monotonic seconds of each event; how old a moment of the second 100 is in the end.
        let age = |moments: &[(u64, u64)]| {
            let now = |(wall, mono): (u64, u64)| Now { wall: UnixTime(wall), mono: at(mono) };
            let mut ahead = SetAhead::default();
            moments.iter().for_each(|moment| ahead.note(now(*moment)));
            let last = moments.last().copied().unwrap_or_default();
            Seen::age(&mut None, UnixTime(100), now(last), &ahead).as_secs()
        };
        assert_eq!(age(&[(100, 0), (105, 4), (161, 60)]), 61);
        assert_eq!(age(&[(100, 0), (4105, 5), (4161, 61)]), 61);
        assert_eq!(age(&[(9000, 0), (50, 1), (4050, 1), (4150, 101)]), 50);
        // It has begun afterwards.
        assert_eq!(age(&[(4105, 0), (4161, 56)]), 4061);
    }

    #[test]
    fn one_that_saves_something_does_not() {
        let mut vain = None;
        for n in 0..100_u64 {
            let there = (Secret::from((n / 3).to_string().as_str()), Renewal::default());
            assert!(!Vain::count(&mut vain, Some(there), at(90 * n)));
        }
    }
}
