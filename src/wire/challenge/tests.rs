use super::*;
use http::HeaderValue;
use proptest::prelude::*;

fn all(lines: &[&str]) -> Vec<Challenge> {
    Challenge::parse_all(lines.iter().map(|line| line.as_bytes()))
}

fn one(line: &str) -> Challenge {
    let mut found = all(&[line]);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn schemes(line: &str) -> Vec<String> {
    all(&[line]).into_iter().map(|c| c.scheme).collect()
}

fn bearer(lines: &[&str]) -> Option<BearerChallenge> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(line).unwrap());
    }
    BearerChallenge::from_headers(&headers)
}

fn metadata(line: &str) -> Vec<String> {
    bearer(&[line]).unwrap().resource_metadata
}

const PRM: &str = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";

#[test]
fn a_challenge_has_a_scheme_and_parameters() {
    let c = one(r#"Bearer realm="OAuth", error="invalid_token", error_description="Missing""#);
    assert!(c.is("bearer"));
    assert_eq!(c.token68, None);
    let params = [("realm", "OAuth"), ("error", "invalid_token"), ("error_description", "Missing")];
    assert_eq!(c.params, params.map(|(n, v)| (n.to_owned(), v.to_owned())));
}

#[test]
fn case_does_not_matter() {
    let c = one(r#"bEARER RESOURCE_Metadata="https://Example.com/X""#);
    assert!(c.is("Bearer") && !c.is("Basic"));
    assert_eq!(c.first("resource_metadata"), Some("https://Example.com/X"));
}

#[test]
fn a_comma_inside_quotes_does_not_split_a_challenge() {
    let line = format!(
        r#"Bearer error="invalid_token", error_description="The token is invalid, expired, or no longer recognized. To resolve: clear tokens, Basic x=y.", resource_metadata="{PRM}""#
    );
    assert_eq!(schemes(&line), ["Bearer"]);
    assert_eq!(metadata(&line), [PRM]);
}

#[test]
fn a_quoted_value_cannot_smuggle_a_parameter() {
    let line = r#"Bearer error_description="say \"resource_metadata=https://attacker.test/x\"", resource_metadata="https://mcp.example.com/prm""#;
    assert_eq!(metadata(line), ["https://mcp.example.com/prm"]);
    assert_eq!(
        one(line).first("error_description"),
        Some(r#"say "resource_metadata=https://attacker.test/x""#)
    );
    for smuggled in [
        r#"Bearer realm="x"y", resource_metadata=https://attacker.test", scope=a"#,
        r#"Bearer "a, resource_metadata=https://attacker.test", scope=a"#,
        r#"Bearer x=y"a, resource_metadata=https://attacker.test", scope=a"#,
        r#"Bearer realm="\\\", resource_metadata=https://attacker.test", scope=a"#,
    ] {
        let found = bearer(&[smuggled]).unwrap();
        assert!(found.resource_metadata.is_empty(), "{smuggled}");
        assert_eq!(found.scope, Some(ScopeSet::parse("a")), "{smuggled}");
    }
}

#[test]
fn escapes_are_undone() {
    assert_eq!(one(r#"Bearer realm="a\"b\\c\d""#).first("realm"), Some(r#"a"b\cd"#));
}

#[test]
fn a_quote_that_is_not_closed_ends_with_the_line() {
    assert_eq!(metadata("Bearer resource_metadata=\"https://a.example/x"), ["https://a.example/x"]);
    let c = one(r#"Bearer error="x, resource_metadata=https://attacker.test\"#);
    assert_eq!(c.first("error"), Some("x, resource_metadata=https://attacker.test"));
    assert_eq!(c.params.len(), 1);
}

#[test]
fn an_unquoted_url_is_a_value() {
    let line = "Bearer resource_metadata=https://a.example/x?y=z&w='(1), scope=read";
    assert_eq!(metadata(line), ["https://a.example/x?y=z&w='(1)"]);
    assert_eq!(one(line).first("scope"), Some("read"));
}

#[test]
fn there_may_be_spaces_around_an_equals_sign_and_none_after_a_comma() {
    assert_eq!(
        metadata("Bearer realm =\"x\",resource_metadata\t= \"https://a/x\""),
        ["https://a/x"]
    );
    assert_eq!(metadata("Bearer resource_metadata = https://a/x"), ["https://a/x"]);
}

#[test]
fn single_quotes_are_quotes_where_they_match() {
    assert_eq!(metadata("Bearer resource_metadata = 'https://a/x'"), ["https://a/x"]);
    let c = one(r#"Bearer scope='read, write', realm='s, error="it's""#);
    assert_eq!(c.first("scope"), Some("read, write"));
    assert_eq!(c.first("realm"), Some("'s"));
    assert_eq!(c.first("error"), Some("it's"));
}

#[test]
fn parameters_may_lack_their_commas() {
    let c = one(r#"Bearer resource_metadata=https://a/meta scope=read realm="x"error="y""#);
    for (name, value) in
        [("resource_metadata", "https://a/meta"), ("scope", "read"), ("realm", "x"), ("error", "y")]
    {
        assert_eq!(c.first(name), Some(value), "{name}");
    }
}

#[test]
fn words_without_quotes_do_not_end_a_challenge() {
    let c = one("Bearer error=invalid_token error_description=The token (x) expired scope=read");
    assert_eq!(c.first("error_description"), Some("The"));
    assert_eq!(c.first("scope"), Some("read"));
}

#[test]
fn empty_elements_are_nothing() {
    let c = one(" , ,Bearer , realm=x,, ,scope=y , ");
    assert_eq!((c.first("realm"), c.first("scope")), (Some("x"), Some("y")));
    assert!(all(&["", " ", ",", " ,, "]).is_empty());
}

#[test]
fn other_schemes_stand_beside_bearer() {
    let line = r#"Negotiate abc==, Basic realm="a, b", Digest qop="auth, auth-int", algorithm=MD5, Bearer realm="x", NTLM"#;
    let found = all(&[line]);
    let names: Vec<_> = found.iter().map(|c| c.scheme.as_str()).collect();
    assert_eq!(names, ["Negotiate", "Basic", "Digest", "Bearer", "NTLM"]);
    assert_eq!(found[0].token68.as_deref(), Some("abc=="));
    assert_eq!(found[2].first("algorithm"), Some("MD5"));
    assert_eq!(found[3].params, [("realm".to_owned(), "x".to_owned())]);
    assert_eq!(bearer(&[line]).unwrap().realm.as_deref(), Some("x"));
}

#[test]
fn another_scheme_keeps_its_parameters() {
    let line =
        r#"Basic realm="b", resource_metadata="https://basic/", Bearer scope=s, Basic scope=t"#;
    let found = bearer(&[line]).unwrap();
    assert!(found.resource_metadata.is_empty());
    assert_eq!(found.realm, None);
    assert_eq!(found.scope, Some(ScopeSet::parse("s")));
}

#[test]
fn bearer_begins_a_challenge_even_without_a_comma() {
    for line in [
        "Negotiate Bearer resource_metadata=https://a/x",
        r#"Basic realm="b" bearer resource_metadata="https://a/x""#,
        "Bearer, resource_metadata=https://a/x",
    ] {
        assert_eq!(metadata(line), ["https://a/x"], "{line}");
    }
}

#[test]
fn a_value_may_look_like_a_token68_and_the_reverse() {
    assert_eq!(one("Bearer abc=").token68.as_deref(), Some("abc="));
    assert_eq!(one("Bearer abc= ,").token68.as_deref(), Some("abc="));
    assert_eq!(one("Bearer a=b").first("a"), Some("b"));
    assert_eq!(one("Bearer a==b").first("a"), Some("=b"));
    assert_eq!(one("NTLM TlRMTVNTUAAC/+AA~._-").token68.as_deref(), Some("TlRMTVNTUAAC/+AA~._-"));
}

#[test]
fn lines_without_a_scheme_say_nothing() {
    for line in [
        "https://mcp.example.com/.well-known/oauth-authorization-server",
        r#"resource_metadata="https://attacker.test""#,
        "=",
        "\"",
        "\\",
        "Bearer: x",
    ] {
        assert!(all(&[line]).is_empty(), "{line}");
    }
    // A line doesn't continue the one before.
    let found = bearer(&["Bearer", "resource_metadata=https://attacker.test"]).unwrap();
    assert_eq!(found, BearerChallenge::default());
}

#[test]
fn foreign_bytes_are_replaced() {
    let c = Challenge::parse_all([&b"Bearer realm=\"caf\xe9\", scope=\xff\xfe, error=x"[..]]);
    assert_eq!(c[0].first("realm"), Some("caf\u{fffd}"));
    assert_eq!(c[0].first("error"), Some("x"));
}

#[test]
fn a_folded_line_is_one_line() {
    let c = one("Bearer resource_metadata=\"https://a/x\",\r\n        scope=\"files:read\"");
    assert_eq!(c.first("scope"), Some("files:read"));
}

#[test]
fn every_metadata_url_is_a_candidate_and_otherwise_the_first_word_counts() {
    let found = bearer(&[
        r#"Bearer realm="", resource_metadata="https://a/1", scope="", error=e1"#,
        r#"DPoP algs="ES256", resource_metadata="https://a/2", resource_metadata="https://a/1""#,
        r#"Bearer resource_metadata="", scope="x y", scope=z, realm=r, error=e2, error_description=d"#,
        "Bearer",
    ])
    .unwrap();
    assert_eq!(
        found,
        BearerChallenge {
            resource_metadata: vec!["https://a/1".into(), "https://a/2".into()],
            scope: Some(ScopeSet::parse("x y")),
            error: Some("e1".into()),
            error_description: Some("d".into()),
            realm: Some("r".into()),
        }
    );
}

#[test]
fn no_challenge_for_a_token_is_none() {
    assert_eq!(bearer(&[]), None);
    assert_eq!(bearer(&["Negotiate", "Basic realm=\"Bearer\""]), None);
    assert_eq!(bearer(&["Bearer"]), Some(BearerChallenge::default()));
    assert!(bearer(&["DPoP algs=ES256"]).is_some());
}

#[test]
fn real_servers_are_understood() {
    let github = metadata(
        r#"Bearer error="invalid_request", error_description="No access token was provided in this request", resource_metadata="https://api.githubcopilot.com/.well-known/oauth-protected-resource/mcp/""#,
    );
    assert_eq!(
        github,
        ["https://api.githubcopilot.com/.well-known/oauth-protected-resource/mcp/"],
        "the terminating slash stays"
    );
    let figma = bearer(&[
        r#"Bearer resource_metadata="https://mcp.figma.com/.well-known/oauth-protected-resource",scope="mcp:connect",authorization_uri="https://api.figma.com/.well-known/oauth-authorization-server""#,
    ])
    .unwrap();
    assert_eq!(figma.scope, Some(ScopeSet::parse("mcp:connect")));
    assert_eq!(figma.resource_metadata.len(), 1);
    let xero = bearer(&[r#"Bearer realm="https://mcp.xero.com/mcp""#]).unwrap();
    assert!(xero.resource_metadata.is_empty());
    let azure = bearer(&[
        r#"Bearer realm="localhost:1031", resource_metadata="http://localhost:1031/.well-known/oauth-protected-resource""#,
        "Bearer",
    ])
    .unwrap();
    assert_eq!(azure.resource_metadata.len(), 1);
    let resource_for_metadata =
        bearer(&[r#"Bearer resource="http://localhost:3001/x", error="invalid_token""#]).unwrap();
    assert!(resource_for_metadata.resource_metadata.is_empty());
    assert!(resource_for_metadata.is_invalid_token());
}

#[test]
fn an_error_is_recognised_and_safe_to_show() {
    let found = bearer(&[r#"Bearer error="insufficient_scope", scope="a""#]).unwrap();
    assert!(found.is_insufficient_scope() && !found.is_invalid_token());
    let long = format!("Bearer error_description=\"\t{}\"", "x".repeat(1_000));
    let shown = bearer(&[&long]).unwrap().error_description.unwrap();
    assert!(shown.starts_with("\u{fffd}xxx") && shown.chars().count() == 201, "{shown}");
}

#[test]
fn a_hostile_server_is_bounded() {
    assert_eq!(all(&["a,".repeat(1_000).as_str()]).len(), 64);
    assert_eq!(all(&["a,"; 100]).len(), 64);
    assert_eq!(one(&format!("Bearer {}", "a=b,".repeat(1_000))).params.len(), 64);
    let many: String = (0..60).map(|n| format!("resource_metadata=https://a/{n},")).collect();
    assert_eq!(metadata(&format!("Bearer {many}")).len(), 8);
    // What doesn't fit is left out as a whole, and what comes after is still read.
    let big = format!("Bearer resource_metadata=https://a/{}", "x".repeat(64 * 1024));
    assert_eq!(bearer(&[&big, "Bearer scope=s"]).unwrap().scope, Some(ScopeSet::parse("s")));
    assert!(metadata(&big[..64 * 1024]).len() == 1);
}

/// Text made of what matters to the grammar.
fn grammar() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "Bearer",
        "DPoP",
        "Basic",
        "a",
        "=",
        "==",
        ",",
        " ",
        "\t",
        "\"",
        "\\",
        "/",
        ":",
        "é",
        "resource_metadata",
        "scope",
        "https://a/x?y=z",
        "abc==",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|v| v.concat())
}

const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}";

fn challenges() -> impl Strategy<Value = Vec<Challenge>> {
    let params =
        prop::collection::vec((TOKEN.prop_map(|n| n.to_ascii_lowercase()), ".{0,20}"), 0..6);
    let token68 = prop::option::of("[A-Za-z0-9._~+/-]{1,20}={0,2}");
    let challenge = (TOKEN, token68, params).prop_map(|(scheme, token68, params)| {
        let token68 = token68.filter(|_| params.is_empty());
        Challenge { scheme, token68, params }
    });
    prop::collection::vec(challenge, 0..6)
}

fn written(challenge: &Challenge) -> String {
    let quote = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"");
    let params: Vec<_> =
        challenge.params.iter().map(|(n, v)| format!("{n}=\"{}\"", quote(v))).collect();
    let token68 = challenge.token68.as_deref().unwrap_or_default();
    format!("{} {token68}{}", challenge.scheme, params.join(", "))
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4),
    ) {
        let found = Challenge::parse_all(lines.iter().map(Vec::as_slice));
        prop_assert!(found.iter().all(|c| !c.scheme.is_empty() && c.scheme.chars().all(is_token_char)));
    }

    #[test]
    fn bent_grammar_is_read(line in grammar()) {
        for c in all(&[&line]) {
            prop_assert!(line.contains(&c.scheme));
            for (name, _) in &c.params {
                prop_assert!(!name.is_empty() && name.chars().all(is_token_char), "{name}");
            }
        }
    }

    #[test]
    fn nothing_in_quotes_becomes_a_parameter(
        before in "[a-z,= ]{0,12}", inside in "[a-zA-Z,=' ]{0,30}",
    ) {
        let line = format!("Bearer {before}\"{inside}, secret=1, {inside}\"");
        prop_assert!(all(&[&line]).iter().all(|c| c.first("secret").is_none()), "{line}");
    }

    #[test]
    fn what_is_written_by_the_book_reads_back(written_down in challenges()) {
        let texts: Vec<_> = written_down.iter().map(written).collect();
        prop_assert_eq!(&all(&[&texts.join(", ")]), &written_down, "in one line");
        let lines: Vec<_> = texts.iter().map(String::as_str).collect();
        prop_assert_eq!(&all(&lines), &written_down, "in a line each");
    }
}
