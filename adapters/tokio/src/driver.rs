//! The driver: a task that does what the machine wants done, while there is something to do.
//!
//! ```text
//! callers ──event──▶ desk (mutex) ──job──▶ driver ──▶ network, store, listener, browser
//!    ▲                  │  ▲   │             │
//!    └────── bell ──────┘  │   └─▶ timer     │
//!                          └─────answer──────┘
//! ```
//!
//! A caller that is dropped takes nothing along: what must be seen through (a token request, a save)
//! goes on in tasks of its own. The desk is never held across an await, and whatever blocks is done on
//! the runtime's threads for that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mcp_auth::output::{ListenSpec, LoadCall};
use mcp_auth::{Action, Event, HostError, Mono, Notice};
use mcp_auth_host::desk::{Desk, Job, now};
use mcp_auth_host::listener::{self, CallbackAddress, CallbackListener};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::hands::Hands;
use crate::timer::Timer;

/// How long a browser waits for its page.
const PAGE_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) type OnNotice = Box<dyn Fn(&Notice) + Send + Sync>;

/// What all handles, the driver, the timer and the listener share.
pub(crate) struct Office {
    pub(crate) hands: Hands,
    on_notice: OnNotice,
    /// Held while notices are told: they come in order.
    telling: Mutex<()>,
    desk: Mutex<Desk>,
    /// Rung whenever something at the desk has changed.
    bell: watch::Sender<()>,
    timer: Timer,
    /// At the timer.
    place: u64,
    runtime: Handle,
}

impl Office {
    pub(crate) fn new(hands: Hands, on_notice: OnNotice, desk: Desk, timer: Timer) -> Self {
        Self {
            hands,
            on_notice,
            telling: Mutex::default(),
            desk: Mutex::new(desk),
            bell: watch::Sender::new(()),
            place: timer.place(),
            timer,
            runtime: Handle::current(),
        }
    }

    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something at the desk, and sees to it that what follows is done.
    pub(crate) fn at_desk<T>(self: &Arc<Self>, act: impl FnOnce(&mut Desk) -> T) -> T {
        let mut desk = self.desk();
        desk.tick_if_due();
        let result = act(&mut desk);
        if !desk.driven && desk.has_jobs() {
            desk.driven = true;
            self.runtime.spawn(Shift(self.clone()).work());
        }
        let due = desk.due.filter(|_| !desk.closed);
        self.timer.set(self.place, due, &Arc::downgrade(self), &self.runtime);
        drop(desk);
        self.bell.send_replace(());
        result
    }

    /// Does something at the desk, waits until it is `done`, or until that moment, and `leave`s. Who
    /// is dropped meanwhile leaves as well.
    pub(crate) async fn wait<S: Copy, T>(
        self: &Arc<Self>,
        until: Mono,
        start: impl FnOnce(&mut Desk) -> S,
        done: impl Fn(&Desk, S) -> bool,
        leave: impl FnOnce(&mut Desk, S, bool) -> T,
    ) -> T {
        // Before anything is looked at: no ring is missed.
        let mut bell = self.bell.subscribe();
        let started = self.at_desk(start);
        let leave = |desk: &mut Desk, over| leave(desk, started, over);
        let waiting = Waiting { office: self, leave: Some(leave) };
        let over = loop {
            bell.mark_unchanged();
            if done(&self.desk(), started) {
                break true;
            }
            let left = now().mono.until(until);
            if left.is_zero() || tokio::time::timeout(left, bell.changed()).await.is_err() {
                break done(&self.desk(), started);
            }
        };
        let result = waiting.leave(over);
        self.tell();
        result
    }

    /// Tells what there is to tell. Whoever returns from here knows that all has been told.
    fn tell(&self) {
        let _turn = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let notice = self.desk().notices.pop_front();
            let Some(notice) = notice else { return };
            (self.on_notice)(&notice);
        }
    }

    /// The driver's next job; `None` ends its shift.
    fn next_job(&self) -> Option<Job> {
        let mut desk = self.desk();
        let job = desk.next_job();
        // Decided under the lock: whoever brings work from now on finds no driver.
        desk.driven = job.is_some();
        job
    }

    /// What takes its time goes on beside the driver: the machine asks for one exchange at a time.
    async fn perform(self: &Arc<Self>, job: Job) {
        match job {
            Job::Do(Action::Listen(call)) => {
                let uri = self.listen(call.spec()).await;
                self.answered(call.answer(uri));
            }
            Job::Do(Action::Browse(call)) => {
                let url = call.url().to_string();
                let shown = self.hands.blocking(move |hands| hands.browse(&url)).await;
                self.answered(call.answer(shown));
            }
            Job::Do(action) => drop(self.runtime.spawn(self.clone().exchange(action))),
            Job::Tell => self.tell(),
            Job::Dismiss => {
                let listener = self.desk().listener.take();
                // It waits for pages that are on their way.
                let _ = spawn_blocking(move || drop(listener)).await;
            }
            Job::Release => {
                let lock = self.desk().lock.take();
                let _ = spawn_blocking(move || drop(lock)).await;
            }
        }
    }

    async fn exchange(self: Arc<Self>, action: Action) {
        let event = match action {
            Action::Load(call) => {
                let loaded = self.load(&call).await;
                call.answer(loaded)
            }
            Action::Save(call) => {
                let (call, saved) = self.hands.save(call).await;
                if call.record().is_none() {
                    self.desk().erased = Some(saved.clone());
                }
                call.answer(saved)
            }
            Action::Http(call) => {
                let response = self.hands.http(&call).await;
                call.answer(response)
            }
            // An action that this host doesn't know runs into its deadline.
            _ => return,
        };
        self.answered(event);
    }

    fn answered(self: &Arc<Self>, event: Event) {
        self.at_desk(|desk| desk.feed(event));
    }

    async fn load(&self, call: &LoadCall) -> Result<Option<Vec<u8>>, HostError> {
        // None is left, unless a lock came too late for the machine to still want it.
        let stale = self.desk().lock.take();
        let (record, lock) = self.hands.load(call, stale).await?;
        self.desk().lock = lock;
        Ok(record)
    }

    async fn listen(self: &Arc<Self>, spec: &ListenSpec) -> Result<String, HostError> {
        // The listener is part of what it would keep alive.
        let office = Arc::downgrade(self);
        let on_redirect = move |target| match Weak::upgrade(&office) {
            Some(office) => office.on_redirect(target),
            None => listener::Page::NotForUs,
        };
        let address = CallbackAddress::from(spec);
        let bind = || CallbackListener::bind(&address).and_then(|bound| bound.start(on_redirect));
        let running = bind().map_err(HostError::new)?;
        let uri = running.redirect_uri().to_owned();
        let stale = self.desk().listener.replace(running);
        let _ = spawn_blocking(move || drop(stale)).await;
        Ok(uri)
    }

    /// A redirect came to the listener: the page for whoever sent it. On a thread of the listener.
    fn on_redirect(self: &Arc<Self>, target: String) -> listener::Page {
        let page = self.runtime.block_on(self.wait(
            now().mono.plus(PAGE_PATIENCE),
            |desk| desk.redirected(target, true),
            |desk, ticket| desk.has_page(ticket),
            |desk, ticket, _| desk.take_page(ticket),
        ));
        page.map_or(listener::Page::NotForUs, |page| self.hands.page(page))
    }
}

/// Somebody who waits, and leaves in any case.
struct Waiting<'a, L: FnOnce(&mut Desk, bool) -> T, T> {
    office: &'a Arc<Office>,
    leave: Option<L>,
}

impl<L: FnOnce(&mut Desk, bool) -> T, T> Waiting<'_, L, T> {
    fn leave(mut self, over: bool) -> T {
        let leave = self.leave.take().expect("left once");
        self.office.at_desk(|desk| leave(desk, over))
    }
}

impl<L: FnOnce(&mut Desk, bool) -> T, T> Drop for Waiting<'_, L, T> {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            self.office.at_desk(|desk| drop(leave(desk, false)));
        }
    }
}

/// A driver's time at work. Should it end with a panic (of whoever is told notices), another driver
/// takes over.
struct Shift(Arc<Office>);

impl Shift {
    async fn work(self) {
        while let Some(job) = self.0.next_job() {
            self.0.perform(job).await;
        }
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.desk().driven = false;
            self.0.at_desk(|_| ());
        }
    }
}

impl std::fmt::Debug for Office {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Office").finish_non_exhaustive()
    }
}
