//! The token endpoint: what it answers, how it refuses, and how a client shows who it is.

use mcp_auth::{Demand, ErrorKind, Leniency, Need, Notice, SendResource, TokenState};
use mcp_auth_world::scenario::Scenario;
use mcp_auth_world::{
    Canned, ClientAuthentication, Fault, IssParameter, Person, RefreshTokens, ResourceIndicators,
    What, World, assert_fails,
};
use serde_json::Value;
use url::Url;

use crate::entry::Entry;
use crate::runner::Check;

pub const CHECKS: &[Check] = &[
    Check::new("TK-003", a_life_of_zero_or_of_garbage),
    Check::new("TK-004", a_life_in_any_form),
    Check::new("TK-007", an_error_with_status_200),
    Check::new("TK-008", a_dead_refresh_token_by_another_name),
    Check::new("TK-009", a_token_inside_authed_user),
    Check::new("TK-011", an_empty_scope_outside_and_the_real_one_inside),
    Check::new("TK-012", a_token_without_a_refresh_token),
    Check::against(
        "TK-013",
        "Slack's types are sent as Bearer, but one that nobody knows is refused: RFC 6749 §7.1 \
         forbids to use a token whose type isn't understood",
        a_token_type_of_slacks_own,
    ),
    Check::new("TK-014", bearer_is_sent_with_a_capital),
    Check::new("TK-016", what_a_refresh_leaves_out_stays),
    Check::new("TK-017", an_empty_refresh_token_is_none),
    Check::new("TK-018", a_rotated_token_is_saved_before_it_is_lent),
    Check::new("TK-019", a_grant_that_is_not_found),
    Check::new("TK-020", a_dead_grant_ends_it),
    Check::new("TK-021", the_description_decides_nothing),
    Check::new("TK-022", a_code_is_sent_once),
    Check::new("TK-023", a_dead_grant_ends_it),
    Check::new("TK-024", a_dead_grant_with_401_spares_the_client),
    Check::new("TK-026", the_vendors_number_is_shown),
    Check::new("TK-027", a_refused_resource_is_left_out),
    Check::new("TK-030", a_refresh_whose_token_is_refused_names_the_scopes),
    Check::new("TK-034", an_audience_in_both_requests),
    Check::new("TK-035", the_resource_is_sent_as_it_is_written),
    Check::new("TK-037", basic_is_form_encoded_first),
    Check::new("TK-038", one_method_in_each_request),
    Check::new("TK-039", basic_names_the_client_in_the_body_too),
    Check::new("TK-040", basic_that_fails_gives_way_to_post),
    Check::against(
        "TK-042",
        "of a body that is no OAuth error only its message is shown, made printable: the rest may \
         quote a secret",
        an_error_in_an_array,
    ),
    Check::new("TK-044", an_outage_costs_nothing),
    Check::new("TK-048", nulls_and_duplicates),
    Check::new("TK-049", created_at_says_nothing),
];

/// The same answer with another text in its body.
fn changed(entry: &Entry, from: &str, to: &str) -> Canned {
    let body = entry.body();
    assert!(body.contains(from), "{body} has no {from}");
    Canned { body: body.replace(from, to).into_bytes(), ..entry.canned() }
}

/// The JSON of the entry's body.
fn body(entry: &Entry) -> Value {
    serde_json::from_str(&entry.body()).unwrap_or_else(|error| panic!("{error}"))
}

/// An OAuth error of which the entry tells only the members.
fn refusal(entry: &Entry) -> Canned {
    let (error, description) = (entry.text("/error"), entry.text("/error_description"));
    let body = serde_json::json!({ "error": error, "error_description": description });
    Canned::json(400, body.to_string())
}

fn token_endpoint_answers(s: &mut Scenario, answer: Canned, times: u32) {
    s.world.faults.push(Fault::answer("POST", "/token", answer).times(times));
}

/// What the MCP server lets in besides.
fn let_in(s: &mut Scenario, token: &Value) {
    s.world.resource.api_keys.insert(token.as_str().expect("a token").to_owned());
}

/// A login of which the token endpoint gives this, and the MCP server lets it in.
fn bought(answer: Canned, token: &Value) -> Scenario {
    let mut s = Scenario::new();
    let_in(&mut s, token);
    token_endpoint_answers(&mut s, answer, 1);
    assert_eq!(s.call_tool("whoami").status(), 200);
    s
}

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

/// How long the tokens at hand live, in seconds.
fn life(s: &mut Scenario) -> Option<u64> {
    let status = s.machine().status().expect("tokens");
    status.expires_at.map(|at| status.obtained_at.until(at).as_secs())
}

fn scopes(s: &mut Scenario) -> String {
    s.machine().status().expect("tokens").scopes.to_string()
}

/// The value of the last `Authorization` header that the MCP server got.
fn shown(s: &Scenario) -> String {
    s.world.authorization_headers("https://mcp.example.com").pop().expect("a header")
}

/// A field of each token request, in order.
fn sent(s: &Scenario, name: &str) -> Vec<Option<String>> {
    let requests = s.world.log.iter().filter(|exchange| exchange.path == "/token");
    let field = |form: &[u8]| {
        let mut pairs = url::form_urlencoded::parse(form).into_owned();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value)
    };
    requests.map(|exchange| field(exchange.request.body())).collect()
}

fn lenient(s: &Scenario, leniency: Leniency) -> usize {
    s.told(|notice| matches!(notice, Notice::Lenient(told) if *told == leniency))
}

fn a_life_of_zero_or_of_garbage(entry: &Entry) {
    let token = Value::from("tok");
    let mut s = bought(entry.canned(), &token);
    assert_eq!((shown(&s).as_str(), life(&mut s)), ("Bearer tok", Some(0)));
    assert_eq!(s.world.count(What::TokenRequests), 1);
    // Good for the request at hand, and no longer.
    s.sleep(10);
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });

    // With a refresh token: one refresh for one request.
    let endless = changed(entry, "&expires_in=0", "&expires_in=0&refresh_token=r");
    let mut s = bought(endless.clone(), &token);
    token_endpoint_answers(&mut s, endless, u32::MAX);
    for refreshes in 1..4 {
        s.sleep(10);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), refreshes);
    }

    let garbage = changed(entry, "expires_in=0", "expires_in=3600abc");
    let mut s = bought(garbage, &token);
    assert_eq!(life(&mut s), None);
    s.sleep(100_000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
}

fn a_life_in_any_form(entry: &Entry) {
    let token = &body(entry)["access_token"];
    let century = Some(36525 * 86_400);
    for (form, expected) in [
        ("3599.7", Some(3599)),
        ("3.6e3", Some(3600)),
        ("-5", Some(0)),
        ("null", None),
        ("true", None),
        ("1e300", century),
        ("99999999999999999999999999", century),
    ] {
        let mut s = bought(changed(entry, "3599.7", form), token);
        assert_eq!(life(&mut s), expected, "{form}");
    }
}

fn an_error_with_status_200(entry: &Entry) {
    let mut s = Scenario::new();
    token_endpoint_answers(&mut s, entry.canned(), 1);
    let answer = s.call_tool("whoami");
    let said = &body(entry)["error"];
    assert_fails!(answer, ErrorKind::TokenRefused { error, .. } if *said == *error.error);
    assert_eq!(s.world.count(What::TokenRequests), 1);
}

/// In the background a login is needed; nothing was lost but the grant.
fn ends_the_grant(s: &mut Scenario) -> String {
    let answer = s.call_tool_in_background("whoami");
    assert_fails!(answer, ErrorKind::LoginRequired { .. });
    assert_eq!(s.told(|notice| matches!(notice, Notice::GrantEnded { .. })), 1);
    // The dead token isn't tried again, and the client is the same.
    let requests = s.world.count(What::TokenRequests);
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert_eq!(s.world.count(What::TokenRequests), requests);
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!((s.browser_opened(), s.world.registrations()), (2, 1));
    answer.error().to_string()
}

fn a_dead_refresh_token_by_another_name(entry: &Entry) {
    let mut s = expired();
    token_endpoint_answers(&mut s, entry.canned(), 1);
    ends_the_grant(&mut s);
}

fn a_token_inside_authed_user(entry: &Entry) {
    let body = body(entry);
    let user = &body["authed_user"];
    let mut s = bought(entry.canned(), &user["access_token"]);
    assert_eq!(shown(&s), format!("Bearer {}", user["access_token"].as_str().unwrap()));
    assert_eq!(life(&mut s), user["expires_in"].as_u64());
    assert_eq!(scopes(&mut s), "channels:read chat:write");
    // A refresh puts a new token outside; the one inside is stale.
    let mut renewed = body.clone();
    renewed["access_token"] = "xoxe.xoxp-newer".into();
    let_in(&mut s, &renewed["access_token"]);
    token_endpoint_answers(&mut s, Canned::json(200, renewed.to_string()), 1);
    s.sleep(50_000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(
        sent(&s, "refresh_token").pop(),
        Some(user["refresh_token"].as_str().map(Into::into))
    );
    assert_eq!(shown(&s), "Bearer xoxe.xoxp-newer");
}

fn an_empty_scope_outside_and_the_real_one_inside(entry: &Entry) {
    let body = body(entry);
    assert_eq!(body["scope"], "");
    let mut s = bought(entry.canned(), &body["access_token"]);
    let inside = body["authed_user"]["scope"].as_str().unwrap();
    assert_eq!(scopes(&mut s), inside.replace(',', " "));
    // Not taken for a token that is good for nothing.
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.browser_opened(), 1);
}

fn a_token_without_a_refresh_token(entry: &Entry) {
    let body = body(entry);
    let mut s = bought(entry.canned(), &body["access_token"]);
    s.sleep(body["expires_in"].as_u64().unwrap() + 1);
    s.take_log();
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert!(s.take_log().is_empty(), "it fails at once");
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.browser_opened(), 2);
}

fn a_token_type_of_slacks_own(entry: &Entry) {
    let token = &body(entry)["access_token"];
    for answer in [entry.canned(), changed(entry, "\"bot\"", "\"user\"")] {
        let s = bought(answer, token);
        assert_eq!(shown(&s), format!("Bearer {}", token.as_str().unwrap()));
    }
    // Nobody knows this one: RFC 6749 §7.1 forbids to use it.
    let mut s = Scenario::new();
    token_endpoint_answers(&mut s, changed(entry, "\"bot\"", "\"mac\""), 1);
    assert_fails!(s.call_tool("whoami"), ErrorKind::Unusable { .. });
}

fn bearer_is_sent_with_a_capital(entry: &Entry) {
    let mut s = Scenario::new();
    let kind = entry.text("/token/token_type");
    s.world.authorization[0].token_type = kind.to_owned();
    assert_eq!(s.call_tool("whoami").status(), 200);
    let proof = entry.texts("/proof");
    let accepted = proof.iter().find(|line| line.ends_with("200")).unwrap();
    let scheme = accepted.strip_prefix("Authorization: ").unwrap().split('<').next().unwrap();
    assert!(shown(&s).starts_with(scheme), "{}", shown(&s));
}

fn what_a_refresh_leaves_out_stays(entry: &Entry) {
    let mut s = Scenario::new();
    s.world.authorization[0].refresh_tokens = RefreshTokens::Repeated;
    assert_eq!(s.call_tool("write_note").status(), 200);
    let held = (scopes(&mut s), s.world.newest_refresh_token().unwrap().to_owned());
    let_in(&mut s, &body(entry)["access_token"]);
    token_endpoint_answers(&mut s, entry.canned(), 2);
    for restarted in [false, true] {
        if restarted {
            s.restart();
        }
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        let refresh_token = sent(&s, "refresh_token").pop().flatten().unwrap();
        assert_eq!((scopes(&mut s), refresh_token), held);
    }
}

fn an_empty_refresh_token_is_none(entry: &Entry) {
    for answer in [entry.canned(), changed(entry, "\"\"", "null")] {
        let mut s = expired();
        let held = s.world.newest_refresh_token().unwrap().to_owned();
        let_in(&mut s, &body(entry)["access_token"]);
        token_endpoint_answers(&mut s, answer, 1);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.restart();
        // Refused now, so that it is renewed.
        s.world.resource.api_keys.clear();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(sent(&s, "refresh_token").pop().flatten(), Some(held));
    }
}

fn a_rotated_token_is_saved_before_it_is_lent(entry: &Entry) {
    let body = body(entry);
    let access = body["access_token"].as_str().unwrap();
    for crashes in [true, false] {
        let mut s = expired();
        token_endpoint_answers(&mut s, entry.canned(), 1);
        let_in(&mut s, &body["access_token"]);
        s.demand(Demand::background(Need::default()));
        s.run_until("POST auth.example.com/token");
        s.run_until("save");
        assert!(!matches!(s.token(), TokenState::Ready(_)), "lent before it was saved");
        if !crashes {
            s.perform("save");
            assert!(!matches!(s.token(), TokenState::Ready(_)), "lent before it was answered");
            s.run();
            assert_eq!(s.grant().access_token().expose(), access);
        }
        s.restart();
        let stored = s.store.text();
        for new in [access, body["refresh_token"].as_str().unwrap()] {
            assert_eq!(stored.contains(&format!("\"{new}\"")), !crashes, "{stored}");
        }
    }
}

fn a_grant_that_is_not_found(entry: &Entry) {
    // Another program has rotated it: what that saved is used, and nothing is refused.
    let mut s = logged_in();
    s.switch_to(1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    s.switch_to(0);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.world.count(What::Refreshes), 1);
    // Nobody has.
    s.sleep(4000);
    token_endpoint_answers(&mut s, refusal(entry), 1);
    let told = ends_the_grant(&mut s);
    assert!(told.contains(entry.text("/error_description")), "{told}");
}

fn a_dead_grant_ends_it(entry: &Entry) {
    let mut s = expired();
    token_endpoint_answers(&mut s, entry.canned(), 1);
    let told = ends_the_grant(&mut s);
    assert!(told.contains(body(entry)["error_description"].as_str().unwrap()), "{told}");
}

fn the_description_decides_nothing(entry: &Entry) {
    a_dead_grant_ends_it(entry);
    let mut s = expired();
    let other = changed(entry, "invalid_grant", "temporarily_unavailable");
    token_endpoint_answers(&mut s, other, 1);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.browser_opened(), 1);
}

fn a_code_is_sent_once(entry: &Entry) {
    let mut s = Scenario::new();
    token_endpoint_answers(&mut s, entry.canned(), 1);
    let said = &body(entry)["error"];
    let refused = s.call_tool("whoami");
    assert_fails!(refused, ErrorKind::TokenRefused { error, .. } if *said == *error.error);
    assert!(refused.error().advice().contains("Log in again"));
    assert_eq!(s.world.count(What::CodeExchanges), 1);
    assert_eq!(s.call_tool("whoami").status(), 200);
    let codes = sent(&s, "code");
    assert!(codes.len() == 2 && codes[0] != codes[1], "{codes:?}");
}

fn a_dead_grant_with_401_spares_the_client(entry: &Entry) {
    assert_eq!(entry.status(), 401);
    let mut s = expired();
    token_endpoint_answers(&mut s, entry.canned(), 1);
    ends_the_grant(&mut s);
    assert_eq!(s.told(|notice| matches!(notice, Notice::ClientRejected { .. })), 0);
}

fn the_vendors_number_is_shown(entry: &Entry) {
    let mut s = expired();
    token_endpoint_answers(&mut s, entry.canned(), 1);
    let told = ends_the_grant(&mut s);
    let number = &body(entry)["error_codes"][0];
    assert!(told.contains(&format!("AADSTS{number}")), "{told}");
}

fn a_refused_resource_is_left_out(entry: &Entry) {
    let (error, text) = (entry.text("/error"), entry.text("/error_text"));
    let body = serde_json::json!({ "error": error, "error_description": text });
    let refusal = || Fault::answer("POST", "/token", Canned::json(400, body.to_string()));
    assert_eq!(entry.text("/where"), "authorize page, code exchange AND refresh");

    // At the code exchange: the same code, and a refresh that doesn't try it again.
    let mut s = Scenario::new();
    s.config.send_resource = SendResource::Auto;
    s.world.authorization[0].resources = ResourceIndicators::RefusedAtToken;
    s.world.faults.push(refusal());
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let server = Some("https://mcp.example.com/mcp".to_owned());
    assert_eq!(sent(&s, "resource"), [server.clone(), None, None]);
    assert_eq!((s.browser_opened(), lenient(&s, Leniency::ResourceOmitted)), (1, 1));

    // At the refresh.
    let mut s = Scenario::new();
    s.config.send_resource = SendResource::Auto;
    s.world.authorization[0].resources = ResourceIndicators::Ignored;
    assert_eq!(s.call_tool("whoami").status(), 200);
    for _ in 0..2 {
        s.world.faults.extend((s.world.count(What::Refreshes) == 0).then(refusal));
        s.restart();
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }
    assert_eq!(sent(&s, "resource"), [server.clone(), server.clone(), None, None]);

    // In the redirect.
    let mut s = Scenario::new();
    s.config.send_resource = SendResource::Auto;
    s.person = Person::Ignores;
    s.world.authorization[0].iss = IssParameter::Silent;
    s.world.authorization[0].resources = ResourceIndicators::Ignored;
    s.demand(Demand::interactive(Need::default()));
    s.run_until("browse");
    s.run();
    let (callback, state) = (s.listening().unwrap(), s.authorize_param("state").unwrap());
    let mut back = Url::parse(&callback).unwrap();
    let pairs = [("error", error), ("error_description", text), ("state", state.as_str())];
    back.query_pairs_mut().extend_pairs(pairs);
    s.person = Person::Approves;
    s.redirect(back.as_str());
    s.run();
    s.grant();
    assert_eq!((s.browser_opened(), s.authorize_param("resource")), (2, None));

    // A page in the browser can't be read: for that there is the setting.
    let mut s = Scenario::new();
    s.config.send_resource = SendResource::Never;
    s.world.authorization[0].resources = ResourceIndicators::Refused;
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!((s.authorize_param("resource"), sent(&s, "resource")), (None, vec![None]));
}

fn a_refresh_whose_token_is_refused_names_the_scopes(entry: &Entry) {
    let note = entry.text("/note");
    let wrong = note.split('\'').nth(1).unwrap();
    let reply = serde_json::json!({
        "access_token": "for-nobody", "token_type": "Bearer", "expires_in": 3600, "scope": wrong,
    });
    let unnamed = Canned::json(200, reply.to_string());
    let mut s = expired();
    s.world.authorization[0].refresh_tokens = RefreshTokens::Repeated;
    // Without the scopes the server gives a token that the MCP server refuses.
    token_endpoint_answers(&mut s, unnamed.clone(), 2);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let named = sent(&s, "scope");
    assert_eq!(named[1..], [None, None, Some("notes:read offline_access".to_owned())]);
    assert_eq!(lenient(&s, Leniency::ScopeOnRefresh), 1);
    // From now on they are named at once.
    s.restart();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(s.world.count(What::Refreshes), 4);
    assert!(sent(&s, "scope").pop().flatten().is_some());

    // It doesn't help: a login, and that is all.
    let mut s = expired();
    token_endpoint_answers(&mut s, unnamed, u32::MAX);
    assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
    assert_eq!(s.world.count(What::Refreshes), 3);
}

fn an_audience_in_both_requests(entry: &Entry) {
    let extra = entry.text("/request_extra");
    let (name, value) = extra.split_once('=').unwrap();
    let mut s = Scenario::new();
    s.config.oauth_params.insert(name.to_owned(), value.to_owned());
    s.config.token_params.insert(name.to_owned(), value.to_owned());
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(s.authorize_param(name).as_deref(), Some(value));
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let expected = Some(value.to_owned());
    assert_eq!(sent(&s, name), [expected.clone(), expected]);
}

fn the_resource_is_sent_as_it_is_written(entry: &Entry) {
    let expected = entry.text("/expected");
    let normalised = entry.text("/sent").strip_prefix("resource=").unwrap();
    let mut s = Scenario::in_world(World::with_urls(expected, &["https://auth.example.com"]));
    s.world.authorization[0].resources = ResourceIndicators::Only(expected.to_owned());
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let resources: Vec<_> =
        sent(&s, "resource").into_iter().chain([s.authorize_param("resource")]).collect();
    assert_eq!(resources, vec![Some(expected.to_owned()); 3]);
    assert_ne!(expected, normalised);
}

fn methods(names: &[String]) -> Vec<ClientAuthentication> {
    let method = |name: &String| ClientAuthentication::ALL.into_iter().find(|m| m.as_str() == name);
    names.iter().map(|name| method(name).unwrap()).collect()
}

fn basic_is_form_encoded_first(entry: &Entry) {
    let mut s = Scenario::new();
    // Secrets of this world hold characters that Basic must encode, and it decodes them.
    s.world.authorization[0].client_authentication = methods(&entry.texts("/methods"));
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let used: Vec<_> = s.world.token_requests().map(|token| token.authentication).collect();
    assert_eq!(used, [Some(ClientAuthentication::Basic); 2]);
}

fn one_method_in_each_request(entry: &Entry) {
    for method in ClientAuthentication::ALL {
        let mut s = Scenario::new();
        s.world.authorization[0].registration.assigns = Some(method);
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::TokenRequests), 2);
        for request in s.world.log.iter().filter(|exchange| exchange.path == "/token") {
            let header = request.request.headers().contains_key("authorization");
            let body = String::from_utf8_lossy(request.request.body());
            let field = body.contains("client_secret=");
            assert_eq!(
                (header, field),
                (method == ClientAuthentication::Basic, method == ClientAuthentication::Post)
            );
        }
    }
    // Where a server says so all the same, it is told, and nothing is tried.
    let mut s = Scenario::new();
    token_endpoint_answers(&mut s, refusal(entry), 1);
    let told = s.call_tool("whoami");
    assert_fails!(told, ErrorKind::TokenRefused { error, .. } if error.error == "invalid_request");
    assert!(told.error().to_string().contains(entry.text("/error_description")));
    assert_eq!(s.world.count(What::TokenRequests), 1);
}

fn basic_names_the_client_in_the_body_too(entry: &Entry) {
    let mut s = Scenario::new();
    let server = &mut s.world.authorization[0];
    server.registration.assigns = Some(ClientAuthentication::Basic);
    server.wants_client_id = Some(entry.canned());
    assert_eq!(s.call_tool("whoami").status(), 200);
    let client = s.world.token_requests().last().unwrap().client_id.clone();
    let said = body(entry);
    let missed = said["error_description"].as_str().unwrap().strip_prefix("Missing ").unwrap();
    assert_eq!(sent(&s, missed), [Some(client)]);
    assert_eq!(sent(&s, "client_secret"), [None]);
}

fn basic_that_fails_gives_way_to_post(entry: &Entry) {
    let mut s = Scenario::new();
    let server = &mut s.world.authorization[0];
    server.preregister("by-hand", Some("s3cret: &+%/="));
    server.refuses_basic = Some(entry.canned());
    s.config.client_id = Some("by-hand".into());
    s.config.client_secret = Some("s3cret: &+%/=".into());
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert_eq!(lenient(&s, Leniency::SecretInBody), 1);
    // It is remembered.
    s.restart();
    s.sleep(4000);
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    let used: Vec<_> = s.world.token_requests().map(|token| token.authentication).collect();
    let post = Some(ClientAuthentication::Post);
    assert_eq!(used, [None, post, post]);
    assert_eq!(s.browser_opened(), 1);
    // Once: what Post gets is the server's word.
    let mut s = Scenario::new();
    s.world.authorization[0].registration.assigns = Some(ClientAuthentication::Basic);
    token_endpoint_answers(&mut s, entry.canned(), u32::MAX);
    let said = &body(entry)["error_description"];
    let refused = s.call_tool("whoami");
    assert_fails!(refused, ErrorKind::TokenRefused { error, .. } if error.description.as_deref() == said.as_str());
    assert_eq!(s.world.count(What::TokenRequests), 2);
    // And not at all where the settings forbid it.
    let mut s = Scenario::new();
    s.config.retry_secret_in_body = false;
    s.world.authorization[0].registration.assigns = Some(ClientAuthentication::Basic);
    token_endpoint_answers(&mut s, entry.canned(), u32::MAX);
    assert_fails!(s.call_tool("whoami"), ErrorKind::TokenRefused { .. });
    assert_eq!(s.world.count(What::TokenRequests), 1);
}

fn an_error_in_an_array(entry: &Entry) {
    let mut s = Scenario::new();
    token_endpoint_answers(&mut s, entry.canned(), 1);
    let message = body(entry)[0]["message"].as_str().unwrap().to_owned();
    let told = s.call_tool("whoami");
    assert_fails!(told, ErrorKind::TokenRefused { error, .. } if error.error == "invalid_client");
    assert!(told.error().to_string().contains(&message), "{}", told.error());
    // With another status there is no code to be told, but the status.
    let mut s = Scenario::new();
    let mut other = entry.canned();
    other.status = 400;
    token_endpoint_answers(&mut s, other, 1);
    let told = s.call_tool("whoami");
    assert!(told.error().to_string().contains("HTTP 400"), "{}", told.error());
}

fn an_outage_costs_nothing(entry: &Entry) {
    let asked = entry.header("retry-after")[0].parse::<u64>().unwrap();
    for status in [entry.status(), 429, 500] {
        let mut s = logged_in();
        s.config.retry.tries = 1;
        s.restart();
        // About to expire: still lent while the endpoint is down.
        s.sleep(3590);
        let mut outage = entry.canned();
        outage.status = status;
        token_endpoint_answers(&mut s, outage, u32::MAX);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Refreshes), 1);
        s.sleep(20);
        let told = s.call_tool_in_background("whoami");
        assert_fails!(told, ErrorKind::Passing { .. });
        assert!(told.error().retry_in().unwrap().as_secs() >= asked - 20);
        s.world.faults.clear();
        s.sleep(700);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.browser_opened(), 1);
        s.check_secrets();
    }
    // With the settings as they are, the attempt itself waits as long as it was asked to.
    let mut s = expired();
    token_endpoint_answers(&mut s, entry.canned(), 1);
    let before = s.now().mono;
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!(before.until(s.now().mono).as_secs(), asked);
}

fn nulls_and_duplicates(entry: &Entry) {
    let mut s = bought(entry.canned(), &body(entry)["access_token"]);
    assert_eq!(shown(&s), "Bearer b");
    let status = s.machine().status().unwrap();
    assert_eq!((status.expires_at, status.refreshable), (None, false));
    assert_eq!(status.scopes.to_string(), "notes:read offline_access");
    // Numbers for strings: nobody can use them, and the rest is good.
    let numbers = changed(entry, "\"refresh_token\":null", "\"refresh_token\":5");
    let mut s = bought(numbers, &body(entry)["access_token"]);
    assert!(!s.machine().status().unwrap().refreshable);
}

fn created_at_says_nothing(entry: &Entry) {
    let body = body(entry);
    let mut s = Scenario::new();
    s.set_wall_clock(1_000_000);
    let_in(&mut s, &body["access_token"]);
    token_endpoint_answers(&mut s, entry.canned(), 1);
    assert_eq!(s.call_tool("whoami").status(), 200);
    let now = s.now().wall.0;
    let status = s.machine().status().unwrap();
    assert_ne!(now, body["created_at"].as_u64().unwrap());
    assert_eq!(status.expires_at.unwrap().0, now + body["expires_in"].as_u64().unwrap());
    assert_eq!(status.scopes.to_string(), body["scope"].as_str().unwrap());
}
