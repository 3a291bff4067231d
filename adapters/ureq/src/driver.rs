//! The driver: one thread at a time that does what the machine wants done. It starts when there is work
//! and ends when there is none, so an idle session has no thread.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use mcp_auth::output::{HttpCall, ListenSpec, LoadCall, Page};
use mcp_auth::{Action, HostError, TransportError, TransportErrorKind};
use mcp_auth_host::desk::{Job, Redirect, now};
use mcp_auth_host::hands::contain;
use mcp_auth_host::listener;

use crate::certificate::client_certificate;
use crate::exchange::exchange;
use crate::office::Office;

/// How long a browser waits for its page.
const PAGE_PATIENCE: Duration = Duration::from_secs(10);

/// A driver's time at work. Should it end with a panic (of whoever is told notices), another driver
/// takes over.
pub(crate) struct Shift(Arc<Office>);

impl Shift {
    pub(crate) fn of(office: Arc<Office>) -> Self {
        Self(office)
    }

    pub(crate) fn work(self) {
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

impl Office {
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
                let signature = self.hands.sign(&call);
                call.answer(signature)
            }
            Action::Http(call) => {
                let response = self.http(&call);
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

    fn http(&self, call: &HttpCall) -> Result<http::Response<Vec<u8>>, TransportError> {
        let start = now().mono;
        let read = |places| self.hands.identity(places).and_then(|it| client_certificate(&it));
        let shown = call.certificate().map(read).transpose();
        let shown = shown.map_err(|error| TransportError::new(TransportErrorKind::Other, error))?;
        let limits = call.limits().after(start.until(now().mono))?;
        contain(
            || TransportError::new(TransportErrorKind::Other, "the agent panicked"),
            || exchange(&self.network, call.request(), limits, call.reach(), shown),
        )
    }

    fn load(&self, call: &LoadCall) -> Result<Option<Vec<u8>>, HostError> {
        // None is left, unless a lock came too late for the machine to still want it.
        let stale = self.desk().lock.take();
        drop(stale);
        let (record, lock) = self.hands.load(call, call.deadline())?;
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
        let running = self.hands.listen(spec, on_redirect)?;
        let uri = running.redirect_uri().to_owned();
        let stale = self.desk().listener.replace(running);
        drop(stale);
        Ok(uri)
    }

    /// A redirect came to the listener: the page for whoever sent it.
    fn on_redirect(self: &Arc<Self>, target: String) -> listener::Page {
        self.hands.page(self.page_for(target))
    }

    /// What whoever sent this redirect is to be shown.
    pub(crate) fn page_for(self: &Arc<Self>, target: String) -> Page {
        let page = self.wait(now().mono.plus(PAGE_PATIENCE), Redirect::to(target));
        page.unwrap_or(Page::NotForUs)
    }
}
