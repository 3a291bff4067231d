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
//! wakes up. Who has the lock by then finds the mark, and waits for as long.

use std::time::Duration;

use crate::error::ErrorKind;
use crate::machine::AuthMachine;
use crate::machine::lane::{Change, Lane, Work};
use crate::machine::store::{Again, Loaded};
use crate::output::{HostError, Revision};
use crate::session::tokens::Tokens;
use crate::time::{Mono, Now};

/// A lock, or another program's refresh without it, that is waited for in vain.
#[derive(Debug)]
pub(super) struct Vain {
    /// What was stored then.
    there: Revision,
    since: Mono,
    times: u8,
}

/// A holder that has saved nothing for so long hangs: two requests and their answers take half of it.
const HANGS_AFTER: Duration = Duration::from_secs(300);
/// And for so many waits: a machine that sleeps makes a single one long.
const HANGS_AFTER_WAITS: u8 = 4;

impl Vain {
    /// Counts another wait; whether the holder hangs.
    fn count(vain: &mut Option<Self>, there: Revision, now: Mono) -> bool {
        let same = vain.take().filter(|vain| vain.there == there);
        let vain = vain.insert(same.unwrap_or(Self { there, since: now, times: 0 }));
        vain.times = vain.times.saturating_add(1);
        vain.times >= HANGS_AFTER_WAITS && vain.since.until(now) >= HANGS_AFTER
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
            Ok(Again::Same | Again::Doomed(_)) => {
                let there = self.store.revision.unwrap_or(Revision::NOTHING);
                Vain::count(&mut self.store.vain, there, now.mono)
            }
            Err(_) => false,
        };
        if !hangs || (lane.for_client && lane.detached) {
            self.session.acquit();
            return self.settle(&lane, Err(ErrorKind::Store(busy).into()));
        }
        lane.lockless = true;
        self.refresh(now, lane);
    }

    /// Whether nobody else is at it without the lock: then its mark is there, and nothing follows.
    pub(super) fn is_alone(
        &mut self,
        now: Now,
        lane: &Lane,
        tokens: &Tokens,
    ) -> Result<(), HostError> {
        self.is_not_in_vain();
        if tokens.renewal.lockless && !lane.lockless {
            let there = self.store.revision.unwrap_or(Revision::NOTHING);
            if !Vain::count(&mut self.store.vain, there, now.mono) {
                return Err(elsewhere());
            }
        }
        Ok(())
    }

    /// The lock was to be had, and nobody goes on without it: whoever had it does not hang.
    pub(super) fn is_not_in_vain(&mut self) {
        let tokens = self.session.record.tokens.as_ref();
        if self.store.locked && !tokens.is_some_and(|tokens| tokens.renewal.lockless) {
            self.store.vain = None;
        }
    }

    /// Before a refresh is marked as sent: whether another program has marked its own meanwhile. Then
    /// nothing is sent.
    pub(super) fn is_elsewhere(&mut self) -> bool {
        let there = self.session.record.tokens.as_ref();
        let marked = |lane: &mut Lane| match (&lane.work, there) {
            (Work::Refreshing(_, tokens), Some(there)) => {
                there.generation == tokens.generation && there.renewal.sent != tokens.renewal.sent
            }
            _ => false,
        };
        let Some(lane) = self.renewal.take_if(marked) else { return false };
        self.session.acquit();
        self.settle(&lane, Err(ErrorKind::Store(elsewhere()).into()));
        true
    }
}

fn elsewhere() -> HostError {
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
        let (mut vain, there) = (None, Revision::NOTHING);
        (1..100).find(|n| Vain::count(&mut vain, there, at(each * *n as u64))).unwrap_or(100)
    }

    #[test]
    fn a_holder_hangs_that_has_saved_nothing_for_minutes_and_several_waits() {
        assert_eq!((waits(90), waits(10), waits(3600)), (5, 31, 4));
    }

    #[test]
    fn one_that_saves_something_does_not() {
        let mut vain = None;
        for n in 0..100_u64 {
            let there = Revision::of(Some(&(n / 3).to_le_bytes()));
            assert!(!Vain::count(&mut vain, there, at(90 * n)));
        }
    }
}
