use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const NOW: UnixTime = UnixTime(1_790_000_000);

fn read(status: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
    let headers = headers_of(headers);
    let status = StatusCode::from_u16(status).unwrap();
    Failure::read("token reply", status, &headers, body.as_bytes(), NOW)
}

fn headers_of(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn refused(failure: Failure) -> OAuthError {
    match failure {
        Failure::Refused { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_of_no_use_is_told_without_its_text() {
    let told = |status: u16, headers: &[(&'static str, &str)], body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        describe(status, &headers_of(headers), body.as_bytes())
    };
    assert_eq!(told(404, &[], "{}"), "HTTP 404");
    assert_eq!(told(403, &[], "<html>secret"), "HTTP 403, a web page");
    let moment = "<html><title>Just a moment...</title>";
    assert_eq!(told(403, &[], moment), "HTTP 403, a bot protection page");
    let mitigated = [("cf-mitigated", "challenge"), ("content-type", "text/html")];
    assert_eq!(told(503, &mitigated, "wait"), "HTTP 503, a bot protection page");
    let location = [("location", "https://a.example/login?secret=1")];
    assert_eq!(told(302, &location, ""), "HTTP 302 to https://a.example/login?…");
    assert_eq!(told(201, &location, ""), "HTTP 201");
}

#[test]
fn an_oauth_error_is_the_final_word_at_any_4xx() {
    for status in [400, 401, 403, 404, 409, 422] {
        let failure = read(status, &[], r#"{"error":"invalid_grant","error_description":"gone"}"#);
        let error = OAuthError {
            error: "invalid_grant".into(),
            description: Some("gone".into()),
            uri: None,
        };
        assert_eq!(failure, Failure::Refused { status, error });
    }
}

#[test]
fn an_error_may_be_a_form_or_have_a_wrong_type_or_a_byte_order_mark() {
    let html = [("content-type", "text/html; charset=utf-8")];
    let json = "\u{feff}\n{\"error\":\"invalid_scope\"}";
    assert_eq!(refused(read(400, &html, json)).error, "invalid_scope");
    let form = "error=bad_verification_code&error_description=The+code+is+incorrect.\n";
    let error = refused(read(400, &[], form));
    assert_eq!(error.error, "bad_verification_code");
    assert_eq!(error.description.as_deref(), Some("The code is incorrect."));
}

#[test]
fn an_error_inside_an_object_is_taken_out() {
    let error = refused(read(400, &[], r#"{"error":{"code":"invalid_client","message":"who?"}}"#));
    assert_eq!(
        (error.error.as_str(), error.description.as_deref()),
        ("invalid_client", Some("who?"))
    );
    let google = r#"{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}"#;
    assert_eq!(refused(read(400, &[], google)).error, "INVALID_ARGUMENT");
    assert_eq!(refused(read(400, &[], r#"{"error":{"message":"no"}}"#)).error, "no");
}

#[test]
fn the_texts_of_an_error_cannot_forge_a_line() {
    let body =
        r#"{"error":"a\nb","error_description":"x\u001b[2J","error_uri":"javascript:alert(1)"}"#;
    let error = refused(read(400, &[], body));
    assert_eq!(error.to_string(), "a�b (x�[2J)");
    let long = format!(r#"{{"error":"e","error_description":"{}"}}"#, "x".repeat(9_000));
    assert!(refused(read(400, &[], &long)).to_string().len() < 250);
    let body = r#"{"error":"e","error_uri":"https://docs.example/#why"}"#;
    assert_eq!(refused(read(400, &[], body)).to_string(), "e, see https://docs.example/#why");
}

#[test]
fn trouble_passes_and_says_when_to_come_back() {
    let page = "<html>Just a moment...";
    let failure = read(503, &[("retry-after", "30"), ("content-type", "text/html")], page);
    let retry_after = Some(Duration::from_secs(30));
    assert_eq!(failure, Failure::Passing { status: 503, retry_after, error: None });
    for status in [408, 425, 429, 500, 502, 599] {
        let failure = read(status, &[], r#"{"error":"invalid_request"}"#);
        assert!(matches!(failure, Failure::Passing { error: Some(_), .. }), "{failure:?}");
    }
    for code in ["server_error", "temporarily_unavailable", "slow_down"] {
        let failure = read(400, &[], &format!(r#"{{"error":"{code}"}}"#));
        assert!(matches!(failure, Failure::Passing { status: 400, .. }), "{failure:?}");
    }
}

#[test]
fn a_web_page_comes_from_something_in_between() {
    for status in [200, 400, 401, 403] {
        let failure = read(status, &[], " <!DOCTYPE html>error=invalid_grant");
        assert!(matches!(failure, Failure::Passing { error: None, .. }), "{status} {failure:?}");
        let failure = read(status, &[("content-type", "Text/HTML")], "error=invalid_grant");
        assert!(matches!(failure, Failure::Passing { error: None, .. }), "{status} {failure:?}");
    }
    let plain = read(403, &[("content-type", "text/plain")], "error code: 1010");
    assert_eq!(plain, Failure::Passing { status: 403, retry_after: None, error: None });
}

#[test]
fn a_bare_401_may_be_anybodys() {
    for body in ["", "Unauthorized", "[]", r#"[{"message":5}]"#, r#"["message"]"#] {
        assert_eq!(read(401, &[], body), Failure::Unauthorized { message: None });
    }
    let uaa = r#"[{"logref":"59ae","message":"Error : 'Fetch token call failed'\n"}]"#;
    let failure = read(401, &[], uaa);
    assert_eq!(failure.to_string(), "HTTP 401: Error : 'Fetch token call failed'�");
}

#[test]
fn a_server_that_wants_the_secret_says_so_in_words() {
    let says = |text: &str| {
        let error = OAuthError { description: Some(text.into()), ..OAuthError::code("e") };
        error.wants_client_secret()
    };
    assert!(says("Client secret is required") && says("client_secret REQUIRED"));
    assert!(!says("Client secret is wrong") && !says("the secret is required"));
    assert!(!OAuthError::code("invalid_client").wants_client_secret());
}

#[test]
fn a_missing_endpoint_is_told_from_a_passing_failure() {
    for (status, body) in [(404, ""), (405, "no"), (404, "<html>nginx"), (410, "{}")] {
        let Failure::Malformed(what) = read(status, &[], body) else { panic!("{status}") };
        assert_eq!(what.expected, "an endpoint that takes POST");
        assert!(what.got.starts_with(&format!("HTTP {status} ")), "{what}");
    }
}

#[test]
fn a_redirect_is_named_without_its_query() {
    let failure = read(302, &[("location", "https://portal.example/in?token=hidden")], "");
    assert_eq!(
        failure.to_string(),
        "token reply: expected no redirect, got HTTP 302 Found to https://portal.example/in?…"
    );
}

#[test]
fn an_answer_that_says_nothing_is_malformed_and_keeps_its_text() {
    for body in [r#"{"detail":"hidden"}"#, "hidden=1", "hidden", r#"{"error":true,"x":"hidden"}"#] {
        let failure = read(400, &[], body);
        assert!(matches!(failure, Failure::Malformed(_)), "{failure:?}");
        assert!(!format!("{failure:?}{failure}").contains("hidden"));
    }
}

#[test]
fn vendors_have_their_own_words() {
    let error = |body: &str| refused(read(400, &[], body));
    assert!(error(r#"{"error":"bad_refresh_token"}"#).is_dead_grant());
    assert!(!error(r#"{"error":"invalid_client"}"#).is_dead_grant());
    let fastmcp = r#"{"error":"invalid_request","error_description":"Client ID 'x' is not registered with this server."}"#;
    assert!(error(fastmcp).is_unknown_client());
    assert!(!error(r#"{"error":"invalid_request"}"#).is_unknown_client());
    let entra = r#"{"error":"invalid_request","error_description":"AADSTS9010010: The resource parameter …"}"#;
    assert!(error(entra).is_refused_resource());
    assert!(error(r#"{"error":"invalid_target"}"#).is_refused_resource());
    assert!(!error(r#"{"error":"invalid_grant"}"#).is_refused_resource());
}

#[test]
fn a_wait_is_in_seconds_or_until_a_date_and_bounded() {
    let wait = |value: &str| {
        retry_after(&headers_of(&[("retry-after", value)]), NOW).map(|wait| wait.as_secs())
    };
    assert_eq!(wait("0"), Some(0));
    assert_eq!(wait(" 120 "), Some(120));
    assert_eq!(wait("99999999999999999999999999"), Some(86_400));
    // NOW is Mon, 21 Sep 2026 14:13:20 GMT.
    assert_eq!(wait("Mon, 21 Sep 2026 14:14:20 GMT"), Some(60));
    assert_eq!(wait("Mon, 21 Sep 2026 14:13:00 GMT"), Some(0));
    assert_eq!(wait("Fri, 31 Dec 9999 23:59:59 GMT"), Some(86_400));
    for nonsense in ["", "-1", "1.5", "soon", "Mon, 31 Feb 2026 00:00:00 GMT"] {
        assert_eq!(wait(nonsense), None, "{nonsense}");
    }
    assert_eq!(retry_after(&HeaderMap::new(), NOW), None);
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(
        status in 100u16..1000,
        body in proptest::collection::vec(any::<u8>(), 0..200),
        wait in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&wait) {
            headers.insert(RETRY_AFTER, value.clone());
            headers.insert(LOCATION, value);
        }
        let status = StatusCode::from_u16(status).unwrap();
        let _ = Failure::read("token reply", status, &headers, &body, NOW).to_string();
    }

    #[test]
    fn no_date_makes_it_panic(day in 0u8..40, year in 0u16..10_000, hour in 0u8..30) {
        let mut headers = HeaderMap::new();
        for text in [
            format!("Mon, {day:02} Dec {year:04} {hour:02}:00:00 GMT"),
            format!("Monday, {day:02}-Feb-{:02} {hour:02}:00:00 GMT", year % 100),
            format!("Mon Dec {day:2} {hour:02}:00:00 {year:04}"),
        ] {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            let wait = retry_after(&headers, NOW);
            prop_assert!(wait.is_none_or(|wait| wait <= MAX_RETRY_AFTER));
        }
    }
}
