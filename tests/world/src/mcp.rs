//! As much of MCP as a client needs to see that it is let in: JSON-RPC over POST, two tools.

use http::Request;
use serde_json::{Map, Value, json};

use crate::resource_server::Versions;
use crate::text::{self, Response};

const STATELESS: &str = "2026-07-28";
const STATEFUL: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const HEADER_MISMATCH: i64 = -32020;
const UNSUPPORTED_VERSION: i64 = -32022;

/// Who calls, as the token says.
pub(crate) struct Caller {
    pub(crate) client_id: String,
    pub(crate) scopes: Vec<String>,
}

impl Caller {
    pub(crate) fn anonymous() -> Caller {
        Caller { client_id: "anonymous".to_owned(), scopes: Vec::new() }
    }
}

/// A JSON-RPC request, or a notification if it has no `id`.
pub(crate) struct Message {
    id: Option<Value>,
    pub(crate) method: String,
    params: Map<String, Value>,
}

/// A JSON-RPC error and the HTTP status that goes with it.
pub(crate) struct Problem {
    status: u16,
    code: i64,
    message: &'static str,
    data: Option<Value>,
}

fn problem(status: u16, code: i64, message: &'static str) -> Problem {
    Problem { status, code, message, data: None }
}

impl Message {
    pub(crate) fn read(request: &Request<Vec<u8>>) -> Result<Message, Problem> {
        let invalid = || problem(400, INVALID_REQUEST, "not a single JSON-RPC request");
        let body: Value = serde_json::from_slice(request.body())
            .map_err(|_| problem(400, PARSE_ERROR, "the body is not JSON"))?;
        let Value::Object(mut body) = body else { return Err(invalid()) };
        if body.get("jsonrpc") != Some(&json!("2.0")) {
            return Err(invalid());
        }
        let Some(Value::String(method)) = body.remove("method") else { return Err(invalid()) };
        let id = body.remove("id").filter(|id| id.is_string() || id.is_number());
        let params = match body.remove("params") {
            Some(Value::Object(params)) => params,
            _ => Map::new(),
        };
        Ok(Message { id, method, params })
    }

    /// The tool that a `tools/call` names.
    pub(crate) fn tool(&self) -> Option<String> {
        if self.method != "tools/call" {
            return None;
        }
        self.params.get("name").and_then(Value::as_str).map(str::to_owned)
    }
}

pub(crate) fn answer(
    versions: Versions,
    request: &Request<Vec<u8>>,
    message: Result<Message, Problem>,
    caller: &Caller,
) -> Response {
    let (id, outcome) = match message {
        Err(problem) => (Value::Null, Err(problem)),
        Ok(message) if message.id.is_none() => return text::empty(202),
        Ok(message) => {
            let outcome = dispatch(versions, request, &message, caller);
            (message.id.unwrap_or_default(), outcome)
        }
    };
    match outcome {
        Ok(result) => text::json(200, &json!({ "jsonrpc": "2.0", "id": id, "result": result })),
        Err(Problem { status, code, message, data }) => {
            let mut error = json!({ "code": code, "message": message });
            if let (Some(data), Value::Object(members)) = (data, &mut error) {
                members.insert("data".to_owned(), data);
            }
            text::json(status, &json!({ "jsonrpc": "2.0", "id": id, "error": error }))
        }
    }
}

/// The version header decides between the two forms: 2026-07-28 has no session, and carries in
/// each message what `initialize` once settled.
fn dispatch(
    versions: Versions,
    request: &Request<Vec<u8>>,
    message: &Message,
    caller: &Caller,
) -> Result<Value, Problem> {
    let header = request.headers().get("mcp-protocol-version").and_then(|v| v.to_str().ok());
    let stateless = match (header, versions) {
        (Some(STATELESS), Versions::Both | Versions::Stateless) | (None, Versions::Stateless) => {
            true
        }
        (Some(version), Versions::Both | Versions::Stateful) if STATEFUL.contains(&version) => {
            false
        }
        (None, _) => false,
        (Some(version), _) => {
            let mut supported: Vec<&str> = Vec::new();
            supported.extend((versions != Versions::Stateful).then_some(STATELESS));
            supported.extend(STATEFUL.into_iter().filter(|_| versions != Versions::Stateless));
            let data = json!({ "supported": supported, "requested": version });
            let unsupported = problem(400, UNSUPPORTED_VERSION, "unsupported protocol version");
            return Err(Problem { data: Some(data), ..unsupported });
        }
    };
    if stateless {
        check_meta(header, message)?;
    }
    match (message.method.as_str(), stateless) {
        ("initialize", false) => Ok(initialize(message)),
        ("ping", false) => Ok(json!({})),
        ("server/discover", true) => Ok(lasting(json!({
            "supportedVersions": [STATELESS],
            "capabilities": { "tools": {} },
            "_meta": { "io.modelcontextprotocol/serverInfo": server_info() },
        }))),
        ("tools/list", true) => Ok(lasting(tools())),
        ("tools/list", false) => Ok(tools()),
        ("tools/call", _) => call(message, caller, stateless),
        _ => Err(problem(if stateless { 404 } else { 200 }, METHOD_NOT_FOUND, "no such method")),
    }
}

fn check_meta(header: Option<&str>, message: &Message) -> Result<(), Problem> {
    let meta = message.params.get("_meta");
    let member = |name| meta.and_then(|meta| meta.get(name));
    let version = member("io.modelcontextprotocol/protocolVersion").and_then(Value::as_str);
    if version.is_none() || member("io.modelcontextprotocol/clientCapabilities").is_none() {
        return Err(problem(400, INVALID_PARAMS, "params._meta lacks version or capabilities"));
    }
    if header != version {
        return Err(problem(400, HEADER_MISMATCH, "MCP-Protocol-Version and _meta differ"));
    }
    Ok(())
}

fn initialize(message: &Message) -> Value {
    let asked = message.params.get("protocolVersion").and_then(Value::as_str);
    let agreed = STATEFUL.into_iter().find(|version| asked == Some(version));
    json!({
        "protocolVersion": agreed.unwrap_or(STATEFUL[0]),
        "capabilities": { "tools": {} },
        "serverInfo": server_info(),
    })
}

fn server_info() -> Value {
    json!({ "name": "mcp-auth-world", "version": env!("CARGO_PKG_VERSION") })
}

fn tools() -> Value {
    let tool = |name: &str, description: &str, schema: Value| json!({ "name": name, "description": description, "inputSchema": schema });
    let note = json!({
        "type": "object",
        "properties": { "text": { "type": "string" } },
        "required": ["text"],
    });
    json!({ "tools": [
        tool("whoami", "Who the server takes you for.", json!({ "type": "object" })),
        tool("write_note", "Writes a note.", note),
    ] })
}

/// A result of the stateless form that may be kept, for a minute and for this caller.
fn lasting(result: Value) -> Value {
    let mut result = complete(result);
    if let Value::Object(members) = &mut result {
        members.insert("ttlMs".to_owned(), json!(60_000));
        members.insert("cacheScope".to_owned(), json!("private"));
    }
    result
}

fn complete(mut result: Value) -> Value {
    if let Value::Object(members) = &mut result {
        members.insert("resultType".to_owned(), json!("complete"));
    }
    result
}

fn call(message: &Message, caller: &Caller, stateless: bool) -> Result<Value, Problem> {
    let text = match message.tool().as_deref() {
        Some("whoami") => format!("client {} with {:?}", caller.client_id, caller.scopes),
        Some("write_note") => "noted".to_owned(),
        _ => {
            let status = if stateless { 400 } else { 200 };
            return Err(problem(status, INVALID_PARAMS, "no such tool"));
        }
    };
    let arguments = message.params.get("arguments").cloned().unwrap_or_default();
    let result = json!({
        "content": [{ "type": "text", "text": text }],
        "structuredContent": {
            "client_id": caller.client_id,
            "scopes": caller.scopes,
            "echo": arguments,
        },
    });
    Ok(if stateless { complete(result) } else { result })
}
