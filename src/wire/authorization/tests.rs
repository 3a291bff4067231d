use super::*;
use proptest::prelude::*;

const PORT: &str = "http://127.0.0.1:33418/callback";

fn request<'a>(endpoint: &'a Url, scope: &'a ScopeSet) -> AuthorizationRequest<'a> {
    AuthorizationRequest {
        endpoint,
        client_id: "client",
        redirect_uri: PORT,
        state: "S",
        code_challenge: "C",
        scope,
        scope_parameter: "scope",
        resource: None,
        prompt: None,
        extra: &[],
    }
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn values(url: &Url, name: &str) -> Vec<String> {
    url.query_pairs().filter(|(n, _)| n == name).map(|(_, v)| v.into_owned()).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
}

#[test]
fn a_plain_request_says_the_least() {
    let endpoint = url("https://as.example/authorize");
    assert_eq!(
        request(&endpoint, &ScopeSet::new()).to_url().as_str(),
        "https://as.example/authorize?response_type=code&client_id=client\
         &redirect_uri=http%3A%2F%2F127.0.0.1%3A33418%2Fcallback&state=S\
         &code_challenge=C&code_challenge_method=S256"
    );
}

#[test]
fn a_full_request_encodes_each_value_once() {
    let endpoint = url("https://as.example/authorize");
    let scope = ScopeSet::parse("mcp:read a+b");
    let made = AuthorizationRequest {
        resource: Some("https://mcp.example.com/a%20b"),
        prompt: Some("consent"),
        ..request(&endpoint, &scope)
    }
    .to_url();
    let query = made.query().unwrap();
    assert!(query.contains("&scope=mcp%3Aread%20a%2Bb&"), "{query}");
    assert!(query.contains("&resource=https%3A%2F%2Fmcp.example.com%2Fa%2520b&"), "{query}");
    assert!(query.ends_with("&prompt=consent"), "{query}");
}

#[test]
fn a_resource_without_a_slash_does_not_get_one() {
    let endpoint = url("https://as.example/authorize");
    let scope = ScopeSet::new();
    let made =
        AuthorizationRequest { resource: Some("https://A.example"), ..request(&endpoint, &scope) };
    assert_eq!(values(&made.to_url(), "resource"), ["https://A.example"]);
}

#[test]
fn the_endpoint_keeps_its_own_query_to_the_byte() {
    let endpoint = url("https://as.example/authorize?addr=1&flag&x=a+b%2f&&x=2");
    let made = request(&endpoint, &ScopeSet::new()).to_url();
    let query = made.query().unwrap();
    assert!(query.starts_with("addr=1&flag&x=a+b%2f&x=2&response_type=code&"), "{query}");
}

#[test]
fn the_endpoint_cannot_answer_for_us() {
    let endpoint = url("https://as.example/authorize?st%61te=evil&scope=all&resource=r&state=evil");
    let scope = ScopeSet::parse("mcp");
    let made = request(&endpoint, &scope).to_url();
    assert_eq!(values(&made, "state"), ["S"]);
    assert_eq!(values(&made, "scope"), ["mcp"]);
    assert_eq!(values(&made, "resource"), ["r"], "we have none to replace it");
}

#[test]
fn a_server_may_name_its_scope_parameter() {
    let endpoint = url("https://slack.example/oauth/v2/authorize");
    let scope = ScopeSet::parse("search:read chat:write");
    let named =
        AuthorizationRequest { scope_parameter: "user_scope", ..request(&endpoint, &scope) };
    let made = named.to_url();
    assert_eq!(values(&made, "user_scope"), ["search:read chat:write"]);
    assert!(values(&made, "scope").is_empty());
    let misnamed = AuthorizationRequest { scope_parameter: "state", ..request(&endpoint, &scope) };
    assert_eq!(values(&misnamed.to_url(), "state"), ["S"]);
}

#[test]
fn an_extra_replaces_what_it_may() {
    let endpoint = url("https://as.example/authorize?audience=old");
    let scope = ScopeSet::parse("mcp");
    let extra = pairs(&[
        ("audience", "a"),
        ("audience", "b"),
        ("prompt", "select_account"),
        ("scope", "other"),
        ("state", "evil"),
        ("code_challenge", "evil"),
        ("code_challenge_method", "plain"),
        ("redirect_uri", "https://evil.example"),
        ("client_id", "evil"),
        ("response_type", "token"),
    ]);
    let made = AuthorizationRequest {
        prompt: Some("consent"),
        extra: &extra,
        ..request(&endpoint, &scope)
    }
    .to_url();
    assert_eq!(values(&made, "audience"), ["b"]);
    assert_eq!(values(&made, "prompt"), ["select_account"]);
    assert_eq!(values(&made, "scope"), ["other"]);
    assert_eq!(values(&made, "code_challenge_method"), ["S256"]);
    assert_eq!(values(&made, "redirect_uri"), [PORT]);
    assert!(!made.as_str().contains("evil"), "{made}");
}

fn parse(redirect: &str) -> AuthorizationResponse {
    AuthorizationResponse::parse(redirect).unwrap()
}

#[test]
fn every_form_of_a_redirect_reads_the_same() {
    let expected = AuthorizationResponse {
        state: Some(Secret::from("S")),
        iss: Some("https://as.example/?tenant=1".into()),
        code: Some(Secret::from("a b.c/")),
        ..Default::default()
    };
    const QUERY: &str = "code=a+b.c%2F&state=S&iss=https%3A%2F%2Fas.example%2F%3Ftenant%3D1";
    for redirect in [
        format!("{PORT}?{QUERY}"),
        format!("{PORT}?{QUERY}#"),
        format!("{PORT}?{QUERY}#state=other"),
        format!("/callback?{QUERY}"),
        format!("127.0.0.1:33418/callback?{QUERY}"),
        format!("myapp://callback?{QUERY}"),
        format!("?{QUERY}"),
        QUERY.to_owned(),
        format!("  \"{PORT}?{QUERY}\"\r\n"),
        format!("<{PORT}?{QUERY}>"),
        "state=S&iss=https://as.example/?tenant=1&code=a%20b.c/".to_owned(),
    ] {
        assert_eq!(parse(&redirect), expected, "{redirect}");
    }
}

#[test]
fn real_servers_add_parameters_of_their_own() {
    let keycloak = parse(
        "state=35320e83a9991111538982abe266a143&session_state=f55fda9e-279a-0000-a346-1c1bf58d6c60\
         &iss=https%3A%2F%2Fauth.example.com%2Fauth%2Frealms%2Fusers&code=19b70019-1742.f55fda9",
    );
    assert_eq!(keycloak.iss.as_deref(), Some("https://auth.example.com/auth/realms/users"));
    assert_eq!(keycloak.code, Some(Secret::from("19b70019-1742.f55fda9")));
    let cancelled = parse("/?error=access_denied&error_subcode=cancel&state=S");
    assert_eq!(cancelled.error.as_deref(), Some("access_denied"));
    assert_eq!(cancelled.code, None);
}

#[test]
fn an_error_is_safe_to_show() {
    let denied = parse(
        "/cb?error=bad%1B[2J&error_description=The+user%0D%0Adenied&error_uri=x%E2%80%AEy&state=S",
    );
    assert_eq!(denied.error.as_deref(), Some("bad\u{fffd}[2J"));
    assert_eq!(denied.error_description.as_deref(), Some("The user\u{fffd}\u{fffd}denied"));
    assert_eq!(denied.error_uri.as_deref(), Some("x\u{fffd}y"));
}

#[test]
fn a_parameter_that_comes_twice_is_named() {
    let twice = parse("code=a&state=S&iss=i&iss=i&code=b&state=S");
    assert_eq!(twice.duplicated, Some("iss"));
    assert_eq!(twice.code, Some(Secret::from("a")), "the first one is kept");
    assert_eq!(parse("code=a&st%61te=S&state=T").duplicated, Some("state"));
    assert_eq!(parse("code=a&state=S&x=1&x=2").duplicated, None);
}

#[test]
fn an_empty_parameter_is_an_absent_one() {
    let response = parse("code=c&state=S&iss=&error=&code=");
    assert_eq!((response.iss, response.error, response.duplicated), (None, None, None));
    assert_eq!(parse("session_state=x"), AuthorizationResponse::default());
}

#[test]
fn a_fragment_counts_where_it_is_all_that_there_is() {
    for ours in ["http://127.0.0.1:1/callback", "http://127.0.0.1:1/callback?", "/callback", ""] {
        let response = parse(&format!("{ours}#code=c&state=S"));
        assert_eq!(response.code.unwrap().expose(), "c", "{ours}");
        let ours = ours.trim_end_matches('?');
        let response = parse(&format!("{ours}?code=d&state=T#code=c&state=S"));
        assert_eq!(response.code.unwrap().expose(), "d", "{ours}");
    }
}

#[test]
fn a_url_without_parameters_is_no_response() {
    for nothing in [
        "",
        " \"\" ",
        "?",
        "/favicon.ico",
        "/a=b/c",
        PORT,
        "http://127.0.0.1:1/callback#top",
        "hello",
    ] {
        assert!(AuthorizationResponse::parse(nothing).is_err(), "{nothing:?}");
    }
    let long = format!("code={}", "x".repeat(32 * 1024));
    assert!(AuthorizationResponse::parse(&long).is_err());
    assert!(AuthorizationResponse::parse(&long[..32 * 1024]).is_ok());
}

#[test]
fn a_shown_response_has_no_secret() {
    let shown = format!("{:?}", parse("code=s3cret-code&state=s3cret-state&iss=https://a"));
    assert!(shown.contains("https://a") && !shown.contains("s3cret"), "{shown}");
}

/// Names that are likely to collide, beside arbitrary ones.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(PROTECTED.as_slice()).prop_map(str::to_owned),
        prop::sample::select(vec!["scope", "resource", "prompt", "", "state ", "a&b=c#d"])
            .prop_map(str::to_owned),
        ".{0,6}",
    ]
}

proptest! {
    #[test]
    fn whatever_is_asked_our_parameters_stand_once(
        own in ".{0,30}",
        texts in prop::array::uniform5(".{0,12}"),
        scope_parameter in names(),
        extra in prop::collection::vec((names(), ".{0,8}"), 0..6),
        own_names in prop::collection::vec(names(), 0..3),
    ) {
        let mut endpoint = url("https://as.example/authorize");
        endpoint.set_query(Some(&own));
        endpoint.query_pairs_mut().extend_pairs(own_names.iter().map(|name| (name, "own")));
        let [client_id, redirect_uri, state, code_challenge, resource] = &texts;
        let made = AuthorizationRequest {
            client_id, redirect_uri, state, code_challenge,
            scope_parameter: &scope_parameter,
            resource: Some(resource),
            extra: &extra,
            ..request(&endpoint, &ScopeSet::parse("mcp"))
        }
        .to_url();
        // As a server reads it.
        let made = Url::parse(made.as_str()).unwrap();
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", redirect_uri),
            ("state", state),
            ("code_challenge", code_challenge),
            ("code_challenge_method", "S256"),
        ] {
            prop_assert_eq!(values(&made, name), [value]);
        }
        for (name, _) in &extra {
            prop_assert_eq!(values(&made, name).len(), 1, "{}", name);
        }
        if scope_parameter != "resource" && extra.iter().all(|(name, _)| name != "resource") {
            prop_assert_eq!(values(&made, "resource"), [resource.as_str()]);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".*", query in "[?/=&%#+a-z0-9]{0,40}") {
        let _ = AuthorizationResponse::parse(&text);
        let _ = AuthorizationResponse::parse(&query);
        let _ = AuthorizationResponse::parse(&format!("/cb?{query}"));
    }

    #[test]
    fn what_a_server_encodes_is_read_back(code in ".{1,20}", state in ".{1,20}", iss in ".{1,20}") {
        let mut redirect = url(PORT);
        redirect.query_pairs_mut().append_pair("code", &code).append_pair("state", &state)
            .append_pair("iss", &iss);
        let response = parse(redirect.as_str());
        prop_assert_eq!(response.code, Some(Secret::new(code)));
        prop_assert_eq!(response.state, Some(Secret::new(state)));
        prop_assert_eq!(response.iss, Some(iss));
        prop_assert_eq!(response.duplicated, None);
    }
}
