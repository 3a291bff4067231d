//! The layer, over a client of hyper's and real servers on the loopback address.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, header};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use mcp_auth::{ErrorKind, Need};
use mcp_auth_hosts::{Dropped, Visitor};
use mcp_auth_tokio::{Asking, Builder, Session};
use mcp_auth_tower::{Auth, AuthLayer, BoxError};
use mcp_auth_world::What;
use tokio::time::timeout;
use tower::{Layer as _, Service, ServiceExt as _};

type Town = mcp_auth_hosts::Town<()>;
type Http = Client<HttpConnector, Full<Bytes>>;

fn http() -> Http {
    Client::builder(TokioExecutor::new()).build_http()
}

fn session(town: &Town) -> Session {
    Builder::from(town.setup()).build().unwrap()
}

fn over(session: &Session) -> Auth<Http> {
    AuthLayer::new(session.clone()).layer(http())
}

fn call(town: &Town, tool: &str) -> Request<Full<Bytes>> {
    town.call(tool).map(Full::from)
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// The tool calls that reached the MCP server: their tokens, and their bodies.
fn calls(town: &Town) -> Vec<(String, Vec<u8>)> {
    let world = town.world();
    let calls = world.log.iter().filter(|exchange| {
        exchange.path == "/mcp"
            && exchange.request.body().windows(10).any(|part| part == b"tools/call")
    });
    let read = |exchange: &mcp_auth_world::Exchange| {
        let token = exchange.request.headers().get(header::AUTHORIZATION);
        let token = token.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        (token, exchange.request.body().clone())
    };
    calls.map(read).collect()
}

#[tokio::test]
async fn the_servers_own_refusal_leads_to_a_login_and_the_request_is_sent_again() {
    let town = Town::new();
    let session = session(&town);
    let client = AuthLayer::new(session.clone()).asking(Asking::Welcome).layer(http());
    let response = client.oneshot(call(&town, "whoami")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(text(response).await.contains("result"));
    // No probe: the request itself was refused first, and came again whole.
    let calls = calls(&town);
    assert_eq!(calls.len(), 2);
    assert!(calls[0].0.is_empty() && calls[1].0.starts_with("Bearer "));
    assert_eq!(calls[0].1, calls[1].1);
    assert!(town.world().leaks().is_empty());
}

#[tokio::test]
async fn a_refused_token_is_refreshed_and_the_request_sent_again() {
    let town = Town::new();
    let session = session(&town);
    session.login().await.unwrap();
    town.world().resource.refuse_next = 1;
    let response = over(&session).oneshot(call(&town, "whoami")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!((town.count(What::Refreshes), town.count(What::CodeExchanges)), (1, 1));
    let calls = calls(&town);
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].0, calls[1].0);
    assert_eq!(calls[0].1, calls[1].1);
}

#[tokio::test]
async fn requests_that_are_refused_at_once_cost_one_refresh() {
    let town = Town::new();
    let session = session(&town);
    session.login().await.unwrap();
    let old = town.world().newest_access_token().unwrap().to_owned();
    town.world().resource.revoke(&old);
    let client = over(&session);
    let mut sent = tokio::task::JoinSet::new();
    for _ in 0..10 {
        sent.spawn(client.clone().oneshot(call(&town, "whoami")));
    }
    for response in sent.join_all().await {
        assert_eq!(response.unwrap().status(), 200);
    }
    assert_eq!(town.count(What::Refreshes), 1);
}

#[tokio::test]
async fn a_request_says_what_it_is_for_and_whether_a_person_may_be_asked() {
    let town = Town::new();
    let visitor = Visitor::default();
    let session = Builder::from(town.setup()).browser(visitor.clone()).build().unwrap();
    session.login().await.unwrap();
    let mut client = over(&session);

    let mut writing = call(&town, "write_note");
    let need = Need { operation: Some("tools/call write_note".to_owned()), ..Need::default() };
    writing.extensions_mut().insert(need);
    let error = client.ready().await.unwrap().call(writing.clone()).await.unwrap_err();
    let error = error.downcast_ref::<mcp_auth::Error>().expect("one of ours");
    assert!(matches!(error.kind(), ErrorKind::LoginRequired { .. }), "{error}");
    assert_eq!(visitor.times_opened(), 1);

    writing.extensions_mut().insert(Asking::Welcome);
    let response = client.ready().await.unwrap().call(writing).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(visitor.times_opened(), 2);
    assert!(session.status().unwrap().scopes.contains("notes:write"));
}

#[tokio::test]
async fn other_origins_get_no_token_and_their_refusals_are_the_callers() {
    let (town, other) = (Town::new(), Town::new());
    let session = session(&town);
    session.login().await.unwrap();
    let before = town.world().log.len();
    let client = over(&session);
    let mut foreign = call(&other, "whoami");
    foreign.headers_mut().insert("x-mine", "as it was".parse().unwrap());
    let response = client.oneshot(foreign).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key("www-authenticate"));
    let world = other.world();
    assert_eq!(world.log.len(), 1);
    let headers = world.log[0].request.headers();
    assert!(!headers.contains_key(header::AUTHORIZATION) && headers["x-mine"] == "as it was");
    // Nor was our own server told of it.
    assert_eq!(town.world().log.len(), before);
}

type Answer = Result<Response<&'static str>, &'static str>;

/// What a service got, and what it answers.
#[derive(Clone)]
struct Inner {
    answers: Arc<Mutex<Vec<Answer>>>,
    calls: Arc<AtomicUsize>,
    /// This clone, alone, may be called: once.
    ready: bool,
}

impl Inner {
    /// The first answer last.
    fn new(answers: Vec<Answer>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers)), calls: Arc::default(), ready: false }
    }
}

impl Service<Request<()>> for Inner {
    type Response = Response<&'static str>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called before it was ready");
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready(self.answers.lock().unwrap().pop().unwrap().map_err(Into::into))
    }
}

#[tokio::test]
async fn answers_and_errors_of_the_service_inside_pass_as_they_are() {
    let town = Town::new();
    let session = session(&town);
    session.login().await.unwrap();
    let request = || Request::get(town.url()).body(()).unwrap();
    for status in [200, 202, 304, 400, 403, 404, 405, 429, 500, 503] {
        let answer = Response::builder().status(status).header("retry-after", "7").body("as it is");
        let inner = Inner::new(vec![Ok(answer.unwrap())]);
        let client = AuthLayer::new(session.clone()).layer(inner.clone());
        let response = client.oneshot(request()).await.unwrap();
        assert_eq!((response.status().as_u16(), *response.body()), (status, "as it is"));
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(inner.calls.load(Ordering::SeqCst), 1, "{status}");
    }
    let client = AuthLayer::new(session.clone()).layer(Inner::new(vec![Err("the cable is out")]));
    let error = client.oneshot(request()).await.unwrap_err();
    assert_eq!(error.to_string(), "the cable is out");
    assert_eq!(town.count(What::Refreshes), 0);
}

#[tokio::test]
async fn each_time_the_service_inside_is_ready_first() {
    let town = Town::new();
    let session = session(&town);
    session.login().await.unwrap();
    let refusal = Response::builder().status(401).body("no").unwrap();
    let inner = Inner::new(vec![Ok(Response::new("yes")), Ok(refusal)]);
    let client = AuthLayer::new(session).layer(inner.clone());
    let response = client.oneshot(Request::get(town.url()).body(()).unwrap()).await.unwrap();
    assert_eq!((*response.body(), inner.calls.load(Ordering::SeqCst)), ("yes", 2));
}

#[tokio::test]
async fn a_request_that_is_dropped_at_any_turn_loses_no_refresh() {
    let town = Town::new();
    let session = session(&town);
    session.login().await.unwrap();
    let old = town.world().newest_access_token().unwrap().to_owned();
    town.world().resource.revoke(&old);
    let client = over(&session);
    let mut turns = 0;
    let response = loop {
        turns += 1;
        assert!(turns < 1000, "it never ends");
        let sent = client.clone().oneshot(call(&town, "whoami"));
        if let Some(response) = Dropped(Box::pin(sent), turns).await {
            break response.unwrap();
        }
    };
    assert_eq!(response.status(), 200);
    assert!(turns > 3, "it was over at once");
    assert_eq!(town.count(What::Refreshes), 1);
    let newest = town.world().newest_refresh_token().unwrap().to_owned();
    assert_eq!(session.cached_session().unwrap().token().expose(), &newest);
    assert!(!town.world().reuse_seen());
}

type Events = http_body_util::channel::Sender<Bytes, Infallible>;

/// A server of events, and whoever sends them.
async fn town_of_events() -> (Town, Events) {
    let (send, events) = Channel::new(8);
    let events = Arc::new(Mutex::new(Some(events)));
    let town = Town::guarding(move |_| {
        let events = events.lock().unwrap().take().expect("one stream");
        let response = Response::builder().header("content-type", "text/event-stream");
        async move { response.body(events).unwrap() }
    });
    (town.await, send)
}

#[tokio::test]
async fn an_event_stream_comes_event_by_event_after_a_refresh_too() {
    let (town, mut events) = town_of_events().await;
    let session = session(&town);
    session.login().await.unwrap();
    let old = town.world().newest_access_token().unwrap().to_owned();
    town.world().resource.revoke(&old);

    let request = Request::get(town.url())
        .header("accept", "text/event-stream")
        .header("mcp-session-id", "seven")
        .body(Full::default())
        .unwrap();
    let response = over(&session).oneshot(request).await.unwrap();
    assert_eq!((response.status().as_u16(), town.count(What::Refreshes)), (200, 1));
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    for event in ["data: one\n\n", "data: two\n\n"] {
        // None before it is sent, and each as soon as it is.
        assert!(timeout(Duration::from_millis(50), body.frame()).await.is_err());
        events.send_data(event.into()).await.unwrap();
        let frame = timeout(Duration::from_secs(10), body.frame()).await.unwrap();
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), event);
    }
    drop(events);
    assert!(body.frame().await.is_none());
    let world = town.world();
    let sent = world.log.iter().map(|exchange| exchange.request.headers());
    let sessions = sent.filter_map(|headers| headers.get("mcp-session-id"));
    assert!(sessions.clone().count() == 2 && sessions.into_iter().all(|id| id == "seven"));
}
