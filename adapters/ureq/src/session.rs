//! The session: what callers see.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{Request, Response};
use mcp_auth::output::{Limits, Page};
use mcp_auth::toolhive::CachedSession;
use mcp_auth::wire::scope::ScopeSet;
use mcp_auth::{
    AuthMachine, ClockSkew, Demand, Discovery, Entropy, Error, ErrorKind, Event, Grant, HostError,
    Logout, Mono, Need, Reach, SessionState, TokenState, TokenStatus, TransportError,
    TransportErrorKind, Verdict,
};

use ureq::Body;

use crate::builder::Builder;
use crate::driver::Office;
use crate::error::SendError;
use crate::exchange::{default_config, exchange, stream};
use crate::hands::Hands;
use crate::network::Network;
use crate::source::SessionTokenSource;
use mcp_auth_host::desk::{Desk, now};
use mcp_auth_host::store::HookedStore;
use mcp_auth_host::tokens::Hooks;

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

/// One login at one MCP server, for any number of threads. Clones are the same session.
///
/// All methods but [`discovery`](Self::discovery), [`status`](Self::status),
/// [`state`](Self::state), [`clock_skew`](Self::clock_skew),
/// [`cached_session`](Self::cached_session), [`redirected`](Self::redirected) and
/// [`cancel`](Self::cancel) block, for the builder's [`timeout`](Builder::timeout) at the longest.
/// Whoever needs a token that is there gets it at once, also while another thread waits for a person.
#[derive(Clone)]
pub struct Session(Arc<Handle>);

/// All clones of a session: when the last one goes, the driver ends after its work.
struct Handle {
    office: Arc<Office>,
    hooks: Arc<Hooks>,
    timeout: Duration,
    max_body: usize,
    /// Somebody has asked for a token.
    demanded: AtomicBool,
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
        let Builder { server, config, browser, show_code, secrets, signer, .. } = builder;
        let Builder { program, agent, max_body, .. } = builder;
        let hooks = Arc::new(builder.hooks);
        let store = Box::new(HookedStore::new(builder.store, hooks.clone()));
        let person = Duration::from_secs(config.login_timeout_seconds);
        let timeout = builder.timeout.unwrap_or_else(|| person.saturating_add(MARGIN));
        let machine = AuthMachine::new(&server, Arc::new(config), entropy()?)?;
        let config = agent.map_or_else(default_config, |agent| agent.config().clone());
        let network = Network::new(config, builder.resolver, builder.road);
        let hands = Hands { network, store, browser, show_code, secrets, signer, program };
        let office = Arc::new(Office::new(hands, builder.on_notice, Desk::new(machine)));
        if let Some(cached) = builder.cached {
            office.desk().feed(Event::Restore(cached));
        }
        let demanded = AtomicBool::new(false);
        Ok(Self(Arc::new(Handle { office, hooks, timeout, max_body, demanded })))
    }

    /// A token for `need`: the one at hand, a refreshed one, or, where a person is
    /// [welcome](Asking::Welcome), one from a login. `None`: the server wants no authorization.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LoginRequired`] where a person would have to be asked and may not be;
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::Cancelled`]; else what went wrong on the way.
    pub fn token(&self, need: &Need, asking: Asking) -> Result<Option<Grant>, Error> {
        self.token_until(self.deadline(), need, asking)
    }

    /// Logs in anew, even though there may be a usable token, or the server lets everybody in.
    /// `None`: the server wants no authorization, and names nobody to log in with.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    pub fn login(&self) -> Result<Option<Grant>, Error> {
        self.log_in(Demand::interactive(Need::default()).fresh())
    }

    /// The same with a client that is registered for it
    /// ([`Demand::with_new_client`](mcp_auth::Demand::with_new_client)).
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    pub fn login_with_new_client(&self) -> Result<Option<Grant>, Error> {
        self.log_in(Demand::interactive(Need::default()).fresh().with_new_client())
    }

    fn log_in(&self, demand: Demand) -> Result<Option<Grant>, Error> {
        let until = self.deadline();
        self.attempt(until, demand)?;
        self.token_until(until, &Need::default(), Asking::Welcome)
    }

    /// Finds out what a login would meet: detection and discovery only. Nothing is registered,
    /// nobody is asked. `None`: the server wants no authorization.
    ///
    /// # Errors
    ///
    /// What went wrong on the way; [`ErrorKind::TimedOut`].
    pub fn inspect(&self) -> Result<Option<Discovery>, Error> {
        let until = self.deadline();
        self.attempt(until, Demand::load())?;
        self.attempt(until, Demand::inspect())?;
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
    pub fn logout(&self) -> Result<Logout, Error> {
        self.0.office.wait(
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
    }

    /// Forgets everything about the server, in memory and in the store, and tells no server: the
    /// tokens live there until they expire. When this returns `Ok`, the stored record is erased.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`] where it could not be erased; [`ErrorKind::TimedOut`].
    pub fn forget(&self) -> Result<(), Error> {
        let erased = self.0.office.wait(
            self.deadline(),
            |desk| {
                desk.erased = None;
                desk.feed(Event::Forget);
            },
            |desk, ()| desk.erased.is_some(),
            |desk, (), _| desk.erased.clone(),
        );
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
    pub fn load(&self) -> Result<Option<TokenStatus>, Error> {
        self.attempt(self.deadline(), Demand::load())?;
        Ok(self.status())
    }

    /// Sends a request to the MCP server, with a token if one is needed. A refusal that asks for
    /// another token is answered with one: refreshed, or with more scopes from a person, and the
    /// request is sent again.
    ///
    /// The response may have any status, and its body is read to the end: an event stream that
    /// doesn't end is not for this method. No redirect is followed, but to the same URL with a slash at
    /// the end or without: see [`AuthMachine::judge`].
    ///
    /// # Errors
    ///
    /// [`SendError::Auth`] where there is no token to send it with, also when the server refuses
    /// it in the end; [`SendError::Transport`] where there is no whole response.
    pub fn send(
        &self,
        request: Request<Vec<u8>>,
        need: &Need,
        asking: Asking,
    ) -> Result<Response<Vec<u8>>, SendError> {
        let until = self.deadline();
        self.converse(request, need, asking, |request| self.exchange(until, request))
    }

    /// The same, by whatever sends a request once. It is bounded by itself; this, where it waits for a
    /// token.
    pub(crate) fn converse<T, E: From<Error>>(
        &self,
        mut request: Request<Vec<u8>>,
        need: &Need,
        asking: Asking,
        mut send: impl FnMut(&Request<Vec<u8>>) -> Result<Response<T>, E>,
    ) -> Result<Response<T>, E> {
        let until = self.deadline();
        self.0.office.desk().machine.prepare(&mut request)?;
        let mut grant = self.first_grant(until, need, asking)?;
        let mut sends = 1;
        loop {
            match &grant {
                Some(grant) => self.authorize(&mut request, grant)?,
                // Ours, of the last round.
                None if sends > 1 => drop(request.headers_mut().remove(AUTHORIZATION)),
                None => {}
            }
            let response = send(&request)?;
            if sends == MAX_SENDS {
                return Ok(response);
            }
            sends += 1;
            let sent_with = grant.as_ref().map(Grant::generation);
            match self.judge(&request, &response, grant.as_ref(), need) {
                Verdict::Refused(challenged) => {
                    self.0.office.at_desk(|desk| desk.feed(Event::Challenged(challenged)));
                    grant = self.token_until(until, need, asking)?;
                    if grant.as_ref().map(Grant::generation) == sent_with {
                        return Ok(response);
                    }
                }
                Verdict::Again(challenged) => {
                    self.0.office.at_desk(|desk| desk.feed(Event::Challenged(challenged)));
                    grant = self.token_until(until, need, asking)?;
                }
                Verdict::Moved(uri) => *request.uri_mut() = uri,
                _ => return Ok(response),
            }
        }
    }

    /// Adds a token to a request for the MCP server, and the proof that goes with one that is bound to a
    /// key ([`Config::dpop`](mcp_auth::Config::dpop)): that is for this request alone, and for now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`] for a request that goes elsewhere; [`ErrorKind::SigningFailed`].
    pub fn authorize<B>(&self, request: &mut Request<B>, grant: &Grant) -> Result<(), Error> {
        let Some(proof) = grant.proof(now(), request, entropy()?) else {
            return grant.authorize(request);
        };
        let signed = self.0.office.hands.sign(proof.key(), proof.algorithm(), proof.input());
        let signature = signed.map_err(|error| proof.failed(error))?;
        grant.authorize_with(request, &proof, &signature)
    }

    /// The same for what can be sent only once: a refusal counts for the next request.
    pub(crate) fn say<T, E: From<Error>>(
        &self,
        mut request: Request<Vec<u8>>,
        need: &Need,
        asking: Asking,
        send: impl FnOnce(&Request<Vec<u8>>) -> Result<Response<T>, E>,
    ) -> Result<Response<T>, E> {
        self.0.office.desk().machine.prepare(&mut request)?;
        // Its answer would come too late to find out by: this asks first.
        let grant = self.token_until(self.deadline(), need, asking)?;
        if let Some(grant) = &grant {
            self.authorize(&mut request, grant)?;
        }
        let response = send(&request)?;
        if let Verdict::Refused(challenged) | Verdict::Again(challenged) =
            self.judge(&request, &response, grant.as_ref(), need)
        {
            self.0.office.at_desk(|desk| desk.feed(Event::Challenged(challenged)));
        }
        Ok(response)
    }

    /// Whether a request to `uri` is one to this session's server.
    pub(crate) fn is_home(&self, uri: &http::Uri) -> bool {
        self.0.office.desk().machine.check_home(uri).is_ok()
    }

    /// Sends a request as it is, and leaves the body to be read.
    pub(crate) fn send_again(
        &self,
        request: &Request<Vec<u8>>,
    ) -> Result<Response<Body>, ureq::Error> {
        stream(&self.0.office.hands.network, request)
    }

    fn judge<T>(
        &self,
        request: &Request<Vec<u8>>,
        response: &Response<T>,
        grant: Option<&Grant>,
        need: &Need,
    ) -> Verdict {
        self.0.office.desk().machine.judge(now(), request, response, grant, need)
    }

    /// Takes a redirect URL that the person pasted. What comes of it is seen by whoever waits for
    /// the login.
    pub fn redirected(&self, url: String) {
        self.0.office.at_desk(|desk| desk.redirected(url, false));
    }

    /// The same for a program that serves the redirect URI itself
    /// ([`redirect_uri`](mcp_auth::Config::redirect_uri)): takes the URL that the person's browser came
    /// back with, or its query, and tells what that is to be shown.
    ///
    /// A web app does so only for the browser session that it sent away.
    pub fn came_back(&self, url: String) -> Page {
        self.0.office.page_for(url)
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

    /// What the servers' answers have shown of this machine's wall clock, also in an earlier run;
    /// `None` where it is right.
    pub fn clock_skew(&self) -> Option<ClockSkew> {
        self.0.office.desk().machine.clock_skew().cloned()
    }

    /// The refresh token at hand, and whom it belongs to.
    pub fn cached_session(&self) -> Option<CachedSession> {
        self.0.office.desk().machine.cached_session()
    }

    /// Why a [persister](Builder::token_persister) has not kept something, if it hasn't. It is asked
    /// again when the login is next read or saved.
    pub fn not_persisted(&self) -> Option<HostError> {
        self.0.hooks.failure()
    }

    /// Lends its tokens, and asks nobody for them.
    pub fn token_source(&self) -> SessionTokenSource {
        SessionTokenSource::new(self.clone())
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
    fn first_grant(
        &self,
        until: Mono,
        need: &Need,
        asking: Asking,
    ) -> Result<Option<Grant>, Error> {
        self.attempt(until, Demand::load())?;
        let asked_before = self.0.office.desk().machine.wants_authorization().is_some();
        if asked_before { self.token_until(until, need, asking) } else { Ok(None) }
    }

    fn token_until(
        &self,
        until: Mono,
        need: &Need,
        asking: Asking,
    ) -> Result<Option<Grant>, Error> {
        for demands in 0.. {
            let state = self.0.office.desk().machine.token(now(), need);
            match state {
                TokenState::Ready(grant) => {
                    // The machine is told once that its tokens are in use: it looks after them.
                    if !self.0.demanded.swap(true, Ordering::Relaxed) {
                        let demand = Demand::background(need.clone());
                        self.0.office.at_desk(|desk| desk.feed(Event::Demand(demand)));
                    }
                    return Ok(Some(grant));
                }
                TokenState::NotRequired => return Ok(None),
                _ if demands == MAX_DEMANDS => break,
                _ => {}
            }
            self.0.demanded.store(true, Ordering::Relaxed);
            self.attempt(
                until,
                match asking {
                    Asking::Never => Demand::background(need.clone()),
                    Asking::Welcome => Demand::interactive(need.clone()),
                },
            )?;
        }
        let reason = "the tokens that the server issues can't be used".into();
        Err(ErrorKind::LoginRequired { reason, scopes: ScopeSet::new() }.into())
    }

    /// Makes a demand and waits for the end of its attempt.
    fn attempt(&self, until: Mono, demand: Demand) -> Result<(), Error> {
        self.0.office.wait(
            until,
            |desk| desk.demand(demand),
            |desk, attempt| !attempt.is_some_and(|attempt| desk.machine.is_running(attempt)),
            |desk, attempt, over| {
                let failed = attempt.and_then(|attempt| desk.leave(attempt));
                if over { failed.map_or(Ok(()), Err) } else { Err(self.timed_out()) }
            },
        )
    }

    fn exchange(
        &self,
        until: Mono,
        request: &Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, SendError> {
        let limits = Limits {
            deadline: now().mono.until(until),
            max_body: self.0.max_body,
            head_only: false,
        };
        let sent = if limits.deadline.is_zero() {
            Err(TransportError::new(TransportErrorKind::Timeout, self.timed_out()))
        } else {
            exchange(&self.0.office.hands.network, request, limits, &Reach::anywhere(), None)
        };
        sent.map_err(|source| SendError::transport(request.uri(), source))
    }
}

fn entropy() -> Result<Entropy, Error> {
    let seed = mcp_auth_host::system::random_seed()
        .map_err(|error| ErrorKind::NoRandomness(HostError::new(error)))?;
    Ok(Entropy::from_bytes(seed))
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("status", &self.status()).finish_non_exhaustive()
    }
}
