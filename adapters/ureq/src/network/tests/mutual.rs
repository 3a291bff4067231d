//! Mutual TLS on real sockets: the token endpoint demands the client's certificate, and everybody else
//! must not see it.

use std::fs;
use std::sync::{Mutex, MutexGuard};

use mcp_auth::{ClientCertificate, Config, SecretRef};
use mcp_auth_host::serve::{Listening, Server};
use mcp_auth_hosts::unix_now;
use mcp_auth_world::Presented;

use super::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/network/client");
const ELSEWHERE: &str = "93.184.216.99";

fn file(name: &str) -> SecretRef {
    SecretRef::File(format!("{FOLDER}/{name}"))
}

/// A client that proves itself by this certificate.
fn config(certificate: &str, key: &str) -> Config {
    let (certificate, key) = (file(certificate), file(key));
    Config {
        client_id: Some("by-hand".to_owned()),
        client_certificate: Some(ClientCertificate { certificate, key }),
        ..Config::default()
    }
}

/// A city with another server, which lets in nobody without our certificate.
fn city() -> (City, Server, Road, Arc<Mutex<Vec<String>>>) {
    let city = City::new();
    city.world().authorization[0].mtls_origin = Some("https://mtls.example.com".to_owned());
    let ours = Presented("ours".to_owned());
    city.world().authorization[0].preregister_certificate("by-hand", ours);
    city.name("mtls.example.com", &[&[ELSEWHERE]]);
    let (world, paths) = (city.clone(), Arc::new(Mutex::new(Vec::new())));
    let seen = paths.clone();
    let handler = move |mut request: Request<Vec<u8>>| {
        lock(&seen).push(request.uri().path().to_owned());
        request.extensions_mut().insert(Presented("ours".to_owned()));
        let answer = world.world().handle(unix_now(), &request);
        answer.unwrap_or_else(|_| Response::builder().status(502).body(Vec::new()).unwrap())
    };
    let pem = fs::read(format!("{FOLDER}/certificate.pem")).unwrap();
    let root = Certificate::from_pem(&pem).unwrap();
    let server = Listening::bind().unwrap().start_mutual_tls(root.der(), handler).unwrap();
    let (other, usual) = (server.address(), super::road(&city));
    let road: Road = Arc::new(
        move |address: SocketAddr| {
            if address.ip() == ip(ELSEWHERE) { other } else { usual(address) }
        },
    );
    (city, server, road, paths)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

fn session(city: &City, road: Road) -> Builder {
    let builder = Builder::from(city.setup()).agent(super::config().build().into());
    Builder { road, resolver: Some(lookup(city)), ..builder }
}

#[test]
fn a_server_that_demands_a_certificate_is_shown_it_and_nobody_else_is() {
    let (city, _server, road, paths) = city();
    let config = config("certificate.pem", "key.pem");
    let session = session(&city, road).config(config).build().unwrap();
    let need = Need::default();
    assert!(session.token(&need, Asking::Welcome).unwrap().is_some());
    assert!(session.logout().unwrap().is_complete());
    assert_eq!(*lock(&paths), ["/token", "/revoke", "/revoke"]);
}

#[test]
fn without_it_the_connection_is_refused_and_what_is_wrong_with_it_is_said() {
    // It can't be had, or it is another's: the key doesn't belong to it.
    for (certificate, key, says) in [
        ("nowhere.pem", "key.pem", "nowhere.pem"),
        ("certificate.pem", "nowhere.pem", "nowhere.pem"),
        ("key.pem", "key.pem", "no certificate in PEM"),
        ("certificate.pem", "certificate.pem", "no private key in PEM"),
    ] {
        let (city, _server, road, paths) = city();
        let session = session(&city, road).config(config(certificate, key)).build().unwrap();
        let error = session.token(&Need::default(), Asking::Welcome).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(lock(&paths).is_empty());
    }
    // A client that has none is not let in: nothing of its request is read.
    let (city, _server, road, paths) = city();
    let moved = "https://mtls.example.com/token".into();
    city.world().authorization[0].metadata_changes.insert("token_endpoint".to_owned(), moved);
    let session = session(&city, road).build().unwrap();
    let error = session.token(&Need::default(), Asking::Welcome).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Passing { .. }), "{error}");
    assert!(lock(&paths).is_empty());
}
