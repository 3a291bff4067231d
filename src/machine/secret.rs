//! Secrets, and what keys say: each goes to the work that asked for it.

use crate::event::SignerAnswer;
use crate::flow::Notes;
use crate::flow::secret::SecretResult;
use crate::flow::sign::SignerResult;
use crate::machine::AuthMachine;
use crate::machine::lane::{Lane, Work};
use crate::notice::Notice;
use crate::time::Now;

/// What the host has looked up or signed.
pub(super) enum Told {
    Secret(SecretResult),
    Signer(SignerResult),
}

impl AuthMachine {
    pub(super) fn on_told(&mut self, now: Now, mut lane: Lane, told: Told) {
        let mut notes = Notes::new();
        if let Told::Signer(Ok(SignerAnswer::Key { exposed_at: Some(place), .. })) = &told {
            notes.push(Notice::SecretExposed { place: place.to_string() });
        }
        match (std::mem::replace(&mut lane.work, Work::Over), told) {
            (Work::Login(login), told) => {
                let turn = match told {
                    Told::Secret(result) => login.on_secret(now.wall, result, &mut notes),
                    Told::Signer(result) => login.on_signer(now.wall, result, &mut notes),
                };
                self.take_notes(notes);
                self.login_turned(now, lane, turn);
            }
            (Work::Refreshing(exchange, tokens), told) => {
                let asked = match told {
                    Told::Secret(result) => exchange.on_secret(result, now.wall, &mut notes),
                    Told::Signer(result) => exchange.on_signer(result, now.wall),
                };
                self.take_notes(notes);
                match asked {
                    Ok((exchange, ask)) => self.refresh_asks(now, lane, exchange, *tokens, ask),
                    Err(error) => self.settle(&lane, Err(error)),
                }
            }
            (Work::LoggingOut(logout), told) => {
                let step = match told {
                    Told::Secret(result) => logout.on_secret(result, now.wall, &mut notes),
                    Told::Signer(result) => logout.on_signer(result, now.wall, &mut notes),
                };
                self.take_notes(notes);
                self.logout_stepped(lane, step);
            }
            (Work::Finding(find), Told::Secret(result)) => {
                self.on_fixed_found(now, lane, find, result);
            }
            (
                Work::Finding(_)
                | Work::Looking(_)
                | Work::Postponed
                | Work::Reading
                | Work::Overtaking(_)
                | Work::Freshening(_)
                | Work::Upkeep(..)
                | Work::Leaving(..)
                | Work::Over,
                _,
            ) => {}
        }
    }
}
