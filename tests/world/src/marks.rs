//! The mark of a login that is pending, as it is on disk, and the laws about it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// Who says on disk that it asks its person, and since when it said nothing new.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// The runs of programs, by the names that they gave their logins.
    owners: BTreeMap<String, usize>,
    changed: Duration,
}

/// A save that was done.
pub(crate) struct Saved<'a> {
    pub(crate) run: usize,
    pub(crate) at: Duration,
    pub(crate) before: Option<&'a [u8]>,
    pub(crate) after: Option<&'a [u8]>,
    /// What is on disk isn't what it was made from, or somebody has logged out.
    pub(crate) excused: bool,
}

/// What a save says of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Anew,
    /// It had begun before.
    SaidAgain,
}

#[derive(Debug, PartialEq, Eq)]
struct Mark {
    by: String,
    beat: u64,
    life: u64,
}

/// The mark in a record, if its login is not over.
fn pending(record: Option<&[u8]>) -> Option<Mark> {
    let record: Value = serde_json::from_slice(record?).ok()?;
    let login = record.get("login").filter(|login| login["ended"].is_null())?;
    let number = |name: &str| login[name].as_u64();
    Some(Mark { by: login["by"].as_str()?.into(), beat: number("beat")?, life: number("life")? })
}

/// The callback ports of the clients in a record of which nobody doubts that the server knows them:
/// that would be one with which a person never came back, or was sent away by a login that is pending.
pub(crate) fn client_ports(record: Option<&[u8]>) -> Vec<u16> {
    let record: Option<Value> = record.and_then(|record| serde_json::from_slice(record).ok());
    let clients = record.as_ref().and_then(|record| record["registrations"].as_object());
    let good = clients.into_iter().flat_map(|all| all.values());
    let sent = record.as_ref().and_then(|record| record["login"]["sent"]["client_id"].as_str());
    let doubtful =
        |client: &Value| client.get("suspect").is_some() || client["client_id"].as_str() == sent;
    good.filter(|client| !doubtful(client)).filter_map(port).collect()
}

/// That of a client which is kept for its tokens alone.
pub(crate) fn former_port(record: Option<&[u8]>) -> Option<u16> {
    port(&serde_json::from_slice::<Value>(record?).ok()?["former"])
}

fn port(client: &Value) -> Option<u16> {
    url::Url::parse(client["redirect_uri"].as_str()?).ok()?.port()
}

impl Marks {
    /// Laws: a program takes its turn when nobody asks, or when whoever did was silent for as long as
    /// its mark may live; and only its own program takes a mark away. Whether a turn was taken, or is
    /// said again after somebody has logged out.
    pub(crate) fn saved(&mut self, saved: &Saved<'_>) -> Option<Taken> {
        let (before, after) = (pending(saved.before), pending(saved.after));
        if before == after {
            return None;
        }
        let silent = saved.at.saturating_sub(self.changed);
        self.changed = saved.at;
        let owner = before.as_ref().and_then(|mark| self.owners.get(&mark.by).copied());
        let gone = before.as_ref().is_none_or(|mark| silent.as_secs() >= mark.life);
        let its = owner == Some(saved.run);
        let taken = after.filter(|new| before.as_ref().is_none_or(|old| old.by != new.by));
        let Some(taken) = taken else {
            assert!(its || saved.excused, "the mark of run {owner:?} is changed by another");
            return None;
        };
        assert!(
            gone || its || saved.excused,
            "a turn is taken from run {owner:?}, which was silent for {silent:?} only"
        );
        Some(match self.owners.insert(taken.by, saved.run) {
            None => Taken::Anew,
            Some(_) => Taken::SaidAgain,
        })
    }
}
