//! Where requests may lead, on real sockets: the tests that every host has, and some that only this
//! one can have.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::{Request, Response};
use mcp_auth::output::Limits;
use mcp_auth::{Discovery, Error, ErrorKind, Logout, Need, PeerAddress, Reach};
use mcp_auth_host::serve::CERTIFICATE;
use mcp_auth_host::setup::Setup;
use mcp_auth_hosts::traps::Through;
use mcp_auth_hosts::{City, PUBLIC, Proxy, ip};
use mcp_auth_world::What;
use mcp_auth_world::traps::HOST;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{ProxyProtocol, typestate::AgentScope};

use super::{Lookup, Network, Road};
use crate::exchange::exchange;
use crate::{Asking, Builder, SendError, Session};

mcp_auth_hosts::traps!(Session);
mcp_auth_hosts::mutual!(Session);

impl mcp_auth_hosts::traps::Network for Session {
    fn open(city: &City, setup: Setup, proxy: Option<Through<'_>>) -> Self {
        let through = proxy.map(|proxy| {
            let url: http::Uri = proxy.url.parse().unwrap();
            let through = ureq::Proxy::builder(ProxyProtocol::Http)
                .host(url.host().unwrap())
                .port(url.port_u16().unwrap());
            through.no_proxy(proxy.except).build().unwrap()
        });
        open(city, config().proxy(through).build(), setup)
    }

    fn login(&self) -> Result<(), Error> {
        self.login().map(drop)
    }

    fn logout(&self) -> Result<Logout, Error> {
        self.logout()
    }

    fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, SendError> {
        self.send(request, &Need::default(), Asking::Welcome)
    }

    fn discovery(&self) -> Option<Discovery> {
        self.discovery()
    }
}

fn road(city: &City) -> Road {
    let city = city.clone();
    Arc::new(move |to: SocketAddr| city.dial(to.ip()).unwrap_or(to))
}

fn lookup(city: &City) -> Lookup {
    let city = city.clone();
    Arc::new(move |host| Ok(city.look_up(host)))
}

fn config() -> ureq::config::ConfigBuilder<AgentScope> {
    let certificate = Certificate::from_der(CERTIFICATE).to_owned();
    let roots = RootCerts::new_with_certs(&[certificate]);
    let tls = TlsConfig::builder().root_certs(roots).build();
    ureq::Agent::config_builder().tls_config(tls).proxy(None)
}

fn open(city: &City, config: ureq::config::Config, setup: Setup) -> Session {
    let builder = Builder::from(setup).agent(config.into());
    let resolver = Some(lookup(city));
    Builder { road: road(city), resolver, ..builder }.build().unwrap()
}

fn network(city: &City) -> Network {
    Network::new(config().build(), Some(lookup(city)), road(city))
}

#[test]
fn a_name_that_is_bound_anew_does_not_help_a_connection_that_is_open_already() {
    let city = City::new();
    let network = network(&city);
    let keep_alive = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = keep_alive.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let (mut stream, _) = keep_alive.accept().unwrap();
        for _ in 0..2 {
            assert_ne!(stream.read(&mut [0; 1024]).unwrap(), 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        }
        // A third request would come over this connection, or over one that nobody accepts.
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        stream.read(&mut [0; 1024]).unwrap_or_default()
    });
    city.name("kept.example.com", &[&["127.0.0.1"]]);
    let get = || Request::get(format!("http://kept.example.com:{port}/")).body(Vec::new()).unwrap();
    let limits = Limits { deadline: Duration::from_secs(5), max_body: 1 << 10, head_only: false };
    for _ in 0..2 {
        let response = exchange(&network, &get(), limits, &Reach::anywhere(), None).unwrap();
        // A connection that is used again tells, too, where it leads.
        assert_eq!(response.extensions().get(), Some(&PeerAddress(ip("127.0.0.1"))));
    }
    // The name has moved on; the connection is still there. A request with bounds must not use it.
    city.name("kept.example.com", &[&["8.8.8.8"]]);
    let bounded = Reach::of_server_at(PUBLIC);
    let sent = exchange(&network, &get(), limits, &bounded, None);
    assert!(sent.is_err(), "{sent:?}");
    assert_eq!(served.join().unwrap(), 0);
    assert_eq!(city.dialled().last(), Some(&ip("8.8.8.8")));
}

#[test]
fn the_settings_of_a_programs_own_agent_are_kept() {
    fn tag(
        mut request: Request<ureq::SendBody<'_>>,
        next: ureq::middleware::MiddlewareNext<'_>,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        request.headers_mut().insert("x-tag", http::HeaderValue::from_static("seen"));
        next.handle(request)
    }
    let city = City::new();
    let config = config().user_agent("notes/1").middleware(tag).build();
    open(&city, config, city.setup()).login().unwrap();
    let world = city.world();
    let sent = world.log.iter().filter(|exchange| exchange.by == mcp_auth_world::By::Program);
    for exchange in sent {
        assert_eq!(exchange.request.headers()["user-agent"], "notes/1");
        assert_eq!(exchange.request.headers()["x-tag"], "seen");
    }
    assert_eq!(world.count(What::CodeExchanges), 1);
}

mod socks {
    use super::*;

    /// SOCKS5 without a password (RFC 1928), to a host by its name or its IPv4 address, accepted.
    fn socks_request(client: &mut TcpStream) -> io::Result<String> {
        client.read_exact(&mut [0; 3])?;
        client.write_all(&[5, 0])?;
        let mut head = [0; 4];
        client.read_exact(&mut head)?;
        let host = if head[3] == 1 {
            let mut address = [0; 4];
            client.read_exact(&mut address)?;
            Ipv4Addr::from(address).to_string()
        } else {
            let mut length = [0];
            client.read_exact(&mut length)?;
            let mut name = vec![0; usize::from(length[0])];
            client.read_exact(&mut name)?;
            String::from_utf8_lossy(&name).into_owned()
        };
        let mut port = [0; 2];
        client.read_exact(&mut port)?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        Ok(format!("{host}:{}", u16::from_be_bytes(port)))
    }

    fn behind_a(kind: ProxyProtocol, city: &City, proxy: &Proxy) -> Session {
        let through = ureq::Proxy::builder(kind)
            .host("proxy.example.com")
            .port(proxy.address.port())
            .no_proxy(HOST)
            .build()
            .unwrap();
        city.name("proxy.example.com", &[&["127.0.0.1"]]);
        open(city, config().proxy(Some(through)).build(), city.setup())
    }

    /// `socks5` has the names looked up here, `socks5h` there.
    #[test]
    fn names_are_the_proxys_to_look_up_if_it_can() {
        let city = City::new();
        let proxy = Proxy::speaking(&city, socks_request);
        behind_a(ProxyProtocol::Socks5h, &city, &proxy).login().unwrap();
        assert!(proxy.asked().contains(&"auth.example.com:443".to_owned()));
        assert!(city.asked().iter().all(|host| host == "proxy.example.com"));
        assert!(city.world().leaks().is_empty());
    }

    #[test]
    fn a_proxy_that_is_given_addresses_is_given_those_within_reach() {
        let city = City::new();
        let proxy = Proxy::speaking(&city, socks_request);
        behind_a(ProxyProtocol::Socks5, &city, &proxy).login().unwrap();
        assert!(proxy.asked().iter().all(|target| *target == format!("{PUBLIC}:443")));

        city.name("auth.example.com", &[&["10.0.0.1"]]);
        let error = behind_a(ProxyProtocol::Socks5, &city, &proxy).login().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AddressRefused { .. }), "{error}");
        assert!(proxy.asked().iter().all(|target| *target == format!("{PUBLIC}:443")));
    }
}
