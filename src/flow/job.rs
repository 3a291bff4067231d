//! What a login is given, and what follows from it: who we would be, what we would ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Config, SendResource};
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind};
use crate::flow::identity::{self, Choice, Known};
use crate::flow::{HttpResult, Learned, Notes};
use crate::notice::{ClientSource, Leniency, Notice, Proposal};
use crate::reach::Witness;
use crate::session::grant::Site;
use crate::session::record::{ClientHome, Discovery, Registration};
use crate::session::tokens::Purchase;
use crate::text::printable;
use crate::time::UnixTime;
use crate::wire::scope::ScopeSet;

/// What a login is given, and what it gathers for the record.
pub(crate) struct Job {
    pub(crate) site: Arc<Site>,
    pub(crate) config: Arc<Config>,
    pub(crate) entropy: Entropy,
    pub(crate) browser_welcome: bool,
    pub(crate) inspect: bool,
    /// A person wants to log in, also where the server lets everybody in.
    pub(crate) wanted_all_the_same: bool,
    /// Scopes needed besides those that the server suggests.
    pub(crate) wanted: ScopeSet,
    /// What the tokens at hand were obtained for, and of whom: a new login keeps it.
    pub(crate) earlier: Option<Purchase>,
    pub(crate) registrations: BTreeMap<String, Registration>,
    pub(crate) document_rejected_by: BTreeSet<String>,
    pub(crate) client_home: Option<ClientHome>,
    pub(crate) challenge_scope: Option<ScopeSet>,
    pub(crate) learned: Learned,
    /// A client was rejected already: once is enough.
    pub(crate) replaced_client: bool,
    /// Something was at an address that the settings allow.
    pub(crate) went_private: bool,
    /// The server has refused the resource indicator.
    pub(crate) resource_refused: bool,
}

impl Job {
    pub(super) fn needs_person(&self) -> Result<(), Error> {
        if self.browser_welcome || self.inspect {
            return Ok(());
        }
        let reason = "the server wants authorization, and there is no usable token".into();
        Err(ErrorKind::LoginRequired { reason, scopes: ScopeSet::new() }.into())
    }

    pub(super) fn known<'a>(&'a self, found: &Discovery) -> Known<'a> {
        let issuer = &found.issuer;
        Known {
            config: &self.config,
            registration: self.registrations.get(issuer),
            document_rejected: self.document_rejected_by.contains(issuer),
            client_home: self.client_home.as_ref(),
        }
    }

    /// What this login would do from here on, if it were one.
    pub(super) fn proposal(&self, found: &Discovery, now: UnixTime) -> Notice {
        let known = self.known(found);
        // Of the redirect URIs that could come, the one that a registration was made with.
        let redirect_uri = known.registration.map_or("", |registration| &registration.redirect_uri);
        let client = match identity::choose(known, found, redirect_uri, now) {
            Ok(Choice::Use(identity)) => {
                Ok((identity.source, Some(printable(&identity.client_id))))
            }
            Ok(Choice::Register) => Ok((ClientSource::Registered, None)),
            Err(kind) => Err(kind.into()),
        };
        let (scopes, resource) = (self.scopes(found), self.resource(found));
        Notice::Proposed(Proposal { client, scopes, resource })
    }

    pub(super) fn resource(&self, found: &Discovery) -> Option<String> {
        let done_without = self.earlier_of(found).is_some_and(|earlier| earlier.resource.is_none());
        match self.config.send_resource {
            SendResource::Never => return None,
            SendResource::Auto if self.resource_refused || done_without => return None,
            SendResource::Auto | SendResource::Always => {}
        }
        Some(self.config.resource.as_ref().unwrap_or(&found.resource).clone())
    }

    /// Whether a refused resource indicator may be left out: once.
    pub(super) fn may_omit_resource(&mut self) -> bool {
        self.config.send_resource == SendResource::Auto
            && !std::mem::replace(&mut self.resource_refused, true)
    }

    pub(super) fn earlier_of(&self, found: &Discovery) -> Option<&Purchase> {
        self.earlier.as_ref().filter(|earlier| earlier.issuer == found.issuer)
    }

    /// Configured, else the challenge's, else the resource's; what is needed and what was asked for
    /// earlier on top; and `offline_access` where the server lists it.
    pub(super) fn scopes(&self, found: &Discovery) -> ScopeSet {
        let suggested = self
            .config
            .scopes
            .as_ref()
            .or(self.challenge_scope.as_ref())
            .or(found.scopes_supported.as_ref());
        let earlier = self.earlier_of(found).map(|earlier| earlier.requested.clone());
        let mut scopes = earlier.unwrap_or_default();
        scopes = scopes.union(&suggested.cloned().unwrap_or_default()).union(&self.wanted);
        let lists = |scope: &str| {
            found.server.scopes_supported.as_ref().is_some_and(|listed| listed.contains(scope))
        };
        if self.config.scopes.is_none() && lists("offline_access") {
            scopes.insert("offline_access");
        }
        scopes
    }

    /// What has to be overlooked for an answer to be had.
    pub(super) fn overlook(&mut self, reply: &HttpResult, notes: &mut Notes) {
        let witness =
            reply.as_ref().ok().and_then(|response| response.extensions().get::<Witness>());
        if witness.is_some_and(|witness| witness.lenient) && !self.went_private {
            self.went_private = true;
            notes.push(Notice::Lenient(Leniency::PrivateAddress));
        }
    }

    pub(super) fn learned_with(&self, found: &Discovery) -> Learned {
        let mut found = found.clone();
        found.leniencies.extend(self.went_private.then_some(Leniency::PrivateAddress));
        Learned { discovery: Some(found), ..self.learned.clone() }
    }
}
