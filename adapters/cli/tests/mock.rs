//! The command against an authorization server that fails as it is told to: npm's
//! `oauth2-mock-server` with its hooks. What must not end a login doesn't, what must does, and every
//! failure is told with its reason. Needs npm.

#![cfg(unix)]

mod real;

use std::fs;
use std::ops::Deref;
use std::process::Output;
use std::thread::sleep;
use std::time::{Duration, Instant};

use real::{World, text};
use serde_json::{Value, json};

const DONE: i32 = 0;
const FAILED: i32 = 1;
const LOGIN_REQUIRED: i32 = 3;

/// What a command did.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    told: Value,
    said: String,
}

/// The world, in which every failure that was asked for has to happen.
struct Play(World);

impl Deref for Play {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let left = self.server.asked("failures-left");
            assert_eq!(left, json!({ "token": 0, "authorize": 0, "metadata": 0, "revoke": 0 }));
        }
    }
}

fn play() -> Play {
    let mut world = World::start("mock", &[]);
    let path = world.dir.path().join("settings.json");
    // As a program in a hurry would have it.
    let retry = json!({ "first_delay_seconds": 1, "tries": 3, "quiet_seconds": 1 });
    fs::write(&path, json!({ "client_id": "by-hand", "retry": retry }).to_string()).unwrap();
    world.settings = ["--config", path.to_str().unwrap()].map(String::from).into();
    Play(world)
}

/// One whose access token is as good as expired, as soon as another process looks at it.
fn expired() -> Play {
    let world = play();
    world.logs_in_expired();
    world
}

impl Play {
    /// What is wrong with the next answers of a part of the server, one each.
    fn fails(&self, part: &str, faults: Value) {
        let url = format!("{}fail/{part}", self.server.word("control"));
        let mut reply = ureq::post(url).send(faults.to_string()).unwrap();
        let reply: Value =
            serde_json::from_str(&reply.body_mut().read_to_string().unwrap()).unwrap();
        assert_eq!(reply["left"], faults.as_array().unwrap().len(), "what was asked for before");
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.run_within(60, words)
    }

    fn run_within(&self, seconds: u32, words: &[&str]) -> Ran {
        let output: Output = self.command_within(seconds, words).arg("--json").output().unwrap();
        Ran {
            code: output.status.code(),
            told: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            said: text(&output),
        }
    }

    fn logs_in_expired(&self) {
        self.fails("token", json!([{ "set": { "expires_in": 0 } }]));
        self.run(&["login"]).exits_with(DONE);
    }

    /// What came to the token endpoint.
    fn token_requests(&self) -> Vec<Value> {
        self.server.asked("token-requests").as_array().unwrap().clone()
    }

    /// The refresh tokens that came, and those that were issued, in order.
    fn refresh_tokens(&self) -> (Vec<Value>, Vec<Value>) {
        let requests = self.token_requests();
        let refreshes = requests.iter().filter(|request| request["grant"] == "refresh_token");
        let presented = refreshes.map(|request| request["presented"].clone()).collect();
        (presented, requests.iter().map(|request| request["refresh"].clone()).collect())
    }

    /// What is known of the login without asking anybody.
    fn stored(&self) -> Value {
        self.run(&["status"]).told
    }

    fn forgets(&self) {
        self.run(&["logout", "--local"]).exits_with(DONE);
    }
}

impl Ran {
    #[track_caller]
    fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The error names this.
    #[track_caller]
    fn tells(self, part: &str) -> Self {
        let message = self.told["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(part), "{part}: {self:#?}");
        self
    }

    #[track_caller]
    fn blames(self, fault: &str) -> Self {
        assert_eq!(self.told["error"]["fault"], fault, "{self:#?}");
        self
    }

    #[track_caller]
    fn quotes(self, oauth: &str) -> Self {
        assert_eq!(self.told["error"]["oauth"]["error"], oauth, "{self:#?}");
        self
    }
}

#[test]
fn a_server_that_does_as_it_should_is_logged_in_to_and_renewed() {
    let world = play();
    world.logs_in();
    world.is_served();
    let first = world.token();
    world.server.control("expire-access-tokens");
    world.is_served();
    assert_ne!(world.token(), first);
    assert_eq!((world.server.stat("codeGrants"), world.server.stat("refreshGrants")), (1, 1));
    let ended = world.run(&["logout"]).exits_with(DONE).told;
    assert_eq!(ended["refresh_token"]["status"], "ended");
    assert_eq!(world.server.stat("revocations"), 2);
}

/// The person has come back; what is left is the token request.
mod a_code_exchange {
    use super::*;

    #[test]
    fn that_fails_in_passing_is_tried_again() {
        let world = play();
        for fault in [
            json!({ "door": true, "status": 503, "headers": { "retry-after": "1" } }),
            json!({ "door": true, "status": 500, "body": { "error": "server_error" } }),
            json!({ "door": true, "status": 429, "headers": { "retry-after": "1" } }),
            json!({ "door": true, "status": 502, "body": "<html>Bad Gateway</html>" }),
            json!({ "door": true, "body": "<!doctype html><title>One moment…</title>",
                    "headers": { "content-type": "text/html" } }),
            json!({ "reset": "request" }),
        ] {
            world.fails("token", json!([fault]));
            world.run(&["login"]).exits_with(DONE);
            world.run(&["token"]).exits_with(DONE);
            world.forgets();
        }
    }

    #[test]
    fn that_is_refused_ends_the_login_with_the_servers_reason() {
        let world = play();
        for status in [400, 401, 403, 200] {
            let body = json!({ "error": "invalid_grant", "error_description": "the code is old" });
            world.fails("token", json!([{ "status": status, "body": body }]));
            world
                .run(&["login"])
                .exits_with(FAILED)
                .quotes("invalid_grant")
                .tells("the code is old")
                .blames("authorization_server");
            world.run(&["token"]).exits_with(LOGIN_REQUIRED);
        }
    }

    #[test]
    fn that_brings_something_else_than_tokens_is_an_error_that_says_so() {
        let world = play();
        for fault in [
            json!({ "remove": ["access_token"] }),
            json!({ "set": { "access_token": null } }),
            json!({ "set": { "access_token": "" } }),
            json!({ "set": { "access_token": ["a"] } }),
            json!({ "body": [] }),
            json!({ "body": "" }),
            json!({ "body": "null" }),
            json!({ "body": "{\"access_token\":\"a\",\"token_type\":\"Bea" }),
            json!({ "set": { "token_type": "DPoP" } }),
        ] {
            world.fails("token", json!([fault]));
            let ran = world.run(&["login"]).exits_with(FAILED).blames("authorization_server");
            assert!(
                ran.told["error"]["message"].as_str().unwrap().contains("token reply"),
                "{ran:?}"
            );
            world.run(&["token"]).exits_with(LOGIN_REQUIRED);
        }
    }

    #[test]
    fn whose_answer_is_lost_is_no_login_and_says_what_came_instead() {
        let world = play();
        // The code is spent with the first answer; what the second says is all that is known.
        for lost in [json!({ "reset": "answer" }), json!({ "cut": true })] {
            world.fails("token", json!([lost]));
            world.run(&["login"]).exits_with(FAILED).blames("authorization_server");
            world.run(&["token"]).exits_with(LOGIN_REQUIRED);
            world.run(&["login"]).exits_with(DONE);
            world.forgets();
        }
    }

    #[test]
    fn takes_every_spelling_of_a_bearer_token() {
        let world = play();
        for fault in [
            json!({ "set": { "token_type": "bearer" } }),
            json!({ "set": { "token_type": "BEARER" } }),
            json!({ "set": { "token_type": null } }),
            json!({ "remove": ["token_type"] }),
            json!({ "status": 201 }),
            json!({ "headers": { "content-type": "text/plain" } }),
        ] {
            world.fails("token", json!([fault]));
            world.run(&["login"]).exits_with(DONE);
            assert_eq!(world.run(&["token"]).exits_with(DONE).told["token_type"], "Bearer");
        }
    }

    #[test]
    fn takes_every_form_of_a_lifetime() {
        let world = play();
        for (lifetime, seconds) in [
            (json!(3600), Some(3600)),
            (json!("3600"), Some(3600)),
            (json!(3599.5), Some(3599)),
            (json!(0), Some(0)),
            (json!("0"), Some(0)),
            (json!(-5), Some(0)),
            (json!(null), None),
            (json!("soon"), None),
            (json!({}), None),
        ] {
            world.fails("token", json!([{ "set": { "expires_in": lifetime } }]));
            let login = world.run(&["login"]).exits_with(DONE).told;
            let lives =
                login["expires_at"].as_u64().map(|at| at - login["obtained_at"].as_u64().unwrap());
            assert_eq!(lives, seconds, "{lifetime}: {login}");
        }
        world.fails("token", json!([{ "remove": ["expires_in"] }]));
        assert_eq!(world.run(&["login"]).exits_with(DONE).told["expires_at"], Value::Null);
        world.run(&["token"]).exits_with(DONE);
    }
}

/// What the browser brings back.
mod a_redirect {
    use super::*;

    #[test]
    fn that_names_the_issuer_is_taken_and_one_that_names_another_is_a_mix_up() {
        let world = play();
        let issuer = world.server.word("issuer").to_owned();
        world.fails("authorize", json!([{ "set": { "iss": issuer } }]));
        world.run(&["login"]).exits_with(DONE);
        world.forgets();
        let before = world.token_requests().len();
        for iss in [format!("{issuer}/"), "https://attacker.example".into()] {
            world.fails("authorize", json!([{ "set": { "iss": iss } }]));
            world.run(&["login"]).exits_with(FAILED).tells(&iss).tells(&issuer);
        }
        // Where the metadata promises it, it may not be left out.
        let promise = json!({ "authorization_response_iss_parameter_supported": true });
        world.fails("metadata", json!([{ "set": promise }]));
        world.run(&["login"]).exits_with(FAILED).tells(&issuer);
        assert_eq!(world.token_requests().len(), before, "the code went nowhere");
        world.run(&["token"]).exits_with(LOGIN_REQUIRED);
    }

    #[test]
    fn that_is_not_the_answer_is_not_taken_for_one() {
        let world = play();
        for fault in [
            json!({ "remove": ["state"] }),
            json!({ "set": { "state": "forged" } }),
            json!({ "add": [["state", "forged"]] }),
            json!({ "add": [["code", "forged"]] }),
            json!({ "add": [["iss", "https://a.example"], ["iss", "https://a.example"]] }),
            json!({ "remove": ["code"] }),
            json!({ "remove": ["state", "code"], "set": { "error": "access_denied" } }),
        ] {
            world.fails("authorize", json!([fault]));
            world.run_within(2, &["login"]).exits_with(FAILED).tells("2 s");
        }
        assert!(world.token_requests().is_empty());
        world.run(&["login"]).exits_with(DONE);
    }

    #[test]
    fn that_denies_is_told_in_the_servers_words() {
        let world = play();
        for error in ["access_denied", "server_error", "invalid_scope"] {
            let set = json!({ "error": error, "error_description": "not today" });
            world.fails("authorize", json!([{ "remove": ["code"], "set": set }]));
            world.run(&["login"]).exits_with(FAILED).quotes(error).tells("not today");
        }
        assert!(world.token_requests().is_empty());
    }
}

mod metadata {
    use super::*;

    #[test]
    fn that_needs_a_leniency_is_refused_with_its_name() {
        let world = play();
        for (fault, option, value) in [
            (json!({ "remove": ["code_challenge_methods_supported"] }), "--assume-s256", None),
            (
                json!({ "set": { "issuer": "https://other.example" } }),
                "--trust-issuer",
                Some("https://other.example"),
            ),
        ] {
            world.fails("metadata", json!([fault]));
            let ran = world.run(&["login"]).exits_with(FAILED).blames("authorization_server");
            assert!(ran.told["error"]["advice"].as_str().unwrap().contains(option), "{ran:?}");
            world.fails("metadata", json!([fault]));
            let words: Vec<_> = ["login", option].into_iter().chain(value).collect();
            world.run(&words).exits_with(DONE);
            world.forgets();
        }
    }

    #[test]
    fn that_cannot_be_had_is_told_with_its_address() {
        let world = play();
        let issuer = world.server.word("issuer").to_owned();
        for fault in [
            json!({ "door": true, "status": 503 }),
            json!({ "body": "<html>" }),
            json!({ "cut": true }),
            json!({ "reset": "request" }),
            json!({ "remove": ["token_endpoint"] }),
        ] {
            world.fails("metadata", json!([fault]));
            world.run(&["login"]).exits_with(FAILED).tells(&issuer);
        }
        assert_eq!(world.server.stat("authorizations"), 0);
        world.run(&["login"]).exits_with(DONE);
    }
}

/// The login is there; its access token is not good any more.
mod a_refresh {
    use super::*;

    #[test]
    fn that_fails_in_passing_is_tried_again_and_the_login_lives() {
        let world = play();
        for faults in [
            json!([{ "status": 503, "headers": { "retry-after": "1" }, "body": {} }]),
            json!([{ "status": 500, "body": "oops" }, { "status": 500, "body": "oops" }]),
            json!([{ "door": true, "status": 429, "headers": { "retry-after": "2" } }]),
            json!([{ "status": 200, "body": { "error": "temporarily_unavailable" } }]),
            json!([{ "status": 400, "body": { "error": "slow_down" } }]),
            json!([{ "door": true, "status": 403, "body": "<html>checking your browser</html>" }]),
            json!([{ "door": true, "status": 404, "body": { "error": "Not Found" } }]),
            json!([{ "door": true, "status": 401 }]),
            json!([{ "reset": "request" }]),
            json!([{ "reset": "answer" }, { "cut": true }]),
        ] {
            world.logs_in_expired();
            let logins = world.server.stat("authorizations");
            world.fails("token", faults);
            let ran = world.run(&["token"]).exits_with(DONE);
            assert!(ran.said.contains("trying again in"), "{ran:#?}");
            assert_eq!(world.server.stat("authorizations"), logins);
        }
    }

    #[test]
    fn that_fails_for_long_is_told_with_the_time_of_the_next_try_and_the_login_lives() {
        let world = expired();
        let down = json!({ "door": true, "status": 503 });
        world.fails("token", json!([down, down, down, down]));
        let ran = world.run(&["token"]).exits_with(FAILED).tells("503");
        assert_eq!(ran.told["error"]["retry_in_seconds"], 1, "{ran:?}");
        assert_eq!(world.stored()["refreshable"], true);
        sleep(Duration::from_millis(1500));
        world.run(&["token"]).exits_with(DONE);
        assert_eq!(world.server.stat("authorizations"), 1);
    }

    #[test]
    fn that_is_to_wait_for_long_is_not_tried_before() {
        let world = expired();
        world.fails(
            "token",
            json!([
                { "door": true, "status": 429, "headers": { "retry-after": "3600" } },
            ]),
        );
        for _ in 0..3 {
            let began = Instant::now();
            let ran = world.run(&["token"]).exits_with(FAILED).tells("429");
            let left = ran.told["error"]["retry_in_seconds"].as_u64().unwrap();
            assert!((3500..=3600).contains(&left), "{ran:?}");
            assert!(began.elapsed() < Duration::from_secs(10));
        }
        assert!(world.refresh_tokens().0.is_empty(), "what came through the door");
        assert_eq!(world.stored()["refreshable"], true);
        // A person may always come first.
        world.run(&["login"]).exits_with(DONE);
        world.run(&["token"]).exits_with(DONE);
    }

    #[test]
    fn that_is_refused_requires_a_login_and_a_login_helps() {
        let world = play();
        for (status, error) in [
            (400, "invalid_grant"),
            (401, "invalid_grant"),
            (403, "invalid_grant"),
            (200, "invalid_grant"),
            (200, "bad_refresh_token"),
        ] {
            world.logs_in_expired();
            let before = world.token_requests().len();
            let body = json!({ "error": error, "error_description": "it was revoked" });
            world.fails("token", json!([{ "status": status, "body": body }]));
            world.run(&["token"]).exits_with(LOGIN_REQUIRED).tells(error).blames("user");
            // It is known from then on, and no other try is made.
            world.run(&["token"]).exits_with(LOGIN_REQUIRED);
            assert_eq!(world.token_requests().len(), before + 1, "{error}");
            world.run(&["login"]).exits_with(DONE);
            world.run(&["token"]).exits_with(DONE);
        }
    }

    #[test]
    fn that_is_refused_for_another_reason_may_work_later() {
        let world = play();
        for error in ["invalid_request", "unauthorized_client"] {
            world.logs_in_expired();
            let logins = world.server.stat("authorizations");
            world.fails("token", json!([{ "status": 400, "body": { "error": error } }]));
            world.run(&["token"]).exits_with(LOGIN_REQUIRED).tells(error);
            sleep(Duration::from_millis(1500));
            world.run(&["token"]).exits_with(DONE);
            assert_eq!(world.server.stat("authorizations"), logins);
        }
    }

    #[test]
    fn without_a_refresh_token_in_its_answer_keeps_the_one_that_there_is() {
        let world = expired();
        world.fails(
            "token",
            json!([
                { "remove": ["refresh_token", "scope"], "set": { "expires_in": 0 } },
                { "set": { "refresh_token": "", "expires_in": 0 } },
                { "set": { "refresh_token": null, "expires_in": 0 } },
                { "set": { "expires_in": 0 } },
            ]),
        );
        for _ in 0..5 {
            world.run(&["token"]).exits_with(DONE);
        }
        let (presented, issued) = world.refresh_tokens();
        let (first, rotated) = (&issued[0], &issued[4]);
        assert_eq!(presented, [first, first, first, first, rotated].map(Value::clone));
        assert_eq!(world.stored()["scopes"], json!(["mcp:tools"]));
    }

    #[test]
    fn that_brings_something_else_than_tokens_costs_no_login() {
        let world = play();
        for fault in [
            json!({ "remove": ["access_token"] }),
            json!({ "body": [] }),
            json!({ "set": { "token_type": "DPoP" } }),
        ] {
            world.logs_in_expired();
            let logins = world.server.stat("authorizations");
            world.fails("token", json!([fault, fault, fault]));
            world
                .run(&["token"])
                .exits_with(FAILED)
                .blames("authorization_server")
                .tells("token reply");
            assert_eq!(world.stored()["refreshable"], true);
            sleep(Duration::from_millis(1500));
            world.run(&["token"]).exits_with(DONE);
            assert_eq!(world.server.stat("authorizations"), logins);
        }
    }

    #[test]
    fn that_is_slower_than_its_caller_is_adopted_when_it_comes() {
        let world = expired();
        world.fails("token", json!([{ "delay": 6000 }]));
        world.run_within(1, &["token"]).exits_with(FAILED).tells("1 s");
        let kept = world.run(&["token"]).exits_with(DONE).told;
        assert_eq!(world.server.stat("refreshGrants"), 1, "{kept}");
        assert_eq!(world.server.stat("authorizations"), 1);
    }
}

mod a_logout {
    use super::*;

    #[test]
    fn is_done_whatever_the_server_says_and_tells_what_it_said() {
        let world = play();
        for (fault, status) in [
            (json!({ "status": 503 }), "failed"),
            (json!({ "status": 418 }), "failed"),
            (json!({ "reset": "request" }), "failed"),
            (json!({ "status": 200 }), "ended"),
        ] {
            world.logs_in();
            world.fails("revoke", json!([fault]));
            let ended = world.run(&["logout"]).exits_with(DONE).told;
            assert_eq!(ended["status"], "logged_out");
            assert_eq!(ended["refresh_token"]["status"], status, "{ended}");
            assert_eq!(ended["refresh_token"]["advice"].is_string(), status == "failed");
            assert_eq!(ended["access_token"]["status"], "ended", "{ended}");
            assert_eq!(world.request().status.code(), Some(LOGIN_REQUIRED));
        }
    }
}
