use mcp_auth_world::{ExpiresIn, What};

use crate::stage::Stage;

#[test]
fn an_expired_token_is_renewed_without_a_person() {
    let stage = Stage::new();
    // As good as expired, as soon as another process looks at it.
    stage.authorization(|server| server.expires_in = ExpiresIn::Zero);
    stage.run(&["login", stage.url()]).exits_with(0);
    let first = stage.newest_token();
    let token = stage.run(&["token", stage.url()]).exits_with(0).stdout;
    assert_ne!(token.trim(), first);
    assert_eq!(token.trim(), stage.newest_token());
    assert_eq!(stage.count(What::Refreshes), 1);
    assert_eq!(stage.count(What::Authorizations), 1);
    assert!(!stage.servers.world().reuse_seen());
}

#[test]
fn a_token_is_told_to_programs_as_json() {
    let stage = Stage::logged_in();
    let token = stage.run(&["token", "--json", stage.url()]).exits_with(0).json();
    assert_eq!(token["access_token"], stage.newest_token().as_str());
    assert_eq!(token["token_type"], "Bearer");
    assert!(token["expires_at"].is_u64());
}

#[test]
fn no_token_command_ever_opens_a_browser() {
    let stage = Stage::new();
    let token = stage.run(&["token", "--json", stage.url()]).exits_with(3);
    assert_eq!(token.json()["exit_code"], 3);
    assert_eq!(token.json()["error"]["fault"], "user");
    assert_eq!(stage.count(What::Authorizations), 0);
    assert_eq!(stage.count(What::Registrations), 0);
}

#[test]
fn a_token_for_less_than_was_asked_for_will_not_do() {
    let stage = Stage::logged_in();
    stage.run(&["token", "--scope", "notes:read", stage.url()]).exits_with(0);
    stage.run(&["token", "--scope", "notes:write", stage.url()]).exits_with(3).prints_nothing();
}

#[test]
fn accounts_at_one_server_are_apart() {
    let stage = Stage::new();
    stage.run(&["login", "--account", "work", stage.url()]).exits_with(0);
    stage.run(&["token", stage.url()]).exits_with(3);
    stage.run(&["token", "--account", "work", stage.url()]).exits_with(0);
}

#[test]
fn a_fixed_token_from_the_settings_is_printed_as_it_is() {
    let stage = Stage::new();
    let config = stage.file("config", r#"{ "bearer_token": "fixed" }"#);
    let token = stage.run(&["token", "--config", &config, stage.url()]).exits_with(0);
    assert_eq!(token.stdout, "fixed\n");
    stage.run(&["login", "--config", &config, stage.url()]).exits_with(2).says("bearer_token");
}
