//! The token endpoint: what it answers, what is made of it, and what a failure costs.

use mcp_auth::{Demand, ErrorKind, Fault as Whose, Notice};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{
    Canned, ClientAuthentication, ExpiresIn, Fault, NetworkError, Person, RefreshTokens,
    TokenReply, What, assert_fails,
};
use serde_json::json;

fn logged_in() -> Scenario {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s
}

/// A login whose access token has expired; what happens from here on is logged.
fn expired() -> Scenario {
    let mut s = logged_in();
    s.sleep(4000);
    s.take_log();
    s
}

fn token_endpoint_answers(s: &mut Scenario, answer: Canned, times: u32) {
    s.world.faults.push(Fault::answer("POST", "/token", answer).times(times));
}

mod reply {
    use super::*;

    #[test]
    fn is_understood_in_each_of_its_forms() {
        for reply in [
            TokenReply::Json,
            TokenReply::FormEncoded,
            TokenReply::InsideAuthedUser,
            TokenReply::ErrorsWith200,
        ] {
            let mut s = Scenario::new();
            s.world.authorization[0].reply = reply;
            assert_eq!(s.call_tool("whoami").status(), 200);
            s.sleep(4000);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.world.count(What::Refreshes), 1);
        }
    }

    #[test]
    fn may_not_be_bound_to_a_key_that_nobody_showed() {
        let mut s = Scenario::new();
        s.world.authorization[0].token_type = "DPoP".into();
        assert_fails!(s.call_tool("whoami"), ErrorKind::Unusable { .. });
    }

    #[test]
    fn may_give_the_lifetime_as_a_number_or_a_string() {
        for form in [ExpiresIn::Number, ExpiresIn::String, ExpiresIn::Raw(json!(3600.5))] {
            let mut s = Scenario::new();
            s.world.authorization[0].expires_in = form;
            assert_eq!(s.call_tool("whoami").status(), 200);
            let status = s.machine().status().unwrap();
            let life = status.obtained_at.until(status.expires_at.unwrap());
            assert_eq!(life.as_secs(), 3600);
        }
    }

    #[test]
    fn without_a_lifetime_the_token_is_used_until_it_is_refused() {
        for form in [ExpiresIn::Absent, ExpiresIn::Raw(json!("soon")), ExpiresIn::Raw(json!([]))] {
            let mut s = Scenario::new();
            s.world.authorization[0].expires_in = form;
            assert_eq!(s.call_tool("whoami").status(), 200);
            s.sleep(3000);
            s.take_log();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.take_log(), ["POST mcp.example.com/mcp 200"]);
            s.sleep(3000);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(
                s.take_log(),
                [
                    "POST mcp.example.com/mcp 401",
                    "POST auth.example.com/token 200",
                    "POST mcp.example.com/mcp 200",
                ]
            );
        }
    }

    #[test]
    fn with_no_lifetime_left_is_good_for_the_request_at_hand() {
        for form in [ExpiresIn::Zero, ExpiresIn::Negative] {
            let mut s = Scenario::new();
            s.world.authorization[0].expires_in = form;
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!((s.browser_opened(), s.world.count(What::Refreshes)), (1, 0));
        }
    }

    #[test]
    fn for_a_token_of_unknown_type_is_refused() {
        let mut s = Scenario::new();
        s.world.authorization[0].token_type = "mac".to_owned();
        assert_fails!(s.call_tool("whoami"), ErrorKind::Unusable { .. });
    }

    #[test]
    fn that_makes_no_sense_ends_the_login_without_repeating_the_code() {
        for body in ["{}", "{\"access_token\": \"\"}", "{\"access_token\": \"a b\"}", "[", ""] {
            let mut s = Scenario::new();
            token_endpoint_answers(&mut s, Canned::json(200, body), 1);
            assert_fails!(s.call_tool("whoami"), ErrorKind::Unusable { .. });
            assert_eq!(s.world.count(What::TokenRequests), 1);
        }
    }
}

mod client {
    use super::*;

    #[test]
    fn authenticates_as_it_was_registered_on_every_request() {
        for method in ClientAuthentication::ALL {
            let mut s = Scenario::new();
            s.world.authorization[0].registration.assigns = Some(method);
            assert_eq!(s.call_tool("whoami").status(), 200);
            s.sleep(4000);
            assert_eq!(s.call_tool("whoami").status(), 200);
            let used: Vec<_> = s.world.token_requests().map(|token| token.authentication).collect();
            assert_eq!(used, [Some(method), Some(method)]);
            s.check_secrets();
        }
    }
}

mod refresh {
    use super::*;

    #[test]
    fn names_what_was_granted_and_no_more_where_it_is_to_name_the_scopes() {
        let mut s = Scenario::new();
        s.config.scope_on_refresh = true;
        s.person = Person::ApprovesOnly(vec!["notes:read".to_owned()]);
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.form_field("scope").as_deref(), Some("notes:read"));
    }

    #[test]
    fn is_one_request_and_keeps_what_the_reply_leaves_out() {
        let mut s = Scenario::new();
        s.world.authorization[0].refresh_tokens = RefreshTokens::Omitted;
        s.world.authorization[0].reply_names_scopes = false;
        assert_eq!(s.call_tool("write_note").status(), 200);
        let scopes = s.machine().status().unwrap().scopes;
        for _ in 0..3 {
            s.sleep(4000);
            s.take_log();
            assert_eq!(s.call_tool_in_background("write_note").status(), 200);
            let refreshed = ["POST auth.example.com/token 200", "POST mcp.example.com/mcp 200"];
            assert_eq!(s.take_log(), refreshed);
            let status = s.machine().status().unwrap();
            assert_eq!((status.scopes, status.refreshable), (scopes.clone(), true));
        }
    }

    #[test]
    fn never_spends_a_refresh_token_twice() {
        let mut s = logged_in();
        for _ in 0..20 {
            s.sleep(4000);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        }
        assert!(!s.world.reuse_seen());
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (20, 1));
    }

    #[test]
    fn names_the_same_resource_and_no_scope() {
        let mut s = expired();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.form_field("resource").unwrap(), "https://mcp.example.com/mcp");
        assert_eq!(s.form_field("scope"), None);
    }

    #[test]
    fn without_a_refresh_token_is_a_login() {
        let mut s = Scenario::new();
        s.world.authorization[0].refresh_tokens = RefreshTokens::Never;
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(4000);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 2);
    }
}

mod a_dead_grant {
    use super::*;

    #[test]
    fn needs_a_login_and_is_not_tried_again() {
        for reply in [TokenReply::Json, TokenReply::ErrorsWith200] {
            let mut s = expired();
            s.world.authorization[0].reply = reply;
            s.world.authorization[0].revoke_everything();
            assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
            assert_eq!(s.told(|notice| matches!(notice, Notice::GrantEnded { .. })), 1);
            s.take_log();
            assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
            s.restart();
            let _ = s.call_tool_in_background("whoami").error();
            assert_eq!(s.world.count(What::Refreshes), 1);
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!(s.browser_opened(), 2);
        }
    }

    #[test]
    fn is_a_login_at_once_where_a_person_is_there() {
        let mut s = expired();
        s.world.authorization[0].revoke_everything();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.browser_opened(), s.world.count(What::Refreshes)), (2, 1));
    }

    #[test]
    fn does_not_take_the_last_seconds_of_the_access_token() {
        let mut s = logged_in();
        s.sleep(3580);
        let dead = Canned::json(400, r#"{"error":"invalid_grant"}"#);
        token_endpoint_answers(&mut s, dead, 1);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.sleep(30);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    }
}

mod a_refusal_that_is_not_the_grants_end {
    use super::*;

    /// An expired login, and the refresh token of it that has to live.
    fn refused(code: &str) -> (Scenario, String) {
        let mut s = expired();
        let refresh_token = s.world.newest_refresh_token().unwrap().to_owned();
        let refusal = Canned::json(400, json!({ "error": code }).to_string());
        token_endpoint_answers(&mut s, refusal, 1);
        (s, refresh_token)
    }

    #[test]
    fn keeps_the_refresh_token_and_needs_a_person() {
        for code in ["invalid_request", "invalid_scope", "invalid_target"] {
            let (mut s, refresh_token) = refused(code);
            assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
            assert!(s.store.text().contains(&refresh_token), "{code}");
            assert_eq!(s.told(|notice| matches!(notice, Notice::GrantEnded { .. })), 0);
            // It may have been mended when the program starts again.
            s.restart();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200, "{code}");
            assert_eq!(s.browser_opened(), 1);
        }
    }

    #[test]
    fn is_a_login_where_a_person_is_there() {
        for code in ["invalid_request", "invalid_scope", "invalid_target"] {
            let (mut s, _) = refused(code);
            assert_eq!(s.call_tool("whoami").status(), 200, "{code}");
            assert_eq!(s.browser_opened(), 2, "{code}");
        }
    }

    #[test]
    fn is_one_of_the_configured_client_too() {
        let mut s = Scenario::new();
        s.world.authorization[0].preregister("by-hand", Some("old secret"));
        s.config.client_id = Some("by-hand".to_owned());
        s.config.client_secret = Some("old secret".into());
        assert_eq!(s.call_tool("whoami").status(), 200);
        let refresh_token = s.world.newest_refresh_token().unwrap().to_owned();
        s.sleep(4000);
        // However it shows its secret.
        let unknown = Canned::json(401, r#"{"error":"invalid_client"}"#);
        token_endpoint_answers(&mut s, unknown, 2);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert!(s.store.text().contains(&refresh_token));
        // The secret had been changed, and the settings follow.
        s.world.authorization[0].preregister("by-hand", Some("new secret"));
        s.config.client_secret = Some("new secret".into());
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 1);
    }

    #[test]
    fn in_words_that_no_specification_knows_passes() {
        let spring = r#"{"timestamp":1,"status":404,"error":"Not Found","path":"/token"}"#;
        for (status, body) in [
            (404, spring),
            (403, r#"{"error":"Forbidden"}"#),
            (400, r#"{"error":{"code":400,"message":"Bad Request"}}"#),
            (405, r#"{"error":"Method Not Allowed"}"#),
            (407, "the proxy wants to know you"),
            (401, ""),
            (401, "Unauthorized"),
            (401, r#"{"message":"No API key found in request"}"#),
        ] {
            let mut s = expired();
            let refresh_token = s.world.newest_refresh_token().unwrap().to_owned();
            token_endpoint_answers(&mut s, Canned::json(status, body), 6);
            assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::Passing { .. });
            assert!(s.store.text().contains(&refresh_token), "{status} {body}");
            s.sleep(600);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200, "{status} {body}");
            assert_eq!((s.browser_opened(), s.world.registrations()), (1, 1));
        }
    }

    #[test]
    fn is_none_of_those_in_which_vendors_say_that_it_is() {
        for code in ["invalid_grant", "bad_refresh_token", "invalid_refresh_token"] {
            let (mut s, refresh_token) = refused(code);
            assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
            assert!(!s.store.text().contains(&refresh_token), "{code}");
            assert_eq!(s.told(|notice| matches!(notice, Notice::GrantEnded { .. })), 1);
        }
    }
}

mod a_passing_failure {
    use super::*;

    #[test]
    fn keeps_everything_and_says_when_to_come_back() {
        let outage = || Canned::new(503, "").header("retry-after", "900");
        let mut s = expired();
        token_endpoint_answers(&mut s, outage(), 1);
        let answer = s.call_tool_in_background("whoami");
        assert_fails!(answer, ErrorKind::Passing { .. });
        assert_eq!(answer.error().retry_in().unwrap().as_secs(), 900);
        assert_eq!(answer.error().fault(), Whose::Network);
        s.take_log();

        // Until then nobody is asked again, and no person is bothered.
        s.sleep(300);
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::Passing { .. });
        assert_eq!(answer.error().retry_in().unwrap().as_secs(), 600);
        assert!(s.take_log().is_empty());

        s.sleep(601);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 1);
    }

    #[test]
    fn is_repeated_once_and_quickly() {
        for answer in [
            Canned::new(502, "<html>bad gateway</html>"),
            Canned::new(200, "<html>please wait</html>").header("content-type", "text/html"),
            Canned::new(429, "").header("retry-after", "2"),
            Canned::json(400, r#"{"error":"temporarily_unavailable"}"#),
        ] {
            let mut s = expired();
            token_endpoint_answers(&mut s, answer, 1);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.world.count(What::Refreshes), 2);
        }
    }

    #[test]
    fn of_the_network_is_one_too() {
        for error in [NetworkError::Unreachable, NetworkError::TimedOut, NetworkError::Tls] {
            let mut s = expired();
            s.world.faults.push(Fault::fails("POST", "/token", error).times(2));
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.browser_opened(), 1);
        }
    }

    #[test]
    fn that_swallowed_the_answer_is_mended_where_the_server_is_kind() {
        let mut s = expired();
        s.world.authorization[0].reuse_grace = Some(30);
        s.world.faults.push(Fault::answer_lost("POST", "/token"));
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 1);
    }

    #[test]
    fn ahead_of_expiry_is_no_failure_at_all() {
        let mut s = logged_in();
        s.sleep(3580);
        token_endpoint_answers(&mut s, Canned::new(503, ""), 2);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        // Nor is the endpoint asked again for the next request.
        s.take_log();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.take_log(), ["POST mcp.example.com/mcp 200"]);
    }

    #[test]
    fn of_a_login_is_told_and_the_next_login_works() {
        let mut s = Scenario::new();
        token_endpoint_answers(&mut s, Canned::new(503, ""), 2);
        assert_fails!(s.call_tool("whoami"), ErrorKind::Passing { .. });
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.world.registrations(), 1);
    }
}

mod person {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn shown(s: &mut Scenario) -> Option<String> {
        s.machine().status().unwrap().person.map(|person| person.to_string())
    }

    fn ada() -> Scenario {
        let mut s = Scenario::new();
        let claims =
            json!({ "sub": "1", "email": "ada@example.com", "name": "Ada", "admin": true });
        s.world.authorization[0].id_token = Some(claims);
        s.eavesdrop();
        s
    }

    #[test]
    fn of_the_id_token_is_shown_after_refreshes_and_restarts_too() {
        let mut s = ada();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(shown(&mut s).unwrap(), "Ada <ada@example.com>");
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(shown(&mut s).unwrap(), "Ada <ada@example.com>");
        s.restart();
        s.demanded(Demand::load()).unwrap();
        assert_eq!(shown(&mut s).unwrap(), "Ada <ada@example.com>");
        // The ID token itself is not needed any more.
        assert!(!s.store.text().contains("eyJ") && !s.store.text().contains("admin"));
        s.check_secrets();
    }

    #[test]
    fn of_an_access_token_is_shown_where_it_is_a_jwt() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"svc-7"}"#);
        let token = format!("e30.{claims}.c2ln");
        let mut s = Scenario::new();
        let reply = json!({ "access_token": token, "token_type": "Bearer", "id_token": "broken" });
        s.world.faults.push(Fault::answer("POST", "/token", Canned::json(200, reply.to_string())));
        s.log_in().unwrap();
        assert_eq!(shown(&mut s).unwrap(), "svc-7");
    }

    #[test]
    fn that_a_token_claims_decides_nothing() {
        // The claims say that it has expired, is for somebody else, and is not signed by anybody.
        let mut s = Scenario::new();
        s.world.authorization[0].id_token = Some(
            json!({ "sub": "1", "exp": 1, "aud": "other", "iss": "https://evil.example.com" }),
        );
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(shown(&mut s).unwrap(), "1");
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(shown(&mut s), None);
    }

    #[test]
    fn in_a_record_that_somebody_has_written_cannot_repaint_a_terminal() {
        let mut s = ada();
        s.log_in().unwrap();
        s.crash();
        let hostile = s.store.text().replace("\"Ada\"", "\"Ada\\u001b[2J\"");
        s.store.overwrite(&hostile);
        s.demanded(Demand::load()).unwrap();
        assert_eq!(shown(&mut s).unwrap(), "Ada\u{FFFD}[2J <ada@example.com>");
    }
}
