//! The session: what callers see.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Uri};
use mcp_auth::output::{Limits, Page};
use mcp_auth::toolhive::CachedSession;
use mcp_auth::{
    ClockSkew, Demand, Discovery, Error, ErrorKind, Grant, HostError, Logout, Mono, Need, Proof,
    Reach, SessionState, TokenState, TokenStatus, TransportError, TransportErrorKind,
};
use mcp_auth_host::desk::{
    Asking, Attempt, Desk, Errand, Forget, LogOut, Quest, SendError, Step, authorize, now,
};
use mcp_auth_host::hands::Hands;
use mcp_auth_host::setup::Opened;

use crate::builder::Builder;
use crate::http_client::HttpClient;
use crate::office::Office;
use crate::sending::Sending;
use crate::source::SessionTokenSource;
use crate::timer::Common;

/// One login at one MCP server, for any number of tasks. Clones are the same session.
///
/// Each call ends by the builder's [`timeout`](Builder::timeout). Whoever needs a token that is there
/// gets it at once, also while another task waits for a person.
///
/// # Cancel safety
///
/// Every future may be dropped at any moment, and nothing is lost by it: a token request that is out
/// is seen through in a task of its own, and so is the save of what it brings. An attempt that nobody
/// else waits for is cancelled before it gets that far; each method says what that means for it.
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

    pub(crate) fn open(opened: Opened, client: Arc<dyn HttpClient>, common: Common) -> Self {
        let (timeout, max_body) = (opened.timeout, opened.max_body);
        let office = Arc::new(Office::new(client, common, opened));
        Self(Arc::new(Handle { office, timeout, max_body }))
    }

    /// A token for `need`: the one at hand, a refreshed one, or, where a person is
    /// [welcome](Asking::Welcome), one from a login. `None`: the server wants no authorization.
    ///
    /// Cancel safe: the next caller takes up what this one began, or begins anew.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LoginRequired`] where a person would have to be asked and may not be;
    /// [`ErrorKind::TimedOut`]; [`ErrorKind::Cancelled`]; else what went wrong on the way.
    pub async fn token(&self, need: &Need, asking: Asking) -> Result<Option<Grant>, Error> {
        self.seek(self.deadline(), Quest::new(need, asking)).await
    }

    /// Logs in anew, even though there may be a usable token, or the server lets everybody in.
    /// `None`: the server wants no authorization, and names nobody to log in with.
    ///
    /// Cancel safe: dropped while the person is in the browser, the login is cancelled, and what was
    /// there before stays.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    pub async fn login(&self) -> Result<Option<Grant>, Error> {
        self.log_in(Demand::interactive(Need::default()).fresh()).await
    }

    /// The same with a client that is registered for it
    /// ([`Demand::with_new_client`](mcp_auth::Demand::with_new_client)).
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    pub async fn login_with_new_client(&self) -> Result<Option<Grant>, Error> {
        self.log_in(Demand::interactive(Need::default()).fresh().with_new_client()).await
    }

    async fn log_in(&self, demand: Demand) -> Result<Option<Grant>, Error> {
        let until = self.deadline();
        self.attempt(until, demand).await?;
        self.seek(until, Quest::new(&Need::default(), Asking::Welcome)).await
    }

    /// Finds out what a login would meet: detection and discovery only. Nothing is registered,
    /// nobody is asked. `None`: the server wants no authorization.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// What went wrong on the way; [`ErrorKind::TimedOut`].
    pub async fn inspect(&self) -> Result<Option<Discovery>, Error> {
        let until = self.deadline();
        self.attempt(until, Demand::load()).await?;
        self.attempt(until, Demand::inspect()).await?;
        Ok(self.at_desk(|desk| match desk.machine.token(now(), &Need::default()) {
            TokenState::NotRequired => None,
            _ => desk.machine.discovery().cloned(),
        }))
    }

    /// Logs out: ends the tokens at their server (RFC 7009), deletes the client that was registered
    /// there (RFC 7592, see [`delete_registration`](mcp_auth::Config::delete_registration)), and
    /// erases the stored record. From now on nothing of it is lent. A part that fails is in the report,
    /// and does not stop the others.
    ///
    /// Cancel safe: it goes on; its report is lost.
    ///
    /// # Errors
    ///
    /// Where there is no report: [`ErrorKind::TimedOut`], though it is still seen through, and
    /// [`ErrorKind::Cancelled`].
    pub async fn logout(&self) -> Result<Logout, Error> {
        self.wait(self.deadline(), LogOut::default()).await
    }

    /// Forgets everything about the server, in memory and in the store, and tells no server: the
    /// tokens live there until they expire. When this returns `Ok`, the stored record is erased.
    ///
    /// Cancel safe: it goes on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`] where it could not be erased; [`ErrorKind::TimedOut`].
    pub async fn forget(&self) -> Result<(), Error> {
        self.wait(self.deadline(), Forget::default()).await
    }

    /// Reads the stored record, if that was not done yet, and nothing else: no request is sent.
    ///
    /// Cancel safe.
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
    /// The response may have any status, and its body is read to the end: an event stream that
    /// doesn't end is not for this method, but for [`sending`](Self::sending). No redirect is followed,
    /// but to the same URL with a slash at the end or without: see
    /// [`AuthMachine::judge`](mcp_auth::AuthMachine::judge).
    ///
    /// Cancel safe for the session; the server may have seen the request.
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
        let mut sending = self.sending(request.uri(), need.clone(), asking).await?;
        loop {
            sending.prepare(&mut request).await?;
            let response = self.exchange(sending.deadline(), request.clone()).await?;
            if !sending.is_to_be_repeated(&mut request, &response).await? {
                return Ok(response);
            }
        }
    }

    /// Begins a request that the program sends itself, by whatever transport it has. `uri` is where it
    /// will go.
    ///
    /// Cancel safe, as [`token`](Self::token).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`] where that is another server; else as [`token`](Self::token).
    pub async fn sending(&self, uri: &Uri, need: Need, asking: Asking) -> Result<Sending, Error> {
        let until = self.deadline();
        self.at_desk(|desk| desk.machine.check_home(uri))?;
        let grant = self.seek(until, Quest::of_request(&need, asking)).await?;
        Ok(Sending::new(self.clone(), until, need, asking, grant))
    }

    /// Adds a token to a request for the MCP server, and the proof that goes with one that is bound to a
    /// key ([`Config::dpop`](mcp_auth::Config::dpop)): that is for this request alone, and for now.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`] for a request that goes elsewhere; [`ErrorKind::SigningFailed`].
    pub async fn authorize<B>(&self, request: &mut Request<B>, grant: &Grant) -> Result<(), Error> {
        let Some(proof) = authorize(request, grant)? else { return Ok(()) };
        let (proof, signature) = self.prove(proof).await?;
        grant.authorize_with(request, &proof, &signature)
    }

    /// Takes a redirect URL that the person pasted, or that came to the program by another way. What
    /// comes of it is seen by whoever waits for the login.
    pub fn redirected(&self, url: String) {
        self.at_desk(|desk| desk.redirected(url, false));
    }

    /// The same for a program that serves the redirect URI itself
    /// ([`redirect_uri`](mcp_auth::Config::redirect_uri)): takes the URL that the person's browser came
    /// back with, or its query, and tells what that is to be shown.
    ///
    /// A web app does so only for the browser session that it sent away.
    ///
    /// Cancel safe: the redirect counts all the same.
    pub async fn came_back(&self, url: String) -> Page {
        self.0.office.page_for(url).await
    }

    /// Ends every attempt that is being waited for, with [`ErrorKind::Cancelled`]. A token request
    /// that is under way is still seen through.
    pub fn cancel(&self) {
        self.at_desk(Desk::cancel_all);
    }

    /// Ends the session for all who share it: what waits is cancelled, nothing is begun any more, and
    /// what a server has made for us by now is saved, within this time. To be awaited before the runtime
    /// ends.
    ///
    /// Cancel safe: it goes on, as long as the runtime does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`] where something is still on its way, or could not be saved.
    pub async fn shutdown(&self, within: Duration) -> Result<(), Error> {
        self.at_desk(Desk::shut);
        let settled = self.0.office.settled(now().mono.plus(within)).await;
        self.at_desk(|desk| desk.closed = true);
        if settled { Ok(()) } else { Err(ErrorKind::TimedOut(within).into()) }
    }

    /// What discovery found when it was last done, also in an earlier run.
    pub fn discovery(&self) -> Option<Discovery> {
        self.at_desk(|desk| desk.machine.discovery().cloned())
    }

    /// The tokens at hand, described. Until the record is [loaded](Self::load) there are none.
    pub fn status(&self) -> Option<TokenStatus> {
        self.at_desk(|desk| desk.machine.status())
    }

    /// What the servers' answers have shown of this machine's wall clock, also in an earlier run;
    /// `None` where it is right.
    pub fn clock_skew(&self) -> Option<ClockSkew> {
        self.at_desk(|desk| desk.machine.clock_skew().cloned())
    }

    /// The refresh token at hand, and whom it belongs to.
    pub fn cached_session(&self) -> Option<CachedSession> {
        self.at_desk(|desk| desk.machine.cached_session())
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
        self.at_desk(|desk| desk.machine.state(now()))
    }

    pub(crate) fn at_desk<T>(&self, act: impl FnOnce(&mut Desk) -> T) -> T {
        self.0.office.at_desk(act)
    }

    /// Keys may be in devices that ask their owner.
    pub(crate) async fn prove(&self, proof: Proof) -> Result<(Proof, Vec<u8>), Error> {
        let (signed, proof) = self.0.office.blocking(proof, Hands::prove).await;
        let signature = signed.map_err(|error| proof.failed(error)).flatten()?;
        Ok((proof, signature))
    }

    fn deadline(&self) -> Mono {
        now().mono.plus(self.0.timeout)
    }

    fn timed_out(&self) -> Error {
        ErrorKind::TimedOut(self.0.timeout).into()
    }

    pub(crate) async fn seek(
        &self,
        until: Mono,
        mut quest: Quest<'_>,
    ) -> Result<Option<Grant>, Error> {
        loop {
            match self.at_desk(|desk| quest.step(desk))? {
                Step::Done(grant) => return Ok(grant),
                Step::Demand(demand) => self.attempt(until, demand).await?,
            }
        }
    }

    /// Makes a demand and waits for the end of its attempt.
    async fn attempt(&self, until: Mono, demand: Demand) -> Result<(), Error> {
        self.wait(until, Attempt::at(demand)).await
    }

    async fn wait<T>(
        &self,
        until: Mono,
        errand: impl Errand<Result = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        self.0.office.wait(until, errand).await.unwrap_or_else(|| Err(self.timed_out()))
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
            self.0.office.client.send(request, limits, Reach::anywhere()).await
        };
        sent.map_err(|source| SendError::transport(&uri, source))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("status", &self.status()).finish_non_exhaustive()
    }
}
