//! The command against an authorization server that nobody here wrote: npm's `oidc-provider`, with
//! dynamic registration, PKCE, resource indicators and rotating refresh tokens. Its person is a
//! small program that submits the forms. Needs npm.

#![cfg(unix)]

mod real;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use mcp_auth::SecretRef;
use mcp_auth_host::signer::{PemSigner, Signer as _, generate};
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
fn a_code_is_entered_on_another_device() {
    let world = World::start("oidc", &["--access-ttl", "3"]);
    let login = world.by_code(&[]);
    assert_eq!(login.status.code(), Some(0), "{}", text(&login));
    assert!(world.server.stat("pendingPolls") >= 1, "{}", text(&login));
    assert_eq!(world.server.stat("deviceGrants"), 1);
    world.is_served();
    std::thread::sleep(Duration::from_secs(4));
    world.is_served();
    assert_eq!(world.server.stat("refreshGrants"), 1);
    // The same client serves the next time, and whoever says no is heard.
    let denied = world.by_code(&[("WALKER_DENY", "1")]);
    assert_eq!(denied.status.code(), Some(1), "{}", text(&denied));
    assert!(text(&denied).contains("access_denied"), "{}", text(&denied));
    for (what, count) in
        [("registrations", 1), ("codeGrants", 0), ("deviceGrants", 1), ("invalidGrants", 0)]
    {
        assert_eq!(world.server.stat(what), count, "{what}");
    }
    let output = world.command(&["logout"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(world.server.stat("registrationsDeleted"), 1);
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
    /// A login by a code, which a person enters after the first poll.
    fn by_code(&self, person: &[(&str, &str)]) -> Output {
        let mut login =
            self.command(&["login", "--device"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut stderr = BufReader::new(login.stderr.take().unwrap());
        let (mut page, mut polled) = (None, false);
        while stderr.read_line(&mut said).unwrap() > 0 {
            let line = said.lines().last().unwrap_or_default();
            if line.contains("user_code=") {
                page = Some(line.to_owned());
            }
            polled |= line.contains("token request: 400");
            if polled && let Some(page) = page.take() {
                let browser = self.dir.path().join("browser");
                let walked = Command::new(browser).arg(page).envs(person.to_vec()).status();
                assert!(walked.unwrap().success(), "{said}");
            }
        }
        Output { status: login.wait().unwrap(), stdout: Vec::new(), stderr: said.into() }
    }

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

/// A server whose clients have a secret that lives for so many seconds, and the settings that
/// register one there.
fn with_secrets_that_end(ttl: &str) -> (World, PathBuf) {
    let world = World::start("oidc", &["--secret-ttl", ttl, "--access-ttl", "3"]);
    let config = world.dir.path().join("config.json");
    let (token, issuer) = (world.server.word("initialAccessToken"), world.server.word("issuer"));
    let settings = serde_json::json!({ "initial_access_token": token, "client_issuer": issuer });
    fs::write(&config, settings.to_string()).unwrap();
    (world, config)
}

fn logs_in_with(world: &World, config: &Path) {
    let output = world.command(&["login"]).arg("--config").arg(config).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn a_client_secret_is_renewed_before_it_ends() {
    let (world, config) = with_secrets_that_end("10");
    logs_in_with(&world, &config);
    // Longer in the end than the first secret lives.
    for round in 1..=2 {
        std::thread::sleep(Duration::from_secs(6));
        let start =
            || world.command(&["token"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let processes: Vec<_> = (0..3).map(|_| start().unwrap()).collect();
        for mut process in processes {
            assert_eq!(process.wait().unwrap().code(), Some(0));
        }
        assert_eq!(world.server.stat("registrationsUpdated"), round, "one of three does it");
        assert_eq!(world.server.stat("refreshGrants"), round);
    }
    world.is_served();
    for (what, count) in
        [("registrations", 1), ("authorizations", 1), ("invalidGrants", 0), ("refreshReuse", 0)]
    {
        assert_eq!(world.server.stat(what), count, "{what}");
    }
    // What manages it now is not what managed it at first.
    let output = world.command(&["logout"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(world.server.stat("registrationsDeleted"), 1);
}

#[test]
fn a_secret_that_has_ended_may_still_be_renewed() {
    let (world, config) = with_secrets_that_end("3");
    logs_in_with(&world, &config);
    std::thread::sleep(Duration::from_secs(4));
    world.token();
    world.is_served();
    assert_eq!(world.server.stat("registrationsUpdated"), 1);
    assert_eq!(world.server.stat("authorizations"), 1);
}

#[test]
fn a_client_in_doubt_is_asked_for_before_another_is_registered() {
    let world = World::start("oidc", &[]);
    world.logs_in();
    let nobody = world.command_within(3, &["login"]).env("BROWSER", "true").output().unwrap();
    assert_eq!(nobody.status.code(), Some(1), "{}", text(&nobody));
    let output = world.command(&["login"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("the server still knows the client"), "{}", text(&output));
    assert_eq!(world.server.stat("registrations"), 1);
    // One that the server has forgotten, it doesn't know.
    let nobody = world.command_within(3, &["login"]).env("BROWSER", "true").output().unwrap();
    assert_eq!(nobody.status.code(), Some(1), "{}", text(&nobody));
    world.server.control("forget-clients");
    world.logs_in();
    world.is_served();
    assert_eq!(world.server.stat("registrations"), 2);
}

#[test]
fn a_client_proves_itself_by_its_key() {
    let (world, dir) = with_key(&["--access-ttl", "2"]);
    let path = dir.path().join("client.pem");
    world.logs_in();
    world.is_served();
    let first = world.token();
    std::thread::sleep(Duration::from_secs(3));
    assert_ne!(world.token(), first);
    world.is_served();
    for (what, count) in [("registrations", 0), ("authorizations", 1), ("codeGrants", 1)] {
        assert_eq!(world.server.stat(what), count, "{what}");
    }
    let output = world.command(&["logout"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(world.server.stat("revocations") >= 1);
    // Another key is another client, whatever it calls itself.
    fs::remove_file(&path).unwrap();
    generate(&path).unwrap();
    let refused = world.command(&["login"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("invalid_client"), "{}", text(&refused));
    fs::write(&path, "no key").unwrap();
    let unusable = world.command(&["login"]).output().unwrap();
    assert_eq!(unusable.status.code(), Some(2), "{}", text(&unusable));
    assert_eq!(world.server.stat("authorizations"), 2);
}

#[test]
fn tokens_are_bound_to_a_key_and_each_request_proves_it() {
    let mut world = World::start("oidc", &["--dpop", "--access-ttl", "2"]);
    let key = world.dir.path().join("dpop.pem").to_str().unwrap().to_owned();
    world.settings = ["--dpop", "auto", "--dpop-key", &key].map(str::to_owned).to_vec();
    world.logs_in();
    world.is_served();
    // The token alone is of no use to a thief.
    let stolen = world.token();
    assert_eq!(world.serves(&stolen), 401);
    std::thread::sleep(Duration::from_secs(3));
    world.is_served();
    assert_ne!(world.token(), stolen);
    for (what, count) in
        [("authorizations", 1), ("codeGrants", 1), ("invalidGrants", 0), ("refreshReuse", 0)]
    {
        assert_eq!(world.server.stat(what), count, "{what}");
    }
    assert!(world.server.stat("withoutNonce") >= 1);
    // Without that key nor is what was kept.
    fs::remove_file(&key).unwrap();
    assert_eq!(world.request().status.code(), Some(1));
    world.logs_in();
    world.is_served();
}

/// A server that knows a client by its key, and the folder of that.
fn with_key(options: &[&str]) -> (World, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("client.pem");
    generate(&path).unwrap();
    let key = path.to_str().unwrap().to_owned();
    let public = PemSigner::new().public_key(&SecretRef::File(key.clone())).unwrap();
    let jwk = public.jwk().to_string();
    let options: Vec<_> = ["--client-jwk", &jwk].iter().chain(options).copied().collect();
    let mut world = World::start("oidc", &options);
    let settings = ["--client-id", "by-key", "--client-key", &key];
    world.settings = settings.map(str::to_owned).to_vec();
    (world, dir)
}

#[test]
fn authorization_requests_are_pushed_and_signed_where_the_server_demands_it() {
    for options in [&["--pushed"][..], &["--signed"], &["--pushed", "--signed"]] {
        let (world, _dir) = with_key(options);
        world.logs_in();
        world.is_served();
        assert_eq!(world.server.stat("authorizations"), 1, "{options:?}");
    }
    // A client that is registered as it goes can push, too; and what isn't demanded may be wished.
    let world = World::start("oidc", &["--pushed"]);
    world.logs_in();
    world.is_served();
    let mut world = World::start("oidc", &[]);
    world.settings = vec!["--push-requests".to_owned()];
    let output = world.command(&["login"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("pushed authorization request: 201"), "{}", text(&output));
}
