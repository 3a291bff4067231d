//! A client that the server rejects is replaced.

use super::{Login, Place, Turn};
use crate::error::ErrorKind;
use crate::flow::Notes;
use crate::flow::identity::Identity;
use crate::flow::job::Job;
use crate::notice::{ClientSource, Notice};
use crate::text::printable_url;
use crate::time::UnixTime;

impl Login {
    /// The server doesn't know the client, or doesn't like it: another way to be one, once.
    pub(super) fn replace_client(
        mut job: Job,
        rejected: Identity,
        place: Place,
        otherwise: ErrorKind,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        let issuer = place.found.issuer.clone();
        if std::mem::replace(&mut job.replaced_client, true) {
            return Err(otherwise.into());
        }
        match rejected.source {
            ClientSource::Configured | ClientSource::Registered => return Err(otherwise.into()),
            ClientSource::Remembered => {
                job.registrations.remove(&issuer);
                job.learned.forgotten.push(issuer);
            }
            ClientSource::MetadataDocument => {
                job.document_rejected_by.insert(issuer.clone());
                job.learned.document_rejected.push(issuer);
            }
        }
        notes.push(Notice::ClientRejected { client_id: printable_url(&rejected.client_id) });
        // Where there is no other way, what the server said is the better explanation.
        match Self::identify(job, place, now, notes) {
            Err(error) if matches!(error.kind(), ErrorKind::NoClient { .. }) => {
                Err(otherwise.into())
            }
            turn => turn,
        }
    }
}
