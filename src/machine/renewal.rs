//! Renewals that fail in passing, and renewals that nobody had to ask for.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::event::{AttemptId, Demand, Need};
use crate::flow::Ask;
use crate::flow::binding::Binding;
use crate::flow::exchange::{Exchange, Failed, PaidWith};
use crate::flow::identity::Identity;
use crate::machine::AuthMachine;
use crate::machine::lane::{After, Change, Lane, LaneName, State, Want, Work};
use crate::notice::Notice;
use crate::session::tokens::{Generation, Purchase, Tokens};
use crate::session::trouble::{Phase, Setback, Trouble};
use crate::text::{printable, printable_url};
use crate::time::{Mono, Now};

/// When the next renewal is begun that nobody has asked for.
#[derive(Debug)]
pub(super) struct Ahead {
    /// What it was drawn for: a generation, and how often its renewal has failed.
    drawn_for: (Generation, u32),
    at: Mono,
    not_before: Mono,
    /// A renewal is on its way, whoever asked for it.
    running: bool,
}

/// Nothing is renewed unasked more often than this: some tokens live for seconds.
pub(super) const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);

impl AuthMachine {
    /// A renewal for somebody: now, when the next try is due, or not at all for the time being.
    pub(super) fn renew(&mut self, now: Now, attempt: AttemptId, demand: Demand) {
        let left = self.session.retry_in(now.mono);
        let (Some(left), None) = (left, &self.renewal) else {
            return self.start_renewal(attempt, demand);
        };
        match self.session.trouble().map(|trouble| (trouble.phase, trouble.what.clone())) {
            Some((Phase::Refused, what)) => {
                let why = format!("the refresh was refused: {what}");
                self.start_login(now, attempt, demand, &why);
            }
            Some((Phase::Short, _)) => {
                self.start_renewal(attempt, demand);
                if let Some(lane) = &mut self.renewal {
                    lane.state = State::Paused(now.mono.plus(left));
                }
            }
            _ => self.fail(attempt, self.passing(left)),
        }
    }

    /// The token request of a refresh.
    pub(super) fn token_request(
        &mut self,
        now: Now,
        purchase: Purchase,
        identity: Identity,
        paid_with: PaidWith,
    ) -> Result<(Exchange, Ask), Error> {
        let found = self.session.record.discovery.as_ref();
        let found = found.filter(|found| found.issuer == purchase.issuer);
        let (bound_to, nonce) = (purchase.dpop.as_ref(), self.session.token_nonce.clone());
        let binding = Binding::renewed(&self.config, found, bound_to, nonce)?;
        let (config, entropy) = (&self.config, &mut self.entropy);
        Exchange::start(purchase, identity, paid_with, binding, config, entropy, now.wall)
    }

    /// The refresh failed, and nothing was decided.
    pub(super) fn refresh_failed(
        &mut self,
        now: Now,
        lane: Lane,
        previous: &Tokens,
        failed: Failed,
    ) {
        let (what, asked) = match &failed {
            Failed::Passing { what, retry_after } => (what.clone(), *retry_after),
            Failed::Error(error) | Failed::Rotated { error, .. } => (error.to_string(), None),
            Failed::Refused(error) => (error.to_string(), None),
        };
        let refused = matches!(failed, Failed::Refused(_));
        let setback = Setback { what: printable(&what), asked, refused };
        let given_up_after = Duration::from_secs(self.config.retry.give_up_seconds);
        let lasted = self.session.trouble_lasted(now.mono);
        if lasted >= given_up_after && self.session.trouble().is_some() {
            let why = format!("no refresh has worked for {} s: {what}", lasted.as_secs());
            let by = lane.mark.clone();
            return self.give_up(lane, previous.generation, by, why);
        }
        let retry = &self.config.retry;
        let trouble = Trouble::after(self.session.trouble(), lasted, setback, retry, now.wall);
        let rotated = match &failed {
            Failed::Rotated { token, .. } => Some(token.clone()),
            _ => None,
        };
        let after = match failed {
            Failed::Refused(error) => After::LogIn(format!("the refresh was refused: {error}")),
            Failed::Passing { what, .. } => {
                let why = format!("the token endpoint failed ({what})");
                self.tell(Notice::Retrying { after: trouble.wait(), why });
                let url = printable_url(&previous.token_endpoint);
                let asked = Some(trouble.wait());
                After::Rest(Failed::Passing { what, retry_after: asked }.into_error(url))
            }
            Failed::Error(error) | Failed::Rotated { error, .. } => {
                self.tell(Notice::Retrying { after: trouble.wait(), why: error.to_string() });
                After::Rest(error)
            }
        };
        let (of, by, trouble) = (previous.generation, lane.mark.clone(), Box::new(trouble));
        let change = match rotated {
            Some(token) => Change::Rotated(of, by, token, trouble),
            None => Change::Trouble(of, by, trouble),
        };
        self.save_for(lane, change, after);
    }

    /// It isn't tried again; the client and everything else stay.
    pub(super) fn give_up(
        &mut self,
        lane: Lane,
        generation: Generation,
        by: Option<String>,
        why: String,
    ) {
        self.tell(Notice::GrantEnded { why: why.clone() });
        self.save_for(lane, Change::GiveUp(generation, by), After::LogIn(why));
    }

    fn save_for(&mut self, mut lane: Lane, change: Change, after: After) {
        lane.work = Work::Over;
        lane.state = State::Ready(Want::Save(change, after));
        self.put_lane(lane);
    }

    /// The renewal is not to be tried now. In the short phase its attempt waits, without the store's
    /// lock. Ahead of expiry it is no failure at all: what is left is lent meanwhile.
    pub(super) fn rest(&mut self, now: Now, mut lane: Lane, error: Error) {
        self.session.acquit();
        let lent = self.session.grant(now, &lane.demand.need, &self.config, true).is_some();
        if lent || lane.detached {
            return self.settle(&lane, Ok(()));
        }
        match self.session.trouble().map(|trouble| trouble.phase) {
            Some(Phase::Short) => {
                self.unlock();
                let left = self.session.retry_in(now.mono).unwrap_or_default();
                lane.work = Work::Reading;
                lane.state = State::Paused(now.mono.plus(left));
                self.renewal = Some(lane);
            }
            _ => self.settle(&lane, Err(error)),
        }
    }

    /// Another process has found out, while we waited for the lock, that it is not to be tried now.
    pub(super) fn rest_too(&mut self, now: Now, lane: Lane, left: Duration) {
        match self.session.trouble() {
            Some(Trouble { phase: Phase::Refused, what, .. }) => {
                let why = format!("the refresh was refused: {what}");
                self.log_in_instead(now, lane, &why);
            }
            _ => {
                let error = self.passing(left);
                self.rest(now, lane, error);
            }
        }
    }

    fn passing(&self, retry_in: Duration) -> Error {
        let endpoint = self.session.record.tokens.as_ref().map(|tokens| &*tokens.token_endpoint);
        let what = self.session.trouble().map(|trouble| trouble.what.clone()).unwrap_or_default();
        let url = printable_url(endpoint.unwrap_or_default());
        ErrorKind::Passing { url, what, retry_in }.into()
    }

    /// Begins the renewal that nobody asked for, once its moment has come.
    pub(super) fn look_ahead(&mut self, now: Now) {
        if !self.config.refresh_proactively {
            return;
        }
        let Some(due) = self.session.renewal_due(now, &self.config) else {
            self.ahead = None;
            return;
        };
        let drawn = self.ahead.take().filter(|ahead| ahead.drawn_for == due.reason);
        let mut ahead = drawn.unwrap_or_else(|| {
            let at = now.mono.plus(due.earliest).plus(self.draw_below(due.spread));
            let pause = if due.again { Duration::from_secs(1) } else { SHORTEST_INTERVAL };
            Ahead { drawn_for: due.reason, at, not_before: now.mono.plus(pause), running: false }
        });
        if std::mem::replace(&mut ahead.running, self.renewal.is_some()) {
            // Counted from its end: whoever else needs the store or the network has a turn between.
            ahead.not_before = now.mono.plus(SHORTEST_INTERVAL);
        }
        // A machine that slept finds it late, and only the wall clock has noticed.
        let come = ahead.at <= now.mono || (due.late && !due.again);
        let free = self.renewal.is_none() && self.logout.is_none();
        if come && ahead.not_before <= now.mono && free {
            ahead.at = now.mono;
            ahead.running = true;
            let attempt = AttemptId(self.next_id());
            let demand = Demand::background(Need::default());
            let lane = Lane::new(LaneName::Renewal, attempt, demand, Work::Reading);
            let after_refusal = self.session.refused();
            // Nobody waits for it, so it never becomes a login, and its failure is nobody's.
            self.renewal = Some(Lane { after_refusal, detached: true, ..lane });
        }
        self.ahead = Some(ahead);
    }

    /// When [`look_ahead`](Self::look_ahead) has something to do.
    pub(super) fn ahead_at(&self) -> Option<Mono> {
        let ahead =
            self.ahead.as_ref().filter(|_| self.renewal.is_none() && self.logout.is_none())?;
        Some(ahead.at.max(ahead.not_before))
    }

    fn draw_below(&mut self, limit: Duration) -> Duration {
        let [a, b, c, d, ..] = self.entropy.draw();
        limit.mul_f64(f64::from(u32::from_le_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0))
    }
}
