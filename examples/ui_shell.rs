//! A shell with a user interface, as a Tauri or mobile app is one: the machine lives in a thread of its
//! own, and all that it needs of the shell goes through a channel: "open this URL", "here is the
//! redirect". The system brings the redirect to a scheme of the app's own (RFC 8252 §7.1), so there is
//! no listener.
//!
//! ```sh
//! cargo run --example ui_shell
//! ```
//!
//! The servers, and the person in the browser, are simulated.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "a shell has threads, clocks and an output"
)]

use std::error::Error;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime};

use mcp_auth::{
    Action, AuthMachine, Config, Demand, Entropy, Event, HostError, Mono, Need, Now, Output,
    Redirected, Secret, TransportError, TransportErrorKind, UnixTime,
};
use mcp_auth_world::{Person, Visit, World};

const REDIRECT_URI: &str = "com.example.notes:/oauth2redirect";

/// What the shell is asked to do.
enum ToShell {
    /// Open this in the system's browser, or a web view of the system's.
    OpenUrl(String),
    /// Close that again, if it can be closed.
    CloseBrowser,
    /// Show this in the status bar.
    Status(String),
    /// The attempt is over.
    SignedIn(Result<(), String>),
}

/// What the shell says.
enum FromShell {
    /// Somebody has pressed the button.
    SignIn,
    /// The system has opened this app with a URL of its scheme: a deep link.
    CameBack(String),
}

/// The machine and its channel. What the shell has for HTTP and for storing is `fetch` and `record`.
struct Core<F> {
    machine: AuthMachine,
    started: Instant,
    record: Option<Vec<u8>>,
    fetch: F,
    shell: Sender<ToShell>,
    tickets: u64,
}

impl<F> Core<F>
where
    F: FnMut(&http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, TransportError>,
{
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { wall: UnixTime(wall.as_secs()), mono: Mono(self.started.elapsed()) }
    }

    /// Until the shell is gone.
    fn run(mut self, from_shell: &Receiver<FromShell>) {
        let mut attempt = None;
        loop {
            let deadline = self.perform();
            if let Some(over) = attempt.take_if(|attempt| !self.machine.is_running(*attempt)) {
                let failed = self.machine.failure(over).map(ToString::to_string);
                let _ = self.shell.send(ToShell::SignedIn(failed.map_or(Ok(()), Err)));
            }
            let said = match deadline {
                Some(at) => from_shell.recv_timeout(self.now().mono.until(at)),
                None => from_shell.recv().map_err(RecvTimeoutError::from),
            };
            let event = match said {
                Ok(FromShell::SignIn) => Event::Demand(Demand::interactive(Need::default())),
                Ok(FromShell::CameBack(url)) => {
                    self.tickets += 1;
                    Event::Redirected(Redirected { ticket: self.tickets, url: Secret::new(url) })
                }
                Err(RecvTimeoutError::Timeout) => Event::Tick,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let asked = matches!(event, Event::Demand(_));
            self.machine.handle(self.now(), event);
            attempt = if asked { self.machine.last_attempt() } else { attempt };
        }
    }

    /// All that is asked for; the moment at which something is due.
    fn perform(&mut self) -> Option<Mono> {
        loop {
            let answer = match self.machine.poll_output() {
                Output::Do(Action::Load(call)) => call.answer(Ok(self.record.clone())),
                Output::Do(Action::Save(call)) => {
                    self.record = call.record().map(<[u8]>::to_vec);
                    call.answer(Ok(()))
                }
                Output::Do(Action::Http(call)) => {
                    let response = (self.fetch)(call.request());
                    call.answer(response)
                }
                Output::Do(Action::Browse(call)) => {
                    let opened = self.shell.send(ToShell::OpenUrl(call.url().to_string()));
                    call.answer(opened.map_err(|_| HostError::new("the window is closed")))
                }
                // There is no listener: `Config::redirect_uri` says where the person comes back to.
                Output::Do(other) => panic!("not in this story: {other:?}"),
                // The app is in front of the person already: no page is needed.
                Output::Show { .. } => {
                    let _ = self.shell.send(ToShell::CloseBrowser);
                    continue;
                }
                Output::Tell(notice) => {
                    let _ = self.shell.send(ToShell::Status(notice.to_string()));
                    continue;
                }
                Output::Wait(deadline) => return deadline,
                _ => continue,
            };
            self.machine.handle(self.now(), answer);
        }
    }
}

/// The shell: a button, a browser, a status line. What the person saw, in order.
pub fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let world = Arc::new(Mutex::new(World::new()));
    let (to_shell, from_core) = channel();
    let (to_core, from_shell) = channel();

    let config = Config { redirect_uri: Some(REDIRECT_URI.to_owned()), ..Config::default() };
    let seed = [7; 32]; // a real app draws it from the system
    let url = lock(&world).resource.url.clone();
    let machine = AuthMachine::new(&url, Arc::new(config), Entropy::from_bytes(seed))?;
    let servers = world.clone();
    let fetch = move |request: &http::Request<Vec<u8>>| {
        let answered = lock(&servers).handle(unix_now(), request);
        answered.map_err(|error| TransportError::new(TransportErrorKind::Other, error))
    };
    let started = Instant::now();
    let core = Core { machine, started, record: None, fetch, shell: to_shell, tickets: 0 };
    let core = thread::spawn(move || core.run(&from_shell));

    let mut screen = vec!["button pressed".to_owned()];
    to_core.send(FromShell::SignIn)?;
    loop {
        match from_core.recv()? {
            ToShell::OpenUrl(url) => {
                screen.push("browser opened".to_owned());
                // A link of some other app comes first, and is ignored.
                to_core.send(FromShell::CameBack("com.example.notes:/open?note=7".to_owned()))?;
                let visit = lock(&world).visit(unix_now(), &url, &Person::Approves);
                let Visit::Redirect(link) = visit else { return Err("nobody came back".into()) };
                to_core.send(FromShell::CameBack(link))?;
            }
            ToShell::CloseBrowser => screen.push("browser closed".to_owned()),
            ToShell::Status(line) => screen.push(format!("  {line}")),
            ToShell::SignedIn(result) => {
                screen.push(result.map_or_else(|why| why, |()| "signed in".to_owned()));
                break;
            }
        }
    }
    drop(to_core);
    core.join().map_err(|_| "the core panicked")?;
    Ok(screen)
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[allow(dead_code, reason = "a test runs the example as a module")]
fn main() -> Result<(), Box<dyn Error>> {
    run()?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
