//! Everything that can go in.

use core::net::IpAddr;

use url::Url;

use crate::output::{CallId, FoundSecret, HostError, TransportError};
use crate::reach::PeerAddress;
use crate::restore::CachedLogin;
use crate::secret::{Secret, SecretRef};
use crate::session::tokens::Generation;
use crate::wire::challenge::BearerChallenge;
use crate::wire::jws::PublicKey;
use crate::wire::scope::ScopeSet;

/// One attempt at getting a token: what its demander, and all who joined, wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub(crate) u64);

/// What goes into [`AuthMachine::handle`](crate::AuthMachine::handle).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Somebody needs a token.
    Demand(Demand),
    /// The server refused a request.
    Challenged(Challenged),
    /// A redirect arrived at the callback address, or was pasted.
    Redirected(Redirected),
    /// Nobody waits for this attempt any more: it is for the host to know whether others have joined
    /// it. A token request that is under way is still seen through.
    Cancel(AttemptId),
    /// Log out: end the tokens at their server, delete the client that was registered there (see
    /// [`Config::delete_registration`](crate::Config::delete_registration)), and forget everything
    /// as with [`Event::Forget`]. From now on nothing of it is lent. It is an attempt of its own,
    /// [`AuthMachine::last_attempt`](crate::AuthMachine::last_attempt); its report is
    /// [`AuthMachine::logged_out`](crate::AuthMachine::logged_out).
    Logout,
    /// Forget everything about this server: tokens, registrations, and the stored record. No server
    /// is told: tokens live there until they expire.
    Forget,
    /// There is a login that another program has made: it is taken up by the next demand for a
    /// token, unless the record has tokens by then.
    Restore(CachedLogin),
    /// The host is about to end: what could not be saved is tried again at once, not when its time
    /// has come. What is under way goes on.
    Flush,
    /// Time has passed: a deadline of [`Output::Wait`](crate::Output::Wait) may be due.
    Tick,
    /// The answer to an action; made by the action's `answer`.
    Answer(Answer),
}

/// What a caller needs a token for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// The operation, e.g. `tools/call write_note`: step-ups are counted, and scopes remembered,
    /// for each. `None` is the server as a whole.
    pub operation: Option<String>,
    /// Scopes that the caller knows it needs.
    pub scopes: ScopeSet,
}

/// A demand for a token.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    pub(crate) need: Need,
    pub(crate) browser_welcome: bool,
    pub(crate) goal: Goal,
    pub(crate) new_client: bool,
}

/// How far a demand goes; the later ones include the earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Goal {
    /// The stored record is read.
    Load,
    /// What a login would meet is known.
    Inspect,
    /// There is a token.
    #[default]
    Token,
    /// There is a token from a new login.
    Login,
}

impl Demand {
    /// From a background task: never opens a browser, fails with "login required" instead.
    pub fn background(need: Need) -> Self {
        Self { need, ..Self::default() }
    }

    /// On behalf of a person who is there and expects a browser.
    pub fn interactive(need: Need) -> Self {
        Self { need, browser_welcome: true, ..Self::default() }
    }

    /// Log in anew, even though there is a usable token, or the server lets everybody in; there is
    /// none where such a server has no metadata that names an authorization server.
    ///
    /// Where another program is asking for a login already, that one counts: it is waited for.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.goal = Goal::Login;
        self
    }

    /// Should this lead to a login: with a client that is registered for it, where the server offers
    /// that, for the one of before may be the trouble. A configured client stays.
    #[must_use]
    pub fn with_new_client(mut self) -> Self {
        self.new_client = true;
        self
    }

    /// Detection and discovery only: nothing is registered, nobody is asked, no token is sent.
    /// What was found is then in [`AuthMachine::discovery`](crate::AuthMachine::discovery).
    pub fn inspect() -> Self {
        Self { goal: Goal::Inspect, ..Self::default() }
    }

    /// Only read the stored record: nothing is sent, nobody is asked. What was read is then in
    /// [`AuthMachine::status`](crate::AuthMachine::status). A host that goes on to lend a token that
    /// was read demands one too, though it is there: from then on what renews it is looked after.
    pub fn load() -> Self {
        Self { goal: Goal::Load, ..Self::default() }
    }

    /// Both demands in one: what is wanted more decides.
    pub(crate) fn join(&mut self, other: Demand) {
        let browser_welcome = self.browser_welcome | other.browser_welcome;
        let new_client = self.new_client | other.new_client;
        if other.goal > self.goal {
            *self = other;
        }
        self.browser_welcome = browser_welcome;
        self.new_client = new_client;
    }
}

/// A refusal that the host got from the MCP server: [`AuthMachine::judge`](crate::AuthMachine::judge)
/// tells it from other answers.
#[derive(Clone, Debug)]
pub struct Challenged {
    pub(crate) generation: Option<Generation>,
    pub(crate) status: u16,
    pub(crate) challenge: Option<BearerChallenge>,
    pub(crate) operation: Option<String>,
    pub(crate) server_at: Option<IpAddr>,
    /// Nothing is wrong, but the next proof shall have this.
    pub(crate) nonce: Option<String>,
}

impl Challenged {
    /// Whether an answer with this status may be a refusal: for transports that make an error of it and
    /// keep its header fields to themselves. What was refused was not done, so it may be asked again to
    /// have them [`read`](Self::read).
    pub fn is_possible(status: http::StatusCode) -> bool {
        matches!(status.as_u16(), 401 | 403)
    }

    /// From the refusal's status and header fields.
    ///
    /// `generation` is that of the [`Grant`](crate::Grant) which the request carried, `None` if it
    /// carried no token; `need` is what the request was for. `None` is returned where the answer is
    /// no challenge: any other status, or a 403 without `insufficient_scope`.
    pub fn read(
        status: http::StatusCode,
        headers: &http::HeaderMap,
        generation: Option<Generation>,
        need: &Need,
    ) -> Option<Self> {
        let challenge = BearerChallenge::from_headers(headers);
        let counts = Self::is_possible(status)
            && (status != http::StatusCode::FORBIDDEN
                || challenge.as_ref().is_some_and(BearerChallenge::is_insufficient_scope));
        let operation = need.operation.clone();
        counts.then_some(Self {
            generation,
            status: status.as_u16(),
            challenge,
            operation,
            server_at: None,
            nonce: None,
        })
    }

    /// The connection that the refusal came by, where the host knows it
    /// ([`judge`](crate::AuthMachine::judge) does it by itself). Without it, the machine goes by what it
    /// saw itself.
    #[must_use]
    pub fn seen_at(self, peer: Option<PeerAddress>) -> Self {
        Self { server_at: peer.map(|PeerAddress(address)| address), ..self }
    }

    /// The URL of the request that was refused, where the host knows it
    /// ([`judge`](crate::AuthMachine::judge) does it by itself): a metadata URL that is relative is so
    /// to it. Without it, to the server's own URL.
    #[must_use]
    pub fn asked_at(mut self, uri: &http::Uri) -> Self {
        if let Ok(asked) = Url::parse(&uri.to_string()) {
            self.challenge = self.challenge.map(|challenge| challenge.asked_at(&asked));
        }
        self
    }

    pub(crate) fn error(&self) -> Option<&str> {
        self.challenge.as_ref()?.error.as_deref()
    }

    /// An answer that says nothing of the token, and may be due to it.
    pub(crate) fn suspicion(status: http::StatusCode, sent_with: Generation, need: &Need) -> Self {
        Self {
            generation: Some(sent_with),
            status: status.as_u16(),
            challenge: None,
            operation: need.operation.clone(),
            server_at: None,
            nonce: None,
        }
    }
}

/// A request that came to the callback address, or a redirect URL that a person pasted.
#[derive(Clone, Debug)]
pub struct Redirected {
    /// The host's own number for it: [`Output::Show`](crate::Output::Show) names it again.
    pub ticket: u64,
    /// The URL, or its path and query.
    pub url: Secret<String>,
}

/// The answer to an action. It can be made only by that action, once.
#[derive(Debug)]
pub struct Answer {
    pub(crate) call: CallId,
    pub(crate) content: AnswerContent,
}

#[derive(Debug)]
pub(crate) enum AnswerContent {
    Loaded(Result<Option<Secret<Vec<u8>>>, HostError>),
    Saved(Result<(), HostError>),
    Secret(Result<Option<FoundSecret>, HostError>),
    Signer(Result<SignerAnswer, HostError>),
    Http(HttpReply),
    Listening(Result<String, HostError>),
    Browsed(Result<(), HostError>),
    CodeShown(Result<(), HostError>),
}

/// What a host's signer says.
#[derive(Debug)]
pub(crate) enum SignerAnswer {
    /// `exposed_at`: where others can read its private half.
    Key {
        public: PublicKey,
        exposed_at: Option<SecretRef>,
    },
    Signature(Vec<u8>),
}

/// What came back for a request; its `Debug` shows no body and no header.
pub(crate) struct HttpReply(pub(crate) Result<http::Response<Vec<u8>>, TransportError>);

impl std::fmt::Debug for HttpReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Ok(response) => write!(f, "HttpReply({})", response.status()),
            Err(error) => write!(f, "HttpReply({error})"),
        }
    }
}
