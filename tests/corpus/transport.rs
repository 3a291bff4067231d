//! Status codes, redirects, pages, and time.

use mcp_auth::{Demand, ErrorKind, Leniency, Need, TokenState};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{
    Canned, Challenge, ExpiresIn, Fault, GetAnswer, MetadataPlace, ResourceMetadata, What,
    assert_fails,
};
use serde_json::json;

use crate::runner::Check;
use crate::stage::{documents, lenient, meet, server};

pub const CHECKS: &[Check] = &[
    Check::new("TR-004", |entry| {
        let answers = entry.texts("/sequence");
        let bare = status_of(&answers[0]);
        let (before, challenge) = answers[1].split_once('[').unwrap();
        let challenge = challenge.trim_end_matches(']').replace("...", "https://mcp.grafana.com");
        assert_eq!(status_of(before), 401);
        let grafana = |at: &str| {
            let mut s = server("https://mcp.grafana.com/mcp", "https://grafana.com");
            let login = Canned::redirect(bare, "https://grafana.com/login");
            s.world.resource.without_accept = Some(login.clone());
            s.world.resource.get = GetAnswer::Unauthorized;
            s.world.resource.challenge = Challenge::Raw(vec![challenge.clone()]);
            s.world.resource.metadata = ResourceMetadata::At(at.to_owned());
            (s, login)
        };
        let metadata = "https://mcp.grafana.com/.well-known/oauth-protected-resource/mcp";
        let (mut s, _) = grafana(metadata);
        assert_eq!(s.call_tool("whoami").status(), 200);
        // The probe's GET was refused, not redirected: nothing had to be guessed.
        assert_eq!(
            s.take_log()[..2],
            [
                "GET mcp.grafana.com/mcp 401",
                "GET mcp.grafana.com/.well-known/oauth-protected-resource/mcp 200",
            ]
        );
        // A redirect to a page is not followed, whoever gets one.
        let (mut s, login) = grafana(metadata);
        s.world.faults.push(Fault::answer("*", "/mcp", login.clone()).times(2));
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.world.faults.push(Fault::answer("*", "/mcp", login));
        assert_eq!(s.call_tool("whoami").status(), bare);
        assert!(!s.take_log().iter().any(|line| line.contains("/login")));
    }),
    Check::against(
        "TR-005",
        "followed is only a slash's difference, because other servers lead to a login page so (TR-016); the final URL is not remembered, because a 307 is temporary (RFC 9110 §15.4.8), and the URL of a request is the program's",
        |entry| {
            let (method, path) = entry.text("/request").split_once(' ').unwrap();
            assert_eq!((method, entry.status()), ("POST", 307));
            let redirected = |location: &str| {
                let mut s = server("https://host/mcp/", "https://auth.example.com");
                s.server = Some(format!("https://host{path}"));
                let moved = entry
                    .canned()
                    .headers
                    .into_iter()
                    .map(|(name, value)| (name, value.replace("http://host/mcp/", location)));
                let moved = Canned { headers: moved.collect(), ..entry.canned() };
                s.world.faults.push(Fault::answer("POST", path, moved).times(u32::MAX));
                s
            };
            // Followed to https on the same host, with the body and the token.
            for location in ["http://host/mcp/", "https://host/mcp/", "/mcp/", "mcp/"] {
                let mut s = redirected(location);
                assert_eq!(s.call_tool("whoami").status(), 200);
                let log = s.take_log();
                assert_eq!(log[log.len() - 2..], ["POST host/mcp 307", "POST host/mcp/ 200"]);
                assert!(s.world.log.iter().all(|sent| sent.origin.starts_with("https://")));
            }
            // And nowhere else: a login says so, and a caller sees it.
            for location in
                ["https://evil.example/mcp/", "http://host:8080/mcp/", "//evil.example/"]
            {
                let mut s = redirected(location);
                let answer = s.call_tool("whoami");
                assert_fails!(answer, ErrorKind::ProbeFailed { .. });
                let told = answer.error().to_string();
                assert!(told.contains(&format!("HTTP 307 to {location}")), "{told}");
                let faults = std::mem::take(&mut s.world.faults);
                s.server = None;
                s.restart();
                meet(&mut s);
                s.world.faults = faults;
                s.server = Some(format!("https://host{path}"));
                s.world.resource.url = format!("https://host{path}");
                assert_eq!(s.call_tool("whoami").status(), 307);
                assert_eq!(s.world.count(What::Strays), 0);
                s.check_secrets();
            }
        },
    ),
    Check::new("TR-006", |entry| {
        let (method, url) = entry.text("/request").split_once(' ').unwrap();
        let location = entry.header("location").concat();
        let path = url.strip_prefix("https://mcp.posthog.com").unwrap();
        let posthog = |path: &str| {
            let mut s = server("https://mcp.posthog.com/mcp", "https://mcp.posthog.com");
            let changes = &mut s.world.authorization[0].metadata_changes;
            changes.insert("token_endpoint".to_owned(), json!(url));
            s.world.faults.push(Fault::answer(method, path, entry.canned()).times(9));
            s
        };
        for path in [path, "/register"] {
            let mut s = posthog(path);
            let answer = s.call_tool("whoami");
            assert_fails!(answer, ErrorKind::Unusable { .. });
            assert!(answer.error().to_string().contains(&location), "{}", answer.error());
            assert_eq!(s.world.count(What::Strays), 0);
            s.check_secrets();
        }
        // A refresh that meets it loses nothing.
        let mut s = posthog(path);
        s.world.faults.clear();
        meet(&mut s);
        s.world.faults.push(Fault::answer(method, path, entry.canned()));
        s.sleep(3580);
        s.restart();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(s.world.count(What::Strays), 0);
        s.sleep(60);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    }),
    Check::new("TR-008", |entry| {
        let url = entry.text("/request").trim_start_matches("POST ");
        assert_eq!(entry.status(), 404);
        let vercel = || {
            let mut s = server("https://mcp.vercel.com", "https://vercel.com");
            s.server = Some(url.to_owned());
            let metadata = "https://mcp.vercel.com/.well-known/oauth-protected-resource/mcp";
            s.world.resource.metadata = ResourceMetadata::At(metadata.to_owned());
            s.world.faults.push(Fault::answer("*", "/mcp", entry.canned()).times(9));
            s
        };
        // What the caller gets is no matter of authorization.
        let mut s = vercel();
        let answer = s.send("whoami", None);
        assert!(!s.report("whoami", &answer, None));
        assert!(matches!(s.token(), TokenState::Missing));
        // Nor does a login begin.
        let error = s.log_in().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ProbeFailed { .. }), "{error}");
        assert!(error.advice().contains("Use https://mcp.vercel.com as"), "{}", error.advice());
        assert_eq!((s.browser_opened(), s.world.registrations()), (0, 0));
        // Unless the settings insist.
        assert!(error.advice().contains("`issuer`"));
        s.config.issuer = Some("https://vercel.com".to_owned());
        s.restart();
        s.log_in().unwrap();
        // There, it does.
        let mut s = vercel();
        s.server = None;
        assert_eq!(s.call_tool("whoami").status(), 200);
    }),
    Check::new("TR-010", |entry| {
        let page = |method: &str, path: &str| Fault::answer(method, path, entry.canned());
        let document = "/.well-known/oauth-authorization-server";
        for (method, path) in [("POST", "/register"), ("GET", document)] {
            let mut s = server("https://mcp.example.com/mcp", "https://claude.ai");
            s.world.faults.push(page(method, path));
            s.world.faults.push(page("GET", "/.well-known/openid-configuration"));
            let answer = s.call_tool("whoami");
            assert_fails!(answer, ErrorKind::Passing { .. });
            let told = answer.error().to_string();
            assert!(told.contains("bot protection page"), "{told}");
            assert!(told.contains("https://claude.ai"), "{told}");
            assert!(!told.contains("Just a moment"), "{told}");
            assert_eq!(s.browser_opened(), 0);
            s.world.faults.clear();
            assert_eq!(s.call_tool("whoami").status(), 200);
        }
        // The credentials of an earlier login stay.
        let mut s = server("https://mcp.example.com/mcp", "https://claude.ai");
        meet(&mut s);
        s.world.faults.push(page("POST", "/token").times(2));
        s.sleep(4000);
        let attempt = s.demand(Demand::background(Need::default()));
        s.run();
        assert!(s.machine().is_running(attempt), "it waits, and doesn't give up");
        s.settle(attempt).unwrap();
        assert_eq!((s.world.registrations(), s.browser_opened()), (1, 1));
    }),
    Check::new("TR-013", |entry| {
        let answers: Vec<_> = entry.texts("/sequence");
        let retool = |refusal: u16| {
            let mut s = server("https://mcp.retool.com/mcp", "https://auth.example.com");
            s.world.resource.challenge = Challenge::WithoutMetadata;
            s.world.resource.metadata = ResourceMetadata::AtRoot;
            let path = path_of(&answers[0]);
            s.world.faults.push(Fault::answer("GET", path, Canned::new(refusal, "no")));
            meet(&mut s);
            documents(&mut s)
        };
        let found = retool(status_of(&answers[0]));
        let as_told = answers
            .iter()
            .map(|line| format!("mcp.retool.com{} {}", path_of(line), status_of(line)));
        assert_eq!(found[..2], as_told.collect::<Vec<_>>());
        for other in [400, 403, 404, 405, 406, 410, 422] {
            assert_eq!(retool(other)[1], found[1]);
        }
    }),
    Check::new("TR-014", |entry| {
        let path = path_of(entry.text("/request"));
        for status in [200, 404] {
            let mut s =
                server("https://gateway.example.com/mcp", "https://cognito.example.com/pool");
            // At the gateway, and at Cognito.
            s.world.authorization[0].metadata = MetadataPlace::OidcAppended;
            s.world.authorization[0].challenge_methods = None;
            s.config.assume_s256 = true;
            let xml = Canned { status, ..entry.canned() };
            s.world.faults.push(Fault::answer("GET", &format!("{path}/pool"), xml.clone()));
            meet(&mut s);
            assert!(lenient(&s, Leniency::AssumedS256));
            let found = documents(&mut s);
            assert_eq!(found[1], format!("cognito.example.com{path}/pool {status}"));
            assert_eq!(found[3], "cognito.example.com/pool/.well-known/openid-configuration 200");
            // Where it is the last resort, it is not taken for a server of 2025-03-26.
            let mut s =
                server("https://gateway.example.com/mcp", "https://cognito.example.com/pool");
            s.world.resource.metadata = ResourceMetadata::Absent;
            s.world.faults.push(Fault::answer("GET", path, Canned { status: 200, ..xml }));
            let _ = s.call_tool("whoami").error();
            assert_eq!((s.browser_opened(), s.world.registrations()), (0, 0));
        }
    }),
    Check::new("TR-015", |entry| {
        assert_eq!(entry.status(), 500);
        // The server's clock says that it has expired, ours that it is about to.
        let freee = || {
            let mut s = late_notice(entry.canned(), 200);
            s.sleep(3700);
            s
        };
        let mut s = freee();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(
            s.take_log(),
            ["POST host/mcp 500", "POST auth.example.com/token 200", "POST host/mcp 200"]
        );
        // Once: then it is the server's own trouble, and the caller sees it.
        let mut s = freee();
        let broken = || Fault::answer("POST", "/mcp", entry.canned()).times(9);
        s.world.faults.push(broken());
        assert_eq!(s.call_tool_in_background("whoami").status(), 500);
        assert_eq!(s.call_tool_in_background("whoami").status(), 500);
        assert_eq!(s.world.count(What::Refreshes), 1);
        // Far from its end, the token has nothing to do with it.
        let mut s = late_notice(entry.canned(), 200);
        s.sleep(1800);
        s.world.faults.push(broken());
        assert_eq!(s.call_tool("whoami").status(), 500);
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (0, 1));
        // A refresh that fails is no reason for a login.
        for failure in [
            Canned::json(400, r#"{"error":"invalid_grant"}"#),
            Canned::json(401, r#"{"error":"invalid_client"}"#),
            Canned::new(503, ""),
        ] {
            let mut s = freee();
            s.world.faults.push(broken());
            s.world.faults.push(Fault::answer("POST", "/token", failure).times(2));
            assert_eq!(s.call_tool("whoami").status(), 500);
            assert_eq!(s.browser_opened(), 1);
        }
    }),
    Check::new("TR-016", |entry| {
        assert_eq!(entry.text("/request"), "POST /mcp with expired bearer");
        let login = Canned::redirect(entry.status(), "https://host/login?next=/mcp");
        // Whatever the token's life: the reply doesn't tell it.
        let mut s = late_notice(login.clone(), 0);
        s.world.authorization[0].expires_in = ExpiresIn::Absent;
        s.log_in().unwrap();
        s.sleep(3700);
        s.take_log();
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert_eq!(
            s.take_log(),
            ["POST host/mcp 307", "POST auth.example.com/token 200", "POST host/mcp 200"]
        );
        // Not for one that was just obtained, nor again and again.
        s.world.faults.push(Fault::answer("POST", "/mcp", login).times(9));
        let _ = s.call_tool_in_background("whoami").status();
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (1, 2));
    }),
    Check::new("TR-017", |entry| {
        assert_eq!(entry.status(), 403);
        let mut s = late_notice(entry.canned(), 10);
        s.sleep(3575);
        // Lent when it is still good, refused when it is not any more.
        let lent = s.grant();
        s.sleep(40);
        let refusal = s.send("whoami", Some(&lent));
        assert_eq!(refusal.status(), 403);
        assert!(s.report("whoami", &refusal, Some(&lent)));
        s.take_log();
        assert!(s.obtain(&need("whoami"), Demand::interactive).unwrap().is_some());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.take_log(), ["POST auth.example.com/token 200", "POST host/mcp 200"]);
        assert_eq!(s.browser_opened(), 1);
    }),
    Check::new("TR-018", |entry| {
        assert!(entry.body().contains("Invalid access token"));
        let prose = Canned::json(entry.status(), entry.body());
        let mut s = late_notice(prose.clone(), 200);
        // Prose is the caller's to read.
        s.world.faults.push(Fault::answer("POST", "/mcp", prose.clone()));
        s.take_log();
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!(s.take_log(), ["POST host/mcp 200"]);
        // Renewal by `expires_at`, ahead of any request.
        s.config.refresh_proactively = true;
        s.restart();
        s.demanded(Demand::load()).unwrap();
        s.advance(3550);
        assert_eq!(s.world.count(What::Refreshes), 1);
        s.take_log();
        let answer = s.grant();
        assert_ne!(s.send("whoami", Some(&answer)).body(), &prose.body);
    }),
    Check::new("TR-019", |entry| {
        assert_eq!(entry.text("/endpoint"), "https://mcp.lucid.app/oauth/token");
        let seconds = entry.number("/latency_s").ceil() as u64;
        assert!(seconds > 5);
        for seconds in [seconds, 30] {
            let mut s = server("https://mcp.lucid.app/mcp", "https://mcp.lucid.app/oauth");
            let attempt = s.demand(Demand::interactive(need("whoami")));
            s.run_until("/oauth/token");
            assert!(s.perform("/oauth/token"));
            let answer = s.hold("/oauth/token");
            s.advance(seconds);
            s.bring(answer);
            s.settle(attempt).unwrap();
            assert_eq!(s.call_tool("whoami").status(), 200);
            assert_eq!((s.world.count(What::TokenRequests), s.browser_opened()), (1, 1));
        }
    }),
];

/// A program that has logged in where access tokens live for an hour, and are said to live for so many
/// seconds more; whoever comes with an older one gets this answer.
fn late_notice(answer: Canned, more: u64) -> Scenario {
    let mut s = server("https://host/mcp", "https://auth.example.com");
    s.world.authorization[0].expires_in = ExpiresIn::Raw(json!(3600 + more));
    s.world.resource.bad_token_answer = Some(answer);
    meet(&mut s);
    s.take_log();
    s
}

/// Of a line that ends with `-> 302`, with or without more.
fn status_of(line: &str) -> u16 {
    let status = line.split_once("-> ").unwrap().1;
    status.split(' ').next().unwrap().parse().unwrap()
}

/// Of a line that begins with `GET /path`.
fn path_of(line: &str) -> &str {
    line.split(' ').nth(1).unwrap()
}
