//! The driver: one thread at a time that does what the machine wants done.
//!
//! ```text
//! callers ──event──▶ desk (mutex) ──job──▶ driver ──▶ network, store, listener, browser
//!    ▲                    │  ▲                │
//!    └───── bell ─────────┘  └────answer──────┘
//! ```
//!
//! It starts when there is work and ends when there is none, so an idle session has no thread.
//! Callers only wait: each leaves on time, and what must be seen through (a token request, a save)
//! goes on without them. The desk is never held while anything blocks.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use mcp_auth::output::{ListenSpec, LoadCall, Page};
use mcp_auth::{Action, HostError, Mono, Notice};
use mcp_auth_host::listener::{self, CallbackAddress, CallbackListener};

use crate::hands::Hands;
use mcp_auth_host::desk::{Desk, Job, now};

/// How long a browser waits for its page.
const PAGE_PATIENCE: Duration = Duration::from_secs(10);
/// How soon another thread is asked for where none was to be had.
const STAFFING_PAUSE: Duration = Duration::from_millis(100);

pub(crate) type OnNotice = Box<dyn Fn(&Notice) + Send + Sync>;

/// What all handles, the driver and the listener share.
pub(crate) struct Office {
    pub(crate) hands: Hands,
    on_notice: OnNotice,
    /// Held while notices are told: they come in order.
    telling: Mutex<()>,
    desk: Mutex<Desk>,
    /// Rung whenever something at the desk has changed.
    bell: Condvar,
}

impl Office {
    pub(crate) fn new(hands: Hands, on_notice: OnNotice, desk: Desk) -> Self {
        let (telling, bell) = (Mutex::default(), Condvar::new());
        Self { hands, on_notice, telling, desk: Mutex::new(desk), bell }
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

    /// Does something at the desk, waits until it is `done`, or until that moment, and `leave`s.
    pub(crate) fn wait<S: Copy, T>(
        self: &Arc<Self>,
        until: Mono,
        start: impl FnOnce(&mut Desk) -> S,
        done: impl Fn(&Desk, S) -> bool,
        leave: impl FnOnce(&mut Desk, S, bool) -> T,
    ) -> T {
        let mut desk = self.desk();
        let started = start(&mut desk);
        self.bell.notify_all();
        let over = loop {
            desk.tick_if_due();
            let over = done(&desk, started);
            if over || until <= now().mono {
                break over;
            }
            let staffed = self.staff(&mut desk);
            let soon = (!staffed).then(|| now().mono.plus(STAFFING_PAUSE));
            desk = self.doze(desk, soon.into_iter().chain([until]).min());
        };
        let result = leave(&mut desk, started, over);
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
        desk.driven = driver.spawn(move || Shift(office).work()).is_ok();
        desk.driven
    }

    /// Sleeps until the bell rings, the machine wants a tick, or that moment has come.
    fn doze<'a>(&self, desk: MutexGuard<'a, Desk>, until: Option<Mono>) -> MutexGuard<'a, Desk> {
        match desk.due.into_iter().chain(until).min() {
            Some(until) => {
                let left = now().mono.until(until);
                self.bell.wait_timeout(desk, left).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.bell.wait(desk).unwrap_or_else(PoisonError::into_inner),
        }
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
        loop {
            desk.tick_if_due();
            if let Some(job) = desk.next_job() {
                return Some(job);
            }
            // Decided under the lock: whoever brings work from now on finds no driver.
            desk.driven = desk.has_work();
            if !desk.driven {
                return None;
            }
            desk = self.doze(desk, None);
        }
    }

    fn perform(self: &Arc<Self>, job: Job) {
        match job {
            Job::Do(action) => self.act(action),
            Job::Tell => self.tell(),
            Job::Dismiss => {
                let listener = self.desk().listener.take();
                drop(listener); // off the desk: it waits for pages that are on their way
            }
            Job::Release => {
                let lock = self.desk().lock.take();
                drop(lock);
            }
        }
    }

    fn act(self: &Arc<Self>, action: Action) {
        let event = match action {
            Action::Load(call) => {
                let loaded = self.load(&call);
                call.answer(loaded)
            }
            Action::Save(call) => {
                let saved = self.hands.save(&call);
                if call.record().is_none() {
                    self.desk().erased = Some(saved.clone());
                }
                call.answer(saved)
            }
            Action::Secret(call) => {
                let found = self.hands.secret(&call);
                call.answer(found)
            }
            Action::Key(call) => {
                let key = self.hands.key(&call);
                call.answer(key)
            }
            Action::Sign(call) => {
                let signature = self.hands.sign(call.key(), call.algorithm(), call.input());
                call.answer(signature)
            }
            Action::Http(call) => {
                let response = self.hands.http(&call);
                call.answer(response)
            }
            Action::Listen(call) => {
                let uri = self.listen(call.spec());
                call.answer(uri)
            }
            Action::Browse(call) => {
                let shown = self.hands.browse(&call);
                call.answer(shown)
            }
            Action::ShowCode(call) => {
                let shown = self.hands.show_code(&call);
                call.answer(shown)
            }
            // An action that this host doesn't know runs into its deadline.
            _ => return,
        };
        self.at_desk(|desk| desk.feed(event));
    }

    fn load(&self, call: &LoadCall) -> Result<Option<Vec<u8>>, HostError> {
        // None is left, unless a lock came too late for the machine to still want it.
        let stale = self.desk().lock.take();
        drop(stale);
        let (record, lock) = self.hands.load(call)?;
        self.desk().lock = lock;
        Ok(record)
    }

    fn listen(self: &Arc<Self>, spec: &ListenSpec) -> Result<String, HostError> {
        // The listener is part of what it would keep alive.
        let office = Arc::downgrade(self);
        let on_redirect = move |target| match Weak::upgrade(&office) {
            Some(office) => office.on_redirect(target),
            None => listener::Page::NotForUs,
        };
        let address = CallbackAddress::from(spec);
        let bound = CallbackListener::bind(&address).and_then(|bound| bound.start(on_redirect));
        let running = bound.map_err(HostError::new)?;
        let uri = running.redirect_uri().to_owned();
        let stale = self.desk().listener.replace(running);
        drop(stale);
        Ok(uri)
    }

    /// A redirect came to the listener: the page for whoever sent it.
    fn on_redirect(self: &Arc<Self>, target: String) -> listener::Page {
        listener::Page::of(self.page_for(target), self.hands.program.as_deref())
    }

    /// What whoever sent this redirect is to be shown.
    pub(crate) fn page_for(self: &Arc<Self>, target: String) -> Page {
        let page = self.wait(
            now().mono.plus(PAGE_PATIENCE),
            |desk| desk.redirected(target, true),
            |desk, ticket| desk.has_page(ticket),
            |desk, ticket, _| desk.take_page(ticket),
        );
        page.unwrap_or(Page::NotForUs)
    }
}

/// A driver's time at work. Should it end with a panic (of whoever is told notices), another driver
/// takes over.
struct Shift(Arc<Office>);

impl Shift {
    fn work(self) {
        while let Some(job) = self.0.next_job() {
            self.0.perform(job);
        }
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.at_desk(|desk| desk.driven = false);
        }
    }
}
