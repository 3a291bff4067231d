//! Secrets and signatures: each goes to the work that asked for it.

use crate::flow::Notes;
use crate::flow::secret::SecretResult;
use crate::flow::sign::SignerResult;
use crate::machine::AuthMachine;
use crate::machine::lane::{Lane, Work};
use crate::time::Now;

impl AuthMachine {
    pub(super) fn on_secret(&mut self, now: Now, mut lane: Lane, result: SecretResult) {
        let mut notes = Notes::new();
        match std::mem::replace(&mut lane.work, Work::Over) {
            Work::Login(login) => {
                let turn = login.on_secret(now.wall, result, &mut notes);
                self.take_notes(notes);
                self.login_turned(now, lane, turn);
            }
            Work::Refreshing(exchange, tokens) => {
                let asked = exchange.on_secret(result, now.wall, &mut notes);
                self.take_notes(notes);
                match asked {
                    Ok((exchange, ask)) => self.refresh_asks(now, lane, exchange, *tokens, ask),
                    Err(error) => self.settle(&lane, Err(error)),
                }
            }
            Work::LoggingOut(logout) => {
                let step = logout.on_secret(result, now.wall, &mut notes);
                self.take_notes(notes);
                self.logout_stepped(lane, step);
            }
            Work::Finding(find) => self.on_fixed_found(now, lane, find, result),
            Work::Looking(_)
            | Work::Postponed
            | Work::Reading
            | Work::Overtaking(_)
            | Work::Freshening(_)
            | Work::Upkeep(..)
            | Work::Leaving(..)
            | Work::Over => {}
        }
    }

    /// The same for what a key of the host's says.
    pub(super) fn on_signer(&mut self, now: Now, mut lane: Lane, result: SignerResult) {
        let mut notes = Notes::new();
        match std::mem::replace(&mut lane.work, Work::Over) {
            Work::Login(login) => {
                let turn = login.on_signer(now.wall, result, &mut notes);
                self.take_notes(notes);
                self.login_turned(now, lane, turn);
            }
            Work::Refreshing(exchange, tokens) => match exchange.on_signer(result, now.wall) {
                Ok((exchange, ask)) => self.refresh_asks(now, lane, exchange, *tokens, ask),
                Err(error) => self.settle(&lane, Err(error)),
            },
            Work::LoggingOut(logout) => {
                let step = logout.on_signer(result, now.wall, &mut notes);
                self.take_notes(notes);
                self.logout_stepped(lane, step);
            }
            Work::Finding(_)
            | Work::Postponed
            | Work::Looking(_)
            | Work::Reading
            | Work::Overtaking(_)
            | Work::Freshening(_)
            | Work::Upkeep(..)
            | Work::Leaving(..)
            | Work::Over => {}
        }
    }
}
