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
        let forged = [
            format!("{callback}?code=evil&state=forged"),
            format!("{callback}?code=evil"),
            format!("{callback}?code=evil&state="),
            format!("{callback}?code=evil&state={state}x"),
            format!("{callback}?code=evil&state={state}&state={state}"),
            format!("{callback}?code=evil&code=worse&state={state}"),
            format!("{callback}?error=access_denied&state=forged"),
            format!("{callback}?state={state}&iss=https%3A%2F%2Fauth.example.com"),
            format!("{callback}/deeper?code=evil&state={state}"),
            callback.clone(),
            "/favicon.ico".to_owned(),
            "not a url".to_owned(),
            String::new(),
            "x".repeat(100_000),
        ];
        for url in &forged {
            assert_eq!(s.redirect(url), Page::NotForUs, "{url}");
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
        s.config.callback_port = Some(8666);
        s.taken_ports.insert(8666);
        assert_fails!(s.call_tool("whoami"), ErrorKind::Listener(_));
        s.taken_ports.clear();
        assert_eq!(s.call_tool("whoami").status(), 200);
        let callback = s.authorize_param("redirect_uri").unwrap();
        assert_eq!(callback, "http://127.0.0.1:8666/callback");
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
