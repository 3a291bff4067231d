//! A token set: freshness, generations, and what a refresh inherits (RFC 6749 §5.1, §6).

use std::time::Duration;

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::notice::ClientSource;
use crate::secret::{Secret, exposed};
use crate::session::grant::authorization;
use crate::session::trouble::Renewal;
use crate::time::UnixTime;
use crate::wire::jws::PublicKey;
use crate::wire::jwt::Person;
use crate::wire::scope::ScopeSet;
use crate::wire::token::{AuthMethod, TokenReply};

/// A clock that is kept right by the network is set by less than this.
const ADJUSTED: Duration = Duration::from_secs(60);

/// Counts the token sets of a session, across restarts and processes. A refusal names the
/// generation that was refused, so ten refusals of one make one refresh.
///
/// ```
/// use mcp_auth::{Generation, Grant};
///
/// /// Whether a refused token was replaced meanwhile: then the request is sent again with this one.
/// fn is_replaced(refused: Generation, at_hand: &Grant) -> bool {
///     at_hand.generation() > refused
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.log_in()?;
/// # let before = s.grant();
/// # assert!(!is_replaced(before.generation(), &before));
/// # s.sleep(4000);
/// # assert_eq!(s.call_tool("whoami").status(), 200);
/// # assert!(is_replaced(before.generation(), &s.grant()));
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub(crate) u64);

impl Generation {
    pub(crate) const LAST: Self = Self(u64::MAX);

    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Whether a token can be lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    Fresh,
    /// Still valid, but about to expire: renew it first, lend it if that fails.
    Stale,
    Expired,
}

/// What the tokens were issued for: kept with them, so that a refresh needs no discovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Purchase {
    pub(crate) issuer: String,
    pub(crate) token_endpoint: String,
    pub(crate) client_id: String,
    /// What kind of client that is: one kind's secret isn't another's, even if a server gives both
    /// the same name.
    pub(crate) client_source: ClientSource,
    pub(crate) requested: ScopeSet,
    /// When a person logged in: a refresh doesn't change it.
    pub(crate) logged_in_at: UnixTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    /// How the client shows its secret, where the way that was to be expected was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) auth_method: Option<AuthMethod>,
    /// The key that they are bound to (DPoP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dpop: Option<PublicKey>,
    /// A refresh names the scopes: one without got a token that was refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) scope_on_refresh: bool,
}

/// Tokens and what is known about them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) generation: Generation,
    #[serde(with = "exposed")]
    pub(crate) access_token: Secret,
    #[serde(default, with = "exposed::option", skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<Secret>,
    pub(crate) obtained_at: UnixTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<UnixTime>,
    /// What the token is good for, as far as the server said; else what was asked for.
    pub(crate) granted: ScopeSet,
    /// Whom the server says they are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) person: Option<Person>,
    #[serde(default, skip_serializing_if = "Renewal::is_clean")]
    pub(crate) renewal: Renewal,
    #[serde(flatten)]
    pub(crate) purchase: Purchase,
}

impl std::ops::Deref for Tokens {
    type Target = Purchase;

    fn deref(&self) -> &Purchase {
        &self.purchase
    }
}

impl Tokens {
    /// From a reply. `previous` is what a refresh was made from: it passes on what the reply leaves
    /// out (RFC 6749 §6: refresh token and scope). The record gives the generation.
    pub(crate) fn from_reply(
        reply: TokenReply,
        purchase: Purchase,
        previous: Option<&Tokens>,
        now: UnixTime,
    ) -> Self {
        // An empty scope says nothing: a token for nothing is not worth issuing.
        let granted = reply.scope.filter(|scope| !scope.is_empty()).unwrap_or_else(|| {
            previous.map_or_else(|| purchase.requested.clone(), |p| p.granted.clone())
        });
        // A refresh often brings no ID token (OpenID Connect Core §12.2).
        let person = reply.id_token.as_ref().and_then(Person::read);
        let person = person.or_else(|| Person::read(&reply.access_token));
        let person = person.or_else(|| previous.and_then(|p| p.person.clone()));
        Self {
            person,
            generation: Generation::default(),
            access_token: reply.access_token,
            refresh_token: reply
                .refresh_token
                .or_else(|| previous.and_then(|p| p.refresh_token.clone())),
            obtained_at: now,
            expires_at: reply.expires_in.map(|life| now.plus(life)),
            granted,
            renewal: Renewal::default(),
            purchase,
        }
    }

    /// Whether it may be tried to renew them without a person.
    pub(crate) fn is_refreshable(&self) -> bool {
        self.refresh_token.is_some() && !self.renewal.given_up
    }

    /// Whether these are one set, of which the refresh token may have been dropped.
    pub(crate) fn is_same_set(&self, other: &Tokens) -> bool {
        let refresh = self.refresh_token.as_ref().zip(other.refresh_token.as_ref());
        self.access_token == other.access_token && refresh.is_none_or(|(a, b)| a == b)
    }

    /// The scopes to name in a refresh: those that were granted, in the words of the request.
    pub(crate) fn named(&self) -> &ScopeSet {
        let known = !self.granted.is_empty() && self.requested.contains_all(&self.granted);
        if known { &self.granted } else { &self.requested }
    }

    /// Whether these are the same secrets.
    pub(crate) fn same(&self, other: &Tokens) -> bool {
        (&self.access_token, &self.refresh_token) == (&other.access_token, &other.refresh_token)
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let scheme = if self.dpop.is_some() { "DPoP" } else { "Bearer" };
        authorization(scheme, &self.access_token)
    }

    pub(crate) fn life(&self) -> Option<Duration> {
        Some(self.obtained_at.until(self.expires_at?))
    }

    /// What is left by the wall clock; nothing if the clock says they aren't issued yet, unless it
    /// was only put right by a little.
    pub(crate) fn remaining(&self, now: UnixTime) -> Option<Duration> {
        let left = now.until(self.expires_at?).min(self.life()?);
        let believed = now.until(self.obtained_at) <= ADJUSTED;
        Some(if believed { left } else { Duration::ZERO })
    }

    /// Judged by the wall clock and, where it is known, by the monotonic one: the earlier counts,
    /// so that a clock set back doesn't bring a token back to life.
    pub(crate) fn freshness(
        &self,
        now: UnixTime,
        left_by_mono: Option<Duration>,
        ahead: Duration,
    ) -> Freshness {
        let Some(life) = self.life() else { return Freshness::Fresh };
        // Just obtained with no life at all: the monotonic clock alone grants the first use.
        let left = match (self.expires_at, left_by_mono) {
            (Some(at), Some(mono)) if !life.is_zero() => now.until(at).min(mono),
            (_, Some(mono)) => mono,
            (Some(at), None) => now.until(at),
            (None, None) => return Freshness::Fresh,
        };
        // A short-lived token isn't renewed all the time.
        if left.is_zero() {
            Freshness::Expired
        } else if left <= ahead.min(life / 10) {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(obtained: u64, expires: Option<u64>) -> Tokens {
        Tokens {
            generation: Generation(1),
            access_token: "a".into(),
            refresh_token: Some("r".into()),
            obtained_at: UnixTime(obtained),
            expires_at: expires.map(UnixTime),
            granted: ScopeSet::parse("x y"),
            person: None,
            renewal: Renewal::default(),
            purchase: Purchase {
                issuer: "https://i.example".into(),
                token_endpoint: "https://i.example/token".into(),
                client_id: "c".into(),
                client_source: ClientSource::Configured,
                requested: ScopeSet::parse("x y z"),
                logged_in_at: UnixTime(obtained),
                resource: None,
                auth_method: None,
                dpop: None,
                scope_on_refresh: false,
            },
        }
    }

    const AHEAD: Duration = Duration::from_secs(30);

    #[test]
    fn renewed_ahead_of_expiry_but_a_short_life_is_not_all_renewal() {
        let hour = tokens(1000, Some(4600));
        assert_eq!(hour.freshness(UnixTime(4569), None, AHEAD), Freshness::Fresh);
        assert_eq!(hour.freshness(UnixTime(4570), None, AHEAD), Freshness::Stale);
        assert_eq!(hour.freshness(UnixTime(4600), None, AHEAD), Freshness::Expired);
        let seconds = tokens(1000, Some(1010));
        assert_eq!(seconds.freshness(UnixTime(1008), None, AHEAD), Freshness::Fresh);
        assert_eq!(seconds.freshness(UnixTime(1009), None, AHEAD), Freshness::Stale);
        assert_eq!(tokens(0, None).freshness(UnixTime(9), None, AHEAD), Freshness::Fresh);
    }

    #[test]
    fn a_clock_set_back_does_not_bring_a_token_back_to_life() {
        let hour = tokens(1000, Some(4600));
        let none_left = Some(Duration::ZERO);
        assert_eq!(hour.freshness(UnixTime(1001), none_left, AHEAD), Freshness::Expired);
        assert_eq!(hour.remaining(UnixTime(500)), Some(Duration::ZERO));
        assert_eq!(hour.remaining(UnixTime(999)), Some(Duration::from_secs(3600)));
        assert_eq!(hour.remaining(UnixTime(4000)), Some(Duration::from_secs(600)));
    }
}
