//! Stories told with requests written by hand: a client as simple as can be meets the servers.

mod authorization;
mod faults;
mod laws;
mod mcp;
mod registration;
mod resource;
mod tokens;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::{Person, Visit, World, text};

const NOW: u64 = 1_700_000_000;
const MCP: &str = "https://mcp.example.com/mcp";
const AUTH: &str = "https://auth.example.com";
const REDIRECT: &str = "http://127.0.0.1:49152/callback";
const VERIFIER: &str = "a-verifier-that-is-long-enough-for-rfc-7636-rules";

type Response = http::Response<Vec<u8>>;

fn get(world: &mut World, url: &str) -> Response {
    let request = Request::get(url).body(Vec::new()).unwrap();
    world.handle(NOW, &request).unwrap()
}

fn post(world: &mut World, now: u64, url: &str, fields: &[(&str, &str)]) -> Response {
    world.handle(now, &form_post(url, fields)).unwrap()
}

fn form_post(url: &str, fields: &[(&str, &str)]) -> Request<Vec<u8>> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.into_bytes())
        .unwrap()
}

/// A form with HTTP Basic, whose halves are encoded as RFC 6749 §2.3.1 wants it.
fn basic_post(url: &str, id: &str, secret: &str, fields: &[(&str, &str)]) -> Request<Vec<u8>> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
    let mut request = form_post(url, fields);
    let value = format!("Basic {credentials}").try_into().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

fn body(response: &Response) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_default()
}

fn error(response: &Response) -> String {
    body(response)["error"].as_str().unwrap_or_default().to_owned()
}

fn challenge(response: &Response) -> String {
    let value = response.headers().get("www-authenticate");
    value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// A message for the MCP server, in the form that `initialize` opens.
fn rpc(token: Option<&str>, method: &str, params: &Value) -> Request<Vec<u8>> {
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut request = Request::post(MCP).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(message.to_string().into_bytes()).unwrap()
}

fn call(world: &mut World, now: u64, token: Option<&str>, tool: &str) -> Response {
    let request = rpc(token, "tools/call", &json!({ "name": tool, "arguments": {} }));
    world.handle(now, &request).unwrap()
}

/// Registers a public client that may refresh, at the authorization server with this issuer.
fn register_at(world: &mut World, issuer: &str) -> String {
    let response = register_with(world, issuer, &json!({ "token_endpoint_auth_method": "none" }));
    assert_eq!(response.status(), 201);
    body(&response)["client_id"].as_str().unwrap().to_owned()
}

/// Registers a client with these members beside redirect URI and grants.
fn register_with(world: &mut World, issuer: &str, members: &Value) -> Response {
    let mut metadata = json!({
        "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "application_type": "native",
    });
    for (name, value) in members.as_object().unwrap() {
        metadata[name] = value.clone();
    }
    let request = Request::post(format!("{issuer}/register"))
        .header("content-type", "application/json")
        .body(metadata.to_string().into_bytes())
        .unwrap();
    world.handle(NOW, &request).unwrap()
}

/// An authorization URL that is in order but for `changes`: an empty value leaves one out.
fn authorize_url(issuer: &str, client: &str, changes: &[(&str, &str)]) -> String {
    let challenge = text::s256(VERIFIER);
    let mut fields = vec![
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", REDIRECT),
        ("scope", "notes:read"),
        ("state", "a state"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("resource", MCP),
    ];
    fields.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    fields.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    format!("{issuer}/authorize?{query}")
}

/// A parameter of the authorization response that the browser was sent back with.
fn parameter(visit: &Visit, name: &str) -> Option<String> {
    let Visit::Redirect(url) = visit else { panic!("no redirect but {visit:?}") };
    let url = Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn approved_code(world: &mut World, issuer: &str, client: &str, scope: &str) -> String {
    let url = authorize_url(issuer, client, &[("scope", scope)]);
    let visit = world.visit(NOW, &url, &Person::Approves);
    parameter(&visit, "code").expect("a code")
}

fn redeem(world: &mut World, now: u64, client: &str, code: &str, verifier: &str) -> Response {
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", verifier),
        ("resource", MCP),
    ];
    post(world, now, &format!("{AUTH}/token"), &fields)
}

fn refresh_fields<'a>(client: &'a str, token: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("grant_type", "refresh_token"),
        ("client_id", client),
        ("refresh_token", token),
        ("resource", MCP),
    ]
}

fn refresh(world: &mut World, now: u64, client: &str, token: &str) -> Response {
    post(world, now, &format!("{AUTH}/token"), &refresh_fields(client, token))
}

/// What a login leaves a client with.
struct Login {
    client: String,
    access: String,
    refresh: String,
}

fn login(world: &mut World, scope: &str) -> Login {
    let client = register_at(world, AUTH);
    let code = approved_code(world, AUTH, &client, scope);
    let reply = body(&redeem(world, NOW, &client, &code, VERIFIER));
    let text = |name: &str| reply[name].as_str().unwrap_or_default().to_owned();
    Login { client, access: text("access_token"), refresh: text("refresh_token") }
}
