//! Real sockets, with a name server and roads of our own: public addresses lead to one server with
//! TLS that plays all the hosts of a simulated world.

mod mutual;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use mcp_auth::output::{Limits, Purpose};
use mcp_auth::{Config, ErrorKind, Leniency, Need, Notice, PeerAddress, Reach};
use mcp_auth_host::serve::{CERTIFICATE, Listening, Server};
use mcp_auth_world::traps::{HOST, PLACES, REVOCATION, TRAPS};
use mcp_auth_world::{Person, Visit, What, World};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{Network, Road};
use crate::browser::{Browser, BrowserError};
use crate::exchange::exchange;
use crate::store::MemoryStore;
use crate::{Asking, Builder, Session};

const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34));
const URL: &str = "https://mcp.example.com/mcp";

/// A world behind TLS, the name server that everybody asks, and who was dialled.
#[derive(Clone)]
struct City {
    world: Arc<Mutex<World>>,
    server: Arc<Server>,
    /// What each name leads to, the next time and from then on; all others to a public address.
    names: Arc<Mutex<HashMap<String, Vec<Vec<IpAddr>>>>>,
    asked: Arc<Mutex<Vec<String>>>,
    dialled: Arc<Mutex<Vec<IpAddr>>>,
    notices: Arc<Mutex<Vec<String>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl City {
    fn new() -> Self {
        let world = Arc::new(Mutex::new(World::new()));
        let within = world.clone();
        let handler = move |request: Request<Vec<u8>>| {
            let answer = lock(&within).handle(now(), &request);
            answer.unwrap_or_else(|_| Response::builder().status(502).body(Vec::new()).unwrap())
        };
        let server = Arc::new(Listening::bind().unwrap().start_tls(handler).unwrap());
        Self {
            world,
            server,
            names: Arc::default(),
            asked: Arc::default(),
            dialled: Arc::default(),
            notices: Arc::default(),
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// One answer after the other; the last one stays.
    fn name(&self, host: &str, answers: &[&[&str]]) {
        let answers = answers.iter().map(|answer| answer.iter().map(|text| ip(text)).collect());
        lock(&self.names).insert(host.to_owned(), answers.collect());
    }

    fn look_up(&self, host: &str) -> Vec<IpAddr> {
        lock(&self.asked).push(host.to_owned());
        match lock(&self.names).get_mut(host) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => vec![PUBLIC],
        }
    }

    /// To this machine's own addresses there is no other road, so that a trap there is a real one.
    fn road(&self) -> Road {
        let (dialled, server) = (self.dialled.clone(), self.server.address());
        Arc::new(move |address: SocketAddr| {
            lock(&dialled).push(address.ip());
            let here = address.ip().to_canonical().is_loopback();
            if here { address } else { server }
        })
    }

    fn config(&self) -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
        let certificate = Certificate::from_der(CERTIFICATE).to_owned();
        let roots = RootCerts::new_with_certs(&[certificate]);
        let tls = TlsConfig::builder().root_certs(roots).build();
        ureq::Agent::config_builder().tls_config(tls).proxy(None)
    }

    fn session(&self) -> Builder {
        self.session_with(self.config().build())
    }

    fn session_with(&self, config: ureq::config::Config) -> Builder {
        let (names, notices) = (self.clone(), self.notices.clone());
        let builder = Session::builder(URL)
            .agent(config.into())
            .resolver(move |host| Ok(names.look_up(host)))
            .browser(Visitor(self.world.clone()))
            .on_notice(move |notice| {
                if let Notice::Lenient(leniency) = notice {
                    lock(&notices).push(format!("{leniency:?}"));
                }
            })
            .timeout(Duration::from_secs(20));
        Builder { road: self.road(), ..builder }
    }

    fn call(&self, session: &Session) -> u16 {
        let body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}"#;
        let request = Request::post(URL).body(body.to_vec()).unwrap();
        let sent = session.send(request, &Need::default(), Asking::Welcome);
        sent.unwrap().status().as_u16()
    }

    fn network(&self) -> Network {
        let names = self.clone();
        let lookup: super::Lookup = Arc::new(move |host| Ok(names.look_up(host)));
        Network::new(self.config().build(), Some(lookup), self.road())
    }
}

/// A person who approves.
struct Visitor(Arc<Mutex<World>>);

impl Browser for Visitor {
    fn open(&self, url: &str) -> Result<(), BrowserError> {
        let (world, url) = (self.0.clone(), url.to_owned());
        thread::spawn(move || {
            let visit = lock(&world).visit(now(), &url, &Person::Approves);
            if let Visit::Redirect(back) = visit {
                let agent =
                    ureq::Agent::new_with_config(ureq::Agent::config_builder().proxy(None).build());
                let _ = agent.get(&back).call();
            }
        });
        Ok(())
    }
}

/// A listener at that very address, if it is one of this machine's.
fn listener(place: IpAddr) -> Option<TcpListener> {
    let here = place.to_canonical();
    let socket = here.is_loopback().then(|| TcpListener::bind((here, 0)).ok()).flatten()?;
    socket.set_nonblocking(true).unwrap();
    Some(socket)
}

#[test]
fn no_trap_is_dialled_whatever_it_is_and_wherever_it_leads() {
    for place in PLACES.map(ip) {
        for trap in TRAPS {
            let city = City::new();
            let listener = listener(place);
            let port = listener.as_ref().map_or(443, |socket| socket.local_addr().unwrap().port());
            city.name(HOST, &[&[&place.to_string()]]);
            trap.set(&mut city.world(), &format!("https://{HOST}:{port}"));
            let session = city.session().build().unwrap();
            let error = session.login().unwrap_err();
            trap.assert_refused(&error);
            assert!(lock(&city.dialled).iter().all(|address| *address == PUBLIC), "{}", trap.name);
            // Whoever was asked was asked on the way to be refused.
            assert_eq!(lock(&city.asked).iter().any(|host| host == HOST), trap.purpose.is_some());
            if let Some(listener) = listener {
                let nobody = listener.accept().unwrap_err();
                assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock, "{} at {place}", trap.name);
            }
            assert!(city.world().leaks().is_empty());
        }
    }
}

#[test]
fn a_logout_does_not_dial_one_either() {
    let city = City::new();
    city.name(HOST, &[&["10.0.0.1"]]);
    REVOCATION.set(&mut city.world(), &format!("https://{HOST}"));
    let session = city.session().build().unwrap();
    session.login().unwrap();
    let report = session.logout().unwrap();
    let mcp_auth::Ending::Failed(error) = &report.refresh_token else { panic!("{report:?}") };
    REVOCATION.assert_refused(error);
    assert!(lock(&city.dialled).iter().all(|address| *address == PUBLIC));
}

mod rebinding {
    use super::*;

    /// The name answers with a public address to whoever checks, and with another to who dials.
    #[test]
    fn gains_nothing_because_what_is_dialled_is_what_was_judged() {
        let city = City::new();
        city.name("auth.example.com", &[&["8.8.8.8"], &["127.0.0.1"]]);
        let session = city.session().build().unwrap();
        let error = session.login().unwrap_err();
        // The second request is the second lookup, and is judged by it.
        let ErrorKind::AddressRefused { purpose, .. } = error.kind() else { panic!("{error}") };
        assert_eq!(*purpose, Purpose::Registration);
        let to_server = lock(&city.dialled).iter().filter(|at| **at == ip("8.8.8.8")).count();
        assert_eq!(to_server, 1);
        assert!(!lock(&city.dialled).contains(&ip("127.0.0.1")));
        let asked = lock(&city.asked);
        assert_eq!(
            asked.len() - 1,
            lock(&city.dialled).len(),
            "a request looks up once: {asked:?}"
        );
    }

    #[test]
    fn of_the_servers_own_name_moves_nothing() {
        let city = City::new();
        city.name("mcp.example.com", &[&["8.8.8.8"], &["8.8.8.8"], &["8.8.8.8"], &["10.0.0.5"]]);
        city.name("auth.example.com", &[&["10.0.0.6"]]);
        let session = city.session().build().unwrap();
        let error = session.login().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AddressRefused { .. }), "{error}");
        assert!(lock(&city.dialled).iter().all(|address| *address == ip("8.8.8.8")));
        // Were it looked up again to find out, it would say something else.
        assert_eq!(city.look_up("mcp.example.com"), [ip("10.0.0.5")]);
    }

    #[test]
    fn does_not_help_a_connection_that_is_open_already() {
        let city = City::new();
        let network = city.network();
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
        let get =
            || Request::get(format!("http://kept.example.com:{port}/")).body(Vec::new()).unwrap();
        let limits =
            Limits { deadline: Duration::from_secs(5), max_body: 1 << 10, head_only: false };
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
        assert_eq!(lock(&city.dialled).last(), Some(&ip("8.8.8.8")));
    }
}

#[test]
fn of_several_addresses_those_within_reach_are_tried_one_after_the_other() {
    let city = City::new();
    city.name("auth.example.com", &[&["10.0.0.1", "::1", "8.8.8.8", "169.254.169.254"]]);
    let session = city.session().build().unwrap();
    session.login().unwrap();
    let dialled = lock(&city.dialled);
    assert!(dialled.contains(&ip("8.8.8.8")));
    assert!(dialled.iter().all(|address| [PUBLIC, ip("8.8.8.8")].contains(address)), "{dialled:?}");
    drop(dialled);

    // The operator's own may be anywhere; where nobody answers, the next one has a turn.
    let city = City::new();
    city.name("mcp.example.com", &[&["127.0.0.1", "10.0.0.5"]]);
    city.name("auth.example.com", &[&["10.0.0.6"]]);
    let session = city.session().build().unwrap();
    session.login().unwrap();
    assert_eq!(lock(&city.dialled)[..2], [ip("127.0.0.1"), ip("10.0.0.5")]);
}

#[test]
fn a_server_in_a_private_network_is_known_by_its_connection_and_remembered() {
    let city = City::new();
    city.world().authorization[0].registration.manageable = true;
    city.name("mcp.example.com", &[&["10.0.0.5"]]);
    city.name("auth.example.com", &[&["10.0.0.6"]]);
    let store = MemoryStore::new();
    let session = city.session().store(store.clone()).build().unwrap();
    // The program's own request is refused first: that connection tells it.
    assert_eq!(city.call(&session), 200);
    drop(session);

    let session = city.session().store(store).build().unwrap();
    lock(&city.dialled).clear();
    let report = session.logout().unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(lock(&city.dialled).iter().all(|address| *address == ip("10.0.0.6")));
    assert!(lock(&city.notices).is_empty());
}

#[test]
fn an_exception_of_the_operator_is_dialled_and_told() {
    let city = City::new();
    city.name("auth.example.com", &[&["10.0.0.6"]]);
    let config =
        Config { allow_private_addresses: vec!["10.0.0.0/24".to_owned()], ..Config::default() };
    let session = city.session().config(config).build().unwrap();
    session.login().unwrap();
    assert_eq!(*lock(&city.notices), ["PrivateAddress"]);
    let found = session.discovery().unwrap();
    assert_eq!(found.leniencies, [Leniency::PrivateAddress]);
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
    let config = city.config().user_agent("notes/1").middleware(tag).build();
    city.session_with(config).build().unwrap().login().unwrap();
    let world = city.world();
    let sent = world.log.iter().filter(|exchange| exchange.by == mcp_auth_world::By::Program);
    for exchange in sent {
        assert_eq!(exchange.request.headers()["user-agent"], "notes/1");
        assert_eq!(exchange.request.headers()["x-tag"], "seen");
    }
    assert_eq!(world.count(What::CodeExchanges), 1);
}

mod proxied {
    use ureq::ProxyProtocol;

    use super::*;

    /// A proxy that takes everything to the city's server, whatever it is asked for.
    struct Proxy {
        address: SocketAddr,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Proxy {
        fn to(server: SocketAddr) -> Self {
            Self::speaking(server, connect_request)
        }

        fn speaking(server: SocketAddr, welcome: fn(&mut TcpStream) -> io::Result<String>) -> Self {
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = socket.local_addr().unwrap();
            let asked: Arc<Mutex<Vec<String>>> = Arc::default();
            let log = asked.clone();
            thread::spawn(move || {
                for stream in socket.incoming().map_while(Result::ok) {
                    let log = log.clone();
                    thread::spawn(move || tunnel(stream, server, welcome, &log));
                }
            });
            Self { address, asked }
        }
    }

    /// `CONNECT host:port`, accepted.
    fn connect_request(client: &mut TcpStream) -> io::Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            head.extend(byte);
        }
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        let head = String::from_utf8_lossy(&head);
        Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
    }

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

    fn tunnel(
        mut client: TcpStream,
        server: SocketAddr,
        welcome: fn(&mut TcpStream) -> io::Result<String>,
        log: &Mutex<Vec<String>>,
    ) {
        let Ok(asked) = welcome(&mut client) else { return };
        lock(log).push(asked);
        let mut server = TcpStream::connect(server).unwrap();
        let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            let _ = io::copy(&mut up, &mut server);
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut down, &mut client);
        let _ = client.shutdown(Shutdown::Write);
    }

    fn behind(city: &City, proxy: &Proxy, no_proxy: &str) -> Session {
        behind_a(ProxyProtocol::Http, city, proxy, no_proxy)
    }

    fn behind_a(kind: ProxyProtocol, city: &City, proxy: &Proxy, no_proxy: &str) -> Session {
        let through = ureq::Proxy::builder(kind)
            .host("proxy.example.com")
            .port(proxy.address.port())
            .no_proxy(no_proxy)
            .build()
            .unwrap();
        // The proxy itself may be anywhere, also here: it is the operator's.
        city.name("proxy.example.com", &[&["127.0.0.1"]]);
        city.session_with(city.config().proxy(Some(through)).build()).build().unwrap()
    }

    #[test]
    fn names_are_the_proxys_to_look_up() {
        type Welcome = fn(&mut TcpStream) -> io::Result<String>;
        let kinds: [(ProxyProtocol, Welcome); 2] =
            [(ProxyProtocol::Http, connect_request), (ProxyProtocol::Socks5h, socks_request)];
        for (kind, welcome) in kinds {
            let city = City::new();
            let proxy = Proxy::speaking(city.server.address(), welcome);
            behind_a(kind, &city, &proxy, HOST).login().unwrap();
            assert!(lock(&proxy.asked).contains(&"auth.example.com:443".to_owned()));
            assert!(lock(&city.asked).iter().all(|host| host == "proxy.example.com"));
            assert!(city.world().leaks().is_empty());
        }
    }

    /// `socks5` has the names looked up here, `socks5h` there.
    #[test]
    fn a_proxy_that_is_given_addresses_is_given_those_within_reach() {
        let city = City::new();
        let proxy = Proxy::speaking(city.server.address(), socks_request);
        behind_a(ProxyProtocol::Socks5, &city, &proxy, HOST).login().unwrap();
        assert!(lock(&proxy.asked).iter().all(|target| *target == format!("{PUBLIC}:443")));

        city.name("auth.example.com", &[&["10.0.0.1"]]);
        lock(&proxy.asked).clear();
        let session = behind_a(ProxyProtocol::Socks5, &city, &proxy, HOST);
        let error = session.login().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AddressRefused { .. }), "{error}");
        assert!(lock(&proxy.asked).iter().all(|target| *target == format!("{PUBLIC}:443")));
    }

    #[test]
    fn addresses_are_judged_before_the_proxy_hears_of_them() {
        for trap in TRAPS {
            let city = City::new();
            let proxy = Proxy::to(city.server.address());
            trap.set(&mut city.world(), "https://10.1.2.3");
            let error = behind(&city, &proxy, HOST).login().unwrap_err();
            trap.assert_refused(&error);
            let asked = lock(&proxy.asked);
            assert!(asked.iter().all(|target| target.contains("example.com")), "{asked:?}");
        }
    }

    #[test]
    fn what_goes_past_the_proxy_is_judged_as_ever() {
        let city = City::new();
        let proxy = Proxy::to(city.server.address());
        city.name(HOST, &[&["10.0.0.1"]]);
        TRAPS[2].set(&mut city.world(), &format!("https://{HOST}"));
        let error = behind(&city, &proxy, HOST).login().unwrap_err();
        TRAPS[2].assert_refused(&error);
        assert!(lock(&city.dialled).iter().all(|address| *address == ip("127.0.0.1")));
    }

    /// The proxy is here, the server isn't.
    #[test]
    fn a_proxy_on_this_machine_makes_no_server_one_of_this_machine() {
        let city = City::new();
        let proxy = Proxy::to(city.server.address());
        city.name(HOST, &[&["127.0.0.1"]]);
        TRAPS[4].set(&mut city.world(), &format!("https://{HOST}"));
        let session = behind(&city, &proxy, HOST);
        let error = session.login().unwrap_err();
        TRAPS[4].assert_refused(&error);
        assert!(!lock(&city.dialled).is_empty());
    }
}
