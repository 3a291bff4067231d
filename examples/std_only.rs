//! A host of nothing but `std` and the core: a store in memory, HTTP over a plain socket, a listener.
//!
//! ```sh
//! cargo run --example std_only                               # against servers that it brings along
//! cargo run --example std_only -- http://127.0.0.1:8080/mcp  # against one on this machine
//! ```
//!
//! It speaks `http` to this machine only, for `std` has no TLS: a real host brings a client of its own.

// A host is what the core isn't allowed to be.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    clippy::print_stdout,
    reason = "a host has clocks, sockets and an output"
)]

#[path = "../adapters/cli/src/demo/servers.rs"]
#[allow(dead_code, missing_docs, reason = "shared with the command")]
mod servers;
#[path = "../adapters/cli/src/walker.rs"]
#[allow(missing_docs, reason = "shared with the command")]
mod walker;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, thread};

use mcp_auth::output::{HttpCall, Page};
use mcp_auth::{
    Action, AuthMachine, Config, Demand, Entropy, Event, HostError, Mono, Need, Now, Output,
    PeerAddress, Redirected, Revision, Secret, TokenState, TransportError, TransportErrorKind,
    UnixTime,
};

type Anyhow<T> = Result<T, Box<dyn Error>>;

/// What the machine can't do itself.
struct Host {
    started: Instant,
    record: Option<Vec<u8>>,
    listener: Option<TcpListener>,
    /// Who waits for a page, by ticket.
    visitor: Option<(u64, TcpStream)>,
    tickets: u64,
    /// Takes a person to a URL.
    browse: fn(String),
}

impl Host {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { wall: UnixTime(wall.as_secs()), mono: Mono(self.started.elapsed()) }
    }

    /// Does what comes out, and feeds the answers back, until nothing is pending.
    fn drive(&mut self, machine: &mut AuthMachine) -> Anyhow<()> {
        loop {
            let event = match machine.poll_output() {
                Output::Do(action) => self.perform(action)?,
                Output::Tell(notice) => {
                    println!("  {notice}");
                    continue;
                }
                Output::Show { ticket, page } => {
                    self.show(ticket, &page)?;
                    continue;
                }
                Output::Dismiss => {
                    self.listener = None;
                    continue;
                }
                Output::Wait(None) => return Ok(()),
                Output::Wait(Some(until)) => self.wait(until)?,
                _ => continue,
            };
            machine.handle(self.now(), event);
        }
    }

    fn perform(&mut self, action: Action) -> Anyhow<Event> {
        Ok(match action {
            Action::Load(call) => call.answer(Ok(self.record.clone())),
            Action::Save(call) => {
                let there = Revision::of(self.record.as_deref());
                if call.expected().is_some_and(|expected| expected != there) {
                    return Ok(call.answer(Err(HostError::conflict("somebody was faster"))));
                }
                self.record = call.record().map(<[u8]>::to_vec);
                call.answer(Ok(()))
            }
            Action::Http(call) => {
                let response = send(&call);
                call.answer(response)
            }
            Action::Listen(call) => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                listener.set_nonblocking(true)?;
                let uri = format!("http://{}{}", listener.local_addr()?, call.spec().path);
                self.listener = Some(listener);
                call.answer(Ok(uri))
            }
            Action::Browse(call) => {
                (self.browse)(call.url().to_string());
                call.answer(Ok(()))
            }
            Action::Secret(call) => call.answer(Ok(None)),
            Action::ShowCode(call) => call.answer(Err(HostError::new("codes aren't shown"))),
            other => return Err(format!("what is {other:?}?").into()),
        })
    }

    /// Until somebody comes to the listener, or it is time.
    fn wait(&mut self, until: Mono) -> Anyhow<Event> {
        while self.now().mono < until {
            if let Some((mut visitor, _)) = self.listener.as_ref().and_then(|l| l.accept().ok()) {
                visitor.set_nonblocking(false)?;
                let head = read_head(&mut visitor)?;
                self.tickets += 1;
                self.visitor = Some((self.tickets, visitor));
                let url = head.split(' ').nth(1).unwrap_or_default();
                let redirected = Redirected { ticket: self.tickets, url: Secret::from(url) };
                return Ok(Event::Redirected(redirected));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Event::Tick)
    }

    fn show(&mut self, ticket: u64, page: &Page) -> io::Result<()> {
        let Some((_, mut visitor)) = self.visitor.take_if(|(of, _)| *of == ticket) else {
            return Ok(());
        };
        let text = if *page == Page::Success { "Done: close this tab." } else { "Not this." };
        let length = text.len();
        write!(
            visitor,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
        )
    }
}

/// The whole of HTTP that a login needs.
fn send(call: &HttpCall) -> Result<http::Response<Vec<u8>>, TransportError> {
    let other = |error: io::Error| TransportError::new(TransportErrorKind::Other, error);
    let request = call.request();
    let (uri, deadline) = (request.uri(), call.limits().deadline);
    let (Some(host), Some("http")) = (uri.host(), uri.scheme_str()) else {
        return Err(TransportError::new(TransportErrorKind::Connect, "std has no TLS"));
    };
    // Looked up once; what may not be reached isn't dialled.
    let addresses = (host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80)).to_socket_addrs();
    let mut allowed = addresses.map_err(other)?.filter(|a| call.reach().allows(a.ip()).is_ok());
    let address = allowed
        .next()
        .ok_or_else(|| TransportError::new(TransportErrorKind::Refused, "out of reach"))?;
    let stream = TcpStream::connect_timeout(&address, deadline);
    let stream = stream.map_err(|e| TransportError::new(TransportErrorKind::Connect, e))?;
    stream.set_read_timeout(Some(deadline)).map_err(other)?;
    let mut response = exchange(stream, request, call.limits().max_body).map_err(other)?;
    response.extensions_mut().insert(PeerAddress(address.ip()));
    Ok(response)
}

fn exchange(
    mut stream: TcpStream,
    request: &http::Request<Vec<u8>>,
    max_body: usize,
) -> io::Result<http::Response<Vec<u8>>> {
    let (target, host) = (request.uri().path_and_query(), request.uri().authority());
    let target = target.map_or("/", |target| target.as_str());
    let host = host.map_or("", |host| host.as_str());
    write!(
        stream,
        "{} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n",
        request.method()
    )?;
    for (name, value) in request.headers() {
        stream.write_all(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat())?;
    }
    write!(stream, "Content-Length: {}\r\n\r\n", request.body().len())?;
    stream.write_all(request.body())?;

    let head = read_head(&mut stream)?;
    let mut body = Vec::new();
    stream.take(max_body as u64).read_to_end(&mut body)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let mut response = http::Response::builder().status(status);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        response = response.header(name, value.trim());
    }
    response.body(body).map_err(io::Error::other)
}

/// Byte by byte: what follows is the body's.
fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 32 << 10 && stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// 32 bytes of the system's generator, where it is a file.
fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

/// Logs in to this server; what came of it.
fn log_in(url: &str, browse: fn(String)) -> Anyhow<String> {
    let (started, need) = (Instant::now(), Need::default());
    let mut host =
        Host { started, record: None, listener: None, visitor: None, tickets: 0, browse };
    let mut machine =
        AuthMachine::new(url, Arc::new(Config::default()), Entropy::from_bytes(seed()?))?;
    machine.handle(host.now(), Event::Demand(Demand::interactive(need.clone())));
    host.drive(&mut machine)?;
    match machine.token(host.now(), &need) {
        TokenState::Ready(grant) => {
            let stored = host.record.map_or(0, |record| record.len());
            Ok(format!("logged in to {url}: {grant:?}, {stored} bytes stored"))
        }
        TokenState::NotRequired => Ok(format!("{url} wants no authorization")),
        TokenState::Failed(_, error) => Err(format!("{error}\n{}", error.advice()).into()),
        other => Err(format!("no token: {other:?}").into()),
    }
}

/// Against servers of its own, with a person who agrees to everything.
pub fn run() -> Anyhow<String> {
    let servers = servers::Servers::start()?;
    log_in(&servers.mcp, |url| {
        thread::spawn(move || walker::walk(&url));
    })
}

#[allow(dead_code, reason = "a test runs the example as a module")]
fn main() -> Anyhow<()> {
    let result = match std::env::args().nth(1) {
        Some(url) => log_in(&url, |url| println!("Open this address in a browser:\n{url}"))?,
        None => run()?,
    };
    println!("{result}");
    Ok(())
}
