//! What a caller does: ask for a token, send the request, read the refusal, try again.

use http::header::{ACCEPT, HeaderValue};
use http::{Request, Response};
use mcp_auth::output::Purpose;
use mcp_auth::{
    AttemptId, Demand, Discovery, Entropy, Error, ErrorKind, Event, Grant, Logout, Need, Notice,
    PeerAddress, TokenState, Verdict,
};
use serde_json::json;

use super::Scenario;
use crate::signer;

/// How often a request is sent again after a refusal, and how often a token is demanded for it.
const MAX_TRIES: usize = 8;

/// What came of a call: the server's last answer, or why there is no token.
#[derive(Debug)]
#[must_use]
pub struct Answer(Result<Response<Vec<u8>>, Error>);

impl Answer {
    /// The status that the server answered.
    ///
    /// # Panics
    ///
    /// If the call failed before.
    #[track_caller]
    pub fn status(&self) -> u16 {
        match &self.0 {
            Ok(response) => response.status().as_u16(),
            Err(error) => panic!("there is no token: {error}"),
        }
    }

    /// Why there was no token.
    ///
    /// # Panics
    ///
    /// If there was one.
    #[track_caller]
    pub fn error(&self) -> &Error {
        match &self.0 {
            Ok(response) => panic!("expected a failure, got HTTP {}", response.status()),
            Err(error) => error,
        }
    }

    /// The same, as what can be matched.
    #[track_caller]
    pub fn kind(&self) -> &ErrorKind {
        self.error().kind()
    }
}

impl Scenario {
    /// Calls a tool for a person who is there: refusals lead to a refresh or a login, and to the
    /// same request again.
    pub fn call_tool(&mut self, tool: &str) -> Answer {
        self.call(tool, Demand::interactive)
    }

    /// The same where nobody is there.
    pub fn call_tool_in_background(&mut self, tool: &str) -> Answer {
        self.call(tool, Demand::background)
    }

    fn call(&mut self, tool: &str, demand: fn(Need) -> Demand) -> Answer {
        let need = need(tool);
        let mut endpoint = None;
        let mut suspected = None;
        for _ in 0..MAX_TRIES {
            let grant = match self.obtain(&need, demand) {
                Ok(grant) => grant,
                Err(error) => return Answer(Err(error)),
            };
            let generation = grant.as_ref().map(Grant::generation);
            match suspected.take() {
                Some((before, answer)) if before == generation => return Answer(Ok(answer)),
                _ => {}
            }
            let mut request = self.request(tool);
            if let Some(uri) = &endpoint {
                http::Uri::clone_from(request.uri_mut(), uri);
            }
            if let Some(Err(error)) =
                grant.as_ref().map(|grant| self.authorize(&mut request, grant))
            {
                return Answer(Err(error));
            }
            let response = self.exchange(&request);
            let now = self.now();
            match self.machine().judge(now, &request, &response, grant.as_ref(), &need) {
                Verdict::Refused(challenged) => {
                    self.handle(Event::Challenged(challenged));
                    // What is refused in so many words must not come again.
                    if !matches!(response.status().as_u16(), 401 | 403) {
                        suspected = Some((generation, response));
                    }
                }
                Verdict::Again(challenged) => self.handle(Event::Challenged(challenged)),
                Verdict::Moved(uri) => endpoint = Some(uri),
                _ => return Answer(Ok(response)),
            }
        }
        panic!("the machine lets a caller ask for ever: {:?}", self.take_log());
    }

    /// A token for `need`, demanded if there is none; `None` where none is required.
    ///
    /// # Errors
    ///
    /// Why the attempt failed.
    pub fn obtain(
        &mut self,
        need: &Need,
        demand: fn(Need) -> Demand,
    ) -> Result<Option<Grant>, Error> {
        for _ in 0..MAX_TRIES {
            match self.token_for(need) {
                TokenState::Ready(grant) => return Ok(Some(grant)),
                TokenState::NotRequired => return Ok(None),
                _ => self.demanded(demand(need.clone()))?,
            }
        }
        panic!("demands succeed, and there is no token");
    }

    /// Logs in anew, for a person who is there.
    ///
    /// # Errors
    ///
    /// Why there is no token.
    pub fn log_in(&mut self) -> Result<(), Error> {
        self.demanded(Demand::interactive(Need::default()).fresh())
    }

    /// Logs out without performing anything.
    pub fn begin_logout(&mut self) -> AttemptId {
        self.handle(Event::Logout);
        match self.machine().last_attempt() {
            Some(attempt) => attempt,
            None => panic!("a logout was asked for, and there is no attempt"),
        }
    }

    /// Logs out, and performs everything until that is over.
    pub fn log_out(&mut self) -> Logout {
        let attempt = self.begin_logout();
        self.finish_logout(attempt)
    }

    /// Performs everything until this logout is over.
    ///
    /// # Panics
    ///
    /// If there is no report then.
    pub fn finish_logout(&mut self, attempt: AttemptId) -> Logout {
        let ended = self.settle(attempt);
        match self.machine().logged_out(attempt).cloned() {
            Some(report) => report,
            None => panic!("no report of a logout that ended with {ended:?}"),
        }
    }

    /// Demands a token without performing anything: [`run`](Self::run) and
    /// [`run_until`](Self::run_until) do.
    pub fn demand(&mut self, demand: Demand) -> AttemptId {
        self.handle(Event::Demand(demand));
        match self.machine().last_attempt() {
            Some(attempt) => attempt,
            None => panic!("a demand was made, and there is no attempt"),
        }
    }

    /// Demands a token and performs everything until the attempt has ended.
    ///
    /// # Errors
    ///
    /// Why it failed.
    pub fn demanded(&mut self, demand: Demand) -> Result<(), Error> {
        let attempt = self.demand(demand);
        self.settle(attempt)
    }

    /// Performs everything until this attempt has ended, however long it takes.
    ///
    /// # Errors
    ///
    /// Why it failed.
    pub fn settle(&mut self, attempt: AttemptId) -> Result<(), Error> {
        for _ in 0..1_000 {
            self.run();
            if !self.machine().is_running(attempt) {
                return self.machine().failure(attempt).cloned().map_or(Ok(()), Err);
            }
            self.wait();
        }
        panic!("the attempt doesn't end");
    }

    /// Detection and discovery only.
    ///
    /// # Errors
    ///
    /// Why nothing was found.
    pub fn inspect(&mut self) -> Result<Option<Discovery>, Error> {
        self.demanded(Demand::inspect())?;
        Ok(self.machine().discovery().cloned())
    }

    /// Whether there is a token, for no operation in particular.
    pub fn token(&mut self) -> TokenState {
        self.token_for(&Need::default())
    }

    /// Whether there is a token for `need`.
    pub fn token_for(&mut self, need: &Need) -> TokenState {
        let now = self.now();
        let state = self.machine().token(now, need);
        self.overhear(|| format!("{state:?}"));
        state
    }

    /// The token at hand.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn grant(&mut self) -> Grant {
        match self.token() {
            TokenState::Ready(grant) => grant,
            other => panic!("expected a token, got {other:?}"),
        }
    }

    /// Sends one request for a tool, whatever comes of it.
    ///
    /// # Panics
    ///
    /// If the grant is for another server, or the network fails.
    pub fn send(&mut self, tool: &str, grant: Option<&Grant>) -> Response<Vec<u8>> {
        let mut request = self.request(tool);
        if let Some(Err(error)) = grant.map(|grant| self.authorize(&mut request, grant)) {
            panic!("the token doesn't go home: {error}");
        }
        self.exchange(&request)
    }

    fn request(&self, tool: &str) -> Request<Vec<u8>> {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": tool, "arguments": {} },
        });
        let mut request = Request::new(message.to_string().into_bytes());
        *request.method_mut() = http::Method::POST;
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        request.headers_mut().insert(ACCEPT, accept);
        let url = self.server.as_ref().unwrap_or(&self.world.resource.url);
        match url.parse() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => panic!("{url} is no URL: {error}"),
        }
        request
    }

    /// Adds the token, and the proof that it needs.
    fn authorize(&mut self, request: &mut Request<Vec<u8>>, grant: &Grant) -> Result<(), Error> {
        self.proofs += 1;
        let mut seed = [1; 32];
        seed[..8].copy_from_slice(&self.proofs.to_le_bytes());
        let now = self.now();
        let Some(proof) = grant.proof(now, request, Entropy::from_bytes(seed)) else {
            return grant.authorize(request);
        };
        let name = self.key(proof.key()).map_err(|error| proof.failed(error))?;
        grant.authorize_with(request, &proof, &signer::sign(&name, proof.input()))
    }

    fn exchange(&mut self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        let peer = self.world.addresses(request.uri().host().unwrap_or_default()).first().copied();
        match self.world.handle(self.wall, request) {
            Ok(mut response) => {
                if let Some(peer) = peer.filter(|_| self.peers_are_told) {
                    response.extensions_mut().insert(PeerAddress(peer));
                }
                response
            }
            Err(error) => panic!("the MCP server can't be reached: {error}"),
        }
    }

    /// Sends one request for a tool with the token at hand, and reports a refusal.
    pub fn try_tool(&mut self, tool: &str) -> u16 {
        let need = need(tool);
        let grant = match self.token_for(&need) {
            TokenState::Ready(grant) => Some(grant),
            _ => None,
        };
        let response = self.send(tool, grant.as_ref());
        self.report(tool, &response, grant.as_ref());
        response.status().as_u16()
    }

    /// Tells the machine of a refusal of what was sent with `grant`; `false` if it is none.
    pub fn report(
        &mut self,
        tool: &str,
        response: &Response<Vec<u8>>,
        grant: Option<&Grant>,
    ) -> bool {
        let (now, request) = (self.now(), self.request(tool));
        match self.machine().judge(now, &request, response, grant, &need(tool)) {
            Verdict::Refused(challenged) => self.handle(Event::Challenged(challenged)),
            _ => return false,
        }
        true
    }

    /// How many requests of this purpose the programs have sent, as their notices tell.
    pub fn asked_for(&self, wanted: Purpose) -> usize {
        self.told(|notice| matches!(notice, Notice::Asking { purpose, .. } if *purpose == wanted))
    }
}

/// What a call of this tool needs a token for.
pub fn need(tool: &str) -> Need {
    Need { operation: Some(format!("tools/call {tool}")), ..Need::default() }
}
