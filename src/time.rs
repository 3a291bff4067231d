//! Time is an argument: two clocks, read by the host, never by the core.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z on the wall clock: what token expiry is judged by.
///
/// It survives restarts and can jump; see [`Mono`] for the clock that can't.
///
/// ```
/// use std::time::Duration;
/// use mcp_auth::UnixTime;
///
/// let (now, expires_at) = (UnixTime(1_790_000_000), UnixTime(1_790_003_600));
/// assert_eq!(now.until(expires_at), Duration::from_secs(3600));
/// assert_eq!(expires_at.until(now), Duration::ZERO, "it has passed");
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The time `by` later (whole seconds; stops at the end of the range).
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_secs()))
    }

    /// How long until `later`; zero when it has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_secs(later.0.saturating_sub(self.0))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Time since any fixed moment of this run, on a clock that never goes back: what deadlines are
/// judged by.
///
/// ```
/// use std::time::Duration;
/// use mcp_auth::Mono;
///
/// // `Mono(started.elapsed())`, and what `Output::Wait` said.
/// let (now, deadline) = (Mono(Duration::from_secs(50)), Mono(Duration::from_secs(60)));
/// let sleep = now.until(deadline);
/// assert_eq!(sleep, Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub Duration);

impl Mono {
    /// The moment `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// How long until `later`; zero when it has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

/// Both clocks, read at the same moment by the host.
///
/// ```
/// use std::time::Duration;
/// use mcp_auth::{Mono, Now, UnixTime};
///
/// // A test owns time; a host reads `SystemTime` and `Instant`.
/// let now = Now { wall: UnixTime(1_790_000_000), mono: Mono(Duration::ZERO) };
/// assert_eq!(now.wall.plus(Duration::from_secs(60)), UnixTime(1_790_000_060));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: UnixTime,
    /// The monotonic clock.
    pub mono: Mono,
}
