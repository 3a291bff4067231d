//! The session: what callers see.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use mcp_auth::output::{Limits, Page};
use mcp_auth::toolhive::CachedSession;
use mcp_auth::{
    ClockSkew, Demand, Discovery, Error, ErrorKind, Event, Grant, HostError, Logout, Mono, Need,
    Reach, SessionState, TokenState, TokenStatus, TransportError, TransportErrorKind,
};
use mcp_auth_host::desk::{
    Asking, Attempt, Desk, Errand, Forget, LogOut, Next, Quest, SendError, Sending, Step,
    authorize, now,
};

use crate::builder::Builder;
use crate::exchange::{default_config, exchange, stream};
use crate::network::Network;
use crate::office::Office;
use crate::source::SessionTokenSource;

/// One login at one MCP server, for any number of threads. Clones are the same session.
///
/// All methods but [`discovery`](Self::discovery), [`status`](Self::status),
/// [`state`](Self::state), [`clock_skew`](Self::clock_skew),
/// [`cached_session`](Self::cached_session), [`redirected`](Self::redirected) and
/// [`cancel`](Self::cancel) block, for the builder's [`timeout`](Builder::timeout) at the longest.
/// Whoever needs a token that is there gets it at once, also while another thread waits for a person.
///
/// ```
/// use std::thread;
///
/// use mcp_auth::Need;
/// use mcp_auth_ureq::{Asking, Session};
///
/// # let server = mcp_auth_host::serve::Server::start(|_| {
/// #     let answer = http::Response::builder().header("content-type", "application/json");
/// #     answer.body(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_vec()).unwrap()
/// # })?;
/// # let url = server.url();
/// let session = Session::builder(&url).build()?;
/// let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.to_vec();
/// let ping = http::Request::post(&url).body(ping)?;
///
/// let another = session.clone(); // for another thread: they share the login
/// let thread = thread::spawn(move || another.inspect());
/// let response = session.send(ping, &Need::default(), Asking::Never)?;
/// assert_eq!(response.status(), 200);
/// assert!(thread.join().unwrap()?.is_none()); // this server wants no authorization
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
        let Builder { setup, agent, resolver, road } = builder;
        let opened = setup.open()?;
        let config = agent.map_or_else(default_config, |agent| agent.config().clone());
        let network = Network::new(config, resolver, road);
        let (timeout, max_body) = (opened.timeout, opened.max_body);
        let office = Arc::new(Office::new(network, opened));
        Ok(Self(Arc::new(Handle { office, timeout, max_body })))
    }

    /// A token for `need`: the one at hand, a refreshed one, or, where a person is
    /// [welcome](Asking::Welcome), one from a login. `None`: the server wants no authorization.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LoginRequired`] where a person would have to be asked and may not be;
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::Cancelled`]; else what went wrong on the way.
    pub fn token(&self, need: &Need, asking: Asking) -> Result<Option<Grant>, Error> {
        self.seek(self.deadline(), Quest::new(need, asking))
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
        self.seek(until, Quest::new(&Need::default(), Asking::Welcome))
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
        self.wait(self.deadline(), LogOut::default())
    }

    /// Forgets everything about the server, in memory and in the store, and tells no server: the
    /// tokens live there until they expire. When this returns `Ok`, the stored record is erased.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`] where it could not be erased; [`ErrorKind::TimedOut`].
    pub fn forget(&self) -> Result<(), Error> {
        self.wait(self.deadline(), Forget::default())
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
    /// the end or without: see
    /// [`AuthMachine::judge`](mcp_auth::AuthMachine::judge).
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
        let (until, office) = (self.deadline(), &self.0.office);
        office.desk().machine.check_home(request.uri())?;
        let mut sending = Sending::new(self.seek(until, Quest::of_request(need, asking))?);
        loop {
            self.prepare(&mut sending, &mut request)?;
            let response = send(&request)?;
            let next = sending.answered(&office.desk(), need, &mut request, &response);
            match next {
                Next::Deliver => return Ok(response),
                Next::Again => {}
                Next::Refused(challenged) => {
                    office.at_desk(|desk| desk.feed(Event::Challenged(*challenged)));
                    if !sending.renewed(self.seek(until, Quest::new(need, asking))?) {
                        return Ok(response);
                    }
                }
            }
        }
    }

    /// The same for what can be sent only once: a refusal counts for the next request.
    pub(crate) fn say<T, E: From<Error>>(
        &self,
        mut request: Request<Vec<u8>>,
        need: &Need,
        asking: Asking,
        send: impl FnOnce(&Request<Vec<u8>>) -> Result<Response<T>, E>,
    ) -> Result<Response<T>, E> {
        let office = &self.0.office;
        office.desk().machine.check_home(request.uri())?;
        // Its answer would come too late to find out by: this asks first.
        let mut sending = Sending::new(self.seek(self.deadline(), Quest::new(need, asking))?);
        self.prepare(&mut sending, &mut request)?;
        let response = send(&request)?;
        let next = sending.answered(&office.desk(), need, &mut request, &response);
        if let Next::Refused(challenged) = next {
            office.at_desk(|desk| desk.feed(Event::Challenged(*challenged)));
        }
        Ok(response)
    }

    fn prepare<B>(&self, sending: &mut Sending, request: &mut Request<B>) -> Result<(), Error> {
        let office = &self.0.office;
        let proof = sending.prepare(&office.desk(), request)?;
        // Not at the desk: keys may be in devices that ask their owner.
        let Some(proof) = proof else { return Ok(()) };
        let signature = office.hands.prove(&proof)?;
        sending.proven(request, &proof, &signature)
    }

    /// Adds a token to a request for the MCP server, and the proof that goes with one that is bound to a
    /// key ([`Config::dpop`](mcp_auth::Config::dpop)): that is for this request alone, and for now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`] for a request that goes elsewhere; [`ErrorKind::SigningFailed`].
    pub fn authorize<B>(&self, request: &mut Request<B>, grant: &Grant) -> Result<(), Error> {
        let Some(proof) = authorize(request, grant)? else { return Ok(()) };
        let signature = self.0.office.hands.prove(&proof)?;
        grant.authorize_with(request, &proof, &signature)
    }

    /// Whether a request to `uri` is one to this session's server.
    pub(crate) fn is_home(&self, uri: &http::Uri) -> bool {
        self.0.office.desk().machine.check_home(uri).is_ok()
    }

    /// Sends a request as it is, and leaves the body to be read.
    pub(crate) fn send_again(
        &self,
        request: &Request<Vec<u8>>,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        stream(&self.0.office.network, request)
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
        self.0.office.hands.not_persisted()
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

    fn seek(&self, until: Mono, mut quest: Quest<'_>) -> Result<Option<Grant>, Error> {
        loop {
            match self.0.office.at_desk(|desk| quest.step(desk))? {
                Step::Done(grant) => return Ok(grant),
                Step::Demand(demand) => self.attempt(until, demand)?,
            }
        }
    }

    /// Makes a demand and waits for the end of its attempt.
    fn attempt(&self, until: Mono, demand: Demand) -> Result<(), Error> {
        self.wait(until, Attempt::at(demand))
    }

    fn wait<T>(
        &self,
        until: Mono,
        errand: impl Errand<Result = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.0.office.wait(until, errand).unwrap_or_else(|| Err(self.timed_out()))
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
            exchange(&self.0.office.network, request, limits, &Reach::anywhere(), None)
        };
        sent.map_err(|source| SendError::transport(request.uri(), source))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("status", &self.status()).finish_non_exhaustive()
    }
}
