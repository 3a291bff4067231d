//! The core on `wasm32-unknown-unknown`, where there is no clock, no randomness, no network and no
//! thread: a host of a few lines takes a machine from a refusal to a person's browser. `tests/node.rs`
//! builds it and runs it.

use std::sync::Arc;

use http::Response;
use mcp_auth::{Action, AuthMachine, Config, Demand, Entropy, Event, Need, Now, Output, UnixTime};

/// What the servers answer, by the end of the path that is asked for.
const ANSWERS: [(&str, u16, &str); 4] = [
    (
        "/oauth-protected-resource/mcp",
        200,
        r#"{"resource":"https://mcp.example.com/mcp","authorization_servers":["https://auth.example.com"]}"#,
    ),
    (
        "/oauth-authorization-server",
        200,
        r#"{"issuer":"https://auth.example.com","authorization_endpoint":"https://auth.example.com/authorize","token_endpoint":"https://auth.example.com/token","registration_endpoint":"https://auth.example.com/register","code_challenge_methods_supported":["S256"]}"#,
    ),
    ("/register", 201, r#"{"client_id":"c","token_endpoint_auth_method":"none"}"#),
    ("", 401, ""),
];

fn main() {
    let entropy = Entropy::from_bytes([7; 32]);
    let config = Arc::new(Config::default());
    let mut machine = AuthMachine::new("https://mcp.example.com/mcp", config, entropy)
        .expect("the URL can be used");
    let now = Now { wall: UnixTime(1_790_000_000), ..Now::default() };
    machine.handle(now, Event::Demand(Demand::interactive(Need::default())));
    for _ in 0..100 {
        let answer = match machine.poll_output() {
            Output::Do(Action::Load(call)) => call.answer(Ok(None)),
            Output::Do(Action::Save(call)) => call.answer(Ok(())),
            Output::Do(Action::Listen(call)) => {
                call.answer(Ok("http://127.0.0.1:49152/callback".to_owned()))
            }
            Output::Do(Action::Http(call)) => {
                let path = call.request().uri().path().to_owned();
                let answer = ANSWERS.iter().find(|(end, ..)| path.ends_with(end));
                let (_, status, body) = answer.expect("one fits anything");
                let mut response = Response::new(body.as_bytes().to_vec());
                *response.status_mut() = (*status).try_into().expect("a status");
                call.answer(Ok(response))
            }
            Output::Do(Action::Browse(call)) => {
                let url = call.url();
                assert_eq!(url.host_str(), Some("auth.example.com"));
                let says = |name: &str| url.query_pairs().any(|(known, _)| known == name);
                assert!(says("state") && says("code_challenge") && says("resource"));
                return;
            }
            Output::Wait(_) => break,
            _ => continue,
        };
        machine.handle(now, answer);
    }
    panic!("nobody was taken to the browser");
}
