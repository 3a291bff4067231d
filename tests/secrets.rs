//! Secrets: none is printed by anything that a log could hold, and none goes to the wrong server.

use http::Request;
use mcp_auth::toolhive::CachedSession;
use mcp_auth::{
    CachedLogin, ClientCertificate, Demand, ErrorKind, Event, Need, Notice, Secret, SecretRef,
};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::signer::public_key;
use mcp_auth_world::{
    Canned, ClientAuthentication, Fault, Person, Presented, What, World, assert_fails,
};
use serde_json::Value;

#[test]
fn nothing_that_can_be_printed_holds_one() {
    let mut s = Scenario::new();
    s.eavesdrop();
    s.config.client_name = "overheard".to_owned();
    s.world.authorization[0].registration.assigns = Some(ClientAuthentication::Basic);
    s.world.authorization[0].registration.manageable = true;
    s.person = Person::Denies;
    let _ = s.call_tool("whoami");
    s.person = Person::Approves;
    assert_eq!(s.call_tool("write_note").status(), 200);
    s.sleep(4000);
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.store.fail_saves(true);
    s.sleep(4000);
    assert_eq!(s.call_tool("whoami").status(), 200);
    s.store.fail_saves(false);
    s.restart();
    let _ = s.call_tool("whoami");
    s.world.authorization[0].revoke_everything();
    s.sleep(4000);
    let attempt = s.demand(Demand::interactive(need("whoami")));
    s.run_until("redirect");
    let state = s.authorize_param("state").unwrap();
    s.redirect(&format!("http://127.0.0.1:1/x?code=elsewhere-code&state={state}"));
    s.handle(Event::Cancel(attempt));
    s.run();
    assert!(s.overheard().contains("AuthMachine") && s.overheard().contains("waiting for"));
    assert!(!s.overheard().contains("elsewhere-code"));
    s.check_secrets();
}

#[test]
fn what_the_settings_hold_is_not_printed() {
    let mut s = Scenario::new();
    s.eavesdrop();
    s.world.authorization[0].preregister("by-hand", Some("configured-secret"));
    s.config.client_id = Some("by-hand".to_owned());
    s.config.client_secret = Some("configured-secret".into());
    s.config.initial_access_token = Some("initial-token".into());
    s.config.client_issuer = Some("https://auth.example.com".into());
    assert_eq!(s.call_tool("whoami").status(), 200);
    assert!(!format!("{:?}", s.config).contains("configured-secret"));
    assert!(!format!("{:?}", s.config).contains("initial-token"));
    s.check_secrets();
}

#[test]
fn an_answer_that_cannot_be_read_is_not_quoted() {
    for (content_type, body) in [
        ("application/json", r#"{"access_token":"planted","token_type":"Bearer""#),
        ("application/json", r#"{"access_token":"planted with spaces"}"#),
        ("application/json", r#"{"access_token":["planted"]}"#),
        ("application/json", r#"{"refresh_token":"planted"}"#),
        ("application/json", r#""planted""#),
        ("text/html", "<html>planted</html>"),
        ("text/plain", "planted"),
    ] {
        for status in [200, 400, 401, 403, 500] {
            let mut s = Scenario::new();
            s.eavesdrop();
            let answer = Canned::new(status, body).header("content-type", content_type);
            s.world.faults.push(Fault::answer("POST", "/token", answer).times(2));
            let answer = s.call_tool("whoami");
            assert!(!format!("{answer:?} {}", answer.error()).contains("planted"));
            assert!(!s.overheard().contains("planted"), "{status} {body}");
        }
    }
}

/// The first try of a token request fails in passing; the second is refused in words that quote
/// what was sent, written in this way.
fn quoted(s: &mut Scenario, write: fn(&str) -> String) -> Vec<String> {
    s.world.faults.push(Fault::answer("POST", "/token", Canned::new(503, "")));
    s.demand(Demand::interactive(need("whoami")));
    s.run_until("/token");
    s.run();
    let fields = ["code", "code_verifier", "refresh_token", "client_secret"];
    let sent: Vec<_> = fields.iter().filter_map(|name| s.form_field(name)).collect();
    let words = format!("{} is no good", sent.join(" is no good, "));
    let refusal = Canned::new(400, write(&words)).header("content-type", "application/json");
    s.world.faults.push(Fault::answer("POST", "/token", refusal));
    s.wait();
    s.run();
    sent
}

#[test]
fn an_error_that_quotes_what_was_sent_is_told_without_it() {
    let plain: fn(&str) -> String = |words| {
        format!(
            "{{\"error\":\"invalid_grant\",\"error_description\":{}}}",
            serde_json::json!(words)
        )
    };
    let as_the_code: fn(&str) -> String = |words| serde_json::json!({ "error": words }).to_string();
    // As PHP writes JSON, and as nobody does.
    let slashed: fn(&str) -> String = |words| {
        let words = serde_json::json!(words).to_string().replace('/', "\\/");
        format!("{{\"error\":\"invalid_grant\",\"error_description\":{words}}}")
    };
    let escaped: fn(&str) -> String = |words| {
        let words: String = words.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        format!("{{\"error\":\"invalid_grant\",\"error_description\":\"{words}\"}}")
    };
    for (how, write) in
        [("plain", plain), ("as the code", as_the_code), ("slashed", slashed), ("escaped", escaped)]
    {
        let mut s = Scenario::new();
        s.eavesdrop();
        let secret = "planted/\"secret\" \\ by hand";
        let server = &mut s.world.authorization[0];
        server.preregister("by-hand", Some(secret));
        server.client_authentication = vec![ClientAuthentication::Post];
        s.config.client_id = Some("by-hand".to_owned());
        s.config.client_secret = Some(secret.into());
        // The code and its verifier, then the refresh token; each with the secret.
        let code = quoted(&mut s, write);
        assert_eq!(code.len(), 3, "{code:?}");
        s.world.faults.clear();
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.sleep(4000);
        let refresh = quoted(&mut s, write);
        assert_eq!(refresh.len(), 2, "{refresh:?}");
        for sent in code.iter().chain(&refresh) {
            assert!(!s.overheard().contains(sent), "{sent} was printed, {how}");
            assert!(!s.notices().join("\n").contains(sent), "{sent} was told, {how}");
        }
        assert!(!s.notices().join("\n").contains("planted/"), "the secret was told, {how}");
        s.check_secrets();
    }
}

/// What a server says of a request that it can't make sense of.
type Words = fn(&Request<Vec<u8>>) -> String;

const PLANTED: &str = "planted/~\"secret\" (by)+hand\\";

fn as_form(request: &Request<Vec<u8>>) -> String {
    String::from_utf8_lossy(request.body()).into_owned()
}

fn with_small_hex(form: &str) -> String {
    let small = |(at, part): (usize, &str)| match part.split_at_checked(2) {
        Some((hex, rest)) if at > 0 => format!("%{}{rest}", hex.to_lowercase()),
        _ => part.to_owned(),
    };
    form.split('%').enumerate().map(small).collect()
}

fn as_credentials(request: &Request<Vec<u8>>) -> String {
    let header = request.headers().get("authorization");
    header.map(|header| header.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[test]
fn an_error_that_quotes_the_request_itself_is_told_without_its_secrets() {
    let words: [Words; 8] = [
        as_form,
        |request| with_small_hex(&as_form(request)),
        |request| as_form(request).replace('+', "%20"),
        |request| as_form(request).replace('+', "%20").replace("%7E", "~"),
        |request| {
            let form = as_form(request).replace('+', "%20").replace("%7E", "~");
            with_small_hex(&form.replace("%28", "(").replace("%29", ")"))
        },
        |_| serde_json::json!({ "client_secret": PLANTED }).to_string(),
        |_| serde_json::json!({ "client_secret": PLANTED }).to_string().replace('/', "\\/"),
        as_credentials,
    ];
    for method in [ClientAuthentication::Post, ClientAuthentication::Basic] {
        for (number, words) in words.iter().enumerate() {
            let mut s = Scenario::new();
            s.eavesdrop();
            let server = &mut s.world.authorization[0];
            server.preregister("by-hand", Some(PLANTED));
            server.client_authentication = vec![method];
            s.config.client_id = Some("by-hand".to_owned());
            s.config.client_secret = Some(PLANTED.into());
            assert_eq!(s.call_tool("whoami").status(), 200);
            s.sleep(4000);
            s.world.faults.push(Fault::answer("POST", "/token", Canned::new(503, "")));
            s.demand(Demand::background(Need::default()));
            s.run_until("/token");
            s.run();
            let sent = &s.world.log.last().unwrap().request;
            let credentials = as_credentials(sent);
            assert_eq!(credentials.is_empty(), method == ClientAuthentication::Post);
            let said = serde_json::json!({
                "error": "teapot", "error_description": format!("no sense in {} here", words(sent)),
            });
            let refusal = Canned::json(400, said.to_string());
            s.world.faults.push(Fault::answer("POST", "/token", refusal));
            s.wait();
            s.run();
            let told = format!("{} {} {}", s.notices().join("\n"), s.overheard(), s.store.text());
            assert!(told.contains("teapot") && s.store.text().contains("no sense in"), "{told}");
            assert!(!told.contains("planted"), "{method:?} {number}: {}", s.store.text());
            let value = credentials.strip_prefix("Basic ").unwrap_or("Basic ");
            assert!(!told.contains(value), "{method:?} {number}: {}", s.store.text());
        }
    }
}

#[test]
fn an_error_that_quotes_the_initial_access_token_is_told_without_it() {
    // The first two kinds are answered by another try, of which a notice says why.
    for (status, error) in
        [(400, "invalid_client_metadata"), (400, "invalid_redirect_uri"), (401, "invalid_token")]
    {
        let mut s = Scenario::new();
        s.eavesdrop();
        s.config.initial_access_token = Some("planted-token".into());
        s.config.client_issuer = Some("https://auth.example.com".into());
        let words = serde_json::json!({
            "error": error, "error_description": "Bearer planted-token is good for nothing",
        });
        let refusal = Canned::json(status, words.to_string());
        s.world.faults.push(Fault::answer("POST", "/register", refusal).times(3));
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::RegistrationRefused { .. });
        let said = format!("{answer:?} {} {}", answer.error(), s.overheard());
        assert!(said.contains("is good for nothing") && !said.contains("planted"), "{said}");
    }
}

#[test]
fn a_stored_record_that_cannot_be_read_is_not_quoted() {
    let mut s = Scenario::new();
    s.eavesdrop();
    s.store.overwrite(r#"{"version":1,"server":5,"tokens":{"access_token":"planted"#);
    let _ = s.call_tool("whoami");
    assert!(!s.overheard().contains("planted"));
}

#[test]
fn a_token_is_not_added_to_a_request_that_goes_elsewhere() {
    let mut s = Scenario::new();
    assert_eq!(s.call_tool("whoami").status(), 200);
    let grant = s.grant();
    for elsewhere in [
        "https://mcp.example.com.evil.example/mcp",
        "https://evil.example/mcp.example.com/mcp",
        "http://mcp.example.com/mcp",
        "https://mcp.example.com:8443/mcp",
        "https://auth.example.com/mcp",
        "/mcp",
    ] {
        let mut request = Request::post(elsewhere).body(()).unwrap();
        let error = grant.authorize(&mut request).unwrap_err();
        assert_fails!(error, ErrorKind::ForeignRequest { .. });
        assert!(request.headers().is_empty());
    }
    for home in ["https://mcp.example.com/mcp", "https://MCP.example.com:443/other?x=1"] {
        let mut request = Request::post(home).body(()).unwrap();
        grant.authorize(&mut request).unwrap();
        assert!(request.headers()["authorization"].is_sensitive());
    }
}

#[test]
fn each_server_sees_its_own_secrets_alone_through_a_long_life() {
    let two = ["https://auth.example.com", "https://new.example.com"];
    let mut s = Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &two));
    for server in &mut s.world.authorization {
        server.registration.assigns = Some(ClientAuthentication::Post);
    }
    for home in [0, 1, 0, 1] {
        s.world.migrate_to(home);
        assert_eq!(s.call_tool("write_note").status(), 200);
        s.sleep(4000);
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.restart();
        assert_eq!(s.call_tool("whoami").status(), 200);
    }
    assert_eq!(s.world.registrations(), 2);
    s.check_secrets();
}

/// Another server gets hold of the login: it must not learn what belongs to the first.
mod a_stranger {
    use super::*;

    const OURS: &str = "https://auth.example.com";
    const THEIRS: &str = "https://evil.example.com";

    fn beside_ours() -> Scenario {
        Scenario::in_world(World::with_urls("https://mcp.example.com/mcp", &[OURS, THEIRS]))
    }

    /// The stranger registers everybody under this name.
    fn names_us(s: &mut Scenario, client_id: &str) {
        s.world.authorization[1].preregister(client_id, None);
        let reply = Canned::json(201, serde_json::json!({ "client_id": client_id }).to_string());
        s.world.faults.push(Fault::answer("POST", "/register", reply).at(THEIRS));
    }

    /// A login with the stranger in which the client is replaced, and which comes to nothing.
    fn replaces_us(s: &mut Scenario) {
        for error in [r#"{"error":"invalid_client"}"#, r#"{"error":"access_denied"}"#] {
            let refusal = Canned::json(400, error);
            s.world.faults.push(Fault::answer("POST", "/token", refusal).at(THEIRS));
        }
        names_us(s, "another name");
        s.log_in().unwrap_err();
        s.world.faults.clear();
    }

    #[test]
    fn is_not_shown_the_initial_access_token() {
        let mut s = beside_ours();
        s.config.initial_access_token = Some("let-me-in".into());
        let error = s.try_start().unwrap_err();
        assert_fails!(error, ErrorKind::InvalidSetting(_));
        assert!(error.to_string().contains("initial_access_token"), "{error}");

        s.config.client_issuer = Some(OURS.to_owned());
        s.world.migrate_to(1);
        let _ = s.call_tool("whoami");
        assert!(!s.was_sent(THEIRS, "let-me-in"));
        s.world.migrate_to(0);
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(s.was_sent(OURS, "let-me-in") && !s.was_sent(THEIRS, "let-me-in"));
    }

    #[test]
    fn who_claims_a_trusted_name_gets_no_configured_secret() {
        let mut s = beside_ours();
        s.world.authorization[0].preregister("by-hand", Some("hush"));
        s.config.client_id = Some("by-hand".to_owned());
        s.config.client_secret = Some("hush".into());
        s.config.client_issuer = Some(OURS.to_owned());
        s.config.trusted_issuers = vec![OURS.to_owned()];
        s.world.authorization[1].claimed_issuer = Some(OURS.to_owned());
        s.world.migrate_to(1);
        let _ = s.call_tool("whoami");
        s.sleep(4000);
        let _ = s.call_tool("whoami");
        assert!(!s.was_sent(THEIRS, "hush") && !s.was_sent(THEIRS, "by-hand"));
        s.check_secrets();
    }

    #[test]
    fn who_claims_a_trusted_name_gets_no_registration_made_under_it() {
        let mut s = beside_ours();
        s.world.authorization[0].registration.assigns = Some(ClientAuthentication::Basic);
        s.config.trusted_issuers = vec![OURS.to_owned()];
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.world.authorization[1].claimed_issuer = Some(OURS.to_owned());
        s.world.migrate_to(1);
        let _ = s.call_tool("whoami");
        s.sleep(4000);
        let _ = s.call_tool("whoami");
        assert_eq!(s.world.registrations(), 2);
        s.check_secrets();
    }

    /// A client that was registered by hand with the first server, by each kind of proof.
    fn by_hand() -> [(&'static str, Scenario); 3] {
        let file = |path: &str| SecretRef::File(path.to_owned());
        ["secret", "key", "certificate"].map(|proof| {
            let mut s = beside_ours();
            s.config.client_id = Some("by-hand".to_owned());
            let ours = &mut s.world.authorization[0];
            match proof {
                "secret" => {
                    ours.preregister("by-hand", Some("hush"));
                    s.config.client_secret = Some("hush".into());
                }
                "key" => {
                    ours.preregister_key("by-hand", public_key("ours"));
                    s.config.client_key = Some(file("/client.pem"));
                    s.keys.insert(file("/client.pem"), "ours".to_owned());
                }
                _ => {
                    let (certificate, key) = (file("/client.crt"), file("/client.pem"));
                    let shown = Presented(certificate.to_string());
                    ours.preregister_certificate("by-hand", shown);
                    s.config.client_certificate = Some(ClientCertificate { certificate, key });
                }
            }
            // It takes anything.
            let theirs = &mut s.world.authorization[1];
            theirs.client_authentication.push(ClientAuthentication::PrivateKeyJwt);
            theirs.client_authentication.push(ClientAuthentication::TlsClientAuth);
            theirs.registration.open = false;
            (proof, s)
        })
    }

    /// The MCP server names the stranger, who gets nothing that was made for the first server.
    fn gets_nothing(proof: &str, s: &mut Scenario) {
        s.world.migrate_to(1);
        let (browsers, signed) = (s.browser_opened(), s.signed);
        for _ in 0..2 {
            let error = s.log_in().unwrap_err();
            assert_fails!(error, ErrorKind::NoClient { .. });
            let said = error.to_string();
            assert!(said.contains(proof) && said.contains("`client_issuer`"), "{said}");
            s.restart();
        }
        assert!(!s.was_sent(THEIRS, "by-hand") && !s.was_sent(THEIRS, "hush"), "{proof}");
        assert_eq!((s.browser_opened(), s.signed), (browsers, signed), "{proof}");
    }

    #[test]
    fn is_not_shown_a_configured_client_that_proves_itself_elsewhere() {
        for (proof, mut s) in by_hand() {
            assert_eq!(s.call_tool("whoami").status(), 200);
            gets_nothing(proof, &mut s);
            // Until the settings say that it has moved.
            s.config.client_issuer = Some(THEIRS.to_owned());
            s.restart();
            let _ = s.call_tool("whoami");
            assert!(s.was_sent(THEIRS, "by-hand"), "{proof}");
        }
    }

    #[test]
    fn is_not_shown_one_that_a_running_program_has_logged_out() {
        for (proof, mut s) in by_hand() {
            assert_eq!(s.call_tool("whoami").status(), 200);
            let _ = s.log_out();
            assert_eq!(s.store.bytes, None, "nothing is left of it on the disk");
            s.world.migrate_to(1);
            let signed = s.signed;
            for _ in 0..2 {
                assert_fails!(s.log_in().unwrap_err(), ErrorKind::NoClient { .. });
            }
            assert!(!s.was_sent(THEIRS, "by-hand") && !s.was_sent(THEIRS, "hush"), "{proof}");
            assert_eq!((s.browser_opened(), s.signed), (1, signed), "{proof}");
            s.world.migrate_to(0);
            s.log_in().unwrap();
        }
    }

    #[test]
    fn is_not_shown_one_whose_first_tokens_came_late() {
        for (proof, mut s) in by_hand() {
            let attempt = s.demand(Demand::interactive(Need::default()));
            s.run_until("/token");
            s.perform("/token");
            let late = s.hold("/token");
            s.settle(attempt).unwrap_err();
            s.bring(late);
            s.run();
            s.grant();
            gets_nothing(proof, &mut s);
        }
    }

    /// After a login, what another program would keep of it: the refresh token.
    fn kept_of(s: &mut Scenario) -> Secret {
        assert_eq!(s.call_tool("whoami").status(), 200);
        let record: Value = serde_json::from_str(&s.store.text()).unwrap();
        let token = Secret::from(record["tokens"]["refresh_token"].as_str().unwrap());
        s.crash();
        s.world.log.clear();
        token
    }

    #[test]
    fn is_not_shown_one_whose_login_was_taken_up() {
        for (proof, mut s) in by_hand() {
            let token = kept_of(&mut s);
            let token = CachedSession::new(token, OURS, &format!("{OURS}/token")).to_text();
            s.cached = Some(CachedLogin::new(token));
            s.store = Default::default();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200);
            assert_eq!(s.browser_opened(), 1);
            gets_nothing(proof, &mut s);
        }
    }

    /// The cached login is not taken up, for a reason that names the way out.
    fn is_not_taken_up(proof: &str, s: &mut Scenario) {
        let signed = s.signed;
        for _ in 0..2 {
            assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
            s.restart();
        }
        let said = |notice: &Notice| {
            matches!(notice, Notice::NotRestored { why }
                if why.contains(proof) && why.contains("`client_issuer`"))
        };
        assert!(s.told(said) > 0, "{proof}: {:?}", s.notices);
        assert_eq!((s.world.count(What::TokenRequests), s.signed), (0, signed), "{proof}");
    }

    #[test]
    fn gets_no_cached_login_of_a_client_that_nobody_has_said_to_be_its_own() {
        for (proof, mut s) in by_hand() {
            let token = kept_of(&mut s);
            s.cached = Some(CachedLogin::new(token));
            s.store = Default::default();
            s.world.migrate_to(1);
            is_not_taken_up(proof, &mut s);
            // Nor is its own server believed to be that: the same word would do for the stranger.
            s.world.migrate_to(0);
            s.store = Default::default();
            is_not_taken_up(proof, &mut s);
            s.config.client_issuer = Some(OURS.to_owned());
            s.store = Default::default();
            s.restart();
            assert_eq!(s.call_tool_in_background("whoami").status(), 200, "{proof}");
            assert_eq!(s.browser_opened(), 1);
        }
    }

    #[test]
    fn gets_no_cached_login_of_a_client_that_has_lived_elsewhere() {
        for (proof, mut s) in by_hand() {
            let token = kept_of(&mut s);
            s.cached = Some(CachedLogin::new(token));
            // The tokens have ended; where the client lives is known.
            let mut record: Value = serde_json::from_str(&s.store.text()).unwrap();
            record["tokens"] = Value::Null;
            s.store.overwrite(&record.to_string());
            s.world.migrate_to(1);
            is_not_taken_up(proof, &mut s);
            s.world.migrate_to(0);
            assert_eq!(s.call_tool_in_background("whoami").status(), 200, "{proof}");
            assert_eq!(s.browser_opened(), 1);
        }
    }

    #[test]
    fn who_calls_us_what_the_settings_call_us_gets_no_configured_secret() {
        let mut s = beside_ours();
        s.world.authorization[0].preregister("by-hand", Some("hush"));
        s.config.client_id = Some("by-hand".to_owned());
        s.config.client_secret = Some("hush".into());
        assert_eq!(s.call_tool("whoami").status(), 200);
        s.world.migrate_to(1);
        names_us(&mut s, "by-hand");
        assert_eq!(s.call_tool("whoami").status(), 200);
        let last = s.world.token_requests().last().unwrap();
        assert_eq!(last.client_id, "by-hand");
        assert_eq!(last.authentication, Some(ClientAuthentication::None));
        replaces_us(&mut s);
        for _ in 0..2 {
            s.sleep(4000);
            let _ = s.call_tool_in_background("whoami");
            s.restart();
        }
        assert!(!s.was_sent(THEIRS, "hush"));
        s.check_secrets();
    }

    #[test]
    fn who_calls_us_what_another_called_us_gets_no_secret_of_a_former_registration() {
        let mut s = beside_ours();
        s.world.authorization[0].registration.assigns = Some(ClientAuthentication::Basic);
        assert_eq!(s.call_tool("whoami").status(), 200);
        let name = s.world.token_requests().last().unwrap().client_id.clone();
        let secret = s.world.authorization[0].client(&name).unwrap().secret.clone().unwrap();
        assert!(s.store.text().contains(&secret));
        // Its client is replaced while its tokens live: it is remembered for them.
        let callback = url::Url::parse(&s.authorize_param("redirect_uri").unwrap()).unwrap();
        s.taken_ports.extend(callback.port());
        s.person = Person::Ignores;
        s.log_in().unwrap_err();
        assert_eq!(s.world.registrations(), 2);

        s.person = Person::Approves;
        s.world.migrate_to(1);
        names_us(&mut s, &name);
        assert_eq!(s.call_tool("whoami").status(), 200);
        replaces_us(&mut s);
        for _ in 0..2 {
            s.sleep(4000);
            let _ = s.call_tool_in_background("whoami");
            s.restart();
        }
        assert!(!s.was_sent(THEIRS, &secret));
    }
}
