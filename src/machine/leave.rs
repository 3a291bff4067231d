//! Logout: nothing is lent from the moment of the event. What is under way is seen through, the
//! store is locked and read, the servers are told, and the record is erased under that lock.
//!
//! ```text
//! (answer of what is under way) ─▶ lock and read the store ─▶ servers ─▶ erase ─▶ unlock
//! ```
//!
//! Under the lock, because another program may be renewing the tokens: then its are the ones to end.
//! Whoever asks for a token meanwhile waits, and begins anew afterwards.

use crate::error::ErrorKind;
use crate::event::Demand;
use crate::flow::exchange::Bought;
use crate::flow::login::Ended;
use crate::flow::logout::Logout;
use crate::flow::{Ask, HttpResult, Learned, Notes, Step};
use crate::logout;
use crate::machine::AuthMachine;
use crate::machine::lane::{
    After, Base, Change, Flight, InFlight, Lane, LaneName, State, Want, Work, obtained,
};
use crate::machine::store::Loaded;
use crate::notice::Notice;
use crate::output::HostError;
use crate::session::Session;
use crate::session::record::Record;
use crate::time::{Now, UnixTime};

impl AuthMachine {
    pub(super) fn on_logout(&mut self, now: Now) {
        let attempt = self.new_attempt();
        if let Some(lane) = &mut self.logout {
            self.attempts.last = Some(lane.join(attempt, Demand::default()));
            return;
        }
        // What is erased needs no other save.
        self.end_turn(None);
        let mut known = vec![self.session.record.clone()];
        let lanes = [self.renewal.take(), self.login.take()];
        let mut under_way = None;
        let mut learn = |change: Change| learn(&mut known, change);
        let mut cancelled = Vec::new();
        for lane in lanes.into_iter().flatten() {
            if !lane.detached {
                cancelled.push(lane.attempt);
            }
            let out = self.exchange.as_ref();
            let waits = out.is_some_and(|out| {
                out.lane == Some(lane.name) && matches!(out.what, Flight::Http(_))
            });
            match lane.state {
                State::Ready(Want::Save(change, _)) => learn(change),
                _ if waits => under_way = Some(Box::new(lane.work)),
                _ => {}
            }
        }
        self.chores.drain(..).for_each(&mut learn);
        let mut claimed = under_way.is_some();
        if let Some(InFlight { lane, what, .. }) = &mut self.exchange {
            *lane = None;
            match what {
                Flight::Lock(change, _) => {
                    learn(std::mem::replace(change, Change::None));
                    *what = Flight::Read;
                    claimed = true;
                }
                Flight::Read => claimed = true,
                // It can't be taken back, but it must not come back either.
                Flight::Again(change, _) | Flight::Save(change, _) => {
                    learn(std::mem::replace(change, Change::Void));
                }
                Flight::Load | Flight::Look | Flight::Http(_) | Flight::Secret | Flight::Signer => {
                }
            }
            if claimed {
                *lane = Some(LaneName::Logout);
            }
        }
        self.drop_lane(LaneName::Login);
        cancelled.extend(self.forget_session());
        let work = Work::Leaving(known, under_way);
        let state = if claimed { State::Exchanging } else { State::Ready(Want::Read) };
        let lane = Lane { state, ..Lane::new(LaneName::Logout, attempt, Demand::default(), work) };
        if claimed {
            self.logout = Some(lane)
        } else {
            self.leave(now, lane)
        }
        for attempt in cancelled {
            self.fail(attempt, ErrorKind::Cancelled.into());
        }
    }

    /// Empties the memory; who waited for the record to be loaded waits in vain.
    pub(super) fn forget_session(&mut self) -> Option<crate::event::AttemptId> {
        self.orphans.clear();
        self.stop_lingering();
        self.cached = None;
        let emptied = self.session.record.emptied();
        self.session = Session::new(self.session.site.clone());
        self.session.record = emptied;
        self.store.forget();
        self.waiting.take().map(|(attempt, _)| attempt)
    }

    /// The token request, or registration, that was under way has its answer: what it brought is to
    /// end too.
    pub(super) fn seen_through(&mut self, now: Now, mut lane: Lane, reply: HttpResult) {
        if let Work::Leaving(known, under_way) = &mut lane.work
            && let Some(work) = under_way.take()
            && let Some(change) = outcome(*work, now.wall, reply)
        {
            learn(known, change);
        }
        self.leave(now, lane);
    }

    /// The store is to be locked and read: the newest tokens may be another program's.
    pub(super) fn on_read_to_end(&mut self, now: Now, lane: Lane, loaded: Loaded) {
        match loaded {
            // Whoever holds the lock may hang.
            Err(error) if error.is_busy() => {
                let name = Some(lane.name);
                self.put_lane(lane);
                self.read_without_lock(now, name, Change::Void, None);
            }
            loaded => self.left_with(now, lane, loaded),
        }
    }

    pub(super) fn left_with(&mut self, now: Now, mut lane: Lane, loaded: Loaded) {
        match loaded {
            Ok(bytes) => {
                let stored = self.read_to_end(bytes);
                if let Work::Leaving(known, _) = &mut lane.work {
                    known.extend(stored);
                }
            }
            Err(error) => return self.tell_servers(now, lane, Some(error)),
        }
        self.tell_servers(now, lane, None);
    }

    /// Reads the store, unless it is locked already: then what is known is what is there.
    fn leave(&mut self, now: Now, mut lane: Lane) {
        if self.store.locked {
            return self.tell_servers(now, lane, None);
        }
        lane.state = State::Ready(Want::Read);
        self.logout = Some(lane);
    }

    /// `unread`: why nobody knows what is stored.
    fn tell_servers(&mut self, now: Now, mut lane: Lane, unread: Option<HostError>) {
        let Work::Leaving(known, _) = std::mem::replace(&mut lane.work, Work::Over) else { return };
        self.end_at_servers(now, lane, &known, unread, logout::Logout::new());
    }

    /// Another program has renewed the tokens since they were read: what it has saved is to end too.
    pub(super) fn leave_again(&mut self, now: Now, found: Record, report: logout::Logout) {
        if let Some(lane) = self.logout.take() {
            self.end_at_servers(now, lane, &[found], None, report);
        }
    }

    fn end_at_servers(
        &mut self,
        now: Now,
        lane: Lane,
        known: &[Record],
        unread: Option<HostError>,
        report: logout::Logout,
    ) {
        // Generations that another program has used are used.
        let used = known.iter().map(|record| record.last_generation).max();
        let ours = &mut self.session.record;
        ours.last_generation = used.unwrap_or_default().max(ours.last_generation);
        ours.server_at = ours.server_at.or(known.iter().rev().find_map(|record| record.server_at));
        let mut notes = Notes::new();
        let (config, entropy) = (&self.config, &mut self.entropy);
        let step = Logout::start(config, known, unread, report, entropy, now.wall, &mut notes);
        self.take_notes(notes);
        self.logout_stepped(lane, step);
    }

    pub(super) fn server_told(&mut self, now: Now, lane: Lane, logout: Logout, reply: HttpResult) {
        let mut notes = Notes::new();
        let step = logout.on_http(now.wall, reply, &mut notes);
        self.take_notes(notes);
        self.logout_stepped(lane, step);
    }

    pub(super) fn logout_stepped(&mut self, mut lane: Lane, step: Step<Logout, logout::Logout>) {
        lane.state = match step {
            Step::Ask(logout, ask) => {
                lane.work = Work::LoggingOut(Box::new(logout));
                State::Ready(Want::Ask(ask))
            }
            Step::Done(report) => {
                let after = After::LoggedOut(Box::new(report));
                State::Ready(Want::Save(Change::Forget, after))
            }
        };
        self.logout = Some(lane);
    }

    /// The record is erased, or could not be: it is tried again.
    pub(super) fn logged_out_with(
        &mut self,
        now: Now,
        lane: &Lane,
        mut report: logout::Logout,
        erased: Result<(), HostError>,
    ) {
        report.erased = erased.map_err(|error| ErrorKind::Store(error).into());
        let result = report.erased.clone();
        self.tell(Notice::LoggedOut { erased: result.is_ok() });
        self.report = Some((lane.attempt, report));
        self.settle(lane, result);
        if let Some((attempt, demand)) = self.waiting.take() {
            self.begin(now, attempt, demand);
        }
    }
}

/// The record as this change would have made it.
fn learn(known: &mut Vec<Record>, change: Change) {
    if let Some(mut record) = known.last().cloned() {
        change.apply(&mut record);
        known.push(record);
    }
}

/// What the answer would have changed; what was told on the way is of no interest any more.
fn outcome(work: Work, now: UnixTime, reply: HttpResult) -> Option<Change> {
    let mut notes = Notes::new();
    match work {
        Work::Login(login) => match login.on_http(now, reply, &mut notes).ok()? {
            Step::Done(Ended::Obtained { reply, purchase, learned }) => {
                Some(obtained(*reply, *purchase, None, Base::Any, learned, now))
            }
            Step::Ask(_, Ask::Keep(learned)) => Some(Change::Learn(learned)),
            _ => None,
        },
        Work::Refreshing(exchange, previous) => {
            let Step::Done(bought) = exchange.on_http(now, reply, &mut notes).ok()? else {
                return None;
            };
            let Bought { reply, purchase } = bought;
            let learned = Learned::default();
            Some(obtained(reply, purchase, Some(&previous), Base::Any, learned, now))
        }
        Work::Upkeep(Some(upkeep), _) => {
            Some(Change::Client(Box::new(upkeep.on_http(now, reply, &mut notes))))
        }
        _ => None,
    }
}
