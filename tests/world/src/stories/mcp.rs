use super::*;
use crate::{RequiresLogin, Versions};

fn open_world() -> World {
    let mut world = World::new();
    world.resource.requires_login = RequiresLogin::Never;
    world
}

fn stateless(method: &str, header: &str, inner: &str) -> Request<Vec<u8>> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": inner,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut request = rpc(None, method, &json!({ "_meta": meta, "name": "whoami" }));
    request.headers_mut().insert("mcp-protocol-version", header.try_into().unwrap());
    request
}

fn code(response: &Response) -> Value {
    body(response)["error"]["code"].clone()
}

#[test]
fn a_session_opens_with_initialize() {
    let mut world = open_world();
    let hello = rpc(None, "initialize", &json!({ "protocolVersion": "2025-06-18" }));
    let reply = body(&world.handle(NOW, &hello).unwrap());
    assert_eq!(reply["result"]["protocolVersion"], "2025-06-18");
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let ready = Request::post(MCP).body(ready.to_string().into_bytes()).unwrap();
    assert_eq!(world.handle(NOW, &ready).unwrap().status(), 202);
    let tools = body(&world.handle(NOW, &rpc(None, "tools/list", &json!({}))).unwrap());
    assert_eq!(tools["result"]["tools"][0]["name"], "whoami");
    assert_eq!(tools["result"]["tools"][1]["name"], "write_note");
}

#[test]
fn the_stateless_form_needs_no_session() {
    let mut world = open_world();
    let reply = body(
        &world.handle(NOW, &stateless("server/discover", "2026-07-28", "2026-07-28")).unwrap(),
    );
    assert_eq!(reply["result"]["supportedVersions"], json!(["2026-07-28"]));
    let reply =
        body(&world.handle(NOW, &stateless("tools/call", "2026-07-28", "2026-07-28")).unwrap());
    assert_eq!(reply["result"]["resultType"], "complete");
}

#[test]
fn the_stateless_form_is_checked() {
    let mut world = open_world();
    let differs = world.handle(NOW, &stateless("tools/list", "2026-07-28", "2025-11-25")).unwrap();
    assert_eq!((differs.status().as_u16(), code(&differs)), (400, json!(-32020)));
    let mut bare = rpc(None, "tools/list", &json!({}));
    bare.headers_mut().insert("mcp-protocol-version", "2026-07-28".try_into().unwrap());
    let bare = world.handle(NOW, &bare).unwrap();
    assert_eq!((bare.status().as_u16(), code(&bare)), (400, json!(-32602)));
    let old = world.handle(NOW, &stateless("initialize", "2026-07-28", "2026-07-28")).unwrap();
    assert_eq!((old.status().as_u16(), code(&old)), (404, json!(-32601)));
}

#[test]
fn an_unknown_version_is_told_the_known_ones() {
    let mut world = open_world();
    world.resource.versions = Versions::Stateful;
    let reply = world.handle(NOW, &stateless("tools/list", "2026-07-28", "2026-07-28")).unwrap();
    assert_eq!((reply.status().as_u16(), code(&reply)), (400, json!(-32022)));
    assert_eq!(body(&reply)["error"]["data"]["supported"][0], "2025-11-25");
    world.resource.versions = Versions::Stateless;
    let reply = world.handle(NOW, &stateless("tools/list", "2025-11-25", "2025-11-25")).unwrap();
    assert_eq!(body(&reply)["error"]["data"]["supported"], json!(["2026-07-28"]));
}

#[test]
fn what_is_no_message_gets_an_error_and_not_a_crash() {
    let mut world = open_world();
    let mut send = |text: &str| {
        let request = Request::post(MCP).body(text.as_bytes().to_vec()).unwrap();
        code(&world.handle(NOW, &request).unwrap())
    };
    assert_eq!(send("{"), json!(-32700));
    assert_eq!(send("[]"), json!(-32600));
    assert_eq!(send(r#"{"jsonrpc":"2.0","id":1}"#), json!(-32600));
    assert_eq!(send(r#"{"jsonrpc":"2.0","id":1,"method":"resources/list"}"#), json!(-32601));
    assert_eq!(send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#), json!(-32602));
}
