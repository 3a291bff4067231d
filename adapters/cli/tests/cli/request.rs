use std::io::Write;

use mcp_auth_world::What;
use serde_json::{Value, json};

use crate::stage::{Stage, plain, run};

fn call(tool: &str) -> String {
    let params = json!({ "name": tool, "arguments": { "text": "hello" } });
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }).to_string()
}

#[test]
fn the_body_of_the_answer_is_all_that_is_printed() {
    let stage = Stage::logged_in();
    let ran = stage.run(&["request", "--data", &call("whoami"), stage.url()]).exits_with(0);
    assert_eq!(ran.json()["id"], 7);
    assert_eq!(ran.json()["result"]["structuredContent"]["scopes"][0], "notes:read");
}

#[test]
fn the_status_line_and_the_header_fields_come_first_where_they_are_wanted() {
    let stage = Stage::logged_in();
    let ran = stage.run(&["request", "-i", "--data", &call("whoami"), stage.url()]).exits_with(0);
    let (head, body) = ran.stdout.split_once("\n\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\n"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["id"], 7);
}

#[test]
fn data_comes_from_a_file_or_from_stdin_or_is_an_initialize_request() {
    let stage = Stage::logged_in();
    let file = format!("@{}", stage.file("call.json", &call("whoami")));
    stage.run(&["request", "--data", &file, stage.url()]).exits_with(0).prints("\"id\":7");
    let mut request = stage.start(&["request", "--data", "-", stage.url()]);
    request.child.stdin.take().unwrap().write_all(call("whoami").as_bytes()).unwrap();
    request.ends().exits_with(0).prints("\"id\":7");
    stage.run(&["request", stage.url()]).exits_with(0).prints("serverInfo");
}

#[test]
fn the_message_is_sent_as_it_was_written() {
    let stage = Stage::logged_in();
    let message = r#" {"method":"initialize", "jsonrpc":"2.0","id":1.50} "#;
    stage.run(&["request", "--data", message, stage.url()]).exits_with(0);
    assert_eq!(stage.servers.world().log.last().unwrap().request.body(), message.as_bytes());
}

#[test]
fn an_answer_is_told_to_programs_as_json() {
    let stage = Stage::logged_in();
    let ran = stage.run(&["request", "--json", "--data", &call("whoami"), stage.url()]);
    let data = ran.exits_with(0).json();
    assert_eq!(data["status"], 200);
    assert_eq!(data["body"]["id"], 7);
    let headers = data["headers"].as_array().unwrap();
    assert!(headers.iter().any(|h| h[0] == "content-type" && h[1] == "application/json"));
}

#[test]
fn an_error_of_the_server_is_printed_and_fails() {
    let stage = Stage::logged_in();
    stage.run(&["request", "--data", "[]", stage.url()]).exits_with(1).prints("-32600").says("400");
    let get = stage.run(&["request", "--method", "GET", "-i", stage.url()]).exits_with(1);
    get.prints("HTTP/1.1 405").prints("allow: POST");
}

#[test]
fn header_fields_are_added_and_replace_the_defaults() {
    let stage = Stage::logged_in();
    let headers = ["--header", "Accept: application/json", "--header", "X-Trace: a:b"];
    stage.run(&[&["request", stage.url()], &headers[..]].concat()).exits_with(0);
    let world = stage.servers.world();
    let sent = world.log.last().unwrap().request.headers();
    assert_eq!(sent.get_all("accept").iter().count(), 1);
    assert_eq!(sent["accept"], "application/json");
    assert_eq!(sent["x-trace"], "a:b");
    assert_eq!(sent["content-type"], "application/json");
}

#[test]
fn more_access_is_asked_of_a_person_only_with_login() {
    let stage = Stage::logged_in();
    let write = call("write_note");
    stage.run(&["request", "--data", &write, stage.url()]).exits_with(3).prints_nothing();
    assert_eq!(stage.count(What::Authorizations), 1);
    let ran = stage.run(&["request", "--login", "--data", &write, stage.url()]).exits_with(0);
    ran.prints("noted");
    assert_eq!(stage.count(What::Authorizations), 2);
    // From now on it is had.
    stage.run(&["request", "--data", &write, stage.url()]).exits_with(0).prints("noted");
    stage.run(&["request", "--data", &call("whoami"), stage.url()]).exits_with(0);
    assert_eq!(stage.count(What::Authorizations), 2);
}

#[test]
fn a_first_request_logs_in_only_where_that_is_allowed() {
    let stage = Stage::new();
    stage.run(&["request", stage.url()]).exits_with(3).prints_nothing();
    assert_eq!(stage.count(What::Authorizations), 0);
    stage.run(&["request", "--login", stage.url()]).exits_with(0).prints("serverInfo");
    assert_eq!(stage.count(What::Authorizations), 1);
}

#[test]
fn a_token_that_the_server_no_longer_takes_is_renewed_once() {
    let stage = Stage::logged_in();
    stage.servers.pass(3601);
    stage
        .run(&["request", "--data", &call("whoami"), stage.url()])
        .exits_with(0)
        .prints("\"id\":7");
    assert_eq!(stage.count(What::Refreshes), 1);
    assert_eq!(stage.count(What::Authorizations), 1);
}

#[test]
fn a_grant_that_has_ended_needs_a_person() {
    let stage = Stage::logged_in();
    stage.authorization(|server| server.revoke_everything());
    stage.run(&["request", stage.url()]).exits_with(3).says("mcp-auth login");
    stage.run(&["request", "--login", stage.url()]).exits_with(0);
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let stage = Stage::logged_in();
    let (url, store) = (stage.url().to_owned(), stage.store());
    let _dir = stage.close();
    let ran = run(plain(&["request", &url]).arg("--store").arg(store)).exits_with(1);
    ran.says("fault: the network").prints_nothing();
}
