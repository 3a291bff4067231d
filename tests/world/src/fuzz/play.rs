//! Tells a story: performs its operations on two programs that share a store, and checks the laws
//! after each.

mod answers;
mod checks;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mcp_auth::output::{Output, Purpose};
use mcp_auth::{
    AttemptId, AuthMachine, Challenged, Config, Demand, DeviceGrant, Entropy, Event, Mono, Need,
    Now, Redirected, TokenState, UnixTime, Verdict,
};

use super::host::{self, Exchange, Pending, Program};
use super::op::{NEEDS, Op};
use super::secrets::Secrets;
use super::{settings, twist};
use crate::marks::Marks;
use crate::text::{Form, Response};
use crate::{World, signer};

pub(super) const SERVER: &str = "https://mcp.example.com/mcp";
const START: u64 = 1_790_000_000;
/// The most outputs that one event may cause.
const MOST_OUTPUTS: usize = 256;
/// The most deadlines that an attempt may live through.
const MOST_DEADLINES: usize = 256;

/// What a redirect led to.
pub(super) enum Arrival {
    /// The person is still waited for.
    Waiting,
    /// The login has failed.
    Failed,
    /// This code was sent to the token endpoint.
    Paid(String),
}

/// Two programs, one store, and the world.
pub(super) struct Play {
    now: Now,
    pub(super) world: World,
    config: Arc<Config>,
    programs: [Program; 2],
    bystander: AuthMachine,
    store: Option<Vec<u8>>,
    /// Which program holds the store's lock, and by which call.
    lock: Option<(usize, u64)>,
    secrets: Secrets,
    marks: Marks,
    /// Whoever reads the store finds what nobody has saved.
    planted: bool,
    /// Tokens of the settings, or from where they said.
    configured: BTreeSet<String>,
    /// The servers' metadata came as they wrote it, and no setting overrides it: where secrets went is
    /// theirs to judge.
    honest: bool,
    calls: u64,
    seeds: u8,
    attempts: Vec<(usize, AttemptId)>,
}

impl Play {
    /// `None` where the settings can't be used.
    pub(super) fn new(config: Config) -> Option<Self> {
        let config = Arc::new(config);
        let machine =
            |seed| AuthMachine::new(SERVER, config.clone(), Entropy::from_bytes([seed; 32]));
        let programs = [Program::new(machine(1).ok()?, 1), Program::new(machine(2).ok()?, 2)];
        let elsewhere = "https://elsewhere.example.com/mcp";
        let seed = Entropy::from_bytes([3; 32]);
        let bystander = AuthMachine::new(elsewhere, Arc::default(), seed).ok()?;
        let issuers = ["https://auth.example.com", "https://other.example.com/tenant"];
        let configured = config.bearer_token.iter().map(|token| token.expose().clone()).collect();
        let honest = config.authorize_url.is_none() && config.token_url.is_none();
        let mut play = Self {
            configured,
            now: Now { wall: UnixTime(START), mono: Mono(Duration::ZERO) },
            world: World::with_urls(SERVER, &issuers),
            config,
            programs,
            bystander,
            store: None,
            lock: None,
            secrets: Secrets::default(),
            marks: Marks::default(),
            planted: false,
            honest,
            calls: 0,
            seeds: 3,
            attempts: Vec::new(),
        };
        play.secrets.configured(&play.config);
        settings::plant(&play.config, &mut play.secrets);
        settings::introduce(&play.config, &mut play.world);
        let by_code = play.config.device_grant == DeviceGrant::Always;
        play.world.authorization.iter_mut().for_each(|server| server.device = by_code);
        Some(play)
    }

    /// What the settings are made of.
    pub(super) fn guessed(&mut self, text: &str) {
        self.secrets.guessed(text);
    }

    /// Puts a record into the store, whatever it is, and whoever it says the tokens are for.
    pub(super) fn store(&mut self, record: &[u8]) {
        self.honest = false;
        self.planted = true;
        self.store = Some(record.to_vec());
    }

    pub(super) fn perform(&mut self, at: usize, op: Op) {
        match op {
            Op::Demand { welcome, fresh, inspect, need } => {
                self.demand(at, welcome, fresh, inspect, need);
            }
            Op::Run => self.run(at),
            Op::Step => {
                self.step(at);
            }
            Op::Twist(how, detail) => self.twist(at, how, detail),
            Op::Delay => {
                let reply = self.answer(at);
                self.programs[at].parked.extend(reply);
            }
            Op::Deliver(which) => {
                let parked = &mut self.programs[at].parked;
                if !parked.is_empty() {
                    let reply = parked.remove(usize::from(which) % parked.len());
                    self.deliver(at, reply);
                }
            }
            Op::Drop => {
                let program = &mut self.programs[at];
                program.misled = true;
                program.lost.extend(program.exchange.take());
            }
            Op::Redirect(kind) => self.redirect(at, kind),
            Op::Prompt(how) => self.fail_prompt(at, how),
            Op::Tick => self.event(at, Event::Tick),
            Op::Flush => self.event(at, Event::Flush),
            Op::Advance(by) => self.advance([1, 6, 40, 70, 600, 4000, 90_000][usize::from(by) % 7]),
            Op::SetWall(to) => {
                let wall = self.now.wall.0;
                self.now.wall = UnixTime(match to % 6 {
                    0 => 0,
                    1 => wall.saturating_sub(4000),
                    2 => wall.saturating_add(4000),
                    3 => wall.saturating_sub(86_400),
                    4 => u64::MAX,
                    _ => START,
                });
            }
            Op::ToDeadline => {
                if let Some(deadline) = self.programs[at].deadline {
                    self.advance_to(deadline);
                    self.event(at, Event::Tick);
                }
            }
            Op::Cancel(which) => {
                let mine: Vec<_> = self.attempts.iter().filter(|(by, _)| *by == at).collect();
                let recent = mine.iter().rev().nth(usize::from(which) % 3);
                if let Some((_, attempt)) = recent {
                    self.event(at, Event::Cancel(*attempt));
                }
            }
            Op::Forget => self.forget(at, Event::Forget),
            Op::Logout => self.forget(at, Event::Logout),
            Op::Challenge(status, which) => self.challenge(at, status, which),
            Op::Call(need) => self.call(at, need),
            Op::World(which) => twist::change_world(&mut self.world, which),
            Op::CrossFeed => self.cross_feed(at),
            Op::Restart => self.restart(at),
        }
    }

    fn demand(&mut self, at: usize, welcome: bool, fresh: bool, inspect: bool, which: u8) {
        let demand = match (inspect, welcome) {
            (true, _) => Demand::inspect(),
            (_, true) => Demand::interactive(need(which)),
            (_, false) => Demand::background(need(which)),
        };
        self.event_before(at, Event::Demand(if fresh { demand.fresh() } else { demand }));
        let program = &mut self.programs[at];
        let attempt = program.machine.last_attempt();
        if welcome && !inspect {
            program.laws.welcomed(attempt);
        }
        self.attempts.extend(attempt.map(|attempt| (at, attempt)));
        self.settle(at);
    }

    /// All that is asked for, performed faithfully, until nothing is.
    pub(super) fn run(&mut self, at: usize) {
        for _ in 0..64 {
            if !self.step(at) {
                return;
            }
        }
    }

    fn step(&mut self, at: usize) -> bool {
        match self.answer(at) {
            Some(reply) => self.deliver(at, reply),
            None if self.programs[at].redirects.is_empty() => return false,
            None => {
                let url = self.programs[at].redirects.remove(0);
                self.redirected(at, &url);
            }
        }
        true
    }

    /// Something comes to the callback address, genuine or not.
    fn redirect(&mut self, at: usize, kind: u8) {
        let program = &mut self.programs[at];
        if kind.is_multiple_of(8) && !program.redirects.is_empty() {
            let url = program.redirects.remove(0);
            return self.redirected(at, &url);
        }
        let opened = program.opened.clone().unwrap_or_default();
        let (endpoint, query) = opened.split_once('?').unwrap_or_default();
        // Whoever forges a redirect knows all that is public.
        let iss = endpoint.trim_end_matches("/authorize");
        let query = Form::parse(query.as_bytes());
        let state = query.get("state").unwrap_or("no-state");
        let back = query.get("redirect_uri").unwrap_or("http://127.0.0.1:49152/callback");
        let forged = "forged-code-of-somebody-else";
        self.secrets.add(forged, None);
        let url = match kind % 8 {
            0 => "not a URL at all".to_owned(),
            1 => format!("{back}?code={forged}&state=another-state&iss={iss}"),
            2 => format!("{back}?code={forged}&iss={iss}"),
            3 => format!("{back}?code={forged}&state={state}&state={state}&iss={iss}"),
            4 => format!("{back}?code={forged}&state={state}&iss=https%3A%2F%2Fstray.example"),
            5 => format!("{back}/elsewhere?code={forged}&state={state}&iss={iss}"),
            6 => format!("{back}?error=access_denied&state=another-state&iss={iss}"),
            _ => format!("https://stray.example/callback?code={forged}&state={state}&iss={iss}"),
        };
        self.redirected(at, &url);
    }

    /// Law: each request to the callback address gets one page.
    fn redirected(&mut self, at: usize, url: &str) {
        self.calls += 1;
        let ticket = self.calls;
        self.event_before(at, Event::Redirected(Redirected { ticket, url: url.into() }));
        match self.programs[at].machine.poll_output() {
            Output::Show { ticket: shown, .. } => assert_eq!(shown, ticket, "another's page"),
            other => panic!("no page for a redirect, but {other:?}"),
        }
        self.settle(at);
    }

    /// Goes on to the moment at which the person has the URL; its `state`.
    pub(super) fn wait_for_person(&mut self) -> Option<String> {
        self.demand(0, true, false, false, 0);
        for _ in 0..64 {
            if let Some(opened) = &self.programs[0].opened {
                let query = opened.split_once('?')?.1;
                return Form::parse(query.as_bytes()).owned("state");
            }
            self.step(0);
        }
        None
    }

    /// Goes on, in a login whose client has a secret that ends, to the moment at which that is to be
    /// renewed; the client's name.
    pub(super) fn wait_for_upkeep(&mut self) -> Option<String> {
        self.world.authorization.iter_mut().for_each(twist::expiring_secrets);
        self.demand(0, true, false, false, 0);
        self.run(0);
        self.advance(90_000);
        self.demand(0, false, false, false, 0);
        for _ in 0..64 {
            if let Some(Pending { call: Exchange::Http(call), .. }) = &self.programs[0].exchange
                && call.purpose() == Purpose::Upkeep
            {
                return call.request().uri().path().rsplit('/').next().map(str::to_owned);
            }
            self.step(0);
        }
        None
    }

    /// What is to be renewed is answered with this.
    pub(super) fn answer_upkeep(&mut self, response: Response) {
        let Some(pending) = self.programs[0].exchange.take() else { return };
        let reply = pending.reply(|call| match call {
            Exchange::Http(call) => host::answered(call, Some(response), 0),
            Exchange::Load(_)
            | Exchange::Save(_)
            | Exchange::Secret(_)
            | Exchange::Key(_)
            | Exchange::Sign(_) => {
                panic!("nothing is renewed")
            }
        });
        self.deliver(0, reply);
        self.run(0);
        self.demand(0, false, false, false, 0);
        self.run(0);
    }

    /// Something comes to the callback address.
    pub(super) fn arrive(&mut self, url: &str) -> Arrival {
        self.redirected(0, url);
        let program = &self.programs[0];
        if let Some(Pending { call: Exchange::Http(call), .. }) = &program.exchange {
            return Arrival::Paid(
                Form::parse(call.request().body()).owned("code").unwrap_or_default(),
            );
        }
        if self.is_running(0) { Arrival::Waiting } else { Arrival::Failed }
    }

    fn forget(&mut self, at: usize, event: Event) {
        let is_attempt = matches!(event, Event::Logout);
        let program = &mut self.programs[at];
        // One whose callers have left is seen through as well.
        let goes_on = program.logout.is_some_and(|id| program.machine.is_running(id))
            || program.exchange.as_ref().is_some_and(Pending::erases);
        let joins = is_attempt && goes_on;
        if !joins {
            program.laws.forget();
            program.forgot = true;
            program.exchange.iter_mut().for_each(|pending| pending.forgotten = true);
            program.parked.iter_mut().for_each(|reply| reply.forgotten = true);
        }
        self.event_before(at, event);
        if is_attempt {
            let program = &mut self.programs[at];
            program.logout = program.machine.last_attempt();
            self.attempts.extend(program.logout.map(|attempt| (at, attempt)));
        }
        self.settle(at);
    }

    fn challenge(&mut self, at: usize, status: u8, which: u8) {
        let status = [401, 403, 401, 403, 200, 500][usize::from(status) % 6];
        let Ok(status) = http::StatusCode::from_u16(status) else { return };
        let tokens = self.programs[at].machine.status().map(|status| status.generation);
        let headers = twist::challenge(which);
        let generation = tokens.filter(|_| which < 128);
        if let Some(challenged) = Challenged::read(status, &headers, generation, &need(which)) {
            self.event(at, Event::Challenged(challenged));
        }
    }

    /// What a host does all day: a request with the token at hand, and its refusal reported.
    fn call(&mut self, at: usize, which: u8) {
        let need = need(which);
        let mut request = http::Request::new(tool_call(need.operation.as_deref()));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = http::Uri::from_static(SERVER);
        let grant = match self.programs[at].machine.token(self.now, &need) {
            TokenState::Ready(grant) => {
                match grant.proof(self.now, &request, Entropy::from_bytes([which; 32])) {
                    Some(proof) => {
                        assert!(grant.authorize(&mut request).is_err(), "without a proof");
                        let signature = signer::sign(&settings::key(proof.key()), proof.input());
                        let added = grant.authorize_with(&mut request, &proof, &signature);
                        assert!(added.is_ok(), "not added at home");
                    }
                    None => {
                        assert!(grant.authorize(&mut request).is_ok(), "not added at home");
                    }
                }
                Some(grant)
            }
            TokenState::NotRequired => None,
            _ => return,
        };
        let Ok(response) = self.world.handle(self.now.wall.0, &request) else { return };
        let machine = &self.programs[at].machine;
        match machine.judge(self.now, &request, &response, grant.as_ref(), &need) {
            Verdict::Refused(challenged) | Verdict::Again(challenged) => {
                self.event(at, Event::Challenged(challenged))
            }
            Verdict::Moved(to) => assert!(machine.check_home(&to).is_ok(), "sent away from home"),
            _ => {}
        }
    }

    /// An answer ends up at a machine that it isn't for.
    fn cross_feed(&mut self, at: usize) {
        let welcome = Demand::interactive(Need::default());
        self.bystander.handle(self.now, Event::Demand(welcome));
        if let Some(reply) = self.answer(at) {
            self.lock.take_if(|lock| *lock == (at, reply.number));
            self.bystander.handle(self.now, reply.event);
        }
        let mut outputs = std::iter::repeat_with(|| self.bystander.poll_output());
        assert!(
            outputs.by_ref().take(MOST_OUTPUTS).any(|output| matches!(output, Output::Wait(_)))
        );
    }

    /// The program is killed: what was not saved is gone.
    fn restart(&mut self, at: usize) {
        self.seeds = self.seeds.wrapping_add(1);
        let entropy = Entropy::from_bytes([self.seeds; 32]);
        if let Ok(machine) = AuthMachine::new(SERVER, self.config.clone(), entropy) {
            self.programs[at] = Program::new(machine, self.seeds.into());
            self.attempts.retain(|(by, _)| *by != at);
            self.lock.take_if(|(owner, _)| *owner == at);
        }
    }

    fn advance(&mut self, seconds: u64) {
        self.advance_to(self.now.mono.plus(Duration::from_secs(seconds)));
    }

    fn advance_to(&mut self, mono: Mono) {
        let by = self.now.mono.until(mono);
        self.now.wall = self.now.wall.plus(by);
        self.now.mono = self.now.mono.max(mono);
    }

    fn event(&mut self, at: usize, event: Event) {
        self.event_before(at, event);
        self.settle(at);
    }

    /// The event alone; what comes out of it is taken by [`Play::settle`].
    fn event_before(&mut self, at: usize, event: Event) {
        self.secrets.assert_hidden("an event", &format!("{event:?}"));
        let program = &mut self.programs[at];
        program.machine.handle(self.now, event);
        program.give_up(self.now.mono);
    }

    /// The hosts fall silent: every attempt ends by its deadlines. Then they wake up and save: what
    /// matters is in the store, and no lock is left.
    pub(super) fn end(mut self) {
        for at in [0, 1] {
            for _ in 0..MOST_DEADLINES {
                self.programs[at].exchange = None;
                self.programs[at].prompt = None;
                if !self.is_running(at) {
                    break;
                }
                self.pass_deadline(at);
            }
            assert!(!self.is_running(at), "an attempt that outlives its deadlines");
            // One that renews ahead never runs out of deadlines, nor does one whose secret ends.
            let mut servers = self.world.authorization.iter();
            let ends = servers.any(|server| server.registration.secret_lifetime.is_some());
            let most = if ends || self.config.refresh_proactively { 16 } else { MOST_DEADLINES };
            for _ in 0..most {
                self.run(at);
                if self.programs[at].deadline.is_none() {
                    break;
                }
                self.pass_deadline(at);
            }
            let program = &self.programs[at];
            program.laws.assert_kept();
            let idle = self.lock.filter(|(owner, call)| {
                *owner == at && program.parked.iter().all(|reply| reply.number != *call)
            });
            assert_eq!(idle, None, "a lock that nobody needs any more");
        }
        if self.honest {
            assert_eq!(self.world.leaks(), [], "a secret that went astray");
        }
    }

    fn is_running(&self, at: usize) -> bool {
        let machine = &self.programs[at].machine;
        self.attempts.iter().any(|(by, attempt)| *by == at && machine.is_running(*attempt))
    }

    fn pass_deadline(&mut self, at: usize) {
        if let Some(deadline) = self.programs[at].deadline {
            self.advance_to(deadline);
            self.event(at, Event::Tick);
        }
    }
}

fn need(which: u8) -> Need {
    let (operation, scopes) = NEEDS[usize::from(which) % NEEDS.len()];
    let operation = (!operation.is_empty()).then(|| operation.to_owned());
    Need { operation, scopes: mcp_auth::wire::scope::ScopeSet::parse(scopes) }
}

fn tool_call(tool: Option<&str>) -> Vec<u8> {
    let params = serde_json::json!({ "name": tool.unwrap_or("read_notes"), "arguments": {} });
    let message = serde_json::json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params,
    });
    message.to_string().into_bytes()
}
