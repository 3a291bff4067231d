//! `mcp-auth request URL`: one request with authorization.

use std::io::{self, Read};
use std::sync::mpsc;
use std::{fs, thread};

use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{Method, Request, Response};
use mcp_auth::{Error, ErrorKind, Need};
use mcp_auth_ureq::Asking;
use serde_json::{Value, json};

use super::Call;
use crate::args::RequestArgs;
use crate::failure::{Exit, Failure};
use crate::report::{self, tame};

pub fn run(args: &RequestArgs, call: Call) -> Result<Exit, Failure> {
    let chosen = args.settings.choose(&args.person, call.report)?;
    let message = message(args, call)?;
    let operation = message.as_ref().and_then(|message| message.operation.clone());
    let need = Need { operation, ..args.settings.need() };
    let request = build(args, message)?;
    let asking = if args.login { Asking::Welcome } else { Asking::Never };
    let session = call.session_with(&args.target.entry()?, chosen)?;
    let response = session.send(request, &need, asking)?;
    show(args, call, &response)?;
    if response.status().is_success() {
        return Ok(Exit::Done);
    }
    let (status, headers) = (response.status(), response.headers());
    let location = headers.get(LOCATION).filter(|_| status.is_redirection());
    let to =
        location.and_then(|to| to.to_str().ok()).map(|to| format!(", and points to {}", tame(to)));
    call.report.say(format_args!("error: the server answered {status}{}", to.unwrap_or_default()));
    Ok(Exit::Failed)
}

/// A JSON-RPC message, byte for byte as it was given.
struct Message {
    text: String,
    /// What it needs a token for: see [`operation`].
    operation: Option<String>,
}

impl Message {
    fn read(text: String) -> Result<Self, Failure> {
        let value = serde_json::from_str(&text)
            .map_err(|e| Failure::Usage(format!("--data is not JSON: {e}")))?;
        Ok(Self { operation: operation(&value), text })
    }
}

fn message(args: &RequestArgs, call: Call) -> Result<Option<Message>, Failure> {
    let unreadable = |place: &str, e: io::Error| Failure::Usage(format!("{place}: {e}"));
    let text = match args.data.as_deref() {
        None if args.method == Method::POST => initialize().to_string(),
        None => return Ok(None),
        Some("-") => stdin(call)?.map_err(|e| unreadable("stdin", e))?,
        Some(data) => match data.strip_prefix('@') {
            Some(path) => fs::read_to_string(path).map_err(|e| unreadable(path, e))?,
            None => data.to_owned(),
        },
    };
    Message::read(text).map(Some)
}

/// Reads stdin, though not beyond `--timeout`.
fn stdin(call: Call) -> Result<io::Result<String>, Failure> {
    let (send, receive) = mpsc::channel();
    let read = move || {
        let mut text = String::new();
        // Nobody listens any more: the time is over.
        let _ = send.send(io::stdin().read_to_string(&mut text).map(|_| text));
    };
    let failed = |_| Failure::Machine("stdin could not be read".into());
    thread::Builder::new().spawn(read).map_err(|e| Failure::Machine(e.to_string()))?;
    match call.limit.zip(call.left()) {
        Some((limit, left)) => {
            receive.recv_timeout(left).map_err(|_| Error::from(ErrorKind::TimedOut(limit)).into())
        }
        None => receive.recv().map_err(failed),
    }
}

fn build(args: &RequestArgs, message: Option<Message>) -> Result<Request<Vec<u8>>, Failure> {
    let mut request = Request::new(Vec::new());
    *request.method_mut() = args.method.clone();
    *request.uri_mut() = args
        .target
        .url
        .0
        .parse()
        .map_err(|e| Failure::Usage(format!("the server's URL can't be requested: {e}")))?;
    let headers = request.headers_mut();
    let own = |name| args.headers.iter().any(|(given, _)| given == name);
    if !own(ACCEPT) {
        let both = "application/json, text/event-stream";
        headers.insert(ACCEPT, http::HeaderValue::from_static(both));
    }
    if message.is_some() && !own(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    }
    for (name, value) in &args.headers {
        headers.append(name.clone(), value.clone());
    }
    if let Some(message) = message {
        *request.body_mut() = message.text.into_bytes();
    }
    Ok(request)
}

/// What the scopes that this needs are remembered by: the method, and which tool it is for.
fn operation(message: &Value) -> Option<String> {
    let method = message.get("method")?.as_str()?;
    let object = ["name", "uri"].iter().find_map(|key| message["params"][key].as_str());
    Some(object.map_or_else(|| method.to_owned(), |object| format!("{method} {object}")))
}

fn show(args: &RequestArgs, call: Call, response: &Response<Vec<u8>>) -> Result<(), Failure> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.as_str(), text(value)));
    if call.report.json {
        let body = String::from_utf8_lossy(response.body());
        let data = json!({
            "status": response.status().as_u16(),
            "headers": headers.collect::<Vec<_>>(),
            "body": serde_json::from_str(&body).unwrap_or_else(|_| Value::from(body)),
        });
        return report::print(format_args!("{data}\n"));
    }
    if args.include {
        let fields: String = headers.map(|(name, value)| format!("{name}: {value}\n")).collect();
        report::print(format_args!("HTTP/1.1 {}\n{fields}\n", response.status()))?;
    }
    report::write(response.body())
}

/// What every server answers that has sessions; the others say that they have none.
fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "mcp-auth", "version": env!("CARGO_PKG_VERSION") },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_the_method_and_what_it_is_for() {
        let of = |message| operation(&message);
        let call = json!({ "method": "tools/call", "params": { "name": "write_note" } });
        assert_eq!(of(call).as_deref(), Some("tools/call write_note"));
        let read = json!({ "method": "resources/read", "params": { "uri": "note://1" } });
        assert_eq!(of(read).as_deref(), Some("resources/read note://1"));
        assert_eq!(of(json!({ "method": "tools/list" })).as_deref(), Some("tools/list"));
        assert_eq!(of(json!([1])), None);
    }
}
