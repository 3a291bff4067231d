//! What the servers issued, who has it, and the laws about it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::AuthorizationServer;

/// One answer of the token endpoint that brought tokens.
#[derive(Debug)]
pub(super) struct Issued {
    access: String,
    refresh: Option<String>,
    /// The login that they descend from.
    family: u64,
    /// What they were refreshed from.
    parent: Option<usize>,
    /// When a person logged in for them, by the wall clock.
    logged_in_at: u64,
    /// The run of a program that asked for them.
    to: usize,
    arrived: bool,
    saved: bool,
    /// Their first save put them where nothing was.
    founded: bool,
    /// And it was not answered: if nothing is there again, that says nothing about a logout.
    unsure: bool,
    /// A login was saved in the place of what they descend from, or a logout.
    replaced: bool,
    /// Why nobody can be blamed if they are lost.
    excuse: Option<&'static str>,
}

/// Everything that was issued in a story, and what is known of it on disk.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    issued: Vec<Issued>,
    /// How many had been issued when somebody last logged out.
    logged_out: Option<usize>,
    /// Refresh tokens that were sent by somebody who could not read the disk.
    blindly: BTreeSet<String>,
    /// Refresh tokens that the server has refused: should it take one again, for its clock was set back,
    /// nobody has to know.
    refused: BTreeSet<String>,
    /// By run: the access tokens that it may lend.
    lendable: Vec<BTreeSet<String>>,
    /// By run: what it has seen on disk, or put there.
    seen: Vec<BTreeSet<Option<Vec<u8>>>>,
}

/// The tokens of a stored record.
#[derive(Debug, PartialEq, Eq)]
struct OnDisk {
    access: String,
    refresh: Option<String>,
}

pub(super) const UNSAVED: &str = "its save failed";
const BLIND: &str = "somebody could not read the disk";

fn on_disk(bytes: Option<&[u8]>) -> Option<OnDisk> {
    let record: Value = match serde_json::from_slice(bytes?) {
        Ok(record) => record,
        Err(error) => panic!("what is on disk is torn: {error}"),
    };
    let text = |name: &str| record["tokens"][name].as_str().map(str::to_owned);
    Some(OnDisk { access: text("access_token")?, refresh: text("refresh_token") })
}

/// Whether two programs have crashed between saying that they refresh and saving what came of it: it
/// isn't tried a third time, sent or not.
pub(super) fn is_worn_out(bytes: Option<&[u8]>) -> bool {
    let record: Option<Value> = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
    record.is_some_and(|record| {
        let renewal = &record["tokens"]["renewal"];
        renewal["given_up"] == true || renewal["sent"].as_u64() >= Some(2)
    })
}

impl Ledger {
    /// A program starts; this names its run.
    pub(super) fn run(&mut self) -> usize {
        self.lendable.push(BTreeSet::new());
        self.seen.push(BTreeSet::new());
        self.lendable.len() - 1
    }

    /// Whether something was lost that no client could keep, or that a disk has failed to.
    pub(super) fn is_excused(&self) -> bool {
        !self.blindly.is_empty() || self.issued.iter().any(|tokens| tokens.excuse.is_some())
    }

    /// Somebody refreshes who can't read the disk: better than to lose the login that is in memory.
    pub(super) fn sent_blindly(&mut self, refresh: String) {
        let parent = self.by_refresh(&refresh);
        for child in self.issued.iter_mut().filter(|t| t.parent.is_some() && t.parent == parent) {
            child.excuse.get_or_insert(BLIND);
        }
        self.blindly.insert(refresh);
    }

    pub(super) fn anything_saved(&self) -> bool {
        self.issued.iter().any(|tokens| tokens.saved)
    }

    pub(super) fn has_logged_out(&self) -> bool {
        self.logged_out.is_some()
    }

    fn by_access(&self, access: &str) -> Option<usize> {
        self.issued.iter().position(|tokens| tokens.access == access)
    }

    fn by_refresh(&self, refresh: &str) -> Option<usize> {
        self.issued.iter().position(|tokens| tokens.refresh.as_deref() == Some(refresh))
    }

    pub(super) fn refused(&mut self, refresh: &str) {
        self.refused.insert(refresh.to_owned());
    }

    /// Who has begun so goes on so, whoever has the lock by then.
    pub(super) fn was_sent_blindly(&self, refresh: &str) -> bool {
        self.blindly.contains(refresh)
    }

    /// Law: a refresh token is sent a second time only if what it brought was lost.
    pub(super) fn sent(&self, refresh: &str) {
        let Some(parent) = self.by_refresh(refresh) else {
            panic!("a refresh token that nobody issued was sent")
        };
        let children = self.issued.iter().enumerate().filter(|(_, t)| t.parent == Some(parent));
        for (number, child) in children {
            assert!(
                child.excuse.is_some(),
                "a second refresh with the refresh token of tokens {parent}; the first one brought \
                 tokens {number}, and nothing has happened to them"
            );
        }
    }

    /// The server has issued tokens, in an answer to this run.
    pub(super) fn issued(
        &mut self,
        server: &AuthorizationServer,
        to: usize,
        paid_with: Option<&str>,
        returned_at: u64,
    ) -> usize {
        let owned = |token: Option<&str>| token.map(str::to_owned);
        let access = owned(server.newest_access_token()).unwrap_or_default();
        let family = server.family(&access).unwrap_or_default();
        let parent = paid_with.and_then(|paid| self.by_refresh(paid));
        let blind = paid_with.is_some_and(|paid| self.blindly.contains(paid));
        self.issued.push(Issued {
            access,
            refresh: owned(server.last_refresh_token()),
            family,
            parent,
            logged_in_at: parent.map_or(returned_at, |parent| self.issued[parent].logged_in_at),
            to,
            arrived: false,
            saved: false,
            founded: false,
            unsure: false,
            replaced: parent.is_some_and(|parent| self.issued[parent].replaced),
            excuse: blind.then_some(BLIND),
        });
        self.issued.len() - 1
    }

    pub(super) fn arrived(&mut self, number: usize) {
        if let Some(tokens) = self.issued.get_mut(number) {
            tokens.arrived = true;
        }
    }

    /// These tokens may be lost from now on, unless they are on disk.
    pub(super) fn excuse(&mut self, number: usize, why: &'static str) {
        if let Some(tokens) = self.issued.get_mut(number).filter(|tokens| !tokens.saved) {
            tokens.excuse.get_or_insert(why);
        }
    }

    /// A program ends with all that it has not saved.
    pub(super) fn ended(&mut self, run: usize, why: &'static str) {
        for tokens in self.issued.iter_mut().filter(|t| t.to == run && !t.saved) {
            tokens.excuse.get_or_insert(why);
        }
    }

    /// The save of this record was done, and nobody has told its program.
    pub(super) fn unanswered(&mut self, record: Option<&[u8]>) {
        if let Some(number) = self.number(record) {
            self.issued[number].unsure = self.issued[number].founded;
        }
    }

    /// The number of the tokens in a record.
    pub(super) fn number(&self, record: Option<&[u8]>) -> Option<usize> {
        self.by_access(&on_disk(record)?.access)
    }

    /// The run has read this from the disk, or has written it there.
    pub(super) fn seen_by(&mut self, run: usize, bytes: Option<&[u8]>) {
        self.seen[run].insert(bytes.map(<[u8]>::to_vec));
    }

    pub(super) fn has_read(&self, run: usize) -> bool {
        !self.seen[run].is_empty()
    }

    /// The run has read this record, or its save of it was answered.
    pub(super) fn known_to(&mut self, run: usize, record: Option<&[u8]>) {
        if let (Some(tokens), Some(lendable)) = (on_disk(record), self.lendable.get_mut(run)) {
            lendable.insert(tokens.access);
        }
    }

    /// The run wanted to save, and could not even read what is there.
    pub(super) fn could_not_save(&mut self, run: usize) {
        for tokens in self.issued.iter_mut().filter(|t| t.to == run && t.arrived && !t.saved) {
            tokens.excuse.get_or_insert(UNSAVED);
            self.lendable[run].insert(tokens.access.clone());
        }
    }

    /// Law: nobody lends what isn't saved, unless the save has failed.
    pub(super) fn lent(&self, run: usize, access: &str) {
        let lendable = self.lendable.get(run).is_some_and(|lendable| lendable.contains(access));
        assert!(lendable, "tokens {:?} are lent, and were not saved", self.by_access(access));
    }

    /// Law: a program that is at rest and thinks that all is saved has saved what it received.
    pub(super) fn at_rest(&self, run: usize) {
        // It gives way to a login that was made after it.
        let outdone = |t: &Issued| {
            let later = |o: &&Issued| o.family != t.family && o.logged_in_at > t.logged_in_at;
            // Or to what another has brought for the same refresh token, and could save later only.
            let twin = |o: &&Issued| o.parent.is_some() && o.parent == t.parent;
            let mut others = self.issued.iter().filter(|o| later(o) || twin(o));
            others.any(|other| other.saved)
        };
        let forgotten = |t: &Issued| {
            let lost = t.to == run && t.arrived && !t.saved && !t.replaced && t.excuse.is_none();
            lost && !outdone(t)
        };
        let found = self.issued.iter().position(forgotten);
        assert!(found.is_none(), "tokens {found:?} came, and nobody has them");
    }

    /// Laws: nobody overwrites what it hasn't read, and what is saved moves forward. A refresh
    /// replaces what it was made from, a login anything once, a logout everything for good.
    pub(super) fn saved(
        &mut self,
        run: usize,
        (before, after): (Option<&[u8]>, Option<&[u8]>),
        forgot: bool,
        takes: impl Fn(&str) -> bool,
    ) {
        let refused = self.refused.clone();
        let takes = |refresh: &str| takes(refresh) && !refused.contains(refresh);
        let seen = &mut self.seen[run];
        // Who could never read anything, and logs out, wants it gone.
        let unread = seen.is_empty() && forgot && after.is_none();
        let read = seen.contains(&before.map(<[u8]>::to_vec));
        assert!(read || unread, "what it has not read is overwritten");
        seen.insert(after.map(<[u8]>::to_vec));
        let nothing = before.is_none();
        let (before, after) = (on_disk(before), on_disk(after));
        match (before, after) {
            (None, None) => {}
            (Some(_), None) if forgot => {
                self.logged_out = Some(self.issued.len());
                self.issued.iter_mut().for_each(|tokens| tokens.replaced = true);
            }
            // A dead refresh token takes an access token along that the server has refused.
            (Some(before), None) => {
                let good = before.refresh.is_some_and(|refresh| takes(&refresh));
                assert!(!good, "tokens were erased without a logout");
            }
            (Some(before), Some(after)) if before.access == after.access => {
                let dropped = before.refresh.filter(|_| after.refresh.is_none());
                let good = dropped.is_some_and(|refresh| takes(&refresh));
                assert!(!good, "a refresh token that is still good was erased");
            }
            (before, Some(after)) => {
                let Some(new) = self.by_access(&after.access) else {
                    panic!("tokens that nobody issued were saved")
                };
                let tokens = &self.issued[new];
                // A login counts until it, or what was renewed from it, is saved for the first time.
                let unsaved = |family| !self.issued.iter().any(|t| t.family == family && t.saved);
                let fresh = tokens.to == run && unsaved(tokens.family);
                let dead = !tokens.refresh.as_deref().is_some_and(takes);
                let ended = after.refresh.is_none() && dead;
                assert!(ended || tokens.refresh == after.refresh, "a mix of tokens was saved");
                if let Some(end) = self.logged_out {
                    let undone = !fresh && !tokens.unsure && new < end;
                    assert!(!undone, "a logout is undone: tokens {new} come back");
                }
                if let Some(old) = before.and_then(|before| self.by_access(&before.access)) {
                    let renewed = tokens.family == self.issued[old].family && new > old;
                    assert!(fresh || renewed, "tokens {new} overwrite tokens {old}");
                }
                self.issued[new].founded |= !self.issued[new].saved && nothing;
                self.issued[new].saved = true;
                let family = self.issued[new].family;
                for other in self.issued.iter_mut().filter(|other| other.family != family) {
                    other.replaced = true;
                }
            }
        }
    }
}
