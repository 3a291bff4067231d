//! Commands: what a demand, a cancellation and a logout start or end.

use crate::error::{Error, ErrorKind};
use crate::event::{AttemptId, Demand, Goal};
use crate::flow::discover::Evidence;
use crate::flow::job::Job;
use crate::flow::login::Login;
use crate::flow::{Learned, Notes};
use crate::machine::AuthMachine;
use crate::machine::lane::{Change, Flight, InFlight, Lane, LaneName, Work};
use crate::output::Output;
use crate::session::Requirement;
use crate::session::policy::Plan;
use crate::time::Now;
use crate::wire::scope::ScopeSet;

impl AuthMachine {
    pub(super) fn on_demand(&mut self, now: Now, demand: Demand) {
        if self.config.bearer_token.is_some() {
            let attempt = self.new_attempt();
            if self.session.pardon() {
                self.fail(attempt, ErrorKind::StaticTokenRefused.into());
            }
        } else if self.store.loaded && self.logout.is_none() {
            let attempt = self.new_attempt();
            self.begin(now, attempt, demand);
        } else if let Some((attempt, waiting)) = &mut self.waiting {
            self.attempt = Some(*attempt);
            waiting.join(demand);
        } else {
            let attempt = self.new_attempt();
            self.waiting = Some((attempt, demand));
        }
    }

    /// Starts or joins what `demand` leads to.
    pub(super) fn begin(&mut self, now: Now, attempt: AttemptId, demand: Demand) {
        match demand.goal {
            Goal::Load => return,
            Goal::Inspect => return self.start_login(now, attempt, demand, ""),
            Goal::Login => {
                self.session.start_over();
                return self.start_login(now, attempt, demand, "a new login was asked for");
            }
            Goal::Token => {}
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
            self.attempt = Some(lane.join(attempt, demand));
            return;
        }
        let hopeless = self.session.requirement == Requirement::Required;
        let inspect = demand.goal == Goal::Inspect;
        if !demand.browser_welcome && !inspect && hopeless {
            let scopes = self.session.lacking(&demand.need);
            return self.fail(attempt, login_required(why, scopes));
        }
        let record = &self.session.record;
        let evidence = self.session.refusal.clone().filter(|_| !inspect);
        let job = Job {
            site: self.session.site.clone(),
            config: self.config.clone(),
            entropy: self.entropy.split(),
            browser_welcome: demand.browser_welcome,
            inspect,
            wanted_all_the_same: demand.goal == Goal::Login,
            wanted: self.session.wanted(&demand.need),
            earlier: record.tokens.as_ref().map(|tokens| tokens.purchase.clone()),
            registrations: record.clients(demand.new_client, &self.config, now.wall),
            document_rejected_by: record.document_rejected_by.clone(),
            client_home: record.client_home.clone(),
            challenge_scope: None,
            learned: Learned::default(),
            replaced_client: false,
            went_private: false,
            resource_refused: false,
        };
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
            Some(lane) => self.attempt = Some(lane.join(attempt, demand)),
            None => {
                let after_refusal = self.session.refused();
                let lane = Lane::new(LaneName::Renewal, attempt, demand, Work::Reading);
                self.renewal = Some(Lane { after_refusal, ..lane });
            }
        }
    }

    /// The demander has lost interest. What a server has made, or is making, for us is seen through.
    pub(super) fn on_cancel(&mut self, attempt: AttemptId) {
        let is_its = |lane: &&Lane| lane.attempt == attempt && !lane.detached;
        let name = self.lanes().find(is_its).map(|lane| lane.name);
        match name {
            Some(name) => self.detach(name),
            None => {
                if self.waiting.take_if(|(id, _)| *id == attempt).is_none() {
                    return;
                }
            }
        }
        self.fail(attempt, ErrorKind::Cancelled.into());
    }

    fn detach(&mut self, name: LaneName) {
        let lane = self.lane(name);
        match lane {
            Some(lane) if lane.must_be_seen_through() => lane.detached = true,
            Some(lane) => {
                let doubt = lane.doubt();
                self.chores.extend(doubt);
                self.drop_lane(name);
            }
            None => {}
        }
    }

    pub(super) fn on_forget(&mut self) {
        let attempts: Vec<_> =
            self.lanes().filter(|lane| !lane.detached).map(|lane| lane.attempt).collect();
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
        self.drop_lane(lane.name);
        match result {
            // What failed before says nothing any more, save to who still waits for it.
            Ok(()) => {}
            Err(error) if !lane.detached => self.fail(lane.attempt, error),
            Err(_) => {}
        }
    }

    pub(super) fn new_attempt(&mut self) -> AttemptId {
        let attempt = AttemptId(self.next_id());
        self.attempt = Some(attempt);
        attempt
    }
}

pub(super) fn login_required(why: &str, scopes: ScopeSet) -> Error {
    ErrorKind::LoginRequired { reason: why.to_owned(), scopes }.into()
}
