//! Where requests may lead, on real sockets: no server leads a host to addresses that it could not
//! reach itself. A host calls [`traps!`](macro@crate::traps) in tests of its own, since roads are no
//! setting of a program's.

use std::io;
use std::net::{IpAddr, TcpListener};

use http::{Request, Response};
use mcp_auth::output::Purpose;
use mcp_auth::{Config, Discovery, Ending, Error, ErrorKind, Leniency, Logout};
use mcp_auth_host::desk::SendError;
use mcp_auth_host::setup::Setup;
use mcp_auth_host::store::MemoryStore;
use mcp_auth_world::traps::{HOST, PLACES, REVOCATION, TRAPS};

use crate::city::{City, PUBLIC, ip};
use crate::proxy::Proxy;

/// A host's session in a city: it looks names up there, takes its roads, and trusts its certificate.
#[expect(missing_docs, reason = "those of the host's own session")]
#[expect(clippy::missing_errors_doc, reason = "see above")]
pub trait Network: Sized {
    fn open(city: &City, setup: Setup, proxy: Option<Through<'_>>) -> Self;
    fn login(&self) -> Result<(), Error>;
    fn logout(&self) -> Result<Logout, Error>;
    fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, SendError>;
    fn discovery(&self) -> Option<Discovery>;
}

/// A proxy of HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Through<'a> {
    /// Its URL.
    pub url: &'a str,
    /// The host that is called past it.
    pub except: &'a str,
}

/// All tests, for this [`Network`](crate::traps::Network).
#[macro_export]
macro_rules! traps {
    ($network:ty) => {
        #[test]
        fn no_trap_is_dialled_whatever_it_is_and_wherever_it_leads() {
            $crate::traps::each_trap::<$network>();
        }

        #[test]
        fn a_logout_does_not_dial_one_either() {
            $crate::traps::logout::<$network>();
        }

        #[test]
        fn a_name_that_is_bound_anew_gains_nothing_because_what_is_dialled_is_what_was_judged() {
            $crate::traps::rebinding::<$network>();
        }

        #[test]
        fn a_servers_own_name_that_is_bound_anew_moves_nothing() {
            $crate::traps::rebinding_of_the_server::<$network>();
        }

        #[test]
        fn of_several_addresses_those_within_reach_are_tried_one_after_the_other() {
            $crate::traps::several_addresses::<$network>();
        }

        #[test]
        fn a_server_in_a_private_network_is_known_by_its_connection_and_remembered() {
            $crate::traps::private_server::<$network>();
        }

        #[test]
        fn an_exception_of_the_operator_is_dialled_and_told() {
            $crate::traps::exception::<$network>();
        }

        #[test]
        fn names_are_the_proxys_to_look_up() {
            $crate::traps::names_at_the_proxy::<$network>();
        }

        #[test]
        fn addresses_are_judged_before_the_proxy_hears_of_them() {
            $crate::traps::addresses_at_the_proxy::<$network>();
        }

        #[test]
        fn what_goes_past_the_proxy_is_judged_as_ever() {
            $crate::traps::past_the_proxy::<$network>();
        }

        #[test]
        fn a_proxy_on_this_machine_makes_no_server_one_of_this_machine() {
            $crate::traps::proxy_on_this_machine::<$network>();
        }
    };
}

fn session<N: Network>(city: &City) -> N {
    N::open(city, city.setup(), None)
}

/// A listener at that very address, if it is one of this machine's.
fn listener(place: IpAddr) -> Option<TcpListener> {
    let here = place.to_canonical();
    let socket = here.is_loopback().then(|| TcpListener::bind((here, 0)).ok()).flatten()?;
    socket.set_nonblocking(true).unwrap();
    Some(socket)
}

/// Whatever a server names, wherever that leads.
pub fn each_trap<N: Network>() {
    for place in PLACES.map(ip) {
        for trap in TRAPS {
            let city = City::new();
            let listener = listener(place);
            let port = listener.as_ref().map_or(443, |socket| socket.local_addr().unwrap().port());
            city.name(HOST, &[&[&place.to_string()]]);
            trap.set(&mut city.world(), &format!("https://{HOST}:{port}"));
            let error = session::<N>(&city).login().unwrap_err();
            trap.assert_refused(&error);
            assert!(city.dialled().iter().all(|address| *address == PUBLIC), "{}", trap.name);
            // Whoever was asked was asked on the way to be refused.
            assert_eq!(city.asked().iter().any(|host| host == HOST), trap.purpose.is_some());
            if let Some(listener) = listener {
                let nobody = listener.accept().unwrap_err();
                assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock, "{} at {place}", trap.name);
            }
            assert!(city.world().leaks().is_empty());
        }
    }
}

/// The trap that a logout meets.
pub fn logout<N: Network>() {
    let city = City::new();
    city.name(HOST, &[&["10.0.0.1"]]);
    REVOCATION.set(&mut city.world(), &format!("https://{HOST}"));
    let session: N = session(&city);
    session.login().unwrap();
    let report = session.logout().unwrap();
    let Ending::Failed(error) = &report.refresh_token else { panic!("{report:?}") };
    REVOCATION.assert_refused(error);
    assert!(city.dialled().iter().all(|address| *address == PUBLIC));
}

/// The name answers with a public address to whoever checks, and with another to who dials.
pub fn rebinding<N: Network>() {
    let city = City::new();
    city.name("auth.example.com", &[&["8.8.8.8"], &["127.0.0.1"]]);
    let error = session::<N>(&city).login().unwrap_err();
    // The second request is the second lookup, and is judged by it.
    let ErrorKind::AddressRefused { purpose, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(*purpose, Purpose::Registration);
    let (asked, dialled) = (city.asked(), city.dialled());
    assert_eq!(dialled.iter().filter(|at| **at == ip("8.8.8.8")).count(), 1);
    assert!(!dialled.contains(&ip("127.0.0.1")));
    assert_eq!(asked.len() - 1, dialled.len(), "a request looks up once: {asked:?}");
}

/// Where the server is, its connection has told.
pub fn rebinding_of_the_server<N: Network>() {
    let city = City::new();
    city.name("mcp.example.com", &[&["8.8.8.8"], &["8.8.8.8"], &["8.8.8.8"], &["10.0.0.5"]]);
    city.name("auth.example.com", &[&["10.0.0.6"]]);
    let error = session::<N>(&city).login().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AddressRefused { .. }), "{error}");
    assert!(city.dialled().iter().all(|address| *address == ip("8.8.8.8")));
    // Were it looked up again to find out, it would say something else.
    assert_eq!(city.look_up("mcp.example.com"), [ip("10.0.0.5")]);
}

/// A name with several addresses.
pub fn several_addresses<N: Network>() {
    let city = City::new();
    city.name("auth.example.com", &[&["10.0.0.1", "::1", "8.8.8.8", "169.254.169.254"]]);
    session::<N>(&city).login().unwrap();
    let dialled = city.dialled();
    assert!(dialled.contains(&ip("8.8.8.8")));
    assert!(dialled.iter().all(|address| [PUBLIC, ip("8.8.8.8")].contains(address)), "{dialled:?}");

    // The operator's own may be anywhere; where nobody answers, the next one has a turn.
    let city = City::new();
    city.name("mcp.example.com", &[&["127.0.0.1", "10.0.0.5"]]);
    city.name("auth.example.com", &[&["10.0.0.6"]]);
    session::<N>(&city).login().unwrap();
    assert_eq!(city.dialled()[..2], [ip("127.0.0.1"), ip("10.0.0.5")]);
}

/// The operator's server is inside, and so is what it names.
pub fn private_server<N: Network>() {
    let city = City::new();
    city.world().authorization[0].registration.manageable = true;
    city.name("mcp.example.com", &[&["10.0.0.5"]]);
    city.name("auth.example.com", &[&["10.0.0.6"]]);
    let store = MemoryStore::new();
    let open = || {
        let setup = Setup { store: Box::new(store.clone()), ..city.setup() };
        N::open(&city, setup, None)
    };
    // The program's own request is refused first: that connection tells it.
    assert_eq!(open().send(City::request()).unwrap().status(), 200);

    let session = open();
    city.dialled();
    let report = session.logout().unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert!(city.dialled().iter().all(|address| *address == ip("10.0.0.6")));
    assert!(city.notices().is_empty());
}

/// `allow_private_addresses`.
pub fn exception<N: Network>() {
    let city = City::new();
    city.name("auth.example.com", &[&["10.0.0.6"]]);
    let config =
        Config { allow_private_addresses: vec!["10.0.0.0/24".to_owned()], ..Config::default() };
    let session = N::open(&city, Setup { config: config.into(), ..city.setup() }, None);
    session.login().unwrap();
    assert_eq!(city.notices(), ["PrivateAddress"]);
    let found = session.discovery().unwrap();
    assert_eq!(found.leniencies, [Leniency::PrivateAddress]);
}

fn behind<N: Network>(city: &City, proxy: &Proxy) -> N {
    // The proxy itself may be anywhere, also here: it is the operator's.
    city.name("proxy.example.com", &[&["127.0.0.1"]]);
    let url = format!("http://proxy.example.com:{}", proxy.address.port());
    N::open(city, city.setup(), Some(Through { url: &url, except: HOST }))
}

/// Nothing is looked up here but the proxy.
pub fn names_at_the_proxy<N: Network>() {
    let city = City::new();
    let proxy = Proxy::of(&city);
    behind::<N>(&city, &proxy).login().unwrap();
    assert!(proxy.asked().contains(&"auth.example.com:443".to_owned()));
    assert!(city.asked().iter().all(|host| host == "proxy.example.com"));
    assert!(city.world().leaks().is_empty());
}

/// In URLs.
pub fn addresses_at_the_proxy<N: Network>() {
    for trap in TRAPS {
        let city = City::new();
        let proxy = Proxy::of(&city);
        trap.set(&mut city.world(), "https://10.1.2.3");
        let error = behind::<N>(&city, &proxy).login().unwrap_err();
        trap.assert_refused(&error);
        let asked = proxy.asked();
        assert!(asked.iter().all(|target| target.contains("example.com")), "{asked:?}");
    }
}

/// An issuer for which the proxy isn't.
pub fn past_the_proxy<N: Network>() {
    let city = City::new();
    let proxy = Proxy::of(&city);
    city.name(HOST, &[&["10.0.0.1"]]);
    TRAPS[2].set(&mut city.world(), &format!("https://{HOST}"));
    let error = behind::<N>(&city, &proxy).login().unwrap_err();
    TRAPS[2].assert_refused(&error);
    assert!(city.dialled().iter().all(|address| *address == ip("127.0.0.1")));
}

/// The proxy is here, the server isn't.
pub fn proxy_on_this_machine<N: Network>() {
    let city = City::new();
    let proxy = Proxy::of(&city);
    city.name(HOST, &[&["127.0.0.1"]]);
    TRAPS[4].set(&mut city.world(), &format!("https://{HOST}"));
    let error = behind::<N>(&city, &proxy).login().unwrap_err();
    TRAPS[4].assert_refused(&error);
    assert!(!city.dialled().is_empty());
}
