use super::*;
use proptest::prelude::*;

fn parse(json: &str) -> ServerMetadata {
    ServerMetadata::parse(json.as_bytes()).unwrap()
}

#[test]
fn a_document_is_read_with_its_own_bytes() {
    let metadata = parse(
        r#"{"issuer":"https://a.example/tenant1",
            "authorization_endpoint":"https://a.example/authorize?addr=1",
            "token_endpoint":"https://A.example:443/token",
            "scopes_supported":["mcp:basic","offline_access"],
            "code_challenge_methods_supported":["plain","S256"],
            "authorization_response_iss_parameter_supported":true,
            "client_id_metadata_document_supported":true,
            "jwks_uri":""}"#,
    );
    assert_eq!(metadata.issuer, "https://a.example/tenant1");
    assert_eq!(metadata.token_endpoint.as_deref(), Some("https://A.example:443/token"));
    assert_eq!(metadata.token_endpoint().unwrap().as_str(), "https://a.example/token");
    assert_eq!(metadata.authorization_endpoint().unwrap().query(), Some("addr=1"));
    assert!(metadata.scopes_supported.as_ref().unwrap().contains("offline_access"));
    assert_eq!(metadata.supports_s256(), Some(true), "second in the list counts too");
    assert!(metadata.authorization_response_iss_parameter_supported);
    assert!(metadata.client_id_metadata_document_supported);
    assert_eq!(metadata.registration_endpoint(), None);
}

#[test]
fn null_and_empty_mean_absent() {
    let metadata = parse(
        r#"{"issuer":"https://a.example","token_endpoint":"","scopes_supported":null,
            "registration_endpoint":null,"code_challenge_methods_supported":null,
            "grant_types_supported":7,"client_id_metadata_document_supported":null}"#,
    );
    assert_eq!(metadata, parse(r#"{"issuer":"https://a.example"}"#));
    assert_eq!(metadata.supports_s256(), None);
}

#[test]
fn pkce_is_a_yes_a_no_or_silence() {
    let s256 = |methods: &str| {
        let json = r#"{"issuer":"i","code_challenge_methods_supported":METHODS}"#;
        parse(&json.replace("METHODS", methods)).supports_s256()
    };
    assert_eq!(s256(r#"["S256"]"#), Some(true));
    assert_eq!(s256(r#""S256""#), Some(true));
    assert_eq!(s256(r#"["plain"]"#), Some(false));
    assert_eq!(s256("[]"), Some(false));
    assert_eq!(s256("null"), None);
}

#[test]
fn without_an_issuer_there_is_no_server() {
    for json in [r#"{}"#, r#"{"issuer":null}"#, r#"{"issuer":""}"#, r#"{"issuer":["https://a"]}"#] {
        let refused = ServerMetadata::parse(json.as_bytes()).unwrap_err();
        assert_eq!(refused.expected, "`issuer`, a string", "{json}");
    }
}

#[test]
fn an_endpoint_that_cannot_be_used_is_named() {
    let cases = ["/token", "http://a.example/token", "ftp://a", "https://u@a.example/", "x y"];
    for name in ["authorization_endpoint", "token_endpoint", "registration_endpoint"] {
        for url in cases {
            let json = format!(r#"{{"issuer":"https://a.example","{name}":"{url}"}}"#);
            let refused = ServerMetadata::parse(json.as_bytes()).unwrap_err();
            assert!(refused.expected.contains(name), "{refused}");
        }
        let json = format!(r#"{{"issuer":"https://a.example","{name}":7}}"#);
        let refused = ServerMetadata::parse(json.as_bytes()).unwrap_err();
        assert_eq!(refused.got, "a number");
    }
    let loopback = parse(r#"{"issuer":"i","token_endpoint":"http://127.0.0.1:8/t"}"#);
    assert!(loopback.token_endpoint().is_some());
}

#[test]
fn a_useless_endpoint_that_one_can_do_without_does_not_stop_a_login() {
    for url in [r#""/there""#, "[]", r#""http://a.example/there""#] {
        for name in ["revocation_endpoint", "device_authorization_endpoint"] {
            let metadata = parse(&format!(r#"{{"issuer":"i","{name}":{url}}}"#));
            assert_eq!(metadata, parse(r#"{"issuer":"i"}"#));
        }
    }
}

#[test]
fn a_server_without_metadata_has_the_old_endpoints() {
    let url = Url::parse("https://u:p@a.example:8443/deep/mcp?x=1").unwrap();
    let legacy = ServerMetadata::legacy(&url);
    assert_eq!(legacy.issuer, "https://a.example:8443");
    let token = legacy.token_endpoint().unwrap();
    assert_eq!(token.as_str(), "https://a.example:8443/token");
    let authorize = legacy.authorization_endpoint().unwrap();
    assert_eq!(authorize.as_str(), "https://a.example:8443/authorize");
    let register = legacy.registration_endpoint().unwrap();
    assert_eq!(register.as_str(), "https://a.example:8443/register");
    assert_eq!(legacy.supports_s256(), Some(true));
}

#[test]
fn two_documents_of_one_issuer_complete_each_other() {
    let mut openid = parse(
        r#"{"issuer":"https://a.example/","token_endpoint":"https://a.example/openid",
            "scopes_supported":["openid"]}"#,
    );
    let oauth = parse(
        r#"{"issuer":"https://a.example","token_endpoint":"https://a.example/oauth",
            "registration_endpoint":"https://a.example/register",
            "code_challenge_methods_supported":["S256"],
            "authorization_response_iss_parameter_supported":true}"#,
    );
    openid.complete_from(&oauth);
    assert_eq!(openid.token_endpoint.as_deref(), Some("https://a.example/openid"));
    assert_eq!(openid.registration_endpoint, oauth.registration_endpoint);
    assert_eq!(openid.supports_s256(), Some(true));
    assert_eq!(openid.scopes_supported, Some(ScopeSet::parse("openid")));
    assert!(openid.authorization_response_iss_parameter_supported);
}

#[test]
fn a_document_of_another_issuer_adds_nothing() {
    let mut ours = parse(r#"{"issuer":"https://a.example/tenant1"}"#);
    let before = ours.clone();
    ours.complete_from(&ServerMetadata::legacy(&Url::parse("https://a.example").unwrap()));
    assert_eq!(ours, before);
}

#[test]
fn a_record_is_read_back_and_a_tampered_one_leads_nowhere() {
    let metadata = ServerMetadata::legacy(&Url::parse("https://a.example").unwrap());
    let json = serde_json::to_string(&metadata).unwrap();
    assert_eq!(serde_json::from_str::<ServerMetadata>(&json).unwrap(), metadata);
    let json = json.replace("https://a.example/token", "http://evil.example/token");
    let tampered: ServerMetadata = serde_json::from_str(&json).unwrap();
    assert_eq!(tampered.token_endpoint(), None);
    let old: ServerMetadata = serde_json::from_str(r#"{"issuer":"https://a.example"}"#).unwrap();
    assert_eq!(old.supports_s256(), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = ServerMetadata::parse(&body);
    }

    #[test]
    fn every_endpoint_that_is_kept_can_be_used(url in ".{0,40}") {
        let json = serde_json::json!({ "issuer": "i", "token_endpoint": url }).to_string();
        if let Ok(metadata) = ServerMetadata::parse(json.as_bytes()) {
            prop_assert_eq!(metadata.token_endpoint().is_some(), metadata.token_endpoint.is_some());
        }
    }
}
