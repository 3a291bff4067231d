//! The office: the desk, and who comes there.
//!
//! ```text
//! callers ──event──▶ desk (mutex) ──job──▶ driver ──▶ network, store, listener, browser
//!    ▲                    │  ▲                │
//!    └───── bell ─────────┘  └────answer──────┘
//! ```
//!
//! Callers only wait: each leaves on time, and what must be seen through (a token request, a save)
//! goes on without them. The desk is never held while anything blocks.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use mcp_auth::Mono;
use mcp_auth_host::desk::{Desk, Errand, now};
use mcp_auth_host::hands::Hands;
use mcp_auth_host::setup::{OnNotice, Opened};

use crate::driver::Shift;
use crate::network::Network;

/// How soon another thread is asked for where none was to be had.
const STAFFING_PAUSE: Duration = Duration::from_millis(100);

/// What all handles, the driver and the listener share.
pub(crate) struct Office {
    pub(crate) hands: Hands,
    pub(crate) network: Network,
    on_notice: OnNotice,
    /// Held while notices are told: they come in order.
    telling: Mutex<()>,
    desk: Mutex<Desk>,
    /// Rung whenever something at the desk has changed.
    bell: Condvar,
}

impl Office {
    pub(crate) fn new(network: Network, opened: Opened) -> Self {
        Self {
            hands: opened.hands,
            network,
            on_notice: opened.on_notice,
            telling: Mutex::default(),
            desk: Mutex::new(opened.desk),
            bell: Condvar::new(),
        }
    }

    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something at the desk, and sees to it that what follows is done.
    pub(crate) fn at_desk<T>(self: &Arc<Self>, act: impl FnOnce(&mut Desk) -> T) -> T {
        let mut desk = self.desk();
        let result = act(&mut desk);
        self.staff(&mut desk);
        self.bell.notify_all();
        result
    }

    /// Begins something at the desk, and ends it once it is done, or at that moment.
    pub(crate) fn wait<E: Errand>(
        self: &Arc<Self>,
        until: Mono,
        mut errand: E,
    ) -> Option<E::Result> {
        let mut desk = self.desk();
        errand.begin(&mut desk);
        self.bell.notify_all();
        loop {
            desk.tick_if_due();
            if errand.is_done(&desk) || until <= now().mono {
                break;
            }
            let staffed = self.staff(&mut desk);
            let soon = (!staffed).then(|| now().mono.plus(STAFFING_PAUSE));
            desk = self.doze(desk, soon.into_iter().chain([until]).min());
        }
        let result = errand.end(&mut desk);
        self.staff(&mut desk);
        self.bell.notify_all();
        drop(desk);
        self.tell();
        result
    }

    /// Makes sure that somebody does what is to be done; `false` where no thread can be had.
    fn staff(self: &Arc<Self>, desk: &mut Desk) -> bool {
        if desk.driven || !desk.has_work() {
            return true;
        }
        let office = self.clone();
        let driver = thread::Builder::new().name("mcp-auth".into());
        desk.driven = driver.spawn(move || Shift::of(office).work()).is_ok();
        desk.driven
    }

    /// Sleeps until the bell rings, the machine wants a tick, or that moment has come.
    pub(crate) fn doze<'a>(
        &self,
        desk: MutexGuard<'a, Desk>,
        until: Option<Mono>,
    ) -> MutexGuard<'a, Desk> {
        match desk.due.into_iter().chain(until).min() {
            Some(until) => {
                let left = now().mono.until(until);
                self.bell.wait_timeout(desk, left).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.bell.wait(desk).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Tells what there is to tell. Whoever returns from here knows that all has been told.
    pub(crate) fn tell(&self) {
        let _turn = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let notice = self.desk().notices.pop_front();
            let Some(notice) = notice else { return };
            (self.on_notice)(&notice);
        }
    }
}
