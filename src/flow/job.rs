//! What a login is given, and what follows from it: who we would be, what we would ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Config, DeviceGrant, SendResource};
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind};
use crate::flow::binding::{Binding, Nonce};
use crate::flow::identity::{self, Choice, Identity, Known};
use crate::flow::upkeep::{Errand, Wish};
use crate::flow::{HttpResult, Learned, Notes};
use crate::notice::{ClientSource, Leniency, Notice, Proposal};
use crate::output::CallbackPort;
use crate::reach::Witness;
use crate::restore::CachedLogin;
use crate::session::grant::Site;
use crate::session::pending::PendingLogin;
use crate::session::record::{ClientHome, Discovery, Record, Registration};
use crate::session::tokens::Purchase;
use crate::text::printable;
use crate::time::UnixTime;
use crate::wire::device;
use crate::wire::registration::ClientMetadata;
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
    /// A login of another program that may be taken up instead.
    pub(crate) cached: Option<CachedLogin>,
    /// That was tried before, in vain.
    pub(crate) tried_before: bool,
    pub(crate) inspect: bool,
    /// A person wants to log in, also where the server lets everybody in.
    pub(crate) wanted_all_the_same: bool,
    /// The person is shown a code instead of a browser.
    pub(crate) by_code: bool,
    /// Registered clients are in doubt.
    pub(crate) new_client: bool,
    /// Another program asked its person when the store was last read.
    pub(crate) asked_elsewhere: bool,
    /// Scopes needed besides those that the server suggests.
    pub(crate) wanted: ScopeSet,
    /// What the tokens at hand were obtained for, and of whom: a new login keeps it.
    pub(crate) earlier: Option<Purchase>,
    pub(crate) registrations: BTreeMap<String, Registration>,
    pub(crate) document_rejected_by: BTreeSet<String>,
    pub(crate) client_home: Option<ClientHome>,
    pub(crate) challenge_scope: Option<ScopeSet>,
    /// What a token endpoint has wanted to see last.
    pub(crate) token_nonce: Option<Nonce>,
    pub(crate) learned: Learned,
    /// A client was rejected already: once is enough.
    pub(crate) replaced_client: bool,
    /// The client that was registered earlier was looked after.
    pub(crate) looked_after: bool,
    /// Something was at an address that the settings allow.
    pub(crate) went_private: bool,
    /// The server has refused the resource indicator.
    pub(crate) resource_refused: bool,
}

impl Job {
    pub(crate) fn new(site: Arc<Site>, config: Arc<Config>, entropy: Entropy) -> Self {
        Self {
            site,
            by_code: config.device_grant == DeviceGrant::Always,
            config,
            entropy,
            browser_welcome: false,
            inspect: false,
            wanted_all_the_same: false,
            new_client: false,
            cached: None,
            tried_before: false,
            asked_elsewhere: false,
            wanted: ScopeSet::new(),
            earlier: None,
            registrations: BTreeMap::new(),
            document_rejected_by: BTreeSet::new(),
            client_home: None,
            challenge_scope: None,
            token_nonce: None,
            learned: Learned::default(),
            replaced_client: false,
            looked_after: false,
            went_private: false,
            resource_refused: false,
        }
    }

    /// Takes up what the record says by now.
    pub(crate) fn catch_up(&mut self, record: &Record, wanted: ScopeSet, now: UnixTime) {
        let tokens = record.tokens.as_ref();
        self.wanted = wanted;
        self.asked_elsewhere = record.login.as_ref().is_some_and(PendingLogin::is_pending);
        self.earlier = tokens.map(|tokens| tokens.purchase.clone());
        self.registrations = record.clients(self.new_client, &self.config, now);
        self.document_rejected_by.clone_from(&record.document_rejected_by);
        self.client_home.clone_from(&record.client_home);
    }

    pub(super) fn needs_person(&self) -> Result<(), Error> {
        if self.browser_welcome || self.inspect || self.cached.is_some() {
            return Ok(());
        }
        let why = "the server wants authorization, and there is no usable token";
        Err(login_required(why, self.asked_elsewhere, ScopeSet::new()))
    }

    pub(super) fn known<'a>(&'a self, found: &Discovery) -> Known<'a> {
        let issuer = &found.issuer;
        Known {
            config: &self.config,
            by_code: self.by_code,
            registration: self.registrations.get(issuer),
            document_rejected: self.document_rejected_by.contains(issuer),
            client_home: self.client_home.as_ref(),
        }
    }

    /// What is to be done first about the client that was registered earlier, once.
    pub(super) fn wish(
        &mut self,
        found: &Discovery,
        redirect_uri: &str,
        choice: &Result<Choice, ErrorKind>,
        now: UnixTime,
    ) -> Option<Wish> {
        let another = |identity: &Identity| identity.source.kind() != ClientSource::Registered;
        if matches!(choice, Ok(Choice::Use(identity)) if another(identity)) {
            return None;
        }
        let known = self.registrations.get(&found.issuer)?;
        Errand::before_login(known, now).filter(|_| known.serves(redirect_uri, self.by_code))?;
        let (issuer, client_id) = (found.issuer.clone(), known.client_id.clone());
        let wish = Wish { issuer, client_id, doubtful: known.suspect };
        (!std::mem::replace(&mut self.looked_after, true)).then_some(wish)
    }

    /// Where the browser comes back to. A client whose redirect URI is written down somewhere can have
    /// no other port than that; one that is registered as we go keeps the port it has, or takes
    /// another.
    pub(super) fn callback_port(&self, found: &Discovery, now: UnixTime) -> CallbackPort {
        let known = self.known(found);
        let made_with = known.registration.map_or("", |client| &client.redirect_uri);
        let settled = match identity::choose(known, found, made_with, now) {
            Ok(Choice::Use(identity)) => {
                !matches!(identity.source.kind(), ClientSource::Registered)
            }
            _ => false,
        };
        let kept = url::Url::parse(made_with).ok().and_then(|url| url.port());
        let wanted = self.config.callback_port.filter(|port| *port != 0);
        // Settings that have changed since count more than the port that it was made with.
        let unchanged = known.registration.is_some_and(|client| client.wanted_port == wanted);
        match (wanted, kept) {
            (Some(port), _) if settled => CallbackPort::Fixed(port),
            (Some(_), Some(kept)) if unchanged => CallbackPort::Prefer(kept),
            (Some(port), _) => CallbackPort::Prefer(port),
            (None, Some(kept)) => CallbackPort::Prefer(kept),
            (None, None) => CallbackPort::Free,
        }
    }

    /// What a client that is registered for codes gives for its redirect URI: the one that a browser
    /// is likely to have later.
    pub(super) fn likely_redirect_uri(&self, found: &Discovery) -> String {
        if let Some(known) = self.registrations.get(&found.issuer) {
            return known.redirect_uri.clone();
        }
        let port = self.config.callback_port.filter(|port| *port != 0);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("http://{}{port}/callback", self.config.callback_host.as_str())
    }

    /// What a client is registered for: the device grant where it is used, now or before.
    pub(super) fn grants(&self, found: &Discovery) -> &'static [&'static str] {
        let known = self.registrations.get(&found.issuer);
        let by_code = self.by_code || known.is_some_and(|known| known.by_code);
        let listed = found.server.grant_types_supported.as_ref();
        let refreshes = listed.is_none_or(|list| list.iter().any(|name| name == "refresh_token"));
        match (by_code, refreshes) {
            (false, true) => ClientMetadata::GRANTS,
            (false, false) => &["authorization_code"],
            (true, true) => &["authorization_code", "refresh_token", device::GRANT_TYPE],
            (true, false) => &["authorization_code", device::GRANT_TYPE],
        }
    }

    /// Whether the listener is at another port than it was asked for.
    pub(super) fn other_port(
        &self,
        found: &Discovery,
        redirect_uri: &str,
        now: UnixTime,
    ) -> Option<Notice> {
        let CallbackPort::Prefer(wanted) = self.callback_port(found, now) else { return None };
        let got = url::Url::parse(redirect_uri).ok()?.port();
        let redirect_uri = printable(redirect_uri);
        (got != Some(wanted)).then_some(Notice::OtherPort { wanted, redirect_uri })
    }

    /// What this login would do from here on, if it were one.
    pub(super) fn proposal(&self, found: &Discovery, now: UnixTime) -> Notice {
        let known = self.known(found);
        // Of the redirect URIs that could come, the one that a registration was made with.
        let redirect_uri = known.registration.map_or("", |registration| &registration.redirect_uri);
        // One that can be renewed, or asked for, is kept if that works.
        let kept = known.registration.filter(|c| Errand::before_login(c, now).is_some());
        let client = match identity::choose(known, found, redirect_uri, now) {
            Ok(Choice::Use(identity)) => {
                Ok((identity.source, Some(printable(&identity.client_id))))
            }
            Ok(Choice::Register) => Ok(match kept {
                Some(kept) => (ClientSource::Remembered, Some(printable(&kept.client_id))),
                None => (ClientSource::Registered, None),
            }),
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

    /// What tokens are bought for.
    pub(super) fn purchase(
        &self,
        found: &Discovery,
        identity: &Identity,
        requested: ScopeSet,
        resource: Option<String>,
        now: UnixTime,
    ) -> Purchase {
        let earlier = self.earlier_of(found);
        Purchase {
            scope_on_refresh: self.config.scope_on_refresh
                || earlier.is_some_and(|earlier| earlier.scope_on_refresh),
            issuer: found.issuer.clone(),
            token_endpoint: identity.sees(&found.server).token_endpoint.unwrap_or_default(),
            client_id: identity.client_id.clone(),
            client_source: identity.source.kind(),
            requested,
            logged_in_at: now,
            resource,
            auth_method: None,
            dpop: None,
        }
    }

    /// What the tokens are bound to a key by, if they are to be.
    pub(super) fn binding(&self, found: &Discovery) -> Option<Binding> {
        Binding::wanted(&self.config, found, self.token_nonce.clone())
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
    /// The same once there are tokens: a configured client is at home where it got them.
    pub(super) fn learned_as(&self, identity: &Identity, found: &Discovery) -> Learned {
        let client_home = (identity.source == ClientSource::Configured).then(|| ClientHome {
            client_id: identity.client_id.clone(),
            issuer: found.issuer.clone(),
        });
        Learned { client_home, ..self.learned_with(found) }
    }
}
