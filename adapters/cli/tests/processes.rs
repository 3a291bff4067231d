//! Many processes of the command on one store, some of them killed, against npm's `oidc-provider`:
//! it rotates refresh tokens and ends the login when a rotated one comes again.
//!
//! One loss no client can prevent: a process that is killed after the server has rotated the token
//! and before the new one is saved. It is told apart by the server's record.
//!
//! `MCP_AUTH_PROCESS_SECONDS` says how long the three long stories last, each; 4 if it isn't set.

#![cfg(unix)]

mod real;

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use real::{World, text};
use serde_json::Value;

const WORKERS: usize = 8;
const LOGIN_REQUIRED: Option<i32> = Some(3);
const KILLED: Option<i32> = Some(9);

/// How long after a process was killed, in milliseconds, the server may see what it had sent.
const SEEN_AFTER: u64 = 250;

/// Longer than an access token lives here.
const EXPIRY: Duration = Duration::from_millis(2100);

#[test]
fn eight_processes_share_one_login() {
    let town = Town::start(&[]);
    let began = Instant::now();
    let runs = town.work(false);
    let elapsed = began.elapsed().as_secs();

    for run in &runs {
        assert_eq!(run.code, Some(0), "{}", run.said);
    }
    let refreshes = town.refreshes();
    assert!(refreshes.iter().all(|refresh| refresh.outcome == "granted"), "{refreshes:#?}");
    let printed = printed(&runs);
    assert!(refreshes.iter().all(|refresh| printed.contains(&refresh.access_token)));
    let (count, seconds) = (refreshes.len() as u64, seconds());
    tell(format_args!("{} runs of the command, {count} refreshes, none lost", runs.len()));
    assert!(count >= seconds / 3, "{count} refreshes in {elapsed} s: the tokens expire");
    assert!(count <= elapsed + 1, "{count} refreshes in {elapsed} s: one for each token");
    town.is_well(1);
}

#[test]
fn killed_processes_cost_a_login_only_where_no_client_could_have_kept_it() {
    // A slow answer: some kills fall between the server's rotation and the save.
    let town = Town::start(&["--token-delay", "400"]);
    let runs = town.work(true);
    let refreshes = town.refreshes();

    let printed = printed(&runs);
    let mut lost = HashSet::new();
    for reuse in refreshes.iter().filter(|refresh| refresh.outcome == "reused") {
        let spent = refreshes
            .iter()
            .find(|r| r.outcome == "granted" && r.presented == reuse.presented)
            .unwrap();
        let killed_holding_it = runs.iter().filter(|run| run.is_killed()).any(|run| {
            let killed = run.killed.unwrap();
            (run.started..=killed + SEEN_AFTER).contains(&spent.arrived) && killed <= reuse.arrived
        });
        let excused = killed_holding_it && !printed.contains(&spent.access_token);
        assert!(excused, "a refresh token was spent twice: {spent:#?} {reuse:#?}");
        assert!(lost.insert(&reuse.presented), "asked once, then told: {reuse:#?}");
    }
    let kills = runs.iter().filter(|run| run.is_killed()).count();
    tell(format_args!(
        "{} runs of the command, {} refreshes, {kills} processes killed, {} of them between the \
         server's rotation and the save",
        runs.len(),
        refreshes.len(),
        lost.len()
    ));
    for run in runs.iter().filter(|run| !run.is_killed()) {
        let expected = run.code == Some(0) || (run.code == LOGIN_REQUIRED && !lost.is_empty());
        assert!(expected, "{:?}: {}", run.code, run.said);
    }
    // A refusal that the killed process could not write down comes once more.
    let refused = refreshes.iter().filter(|refresh| refresh.outcome == "refused").count();
    assert!(refused <= kills, "{refused} refreshes were refused");
    assert!(kills as u64 >= seconds() / 2, "{kills} kills");
    assert_eq!(town.logins.load(Ordering::SeqCst), 1 + lost.len());
    town.is_well(1 + lost.len());
}

#[test]
fn with_a_grace_period_killed_processes_cost_nothing() {
    let town = Town::start(&["--token-delay", "300", "--grace", "10"]);
    let runs = town.work(true);
    for run in runs.iter().filter(|run| !run.is_killed()) {
        assert_eq!(run.code, Some(0), "{}", run.said);
    }
    let refreshes = town.refreshes();
    assert!(refreshes.iter().all(|refresh| refresh.outcome == "granted"), "{refreshes:#?}");
    let presented: HashSet<_> = refreshes.iter().map(|refresh| &refresh.presented).collect();
    let kills = runs.iter().filter(|run| run.is_killed()).count();
    tell(format_args!(
        "{} runs of the command, {} refreshes, {kills} processes killed, {} tokens presented again \
         within their grace",
        runs.len(),
        refreshes.len(),
        refreshes.len() - presented.len()
    ));
    // Only whom a kill has robbed of its answer asks again.
    assert!(refreshes.len() - presented.len() <= kills);
    assert!(kills as u64 >= seconds() / 2, "{kills} kills");
    town.is_well(1);
}

#[test]
fn killed_before_the_server_saw_the_refresh_nothing_is_lost() {
    let town = Town::start(&[]);
    thread::sleep(EXPIRY);
    town.world.server.control("lose-token-requests");
    town.kill_when("tokenRequests");

    town.world.server.control("lose-nothing");
    town.world.token();
    assert_eq!(town.world.server.stat("refreshGrants"), 1);
    town.is_well(1);
}

#[test]
fn killed_between_rotation_and_save_the_next_tries_once_and_the_rest_ask_for_a_login() {
    let town = Town::start(&[]);
    thread::sleep(EXPIRY);
    town.world.server.control("lose-token-answers");
    town.kill_when("refreshGrants");

    town.world.server.control("lose-nothing");
    for _ in 0..3 {
        let output = town.token().output().unwrap();
        assert_eq!(output.status.code(), LOGIN_REQUIRED, "{}", text(&output));
        assert!(output.stdout.is_empty());
    }
    let outcomes: Vec<_> = town.refreshes().into_iter().map(|refresh| refresh.outcome).collect();
    assert_eq!(outcomes, ["granted", "reused"]);
    town.world.logs_in();
    town.is_well(2);
}

#[test]
fn a_process_that_hangs_in_its_refresh_holds_others_up_for_their_time_limit_only() {
    let town = Town::start(&[]);
    thread::sleep(EXPIRY);
    town.world.server.control("lose-token-requests");
    let mut hanging = town.token().spawn().unwrap();
    town.until("tokenRequests", 1);

    let began = Instant::now();
    let output = town.world.command_within(2, &["token"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "not a login: {}", text(&output));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());

    hanging.kill().unwrap();
    hanging.wait().unwrap();
    town.world.server.control("lose-nothing");
    town.world.token();
    town.is_well(1);
}

/// How long the long stories last.
fn seconds() -> u64 {
    let seconds = std::env::var("MCP_AUTH_PROCESS_SECONDS");
    seconds.map_or(4, |seconds| seconds.parse().expect("a number of seconds"))
}

/// A login whose access tokens live for two seconds.
struct Town {
    world: World,
    /// How often a person has logged in.
    logins: AtomicUsize,
    /// Whoever logs in again.
    person: Mutex<()>,
    /// One story at a time: they load the machine.
    _turn: MutexGuard<'static, ()>,
}

/// One process of the command, from its start to its end. Times are in milliseconds of the clock
/// that the server reads as well.
struct Run {
    started: u64,
    killed: Option<u64>,
    code: Option<i32>,
    signal: Option<i32>,
    token: String,
    said: String,
}

impl Run {
    /// A kill that came too late changed nothing.
    fn is_killed(&self) -> bool {
        self.killed.is_some() && self.signal == KILLED
    }
}

/// A refresh as the server saw it.
#[derive(Debug)]
struct Refresh {
    arrived: u64,
    presented: String,
    /// `granted`, `reused` or `refused`.
    outcome: String,
    access_token: String,
}

/// Where the killer finds a worker's process.
type Place = Mutex<Option<Present>>;

struct Present {
    child: Child,
    started: u64,
    killed: Option<u64>,
}

impl Town {
    fn start(options: &[&str]) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let world = World::start("oidc", &[&["--access-ttl", "2"], options].concat());
        let forbidden = world.dir.path().join("forbidden");
        fs::write(&forbidden, "#!/bin/sh\necho \"$1\" >>\"$(dirname \"$0\")/opened\"\n").unwrap();
        fs::set_permissions(&forbidden, fs::Permissions::from_mode(0o700)).unwrap();
        world.logs_in();
        Self { world, logins: AtomicUsize::new(1), person: Mutex::default(), _turn: turn }
    }

    /// The command that must never open a browser.
    fn token(&self) -> Command {
        let mut command = self.world.command(&["token"]);
        command
            .env("BROWSER", self.world.dir.path().join("forbidden"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Eight workers that run the command again and again.
    fn work(&self, killing: bool) -> Vec<Run> {
        let until = Instant::now() + Duration::from_secs(seconds());
        let places: [Place; WORKERS] = std::array::from_fn(|_| Mutex::default());
        let mut runs = thread::scope(|scope| {
            let start = |place| scope.spawn(move || self.worker(place, until));
            let workers: Vec<_> = places.iter().map(start).collect();
            if killing {
                kill_one_every_second(&places, until);
            }
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
        });
        // What the last kill has cost is seen now.
        thread::sleep(EXPIRY);
        let last = self.run(&Mutex::default());
        if last.code == LOGIN_REQUIRED {
            self.log_in_again();
        }
        runs.push(last);
        runs
    }

    fn worker(&self, place: &Place, until: Instant) -> Vec<Run> {
        let mut runs = Vec::new();
        while Instant::now() < until {
            let run = self.run(place);
            if run.code == LOGIN_REQUIRED {
                self.log_in_again();
            }
            runs.push(run);
        }
        runs
    }

    fn run(&self, place: &Place) -> Run {
        let started = milliseconds();
        let mut child = self.token().spawn().unwrap();
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        *place.lock().unwrap() = Some(Present { child, started, killed: None });
        let (mut token, mut said) = (String::new(), String::new());
        stdout.read_to_string(&mut token).unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let Present { mut child, killed, .. } = place.lock().unwrap().take().unwrap();
        let status = child.wait().unwrap();
        let token = token.trim().to_owned();
        Run { started, killed, code: status.code(), signal: status.signal(), token, said }
    }

    /// Unless another worker's person just did.
    fn log_in_again(&self) {
        let _person = self.person.lock().unwrap();
        let output = self.token().output().unwrap();
        if output.status.code() == LOGIN_REQUIRED {
            self.world.logs_in();
            self.logins.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Waits until the server has counted more than that.
    fn until(&self, stat: &str, more_than: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.world.server.stat(stat) <= more_than {
            assert!(Instant::now() < deadline, "{stat} stays");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts the command, and kills it as soon as the server has counted that.
    fn kill_when(&self, stat: &str) {
        let before = self.world.server.stat(stat);
        let mut child = self.token().spawn().unwrap();
        self.until(stat, before);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), KILLED);
    }

    fn refreshes(&self) -> Vec<Refresh> {
        let all = self.world.server.asked("refreshes");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let read = |refresh: &Value| Refresh {
            arrived: refresh["arrived"].as_u64().unwrap(),
            presented: word(&refresh["presented"]),
            outcome: word(&refresh["outcome"]),
            access_token: word(&refresh["accessToken"]),
        };
        all.as_array().unwrap().iter().map(read).collect()
    }

    /// The login works, the person was asked as often as that, and the store is whole.
    fn is_well(&self, logins: usize) {
        self.world.is_served();
        assert_eq!(self.world.server.stat("authorizations"), logins as u64);
        assert_eq!(self.world.server.stat("registrations"), 1);
        let opened = fs::read_to_string(self.world.dir.path().join("opened"));
        assert!(opened.is_err(), "a browser was opened: {opened:?}");
        let files: Vec<PathBuf> = fs::read_dir(self.world.dir.path().join("store"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        let with = |end: &str| files.iter().filter(|f| f.to_string_lossy().ends_with(end)).count();
        // Killed writers leave temporary files; nothing is damaged.
        assert_eq!((with(".json"), with(".lock"), with(".turn")), (1, 1, 1), "{files:?}");
        assert_eq!(files.len(), 3 + with(".tmp"), "{files:?}");
    }
}

/// The process that runs the longest: it refreshes, or waits for whoever does.
fn kill_one_every_second(places: &[Place; WORKERS], until: Instant) {
    let began = Instant::now();
    for second in 0.. {
        // Tokens expire at whole seconds: each kill is at another part of its second.
        let due = began + Duration::from_millis(second * 1000 + (second * 618 + 300) % 1000);
        if due >= until {
            return;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut places: Vec<_> = places.iter().map(|place| place.lock().unwrap()).collect();
        let runs = |present: &mut Present| matches!(present.child.try_wait(), Ok(None));
        let running = places
            .iter_mut()
            .filter_map(|place| place.as_mut())
            .filter_map(|present| runs(present).then_some(present));
        if let Some(oldest) = running.min_by_key(|present| present.started) {
            oldest.killed = Some(milliseconds());
            oldest.child.kill().unwrap();
        }
    }
}

fn printed(runs: &[Run]) -> HashSet<&String> {
    runs.iter().filter(|run| run.code == Some(0)).map(|run| &run.token).collect()
}

/// What a test prints is hidden where it passes; this is not.
fn tell(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{what}");
}

fn milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}
