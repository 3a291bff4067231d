//! The driver: a task that does what the machine wants done, while there is something to do.
//!
//! Each action is a task of its own, so that nobody who leaves takes it along, and whatever blocks is
//! done on the runtime's threads for that.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mcp_auth::output::LoadCall;
use mcp_auth::{Action, Event, HostError};
use mcp_auth_host::desk::{Job, now};
use mcp_auth_host::hands::{Hands, contain};
use mcp_auth_host::store::Lock;
use tokio::task::spawn_blocking;

use crate::office::Office;

impl Office {
    /// A driver's time at work.
    pub(crate) async fn drive(self: Arc<Self>) {
        while let Some(job) = self.next_job() {
            self.perform(job).await;
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
            self.ring_bell();
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
            // A panic of whoever is told is nobody else's.
            Job::Tell => drop(catch_unwind(AssertUnwindSafe(|| self.tell()))),
            Job::Dismiss => {
                let listener = self.front().desk.listener.take();
                // It waits for pages that are on their way.
                self.release(listener).await;
            }
            Job::Release => {
                let lock = self.front().desk.lock.take();
                self.release(lock).await;
            }
        }
    }

    /// On one of the runtime's threads for what blocks. A panic there is an answer: unanswered, an
    /// action would hold up others until its deadline, and a driver for ever.
    pub(crate) async fn blocking<C: Send + 'static, T: Send + 'static>(
        &self,
        call: C,
        act: impl FnOnce(&Hands, &C) -> T + Send + 'static,
    ) -> (Result<T, HostError>, C) {
        let hands = self.hands.clone();
        let panicked = || HostError::new("it panicked");
        let work = move || (contain(panicked, || Ok(act(&hands, &call))), call);
        match spawn_blocking(work).await {
            Ok(done) => done,
            // The runtime ends, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Lets go of something, which may take its time.
    async fn release<T: Send + 'static>(&self, what: T) {
        // What panics then is gone all the same.
        let _ = self.blocking((), move |_, ()| drop(what)).await;
    }

    async fn load(&self, call: LoadCall) -> Event {
        let (start, deadline) = (now().mono, call.deadline());
        let mut turn = None;
        // Who wants the lock is about to refresh, or to end a login: so many at a time.
        if call.lock() {
            let waiting = self.common.turns.take(call.servers());
            turn = tokio::time::timeout(deadline, waiting).await.ok();
            if turn.is_none() {
                let why = HostError::throttled("too many refreshes are under way");
                return call.answer(Err(why));
            }
        }
        // What the machine has given up on touches no lock of a later load.
        let in_time = || now().mono < start.plus(deadline);
        let stale = if in_time() { self.front().desk.lock.take() } else { None };
        if let Some(stale) = stale {
            self.release(stale).await;
        }
        let load = move |hands: &Hands, call: &LoadCall| {
            hands.load(call, now().mono.until(start.plus(deadline)))
        };
        let (loaded, call) = self.blocking(call, load).await;
        let (loaded, lock) = match loaded.flatten() {
            Ok((record, lock)) => (Ok(record), lock),
            Err(error) => (Err(error), None),
        };
        let held = lock.map(|lock| -> Lock { Box::new((lock, turn)) });
        // One that comes too late for the machine to still want it is given back.
        if in_time() {
            self.front().desk.lock = held;
        } else {
            self.release(held).await;
        }
        call.answer(loaded)
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
                let (saved, call) = office.blocking(call, Hands::save).await;
                let saved = saved.flatten();
                if erases {
                    office.front().desk.erased = Some(saved.clone());
                }
                call.answer(saved)
            }
            Action::Secret(call) => {
                let (found, call) = office.blocking(call, Hands::secret).await;
                call.answer(found.flatten())
            }
            Action::Key(call) => {
                let (key, call) = office.blocking(call, Hands::key).await;
                call.answer(key.flatten())
            }
            Action::Sign(call) => {
                let (signature, call) = office.blocking(call, Hands::sign).await;
                call.answer(signature.flatten())
            }
            Action::Http(call) => {
                let (response, age) = office.http(&call).await;
                call.answer_shared(response, age)
            }
            Action::Browse(call) => {
                let (shown, call) = office.blocking(call, Hands::browse).await;
                call.answer(shown.flatten())
            }
            Action::ShowCode(call) => {
                let (shown, call) = office.blocking(call, Hands::show_code).await;
                call.answer(shown.flatten())
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
        self.0.ring_bell();
    }
}
