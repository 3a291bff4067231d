//! Answers: each goes to the lane that waits for it; one that nobody waits for is ignored, except
//! the answer to a token request.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Error, ErrorKind};
use crate::event::{Answer, AnswerContent, HttpReply};
use crate::flow::binding::Nonce;
use crate::flow::exchange::{Bought, Exchange, Failed, PaidWith};
use crate::flow::identity;
use crate::flow::login::{Ended, Login, rejects_client};
use crate::flow::{Ask, HttpResult, Learned, Notes, Step};
use crate::machine::AuthMachine;
use crate::machine::lane::{
    After, Base, Change, Flight, InFlight, Lane, LaneName, Orphan, State, Want, Work, obtained,
};
use crate::machine::secret::Told;
use crate::machine::store::{Again, Loaded};
use crate::machine::upkeep::Then;
use crate::notice::{ClientSource, Leniency, Notice};
use crate::output::{HostError, Output, Purpose};
use crate::reach::Witness;
use crate::session::Requirement;
use crate::session::record::Record;
use crate::session::tokens::Tokens;
use crate::session::trouble::{MOST_UNRESOLVED, Mark};
use crate::time::Now;
use crate::wire::failure::OAuthError;

impl AuthMachine {
    pub(super) fn on_answer(&mut self, now: Now, answer: Answer) {
        let Answer { call, content } = answer;
        match content {
            AnswerContent::Listening(_)
            | AnswerContent::Browsed(_)
            | AnswerContent::CodeShown(_) => {
                // A listener that comes after its time is nobody's.
                let prompt = self.prompt.take_if(|prompt| prompt.call == call);
                if prompt.is_some() || !self.listening {
                    self.on_prompted(now, prompt.is_none_or(|prompt| prompt.abandoned), content);
                }
            }
            content => match self.exchange.take_if(|out| out.call == call && fits(out, &content)) {
                Some(out) => self.on_exchanged(now, out, content),
                None => {
                    let orphan = self.orphans.iter().position(|orphan| orphan.call == call);
                    if let (AnswerContent::Http(HttpReply(reply)), Some(index)) = (content, orphan)
                        && let Some(orphan) = self.orphans.remove(index)
                    {
                        self.on_late(now, orphan, reply);
                    }
                }
            },
        }
    }

    /// The exchange is over, by an answer or by its deadline.
    pub(super) fn on_exchanged(&mut self, now: Now, out: InFlight, content: AnswerContent) {
        match (out.what, content) {
            (what, AnswerContent::Loaded(Ok(Some(bytes))))
                if Record::is_of_newer_version(bytes.expose()) =>
            {
                if matches!(what, Flight::Read | Flight::Lock(..)) {
                    self.outputs.push_back(Output::Release);
                }
                let out = InFlight { what, ..out };
                let error = HostError::required(
                    "the login was saved by a newer version of this program: update this one",
                );
                self.on_exchanged(now, out, AnswerContent::Loaded(Err(error)));
            }
            (Flight::Load, AnswerContent::Loaded(loaded)) => self.on_loaded(now, loaded),
            (Flight::Read, AnswerContent::Loaded(loaded)) => {
                self.store.locked = loaded.is_ok();
                match out.lane.and_then(|name| self.take_lane(name)) {
                    Some(lane) if lane.name == LaneName::Logout => {
                        self.on_read_to_end(now, lane, loaded);
                    }
                    Some(lane) => self.on_read(now, lane, loaded),
                    None => self.unlock(),
                }
            }
            (Flight::Look, AnswerContent::Loaded(loaded)) => {
                self.on_look(now, out.lane, loaded);
            }
            (Flight::Again(change, after), AnswerContent::Loaded(loaded)) => {
                self.on_again(now, out.lane, change, after, loaded);
            }
            (Flight::Lock(change, after), AnswerContent::Loaded(loaded)) => {
                self.on_locked(now, out.lane, change, after, loaded);
            }
            (Flight::Save(change, after), AnswerContent::Saved(result)) => {
                self.on_saved(now, out.lane, change, after, result);
            }
            (Flight::Secret, AnswerContent::Secret(result)) => {
                if let Some(lane) = out.lane.and_then(|name| self.take_lane(name)) {
                    self.on_told(now, lane, Told::Secret(result));
                }
            }
            (Flight::Signer, AnswerContent::Signer(result)) => {
                if let Some(lane) = out.lane.and_then(|name| self.take_lane(name)) {
                    self.on_told(now, lane, Told::Signer(result));
                }
            }
            (Flight::Http(asked), AnswerContent::Http(HttpReply(reply))) => {
                let purpose = asked.purpose;
                let outcome = match &reply {
                    Ok(response) => Ok(response.status().as_u16()),
                    Err(error) => Err(error.to_string()),
                };
                self.tell(Notice::Answered { purpose, outcome });
                let witness = reply.as_ref().ok().and_then(|r| r.extensions().get::<Witness>());
                if let Some(witness) = witness.filter(|witness| witness.home) {
                    self.session.saw_server_at(witness.address);
                }
                self.compare_clocks(now, &asked, &reply);
                if let (Purpose::Token, Ok(response)) = (purpose, &reply) {
                    let nonce = Nonce::of(&asked.uri.to_string(), response.headers());
                    self.session.token_nonce = nonce.or(self.session.token_nonce.take());
                }
                if let Some(lane) = out.lane.and_then(|name| self.take_lane(name)) {
                    self.on_http(now, lane, reply);
                }
            }
            _ => {}
        }
    }

    /// The store is locked and read again: a newer record is another process's refresh, and ours
    /// would destroy it.
    fn on_read(&mut self, now: Now, mut lane: Lane, loaded: Loaded) {
        lane.lockless = false;
        let loaded = match loaded {
            Err(error) if error.is_busy() => {
                // A login goes on with the client as it is.
                self.take_wish();
                return self.waited_in_vain(now, lane, error);
            }
            loaded => loaded,
        };
        let wish = self.take_wish();
        let mut then = Then::Renew;
        match loaded.map(|bytes| self.read_again(now, bytes, &mut Change::None)) {
            Ok(Again::Same | Again::Doomed(_)) => {}
            Ok(Again::Newer) => then = Then::Settle,
            Ok(Again::Gone) => {
                return self.log_in_instead(now, lane, "the login was ended elsewhere");
            }
            Err(error) if error.forbids_refresh() => {
                self.session.acquit();
                return self.settle(&lane, Err(ErrorKind::Store(error).into()));
            }
            // A store that can't be read doesn't take away what is in memory.
            Err(error) => self.tell(Notice::SaveFailed(error)),
        }
        self.is_not_in_vain();
        self.look_after(now, lane, wish, then);
    }

    /// Under the lock, and with a client that is as good as it gets.
    pub(super) fn refresh(&mut self, now: Now, mut lane: Lane) {
        lane.mark = None;
        if let Some(left) = self.session.retry_in(now.mono) {
            return self.rest_too(now, lane, left);
        }
        // A login of ours may have come first. A renewal ahead of need is made all the same.
        if !lane.detached
            && self.session.grant(now, &lane.demand.need, &self.config, false).is_some()
        {
            return self.settle(&lane, Ok(()));
        }
        let Some(lane) = self.freshen(now, lane) else { return };
        let record = &self.session.record;
        let (Some(identity), Some(tokens)) =
            (identity::recall(&self.config, record, now.wall), record.tokens.clone())
        else {
            let why = "the client of the tokens is no longer known, or its secret has expired";
            return self.log_in_instead(now, lane, why);
        };
        if let Err(busy) = self.is_alone(now, &lane, &tokens) {
            return self.gives_way(now, lane, busy);
        }
        if tokens.renewal.sent >= MOST_UNRESOLVED {
            let why = "refreshes were sent, and their senders crashed before an answer was saved";
            let by = tokens.renewal.mark.map(|mark| mark.by);
            return self.give_up(lane, tokens.generation, by, why.to_owned());
        }
        let refresh_token = tokens.refresh_token.clone().filter(|_| tokens.is_refreshable());
        let Some(refresh_token) = refresh_token else {
            return self.log_in_instead(now, lane, "there is no refresh token");
        };
        let mut purchase = tokens.purchase.clone();
        // None means the same as before (RFC 6749 §6), but not to every server.
        let mut scope = purchase.scope_on_refresh.then(|| tokens.named().clone());
        if self.session.may_need_scopes(now) {
            purchase.scope_on_refresh = true;
            scope = Some(purchase.requested.clone());
            self.tell(Notice::Lenient(Leniency::ScopeOnRefresh));
        }
        let paid_with = PaidWith::RefreshToken { token: refresh_token, scope };
        match self.token_request(now, purchase, identity, paid_with) {
            Ok((mut exchange, ask)) => {
                if tokens.renewal.trouble.is_some() {
                    exchange = exchange.without_quick_retry();
                }
                self.refresh_asks(now, lane, exchange, tokens, ask);
            }
            Err(error) => self.settle(&lane, Err(error)),
        }
    }

    /// Saved first that a request is sent: whoever finds that after a crash tries once more. One that is
    /// sent again is not another, and the store is read before it.
    pub(super) fn refresh_asks(
        &mut self,
        now: Now,
        mut lane: Lane,
        exchange: Exchange,
        tokens: Tokens,
        ask: Ask,
    ) {
        let generation = tokens.generation;
        lane.work = Work::Refreshing(Box::new(exchange), Box::new(tokens));
        lane.state = match ask {
            ask @ Ask::Http(_) if lane.mark.is_some() => State::Ready(Want::Resend(ask)),
            ask @ Ask::Http(_) => {
                let by = URL_SAFE_NO_PAD.encode(&self.entropy.draw()[..9]);
                (lane.mark, lane.marked_at) = (Some(by.clone()), now.mono);
                let mark = Mark { by, at: now.wall, lockless: false };
                State::Ready(Want::Save(Change::Sent(generation, mark), After::Send(ask)))
            }
            ask => ready(now, ask),
        };
        self.renewal = Some(lane);
    }

    pub(super) fn on_http(&mut self, now: Now, mut lane: Lane, reply: HttpResult) {
        let mut notes = Notes::new();
        match std::mem::replace(&mut lane.work, Work::Over) {
            Work::Login(login) => {
                let turn = login.on_http(now.wall, reply, &mut notes);
                self.take_notes(notes);
                self.login_turned(now, lane, turn);
            }
            Work::Refreshing(exchange, previous) => {
                let source = exchange.identity.source;
                let result = exchange.on_http(now.wall, reply, &mut notes);
                self.take_notes(notes);
                match result {
                    Ok(Step::Ask(exchange, ask)) => {
                        self.refresh_asks(now, lane, exchange, *previous, ask);
                    }
                    Ok(Step::Done(Bought { reply, purchase })) => {
                        let learned = Learned::default();
                        let base = Base::Exactly(Some(previous.generation));
                        let previous = Some(&*previous);
                        let change = obtained(reply, purchase, previous, base, learned, now.wall);
                        self.save_tokens(lane, change);
                    }
                    Err(Failed::Refused(error)) => {
                        self.refresh_refused(now, lane, source, &previous, error);
                    }
                    Err(failed) => self.refresh_failed(now, lane, &previous, failed),
                }
            }
            Work::Upkeep(Some(upkeep), then) => self.looked_after(now, lane, *upkeep, then, reply),
            Work::Freshening(freshen) => self.freshened(now, lane, *freshen, reply),
            Work::LoggingOut(logout) => self.server_told(now, lane, *logout, reply),
            work @ Work::Leaving(..) => {
                lane.work = work;
                self.seen_through(now, lane, reply);
            }
            Work::Finding(_)
            | Work::Looking(_)
            | Work::Postponed
            | Work::Reading
            | Work::Overtaking(_)
            | Work::Upkeep(None, _)
            | Work::Over => {}
        }
    }

    /// Only a dead grant, or a registration that the server has forgotten, ends the grant: a mistake
    /// in the settings, or of the server, may be mended while the refresh token lives.
    fn refresh_refused(
        &mut self,
        now: Now,
        mut lane: Lane,
        source: ClientSource,
        previous: &Tokens,
        error: OAuthError,
    ) {
        let why = format!("the refresh was refused: {error}");
        let forgotten = source == ClientSource::Remembered && rejects_client(&error);
        if !forgotten && !error.is_dead_grant() {
            return self.refresh_failed(now, lane, previous, Failed::Refused(error));
        }
        self.tell(Notice::GrantEnded { why: error.to_string() });
        let mut learned = Learned::default();
        if forgotten {
            learned.forgotten.push(previous.issuer.clone());
        }
        let (of, refused) = (previous.generation, lane.after_refusal);
        let change = Change::EndGrant { of, refused, learned: Box::new(learned) };
        lane.state = State::Ready(Want::Save(change, After::LogIn(why)));
        self.renewal = Some(lane);
    }

    /// What the login flow says next.
    pub(super) fn login_turned(
        &mut self,
        now: Now,
        mut lane: Lane,
        turn: Result<Step<Login, Ended>, Error>,
    ) {
        match turn {
            Ok(Step::Ask(login, ask)) => {
                if lane.detached && !login.must_be_seen_through() {
                    return self.settle(&lane, Ok(()));
                }
                lane.work = Work::Login(Box::new(login));
                lane.wait_for(now, ask);
                self.login = Some(lane);
            }
            Ok(Step::Done(Ended::NotRequired)) => {
                self.session.requirement = Requirement::NotRequired;
                self.settle(&lane, Ok(()));
            }
            Ok(Step::Done(Ended::NotRestored(why))) => {
                self.not_restored(now, lane, &why);
            }
            Ok(Step::Done(Ended::Inspected(learned))) => {
                learned.apply(&mut self.session.record);
                self.settle(&lane, Ok(()));
            }
            Ok(Step::Done(Ended::Obtained { reply, purchase, learned })) => {
                self.cached = None;
                let change = obtained(*reply, *purchase, None, Base::Any, learned, now.wall);
                self.save_tokens(lane, change);
            }
            Err(error) if self.is_passing(&lane, &error) => self.restore_failed(now, lane, error),
            Err(error) => {
                if let ErrorKind::LoginRequired { .. } = error.kind() {
                    self.session.requirement = Requirement::Required;
                }
                self.settle(&lane, Err(error));
            }
        }
    }

    fn save_tokens(&mut self, mut lane: Lane, change: Change) {
        self.tell_renewed(&change);
        lane.work = Work::Over;
        lane.state = State::Ready(Want::Save(change, After::Done));
        self.put_lane(lane);
    }

    /// A renewal that can't be: its attempt becomes a login, if its demander welcomes one. Not
    /// before the token at hand has expired.
    pub(super) fn log_in_instead(&mut self, now: Now, lane: Lane, why: &str) {
        self.drop_lane(LaneName::Renewal);
        self.session.acquit();
        if lane.detached
            || self.session.grant(now, &lane.demand.need, &self.config, false).is_some()
        {
            return self.settle(&lane, Ok(()));
        }
        self.session.requirement = Requirement::Required;
        self.start_login(now, lane.attempt, lane.demand, why);
    }

    /// The answer to a token request that was given up on. A grant once sent is seen through, but
    /// nothing newer is replaced by it.
    fn on_late(&mut self, now: Now, orphan: Orphan, reply: HttpResult) {
        let Orphan { exchange, previous, base, learned, .. } = orphan;
        let Ok(reply) = exchange.read(now.wall, reply) else { return };
        if base != Base::Exactly(self.session.record.generation()) {
            return;
        }
        let purchase = exchange.purchase_of(&reply);
        let change = obtained(reply, purchase, previous.as_deref(), base, learned, now.wall);
        let name = if previous.is_some() { LaneName::Renewal } else { LaneName::Login };
        match self.take_lane(name) {
            // It was about to ask again, and here is its answer.
            Some(lane) if matches!(lane.state, State::Paused(_)) => self.save_tokens(lane, change),
            lane => {
                lane.into_iter().for_each(|lane| self.put_lane(lane));
                self.tell_renewed(&change);
                self.chores.push_back(change);
            }
        }
    }

    pub(super) fn take_lane(&mut self, name: LaneName) -> Option<Lane> {
        match name {
            LaneName::Renewal => self.renewal.take(),
            LaneName::Login => self.login.take(),
            LaneName::Logout => self.logout.take(),
        }
    }

    pub(super) fn put_lane(&mut self, lane: Lane) {
        match lane.name {
            LaneName::Renewal => self.renewal = Some(lane),
            LaneName::Login => self.login = Some(lane),
            LaneName::Logout => self.logout = Some(lane),
        }
    }

    pub(super) fn take_notes(&mut self, notes: impl IntoIterator<Item = Notice>) {
        self.outputs.extend(notes.into_iter().map(Output::Tell));
    }

    fn tell_renewed(&mut self, change: &Change) {
        if let Change::Tokens(_, tokens, _) = change {
            self.tell(Notice::Renewed {
                expires_in: tokens.expires_at.map(|at| tokens.obtained_at.until(at).as_secs()),
                refreshable: tokens.refresh_token.is_some(),
            });
        }
    }
}

/// An ask that needs no exchange or prompt is under way at once.
pub(super) fn ready(now: Now, ask: Ask) -> State {
    match ask {
        Ask::Pause(pause) => State::Paused(now.mono.plus(pause)),
        Ask::LookAfter(wish) => State::LookedAfter(Some(wish)),
        Ask::Claim => State::Ready(Want::Claim),
        Ask::Keep(learned) => State::Ready(Want::Save(Change::Learn(learned), After::Kept)),
        ask => State::Ready(Want::Ask(ask)),
    }
}

fn fits(out: &InFlight, content: &AnswerContent) -> bool {
    matches!(
        (&out.what, content),
        (
            Flight::Load | Flight::Look | Flight::Read | Flight::Lock(..) | Flight::Again(..),
            AnswerContent::Loaded(_)
        ) | (Flight::Save(..), AnswerContent::Saved(_))
            | (Flight::Secret, AnswerContent::Secret(_))
            | (Flight::Signer, AnswerContent::Signer(_))
            | (Flight::Http(_), AnswerContent::Http(_))
    )
}
