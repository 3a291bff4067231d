use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const NOW: UnixTime = UnixTime(1_790_000_000);

fn reply(status: u16, body: &str) -> Result<TokenReply, Failure> {
    let status = StatusCode::from_u16(status).unwrap();
    TokenReply::parse(status, &HeaderMap::new(), body.as_bytes(), NOW)
}

fn tokens(body: &str) -> TokenReply {
    reply(200, body).unwrap()
}

fn seconds(json: &str) -> Option<u64> {
    let body = format!(r#"{{"access_token":"a","expires_in":{json}}}"#);
    tokens(&body).expires_in.map(|lifetime| lifetime.as_secs())
}

fn decode_basic(request: &Request<Vec<u8>>) -> (String, String) {
    let value = request.headers()[AUTHORIZATION].to_str().unwrap();
    let pair = STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap();
    let pair = String::from_utf8(pair).unwrap();
    let (id, secret) = pair.split_once(':').unwrap();
    let decode = |text: &str| {
        let mut pairs = form_urlencoded::parse(text.as_bytes());
        pairs.next().map(|(name, _)| name.into_owned()).unwrap_or_default()
    };
    (decode(id), decode(secret))
}

fn body(request: &Request<Vec<u8>>) -> Vec<(String, String)> {
    form_urlencoded::parse(request.body()).into_owned().collect()
}

fn endpoint() -> Url {
    Url::parse("https://a.example/token?tenant=1").unwrap()
}

const CODE: Grant<'_> = Grant::AuthorizationCode {
    code: "c&d",
    redirect_uri: "http://127.0.0.1:8/callback",
    code_verifier: "v",
};

const REFRESH: Grant<'_> = Grant::RefreshToken { refresh_token: "r", scope: None };

/// A public client's request without anything optional.
fn plain<'a>(endpoint: &'a Url, grant: Grant<'a>) -> TokenRequest<'a> {
    TokenRequest {
        endpoint,
        client_id: "me",
        client_secret: None,
        auth_method: AuthMethod::None,
        grant,
        resource: None,
        extra: &[],
    }
}

#[test]
fn a_public_client_sends_its_name_in_the_body() {
    let endpoint = endpoint();
    let resource = Some("https://mcp.example");
    let request = TokenRequest { resource, ..plain(&endpoint, CODE) }.to_http();
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri(), "https://a.example/token?tenant=1");
    assert_eq!(request.headers()[ACCEPT], "application/json");
    assert_eq!(request.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
    assert!(!request.headers().contains_key(AUTHORIZATION));
    assert_eq!(
        String::from_utf8(request.into_body()).unwrap(),
        "grant_type=authorization_code&code=c%26d&redirect_uri=http%3A%2F%2F127.0.0.1%3A8%2Fcallback\
         &code_verifier=v&client_id=me&resource=https%3A%2F%2Fmcp.example"
    );
}

#[test]
fn a_client_authenticates_in_exactly_one_way() {
    let secret = Secret::from("s:e+c r%t");
    let endpoint = endpoint();
    let send = |auth_method, client_secret| {
        let client_id = "https://me.example/?a=b";
        TokenRequest { client_id, client_secret, auth_method, ..plain(&endpoint, REFRESH) }
            .to_http()
    };
    let basic = send(AuthMethod::Basic, Some(&secret));
    assert!(basic.headers()[AUTHORIZATION].is_sensitive());
    assert_eq!(decode_basic(&basic), ("https://me.example/?a=b".into(), "s:e+c r%t".into()));
    let names: Vec<_> = body(&basic).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["grant_type", "refresh_token", "client_id"]);
    assert!(!format!("{:?}", basic.headers()).contains("Basic"));

    let post: HashMap<_, _> = body(&send(AuthMethod::Post, Some(&secret))).into_iter().collect();
    assert_eq!(post["client_secret"], "s:e+c r%t");
    assert_eq!(post["client_id"], "https://me.example/?a=b");

    for (method, secret) in
        [(AuthMethod::None, Some(&secret)), (AuthMethod::Basic, None), (AuthMethod::Post, None)]
    {
        let public = send(method, secret);
        assert!(!public.headers().contains_key(AUTHORIZATION));
        let names: Vec<_> = body(&public).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["grant_type", "refresh_token", "client_id"]);
    }
}

#[test]
fn a_refresh_names_scopes_only_if_there_are_some() {
    let (endpoint, scope, none) = (endpoint(), ScopeSet::parse("a b"), ScopeSet::new());
    for (scope, wanted) in [(Some(&scope), Some("a b")), (Some(&none), None), (None, None)] {
        let request = plain(&endpoint, Grant::RefreshToken { refresh_token: "r", scope });
        let params: HashMap<_, _> = body(&request.to_http()).into_iter().collect();
        assert_eq!(params.get("scope").map(String::as_str), wanted);
    }
}

#[test]
fn extras_are_added_and_never_replace_what_the_request_says() {
    let extra: Vec<(String, String)> =
        [("audience", "https://api"), ("code", "evil"), ("client_id", "evil"), ("scope", "x")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
    let (endpoint, secret) = (endpoint(), Secret::from("s"));
    let request = TokenRequest {
        client_secret: Some(&secret),
        auth_method: AuthMethod::Post,
        extra: &extra,
        ..plain(&endpoint, CODE)
    };
    let params = body(&request.to_http());
    let values = |name: &str| -> Vec<&str> {
        params.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(values("audience"), ["https://api"]);
    assert_eq!(values("code"), ["c&d"]);
    assert_eq!(values("client_id"), ["me"]);
    assert_eq!(values("scope"), ["x"]);
}

#[test]
fn the_strongest_listed_method_is_chosen() {
    let choose = |listed: &[&str], secret| {
        let listed: Vec<String> = listed.iter().map(|&name| name.into()).collect();
        AuthMethod::choose(Some(&listed), secret)
    };
    let all = ["none", "client_secret_post", "client_secret_basic"];
    assert_eq!(choose(&all, true), Some(AuthMethod::Basic));
    assert_eq!(choose(&all[..2], true), Some(AuthMethod::Post));
    assert_eq!(choose(&all[..1], true), Some(AuthMethod::None));
    assert_eq!(choose(&["private_key_jwt"], true), None);
    assert_eq!(choose(&[], true), Some(AuthMethod::Basic));
    assert_eq!(AuthMethod::choose(None, true), Some(AuthMethod::Basic));
    assert_eq!(choose(&["client_secret_basic"], false), Some(AuthMethod::None));
}

#[test]
fn a_method_has_one_name_everywhere() {
    for method in [AuthMethod::None, AuthMethod::Basic, AuthMethod::Post] {
        assert_eq!(AuthMethod::parse(method.as_str()), Some(method));
        assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
    }
    assert_eq!(AuthMethod::parse("None"), None);
}

#[test]
fn a_whole_reply_is_read() {
    let got = tokens(
        r#"{"access_token":"at","token_type":"bearer","expires_in":3600,"refresh_token":"rt",
            "scope":"a b","id_token":"h.p.s","created_at":1700000000}"#,
    );
    assert_eq!(got.access_token.expose(), "at");
    assert_eq!(got.token_type.as_deref(), Some("bearer"));
    assert_eq!(got.expires_in, Some(Duration::from_secs(3600)));
    assert_eq!(got.refresh_token, Some(Secret::from("rt")));
    assert_eq!(got.scope, Some(ScopeSet::parse("a b")));
    assert_eq!(got.id_token, Some(Secret::from("h.p.s")));
}

#[test]
fn null_empty_and_absent_are_one_and_the_last_duplicate_counts() {
    let got = tokens(
        r#"{"access_token":"a","access_token":"b","refresh_token":"","scope":null,"id_token":null,
            "token_type":"","expires_in":null,"error":null}"#,
    );
    assert_eq!(got.access_token.expose(), "b");
    assert_eq!((got.refresh_token, got.scope, got.id_token), (None, None, None));
    assert_eq!((got.token_type, got.expires_in), (None, None));
}

#[test]
fn a_form_is_read_whatever_it_claims_to_be() {
    let got = tokens("access_token=gho_1&expires_in=0&scope=repo%2Cgist&token_type=bearer\n");
    assert_eq!(got.access_token.expose(), "gho_1");
    assert_eq!(got.expires_in, Some(Duration::ZERO));
    assert_eq!(got.scope, Some(ScopeSet::parse("repo gist")));
}

#[test]
fn lifetimes_come_in_all_shapes() {
    assert_eq!(seconds("3600"), Some(3600));
    assert_eq!(seconds("3599.7"), Some(3599));
    assert_eq!(seconds(r#"" 3600 ""#), Some(3600));
    assert_eq!(seconds("0"), Some(0));
    assert_eq!(seconds("-1"), Some(0));
    assert_eq!(seconds("3.6e3"), Some(3600));
    assert_eq!(seconds("1e300"), Some(3_155_760_000));
    assert_eq!(seconds("18446744073709551615"), Some(3_155_760_000));
    for nonsense in ["null", "true", r#""3600abc""#, r#""inf""#, r#""NaN""#, r#""""#, "[]", "{}"] {
        assert_eq!(seconds(nonsense), None, "{nonsense}");
    }
}

#[test]
fn a_slack_user_token_is_found_inside() {
    let user = r#"{"ok":true,"team":{"id":"T1"},"authed_user":{"id":"U1","access_token":"xoxe.xoxp-new",
        "refresh_token":"xoxe-refresh","expires_in":43200,"scope":"channels:read,chat:write"}}"#;
    let got = tokens(user);
    assert_eq!(got.access_token.expose(), "xoxe.xoxp-new");
    assert_eq!(got.refresh_token, Some(Secret::from("xoxe-refresh")));
    assert_eq!(got.scope, Some(ScopeSet::parse("channels:read chat:write")));

    let bot = r#"{"ok":true,"access_token":"xoxb","token_type":"bot","scope":"",
        "authed_user":{"id":"U","access_token":"stale"}}"#;
    let got = tokens(bot);
    assert_eq!(got.access_token.expose(), "xoxb", "the outer token comes first");
    assert_eq!(got.scope, None, "an empty scope isn't a grant of nothing");
}

#[test]
fn an_error_inside_a_success_is_a_refusal() {
    let github = r#"{"error":"bad_refresh_token","error_description":"expired"}"#;
    let failure = reply(200, github).unwrap_err();
    let Failure::Refused { status: 200, error } = failure else { panic!("{failure:?}") };
    assert!(error.is_dead_grant());
    let form = reply(200, "error=bad_verification_code").unwrap_err();
    assert!(matches!(form, Failure::Refused { status: 200, .. }));
    let later = reply(200, r#"{"error":"temporarily_unavailable"}"#).unwrap_err();
    assert!(matches!(later, Failure::Passing { status: 200, .. }));
    let page = reply(200, "<html>Sign in to the Wi-Fi").unwrap_err();
    assert!(matches!(page, Failure::Passing { status: 200, .. }));
}

#[test]
fn a_token_that_fits_no_header_is_refused_without_being_shown() {
    for token in [r#""sec\r\nret""#, r#""sec ret""#, r#""secrét""#, r#""secret\u0000""#] {
        let failure = reply(200, &format!(r#"{{"access_token":{token}}}"#)).unwrap_err();
        let shown = format!("{failure:?} {failure}");
        assert!(shown.contains("visible ASCII") && !shown.contains("sec"), "{shown}");
    }
    for absent in ["{}", r#"{"access_token":""}"#, r#"{"access_token":123456}"#, "", "[1]", "OK"] {
        let failure = reply(200, absent).unwrap_err();
        assert!(matches!(failure, Failure::Malformed(_)), "{failure:?}");
        assert!(!failure.to_string().contains("123456"));
    }
}

#[test]
fn a_token_of_an_unknown_type_is_not_used() {
    let failure = reply(200, r#"{"access_token":"a","token_type":"mac"}"#).unwrap_err();
    assert_eq!(failure.to_string(), "token reply: expected `token_type` Bearer or DPoP, got mac");
    for known in ["Bearer", "BEARER", "DPoP", "dpop", "user"] {
        let got = tokens(&format!(r#"{{"access_token":"a","token_type":"{known}"}}"#));
        assert_eq!(got.token_type.as_deref(), Some(known));
    }
}

/// A reply with a secret in every place that may hold one, whole or damaged.
fn damaged_replies() -> impl Strategy<Value = String> {
    let shapes = [
        r#"{"access_token":"PLANTED","refresh_token":"PLANTED","id_token":"PLANTED","scope":"s"}"#,
        r#"{"access_token":"PLANTED\n","refresh_token":["PLANTED"],"token_type":"bearer"}"#,
        r#"{"access_token":{"PLANTED":"PLANTED"},"error":null}"#,
        r#"{"authed_user":{"access_token":"PLANTED","refresh_token":"PLANTED"}}"#,
        r#"{"error":"invalid_grant","refresh_token":"PLANTED"}"#,
        "access_token=PLANTED&refresh_token=PLANTED&expires_in=5",
    ];
    (proptest::sample::select(shapes.to_vec()), 0usize..120, 0usize..6).prop_map(
        |(text, at, cut)| {
            let end = (at + cut).min(text.len());
            let start = at.min(end);
            // A cut inside the word would hide it from the test.
            let kept = format!("{}{}", &text[..start], &text[end..]);
            if kept.matches("PLANTED").count() == text.matches("PLANTED").count() {
                kept
            } else {
                text.into()
            }
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        status in 100u16..1000,
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let _ = TokenReply::parse(status, &HeaderMap::new(), &body, NOW);
    }

    #[test]
    fn a_planted_secret_is_never_shown(
        body in damaged_replies(),
        status in proptest::sample::select(vec![200u16, 201, 302, 400, 401, 403, 404, 418, 500]),
    ) {
        let shown = match reply(status, &body) {
            Ok(got) => format!("{got:?}"),
            Err(failure) => format!("{failure:?} {failure}"),
        };
        prop_assert!(!shown.contains("PLANTED"), "{}", shown);
    }

    #[test]
    fn basic_credentials_survive_the_way(id in ".{1,30}", secret in ".{1,30}") {
        let (endpoint, kept) = (endpoint(), Secret::from(secret.as_str()));
        let request = TokenRequest {
            client_id: &id,
            client_secret: Some(&kept),
            auth_method: AuthMethod::Basic,
            ..plain(&endpoint, REFRESH)
        };
        prop_assert_eq!(decode_basic(&request.to_http()), (id, secret));
    }

    #[test]
    fn every_usable_endpoint_is_reached(path in "[!-~]{0,30}") {
        if let Ok(endpoint) = super::super::url::parse("x", &format!("https://a.example/{path}")) {
            let request = post(&endpoint, "text/plain", Vec::new());
            prop_assert_eq!(request.uri().host(), Some("a.example"), "{}", endpoint);
        }
    }
}
