//! A crowd: two to five programs over one store, and a seed that decides whatever happens.
//!
//! Each turn one program moves: it takes its outputs, and one thing that is open between it and the
//! world is performed, or answered, or left for later. In between, people ask for tokens and use
//! them, time passes, and calamities come, of the kinds that the seed allows: programs are killed
//! (before an action or after it, so that the effect of an unanswered save is lost or kept), or
//! stopped, preferably while they hold the lock, and go on much later with what they were about to
//! do; answers are lost or come too late, the disk and the servers fail, clocks jump, somebody logs
//! out. At the end all calm down, and everybody gets a token again.
//!
//! The laws are checked after every step:
//!
//! - a refresh token is sent once, unless what it brought was lost by a crash before its save was
//!   answered, by the network or by the disk (also where it was saved later: another may have looked
//!   before), or whoever has sent it has held the lock or the mark, is stopped and counts as dead; and never by two programs at a time;
//! - nobody refreshes without the lock who hasn't waited for it for minutes, or can't read the disk; only a
//!   clock that is set while they wait makes those fewer;
//! - nobody overwrites a record that it has not read, with the lock or without;
//! - what is on disk only moves forward: no newer login is overwritten, no good refresh token is
//!   erased, no logout undone; and what a program received, it saves;
//! - no token is lent before it is saved, or its save has failed;
//! - no browser opens unless somebody who waits has welcomed it;
//! - nobody opens a browser without having said so on disk, if that works; nobody says so while
//!   another does, unless that has fallen silent; and at rest, all that want a new login open one
//!   browser between them;
//! - who knows of a registered client registers no other, unless its port is taken or its secret
//!   ends;
//! - where it ends, it is renewed under the lock, and nobody shows a token to manage it with that
//!   another program has spent, unless what took its place was lost;
//! - if nothing was lost, a new program gets a token without a person, and no server saw a reuse.
//!
//! A seed always tells the same story: [`tell`] tells it in words.

mod calamity;
mod dice;
mod ledger;
mod turns;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mcp_auth::{AttemptId, Demand, Error, ErrorKind, Mono, Need};

use super::{Scenario, need};
use crate::marks::Marks;
use crate::{ClientAuthentication, Person, What};
use calamity::Calamities;
use dice::Dice;
use ledger::Ledger;

/// Plays the story of this seed; whether all laws held. What breaks one is told by the panic hook.
pub fn holds(seed: u64) -> bool {
    std::panic::catch_unwind(|| Crowd::new(seed, None).play()).is_ok()
}

/// The story of this seed in words, up to its end or to the law that it breaks. The flag: whether
/// all laws held.
pub fn tell(seed: u64) -> (String, bool) {
    let story = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let told = story.clone();
    let played = std::panic::catch_unwind(move || Crowd::new(seed, Some(told)).play());
    let mut story = story.lock().map(|story| story.clone()).unwrap_or_default();
    if let Err(broken) = &played {
        let why = broken.downcast_ref::<String>().map(String::as_str);
        let why = why.or(broken.downcast_ref::<&str>().copied()).unwrap_or("it panics");
        let _ = writeln!(story, "BROKEN: {why}");
    }
    (story, played.is_ok())
}

type Story = std::sync::Arc<std::sync::Mutex<String>>;

struct Crowd {
    s: Scenario,
    dice: Dice,
    ledger: Ledger,
    marks: Marks,
    allowed: Calamities,
    members: Vec<Member>,
    /// The servers have ended logins of themselves.
    revoked: bool,
    /// When the wall clock was last set, by the one that can't be.
    jumped: Option<Duration>,
    /// When somebody last marked a refresh, or that it waits in vain, by the same.
    dated: Duration,
    /// The client has a secret that ends.
    secret_ends: bool,
    /// What a renewal of that secret brought was lost, or it failed.
    client_lost: bool,
    story: Option<Story>,
}

/// What is known of one program.
#[derive(Debug, Default)]
struct Member {
    run: usize,
    /// What it was asked for, and whether a browser was welcome.
    attempts: Vec<(AttemptId, bool)>,
    deadline: Option<Mono>,
    /// Somebody has logged out of it.
    forgot: bool,
    /// While its first load was out.
    ignores_load: bool,
    /// The same, and that is not on disk yet.
    forgetting: bool,
    /// It could not read the disk when it wanted the lock, and goes on without.
    blind: bool,
    /// How often in a row it has waited for the lock in vain.
    vain: u32,
    /// Since when, by the clock that can't be set.
    vain_since: Duration,
    /// How it last marked a refresh.
    mark: String,
    /// Another has refreshed in its place, without the lock, since it last said that it refreshes.
    counts_as_dead: bool,
    /// The record that it last replaced said that somebody had waited for ten minutes.
    long_awaited: bool,
    /// It is stopped: it does nothing, and doesn't notice that time passes.
    stopped: bool,
    /// How often in a row others were faster to save something, and what it was about to save.
    conflicts: u32,
    overtaken: Option<Vec<u8>>,
    /// When a person last came back to it from the browser, by the wall clock; repeated answers don't count.
    returned_at: u64,
    /// It has said on disk that it asks its person.
    has_turn: bool,
    /// It could not say so.
    cut_off: bool,
    /// Its last save has failed: what is on disk may not be what it goes by.
    unsaved: bool,
    /// The callback ports of the clients that it knew of when it did, and that were free.
    clients: Vec<u16>,
    /// The server has renewed the client's secret for it, and that is not on disk yet.
    renewed: bool,
}

const TOOL: &str = "whoami";
const DAY: u64 = 86_400;
static OVERTAKEN: AtomicU64 = AtomicU64::new(0);

/// How often a program has refreshed without the lock so far, in whatever story: stories in which that
/// never happens say nothing of it.
pub fn overtaken() -> u64 {
    OVERTAKEN.load(Ordering::Relaxed)
}

/// In seconds: after that, a renewal that has failed is tried again.
const LATER: u64 = 610;
/// A mark lives no longer, in seconds.
const MARK_LIVES: u64 = 181;
const TURNS: [usize; 4] = [40, 80, 150, 300];
/// Whoever waits for longer is in no trouble: it renews a client's secret one day.
const LONG: Duration = Duration::from_secs(6 * 3600);
/// What follows the calm-down comes to rest after fewer rounds.
const MOST_ROUNDS: usize = 20_000;

impl Crowd {
    fn new(seed: u64, story: Option<Story>) -> Self {
        let mut dice = Dice::new(seed);
        let mut s = Scenario::new();
        let server = &mut s.world.authorization[0];
        server.reuse_detection = dice.percent(75);
        server.reuse_grace = dice.percent(25).then_some(30);
        let mut ledger = Ledger::default();
        let programs = 2 + dice.below(4);
        let member = |ledger: &mut Ledger| Member { run: ledger.run(), ..Member::default() };
        let members = (0..programs).map(|_| member(&mut ledger)).collect();
        let mut allowed = Calamities::roll(&mut dice);
        // By dice of its own: the other stories stay what they are.
        let secret_ends = Dice::new(!seed).percent(20);
        if secret_ends {
            // The servers' would jump too, over all the time that there is to renew it in.
            allowed.clocks = false;
            let server = &mut s.world.authorization[0];
            server.client_authentication = vec![ClientAuthentication::Basic];
            server.registration.manageable = true;
            server.registration.secret_lifetime = Some(2 * DAY);
            server.registration.keeps_old_secrets = true;
        }
        let (marks, revoked, client_lost) = (Marks::default(), false, false);
        let mut crowd = Self {
            s,
            dice,
            ledger,
            marks,
            allowed,
            members,
            revoked,
            jumped: None,
            dated: Duration::ZERO,
            secret_ends,
            client_lost,
            story,
        };
        crowd.say(|c| {
            let server = &c.s.world.authorization[0];
            format!(
                "Seed {seed}: {programs} programs. The server {} when a refresh token comes twice{}. \
                 Allowed: {:?}.",
                if server.reuse_detection { "ends the login" } else { "refuses" },
                if server.reuse_grace.is_some() { ", but for 30 s" } else { "" },
                c.allowed
            ) + if c.secret_ends { " The client's secret ends." } else { "" }
        });
        crowd
    }

    fn play(mut self) {
        if self.secret_ends || self.dice.percent(60) {
            self.say(|_| "It begins with a login that all know of.".to_owned());
            self.ask_at(0, true);
            self.calm_all();
            for at in 1..self.members.len() {
                self.ask_at(at, false);
                self.calm_all();
            }
            if self.secret_ends {
                self.time_passes(DAY + 3600);
            } else if self.dice.percent(70) {
                self.time_passes(4000);
            }
        }
        for _ in 0..self.dice.pick(&TURNS) {
            self.turn();
        }
        self.end();
    }

    /// Nothing goes wrong any more. Everybody comes to rest, and gets a token.
    fn end(&mut self) {
        self.say(|_| "All calms down.".to_owned());
        self.relieve();
        self.calm_all();
        assert_eq!(self.s.store.locked_by, None, "a lock that nobody needs any more");
        let nothing_lost = !self.ledger.is_excused() && !self.revoked && !self.client_lost;
        if nothing_lost {
            let twice = self.s.world.token_requests().any(|t| t.reused && t.refresh.is_some());
            assert!(!twice, "a refresh token was used twice");
        }
        // Whoever was told to come back later does.
        self.s.sleep(LATER);
        // What is there now, a new program finds.
        let worn_out = ledger::is_worn_out(self.s.store.bytes.as_deref());
        let stays = !self.ledger.has_logged_out() && self.members.iter().all(|m| !m.forgetting);
        let there = self.ledger.anything_saved() && stays;
        if nothing_lost && there && !worn_out {
            self.say(|_| "A new program asks for a token; nobody is there to log in.".to_owned());
            let at = self.members.len();
            self.members.push(Member { run: self.ledger.run(), ..Member::default() });
            self.enough(at, false);
        }
        self.s.sleep(LATER);
        for at in 0..self.members.len() {
            self.say(|_| format!("{at} asks for a token, and somebody is there to log in."));
            self.enough(at, true);
        }
        self.all_log_in();
        assert_eq!(self.s.world.count(What::Strays), 0, "somebody was asked who doesn't exist");
        self.s.check_secrets();
    }

    /// Law: all that want a new login at the same time open one browser, however long its person
    /// takes, and get what it brings.
    fn all_log_in(&mut self) {
        self.say(|_| "All want a new login.".to_owned());
        let browsers = self.s.browser_opened();
        self.s.person = Person::Ignores;
        let fresh = || Demand::interactive(Need::default()).fresh();
        let all = 0..self.members.len();
        let attempts: Vec<_> = all.map(|at| (at, self.ask_for(at, fresh(), true))).collect();
        // The mark of a program that was killed may have to end first.
        for _ in 0..MARK_LIVES {
            if self.s.browser_opened() == browsers {
                self.calm_for(Duration::from_secs(1));
            }
        }
        if self.dice.percent(5) {
            self.calm_for(Duration::from_secs(200));
        }
        assert!(self.s.goes_back_to_tab(browsers, &Person::Approves), "nobody waits at the tab");
        self.calm_all();
        for (at, attempt) in attempts {
            let failure = self.s.switch_to(at).machine().failure(attempt);
            assert!(failure.is_none(), "{at} has no login: {failure:?}");
        }
        assert_eq!(self.s.browser_opened() - browsers, 1, "browsers for one login");
    }

    /// Law: this program can call a tool, with a person or without.
    fn enough(&mut self, at: usize, person: bool) {
        let mut why = String::new();
        for _ in 0..8 {
            let welcome = if person { Demand::interactive } else { Demand::background };
            let attempt = self.ask_for(at, welcome(need(TOOL)), person);
            self.calm_all();
            match self.use_token(at, TOOL) {
                Some(200) => return,
                Some(_) => {}
                None => {
                    let failure = self.s.switch_to(at).machine().failure(attempt);
                    why = failure.map(ToString::to_string).unwrap_or_default();
                    let busy = failure.is_some_and(
                        |e| matches!(e.kind(), ErrorKind::Store(store) if store.is_busy()),
                    );
                    if busy {
                        // Somebody has left a mark, and what it is dated can't be judged by.
                        self.s.pass(Duration::from_secs(90));
                        continue;
                    }
                    match failure.and_then(Error::retry_in) {
                        // It learns only now of what another has met with, by a clock that was set.
                        Some(later) => self.s.pass(later),
                        None if !why.is_empty() && !person => break,
                        None => {}
                    }
                }
            }
        }
        panic!("{at} has no token: {why}");
    }

    /// Lets all programs do what they have to, however long it takes.
    fn calm_all(&mut self) {
        self.calm_for(Duration::MAX);
    }

    /// The same, but for so long.
    fn calm_for(&mut self, time: Duration) {
        let end = self.s.mono.saturating_add(time);
        for _ in 0..MOST_ROUNDS {
            let moved = (0..self.members.len()).filter(|at| self.moves(*at)).count();
            if moved > 0 {
                continue;
            }
            let left = end.saturating_sub(self.s.mono);
            let waits = (0..self.members.len()).filter_map(|at| self.waits_for(at)).min();
            let waits = waits.filter(|wait| *wait < LONG);
            match waits.filter(|wait| *wait <= left) {
                Some(passes) => self.s.pass(passes),
                None => return,
            }
        }
        panic!("they don't come to rest");
    }

    /// How long it is until this program goes on with what it has to do.
    fn waits_for(&mut self, at: usize) -> Option<Duration> {
        let machine = self.s.switch_to(at).machine();
        let runs =
            self.members[at].attempts.iter().any(|(attempt, _)| machine.is_running(*attempt));
        let saved = machine.status().is_none_or(|status| status.saved);
        let saved = saved && !self.members[at].forgetting;
        // A renewal that nobody waits for any more may pause for a second, under the lock.
        let locks = self.s.store.locked_by == Some(at);
        let deadline = self.members[at].deadline.filter(|_| runs || !saved || locks)?;
        Some(self.s.now().mono.until(deadline))
    }

    fn ask_at(&mut self, at: usize, person: bool) {
        let demand = if person { Demand::interactive } else { Demand::background };
        self.ask_for(at, demand(Need::default()), person);
    }

    fn say(&mut self, what: impl FnOnce(&Self) -> String) {
        if let Some(story) = &self.story {
            let text = what(self);
            if let Ok(mut story) = story.lock() {
                let _ = writeln!(story, "[{:>6} s] {text}", self.s.mono.as_secs() - 1_000);
            }
        }
    }
}
