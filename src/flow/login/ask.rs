//! The person is asked: the authorization request is made, signed and pushed where it must be, and
//! opened in the browser.

use super::{Login, Place, Stage, Turn, rejects_client};
use crate::error::ErrorKind;
use crate::flow::authorize::Authorize;
use crate::flow::identity::Identity;
use crate::flow::job::Job;
use crate::flow::prepare::{Prepare, Unprepared};
use crate::flow::{Ask, Notes, Step};
use crate::notice::{Leniency, Notice};
use crate::time::UnixTime;
use url::Url;

type Prepared = Result<Step<Box<Prepare>, (Box<Authorize>, Url)>, Unprepared>;

impl Login {
    pub(super) fn ask_person(
        mut job: Job,
        identity: Identity,
        place: Place,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        // Again: who welcomed a browser may have left since.
        job.needs_person()?;
        let resource = job.resource(&place.found);
        if resource.is_none() {
            notes.push(Notice::Lenient(Leniency::ResourceOmitted));
        }
        if job.by_code {
            return Self::ask_for_code(job, identity, place, now);
        }
        let Place { found, redirect_uri } = place;
        let requested = job.scopes(&found);
        let authorize =
            Authorize::start(found, identity, redirect_uri, requested, resource, &mut job.entropy);
        let back = authorize.back();
        let prepared = Prepare::start(Box::new(authorize), &job.config, &mut job.entropy, now);
        Self::prepared(job, prepared, back, String::new(), now, notes)
    }

    /// `back`: where the login stands, should another client be needed; `url`: who refused.
    pub(super) fn prepared(
        mut job: Job,
        prepared: Prepared,
        (identity, (found, redirect_uri)): (
            Identity,
            (Box<crate::session::record::Discovery>, String),
        ),
        url: String,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        match prepared {
            Ok(Step::Ask(prepare, ask)) => {
                Ok(Step::Ask(Self { job, stage: Stage::Prepare(prepare) }, ask))
            }
            Ok(Step::Done((authorize, url))) => {
                Ok(Step::Ask(Self { job, stage: Stage::Authorize(authorize) }, Ask::Browse(url)))
            }
            Err(Unprepared::Error(error)) => Err(error),
            Err(Unprepared::Refused(error)) => {
                let place = Place { found, redirect_uri };
                if error.is_refused_resource() && job.may_omit_resource() {
                    return Self::authorize(job, identity, place, now, notes);
                }
                let rejected = rejects_client(&error);
                let otherwise = ErrorKind::PushRefused { url, error };
                if rejected {
                    Self::replace_client(job, identity, place, otherwise, now, notes)
                } else {
                    Err(otherwise.into())
                }
            }
        }
    }
}
