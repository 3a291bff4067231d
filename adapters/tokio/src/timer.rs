//! One task that knows when each session wants a tick, however many there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mcp_auth::Mono;
use mcp_auth_host::desk::now;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::documents::Documents;
use crate::office::Office;
use crate::turns::Turns;

/// What sessions share.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) timer: Timer,
    /// For refreshes.
    pub(crate) turns: Turns,
    /// Of sessions with the same HTTP client.
    pub(crate) documents: Option<Arc<Documents>>,
}

impl Common {
    /// With so many refreshes at a time.
    pub(crate) fn new(refreshes: usize) -> Self {
        Self { timer: Timer::default(), turns: Turns::new(refreshes), documents: None }
    }
}

/// The clock of any number of sessions: one task, which is there while somebody waits for a moment.
#[derive(Clone, Default)]
pub(crate) struct Timer(Arc<Clockwork>);

#[derive(Default)]
struct Clockwork {
    agenda: Mutex<Agenda>,
    /// The next moment may have changed.
    changed: Notify,
}

#[derive(Default)]
struct Agenda {
    last_place: u64,
    moments: BTreeMap<(Mono, u64), Weak<Office>>,
    running: bool,
}

/// A session's place at the timer, and what it was last set to.
pub(crate) struct Place {
    number: u64,
    due: Option<Mono>,
}

impl Place {
    /// It has rung.
    pub(crate) fn forget(&mut self) {
        self.due = None;
    }
}

impl Timer {
    /// A place of one's own.
    pub(crate) fn place(&self) -> Place {
        let mut agenda = self.0.agenda();
        agenda.last_place += 1;
        Place { number: agenda.last_place, due: None }
    }

    /// Rings for that office at that moment, and at no other.
    pub(crate) fn set(
        &self,
        place: &mut Place,
        due: Option<Mono>,
        office: &Arc<Office>,
        on: &Handle,
    ) {
        if place.due == due {
            return;
        }
        let mut agenda = self.0.agenda();
        if let Some(old) = std::mem::replace(&mut place.due, due) {
            agenda.moments.remove(&(old, place.number));
        }
        let Some(due) = due else {
            // The task has nothing to wait for.
            if agenda.moments.is_empty() {
                self.0.changed.notify_one();
            }
            return;
        };
        agenda.moments.insert((due, place.number), Arc::downgrade(office));
        if !std::mem::replace(&mut agenda.running, true) {
            drop(agenda);
            // In a runtime that has ended it is dropped at once.
            on.spawn(Running(self.0.clone()).run());
        } else if agenda.moments.first_key_value().is_some_and(|(at, _)| at.1 == place.number) {
            self.0.changed.notify_one();
        }
    }
}

impl Clockwork {
    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings for everybody whose moment has come: how long until the next. `None` ends the task.
    fn ring(&self) -> Option<Duration> {
        loop {
            let mut agenda = self.agenda();
            let Some(next) = agenda.moments.first_entry() else {
                agenda.running = false;
                return None;
            };
            let left = now().mono.until(next.key().0);
            if !left.is_zero() {
                return Some(left);
            }
            let office = next.remove().upgrade();
            drop(agenda);
            if let Some(office) = office {
                office.ring();
            }
        }
    }
}

/// The task. One that ends with its runtime lets another begin.
struct Running(Arc<Clockwork>);

impl Running {
    async fn run(self) {
        while let Some(left) = self.0.ring() {
            // Whoever comes in between has left a permit.
            let _ = tokio::time::timeout(left, self.0.changed.notified()).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.agenda().running = false;
    }
}
