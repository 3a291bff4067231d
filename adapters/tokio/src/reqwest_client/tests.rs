//! Where requests may lead, on real sockets: the tests that every host has, and some that only this
//! one can have.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::thread;

use mcp_auth::{Discovery, Error, Logout, Need};
use mcp_auth_host::desk::{Asking, SendError};
use mcp_auth_host::serve::{CERTIFICATE, Server};
use mcp_auth_host::setup::Setup;
use mcp_auth_hosts::traps::Through;
use mcp_auth_hosts::{City, PUBLIC, ip};
use mcp_auth_world::{By, What};
use rustls::pki_types::CertificateDer;
use tokio::runtime::Runtime;

use super::*;
use crate::builder::Builder;
use crate::session::Session;

/// A session, and what drives it.
struct Host(Session);

mcp_auth_hosts::traps!(Host);
mcp_auth_hosts::mutual!(Host);

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

impl mcp_auth_hosts::traps::Network for Host {
    fn open(city: &City, setup: Setup, proxy: Option<Through<'_>>) -> Self {
        let builder = client(city);
        let builder = match proxy {
            Some(proxy) => builder.proxy(proxy.url, proxy.except),
            None => builder.no_proxy(),
        };
        open(setup, builder)
    }

    fn login(&self) -> Result<(), Error> {
        runtime().block_on(self.0.login()).map(drop)
    }

    fn logout(&self) -> Result<Logout, Error> {
        runtime().block_on(self.0.logout())
    }

    fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, SendError> {
        runtime().block_on(self.0.send(request, &Need::default(), Asking::Welcome))
    }

    fn discovery(&self) -> Option<Discovery> {
        self.0.discovery()
    }
}

fn open(setup: Setup, client: ReqwestBuilder) -> Host {
    let _within = runtime().enter();
    Host(Builder::from(setup).client(client.build().unwrap()).build().unwrap())
}

/// The city's names, roads and certificate.
fn client(city: &City) -> ReqwestBuilder {
    let (names, to, from) = (city.clone(), city.clone(), city.clone());
    let road = Road {
        to: Arc::new(move |address| to.dial(address).unwrap_or(SocketAddr::new(address, 0))),
        from: Arc::new(move |door| from.behind(door)),
    };
    let builder = ReqwestClient::builder().tls(trusting()).resolver(move |host| {
        let found = names.look_up(host);
        Ok(found)
    });
    ReqwestBuilder { road, ..builder }
}

fn trusting() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(CERTIFICATE)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    tls.with_root_certificates(roots).with_no_client_auth()
}

fn limits() -> Limits {
    Limits { deadline: Duration::from_secs(5), max_body: 1 << 10, head_only: false }
}

fn get(url: &str) -> Request<Vec<u8>> {
    Request::get(url).body(Vec::new()).unwrap()
}

#[test]
fn a_name_that_is_bound_anew_does_not_help_a_connection_that_is_open_already() {
    let city = City::new();
    let client = client(&city).no_proxy().build().unwrap();
    let keep_alive = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = keep_alive.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let (mut stream, _) = keep_alive.accept().unwrap();
        for _ in 0..2 {
            assert_ne!(stream.read(&mut [0; 1024]).unwrap(), 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        }
        // A third request would come over this connection, or over one that nobody accepts.
        stream.set_read_timeout(Some(Duration::from_millis(800))).unwrap();
        stream.read(&mut [0; 1024]).unwrap_or_default()
    });
    city.name("kept.example.com", &[&["127.0.0.1"]]);
    let request = || get(&format!("http://kept.example.com:{port}/"));
    let send = |reach| runtime().block_on(client.send(request(), limits(), reach));
    for _ in 0..2 {
        let response = send(Reach::anywhere()).unwrap();
        // A connection that is used again tells, too, where it leads.
        assert_eq!(response.extensions().get(), Some(&PeerAddress(ip("127.0.0.1"))));
        // On another thread, the connection goes back to the pool.
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(city.asked().len(), 1);
    // The name has moved on; the connection is still there. A request with bounds must not use it.
    let error = send(Reach::of_server_at(PUBLIC)).unwrap_err();
    assert_eq!(error.kind, TransportErrorKind::Refused, "{error}");
    assert_eq!((city.asked().len(), served.join().unwrap()), (1, 0));
}

#[test]
fn an_address_in_a_url_is_judged_without_any_lookup() {
    let client = ReqwestClient::builder().no_proxy().build().unwrap();
    let trap = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    trap.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", trap.local_addr().unwrap());
    let sent = client.send(get(&url), limits(), Reach::of_server_at(PUBLIC));
    let error = runtime().block_on(sent).unwrap_err();
    assert_eq!(error.kind, TransportErrorKind::Refused, "{error}");
    assert!(trap.accept().is_err());
}

#[test]
fn the_settings_of_a_program_are_kept_and_what_is_promised_is_kept_in_spite_of_them() {
    let city = City::new();
    let redirects = redirect::Policy::limited;
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let through = format!("http://{}", proxy.local_addr().unwrap());
    let client = client(&city).no_proxy().settings(move |builder| {
        let builder = builder.user_agent("notes/1").redirect(redirects(9));
        builder.proxy(Proxy::all(through.clone()).unwrap())
    });
    let host = open(city.setup(), client);
    mcp_auth_hosts::traps::Network::login(&host).unwrap();
    let world = city.world();
    for exchange in world.log.iter().filter(|exchange| exchange.by == By::Program) {
        assert_eq!(exchange.request.headers()["user-agent"], "notes/1");
    }
    assert_eq!(world.count(What::CodeExchanges), 1);
    proxy.set_nonblocking(true).unwrap();
    assert!(proxy.accept().is_err());
}

#[test]
fn no_redirect_is_followed_and_no_cookie_kept() {
    let server = Server::start(|request| {
        let builder = Response::builder().status(302).header("location", "/elsewhere");
        let cookie = request.headers().get("cookie").map_or_else(Vec::new, |c| c.as_bytes().into());
        builder.header("set-cookie", "a=b").body(cookie).unwrap()
    })
    .unwrap();
    let client = ReqwestClient::new().unwrap();
    for _ in 0..2 {
        let sent = client.send(get(&server.url()), limits(), Reach::anywhere());
        let response = runtime().block_on(sent).unwrap();
        assert_eq!((response.status().as_u16(), response.body().len()), (302, 0));
    }
}

#[test]
fn a_name_of_this_machine_leads_to_this_machine_whatever_a_resolver_says() {
    let server = Server::start(|request| {
        Response::new(request.headers()[http::header::HOST].as_bytes().to_vec())
    })
    .unwrap();
    let client = ReqwestClient::builder().resolver(|_| panic!("it was asked")).build().unwrap();
    for name in ["localhost", "mcp.localhost", "LOCALHOST"] {
        let url = server.url().replace("127.0.0.1", name);
        let sent = client.send(get(&url), limits(), Reach::anywhere());
        let response = runtime().block_on(sent).unwrap();
        // The server is told the name that it was called by.
        let told = String::from_utf8_lossy(response.body()).to_ascii_lowercase();
        assert_eq!(format!("http://{told}"), url.to_ascii_lowercase());
        assert_eq!(response.extensions().get(), Some(&PeerAddress(ip("127.0.0.1"))));
    }
}

#[test]
fn what_is_for_this_machine_takes_no_proxy_and_what_is_not_does() {
    let server = Server::start(|_| Response::new(Vec::new())).unwrap();
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    stranger.set_nonblocking(true).unwrap();
    let proxy = format!("http://{}", stranger.local_addr().unwrap());
    let client = ReqwestClient::builder().proxy(&proxy, "").build().unwrap();
    let limits = Limits { deadline: Duration::from_millis(300), ..limits() };
    let send = |url: &str| runtime().block_on(client.send(get(url), limits, Reach::anywhere()));
    send(&server.url()).unwrap();
    assert!(stranger.accept().is_err());
    send("https://mcp.example/mcp").unwrap_err();
    assert!(stranger.accept().is_ok());
}

#[test]
fn a_proxy_that_is_no_http_one_is_an_error_and_not_passed_by() {
    let client = ReqwestClient::builder().proxy("socks5://127.0.0.1:9", "").build().unwrap();
    let sent = client.send(get("https://mcp.example/mcp"), limits(), Reach::anywhere());
    let error = runtime().block_on(sent).unwrap_err();
    assert!(error.to_string().contains("not an HTTP one"), "{error}");
}

#[test]
fn an_error_does_not_tell_the_url() {
    let client = ReqwestClient::builder().no_proxy().build().unwrap();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let url = format!("http://user:hush@{closed}/?code=hush");
    let sent = client.send(get(&url), limits(), Reach::anywhere());
    let error = runtime().block_on(sent).unwrap_err();
    assert_eq!(error.kind, TransportErrorKind::Connect);
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn who_shows_no_certificate_is_not_taken_for_who_has_shown_one() {
    let (city, paths) = mcp_auth_hosts::mutual::city();
    let client = client(&city).no_proxy().build().unwrap();
    let request = || get("https://mtls.example.com/");
    let identity = mcp_auth_hosts::mutual::identity;
    for _ in 0..2 {
        let shown = client.send_as(identity(), request(), limits(), Reach::anywhere());
        runtime().block_on(shown).unwrap();
        // Neither over the connection that was, nor in the session that was.
        let plain = client.send(request(), limits(), Reach::anywhere());
        runtime().block_on(plain).unwrap_err();
    }
    assert_eq!(paths.lock().unwrap().len(), 2);
}

#[test]
fn a_proxy_that_could_ask_for_a_certificate_is_not_connected_to() {
    let (city, paths) = mcp_auth_hosts::mutual::city();
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("https://localhost:{}", proxy.local_addr().unwrap().port());
    let through = client(&city);
    let client = client(&city).proxy(&url, "").build().unwrap();
    let (request, identity) =
        (get("https://mtls.example.com/"), mcp_auth_hosts::mutual::identity());
    let sent = client.send_as(identity, request, limits(), Reach::anywhere());
    let error = runtime().block_on(sent).unwrap_err();
    assert!(error.to_string().contains("proxy"), "{error}");
    assert!(proxy.accept().is_err() && city.dialled().is_empty());
    // One of http gives the connection to the server.
    let proxy = mcp_auth_hosts::Proxy::to(city.door(ip("93.184.216.99")));
    let client = through.proxy(&format!("http://{}", proxy.address), "").build().unwrap();
    let (request, identity) =
        (get("https://mtls.example.com/"), mcp_auth_hosts::mutual::identity());
    let sent = client.send_as(identity, request, limits(), Reach::anywhere());
    runtime().block_on(sent).unwrap();
    assert_eq!(
        (proxy.asked(), paths.lock().unwrap().len()),
        (vec!["mtls.example.com:443".into()], 1)
    );
}
