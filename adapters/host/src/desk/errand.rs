//! What callers come to the desk for, and wait there for.

use mcp_auth::output::Page;
use mcp_auth::{AttemptId, Demand, Error, ErrorKind, Event, Logout};

use super::Desk;

/// Something that takes its time. Whoever begins it also ends it, be it done or not: a host that lets
/// callers go at any moment does so for them.
///
/// ```
/// use mcp_auth::Demand;
/// use mcp_auth_host::desk::{Attempt, Desk, Errand, Job};
/// use mcp_auth_host::hands::Hands;
/// use mcp_auth_host::setup::{Opened, Setup};
///
/// /// A host without threads: whoever waits does the work.
/// fn run<E: Errand>(desk: &mut Desk, hands: &Hands, mut errand: E) -> Option<E::Result> {
///     errand.begin(desk);
///     while !errand.is_done(desk) {
///         let job = desk.next_job()?;
///         perform(desk, hands, job);
///     }
///     errand.end(desk)
/// }
///
/// # fn perform(desk: &mut Desk, hands: &Hands, job: Job) {
/// #     match job {
/// #         Job::Do(mcp_auth::Action::Load(call)) => {
/// #             let loaded = hands.load(&call, call.deadline());
/// #             desk.feed(call.answer(loaded.map(|(record, _lock)| record)));
/// #         }
/// #         _ => desk.notices.clear(),
/// #     }
/// # }
/// let Opened { mut desk, hands, .. } = Setup::new("https://mcp.example.com/mcp".into()).open()?;
/// let loaded = run(&mut desk, &hands, Attempt::at(Demand::load()));
/// assert!(loaded.is_some_and(|result| result.is_ok()));
/// assert!(desk.machine.status().is_none()); // nobody has logged in yet
/// # Ok::<(), mcp_auth::Error>(())
/// ```
pub trait Errand {
    /// What comes of it.
    type Result;

    /// Begins it.
    fn begin(&mut self, desk: &mut Desk);

    /// Whether there is nothing more to wait for.
    fn is_done(&self, desk: &Desk) -> bool;

    /// Ends it, and the wait: what came of it, if something has.
    fn end(self, desk: &mut Desk) -> Option<Self::Result>;
}

/// An attempt of the machine's. It is cancelled when the last one leaves who waited for it.
///
/// ```
/// use mcp_auth::{Demand, Need};
/// use mcp_auth_host::desk::{Attempt, Errand};
/// use mcp_auth_host::setup::{Opened, Setup};
///
/// let Opened { mut desk, .. } = Setup::new("https://mcp.example.com/mcp".into()).open()?;
/// let mut first = Attempt::at(Demand::background(Need::default()));
/// let mut second = Attempt::at(Demand::background(Need::default()));
/// first.begin(&mut desk);
/// second.begin(&mut desk); // joins the first
/// let id = desk.machine.last_attempt().unwrap();
/// assert!(first.end(&mut desk).is_none()); // that caller's time is over
/// assert!(desk.machine.is_running(id));
/// second.end(&mut desk);
/// assert!(!desk.machine.is_running(id));
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Debug)]
pub struct Attempt {
    demand: Option<Demand>,
    id: Option<AttemptId>,
}

impl Attempt {
    /// At what this demands.
    pub fn at(demand: Demand) -> Self {
        Self { demand: Some(demand), id: None }
    }
}

impl Errand for Attempt {
    type Result = Result<(), Error>;

    fn begin(&mut self, desk: &mut Desk) {
        self.id = self.demand.take().and_then(|demand| desk.start(Event::Demand(demand)));
    }

    fn is_done(&self, desk: &Desk) -> bool {
        !self.id.is_some_and(|id| desk.machine.is_running(id))
    }

    fn end(self, desk: &mut Desk) -> Option<Self::Result> {
        let done = self.is_done(desk);
        let failed = self.id.and_then(|id| desk.leave(id));
        match failed {
            // None has begun: the desk is shut.
            None if self.id.is_none() => Some(Err(ErrorKind::Cancelled.into())),
            failed => done.then(|| failed.map_or(Ok(()), Err)),
        }
    }
}

/// A logout. It is seen through, whoever leaves.
///
/// ```
/// use mcp_auth::Action;
/// use mcp_auth_host::desk::{Errand, Job, LogOut};
/// use mcp_auth_host::setup::{Opened, Setup};
///
/// let Opened { mut desk, hands, .. } = Setup::new("https://mcp.example.com/mcp".into()).open()?;
/// let mut logout = LogOut::default();
/// logout.begin(&mut desk);
/// while let Some(job) = desk.next_job() {
///     match job {
///         Job::Do(Action::Load(call)) => {
///             let loaded = hands.load(&call, call.deadline());
///             desk.feed(call.answer(loaded.map(|(record, _lock)| record)));
///         }
///         Job::Do(Action::Save(call)) => {
///             let saved = hands.save(&call);
///             desk.feed(call.answer(saved));
///         }
///         Job::Tell => desk.notices.drain(..).for_each(|notice| println!("{notice}")),
///         _ => {} // and Action::Http, where there are tokens to end
///     }
/// }
/// let report = logout.end(&mut desk).unwrap()?;
/// assert!(report.is_complete());
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct LogOut(Option<AttemptId>);

impl Errand for LogOut {
    type Result = Result<Logout, Error>;

    fn begin(&mut self, desk: &mut Desk) {
        self.0 = desk.start(Event::Logout);
    }

    fn is_done(&self, desk: &Desk) -> bool {
        !self.0.is_some_and(|id| desk.machine.is_running(id))
    }

    fn end(self, desk: &mut Desk) -> Option<Self::Result> {
        let done = self.is_done(desk);
        let report = self.0.and_then(|id| desk.report(id));
        let failed = self.0.and_then(|id| desk.leave(id));
        match report {
            Some(report) => Some(Ok(report)),
            None => done.then(|| Err(failed.unwrap_or_else(|| ErrorKind::Cancelled.into()))),
        }
    }
}

/// Everything about the server is forgotten, in the store too.
///
/// ```
/// use mcp_auth::Action;
/// use mcp_auth_host::desk::{Errand, Forget, Job};
/// use mcp_auth_host::setup::{Opened, Setup};
///
/// let Opened { mut desk, hands, .. } = Setup::new("https://mcp.example.com/mcp".into()).open()?;
/// let mut forget = Forget::default();
/// forget.begin(&mut desk);
/// while let Some(job) = desk.next_job() {
///     match job {
/// #       Job::Do(Action::Load(call)) => {
/// #           let loaded = hands.load(&call, call.deadline());
/// #           desk.feed(call.answer(loaded.map(|(record, _lock)| record)));
/// #       }
///         Job::Do(Action::Save(call)) => {
///             let erased = hands.save(&call);
///             desk.erased = Some(erased.clone()); // what this errand waits for
///             desk.feed(call.answer(erased));
///         }
///         _ => desk.notices.clear(),
///     }
/// }
/// assert!(forget.is_done(&desk));
/// assert!(forget.end(&mut desk).unwrap().is_ok());
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Forget {
    begun: bool,
}

impl Errand for Forget {
    type Result = Result<(), Error>;

    fn begin(&mut self, desk: &mut Desk) {
        self.begun = !desk.shut;
        if self.begun {
            desk.erased = None;
            desk.feed(Event::Forget);
        }
    }

    fn is_done(&self, desk: &Desk) -> bool {
        !self.begun || desk.erased.is_some()
    }

    fn end(self, desk: &mut Desk) -> Option<Self::Result> {
        if !self.begun {
            return Some(Err(ErrorKind::Cancelled.into()));
        }
        let erased = desk.erased.clone()?;
        Some(erased.map_err(|error| ErrorKind::Store(error).into()))
    }
}

/// A redirect that came to the listener, or to a program that serves the redirect URI itself: whoever
/// sent it is shown a page.
///
/// ```
/// use mcp_auth::output::Page;
/// use mcp_auth_host::desk::{Errand, Redirect};
/// use mcp_auth_host::setup::{Opened, Setup};
///
/// let Opened { mut desk, .. } = Setup::new("https://mcp.example.com/mcp".into()).open()?;
/// let mut redirect = Redirect::to("/callback?code=c&state=forged".into());
/// redirect.begin(&mut desk);
/// assert!(redirect.is_done(&desk));
/// assert_eq!(redirect.end(&mut desk), Some(Page::NotForUs)); // no login waits for it
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Debug)]
pub struct Redirect {
    target: Option<String>,
    ticket: u64,
}

impl Redirect {
    /// With this URL, or its path and query.
    pub fn to(target: String) -> Self {
        Self { target: Some(target), ticket: 0 }
    }
}

impl Errand for Redirect {
    type Result = Page;

    fn begin(&mut self, desk: &mut Desk) {
        if let Some(target) = self.target.take() {
            self.ticket = desk.redirected(target, true);
        }
    }

    fn is_done(&self, desk: &Desk) -> bool {
        desk.has_page(self.ticket)
    }

    fn end(self, desk: &mut Desk) -> Option<Page> {
        desk.take_page(self.ticket)
    }
}
