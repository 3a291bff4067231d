//! Records all that a machine asks for, and what it is answered, as lines of JSON without a secret in
//! them; then plays them again to a machine with other random numbers, which asks for the same.
//!
//! ```sh
//! cargo run --example recorded > trace.jsonl
//! ```
//!
//! For bug reports, and for tests: a trace is a whole story, and it needs neither network nor clock. The
//! servers here, and the person, are simulated.

#![expect(
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the trace is printed"
)]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use mcp_auth::{
    Action, AuthMachine, Config, Demand, Entropy, Event, Mono, Need, Now, Output, Redirected,
    Secret, TokenState, UnixTime,
};
use mcp_auth_world::{Person, Visit, World};
use serde_json::{Value, json};
use url::form_urlencoded;

type Anyhow<T> = Result<T, Box<dyn Error>>;

const SERVER: &str = "https://mcp.example.com/mcp";

/// Members and parameters whose values are secrets, or drawn at random.
const SECRETS: [&str; 14] = [
    "access_token",
    "assertion",
    "by",
    "client_secret",
    "code",
    "code_challenge",
    "code_verifier",
    "device_code",
    "id_token",
    "refresh_token",
    "registration_access_token",
    "state",
    "token",
    "user_code",
];

/// Knows each secret by a name: `redacted-state-1`. The same story gives the same names, whatever the
/// secrets are, so what is recorded and what is played again can be compared.
#[derive(Default)]
struct Redactor(Vec<(String, String)>);

impl Redactor {
    fn learn(&mut self, name: &str, value: &str) {
        if !SECRETS.contains(&name) || value.is_empty() || self.0.iter().any(|(v, _)| v == value) {
            return;
        }
        let prefix = format!("redacted-{name}-");
        let count = self.0.iter().filter(|(_, name)| name.starts_with(&prefix)).count() + 1;
        self.0.push((value.to_owned(), format!("{prefix}{count}")));
    }

    /// A JSON text, a form, or a URL.
    fn read(&mut self, text: &str) {
        match serde_json::from_str(text) {
            Ok(json) => self.read_json(&json),
            Err(_) => {
                let query = text.split_once('?').map_or(text, |(_, query)| query);
                let pairs = form_urlencoded::parse(query.as_bytes());
                pairs.for_each(|(name, value)| self.learn(&name, &value));
            }
        }
    }

    fn read_json(&mut self, json: &Value) {
        match json {
            Value::Object(members) => members.iter().for_each(|(name, value)| match value {
                Value::String(text) => self.learn(name, text),
                other => self.read_json(other),
            }),
            Value::Array(entries) => entries.iter().for_each(|entry| self.read_json(entry)),
            _ => {}
        }
    }

    fn hidden(&mut self, text: &str) -> String {
        self.read(text);
        self.0.iter().fold(text.to_owned(), |text, (secret, name)| text.replace(secret, name))
    }

    /// With this machine's own secrets in the place of the names; a name that has none is one itself.
    fn shown(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (secret, name)| text.replace(name, secret))
    }

    /// What is asked for, as it is recorded.
    fn asked(&mut self, action: &Action) -> Anyhow<Value> {
        let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
        Ok(match action {
            Action::Load(call) => json!({ "load": { "lock": call.lock() } }),
            Action::Save(call) => match call.record() {
                Some(record) => json!({ "save": self.hidden(&utf8(record)?) }),
                None => json!({ "save": null }),
            },
            Action::Http(call) => {
                let request = call.request();
                // A scheme says how it is proven who asks; what comes behind it, nobody needs.
                let proof = request.headers().get("authorization").map(|_| "redacted");
                json!({ "http": {
                    "method": request.method().as_str(),
                    "url": self.hidden(&request.uri().to_string()),
                    "authorization": proof,
                    "body": self.hidden(&utf8(request.body())?),
                } })
            }
            Action::Listen(call) => json!({ "listen": call.spec().path }),
            Action::Browse(call) => json!({ "browse": self.hidden(call.url().as_str()) }),
            other => return Err(format!("not in this story: {other:?}").into()),
        })
    }
}

fn moment(now: Now) -> Value {
    json!([now.wall.0, now.mono.0.as_millis() as u64])
}

fn machine(seed: u8) -> Anyhow<AuthMachine> {
    Ok(AuthMachine::new(SERVER, Arc::new(Config::default()), Entropy::from_bytes([seed; 32]))?)
}

/// The next thing that the machine asks for; `None` if it only waits.
fn next(machine: &mut AuthMachine) -> Option<Action> {
    loop {
        match machine.poll_output() {
            Output::Do(action) => return Some(action),
            Output::Wait(_) => return None,
            _ => {}
        }
    }
}

/// A login, line by line, and its secrets.
fn record() -> Anyhow<(Vec<Value>, Vec<String>)> {
    let (mut machine, mut redactor, mut world) = (machine(1)?, Redactor::default(), World::new());
    let mut now = Now { wall: UnixTime(1_790_000_000), mono: Mono(Duration::ZERO) };
    let (mut store, mut back, mut lines) = (None::<Vec<u8>>, None::<String>, Vec::new());
    machine.handle(now, Event::Demand(Demand::interactive(Need::default())));
    loop {
        now.mono.0 += Duration::from_millis(100);
        let at = moment(now);
        let Some(action) = next(&mut machine) else {
            let Some(url) = back.take() else {
                let issued = [world.newest_access_token(), world.newest_refresh_token()];
                let secrets = redactor.0.into_iter().map(|(secret, _)| secret);
                let issued = issued.into_iter().flatten().map(str::to_owned);
                return Ok((lines, secrets.chain(issued).collect()));
            };
            lines.push(json!({ "at": at, "redirected": redactor.hidden(&url) }));
            machine.handle(now, redirected(url));
            continue;
        };
        let asked = redactor.asked(&action)?;
        let (answer, event) = match action {
            Action::Load(call) => {
                let loaded = store.clone().map(String::from_utf8).transpose()?;
                let loaded = loaded.map(|text| redactor.hidden(&text));
                (json!(loaded), call.answer(Ok(store.clone())))
            }
            Action::Save(call) => {
                store = call.record().map(<[u8]>::to_vec);
                (json!("saved"), call.answer(Ok(())))
            }
            Action::Http(call) => {
                let response = world.handle(now.wall.0, call.request())?;
                (answered(&mut redactor, &response)?, call.answer(Ok(response)))
            }
            Action::Listen(call) => {
                let uri = "http://127.0.0.1:49152/callback";
                (json!(uri), call.answer(Ok(uri.to_owned())))
            }
            Action::Browse(call) => {
                let visit = world.visit(now.wall.0, call.url().as_str(), &Person::Approves);
                let Visit::Redirect(url) = visit else { return Err("nobody came back".into()) };
                back = Some(url);
                (json!("shown"), call.answer(Ok(())))
            }
            other => return Err(format!("not in this story: {other:?}").into()),
        };
        lines.push(json!({ "at": at, "asked": asked, "answered": answer }));
        machine.handle(now, event);
    }
}

/// Plays a trace to another machine, and compares what it asks for.
fn replay(lines: &[Value]) -> Anyhow<String> {
    let (mut machine, mut redactor) = (machine(2)?, Redactor::default());
    let mut now = Now::default();
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("no text");
    for (number, line) in lines.iter().enumerate() {
        let before = now;
        now.wall.0 = line["at"][0].as_u64().ok_or("no time")?;
        now.mono = Mono(Duration::from_millis(line["at"][1].as_u64().ok_or("no time")?));
        if before == Now::default() {
            machine.handle(now, Event::Demand(Demand::interactive(Need::default())));
        }
        if let Some(url) = line["redirected"].as_str() {
            machine.handle(now, redirected(redactor.shown(url)));
            continue;
        }
        let action = next(&mut machine).ok_or("it asks for nothing more")?;
        let asked = redactor.asked(&action)?;
        if asked != line["asked"] {
            let expected = &line["asked"];
            return Err(format!("line {number}: expected {expected}, got {asked}").into());
        }
        let answer = &line["answered"];
        let event = match action {
            Action::Load(call) => {
                let stored = answer.as_str().map(|text| redactor.shown(text).into_bytes());
                call.answer(Ok(stored))
            }
            Action::Save(call) => call.answer(Ok(())),
            Action::Http(call) => {
                let status = answer["status"].as_u64().ok_or("no status")?;
                let mut response = Response::builder().status(u16::try_from(status)?);
                for field in answer["headers"].as_array().into_iter().flatten() {
                    response = response.header(text(&field[0])?, text(&field[1])?);
                }
                let body = redactor.shown(&text(&answer["body"])?);
                redactor.read(&body);
                call.answer(Ok(response.body(body.into_bytes())?))
            }
            Action::Listen(call) => call.answer(Ok(text(answer)?)),
            Action::Browse(call) => call.answer(Ok(())),
            other => return Err(format!("not in this story: {other:?}").into()),
        };
        machine.handle(now, event);
    }
    match machine.token(now, &Need::default()) {
        TokenState::Ready(grant) => {
            // To its own server, in the words of the trace.
            let mut request = Request::get(SERVER).body(())?;
            grant.authorize(&mut request)?;
            let shown = request.headers()["authorization"].to_str()?;
            Ok(format!("{} lines replayed as recorded; it sends: {shown}", lines.len()))
        }
        other => Err(format!("no token in the end: {other:?}").into()),
    }
}

fn answered(redactor: &mut Redactor, response: &Response<Vec<u8>>) -> Anyhow<Value> {
    let mut headers = Vec::new();
    for (name, value) in response.headers() {
        headers.push(json!([name.as_str(), value.to_str()?]));
    }
    let body = redactor.hidden(std::str::from_utf8(response.body())?);
    Ok(json!({ "status": response.status().as_u16(), "headers": headers, "body": body }))
}

fn redirected(url: String) -> Event {
    Event::Redirected(Redirected { ticket: 1, url: Secret::new(url) })
}

/// Both; what came of the second.
pub fn run() -> Anyhow<String> {
    let (lines, secrets) = record()?;
    let trace: Vec<_> = lines.iter().map(ToString::to_string).collect();
    trace.iter().for_each(|line| println!("{line}"));
    // What is played is what was written, and that has no secret in it.
    let read: Vec<Value> =
        trace.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
    if let Some(secret) = secrets.iter().find(|secret| trace.iter().any(|l| l.contains(*secret))) {
        return Err(format!("{secret} is in the trace").into());
    }
    replay(&read)
}

#[allow(dead_code, reason = "a test runs the example as a module")]
fn main() -> Anyhow<()> {
    eprintln!("{}", run()?);
    Ok(())
}
