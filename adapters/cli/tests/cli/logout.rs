use mcp_auth_world::{Canned, Fault, What};

use crate::stage::Stage;

#[test]
fn a_logout_ends_everything_at_the_servers_and_says_so() {
    let stage = Stage::logged_in();
    let told = stage.run(&["logout", stage.url()]).exits_with(0).prints_nothing();
    told.says("refresh token: ended").says("access token: ended").says("registration: ended");
    stage.run(&["status", stage.url()]).exits_with(3);
    let world = stage.servers.world();
    assert_eq!((world.count(What::Revocations), world.newest_refresh_token()), (2, None));
    assert_eq!(world.authorization[0].clients().count(), 0);
}

#[test]
fn the_parts_are_told_to_programs_as_json() {
    let stage = Stage::new();
    stage.authorization(|server| server.registration.manageable = false);
    stage.run(&["login", stage.url()]).exits_with(0);
    let told = stage.run(&["logout", "--json", stage.url()]).exits_with(0).json();
    assert_eq!(told["status"], "logged_out");
    assert_eq!(told["refresh_token"]["status"], "ended");
    assert_eq!(told["access_token"]["status"], "ended");
    assert_eq!(told["registration"]["status"], "not_offered");
    let nothing = stage.run(&["logout", "--json", stage.url()]).exits_with(0).json();
    assert_eq!(nothing["refresh_token"]["status"], "none");
}

#[test]
fn a_server_that_fails_does_not_stop_the_logout_and_is_told() {
    let stage = Stage::logged_in();
    stage.servers.world().faults.push(Fault::answer("POST", "/revoke", Canned::new(500, "")));
    let told = stage.run(&["logout", "--json", stage.url()]).exits_with(0);
    assert_eq!(told.json()["refresh_token"]["status"], "failed");
    assert_eq!(told.json()["access_token"]["status"], "ended");
    assert!(told.json()["refresh_token"]["message"].as_str().unwrap().contains("HTTP 500"));
    told.says("note: refresh token: not ended").says("advice: It may live until it expires");
    stage.run(&["token", stage.url()]).exits_with(3);
}

#[test]
fn a_local_logout_asks_no_server() {
    let stage = Stage::logged_in();
    let requests = stage.servers.world().log.len();
    stage.run(&["logout", "--local", stage.url()]).exits_with(0).says("no server was told");
    assert_eq!(stage.servers.world().log.len(), requests);
    stage.run(&["status", stage.url()]).exits_with(3);
}

#[test]
fn a_client_with_a_secret_proves_itself_at_the_logout() {
    let stage = Stage::new();
    stage.authorization(|server| {
        drop(server.preregister("by-hand", Some("by-hand-secret")).clone())
    });
    let file = stage.file("secret", "by-hand-secret");
    let client = ["--client-id", "by-hand", "--client-secret-file", &file];
    stage.run(&[&["login", stage.url()], &client[..]].concat()).exits_with(0);
    let told = stage.run(&[&["logout", stage.url()], &client[..]].concat()).exits_with(0);
    told.says("refresh token: ended").says("access token: ended");
}
