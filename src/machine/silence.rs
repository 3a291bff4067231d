//! How long a program that asks its person can say nothing, for a call is out: it says so before, in its
//! mark.
//!
//! ```text
//! a want ─▶ does the mark live as long as that may take? ─ yes ─▶ the call
//!                            │ no                             ▲
//!                            └─▶ save a mark that does ───────┘
//! ```

use std::time::Duration;

use crate::flow::Ask;
use crate::flow::upkeep::Errand;
use crate::machine::AuthMachine;
use crate::machine::lane::{After, Lane, LaneName, State, Want, Work};
use crate::machine::pump::GRACE;
use crate::output::{Limits, SECRET_DEADLINE, SIGNER_DEADLINE, STORE_DEADLINE};
use crate::time::Now;

/// Until the store's lock is to be had.
const LOCK: Duration = STORE_DEADLINE.saturating_add(GRACE);

impl AuthMachine {
    /// Whether others are to be told that we are about to be silent, by what is begun now.
    pub(super) fn falls_silent(&mut self, now: Now) -> bool {
        let next = self.lanes().find(|lane| lane.wants_exchange());
        let next = next.filter(|_| self.chores.is_empty());
        let silence = next.map(|lane| lane.silence(self.store.locked));
        self.turn.falls_silent(now.mono, silence.unwrap_or_default())
    }
}

impl Lane {
    /// Whether it is to have the exchange.
    pub(super) fn wants_exchange(&self) -> bool {
        match &self.state {
            State::Ready(Want::Ask(ask)) => {
                matches!(ask, Ask::Http(_) | Ask::Secret(_) | Ask::Signer(_))
            }
            State::Ready(_) => true,
            _ => false,
        }
    }

    /// How long what it wants may take, up to the next moment in which something else can be saved.
    fn silence(&self, locked: bool) -> Duration {
        let State::Ready(want) = &self.state else { return Duration::ZERO };
        match want {
            Want::Ask(_) if self.is_marked_as_sent() => Duration::ZERO,
            Want::Ask(ask) => longest(ask),
            // Nothing comes between the mark that it is sent and the sending.
            Want::Save(_, After::Send(ask)) => self.lock(locked) + longest(ask),
            Want::Save(..) => self.lock(locked),
            Want::Resend(ask) => longest(ask),
            Want::Read => LOCK,
            // They wait for nobody: the comparison decides.
            Want::Claim | Want::Look => Duration::ZERO,
        }
    }

    /// Until what it saves can be saved. A renewal has the lock, or goes without; but where the store could
    /// not be read, it must wait for the lock after all.
    fn lock(&self, locked: bool) -> Duration {
        let waits = self.name == LaneName::Renewal && !locked && !self.lockless;
        if waits { LOCK } else { Duration::ZERO }
    }

    fn is_marked_as_sent(&self) -> bool {
        match &self.work {
            Work::Refreshing(..) => self.mark.is_some(),
            Work::Upkeep(Some(upkeep), _) => upkeep.errand() == Errand::Renew,
            _ => false,
        }
    }
}

fn longest(ask: &Ask) -> Duration {
    let deadline = match ask {
        Ask::Http(ask) => Limits::of(ask.purpose).deadline,
        Ask::Secret(_) => SECRET_DEADLINE,
        Ask::Signer(_) => SIGNER_DEADLINE,
        _ => return Duration::ZERO,
    };
    deadline + GRACE
}
