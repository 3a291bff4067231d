//! An agent that a program has already gains authentication, and is otherwise as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Response, header};
use mcp_auth::{ErrorKind, Need};
use mcp_auth_host::serve::Server;
use mcp_auth_hosts::Visitor;
use mcp_auth_ureq::{Asking, Builder, Session};
use mcp_auth_world::{Canned, Fault, Mood, RequiresLogin, ResourceMetadata, What};
use ureq::middleware::MiddlewareNext;
use ureq::{Agent, Body, SendBody};

type Town = mcp_auth_hosts::Town<Session>;

/// A session whose person approves.
fn session(town: &Town) -> Builder {
    town.setup().into()
}

fn body(tool: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#
    )
}

/// An agent with its own settings, and this session's authorization; with ureq's errors or without.
fn agent(session: &Session, asking: Asking, errors: bool) -> Agent {
    let settings = Agent::config_builder()
        .user_agent("notes/1")
        .timeout_global(Some(Duration::from_secs(20)))
        .http_status_as_error(errors);
    settings.middleware(session.middleware(asking)).build().into()
}

fn call(town: &Town, agent: &Agent, tool: &str) -> Result<Response<Body>, ureq::Error> {
    agent.post(town.url()).header("content-type", "application/json").send(body(tool))
}

fn auth_error(error: ureq::Error) -> mcp_auth::Error {
    let ureq::Error::Other(error) = error else { panic!("{error}") };
    error.downcast_ref::<mcp_auth::Error>().expect("an error of ours").clone()
}

#[test]
fn the_first_refusal_leads_to_a_login_and_the_request_is_sent_again() {
    for errors in [true, false] {
        let town = Town::new();
        let visitor = Visitor::default();
        let session = session(&town).browser(visitor.clone()).build().unwrap();
        let agent = agent(&session, Asking::Welcome, errors);
        let mut response = call(&town, &agent, "whoami").unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.body_mut().read_to_string().unwrap().contains("result"));
        assert_eq!(visitor.times_opened(), 1);
        assert_eq!(call(&town, &agent, "whoami").unwrap().status(), 200);
        assert_eq!(town.count(What::CodeExchanges), 1);
        // The token goes with the first request from now on.
        let world = town.world();
        let mut calls = world.log.iter().rev().filter(|exchange| exchange.path == "/mcp");
        let last = calls.next().unwrap();
        assert_eq!(last.request.headers()[header::USER_AGENT], "notes/1");
        assert_eq!((last.answer, calls.next().unwrap().answer), (Ok(200), Ok(200)));
        assert!(world.leaks().is_empty());
    }
}

#[test]
fn a_refused_token_is_refreshed_and_the_body_sent_again_as_it_was() {
    for errors in [true, false] {
        let town = Town::new();
        let session = session(&town).build().unwrap();
        session.login().unwrap();
        let agent = agent(&session, Asking::Never, errors);
        // Where statuses are errors, what would help is asked for once more.
        town.world().resource.refuse_next = if errors { 2 } else { 1 };
        let before = town.world().log.len();
        assert_eq!(call(&town, &agent, "whoami").unwrap().status(), 200);
        assert_eq!(town.count(What::Refreshes), 1);
        let world = town.world();
        let calls = world.log.iter().skip(before).filter(|exchange| exchange.path == "/mcp");
        let sent: Vec<_> = calls.map(|exchange| exchange.request.body()).collect();
        assert!(sent.iter().all(|sent| *sent == body("whoami").as_bytes()));
        assert_eq!(sent.len(), if errors { 3 } else { 2 });
    }
}

#[test]
fn an_operation_that_needs_more_is_stepped_up() {
    let town = Town::new();
    let visitor = Visitor::default();
    let session = session(&town).browser(visitor.clone()).build().unwrap();
    session.login().unwrap();
    let authentication = session.middleware(Asking::Welcome).need(|parts| Need {
        operation: parts.headers.get("x-tool").map(|tool| tool.to_str().unwrap().to_owned()),
        ..Need::default()
    });
    let agent: Agent = Agent::config_builder().middleware(authentication).build().into();
    let request = agent.post(town.url()).header("x-tool", "write_note");
    assert_eq!(request.send(body("write_note")).unwrap().status(), 200);
    assert_eq!(visitor.times_opened(), 2);
    assert_eq!(call(&town, &agent, "whoami").unwrap().status(), 200);
    assert_eq!(town.count(What::CodeExchanges), 2);
}

#[test]
fn in_the_background_nobody_is_asked_and_the_caller_is_told() {
    let town = Town::new();
    let visitor = Visitor::default();
    let session = session(&town).browser(visitor.clone()).build().unwrap();
    for errors in [true, false] {
        let failed = call(&town, &agent(&session, Asking::Never, errors), "whoami").unwrap_err();
        let failed = auth_error(failed);
        assert!(matches!(failed.kind(), ErrorKind::LoginRequired { .. }), "{failed}");
    }
    assert_eq!(visitor.times_opened(), 0);
}

#[test]
fn what_no_token_helps_is_handed_over_in_the_callers_form() {
    let town = Town::new();
    let session = session(&town).build().unwrap();
    session.login().unwrap();
    town.world().resource.mood = Mood::ForbidsAll;
    let plain = call(&town, &agent(&session, Asking::Never, false), "whoami");
    let error = call(&town, &agent(&session, Asking::Never, true), "whoami");
    // Asked for more, in the background: that ends in the same for both.
    let told = [plain, error].map(|failed| auth_error(failed.unwrap_err()).to_string());
    assert!(told[0].contains("insufficient_scope") && told[0] == told[1], "{told:?}");
    town.world().resource.mood = Mood::Fair;
    // Of which no authorization is spoken.
    let forbidden = Fault::answer("POST", "/mcp", Canned::new(403, "not for you")).times(3);
    town.world().faults.push(forbidden);
    let mut plain = call(&town, &agent(&session, Asking::Never, false), "whoami").unwrap();
    assert_eq!(plain.status(), 403);
    assert_eq!(plain.body_mut().read_to_string().unwrap(), "not for you");
    let error = call(&town, &agent(&session, Asking::Never, true), "whoami").unwrap_err();
    assert!(matches!(error, ureq::Error::StatusCode(403)), "{error}");
    let missing =
        agent(&session, Asking::Never, true).get(format!("{}/nowhere", town.url())).call();
    assert!(matches!(missing, Err(ureq::Error::StatusCode(404))), "{missing:?}");
}

#[test]
fn a_server_that_wants_no_authorization_is_called_once_and_without() {
    let town = Town::new();
    town.world().resource.requires_login = RequiresLogin::Never;
    town.world().resource.metadata = ResourceMetadata::Absent;
    let session = session(&town).build().unwrap();
    let response = call(&town, &agent(&session, Asking::Welcome, true), "whoami").unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(town.world().authorization_headers(town.url()), Vec::<String>::new());
    assert_eq!(town.count(What::McpRequests), 1);
}

#[test]
fn other_servers_and_requests_with_a_token_of_their_own_pass_through_untouched() {
    let town = Town::new();
    let session = session(&town).build().unwrap();
    session.login().unwrap();
    let agent = agent(&session, Asking::Welcome, true);
    let seen = |request: http::Request<Vec<u8>>| {
        let said = match request.headers().get(header::AUTHORIZATION) {
            Some(value) => value.as_bytes().to_vec(),
            None => b"none".to_vec(),
        };
        Response::new(said)
    };
    let other = Server::start(seen).unwrap();
    let mut response = agent.get(other.url()).call().unwrap();
    assert_eq!(response.body_mut().read_to_string().unwrap(), "none");
    let refused = agent
        .post(town.url())
        .header("authorization", "Bearer of-my-own")
        .send(body("whoami"))
        .unwrap_err();
    assert!(matches!(refused, ureq::Error::StatusCode(401)), "{refused}");
    assert_eq!(town.count(What::Refreshes), 0);
}

#[test]
fn a_redirect_elsewhere_is_shown_and_takes_no_token_along() {
    let stranger = Server::start(|_| Response::new(Vec::new())).unwrap();
    let to = stranger.url();
    let server = Server::start(move |_| {
        Response::builder().status(307).header("location", &to).body(Vec::new()).unwrap()
    })
    .unwrap();
    let session = Session::builder(server.url()).build().unwrap();
    let response = agent(&session, Asking::Never, true).get(server.url()).call().unwrap();
    assert_eq!(response.status(), 307);
}

#[test]
fn a_body_that_is_too_large_to_be_kept_is_sent_once_and_counts_for_the_next() {
    let town = Town::new();
    let session = session(&town).build().unwrap();
    session.login().unwrap();
    let authentication = session.middleware(Asking::Never).max_body(1000);
    let settings = Agent::config_builder().http_status_as_error(false);
    let agent: Agent = settings.middleware(authentication).build().into();
    let large = body("whoami") + &" ".repeat(200_000);
    let send = |body: SendBody<'_>| {
        agent.post(town.url()).header("content-length", large.len().to_string()).send(body).unwrap()
    };
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Counted(std::io::Cursor::new(large.clone().into_bytes()), reads.clone());
    town.world().resource.refuse_next = 1;
    assert_eq!(send(SendBody::from_owned_reader(counted)).status(), 401);
    assert_eq!(reads.load(Ordering::SeqCst), large.len());
    assert_eq!(send(SendBody::from_reader(&mut large.as_bytes())).status(), 200);
    assert_eq!(town.count(What::Refreshes), 1);
    let world = town.world();
    assert_eq!(world.log.last().unwrap().request.body(), large.as_bytes());
}

struct Counted(std::io::Cursor<Vec<u8>>, Arc<AtomicUsize>);

impl std::io::Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.fetch_add(read, Ordering::SeqCst);
        Ok(read)
    }
}

#[test]
fn the_agents_other_middleware_sees_what_is_sent_and_received() {
    let town = Town::new();
    let session = session(&town).build().unwrap();
    session.login().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    let count = move |request: http::Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
        let has_token = request.headers().contains_key(header::AUTHORIZATION);
        counter.fetch_add(usize::from(has_token), Ordering::SeqCst);
        next.handle(request)
    };
    let settings = Agent::config_builder().middleware(session.middleware(Asking::Never));
    let agent: Agent = settings.middleware(count).build().into();
    assert_eq!(call(&town, &agent, "whoami").unwrap().status(), 200);
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}
