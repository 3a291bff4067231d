//! Servers on this machine are called directly: no proxy and no name server has a say.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use http::{Request, Response, header};
use mcp_auth::TransportErrorKind;
use mcp_auth_host::serve::Server;
use mcp_auth_ureq::{Asking, SendError, Session};

use crate::{Town, need, session};

const PATIENCE: Duration = Duration::from_secs(5);

/// Somebody who must not be called.
struct Stranger(TcpListener);

impl Stranger {
    fn new() -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn was_called(&self) -> bool {
        self.0.accept().is_ok()
    }
}

#[test]
fn a_login_on_this_machine_takes_no_proxy() {
    let town = Town::new();
    let proxy = Stranger::new();
    let through = ureq::Proxy::new(&format!("http://{}", proxy.address())).unwrap();
    let agent = ureq::Agent::config_builder().proxy(Some(through)).build().into();
    let session = session(&town).agent(agent).build().unwrap();
    let login = session.login();
    assert!(!proxy.was_called());
    login.unwrap();
    let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
    assert_eq!(response.status(), 200);
    assert!(!proxy.was_called());
}

#[test]
fn another_machine_is_called_through_the_proxy() {
    let proxy = Stranger::new();
    let through = ureq::Proxy::new(&format!("http://{}", proxy.address())).unwrap();
    let agent = ureq::Agent::config_builder().proxy(Some(through)).build().into();
    let session = Session::builder("https://mcp.example/mcp")
        .agent(agent)
        .timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    session.inspect().unwrap_err();
    assert!(proxy.was_called());
}

#[test]
fn a_name_of_this_machine_leads_to_this_machine_whatever_a_resolver_says() {
    let server =
        Server::start(|request| Response::new(request.headers()[header::HOST].as_bytes().to_vec()))
            .unwrap();
    for name in ["localhost", "mcp.localhost"] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let url = server.url().replace("127.0.0.1", name);
        let session = Session::builder(&url)
            .resolver(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(vec![Ipv4Addr::new(192, 0, 2, 1).into()])
            })
            .timeout(PATIENCE)
            .build()
            .unwrap();
        let request = Request::post(&url).body(Vec::new()).unwrap();
        let sent = session.send(request, &need(), Asking::Never);
        // The server is told the name that it was called by.
        assert_eq!(format!("http://{}", String::from_utf8_lossy(sent.unwrap().body())), url);
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_server_on_the_ipv6_loopback_alone_is_found_by_name() {
    let Ok(socket) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let url = format!("http://localhost:{}", socket.local_addr().unwrap().port());
    thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        assert_ne!(stream.read(&mut [0; 1024]).unwrap(), 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
    });
    let session = Session::builder(&url).timeout(PATIENCE).build().unwrap();
    let request = Request::post(&url).body(Vec::new()).unwrap();
    let response = session.send(request, &need(), Asking::Never).unwrap();
    assert_eq!(response.body(), b"hello");
}

#[test]
fn a_name_of_this_machine_where_nobody_listens_is_a_refused_connection() {
    let url = format!("http://mcp.localhost:{}", Stranger::new().address().port());
    let session = Session::builder(&url).timeout(PATIENCE).build().unwrap();
    let request = Request::post(&url).body(Vec::new()).unwrap();
    let error = session.send(request, &need(), Asking::Never).unwrap_err();
    let SendError::Transport { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind, TransportErrorKind::Connect);
}
