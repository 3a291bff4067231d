//! Vendors: each server with its own challenge, documents and oddities, and what a program does there.
//!
//! What a check says of its vendor is a row of the README's table. `MCP_AUTH_README=write cargo test
//! --test corpus` writes it there; any other run compares.

use std::fmt::Write as _;

use mcp_auth::{ClientSource, Demand, Error, ErrorKind, Leniency, Notice, Provenance, Secret};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{
    Canned, Challenge, ClientAuthentication, Fault, IssParameter, RequiresLogin, ResourceMetadata,
    What, assert_fails,
};
use serde_json::{Value, json};

use crate::entry::Entry;
use crate::runner::Check;
use crate::stage::{documents, server};

pub const CHECKS: &[Check] = &[
    Check::new("Airtable", logs_in),
    Check::new("Asana", logs_in),
    Check::new("Atlassian v1", logs_in),
    Check::new("Atlassian v2", logs_in),
    Check::new("Calendly", logs_in),
    Check::new("ClickUp", logs_in),
    Check::new("Close", |entry| {
        assert_eq!(entry.text("/oddity"), "slash mismatch twice");
        logs_in(entry);
        assert!(entry.said()[0].contains(&Leniency::RootSlash.to_string()));
        assert_ne!(entry.text("/resource"), entry.text("/mcp_url"));
    }),
    Check::new("Figma", logs_in),
    Check::new("GitLab", logs_in),
    Check::new("Granola", |entry| {
        let mut s = vendor(entry);
        s.world.resource.scopes_supported = vec![quoted(entry.text("/oddity")).to_owned()];
        let announced = json!(["openid", "email", "profile"]);
        let changes = &mut s.world.authorization[0].metadata_changes;
        changes.insert("scopes_supported".to_owned(), announced);
        assert!(call(&mut s).is_ok());
        assert_eq!(s.authorize_param("scope").as_deref(), Some("mcp"));
        logs_in(entry);
    }),
    Check::new("HubSpot", logs_in),
    Check::new("Hugging Face", |entry| {
        // Who only calls what is open to everybody is not asked to log in; who wants to, can.
        let mut s = vendor(entry);
        assert!(s.obtain(&need("initialize"), Demand::interactive).unwrap().is_none());
        assert_eq!(s.browser_opened(), 0);
        s.log_in().unwrap();
        assert_eq!((s.browser_opened(), s.world.count(What::CodeExchanges)), (1, 1));
        assert_eq!(s.form_field("resource").as_deref(), Some(entry.text("/resource")));
        logs_in(entry);
    }),
    Check::new("MercadoPago", logs_in),
    Check::new("Neon", logs_in),
    Check::new("Netlify", logs_in),
    Check::new("Notion", |entry| {
        let (root, _) = entry.text("/oddity").split_once(';').unwrap();
        assert_eq!(root, "root PRM has resource=origin");
        // Whoever asks there gets another resource: nobody does.
        let mut s = vendor(entry);
        let path = "/.well-known/oauth-protected-resource";
        let origin = json!({ "resource": "https://mcp.notion.com" });
        s.world.faults.push(Fault::answer("GET", path, Canned::json(200, origin.to_string())));
        assert!(call(&mut s).is_ok());
        assert_eq!(s.world.faults.len(), 1);
        // No refresh token comes twice.
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        s.sleep(4000);
        assert_eq!(s.call_tool_in_background("whoami").status(), 200);
        assert!(!s.world.reuse_seen());
        logs_in(entry);
    }),
    Check::new("PayPal", logs_in),
    Check::new("Plaid", logs_in),
    Check::new("Render", logs_in),
    Check::new("Semgrep", logs_in),
    Check::new("Sentry", logs_in),
    Check::new("Square", logs_in),
    Check::new("Stripe", |entry| {
        let unquoted = entry.text("/challenge").replace('"', "");
        let mut s = vendor(entry);
        s.world.resource.challenge = Challenge::Raw(vec![unquoted]);
        assert!(call(&mut s).is_ok());
        assert_eq!(documents(&mut s)[0], format!("{} 200", bare(entry.text("/prm_url"))));
        logs_in(entry);
    }),
    Check::new("Supabase", |entry| {
        assert_eq!(entry.text("/oddity"), "prunes clients; 422 in browser");
        // The browser shows an error, and nobody comes back; the next login registers anew.
        let mut s = vendor(entry);
        assert!(call(&mut s).is_ok());
        s.world.authorization[0].forget_clients();
        let error = s.log_in().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NobodyCame { earlier_client: Some(_), .. }));
        s.log_in().unwrap();
        assert_eq!(s.world.registrations(), 2);
        logs_in(entry);
    }),
    Check::new("Webflow", logs_in),
    Check::new("Zapier", logs_in),
];

const HEAD: &str = "\
| server | found by | client | token endpoint | `resource` | besides |
|---|---|---|---|---|---|
";

/// The whole story of a vendor: a call without a token, what its refusal leads to, and the renewal.
fn logs_in(entry: &Entry) {
    let mut s = vendor(entry);
    let mut notes = Vec::new();
    let secret = !entry.texts("/token_auth_methods").contains(&"none".to_owned());
    if let Err(error) = call(&mut s) {
        assert_eq!(s.browser_opened(), 0);
        assert!(error.advice().contains("`client_id`"), "{}", error.advice());
        notes.push(match error.kind() {
            ErrorKind::NoClient { .. } => "no registration: needs `client_id`",
            ErrorKind::RegistrationRefused { .. } => "refuses to register us: needs `client_id`",
            other => panic!("{other:?}"),
        });
        let secret = secret.then_some("from-the-console-secret");
        s.world.authorization[0].preregister("from-the-console", secret);
        s.config.client_id = Some("from-the-console".to_owned());
        s.config.client_secret = secret.map(Secret::from);
        s.restart();
        s.take_log();
        call(&mut s).unwrap();
    }
    assert_eq!(s.browser_opened(), 1);
    s.check_secrets();

    let asked = documents(&mut s);
    let prm = entry.find("/prm_url").and_then(Value::as_str);
    if let Some(prm) = prm {
        assert_eq!(asked[0], format!("{} 200", bare(prm)));
    }
    assert!(asked.contains(&format!("{} 200", bare(entry.text("/as_url")))), "{asked:?}");
    let found = s.machine().discovery().cloned().unwrap();
    assert_eq!(found.server.issuer, entry.text("/issuer"));

    let resource = entry.find("/resource").and_then(Value::as_str);
    let resource = resource.unwrap_or(entry.text("/mcp_url"));
    assert_eq!(s.authorize_param("resource").as_deref(), Some(resource));
    assert_eq!(s.form_field("resource").as_deref(), Some(resource));
    assert_eq!(s.authorize_param("code_challenge_method").as_deref(), Some("S256"));
    let listed = entry.texts("/token_auth_methods");
    let best = ["none", "client_secret_basic", "client_secret_post"];
    let best = best.into_iter().find(|method| listed.iter().any(|known| known == method));
    let used = s.world.token_requests().last().unwrap().authentication.unwrap();
    assert_eq!(Some(used.as_str()), best);
    let challenge = entry.find("/challenge").and_then(Value::as_str).unwrap_or_default();
    let scope = challenge.split_once("scope=\"").and_then(|(_, rest)| rest.split('"').next());
    assert_eq!(s.authorize_param("scope").as_deref(), scope);

    if s.world.resource.requires_login != RequiresLogin::Always {
        notes.push("lets everybody in; a login if a person wants one");
    }
    notes.extend(renewal(entry, &mut s));
    let lenient: Vec<_> = found.leniencies.iter().map(ToString::to_string).collect();
    notes.extend(lenient.iter().map(String::as_str));
    let registered =
        s.told(|notice| matches!(notice, Notice::Client { source: ClientSource::Registered, .. }));
    entry.say(format!(
        "| {} | {} | {} | `{}` | `{resource}` | {} |",
        entry.id,
        found_by(found.provenance, challenge, prm),
        if registered == 0 { "configured" } else { "registers itself" },
        used.as_str(),
        notes.join("; "),
    ));
}

/// The renewal without a person, or what comes in its place.
fn renewal(entry: &Entry, s: &mut Scenario) -> Option<&'static str> {
    s.sleep(4000);
    if entry.text("/oddity").contains("no refresh grant") {
        assert_fails!(s.call_tool_in_background("whoami"), ErrorKind::LoginRequired { .. });
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (0, 2));
        return Some("no refresh: a login when the token expires");
    }
    assert_eq!(s.call_tool_in_background("whoami").status(), 200);
    assert_eq!((s.world.count(What::Refreshes), s.browser_opened()), (1, 1));
    None
}

fn found_by(provenance: Provenance, challenge: &str, prm: Option<&str>) -> &'static str {
    match (provenance, prm) {
        (Provenance::Origin, _) => "its origin (2025-03-26)",
        (_, Some(prm)) if challenge.contains(prm) => "challenge",
        _ => "well-known URL",
    }
}

/// The vendor's servers, as the entry has them.
fn vendor(entry: &Entry) -> Scenario {
    let mut s = server(entry.text("/mcp_url"), entry.text("/issuer"));
    let text = |path: &str| entry.find(path).and_then(Value::as_str).map(str::to_owned);
    let oddity = entry.text("/oddity");
    let resource = &mut s.world.resource;
    resource.challenge =
        text("/challenge").map_or(Challenge::Absent, |line| Challenge::Raw(vec![line]));
    resource.metadata = text("/prm_url").map_or(ResourceMetadata::Absent, ResourceMetadata::At);
    resource.identifier = text("/resource");
    resource.authorization_servers = text("/authorization_server").map(|issuer| vec![issuer]);
    if oddity.contains("scopes []") {
        resource.metadata_body = Some(
            json!({
                "resource": entry.text("/resource"), "scopes_supported": [],
                "authorization_servers": [entry.text("/authorization_server")],
            })
            .to_string(),
        );
    }
    if oddity.contains("initialize 200") {
        resource.requires_login = RequiresLogin::ForToolCalls;
    }

    let server = &mut s.world.authorization[0];
    assert_eq!(server.metadata_url().as_deref(), Some(entry.text("/as_url")));
    let methods = entry.texts("/token_auth_methods");
    server.client_authentication = ClientAuthentication::ALL
        .into_iter()
        .filter(|m| methods.contains(&m.as_str().to_owned()))
        .collect();
    let changes = &mut server.metadata_changes;
    changes.insert("token_endpoint_auth_methods_supported".to_owned(), json!(methods));
    if let Some(announced) = entry.find("/iss_param") {
        let name = "authorization_response_iss_parameter_supported".to_owned();
        changes.insert(name, announced.clone());
    }
    let announced = entry.find("/iss_param") == Some(&Value::Bool(true));
    server.iss = if announced { IssParameter::Sent } else { IssParameter::Silent };
    server.challenge_methods = Some(entry.texts("/pkce"));
    server.registration.open = entry.get("/dcr").as_bool().unwrap();
    if oddity.contains("no refresh grant") {
        server.grant_types = vec!["authorization_code".to_owned()];
    }
    if oddity.contains("allow-list") {
        let refused = Canned::new(403, "Forbidden");
        s.world.faults.push(Fault::answer("POST", "/register", refused).times(u32::MAX));
    }
    s
}

/// A call without a token, and then with what its refusal leads to.
fn call(s: &mut Scenario) -> Result<(), Error> {
    let refusal = s.send("whoami", None);
    assert!(s.report("whoami", &refusal, None), "HTTP {}", refusal.status());
    let grant = s.obtain(&need("whoami"), Demand::interactive)?;
    assert_eq!(s.send("whoami", grant.as_ref()).status(), 200);
    Ok(())
}

fn bare(url: &str) -> &str {
    url.trim_start_matches("https://")
}

fn quoted(text: &str) -> &str {
    text.split('\'').nth(1).unwrap()
}

const README: &str = include_str!("../../README.md");
const BEGIN: &str = "<!-- vendors -->\n";
const END: &str = "<!-- /vendors -->\n";

/// The README has the rows that the vendors said.
#[expect(clippy::disallowed_methods, reason = "this is a program, not the core")]
pub fn table(rows: &[String]) -> Result<(), String> {
    let mut table = HEAD.to_owned();
    rows.iter().for_each(|row| writeln!(table, "{row}").unwrap());
    let (before, rest) = README.split_once(BEGIN).ok_or("the README has no place for it")?;
    let (there, after) = rest.split_once(END).ok_or("the README has no end for it")?;
    if std::env::var("MCP_AUTH_README").is_ok_and(|wish| wish == "write") {
        let readme = format!("{before}{BEGIN}{table}{END}{after}");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        return std::fs::write(path, readme).map_err(|error| error.to_string());
    }
    match there == table {
        true => Ok(()),
        false => {
            Err("the README says otherwise: run MCP_AUTH_README=write cargo test --test corpus"
                .into())
        }
    }
}
