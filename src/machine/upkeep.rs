//! Upkeep of registered clients, by the renewal lane, under the store's lock: of several programs one
//! does it, and no refresh comes between.
//!
//! ```text
//! a demand, a login, time ─▶ lock and read ─▶ (mark) ─▶ renew or confirm ─▶ save ─▶ refresh, if wanted
//! ```
//!
//! Nobody waits for it but a login that would go as that client, and a refresh that needs the lock.

use crate::event::{AttemptId, Demand, Need};
use crate::flow::upkeep::{Errand, Upkeep, Wish};
use crate::flow::{Ask, HttpResult, Notes};
use crate::machine::AuthMachine;
use crate::machine::answer::ready;
use crate::machine::lane::{After, Change, Lane, LaneName, State, Want, Work};
use crate::machine::renewal::SHORTEST_INTERVAL;
use crate::session::record::Registration;
use crate::time::{Mono, Now};

/// When upkeep is begun that nobody waits for.
#[derive(Debug, Default)]
pub(super) struct Care {
    /// Somebody has asked for a token: whoever only looks sends nothing.
    pub(super) wanted: bool,
    at: Option<Mono>,
    not_before: Mono,
    /// The renewal lane has begun it.
    running: bool,
}

/// What follows, under the same lock.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    /// The refresh that the lane is for.
    Renew,
    /// Nothing: another program has renewed the tokens.
    Settle,
}

impl AuthMachine {
    /// Begins what is due, and lets a login go on that has waited for it.
    pub(super) fn look_after_clients(&mut self, now: Now) {
        self.resume_login(now);
        if self.renewal.is_none() && std::mem::take(&mut self.care.running) {
            // Counted from its end: whoever else needs the store or the network has a turn between.
            self.care.not_before = now.mono.plus(SHORTEST_INTERVAL);
        }
        let upkeep = self.session.upkeep_in(now.wall).filter(|_| self.care.wanted);
        self.care.at = upkeep.map(|wait| now.mono.plus(wait).max(self.care.not_before));
        let due = self.care.at.is_some_and(|at| at <= now.mono);
        let waits = |lane: &Lane| matches!(lane.state, State::LookedAfter(Some(_)));
        let awaited = self.login.as_ref().is_some_and(waits);
        match &mut self.renewal {
            None if (due || awaited) && self.logout.is_none() => {
                let attempt = AttemptId(self.next_id());
                let demand = Demand::background(Need::default());
                let lane = Lane::new(LaneName::Renewal, attempt, demand, Work::Reading);
                let after_refusal = self.session.refused();
                let lane = Lane { after_refusal, detached: true, for_client: true, ..lane };
                self.renewal = Some(lane);
                self.care.running = true;
            }
            // It waits for time to pass, and holds no lock.
            Some(lane)
                if awaited
                    && matches!((&lane.work, &lane.state), (Work::Reading, State::Paused(_))) =>
            {
                lane.state = State::Ready(Want::Read);
            }
            _ => {}
        }
    }

    /// When [`look_after_clients`](Self::look_after_clients) has something to begin.
    pub(super) fn care_at(&self) -> Option<Mono> {
        self.care.at.filter(|_| self.renewal.is_none() && self.logout.is_none())
    }

    /// The client that a login waits for: it is seen to now, or not at all.
    pub(super) fn take_wish(&mut self) -> Option<Wish> {
        match self.login.as_mut().map(|lane| &mut lane.state) {
            Some(State::LookedAfter(wish)) => wish.take(),
            _ => None,
        }
    }

    fn resume_login(&mut self, now: Now) {
        if self.renewal.as_ref().is_some_and(|lane| matches!(lane.work, Work::Upkeep(..))) {
            return;
        }
        let over = |lane: &mut Lane| matches!(lane.state, State::LookedAfter(None));
        let Some(mut lane) = self.login.take_if(over) else { return };
        if let Work::Login(login) = std::mem::replace(&mut lane.work, Work::Over) {
            let mut notes = Notes::new();
            let clients = &self.session.record.registrations;
            let turn = login.on_looked_after(clients, now.wall, &mut notes);
            self.take_notes(notes);
            self.login_turned(now, lane, turn);
        }
    }

    /// The store has been read: what its clients need comes first.
    pub(super) fn look_after(&mut self, now: Now, mut lane: Lane, wish: Option<Wish>, then: Then) {
        if let Some((upkeep, ask)) = self.errand(now, wish) {
            let errand = upkeep.errand();
            let mark = Change::Client(Box::new(upkeep.client().clone()));
            lane.work = Work::Upkeep(Some(Box::new(upkeep)), then);
            lane.state = match errand {
                // Saved first that it is tried: where that can't be, the answer couldn't be either.
                Errand::Renew => State::Ready(Want::Save(mark, After::Send(ask))),
                Errand::Learn | Errand::Confirm => ready(now, ask),
            };
            self.renewal = Some(lane);
            return;
        }
        match then {
            Then::Renew if !(lane.for_client && lane.detached) => self.refresh(now, lane),
            _ => self.settle(&lane, Ok(())),
        }
    }

    /// What is to be done, if anything: for a login that waits, else for the tokens. Never without
    /// the lock: another program may be at it.
    fn errand(&self, now: Now, wish: Option<Wish>) -> Option<(Upkeep, Ask)> {
        if !self.store.locked {
            return None;
        }
        let record = &self.session.record;
        let wished = wish.and_then(|wish| {
            let client = record.registrations.get(&wish.issuer);
            let client = client.filter(|client| client.client_id == wish.client_id)?;
            let doubted = || Registration { suspect: true, ..client.clone() };
            let client = if wish.doubtful { doubted() } else { client.clone() };
            // Another program may have done it, or this one just now.
            let errand = Errand::before_login(&client, now.wall)?;
            Some((client, errand))
        });
        let due = || {
            self.session.upkeep_in(now.wall).filter(|wait| wait.is_zero())?;
            let buyer = record.buyer()?;
            Some((buyer.clone(), Errand::renewal(buyer)))
        };
        let (client, errand) = wished.or_else(due)?;
        Upkeep::start(&client, errand, now.wall)
    }

    /// The server's answer is saved before anything is made of it.
    pub(super) fn looked_after(
        &mut self,
        now: Now,
        mut lane: Lane,
        upkeep: Upkeep,
        then: Then,
        reply: HttpResult,
    ) {
        let mut notes = Notes::new();
        let (before, errand) = (upkeep.client().clone(), upkeep.errand());
        let client = upkeep.on_http(now.wall, reply, &mut notes);
        self.take_notes(notes);
        if client == before {
            return self.look_after(now, lane, None, then);
        }
        let (issuer, client_id) = (client.issuer.clone(), client.client_id.clone());
        let more = (errand == Errand::Learn).then_some(Wish { issuer, client_id, doubtful: false });
        lane.work = Work::Upkeep(None, then);
        let change = Change::Client(Box::new(client));
        lane.state = State::Ready(Want::Save(change, After::Upkept(more)));
        self.renewal = Some(lane);
    }
}
