//! A login that is pending: the mark in the record by which one program says that it asks a person,
//! so that no other asks too.
//!
//! It ends with its program: that renews it every few seconds. Whoever waits judges by a clock of
//! its own whether it is still renewed, so no wall clock matters.
//!
//! While a call is out nothing can be saved. Before one, the mark says how long that may take; whoever is
//! killed then counts as dead that much later, up to the next renewal:
//!
//! | busy with | counts as dead after |
//! |---|---|
//! | its person, a pause, a save of its own | 20 s |
//! | the metadata of the server, looked up again | 35 s |
//! | a secret that is read, a client's upkeep | 45 s |
//! | a registration, a pushed request, a device authorization, a signature | 55 s |
//! | a token request: each try, each poll for a code, a refresh of earlier tokens meanwhile | 85 s |
//! | the lock, for such a refresh | 115 s |
//! | the same once more, for the store could not be read; then the refresh | 180 s |

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::time::Mono;

/// How often a program renews its mark.
pub(crate) const BEAT: Duration = Duration::from_secs(5);
/// How long it may be silent beyond the call that is out: a beat or two may fail.
pub(crate) const LIFE: Duration = Duration::from_secs(20);
/// A mark can't ask for more.
const LONGEST_LIFE: Duration = Duration::from_secs(180);

/// Who asks a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingLogin {
    /// A name drawn for this login.
    by: String,
    /// Changes as long as its program lives.
    beat: u64,
    /// In seconds: the program is gone if it was silent for so long.
    life: u64,
    /// What its person was sent away with, where that is an older client: a program that is gone may
    /// have been ended because the server showed them an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<EarlierClient>,
    /// It is over. Left for those who have waited for it, until another takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

/// A client that was registered before the login that it is used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EarlierClient {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
}

/// What those who wait for a login have to know of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// Its tokens are in the record.
    Obtained,
    /// The person said no.
    Denied,
}

impl PendingLogin {
    pub(crate) fn new(by: String) -> Self {
        Self { by, beat: 0, life: LIFE.as_secs(), sent: None, ended: None }
    }

    /// Its program lives, and is about to be silent for so long.
    pub(crate) fn renewed(&mut self, silence: Duration) {
        self.beat = self.beat.wrapping_add(1);
        self.life = LIFE.saturating_add(silence).min(LONGEST_LIFE).as_secs();
    }

    pub(crate) fn end(&mut self, how: Option<Ended>) {
        self.ended = how;
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.ended.is_none()
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Whether both are of the same login.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        self.by == other.by
    }

    fn life(&self) -> Duration {
        Duration::from_secs(self.life).min(LONGEST_LIFE)
    }

    /// A mark that can't be read is none: nobody loses a record over it.
    pub(crate) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        Ok(serde_json::from_value(value).ok())
    }
}

/// Another program's mark, watched.
#[derive(Debug)]
pub(crate) struct Watch {
    mark: PendingLogin,
    /// How long it was seen not to change.
    silent: Duration,
    looked: Mono,
}

/// What is seen of a login elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nobody asks; or who did is gone.
    Nobody,
    /// Somebody asks.
    Asking,
    /// The login that was waited for has ended.
    Ended(Ended),
}

impl Watch {
    /// Looks at the record's mark. Between two looks no more counts than one beat: whoever didn't look may
    /// have slept, and the other as well; or both have waited for the store.
    pub(crate) fn look(watch: &mut Option<Self>, mark: Option<&PendingLogin>, now: Mono) -> Sight {
        let Some(mark) = mark else { return Sight::Nobody };
        let known = watch.as_mut().filter(|watch| watch.mark.is_of(mark));
        if let Some(ended) = mark.ended {
            return if known.is_some() { Sight::Ended(ended) } else { Sight::Nobody };
        }
        match known {
            Some(known) if known.mark == *mark => {
                known.silent += known.looked.until(now).min(BEAT);
                known.looked = now;
                if known.silent >= mark.life() { Sight::Nobody } else { Sight::Asking }
            }
            _ => {
                *watch = Some(Self { mark: mark.clone(), silent: Duration::ZERO, looked: now });
                Sight::Asking
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    /// Looks every second from then on; when the mark counts as dead, in seconds.
    fn dead_after(mark: &PendingLogin, from: u64) -> u64 {
        let mut watch = None;
        let looks = (0..1000).map(|second| Watch::look(&mut watch, Some(mark), at(from + second)));
        looks.take_while(|sight| *sight == Sight::Asking).count() as u64
    }

    #[test]
    fn a_mark_that_is_not_renewed_dies_whatever_life_it_claims() {
        let mut mark = PendingLogin::new("a".into());
        for (silence, dies) in [(0, 20), (65, 85), (u64::MAX, 180)] {
            mark.renewed(Duration::from_secs(silence));
            assert_eq!(dead_after(&mark, u64::MAX - 2000), dies);
        }
        mark.renewed(Duration::ZERO);
        assert_eq!(dead_after(&mark, 7), LIFE.as_secs());
        for (life, dies) in [(0, 1), (u64::MAX, LONGEST_LIFE.as_secs())] {
            mark.life = life;
            assert_eq!(dead_after(&mark, 0), dies);
        }
    }

    #[test]
    fn one_that_is_renewed_lives() {
        let (mut watch, mut mark) = (None, PendingLogin::new("a".into()));
        for second in 0..1000 {
            if second % 15 == 0 {
                mark.renewed(Duration::ZERO);
            }
            assert_eq!(Watch::look(&mut watch, Some(&mark), at(second)), Sight::Asking);
        }
    }

    #[test]
    fn looks_that_are_far_apart_see_the_living_and_the_dead() {
        for every in [5, 6, 9, 31, 91] {
            let (mut watch, mut mark) = (None, PendingLogin::new("a".into()));
            let mut at_second = 0;
            let mut look = |mark: &PendingLogin| {
                at_second += every;
                Watch::look(&mut watch, Some(mark), at(at_second))
            };
            // It is renewed as slowly: by a look, and a save.
            for number in 0..1000 {
                if number % 3 == 0 {
                    mark.renewed(Duration::ZERO);
                }
                assert_eq!(look(&mark), Sight::Asking, "{every}");
            }
            let seen = (0..1000).take_while(|_| look(&mark) == Sight::Asking).count();
            assert!((2..=4).contains(&seen), "{every}: {seen}");
        }
    }

    #[test]
    fn time_in_which_nobody_looked_says_next_to_nothing() {
        let (mut watch, mark) = (None, PendingLogin::new("a".into()));
        for second in [0, 10_000, 10_001, 20_000, 20_005] {
            assert_eq!(Watch::look(&mut watch, Some(&mark), at(second)), Sight::Asking);
        }
    }

    #[test]
    fn its_end_is_for_those_who_have_waited_for_it() {
        let mut mark = PendingLogin::new("a".into());
        let (mut watch, mut newcomer) = (None, None);
        Watch::look(&mut watch, Some(&mark), at(0));
        mark.end(Some(Ended::Denied));
        assert_eq!(Watch::look(&mut watch, Some(&mark), at(1)), Sight::Ended(Ended::Denied));
        assert_eq!(Watch::look(&mut newcomer, Some(&mark), at(1)), Sight::Nobody);
        let another = PendingLogin::new("b".into());
        assert_eq!(Watch::look(&mut watch, Some(&another), at(2)), Sight::Asking);
        assert_eq!(Watch::look(&mut watch, None, at(3)), Sight::Nobody);
    }

    #[test]
    fn what_cannot_be_read_is_no_mark() {
        #[derive(Deserialize)]
        struct Holder {
            #[serde(default, deserialize_with = "PendingLogin::read")]
            login: Option<PendingLogin>,
        }
        for text in [
            "{}",
            r#"{"login":null}"#,
            r#"{"login":7}"#,
            r#"{"login":{"by":"a"}}"#,
            r#"{"login":{"by":"a","beat":-1,"life":1}}"#,
            r#"{"login":{"by":"a","beat":1,"life":1,"ended":"otherwise"}}"#,
        ] {
            assert_eq!(serde_json::from_str::<Holder>(text).unwrap().login, None, "{text}");
        }
        let mark = PendingLogin::new("a".into());
        let text = format!(r#"{{"login":{}}}"#, serde_json::to_string(&mark).unwrap());
        assert_eq!(serde_json::from_str::<Holder>(&text).unwrap().login, Some(mark));
    }
}
