//! A wrong wall clock, noticed by the `Date` of servers (RFC 9110 §6.6.1). Expiry is judged by our own
//! clock all the same: `expires_in` counts from the moment at which the answer came.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::notice::Notice;
use crate::time::{Now, UnixTime};

/// The wall clock of this machine isn't that of a server: one of the two is wrong.
///
/// ```
/// use mcp_auth::Notice;
///
/// /// What a person is told of their clock.
/// fn warning(notice: &Notice) -> Option<String> {
///     let Notice::ClockSkew(skew) = notice else { return None };
///     Some(format!("{skew}. {}", skew.advice()))
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.set_own_clock(-300);
/// # s.log_in()?;
/// # let warnings: Vec<_> = s.notices.iter().filter_map(warning).collect();
/// # assert!(warnings[0].starts_with("this machine's clock is 299 s behind that of mcp.example.com. Set"));
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClockSkew {
    /// The server, as a host name and, where it isn't the usual one, a port.
    pub server: String,
    /// By how many seconds ours is ahead of the server's; negative where it is behind.
    pub seconds: i64,
    /// When the server last said so, by our clock.
    pub seen_at: UnixTime,
}

/// Smaller differences don't matter: a token is renewed before its last seconds.
const TOLERANCE: u64 = 60;
/// More than a login talks to.
const MAX_SERVERS: usize = 4;

impl ClockSkew {
    /// What to do next, in a sentence.
    pub fn advice(&self) -> String {
        "Set this machine's clock: by it the life of tokens is judged. If it is right, tell the \
         server's operator."
            .into()
    }
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, server) = (self.seconds.unsigned_abs(), &self.server);
        let where_to = if self.seconds < 0 { "behind" } else { "ahead of" };
        write!(f, "this machine's clock is {by} s {where_to} that of {server}")
    }
}

/// By how much our clock is ahead of one that said `date` between these two moments: by as little
/// as can be. A clock that is set, or a machine that sleeps meanwhile, makes nothing worse.
pub(crate) fn ahead(asked: Now, answered: Now, date: UnixTime) -> i64 {
    // Both the date and our clocks leave out the fraction of a second.
    let took = asked.mono.until(answered.mono).as_secs().saturating_add(1);
    let earliest = asked.wall.0.min(answered.wall.0.saturating_sub(took)).saturating_sub(1);
    let latest = answered.wall.0.max(asked.wall.0.saturating_add(took));
    let signed = |difference: u64| i64::try_from(difference).unwrap_or(i64::MAX);
    if date.0 < earliest {
        signed(earliest - date.0)
    } else {
        -signed(date.0.saturating_sub(latest))
    }
}

/// What was told of each server's clock: a change is told once, also where servers contradict each
/// other.
#[derive(Debug, Default)]
pub(crate) struct Told(Vec<ClockSkew>);

impl Told {
    /// Takes in what a server's date has shown. `known` is the last word of any server.
    pub(crate) fn compare(
        &mut self,
        known: &mut Option<ClockSkew>,
        server: String,
        seconds: i64,
        now: UnixTime,
    ) -> Option<Notice> {
        let there = self.0.iter().position(|told| told.server == server);
        let before = there.map(|at| self.0.remove(at));
        let last = known.take();
        if seconds.unsigned_abs() <= TOLERANCE {
            let told = before.is_some() || last.is_some_and(|skew| skew.server == server);
            return told.then_some(Notice::ClockRight { server });
        }
        // As this server has said before, or as another one has, or told by an earlier run.
        let same = |skew: &ClockSkew| skew.seconds.abs_diff(seconds) <= TOLERANCE;
        let is_new = !before.as_ref().is_some_and(same) && !last.as_ref().is_some_and(same);
        let skew = ClockSkew { server, seconds, seen_at: now };
        self.0.truncate(MAX_SERVERS - 1);
        self.0.insert(0, before.filter(same).unwrap_or_else(|| skew.clone()));
        *known = Some(skew.clone());
        is_new.then_some(Notice::ClockSkew(skew))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::Mono;

    fn at(wall: u64, mono: u64) -> Now {
        Now { wall: UnixTime(wall), mono: Mono(Duration::from_secs(mono)) }
    }

    #[test]
    fn the_time_that_the_answer_took_is_no_difference() {
        let during = |date| ahead(at(1000, 0), at(1050, 50), UnixTime(date));
        assert_eq!([1000, 1025, 1050].map(during), [0; 3]);
        assert_eq!((during(900), during(1150)), (98, -99));
    }

    #[test]
    fn neither_is_a_clock_that_is_set_or_sleep_meanwhile() {
        // Set back, set forward, asleep: the truth lies between, and is given the benefit.
        for (asked, answered) in
            [(at(5000, 0), at(1000, 10)), (at(1000, 0), at(5000, 10)), (at(1000, 0), at(5000, 0))]
        {
            for date in [1000, 3000, 5000] {
                assert_eq!(ahead(asked, answered, UnixTime(date)), 0);
            }
        }
    }

    #[test]
    fn at_the_ends_of_time_nothing_overflows() {
        let ends = [0, 1, u64::MAX - 1, u64::MAX];
        for (asked, answered, date) in
            ends.iter().flat_map(|a| ends.iter().flat_map(move |b| ends.map(|c| (*a, *b, c))))
        {
            let mono = Mono(Duration::MAX);
            let answered = Now { wall: UnixTime(answered), mono };
            let skew = ahead(at(asked, 0), answered, UnixTime(date));
            let _ = Told::default().compare(&mut None, "a".into(), skew, answered.wall);
        }
        assert_eq!(ahead(at(u64::MAX, 0), at(u64::MAX, 0), UnixTime(0)), i64::MAX);
        assert_eq!(ahead(at(0, 0), at(0, 0), UnixTime(u64::MAX)), -i64::MAX);
    }

    #[test]
    fn only_changes_are_told() {
        let (mut memory, mut known) = (Told::default(), None);
        let mut tell = |server: &str, seconds| {
            let now = UnixTime(1);
            let notice = memory.compare(&mut known, server.to_owned(), seconds, now);
            (notice.map(|notice| notice.to_string()), known.as_ref().map(|skew| skew.seconds))
        };
        assert_eq!(tell("a", 60), (None, None));
        let (told, known) = tell("a", 300);
        assert!(told.unwrap().contains("300 s ahead of that of a"));
        assert_eq!(known, Some(300));
        // It drifts, and another server disagrees.
        assert_eq!(tell("a", 350), (None, Some(350)));
        for _ in 0..3 {
            assert_eq!(tell("b", 0), (None, None));
            assert_eq!(tell("a", 310), (None, Some(310)));
        }
        let (told, _) = tell("a", -300);
        assert!(told.unwrap().contains("300 s behind that of a"));
        assert!(tell("a", 0).0.unwrap().contains("right"));
        assert_eq!(tell("a", 0), (None, None));
        assert!(tell("a", 300).0.is_some());
    }

    #[test]
    fn what_an_earlier_run_has_told_is_told() {
        let skew = ClockSkew { server: "a".into(), seconds: 300, seen_at: UnixTime(1) };
        let compare = |seconds| {
            let mut known = Some(skew.clone());
            Told::default().compare(&mut known, "a".into(), seconds, UnixTime(2)).is_some()
        };
        assert_eq!([310, 0, 900].map(compare), [false, true, true]);
    }

    #[test]
    fn many_servers_are_no_burden() {
        let mut memory = Told::default();
        for count in 0..100 {
            memory.compare(&mut None, count.to_string(), 300, UnixTime(1));
        }
        assert!(memory.0.len() <= MAX_SERVERS);
    }
}
