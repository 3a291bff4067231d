//! What a key of the host's says goes to the stage that has asked it.

use super::{Login, Stage, Turn, stray};
use crate::flow::sign::SignerResult;
use crate::flow::{Notes, Step};
use crate::time::UnixTime;

impl Login {
    pub(crate) fn on_signer(self, now: UnixTime, result: SignerResult, notes: &mut Notes) -> Turn {
        match self.stage {
            Stage::RehearseKey(mut jwt, identity, place) => {
                jwt.on_signer(result)?;
                jwt.rehearse(identity.key.as_ref().and_then(|key| key.taken.as_deref()))?;
                Self::ask_person(self.job, identity, place, now, notes)
            }
            Stage::Prepare(prepare) => {
                let (back, url) = (prepare.authorize.back(), prepare.url());
                let prepared = prepare.on_signer(&self.job.config, result, now);
                Self::prepared(self.job, prepared, back, url, now, notes)
            }
            Stage::Exchange(exchange, place) => {
                let (exchange, ask) = exchange.on_signer(result, now)?;
                Ok(Step::Ask(
                    Self { job: self.job, stage: Stage::Exchange(Box::new(exchange), place) },
                    ask,
                ))
            }
            Stage::AskForCode(request, place) => {
                Self::code_signed(self.job, *request, place, now, result)
            }
            Stage::Device(device, place) => {
                Self::poll_signed(self.job, *device, place, now, result)
            }
            Stage::Restore(restore) => Self::restored_signer(self.job, *restore, result, now),
            _ => Err(stray("sign")),
        }
    }
}
