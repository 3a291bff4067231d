//! What goes wrong.

use std::time::Duration;

use mcp_auth::{Action, Event, Mono};

use super::Crowd;
use super::dice::Dice;
use crate::faults::{Canned, Fault, NetworkError};
use crate::person::Person;
use crate::scenario::program::{Kind, Open, OpenState};

/// Which kinds of calamity a story may have.
#[derive(Debug)]
pub(super) struct Calamities {
    kills: bool,
    network: bool,
    disk: bool,
    silence: bool,
    pub(super) clocks: bool,
    people: bool,
    servers: bool,
    stops: bool,
}

impl Calamities {
    pub(super) fn roll(dice: &mut Dice) -> Self {
        let mut some = |percent| dice.percent(percent);
        Self {
            kills: some(60),
            network: some(40),
            disk: some(25),
            silence: some(25),
            clocks: some(25),
            people: some(50),
            servers: some(25),
            stops: some(30),
        }
    }
}

impl Crowd {
    pub(super) fn calamity(&mut self, at: usize) {
        let allowed = &self.allowed;
        match self.dice.below(8) {
            0 if allowed.kills => self.kill(at),
            1 if allowed.network => self.network_fails(),
            2 if allowed.disk => self.disk_fails(),
            3 if allowed.silence => self.falls_silent(at),
            4 if allowed.clocks => self.clock_jumps(),
            5 if allowed.people => self.people_interfere(at),
            6 if allowed.servers => self.servers_interfere(),
            7 if allowed.stops => self.stop(at),
            _ => {
                self.moves(at);
            }
        }
    }

    fn network_fails(&mut self) {
        let times = 1 + self.dice.below(2) as u32;
        let fault = match self.dice.below(3) {
            0 => Fault::answer_lost("POST", "/token"),
            1 => Fault::fails("*", "*", NetworkError::Unreachable),
            _ => Fault::answer("POST", "/token", Canned::new(503, "")),
        };
        let fault = fault.times(times).at("https://auth.example.com");
        self.say(|_| format!("the network will fail: {:?}, {times} times", fault.effect));
        self.s.world.faults.push(fault);
    }

    fn disk_fails(&mut self) {
        let (saves, loads) = (self.dice.percent(40), self.dice.percent(20));
        self.say(|_| {
            let works = |fails| if fails { "fail" } else { "work" };
            format!("saves {}, loads {}", works(saves), works(loads))
        });
        self.s.store.fail_saves(saves);
        self.s.store.fail_loads(loads);
    }

    /// What is open will not be answered in time.
    fn falls_silent(&mut self, at: usize) {
        let open = &mut self.s.switch_to(at).program().open;
        if let Some(open) = open.iter_mut().find(|open| open.kind == Kind::Exchange) {
            open.stuck = true;
            let label = open.label.clone();
            let done = matches!(open.state, OpenState::Answered(_));
            self.say(|_| {
                format!("{label} of {at} hangs, {}", if done { "done" } else { "undone" })
            });
        }
    }

    /// Whoever holds the lock is stopped; else this one.
    fn stop(&mut self, at: usize) {
        let at = self.s.store.locked_by.unwrap_or(at);
        if !std::mem::replace(&mut self.members[at].stopped, true) {
            self.say(|_| format!("{at} is stopped"));
        }
    }

    /// It goes on with what it was about to do, or learns first that its time is up.
    pub(super) fn resume(&mut self, at: usize) {
        self.members[at].stopped = false;
        self.say(|_| format!("{at} goes on"));
        let first = self.dice.percent(60);
        let late = self.dice.percent(50);
        self.s.switch_to(at).start();
        let now = self.s.now().mono;
        let open = &mut self.s.program().open;
        let Some(index) = open.iter().position(|o| o.kind == Kind::Exchange && !o.stuck) else {
            return;
        };
        let it = &mut open[index];
        match &it.state {
            OpenState::Answered(_) if first => self.deliver(at, index),
            // A disk has no deadlines.
            OpenState::Asked(Action::Save(call)) if first || late => {
                if !first && it.until <= now {
                    let record = call.record().map(<[u8]>::to_vec);
                    it.kind = Kind::Late;
                    self.save_failed(self.members[at].run, record.as_deref());
                } else {
                    self.perform(at, index);
                    self.deliver(at, index);
                }
            }
            _ => {}
        }
    }

    fn clock_jumps(&mut self) {
        let by = self.dice.pick(&[-86_400, -4000, 4000, 86_400]);
        self.say(|_| format!("the wall clock is set by {by} s"));
        self.s.set_wall_clock(by);
    }

    fn people_interfere(&mut self, at: usize) {
        self.wake(at);
        match self.dice.below(5) {
            0 => {
                self.say(|_| format!("somebody logs out of {at}"));
                self.ledger.ended(self.members[at].run, "its receiver has logged out");
                self.client_lost |= self.members[at].renewed;
                let open = &self.s.switch_to(at).program().open;
                let loads = open.iter().any(|open| open.label == "load");
                let ignores_load = loads && !self.ledger.has_read(self.members[at].run);
                let member = &mut self.members[at];
                member.ignores_load = ignores_load;
                (member.forgot, member.forgetting) = (true, true);
                self.s.switch_to(at).handle(Event::Forget);
                self.moves(at);
            }
            1 | 2 => {
                if let Some((attempt, _)) = self.members[at].attempts.first().copied() {
                    self.say(|_| format!("who asked {at} first waits no more"));
                    self.s.switch_to(at).handle(Event::Cancel(attempt));
                    self.moves(at);
                }
            }
            _ => {
                self.s.person = match self.dice.below(4) {
                    0 => Person::Denies,
                    1 => Person::Ignores,
                    _ => Person::Approves,
                };
                self.say(|c| format!("who sits at the browser: {:?}", c.s.person));
            }
        }
    }

    fn servers_interfere(&mut self) {
        if self.dice.percent(30) {
            self.say(|_| "the authorization server ends all logins".to_owned());
            self.revoked = true;
            self.s.world.authorization[0].revoke_everything();
        } else if let Some(token) = self.s.world.newest_access_token().map(str::to_owned) {
            self.say(|_| "the MCP server refuses the newest access token from now on".to_owned());
            self.s.world.resource.revoke(&token);
        }
    }

    pub(super) fn some_time_passes(&mut self, at: usize) {
        let seconds = match self.dice.below(10) {
            0..5 => 2,
            5 => 40,
            6 => 100,
            7 => 4000,
            // Up to what a program waits for.
            _ => {
                let Some(deadline) = self.members[at].deadline else { return };
                let left = self.s.switch_to(at).now().mono.until(deadline);
                left.as_secs() + 1
            }
        };
        // Unless somebody falls silent, all are answered before long who don't wait for somebody that
        // is stopped.
        if seconds <= 2 || self.allowed.silence || !self.anybody_waits() {
            self.time_passes(seconds);
        }
    }

    fn anybody_waits(&self) -> bool {
        let stopped = |at: usize| self.members.get(at).is_some_and(|member| member.stopped);
        let hangs = self.s.store.locked_by.is_some_and(stopped);
        let programs = self.s.programs.iter().enumerate().filter(|(at, _)| !stopped(*at));
        programs.filter_map(|(_, program)| program.as_ref()).any(|program| {
            let now = Mono(self.s.mono.saturating_sub(program.started));
            let waits = |o: &Open| o.kind != Kind::Redirect && o.until > now;
            program.open.iter().any(|o| waits(o) && !(hangs && o.label == "lock"))
        })
    }

    pub(super) fn time_passes(&mut self, seconds: u64) {
        self.say(|_| format!("{seconds} s pass"));
        self.s.pass(Duration::from_secs(seconds));
    }

    /// Nothing goes wrong any more.
    pub(super) fn relieve(&mut self) {
        self.s.world.faults.clear();
        self.s.store.fail_saves(false);
        self.s.store.fail_loads(false);
        self.s.person = Person::Approves;
        for at in 0..self.members.len() {
            if self.members[at].stopped {
                self.resume(at);
            }
        }
        for program in self.s.programs.iter_mut().flatten() {
            program.open.iter_mut().for_each(|open| open.stuck = false);
        }
    }
}
