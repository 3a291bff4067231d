//! A client that is looked after, that has changed, or that the server rejects.

use std::collections::BTreeMap;

use super::{Login, Place, Stage, Turn, stray};
use crate::error::ErrorKind;
use crate::flow::Notes;
use crate::flow::identity::{Identity, registered};
use crate::flow::job::Job;
use crate::notice::{ClientSource, Notice};
use crate::session::record::Registration;
use crate::text::printable_url;
use crate::time::UnixTime;

impl Login {
    /// What could be done about the client was done.
    pub(crate) fn on_looked_after(
        mut self,
        clients: &BTreeMap<String, Registration>,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        let known = &mut self.job.registrations;
        known.retain(|issuer, _| clients.contains_key(issuer));
        let others = clients
            .iter()
            .filter(|(issuer, client)| known.get(*issuer).is_none_or(|known| !known.is(client)));
        let others: Vec<_> = others.map(|(issuer, c)| (issuer.clone(), c.clone())).collect();
        known.extend(others);
        self.adopt(clients);
        match self.stage {
            Stage::LookAfter(place) => Self::identify(self.job, place, now, notes),
            _ => Err(stray("look after")),
        }
    }

    /// What has become of the clients while the person was asked: a secret may be another by now.
    pub(crate) fn adopt(&mut self, clients: &BTreeMap<String, Registration>) {
        for (issuer, known) in &mut self.job.registrations {
            let newer = clients.get(issuer).filter(|new| new.is(known) && new.is_newer_than(known));
            let Some(newer) = newer else { continue };
            known.clone_from(newer);
            if let Stage::Authorize(sent) = &mut self.stage
                && sent.identity.source.kind() == ClientSource::Registered
                && (&sent.found.issuer, &sent.identity.client_id) == (issuer, &newer.client_id)
            {
                sent.identity = registered(newer, sent.identity.source);
            }
        }
    }

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
