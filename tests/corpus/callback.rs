//! The callback: what browsers and servers bring to it, through the real listener where the socket
//! matters.

use std::time::Duration;

use mcp_auth::output::Page;
use mcp_auth::{Config, Demand, ErrorKind, Event, Fault as Whose, Leniency, Need, Notice};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{Canned, Fault, IssParameter, Person, What, World, assert_fails};

use crate::entry::Entry;
use crate::runner::Check;
use crate::window::{Window, error_of_a_taken_port};

pub const CHECKS: &[Check] = &[
    Check::new("CB-003", parameters_that_nobody_knows),
    Check::new("CB-004", a_hash_at_the_end),
    Check::new("CB-005", an_answer_behind_the_hash),
    Check::new("CB-007", an_issuer_by_another_name),
    Check::new("CB-008", no_issuer_at_all),
    Check::new("CB-009", an_error_without_a_state),
    Check::new("CB-010", a_person_who_cancels),
    Check::new("CB-012", browsers_that_ask_for_other_things),
    Check::new("CB-013", requests_that_only_look),
    Check::new("CB-015", the_same_answer_twice),
    Check::new("CB-016", a_parameter_that_comes_twice),
    Check::new("CB-017", an_answer_in_a_form),
    Check::new("CB-021", a_port_that_was_in_use_a_moment_ago),
    Check::new("CB-022", a_person_who_takes_their_time),
    Check::new("CB-023", a_tab_that_is_closed),
];

/// A login that waits for its person, and takes whatever code comes.
fn waiting(mut s: Scenario) -> Scenario {
    s.person = Person::Ignores;
    s.demand(Demand::interactive(Need::default()));
    s.run_until("browse");
    s.run();
    let reply = r#"{"access_token":"theirs","token_type":"Bearer"}"#;
    s.world.faults.push(Fault::answer("POST", "*", Canned::json(200, reply)));
    s
}

/// The query with another value for its `state`; nothing else is touched.
fn with_state(query: &str, state: &str) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some(("state", _)) => format!("state={state}"),
        _ => pair.to_owned(),
    };
    query.split('&').map(pair).collect::<Vec<_>>().join("&")
}

/// The browser brings this query, with the state that was sent.
fn brings(s: &mut Scenario, query: &str) -> Page {
    let state = s.authorize_param("state").unwrap();
    let callback = s.authorize_param("redirect_uri").unwrap();
    s.redirect(&format!("{callback}?{}", with_state(query, &state)))
}

fn parameter(query: &str, name: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned();
    pairs.find(|(key, _)| key == name).unwrap_or_else(|| panic!("{query} has no {name}")).1
}

/// The login is over, and well; the code that it was paid with.
fn paid(s: &mut Scenario) -> String {
    s.run();
    s.grant();
    s.form_field("code").unwrap()
}

fn failure(s: &mut Scenario) -> mcp_auth::Error {
    s.run();
    let attempt = s.machine().last_attempt().unwrap();
    s.machine().failure(attempt).cloned().expect("a failure")
}

fn parameters_that_nobody_knows(entry: &Entry) {
    let query = entry.text("/query");
    let issuer = parameter(query, "iss");
    assert!(query.contains("session_state="));
    let mut s =
        waiting(Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &[&issuer])));
    assert_eq!(brings(&mut s, query), Page::Success);
    assert_eq!(paid(&mut s), parameter(query, "code"));
}

fn a_hash_at_the_end(entry: &Entry) {
    let url = entry.text("/url");
    let (callback, rest) = url.split_once('?').unwrap();
    let query = rest.strip_suffix('#').unwrap();
    let mut s = Scenario::new();
    s.world.authorization[0].iss = IssParameter::Silent;
    s.config.redirect_uri = Some(callback.to_owned());
    let mut s = waiting(s);
    let state = s.authorize_param("state").unwrap();
    let pasted = format!("{callback}?{}#", with_state(query, &state));
    assert_eq!(s.redirect(&pasted), Page::Success);
    assert_eq!(paid(&mut s), parameter(query, "code"));
}

fn an_answer_behind_the_hash(entry: &Entry) {
    let window = Window::open();
    let url = window.with_state(entry.text("/url")).replace("PORT", &window.port.to_string());
    let (sent, kept) = url.split_once('#').unwrap();
    let path = url::Url::parse(sent).unwrap().path().to_owned();
    // This is all that the browser sends.
    let response = window.ask(&format!("GET {path}"), "");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.contains("paste the URL"), "{response}");
    assert!(window.waits());
    // What the person pastes.
    assert_eq!(window.story().redirect(&url), Page::Success);
    assert_eq!(window.paid(), parameter(kept, "code"));
}

fn an_issuer_by_another_name(entry: &Entry) {
    let issuer = entry.text("/issuer");
    let (_, query) = entry.text("/url").split_once('?').unwrap();
    let iss = parameter(query, "iss");
    let world = || {
        let mut s = Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &[issuer]));
        s.world.authorization[0].iss = IssParameter::Silent;
        s
    };
    let mut s = waiting(world());
    assert!(matches!(brings(&mut s, query), Page::Failure(_)));
    let error = failure(&mut s);
    assert!(matches!(error.kind(), ErrorKind::MixUp { .. }), "{error}");
    let told = error.to_string();
    assert!(told.contains(&iss) && told.contains(issuer), "{told}");
    assert!(error.advice().contains("`trusted_issuers`"), "{}", error.advice());
    assert_eq!(s.world.count(What::TokenRequests), 0);
    // The operator knows better, for this server.
    let mut s = world();
    s.config.trusted_issuers = vec![iss];
    let mut s = waiting(s);
    assert_eq!(brings(&mut s, query), Page::Success);
    assert_eq!(paid(&mut s), parameter(query, "code"));
    assert_eq!(s.told(|n| matches!(n, Notice::Lenient(Leniency::TrustedIssuer))), 1);
}

fn no_issuer_at_all(entry: &Entry) {
    let query = entry.text("/query");
    assert!(!query.contains("iss="));
    let mut s = Scenario::new();
    s.world.authorization[0].iss = IssParameter::Silent;
    let mut s = waiting(s);
    assert_eq!(brings(&mut s, query), Page::Success);
    assert_eq!(paid(&mut s), parameter(query, "code"));
}

fn an_error_without_a_state(entry: &Entry) {
    let query = entry.text("/query");
    let window = Window::open();
    let response = window.ask(&format!("GET /callback?{query}"), "");
    assert!(response.starts_with("HTTP/1.1 404 ") && response.contains("<h1>"), "{response}");
    assert!(!response.contains(&parameter(query, "error_description")), "{response}");
    assert_eq!((window.waits(), window.ignored()), (true, 1));
    // With the state it is the server's word.
    let target = format!("/callback?{query}&state={}", window.state());
    let response = window.ask(&format!("GET {target}"), "");
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    let error = failure(&mut window.story());
    let ErrorKind::Denied(said) = error.kind() else { panic!("{error}") };
    assert_eq!(said.error, "access_denied");
}

fn a_person_who_cancels(entry: &Entry) {
    let query = entry.text("/query");
    assert!(query.contains("error_subcode=cancel"), "{query}");
    let mut s = Scenario::new();
    s.world.authorization[0].iss = IssParameter::Silent;
    let mut s = waiting(s);
    let encode = |byte: u8| format!("%{byte:02x}");
    let state: String = s.authorize_param("state").unwrap().bytes().map(encode).collect();
    let callback = s.authorize_param("redirect_uri").unwrap();
    let page = s.redirect(&format!("{callback}?{}", with_state(query, &state)));
    let Page::Failure(shown) = page else { panic!("{page:?}") };
    assert!(shown.contains("was not given"), "{shown}");
    let error = failure(&mut s);
    assert!(matches!(error.kind(), ErrorKind::Denied(_)), "{error}");
    assert_eq!(error.fault(), Whose::User);
    assert!(error.advice().contains("allow the access"), "{}", error.advice());
}

fn browsers_that_ask_for_other_things(entry: &Entry) {
    let [silent, favicon, callback] = <[String; 3]>::try_from(entry.texts("/requests")).unwrap();
    assert_eq!(silent, "(connect, send nothing)");
    let window = Window::open();
    // More of them than the listener keeps.
    let silent: Vec<_> = (0..20).map(|_| window.stay("")).collect();
    drop(window.stay("GET /callback?code=c&st"));
    window.ask_and_leave(&favicon);
    let response = window.ask(&favicon, "");
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
    assert!(window.waits());
    let response = window.ask(&window.with_state(&callback), "");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert_eq!((window.paid().as_str(), window.ignored()), ("c", 0));
    drop(silent);
}

fn requests_that_only_look(entry: &Entry) {
    let [preflight, callback] = <[String; 2]>::try_from(entry.texts("/requests")).unwrap();
    let window = Window::open();
    // `OPTIONS /callback?… Name: value Name: value`
    let mut words = preflight.split(' ');
    let request = [words.next().unwrap(), words.next().unwrap()].join(" ");
    let fields: String = words
        .map(|word| if word.ends_with(':') { format!("\r\n{word} ") } else { word.to_owned() })
        .collect();
    let fields = format!("{}\r\n", fields.trim_start());
    assert_eq!(fields.lines().count(), 2, "{fields}");
    let response = window.ask(&window.with_state(&request), &fields);
    assert!(response.starts_with("HTTP/1.1 204 "), "{response}");
    for (asked, allowed) in [
        ("Origin", "Access-Control-Allow-Origin: *"),
        ("Access-Control-Request-Private-Network", "Access-Control-Allow-Private-Network: true"),
    ] {
        assert!(fields.contains(asked) && response.contains(allowed), "{response}");
    }
    let look = window.with_state(&callback).replace("GET ", "HEAD ");
    let response = window.ask(&look, "");
    assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("\r\n\r\n"), "{response}");
    assert_eq!((window.waits(), window.ignored()), (true, 0));
    let response = window.ask(&window.with_state(&callback), "");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert_eq!(window.paid(), "c");
}

fn the_same_answer_twice(entry: &Entry) {
    let requests = entry.texts("/requests");
    assert_eq!(requests.len(), 2);
    let window = Window::open();
    for request in &requests {
        let response = window.ask(&window.with_state(request), "");
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        assert!(response.contains("Tester finishes the login"), "{response}");
    }
    assert_eq!(window.paid(), "c");
    // And once more when it is over.
    let response = window.ask(&window.with_state(&requests[0]), "");
    assert!(response.contains("Tester finishes the login"), "{response}");
    assert_eq!(window.paid(), "c");
}

fn a_parameter_that_comes_twice(entry: &Entry) {
    let query = entry.text("/query");
    let window = Window::open();
    let response = window.ask(&format!("GET /callback?{}", window.with_state(query)), "");
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(response.contains("goes on"), "{response}");
    assert_eq!((window.waits(), window.ignored()), (true, 1));
    let (first, _) = query.split_once('&').unwrap();
    let genuine = format!("GET /callback?{first}&state={}", window.state());
    assert!(window.ask(&genuine, "").starts_with("HTTP/1.1 200 "));
    assert_eq!(window.paid(), parameter(query, "code"));
}

fn an_answer_in_a_form(entry: &Entry) {
    // `POST /callback content-type form`
    let words: Vec<_> = entry.text("/request").split(' ').collect();
    let [method, path, content_type, form] = words[..] else { panic!("{words:?}") };
    assert_eq!(method, "POST");
    let window = Window::open();
    let form = window.with_state(form);
    let fields = format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", form.len());
    let request = format!("{method} {path}");
    let response = window.ask(&request, &format!("{fields}\r\n{form}"));
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
    assert!(response.contains("form_post"), "{response}");
    assert_eq!((window.waits(), window.ignored()), (true, 0));
    assert!(window.ask(&format!("GET {path}?{form}"), "").starts_with("HTTP/1.1 200 "));
    assert_eq!(window.paid(), "c");
}

fn a_port_that_was_in_use_a_moment_ago(entry: &Entry) {
    // `[Errno 98] Address already in use`; the number is Linux's.
    let (_, said) = entry.text("/error").split_once("] ").unwrap();
    let taken = error_of_a_taken_port();
    assert!(!cfg!(target_os = "linux") || taken.starts_with(said), "{taken}");
    let mut window = Window::open();
    let port = window.port;
    for _ in 0..3 {
        let target = format!("GET /callback?code=c&state={}", window.state());
        // The listener closes first: its side of the connection waits for a minute.
        assert!(window.ask(&target, "").starts_with("HTTP/1.1 200 "));
        assert_eq!(window.paid(), "c");
        window = window.reopen();
        assert_eq!(window.port, port);
    }
    assert!(window.close(), "the port is not free");
}

fn a_person_who_takes_their_time(entry: &Entry) {
    let seen = entry.get("/timeouts_seen_s").as_array().unwrap();
    let seen: Vec<u64> = seen.iter().map(|seconds| seconds.as_u64().unwrap()).collect();
    let patience = Config::default().login_timeout_seconds;
    assert!(patience >= 600);
    let genuine = "code=c&state=S";
    let in_the_browser = || {
        let mut s = Scenario::new();
        s.world.authorization[0].iss = IssParameter::Silent;
        waiting(s)
    };
    for seconds in seen {
        assert!(0 < seconds && seconds < patience);
        let mut s = in_the_browser();
        s.advance(seconds + 1);
        assert_eq!(brings(&mut s, genuine), Page::Success);
        assert_eq!(paid(&mut s), "c");
    }
    // Later than that: a page that says so, for a while, and no tokens.
    let mut s = in_the_browser();
    s.advance(patience + 200);
    assert!(matches!(failure(&mut s).kind(), ErrorKind::NobodyCame { .. }));
    assert!(s.listening().is_some());
    assert_eq!(brings(&mut s, genuine), Page::Expired);
    s.run();
    assert_eq!(s.world.count(What::TokenRequests), 0);
    s.advance(200);
    assert_eq!(s.listening(), None);
    // On the socket, where a login can be started at once.
    let window = Window::open();
    window.story().advance(patience + 1);
    let response = window.ask(&format!("GET /callback?code=c&state={}", window.state()), "");
    assert!(response.starts_with("HTTP/1.1 410 "), "{response}");
    assert!(response.contains("expired") && response.contains("Run the login again"), "{response}");
}

fn a_tab_that_is_closed(entry: &Entry) {
    assert_eq!(entry.text("/symptom"), "no request");
    // Cancelled: at once.
    let mut s = waiting(Scenario::new());
    assert!(s.listening().is_some());
    let attempt = s.machine().last_attempt().unwrap();
    s.handle(Event::Cancel(attempt));
    s.run();
    assert!(matches!(failure(&mut s).kind(), ErrorKind::Cancelled));
    assert_eq!(s.listening(), None);
    // Given up on: after its time, and a while for who comes late; at once where the port is shared.
    for (port, lingers) in [(None, true), (Some(8666), false)] {
        let mut s = Scenario::new();
        s.config.callback_port = port;
        s.person = Person::Ignores;
        let before = s.now().mono;
        assert_fails!(s.call_tool("whoami"), ErrorKind::NobodyCame { .. });
        assert_eq!(before.until(s.now().mono), Duration::from_secs(600));
        assert_eq!(s.listening().is_some(), lingers);
        s.advance(301);
        assert_eq!(s.listening(), None);
        assert_eq!(s.run(), None, "nothing is left to wait for");
    }
    // A new login doesn't wait for that, and has the same port.
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    let callback = s.authorize_param("redirect_uri");
    s.person = Person::Ignores;
    s.log_in().unwrap_err();
    s.person = Person::Approves;
    s.log_in().unwrap();
    assert_eq!(s.authorize_param("redirect_uri"), callback);
    let window = Window::open();
    window.cancel();
    assert!(window.close(), "the port is not free");
}
