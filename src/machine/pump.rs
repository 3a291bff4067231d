//! Time and turns: deadlines that have passed, and wants that become actions once the exchange or
//! the prompt is free.

use std::time::Duration;

use url::{Position, Url};

use crate::error::ErrorKind;
use crate::event::{AnswerContent, HttpReply};
use crate::flow::Ask;
use crate::flow::sign::SignerAsk;
use crate::machine::AuthMachine;
use crate::machine::lane::{After, Change, Flight, InFlight, Lane, LaneName, State, Want, Work};
use crate::output::{
    Action, CallId, HostError, KeyCall, LoadCall, Output, Purpose, SECRET_DEADLINE,
    SIGNER_DEADLINE, STORE_DEADLINE, SecretCall, SignCall, TransportError, TransportErrorKind,
};
use crate::time::{Mono, Now};

/// A host keeps an action's own deadline; the machine gives up on the host a little later.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// Token requests that were given up on and may still be answered.
const MAX_ORPHANS: usize = 4;

impl AuthMachine {
    /// Acts on every deadline that has passed.
    pub(super) fn on_time(&mut self, now: Now) {
        if let Some(out) = self.exchange.take_if(|out| out.deadline <= now.mono) {
            self.on_unanswered(now, out);
        }
        if let Some(prompt) = self.prompt.take_if(|prompt| prompt.deadline <= now.mono)
            && !prompt.abandoned
            && let Some(lane) = self.login.take_if(|l| matches!(l.state, State::Listening))
        {
            self.settle(&lane, Err(ErrorKind::Unanswered { action: "listen" }.into()));
        }
        if let Some(lane) = self.login.take_if(|l| due(&l.state, now.mono, true)) {
            self.nobody_came(now, lane);
        }
        if self.lingers.is_some_and(|until| until <= now.mono) {
            self.stop_lingering();
        }
        self.on_time_to_look(now);
        for name in [LaneName::Renewal, LaneName::Login] {
            let paused = self.lane(name).is_some_and(|lane| due(&lane.state, now.mono, false));
            if paused && let Some(lane) = self.take_lane(name) {
                self.resume(now, lane);
            }
        }
    }

    /// Who is to answer what is sent under the lock, as far as is known.
    fn counterparts(&self, now: Now) -> Vec<String> {
        let record = &self.session.record;
        let bought = record.tokens.as_ref().map(|tokens| tokens.token_endpoint.as_str());
        let found = record.discovery.as_ref().and_then(|it| it.server.token_endpoint.as_deref());
        let endpoint = bought.or(found).and_then(|url| Url::parse(url).ok());
        let place = |url: Url| url[Position::BeforeHost..Position::AfterPort].to_owned();
        let mut servers: Vec<_> = endpoint.into_iter().chain(self.stale(now)).map(place).collect();
        servers.sort();
        servers.dedup();
        servers
    }

    /// The host has not answered. What it may still do counts as failed, but a token answer that
    /// comes late is adopted.
    fn on_unanswered(&mut self, now: Now, out: InFlight) {
        let silent = HostError::silent;
        let content = match &out.what {
            Flight::Load | Flight::Look | Flight::Again(..) => AnswerContent::Loaded(Err(silent())),
            // Most likely somebody else has the lock.
            Flight::Read | Flight::Lock(..) => {
                AnswerContent::Loaded(Err(HostError::busy("no answer in time")))
            }
            Flight::Save(..) => {
                self.store.unanswered();
                AnswerContent::Saved(Err(silent()))
            }
            Flight::Secret => AnswerContent::Secret(Err(silent())),
            Flight::Signer => AnswerContent::Signer(Err(silent())),
            Flight::Http(asked) => {
                let there = self.session.record.generation();
                let lane = out.lane.and_then(|name| self.lane(name));
                if asked.purpose == Purpose::Token
                    && let Some(orphan) = lane.and_then(|lane| lane.orphan(out.call, there))
                {
                    self.orphans.push_back(orphan);
                    if self.orphans.len() > MAX_ORPHANS {
                        self.orphans.pop_front();
                    }
                }
                let error = TransportError::new(TransportErrorKind::Timeout, "no answer in time");
                AnswerContent::Http(HttpReply(Err(error)))
            }
        };
        self.on_exchanged(now, out, content);
    }

    fn resume(&mut self, now: Now, mut lane: Lane) {
        if let Some((end, within)) = lane.code
            && end <= now.mono
        {
            return self.settle(&lane, Err(ErrorKind::CodeExpired { within }.into()));
        }
        match std::mem::replace(&mut lane.work, Work::Over) {
            Work::Login(login) => {
                let turn = login.on_pause_over(now.wall);
                self.login_turned(now, lane, turn);
            }
            // Meanwhile a login has brought others.
            Work::Refreshing(_, previous)
                if self.session.record.generation() != Some(previous.generation) =>
            {
                self.settle(&lane, Ok(()));
            }
            Work::Refreshing(exchange, previous) => match exchange.on_pause_over(now.wall) {
                Ok((exchange, ask)) => self.refresh_asks(now, lane, exchange, *previous, ask),
                Err(error) => self.settle(&lane, Err(error)),
            },
            Work::Reading => {
                lane.work = Work::Reading;
                lane.state = State::Ready(Want::Read);
                self.renewal = Some(lane);
            }
            // Or a person wants a new login meanwhile.
            Work::Postponed => {
                let (why, welcome) = (self.session.why_login(now.wall), lane.welcome);
                self.start_login(now, lane.attempt, lane.demand, why);
                self.login.iter_mut().for_each(|lane| lane.welcome = welcome);
            }
            Work::Finding(_)
            | Work::Looking(_)
            | Work::Freshening(_)
            | Work::Overtaking(_)
            | Work::Upkeep(..)
            | Work::Leaving(..)
            | Work::LoggingOut(_)
            | Work::Over => {}
        }
    }

    /// Turns wants into actions, one exchange and one prompt at a time.
    pub(super) fn pump(&mut self, now: Now) {
        // What needs no exchange after all leaves it to the next.
        while self.exchange.is_none() && self.pump_exchange(now) {}
        let wants_prompt = self.login.as_ref().is_some_and(|lane| {
            matches!(
                lane.state,
                State::Ready(Want::Ask(Ask::Listen(_) | Ask::Browse(_) | Ask::ShowCode(..)))
            )
        });
        if self.prompt.is_none() && wants_prompt {
            self.pump_prompt(now);
        }
    }

    /// Whether something was begun.
    fn pump_exchange(&mut self, now: Now) -> bool {
        if !self.store.loaded && self.waiting.is_some() {
            let id = self.fly(now, STORE_DEADLINE, None, Flight::Load);
            self.act(Action::Load(LoadCall { id, lock: false, servers: Vec::new() }));
            return true;
        }
        if self.falls_silent(now) {
            self.say_so(now, None, After::Beat);
            return true;
        }
        if let Some(change) = self.chores.pop_front() {
            self.save(now, None, change, None);
            return true;
        }
        if self.turn.is_owed() {
            // Once: a mark that can't be taken away ends by itself, and others have their turn.
            self.turn.paid();
            self.say_so(now, None, After::Beat);
            return true;
        }
        let Some(name) = self.lanes().find(|lane| lane.wants_exchange()).map(|lane| lane.name)
        else {
            // A save that failed waits for those who wait for something.
            if self.store.take_due(now.mono) {
                self.save(now, None, self.store.retry(), None);
                return true;
            }
            let waits = |lane: &Lane| matches!(lane.state, State::Ready(_) | State::Person(_));
            let person = self.login.as_ref().is_some_and(waits);
            let due = self.turn.take_beat(now.mono, person);
            if due {
                self.say_so(now, None, After::Beat);
            }
            return due;
        };
        let Some(lane) = self.lane(name) else { return false };
        match std::mem::replace(&mut lane.state, State::Exchanging) {
            State::Ready(Want::Read) => {
                let id = self.fly(now, STORE_DEADLINE, Some(name), Flight::Read);
                let servers = self.counterparts(now);
                self.act(Action::Load(LoadCall { id, lock: true, servers }));
            }
            State::Ready(Want::Resend(ask)) => {
                self.read_without_lock(now, Some(name), Change::Resent, Some(After::Send(ask)));
            }
            State::Ready(Want::Claim) => {
                self.say_so(now, Some(name), After::Claimed);
            }
            State::Ready(Want::Look) => self.look(now, name),
            State::Ready(Want::Save(change, after)) => {
                self.save(now, Some(name), change, Some(after));
            }
            State::Ready(Want::Ask(Ask::Secret(place))) => {
                let id = self.fly(now, SECRET_DEADLINE, Some(name), Flight::Secret);
                self.act(Action::Secret(SecretCall { id, place }));
            }
            State::Ready(Want::Ask(Ask::Signer(ask))) => {
                let id = self.fly(now, SIGNER_DEADLINE, Some(name), Flight::Signer);
                self.act(match ask {
                    SignerAsk::Key(key) => Action::Key(KeyCall { id, key }),
                    SignerAsk::Sign { key, algorithm, input } => {
                        Action::Sign(SignCall { id, key, algorithm, input })
                    }
                });
            }
            State::Ready(Want::Ask(Ask::Http(ask))) => self.send(now, name, ask),
            other => lane.state = other,
        }
        true
    }

    pub(super) fn fly(
        &mut self,
        now: Now,
        deadline: Duration,
        lane: Option<LaneName>,
        what: Flight,
    ) -> CallId {
        let call = CallId(self.next_id());
        let deadline = now.mono.plus(deadline + GRACE);
        self.exchange = Some(InFlight { call, deadline, lane, what });
        call
    }

    pub(super) fn act(&mut self, action: Action) {
        self.outputs.push_back(Output::Do(action));
    }
}

fn due(state: &State, now: Mono, person: bool) -> bool {
    match state {
        State::Person(deadline) => person && *deadline <= now,
        State::Paused(until) => !person && *until <= now,
        _ => false,
    }
}
