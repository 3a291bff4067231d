use http::Request;

use super::*;
use crate::config::ClientCertificate;
use crate::output::{CallId, Limits, TransportErrorKind};
use crate::reach::Reach;
use crate::secret::SecretRef;

const SERVER: &str = r#"{"issuer":"https://auth.example.com"}"#;
const RESOURCE: &str = r#"{"resource":"https://mcp.example.com/mcp"}"#;

fn call(purpose: Purpose) -> HttpCall {
    let request = Request::get("https://auth.example.com/.well-known/oauth-authorization-server");
    let request = request.header(ACCEPT, "application/json").body(Vec::new()).unwrap();
    HttpCall {
        id: CallId(1),
        request: Box::new(request),
        limits: Limits::of(purpose),
        purpose,
        reach: Reach::anywhere(),
        home: false,
        certificate: None,
    }
}

fn document() -> HttpCall {
    call(Purpose::ServerMetadata)
}

#[test]
fn only_what_carries_nothing_of_anybodys_is_shareable() {
    assert!(document().is_shareable() && call(Purpose::ResourceMetadata).is_shareable());
    // The answer to a probe depends on who asks, and all others do something.
    for purpose in [Purpose::Probe, Purpose::Token, Purpose::Registration, Purpose::Upkeep] {
        assert!(!call(purpose).is_shareable(), "{purpose}");
    }
    for name in ["authorization", "cookie", "x-api-key", "dpop"] {
        let mut call = document();
        call.request.headers_mut().insert(name, "hers".parse().unwrap());
        assert!(!call.is_shareable(), "{name}");
    }
    let mut posted = document();
    *posted.request.method_mut() = Method::POST;
    let mut full = document();
    full.request.body_mut().push(b'a');
    let (certificate, key) = (SecretRef::Env("A".into()), SecretRef::Env("B".into()));
    let shown =
        HttpCall { certificate: Some(ClientCertificate { certificate, key }), ..document() };
    for call in [posted, full, shown] {
        assert!(!call.is_shareable(), "{call:?}");
    }
}

#[test]
fn a_document_lasts_for_minutes_and_its_absence_for_seconds_and_a_failure_not_at_all() {
    let seconds = |purpose, status: u16, body: &str| {
        let response = Response::builder().status(status).body(body.as_bytes().to_vec());
        call(purpose).share_for(&Ok(response.unwrap())).as_secs()
    };
    assert_eq!(seconds(Purpose::ServerMetadata, 200, SERVER), 300);
    assert_eq!(seconds(Purpose::ResourceMetadata, 200, RESOURCE), 300);
    // None that can be used.
    assert_eq!(seconds(Purpose::ServerMetadata, 200, "{}"), 10);
    assert_eq!(seconds(Purpose::ServerMetadata, 200, r#"{"error":"try again"}"#), 10);
    assert_eq!(seconds(Purpose::ResourceMetadata, 200, "<html>"), 10);
    for status in [301, 302, 307, 400, 401, 403, 404, 410] {
        assert_eq!(seconds(Purpose::ServerMetadata, status, SERVER), 10, "{status}");
    }
    for status in [408, 425, 429, 500, 502, 503, 504] {
        assert_eq!(seconds(Purpose::ServerMetadata, status, SERVER), 0, "{status}");
    }
    for status in [200, 403, 404] {
        let page = "<html><title>Just a moment...</title>";
        assert_eq!(seconds(Purpose::ResourceMetadata, status, page), 0, "{status}");
    }
    assert_eq!(seconds(Purpose::Token, 200, SERVER), 0);
    for kind in [TransportErrorKind::Timeout, TransportErrorKind::TooLarge] {
        let failed = Err(TransportError::new(kind, "cut off"));
        assert_eq!(document().share_for(&failed), Duration::ZERO);
    }
}

#[test]
fn it_counts_from_when_it_came() {
    let now = UnixTime(1_000);
    let mut response = Response::new(Vec::new());
    assert_eq!((age(&response), came_at(&response, now)), (Duration::ZERO, now));
    response.headers_mut().insert("age", "900".parse().unwrap());
    assert_eq!(came_at(&response, now), now);
    response.extensions_mut().insert(Age(Duration::from_millis(299_900)));
    assert_eq!(came_at(&response, now), UnixTime(701));
    response.extensions_mut().insert(Age(Duration::MAX));
    assert_eq!(came_at(&response, now), UnixTime(0));
}
