//! What an authorization server remembers: clients, codes, tokens and who descends from whom.

use std::collections::{BTreeMap, BTreeSet};

use super::clients::Client;
use super::device::Device;
use super::{AuthorizationServer, RefreshTokens};
use crate::laws::SecretKind;
use crate::log::Lineage;
use crate::text::{self, Form};

/// An access token that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// Whom it was issued to.
    pub client_id: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// The only resource that it is for; `None` for any.
    pub audience: Option<String>,
    /// When it ends, in Unix seconds.
    pub expires_at: u64,
    /// The login that it descends from.
    pub family: u64,
    /// The thumbprint of the key that it is bound to.
    pub jkt: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    minted: u64,
    pub(super) families: u64,
    pub(super) clients: BTreeMap<String, Client>,
    /// Requests by their references, and until when they are good.
    pub(super) pushed: BTreeMap<String, (Form, u64)>,
    /// Of the proof of the token request that is being answered.
    pub(super) jkt: Option<String>,
    /// Of assertions and proofs.
    pub(super) seen_ids: BTreeSet<String>,
    pub(super) codes: BTreeMap<String, Code>,
    pub(super) devices: BTreeMap<String, Device>,
    access_tokens: BTreeMap<String, AccessToken>,
    pub(super) refresh_tokens: BTreeMap<String, RefreshToken>,
    revoked_families: BTreeSet<u64>,
    revoked_access: BTreeSet<String>,
    newest_access: Option<String>,
    newest_refresh: Option<String>,
}

/// What a person agreed to.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) client_id: String,
    pub(super) scopes: Vec<String>,
    pub(super) audience: Option<String>,
    pub(super) family: u64,
    /// May there be a refresh token?
    pub(super) refreshable: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) grant: Grant,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) challenge_method: String,
    pub(super) expires_at: u64,
    pub(super) spent: bool,
}

#[derive(Debug, Clone)]
pub(super) struct RefreshToken {
    pub(super) grant: Grant,
    pub(super) lineage: Lineage,
    pub(super) expires_at: Option<u64>,
    pub(super) spent_at: Option<u64>,
    pub(super) jkt: Option<String>,
}

impl AuthorizationServer {
    pub(super) fn mint(&mut self, kind: &str) -> String {
        self.state.minted += 1;
        text::opaque(kind, &self.issuer, self.state.minted)
    }

    pub(super) fn new_family(&mut self) -> u64 {
        self.state.families += 1;
        self.state.families
    }

    pub(super) fn new_access_token(&mut self, now: u64, grant: &Grant) -> String {
        let token = self.mint("access");
        let issued = AccessToken {
            client_id: grant.client_id.clone(),
            scopes: grant.scopes.clone(),
            audience: grant.audience.clone(),
            expires_at: now.saturating_add(self.token_lifetime),
            family: grant.family,
            jkt: self.state.jkt.clone(),
        };
        self.state.access_tokens.insert(token.clone(), issued);
        self.state.newest_access = Some(token.clone());
        token
    }

    pub(super) fn new_refresh_token(&mut self, now: u64, grant: &Grant, generation: u64) -> String {
        let token = self.mint("refresh");
        let issued = RefreshToken {
            grant: grant.clone(),
            lineage: Lineage { family: grant.family, generation },
            expires_at: self.refresh_lifetime.map(|lifetime| now.saturating_add(lifetime)),
            spent_at: None,
            jkt: self.state.jkt.clone(),
        };
        self.state.refresh_tokens.insert(token.clone(), issued);
        self.state.newest_refresh = Some(token.clone());
        token
    }

    pub(super) fn end_family(&mut self, family: u64) {
        self.state.revoked_families.insert(family);
    }

    /// Ends a token; a refresh token takes its family along (RFC 7009 §2.1).
    pub(super) fn end_token(&mut self, token: &str) -> bool {
        match self.state.refresh_tokens.get(token).map(|refresh| refresh.lineage.family) {
            Some(family) => self.state.revoked_families.insert(family),
            None => {
                let known = self.state.access_tokens.contains_key(token);
                known && self.state.revoked_access.insert(token.to_owned())
            }
        }
    }

    /// The client that a token was issued to.
    pub(super) fn owner(&self, token: &str) -> Option<&str> {
        let refresh = self.state.refresh_tokens.get(token).map(|refresh| &refresh.grant.client_id);
        let owner =
            refresh.or_else(|| self.state.access_tokens.get(token).map(|known| &known.client_id));
        owner.map(String::as_str)
    }

    /// The login that an access token descends from, dead or not.
    pub(crate) fn family(&self, access_token: &str) -> Option<u64> {
        self.state.access_tokens.get(access_token).map(|known| known.family)
    }

    /// An access token that it issued, expired or not, unless it was given back.
    pub fn access_token(&self, token: &str) -> Option<&AccessToken> {
        let known = self.state.access_tokens.get(token)?;
        let revoked = self.state.revoked_families.contains(&known.family)
            || self.state.revoked_access.contains(token);
        (!revoked).then_some(known)
    }

    pub(crate) fn live_access_token(&self, now: u64, token: &str) -> Option<&AccessToken> {
        self.access_token(token).filter(|known| now < known.expires_at)
    }

    /// Where a refresh token that it issued comes from.
    pub fn lineage(&self, refresh_token: &str) -> Option<Lineage> {
        self.state.refresh_tokens.get(refresh_token).map(|known| known.lineage)
    }

    /// Would this refresh token be taken at `now` (Unix seconds), from the right client?
    pub fn takes_refresh_token(&self, now: u64, refresh_token: &str) -> bool {
        let known = self.state.refresh_tokens.get(refresh_token);
        known.is_some_and(|known| self.is_good(now, known) && !self.is_spent(now, known))
    }

    pub(super) fn is_good(&self, now: u64, token: &RefreshToken) -> bool {
        !self.state.revoked_families.contains(&token.lineage.family)
            && token.expires_at.is_none_or(|end| now < end)
            && self.refresh_tokens != RefreshTokens::Never
    }

    pub(super) fn is_spent(&self, now: u64, token: &RefreshToken) -> bool {
        let grace = |spent_at: u64| {
            self.reuse_grace.is_some_and(|grace| now <= spent_at.saturating_add(grace))
        };
        token.spent_at.is_some_and(|spent_at| !grace(spent_at))
    }

    /// Ends every token of every family, as an administrator would.
    pub fn revoke_everything(&mut self) {
        self.state.revoked_families.extend(1..=self.state.families);
    }

    /// The refresh token that it issued last, if that is unspent and its family lives.
    pub fn newest_refresh_token(&self) -> Option<&str> {
        let newest = self.state.newest_refresh.as_deref()?;
        let known = self.state.refresh_tokens.get(newest)?;
        let alive = !self.state.revoked_families.contains(&known.lineage.family);
        (alive && known.spent_at.is_none()).then_some(newest)
    }

    /// The refresh token that it issued last, good or not.
    pub(crate) fn last_refresh_token(&self) -> Option<&str> {
        self.state.newest_refresh.as_deref()
    }

    /// The access token that it issued last.
    pub fn newest_access_token(&self) -> Option<&str> {
        self.state.newest_access.as_deref()
    }

    /// Every secret that it issued, and the identifiers of those who registered themselves.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = (SecretKind, &str)> {
        fn all<T>(
            kind: SecretKind,
            map: &BTreeMap<String, T>,
        ) -> impl Iterator<Item = (SecretKind, &str)> {
            map.keys().map(move |secret| (kind, secret.as_str()))
        }
        all(SecretKind::AccessToken, &self.state.access_tokens)
            .chain(all(SecretKind::RefreshToken, &self.state.refresh_tokens))
            .chain(all(SecretKind::Code, &self.state.codes))
            .chain(all(SecretKind::DeviceCode, &self.state.devices))
            .chain(
                self.state.devices.values().map(|d| (SecretKind::UserCode, d.user_code.as_str())),
            )
            .chain(self.state.clients.values().flat_map(Client::secrets))
    }
}
