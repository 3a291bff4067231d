//! A login that waits behind the real listener, on a loopback socket.

#![expect(clippy::disallowed_types, reason = "this is a host, not the core")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp_auth::output::{CallbackHost, CallbackPort, ListenSpec};
use mcp_auth::{Demand, Event, Need, Notice};
use mcp_auth_host::listener::{CallbackListener, Page, RunningListener};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{Canned, Fault, IssParameter, Person, What};

/// A program whose person is in the browser: what comes to the socket is for its machine to judge, and
/// its page is what the browser shows.
pub struct Window {
    story: Arc<Mutex<Scenario>>,
    listener: RunningListener,
    pub port: u16,
}

/// How long the other side may take.
const PATIENCE: Duration = Duration::from_secs(20);

impl Window {
    /// The token endpoint takes whatever code comes, once.
    pub fn open() -> Self {
        Self::at(CallbackPort::Free)
    }

    fn at(port: CallbackPort) -> Self {
        let spec = ListenSpec { host: CallbackHost::V4, port, path: "/callback".into() };
        let bound = CallbackListener::bind(&spec).expect("a listener");
        let callback = bound.redirect_uri().to_owned();
        let mut s = Scenario::new();
        s.config.redirect_uri = Some(callback.clone());
        s.person = Person::Ignores;
        s.world.authorization[0].iss = IssParameter::Silent;
        let reply = r#"{"access_token":"theirs","token_type":"Bearer"}"#;
        s.world.faults.push(Fault::answer("POST", "/token", Canned::json(200, reply)));
        s.demand(Demand::interactive(Need::default()));
        s.run_until("browse");
        s.run();
        let story = Arc::new(Mutex::new(s));
        let behind = Arc::clone(&story);
        let listener = bound.start(move |target| {
            let mut s = behind.lock().unwrap_or_else(PoisonError::into_inner);
            Page::of(s.redirect(&target), Some("Tester"))
        });
        let port = callback.rsplit(':').next().unwrap().split('/').next().unwrap();
        Self { story, listener: listener.expect("a thread"), port: port.parse().unwrap() }
    }

    pub fn story(&self) -> MutexGuard<'_, Scenario> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state(&self) -> String {
        self.story().authorize_param("state").expect("a state")
    }

    /// The target with the `state` of this login in place of the entry's `S`.
    pub fn with_state(&self, target: &str) -> String {
        assert!(target.contains("state=S"), "{target}");
        target.replace("state=S", &format!("state={}", self.state()))
    }

    /// Sends a request line's first two words and these header fields; the whole response.
    pub fn ask(&self, request: &str, fields: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(self.head(request, fields).as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    /// The same, and away before the response comes: closing with it unread resets the connection.
    pub fn ask_and_leave(&self, request: &str) {
        let mut stream = self.connect();
        stream.write_all(self.head(request, "").as_bytes()).unwrap();
        let _ = stream.peek(&mut [0]);
    }

    /// A connection that sends this and no more.
    pub fn stay(&self, bytes: &str) -> impl Sized {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn head(&self, request: &str, fields: &str) -> String {
        format!("{request} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{fields}\r\n", self.port)
    }

    /// Nothing has happened: the person is still waited for.
    pub fn waits(&self) -> bool {
        let mut s = self.story();
        s.run();
        let attempt = s.machine().last_attempt().unwrap();
        s.machine().is_running(attempt) && s.world.count(What::TokenRequests) == 0
    }

    /// The login is over, and well; the code that it was paid with.
    pub fn paid(&self) -> String {
        let mut s = self.story();
        s.run();
        s.grant();
        assert_eq!(s.world.count(What::CodeExchanges), 1);
        s.form_field("code").unwrap()
    }

    pub fn ignored(&self) -> usize {
        self.story().told(|notice| matches!(notice, Notice::RedirectIgnored { .. }))
    }

    pub fn cancel(&self) {
        let mut s = self.story();
        let attempt = s.machine().last_attempt().unwrap();
        s.handle(Event::Cancel(attempt));
        s.run();
    }

    /// Closes the listener; whether the port refuses connections then.
    pub fn close(self) -> bool {
        self.listener.close();
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    }

    /// Another login at the port of this one, which is closed first.
    pub fn reopen(self) -> Self {
        let port = CallbackPort::Fixed(self.port);
        self.listener.close();
        Self::at(port)
    }
}

/// The number and text of the error that the system gives for a port that is in use.
pub fn error_of_a_taken_port() -> String {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let error = TcpListener::bind(taken.local_addr().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    error.to_string()
}
