//! The callback listener over real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mcp_auth::output::{CallbackHost, CallbackPort, ListenSpec};
use mcp_auth_host::listener::{CallbackListener, ListenError, Page, RunningListener};

fn at(host: CallbackHost, port: CallbackPort) -> ListenSpec {
    ListenSpec { host, port, path: "/callback".into() }
}

fn anywhere() -> ListenSpec {
    at(CallbackHost::V4, CallbackPort::Free)
}

fn port_of(redirect_uri: &str) -> u16 {
    let authority = redirect_uri.split('/').nth(2).unwrap();
    authority.rsplit(':').next().unwrap().parse().unwrap()
}

/// A running listener that remembers what it was asked and always succeeds.
fn running(spec: &ListenSpec) -> (RunningListener, u16, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let remember = Arc::clone(&seen);
    let running = CallbackListener::bind(spec)
        .unwrap()
        .start(move |target| {
            remember.lock().unwrap().push(target);
            Page::Success { program: Some("Tester".into()) }
        })
        .unwrap();
    let port = port_of(running.redirect_uri());
    (running, port, seen)
}

fn send(to: impl Into<SocketAddr>, request: &str) -> String {
    let mut stream = TcpStream::connect(to.into()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

fn get(port: u16, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    send((Ipv4Addr::LOCALHOST, port), &request)
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn a_redirect_reaches_the_closure_and_a_page_the_user() {
    let (running, port, seen) = running(&anywhere());
    assert_eq!(running.redirect_uri(), format!("http://127.0.0.1:{port}/callback"));
    let response = get(port, "/callback?code=c&state=s");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("Tester finishes the login."));
    assert_eq!(*seen.lock().unwrap(), ["/callback?code=c&state=s"]);
}

#[test]
fn every_page_forbids_scripts_frames_caches_and_referrers() {
    let (_running, port, _) = running(&anywhere());
    for target in ["/callback", "/favicon.ico"] {
        let response = get(port, target);
        for field in [
            "Content-Security-Policy: default-src 'none'; style-src 'sha256-",
            "X-Content-Type-Options: nosniff\r\n",
            "X-Frame-Options: DENY\r\n",
            "Referrer-Policy: no-referrer\r\n",
            "Cache-Control: no-store\r\n",
            "Connection: close\r\n",
        ] {
            assert!(response.contains(field), "{field} in {response}");
        }
    }
}

#[test]
fn forged_requests_never_reach_the_closure() {
    let (_running, port, seen) = running(&anywhere());
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let host = format!("Host: 127.0.0.1:{port}\r\n");
    let status = |request: String| send(here, &request)[9..12].to_owned();
    assert_eq!(status(format!("GET /favicon.ico HTTP/1.1\r\n{host}\r\n")), "404");
    assert_eq!(status(format!("GET /callback/../x HTTP/1.1\r\n{host}\r\n")), "404");
    let head = send(here, &format!("HEAD /callback?code=c HTTP/1.1\r\n{host}\r\n"));
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(
        status(format!("POST /callback HTTP/1.1\r\n{host}Content-Length: 6\r\n\r\ncode=c")),
        "405"
    );
    assert_eq!(status(format!("OPTIONS /callback?code=c HTTP/1.1\r\n{host}\r\n")), "204");
    assert_eq!(
        status(format!("GET /callback?code=c HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n")),
        "421"
    );
    assert_eq!(
        status(format!("GET http://127.0.0.1:{port}/callback HTTP/1.1\r\n{host}\r\n")),
        "400"
    );
    let long = "x".repeat(20_000);
    assert_eq!(status(format!("GET /callback?code={long} HTTP/1.1\r\n{host}\r\n")), "431");
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn silent_and_slow_connections_do_not_hold_up_the_redirect() {
    let (_running, port, seen) = running(&anywhere());
    // More than the listener keeps, all of them before the redirect.
    let slow: Vec<TcpStream> = (0..40)
        .map(|n| {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            if n % 2 == 0 {
                stream.write_all(b"GET /callback?code=").unwrap();
            }
            stream
        })
        .collect();
    let start = Instant::now();
    assert!(get(port, "/callback?code=c").starts_with("HTTP/1.1 200"));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(*seen.lock().unwrap(), ["/callback?code=c"]);
    drop(slow);
}

#[test]
fn answered_connections_that_linger_do_not_keep_the_redirect_out() {
    let (_running, port, _) = running(&anywhere());
    let lingering: Vec<TcpStream> = (0..40)
        .map(|n| {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let request = format!("GET /favicon.ico HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).unwrap();
            assert!(response.starts_with("HTTP/1.1 404"), "{n}: {response}");
            stream
        })
        .collect();
    assert!(get(port, "/callback?code=c").starts_with("HTTP/1.1 200"));
    drop(lingering);
}

#[test]
fn a_connection_that_never_asks_is_closed() {
    let (_running, port, _) = running(&anywhere());
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn a_closure_that_takes_its_time_does_not_hold_up_the_next_redirect() {
    let (release, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let running = CallbackListener::bind(&anywhere())
        .unwrap()
        .start(move |target| {
            if target.contains("slow") {
                wait.lock().unwrap().recv().unwrap();
            }
            Page::Failure { title: target, explanation: String::new() }
        })
        .unwrap();
    let port = port_of(running.redirect_uri());
    std::thread::scope(|scope| {
        let slow = scope.spawn(move || get(port, "/callback?slow"));
        assert!(get(port, "/callback?fast").contains("<h1>/callback?fast</h1>"));
        release.send(()).unwrap();
        assert!(slow.join().unwrap().contains("<h1>/callback?slow</h1>"));
    });
}

#[test]
fn localhost_answers_on_both_loopback_addresses() {
    let (running, port, seen) = running(&at(CallbackHost::Localhost, CallbackPort::Free));
    assert_eq!(running.redirect_uri(), format!("http://localhost:{port}/callback"));
    let request = format!("GET /callback?a HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    let mut expected = 1;
    assert!(send((Ipv4Addr::LOCALHOST, port), &request).starts_with("HTTP/1.1 200"));
    if has_ipv6() {
        expected += 1;
        assert!(send((Ipv6Addr::LOCALHOST, port), &request).starts_with("HTTP/1.1 200"));
    }
    assert_eq!(seen.lock().unwrap().len(), expected);
}

#[test]
fn an_ipv6_listener_spells_its_address_in_brackets() {
    match CallbackListener::bind(&at(CallbackHost::V6, CallbackPort::Free)) {
        Ok(listener) => assert!(listener.redirect_uri().starts_with("http://[::1]:")),
        Err(error) => assert!(!has_ipv6(), "{error}"),
    }
}

#[test]
fn a_redirect_uri_without_a_path_is_answered_at_the_root() {
    let (running, port, seen) = running(&ListenSpec { path: String::new(), ..anywhere() });
    assert_eq!(running.redirect_uri(), format!("http://127.0.0.1:{port}"));
    get(port, "/?code=c");
    assert_eq!(*seen.lock().unwrap(), ["/?code=c"]);
}

#[test]
fn a_path_that_cannot_be_in_a_redirect_uri_is_refused() {
    for path in ["callback", "/a?b", "/a#b", "/a b", "/a\r\nX: y", "/é"] {
        let spec = ListenSpec { path: path.into(), ..anywhere() };
        let error = CallbackListener::bind(&spec).unwrap_err();
        assert!(matches!(error, ListenError::Path { .. }), "{path}");
    }
}

#[test]
fn a_busy_fixed_port_is_named_and_a_busy_preferred_one_avoided() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let busy = other.local_addr().unwrap().port();
    for host in [CallbackHost::V4, CallbackHost::Localhost] {
        let error = CallbackListener::bind(&at(host, CallbackPort::Fixed(busy))).unwrap_err();
        assert!(matches!(error, ListenError::Busy { port } if port == busy));
        assert!(error.to_string().contains(&busy.to_string()));
        let listener = CallbackListener::bind(&at(host, CallbackPort::Prefer(busy))).unwrap();
        assert_ne!(port_of(listener.redirect_uri()), busy);
    }
}

#[test]
fn a_stranger_on_the_other_loopback_address_would_get_codes_so_its_port_counts_as_busy() {
    let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let busy = other.local_addr().unwrap().port();
    let localhost = |port| CallbackListener::bind(&at(CallbackHost::Localhost, port));
    assert!(matches!(localhost(CallbackPort::Fixed(busy)), Err(ListenError::Busy { .. })));
    assert_ne!(port_of(localhost(CallbackPort::Prefer(busy)).unwrap().redirect_uri()), busy);
}

#[test]
fn a_preferred_free_port_is_taken_and_free_again_right_after_closing() {
    let port = {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        probe.local_addr().unwrap().port()
    };
    for choice in [CallbackPort::Prefer(port), CallbackPort::Fixed(port)] {
        let (running, bound, _) = running(&at(CallbackHost::V4, choice));
        assert_eq!(bound, port);
        assert!(get(port, "/callback").starts_with("HTTP/1.1 200"));
        running.close();
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn closing_is_prompt_even_with_silent_connections() {
    let (running, port, _) = running(&at(CallbackHost::Localhost, CallbackPort::Free));
    let silent: Vec<_> =
        (0..5).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
    let start = Instant::now();
    drop(running);
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    drop(silent);
}

#[test]
fn closing_waits_for_a_page_that_is_on_its_way() {
    let (asked, wait) = mpsc::channel();
    let decided = Arc::new(AtomicBool::new(false));
    let decide = Arc::clone(&decided);
    let running = CallbackListener::bind(&anywhere())
        .unwrap()
        .start(move |_| {
            asked.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(200));
            decide.store(true, Ordering::SeqCst);
            Page::Success { program: None }
        })
        .unwrap();
    let port = port_of(running.redirect_uri());
    std::thread::scope(|scope| {
        let user = scope.spawn(move || get(port, "/callback?code=c"));
        wait.recv().unwrap();
        running.close();
        // The program may end now.
        assert!(decided.load(Ordering::SeqCst));
        assert!(user.join().unwrap().contains("Authorization received"));
    });
}

#[test]
fn a_closure_that_panics_costs_one_connection_only() {
    let running = CallbackListener::bind(&anywhere())
        .unwrap()
        .start(|target| {
            assert!(!target.contains("boom"), "as the test wants it");
            Page::NotForUs
        })
        .unwrap();
    let port = port_of(running.redirect_uri());
    for _ in 0..20 {
        assert_eq!(get(port, "/callback?boom"), "");
    }
    assert!(get(port, "/callback?code=c").starts_with("HTTP/1.1 404"));
}
