//! The code is exchanged for tokens (RFC 6749 §4.1.3).

use super::{Ended, Login, Place, Stage, Turn, rejects_client};
use crate::error::ErrorKind;
use crate::flow::authorize::Authorize;
use crate::flow::exchange::{Bought, Exchange, Failed, PaidWith};
use crate::flow::identity::Identity;
use crate::flow::job::Job;
use crate::flow::{HttpResult, Learned, Notes, Step};
use crate::notice::ClientSource;
use crate::secret::Secret;
use crate::session::record::Discovery;
use crate::session::tokens::Purchase;
use crate::time::UnixTime;

impl Login {
    pub(super) fn pay(mut job: Job, authorize: Authorize, code: Secret, now: UnixTime) -> Turn {
        let Authorize { found, identity, redirect_uri, requested, resource, pkce, .. } = authorize;
        let purchase = job.purchase(&found, &identity, requested, resource, now);
        let binding = job.binding(&found);
        let verifier = pkce.verifier().clone();
        let paid_with = PaidWith::Code { code, redirect_uri: redirect_uri.clone(), verifier };
        let (exchange, ask) = Exchange::start(
            purchase,
            identity,
            paid_with,
            binding,
            &job.config,
            &mut job.entropy,
            now,
        )?;
        let stage = Stage::Exchange(Box::new(exchange), Place { found, redirect_uri });
        Ok(Step::Ask(Self { job, stage }, ask))
    }

    pub(super) fn exchanged(
        job: Job,
        exchange: Exchange,
        place: Place,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Turn {
        let (identity, url) = (exchange.identity.clone(), exchange.url());
        match exchange.on_http(now, reply, notes) {
            Ok(Step::Ask(exchange, ask)) => {
                Ok(Step::Ask(Self { job, stage: Stage::Exchange(Box::new(exchange), place) }, ask))
            }
            Ok(Step::Done(Bought { reply, purchase })) => {
                let learned = Self::learned_by_paying(&job, &place.found, &identity, &purchase);
                Ok(Step::Done(Ended::Obtained {
                    reply: Box::new(reply),
                    purchase: Box::new(purchase),
                    learned,
                }))
            }
            Err(Failed::Refused(error)) => {
                let rejected = rejects_client(&error);
                let otherwise = ErrorKind::TokenRefused { url, error };
                if rejected {
                    Self::replace_client(job, identity, place, otherwise, now, notes)
                } else {
                    Err(otherwise.into())
                }
            }
            Err(failed) => Err(failed.into_error(url)),
        }
    }

    pub(super) fn learned_by_paying(
        job: &Job,
        found: &Discovery,
        identity: &Identity,
        purchase: &Purchase,
    ) -> Learned {
        let mut learned = job.learned_as(identity, found);
        // Also one that was registered earlier: another program may have put its own in the record
        // since, and only this one can renew these tokens.
        if identity.source.kind() == ClientSource::Registered {
            let mut client = job.registrations.get(&purchase.issuer).cloned();
            if let (Some(client), Some(method)) = (&mut client, purchase.auth_method) {
                client.auth_method = method;
            }
            learned.registered = client;
        }
        learned
    }
}
