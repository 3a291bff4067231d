//! How long metadata is trusted that is kept with the login.

use std::time::Duration;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::time::UnixTime;
use crate::wire::cache::freshness_lifetime;

/// Nobody's document changes faster, whatever its server says: a refresh of a token that lives for
/// minutes costs one request, and an outage is not made worse.
pub(crate) const SHORTEST: Duration = Duration::from_secs(5 * 60);
/// A server that says nothing, or a year, must be able to move.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Since when, and for how long, authorization server metadata is trusted (RFC 9111 §4.2): what its
/// server said with it, but at least five minutes and at most a week; a week if it said nothing.
///
/// ```
/// use std::time::Duration;
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.world.authorization[0].metadata_cache_control = Some("max-age=3600".into());
/// # s.log_in()?;
/// # let machine = s.machine();
///
/// let freshness = machine.discovery().and_then(|found| found.freshness).unwrap();
/// let until = freshness.since.plus(Duration::from_secs(freshness.seconds));
/// println!("the server's metadata is looked up again after {until}");
/// assert_eq!(freshness.seconds, 3600); // as it said: `Cache-Control: max-age=3600`
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetadataFreshness {
    /// When it came from its server.
    pub since: UnixTime,
    /// For how many seconds.
    pub seconds: u64,
}

impl MetadataFreshness {
    pub(crate) fn of(headers: &HeaderMap, since: UnixTime) -> Self {
        Self::lasting(freshness_lifetime(headers, since).unwrap_or(LONGEST), since)
    }

    /// What could not be looked up again is used as it is, and tried again after a while.
    pub(crate) fn shortest(now: UnixTime) -> Self {
        Self::lasting(SHORTEST, now)
    }

    /// Where nobody knows what its server said.
    pub(crate) fn longest(since: UnixTime) -> Self {
        Self::lasting(LONGEST, since)
    }

    fn lasting(life: Duration, since: UnixTime) -> Self {
        Self { since, seconds: life.clamp(SHORTEST, LONGEST).as_secs() }
    }

    /// The one that ends first.
    pub(crate) fn and(self, other: Self) -> Self {
        let end = |it: &Self| it.since.plus(Duration::from_secs(it.seconds));
        if end(&other) < end(&self) { other } else { self }
    }

    /// A clock that was set back makes nothing last for longer, and neither does a record that says
    /// so.
    pub(crate) fn lasts(self, now: UnixTime) -> bool {
        let life = Duration::from_secs(self.seconds).min(LONGEST);
        self.since.until(now) < life && now.until(self.since) < LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::CACHE_CONTROL;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn kept(cache_control: &'static str) -> MetadataFreshness {
        let value = HeaderValue::from_static(cache_control);
        MetadataFreshness::of(&[(CACHE_CONTROL, value)].into_iter().collect(), NOW)
    }

    #[test]
    fn what_a_server_says_has_bounds() {
        for (said, seconds) in [
            ("max-age=3600", 3600),
            ("no-store", 300),
            ("max-age=0", 300),
            ("max-age=31536000", 604_800),
            ("public", 604_800),
        ] {
            assert_eq!(kept(said).seconds, seconds, "{said}");
        }
        assert_eq!(kept("max-age=3600").and(kept("no-store")), kept("no-store"));
        assert_eq!(kept("no-store").and(kept("max-age=3600")), kept("no-store"));
    }

    #[test]
    fn it_lasts_for_so_long_by_any_clock_and_whatever_the_record_says() {
        let hour = kept("max-age=3600");
        let at = |seconds: u64| UnixTime(seconds);
        assert!(hour.lasts(NOW) && hour.lasts(at(NOW.0 + 3599)) && hour.lasts(at(NOW.0 - 100)));
        assert!(!hour.lasts(at(NOW.0 + 3600)) && !hour.lasts(at(0)) && !hour.lasts(at(u64::MAX)));
        let forged = MetadataFreshness { seconds: u64::MAX, ..hour };
        assert!(!forged.lasts(at(NOW.0 + 604_800)));
    }
}
