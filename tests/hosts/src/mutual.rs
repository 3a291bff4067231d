//! Mutual TLS on real sockets: the token endpoint demands the client's certificate, and everybody else
//! must not see it. A host calls [`mutual!`](macro@crate::mutual) beside [`traps!`](macro@crate::traps).

use std::fs;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mcp_auth::{ClientCertificate, Config, Ending, ErrorKind, Secret, SecretRef};
use mcp_auth_host::identity::Identity;
use mcp_auth_host::setup::Setup;
use mcp_auth_world::Presented;

use crate::city::{City, ip};
use crate::traps::Network;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/client");
/// The only certificate that the endpoint takes.
const ROOT: &[u8] = include_bytes!("client/certificate.der");
const ENDPOINT: &str = "mtls.example.com";

/// All tests, for this [`Network`](crate::traps::Network).
#[macro_export]
macro_rules! mutual {
    ($network:ty) => {
        #[test]
        fn a_server_that_demands_a_certificate_is_shown_it_and_nobody_else_is() {
            $crate::mutual::shown::<$network>();
        }

        #[test]
        fn without_it_the_connection_is_refused_and_what_is_wrong_with_it_is_said() {
            $crate::mutual::refused::<$network>();
        }

        #[test]
        fn one_that_is_read_for_longer_than_the_call_may_take_is_shown_to_nobody() {
            $crate::mutual::late::<$network>();
        }
    };
}

fn file(name: &str) -> SecretRef {
    SecretRef::File(format!("{FOLDER}/{name}"))
}

/// A client that proves itself by a certificate.
pub fn config() -> Config {
    with("certificate.pem", "key.pem")
}

fn with(certificate: &str, key: &str) -> Config {
    let (certificate, key) = (file(certificate), file(key));
    Config {
        client_id: Some("by-hand".to_owned()),
        client_certificate: Some(ClientCertificate { certificate, key }),
        ..Config::default()
    }
}

/// The paths of requests.
pub type Paths = Arc<Mutex<Vec<String>>>;

fn endpoint() -> IpAddr {
    ip("93.184.216.99")
}

/// The same as a host has read it.
///
/// # Panics
///
/// Where the files are gone.
pub fn identity() -> Identity {
    let read = |name: &str| Secret::from(&*fs::read_to_string(format!("{FOLDER}/{name}")).unwrap());
    let places = config().client_certificate.unwrap();
    Identity::new(places, read("certificate.pem"), read("key.pem"))
}

/// A city with another server, `mtls.example.com`, which lets in nobody without our certificate, and what it was asked for.
pub fn city() -> (City, Paths) {
    let city = City::new();
    city.world().authorization[0].mtls_origin = Some(format!("https://{ENDPOINT}"));
    let ours = Presented("ours".to_owned());
    city.world().authorization[0].preregister_certificate("by-hand", ours.clone());
    city.name(ENDPOINT, &[&[&endpoint().to_string()]]);
    let paths = Paths::default();
    let seen = paths.clone();
    city.demand_certificate(endpoint(), ROOT, move |request| {
        seen.lock().unwrap().push(request.uri().path().to_owned());
        request.extensions_mut().insert(ours.clone());
    });
    (city, paths)
}

fn open<N: Network>(city: &City, config: Config) -> N {
    N::open(city, Setup { config: config.into(), ..city.setup() }, None)
}

/// The token endpoint and the revocation endpoint see it.
pub fn shown<N: Network>() {
    let (city, paths) = city();
    let session: N = open(&city, config());
    session.login().unwrap();
    assert!(session.logout().unwrap().is_complete());
    assert_eq!(*paths.lock().unwrap(), ["/token", "/revoke", "/revoke"]);
}

/// What is sent without it, or with something else, is not read.
pub fn refused<N: Network>() {
    // It can't be had, or it is another's: the key doesn't belong to it.
    for (certificate, key, says) in [
        ("nowhere.pem", "key.pem", "nowhere.pem"),
        ("certificate.pem", "nowhere.pem", "nowhere.pem"),
        ("key.pem", "key.pem", "no certificate in PEM"),
        ("certificate.pem", "certificate.pem", "no private key in PEM"),
    ] {
        let (city, paths) = city();
        let session: N = open(&city, with(certificate, key));
        let error = session.login().unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(paths.lock().unwrap().is_empty());
    }
    // A client that has none is not let in: nothing of its request is read.
    let (city, paths) = city();
    let moved = format!("https://{ENDPOINT}/token").into();
    city.world().authorization[0].metadata_changes.insert("token_endpoint".to_owned(), moved);
    let session: N = open(&city, Config::default());
    let error = session.login().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Passing { .. }), "{error}");
    assert!(paths.lock().unwrap().is_empty());
}

/// By then the machine goes by it that nothing has come, and another program may have sent the same.
pub fn late<N: Network>() {
    let (city, paths) = city();
    let slow = Arc::new(AtomicBool::new(false));
    let asked = slow.clone();
    let find = move |name: &str| {
        if asked.swap(false, Ordering::SeqCst) {
            // A revocation may take ten seconds.
            thread::sleep(Duration::from_millis(10_200));
        }
        Ok(Some(Secret::from(&*fs::read_to_string(format!("{FOLDER}/{name}")).unwrap())))
    };
    let key = SecretRef::Name("key.pem".to_owned());
    let certificate = ClientCertificate { certificate: file("certificate.pem"), key };
    let config = Config { client_certificate: Some(certificate), ..config() };
    let setup = Setup { config: config.into(), secrets: Some(Box::new(find)), ..city.setup() };
    let session = N::open(&city, setup, None);
    session.login().unwrap();
    slow.store(true, Ordering::SeqCst);
    let report = session.logout().unwrap();
    let Ending::Failed(error) = &report.refresh_token else { panic!("{report:?}") };
    assert!(error.to_string().contains("no time is left"), "{error}");
    assert_eq!(*paths.lock().unwrap(), ["/token"]);
}
