//! Accepting connections: one thread per socket, and one per connection.

use std::collections::VecDeque;
use std::fmt;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::page::{Page, Response};
use super::request::{self, Asked};
use super::{CallbackListener, ListenError};

/// The most connections at a time. One more pushes out the oldest that has its answer, or else the
/// oldest that hasn't asked anything yet.
const MAX_CONNECTIONS: usize = 16;
/// The longest request head: request line and header fields, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// How long a connection has to send its head, and to take each part of our answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long we wait for the other side to close, so that a reset can't overtake the page.
const LINGER: Duration = Duration::from_millis(500);
/// How long closing waits for pages that are on their way.
const FAREWELL: Duration = Duration::from_secs(1);

type OnRedirect = Box<dyn Fn(String) -> Page + Send + Sync>;

/// A listener that answers. Closing or dropping it frees the port; pages that are being written
/// get up to a second to reach the browser.
///
/// ```
/// use std::net::TcpListener;
///
/// use mcp_auth::output::{CallbackHost, CallbackPort, ListenSpec};
/// use mcp_auth_host::listener::{CallbackListener, Page};
///
/// let spec = ListenSpec { host: CallbackHost::V4, port: CallbackPort::Free, path: String::new() };
/// let running = CallbackListener::bind(&spec)?.start(|_target| Page::NotForUs)?;
/// let address = running.redirect_uri().trim_start_matches("http://").to_owned();
/// assert!(TcpListener::bind(&address).is_err());
/// running.close();
/// assert!(TcpListener::bind(&address).is_ok());
/// # Ok::<(), mcp_auth_host::listener::ListenError>(())
/// ```
pub struct RunningListener {
    redirect_uri: String,
    shared: Arc<Shared>,
    acceptors: Vec<(SocketAddr, JoinHandle<()>)>,
}

impl RunningListener {
    pub(super) fn start(
        bound: CallbackListener,
        on_redirect: OnRedirect,
    ) -> Result<Self, ListenError> {
        let CallbackListener { sockets, port, path, redirect_uri } = bound;
        let shared = Arc::new(Shared {
            // A browser asks for `/` where the redirect URI has no path.
            path: if path.is_empty() { "/".to_owned() } else { path },
            port,
            on_redirect,
            closing: AtomicBool::new(false),
            room: Mutex::default(),
            left: Condvar::new(),
        });
        // Dropped on an error below, which ends the acceptors that were started.
        let mut running = Self { redirect_uri, shared, acceptors: Vec::new() };
        for socket in sockets {
            let address =
                socket.local_addr().map_err(|reason| ListenError::Bind { port, reason })?;
            let shared = Arc::clone(&running.shared);
            let acceptor = thread::Builder::new()
                .name("callback-accept".into())
                .spawn(move || shared.accept_all(&socket))
                .map_err(|reason| ListenError::Thread { reason })?;
            running.acceptors.push((address, acceptor));
        }
        Ok(running)
    }

    /// The redirect URI, for example `http://127.0.0.1:49152/callback`.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Stops listening. The same as dropping it.
    pub fn close(self) {}
}

impl Drop for RunningListener {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        for (address, acceptor) in self.acceptors.drain(..) {
            // Wakes the acceptor; if this fails, it has connections to wake it already.
            let _ = TcpStream::connect_timeout(&address, FAREWELL);
            let _ = acceptor.join();
        }
        let mut room = self.shared.room();
        room.guests.retain(|guest| {
            let silent = guest.stage == Stage::Silent;
            if silent {
                let _ = guest.stream.shutdown(Shutdown::Both);
            }
            !silent
        });
        drop(self.shared.left.wait_timeout_while(room, FAREWELL, |room| !room.guests.is_empty()));
    }
}

impl fmt::Debug for RunningListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningListener")
            .field("redirect_uri", &self.redirect_uri)
            .finish_non_exhaustive()
    }
}

struct Shared {
    path: String,
    port: u16,
    on_redirect: OnRedirect,
    closing: AtomicBool,
    room: Mutex<Room>,
    /// Told whenever a connection ends.
    left: Condvar,
}

/// The open connections, oldest first.
#[derive(Default)]
struct Room {
    guests: VecDeque<Guest>,
    next_id: u64,
}

struct Guest {
    id: u64,
    stream: TcpStream,
    stage: Stage,
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It hasn't sent a whole request yet.
    Silent,
    /// Its answer is being found or written.
    Asked,
    /// It has its answer, and is to close.
    Answered,
}

/// A connection's place in the room, given up when it ends, however it ends.
struct Seat {
    id: u64,
    shared: Arc<Shared>,
}

impl Shared {
    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept_all(self: Arc<Self>, socket: &TcpListener) {
        loop {
            let accepted = socket.accept();
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                // Out of descriptors, most likely: others may give some back.
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream) {
        let Ok(copy) = stream.try_clone() else { return };
        let Some(id) = self.room().enter(copy) else { return };
        let seat = Seat { id, shared: Arc::clone(self) };
        // If no thread can be had, seat and stream go with the closure.
        let _ = thread::Builder::new()
            .name("callback-connection".into())
            .spawn(move || seat.serve(stream));
    }

    fn respond_to(&self, head: &Head) -> Response {
        let Head::Whole(bytes) = head else { return Response::too_long() };
        match request::understand(bytes, &self.path, self.port) {
            Asked::Redirect(target) => Response::page((self.on_redirect)(target)),
            Asked::Other(response) => response,
        }
    }
}

impl Room {
    /// `None` where every connection waits for its answer, and none can be pushed out.
    fn enter(&mut self, stream: TcpStream) -> Option<u64> {
        if self.guests.len() >= MAX_CONNECTIONS {
            let oldest = |stage| self.guests.iter().position(|guest| guest.stage == stage);
            let oldest = oldest(Stage::Answered).or_else(|| oldest(Stage::Silent))?;
            let _ = self.guests.remove(oldest)?.stream.shutdown(Shutdown::Both);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.guests.push_back(Guest { id, stream, stage: Stage::Silent });
        Some(id)
    }
}

impl Seat {
    fn serve(self, mut stream: TcpStream) {
        let Some(head) = read_head(&mut stream) else { return };
        if !self.reaches(Stage::Asked) {
            return;
        }
        let response = self.shared.respond_to(&head).into_bytes();
        let _ = stream.set_write_timeout(Some(PATIENCE));
        // The other side may linger from here on, but not at a newcomer's expense.
        if stream.write_all(&response).is_ok()
            && self.reaches(Stage::Answered)
            && stream.shutdown(Shutdown::Write).is_ok()
        {
            drain(&mut stream);
        }
    }

    /// `false` where the connection was pushed out meanwhile.
    fn reaches(&self, stage: Stage) -> bool {
        let mut room = self.shared.room();
        let guest = room.guests.iter_mut().find(|guest| guest.id == self.id);
        guest.map(|guest| guest.stage = stage).is_some()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.room().guests.retain(|guest| guest.id != self.id);
        self.shared.left.notify_all();
    }
}

enum Head {
    Whole(Vec<u8>),
    TooLong,
}

/// Reads up to the empty line, or `None` where the other side left, or took too long.
fn read_head(stream: &mut TcpStream) -> Option<Head> {
    let start = Instant::now();
    let mut head = Vec::new();
    let mut part = [0; 2048];
    loop {
        let length = read_before(stream, &mut part, start, PATIENCE)?;
        // The empty line may be split over two reads.
        let seen = head.len().saturating_sub(3);
        head.extend_from_slice(part.get(..length)?);
        if head.get(seen..)?.windows(4).any(|window| window == b"\r\n\r\n") {
            return Some(Head::Whole(head));
        }
        if head.len() > MAX_HEAD {
            return Some(Head::TooLong);
        }
    }
}

/// Takes what else the other side sends: closing with unread bytes would reset the connection.
fn drain(stream: &mut TcpStream) {
    let start = Instant::now();
    let mut part = [0; 2048];
    while read_before(stream, &mut part, start, LINGER).is_some() {}
}

/// Reads some bytes, `None` at the end, on an error, and `limit` after `start`.
fn read_before(
    stream: &mut TcpStream,
    part: &mut [u8],
    start: Instant,
    limit: Duration,
) -> Option<usize> {
    let left = limit.checked_sub(start.elapsed()).filter(|left| !left.is_zero())?;
    stream.set_read_timeout(Some(left)).ok()?;
    stream.read(part).ok().filter(|length| *length > 0)
}
