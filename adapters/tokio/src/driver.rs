//! The driver: a task that does what the machine wants done, while there is something to do.
//!
//! ```text
//! callers ──event──▶ desk (mutex) ──job──▶ driver ──▶ network, store, listener, browser
//!    ▲                  │  ▲   │             │
//!    └────── bell ──────┘  │   └─▶ timer     │
//!                          └─────answer──────┘
//! ```
//!
//! Each action is a task of its own, so that a caller who is dropped takes nothing along. The desk is
//! never held across an await, and whatever blocks is done on the runtime's threads for that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use mcp_auth::output::{HttpCall, ListenSpec, LoadCall};
use mcp_auth::{Action, Event, HostError, Mono, TransportError, TransportErrorKind};
use mcp_auth_host::desk::{Desk, Errand, Job, Redirect, now};
use mcp_auth_host::hands::Hands;
use mcp_auth_host::listener;
use mcp_auth_host::setup::{OnNotice, Opened};
use mcp_auth_host::store::Lock;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::http_client::HttpClient;
use crate::timer::{Common, Place};

/// How long a browser waits for its page.
const PAGE_PATIENCE: Duration = Duration::from_secs(10);

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
    common: Common,
    runtime: Handle,
}

/// The desk, and what only this host knows of it.
struct Front {
    desk: Desk,
    place: Place,
    /// Actions that are on their way.
    out: usize,
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

    fn front(&self) -> MutexGuard<'_, Front> {
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
            self.runtime.spawn(Shift(self.clone()).work());
        }
        let (due, stirred) = (desk.due.filter(|_| !desk.closed), desk.has_stirred());
        self.common.timer.set(&mut front.place, due, self, &self.runtime);
        drop(front);
        if stirred {
            self.bell.send_replace(());
        }
        result
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
    fn tell(&self) {
        let _turn = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let notice = self.front().desk.notices.pop_front();
            let Some(notice) = notice else { return };
            (self.on_notice)(&notice);
        }
    }

    /// The driver's next job; `None` ends its shift.
    fn next_job(&self) -> Option<Job> {
        let mut front = self.front();
        let job = front.desk.next_job();
        // Decided under the lock: whoever brings work from now on finds no driver.
        front.desk.driven = job.is_some();
        front.out += usize::from(matches!(job, Some(Job::Do(_))));
        drop(front);
        if job.is_none() {
            self.bell.send_replace(());
        }
        job
    }

    async fn perform(self: &Arc<Self>, job: Job) {
        match job {
            // In its turn: a listener that is no longer wanted is the next job.
            Job::Do(Action::Listen(call)) => {
                let out = Out(self.clone());
                let uri = self.listen(call.spec());
                out.answered(call.answer(uri));
            }
            Job::Do(action) => drop(self.runtime.spawn(Out(self.clone()).act(action))),
            Job::Tell => self.tell(),
            Job::Dismiss => {
                let listener = self.front().desk.listener.take();
                // It waits for pages that are on their way.
                self.blocking(move |_| drop(listener)).await;
            }
            Job::Release => {
                let lock = self.front().desk.lock.take();
                self.blocking(move |_| drop(lock)).await;
            }
        }
    }

    /// On one of the runtime's threads for what blocks.
    async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Hands) -> T + Send + 'static,
    ) -> T {
        let hands = self.hands.clone();
        match spawn_blocking(move || act(&hands)).await {
            Ok(result) => result,
            // Panics are contained: the runtime ends, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }

    async fn load(&self, call: LoadCall) -> Event {
        let (start, deadline) = (now().mono, call.deadline());
        // Who wants the lock is about to refresh: so many at a time.
        let permit = match call.lock() {
            true => self.common.permits.clone().acquire_owned().await.ok(),
            false => None,
        };
        let stale = self.front().desk.lock.take();
        let (lock, event) = self
            .blocking(move |hands| {
                drop(stale);
                let within = now().mono.until(start.plus(deadline));
                match hands.load(&call, within) {
                    Ok((record, lock)) => (lock, call.answer(Ok(record))),
                    Err(error) => (None, call.answer(Err(error))),
                }
            })
            .await;
        let held = lock.map(|lock| -> Lock { Box::new((lock, permit)) });
        // One that comes too late for the machine to still want it is given back.
        self.front().desk.lock = held.filter(|_| now().mono < start.plus(deadline));
        event
    }

    async fn http(&self, call: &HttpCall) -> Result<http::Response<Vec<u8>>, TransportError> {
        let (client, request) = (self.client.clone(), call.request().clone());
        let (limits, reach) = (call.limits(), call.reach().clone());
        // In a task of its own: a panic in somebody else's code is the failure of one action.
        let sent = tokio::spawn(async move { client.send(request, limits, reach).await });
        sent.await.unwrap_or_else(|_| {
            Err(TransportError::new(TransportErrorKind::Other, "the HTTP client panicked"))
        })
    }

    fn listen(self: &Arc<Self>, spec: &ListenSpec) -> Result<String, HostError> {
        // The listener is part of what it would keep alive.
        let office = Arc::downgrade(self);
        let running = self.hands.listen(spec, move |target| match office.upgrade() {
            Some(office) => office.on_redirect(target),
            None => listener::Page::NotForUs,
        })?;
        let uri = running.redirect_uri().to_owned();
        let stale = self.front().desk.listener.replace(running);
        spawn_blocking(move || drop(stale));
        Ok(uri)
    }

    /// A redirect came to the listener, on a thread of its own: the page for whoever sent it.
    fn on_redirect(self: Arc<Self>, target: String) -> listener::Page {
        let (show, shown) = mpsc::channel();
        let office = self.clone();
        self.runtime.spawn(async move {
            let until = now().mono.plus(PAGE_PATIENCE);
            let _ = show.send(office.wait(until, Redirect::to(target)).await);
        });
        // Nothing comes where the runtime has ended.
        self.hands.page(shown.recv().ok().flatten())
    }
}

/// An action on its way.
struct Out(Arc<Office>);

impl Out {
    async fn act(self, action: Action) {
        let office = &self.0;
        let event = match action {
            Action::Load(call) => office.load(call).await,
            Action::Save(call) => {
                let erases = call.record().is_none();
                let save = |hands: &Hands| (hands.save(&call), call);
                let (saved, call) = office.blocking(save).await;
                if erases {
                    office.front().desk.erased = Some(saved.clone());
                }
                call.answer(saved)
            }
            Action::Secret(call) => {
                let find = |hands: &Hands| (hands.secret(&call), call);
                let (found, call) = office.blocking(find).await;
                call.answer(found)
            }
            Action::Http(call) => {
                let response = office.http(&call).await;
                call.answer(response)
            }
            Action::Browse(call) => {
                let browse = |hands: &Hands| (hands.browse(&call), call);
                let (shown, call) = office.blocking(browse).await;
                call.answer(shown)
            }
            // An action that this host doesn't know runs into its deadline.
            _ => return,
        };
        self.answered(event);
    }

    fn answered(self, event: Event) {
        self.0.at_desk(|desk| desk.feed(event));
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.0.front().out -= 1;
        self.0.bell.send_replace(());
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
            self.0.front().desk.driven = false;
            self.0.at_desk(|_| ());
        }
    }
}
