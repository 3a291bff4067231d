//! Client registration (RFC 7591): what is asked for, what comes back, and what becomes of it.

use std::time::Duration;

use mcp_auth::output::{CallbackHost, Purpose};
use mcp_auth::{ClientSource, Demand, ErrorKind, Event, Fault as Whose, Leniency, Need, Notice};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{
    Canned, ClientAuthentication, Decision, Fault, Person, Redirects, What, assert_fails,
};
use serde_json::Value;

use crate::entry::Entry;
use crate::runner::Check;

pub const CHECKS: &[Check] = &[
    Check::new("DCR-001", a_refusal_in_plain_text),
    Check::new("DCR-002", a_secret_that_is_demanded_though_the_method_is_none),
    Check::new("DCR-005", a_client_for_less_than_was_asked_for),
    Check::new("DCR-008", an_endpoint_that_wants_a_token),
    Check::new("DCR-010", no_scope_of_our_own_making),
    Check::new("DCR-011", the_scopes_that_will_be_asked_for),
    Check::new("DCR-012", a_secret_without_an_end),
    Check::new("DCR-014", an_end_in_the_past),
    Check::new("DCR-015", an_end_in_any_form),
    Check::new("DCR-016", any_success_will_do),
    Check::new("DCR-018", a_server_that_refuses_localhost),
    Check::new("DCR-019", a_server_that_takes_localhost_alone),
    Check::new("DCR-020", the_port_that_was_registered),
    Check::new("DCR-024", an_endpoint_that_is_full),
    Check::new("DCR-025", a_client_that_the_server_has_pruned),
    Check::new("DCR-028", an_unknown_client_in_words),
    Check::new("DCR-029", a_server_that_trusts_only_some),
    Check::new("DCR-030", the_method_is_always_stated),
];

const DAY: u64 = 86_400;

fn registration_is_answered(s: &mut Scenario, answer: Canned) {
    s.world.faults.push(Fault::answer("POST", "/register", answer));
}

/// The last registration request.
fn application(s: &Scenario) -> Value {
    let mut sent = s.world.log.iter().rev().filter(|exchange| exchange.path == "/register");
    serde_json::from_slice(sent.next().expect("a registration").request.body()).unwrap()
}

/// The client of the last token request, and how it authenticated.
fn last_client(s: &Scenario) -> (String, Option<ClientAuthentication>) {
    let last = s.world.token_requests().last().expect("a token request");
    (last.client_id.clone(), last.authentication)
}

/// The entry's body with these members besides.
fn body_with(entry: &Entry, members: Value) -> Value {
    let mut body: Value = serde_json::from_str(&entry.body()).unwrap();
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

/// A registration gets this reply, and the server knows its client.
fn registered(status: u16, reply: &Value) -> Scenario {
    let mut s = Scenario::new();
    registration_is_answered(&mut s, Canned::json(status, reply.to_string()));
    let text = |name: &str| reply[name].as_str();
    s.world.authorization[0].preregister(text("client_id").unwrap(), text("client_secret"));
    s
}

/// Who pays attention to the browser sees that nobody comes back.
fn nobody_comes(s: &mut Scenario) -> mcp_auth::Error {
    let before = std::mem::replace(&mut s.person, Person::Ignores);
    let result = s.log_in();
    s.person = before;
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NobodyCame { .. }), "{error}");
    error
}

fn a_refusal_in_plain_text(entry: &Entry) {
    let mut s = Scenario::new();
    let endpoint = url::Url::parse(entry.text("/endpoint")).unwrap();
    // The metadata of a server whose registration is where the entry has it.
    s.world.authorization[0].issuer = endpoint.origin().ascii_serialization();
    let changes = &mut s.world.authorization[0].metadata_changes;
    changes.insert("registration_endpoint".into(), endpoint.as_str().into());
    s.config.client_name = "A name that may be allow-listed".into();
    s.world.faults.push(Fault::answer("POST", endpoint.path(), entry.canned()));
    let answer = s.call_tool("whoami");
    assert_fails!(answer, ErrorKind::RegistrationRefused { error, .. } if error.error == "access_denied");
    assert!(answer.error().advice().contains("`client_id`"), "{}", answer.error().advice());
    let sent = s.world.log.iter().find(|exchange| exchange.path == endpoint.path()).unwrap();
    let sent: Value = serde_json::from_slice(sent.request.body()).unwrap();
    assert_eq!(sent["client_name"], "A name that may be allow-listed");
    assert_eq!(s.browser_opened(), 0);
}

fn a_secret_that_is_demanded_though_the_method_is_none(entry: &Entry) {
    let reply = body_with(entry, serde_json::json!({ "client_secret": "s3cret" }));
    assert_eq!(reply["token_endpoint_auth_method"], "none");
    let refusal = serde_json::json!({ "error": "invalid_request", "error_description": entry.text("/token_error") });
    let mut s = registered(entry.status(), &reply);
    s.world.faults.push(Fault::answer("POST", "/token", Canned::json(400, refusal.to_string())));
    assert_eq!(s.call_tool("whoami").status(), 200);
    // It is remembered by tokens and client.
    s.restart();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.log_in().unwrap();
    let used: Vec<_> = s.world.token_requests().map(|token| token.authentication).collect();
    let post = Some(ClientAuthentication::Post);
    assert_eq!(used, [None, post, post, post]);
    assert_eq!((s.browser_opened(), s.world.count(What::Registrations)), (2, 1));
    assert_eq!(s.told(|n| matches!(n, Notice::Lenient(Leniency::SecretInBody))), 1);
}

fn a_client_for_less_than_was_asked_for(entry: &Entry) {
    let reply = body_with(entry, Value::Object(Default::default()));
    let mut s = registered(entry.status(), &reply);
    let listed = serde_json::json!(["client_secret_post"]);
    let changes = &mut s.world.authorization[0].metadata_changes;
    changes.insert("token_endpoint_auth_methods_supported".into(), listed);
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(application(&s)["token_endpoint_auth_method"], "client_secret_post");
    let client = reply["client_id"].as_str().unwrap().to_owned();
    assert_eq!(last_client(&s), (client.clone(), Some(ClientAuthentication::None)));
    s.restart();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(last_client(&s).0, client);
}

fn an_endpoint_that_wants_a_token(entry: &Entry) {
    assert!(entry.text("/note").contains("bearer"));
    let path = entry.text("/endpoint");
    let closed = |status| {
        let mut s = Scenario::new();
        let url = format!("https://auth.example.com{path}");
        s.world.authorization[0]
            .metadata_changes
            .insert("registration_endpoint".into(), url.into());
        s.world.faults.push(Fault::answer("POST", path, Canned::json(status, "{}")));
        s
    };
    for status in [401, 403] {
        let mut s = closed(status);
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::RegistrationRefused { .. });
        let advice = answer.error().advice();
        assert!(advice.contains("`client_id`") && advice.contains("`initial_access_token`"));
    }
    let mut s = closed(201);
    s.config.initial_access_token = Some("an-admin's-token".into());
    s.config.client_issuer = Some("https://auth.example.com".into());
    s.world.faults[0] = Fault::answer("POST", path, Canned::json(201, r#"{"client_id":"theirs"}"#));
    s.world.authorization[0].preregister("theirs", None);
    assert_eq!(s.call_tool("whoami").status(), 200);
    let shown = s.world.authorization_headers("https://auth.example.com");
    assert_eq!(shown, ["Bearer an-admin's-token"]);
}

fn no_scope_of_our_own_making(entry: &Entry) {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    let asked = application(&s)["scope"].as_str().unwrap().to_owned();
    let refused = entry.text("/text").rsplit(": ").next().unwrap().split(", ");
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(refused.iter().all(|scope| !asked.contains(scope)), "{asked}");
    // A server that manages no scopes at all gets none.
    let mut s = Scenario::new();
    let refusal = serde_json::json!({ "error": entry.text("/error"), "error_description": entry.text("/text") });
    registration_is_answered(&mut s, Canned::json(entry.status(), refusal.to_string()));
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!((application(&s)["scope"].as_str(), s.world.count(What::Registrations)), (None, 2));
}

fn the_scopes_that_will_be_asked_for(entry: &Entry) {
    let mut s = Scenario::new();
    s.person = Person::Ignores;
    s.demand(Demand::interactive(Need::default()));
    s.run_until("browse");
    s.run();
    assert_eq!(application(&s)["scope"].as_str(), s.authorize_param("scope").as_deref());
    // The server refuses them all the same: it is told, with what the server said.
    let (callback, state) = (s.listening().unwrap(), s.authorize_param("state").unwrap());
    let iss = "https%3A%2F%2Fauth.example.com";
    s.redirect(&format!("{callback}{}&state={state}&iss={iss}", entry.text("/callback")));
    let attempt = s.machine().last_attempt().unwrap();
    let failure = s.machine().failure(attempt).cloned().expect("a failure");
    let ErrorKind::Denied(error) = failure.kind() else { panic!("{failure}") };
    assert_eq!(error.error, "invalid_scope");
}

/// A client with a secret is asked for again only when its secret ends.
fn secret_lasts(mut s: Scenario, seconds: u64) {
    assert_eq!(s.call_tool("whoami").status(), 200);
    let registrations = s.world.count(What::Registrations);
    s.restart();
    s.sleep(seconds);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.log_in().unwrap();
    assert_eq!(s.world.count(What::Registrations), registrations);
}

fn a_secret_without_an_end(entry: &Entry) {
    let reply = body_with(entry, Value::Object(Default::default()));
    let secret = reply["client_secret"].as_str().map(str::to_owned);
    let s = registered(entry.status(), &reply);
    assert_eq!(s.world.authorization[0].client("c").unwrap().secret, secret);
    secret_lasts(s, 3650 * DAY);
}

fn an_end_in_the_past(entry: &Entry) {
    let reply = body_with(entry, serde_json::json!({ "client_id": "c", "client_secret": "s" }));
    let issued = 1_700_000_000;
    assert!(reply["client_secret_expires_at"].as_u64().is_some_and(|at| 0 < at && at < issued));
    secret_lasts(registered(201, &reply), 3650 * DAY);
}

fn an_end_in_any_form(entry: &Entry) {
    let with =
        |end: Value| body_with(entry, serde_json::json!({ "client_secret_expires_at": end }));
    let as_it_is = body_with(entry, Value::Object(Default::default()));
    assert_eq!(as_it_is["client_secret_expires_at"], "0");
    for reply in [as_it_is, with(Value::Null), with(0.into())] {
        secret_lasts(registered(201, &reply), 3650 * DAY);
    }
    // In a hundred days, in seconds or milliseconds, as number or text.
    let end = 1_700_000_000 + 100 * DAY;
    for end in [end.into(), (end * 1000).into(), end.to_string().into(), Value::from(end as f64)] {
        secret_lasts(registered(201, &with(end.clone())), 98 * DAY);
        let mut s = registered(201, &with(end));
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(101 * DAY);
        let told = s.call_tool_in_background("whoami");
        assert_fails!(told, ErrorKind::LoginRequired { reason, .. } if reason.contains("secret"));
    }
}

fn any_success_will_do(entry: &Entry) {
    let mut s = Scenario::new();
    s.world.authorization[0].registration.status = entry.status();
    assert_eq!(s.call_tool("whoami").status(), 200);
    let answers = s.take_log();
    let line = format!("POST auth.example.com/register {}", 200);
    assert!(answers.contains(&line), "{answers:?}");
}

fn a_server_that_refuses_localhost(entry: &Entry) {
    let (scheme, rest) = entry.text("/registered").split_once("://").unwrap();
    let host = rest.split(':').next().unwrap();
    let refusing = || {
        let mut s = Scenario::new();
        s.world.authorization[0].refuses_redirect_host = Some(host.to_owned());
        s
    };
    let mut s = refusing();
    assert_eq!(s.call_tool("whoami").status(), 200);
    let callback = s.authorize_param("redirect_uri").unwrap();
    assert!(callback.starts_with(&format!("{scheme}://127.0.0.1:")), "{callback}");
    // Where it is wanted, the browser shows the server's page, and nobody comes.
    let mut s = refusing();
    s.config.callback_host = CallbackHost::Localhost;
    let page = Canned::new(400, entry.text("/authorize_error"));
    s.world.faults.push(Fault::answer("GET", "/authorize", page));
    assert_fails!(s.call_tool("whoami"), ErrorKind::NobodyCame { .. });
    let callback = s.authorize_param("redirect_uri").unwrap();
    assert!(callback.starts_with(&format!("{scheme}://{host}:")), "{callback}");
}

fn a_server_that_takes_localhost_alone(entry: &Entry) {
    let accepted = entry.text("/accepted");
    let by_hand = || {
        let mut s = Scenario::new();
        s.world.authorization[0].redirects = Redirects::Exact;
        let client = s.world.authorization[0].preregister("by-hand", None);
        client.redirect_uris = vec![accepted.to_owned()];
        s.config.client_id = Some("by-hand".into());
        s
    };
    let mut s = by_hand();
    s.config.callback_host = CallbackHost::Localhost;
    s.config.callback_port = url::Url::parse(accepted).unwrap().port();
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.authorize_param("redirect_uri").as_deref(), Some(accepted));
    // The port is not to be exchanged for another one.
    let mut s = by_hand();
    s.config.callback_host = CallbackHost::Localhost;
    s.config.callback_port = Some(3118);
    s.taken_ports.insert(3118);
    let answer = s.call_tool("whoami");
    assert_fails!(answer, ErrorKind::Listener(_));
    assert!(answer.error().to_string().contains("3118"), "{}", answer.error());
    assert_fails!(by_hand().call_tool("whoami"), ErrorKind::NobodyCame { .. });
}

fn the_port_that_was_registered(entry: &Entry) {
    let port = |s: &Scenario| {
        let callback = s.authorize_param("redirect_uri").unwrap();
        url::Url::parse(&callback).unwrap().port().unwrap()
    };
    let mut s = Scenario::new();
    s.world.authorization[0].redirects = Redirects::Exact;
    assert_eq!(s.call_tool("whoami").status(), 200);
    let first = port(&s);
    s.restart();
    s.log_in().unwrap();
    assert_eq!((port(&s), s.world.registrations()), (first, 1));
    // Busy: another client, for another port.
    s.taken_ports.insert(first);
    s.restart();
    s.log_in().unwrap();
    assert_eq!(s.world.registrations(), 2);
    assert_ne!(port(&s), first);
    // A server that refuses the port although it was registered is told from a person who is slow.
    let page = Canned::new(entry.status(), entry.text("/text"));
    s.world.faults.push(Fault::answer("GET", "/authorize", page));
    let error = s.log_in().unwrap_err();
    assert!(error.advice().contains("a new client"), "{}", error.advice());
    assert!(entry.text("/text").contains("redirect URI"), "{}", entry.text("/text"));
    s.log_in().unwrap();
    assert_eq!(s.world.registrations(), 3);
}

fn an_endpoint_that_is_full(entry: &Entry) {
    for status in [entry.status(), 500] {
        let mut s = Scenario::new();
        registration_is_answered(&mut s, Canned::new(status, ""));
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::Passing { what, .. } if *what == format!("HTTP {status}"));
        assert!(answer.error().retry_in() > Some(Duration::ZERO));
        assert_eq!(answer.error().fault(), Whose::Network);
        assert_eq!(s.call_tool("whoami").status(), 200);
    }
}

fn a_client_that_the_server_has_pruned(entry: &Entry) {
    let logged_in = || {
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.world.authorization[0].forget_clients();
        s
    };
    let endpoint = url::Url::parse(entry.text("/endpoint")).unwrap();
    let pruned = || Fault::answer("GET", "/authorize", entry.canned());
    assert!(endpoint.path().ends_with("/authorize"));

    // The browser shows JSON, and nobody comes: the next login registers.
    let mut s = logged_in();
    let known = last_client(&s).0;
    s.world.faults.push(pruned());
    let error = s.log_in().unwrap_err();
    assert_fails_with_earlier_client(&error, &known);
    assert_eq!(s.world.log.last().unwrap().answer, Ok(422));
    s.log_in().unwrap();
    assert_eq!(s.world.registrations(), 2);

    // The person gives up before.
    let mut s = logged_in();
    s.world.faults.push(pruned());
    let attempt = s.demand(Demand::interactive(Need::default()).fresh());
    s.run_until("browse");
    s.run();
    s.handle(Event::Cancel(attempt));
    s.run();
    s.restart();
    s.log_in().unwrap();
    assert_eq!(s.world.registrations(), 2);

    // The program is killed before.
    let mut s = logged_in();
    s.world.faults.push(pruned());
    s.demand(Demand::interactive(Need::default()).fresh());
    s.run_until("browse");
    s.advance(6);
    s.restart();
    s.log_in().unwrap();
    assert_eq!(s.world.registrations(), 2);

    // They ask for a new client themselves.
    let mut s = logged_in();
    s.demanded(Demand::interactive(Need::default()).fresh().with_new_client()).unwrap();
    assert_eq!((s.world.registrations(), s.browser_opened()), (2, 2));

    // It was of no use to anybody for a long time.
    for (idle, registrations) in [(29 * DAY, 1), (31 * DAY, 2)] {
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(40 * DAY);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.sleep(idle);
        s.log_in().unwrap();
        assert_eq!(s.world.registrations(), registrations, "{idle}");
    }
}

#[track_caller]
fn assert_fails_with_earlier_client(error: &mcp_auth::Error, known: &str) {
    let ErrorKind::NobodyCame { earlier_client, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(earlier_client.as_deref(), Some(known));
}

fn an_unknown_client_in_words(entry: &Entry) {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.world.authorization[0].forget_clients();
    s.sleep(4000);
    s.world.faults.push(Fault::answer("POST", "/token", entry.canned()));
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!((s.world.registrations(), s.browser_opened()), (2, 2));
    assert_eq!(s.world.count(What::Refreshes), 1);
    // The endpoint that the answer names is nobody's: only the metadata's is asked.
    assert_eq!(s.world.count(What::Strays), 0);
}

fn a_server_that_trusts_only_some(entry: &Entry) {
    let note = entry.text("/note");
    assert_eq!(note, "registration ok or refused; authorize page rejects");
    // Refused.
    let mut s = Scenario::new();
    registration_is_answered(&mut s, Canned::new(403, ""));
    let refused = s.call_tool("whoami").error().advice();
    // Done, and then the browser shows a page.
    let mut s = Scenario::new();
    let error = nobody_comes(&mut s);
    let ErrorKind::NobodyCame { client, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(*client, Some(ClientSource::Registered));
    for advice in [refused, error.advice()] {
        assert!(advice.contains("only clients that it knows"), "{advice}");
        assert!(advice.contains("`client_id`"), "{advice}");
    }
    // In the redirect.
    let mut s = Scenario::new();
    s.world.authorization[0].grant_types.clear();
    let answer = s.call_tool("whoami");
    assert_fails!(answer, ErrorKind::Denied(error) if error.error == "unauthorized_client");
    assert!(answer.error().advice().contains("only clients that it knows"));
    let refused = s.world.authorization_requests().last().unwrap().decision.clone();
    assert_eq!(refused, Decision::Refused("unauthorized_client".into()));
}

fn the_method_is_always_stated(entry: &Entry) {
    let member = entry.text("/request_without");
    for listed in [None, Some(vec!["none"]), Some(vec!["client_secret_post"]), Some(vec![])] {
        let mut s = Scenario::new();
        let changes = &mut s.world.authorization[0].metadata_changes;
        changes.insert("token_endpoint_auth_methods_supported".into(), serde_json::json!(listed));
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(application(&s)[member].is_string(), "{listed:?}");
        assert_eq!(s.asked_for(Purpose::Registration), 1);
    }
}
