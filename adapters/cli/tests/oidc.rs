//! The command against an authorization server that nobody here wrote: npm's `oidc-provider`, with
//! dynamic registration, PKCE, resource indicators and rotating refresh tokens. Its person is a
//! small program that submits the forms. Needs npm.

#![cfg(unix)]

mod real;

use std::time::Duration;

use real::{World, text};

#[test]
fn a_person_logs_in_and_stays_logged_in() {
    let world = World::start("oidc", &[]);
    world.whole_story();
}

#[test]
fn the_issuer_has_a_path() {
    let world = World::start("oidc", &["--path", "/tenant1"]);
    assert!(world.server.word("issuer").ends_with("/tenant1"));
    world.whole_story();
}

#[test]
fn access_tokens_are_jwts() {
    let world = World::start("oidc", &["--token-format", "jwt"]);
    world.logs_in();
    world.is_served();
}

#[test]
fn a_denial_is_told_and_a_later_login_works() {
    let world = World::start("oidc", &[]);
    let denied = world.command(&["login"]).env("WALKER_DENY", "1").output().unwrap();
    assert_eq!(denied.status.code(), Some(1), "{}", text(&denied));
    assert!(text(&denied).contains("access_denied"), "{}", text(&denied));
    world.logs_in();
    world.is_served();
}

#[test]
fn an_expired_token_is_renewed_without_a_person() {
    let world = World::start("oidc", &["--access-ttl", "2"]);
    world.logs_in();
    let first = world.token();
    std::thread::sleep(Duration::from_secs(3));
    let second = world.token();
    assert_ne!(first, second);
    world.is_served();
    assert_eq!(world.server.stat("refreshReuse"), 0);
    assert_eq!(world.server.stat("authorizations"), 1);
}

#[test]
fn a_logout_ends_tokens_and_registration_at_the_server() {
    let world = World::start("oidc", &[]);
    world.logs_in();
    world.is_served();
    let token = world.token();
    assert_eq!(world.serves(&token), 200);
    let output = world.command(&["logout", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for part in ["refresh_token", "access_token", "registration"] {
        assert_eq!(told[part]["status"], "ended", "{told}");
    }
    assert!(world.server.stat("revocations") >= 1);
    assert_eq!(world.server.stat("registrationsDeleted"), 1);
    assert_eq!(world.serves(&token), 401);
    assert_eq!(world.request().status.code(), Some(3));
    world.logs_in();
    world.is_served();
    assert_eq!(world.server.stat("registrations"), 2);
}

impl World {
    /// What the MCP server says to a call with this token.
    fn serves(&self, token: &str) -> u16 {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build();
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}"#;
        let request = ureq::Agent::new_with_config(agent)
            .post(self.server.word("mcp"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        request.send(call).unwrap().status().as_u16()
    }

    fn whole_story(&self) {
        self.logs_in();
        assert_eq!(self.server.stat("registrations"), 1);
        self.is_served();

        // The server refuses the token before its time: it is renewed, and the request sent again.
        let first = self.token();
        self.server.control("expire-access-tokens");
        self.is_served();
        assert_ne!(self.token(), first);
        assert_eq!(self.server.stat("refreshGrants"), 1);

        // The refresh token is revoked too: only a person helps, and the registration serves again.
        self.server.control("revoke-refresh-tokens");
        self.server.control("expire-access-tokens");
        let refused = self.request();
        assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
        self.logs_in();
        self.is_served();
        assert_eq!(self.server.stat("registrations"), 1);
        assert_eq!(self.server.stat("refreshReuse"), 0);

        // A server that forgot its clients: registered again, once.
        self.server.control("forget-clients");
        self.server.control("revoke-refresh-tokens");
        self.server.control("expire-access-tokens");
        assert_eq!(self.request().status.code(), Some(3));
    }
}
