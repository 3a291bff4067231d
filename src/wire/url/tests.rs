use super::*;
use proptest::prelude::*;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn strings(urls: Vec<Url>) -> Vec<String> {
    urls.into_iter().map(String::from).collect()
}

#[test]
fn https_goes_anywhere_and_http_stays_on_this_machine() {
    for fine in [
        "https://mcp.example.com",
        "https://mcp.example.com:8443/a?b=c",
        "HTTPS://mcp.example.com/",
        "http://localhost:3000/mcp",
        "http://app.localhost/",
        "http://127.0.0.1/",
        "http://127.8.9.10/",
        "http://[::1]:8080/",
    ] {
        assert!(parse("x", fine).is_ok(), "{fine}");
    }
    for refused in [
        "http://mcp.example.com/",
        "http://localhost.example.com/",
        "http://notlocalhost/",
        "http://128.0.0.1/",
        "http://[::2]/",
        "http://[::ffff:127.0.0.1]/",
        "ftp://localhost/",
        "file:///etc/passwd",
        "javascript://localhost/%0aalert(1)",
        "data:text/plain,hello",
    ] {
        assert!(parse("x", refused).is_err(), "{refused}");
    }
}

#[test]
fn text_that_a_parser_would_repair_is_refused() {
    for refused in [
        "",
        "/relative",
        "//host/path",
        "mcp.example.com",
        "https:mcp.example.com",
        "https:/mcp.example.com",
        "https:///mcp.example.com",
        "https://",
        "https://?x",
        "https:\\\\mcp.example.com",
        "https://mcp.example.com\\@evil.example",
        " https://mcp.example.com",
        "https://mcp.example.com\n",
        "https://mcp.exa\tmple.com",
        "https://mcp.example.com/a b",
        "https://mcp.example.com/\0",
        "https://mcp.example.com/\u{a0}",
        "https://mcp%2eexample.com/",
        "https://mcp.example.com:99999/",
        "https://user@mcp.example.com/",
        "https://user:pw@mcp.example.com/",
        "https://@mcp.example.com/",
        "https://:@mcp.example.com/",
        "https://mcp.example.com/#",
        "https://mcp.example.com/#x",
    ] {
        assert!(parse("x", refused).is_err(), "{refused:?}");
    }
    assert!(parse("x", "https://mcp.example.com/@scope/pkg?user=a@b").is_ok());
}

#[test]
fn a_url_that_no_request_can_be_made_of_is_refused() {
    for refused in ["https://mcp.ex{ample.com/", "https://mcp.\"example.com/", "https://mcp`/"] {
        assert!(Url::parse(refused).is_ok(), "{refused}");
        assert!(parse("x", refused).is_err(), "{refused}");
    }
}

#[test]
fn a_url_has_a_length() {
    let long = |n: usize| format!("https://a.example/{}", "x".repeat(n - 18));
    assert!(parse("x", &long(8 * 1024)).is_ok());
    assert!(parse("x", &long(8 * 1024 + 1)).is_err());
    // Percent-encoding triples a character: the parsed URL is measured too.
    assert!(parse("x", &format!("https://a.example/{}", "é".repeat(4_000))).is_err());
}

#[test]
fn a_refusal_shows_neither_password_nor_query() {
    let error = parse("token endpoint", "https://u:hunter2@a.example/x?code=s3cret").unwrap_err();
    let shown = error.to_string();
    assert!(shown.starts_with("token endpoint: expected a URL without user name"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    let a = url("https://a.example/x");
    assert!(same_origin(&a, &url("https://A.example:443/y?z")));
    assert!(!same_origin(&a, &url("http://a.example/x")));
    assert!(!same_origin(&a, &url("https://a.example:444/x")));
    assert!(!same_origin(&a, &url("https://b.a.example/x")));
    assert!(!same_origin(&a, &url("blob:https://a.example/x")));
    let opaque = url("data:,x");
    assert!(!same_origin(&opaque, &opaque));
}

#[test]
fn resource_metadata_is_at_the_path_then_at_the_root() {
    assert_eq!(
        strings(resource_metadata_urls(&url("https://mcp.example.com/v1/mcp?tenant=1"))),
        [
            "https://mcp.example.com/.well-known/oauth-protected-resource/v1/mcp",
            "https://mcp.example.com/.well-known/oauth-protected-resource",
        ]
    );
    for root in
        ["https://a.example", "https://a.example/", "https://a.example/?q", "https://a.example//"]
    {
        assert_eq!(
            strings(resource_metadata_urls(&url(root))),
            ["https://a.example/.well-known/oauth-protected-resource"]
        );
    }
}

#[test]
fn a_server_path_with_a_terminating_slash_has_both_forms() {
    assert_eq!(
        strings(resource_metadata_urls(&url("https://api.example.com/mcp/"))),
        [
            "https://api.example.com/.well-known/oauth-protected-resource/mcp",
            "https://api.example.com/.well-known/oauth-protected-resource/mcp/",
            "https://api.example.com/.well-known/oauth-protected-resource",
        ]
    );
}

#[test]
fn an_encoded_path_is_not_encoded_again() {
    let arn = url("https://gw.example/runtimes/arn%3Aaws%2Fx/invocations?qualifier=DEFAULT");
    assert_eq!(
        resource_metadata_urls(&arn)[0].as_str(),
        "https://gw.example/.well-known/oauth-protected-resource/runtimes/arn%3Aaws%2Fx/invocations"
    );
}

#[test]
fn a_server_moves_by_a_slash_and_no_further() {
    let moved = |from: &str, to: &str| moved_to(&url(from), to).map(String::from);
    let there = Some("https://a.example/mcp/".to_owned());
    for location in ["/mcp/", "mcp/", "https://a.example/mcp/", "http://a.example/mcp/#x"] {
        assert_eq!(moved("https://a.example/mcp", location), there, "{location}");
    }
    assert_eq!(moved("https://a.example/mcp/", "/mcp").as_deref(), Some("https://a.example/mcp"));
    let query = moved("https://a.example/mcp?a=1", "/mcp/?a=1");
    assert_eq!(query.as_deref(), Some("https://a.example/mcp/?a=1"));
    for location in [
        "",
        "/mcp",
        "/login",
        "/mcp/?a=1",
        "https://b.example/mcp/",
        "//b.example/mcp/",
        "https://a.example:8443/mcp/",
        "http://a.example:80/mcp/",
        "ftp://a.example/mcp/",
        "/mcp/\n",
    ] {
        assert_eq!(moved("https://a.example/mcp", location), None, "{location}");
    }
    // Nobody is taken from http to https, where tokens go, nor the other way.
    assert_eq!(moved("http://localhost:1/mcp", "https://localhost:1/mcp/"), None);
}

#[test]
fn a_resource_is_the_server_itself_or_another_one() {
    let server = url("https://a.example/mcp");
    assert!(same_resource("https://a.example/mcp", &server));
    assert!(same_resource("https://A.example:443/mcp/", &server));
    for other in ["https://a.example", "https://a.example/mcp?x", "https://b.example/mcp", "mcp"] {
        assert!(!same_resource(other, &server), "{other}");
    }
}

#[test]
fn an_origin_is_nobody_elses_and_has_no_path() {
    let tenant = "https://as.example/tenant";
    assert!(is_origin_of("https://as.example", tenant));
    assert!(is_origin_of("https://as.example/", tenant));
    for other in [
        "https://as.example/other",
        "https://as.example?tenant",
        "https://as.example:8443",
        "https://as.example.com",
        "http://as.example",
        "as.example",
        "",
    ] {
        assert!(!is_origin_of(other, tenant), "{other}");
    }
    assert!(!is_origin_of("http://localhost:1", "http://localhost:1/tenant"));
}

#[test]
fn server_metadata_has_four_places_with_a_path_and_two_without() {
    let with_path = [
        "https://as.example/.well-known/oauth-authorization-server/realms/one",
        "https://as.example/.well-known/openid-configuration/realms/one",
        "https://as.example/realms/one/.well-known/openid-configuration",
        "https://as.example/realms/one/.well-known/oauth-authorization-server",
    ];
    for issuer in ["https://as.example/realms/one", "https://as.example/realms/one/"] {
        assert_eq!(strings(server_metadata_urls(&url(issuer))), with_path);
    }
    let root = [
        "https://as.example/.well-known/oauth-authorization-server",
        "https://as.example/.well-known/openid-configuration",
    ];
    for issuer in ["https://as.example", "https://as.example/"] {
        assert_eq!(strings(server_metadata_urls(&url(issuer))), root);
    }
}

#[test]
fn a_resource_covers_its_own_path_and_what_is_below() {
    let server = url("https://mcp.example.com/v1/mcp");
    for covers in [
        "https://mcp.example.com/v1/mcp",
        "https://mcp.example.com/v1/mcp/",
        "https://mcp.example.com/v1",
        "https://mcp.example.com/v1/",
        "https://mcp.example.com",
        "https://mcp.example.com/",
        "https://MCP.example.com:443/v1",
    ] {
        assert!(resource_covers(covers, &server), "{covers}");
    }
    for foreign in [
        "https://mcp.example.com/v1/mc",
        "https://mcp.example.com/v1/mcp/deeper",
        "https://mcp.example.com/v1/mcp2",
        "https://mcp.example.com/V1",
        "https://mcp.example.com/v1/../v2",
        "https://mcp.example.com/v1?tenant=2",
        "https://mcp.example.com:8443/v1/mcp",
        "https://example.com/v1/mcp",
        "https://mcp.example.com.evil.example/v1/mcp",
        "http://mcp.example.com/v1/mcp",
        "https://user@mcp.example.com/v1/mcp",
        "https://mcp.example.com/v1/mcp#x",
        "urn:example:mcp",
        "mcp.example.com/v1/mcp",
        "",
    ] {
        assert!(!resource_covers(foreign, &server), "{foreign}");
    }
    assert!(resource_covers("https://api.example.com/mcp", &url("https://api.example.com/mcp/")));
    assert!(resource_covers("http://localhost:8000/", &url("http://localhost:8000/mcp")));
    assert!(!resource_covers("https://a.example/mcp", &url("https://a.example/mcp%2Fx")));
}

#[test]
fn a_resource_with_a_query_covers_that_url_alone() {
    let server = url("https://a.example/mcp?tenant=1");
    assert!(resource_covers("https://a.example/mcp?tenant=1", &server));
    assert!(resource_covers("https://a.example/mcp", &server));
    assert!(!resource_covers("https://a.example/?tenant=1", &server));
}

#[test]
fn issuers_are_compared_as_strings_save_the_root_slash() {
    assert!(issuers_match("https://a.example", "https://a.example/"));
    assert!(issuers_match("https://a.example/", "https://a.example"));
    assert!(issuers_match("https://a.example/t/", "https://a.example/t/"));
    for other in [
        "https://a.example/t",
        "https://A.example",
        "https://a.example:443",
        "https://a.example//",
        "https://a.example?/",
        "a.example/",
        "",
    ] {
        assert!(!issuers_match("https://a.example", other), "{other}");
    }
    assert!(!issuers_match("https://a.example/t", "https://a.example/t/"));
    assert!(!issuers_match("a", "a/"));
}

#[test]
fn what_a_server_names_is_absolute_or_stays_with_it() {
    let asked = url("https://a.example/v1/mcp/?x=1");
    let resolved = |text| resolve("it", &asked, text).map(String::from);
    assert_eq!(resolved("/prm").unwrap(), "https://a.example/prm");
    assert_eq!(resolved("prm").unwrap(), "https://a.example/v1/mcp/prm");
    assert_eq!(resolved("../prm?a=b").unwrap(), "https://a.example/v1/prm?a=b");
    assert_eq!(resolved("//a.example/prm").unwrap(), "https://a.example/prm");
    assert_eq!(resolved("https://b.example/prm").unwrap(), "https://b.example/prm");
    for refused in [
        "//b.example/prm",
        "///b.example/prm",
        r"\\b.example\prm",
        "/ /prm",
        "https:prm",
        "https:/prm",
        "http://a.example/prm",
        "//user@a.example/prm",
        "//a.example:1/prm",
        "javascript:1",
        "",
    ] {
        assert!(resolved(refused).is_err(), "{refused}");
    }
}

#[test]
fn a_redirect_stays_with_the_party_that_was_asked() {
    let from = url("https://a.example/.well-known/x/mcp");
    let to = |location| redirect_target(&from, location).map(String::from);
    assert_eq!(to("/prm").unwrap(), "https://a.example/prm");
    assert_eq!(to("y?z#frag").unwrap(), "https://a.example/.well-known/x/y?z");
    assert_eq!(to("https://a.example:443/p").unwrap(), "https://a.example/p");
    for refused in [
        "http://a.example/p",
        "https://b.example/p",
        "//b.example/p",
        "///b.example/p",
        "/\\b.example/p",
        "https://user@a.example/p",
        "https://a.example:444/p",
        "javascript:alert(1)",
        "/p\r\nx",
    ] {
        assert!(to(refused).is_err(), "{refused:?}");
    }
    let local = url("http://localhost:1/x");
    assert!(redirect_target(&local, "/y").is_ok());
    assert!(redirect_target(&local, "http://127.0.0.1:1/y").is_err());
}

proptest! {
    #[test]
    fn no_text_breaks_a_rule(text in ".*", server in "https?://[a-z.@:0-9]{1,12}[/?#a-z%\\\\]{0,8}") {
        let _ = parse("x", &text);
        let _ = issuers_match(&text, &server);
        if let Ok(base) = Url::parse(&server) {
            let _ = resource_covers(&text, &base);
            for found in resource_metadata_urls(&base).iter().chain(&server_metadata_urls(&base)) {
                prop_assert!(same_origin(found, &base));
                prop_assert!(found.path().contains("/.well-known/"));
            }
            if let Ok(to) = redirect_target(&base, &text) {
                prop_assert!(same_origin(&to, &base));
            }
        }
    }

    #[test]
    fn what_parses_keeps_the_host_that_a_reader_sees(
        text in "https://[a-z0-9.@:/\\\\?#%\t-]{1,24}",
    ) {
        if let Ok(parsed) = parse("x", &text) {
            let seen = text["https://".len()..].split(['/', '?', '#', ':']).next().unwrap_or_default();
            let host = parsed.host_str().unwrap_or_default();
            let is_name = matches!(parsed.host(), Some(Host::Domain(_)));
            prop_assert!(!is_name || host == seen || seen.contains("xn--"));
            prop_assert!(check("x", &parsed).is_ok());
        }
    }
}

#[test]
fn a_resource_indicator_is_the_servers_url_with_a_lower_case_host_and_no_fragment() {
    for (server, indicator) in [
        ("https://MCP.Example.COM/api#fragment", "https://mcp.example.com/api"),
        ("HTTPS://mcp.example.com/API/", "https://mcp.example.com/API/"),
        ("https://mcp.example.com:8443/api", "https://mcp.example.com:8443/api"),
        ("https://mcp.example.com:443", "https://mcp.example.com:443"),
        ("https://mcp.example.com/api?token=ABC123", "https://mcp.example.com/api?token=ABC123"),
        ("https://MCP.example.com?Q=1", "https://mcp.example.com?Q=1"),
        ("http://[::1]:8080/a%2Fb/../c", "http://[::1]:8080/a%2Fb/../c"),
    ] {
        assert_eq!(resource_indicator(server).as_deref(), Some(indicator));
    }
    for none in [
        "",
        "ht!tp://invalid",
        "mcp.example.com/api",
        "/api",
        "mailto:a@b",
        "https://",
        "https://user:pw@mcp.example.com",
        "https://mcp.example.com/a b",
    ] {
        assert_eq!(resource_indicator(none), None, "{none}");
    }
}
