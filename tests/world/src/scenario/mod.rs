//! Stories: programs with an [`AuthMachine`] each meet a [`World`], and a test tells what happens.
//!
//! A [`Scenario`] is the host of its programs: it performs what their machines ask for against the
//! world, a [`Store`] and a person, on a clock that moves only when the story says so or when there
//! is nothing to do but wait. Everything repeats to the letter.
//!
//! ```
//! use mcp_auth_world::scenario::Scenario;
//!
//! let mut s = Scenario::new();
//! assert_eq!(s.call_tool("whoami").status(), 200);
//! s.restart();
//! s.take_log();
//! assert_eq!(s.call_tool("whoami").status(), 200);
//! assert_eq!(s.take_log(), ["POST mcp.example.com/mcp 200"]);
//! ```
//!
//! Three layers, each built on the one below:
//!
//! - what a caller does: [`call_tool`](Scenario::call_tool), [`log_in`](Scenario::log_in);
//! - what a host does: [`run`](Scenario::run), [`run_until`](Scenario::run_until),
//!   [`advance`](Scenario::advance);
//! - one thing at a time: [`step`](Scenario::step) takes one output; an action that came out is
//!   *asked*, then [`perform`](Scenario::perform)ed, then its answer [`deliver`](Scenario::deliver)ed
//!   — or lost at either point, by [`lose`](Scenario::lose) or [`crash`](Scenario::crash).
//!
//! Whatever the story, at each step it is checked that at most one exchange and one prompt are
//! unanswered, that each redirect gets exactly one page, that a program with work on its way says
//! until when it waits, and that this moment lies ahead.

mod caller;
pub mod crowd;
mod documents;
mod program;
mod report;
mod steps;
mod store;
mod together;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mcp_auth::output::Page;
use mcp_auth::{
    AuthMachine, CachedLogin, Config, Entropy, Error, Event, Mono, Notice, Now, SecretRef, UnixTime,
};
use url::Url;

use crate::{Person, World};
use documents::Documents;
use program::Program;

pub use caller::{Answer, need};
pub use program::{Code, Held, Stepped};
pub use store::Store;

/// A story: a world, a store, a person, a clock, and one or more programs.
///
/// Change a public field at any time; `config` and `server` count from the next start of a program.
#[derive(Debug)]
pub struct Scenario {
    /// The servers.
    pub world: World,
    /// The disk that all programs share.
    pub store: Store,
    /// Who sits in front of the browser.
    pub person: Person,
    /// The settings of the programs that are started from now on.
    pub config: Config,
    /// The URL that programs are given; `None` is the MCP server's own.
    pub server: Option<String>,
    /// A cached login that programs are given when they start.
    pub cached: Option<CachedLogin>,
    /// Ports that somebody else listens at.
    pub taken_ports: BTreeSet<u16>,
    /// What is at the places of secrets: files, variables, and what a provider keeps.
    pub secrets: BTreeMap<SecretRef, String>,
    /// The keys that the programs' hosts sign with, by their places; the names are of [`signer`](crate::signer).
    pub keys: BTreeMap<SecretRef, String>,
    /// Why the hosts' signer fails, if it does.
    pub signer_fails: Option<String>,
    /// How often it was asked for a signature.
    pub signed: usize,
    /// Those of them that others can read.
    pub exposed: BTreeSet<SecretRef>,
    /// The places that were asked for a secret, in order.
    pub secrets_read: Vec<SecretRef>,
    /// No browser can be opened.
    pub browser_is_missing: bool,
    /// And the programs' hosts know that before they try.
    pub absence_is_known: bool,
    /// The programs can show codes; without a browser they say so.
    pub codes_can_be_shown: bool,
    /// Every code that a person was shown.
    pub codes: Vec<Code>,
    /// The programs' hosts say which address answered. On.
    pub peers_are_told: bool,
    /// The programs are sessions of one process, which share documents.
    pub documents_are_shared: bool,
    /// Every authorization URL that a person was taken to.
    pub browsed: Vec<Url>,
    /// Every notice of every program.
    pub notices: Vec<Notice>,
    /// The page that each redirect got.
    pub pages: Vec<Page>,
    /// Whom the store was locked for, each time that it was asked to be.
    pub locked_for: Vec<Vec<String>>,
    documents: Documents,
    wall: u64,
    mono: Duration,
    programs: Vec<Option<Program>>,
    /// The program that the verbs are about.
    current: usize,
    seeds: u64,
    proofs: u64,
    tickets: u64,
    last_port: u16,
    logged: usize,
    overheard: Option<String>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}

impl Scenario {
    /// The default world, the default settings, a person who approves, and an empty store.
    pub fn new() -> Self {
        Self::in_world(World::new())
    }

    /// The same in another world.
    pub fn in_world(world: World) -> Self {
        Self {
            world,
            store: Store::default(),
            person: Person::Approves,
            config: Config::default(),
            server: None,
            cached: None,
            taken_ports: BTreeSet::new(),
            secrets: BTreeMap::new(),
            keys: BTreeMap::new(),
            signer_fails: None,
            signed: 0,
            exposed: BTreeSet::new(),
            secrets_read: Vec::new(),
            browser_is_missing: false,
            absence_is_known: false,
            codes_can_be_shown: true,
            codes: Vec::new(),
            peers_are_told: true,
            documents_are_shared: false,
            browsed: Vec::new(),
            notices: Vec::new(),
            pages: Vec::new(),
            locked_for: Vec::new(),
            documents: Documents::default(),
            wall: 1_700_000_000,
            mono: Duration::from_secs(1_000),
            programs: Vec::new(),
            current: 0,
            seeds: 0,
            proofs: 0,
            tickets: 0,
            last_port: 49151,
            logged: 0,
            overheard: None,
        }
    }

    /// Makes the verbs be about the program with this number. It starts when it is first needed.
    pub fn switch_to(&mut self, program: usize) -> &mut Self {
        self.current = program;
        self
    }

    /// Starts the current program with the current settings, unless it runs.
    ///
    /// # Errors
    ///
    /// What [`AuthMachine::new`] says of the settings.
    pub fn try_start(&mut self) -> Result<(), Error> {
        while self.programs.len() <= self.current {
            self.programs.push(None);
        }
        let Some(slot @ None) = self.programs.get_mut(self.current) else { return Ok(()) };
        self.seeds += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seeds.to_le_bytes());
        let server = self.server.clone().unwrap_or_else(|| self.world.resource.url.clone());
        let config = Arc::new(self.config.clone());
        *slot = Some(Program {
            machine: AuthMachine::new(&server, config, Entropy::from_bytes(seed))?,
            started: self.mono,
            open: Vec::new(),
            listening: None,
            shows_code: false,
            untold: BTreeSet::new(),
            handled: None,
        });
        if let Some(cached) = self.cached.clone() {
            self.handle(Event::Restore(cached));
        }
        Ok(())
    }

    /// Ends the current program at once: what it has asked for and not been told is lost.
    pub fn crash(&mut self) {
        if let Some(slot) = self.programs.get_mut(self.current) {
            *slot = None;
        }
        self.store.release(self.current);
    }

    /// Crashes the current program and starts it again, with nothing but what is stored.
    pub fn restart(&mut self) {
        self.crash();
        self.start();
    }

    /// Starts the current program, unless it runs.
    ///
    /// # Panics
    ///
    /// If the settings are refused.
    pub fn start(&mut self) {
        if let Err(error) = self.try_start() {
            panic!("the program doesn't start: {error}");
        }
    }

    /// The machine of the current program.
    pub fn machine(&mut self) -> &AuthMachine {
        &self.program().machine
    }

    /// The redirect URI that the current program listens at.
    pub fn listening(&mut self) -> Option<String> {
        self.program().listening.clone()
    }

    /// Both clocks, as the current program reads them.
    pub fn now(&mut self) -> Now {
        let started = self.program().started;
        let mono = Mono(self.mono.saturating_sub(started));
        Now { wall: UnixTime(self.wall), mono }
    }

    /// Sets the wall clock of everybody, by this many seconds; no time passes.
    pub fn set_wall_clock(&mut self, by: i64) {
        self.wall = self.wall.saturating_add_signed(by);
    }

    /// Sets the wall clock of the programs, by this many seconds; the servers' goes on.
    pub fn set_own_clock(&mut self, by: i64) {
        self.set_wall_clock(by);
        self.world.clock_ahead = self.world.clock_ahead.saturating_sub(by);
    }

    fn program(&mut self) -> &mut Program {
        self.start();
        match self.programs.get_mut(self.current) {
            Some(Some(program)) => program,
            _ => unreachable!("it was just started"),
        }
    }
}
