//! The person's turn without a browser here: a code that is entered elsewhere (RFC 8628).

use super::{Ended, Login, Place, Stage, Turn, rejects_client, stray};
use crate::config::DeviceGrant;
use crate::error::{Error, ErrorKind};
use crate::flow::device::{self, Device, Request};
use crate::flow::exchange::Bought;
use crate::flow::identity::Identity;
use crate::flow::job::Job;
use crate::flow::sign::SignerResult;
use crate::flow::{HttpResult, Notes, Step};
use crate::output::HostError;
use crate::session::record::Discovery;
use crate::text::printable_url;
use crate::time::UnixTime;

impl Login {
    /// Where no browser can be opened: a code may do instead.
    pub(crate) fn on_no_browser(self, why: HostError, now: UnixTime, notes: &mut Notes) -> Turn {
        let Self { mut job, stage } = self;
        let (found, redirect_uri) = match stage {
            Stage::Listen(found) => {
                let redirect_uri = job.likely_redirect_uri(&found);
                (found, redirect_uri)
            }
            Stage::Authorize(sent) => (sent.found, sent.redirect_uri),
            _ => return Err(stray("browse")),
        };
        let offered = found.server.device_authorization_endpoint().is_some();
        if !offered || !why.is_headless() || job.config.device_grant != DeviceGrant::Auto {
            return Err(ErrorKind::Browser(why).into());
        }
        job.by_code = true;
        Self::identify(job, Place { found, redirect_uri }, now, notes)
    }

    /// Asks for a code.
    pub(super) fn ask_for_code(
        mut job: Job,
        identity: Identity,
        place: Place,
        now: UnixTime,
    ) -> Turn {
        let purchase = {
            let (requested, resource) = (job.scopes(&place.found), job.resource(&place.found));
            job.purchase(&place.found, &identity, requested, resource, now)
        };
        let (found, binding) = (&place.found, job.binding(&place.found));
        let (config, entropy) = (&job.config, &mut job.entropy);
        let (request, ask) =
            Request::start(found, identity, purchase, binding, config, entropy, now)?;
        Ok(Step::Ask(Self { job, stage: Stage::AskForCode(Box::new(request), place) }, ask))
    }

    pub(super) fn poll(job: Job, device: Device, place: Place, now: UnixTime) -> Turn {
        let (device, ask) = device.poll(now)?;
        let stage = Stage::Device(Box::new(device), place);
        Ok(Step::Ask(Self { job, stage }, ask))
    }

    pub(super) fn code_signed(
        job: Job,
        request: Request,
        place: Place,
        now: UnixTime,
        result: SignerResult,
    ) -> Turn {
        let (request, ask) = request.on_signer(&job.config, result, now)?;
        Ok(Step::Ask(Self { job, stage: Stage::AskForCode(Box::new(request), place) }, ask))
    }

    pub(super) fn poll_signed(
        job: Job,
        device: Device,
        place: Place,
        now: UnixTime,
        result: SignerResult,
    ) -> Turn {
        let (device, ask) = device.on_signer(result, now)?;
        let stage = Stage::Device(Box::new(device), place);
        Ok(Step::Ask(Self { job, stage }, ask))
    }

    pub(super) fn code_came(
        mut job: Job,
        request: Request,
        place: Place,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Turn {
        let identity = request.identity().clone();
        match request.on_http(&job.config, &mut job.entropy, now, reply) {
            Ok((device, ask)) => {
                let stage = Stage::Device(Box::new(device), place);
                Ok(Step::Ask(Self { job, stage }, ask))
            }
            Err(ended) => Self::no_code(job, identity, place, ended, now, notes),
        }
    }

    pub(super) fn polled(
        job: Job,
        device: Device,
        place: Place,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Turn {
        let identity = device.identity().clone();
        match device.on_http(&job.config, now, reply, notes) {
            Ok(Step::Ask(device, ask)) => {
                let stage = Stage::Device(Box::new(device), place);
                Ok(Step::Ask(Self { job, stage }, ask))
            }
            Ok(Step::Done(Bought { reply, purchase })) => {
                let learned = Self::learned_by_paying(&job, &place.found, &identity, &purchase);
                Ok(Step::Done(Ended::Obtained {
                    reply: Box::new(reply),
                    purchase: Box::new(purchase),
                    learned,
                }))
            }
            Err(ended) => Self::no_code(job, identity, place, ended, now, notes),
        }
    }

    fn no_code(
        mut job: Job,
        identity: Identity,
        place: Place,
        ended: device::Ended,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        match ended {
            device::Ended::Refused(error, _)
                if error.is_refused_resource() && job.may_omit_resource() =>
            {
                Self::authorize(job, identity, place, now, notes)
            }
            device::Ended::Refused(error, otherwise) if rejects_client(&error) => {
                Self::replace_client(job, identity, place, *otherwise, now, notes)
            }
            device::Ended::Refused(_, otherwise) => Err((*otherwise).into()),
            device::Ended::Error(error) => Err(error),
        }
    }
}

/// Whether a person can be asked at all in the way that the settings want.
pub(super) fn is_possible(job: &Job, found: &Discovery) -> Result<(), Error> {
    if job.by_code && found.server.device_authorization_endpoint().is_none() {
        return Err(ErrorKind::NoDeviceGrant { issuer: printable_url(&found.issuer) }.into());
    }
    Ok(())
}
