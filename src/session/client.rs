//! The life of a registered client: when its secret ends, and when it is to be renewed (RFC 7592).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::secret::Secret;
use crate::session::record::Registration;
use crate::time::UnixTime;
use crate::wire::token::AuthMethod;
use crate::wire::url as address;

/// How long ahead of its end a client's secret is renewed, or replaced at the next login.
const SOON: Duration = Duration::from_secs(24 * 60 * 60);
const SHORTEST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// A renewal that brought nothing, as far as anybody knows: it is saved before the renewal is sent,
/// so that whoever crashes in it doesn't try again at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unrenewed {
    at: UnixTime,
    /// How long after that it may be tried again, in seconds.
    wait: u64,
}

impl Unrenewed {
    /// How long until the next try. A clock that was set back since makes nobody wait for it.
    fn left(&self, now: UnixTime) -> Duration {
        let wait = Duration::from_secs(self.wait);
        if now < self.at { Duration::ZERO } else { wait.saturating_sub(self.at.until(now)) }
    }

    pub(crate) fn wait(&self) -> Duration {
        Duration::from_secs(self.wait)
    }
}

impl Registration {
    /// Whether both are the same client, whatever became of it.
    pub(crate) fn is(&self, other: &Registration) -> bool {
        (&self.issuer, &self.client_id) == (&other.issuer, &other.client_id)
    }

    /// Whether the server has changed it since the other was what is known of it.
    pub(crate) fn is_newer_than(&self, other: &Registration) -> bool {
        (self.changes, self.registered_at) > (other.changes, other.registered_at)
    }

    /// Whether it was registered for what a login is about to do. A server may insist on the very port
    /// that was registered; where a code is shown, no browser comes back.
    pub(crate) fn serves(&self, redirect_uri: &str, by_code: bool) -> bool {
        if by_code { self.by_code } else { self.redirect_uri == redirect_uri }
    }

    /// Whether it has a secret that the server accepts no more.
    pub(crate) fn is_expired(&self, now: UnixTime) -> bool {
        self.secret_end().is_some_and(|at| at <= now)
    }

    /// Whether a login with it would soon be worth nothing: a day ahead, or in the second half of a
    /// shorter life.
    pub(crate) fn expires_soon(&self, now: UnixTime) -> bool {
        self.secret_end().is_some_and(|at| now.until(at) <= self.ahead(at))
    }

    fn ahead(&self, end: UnixTime) -> Duration {
        SOON.min(self.registered_at.until(end) / 2)
    }

    pub(crate) fn secret_end(&self) -> Option<UnixTime> {
        let shown = self.client_secret.is_some() && self.auth_method != AuthMethod::None;
        self.secret_expires_at.filter(|_| shown)
    }

    /// Where, and with what, the server lets it be managed.
    pub(crate) fn manager(&self) -> Option<(Url, &Secret)> {
        let uri = address::parse("registration_client_uri", self.management_uri.as_ref()?).ok()?;
        Some((uri, self.management_token.as_ref()?))
    }

    /// The metadata is for renewals alone; a record is kept small.
    pub(crate) fn without_needless_metadata(mut self) -> Self {
        let is_needed = self.secret_end().is_some() && self.manager().is_some();
        self.metadata = self.metadata.filter(|metadata| is_needed && metadata.is_bounded());
        self
    }

    /// How long until its secret is to be renewed, without anybody's asking; `None` where it needn't
    /// be, or can't.
    pub(crate) fn renewal_in(&self, now: UnixTime) -> Option<Duration> {
        let end = self.secret_end()?;
        self.manager()?;
        let soon = now.until(end).saturating_sub(self.ahead(end));
        let paused = self.unrenewed.as_ref().map(|tried| tried.left(now));
        Some(soon.max(paused.unwrap_or_default()))
    }

    /// Whether its renewal was tried a moment ago: there is no other answer yet.
    pub(crate) fn was_just_tried(&self, now: UnixTime) -> bool {
        let just = |tried: &Unrenewed| tried.at <= now && tried.at.until(now) < SHORTEST_PAUSE;
        self.unrenewed.as_ref().is_some_and(just)
    }

    /// The same as a renewal is tried: not again before a pause, which gets shorter towards the end,
    /// unless the server asks for longer.
    pub(crate) fn tried(mut self, now: UnixTime, asked: Option<Duration>) -> Self {
        let left = self.secret_end().map(|end| now.until(end)).filter(|left| !left.is_zero());
        let pause = left.map_or(LONGEST_PAUSE, |left| left / 2);
        let pause = pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE).max(asked.unwrap_or_default());
        self.unrenewed = Some(Unrenewed { at: now, wait: pause.as_secs() });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::registration::{ClientMetadata, Registered};

    const START: UnixTime = UnixTime(1_000_000);
    const DAY: u64 = 24 * 60 * 60;

    fn client(life: u64) -> Registration {
        let uri = "http://127.0.0.1:1/callback";
        Registration {
            issuer: "https://a.example".into(),
            client_id: "c".into(),
            client_secret: Some("s".into()),
            secret_expires_at: Some(UnixTime(START.0 + life)),
            auth_method: AuthMethod::Basic,
            redirect_uri: uri.into(),
            wanted_port: None,
            registered_at: START,
            management_token: Some("m".into()),
            management_uri: Some("https://a.example/register/c".into()),
            metadata: Some(Registered::asked(&ClientMetadata::new(uri, "n"))),
            changes: 0,
            unrenewed: None,
            suspect: false,
            confirmed: false,
            by_code: false,
        }
    }

    fn renewal_in(client: &Registration, passed: u64) -> Option<u64> {
        client.renewal_in(UnixTime(START.0 + passed)).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_secret_is_renewed_a_day_ahead_or_in_the_middle_of_a_short_life() {
        let month = client(30 * DAY);
        assert_eq!(renewal_in(&month, 0), Some(29 * DAY));
        assert_eq!(renewal_in(&month, 29 * DAY), Some(0));
        assert_eq!(renewal_in(&month, 40 * DAY), Some(0), "it may still work");
        assert_eq!(renewal_in(&client(3600), 0), Some(1800));
    }

    #[test]
    fn where_there_is_nothing_to_renew_or_to_renew_it_with_nothing_is() {
        let change: [fn(&mut Registration); 5] = [
            |c| c.secret_expires_at = None,
            |c| c.client_secret = None,
            |c| c.auth_method = AuthMethod::None,
            |c| c.management_token = None,
            |c| c.management_uri = Some("http://a.example/register/c".into()),
        ];
        for change in change {
            let mut client = client(3600);
            change(&mut client);
            assert_eq!(renewal_in(&client, 3000), None);
        }
    }

    #[test]
    fn what_failed_is_tried_again_more_often_towards_the_end() {
        let waits = |life: u64, mut at: u64| {
            let mut client = client(life);
            let mut waits = Vec::new();
            for _ in 0..5 {
                client = client.tried(UnixTime(START.0 + at), None);
                let wait = renewal_in(&client, at).unwrap();
                waits.push(wait);
                at += wait;
            }
            waits
        };
        assert_eq!(waits(30 * DAY, 29 * DAY), [3600; 5]);
        assert_eq!(waits(3600, 1800), [900, 450, 225, 112, 60]);
        assert_eq!(waits(3600, 3600), [3600; 5]);
        let asked = Some(Duration::from_secs(7200));
        assert_eq!(renewal_in(&client(3600).tried(START, asked), 0), Some(7200));
    }

    #[test]
    fn a_clock_that_is_set_makes_no_longer_wait() {
        let client = client(2 * DAY).tried(UnixTime(START.0 + 2 * DAY - 600), None);
        assert_eq!(renewal_in(&client, 2 * DAY - 600), Some(300));
        assert_eq!(renewal_in(&client, 2 * DAY - 700), Some(0));
        for end in [0, u64::MAX] {
            let _ = client.renewal_in(UnixTime(end));
            let _ = client.clone().tried(UnixTime(end), Some(Duration::MAX));
        }
    }
}
