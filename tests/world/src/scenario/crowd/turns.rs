//! One turn: somebody moves, and the laws are asked.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mcp_auth::output::Purpose;
use mcp_auth::{Action, AttemptId, Demand, ErrorKind, Event, Notice, TokenState};

use super::ledger::UNSAVED;
use super::{Crowd, Member, TOOL};
use crate::faults::NetworkError;
use crate::laws::What;
use crate::log::{Detail, Outcome};
use crate::marks::{Saved, Taken, client_ports, former_port};
use crate::scenario::program::{Kind, Open, OpenState};
use crate::scenario::{Stepped, need};
use crate::text::Form;

impl Crowd {
    pub(super) fn turn(&mut self) {
        let at = self.dice.below(self.members.len());
        let roll = self.dice.below(100);
        if self.members[at].stopped && !matches!(roll, 82..90) {
            match roll {
                0..10 => self.resume(at),
                97.. => self.kill(at),
                _ => {}
            }
            return;
        }
        match roll {
            0..62 => {
                self.moves(at);
            }
            62..72 => {
                let person = self.dice.percent(25);
                self.ask(at, person);
            }
            72..82 => {
                let tool = self.tool();
                self.use_token(at, tool);
            }
            82..90 => self.some_time_passes(at),
            _ => self.calamity(at),
        }
    }

    /// A program takes its outputs, and one thing that is open goes on. `false`: there is nothing
    /// to do for it but wait.
    pub(super) fn moves(&mut self, at: usize) -> bool {
        let told = self.outputs(at);
        self.wake(at);
        let now = self.s.now().mono;
        if self.members[at].deadline.is_some_and(|deadline| deadline <= now) {
            self.tick(at);
            return true;
        }
        let lock_is_free = self.s.store.is_free_for(at);
        let open = &self.s.program().open;
        let can = |open: &Open| {
            let asked = matches!(open.state, OpenState::Asked(_));
            !open.stuck && (lock_is_free || !asked || open.label != "lock")
        };
        let able: Vec<usize> = (0..open.len()).filter(|index| can(&open[*index])).collect();
        let Some(index) = able.get(self.dice.below(able.len())) else { return told };
        match &self.s.program().open[*index].state {
            OpenState::Asked(_) => self.perform(at, *index),
            OpenState::Answered(_) => self.deliver(at, *index),
        }
        true
    }

    /// Takes all outputs; whether there were any.
    fn outputs(&mut self, at: usize) -> bool {
        self.s.switch_to(at).start();
        let mut any = false;
        loop {
            match self.s.step() {
                Stepped::Waits(deadline) => {
                    self.members[at].deadline = deadline;
                    break;
                }
                Stepped::Asked(label) => {
                    self.say(|_| format!("{at} wants to: {label}"));
                    self.asked(at, &label);
                }
                Stepped::Told(notice) => {
                    self.say(|_| format!("{at} says: {notice}"));
                    if matches!(notice, Notice::Authorized) {
                        self.members[at].returned_at = self.s.wall;
                    }
                    if matches!(notice, Notice::Adopted) {
                        // Somebody has logged in since the logout.
                        self.members[at].forgetting = false;
                    }
                    if matches!(notice, Notice::SaveFailed(_)) {
                        // Until it tries again, others have the client as it was.
                        self.client_lost |= self.members[at].renewed;
                        self.members[at].unsaved = true;
                        self.ledger.could_not_save(self.members[at].run);
                    }
                    self.members[at].cut_off |= match notice {
                        Notice::SaveFailed(_) => true,
                        // Its client is doubtful, whether or not that could be saved.
                        Notice::Failed(error) => {
                            matches!(error.kind(), ErrorKind::NobodyCame { .. })
                        }
                        _ => false,
                    };
                }
                Stepped::Released => self.say(|_| format!("{at} releases the lock")),
                Stepped::Showed(..) | Stepped::Dismissed => {}
            }
            any = true;
        }
        self.check(at);
        any
    }

    /// Laws about what a program does next.
    fn asked(&mut self, at: usize, label: &str) {
        if label == "browse" {
            let machine = &self.s.program().machine;
            let waits =
                |(attempt, welcome): &(AttemptId, bool)| *welcome && machine.is_running(*attempt);
            let waits = self.members[at].attempts.iter().any(waits);
            assert!(waits, "{at} opens a browser, and nobody who waits has welcomed it");
            let Member { has_turn, cut_off, unsaved, .. } = self.members[at];
            let excused = cut_off || unsaved;
            assert!(has_turn || excused, "{at} opens a browser, and the others don't know of it");
        }
        let Some(Open { state: OpenState::Asked(Action::Http(call)), .. }) =
            self.s.program().open.last()
        else {
            return;
        };
        match call.purpose() {
            Purpose::Registration => {
                let Member { clients, cut_off, unsaved, .. } = &self.members[at];
                let knew = !clients.is_empty() && !cut_off && !unsaved && !self.secret_ends;
                assert!(!knew, "{at} registers, and there was a client when it began");
            }
            Purpose::Upkeep => {
                let holder = self.s.store.locked_by;
                assert_eq!(holder, Some(at), "{at} sees to the client without the lock");
            }
            Purpose::Token => {
                let form = Form::parse(call.request().body());
                let Some(refresh) = form.get("refresh_token").map(str::to_owned) else { return };
                if self.members[at].blind || self.ledger.was_sent_blindly(&refresh) {
                    self.ledger.sent_blindly(refresh);
                    return;
                }
                self.ledger.sent(&refresh);
                // Who has logged out needs the lock no more, whatever is still out.
                let others = (0..self.members.len())
                    .filter(|other| *other != at && !self.members[*other].forgetting)
                    .filter(|other| !self.members[*other].counts_as_dead);
                let rival = others.into_iter().find(|other| {
                    self.s.programs.get(*other).into_iter().flatten().any(|program| {
                        let now = mcp_auth::Mono(self.s.mono.saturating_sub(program.started));
                        program.open.iter().any(|open| match &open.state {
                            OpenState::Asked(Action::Http(call)) if open.until > now => {
                                Form::parse(call.request().body()).get("refresh_token")
                                    == Some(&refresh)
                            }
                            _ => false,
                        })
                    })
                });
                assert_eq!(rival, None, "{at} refreshes what another refreshes just now");
            }
            _ => {}
        }
    }

    /// Laws about what a program has when it waits.
    fn check(&mut self, at: usize) {
        let now = self.s.now();
        let program = self.s.program();
        let run = self.members[at].run;
        if let TokenState::Ready(grant) = program.machine.token(now, &need(TOOL)) {
            self.ledger.lent(run, grant.access_token().expose());
        }
        let idle = program.open.iter().all(|open| open.kind != Kind::Exchange);
        let saved = program.machine.status().is_none_or(|status| status.saved);
        let member = &mut self.members[at];
        let busy = member.attempts.iter().any(|(id, _)| program.machine.is_running(*id));
        if !busy {
            member.attempts.clear();
            if idle && !member.unsaved {
                (member.has_turn, member.cut_off) = (false, false);
            }
            if idle && saved && self.members[at].deadline.is_none() {
                self.ledger.at_rest(run);
            }
        }
    }

    pub(super) fn tick(&mut self, at: usize) {
        self.say(|_| format!("{at} learns that its time is up"));
        self.wake(at);
        self.s.handle(Event::Tick);
        self.outputs(at);
    }

    /// A program is about to be told something. Its host keeps the deadline of what it was asked
    /// for: later it does it no more.
    pub(super) fn wake(&mut self, at: usize) {
        self.s.switch_to(at).start();
        let now = self.s.now().mono;
        let open = &mut self.s.program().open;
        let due = |o: &Open| o.until <= now && o.kind == Kind::Exchange;
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(open).into_iter().partition(due);
        *open = rest;
        for mut late in due {
            if let Some(number) = late.brings {
                self.ledger.excuse(number, "the answer came too late");
            }
            self.client_lost |= late.label.contains("/register/");
            if late.label == "lock" {
                let member = &mut self.members[at];
                (member.blind, member.vain) = (false, member.vain + 1);
                if member.vain == 1 {
                    member.vain_since = self.s.mono;
                }
            }
            self.members[at].ignores_load &= late.label != "load";
            // It doesn't learn that others were faster, or what is stored now.
            self.cannot_read_again(at);
            match &late.state {
                OpenState::Answered(_) if late.label == "lock" => {
                    self.say(|_| format!("the host of {at} gives the lock back"));
                    self.s.store.release(at);
                }
                OpenState::Asked(Action::Save(call)) => {
                    self.client_lost |= self.members[at].renewed;
                    let record = call.record().map(<[u8]>::to_vec);
                    self.save_failed(self.members[at].run, record.as_deref());
                }
                OpenState::Answered(_) if late.record.is_some() => {
                    let run = self.members[at].run;
                    match late.record.take() {
                        Some((record, true)) => {
                            self.ledger.known_to(run, record.as_deref());
                            self.ledger.unanswered(record.as_deref());
                        }
                        Some((record, false)) => self.save_failed(run, record.as_deref()),
                        None => {}
                    }
                }
                // It comes after all.
                OpenState::Answered(_) if late.label.contains("/token") => {
                    late.stuck = false;
                    if self.dice.percent(50) {
                        self.say(|_| format!("the answer for {at} comes late: {}", late.label));
                        self.s.program().open.push(Open { kind: Kind::Late, ..late });
                        continue;
                    }
                }
                _ => {}
            }
            if ["load", "lock", "save"].contains(&late.label.as_str()) {
                self.members[at].cut_off = true;
                self.ledger.could_not_save(self.members[at].run);
            }
            self.say(|_| format!("nobody answers {at} in time"));
        }
    }

    /// Whoever was overtaken and can't read what is stored now has not saved.
    fn cannot_read_again(&mut self, at: usize) {
        if let Some(record) = self.members[at].overtaken.take() {
            self.save_failed(self.members[at].run, Some(&record));
        }
    }

    pub(super) fn save_failed(&mut self, run: usize, record: Option<&[u8]>) {
        for member in self.members.iter_mut().filter(|member| member.run == run) {
            // Perhaps it was about to say that it asks its person.
            (member.unsaved, member.cut_off) = (true, true);
        }
        if let Some(number) = self.ledger.number(record) {
            self.ledger.excuse(number, UNSAVED);
        }
        self.ledger.known_to(run, record);
    }

    pub(super) fn perform(&mut self, at: usize, index: usize) {
        let before = self.s.store.bytes.clone();
        let logged = self.s.world.log.len();
        let open = &self.s.program().open[index];
        let (label, run) = (open.label.clone(), self.members[at].run);
        let mut record = None;
        let mut paid_with = None;
        match &open.state {
            OpenState::Asked(Action::Save(call)) => {
                record = Some(call.record().map(<[u8]>::to_vec));
            }
            OpenState::Asked(Action::Http(call)) => {
                paid_with =
                    Form::parse(call.request().body()).get("refresh_token").map(str::to_owned);
            }
            _ => {}
        }
        if label == "listen" {
            // A client whose port another program listens at is of no use.
            let taken: Vec<_> = self.s.listening_ports().collect();
            self.members[at].clients.retain(|port| !taken.contains(port));
        }
        let (saves, conflicts) = (self.s.store.saves, self.s.store.conflicts);
        if record.is_some() {
            let awaited = renewal(before.as_deref())["awaited"].as_u64();
            self.members[at].long_awaited = awaited.is_some_and(|at| at + 600 <= self.s.wall);
        }
        self.s.perform_at(index);
        if let Some(record) = record {
            let done = self.s.store.saves > saves;
            let conflict = self.s.store.conflicts > conflicts;
            let words = match (done, conflict) {
                (true, _) => "is done",
                (_, true) => "comes too late: something else is stored by now",
                _ => "fails",
            };
            self.say(|c| {
                let number = c.ledger.number(record.as_deref());
                format!("the {label} of {at} {words}: tokens {number:?}")
            });
            let member = &mut self.members[at];
            member.conflicts = if conflict { member.conflicts + 1 } else { 0 };
            if conflict && !member.conflicts.is_multiple_of(5) {
                // It reads again, and tries again at once.
                member.overtaken = record;
                return;
            }
            self.client_lost |= self.secret_ends && !done;
            if done {
                self.members[at].renewed = false;
                let server = &self.s.world.authorization[0];
                let takes = |refresh: &str| server.takes_refresh_token(self.s.wall, refresh);
                let forgot = self.members[at].forgot;
                let change = (before.as_deref(), record.as_deref());
                self.ledger.saved(run, change, forgot, takes);
                self.overtakes(at, change);
                self.turn_was_saved(at, change);
            }
            if let Some(open) = self.s.program().open.get_mut(index) {
                open.record = Some((record, done));
            }
            return;
        }
        if (label == "load" || label == "lock") && !self.s.store.fails_loads() {
            let bytes = self.s.store.bytes.clone();
            if let Some(open) = self.s.program().open.get_mut(index) {
                open.record = Some((bytes, true));
            }
        }
        let update = self.s.world.log.get(logged..).and_then(<[_]>::first);
        if let Some(update) = update.filter(|exchange| exchange.is(What::RegistrationUpdates)) {
            let spent = update.answer == Ok(401);
            assert!(!spent || self.client_lost, "{at} shows a token that another has spent");
            self.members[at].renewed = update.answer == Ok(200);
            self.client_lost |= update.answer != Ok(200);
        }
        let refused = self.s.world.log.get(logged..).and_then(<[_]>::first).is_some_and(|exchange| {
            matches!(&exchange.detail, Detail::Token(t) if matches!(t.outcome, Outcome::Refused(_)))
        });
        if let Some(paid) = paid_with.as_ref().filter(|_| refused) {
            self.ledger.refused(paid);
        }
        let brings = self.s.world.log.get(logged..).and_then(<[_]>::first).and_then(|exchange| {
            match &exchange.detail {
                Detail::Token(token) if token.outcome == Outcome::Granted => {
                    Some(exchange.answer.err())
                }
                _ => None,
            }
        });
        if let Some(lost) = brings {
            let server = &self.s.world.authorization[0];
            let returned_at = self.members[at].returned_at;
            let number = self.ledger.issued(server, run, paid_with.as_deref(), returned_at);
            if self.members[at].counts_as_dead {
                self.ledger.excuse(number, "its receiver counts as dead");
            }
            if self.members[at].forgetting {
                self.ledger.excuse(number, "its receiver has logged out");
            }
            if matches!(lost, Some(NetworkError::Reset)) {
                self.ledger.excuse(number, "the answer was lost");
            }
            if let Some(open) = self.s.program().open.get_mut(index) {
                open.brings = Some(number);
            }
        }
        self.say(|c| {
            let answer = c.s.world.log.get(logged..).and_then(<[_]>::first);
            let answer = answer.map(|exchange| match exchange.answer {
                Ok(status) => format!(": {status}"),
                Err(error) => format!(": {error}"),
            });
            let tokens = c.s.programs[at].as_ref().and_then(|p| p.open.get(index)?.brings);
            let tokens = tokens.map(|number| format!(", tokens {number}"));
            format!(
                "{label} of {at} is done{}{}",
                answer.unwrap_or_default(),
                tokens.unwrap_or_default()
            )
        });
    }

    /// From this mark on, whoever holds the lock, or has marked before without it, counts as dead. Should it wake up
    /// now, it may still be too late for the overtaker to notice.
    fn overtakes(&mut self, at: usize, (before, after): (Option<&[u8]>, Option<&[u8]>)) {
        // Whoever saves others, and says that it refreshes those, overtakes nobody.
        let same = self.ledger.number(before) == self.ledger.number(after);
        let awaited = renewal(before)["awaited"] != renewal(after)["awaited"];
        let (before, after) = (renewal(before)["mark"].take(), renewal(after)["mark"].take());
        let own = before["by"].as_str().is_some_and(|by| self.members[at].mark == by);
        if let Some(by) = after["by"].as_str().filter(|by| before["by"] != *by) {
            let member = &mut self.members[at];
            (member.mark, member.counts_as_dead) = (by.to_owned(), false);
        }
        let dated = self.dated;
        if before != after || awaited {
            self.dated = self.s.mono;
        }
        let lockless = |mark: &serde_json::Value| mark["lockless"] == true;
        if (lockless(&after) || lockless(&before) && !own && same)
            && after["by"].is_string()
            && after["by"] != before["by"]
        {
            let Member { vain, vain_since, long_awaited, blind, .. } = self.members[at];
            // Where the clock was set meanwhile, what was long ago when it was judged may be so no more.
            let jumped = self.jumped.is_some_and(|at| at >= dated.min(vain_since));
            let old = before["at"].as_u64().is_some_and(|at| self.s.wall >= at + 300);
            let waited = self.s.mono >= vain_since + Duration::from_secs(600);
            let long = long_awaited || waited || jumped;
            let patient =
                vain >= 4 || if lockless(&after) { vain >= 1 && long } else { old || long };
            assert!(patient || blind, "{at} refreshes without the lock after {vain} waits");
            super::OVERTAKEN.fetch_add(1, Ordering::Relaxed);
            let holder = self.s.store.locked_by;
            let by = before["by"].as_str();
            for (other, member) in self.members.iter_mut().enumerate().filter(|(o, _)| *o != at) {
                if holder == Some(other) || by == Some(&member.mark) {
                    self.ledger.ended(member.run, "its receiver counts as dead");
                    // Also what comes for a request that it has sent by now.
                    member.counts_as_dead = true;
                }
            }
        }
    }

    fn turn_was_saved(&mut self, at: usize, (before, after): (Option<&[u8]>, Option<&[u8]>)) {
        let member = &self.members[at];
        let excused = member.forgot;
        let saved = Saved { run: member.run, at: self.s.mono, before, after, excused };
        if let Some(taken) = self.marks.saved(&saved) {
            let clients = client_ports(after);
            // A turn that goes on may have brought a client of its own; that of the tokens stays, too.
            let former = former_port(after).filter(|_| taken == Taken::SaidAgain);
            let is_kept = |port: &u16| clients.contains(port) || former == Some(*port);
            let kept = client_ports(before).iter().all(is_kept);
            let excused = excused || member.cut_off || member.unsaved;
            assert!(kept || excused, "{at} forgets a client when it takes its turn");
            let member = &mut self.members[at];
            member.has_turn = true;
            if taken == Taken::Anew {
                member.clients = clients;
            }
        }
    }

    pub(super) fn deliver(&mut self, at: usize, index: usize) {
        let open = &self.s.program().open[index];
        let label = open.label.clone();
        let brings = open.brings;
        let run = self.members[at].run;
        let mut record = open.record.clone();
        if open.kind == Kind::Late
            && let Some((record, true)) = record.take()
        {
            // It has not waited for this answer.
            self.ledger.unanswered(record.as_deref());
        }
        let open = &self.s.program().open[index];
        if let OpenState::Answered(Event::Redirected(redirected)) = &open.state
            && self.dice.percent(20)
        {
            let url = redirected.url.expose().clone();
            self.s.tickets += 1;
            let again = Open::redirect(self.s.tickets, url);
            self.s.program().open.push(again);
        }
        self.say(|_| format!("{at} learns of: {label}"));
        if label == "lock" && record.is_none() {
            self.ledger.could_not_save(run);
        }
        self.s.deliver_at(index);
        if let Some(number) = brings {
            self.ledger.arrived(number);
        }
        if label == "lock" {
            // Somebody goes on without it: that is waited for like the lock.
            let stored = record.as_ref().and_then(|(stored, _)| stored.as_deref());
            let lockless = renewal(stored)["mark"]["lockless"] == true;
            let member = &mut self.members[at];
            member.blind = record.is_none();
            member.vain = if lockless { member.vain + 1 } else { 0 };
        }
        if label == "load" && record.is_none() {
            self.cannot_read_again(at);
        }
        // Whoever has logged out before its first load was answered takes nothing of it in.
        let ignored = label == "load" && std::mem::take(&mut self.members[at].ignores_load);
        let unread = (label == "load" || label == "lock") && record.is_none();
        let member = &mut self.members[at];
        member.cut_off |= unread;
        member.blind |= unread;
        if label == "load" || label == "lock" {
            self.members[at].overtaken = None;
        }
        if let Some((record, done)) = record {
            if done {
                if !ignored {
                    self.ledger.seen_by(run, record.as_deref());
                }
                self.ledger.known_to(run, record.as_deref());
                let member = &mut self.members[at];
                member.unsaved &= label != "save" && label != "erase";
                member.forgetting &= label != "erase";
            } else {
                self.save_failed(run, record.as_deref());
            }
        }
        self.outputs(at);
    }

    fn tool(&mut self) -> &'static str {
        if self.dice.percent(80) { TOOL } else { "write_note" }
    }

    fn ask(&mut self, at: usize, person: bool) {
        let tool = self.tool();
        let demand = if person { Demand::interactive } else { Demand::background };
        let mut demand = demand(need(tool));
        if person && self.dice.percent(20) {
            demand = demand.fresh();
        }
        self.ask_for(at, demand, person);
    }

    pub(super) fn ask_for(&mut self, at: usize, demand: Demand, person: bool) -> AttemptId {
        let who = if person { "a person asks" } else { "somebody asks in the background" };
        self.say(|_| format!("{who} {at} for a token"));
        self.wake(at);
        let attempt = self.s.demand(demand);
        self.members[at].attempts.push((attempt, person));
        self.outputs(at);
        attempt
    }

    /// Somebody uses the token at hand, if there is one; a refusal is reported.
    pub(super) fn use_token(&mut self, at: usize, tool: &str) -> Option<u16> {
        self.wake(at);
        let TokenState::Ready(grant) = self.s.token_for(&need(tool)) else {
            return None;
        };
        let response = self.s.send(tool, Some(&grant));
        self.say(|_| format!("{at} calls {tool}: {}", response.status()));
        self.s.report(tool, &response, Some(&grant));
        self.outputs(at);
        Some(response.status().as_u16())
    }

    /// The program is killed, and started again when it is next needed.
    pub(super) fn kill(&mut self, at: usize) {
        self.say(|c| {
            let open = c.s.programs.get(at).and_then(Option::as_ref).map(|program| {
                let open = program.open.iter().map(|o| match o.state {
                    OpenState::Asked(_) => format!("before {}", o.label),
                    OpenState::Answered(_) => format!("{} unanswered", o.label),
                });
                open.collect::<Vec<_>>().join(", ")
            });
            format!("{at} is killed ({})", open.unwrap_or_default())
        });
        self.client_lost |= self.members[at].renewed;
        self.s.switch_to(at).crash();
        self.ledger.ended(self.members[at].run, "its receiver was killed");
        self.members[at] = Member { run: self.ledger.run(), ..Member::default() };
    }
}

/// What a stored record says of the renewal of its tokens.
fn renewal(stored: Option<&[u8]>) -> serde_json::Value {
    let record = stored.and_then(|stored| serde_json::from_slice::<serde_json::Value>(stored).ok());
    record.map(|mut record| record["tokens"]["renewal"].take()).unwrap_or_default()
}
