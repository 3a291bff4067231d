//! Registrations that the server has forgotten, or whose secret ends.

use mcp_auth::{ErrorKind, Event, Notice};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{ClientAuthentication, Person, What, assert_fails};

const DAY: u64 = 86_400;

fn logged_in() -> Scenario {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    s
}

fn last_client(s: &Scenario) -> String {
    s.world.token_requests().last().unwrap().client_id.clone()
}

mod a_browser_that_never_comes_back {
    use super::*;

    /// The server shows the person an error page: it has forgotten the client.
    fn nobody_comes(s: &mut Scenario) {
        s.person = Person::Ignores;
        let result = s.log_in();
        s.person = Person::Approves;
        let error = result.unwrap_err();
        let ErrorKind::NobodyCame { earlier_client, .. } = error.kind() else { panic!("{error}") };
        let client = earlier_client.clone().unwrap();
        assert!(error.advice().contains(&client), "{}", error.advice());
    }

    #[test]
    fn with_an_earlier_client_has_the_next_login_register_afresh() {
        for restarted in [false, true] {
            let mut s = logged_in();
            let client = last_client(&s);
            nobody_comes(&mut s);
            if restarted {
                s.restart();
            }
            s.log_in().unwrap();
            assert_eq!(s.world.registrations(), 2);
            assert_ne!(last_client(&s), client);
            // That was it.
            s.log_in().unwrap();
            assert_eq!(s.world.registrations(), 2);
        }
    }

    #[test]
    fn leaves_the_client_to_its_tokens() {
        let mut s = logged_in();
        let client = last_client(&s);
        nobody_comes(&mut s);
        // Another try, which gets as far as a new client.
        s.person = Person::Ignores;
        s.log_in().unwrap_err();
        assert_eq!(s.world.registrations(), 2);
        s.restart();
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(last_client(&s), client);
    }

    #[test]
    fn says_nothing_of_a_client_that_was_registered_for_it() {
        let mut s = Scenario::new();
        s.person = Person::Ignores;
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::NobodyCame { earlier_client: None, .. });
        s.person = Person::Approves;
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.world.registrations(), 1);
    }

    #[test]
    fn says_nothing_any_more_once_its_client_has_proved_itself() {
        let mut s = logged_in();
        nobody_comes(&mut s);
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.log_in().unwrap();
        assert_eq!(s.world.registrations(), 1);
    }

    #[test]
    fn does_not_outlive_a_logout() {
        let mut s = logged_in();
        nobody_comes(&mut s);
        s.handle(Event::Forget);
        s.run();
        assert_eq!(s.store.bytes, None);
    }
}

mod a_client_secret {
    use super::*;

    /// A login of a confidential client, whose secret lives so long.
    fn with_secret(lifetime: u64) -> Scenario {
        let mut s = Scenario::new();
        let server = &mut s.world.authorization[0];
        server.client_authentication = vec![ClientAuthentication::Basic];
        server.registration.secret_lifetime = Some(lifetime);
        assert_eq!(s.call_tool("whoami").status(), 200);
        s
    }

    #[test]
    fn that_has_expired_is_not_even_tried() {
        let mut s = with_secret(2 * DAY);
        s.sleep(3 * DAY);
        s.take_log();
        let answer = s.call_tool_in_background("whoami");
        assert_fails!(answer, ErrorKind::LoginRequired { reason, .. } if reason.contains("secret"));
        assert!(s.take_log().is_empty());
        assert_eq!(s.told(|notice| matches!(notice, Notice::GrantEnded { .. })), 0);
    }

    #[test]
    fn that_has_expired_is_replaced_by_the_next_login() {
        let mut s = with_secret(2 * DAY);
        s.sleep(3 * DAY);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.world.registrations(), 2);
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }

    #[test]
    fn that_lives_renews_the_tokens_to_its_end() {
        let mut s = with_secret(2 * DAY);
        s.sleep(2 * DAY - 10);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), 1);
    }

    #[test]
    fn that_ends_within_a_day_is_replaced_by_a_login_that_is_made_anyway() {
        for (sleep, registrations) in [(5 * DAY, 1), (6 * DAY + 3600, 2)] {
            let mut s = with_secret(7 * DAY);
            s.sleep(sleep);
            s.log_in().unwrap();
            assert_eq!(s.world.registrations(), registrations);
        }
    }

    #[test]
    fn that_lives_for_an_hour_serves_half_of_it() {
        let mut s = with_secret(3600);
        s.sleep(600);
        s.log_in().unwrap();
        assert_eq!(s.world.registrations(), 1);
        s.sleep(1300);
        s.log_in().unwrap();
        assert_eq!(s.world.registrations(), 2);
    }
}
