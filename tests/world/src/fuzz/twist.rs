//! Answers that are not the true ones, and a world that changes.

use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};

use crate::text::{self, Response};
use crate::{
    AuthorizationServer, Cimd, ClientAuthentication, ExpiresIn, Fault, IssParameter, Mood, Person,
    RefreshTokens, RequiresLogin, ResourceMetadata, TokenReply, World,
};

/// `WWW-Authenticate` values as servers write them, and as they should not.
pub(super) const CHALLENGES: [&str; 10] = [
    r#"Bearer realm="OAuth", resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp", error="invalid_token""#,
    r#"Bearer error="insufficient_scope", scope="notes:write""#,
    r#"Bearer error="insufficient_scope", scope="notes:read notes:admin""#,
    r#"Bearer error="insufficient_scope""#,
    r#"Bearer resource_metadata="https://stray.example/prm", scope="notes:read""#,
    r#"Bearer resource_metadata=/.well-known/oauth-protected-resource"#,
    r#"Bearer realm="https://other.example.com/tenant""#,
    r#"Negotiate abc==, Basic realm="x", bearer SCOPE='a b'"#,
    r#"Bearer error_description="resource_metadata=\"http://stray.example\"", scope="#,
    "https://mcp.example.com/.well-known/oauth-authorization-server",
];

pub(super) fn challenge(which: u8) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(value) = CHALLENGES.get(usize::from(which) % (CHALLENGES.len() + 1)) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
    }
    headers
}

/// An answer that the server never gave; `None`: the connection broke.
pub(super) fn instead(how: u8, detail: u8) -> Option<Response> {
    let page = || text::response(200, "text/html", "<!doctype html><h1>Sign in to the Wi-Fi</h1>");
    let error = |status, error| text::json(status, &json!({ "error": error }));
    let with = |mut response: Response, name, value| {
        text::add_header(&mut response, name, value);
        response
    };
    let redirects = [
        "/elsewhere",
        "https://stray.example/",
        "http://mcp.example.com/",
        "https://auth.example.com/elsewhere",
        "//stray.example",
        "",
    ];
    let waits = ["0", "1", "30", "Wed, 21 Oct 2015 07:28:00 GMT", "99999999999999999999", "-1"];
    let pick = |list: &[&'static str]| list[usize::from(detail) % list.len()];
    Some(match how {
        0 => with(error(503, "server_error"), "retry-after", pick(&waits)),
        1 => with(text::empty(429), "retry-after", pick(&waits)),
        2 => with(text::empty(302), "location", pick(&redirects)),
        3 => page(),
        4 => error(400, pick(&["invalid_grant", "slow_down", "expired_token", "access_denied"])),
        5 => error(401, "invalid_client"),
        6 => error(400, pick(&["invalid_target", "invalid_client_metadata", "invalid_scope"])),
        7 => text::empty(200 + u16::from(detail)),
        8 => {
            let mut response = text::empty(401);
            *response.headers_mut() = challenge(detail);
            response
        }
        9 => text::json(200, &json!({ "jsonrpc": "2.0", "result": {} })),
        10 => text::response(200, "application/json", "[".repeat(usize::from(detail) * 8)),
        _ => return None,
    })
}

/// The true answer with one member changed.
pub(super) fn change_member(response: &mut Response, which: u8) {
    let values = members();
    let (name, value) = &values[usize::from(which) % values.len()];
    if let Ok(Value::Object(mut object)) = serde_json::from_slice(response.body()) {
        match value {
            Value::Null => object.remove(*name),
            value => object.insert((*name).to_owned(), value.clone()),
        };
        *response.body_mut() = Value::Object(object).to_string().into_bytes();
    }
}

fn members() -> Vec<(&'static str, Value)> {
    let auth = "https://auth.example.com";
    vec![
        ("issuer", json!("https://auth.example.com/")),
        ("issuer", json!("https://stray.example")),
        ("issuer", Value::Null),
        ("authorization_endpoint", json!("javascript:alert(1)")),
        ("authorization_endpoint", json!(format!("{auth}/authorize?tenant=1"))),
        ("token_endpoint", json!("http://auth.example.com/token")),
        ("token_endpoint", json!("https://stray.example/token")),
        ("token_endpoint", json!("https://user:pass@auth.example.com/token")),
        ("registration_endpoint", Value::Null),
        ("registration_endpoint", json!("https://stray.example/register")),
        ("code_challenge_methods_supported", Value::Null),
        ("code_challenge_methods_supported", json!(["plain"])),
        ("authorization_response_iss_parameter_supported", json!(false)),
        ("client_id_metadata_document_supported", json!(true)),
        ("token_endpoint_auth_methods_supported", json!(["private_key_jwt"])),
        ("resource", json!("https://mcp.example.com")),
        ("resource", json!("https://stray.example/mcp")),
        ("resource", Value::Null),
        ("authorization_servers", json!(["https://other.example.com/tenant", auth])),
        (
            "authorization_servers",
            json!(["https://[::ffff:169.254.169.254]", "http://localhost", 7, ""]),
        ),
        ("authorization_servers", json!(vec![auth; 40])),
        ("expires_in", json!(0)),
        ("expires_in", json!(-1)),
        ("expires_in", json!("12")),
        ("expires_in", json!(1e300)),
        ("expires_in", Value::Null),
        ("refresh_token", Value::Null),
        ("refresh_token", json!("")),
        ("scope", json!("")),
        ("scope", json!("notes:read unheard:of")),
        ("token_type", json!("mac")),
        ("access_token", json!("two words")),
        ("access_token", Value::Null),
        ("client_secret", json!("client-secret-that-nobody-asked-for")),
        ("client_secret_expires_at", json!(1)),
        ("token_endpoint_auth_method", json!("client_secret_post")),
        ("error", json!("invalid_grant")),
        ("client_id", json!("another-client")),
        ("redirect_uris", json!(["https://stray.example/callback"])),
        ("registration_client_uri", json!("https://stray.example/register/c")),
        ("registration_client_uri", json!(format!("{auth}/register/elsewhere"))),
        ("registration_access_token", Value::Null),
        ("client_secret", Value::Null),
        ("interval", json!(-1)),
        ("user_code", json!("\u{1b}[2J")),
        ("verification_uri", json!("javascript:alert(1)")),
        ("device_authorization_endpoint", json!("https://stray.example/device_authorization")),
    ]
}

/// The true answer with a byte or two changed: too few to move a secret out of its quotes.
pub(super) fn change_bytes(response: &mut Response, at: u8, to: u8) {
    let body = response.body_mut();
    if body.is_empty() {
        return;
    }
    let index = usize::from(at) * body.len() / 256;
    match to % 4 {
        0 => body.truncate(index),
        1 => body.insert(index, to),
        _ => body[index] = to,
    }
}

/// Clients get a secret that ends, and something to renew it with.
pub(super) fn expiring_secrets(server: &mut AuthorizationServer) {
    server.registration.assigns = Some(ClientAuthentication::Basic);
    server.registration.secret_lifetime = Some(2 * 86_400);
    server.registration.manageable = true;
}

/// Servers or person change.
pub(super) fn change_world(world: &mut World, which: u8) {
    let home = world.resource.home;
    let all = &mut world.authorization;
    let Some(server) = all.get_mut(home) else { return };
    if which >= 248 {
        server.client_authentication.push(ClientAuthentication::TlsClientAuth);
        server.takes_pushed_requests = true;
        server.requires_pushed_requests = which % 4 == 1;
        server.requires_signed_requests = which % 4 == 2;
        server.dpop = true;
        server.dpop_nonce = which.is_multiple_of(2).then(|| format!("nonce-{which}"));
        server.dpop_nonce_rotates = which.is_multiple_of(4);
        world.resource.dpop_nonce = server.dpop_nonce.clone();
    }
    if which >= 252 {
        server.metadata_cache_control = Some("no-store".to_owned());
        return;
    }
    match which % 44 {
        0 => server.token_lifetime = 30,
        1 => server.token_lifetime = 3600,
        2 => server.refresh_tokens = RefreshTokens::Omitted,
        3 => server.refresh_tokens = RefreshTokens::Repeated,
        4 => server.refresh_tokens = RefreshTokens::Never,
        5 => server.refresh_tokens = RefreshTokens::Rotating,
        6 => server.expires_in = ExpiresIn::Absent,
        7 => server.expires_in = ExpiresIn::Zero,
        8 => server.expires_in = ExpiresIn::Number,
        9 => world.resource.mood = Mood::ForbidsAll,
        10 => world.resource.mood = Mood::RefusesAll,
        11 => world.resource.mood = Mood::Fair,
        12 => world.migrate_to(1),
        13 => world.migrate_to(0),
        14 => server.iss = IssParameter::Silent,
        15 => server.iss = IssParameter::Wrong("https://stray.example".to_owned()),
        16 => server.iss = IssParameter::Sent,
        17 => server.revoke_everything(),
        18 => world.resource.metadata = ResourceMetadata::Absent,
        19 => world.resource.metadata = ResourceMetadata::AtRoot,
        20 => world.resource.requires_login = RequiresLogin::Never,
        21 => server.registration.open = false,
        22 => world.person = Person::Denies,
        23 => world.person = Person::Approves,
        24 => world.person = Person::ApprovesOnly(vec!["notes:read".to_owned()]),
        25 => world.person = Person::Ignores,
        26 => world.faults.push(Fault::answer_lost("POST", "/token")),
        27 => server.reuse_grace = Some(60),
        28 => world.resource.refuse_next = 2,
        29 => server.cimd = Cimd::RefusedAtToken,
        30 => server.reply = TokenReply::FormEncoded,
        31 => server.registration.assigns = Some(ClientAuthentication::Basic),
        32..=34 => expiring_secrets(server),
        35 => server.registration.renews_secrets = false,
        36 => server.registration.keeps_old_secrets = true,
        37 => server.registration.manages_at = Some("https://stray.example/register/c".to_owned()),
        38 => server.registration.manages_at = None,
        40 | 41 => server.device = true,
        42 => server.slow_down(7),
        43 => server.code_lifetime = 20,
        _ => server.forget_clients(),
    }
}
