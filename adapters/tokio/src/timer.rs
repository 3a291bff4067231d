//! One task that knows when each session wants a tick, however many there are.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mcp_auth::Mono;
use mcp_auth_host::desk::now;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::driver::Office;

/// The clock of any number of sessions: one task, which is there while somebody waits for a moment.
#[derive(Clone, Debug)]
pub struct Timer(Arc<Clockwork>);

#[derive(Debug)]
struct Clockwork {
    agenda: Mutex<Agenda>,
    /// The next moment may have changed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Agenda {
    last_place: u64,
    moments: BTreeSet<(Mono, u64)>,
    offices: HashMap<u64, (Mono, Weak<Office>)>,
    running: bool,
}

impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer {
    /// A clock that nobody waits at yet.
    pub fn new() -> Self {
        Self(Arc::new(Clockwork { agenda: Mutex::default(), changed: Notify::new() }))
    }

    /// A place of one's own.
    pub(crate) fn place(&self) -> u64 {
        let mut agenda = self.0.agenda();
        agenda.last_place += 1;
        agenda.last_place
    }

    /// Ticks that office at that moment, and at no other.
    pub(crate) fn set(&self, place: u64, due: Option<Mono>, office: &Weak<Office>, on: &Handle) {
        let mut agenda = self.0.agenda();
        let before = agenda.moments.first().copied();
        if let Some((old, _)) = agenda.offices.remove(&place) {
            agenda.moments.remove(&(old, place));
        }
        if let Some(due) = due {
            agenda.moments.insert((due, place));
            agenda.offices.insert(place, (due, office.clone()));
        }
        if !agenda.running && !agenda.moments.is_empty() {
            agenda.running = true;
            on.spawn(self.0.clone().run());
        } else if agenda.moments.first().copied() != before {
            self.0.changed.notify_one();
        }
    }
}

impl Clockwork {
    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        let _running = Running(&self);
        while let Some(left) = self.ring() {
            // Whoever comes in between has left a permit.
            let _ = tokio::time::timeout(left, self.changed.notified()).await;
        }
    }

    /// Ticks everybody whose moment has come: how long until the next. `None` ends the task.
    fn ring(&self) -> Option<Duration> {
        loop {
            let mut agenda = self.agenda();
            let Some((due, place)) = agenda.moments.first().copied() else {
                agenda.running = false;
                return None;
            };
            let left = now().mono.until(due);
            if !left.is_zero() {
                return Some(left);
            }
            agenda.moments.remove(&(due, place));
            let office = agenda.offices.remove(&place).and_then(|(_, office)| office.upgrade());
            drop(agenda);
            if let Some(office) = office {
                office.at_desk(|_| ());
            }
        }
    }
}

/// A task that ends with its runtime lets another begin.
struct Running<'a>(&'a Clockwork);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.agenda().running = false;
    }
}
