//! WHAT STAYS between flows: the record, the tokens, and what was learned from refusals.

pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod freshness;
pub(crate) mod grant;
pub(crate) mod pending;
pub(crate) mod policy;
pub(crate) mod record;
pub(crate) mod saved;
pub(crate) mod tokens;
pub(crate) mod trouble;

use core::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::config::Config;
use crate::event::{Challenged, Need};
use crate::flow::binding::Nonce;
use crate::flow::identity::recall;
use crate::time::{Mono, Now, UnixTime};
use crate::wire::challenge::BearerChallenge;
use crate::wire::scope::ScopeSet;

use grant::{Grant, Site};
use policy::{Facts, Plan, TokenFacts};
use record::{Provenance, Record, StepUp};
use tokens::{Freshness, Generation, Tokens};
use trouble::{Anchor, Phase, SessionState, Trouble};

/// What is known about whether the server wants authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    Unknown,
    NotRequired,
    Required,
}

/// How the current tokens were come by, with regard to refusals: see [`policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    None,
    /// By a refresh that a refusal caused.
    Refreshed,
    /// By a login that a refusal caused.
    LoggedIn,
}

/// The state of one session, without its running work.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) site: Arc<Site>,
    pub(crate) record: Record,
    pub(crate) requirement: Requirement,
    /// The last refusal that a host saw, and its challenge if it had one: where discovery starts
    /// from.
    pub(crate) refusal: Option<Option<BearerChallenge>>,
    pub(crate) recovery: Recovery,
    /// Where the server was seen in this run: that counts more than what is stored.
    seen_at: Option<IpAddr>,
    /// What the server wants to see in proofs (RFC 9449 §8).
    pub(crate) nonce: Option<String>,
    /// The same for a token endpoint. It ends soon, and is not worth to be saved.
    pub(crate) token_nonce: Option<Nonce>,
    header: Option<HeaderValue>,
    /// When the tokens were taken up, and when they expire, on the clock that can't be set.
    taken_up: Option<Mono>,
    expires: Option<Mono>,
    /// The generation that the server refused with 401.
    refused: Option<Generation>,
    /// The generation that the server may have refused, though it didn't say so.
    suspected: Option<Generation>,
    /// The renewal's trouble, on the clock that can't be set.
    anchor: Option<Anchor>,
}

/// A renewal that nobody asks for.
pub(crate) struct Due {
    /// What it is due for: a generation, and how often its renewal has failed.
    pub(crate) reason: (Generation, u32),
    /// From now.
    pub(crate) earliest: Duration,
    /// How much later it may as well be.
    pub(crate) spread: Duration,
    /// Callers would wait for it by now.
    pub(crate) late: bool,
    /// It has failed before.
    pub(crate) again: bool,
}

/// How long a token counts as just issued: refusing it then is no expiry or revocation.
const YOUNG: Duration = Duration::from_secs(60);
/// How far the clocks of a client and a server are apart, at most, as a rule.
const CLOCK_ERROR: Duration = Duration::from_secs(300);
/// A server that says `expires_in: 0` still issued the token to be used once.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);
/// Step-up rounds older than this don't count: the person may have been given more rights.
const STEP_UP_MEMORY: Duration = Duration::from_secs(3600);
/// At most this many operations are remembered; the oldest goes first.
const MAX_OPERATIONS: usize = 64;

impl Session {
    pub(crate) fn new(site: Arc<Site>) -> Self {
        let record = Record::new(&site.text);
        Self {
            site,
            record,
            requirement: Requirement::Unknown,
            refusal: None,
            recovery: Recovery::None,
            seen_at: None,
            nonce: None,
            token_nonce: None,
            header: None,
            taken_up: None,
            expires: None,
            refused: None,
            suspected: None,
            anchor: None,
        }
    }

    /// Makes `record` the visible one. `obtained`: its tokens are new, from a server, just now.
    pub(crate) fn adopt(&mut self, now: Now, record: Record, obtained: bool) {
        let changed = match (&record.tokens, &self.record.tokens) {
            (Some(new), Some(old)) => {
                new.generation != old.generation || new.access_token != old.access_token
            }
            (None, None) => false,
            _ => true,
        };
        // Known already: what this run's own clock says of it stands.
        let known = trouble_of(&record) == self.trouble();
        self.record = record;
        self.record.server_at = self.seen_at.or(self.record.server_at);
        if !known {
            self.anchor = self.trouble().map(|trouble| Anchor::new(trouble, now));
        }
        if !changed {
            return;
        }
        let tokens = self.record.tokens.as_ref();
        self.header = tokens.and_then(Tokens::header);
        self.taken_up = obtained.then_some(now.mono);
        self.expires = tokens.and_then(|tokens| tokens.remaining(now.wall)).map(|left| {
            let least = if obtained { SHORTEST_LIFE } else { Duration::ZERO };
            now.mono.plus(if left.is_zero() { least } else { left })
        });
        self.refused = None;
        self.suspected = None;
        if !obtained {
            self.recovery = Recovery::None;
        }
        if tokens.is_some() {
            self.requirement = Requirement::Required;
        }
    }

    /// A connection to the server was made, to this address.
    pub(crate) fn saw_server_at(&mut self, address: IpAddr) {
        self.seen_at = Some(address);
        self.record.server_at = self.seen_at;
    }

    /// Takes in a refusal. It starts nothing: the next demand does.
    pub(crate) fn challenged(&mut self, now: UnixTime, challenged: Challenged) {
        let Challenged { generation, status, challenge, operation, server_at, nonce } = challenged;
        server_at.into_iter().for_each(|address| self.saw_server_at(address));
        if nonce.is_some() {
            self.nonce = nonce;
            return;
        }
        // A refusal of an older generation says nothing about what we have now.
        if let (Some(refused), Some(current)) = (generation, self.record.generation())
            && refused != current
        {
            return;
        }
        if !matches!(status, 401 | 403) {
            self.suspected = generation;
            return;
        }
        self.requirement = Requirement::Required;
        if generation.is_some() {
            match status {
                403 => self.needs_more(now, operation, challenge.as_ref()),
                _ => self.refused = generation,
            }
        }
        self.refusal = Some(challenge.map(|challenge| self.completed(challenge)));
    }

    /// A challenge that names nothing leads to where the earlier one led: many servers say where
    /// their metadata is in a 401, and not in a 403.
    fn completed(&self, mut challenge: BearerChallenge) -> BearerChallenge {
        let Some(found) = &self.record.discovery else { return challenge };
        if challenge.resource_metadata.is_empty() {
            challenge.resource_metadata.extend(found.resource_metadata_url.clone());
        }
        if found.provenance == Provenance::Realm {
            challenge.realm.get_or_insert_with(|| found.server.issuer.clone());
        }
        challenge
    }

    fn needs_more(
        &mut self,
        now: UnixTime,
        operation: Option<String>,
        challenge: Option<&BearerChallenge>,
    ) {
        let asked = challenge.and_then(|challenge| challenge.scope.clone()).or_else(|| {
            self.record.discovery.as_ref().and_then(|found| found.scopes_supported.clone())
        });
        let refused = self.record.generation();
        let step_ups = &mut self.record.step_ups;
        let index = match step_ups.iter().position(|known| known.operation == operation) {
            Some(index) => index,
            None => {
                if step_ups.len() >= MAX_OPERATIONS {
                    step_ups.remove(0);
                }
                step_ups.push(StepUp::new(operation));
                step_ups.len() - 1
            }
        };
        let Some(entry) = step_ups.get_mut(index) else { return };
        if entry.last.until(now) > STEP_UP_MEMORY {
            entry.rounds = 0;
        }
        entry.scopes = entry.scopes.union(&asked.unwrap_or_default());
        entry.refused = refused;
    }

    /// The grant to lend for `need`, if the tokens at hand do.
    pub(crate) fn grant(
        &self,
        now: Now,
        need: &Need,
        config: &Config,
        quiet: bool,
    ) -> Option<Grant> {
        let tokens = self.record.tokens.as_ref()?;
        let generation = tokens.generation;
        if self.refused == Some(generation)
            || self.step_up(need).is_some_and(|s| s.refused == Some(generation))
        {
            return None;
        }
        let usable = match self.freshness(now, config) {
            Freshness::Fresh => true,
            Freshness::Stale => quiet || !tokens.is_refreshable(),
            Freshness::Expired => false,
        };
        if !usable || !self.missing(need).is_empty() {
            return None;
        }
        let (site, header) = (self.site.clone(), self.header.clone()?);
        Grant::new(site, header, tokens, config.dpop_key.as_ref(), self.nonce.as_ref())
    }

    /// What is to be done for `need`.
    pub(crate) fn plan(&self, now: Now, need: &Need, config: &Config) -> Plan {
        let tokens = self.record.tokens.as_ref().map(|tokens| TokenFacts {
            freshness: self.freshness(now, config),
            refreshable: self.is_refreshable(now.wall, config),
            refused: self.refused == Some(tokens.generation),
            recovery: self.recovery(now),
            may_need_scopes: self.may_need_scopes(now),
            granted: &tokens.granted,
        });
        let step_up = self.step_up(need);
        policy::plan(&Facts {
            missing: &self.missing(need),
            step_up: step_up
                .filter(|s| s.refused.is_some() && s.refused == self.record.generation()),
            limit: config.step_up_limit,
            tokens,
        })
    }

    /// Whether a refresh that follows is to name the scopes: the last one didn't, and its token was
    /// refused at once.
    pub(crate) fn may_need_scopes(&self, now: Now) -> bool {
        let tokens = self.record.tokens.as_ref();
        let unnamed = |t: &Tokens| !t.scope_on_refresh && !t.requested.is_empty();
        self.refused() && self.recovery(now) == Recovery::Refreshed && tokens.is_some_and(unnamed)
    }

    fn recovery(&self, now: Now) -> Recovery {
        if self.young(now) { self.recovery } else { Recovery::None }
    }

    /// Whether the tokens can be renewed without a person, as far as we know.
    fn is_refreshable(&self, now: UnixTime, config: &Config) -> bool {
        self.record.tokens.as_ref().is_some_and(Tokens::is_refreshable)
            && (recall(config, &self.record, now).is_some()
                || self.upkeep_in(now).is_some_and(|wait| wait.is_zero()))
    }

    /// How long until the secret of the tokens' client is to be renewed, if it can be.
    pub(crate) fn upkeep_in(&self, now: UnixTime) -> Option<Duration> {
        self.record.tokens.as_ref().filter(|tokens| tokens.is_refreshable())?;
        self.record.buyer()?.renewal_in(now)
    }

    /// Why there is no token, and a login is needed.
    pub(crate) fn why_login(&self, now: UnixTime) -> &'static str {
        let Some(tokens) = &self.record.tokens else { return "there is no token" };
        if tokens.renewal.given_up {
            "the refresh was given up"
        } else if self.record.buyer().is_some_and(|client| client.is_expired(now)) {
            "the client's secret has expired"
        } else {
            "there is no token, or it was refused"
        }
    }

    pub(crate) fn trouble(&self) -> Option<&Trouble> {
        trouble_of(&self.record)
    }

    /// How long until the renewal may be tried again; `None`: at once.
    pub(crate) fn retry_in(&self, now: Mono) -> Option<Duration> {
        self.anchor.as_ref().map(|anchor| anchor.left(now)).filter(|left| !left.is_zero())
    }

    /// The program has just started, perhaps with better settings: what was refused is tried again.
    pub(crate) fn give_another_chance(&mut self) {
        if self.trouble().is_some_and(|trouble| trouble.phase == Phase::Refused) {
            self.anchor.iter_mut().for_each(Anchor::waive);
        }
    }

    pub(crate) fn trouble_lasted(&self, now: Mono) -> Duration {
        self.anchor.as_ref().map(|anchor| anchor.lasted(now)).unwrap_or_default()
    }

    pub(crate) fn state(&self, now: Now, config: &Config) -> SessionState {
        let Some(tokens) = &self.record.tokens else {
            return match self.requirement {
                Requirement::Unknown => SessionState::Unknown,
                Requirement::NotRequired => SessionState::NotRequired,
                Requirement::Required => SessionState::LoginRequired,
            };
        };
        let usable = self.refused != Some(tokens.generation)
            && self.freshness(now, config) != Freshness::Expired;
        match self.trouble() {
            _ if !self.is_refreshable(now.wall, config) && !usable => SessionState::LoginRequired,
            Some(trouble) if trouble.phase != Phase::Refused => trouble.state(),
            Some(_) if !usable => SessionState::LoginRequired,
            _ => SessionState::Authorized,
        }
    }

    /// When the tokens are to be renewed though nobody asks.
    pub(crate) fn renewal_due(&self, now: Now, config: &Config) -> Option<Due> {
        let tokens = self.record.tokens.as_ref()?;
        if !self.is_refreshable(now.wall, config) {
            return None;
        }
        let late = self.freshness(now, config) != Freshness::Fresh;
        match self.trouble() {
            Some(trouble) if trouble.phase == Phase::Refused => None,
            Some(trouble) => Some(Due {
                reason: (tokens.generation, trouble.tries()),
                earliest: self.retry_in(now.mono).unwrap_or_default(),
                spread: trouble.wait() / 10,
                late,
                again: true,
            }),
            None => {
                let tenth = tokens.life()? / 10;
                let ahead = Duration::from_secs(config.refresh_ahead_seconds).min(tenth);
                let left = now.mono.until(self.expires?);
                let earliest = left.saturating_sub(ahead).saturating_sub(tenth);
                let reason = (tokens.generation, 0);
                Some(Due { reason, earliest, spread: tenth, late, again: false })
            }
        }
    }

    /// The scopes that `need` takes and the tokens at hand weren't granted; none where there are no
    /// tokens.
    pub(crate) fn lacking(&self, need: &Need) -> ScopeSet {
        let Some(tokens) = &self.record.tokens else { return ScopeSet::new() };
        self.wanted(need).iter().filter(|scope| !tokens.granted.contains(scope)).collect()
    }

    /// The scopes that a login for `need` asks for besides those that the server suggests.
    pub(crate) fn wanted(&self, need: &Need) -> ScopeSet {
        self.step_up(need).map_or_else(|| need.scopes.clone(), |s| need.scopes.union(&s.scopes))
    }

    /// Counts a step-up that is about to be made.
    pub(crate) fn count_step_up(&mut self, now: UnixTime, need: &Need) {
        if let Some(entry) = self.step_up_mut(need) {
            entry.rounds = entry.rounds.saturating_add(1);
            entry.last = now;
        }
    }

    /// A refusal was reported to the caller: the next try may find another answer.
    pub(crate) fn forgive(&mut self, need: &Need) {
        if let Some(entry) = self.step_up_mut(need) {
            entry.refused = None;
        }
    }

    /// Takes back the 401; whether there was one.
    pub(crate) fn pardon(&mut self) -> bool {
        self.refused.take().is_some()
    }

    /// A person wants a new login: what went wrong before doesn't count.
    pub(crate) fn start_over(&mut self) {
        self.recovery = Recovery::None;
        self.record.step_ups.iter_mut().for_each(|step_up| step_up.rounds = 0);
    }

    pub(crate) fn refused(&self) -> bool {
        self.refused.is_some()
    }

    fn step_up(&self, need: &Need) -> Option<&StepUp> {
        self.record.step_ups.iter().find(|known| known.operation == need.operation)
    }

    fn step_up_mut(&mut self, need: &Need) -> Option<&mut StepUp> {
        self.record.step_ups.iter_mut().find(|known| known.operation == need.operation)
    }

    /// What `need` asks for and was not asked for when the tokens were obtained. What was asked for
    /// and not granted is not missing: only the server knows whether it matters.
    fn missing(&self, need: &Need) -> ScopeSet {
        let Some(tokens) = &self.record.tokens else { return ScopeSet::new() };
        let asked = tokens.requested.union(&tokens.granted);
        self.wanted(need).iter().filter(|scope| !asked.contains(scope)).collect()
    }

    fn freshness(&self, now: Now, config: &Config) -> Freshness {
        let Some(tokens) = &self.record.tokens else { return Freshness::Expired };
        let by_mono = self.expires.map(|expires| now.mono.until(expires));
        let ahead = Duration::from_secs(config.refresh_ahead_seconds);
        match tokens.freshness(now.wall, by_mono, ahead) {
            // To be renewed if that can be, and good for the time being if not.
            Freshness::Fresh if self.suspected == Some(tokens.generation) => Freshness::Stale,
            freshness => freshness,
        }
    }

    /// Whether an answer that is no refusal may mean all the same that this token has expired, and a
    /// refresh could help. `redirected`: nothing else would send a program elsewhere; any other answer
    /// means it only near the token's end, clocks being as they are.
    pub(crate) fn may_have_expired(
        &self,
        now: Now,
        config: &Config,
        sent_with: Generation,
        redirected: bool,
    ) -> bool {
        let Some(tokens) = &self.record.tokens else { return false };
        let ends_soon = tokens.life().is_some_and(|life| {
            let by_mono = self.expires.map(|expires| now.mono.until(expires));
            let left = tokens.remaining(now.wall).into_iter().chain(by_mono).min();
            left.is_some_and(|left| left <= CLOCK_ERROR.min(life / 2))
        });
        tokens.generation == sent_with
            && (redirected || ends_soon)
            && self.is_refreshable(now.wall, config)
            && !self.young(now)
            && self.trouble().is_none()
    }

    /// The suspicion had its refresh, whatever came of it.
    pub(crate) fn acquit(&mut self) {
        self.suspected = None;
    }

    fn young(&self, now: Now) -> bool {
        self.taken_up.is_some_and(|since| since.until(now.mono) < YOUNG)
    }
}

fn trouble_of(record: &Record) -> Option<&Trouble> {
    match &record.tokens {
        Some(tokens) => tokens.renewal.trouble.as_ref(),
        None => record.untaken.as_ref(),
    }
}
