//! Answers: the true ones, others, and what a machine makes of them.

use mcp_auth::output::{FoundKey, FoundSecret, Purpose};
use mcp_auth::wire::jws::{PublicKey, signed};
use mcp_auth::{HostError, Revision, Secret, TokenStatus};

use super::Play;
use crate::Visit;
use crate::fuzz::host::{self, Exchange, Prompt, Reply, Said};
use crate::fuzz::{settings, twist};
use crate::marks::Saved;
use crate::signer;

impl Play {
    /// The true answer to what is asked for.
    pub(super) fn answer(&mut self, at: usize) -> Option<Reply> {
        let misled = self.programs.iter().any(|program| program.misled);
        let program = &mut self.programs[at];
        let wall = self.now.wall.0;
        if let Some(pending) = program.exchange.take() {
            let mine = (at, pending.number);
            return Some(pending.reply(|call| match call {
                Exchange::Load(call) if call.lock() => {
                    if self.lock.is_some_and(|(owner, _)| owner != at) {
                        program.misled = true;
                        return (call.answer(Err(HostError::busy("locked"))), Said::Prompted);
                    }
                    self.lock = Some(mine);
                    host::loaded(call, self.store.clone())
                }
                Exchange::Load(call) => host::loaded(call, self.store.clone()),
                Exchange::Save(call) => {
                    let there = Revision::of(self.store.as_deref());
                    if call.expected().is_some_and(|expected| expected != there) {
                        let conflict = HostError::conflict("something else is stored");
                        return (call.answer(Err(conflict)), Said::Prompted);
                    }
                    let after = call.record().map(<[u8]>::to_vec);
                    let before = std::mem::replace(&mut self.store, after);
                    let (after, mono) = (self.store.as_deref(), self.now.mono.0);
                    let excused = self.planted || misled || program.forgot;
                    let before = before.as_deref();
                    let saved = Saved { run: program.run, at: mono, before, after, excused };
                    if self.marks.saved(&saved).is_some() {
                        (program.has_turn, program.listens) = (true, false);
                    }
                    host::saved(call, Ok(()))
                }
                Exchange::Secret(call) => {
                    let found = settings::secret_at(&self.config, call.place());
                    if let Some((value, home)) = &found {
                        self.secrets.add(value, home.clone());
                        self.configured.insert(value.clone());
                    }
                    let found = found.map(|(value, _)| FoundSecret::new(Secret::new(value)));
                    (call.answer(Ok(found)), Said::Prompted)
                }
                Exchange::Key(call) => {
                    let key = settings::key(call.key());
                    let found = FoundKey::new(signer::public_key(&key));
                    (call.answer(Ok(found)), Said::Prompted)
                }
                Exchange::Sign(call) => {
                    let signature = signer::sign(&settings::key(call.key()), call.input());
                    let input = String::from_utf8_lossy(call.input());
                    let jwt = signed(&input, &signature);
                    self.secrets.add(jwt.expose(), settings::home_of_signed(&self.config, &input));
                    (call.answer(Ok(signature)), Said::Prompted)
                }
                Exchange::Http(call) => {
                    let response = host::ask(&mut self.world, wall, &call);
                    host::answered(call, response, 0)
                }
            }));
        }
        let pending = program.prompt.take()?;
        Some(pending.reply(|call| match call {
            Prompt::Listen(call) => {
                let bound = host::bound(&call);
                (call.answer(Ok(bound)), Said::Prompted)
            }
            Prompt::Browse(call) => {
                let (url, person) = (call.url().to_string(), self.world.person.clone());
                if let Visit::Redirect(back) = self.world.visit(wall, &url, &person) {
                    self.secrets.read_redirect(&back, &url);
                    program.redirects.push(back);
                }
                (call.answer(Ok(())), Said::Prompted)
            }
            Prompt::ShowCode(call) => {
                let person = self.world.person.clone();
                let _ = self.world.enter_code(wall, call.user_code(), &person);
                (call.answer(Ok(())), Said::Prompted)
            }
        }))
    }

    /// Another answer than the true one.
    pub(super) fn twist(&mut self, at: usize, how: u8, detail: u8) {
        let Some(pending) = self.programs[at].exchange.take() else { return };
        self.programs[at].misled |= !matches!(pending.call, Exchange::Http(_));
        let mine = (at, pending.number);
        let wall = self.now.wall.0;
        let reply = pending.reply(|call| match call {
            Exchange::Load(call) => {
                let garbage: [&[u8]; 4] = [b"", b"{}", br#"{"version":99}"#, b"\xff{]"];
                match how % 8 {
                    0 => (call.answer(Err(HostError::new("no disk"))), Said::Prompted),
                    1 => (call.answer(Err(HostError::busy("locked"))), Said::Prompted),
                    _ if call.lock() && self.lock.is_some_and(|(owner, _)| owner != at) => {
                        (call.answer(Err(HostError::busy("locked"))), Said::Prompted)
                    }
                    which => {
                        if call.lock() {
                            self.lock = Some(mine);
                        }
                        host::loaded(call, garbage.get(usize::from(which)).map(|g| g.to_vec()))
                    }
                }
            }
            Exchange::Save(call) => host::saved(call, Err(HostError::new("the disk is full"))),
            Exchange::Secret(call) => {
                let texts = [" \n", "two\r\nlines", "wrong-secret"];
                let found = texts.get(usize::from(how) % 5);
                self.configured.extend(found.map(|text| text.trim().to_owned()));
                let found = found.map(|text| FoundSecret::new(Secret::from(*text)).exposed());
                let failed = how % 5 == 4;
                let result = if failed { Err(HostError::new("locked")) } else { Ok(found) };
                (call.answer(result), Said::Prompted)
            }
            Exchange::Key(call) => {
                let keys = [PublicKey::rsa(&[9; 9], &[1]), PublicKey::ec("P-521", &[1], &[2])];
                let key = keys.get(usize::from(how) % 3).cloned();
                let found = key.map(|key| FoundKey::new(key).exposed());
                (call.answer(found.ok_or_else(|| HostError::new("locked"))), Said::Prompted)
            }
            Exchange::Sign(call) => {
                let signatures = [Vec::new(), vec![0; 64], vec![0; 1 << 16]];
                let signature = signatures.get(usize::from(how) % 4).cloned();
                let result = signature.ok_or_else(|| HostError::new("locked"));
                (call.answer(result), Said::Prompted)
            }
            Exchange::Http(call) => {
                let metadata =
                    matches!(call.purpose(), Purpose::ServerMetadata | Purpose::ResourceMetadata);
                self.honest &= !metadata;
                let response = match how % 4 {
                    0 => twist::instead(detail % 12, detail / 12),
                    1 => {
                        // The server acts, and the answer is lost.
                        host::ask(&mut self.world, wall, &call);
                        None
                    }
                    how => host::ask(&mut self.world, wall, &call).map(|mut response| {
                        match how {
                            2 => twist::change_member(&mut response, detail),
                            _ => twist::change_bytes(&mut response, detail, how ^ detail),
                        }
                        response
                    }),
                };
                host::answered(call, response, detail)
            }
        });
        self.deliver(at, reply);
    }

    pub(super) fn deliver(&mut self, at: usize, reply: Reply) {
        let Reply { event, said, number, forgotten, late, .. } = reply;
        let wall = self.now.wall;
        let program = &mut self.programs[at];
        program.misled |= late;
        let before = program.machine.status();
        let generation = |status: &Option<TokenStatus>| status.as_ref().map(|s| s.generation);
        if late {
            // A host that is late with a lock gives it back itself.
            self.lock.take_if(|lock| *lock == (at, number));
        }
        match &said {
            Said::Saved(record) if !forgotten => program.laws.saved(record.as_deref()),
            Said::Http(purpose, request, Some(response)) => {
                let from = request.uri().to_string();
                self.secrets.read(*purpose, &from, response, wall);
                if *purpose == Purpose::Token && forgotten {
                    program.laws.forget_answer(response, wall);
                } else if *purpose == Purpose::Token {
                    let in_time = !late || program.given_up == Some(number);
                    program.laws.token_answer(request.body(), response, wall, in_time);
                }
            }
            _ => {}
        }
        self.event_before(at, event);
        let program = &mut self.programs[at];
        let after = program.machine.status();
        let refreshable =
            |status: &Option<TokenStatus>| status.as_ref().is_some_and(|s| s.refreshable);
        if let Said::Loaded(record) = &said {
            if generation(&after) != generation(&before) {
                assert!(!forgotten, "what was forgotten came back");
                assert!(
                    record.is_some()
                        || before
                            .is_none_or(|b| b.saved || !program.laws.holds_login(b.generation)),
                    "an empty store took away tokens"
                );
                program.laws.adopted(record.as_deref(), generation(&after));
                settings::plant_record(record.as_deref(), &mut self.secrets);
            } else if refreshable(&before) && !refreshable(&after) {
                program.laws.ended(record.as_deref());
            }
        }
        self.settle(at);
    }

    pub(super) fn fail_prompt(&mut self, at: usize, how: u8) {
        let Some(pending) = self.programs[at].prompt.take() else { return };
        let failed = || Err(HostError::new("it can't be done"));
        let reply = pending.reply(|call| match call {
            Prompt::Listen(call) if how % 8 == 6 => {
                (call.answer(Err(HostError::headless("no screen"))), Said::Prompted)
            }
            Prompt::Listen(call) if how.is_multiple_of(2) => {
                (call.answer(failed()), Said::Prompted)
            }
            Prompt::Listen(call) => (call.answer(Ok("nonsense".to_owned())), Said::Prompted),
            Prompt::Browse(call) if how % 4 == 2 => {
                (call.answer(Err(HostError::headless("no screen"))), Said::Prompted)
            }
            Prompt::ShowCode(call) if how.is_multiple_of(2) => {
                (call.answer(failed().map(|_: String| ())), Said::Prompted)
            }
            Prompt::ShowCode(call) => (call.answer(Ok(())), Said::Prompted),
            Prompt::Browse(call) if how.is_multiple_of(2) => {
                (call.answer(failed().map(|_: String| ())), Said::Prompted)
            }
            Prompt::Browse(call) => (call.answer(Ok(())), Said::Prompted),
        });
        self.deliver(at, reply);
    }
}
