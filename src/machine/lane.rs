//! Work on its way: an attempt, what it is doing, and what it waits for.

use std::time::Duration;

use http::Uri;

use crate::error::Error;
use crate::event::{AttemptId, Demand};
use crate::flow::exchange::Exchange;
use crate::flow::freshen::Freshen;
use crate::flow::login::Login;
use crate::flow::logout::Logout;
use crate::flow::secret::FindSecret;
use crate::flow::upkeep::{Upkeep, Wish};
use crate::flow::{Ask, Learned};
use crate::logout;
use crate::machine::Answered;
use crate::machine::answer::ready;
use crate::machine::upkeep::Then;
use crate::notice::ClientSource;
use crate::output::{CallId, HostError, Page, Purpose};
use crate::secret::Secret;
use crate::session::pending::EarlierClient;
use crate::session::record::{Record, Registration};
use crate::session::tokens::{Generation, Purchase, Tokens};
use crate::session::trouble::{Mark, Renewal, Trouble};
use crate::time::{Mono, Now, UnixTime};
use crate::wire::token::TokenReply;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneName {
    Renewal,
    Login,
    Logout,
}

/// One attempt's work.
pub(super) struct Lane {
    pub(super) name: LaneName,
    pub(super) attempt: AttemptId,
    pub(super) demand: Demand,
    /// Whether those who go by its name welcome a browser; others may have joined.
    pub(super) welcome: bool,
    /// Nobody waits for it any more; it is only seen through.
    pub(super) detached: bool,
    /// A refusal with 401 caused it.
    pub(super) after_refusal: bool,
    /// It was begun for a client's sake; while it is detached, nothing else follows.
    pub(super) for_client: bool,
    /// It goes on without the lock, for whoever holds that hangs.
    pub(super) lockless: bool,
    /// How it has marked its refresh.
    pub(super) mark: Option<String>,
    /// When, by the clock that can't be set.
    pub(super) marked_at: Mono,
    pub(super) work: Work,
    pub(super) state: State,
    /// The person has a code, which is good until this moment; for so long in all.
    pub(super) code: Option<(Mono, Duration)>,
}

pub(super) enum Work {
    Login(Box<Login>),
    /// A bearer token that is kept elsewhere.
    Finding(FindSecret),
    /// Before a login is said to be required, for this reason: the store is read again.
    Looking(String),
    /// The cached login can't be taken up for the time being.
    Postponed,
    /// Before the refresh: the store is locked and read again.
    Reading,
    /// The same without the lock, which was waited for in vain.
    Overtaking(HostError),
    /// Before that: a client's upkeep, while it is out, and what follows.
    Upkeep(Option<Box<Upkeep>>, Then),
    /// Before the refresh: the server's metadata is looked up again.
    Freshening(Box<Freshen>),
    /// The refresh itself, and the tokens that it is made from.
    Refreshing(Box<Exchange>, Box<Tokens>),
    /// A logout that finds out what is there to end: what is known so far, and the work whose
    /// answer is still to come.
    Leaving(Vec<Record>, Option<Box<Work>>),
    LoggingOut(Box<Logout>),
    /// Only the last save is left.
    Over,
}

/// What a lane waits for.
pub(super) enum State {
    /// Its turn.
    Ready(Want),
    /// The answer to its exchange.
    Exchanging,
    /// The callback address.
    Listening,
    /// The person, until this moment.
    Person(Mono),
    /// Time.
    Paused(Mono),
    /// Somebody who sees to the client: what for, until it is begun.
    LookedAfter(Option<Wish>),
    /// Another program's person, seen to again at this moment.
    Waiting(Mono),
}

pub(super) enum Want {
    Ask(Ask),
    Read,
    /// To send a refresh again, unless another program has taken it over meanwhile.
    Resend(Ask),
    /// The turn to ask a person.
    Claim,
    /// Does another program still ask its own?
    Look,
    Save(Change, After),
}

/// What to do to the record. Applied to what is saved, and again to what is visible once that was
/// answered: what was learned meanwhile stays.
#[derive(Clone)]
pub(super) enum Change {
    /// Write what is there.
    None,
    Learn(Box<Learned>),
    /// New tokens, in the place of these and of no others.
    Tokens(Base, Box<Tokens>, Box<Learned>),
    /// A refresh with this generation's refresh token is about to be sent, perhaps without the lock.
    Sent(Generation, Mark),
    /// The same once more.
    Resent,
    /// The lock is waited for in vain since.
    Awaited(Generation, UnixTime),
    /// The one that was marked so failed, and nothing was decided.
    Trouble(Generation, Option<String>, Box<Trouble>),
    /// The same, but its refresh token was replaced by this one.
    Rotated(Generation, Option<String>, Secret, Box<Trouble>),
    /// The cached login could not be taken up.
    Untaken(Box<Trouble>),
    /// It isn't tried again, if nobody else has marked another.
    GiveUp(Generation, Option<String>),
    /// What has become of a client.
    Client(Box<Registration>),
    /// A browser never came back with this client.
    Suspect(EarlierClient),
    /// The refresh token of this generation, and of no other, is dead; so is the access token, if
    /// that was refused too.
    EndGrant {
        of: Generation,
        refused: bool,
        learned: Box<Learned>,
    },
    /// A logout.
    Forget,
    /// A logout has overtaken it: it isn't made.
    Void,
}

/// What new tokens were obtained in the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// A person has just logged in: whatever is there.
    Any,
    /// This generation, or nothing; or it has ended meanwhile, for another program had only its
    /// refresh token, and the server refused that. Anything else that is there by now is newer.
    Exactly(Option<Generation>),
}

impl Change {
    pub(super) fn apply(self, record: &mut Record) {
        match self {
            Change::None | Change::Void | Change::Resent => {}
            Change::Forget => *record = record.emptied(),
            Change::Learn(learned) => learned.apply(record),
            Change::Tokens(base, tokens, learned) => {
                let there = match base {
                    Base::Any => true,
                    Base::Exactly(generation) if generation == record.generation() => true,
                    Base::Exactly(generation) => {
                        generation.is_some_and(|of| record.has_ended(of, &tokens))
                    }
                };
                if there {
                    learned.apply(record);
                    record.put(*tokens);
                }
            }
            Change::EndGrant { of, refused, learned } => {
                learned.apply(record);
                if let Some(tokens) = record.tokens.as_mut().filter(|t| t.generation == of) {
                    tokens.refresh_token = None;
                    tokens.renewal = Renewal::default();
                    record.tokens.take_if(|_| refused);
                }
            }
            Change::Sent(of, mark) => {
                if let Some(tokens) = tokens_of(record, of) {
                    tokens.renewal.mark(mark);
                }
            }
            Change::Awaited(of, since) => {
                if let Some(tokens) = tokens_of(record, of) {
                    tokens.renewal.awaited.get_or_insert(since);
                }
            }
            Change::Trouble(generation, by, trouble) => {
                if let Some(tokens) = idle_tokens_of(record, generation, by.as_deref()) {
                    tokens.renewal = Renewal { trouble: Some(*trouble), ..Renewal::default() };
                }
            }
            Change::Rotated(generation, by, token, trouble) => {
                if let Some(tokens) = tokens_of(record, generation) {
                    tokens.refresh_token = Some(token);
                }
                Change::Trouble(generation, by, trouble).apply(record);
            }
            Change::Untaken(trouble) => {
                record.untaken = Some(*trouble).filter(|_| record.tokens.is_none());
            }
            Change::GiveUp(generation, by) => {
                if let Some(tokens) = idle_tokens_of(record, generation, by.as_deref()) {
                    tokens.renewal = Renewal { given_up: true, ..Renewal::default() };
                }
            }
            Change::Client(client) => {
                record.update(*client);
                if let Some(tokens) = &mut record.tokens {
                    tokens.renewal.awaited = None;
                }
            }
            Change::Suspect(client) => record.suspect(&client),
        }
    }
}

/// The same, unless another program says that it renews them.
fn idle_tokens_of<'a>(
    record: &'a mut Record,
    generation: Generation,
    by: Option<&str>,
) -> Option<&'a mut Tokens> {
    let tokens = tokens_of(record, generation)?;
    let another = tokens.renewal.mark.as_ref().is_some_and(|mark| Some(mark.by.as_str()) != by);
    (!another).then_some(tokens)
}

fn tokens_of(record: &mut Record, generation: Generation) -> Option<&mut Tokens> {
    record.tokens.as_mut().filter(|tokens| tokens.generation == generation)
}

/// What follows a save.
pub(super) enum After {
    /// The login goes on.
    Kept,
    /// So it does: others know that this program asks.
    Claimed,
    /// They know that it still does.
    Beat,
    /// The attempt has what it wanted.
    Done,
    /// The grant has ended: a login, if the demand allows it.
    LogIn(String),
    /// The refresh, or the upkeep, is sent.
    Send(Ask),
    /// The upkeep is over, or goes on with this client.
    Upkept(Option<Wish>),
    /// The renewal has failed: its attempt waits for the next try, or ends with this.
    Rest(Error),
    /// The attempt has failed.
    Failed(Error),
    /// The logout is over, with this report.
    LoggedOut(Box<logout::Logout>),
}

/// An unanswered exchange.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) call: CallId,
    pub(super) deadline: Mono,
    /// `None`: its lane was cancelled, or it never had one.
    pub(super) lane: Option<LaneName>,
    pub(super) what: Flight,
}

pub(super) enum Flight {
    Load,
    Read,
    Look,
    Secret,
    Signer,
    Http(Asked),
    /// Before a save: the store is locked and read again.
    Lock(Change, Option<After>),
    /// The same without the lock: it was waited for in vain, or somebody else was faster.
    Again(Change, Option<After>),
    Save(Change, Option<After>),
}

/// A request that is out.
pub(super) struct Asked {
    pub(super) purpose: Purpose,
    pub(super) uri: Uri,
    pub(super) at: Now,
}

/// A token request whose answer didn't come in time.
pub(super) struct Orphan {
    pub(super) call: CallId,
    pub(super) exchange: Exchange,
    pub(super) previous: Option<Box<Tokens>>,
    /// What was there when it was given up on.
    pub(super) base: Base,
    pub(super) learned: Learned,
}

impl Lane {
    pub(super) fn new(name: LaneName, attempt: AttemptId, demand: Demand, work: Work) -> Self {
        let state = State::Ready(Want::Read);
        let (detached, after_refusal) = (false, false);
        let (for_client, lockless, mark) = (false, false, None);
        let welcome = demand.browser_welcome;
        Self {
            name,
            attempt,
            demand,
            welcome,
            detached,
            after_refusal,
            for_client,
            lockless,
            mark,
            marked_at: Mono::default(),
            work,
            state,
            code: None,
        }
    }

    /// One more waits for it; one that nobody waited for any more becomes the joiner's own: the
    /// welcome of who has left is gone.
    pub(super) fn join(&mut self, attempt: AttemptId, demand: Demand) -> AttemptId {
        if std::mem::take(&mut self.detached) {
            self.attempt = attempt;
            self.welcome = demand.browser_welcome;
            self.demand = demand;
        } else {
            self.demand.browser_welcome |= demand.browser_welcome;
            self.demand.goal = self.demand.goal.max(demand.goal);
        }
        self.set_welcome(self.demand.browser_welcome);
        self.attempt
    }

    /// What this asks for; no pause is longer than a code is good.
    pub(super) fn wait_for(&mut self, now: Now, ask: Ask) {
        self.state = ready(now, ask);
        if let (State::Paused(at), Some((end, _))) = (&mut self.state, self.code) {
            *at = end.min(*at);
        }
    }

    pub(super) fn set_welcome(&mut self, welcome: bool) {
        self.demand.browser_welcome = welcome;
        if let Work::Login(login) = &mut self.work {
            login.set_browser_welcome(welcome);
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        match self.state {
            State::Person(at) | State::Paused(at) | State::Waiting(at) => Some(at),
            _ => None,
        }
    }

    /// The client that the person was sent away with, if it is older than this login. Should they
    /// not come back, perhaps the server has forgotten it, and told them instead of us.
    pub(super) fn earlier_client(&self) -> Option<EarlierClient> {
        let (State::Person(_), Work::Login(login)) = (&self.state, &self.work) else { return None };
        let (issuer, client) = login.sent()?;
        let earlier = client.source == ClientSource::Remembered;
        let (issuer, client_id) = (issuer.to_owned(), client.client_id.clone());
        earlier.then_some(EarlierClient { issuer, client_id })
    }

    /// The person's answer, should it still come when the login was given up on.
    pub(super) fn expired(&self) -> Option<Answered> {
        let Work::Login(login) = &self.work else { return None };
        let (uri, state) = login.request()?;
        Some(Answered { uri: uri.to_owned(), state: state.clone(), page: Page::Expired })
    }

    /// The token request that is out, should its answer come late.
    pub(super) fn orphan(&self, call: CallId, there: Option<Generation>) -> Option<Orphan> {
        let (exchange, previous, learned) = match &self.work {
            Work::Login(login) => {
                let (exchange, learned) = login.exchange()?;
                (exchange, None, learned)
            }
            Work::Refreshing(exchange, previous) => {
                ((**exchange).clone(), Some(previous.clone()), Learned::default())
            }
            Work::Finding(_)
            | Work::Looking(_)
            | Work::Postponed
            | Work::Reading
            | Work::Freshening(_)
            | Work::Overtaking(_)
            | Work::Upkeep(..)
            | Work::Leaving(..)
            | Work::LoggingOut(_)
            | Work::Over => return None,
        };
        let base = Base::Exactly(previous.as_ref().map_or(there, |tokens| Some(tokens.generation)));
        Some(Orphan { call, exchange, previous, base, learned })
    }

    /// Whether it must go on though nobody waits for it.
    pub(super) fn must_be_seen_through(&self) -> bool {
        match &self.work {
            Work::Login(login) => login.must_be_seen_through(),
            Work::Finding(_)
            | Work::Looking(_)
            | Work::Postponed
            | Work::Reading
            | Work::Overtaking(_)
            | Work::Freshening(_) => false,
            Work::Upkeep(..)
            | Work::Refreshing(..)
            | Work::Leaving(..)
            | Work::LoggingOut(_)
            | Work::Over => true,
        }
    }
}

/// The change that new tokens make.
pub(super) fn obtained(
    reply: TokenReply,
    purchase: Purchase,
    previous: Option<&Tokens>,
    base: Base,
    learned: Learned,
    now: UnixTime,
) -> Change {
    let tokens = Tokens::from_reply(reply, purchase, previous, now);
    Change::Tokens(base, Box::new(tokens), Box::new(learned))
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("name", &self.name)
            .field("attempt", &self.attempt)
            .field("detached", &self.detached)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Orphan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Orphan").field("call", &self.call).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Change")
    }
}

impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Flight::Load => "Load",
            Flight::Read => "Read",
            Flight::Look => "Look",
            Flight::Secret => "Secret",
            Flight::Signer => "Signer",
            Flight::Http(_) => "Http",
            Flight::Lock(..) => "Lock",
            Flight::Again(..) => "Again",
            Flight::Save(..) => "Save",
        })
    }
}
