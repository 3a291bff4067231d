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
///
/// ```
/// use mcp_auth::{Demand, Event, Need};
/// # use std::sync::Arc;
/// # use mcp_auth::{AuthMachine, Config, Entropy, Now};
/// # let (now, config) = (Now::default(), Arc::new(Config::default()));
/// # let mut machine = AuthMachine::new("https://mcp.example.com", config, Entropy::from_bytes([7; 32]))?;
///
/// machine.handle(now, Event::Demand(Demand::background(Need::default())));
/// let attempt = machine.last_attempt();
/// // Whoever comes while it is under way joins it.
/// machine.handle(now, Event::Demand(Demand::background(Need::default())));
/// assert_eq!(machine.last_attempt(), attempt);
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub(crate) u64);

/// What goes into [`AuthMachine::handle`](crate::AuthMachine::handle).
///
/// ```
/// use mcp_auth::{Demand, Error, ErrorKind, Event, Need};
/// # use std::sync::Arc;
/// # use mcp_auth::{AuthMachine, Config, Entropy, Now};
/// # let (now, config) = (Now::default(), Arc::new(Config::default()));
/// # let mut machine = AuthMachine::new("https://mcp.example.com", config, Entropy::from_bytes([7; 32]))?;
///
/// machine.handle(now, Event::Demand(Demand::interactive(Need::default())));
/// let attempt = machine.last_attempt().unwrap();
/// // The person has closed the window.
/// machine.handle(now, Event::Cancel(attempt));
/// assert!(matches!(machine.failure(attempt).map(Error::kind), Some(ErrorKind::Cancelled)));
/// # Ok::<(), Error>(())
/// ```
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
///
/// ```
/// use mcp_auth::wire::scope::ScopeSet;
/// use mcp_auth::{AuthMachine, Need, Now, TokenState};
///
/// fn has_token_to_write(machine: &AuthMachine, now: Now) -> bool {
///     let need = Need {
///         operation: Some("tools/call write_note".into()),
///         scopes: ScopeSet::parse("notes:write"),
///     };
///     matches!(machine.token(now, &need), TokenState::Ready(_))
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # assert_eq!(s.call_tool("whoami").status(), 200);
/// # let now = s.now();
/// # assert!(!has_token_to_write(s.machine(), now) && matches!(s.token(), TokenState::Ready(_)));
/// # assert_eq!(s.call_tool("write_note").status(), 200);
/// # let now = s.now();
/// # assert!(has_token_to_write(s.machine(), now));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// The operation, e.g. `tools/call write_note`: step-ups are counted, and scopes remembered,
    /// for each. `None` is the server as a whole.
    pub operation: Option<String>,
    /// Scopes that the caller knows it needs.
    pub scopes: ScopeSet,
}

/// A demand for a token.
///
/// ```
/// use mcp_auth::{Demand, ErrorKind, Need};
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # // Hands `Event::Demand` in, and drives the machine until the attempt has ended.
/// # let mut demanded = |demand| s.demanded(demand);
///
/// // At night, nobody is there whom a browser could ask…
/// let error = demanded(Demand::background(Need::default())).unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::LoginRequired { .. }));
/// // … but for a person who has just clicked, it is opened.
/// demanded(Demand::interactive(Need::default()))?;
/// # assert_eq!(s.browser_opened(), 1);
/// # Ok::<(), mcp_auth::Error>(())
/// ```
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
///
/// ```
/// use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
/// use http::StatusCode;
/// use mcp_auth::{Challenged, Need};
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # assert_eq!(s.call_tool("whoami").status(), 200);
/// # let sent_with = Some(s.grant().generation());
///
/// let line = r#"Bearer error="insufficient_scope", scope="notes:write""#;
/// let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_static(line))]);
/// let read = |headers| Challenged::read(StatusCode::FORBIDDEN, headers, sent_with, &Need::default());
/// assert!(read(&headers).is_some(), "it goes into `Event::Challenged`");
/// assert!(read(&HeaderMap::new()).is_none(), "no token helps with that");
/// ```
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
///
/// ```
/// use mcp_auth::output::{Output, Page};
/// use mcp_auth::{Event, Redirected, Secret};
/// # use std::sync::Arc;
/// # use mcp_auth::{AuthMachine, Config, Entropy, Now};
/// # let (now, config) = (Now::default(), Arc::new(Config::default()));
/// # let mut machine = AuthMachine::new("https://mcp.example.com", config, Entropy::from_bytes([7; 32]))?;
///
/// // The seventh request to the callback address, from anybody on this machine.
/// let url = Secret::from("/callback?code=SplxlOBeZQQYbYS6WxSbIA&state=guessed");
/// machine.handle(now, Event::Redirected(Redirected { ticket: 7, url }));
/// let Output::Show { ticket: 7, page } = machine.poll_output() else { panic!() };
/// assert_eq!(page, Page::NotForUs);
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Redirected {
    /// The host's own number for it: [`Output::Show`](crate::Output::Show) names it again.
    pub ticket: u64,
    /// The URL, or its path and query.
    pub url: Secret<String>,
}

/// The answer to an action. It can be made only by that action, once.
///
/// ```
/// use mcp_auth::{Action, Event, Output};
/// # use std::sync::Arc;
/// # use mcp_auth::{AuthMachine, Config, Demand, Entropy, Need, Now};
/// # let (now, config) = (Now::default(), Arc::new(Config::default()));
/// # let mut machine = AuthMachine::new("https://mcp.example.com", config, Entropy::from_bytes([7; 32]))?;
/// # machine.handle(now, Event::Demand(Demand::background(Need::default())));
///
/// let Output::Do(Action::Load(call)) = machine.poll_output() else { panic!() };
/// let event = call.answer(Ok(None)); // `call` is gone: there is no second answer
/// assert!(matches!(event, Event::Answer(_)));
/// machine.handle(now, event);
/// # assert!(matches!(machine.poll_output(), Output::Tell(_)));
/// # Ok::<(), mcp_auth::Error>(())
/// ```
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
