//! The person's turn: what goes to the browser, what comes back, and what is believed of it.

use mcp_auth::output::{CallbackHost, Page};
use mcp_auth::wire::scope::ScopeSet;
use mcp_auth::{Demand, ErrorKind, Leniency, Need, Notice, SendResource, TokenState};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{
    Challenge, IssParameter, Person, ResourceIndicators, Visit, What, World, assert_fails,
};
use serde_json::json;

/// A login up to the point where the person's answer is about to arrive.
fn in_the_browser(s: &mut Scenario) -> String {
    s.demand(Demand::interactive(Need::default()));
    s.run_until("redirect");
    s.authorize_param("redirect_uri").unwrap()
}

/// What the authorization server would send to the browser of a person who approves.
fn answer_of_the_server(s: &mut Scenario) -> String {
    let url = s.browsed.last().expect("a browser").to_string();
    match s.world.visit(1_700_000_000, &url, &Person::Approves) {
        Visit::Redirect(url) => url,
        other => panic!("{other:?}"),
    }
}

fn ignored(s: &Scenario) -> usize {
    s.told(|notice| matches!(notice, Notice::RedirectIgnored { .. }))
}

mod redirects {
    use super::*;

    #[test]
    fn that_are_none_of_ours_are_ignored_and_the_login_goes_on() {
        let mut s = Scenario::new();
        let callback = in_the_browser(&mut s);
        let state = s.authorize_param("state").unwrap();
        let twice = Page::Unusable("a parameter came twice");
        let neither = Page::Unusable("it has neither code nor error");
        let iss = "iss=https%3A%2F%2Fauth.example.com";
        let forged = [
            (format!("{callback}?code=evil&state=forged"), Page::NotForUs),
            (format!("{callback}?code=evil"), Page::NotForUs),
            (format!("{callback}?code=evil&state="), Page::NotForUs),
            (format!("{callback}?code=evil&state={state}x"), Page::NotForUs),
            (format!("{callback}?code=evil&state={state}&state={state}"), twice.clone()),
            (format!("{callback}?code=evil&code=worse&state={state}"), twice),
            (format!("{callback}?error=access_denied&state=forged"), Page::NotForUs),
            (format!("{callback}?error=access_denied&state={state}&iss=forged"), Page::NotForUs),
            (format!("{callback}?state={state}&{iss}"), neither),
            (format!("{callback}/deeper?code=evil&state={state}"), Page::NotForUs),
            (callback.clone(), Page::Bare),
            ("/favicon.ico".to_owned(), Page::NotForUs),
            ("not a url".to_owned(), Page::NotForUs),
            (String::new(), Page::NotForUs),
            ("x".repeat(100_000), Page::NotForUs),
        ];
        for (url, page) in &forged {
            assert_eq!(s.redirect(url), *page, "{url}");
        }
        assert_eq!(ignored(&s), forged.len());
        assert_eq!(s.world.count(What::TokenRequests), 0);
        s.run();
        s.grant();
        assert!(s.pages.contains(&Page::Success));
        s.check_secrets();
    }

    #[test]
    fn that_come_again_get_the_page_of_the_first() {
        let mut s = Scenario::new();
        in_the_browser(&mut s);
        s.person = Person::Approves;
        let url = answer_of_the_server(&mut s);
        s.lose("redirect");
        assert_eq!(s.redirect(&url), Page::Success);
        assert_eq!(s.redirect(&url), Page::Success);
        s.run();
        assert_eq!(s.redirect(&url), Page::Success);
        assert_eq!(s.world.count(What::CodeExchanges), 1);
        s.grant();
    }

    #[test]
    fn that_come_again_after_a_denial_get_the_denial_again() {
        let mut s = Scenario::new();
        s.person = Person::Denies;
        assert_fails!(s.call_tool("whoami"), ErrorKind::Denied(_));
        let callback = s.authorize_param("redirect_uri").unwrap();
        let state = s.authorize_param("state").unwrap();
        let denial = format!("{callback}?error=access_denied&state={state}");
        for _ in 0..2 {
            let page = s.redirect(&format!("{denial}&iss=https%3A%2F%2Fauth.example.com"));
            assert!(matches!(page, Page::Failure(_)), "{page:?}");
            assert_eq!(s.pages.first(), Some(&page));
        }
    }

    #[test]
    fn before_and_after_a_login_are_not_for_us() {
        let mut s = Scenario::new();
        assert_eq!(s.redirect("http://127.0.0.1:49152/callback?code=c&state=s"), Page::NotForUs);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.redirect("http://127.0.0.1:49152/callback?code=c&state=s"), Page::NotForUs);
        s.grant();
    }

    #[test]
    fn may_be_pasted_however_the_person_copied_them() {
        type Paste = fn(&str) -> String;
        let ways: [Paste; 5] = [
            |url| format!("  \"{url}\"\n"),
            |url| format!("<{url}>"),
            |url| format!("{url}#_=_"),
            |url| url.split_at(url.find("/callback").unwrap()).1.to_owned(),
            |url| url.split_at(url.find('?').unwrap()).1.to_owned(),
        ];
        for paste in ways {
            let mut s = Scenario::new();
            s.person = Person::Ignores;
            s.demand(Demand::interactive(Need::default()));
            s.run();
            let url = answer_of_the_server(&mut s);
            assert_eq!(s.redirect(&paste(&url)), Page::Success, "{}", paste(&url));
            s.run();
            s.grant();
        }
    }

    #[test]
    fn of_an_earlier_login_do_not_end_a_later_one() {
        let mut s = Scenario::new();
        in_the_browser(&mut s);
        let old = answer_of_the_server(&mut s);
        s.lose("redirect");
        s.restart();
        in_the_browser(&mut s);
        assert_eq!(s.redirect(&old), Page::NotForUs);
        s.run();
        s.grant();
    }
}

mod issuer {
    use super::*;

    fn with_iss(iss: IssParameter) -> Scenario {
        let mut s = Scenario::new();
        s.world.authorization[0].iss = iss;
        s
    }

    #[test]
    fn is_taken_where_it_is_right_or_neither_announced_nor_sent() {
        for iss in [IssParameter::Sent, IssParameter::Silent, IssParameter::SentUnannounced] {
            assert_eq!(with_iss(iss).call_tool("whoami").status(), 200);
        }
    }

    #[test]
    fn ends_the_login_where_it_is_missing_or_another() {
        let other = || "https://evil.example.com".to_owned();
        for iss in [
            IssParameter::Missing,
            IssParameter::Wrong(other()),
            IssParameter::Unexpected(other()),
            IssParameter::TrailingSlash,
        ] {
            let mut s = with_iss(iss);
            assert_fails!(s.call_tool("whoami"), ErrorKind::MixUp { .. });
            // The code never leaves us.
            assert_eq!(s.world.count(What::TokenRequests), 0);
            assert!(matches!(s.pages.as_slice(), [Page::Failure(_)]));
        }
    }

    /// The settings name the endpoints of a server whose issuer has a path.
    fn with_endpoints(iss: IssParameter) -> Scenario {
        let tenant = "https://auth.example.com/tenant";
        let mut s = Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &[tenant]));
        s.world.authorization[0].iss = iss;
        s.world.authorization[0].preregister("by-hand", None);
        s.config.client_id = Some("by-hand".to_owned());
        s.config.authorize_url = Some(format!("{tenant}/authorize"));
        s.config.token_url = Some(format!("{tenant}/token"));
        s
    }

    #[test]
    fn is_not_compared_where_the_settings_name_endpoints_and_no_issuer() {
        for iss in [IssParameter::Sent, IssParameter::SentUnannounced, IssParameter::Silent] {
            assert_eq!(with_endpoints(iss).call_tool("whoami").status(), 200);
        }
    }

    #[test]
    fn is_compared_where_the_settings_name_both() {
        let mut s = with_endpoints(IssParameter::Sent);
        s.config.issuer = Some("https://auth.example.com/tenant".to_owned());
        assert_eq!(s.call_tool("whoami").status(), 200);

        let mut s = with_endpoints(IssParameter::Wrong("https://evil.example.com".to_owned()));
        s.config.issuer = Some("https://auth.example.com/tenant".to_owned());
        assert_fails!(s.call_tool("whoami"), ErrorKind::MixUp { .. });
    }

    #[test]
    fn an_error_from_another_issuer_is_neither_acted_on_nor_shown() {
        let mut s = Scenario::new();
        let callback = in_the_browser(&mut s);
        let state = s.authorize_param("state").unwrap();
        let forged = format!(
            "{callback}?error=access_denied&error_description=call+0800&state={state}&iss=https://evil.example.com"
        );
        assert_eq!(s.redirect(&forged), Page::NotForUs);
        assert!(s.notices().iter().all(|line| !line.contains("0800")));
        s.run();
        s.grant();
    }
}

mod person {
    use super::*;

    #[test]
    fn who_says_no_can_say_yes_later() {
        let mut s = Scenario::new();
        s.person = Person::Denies;
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::Denied(error) if error.error == "access_denied");
        assert!(answer.error().advice().contains("again"));
        s.person = Person::Approves;
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.browser_opened(), s.world.registrations()), (2, 1));
    }

    #[test]
    fn who_never_comes_back_is_waited_for_only_so_long() {
        let mut s = Scenario::new();
        s.person = Person::Ignores;
        s.config.login_timeout_seconds = 120;
        let before = s.now().mono;
        assert_fails!(s.call_tool("whoami"), ErrorKind::NobodyCame { .. });
        assert_eq!(before.until(s.now().mono).as_secs(), 120);
        s.person = Person::Approves;
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn who_agrees_to_less_gets_a_token_for_less() {
        let mut s = Scenario::new();
        s.person = Person::ApprovesOnly(vec!["notes:read".to_owned()]);
        assert_eq!(s.call_tool("whoami").status(), 200);
        let status = s.machine().status().unwrap();
        assert_eq!(status.scopes.to_string(), "notes:read");
    }

    #[test]
    fn without_a_browser_is_told_so() {
        let mut s = Scenario::new();
        s.browser_is_missing = true;
        assert_fails!(s.call_tool("whoami"), ErrorKind::Browser(_));
        s.browser_is_missing = false;
        assert_eq!(s.call_tool("whoami").status(), 200);
    }

    #[test]
    fn whose_port_is_taken_is_told_so() {
        let mut s = Scenario::new();
        s.world.authorization[0].preregister("by-hand", None);
        s.config.client_id = Some("by-hand".to_owned());
        s.config.callback_port = Some(8666);
        s.taken_ports.insert(8666);
        assert_fails!(s.call_tool("whoami"), ErrorKind::Listener(_));
        s.taken_ports.clear();
        assert_eq!(s.call_tool("whoami").status(), 200);
        let callback = s.authorize_param("redirect_uri").unwrap();
        assert_eq!(callback, "http://127.0.0.1:8666/callback");
    }
}

mod port {
    use super::*;
    use mcp_auth_world::Cimd;

    fn used(s: &Scenario) -> String {
        let callback = s.authorize_param("redirect_uri").unwrap();
        callback.trim_start_matches("http://127.0.0.1:").trim_end_matches("/callback").to_owned()
    }

    fn with_port(port: u16) -> Scenario {
        let mut s = Scenario::new();
        s.config.callback_port = Some(port);
        s
    }

    #[test]
    fn that_is_taken_is_another_for_a_client_that_is_registered_as_we_go() {
        let mut s = with_port(8666);
        s.taken_ports.insert(8666);
        s.log_in().unwrap();
        assert_eq!(used(&s), "49152");
        let told = s.notices().into_iter().find(|line| line.contains("8666")).unwrap();
        assert!(told.contains("http://127.0.0.1:49152/callback"), "{told}");
        // The registration keeps it, also when the first choice is free again.
        s.taken_ports.clear();
        s.restart();
        s.log_in().unwrap();
        assert_eq!((used(&s).as_str(), s.world.registrations()), ("49152", 1));
        // And gives it up when that is taken, or when the settings have changed.
        s.taken_ports.insert(49152);
        s.log_in().unwrap();
        assert_eq!((used(&s).as_str(), s.world.registrations()), ("49153", 2));
        s.config.callback_port = Some(9000);
        s.restart();
        s.log_in().unwrap();
        assert_eq!((used(&s).as_str(), s.world.registrations()), ("9000", 3));
    }

    #[test]
    fn that_is_taken_is_an_error_for_a_client_whose_redirect_uri_is_written_down() {
        let mut by_hand = with_port(8666);
        by_hand.world.authorization[0].preregister("by-hand", None);
        by_hand.config.client_id = Some("by-hand".to_owned());
        let mut document = with_port(8666);
        document.world.authorization[0].cimd = Cimd::Accepted;
        document.config.client_metadata_url =
            Some("https://client.example.com/mcp.json".to_owned());
        for mut s in [by_hand, document] {
            s.taken_ports.insert(8666);
            let answer = s.call_tool("whoami");
            assert_fails!(answer, ErrorKind::Listener(_));
            assert!(answer.error().to_string().contains("8666"), "{}", answer.error());
            assert_eq!((s.browser_opened(), s.world.registrations()), (0, 0));
            s.taken_ports.clear();
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!(used(&s), "8666");
        }
    }

    #[test]
    fn zero_is_any_free_one_and_below_1024_there_is_none() {
        let mut s = with_port(0);
        s.log_in().unwrap();
        assert_eq!(used(&s), "49152");
        for port in [1, 80, 1023] {
            assert_fails!(with_port(port).try_start().unwrap_err(), ErrorKind::InvalidSetting(_));
        }
        assert!(with_port(1024).try_start().is_ok() && with_port(65535).try_start().is_ok());
    }
}

mod headers {
    use super::*;
    use http::header::AUTHORIZATION;

    const KEY: &str = "a-key-of-the-settings";

    fn with_key() -> Scenario {
        let mut s = Scenario::new();
        s.config.headers.insert("X-API-Key".to_owned(), KEY.into());
        s.eavesdrop();
        s
    }

    #[test]
    fn of_the_settings_go_to_the_server_itself_and_to_nobody_else() {
        let mut s = with_key();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(4000);
        assert_eq!(s.call_tool("whoami").status(), 200);
        let _ = s.log_out();
        for exchange in &s.world.log {
            let sent = exchange.request.headers().get("x-api-key");
            let to_the_server = exchange.path == "/mcp";
            assert_eq!(
                sent.map(|value| value == KEY),
                to_the_server.then_some(true),
                "{exchange:?}"
            );
        }
        let calls = s.world.log.iter().filter(|exchange| exchange.path == "/mcp").count();
        assert_eq!(calls, 4, "two probes, two calls");
        assert!(!s.was_sent("https://auth.example.com", KEY));
        s.check_secrets();
    }

    #[test]
    fn give_way_to_those_of_the_request_and_stay_at_home() {
        let mut s = with_key();
        s.log_in().unwrap();
        let grant = s.grant();
        let mut own = http::Request::post("https://mcp.example.com/mcp").body(()).unwrap();
        own.headers_mut().insert("x-api-key", "my-own".parse().unwrap());
        grant.authorize(&mut own).unwrap();
        assert_eq!(own.headers()["x-api-key"], "my-own");
        for uri in ["https://mcp.example.com.evil.example/mcp", "http://mcp.example.com/mcp"] {
            let mut foreign = http::Request::post(uri).body(()).unwrap();
            assert!(grant.authorize(&mut foreign).is_err());
            assert!(s.machine().prepare(&mut foreign).is_err());
            assert!(foreign.headers().is_empty());
        }
        let mut bare = http::Request::post("https://mcp.example.com/other").body(()).unwrap();
        s.machine().prepare(&mut bare).unwrap();
        assert!(bare.headers()["x-api-key"].is_sensitive());
        assert!(!bare.headers().contains_key(AUTHORIZATION));
    }

    #[test]
    fn that_are_not_the_settings_or_would_break_out_are_refused() {
        for (name, value) in [
            ("Authorization", "Basic aHVzaA=="),
            ("Host", "evil.example.com"),
            ("Transfer-Encoding", "chunked"),
            ("X-Key", "one\r\nAuthorization: Bearer evil"),
            ("X-Key: a\r\nX-Other", "b"),
        ] {
            let mut s = Scenario::new();
            s.config.headers.insert(name.to_owned(), value.into());
            let error = s.try_start().unwrap_err();
            assert_fails!(error, ErrorKind::InvalidSetting(_));
            assert!(!error.to_string().contains("evil"), "{error}");
        }
    }
}

mod request {
    use super::*;

    #[test]
    fn keeps_the_endpoints_own_query() {
        let mut s = Scenario::new();
        let endpoint = "https://auth.example.com/authorize?tenant=a%20b&state=theirs";
        let changes = &mut s.world.authorization[0].metadata_changes;
        changes.insert("authorization_endpoint".to_owned(), json!(endpoint));
        assert_eq!(s.call_tool("whoami").status(), 200);
        let query = s.browsed[0].query().unwrap().to_owned();
        assert!(query.starts_with("tenant=a%20b&"), "{query}");
        assert_eq!(query.matches("state=").count(), 1);
    }

    #[test]
    fn has_parameters_of_the_settings_but_none_that_would_break_it() {
        let mut s = Scenario::new();
        let protected = ["state", "client_id", "redirect_uri", "response_type", "code_challenge"];
        for name in protected.into_iter().chain(["audience", "code_challenge_method"]) {
            s.config.oauth_params.insert(name.to_owned(), "mine".to_owned());
        }
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.authorize_param("audience").unwrap(), "mine");
        assert_eq!(s.authorize_param("code_challenge_method").unwrap(), "S256");
        for name in protected {
            assert_ne!(s.authorize_param(name).unwrap(), "mine", "{name}");
        }
    }

    #[test]
    fn has_no_second_resource_from_the_settings() {
        let mut s = Scenario::new();
        s.config.oauth_params.insert("resource".to_owned(), "https://other.example.com".to_owned());
        let error = s.try_start().unwrap_err();
        assert_fails!(error, ErrorKind::InvalidSetting(_));
        // The error leads to the setting that is meant for it.
        assert!(error.to_string().contains("`resource`"), "{error}");
    }

    #[test]
    fn calls_the_scopes_what_the_server_calls_them() {
        let mut s = Scenario::new();
        s.config.scope_param_name = "user_scope".to_owned();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.authorize_param("user_scope").unwrap(), "notes:read offline_access");
        assert_eq!(s.authorize_param("scope"), None);
    }

    #[test]
    fn has_the_configured_resource_or_none() {
        let mut s = Scenario::new();
        s.config.resource = Some("urn:notes".to_owned());
        s.world.resource.identifier = None;
        s.world.authorization[0].resources = ResourceIndicators::Only("urn:notes".to_owned());
        s.log_in().unwrap();
        assert_eq!(s.authorize_param("resource").unwrap(), "urn:notes");
        assert_eq!(s.form_field("resource").unwrap(), "urn:notes");

        let mut s = Scenario::new();
        s.config.send_resource = SendResource::Never;
        s.world.authorization[0].resources = ResourceIndicators::Refused;
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.authorize_param("resource"), s.form_field("resource")), (None, None));
        assert_eq!(omitted(&s), 1);
    }

    fn omitted(s: &Scenario) -> usize {
        s.told(|notice| matches!(notice, Notice::Lenient(Leniency::ResourceOmitted)))
    }

    #[test]
    fn leaves_out_a_refused_resource_where_the_settings_say_so() {
        for (refused, browsers) in
            [(ResourceIndicators::Refused, 2), (ResourceIndicators::RefusedAtToken, 1)]
        {
            let mut s = Scenario::new();
            s.world.authorization[0].resources = refused.clone();
            let answer = s.call_tool("whoami");
            assert!(answer.error().advice().contains("send_resource"), "{}", answer.error());

            let mut s = Scenario::new();
            s.world.authorization[0].resources = refused.clone();
            s.config.send_resource = SendResource::Auto;
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!((s.browser_opened(), omitted(&s)), (browsers, 1));
            assert_eq!(s.form_field("resource"), None);
            // What was learned is kept: neither a refresh nor a login tries again.
            s.restart();
            s.sleep(4000);
            s.take_log();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            let log = ["POST auth.example.com/token 200", "POST mcp.example.com/mcp 200"];
            assert_eq!(s.take_log(), log);
            s.log_in().unwrap();
            assert_eq!((s.browser_opened(), s.authorize_param("resource")), (browsers + 1, None));
        }
    }

    #[test]
    fn leaves_out_a_resource_that_a_refresh_is_refused_for() {
        let mut s = Scenario::new();
        s.config.send_resource = SendResource::Auto;
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(s.authorize_param("resource").is_some());
        assert_eq!(omitted(&s), 0);
        s.world.authorization[0].resources = ResourceIndicators::Refused;
        for refused in [1, 0] {
            s.sleep(4000);
            s.take_log();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            let log = s.take_log();
            let refusals = log.iter().filter(|line| line.ends_with("/token 400")).count();
            assert_eq!((refusals, omitted(&s)), (refused, 1), "{log:?}");
        }
    }

    #[test]
    fn leaves_out_a_refused_resource_once() {
        let mut s = Scenario::new();
        s.config.send_resource = SendResource::Auto;
        // It takes only this one, and so neither ours nor none.
        s.world.authorization[0].resources = ResourceIndicators::Only("urn:notes".to_owned());
        assert_fails!(s.call_tool("whoami"), ErrorKind::Denied(_));
        assert_eq!(s.browser_opened(), 2);
    }

    #[test]
    fn asks_for_consent_where_it_asks_for_offline_access() {
        let mut s = Scenario::new();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.authorize_param("prompt").unwrap(), "consent");

        let mut s = Scenario::new();
        let unlisted = ["notes:read".to_owned(), "notes:write".to_owned()];
        s.world.authorization[0].scopes_supported = unlisted.to_vec();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.authorize_param("prompt"), None);
        assert_eq!(s.authorize_param("scope").unwrap(), "notes:read");
    }

    #[test]
    fn has_a_new_state_and_a_new_challenge_each_time() {
        let mut s = Scenario::new();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 {
            s.log_in().unwrap();
            assert!(seen.insert(s.authorize_param("state").unwrap()));
            assert!(seen.insert(s.authorize_param("code_challenge").unwrap()));
        }
    }

    #[test]
    fn names_the_callback_host_of_the_settings() {
        for (host, start) in [
            (CallbackHost::V4, "http://127.0.0.1:"),
            (CallbackHost::V6, "http://[::1]:"),
            (CallbackHost::Localhost, "http://localhost:"),
        ] {
            let mut s = Scenario::new();
            s.config.callback_host = host;
            assert_eq!(s.call_tool("whoami").status(), 200);
            let callback = s.authorize_param("redirect_uri").unwrap();
            assert!(callback.starts_with(start), "{callback}");
        }
    }

    #[test]
    fn comes_back_to_the_host_itself_where_it_serves_the_callback() {
        let mut s = Scenario::new();
        s.config.redirect_uri = Some("https://app.example.com/oauth/back".to_owned());
        s.demand(Demand::interactive(Need::default()));
        s.run();
        assert!(matches!(s.token(), TokenState::Ready(_)));
        assert_eq!(
            s.authorize_param("redirect_uri").unwrap(),
            "https://app.example.com/oauth/back"
        );
    }
}

mod scopes {
    use super::*;

    /// What is asked for where the challenge, the metadata and the settings say these.
    fn asked(challenge: bool, metadata: &[&str], configured: Option<&str>) -> Option<String> {
        let mut s = Scenario::new();
        s.world.resource.challenge_names_scopes = challenge;
        s.world.resource.scopes_supported = metadata.iter().map(|s| (*s).to_owned()).collect();
        s.world.authorization[0].scopes_supported.clear();
        s.config.scopes = configured.map(ScopeSet::parse);
        s.log_in().unwrap();
        s.authorize_param("scope")
    }

    #[test]
    fn the_challenge_comes_before_the_metadata_and_the_settings_before_both() {
        let both = ["notes:read", "notes:write"];
        assert_eq!(asked(true, &both, None).unwrap(), "notes:read");
        assert_eq!(asked(false, &both, None).unwrap(), "notes:read notes:write");
        assert_eq!(asked(true, &both, Some("mine")).unwrap(), "mine");
        // Nobody says anything: the server's own default.
        assert_eq!(asked(false, &[], None), None);
    }

    #[test]
    fn what_the_caller_knows_that_it_needs_is_added() {
        let mut s = Scenario::new();
        let need = Need { scopes: ScopeSet::parse("notes:write"), ..Need::default() };
        s.demanded(Demand::interactive(need)).unwrap();
        let asked = s.authorize_param("scope").unwrap();
        assert_eq!(asked, "notes:read notes:write offline_access");
    }

    #[test]
    fn the_settings_ask_for_offline_access_by_name() {
        let mut s = Scenario::new();
        s.config.scopes = Some(ScopeSet::parse("notes:read"));
        s.log_in().unwrap();
        assert_eq!(s.authorize_param("scope").unwrap(), "notes:read");
    }

    #[test]
    fn a_server_without_any_is_asked_for_none() {
        let mut s = Scenario::new();
        s.world.resource.challenge = Challenge::WithoutMetadata;
        s.world.resource.challenge_names_scopes = false;
        s.world.resource.scopes_supported.clear();
        s.world.authorization[0].scopes_supported.clear();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.authorize_param("scope"), None);
    }
}
