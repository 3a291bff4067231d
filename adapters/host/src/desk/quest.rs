//! A caller's way to a token, one attempt after the other.

use mcp_auth::wire::scope::ScopeSet;
use mcp_auth::{Demand, Error, ErrorKind, Event, Grant, Need, TokenState};

use super::{Desk, now};

/// How often one caller demands a token. More than once only where another caller's attempt was
/// joined and didn't bring what this one needs.
const MAX_DEMANDS: usize = 3;

/// Whether a person may be asked.
///
/// ```
/// use mcp_auth_host::desk::Asking;
/// use mcp_auth_host::system::has_terminal;
///
/// /// What a command line wants, which has a `--batch`.
/// fn asking(batch: bool) -> Asking {
///     if batch || !has_terminal() { Asking::Never } else { Asking::Welcome }
/// }
///
/// assert_eq!(asking(true), Asking::Never);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asking {
    /// A background task: without a usable or refreshable token it fails with "login required".
    Never,
    /// A person is there and expects a browser.
    Welcome,
}

/// Somebody wants a token. Each [`step`](Self::step) says what comes next.
///
/// ```
/// use mcp_auth::{Config, Need, Secret, SecretRef};
/// use mcp_auth_host::desk::{Asking, Quest, Step};
/// use mcp_auth_host::setup::{Opened, Setup};
///
/// # use mcp_auth::Action;
/// # use mcp_auth_host::desk::{Attempt, Desk, Errand, Job};
/// # use mcp_auth_host::hands::Hands;
/// # fn wait(desk: &mut Desk, hands: &Hands, mut attempt: Attempt) -> Result<(), mcp_auth::Error> {
/// #     attempt.begin(desk);
/// #     while let Some(job) = desk.next_job() {
/// #         match job {
/// #             Job::Do(Action::Load(call)) => {
/// #                 let loaded = hands.load(&call, call.deadline());
/// #                 desk.feed(call.answer(loaded.map(|(record, _lock)| record)));
/// #             }
/// #             Job::Do(Action::Secret(call)) => {
/// #                 let found = hands.secret(&call);
/// #                 desk.feed(call.answer(found));
/// #             }
/// #             _ => desk.notices.clear(),
/// #         }
/// #     }
/// #     attempt.end(desk).unwrap()
/// # }
/// let place = SecretRef::Name("notes".into());
/// let setup = Setup {
///     config: Config { bearer_token_from: vec![place], ..Config::default() }.into(),
///     secrets: Some(Box::new(|_: &str| Ok(Some(Secret::from("hush"))))),
///     ..Setup::new("https://mcp.example.com/mcp".into())
/// };
/// let Opened { mut desk, hands, .. } = setup.open()?;
///
/// let need = Need::default();
/// let mut quest = Quest::new(&need, Asking::Never);
/// let grant = loop {
///     match quest.step(&mut desk)? {
///         Step::Done(grant) => break grant,
///         Step::Demand(demand) => wait(&mut desk, &hands, Attempt::at(demand))?,
///     }
/// };
/// assert_eq!(grant.unwrap().access_token().expose(), "hush");
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Debug)]
pub struct Quest<'a> {
    need: &'a Need,
    asking: Asking,
    demands: usize,
    /// The record has to be read before anything else.
    unread: bool,
    /// Where nobody knows whether the server wants authorization, none is asked for.
    shy: bool,
}

/// What comes next.
///
/// ```
/// use mcp_auth::{Config, Need, Secret};
/// use mcp_auth_host::desk::{Asking, Quest, Step};
/// use mcp_auth_host::setup::{Opened, Setup};
///
/// let need = Need::default();
/// # let Opened { mut desk, .. } = Setup::new("https://mcp.example.com/mcp".into()).open()?;
/// // Nothing is known yet: something has to be done first.
/// assert!(matches!(Quest::new(&need, Asking::Never).step(&mut desk)?, Step::Demand(_)));
///
/// let config = Config { bearer_token: Some(Secret::from("hush")), ..Config::default() };
/// # let setup = Setup { config: config.into(), ..Setup::new("https://mcp.example.com/mcp".into()) };
/// # let Opened { mut desk, .. } = setup.open()?;
/// // The settings have a token.
/// assert!(matches!(Quest::new(&need, Asking::Never).step(&mut desk)?, Step::Done(Some(_))));
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Debug)]
pub enum Step {
    /// Nothing: here it is. `None`: the server wants no authorization.
    Done(Option<Grant>),
    /// Demand this, wait for the end of the attempt, and step again.
    Demand(Demand),
}

impl<'a> Quest<'a> {
    /// For this need.
    pub fn new(need: &'a Need, asking: Asking) -> Self {
        Self { need, asking, demands: 0, unread: false, shy: false }
    }

    /// For a request that is about to be sent. Where nobody knows whether the server wants
    /// authorization, its answer to this very request tells more than a probe would.
    pub fn of_request(need: &'a Need, asking: Asking) -> Self {
        Self { unread: true, shy: true, ..Self::new(need, asking) }
    }

    /// What comes next.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LoginRequired`] where attempts succeed and bring no token that can be used.
    pub fn step(&mut self, desk: &mut Desk) -> Result<Step, Error> {
        if std::mem::take(&mut self.shy) && desk.machine.wants_authorization().is_none() {
            self.shy = std::mem::take(&mut self.unread);
            let read = || Step::Demand(Demand::load());
            return Ok(if self.shy { read() } else { Step::Done(None) });
        }
        match desk.machine.token(now(), self.need) {
            TokenState::Ready(grant) => {
                // The machine is told once that its tokens are in use: it looks after them.
                if !std::mem::replace(&mut desk.demanded, true) {
                    desk.feed(Event::Demand(Demand::background(self.need.clone())));
                }
                return Ok(Step::Done(Some(grant)));
            }
            TokenState::NotRequired => return Ok(Step::Done(None)),
            _ => {}
        }
        if self.demands == MAX_DEMANDS {
            let reason = "the tokens that the server issues can't be used".into();
            return Err(ErrorKind::LoginRequired { reason, scopes: ScopeSet::new() }.into());
        }
        self.demands += 1;
        desk.demanded = true;
        Ok(Step::Demand(match self.asking {
            Asking::Never => Demand::background(self.need.clone()),
            Asking::Welcome => Demand::interactive(self.need.clone()),
        }))
    }
}
