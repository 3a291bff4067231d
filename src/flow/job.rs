//! What a login is given, and what follows from it: who we would be, what we would ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::Config;
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind};
use crate::flow::Learned;
use crate::flow::identity::{self, Choice, Known};
use crate::notice::{ClientSource, Notice, Proposal};
use crate::session::grant::Site;
use crate::session::pending::PendingLogin;
use crate::session::record::{ClientHome, Discovery, Record, Registration};
use crate::text::printable;
use crate::time::UnixTime;
use crate::wire::scope::ScopeSet;

/// A login needs a person, and there is none here.
pub(crate) fn login_required(why: &str, asked_elsewhere: bool, scopes: ScopeSet) -> Error {
    let elsewhere = if asked_elsewhere { "; another program is asking for it" } else { "" };
    ErrorKind::LoginRequired { reason: format!("{why}{elsewhere}"), scopes }.into()
}

/// What a login is given, and what it gathers for the record.
pub(crate) struct Job {
    pub(crate) site: Arc<Site>,
    pub(crate) config: Arc<Config>,
    pub(crate) entropy: Entropy,
    pub(crate) browser_welcome: bool,
    pub(crate) inspect: bool,
    /// Another program asked its person when the store was last read.
    pub(crate) asked_elsewhere: bool,
    /// Scopes needed besides those that the server suggests.
    pub(crate) wanted: ScopeSet,
    /// What was asked for earlier, and of whom: a new login keeps it.
    pub(crate) earlier: Option<(String, ScopeSet)>,
    pub(crate) registrations: BTreeMap<String, Registration>,
    pub(crate) document_rejected_by: BTreeSet<String>,
    pub(crate) client_home: Option<ClientHome>,
    pub(crate) challenge_scope: Option<ScopeSet>,
    pub(crate) learned: Learned,
    /// A client was rejected already: once is enough.
    pub(crate) replaced_client: bool,
}

impl Job {
    /// Takes up what the record says by now.
    pub(crate) fn catch_up(&mut self, record: &Record, wanted: ScopeSet) {
        let tokens = record.tokens.as_ref();
        self.wanted = wanted;
        self.asked_elsewhere = record.login.as_ref().is_some_and(PendingLogin::is_pending);
        self.earlier = tokens.map(|t| (t.issuer.clone(), t.requested.clone()));
        self.registrations.clone_from(&record.registrations);
        self.document_rejected_by.clone_from(&record.document_rejected_by);
        self.client_home.clone_from(&record.client_home);
    }

    pub(super) fn needs_person(&self) -> Result<(), Error> {
        if self.browser_welcome || self.inspect {
            return Ok(());
        }
        let why = "the server wants authorization, and there is no usable token";
        Err(login_required(why, self.asked_elsewhere, ScopeSet::new()))
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
        match &self.config.resource {
            _ if self.config.omit_resource => None,
            Some(configured) => Some(configured.clone()),
            None => Some(found.resource.clone()),
        }
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
        let mut scopes = match &self.earlier {
            Some((issuer, scopes)) if *issuer == found.issuer => scopes.clone(),
            _ => ScopeSet::new(),
        };
        scopes = scopes.union(&suggested.cloned().unwrap_or_default()).union(&self.wanted);
        let lists = |scope: &str| {
            found.server.scopes_supported.as_ref().is_some_and(|listed| listed.contains(scope))
        };
        if self.config.scopes.is_none() && lists("offline_access") {
            scopes.insert("offline_access");
        }
        scopes
    }

    pub(super) fn learned_with(&self, found: &Discovery) -> Learned {
        Learned { discovery: Some(found.clone()), ..self.learned.clone() }
    }
}
