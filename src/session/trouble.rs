//! A renewal in trouble: what is kept of it, and when the next try is due.
//!
//! ```text
//!               fails              tries or time used up             ceiling
//! authorized ──────────▶ short ───────────────────────▶ quiet ──────────────▶ login required
//!      ▲                 10 s → 2 min, inside             every 10 min, callers
//!      └── renewed ────  one attempt ─────────────────── get an error at once
//! ```
//!
//! It is saved, so that a restart neither forgets how long the trouble has lasted nor begins another
//! round of tries. Within a run it is judged by the clock that can't be set.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::config::Retry;
use crate::text::printable;
use crate::time::{Mono, Now, UnixTime};
use crate::wire::failure::MAX_RETRY_AFTER;

/// How it stands with the renewal of one generation of tokens. New tokens begin with a clean sheet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Renewal {
    /// Refreshes that were sent with this refresh token and whose outcome isn't saved: whoever sent
    /// them has crashed, or is at it.
    pub(crate) sent: u8,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mark: Option<Mark>,
    /// Since when somebody waits in vain for the store's lock, and nobody has marked a refresh since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) awaited: Option<UnixTime>,
    /// It is not tried any more. The refresh token is kept: there may be something to revoke.
    pub(crate) given_up: bool,
    pub(crate) trouble: Option<Trouble>,
}

/// Says that a refresh is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// A name drawn for it.
    pub(crate) by: String,
    pub(crate) at: UnixTime,
    /// Without the store's lock: whoever has that may not be the only one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) lockless: bool,
}

/// A refresh that was sent and whose sender crashed is tried once more: the answer tells whether the
/// token was spent. A program that crashes there again and again must not go on for ever.
pub(crate) const MOST_UNRESOLVED: u8 = 2;

impl Renewal {
    pub(crate) fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Somebody says that it sends a refresh.
    pub(crate) fn mark(&mut self, mark: Mark) {
        self.sent = self.sent.saturating_add(1);
        self.mark = Some(mark);
        self.awaited = None;
    }

    /// It wasn't sent after all.
    pub(crate) fn take_back(&mut self, by: &str) {
        if self.is_marked_by(by) {
            self.sent = self.sent.saturating_sub(1);
            self.mark = None;
        }
    }

    pub(crate) fn is_marked_by(&self, by: &str) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.by == by)
    }
}

/// Refreshes have failed, and nothing was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    pub(crate) since: UnixTime,
    /// When the last try failed.
    last: UnixTime,
    /// How long after that the next one is due, in seconds.
    #[serde(deserialize_with = "bounded")]
    wait: u64,
    tries: u32,
    pub(crate) phase: Phase,
    /// What failed, as the caller is told.
    #[serde(deserialize_with = "shown")]
    pub(crate) what: String,
}

/// Whoever can write to the store, or to the settings, keeps callers waiting no longer than a server can.
fn bounded<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    u64::deserialize(from).map(at_most)
}

fn at_most(wait: u64) -> u64 {
    wait.min(MAX_RETRY_AFTER.as_secs())
}

/// Who wrote it may have been anybody.
fn shown<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| printable(&text))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// The attempt itself tries again.
    Short,
    /// Callers get an error at once.
    Quiet,
    /// The server said no, but not that the grant is dead: a login may help, and so may time.
    Refused,
}

/// What has just failed.
pub(crate) struct Setback {
    pub(crate) what: String,
    /// How long the server wants to be left alone.
    pub(crate) asked: Option<Duration>,
    pub(crate) refused: bool,
}

impl Trouble {
    /// After another failure. `lasted`: how long it has been going on.
    pub(crate) fn after(
        previous: Option<&Trouble>,
        lasted: Duration,
        setback: Setback,
        retry: &Retry,
        now: UnixTime,
    ) -> Self {
        let before = previous.map_or(0, |trouble| trouble.tries);
        let asked = setback.asked.map_or(0, |asked| asked.as_secs());
        let doubled = retry.first_delay_seconds.saturating_mul(2_u64.saturating_pow(before));
        let short = doubled.min(retry.longest_delay_seconds).max(asked).max(1);
        let tries = before.saturating_add(1);
        let is_short = tries < retry.tries
            && asked <= retry.longest_delay_seconds
            && lasted.as_secs().saturating_add(short) <= retry.within_seconds;
        let phase = match is_short {
            _ if setback.refused => Phase::Refused,
            true => Phase::Short,
            false => Phase::Quiet,
        };
        let wait = if is_short { short } else { retry.quiet_seconds.max(asked).max(1) };
        let wait = at_most(wait);
        let since = UnixTime(now.0.saturating_sub(lasted.as_secs()));
        Self { since, last: now, wait, tries, phase, what: setback.what }
    }

    /// When the next try is due, if no clock is set meanwhile.
    pub(crate) fn next(&self) -> UnixTime {
        self.last.plus(self.wait())
    }

    pub(crate) fn wait(&self) -> Duration {
        Duration::from_secs(self.wait)
    }

    pub(crate) fn state(&self) -> SessionState {
        SessionState::Retrying { since: self.since, next: self.next() }
    }

    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }
}

/// A trouble on the clock of this run. What the wall clock says is believed once, when the trouble
/// becomes known, and never to make a wait longer than it was.
#[derive(Debug)]
pub(crate) struct Anchor {
    seen: Mono,
    lasted: Duration,
    left: Duration,
}

impl Anchor {
    pub(crate) fn new(trouble: &Trouble, now: Now) -> Self {
        let passed = trouble.last.until(now.wall);
        // A failure that is still to come: the clock was set back since, nobody knows when.
        let is_believed = now.wall.until(trouble.last) <= trouble.wait();
        let left = if is_believed { trouble.wait() } else { Duration::ZERO };
        Self {
            seen: now.mono,
            lasted: trouble.since.until(trouble.last).saturating_add(passed),
            left: left.saturating_sub(passed),
        }
    }

    pub(crate) fn left(&self, now: Mono) -> Duration {
        self.left.saturating_sub(self.seen.until(now))
    }

    /// The next try is due at once.
    pub(crate) fn waive(&mut self) {
        self.left = Duration::ZERO;
    }

    pub(crate) fn lasted(&self, now: Mono) -> Duration {
        self.lasted.saturating_add(self.seen.until(now))
    }
}

/// How a session stands: what a host shows, and what decides whether it bothers anybody.
///
/// ```
/// use mcp_auth::SessionState;
///
/// /// What an editor's status bar shows.
/// fn badge(state: SessionState) -> &'static str {
///     match state {
///         SessionState::Authorized | SessionState::NotRequired => "connected",
///         SessionState::Retrying { .. } => "server trouble",
///         SessionState::LoginRequired => "click to log in",
///         _ => "",
///     }
/// }
///
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.log_in()?;
/// # let now = s.now();
/// # let machine = s.machine();
/// assert_eq!(badge(machine.state(now)), "connected");
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// The server wants no authorization.
    NotRequired,
    /// There is a token, or one can be had without a person.
    Authorized,
    /// Renewals fail, and nothing is lost: an access token that is still valid is lent meanwhile.
    Retrying {
        /// Since when.
        since: UnixTime,
        /// When the next try is due: a demand after that moment makes it.
        next: UnixTime,
    },
    /// Only a person can go on.
    LoginRequired,
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionState::Unknown => f.write_str("not known yet"),
            SessionState::NotRequired => f.write_str("no authorization required"),
            SessionState::Authorized => f.write_str("authorized"),
            SessionState::Retrying { since, next } => {
                write!(f, "retrying since {since}, next at {next}")
            }
            SessionState::LoginRequired => f.write_str("login required"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixTime = UnixTime(1_000_000);

    fn setback(asked: Option<u64>) -> Setback {
        Setback { what: "HTTP 503".into(), asked: asked.map(Duration::from_secs), refused: false }
    }

    fn now(wall: u64, mono: u64) -> Now {
        Now { wall: UnixTime(wall), mono: Mono(Duration::from_secs(mono)) }
    }

    #[test]
    fn five_tries_ten_seconds_to_two_minutes_apart_and_then_every_ten_minutes() {
        let retry = Retry::default();
        let (mut trouble, mut at, mut waits) = (None, START, Vec::new());
        for _ in 0..7 {
            let lasted = START.until(at);
            let next = Trouble::after(trouble.as_ref(), lasted, setback(None), &retry, at);
            waits.push((next.wait, next.phase));
            at = next.next();
            trouble = Some(next);
        }
        use Phase::{Quiet, Short};
        let short = [10, 20, 40, 80].map(|wait| (wait, Short));
        assert_eq!(waits, [&short[..], &[(600, Quiet); 3]].concat());
        assert_eq!(trouble.map(|trouble| trouble.since), Some(START));
    }

    #[test]
    fn what_the_server_asks_for_counts_if_it_is_longer() {
        let retry = Retry::default();
        for (asked, wait, phase) in
            [(5, 10, Phase::Short), (90, 90, Phase::Short), (121, 600, Phase::Quiet)]
        {
            let after = Trouble::after(None, Duration::ZERO, setback(Some(asked)), &retry, START);
            assert_eq!((after.wait, after.phase), (wait, phase));
        }
        let after = Trouble::after(None, Duration::ZERO, setback(Some(7200)), &retry, START);
        assert_eq!(after.wait, 7200);
    }

    #[test]
    fn no_settings_and_no_clock_make_a_storm_or_an_overflow() {
        for seconds in [0, u64::MAX] {
            let retry = Retry {
                first_delay_seconds: seconds,
                longest_delay_seconds: seconds,
                tries: 9,
                within_seconds: seconds,
                quiet_seconds: seconds,
                give_up_seconds: seconds,
            };
            for wall in [0, u64::MAX] {
                let lasted = Duration::from_secs(wall);
                let after = Trouble::after(None, lasted, setback(None), &retry, UnixTime(wall));
                assert!(after.wait >= 1);
                let anchor = Anchor::new(&after, now(wall, 5));
                assert!(anchor.left(Mono::default()) >= Duration::from_secs(1));
                assert!(anchor.lasted(Mono(Duration::MAX)) >= lasted);
            }
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_back_does_not_make_the_wait_longer() {
        let trouble = Trouble::after(None, Duration::ZERO, setback(None), &Retry::default(), START);
        let left = |wall: u64, later: u64| {
            Anchor::new(&trouble, now(wall, 100)).left(now(0, 100 + later).mono).as_secs()
        };
        assert_eq!((left(START.0, 0), left(START.0, 4), left(START.0 + 4, 0)), (10, 6, 6));
        assert_eq!((left(START.0 - 5, 0), left(START.0 - 5, 4)), (10, 6));
        assert_eq!((left(0, 0), left(u64::MAX, 0)), (0, 0));
    }
}
