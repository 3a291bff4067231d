//! Secrets that the settings name instead of holding them: read when they are needed, from the first
//! place that has them, and kept nowhere.

use mcp_auth::{Demand, ErrorKind, Fault, Need, Notice, SecretRef};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{ClientAuthentication, What, assert_fails};

const SECRET: &str = "a secret from a file";

fn file() -> SecretRef {
    SecretRef::File("/run/secrets/client".to_owned())
}

fn variable(name: &str) -> SecretRef {
    SecretRef::Env(name.to_owned())
}

fn exposed(s: &Scenario) -> usize {
    s.told(|notice| matches!(notice, Notice::SecretExposed { .. }))
}

/// How often a secret was asked for.
fn reads(s: &Scenario) -> usize {
    s.secrets_read.len()
}

mod of_the_client {
    use super::*;

    /// A client with this secret, which is at none of these places yet.
    fn client(places: &[SecretRef]) -> Scenario {
        let mut s = Scenario::new();
        s.world.authorization[0].preregister("by-hand", Some(SECRET));
        s.config.client_id = Some("by-hand".to_owned());
        s.config.client_secret_from = places.to_vec();
        s.eavesdrop();
        s
    }

    fn with_file() -> Scenario {
        let mut s = client(&[file()]);
        s.secrets.insert(file(), format!("  {SECRET}\r\n"));
        s
    }

    #[test]
    fn it_is_read_for_each_token_request_and_saved_nowhere() {
        let mut s = with_file();
        assert_eq!(s.call_tool("whoami").status(), 200);
        // Once before the person is asked, once for the code.
        assert_eq!(reads(&s), 2);
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((reads(&s), s.world.count(What::Refreshes)), (3, 1));
        let stored = s.store.text();
        assert!(stored.contains("by-hand") && !stored.contains(SECRET));
        s.check_secrets();
    }

    #[test]
    fn one_that_was_rotated_is_used_at_once() {
        let mut s = with_file();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.world.authorization[0].preregister("by-hand", Some("the next one"));
        s.secrets.insert(file(), "the next one".to_owned());
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), 1);
    }

    #[test]
    fn a_value_comes_before_every_place_and_a_place_before_the_next() {
        let mut s = client(&[variable("UNSET"), variable("EMPTY"), file(), variable("LAST")]);
        s.secrets.insert(variable("EMPTY"), "  ".to_owned());
        s.secrets.insert(file(), SECRET.to_owned());
        s.secrets.insert(variable("LAST"), "another".to_owned());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.secrets_read[..3], [variable("UNSET"), variable("EMPTY"), file()]);

        let mut s = client(&[file()]);
        s.config.client_secret = Some(SECRET.into());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(reads(&s), 0);
    }

    #[test]
    fn where_it_cannot_be_had_nobody_is_asked_to_log_in() {
        let name = SecretRef::Name("NOTES".to_owned());
        for (place, content, why) in [
            (file(), None, "the file /run/secrets/client: no such file"),
            (file(), Some(" \n"), "the file /run/secrets/client: it is empty"),
            (name.clone(), None, "the secret NOTES: there is none"),
            (name, Some(""), "the secret NOTES: it is empty"),
            (variable("UNSET"), None, "the environment variable UNSET: it is not set"),
        ] {
            let mut s = client(std::slice::from_ref(&place));
            s.secrets.extend(content.map(|content| (place, content.to_owned())));
            let answer = s.call_tool("whoami");
            assert_fails!(answer, ErrorKind::SecretUnavailable { .. });
            let error = answer.error();
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!((error.fault(), s.browser_opened()), (Fault::Settings, 0));
            assert_eq!(s.world.count(What::TokenRequests), 0);
        }
    }

    #[test]
    fn where_it_is_lost_a_refresh_is_not_spent_and_the_login_is_kept() {
        let mut s = with_file();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.secrets.clear();
        s.sleep(4000);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::SecretUnavailable { .. });
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (0, 1));
        s.secrets.insert(file(), SECRET.to_owned());
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (1, 1));
    }

    #[test]
    fn a_host_that_does_not_answer_is_waited_for_only_so_long() {
        let mut s = with_file();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(4000);
        let attempt = s.demand(Demand::background(Need::default()));
        s.run_until("secret");
        let before = s.now().mono;
        s.lose("secret");
        s.settle(attempt).unwrap_err();
        assert_eq!(before.until(s.now().mono).as_secs(), 25);
        assert!(s.store.locked_by.is_none());
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }

    #[test]
    fn a_file_that_others_can_read_is_a_warning() {
        let mut s = with_file();
        s.exposed.insert(file());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(exposed(&s) > 0);
        let told = s.notices().into_iter().find(|line| line.contains("others can read")).unwrap();
        assert_eq!(told, "the file /run/secrets/client holds a secret that others can read");
    }

    #[test]
    fn it_is_not_read_for_a_client_that_proves_itself_otherwise() {
        let mut s = with_file();
        s.world.authorization[0].client_authentication = vec![ClientAuthentication::None];
        s.world.authorization[0].preregister("by-hand", None);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(reads(&s), 0);
    }

    #[test]
    fn it_is_read_for_a_logout_too_which_goes_on_without() {
        let mut s = with_file();
        assert_eq!(s.call_tool("whoami").status(), 200);
        let report = s.log_out();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!((reads(&s), s.world.count(What::Revocations)), (4, 2));

        let mut s = with_file();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.secrets.clear();
        let report = s.log_out();
        assert!(report.erased.is_ok() && s.store.bytes.is_none());
        let failed = report.refresh_token.to_string();
        assert!(failed.contains("no such file"), "{failed}");
    }

    #[test]
    fn it_belongs_to_a_client_and_to_its_server_alone() {
        let mut s = client(&[file()]);
        s.config.client_id = None;
        assert_fails!(s.try_start().unwrap_err(), ErrorKind::InvalidSetting(_));

        let mut s = with_file();
        s.config.client_issuer = Some("https://other.example.com".to_owned());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(reads(&s), 0);
        s.check_secrets();
    }
}

mod of_a_bearer_token {
    use super::*;
    use mcp_auth::{SessionState, TokenState};

    fn file() -> SecretRef {
        SecretRef::File("/run/secrets/token".to_owned())
    }

    /// A server that takes a token which some command has issued.
    fn server() -> (Scenario, String) {
        let mut s = Scenario::new();
        s.log_in().unwrap();
        let token = s.world.newest_access_token().unwrap().to_owned();
        s.crash();
        s.store = Default::default();
        s.take_log();
        s.eavesdrop();
        (s, token)
    }

    fn with_file() -> (Scenario, String) {
        let (mut s, token) = server();
        s.config.bearer_token_from = vec![file()];
        s.secrets.insert(file(), format!("{token}\n"));
        (s, token)
    }

    #[test]
    fn it_is_read_when_it_is_first_needed_and_then_lent() {
        let (mut s, token) = with_file();
        s.start();
        assert_eq!((reads(&s), s.machine().wants_authorization()), (0, None));
        assert!(matches!(s.token(), TokenState::Missing));
        for _ in 0..2 {
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        }
        assert_eq!(reads(&s), 1);
        assert_eq!(*s.grant().access_token().expose(), token);
        let now = s.now();
        assert_eq!(s.machine().state(now), SessionState::Authorized);
        assert_eq!(s.take_log(), ["POST mcp.example.com/mcp 200"; 2]);
        assert_eq!(s.store.bytes, None);
        s.check_secrets();
    }

    #[test]
    fn a_rotated_one_is_read_again_after_a_refusal() {
        let (mut s, token) = with_file();
        s.secrets.insert(file(), "old-token".to_owned());
        assert_eq!(s.try_tool("whoami"), 401);
        s.obtain(&Need::default(), Demand::background).unwrap();
        let old = s.grant();
        // It is rotated while it is in use: ten refusals are one more look at the file.
        s.secrets.insert(file(), token);
        for _ in 0..10 {
            let refused = s.send("whoami", Some(&old));
            assert!(s.report("whoami", &refused, Some(&old)));
        }
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(reads(&s), 2);
        let late = s.send("whoami", Some(&old));
        s.report("whoami", &late, Some(&old));
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(reads(&s), 2);
    }

    #[test]
    fn one_that_stays_as_it_is_and_is_refused_ends_the_call() {
        let (mut s, token) = with_file();
        s.secrets.insert(file(), "wrong-token".to_owned());
        assert_fails!(s.call_tool("whoami"), ErrorKind::StaticTokenRefused);
        assert_eq!((reads(&s), s.browser_opened()), (2, 1), "the browser was the other program's");
        s.secrets.insert(file(), token);
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn where_no_place_has_one_a_login_is_made() {
        let mut s = Scenario::new();
        s.config.bearer_token_from = vec![variable("UNSET"), variable("EMPTY")];
        s.secrets.insert(variable("EMPTY"), String::new());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((reads(&s), s.browser_opened()), (2, 1));
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(reads(&s), 2);
        s.restart();
        s.demanded(Demand::load()).unwrap();
        assert!(s.machine().status().is_some());
    }

    #[test]
    fn a_file_that_should_have_one_and_has_not_is_an_error_and_no_login() {
        for (content, why) in [
            (None, "no such file"),
            (Some("\n"), "it is empty"),
            (Some("two words"), "not visible ASCII"),
            (Some("a\r\nX-Injected: b"), "not visible ASCII"),
        ] {
            let mut s = Scenario::new();
            s.config.bearer_token_from = vec![file()];
            s.secrets.extend(content.map(|content| (file(), content.to_owned())));
            let answer = s.call_tool("whoami");
            assert_fails!(answer, ErrorKind::SecretUnavailable { .. });
            assert!(answer.error().to_string().contains(why), "{}", answer.error());
            assert_eq!((s.browser_opened(), s.take_log().len()), (0, 0));
        }
    }

    #[test]
    fn a_value_comes_before_every_place() {
        let (mut s, token) = with_file();
        s.config.bearer_token = Some(token.as_str().into());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(reads(&s), 0);
    }

    #[test]
    fn whoever_asks_while_it_is_read_waits_for_it() {
        let (mut s, _) = with_file();
        let first = s.demand(Demand::background(Need::default()));
        let second = s.demand(Demand::background(Need::default()));
        assert_eq!(first, second);
        assert!(matches!(s.token(), TokenState::Pending(_)));
        s.handle(mcp_auth::Event::Cancel(first));
        s.run();
        assert!(matches!(s.machine().failure(first).unwrap().kind(), ErrorKind::Cancelled));
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }
}
