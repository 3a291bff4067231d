//! What must hold for one machine, whatever happens to it.

use std::collections::{BTreeMap, BTreeSet};

use mcp_auth::wire::failure::Failure;
use mcp_auth::wire::token::TokenReply;
use mcp_auth::{AttemptId, AuthMachine, Generation, Grant, Mono, UnixTime};
use serde_json::Value;

use crate::text::{Form, Response};

/// The tokens of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) generation: Generation,
    pub(super) access: String,
    pub(super) refresh: Option<String>,
}

impl Saved {
    pub(super) fn read(record: &[u8]) -> Option<Self> {
        let record: Value = serde_json::from_slice(record).ok()?;
        let tokens = record.get("tokens")?;
        Some(Self {
            generation: serde_json::from_value(tokens.get("generation")?.clone()).ok()?,
            access: tokens.get("access_token")?.as_str()?.to_owned(),
            refresh: tokens.get("refresh_token").and_then(Value::as_str).map(str::to_owned),
        })
    }
}

/// A refresh token that a machine was given.
#[derive(Debug)]
struct Kept {
    token: String,
    /// A save held it; from now on all do.
    saved: bool,
}

/// What one machine was given, saved and lent.
#[derive(Debug, Default)]
pub(super) struct Laws {
    /// Access tokens whose save was answered, or that were loaded.
    lendable: BTreeSet<String>,
    /// Saves that weren't answered yet: they count as answered at their deadline.
    saving: Vec<(Saved, Mono)>,
    forgotten: BTreeSet<String>,
    /// What is stored is still to be erased, or replaced.
    forgetting: bool,
    /// A record was taken up that we can't read: its unused parts are no JSON. What it lends isn't
    /// known.
    unread: bool,
    generations: BTreeMap<Generation, String>,
    last_lent: Option<Generation>,
    newest: Option<Kept>,
    /// The access token that came last, until it is saved.
    unsaved: Option<String>,
    /// Access tokens of a login that no save was answered for, and what came of them since.
    logins: BTreeSet<String>,
    /// From answers that came so late that the machine may have gone on without.
    late: Vec<String>,
    welcoming: Vec<AttemptId>,
}

impl Laws {
    pub(super) fn welcomed(&mut self, attempt: Option<AttemptId>) {
        self.welcoming.extend(attempt);
    }

    /// Law: nobody is asked who wasn't willing to be.
    pub(super) fn assert_welcome(&self, machine: &AuthMachine) {
        let welcome = self.welcoming.iter().any(|attempt| machine.is_running(*attempt));
        assert!(welcome, "a prompt that no running demand welcomes");
    }

    /// A record is about to be saved. Laws: one generation, one token; the newest refresh token is
    /// in every record, and nothing that was forgotten.
    pub(super) fn saving(&mut self, record: Option<&[u8]>, due: Mono) {
        let saved = record.and_then(Saved::read);
        self.forgetting = false;
        if let Some(saved) = &saved {
            assert!(!self.forgotten.contains(&saved.access), "saved after it was forgotten");
            let known = self.generations.entry(saved.generation).or_insert(saved.access.clone());
            assert_eq!(*known, saved.access, "two tokens of {:?}", saved.generation);
            self.saving.push((saved.clone(), due));
            self.unsaved.take_if(|token| *token == saved.access);
        }
        let refresh = saved.and_then(|saved| saved.refresh);
        if let Some(late) = refresh.as_ref().filter(|token| self.late.contains(token)) {
            self.newest = Some(Kept { token: late.clone(), saved: true });
        }
        if let Some(newest) = &mut self.newest {
            newest.saved |= refresh.as_ref() == Some(&newest.token);
            let held = refresh.as_ref() == Some(&newest.token);
            assert!(held || !newest.saved, "the newest refresh token is saved no more");
        }
    }

    pub(super) fn saved(&mut self, record: Option<&[u8]>) {
        if let Some(saved) = record.and_then(Saved::read) {
            self.lendable.insert(saved.access);
        }
    }

    /// The machine has taken up what was loaded, and counts it as this generation. What is forgotten
    /// comes back only if another program saves it again.
    pub(super) fn adopted(&mut self, record: Option<&[u8]>, generation: Option<Generation>) {
        let saved = record.and_then(Saved::read);
        self.unread = record.is_some() && saved.is_none();
        if let (Some(saved), Some(generation)) = (&saved, generation) {
            self.forgotten.remove(&saved.access);
            self.lendable.insert(saved.access.clone());
            self.generations.insert(generation, saved.access.clone());
        }
        let logged_out = saved.is_none();
        let refresh = saved.and_then(|saved| saved.refresh);
        if self.unsaved.is_some() && !logged_out {
            // Ours is on its way into the store, and may come too late; after a logout it does.
            self.late.extend(refresh);
        } else {
            self.newest = refresh.map(|token| Kept { token, saved: true });
        }
    }

    /// The refresh token is gone with what was loaded. Law: another program had ended the grant.
    pub(super) fn ended(&mut self, record: Option<&[u8]>) {
        let saved = record.and_then(Saved::read);
        let ended = saved.is_some_and(|saved| saved.refresh.is_none());
        assert!(ended || self.unread, "a refresh token that nobody ended is gone");
        self.newest = None;
    }

    /// The answer to a token request has come. `in_time`: the machine still waits for it, or has
    /// given up on it and on no other since.
    pub(super) fn token_answer(
        &mut self,
        request: &[u8],
        response: &Response,
        now: UnixTime,
        in_time: bool,
    ) {
        let paid_with = Form::parse(request);
        let refresh = paid_with.get("refresh_token");
        // What an older refresh token brought may come too late.
        let in_time = in_time && refresh.is_none_or(|token| self.holds(token));
        let (status, headers) = (response.status(), response.headers());
        let refused = || {
            let text = String::from_utf8_lossy(response.body());
            let reply = TokenReply::parse(status, headers, text.as_bytes(), now);
            matches!(reply, Err(Failure::Refused { .. }))
        };
        match TokenReply::parse(status, headers, response.body(), now) {
            Ok(reply) => {
                let base = self.generations.values().next_back();
                if refresh.is_none() || base.is_some_and(|token| self.is_unsaved_login(token)) {
                    self.logins.insert(reply.access_token.expose().clone());
                }
                if in_time {
                    self.unsaved = Some(reply.access_token.expose().clone());
                }
                match reply.refresh_token.map(|token| token.expose().clone()) {
                    Some(token) if !in_time => self.late.push(token),
                    Some(token) if self.holds(&token) => {}
                    Some(token) => self.newest = Some(Kept { token, saved: false }),
                    // A refresh keeps what its reply leaves out (RFC 6749 §6).
                    None if in_time && refresh.is_none() => self.newest = None,
                    None => {}
                }
            }
            // A machine reads as much of an error as it can.
            Err(_) if refresh.is_some_and(|token| self.holds(token)) && refused() => {
                self.newest = None;
            }
            Err(_) => {}
        }
    }

    /// Whether the tokens of this generation are of a login that was not stored. Anything else goes
    /// with a logout elsewhere: news of stored tokens, e.g. that a refresh is sent, and what a refresh
    /// made of them.
    pub(super) fn holds_login(&self, generation: Generation) -> bool {
        self.generations.get(&generation).is_none_or(|token| self.is_unsaved_login(token))
    }

    fn is_unsaved_login(&self, token: &String) -> bool {
        self.logins.contains(token) && !self.lendable.contains(token)
    }

    fn holds(&self, token: &str) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest.token == token)
    }

    /// Whatever was known is not to be lent again.
    pub(super) fn forget(&mut self) {
        self.newest = None;
        self.unsaved = None;
        self.forgetting = true;
        self.late.clear();
        self.forgotten.append(&mut self.lendable);
        self.forgotten.extend(self.saving.drain(..).map(|(saved, _)| saved.access));
    }

    pub(super) fn forget_answer(&mut self, response: &Response, now: UnixTime) {
        let (status, headers) = (response.status(), response.headers());
        if let Ok(reply) = TokenReply::parse(status, headers, response.body(), now) {
            self.forgotten.insert(reply.access_token.expose().clone());
        }
    }

    /// Laws: save before lend; what is forgotten stays forgotten; one generation, one token; and
    /// generations only go up. A configured token needs none of it.
    pub(super) fn lent(&mut self, grant: &Grant, configured: &BTreeSet<String>, now: Mono) {
        let token = grant.access_token().expose().clone();
        if self.unread || configured.contains(&token) {
            return;
        }
        let given_up = self.saving.iter().any(|(saved, due)| saved.access == token && *due <= now);
        assert!(given_up || self.lendable.contains(&token), "lent before it was saved");
        assert!(!self.forgotten.contains(&token), "lent after it was forgotten");
        assert!(self.last_lent <= Some(grant.generation()), "lent an older generation");
        self.last_lent = Some(grant.generation());
        let known = self.generations.get(&grant.generation());
        assert_eq!(known, Some(&token), "a token of another generation");
    }

    /// Laws: the newest refresh token was saved, and what was forgotten is no longer stored.
    pub(super) fn assert_kept(&self) {
        assert!(!self.forgetting, "what was forgotten is still stored");
        if let Some(newest) = &self.newest {
            assert!(newest.saved, "the newest refresh token was never saved");
        }
    }
}
