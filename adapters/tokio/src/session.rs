//! The session: what callers see.
//!
//! Every method may be dropped at any moment: what it waited for goes on if somebody else waits for
//! it, or if a server has made something for us by then, and is cancelled otherwise.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{Request, Response};
use mcp_auth::output::Limits;
use mcp_auth::wire::scope::ScopeSet;
use mcp_auth::{
    AuthMachine, Challenged, Demand, Discovery, Entropy, Error, ErrorKind, Event, Grant, HostError,
    Logout, Mono, Need, SessionState, TokenState, TokenStatus, TransportError, TransportErrorKind,
};

use crate::builder::Builder;
use crate::driver::Office;
use crate::error::SendError;
use crate::hands::{Blocking, Hands};
use crate::http_client::HttpClient;
use mcp_auth_host::desk::{Desk, now};

/// How often one call demands a token. More than once only where another caller's attempt was
/// joined and didn't bring what this one needs.
const MAX_DEMANDS: usize = 3;
/// How often one request is sent. The machine ends it sooner: see `step_up_limit`.
const MAX_SENDS: usize = 8;
/// What a call is given beside the time that a person may take in the browser.
const MARGIN: Duration = Duration::from_secs(60);

/// Whether a person may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asking {
    /// A background task: without a usable or refreshable token it fails with "login required".
    Never,
    /// A person is there and expects a browser.
    Welcome,
}

/// One login at one MCP server, for any number of tasks. Clones are the same session.
///
/// Each call ends by the builder's [`timeout`](Builder::timeout). Whoever needs a token that is there
/// gets it at once, also while another task waits for a person.
#[derive(Clone)]
pub struct Session(Arc<Handle>);

/// All clones of a session: when the last one goes, the driver ends after its work.
struct Handle {
    office: Arc<Office>,
    timeout: Duration,
    max_body: usize,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.office.at_desk(|desk| desk.closed = true);
    }
}

impl Session {
    /// A session with the MCP server at this URL.
    pub fn builder(server: impl Into<String>) -> Builder {
        Builder::new(server.into())
    }

    pub(crate) fn start(builder: Builder) -> Result<Self, Error> {
        let Builder { server, config, store, browser, program, client, max_body, .. } = builder;
        let person = Duration::from_secs(config.login_timeout_seconds);
        let timeout = builder.timeout.unwrap_or_else(|| person.saturating_add(MARGIN));
        let seed = mcp_auth_host::system::random_seed()
            .map_err(|error| ErrorKind::NoRandomness(HostError::new(error)))?;
        let machine = AuthMachine::new(&server, config, Entropy::from_bytes(seed))?;
        let client = client.map_or_else(default_client, Ok)?;
        let blocking = Arc::new(Blocking { store, browser });
        let hands = Hands { client, blocking, permits: builder.permits, program };
        let desk = Desk::new(machine);
        let office = Arc::new(Office::new(hands, builder.on_notice, desk, builder.timer));
        Ok(Self(Arc::new(Handle { office, timeout, max_body })))
    }

    /// A token for `need`: the one at hand, a refreshed one, or, where a person is
    /// [welcome](Asking::Welcome), one from a login. `None`: the server wants no authorization.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LoginRequired`] where a person would have to be asked and may not be;
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::Cancelled`]; else what went wrong on the way.
    pub async fn token(&self, need: &Need, asking: Asking) -> Result<Option<Grant>, Error> {
        self.token_until(self.deadline(), need, asking).await
    }

    /// Logs in anew, even though there may be a usable token. `None`: the server wants no
    /// authorization.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    pub async fn login(&self) -> Result<Option<Grant>, Error> {
        let (until, need) = (self.deadline(), Need::default());
        self.attempt(until, Demand::interactive(need.clone()).fresh()).await?;
        self.token_until(until, &need, Asking::Welcome).await
    }

    /// Finds out what a login would meet: detection and discovery only. Nothing is registered,
    /// nobody is asked. `None`: the server wants no authorization.
    ///
    /// # Errors
    ///
    /// What went wrong on the way; [`ErrorKind::TimedOut`].
    pub async fn inspect(&self) -> Result<Option<Discovery>, Error> {
        let until = self.deadline();
        self.attempt(until, Demand::load()).await?;
        self.attempt(until, Demand::inspect()).await?;
        let desk = self.0.office.desk();
        match desk.machine.token(now(), &Need::default()) {
            TokenState::NotRequired => Ok(None),
            _ => Ok(desk.machine.discovery().cloned()),
        }
    }

    /// Logs out: ends the tokens at their server (RFC 7009), deletes the client that was registered
    /// there (RFC 7592, see [`delete_registration`](mcp_auth::Config::delete_registration)), and erases the stored record. From
    /// now on nothing of it is lent. A part that fails is in the report, and does not stop the
    /// others.
    ///
    /// # Errors
    ///
    /// Where there is no report: [`ErrorKind::TimedOut`], though it is still seen through, and
    /// [`ErrorKind::Cancelled`].
    pub async fn logout(&self) -> Result<Logout, Error> {
        self.0
            .office
            .wait(
                self.deadline(),
                |desk| desk.start(Event::Logout),
                |desk, attempt| !attempt.is_some_and(|attempt| desk.machine.is_running(attempt)),
                |desk, attempt, over| {
                    let report = attempt.and_then(|id| desk.machine.logged_out(id)).cloned();
                    let failed = attempt.and_then(|attempt| desk.leave(attempt));
                    match report {
                        Some(report) => Ok(report),
                        None if over => Err(failed.unwrap_or_else(|| ErrorKind::Cancelled.into())),
                        None => Err(self.timed_out()),
                    }
                },
            )
            .await
    }

    /// Forgets everything about the server, in memory and in the store, and tells no server: the
    /// tokens live there until they expire. When this returns `Ok`, the stored record is erased.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`] where it could not be erased; [`ErrorKind::TimedOut`].
    pub async fn forget(&self) -> Result<(), Error> {
        let erased = self
            .0
            .office
            .wait(
                self.deadline(),
                |desk| {
                    desk.erased = None;
                    desk.feed(Event::Forget);
                },
                |desk, ()| desk.erased.is_some(),
                |desk, (), _| desk.erased.clone(),
            )
            .await;
        match erased {
            Some(result) => result.map_err(|error| ErrorKind::Store(error).into()),
            None => Err(self.timed_out()),
        }
    }

    /// Reads the stored record, if that was not done yet, and nothing else: no request is sent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`]; [`ErrorKind::TimedOut`].
    pub async fn load(&self) -> Result<Option<TokenStatus>, Error> {
        self.attempt(self.deadline(), Demand::load()).await?;
        Ok(self.status())
    }

    /// Sends a request to the MCP server, with a token if one is needed. A refusal that asks for
    /// another token is answered with one: refreshed, or with more scopes from a person, and the
    /// request is sent again.
    ///
    /// The response may have any status. No redirect is followed, and its body is read to the end:
    /// an event stream that doesn't end is not for this method.
    ///
    /// # Errors
    ///
    /// [`SendError::Auth`] where there is no token to send it with, also when the server refuses
    /// it in the end; [`SendError::Transport`] where there is no whole response.
    pub async fn send(
        &self,
        mut request: Request<Vec<u8>>,
        need: &Need,
        asking: Asking,
    ) -> Result<Response<Vec<u8>>, SendError> {
        let until = self.deadline();
        self.0.office.desk().machine.check_home(request.uri())?;
        let mut grant = self.first_grant(until, need, asking).await?;
        let mut sends = 1;
        loop {
            match &grant {
                Some(grant) => grant.authorize(&mut request)?,
                // Ours, of the last round.
                None if sends > 1 => drop(request.headers_mut().remove(AUTHORIZATION)),
                None => {}
            }
            let response = self.exchange(until, request.clone()).await?;
            let sent_with = grant.as_ref().map(Grant::generation);
            let (status, headers) = (response.status(), response.headers());
            let challenged = match Challenged::read(status, headers, sent_with, need) {
                Some(challenged) if sends < MAX_SENDS => challenged,
                _ => return Ok(response),
            };
            self.0.office.at_desk(|desk| desk.feed(Event::Challenged(challenged)));
            grant = self.token_until(until, need, asking).await?;
            if grant.as_ref().map(Grant::generation) == sent_with {
                return Ok(response);
            }
            sends += 1;
        }
    }

    /// Takes a redirect URL that the person pasted. What comes of it is seen by whoever waits for
    /// the login.
    pub fn redirected(&self, url: String) {
        self.0.office.at_desk(|desk| desk.redirected(url, false));
    }

    /// Ends every attempt that is being waited for, with [`ErrorKind::Cancelled`]. A token request
    /// that is under way is still seen through.
    pub fn cancel(&self) {
        self.0.office.at_desk(Desk::cancel_all);
    }

    /// What discovery found when it was last done, also in an earlier run.
    pub fn discovery(&self) -> Option<Discovery> {
        self.0.office.desk().machine.discovery().cloned()
    }

    /// The tokens at hand, described. Until the record is [loaded](Self::load) there are none.
    pub fn status(&self) -> Option<TokenStatus> {
        self.0.office.desk().machine.status()
    }

    /// How the session stands: authorized, retrying and until when, or in need of a person.
    pub fn state(&self) -> SessionState {
        self.0.office.desk().machine.state(now())
    }

    fn deadline(&self) -> Mono {
        now().mono.plus(self.0.timeout)
    }

    fn timed_out(&self) -> Error {
        ErrorKind::TimedOut(self.0.timeout).into()
    }

    /// What a request is first sent with. Where nobody knows whether the server wants
    /// authorization, its answer to this very request tells more than a probe would.
    async fn first_grant(
        &self,
        until: Mono,
        need: &Need,
        asking: Asking,
    ) -> Result<Option<Grant>, Error> {
        self.attempt(until, Demand::load()).await?;
        let asked_before = self.0.office.desk().machine.wants_authorization().is_some();
        if asked_before { self.token_until(until, need, asking).await } else { Ok(None) }
    }

    async fn token_until(
        &self,
        until: Mono,
        need: &Need,
        asking: Asking,
    ) -> Result<Option<Grant>, Error> {
        for demands in 0.. {
            match self.0.office.desk().machine.token(now(), need) {
                TokenState::Ready(grant) => return Ok(Some(grant)),
                TokenState::NotRequired => return Ok(None),
                _ if demands == MAX_DEMANDS => break,
                _ => {}
            }
            self.attempt(
                until,
                match asking {
                    Asking::Never => Demand::background(need.clone()),
                    Asking::Welcome => Demand::interactive(need.clone()),
                },
            )
            .await?;
        }
        let reason = "the tokens that the server issues can't be used".into();
        Err(ErrorKind::LoginRequired { reason, scopes: ScopeSet::new() }.into())
    }

    /// Makes a demand and waits for the end of its attempt.
    async fn attempt(&self, until: Mono, demand: Demand) -> Result<(), Error> {
        self.0
            .office
            .wait(
                until,
                |desk| desk.demand(demand),
                |desk, attempt| !attempt.is_some_and(|attempt| desk.machine.is_running(attempt)),
                |desk, attempt, over| {
                    let failed = attempt.and_then(|attempt| desk.leave(attempt));
                    if over { failed.map_or(Ok(()), Err) } else { Err(self.timed_out()) }
                },
            )
            .await
    }

    async fn exchange(
        &self,
        until: Mono,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, SendError> {
        let uri = request.uri().clone();
        let limits = Limits {
            deadline: now().mono.until(until),
            max_body: self.0.max_body,
            head_only: false,
        };
        let sent = if limits.deadline.is_zero() {
            Err(TransportError::new(TransportErrorKind::Timeout, self.timed_out()))
        } else {
            self.0.office.hands.client.send(request, limits).await
        };
        sent.map_err(|source| SendError::transport(&uri, source))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("status", &self.status()).finish_non_exhaustive()
    }
}

#[cfg(feature = "reqwest")]
fn default_client() -> Result<Arc<dyn HttpClient>, Error> {
    let client = crate::reqwest_client::ReqwestClient::new();
    Ok(Arc::new(client.map_err(no_client)?))
}

#[cfg(not(feature = "reqwest"))]
fn default_client() -> Result<Arc<dyn HttpClient>, Error> {
    Err(no_client("give the session an HTTP client, or switch the feature `reqwest` on"))
}

fn no_client(why: impl fmt::Display) -> Error {
    ErrorKind::NoHttpClient(HostError::new(why)).into()
}
