//! The same layer in a client of reqwest-middleware.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Extensions, header};
use mcp_auth::{ErrorKind, Need};
use mcp_auth_tokio::{Asking, Builder, Session};
use mcp_auth_tower::AuthLayer;
use mcp_auth_world::{Canned, Fault, What};
use reqwest::redirect::Policy;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next};

type Town = mcp_auth_hosts::Town<()>;

const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}"#;

/// Counts what goes over the wire.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

#[async_trait::async_trait]
impl Middleware for Counter {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        self.0.fetch_add(1, Ordering::SeqCst);
        next.run(request, extensions).await
    }
}

fn over(session: &Session, counter: &Counter) -> ClientWithMiddleware {
    // The one that sessions bring; reqwest has none by itself here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    ClientBuilder::new(http).with(AuthLayer::new(session.clone())).with(counter.clone()).build()
}

fn session(town: &Town) -> Session {
    Builder::from(town.setup()).build().unwrap()
}

fn refusal_of(error: &Error) -> &mcp_auth::Error {
    let Error::Middleware(error) = error else { panic!("{error}") };
    error.downcast_ref().expect("one of ours")
}

#[tokio::test]
async fn a_refused_token_is_refreshed_and_the_request_sent_again() {
    let town = Town::new();
    let session = session(&town);
    let counter = Counter::default();
    let client = over(&session, &counter);
    let send = || client.post(town.url()).body(BODY);
    // Nobody is asked, unless the request says so.
    let error = send().send().await.unwrap_err();
    assert!(matches!(refusal_of(&error).kind(), ErrorKind::LoginRequired { .. }), "{error}");
    let response = send().with_extension(Asking::Welcome).send().await.unwrap();
    assert_eq!(response.status(), 200);

    let old = town.world().newest_access_token().unwrap().to_owned();
    town.world().resource.revoke(&old);
    let before = counter.0.load(Ordering::SeqCst);
    let response = send().header("x-mine", "as it was").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.text().await.unwrap().contains("result"));
    assert_eq!((town.count(What::Refreshes), counter.0.load(Ordering::SeqCst)), (1, before + 2));
    let world = town.world();
    let last = &world.log.last().unwrap().request;
    assert_eq!(
        (last.body().as_slice(), &last.headers()["x-mine"]),
        (BODY.as_bytes(), &"as it was".parse().unwrap())
    );
    assert_eq!(last.headers().get_all(header::AUTHORIZATION).iter().count(), 1);
}

#[tokio::test]
async fn it_is_sent_where_the_server_has_moved_by_a_slash() {
    let town = Town::new();
    let session = session(&town);
    session.login().await.unwrap();
    let counter = Counter::default();
    town.world().faults.push(Fault::answer("POST", "/mcp/", Canned::redirect(307, "/mcp")));
    let url = format!("{}/", town.url());
    let response = over(&session, &counter).post(url).body(BODY).send().await.unwrap();
    assert_eq!((response.status().as_u16(), counter.0.load(Ordering::SeqCst)), (200, 2));
}

#[tokio::test]
async fn other_origins_get_no_token() {
    let (town, other) = (Town::new(), Town::new());
    let session = session(&town);
    session.login().await.unwrap();
    let client = over(&session, &Counter::default());
    let sent = client.post(other.url()).header("x-mine", "as it was").body(BODY).send();
    assert_eq!(sent.await.unwrap().status(), 401);
    let world = other.world();
    let headers = world.log[0].request.headers();
    assert!(!headers.contains_key(header::AUTHORIZATION) && headers["x-mine"] == "as it was");
}

#[tokio::test]
async fn a_body_that_cannot_be_sent_again_is_sent_once_and_the_next_one_has_a_token() {
    let town = Town::guarding(|request| async { http::Response::new(request.into_body()) }).await;
    let session = session(&town);
    session.login().await.unwrap();
    let counter = Counter::default();
    let client = over(&session, &counter);
    let old = town.world().newest_access_token().unwrap().to_owned();
    town.world().resource.revoke(&old);
    let send = || {
        let stream = reqwest::Body::wrap(http_body_util::Full::new(hyper::body::Bytes::from(BODY)));
        client.post(town.url()).with_extension(Need::default()).body(stream).send()
    };
    assert_eq!(send().await.unwrap().status(), 401);
    assert_eq!((town.count(What::Refreshes), counter.0.load(Ordering::SeqCst)), (1, 1));
    let response = send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, BODY));
    assert_eq!((town.count(What::Refreshes), counter.0.load(Ordering::SeqCst)), (1, 2));
}
