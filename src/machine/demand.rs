//! Commands: what a demand, a cancellation and a logout start or end.

use crate::error::{Error, ErrorKind};
use crate::event::{AttemptId, Demand, Goal};
use crate::flow::Notes;
use crate::flow::discover::Evidence;
use crate::flow::job::Job;
use crate::flow::login::Login;
use crate::machine::AuthMachine;
use crate::machine::lane::{Change, Flight, InFlight, Lane, LaneName, State, Want, Work};
use crate::machine::turn::end_of;
use crate::output::Output;
use crate::session::Requirement;
use crate::session::policy::Plan;
use crate::time::Now;

impl AuthMachine {
    pub(super) fn on_demand(&mut self, now: Now, demand: Demand) {
        let Some(demand) = self.on_fixed_demand(demand) else { return };
        if let Some((attempt, waiting)) = &mut self.waiting {
            self.attempts.last = Some(*attempt);
            waiting.join(demand);
        } else {
            let attempt = self.new_attempt();
            self.take_up(now, attempt, demand);
            self.answer_with(attempt);
        }
    }

    /// Begins, or waits until the record is loaded or the logout is over.
    pub(super) fn take_up(&mut self, now: Now, attempt: AttemptId, demand: Demand) {
        if self.store.loaded && self.logout.is_none() {
            self.begin(now, attempt, demand);
        } else {
            self.waiting = Some((attempt, demand));
        }
    }

    /// Starts or joins what `demand` leads to.
    pub(super) fn begin(&mut self, now: Now, attempt: AttemptId, demand: Demand) {
        match demand.goal {
            Goal::Load => return,
            Goal::Inspect => return self.start_login(now, attempt, demand, ""),
            Goal::Login => {
                self.care.wanted = true;
                self.session.start_over();
                return self.start_login(now, attempt, demand, "a new login was asked for");
            }
            Goal::Token => self.care.wanted = true,
        }
        let quiet = self.session.retry_in(now.mono).is_some();
        let lent = self.session.grant(now, &demand.need, &self.config, quiet).is_some();
        if lent || self.session.requirement == Requirement::NotRequired {
            return;
        }
        match self.session.plan(now, &demand.need, &self.config) {
            Plan::Keep => {}
            Plan::Refresh => self.renew(now, attempt, demand),
            Plan::LogIn => {
                let why = self.session.why_login(now.wall);
                self.start_login(now, attempt, demand, why);
            }
            Plan::StepUp => {
                if demand.browser_welcome && self.login.is_none() {
                    self.session.count_step_up(now.wall, &demand.need);
                }
                self.start_login(now, attempt, demand, "the operation needs more scopes");
            }
            Plan::Fail(kind) => {
                self.session.forgive(&demand.need);
                self.fail(attempt, kind.into());
            }
        }
    }

    pub(super) fn start_login(&mut self, now: Now, attempt: AttemptId, demand: Demand, why: &str) {
        if let Some(lane) = &mut self.login {
            let welcome = demand.browser_welcome;
            let other = lane.join(attempt, demand);
            if matches!(lane.work, Work::Postponed) && lane.demand.goal != Goal::Token {
                lane.state = State::Paused(now.mono);
            }
            return self.joined(attempt, other, welcome);
        }
        let cached = self.cached.as_deref().filter(|_| self.restores(&demand)).cloned();
        if cached.is_some()
            && let Some(error) = self.is_too_early(now)
        {
            let lane = Lane::new(LaneName::Login, attempt, demand, Work::Postponed);
            return self.postpone(now, lane, error);
        }
        let hopeless = self.session.requirement == Requirement::Required && cached.is_none();
        let inspect = demand.goal == Goal::Inspect;
        if !demand.browser_welcome && !inspect && hopeless {
            // Another program's person may have logged in meanwhile.
            let work = Work::Looking(why.to_owned());
            let lane = Lane::new(LaneName::Login, attempt, demand, work);
            self.login = Some(Lane { state: State::Ready(Want::Look), ..lane });
            return;
        }
        let evidence = self.session.refusal.clone().filter(|_| !inspect);
        let mut job = Job {
            browser_welcome: demand.browser_welcome,
            cached,
            tried_before: self.hindrance().is_some(),
            inspect,
            wanted_all_the_same: demand.goal == Goal::Login,
            new_client: demand.new_client,
            token_nonce: self.session.token_nonce.clone(),
            ..Job::new(self.session.site.clone(), self.config.clone(), self.entropy.split())
        };
        job.catch_up(&self.session.record, self.session.wanted(&demand.need), now.wall);
        let after_refusal = self.session.refused();
        let lane =
            Lane { after_refusal, ..Lane::new(LaneName::Login, attempt, demand, Work::Over) };
        let mut notes = Notes::new();
        let evidence = evidence.map(Evidence::Challenge);
        let turn = Login::start(job, evidence, now.wall, &mut notes);
        self.take_notes(notes);
        self.login_turned(now, lane, turn);
    }

    pub(super) fn start_renewal(&mut self, attempt: AttemptId, demand: Demand) {
        match &mut self.renewal {
            Some(lane) => {
                // It was begun before anybody was refused.
                lane.after_refusal |= lane.for_client && self.session.refused();
                let welcome = demand.browser_welcome;
                let other = lane.join(attempt, demand);
                self.joined(attempt, other, welcome);
            }
            None => {
                let after_refusal = self.session.refused();
                let lane = Lane::new(LaneName::Renewal, attempt, demand, Work::Reading);
                self.renewal = Some(Lane { after_refusal, ..lane });
            }
        }
    }

    /// Nobody waits for it any more.
    pub(super) fn detach(&mut self, name: LaneName) {
        let lane = self.lane(name);
        match lane {
            Some(lane) if lane.must_be_seen_through() => {
                lane.detached = true;
                lane.for_client = matches!(lane.work, Work::Upkeep(..));
            }
            Some(lane) => {
                let (doubtful, expired) = (lane.earlier_client(), lane.expired());
                self.chores.extend(doubtful.map(Change::Suspect));
                self.answered = expired.or(self.answered.take());
                self.drop_lane(name);
            }
            None => {}
        }
    }

    pub(super) fn on_forget(&mut self) {
        let attempts: Vec<_> =
            self.lanes().filter(|lane| !lane.detached).map(|lane| lane.attempt).collect();
        // What is erased needs no other save.
        self.end_turn(None);
        self.drop_lane(LaneName::Renewal);
        self.drop_lane(LaneName::Login);
        self.drop_lane(LaneName::Logout);
        // What is being saved must not come back when its answer does; but its generation is used.
        if let Some(InFlight { what, .. }) = &mut self.exchange
            && let Flight::Lock(change, _) | Flight::Again(change, _) | Flight::Save(change, _) =
                what
        {
            std::mem::replace(change, Change::Void).apply(&mut self.session.record);
        }
        let waiting = self.forget_session();
        self.chores.clear();
        self.chores.push_back(Change::Forget);
        for attempt in attempts.into_iter().chain(waiting) {
            self.fail(attempt, ErrorKind::Cancelled.into());
        }
    }

    pub(super) fn lane(&mut self, name: LaneName) -> Option<&mut Lane> {
        match name {
            LaneName::Renewal => self.renewal.as_mut(),
            LaneName::Login => self.login.as_mut(),
            LaneName::Logout => self.logout.as_mut(),
        }
    }

    /// Ends a lane, and what the host holds open for it.
    pub(super) fn drop_lane(&mut self, name: LaneName) {
        if let Some(out) = &mut self.exchange
            && out.lane == Some(name)
        {
            out.lane = None;
        }
        match name {
            LaneName::Renewal => {
                self.renewal = None;
                self.unlock();
            }
            LaneName::Logout => {
                self.logout = None;
                self.unlock();
            }
            LaneName::Login => {
                self.login = None;
                self.leave_turn(None);
                if let Some(prompt) = &mut self.prompt {
                    prompt.abandoned = true;
                }
                if std::mem::take(&mut self.listening) {
                    self.outputs.push_back(Output::Dismiss);
                }
            }
        }
    }

    /// Gives the lock back, unless a save under it is out: that does it when it is answered.
    pub(super) fn unlock(&mut self) {
        let saves = |out: &InFlight| matches!(out.what, Flight::Again(..) | Flight::Save(..));
        if self.exchange.as_ref().is_some_and(saves) {
            return;
        }
        if std::mem::take(&mut self.store.locked) {
            self.outputs.push_back(Output::Release);
        }
    }

    /// Ends a lane with its result.
    pub(super) fn settle(&mut self, lane: &Lane, result: Result<(), Error>) {
        if lane.name == LaneName::Login {
            self.leave_turn(end_of(lane, &result));
        }
        self.drop_lane(lane.name);
        match result {
            // What failed before says nothing any more, save to who still waits for it.
            Ok(()) => {}
            Err(error) if !lane.detached => self.fail(lane.attempt, error),
            Err(_) => {}
        }
    }
}
