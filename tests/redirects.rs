//! Where the browser comes back to without a listener of ours: a scheme of a native app's own
//! (RFC 8252 §7.1), an https address that a web app serves; and a listener beside which the person may
//! paste the address, whichever comes first.

use mcp_auth::output::Page;
use mcp_auth::{AuthMachine, Config, Demand, Entropy, ErrorKind, Event, Need, Notice};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{Person, Visit, What, assert_fails};
use serde_json::Value;

/// A program whose host serves this redirect URI itself.
fn coming_back_to(redirect_uri: &str) -> Scenario {
    let mut s = Scenario::new();
    s.config.redirect_uri = Some(redirect_uri.to_owned());
    s
}

/// A login whose person has not come back yet; what their browser will bring.
fn away(s: &mut Scenario) -> String {
    s.person = Person::Ignores;
    s.demand(Demand::interactive(Need::default()));
    s.run();
    let url = s.browsed.last().expect("a browser").to_string();
    match s.world.visit(1_700_000_000, &url, &Person::Approves) {
        Visit::Redirect(back) => back,
        other => panic!("{other:?}"),
    }
}

fn registered(s: &Scenario) -> Value {
    let mut all = s.world.log.iter().filter(|exchange| exchange.path == "/register");
    serde_json::from_slice(all.next().unwrap().request.body()).unwrap()
}

const SCHEMES: [&str; 5] = [
    "com.example.notes:/oauth2redirect",
    "com.example.notes:oauth2redirect",
    "com.example.notes://oauth2redirect",
    "com.example.notes://callback/oauth",
    "com.example.notes:/oauth2redirect?window=7",
];

mod a_scheme_of_ones_own {
    use super::*;

    #[test]
    fn needs_no_listener_and_registers_a_native_client() {
        for uri in SCHEMES {
            let mut s = coming_back_to(uri);
            assert_eq!(s.call_tool("whoami").status(), 200, "{uri}");
            assert_eq!(s.listening(), None);
            assert_eq!(s.authorize_param("redirect_uri").as_deref(), Some(uri));
            assert_eq!(s.form_field("redirect_uri").as_deref(), Some(uri));
            let client = registered(&s);
            assert_eq!(
                (&client["redirect_uris"][0], &client["application_type"]),
                (&uri.into(), &"native".into())
            );
            s.check_secrets();
        }
    }

    #[test]
    fn is_recognised_however_the_system_hands_it_over() {
        for uri in SCHEMES {
            let ways: [fn(&str) -> String; 4] = [
                |url| url.to_owned(),
                |url| url.replacen("com.example.notes", "COM.Example.Notes", 1),
                |url| url[url.rfind("code=").unwrap()..].to_owned(),
                |url| format!("?{}#", &url[url.rfind("code=").unwrap()..]),
            ];
            for way in ways {
                let mut s = coming_back_to(uri);
                let back = away(&mut s);
                assert_eq!(s.redirect(&way(&back)), Page::Success, "{uri}: {}", way(&back));
                s.run();
                s.grant();
            }
        }
        // Some systems put a slash behind a host.
        let mut s = coming_back_to("com.example.notes://oauth2redirect");
        let back = away(&mut s).replacen("oauth2redirect", "oauth2redirect/", 1);
        assert_eq!(s.redirect(&back), Page::Success);
    }

    #[test]
    fn of_another_app_or_for_something_else_is_ignored_and_the_login_goes_on() {
        let mut s = coming_back_to("com.example.notes:/oauth2redirect");
        let back = away(&mut s);
        for other in [
            back.replacen("com.example.notes", "com.example.evil", 1),
            back.replacen("oauth2redirect", "open-note", 1),
            back.replacen("com.example.notes:", "https://com.example.notes", 1),
            back.replacen("code=", "code=stolen&code=", 1),
            "com.example.notes:/oauth2redirect?code=stolen&state=guessed".to_owned(),
            "com.example.notes:/oauth2redirect".to_owned(),
            "code=stolen&state=guessed".to_owned(),
        ] {
            assert_ne!(s.redirect(&other), Page::Success, "{other}");
        }
        assert_eq!(s.told(|n| matches!(n, Notice::RedirectIgnored { .. })), 7);
        assert_eq!(s.redirect(&back), Page::Success);
        s.run();
        s.grant();
        assert_eq!(s.world.count(What::CodeExchanges), 1);
    }
}

mod an_address_of_a_web_app {
    use super::*;

    const URI: &str = "https://app.example.com/oauth/back";

    #[test]
    fn needs_no_listener_and_registers_a_web_client() {
        let mut s = coming_back_to(URI);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(
            (s.listening(), registered(&s)["application_type"].as_str()),
            (None, Some("web"))
        );
        // It stays the same, so the client does.
        s.log_in().unwrap();
        assert_eq!(s.world.registrations(), 1);
        s.check_secrets();
    }

    #[test]
    fn is_handed_in_as_what_the_framework_has_of_it() {
        let ways: [fn(&str) -> String; 4] = [
            |url| url.to_owned(),
            |url| url["https://app.example.com".len()..].to_owned(),
            |url| url[url.find('?').unwrap()..].to_owned(),
            |url| url[url.find('?').unwrap() + 1..].to_owned(),
        ];
        for way in ways {
            let mut s = coming_back_to(URI);
            let back = away(&mut s);
            assert_eq!(s.redirect(&way(&back)), Page::Success, "{}", way(&back));
            s.run();
            s.grant();
        }
    }

    #[test]
    fn that_somebody_else_opens_is_no_answer() {
        let mut s = coming_back_to(URI);
        let back = away(&mut s);
        let state = s.authorize_param("state").unwrap();
        for forged in [
            back.replace(&state, "another-visitors"),
            back.replace("https://app.example.com", "https://app.example.com.evil.example"),
            back.replace("https:", "http:"),
        ] {
            assert_eq!(s.redirect(&forged), Page::NotForUs, "{forged}");
        }
        assert_eq!(s.redirect(&back), Page::Success);
    }

    #[test]
    fn nobody_comes_to_in_time_ends_the_login_and_leaves_nothing_open() {
        let mut s = coming_back_to(URI);
        let back = away(&mut s);
        let attempt = s.machine().last_attempt().unwrap();
        let failed = s.settle(attempt).unwrap_err();
        assert!(matches!(failed.kind(), ErrorKind::NobodyCame { .. }), "{failed}");
        assert_eq!(s.redirect(&back), Page::Expired);
    }
}

#[test]
fn an_address_that_no_browser_could_bring_back_is_refused() {
    for uri in [
        "http://app.example.com/back",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///callback",
        "about:blank",
        "https://app.example.com/back#here",
        "/back",
        "",
    ] {
        let config = Config { redirect_uri: Some(uri.to_owned()), ..Config::default() };
        let machine =
            AuthMachine::new("https://a.example", config.into(), Entropy::from_bytes([1; 32]));
        let refused = machine.unwrap_err();
        assert!(refused.to_string().contains("redirect_uri"), "{uri}: {refused}");
    }
    for uri in SCHEMES.into_iter().chain(["https://app.example.com/back", "http://[::1]:7/back"]) {
        let config = Config { redirect_uri: Some(uri.to_owned()), ..Config::default() };
        assert!(config.check().is_ok(), "{uri}");
    }
}

mod pasted_beside_the_listener {
    use super::*;

    #[test]
    fn it_is_the_answer_if_it_comes_first_and_the_browser_sees_that_it_is_done() {
        let mut s = Scenario::new();
        let attempt = s.demand(Demand::interactive(Need::default()));
        s.run_until("redirect");
        let held = s.hold("redirect");
        let url = s.browsed.last().unwrap().to_string();
        let Visit::Redirect(pasted) = s.world.visit(1_700_000_000, &url, &Person::Approves) else {
            panic!("no way back")
        };
        assert_eq!(s.redirect(&format!(" <{pasted}>\n")), Page::Success);
        s.settle(attempt).unwrap();
        s.bring(held);
        s.run();
        assert_eq!(s.pages, [Page::Success, Page::Success]);
        assert_eq!(s.world.count(What::CodeExchanges), 1);
        assert_eq!(s.listening(), None);
        s.grant();
        s.check_secrets();
    }

    #[test]
    fn it_changes_nothing_if_the_browser_was_first() {
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        let grant = s.grant();
        let url = s.browsed.last().unwrap().to_string();
        let Visit::Redirect(pasted) = s.world.visit(1_700_000_000, &url, &Person::Approves) else {
            panic!("no way back")
        };
        s.redirect(&pasted);
        s.run();
        assert_eq!(s.grant().generation(), grant.generation());
        assert_eq!(s.world.count(What::CodeExchanges), 1);
    }

    #[test]
    fn what_is_no_answer_leaves_the_browser_its_chance() {
        let mut s = Scenario::new();
        let attempt = s.demand(Demand::interactive(Need::default()));
        s.run_until("redirect");
        for typo in ["", "yes", "https://mcp.example.com/mcp", "code=guessed"] {
            assert_ne!(s.redirect(typo), Page::Success);
        }
        s.settle(attempt).unwrap();
        s.grant();
    }

    #[test]
    fn it_comes_too_late_once_the_login_was_cancelled() {
        let mut s = Scenario::new();
        let back = away(&mut s);
        let attempt = s.machine().last_attempt().unwrap();
        s.handle(Event::Cancel(attempt));
        assert_eq!(s.redirect(&back), Page::Expired);
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    }
}
