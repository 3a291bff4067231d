//! The client that the conformance suite tests: an ordinary program over the public API. It knows
//! nothing of scenarios but what their context gives, and decides nothing about OAuth.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use http::{Request, Response};
use mcp_auth::{Config, HostError, Need};
use mcp_auth_conformance::walker::Walker;
use mcp_auth_host::desk::{Asking, SendError};
use mcp_auth_host::setup::Setup;
use serde_json::{Value, json};

/// The document that describes this client; servers that support it need no registration.
const CLIENT_METADATA_URL: &str = "https://conformance-test.local/client-metadata.json";
const STATELESS: &str = "2026-07-28";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "conformance-client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Vec<String>) -> Result<(), Box<dyn Error>> {
    let (adapter, server) = match args.as_slice() {
        [url] => ("ureq", url),
        [flag, adapter, url] if flag == "--adapter" => (adapter.as_str(), url),
        _ => return Err("usage: conformance-client [--adapter ureq|tokio] URL".into()),
    };
    let session = Session::open(
        adapter,
        Setup {
            config: config()?.into(),
            browser: Box::new(Walker),
            on_notice: Box::new(|notice| {
                let _ = writeln!(std::io::stderr(), "{notice}");
            }),
            ..Setup::new(server.clone())
        },
    )?;
    let version = std::env::var("MCP_CONFORMANCE_PROTOCOL_VERSION").unwrap_or_default();
    let mut mcp = Mcp { server, version, session, next_id: 0 };
    if mcp.version != STATELESS {
        let client = json!({ "name": "conformance-client", "version": "0.1.0" });
        let params = json!({
            "protocolVersion": mcp.version, "capabilities": {}, "clientInfo": client,
        });
        mcp.call("initialize", params)?;
        mcp.notify("notifications/initialized")?;
    }
    let tools = mcp.call("tools/list", json!({}))?;
    let first = tools["result"]["tools"][0]["name"].as_str().ok_or("the server has no tool")?;
    mcp.call("tools/call", json!({ "name": first, "arguments": {} }))?;
    Ok(())
}

/// The settings that a person would make: the client that the context gives, if it gives one.
fn config() -> Result<Config, Box<dyn Error>> {
    let context: Value = match std::env::var("MCP_CONFORMANCE_CONTEXT") {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Value::Null,
    };
    let text = |name: &str| context[name].as_str().map(str::to_owned);
    Ok(Config {
        client_id: text("client_id"),
        client_secret: text("client_secret").map(mcp_auth::Secret::new),
        client_issuer: text("issuer"),
        client_metadata_url: Some(CLIENT_METADATA_URL.into()),
        ..Config::default()
    })
}

/// A session on one of the hosts.
enum Session {
    Ureq(mcp_auth_ureq::Session),
    Tokio(mcp_auth_tokio::Session, tokio::runtime::Runtime),
}

impl Session {
    fn open(adapter: &str, setup: Setup) -> Result<Self, Box<dyn Error>> {
        match adapter {
            "ureq" => Ok(Self::Ureq(mcp_auth_ureq::Builder::from(setup).build()?)),
            "tokio" => {
                let runtime = tokio::runtime::Runtime::new()?;
                let within = runtime.enter();
                let session = mcp_auth_tokio::Builder::from(setup).build()?;
                drop(within);
                Ok(Self::Tokio(session, runtime))
            }
            other => Err(format!("there is no adapter {other}").into()),
        }
    }

    fn send(&self, request: Request<Vec<u8>>, need: &Need) -> Result<Response<Vec<u8>>, SendError> {
        let asking = Asking::Welcome;
        match self {
            Self::Ureq(session) => session.send(request, need, asking),
            Self::Tokio(session, runtime) => runtime.block_on(session.send(request, need, asking)),
        }
    }
}

/// As much of MCP as it takes to be asked for a token.
struct Mcp<'a> {
    server: &'a str,
    version: String,
    session: Session,
    next_id: u64,
}

impl Mcp<'_> {
    fn call(&mut self, method: &str, params: Value) -> Result<Value, Box<dyn Error>> {
        self.next_id += 1;
        let body = json!({
            "jsonrpc": "2.0", "id": self.next_id, "method": method, "params": self.with_meta(params),
        });
        let response = self.post(method, &body)?;
        let reply = message(response.body())?;
        match reply.get("error") {
            Some(error) => Err(format!("{method}: {error}").into()),
            None => Ok(reply),
        }
    }

    fn notify(&mut self, method: &str) -> Result<(), Box<dyn Error>> {
        self.post(method, &json!({ "jsonrpc": "2.0", "method": method })).map(drop)
    }

    fn post(&mut self, method: &str, body: &Value) -> Result<Response<Vec<u8>>, Box<dyn Error>> {
        let mut request = Request::post(self.server)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream");
        if method != "initialize" {
            request = request.header("MCP-Protocol-Version", &self.version);
        }
        let tool = body["params"]["name"].as_str().unwrap_or_default();
        let operation = Some(format!("{method} {tool}").trim_end().to_owned());
        let need = Need { operation, ..Need::default() };
        let request = request.body(body.to_string().into_bytes())?;
        let response = self.session.send(request, &need)?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(HostError::new(format!("{method}: HTTP {}", response.status())).into()),
        }
    }

    fn with_meta(&self, mut params: Value) -> Value {
        if self.version == STATELESS {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": STATELESS,
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        params
    }
}

/// The JSON-RPC message of a reply, plain or as the first event of a stream.
fn message(body: &[u8]) -> Result<Value, Box<dyn Error>> {
    let text = std::str::from_utf8(body)?;
    let event = text.lines().find_map(|line| line.strip_prefix("data:"));
    Ok(serde_json::from_str(event.unwrap_or(text))?)
}
