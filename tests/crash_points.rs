//! The crash table, point by point: a program is killed before and after each thing that it does, and
//! a new one starts from what is on disk. `cargo test --test crash_points -- --nocapture` prints it.
//!
//! "Before" an action it was not performed: the request wasn't sent, the save had no effect.
//! "Unanswered", it was: the server has acted, the disk has changed, and the program died before it
//! learned of it.

use std::fmt::Write as _;

use mcp_auth::{Demand, DeviceGrant, ErrorKind, Event};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{ClientAuthentication, What, assert_fails};
use serde_json::Value;

/// How a server treats a refresh token that comes a second time; one with a grace period also takes
/// a client's secret that it has replaced.
#[derive(Clone, Copy)]
struct Server {
    ends_the_login: bool,
    grace: Option<u64>,
}

const SERVERS: [Server; 4] = [
    Server { ends_the_login: true, grace: None },
    Server { ends_the_login: false, grace: None },
    Server { ends_the_login: true, grace: Some(60) },
    Server { ends_the_login: false, grace: Some(60) },
];

/// What is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Nothing,
    /// That a person is being asked.
    Mark,
    /// A client, and no tokens.
    Client,
    /// The tokens from before.
    Old,
    /// The same without their refresh token: the server has refused it.
    Ended,
    /// The tokens that this flow brought.
    New,
}

/// What the next start does, asked for a token without a person; then, if it must, with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Sends the access token, and nothing but that.
    UsesIt,
    /// One token request, which is granted.
    Refreshes,
    /// The client's secret is renewed first.
    Renews,
    /// One token request, which is refused; then a person logs in, with the same client.
    IsRefused,
    /// The same with a new client: the server doesn't take the secret on disk any more.
    ClientIsRefused,
    /// No token request: a person logs in, with the same client.
    LogsIn,
    /// The same with a new client.
    Registers,
    /// The same, once the mark of the killed program counts no more.
    WaitsAndRegisters,
    /// As the same client, once the mark counts no more.
    WaitsAndLogsIn,
    /// The window that no client can close: the server has spent the token on disk, and nobody has
    /// the one that took its place. One token request, which a server with a grace period grants.
    Window,
    /// The same for the client's secret.
    ClientWindow,
}

impl Disk {
    fn in_words(self) -> &'static str {
        match self {
            Disk::Nothing => "nothing",
            Disk::Mark => "that a person is being asked",
            Disk::Client => "the client",
            Disk::Old => "the old tokens",
            Disk::Ended => "the old tokens, known to be refused",
            Disk::New => "the new tokens",
        }
    }
}

impl Next {
    fn in_words(self) -> &'static str {
        match self {
            Next::UsesIt => "uses them, without any request",
            Next::Refreshes => "refreshes",
            Next::Renews => "renews the client's secret, and refreshes",
            Next::ClientIsRefused => {
                "tries once to refresh, then needs a login, and registers for it"
            }
            Next::IsRefused => "tries once to refresh, then needs a login",
            Next::LogsIn => "needs a login, as the same client",
            Next::Registers => "needs a login, and registers for it",
            Next::WaitsAndLogsIn => "needs a login, as the same client, a little later",
            Next::WaitsAndRegisters => "needs a login, and registers for it, a little later",
            Next::Window | Next::ClientWindow => "as the server likes",
        }
    }

    fn at(self, server: Server) -> Next {
        match (self, server.grace) {
            (Next::Window | Next::ClientWindow, Some(_)) => Next::Refreshes,
            (Next::ClientWindow, None) => Next::ClientIsRefused,
            (Next::Window, None) => Next::IsRefused,
            (next, _) => next,
        }
    }
}

const DAY: u64 = 86_400;

/// From this point of a flow on, and up to the next row's, this is promised.
type Row = (&'static str, Disk, Next);

struct Flow {
    name: &'static str,
    begin: fn(&mut Scenario),
    promise: &'static [Row],
}

const FLOWS: [Flow; 8] = [
    Flow {
        name: "login",
        begin: |s| {
            s.demand(Demand::interactive(need("whoami")));
        },
        promise: &[
            ("before load", Disk::Nothing, Next::Registers),
            ("save unanswered", Disk::Mark, Next::WaitsAndRegisters),
            ("save 3 unanswered", Disk::Client, Next::WaitsAndLogsIn),
            ("save 6 unanswered", Disk::New, Next::UsesIt),
        ],
    },
    Flow {
        name: "login by a code for another device",
        begin: |s| {
            s.world.authorization[0].device = true;
            s.config.device_grant = DeviceGrant::Always;
            s.demand(Demand::interactive(need("whoami")));
        },
        promise: &[
            ("before load", Disk::Nothing, Next::Registers),
            ("save unanswered", Disk::Mark, Next::WaitsAndRegisters),
            ("save 3 unanswered", Disk::Client, Next::WaitsAndLogsIn),
            ("save 6 unanswered", Disk::New, Next::UsesIt),
        ],
    },
    Flow {
        name: "refresh",
        begin: |s| {
            log_in(s);
            s.sleep(4000);
            s.demand(Demand::background(need("whoami")));
        },
        promise: &[
            ("before lock", Disk::Old, Next::Refreshes),
            ("POST auth.example.com/token unanswered", Disk::Old, Next::Window),
            ("save 2 unanswered", Disk::New, Next::UsesIt),
        ],
    },
    Flow {
        name: "renewal of the client's secret, then refresh",
        begin: |s| {
            let server = &mut s.world.authorization[0];
            server.client_authentication = vec![ClientAuthentication::Basic];
            server.registration.manageable = true;
            server.registration.secret_lifetime = Some(7 * DAY);
            log_in(s);
            s.sleep(6 * DAY + 3600);
            s.demand(Demand::background(need("whoami")));
        },
        promise: &[
            ("before lock", Disk::Old, Next::Renews),
            // Known to have been begun: it isn't tried again at once.
            ("save unanswered", Disk::Old, Next::Refreshes),
            ("PUT auth.example.com/register/… unanswered", Disk::Old, Next::ClientWindow),
            ("save 2 unanswered", Disk::Old, Next::Refreshes),
            ("POST auth.example.com/token unanswered", Disk::Old, Next::Window),
            ("save 4 unanswered", Disk::New, Next::UsesIt),
        ],
    },
    Flow {
        name: "refused refresh, then login",
        begin: |s| {
            log_in(s);
            s.sleep(4000);
            s.world.authorization[0].revoke_everything();
            s.demand(Demand::interactive(need("whoami")));
        },
        promise: &[
            ("before lock", Disk::Old, Next::IsRefused),
            ("save 2 unanswered", Disk::Ended, Next::LogsIn),
            ("save 3 unanswered", Disk::Ended, Next::WaitsAndLogsIn),
            ("save 5 unanswered", Disk::New, Next::UsesIt),
        ],
    },
    Flow {
        name: "step-up",
        begin: |s| {
            log_in(s);
            assert_eq!(s.try_tool("write_note"), 403);
            s.demand(Demand::interactive(need("write_note")));
        },
        promise: &[
            (
                "before GET mcp.example.com/.well-known/oauth-protected-resource/mcp",
                Disk::Old,
                Next::UsesIt,
            ),
            ("save 3 unanswered", Disk::New, Next::UsesIt),
        ],
    },
    Flow {
        name: "logout at the servers",
        begin: |s| {
            s.world.authorization[0].registration.manageable = true;
            log_in(s);
            s.begin_logout();
        },
        promise: &[
            ("before lock", Disk::Old, Next::UsesIt),
            ("POST auth.example.com/revoke unanswered", Disk::Old, Next::IsRefused),
            ("DELETE auth.example.com/register/… unanswered", Disk::Old, Next::ClientIsRefused),
            ("erase unanswered", Disk::Nothing, Next::Registers),
        ],
    },
    Flow {
        name: "logout of this machine",
        begin: |s| {
            log_in(s);
            s.handle(Event::Forget);
        },
        promise: &[
            ("before lock", Disk::Old, Next::UsesIt),
            ("erase unanswered", Disk::Nothing, Next::Registers),
        ],
    },
];

fn log_in(s: &mut Scenario) {
    assert_eq!(s.call_tool("whoami").status(), 200);
}

const REFRESHED: [&str; 2] = ["POST auth.example.com/token 200", "POST mcp.example.com/mcp 200"];

fn is_update(line: &str) -> bool {
    line.starts_with("PUT auth.example.com/register/") && line.ends_with(" 200")
}

/// A flow that was killed.
struct Killed {
    s: Scenario,
    point: String,
    /// The tokens that were stored when it began.
    before: Option<Value>,
}

/// Plays `flow` up to the point with this number and kills it there; `None` if there are not so many.
fn killed(flow: &Flow, server: Server, number: usize) -> Option<Killed> {
    let mut s = Scenario::new();
    s.world.authorization[0].reuse_detection = server.ends_the_login;
    s.world.authorization[0].reuse_grace = server.grace;
    s.world.authorization[0].registration.keeps_old_secrets = server.grace.is_some();
    (flow.begin)(&mut s);
    let before = tokens(&s);
    let (mut left, mut saves) = (number, 0);
    // Counts a point; whether it is the one.
    let mut is_here = || left.checked_sub(1).map(|fewer| left = fewer).is_none();
    let point = loop {
        s.drain();
        let open = s.open();
        // Between two polls nothing is under way.
        let pauses = |s: &mut Scenario| {
            let attempt = s.machine().last_attempt();
            attempt.is_some_and(|attempt| s.machine().is_running(attempt)) && s.wait()
        };
        if open.is_empty() && pauses(&mut s) {
            continue;
        }
        let Some(action) = open.first() else {
            break is_here().then(|| "at the end".to_owned())?;
        };
        saves += usize::from(action == "save");
        let name = match action.split_once("/register/") {
            Some((endpoint, _)) => format!("{endpoint}/register/…"),
            None if action == "save" && saves > 1 => format!("save {saves}"),
            None => action.clone(),
        };
        // A redirect isn't asked for: it comes.
        if action != "redirect" {
            if is_here() {
                break format!("before {name}");
            }
            assert!(s.perform(action));
        }
        if is_here() {
            break format!("{name} unanswered");
        }
        s.deliver(action);
    };
    s.restart();
    Some(Killed { s, point, before })
}

/// What is stored, parsed; a torn record fails here.
fn stored(s: &Scenario) -> Option<Value> {
    let bytes = s.store.bytes.as_ref()?;
    Some(serde_json::from_slice(bytes).expect("a record is whole or not there"))
}

fn tokens(s: &Scenario) -> Option<Value> {
    stored(s)?.get("tokens").filter(|tokens| !tokens.is_null()).cloned()
}

impl Killed {
    /// Old or new, never a mix: both tokens are from one answer of the server.
    fn disk(&self) -> Disk {
        let Some(record) = stored(&self.s) else { return Disk::Nothing };
        let text = |tokens: &Value, name: &str| tokens[name].as_str().map(str::to_owned);
        let pair = |tokens: &Value| (text(tokens, "access_token"), text(tokens, "refresh_token"));
        let newest = |token: Option<&str>| token.map(str::to_owned);
        let world = &self.s.world;
        match (tokens(&self.s), &self.before) {
            (None, _) => match record["registrations"].as_object().map(serde_json::Map::len) {
                Some(0) => {
                    assert!(record["login"].is_object(), "a record of nothing");
                    Disk::Mark
                }
                clients => {
                    assert_eq!(clients, Some(1));
                    Disk::Client
                }
            },
            // With or without the mark that a refresh was sent.
            (Some(now), Some(before)) if pair(&now) == pair(before) => Disk::Old,
            (Some(now), Some(before)) if pair(&now) == (pair(before).0, None) => Disk::Ended,
            (Some(now), _) => {
                let issued =
                    (newest(world.newest_access_token()), newest(world.newest_refresh_token()));
                assert_eq!(pair(&now), issued, "a mix of tokens");
                Disk::New
            }
        }
    }

    fn next(&mut self) -> Next {
        let s = &mut self.s;
        let count = |s: &Scenario| {
            let refreshes = s.world.count(What::Refreshes);
            let asked = s.browser_opened() + s.codes.len();
            (refreshes, s.world.registrations(), asked)
        };
        let (refreshes, registrations, browsers) = count(s);
        s.take_log();
        let answer = s.call_tool_in_background("whoami");
        let log = s.take_log();
        let next = if log == ["POST mcp.example.com/mcp 200"] {
            Next::UsesIt
        } else if log == REFRESHED {
            Next::Refreshes
        } else if log.first().is_some_and(|line| is_update(line)) && log[1..] == REFRESHED {
            Next::Renews
        } else {
            assert_fails!(answer, ErrorKind::LoginRequired { .. });
            assert_eq!(count(s).2, browsers, "a browser that nobody welcomed");
            let began = s.now().mono;
            assert_eq!(s.call_tool("whoami").status(), 200);
            // The first poll comes after five seconds.
            let polled = 5 * s.world.count(What::DeviceAuthorizations).min(1) as u64;
            let waited = began.until(s.now().mono).as_secs().saturating_sub(polled);
            let now = count(s);
            assert_eq!(now.2, browsers + 1, "one login");
            assert!(waited <= 86, "{waited} s for the mark of a program that was killed");
            match (now.0 - refreshes, now.1 - registrations, waited > 0) {
                (0, 0, false) => Next::LogsIn,
                (0, 0, true) => Next::WaitsAndLogsIn,
                (0, 1, false) => Next::Registers,
                (0, 1, true) => Next::WaitsAndRegisters,
                (1, 0, false) => Next::IsRefused,
                // A secret in the header, then in the body.
                (1 | 2, 1, false) => Next::ClientIsRefused,
                other => panic!("{other:?} refreshes and registrations, and time to wait"),
            }
        };
        // Whatever it was, it is over: from here on the login holds.
        s.restart();
        s.take_log();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.take_log(), ["POST mcp.example.com/mcp 200"]);
        assert_eq!((s.store.locked_by, s.store.set_aside.len()), (None, 0));
        s.check_secrets();
        next
    }
}

#[test]
fn at_every_point_of_every_flow_a_crash_keeps_the_promise() {
    let mut table = String::from(HEAD);
    for flow in &FLOWS {
        let mut rows = flow.promise.iter().peekable();
        let mut promised = None;
        for number in 0.. {
            let all = SERVERS.map(|server| Some((server, killed(flow, server, number)?)));
            if all.iter().all(Option::is_none) {
                break;
            }
            let mut nexts = Vec::new();
            for (server, mut killed) in all.into_iter().flatten() {
                let point = killed.point.clone();
                promised = rows.next_if(|(from, ..)| *from == point).or(promised);
                let Some((_, disk, next)) = promised else { panic!("{point} comes first") };
                let at = format!("{}: {point}\n{table}", flow.name);
                assert_eq!(killed.disk(), *disk, "{at}");
                let found = killed.next();
                assert_eq!(found, next.at(server), "{at}");
                // What a step-up has brought, and nothing else, lets it write.
                let writes = killed.s.call_tool_in_background("write_note");
                if (flow.name, *disk) == ("step-up", Disk::New) {
                    assert_eq!(writes.status(), 200, "{at}");
                } else {
                    assert_fails!(writes, ErrorKind::LoginRequired { .. });
                }
                if nexts.is_empty() {
                    let _ = write!(table, "\n| {} | {point} | {} |", flow.name, disk.in_words());
                }
                nexts.push(found);
            }
            assert_eq!(nexts.len(), SERVERS.len(), "the same points with every server\n{table}");
            nexts.dedup();
            let words: Vec<_> = nexts.iter().map(|next| next.in_words()).collect();
            let _ = write!(table, " {} |", words.join("; with grace: "));
        }
        assert_eq!(rows.next(), None, "a point that never came, of {}\n{table}", flow.name);
    }
    show(&table);
}

const HEAD: &str = "| flow | killed | on disk | next start |\n|---|---|---|---|";

#[expect(clippy::print_stdout, clippy::disallowed_macros, reason = "the table is there to be read")]
fn show(table: &str) {
    println!("{table}");
}
