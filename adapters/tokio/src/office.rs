//! The office: the desk, and who comes there.
//!
//! ```text
//! callers ──event──▶ desk (mutex) ──job──▶ driver ──▶ network, store, listener, browser
//!    ▲                  │  ▲   │             │
//!    └────── bell ──────┘  │   └─▶ timer     │
//!                          └─────answer──────┘
//! ```
//!
//! The desk is never held across an await. A caller who is dropped takes nothing along but what it came
//! for, if nobody else waits for that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcp_auth::Mono;
use mcp_auth_host::desk::{Desk, Errand, now};
use mcp_auth_host::hands::Hands;
use mcp_auth_host::setup::{OnNotice, Opened};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::http_client::HttpClient;
use crate::timer::{Common, Place};

/// What all handles, the driver, the timer and the listener share.
pub(crate) struct Office {
    pub(crate) hands: Arc<Hands>,
    pub(crate) client: Arc<dyn HttpClient>,
    on_notice: OnNotice,
    /// Held while notices are told: they come in order.
    telling: Mutex<()>,
    front: Mutex<Front>,
    /// Rung whenever something at the desk has changed.
    bell: watch::Sender<()>,
    pub(crate) common: Common,
    pub(crate) runtime: Handle,
}

/// The desk, and what only this host knows of it.
pub(crate) struct Front {
    pub(crate) desk: Desk,
    place: Place,
    /// Actions that are on their way.
    pub(crate) out: usize,
}

impl Office {
    pub(crate) fn new(client: Arc<dyn HttpClient>, common: Common, opened: Opened) -> Self {
        let front = Front { desk: opened.desk, place: common.timer.place(), out: 0 };
        Self {
            hands: Arc::new(opened.hands),
            client,
            on_notice: opened.on_notice,
            telling: Mutex::default(),
            front: Mutex::new(front),
            bell: watch::Sender::new(()),
            common,
            runtime: Handle::current(),
        }
    }

    pub(crate) fn front(&self) -> MutexGuard<'_, Front> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something at the desk, and sees to it that what follows is done.
    pub(crate) fn at_desk<T>(self: &Arc<Self>, act: impl FnOnce(&mut Desk) -> T) -> T {
        let mut front = self.front();
        let desk = &mut front.desk;
        desk.tick_if_due();
        let result = act(desk);
        if !desk.driven && desk.has_jobs() {
            desk.driven = true;
            self.runtime.spawn(self.clone().drive());
        }
        let (due, stirred) = (desk.due.filter(|_| !desk.closed), desk.has_stirred());
        self.common.timer.set(&mut front.place, due, self, &self.runtime);
        drop(front);
        if stirred {
            self.ring_bell();
        }
        result
    }

    /// Wakes all who wait.
    pub(crate) fn ring_bell(&self) {
        self.bell.send_replace(());
    }

    /// The moment has come that the timer was set to.
    pub(crate) fn ring(self: &Arc<Self>) {
        self.front().place.forget();
        self.at_desk(|_| ());
    }

    /// Begins something at the desk, and ends it once it is done, or at that moment, or when the
    /// caller is dropped.
    pub(crate) async fn wait<E: Errand + Send>(
        self: &Arc<Self>,
        until: Mono,
        errand: E,
    ) -> Option<E::Result> {
        // Before anything is looked at: no ring is missed.
        let bell = self.bell.subscribe();
        let mut waiting = Waiting { office: self, errand: Some(errand) };
        waiting.begin();
        self.until(bell, until, |front| waiting.is_done(&front.desk)).await;
        let result = waiting.end();
        self.tell();
        result
    }

    /// Waits until all is done that has begun, and saved: `false` where it isn't at that moment.
    pub(crate) async fn settled(&self, until: Mono) -> bool {
        let is_saved = |desk: &Desk| desk.machine.status().is_none_or(|status| status.saved);
        let settled = |front: &Front| {
            let busy = front.desk.driven || front.desk.has_jobs() || front.out > 0;
            !busy && is_saved(&front.desk)
        };
        self.until(self.bell.subscribe(), until, settled).await
    }

    /// Waits until it is `so`; `false` where it isn't at that moment.
    async fn until(
        &self,
        mut bell: watch::Receiver<()>,
        until: Mono,
        so: impl Fn(&Front) -> bool,
    ) -> bool {
        loop {
            if so(&self.front()) {
                return true;
            }
            let left = now().mono.until(until);
            if left.is_zero() || tokio::time::timeout(left, bell.changed()).await.is_err() {
                return so(&self.front());
            }
        }
    }

    /// Tells what there is to tell. Whoever returns from here knows that all has been told.
    pub(crate) fn tell(&self) {
        let _turn = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let notice = self.front().desk.notices.pop_front();
            let Some(notice) = notice else { return };
            (self.on_notice)(&notice);
        }
    }
}

/// Somebody who waits, and leaves in any case.
struct Waiting<'a, E: Errand> {
    office: &'a Arc<Office>,
    errand: Option<E>,
}

impl<E: Errand> Waiting<'_, E> {
    fn begin(&mut self) {
        let errand = &mut self.errand;
        self.office.at_desk(|desk| errand.iter_mut().for_each(|errand| errand.begin(desk)));
    }

    fn is_done(&self, desk: &Desk) -> bool {
        self.errand.as_ref().is_none_or(|errand| errand.is_done(desk))
    }

    fn end(&mut self) -> Option<E::Result> {
        let errand = self.errand.take()?;
        self.office.at_desk(|desk| errand.end(desk))
    }
}

impl<E: Errand> Drop for Waiting<'_, E> {
    fn drop(&mut self) {
        self.end();
    }
}
