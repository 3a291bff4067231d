use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::wire::revocation::Revoked;

const NOW: UnixTime = UnixTime(1_790_000_000);

fn reply(status: u16, body: &str) -> Result<RegistrationReply, Failure> {
    let status = StatusCode::from_u16(status).unwrap();
    RegistrationReply::parse(status, &HeaderMap::new(), body.as_bytes(), NOW)
}

fn client(body: &str) -> RegistrationReply {
    reply(201, body).unwrap()
}

#[test]
fn a_request_says_what_is_known_and_nothing_else() {
    let endpoint = Url::parse("https://a.example/register").unwrap();
    let metadata = ClientMetadata::new("http://127.0.0.1:8666/callback", "My program");
    let sent = request(&endpoint, &metadata, None);
    assert_eq!(sent.uri(), "https://a.example/register");
    assert_eq!(sent.headers()[CONTENT_TYPE], "application/json");
    assert!(!sent.headers().contains_key(AUTHORIZATION));
    assert_eq!(
        serde_json::from_slice::<Value>(sent.body()).unwrap(),
        json!({
            "redirect_uris": ["http://127.0.0.1:8666/callback"],
            "client_name": "My program",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "application_type": "native",
        })
    );
    let metadata = ClientMetadata {
        scope: ScopeSet::parse("a b"),
        grant_types: &["authorization_code"],
        software_id: Some("id".into()),
        token_endpoint_auth_method: AuthMethod::Post,
        ..metadata
    };
    let sent: serde_json::Value =
        serde_json::from_slice(request(&endpoint, &metadata, None).body()).unwrap();
    assert_eq!(sent["scope"], "a b");
    assert_eq!(sent["grant_types"], json!(["authorization_code"]));
    assert_eq!(sent["software_id"], "id");
    assert_eq!(sent["token_endpoint_auth_method"], "client_secret_post");
}

#[test]
fn an_initial_access_token_goes_into_a_hidden_header() {
    let endpoint = Url::parse("https://a.example/register").unwrap();
    let metadata = ClientMetadata::new("http://127.0.0.1/", "c");
    let sent = request(&endpoint, &metadata, Some(&Secret::from("letmein")));
    assert_eq!(sent.headers()[AUTHORIZATION], "Bearer letmein");
    assert!(!format!("{sent:?}").contains("letmein"));
    let sent = request(&endpoint, &metadata, Some(&Secret::from("two\nlines")));
    assert!(!sent.headers().contains_key(AUTHORIZATION));
}

#[test]
fn the_redirect_uri_decides_where_a_client_runs() {
    for native in [
        "http://127.0.0.1:1/cb",
        "http://localhost/",
        "http://[::1]:7/",
        "com.example.app:/cb",
        "?",
    ] {
        assert_eq!(ApplicationType::of(native), ApplicationType::Native, "{native}");
    }
    assert_eq!(ApplicationType::of("https://app.example/callback"), ApplicationType::Web);
}

#[test]
fn a_whole_reply_is_read() {
    let got = client(
        r#"{"client_id":"c","client_secret":"s","client_secret_expires_at":1800000000,
            "client_id_issued_at":1790000000,"token_endpoint_auth_method":"client_secret_post",
            "redirect_uris":["http://127.0.0.1/callback"],"registration_access_token":"rat",
            "registration_client_uri":"https://a.example/register/c","scope":"a b"}"#,
    );
    assert_eq!(got.client_id, "c");
    assert_eq!(got.client_secret, Some(Secret::from("s")));
    assert_eq!(got.client_secret_expires_at, Some(UnixTime(1_800_000_000)));
    assert_eq!(got.client_id_issued_at, Some(UnixTime(1_790_000_000)));
    assert_eq!(got.redirect_uris.as_deref(), Some(&["http://127.0.0.1/callback".to_owned()][..]));
    assert_eq!(got.registration_access_token, Some(Secret::from("rat")));
    assert_eq!(got.registration_client_uri.as_deref(), Some("https://a.example/register/c"));
    assert_eq!(got.scope, Some(ScopeSet::parse("a b")));
    let shown = format!("{got:?}");
    assert!(!shown.contains("\"s\"") && !shown.contains("rat\""), "{shown}");
}

#[test]
fn little_is_enough() {
    let got = reply(200, r#"{"client_id":"c","client_secret":"","registration_client_uri":"/c"}"#);
    let got = got.unwrap();
    assert_eq!((got.client_secret, got.registration_client_uri), (None, None));
    assert_eq!((got.client_secret_expires_at, got.redirect_uris), (None, None));
}

#[test]
fn expiry_comes_in_all_shapes() {
    let expires = |json: &str| {
        let body = format!(r#"{{"client_id":"c","client_secret_expires_at":{json}}}"#);
        client(&body).client_secret_expires_at.map(|at| at.0)
    };
    for never in ["0", r#""0""#, "null", "-5", "true", r#""soon""#] {
        assert_eq!(expires(never), None, "{never}");
    }
    assert_eq!(expires("1"), Some(1), "in the past, and so to be told");
    assert_eq!(expires(r#""1800000000""#), Some(1_800_000_000));
    assert_eq!(expires("1800000000000"), Some(1_800_000_000), "milliseconds");
    assert!(expires("1e300").is_some());
}

#[test]
fn a_success_without_a_client_is_none() {
    for body in ["{}", r#"{"client_id":""}"#, r#"{"client_id":7}"#, r#"{"client_id":null}"#, ""] {
        let failure = reply(201, body).unwrap_err();
        assert!(matches!(failure, Failure::Malformed(_)), "{body}: {failure:?}");
    }
    let refused = reply(200, r#"{"error":"invalid_client_metadata"}"#).unwrap_err();
    assert!(matches!(refused, Failure::Refused { status: 200, .. }));
}

#[test]
fn a_closed_endpoint_is_a_refusal_and_a_broken_one_is_not() {
    let figma = reply(403, "Forbidden").unwrap_err();
    let Failure::Refused { status: 403, error } = figma else { panic!("{figma:?}") };
    assert_eq!(error.error, "access_denied");
    assert!(matches!(reply(403, "<html>blocked"), Err(Failure::Passing { .. })));
    assert!(matches!(reply(503, ""), Err(Failure::Passing { .. })));
    assert!(matches!(reply(404, "<html>"), Err(Failure::Malformed(_))));
    let coralogix = reply(
        400,
        r#"{"error":"invalid_client_metadata","error_description":"Requested scopes are not valid"}"#,
    );
    let Err(Failure::Refused { error, .. }) = coralogix else { panic!("{coralogix:?}") };
    assert_eq!(error.description.as_deref(), Some("Requested scopes are not valid"));
}

#[test]
fn the_reply_decides_how_to_authenticate() {
    use AuthMethod::{Basic, None, Post};
    let method = |body: &str, asked| client(body).auth_method(asked);
    let bare = r#"{"client_id":"c"}"#;
    assert_eq!(method(bare, Post), Ok(None), "no secret, no method");
    let secret = r#"{"client_id":"c","client_secret":"s"}"#;
    assert_eq!(method(secret, None), Ok(Basic));
    assert_eq!(method(secret, Post), Ok(Post));
    let downgraded = r#"{"client_id":"c","token_endpoint_auth_method":"none"}"#;
    assert_eq!(method(downgraded, Post), Ok(None));
    let figma = r#"{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"none"}"#;
    assert_eq!(method(figma, None), Ok(None));
    let post = r#"{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"client_secret_post"}"#;
    assert_eq!(method(post, None), Ok(Post));

    let useless = r#"{"client_id":"c","token_endpoint_auth_method":"client_secret_basic"}"#;
    assert_eq!(
        method(useless, None).unwrap_err().expected,
        "`client_secret` for client_secret_basic"
    );
    let unknown = r#"{"client_id":"c","token_endpoint_auth_method":"private_key_jwt"}"#;
    assert_eq!(method(unknown, None).unwrap_err().got, "private_key_jwt");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        status in 100u16..1000,
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let _ = RegistrationReply::parse(status, &HeaderMap::new(), &body, NOW);
    }

    #[test]
    fn every_reply_can_be_asked_for_its_method(
        secret in proptest::option::of("[a-z]{0,3}"),
        method in proptest::option::of("(none|client_secret_(basic|post)|[a-z]{0,4})"),
    ) {
        let body = json!({
            "client_id": "c", "client_secret": secret, "token_endpoint_auth_method": method,
        });
        let got = client(&body.to_string());
        for asked in [AuthMethod::None, AuthMethod::Basic, AuthMethod::Post] {
            if let Ok(method) = got.auth_method(asked) {
                prop_assert!(!method.needs_secret() || got.client_secret.is_some());
            }
        }
    }
}

#[test]
fn a_registration_is_ended_with_its_own_token() {
    let uri = Url::parse("https://a.example/register/c").unwrap();
    let request = delete_request(&uri, &Secret::from("manage"));
    assert_eq!(
        (request.method(), request.uri().to_string().as_str()),
        (&Method::DELETE, uri.as_str())
    );
    assert_eq!(request.headers()["authorization"], "Bearer manage");
    assert!(request.headers()["authorization"].is_sensitive() && request.body().is_empty());
}

#[test]
fn a_registration_that_is_gone_has_ended_and_a_server_may_end_none() {
    let said = |status: u16, body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        read_deleted(status, &HeaderMap::new(), body.as_bytes(), UnixTime(0))
    };
    for gone in [204, 200, 404, 410] {
        assert_eq!(said(gone, ""), Ok(Revoked::Done));
    }
    assert_eq!(
        (said(405, ""), said(501, "")),
        (Ok(Revoked::Unsupported), Ok(Revoked::Unsupported))
    );
    let refused = said(401, r#"{"error":"invalid_token"}"#);
    assert!(
        matches!(refused, Err(Failure::Refused { error, .. }) if error.error == "invalid_token")
    );
    assert!(matches!(said(200, "<html>"), Err(Failure::Passing { .. })));
    assert!(matches!(said(503, ""), Err(Failure::Passing { .. })));
}

#[test]
fn a_registration_is_read_with_its_own_token() {
    let uri = Url::parse("https://a.example/register/c").unwrap();
    let request = read_request(&uri, &Secret::from("manage"));
    assert_eq!((request.method(), request.body().is_empty()), (&Method::GET, true));
    assert!(request.headers()[AUTHORIZATION].is_sensitive());
}

/// What an update of this registration sends.
fn update(asked: &ClientMetadata, reply: &RegistrationReply) -> Value {
    let uri = Url::parse("https://a.example/register/c").unwrap();
    let token = Secret::from("manage");
    let request = UpdateRequest {
        uri: &uri,
        token: &token,
        client_id: &reply.client_id,
        client_secret: reply.client_secret.as_ref(),
        metadata: &Registered::asked(asked).updated_by(&reply.metadata),
    }
    .to_http();
    assert_eq!(request.method(), Method::PUT);
    assert_eq!(request.headers()[AUTHORIZATION], "Bearer manage");
    assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
    serde_json::from_slice(request.body()).unwrap()
}

#[test]
fn an_update_sends_back_all_that_was_registered_and_no_more() {
    let asked = ClientMetadata::new("http://127.0.0.1:8666/callback", "My program");
    let reply = client(
        r#"{"client_id":"c","client_secret":"s","client_secret_expires_at":5,
            "client_id_issued_at":1,"registration_access_token":"manage",
            "registration_client_uri":"https://a.example/register/c","client_name":"Renamed",
            "token_endpoint_auth_method":"client_secret_basic","policy_uri":null,
            "x_tenant":{"id":[1,"ü"]}}"#,
    );
    assert_eq!(
        update(&asked, &reply),
        json!({
            "client_id": "c",
            "client_secret": "s",
            "client_name": "Renamed",
            "redirect_uris": ["http://127.0.0.1:8666/callback"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
            "application_type": "native",
            "x_tenant": { "id": [1, "ü"] },
        })
    );
    let shown = format!("{:?}", reply.metadata);
    assert!(!shown.contains("Renamed"), "{shown}");
}

#[test]
fn what_a_server_says_little_of_is_what_was_asked_for() {
    let asked = ClientMetadata::new("http://127.0.0.1:8666/callback", "My program");
    let sent = update(&asked, &client(r#"{"client_id":"c"}"#));
    assert_eq!(sent["client_name"], "My program");
    assert_eq!((sent.get("client_secret"), &sent["client_id"]), (None, &json!("c")));
}

#[test]
fn what_was_registered_is_stored_whole_but_not_without_bound() {
    let reply = client(r#"{"client_id":"c","x":"y"}"#);
    let stored = serde_json::to_string(&reply.metadata).unwrap();
    assert_eq!(serde_json::from_str::<Registered>(&stored).unwrap(), reply.metadata);
    assert!(reply.metadata.is_bounded());
    let long = format!(r#"{{"client_id":"c","x":"{}"}}"#, "y".repeat(20_000));
    assert!(!client(&long).metadata.is_bounded());
    // A record is anybody's text: what can't be read says nothing.
    let torn: Registered = serde_json::from_str(r#""{\"x\":""#).unwrap();
    assert_eq!(torn.updated_by(&reply.metadata), reply.metadata);
}
