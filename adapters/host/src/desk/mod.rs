//! What all that works on one session shares: the machine, what it wants done, and who waits.
//!
//! A host keeps it behind a mutex, which it holds for one call at a time. Whatever blocks is done away
//! from it: [`next_job`](Desk::next_job) says what, and the answers are [fed](Desk::feed) back.

mod errand;
mod quest;
mod sending;

use std::collections::{HashMap, VecDeque};

use mcp_auth::output::Page;
use mcp_auth::{
    Action, AttemptId, AuthMachine, Error, Event, HostError, Logout, Mono, Notice, Now, Output,
    Redirected, Secret, UnixTime,
};

use crate::listener::RunningListener;
use crate::store::Lock;
use crate::system;

pub use errand::{Attempt, Errand, Forget, LogOut, Redirect};
pub use quest::{Asking, Quest, Step};
pub use sending::{Next, SendError, Sending, authorize};

/// Something to be done away from the desk, in order.
///
/// ```
/// use mcp_auth::Action;
/// use mcp_auth_host::desk::{Desk, Job};
///
/// /// Does one job; what blocks is done away from the desk.
/// fn perform(desk: &mut Desk, job: Job) {
///     match job {
///         Job::Do(Action::Load(call)) => desk.feed(call.answer(Ok(None))), // what the store has
///         Job::Do(_) => {} // and so for each other action
///         Job::Tell => desk.notices.drain(..).for_each(|notice| println!("{notice}")),
///         Job::Dismiss => drop(desk.listener.take()),
///         Job::Release => drop(desk.lock.take()),
///     }
/// }
/// # use mcp_auth::Demand;
/// # use mcp_auth_host::desk::{Attempt, Errand};
/// # use mcp_auth_host::setup::{Opened, Setup};
/// # let Opened { mut desk, .. } = Setup::new("https://mcp.example.com/mcp".into()).open()?;
/// # let mut loading = Attempt::at(Demand::load());
/// # loading.begin(&mut desk);
/// # while let Some(job) = desk.next_job() {
/// #     perform(&mut desk, job);
/// # }
/// # assert!(loading.is_done(&desk) && desk.notices.is_empty());
/// # Ok::<(), mcp_auth::Error>(())
/// ```
pub enum Job {
    /// Perform this and feed its answer back.
    Do(Action),
    /// Tell the notices that there are.
    Tell,
    /// Close the listener.
    Dismiss,
    /// Release the store's lock.
    Release,
}

/// Who waits for an attempt.
#[derive(Default)]
struct Waiters {
    count: usize,
    failed: Option<Error>,
    /// Kept for whoever comes after the next logout: the machine remembers one.
    logged_out: Option<Logout>,
}

/// The state behind a session's mutex. Nothing here blocks.
///
/// ```
/// use std::sync::{Condvar, Mutex};
///
/// use mcp_auth::Demand;
/// use mcp_auth_host::desk::{Attempt, Desk, Errand, Job};
/// use mcp_auth_host::setup::Setup;
///
/// struct Office {
///     desk: Mutex<Desk>,
///     bell: Condvar,
/// }
///
/// impl Office {
///     fn at_desk<T>(&self, act: impl FnOnce(&mut Desk) -> T) -> T {
///         let result = act(&mut self.desk.lock().unwrap());
///         self.bell.notify_all(); // whoever waits looks again, the driver too
///         result
///     }
/// }
///
/// let opened = Setup::new("https://mcp.example.com/mcp".into()).open()?;
/// let office = Office { desk: Mutex::new(opened.desk), bell: Condvar::new() };
/// assert!(!office.at_desk(|desk| desk.has_work()));
/// office.at_desk(|desk| Attempt::at(Demand::load()).begin(desk));
/// assert!(matches!(office.at_desk(Desk::next_job), Some(Job::Do(_)))); // the store is to be read
/// # Ok::<(), mcp_auth::Error>(())
/// ```
pub struct Desk {
    /// The machine; events go to it by [`feed`](Self::feed).
    pub machine: AuthMachine,
    jobs: VecDeque<Job>,
    /// What is to be told, in order.
    pub notices: VecDeque<Notice>,
    /// When the machine wants a tick.
    pub due: Option<Mono>,
    /// A driver is at work.
    pub driven: bool,
    /// The last handle of the session is gone.
    pub closed: bool,
    /// The store's lock, while the machine wants it held.
    pub lock: Option<Lock>,
    /// The callback listener, while the machine wants it open.
    pub listener: Option<RunningListener>,
    /// How the last erasure went, if there was one since somebody asked.
    pub erased: Option<Result<(), HostError>>,
    waiters: HashMap<AttemptId, Waiters>,
    /// Redirects whose page somebody waits for.
    pages: HashMap<u64, Option<Page>>,
    last_ticket: u64,
    /// Somebody has asked for a token.
    demanded: bool,
    /// Something was fed since that was last asked.
    stirred: bool,
    /// Nothing is begun any more.
    shut: bool,
}

/// Both clocks, now.
pub fn now() -> Now {
    let (wall, mono) = system::clock();
    Now { wall: UnixTime(wall), mono: Mono(mono) }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Desk {
    /// With nothing done yet.
    pub fn new(machine: AuthMachine) -> Self {
        Self {
            machine,
            jobs: VecDeque::new(),
            notices: VecDeque::new(),
            due: None,
            driven: false,
            closed: false,
            lock: None,
            listener: None,
            erased: None,
            waiters: HashMap::new(),
            pages: HashMap::new(),
            last_ticket: 0,
            demanded: false,
            stirred: false,
            shut: false,
        }
    }

    /// Hands an event to the machine, and sorts what comes out.
    pub fn feed(&mut self, event: Event) {
        self.stirred = true;
        self.machine.handle(now(), event);
        for (attempt, waiters) in &mut self.waiters {
            if let Some(error) = self.machine.failure(*attempt) {
                waiters.failed = Some(error.clone());
            }
            if let Some(report) = self.machine.logged_out(*attempt) {
                waiters.logged_out = Some(report.clone());
            }
        }
        loop {
            match self.machine.poll_output() {
                Output::Do(action) => self.jobs.push_back(Job::Do(action)),
                Output::Dismiss => self.jobs.push_back(Job::Dismiss),
                Output::Release => self.jobs.push_back(Job::Release),
                Output::Tell(notice) => self.notices.push_back(notice),
                Output::Show { ticket, page } => {
                    if let Some(awaited) = self.pages.get_mut(&ticket) {
                        *awaited = Some(page);
                    }
                }
                Output::Wait(due) => {
                    self.due = due;
                    return;
                }
                // An output that this host doesn't know: an unperformed action runs into its
                // deadline.
                _ => {}
            }
        }
    }

    /// Tells the machine that its moment has come, if it has.
    pub fn tick_if_due(&mut self) {
        if self.due.is_some_and(|due| due <= now().mono) {
            self.feed(Event::Tick);
        }
    }

    /// Whether a driver has something to do, or to wait for.
    pub fn has_work(&self) -> bool {
        !self.jobs.is_empty() || (self.due.is_some() && !self.closed)
    }

    /// Whether something was fed since this was last asked: whoever waits looks again.
    pub fn has_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    /// Whether there is something to do now.
    pub fn has_jobs(&self) -> bool {
        !self.jobs.is_empty() || !self.notices.is_empty()
    }

    /// What the driver has to do next.
    pub fn next_job(&mut self) -> Option<Job> {
        if self.notices.is_empty() { self.jobs.pop_front() } else { Some(Job::Tell) }
    }

    /// A redirect, by the number of its ticket.
    pub fn redirected(&mut self, url: String, page_awaited: bool) -> u64 {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        if page_awaited {
            self.pages.insert(ticket, None);
        }
        self.feed(Event::Redirected(Redirected { ticket, url: Secret::new(url) }));
        ticket
    }

    /// Whether the machine has said what to show for this redirect.
    fn has_page(&self, ticket: u64) -> bool {
        self.pages.get(&ticket).is_some_and(Option::is_some)
    }

    /// What to show for this redirect; `None` if the machine has not said.
    fn take_page(&mut self, ticket: u64) -> Option<Page> {
        self.pages.remove(&ticket).flatten()
    }

    /// Starts an attempt, and joins those who wait for it.
    fn start(&mut self, event: Event) -> Option<AttemptId> {
        if self.shut {
            return None;
        }
        self.feed(event);
        let attempt = self.machine.last_attempt()?;
        let failed = self.machine.failure(attempt).cloned();
        let waiters = self.waiters.entry(attempt).or_default();
        waiters.count += 1;
        waiters.failed = failed;
        Some(attempt)
    }

    /// What came of this logout, once it is over.
    fn report(&self, attempt: AttemptId) -> Option<Logout> {
        let kept = self.waiters.get(&attempt).and_then(|waiters| waiters.logged_out.as_ref());
        kept.or_else(|| self.machine.logged_out(attempt)).cloned()
    }

    /// Ends a wait: how the attempt failed, if it did. An attempt that nobody waits for any more
    /// is cancelled.
    fn leave(&mut self, attempt: AttemptId) -> Option<Error> {
        let waiters = self.waiters.get_mut(&attempt)?;
        let failed = waiters.failed.clone();
        waiters.count = waiters.count.saturating_sub(1);
        if waiters.count == 0 {
            self.waiters.remove(&attempt);
            if self.machine.is_running(attempt) {
                self.feed(Event::Cancel(attempt));
            }
        }
        failed
    }

    /// Begins nothing any more, and cancels whatever somebody waits for. What a server has made for us
    /// by now is still seen through, and what could not be saved is tried again.
    pub fn shut(&mut self) {
        self.shut = true;
        self.cancel_all();
        self.feed(Event::Flush);
    }

    /// Cancels whatever somebody waits for.
    pub fn cancel_all(&mut self) {
        let attempts: Vec<_> = self.waiters.keys().copied().collect();
        for attempt in attempts {
            self.feed(Event::Cancel(attempt));
        }
    }
}

#[cfg(test)]
mod tests;
