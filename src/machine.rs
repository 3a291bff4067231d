//! The machine: one door in, one door out. It routes each event to the work that waits for it.
//!
//! ```text
//!                    ┌───────────────── AuthMachine ─────────────────┐
//!   Event ──handle──▶│ session: record, tokens, what refusals taught │
//!                    │ renewal lane: read ▶ exchange ▶ save          │──poll_output──▶ Output
//!   token(now, need) │ login lane:   detect ▶ … ▶ exchange ▶ save    │
//!                    │ logout lane:  read ▶ revoke ▶ … ▶ erase       │
//!                    └───────────────────────────────────────────────┘
//! ```
//!
//! Two lanes, because a person may sit in the browser for minutes: meanwhile tokens that are still
//! good are lent and renewed. They share one *exchange* (store or network); the login alone has the
//! *prompt* (listener and browser). A logout ends both, and goes on alone.

mod answer;
mod attempts;
mod clock;
mod demand;
mod fixed;
mod freshen;
mod judge;
mod lane;
mod leave;
mod overtake;
mod prompt;
mod pump;
mod renewal;
mod restore;
mod save;
mod secret;
mod send;
mod silence;
mod store;
mod turn;
mod upkeep;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::config::Config;
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind};
use crate::event::{AttemptId, Demand, Event, Need};
use crate::logout::Logout;
use crate::notice::{ClientSource, Notice};
use crate::output::{CallId, Output, Page};
use crate::restore::CachedLogin;
use crate::secret::Secret;
use crate::session::grant::{Grant, Site};
use crate::session::policy::Plan;
use crate::session::record::Discovery;
use crate::session::saved;
use crate::session::tokens::Generation;
use crate::session::trouble::SessionState;
use crate::session::{Requirement, Session};
use crate::time::{Mono, Now};
use crate::toolhive::CachedSession;
use crate::wire::jwt::Person;
use crate::wire::{headers, url as address};

pub use judge::Verdict;

use attempts::Attempts;
use fixed::Fixed;
use lane::{Change, InFlight, Lane, Orphan};
use renewal::Ahead;
use store::Store;
use turn::Turn;
use upkeep::Care;

/// The state machine that authenticates to one MCP server, for one account.
///
/// ```
/// use std::sync::Arc;
/// use mcp_auth::{Action, AuthMachine, Config, Demand, Entropy, Event, Need, Now, Output, TokenState};
///
/// let entropy = Entropy::from_bytes([7; 32]); // a real host: from its secure generator
/// let mut machine = AuthMachine::new("https://mcp.example.com/mcp", Arc::new(Config::default()), entropy)?;
/// let (now, need) = (Now::default(), Need::default());
///
/// assert!(matches!(machine.token(now, &need), TokenState::Missing));
/// machine.handle(now, Event::Demand(Demand::background(need.clone())));
///
/// // The host's loop: perform what comes out, feed the answers back, until it says `Wait`.
/// let Output::Do(Action::Load(load)) = machine.poll_output() else { panic!() };
/// machine.handle(now, load.answer(Ok(None))); // nothing is stored yet
/// let probe = loop {
///     match machine.poll_output() {
///         Output::Do(Action::Http(call)) => break call,
///         Output::Tell(notice) => println!("{notice}"),
///         other => panic!("{other:?}"),
///     }
/// };
/// assert_eq!(probe.request().uri(), "https://mcp.example.com/mcp");
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Debug)]
pub struct AuthMachine {
    config: Arc<Config>,
    fixed: Fixed,
    /// A login of another program, to be taken up.
    cached: Option<Box<CachedLogin>>,
    session: Session,
    entropy: Entropy,
    outputs: VecDeque<Output>,
    last_id: u64,
    store: Store,
    /// The one unanswered exchange.
    exchange: Option<InFlight>,
    /// The one unanswered prompt.
    prompt: Option<Prompt>,
    /// The host has something open for the person: a listener, or a code that is shown.
    listening: bool,
    /// Nobody came back in time; until then who comes late is told so.
    lingers: Option<Mono>,
    renewal: Option<Lane>,
    login: Option<Lane>,
    logout: Option<Lane>,
    turn: Turn,
    /// Came while the record was being loaded, or while we log out.
    waiting: Option<(AttemptId, Demand)>,
    /// Token requests that were given up on; their answers are adopted all the same.
    orphans: VecDeque<Orphan>,
    /// Saves that belong to no lane.
    chores: VecDeque<Change>,
    /// The renewal that nobody asks for, if the settings want one.
    ahead: Option<Ahead>,
    /// The upkeep of clients.
    care: Care,
    /// What was last told.
    told: SessionState,
    clocks: clock::Told,
    attempts: Attempts,
    answered: Option<Answered>,
    /// What came of the last logout.
    report: Option<(AttemptId, Logout)>,
}

/// The last authorization request that was answered: browsers repeat redirects.
#[derive(Debug)]
struct Answered {
    uri: String,
    state: Secret,
    page: Page,
}

/// An unanswered prompt.
#[derive(Debug)]
struct Prompt {
    call: CallId,
    deadline: Mono,
    /// Its login is over.
    abandoned: bool,
}

/// Whether there is a token.
///
/// ```
/// use http::Request;
/// use mcp_auth::{AuthMachine, Error, Need, Now, TokenState};
///
/// /// Whether the request can be sent at once; if not, demand a token, or wait for it.
/// fn prepare<B>(machine: &AuthMachine, now: Now, request: &mut Request<B>) -> Result<bool, Error> {
///     match machine.token(now, &Need::default()) {
///         TokenState::Ready(grant) => grant.authorize(request)?,
///         TokenState::NotRequired => machine.prepare(request)?,
///         TokenState::Failed(_, error) => return Err(error),
///         TokenState::Pending(_) | TokenState::Missing => return Ok(false),
///     }
///     Ok(true)
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # let mut request = Request::post("https://mcp.example.com/mcp").body(()).unwrap();
/// # let now = s.now();
/// # assert!(!prepare(s.machine(), now, &mut request)?);
/// # s.log_in()?;
/// # let now = s.now();
/// # assert!(prepare(s.machine(), now, &mut request)?);
/// # assert!(request.headers().contains_key("authorization"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum TokenState {
    /// Here it is.
    Ready(Grant),
    /// The server wants no authorization: send the request without.
    NotRequired,
    /// This attempt is on its way: perform outputs, or wait for whoever does, then ask again.
    Pending(AttemptId),
    /// This attempt has failed. It is the answer to whoever demanded it; for anybody else it means
    /// the same as `Missing`.
    Failed(AttemptId, Error),
    /// Nothing is under way: send a [`Demand`].
    Missing,
}

impl AuthMachine {
    /// A machine for the MCP server at `server`, an absolute `https` URL (`http` on loopback).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSetting`] for a URL or a configuration that can't be used.
    pub fn new(server: &str, config: Arc<Config>, entropy: Entropy) -> Result<Self, Error> {
        let text = server.split('#').next().unwrap_or_default().to_owned();
        let url = address::parse("the server's URL", &text).map_err(ErrorKind::InvalidSetting)?;
        config.check()?;
        let config = if config.preset.is_some() { Arc::new(config.resolved()?) } else { config };
        let headers = headers::read(&config.headers).map_err(ErrorKind::InvalidSetting)?;
        Ok(Self {
            fixed: Fixed::of(&config),
            cached: None,
            config,
            session: Session::new(Arc::new(Site { text, url, headers })),
            entropy,
            outputs: VecDeque::new(),
            last_id: 0,
            store: Store::default(),
            exchange: None,
            prompt: None,
            listening: false,
            lingers: None,
            renewal: None,
            login: None,
            logout: None,
            turn: Turn::default(),
            waiting: None,
            orphans: VecDeque::new(),
            chores: VecDeque::new(),
            ahead: None,
            care: Care::default(),
            told: SessionState::Unknown,
            clocks: clock::Told::default(),
            attempts: Attempts::default(),
            answered: None,
            report: None,
        })
    }

    /// The one door in. Total: no event in any state panics, and a failure is a state to be read.
    pub fn handle(&mut self, now: Now, event: Event) {
        self.store.ahead.note(now);
        match event {
            Event::Demand(demand) => self.on_demand(now, demand),
            Event::Challenged(challenged) => {
                if !self.fixed.was_replaced(challenged.generation) {
                    self.session.challenged(now.wall, challenged);
                }
            }
            Event::Redirected(redirected) => self.on_redirected(now, redirected),
            Event::Cancel(attempt) => self.on_cancel(attempt),
            Event::Logout => self.on_logout(now),
            Event::Forget => self.on_forget(),
            Event::Restore(cached) => self.cached = Some(Box::new(cached)),
            Event::Flush => self.store.hasten(now.mono),
            Event::Tick => {}
            Event::Answer(answer) => self.on_answer(now, answer),
        }
        self.on_time(now);
        self.begin_what_is_due(now);
        let renews = self.renewal.is_some();
        self.pump(now);
        if renews && self.renewal.is_none() {
            // It was found needless when its turn came.
            self.begin_what_is_due(now);
            self.pump(now);
        }
        let state = self.state(now);
        if std::mem::replace(&mut self.told, state) != state {
            self.tell(Notice::State(state));
        }
    }

    fn begin_what_is_due(&mut self, now: Now) {
        self.look_ahead(now);
        self.look_after_clients(now);
    }

    /// The one door out: call it until it says [`Output::Wait`].
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| Output::Wait(self.deadline()))
    }

    /// Is there a token for `need`? The hot path: it changes nothing, and a ready grant costs a
    /// reference count.
    pub fn token(&self, now: Now, need: &Need) -> TokenState {
        if let Some(state) = self.fixed_token() {
            return state;
        }
        // A try that is due is for somebody to demand; what is left is lent while it is made.
        let quiet = self.session.retry_in(now.mono).is_some()
            || self.renewal.is_some() && self.session.trouble().is_some();
        if let Some(grant) = self.session.grant(now, need, &self.config, quiet) {
            return TokenState::Ready(grant);
        }
        if self.session.requirement == Requirement::NotRequired {
            return TokenState::NotRequired;
        }
        if let Some((attempt, _)) = &self.waiting {
            return TokenState::Pending(*attempt);
        }
        let lane = match self.session.plan(now, need, &self.config) {
            Plan::Refresh | Plan::Keep => self.renewal.as_ref(),
            Plan::LogIn | Plan::StepUp | Plan::Fail(_) => self.login.as_ref(),
        };
        if let Some(lane) = lane.filter(|lane| !lane.detached) {
            return TokenState::Pending(lane.attempt);
        }
        match self.attempts.last_failure() {
            Some((attempt, error)) => TokenState::Failed(*attempt, error.clone()),
            None => TokenState::Missing,
        }
    }

    /// Whether a request to `uri` is one to this machine's server. A host asks before it sends a
    /// request without a token: a foreign server's refusal is no challenge for us.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`] for another origin.
    pub fn check_home(&self, uri: &http::Uri) -> Result<(), Error> {
        self.session.site.check_home(uri)
    }

    /// Makes a request ready to be sent without a token, as [`Grant::authorize`] does with one: adds the
    /// settings' [`headers`](Config::headers) that it hasn't.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`] where it goes to another origin; it is left as it was.
    pub fn prepare<B>(&self, request: &mut http::Request<B>) -> Result<(), Error> {
        self.check_home(request.uri())?;
        self.session.site.dress(request.headers_mut());
        Ok(())
    }

    /// Whether the server wants authorization; `None` until somebody has asked it: then a request
    /// sent without a token finds out as well as a probe.
    pub fn wants_authorization(&self) -> Option<bool> {
        match self.session.requirement {
            _ if self.fixed.is_held() => Some(true),
            Requirement::Unknown => None,
            Requirement::NotRequired => Some(false),
            Requirement::Required => Some(true),
        }
    }

    /// The attempt that the last demand started or joined.
    pub fn last_attempt(&self) -> Option<AttemptId> {
        self.attempts.last
    }

    /// Why this attempt failed, if it did; the last sixteen failures are remembered.
    pub fn failure(&self, attempt: AttemptId) -> Option<&Error> {
        self.attempts.failure(attempt)
    }

    /// What came of this logout, once it is over. Only the last one is remembered.
    pub fn logged_out(&self, attempt: AttemptId) -> Option<&Logout> {
        self.report.as_ref().filter(|(id, _)| *id == attempt).map(|(_, report)| report)
    }

    /// What discovery found when it was last done.
    pub fn discovery(&self) -> Option<&Discovery> {
        self.session.record.discovery.as_ref()
    }

    /// How the session stands. Each change is also told, by [`Notice::State`].
    pub fn state(&self, now: Now) -> SessionState {
        if let Some(state) = self.fixed_state() {
            return state;
        }
        match self.hindrance() {
            Some(trouble) => trouble.state(),
            None => self.session.state(now, &self.config),
        }
    }

    /// The tokens at hand, described: never their values.
    pub fn status(&self) -> Option<TokenStatus> {
        let tokens = self.session.record.tokens.as_ref()?;
        Some(TokenStatus {
            generation: tokens.generation,
            issuer: tokens.issuer.clone(),
            client_id: tokens.client_id.clone(),
            client_source: tokens.client_source,
            scopes: tokens.granted.clone(),
            obtained_at: tokens.obtained_at,
            expires_at: tokens.expires_at,
            refreshable: tokens.is_refreshable(),
            client_secret_expires_at: self.session.record.buyer().and_then(|c| c.secret_end()),
            person: tokens.person.as_ref().map(Person::tamed),
            saved: self.store.is_saved(),
        })
    }

    /// The refresh token at hand, and whom it belongs to: what another program would need to take
    /// the login up.
    pub fn cached_session(&self) -> Option<CachedSession> {
        self.session.record.tokens.as_ref().and_then(saved::session)
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.renewal.iter().chain(&self.login).chain(&self.logout)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn tell(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Tell(notice));
    }

    /// The next moment at which something is due without an event.
    fn deadline(&self) -> Option<Mono> {
        let lanes = self.lanes().filter_map(Lane::deadline);
        let exchange = self.exchange.iter().map(|out| out.deadline);
        let prompt = self.prompt.iter().map(|prompt| prompt.deadline);
        // A save is tried again once the exchange is free.
        let retry = self.store.retry_at().filter(|_| self.exchange.is_none());
        let ahead = self.ahead_at().into_iter().chain(self.care_at());
        let rest = ahead.chain(self.lingers).chain(self.turn_at());
        lanes.chain(exchange).chain(prompt).chain(retry).chain(rest).min()
    }
}

/// The tokens of a session, described.
///
/// ```
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.log_in()?;
/// # let machine = s.machine();
/// let status = machine.status().unwrap(); // after a login
/// println!("tokens of {} for {}", status.issuer, status.scopes);
/// assert!(status.saved && status.refreshable, "good for months");
/// # assert_eq!(status.issuer, "https://auth.example.com");
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenStatus {
    /// Which generation.
    pub generation: Generation,
    /// Who issued them.
    pub issuer: String,
    /// To which client.
    pub client_id: String,
    /// How that was come by; [`ClientSource::Registered`] also where it was registered earlier.
    pub client_source: ClientSource,
    /// What they are good for.
    pub scopes: crate::wire::scope::ScopeSet,
    /// When they were obtained.
    pub obtained_at: crate::time::UnixTime,
    /// When the access token expires, if the server said so.
    pub expires_at: Option<crate::time::UnixTime>,
    /// Whether they can be renewed without a person.
    pub refreshable: bool,
    /// When the secret of the registered client ends that renews them, if it does. It is renewed
    /// before, where the server lets clients do that (RFC 7592).
    pub client_secret_expires_at: Option<crate::time::UnixTime>,
    /// Whom the server says they are about: for display, and for no decision.
    pub person: Option<Person>,
    /// Whether they would survive a restart.
    pub saved: bool,
}
