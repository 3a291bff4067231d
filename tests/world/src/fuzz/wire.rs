//! The wire formats: bytes in, and what must hold of whatever is read from them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcp_auth::wire::jwt::Person;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, StatusCode};
use mcp_auth::wire::authorization::AuthorizationResponse;
use mcp_auth::wire::challenge::{BearerChallenge, Challenge};
use mcp_auth::wire::device::DeviceAuthorization;
use mcp_auth::wire::failure::Failure;
use mcp_auth::wire::registration::{Registered, RegistrationReply, UpdateRequest};
use mcp_auth::wire::resource_metadata::ResourceMetadata;
use mcp_auth::wire::server_metadata::ServerMetadata;
use mcp_auth::wire::token::{AuthMethod, TokenReply};
use mcp_auth::wire::url as address;
use mcp_auth::{Reach, Secret, UnixTime};
use serde_json::{Value, json};

use super::play::{Arrival, Play};
use crate::text;

const NOW: UnixTime = UnixTime(1_790_000_000);

/// `WWW-Authenticate` lines, one a line: bounds, and what is read can be written and read again.
pub fn challenge(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|b| *b == b'\n').collect();
    let found = Challenge::parse_all(lines.iter().copied());
    assert!(found.len() <= 64, "{} challenges", found.len());
    for challenge in &found {
        assert!(!challenge.scheme.is_empty() && challenge.params.len() <= 64);
        assert!(challenge.params.iter().all(|(name, _)| *name == name.to_ascii_lowercase()));
        let text = written(challenge);
        if text.len() <= 64 * 1024 {
            let again = Challenge::parse_all([text.as_bytes()]);
            assert_eq!(again, std::slice::from_ref(challenge), "read from {text}");
        }
    }
    let mut headers = HeaderMap::new();
    let values = lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok());
    for value in values.take(64) {
        headers.append(WWW_AUTHENTICATE, value);
    }
    let found =
        Challenge::parse_all(headers.get_all(WWW_AUTHENTICATE).iter().map(|v| v.as_bytes()));
    let asks = found.iter().any(|c| c.is("bearer") || c.is("dpop"));
    let bearer = BearerChallenge::from_headers(&headers);
    assert_eq!(bearer.is_some(), asks);
    if let Some(bearer) = bearer {
        assert!(bearer.resource_metadata.len() <= 8);
        assert!(bearer.resource_metadata.iter().all(|url| !url.is_empty()));
        assert!(bearer.scope.is_none_or(|scope| !scope.is_empty()));
        for shown in [bearer.error, bearer.error_description].into_iter().flatten() {
            assert_printable(&shown);
        }
    }
}

fn written(challenge: &Challenge) -> String {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
    let params =
        challenge.params.iter().map(|(name, value)| format!("{name}=\"{}\"", quoted(value)));
    let token68 = challenge.token68.iter().map(|token| format!("{token},"));
    let parts: Vec<String> = token68.chain([params.collect::<Vec<_>>().join(", ")]).collect();
    format!("{} {}", challenge.scheme, parts.join(" "))
}

/// A token's claims, bare or in a JWT: what is shown of them is printable and bounded.
pub fn claims(data: &[u8]) {
    let encoded = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(data));
    for token in [String::from_utf8_lossy(data).into_owned(), encoded] {
        let Some(person) = Person::read(&Secret::new(token)) else { continue };
        let shown = [&person.subject, &person.email, &person.name];
        assert!(shown.iter().any(|text| text.is_some()), "nobody in particular");
        shown.into_iter().flatten().for_each(|text| assert_printable(text));
        let stored = serde_json::to_vec(&person).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Person>(&stored).ok(), Some(person));
    }
}

/// Protected resource metadata: bounds, a round trip, and which server it may speak for.
pub fn resource_metadata(data: &[u8]) {
    let found = match ResourceMetadata::parse(data) {
        Ok(found) => found,
        Err(error) => return assert_printable(&error.got),
    };
    assert!(found.authorization_servers.len() <= 16);
    assert!(found.authorization_servers.iter().all(|server| !server.is_empty()));
    let scopes = found.scopes_supported.as_ref();
    let again = json!({
        "resource": found.resource, "authorization_servers": found.authorization_servers,
        "scopes_supported": scopes.map(|scopes| scopes.iter().collect::<Vec<_>>()),
        "resource_name": found.resource_name,
    });
    assert_eq!(ResourceMetadata::parse(again.to_string().as_bytes()), Ok(found.clone()));
    let Ok(server) = url::Url::parse(super::play::SERVER) else { return };
    if let Some(resource) = &found.resource
        && address::resource_covers(resource, &server)
    {
        let resource = address::parse("resource", resource);
        assert!(resource.is_ok_and(|resource| address::same_origin(&resource, &server)));
    }
    for issuer in found.authorization_servers {
        let Ok(url) = address::parse("issuer", &issuer) else { continue };
        assert_safe(&url);
        for metadata in address::server_metadata_urls(&url) {
            assert!(address::same_origin(&metadata, &url));
            assert_safe(&metadata);
        }
    }
}

/// Authorization server metadata: every endpoint is one to use, and a record gives it back.
pub fn server_metadata(data: &[u8]) {
    let found = match ServerMetadata::parse(data) {
        Ok(found) => found,
        Err(error) => return assert_printable(&error.got),
    };
    for (text, url) in [
        (&found.authorization_endpoint, found.authorization_endpoint()),
        (&found.token_endpoint, found.token_endpoint()),
        (&found.registration_endpoint, found.registration_endpoint()),
        (&found.revocation_endpoint, found.revocation_endpoint()),
    ] {
        assert_eq!(text.is_some(), url.is_some());
        url.iter().for_each(assert_safe);
    }
    let written = serde_json::to_vec(&found).unwrap_or_default();
    let Ok(stored) = serde_json::from_slice::<ServerMetadata>(&written) else {
        panic!("metadata that can't be stored")
    };
    assert_eq!(stored, found);
}

/// The answer to a device authorization request, after two bytes for its status.
pub fn device_reply(data: &[u8]) {
    let Some((status, headers, body)) = response(data) else { return };
    match DeviceAuthorization::parse(status, &headers, body, NOW) {
        Ok(reply) => {
            // Laws: a person is sent to the web, by one line of text; and no poll comes at once.
            assert!(status.is_success());
            assert_safe(&reply.verification_uri);
            let hostile = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
            assert!(!reply.user_code.is_empty() && !reply.user_code.contains(hostile));
            assert!(reply.interval.as_secs() >= 1);
            let complete = reply.verification_uri_complete.as_ref();
            assert!(complete.is_none_or(|uri| address::same_origin(uri, &reply.verification_uri)));
            let read = |body: &[u8]| DeviceAuthorization::parse(status, &headers, body, NOW).ok();
            assert_hides(body, read, |reply| [Some(&reply.device_code)]);
        }
        Err(failure) => assert_failure(&failure),
    }
}

/// The answer to a registration, or to its renewal, after two bytes for its status. There `CLIENT`
/// stands for the client's name, and `SECRET` and `TOKEN` for secrets that nobody could know.
pub fn registration_reply(data: &[u8]) {
    let Some((status, headers, body)) = response(data) else { return };
    registration(status, &headers, body);
    let Some(mut play) = Play::new(mcp_auth::Config::default()) else { return };
    let Some(client) = play.wait_for_upkeep() else { panic!("nothing is renewed") };
    let body = String::from_utf8_lossy(body);
    play.guessed(&body);
    let body = body
        .replacen("CLIENT", &client, 1)
        .replacen("SECRET", &text::opaque("planted", &body, 1), 1)
        .replacen("TOKEN", &text::opaque("planted", &body, 2), 1);
    let mut response = text::response(status.as_u16(), "application/json", body);
    *response.status_mut() = status;
    play.answer_upkeep(response);
}

fn registration(status: StatusCode, headers: &HeaderMap, body: &[u8]) {
    match RegistrationReply::parse(status, headers, body, NOW) {
        Ok(reply) => {
            assert!(status.is_success() && !reply.client_id.is_empty());
            update(&reply);
            let read = |body: &[u8]| RegistrationReply::parse(status, headers, body, NOW).ok();
            assert_hides(body, read, |reply| {
                [reply.client_secret.as_ref(), reply.registration_access_token.as_ref()]
            });
            for asked in [AuthMethod::None, AuthMethod::Basic, AuthMethod::Post] {
                let method = reply.auth_method(asked);
                assert!(
                    method.is_err()
                        || reply.client_secret.is_some()
                        || method == Ok(AuthMethod::None)
                );
            }
        }
        Err(failure) => assert_failure(&failure),
    }
}

/// Law: an update says who the client is, and what was registered, and nothing that is for the
/// server to say (RFC 7592 §2.2).
fn update(reply: &RegistrationReply) {
    let Ok(uri) = url::Url::parse("https://auth.example.com/register/c") else { return };
    let token = Secret::from("management-token");
    let request = UpdateRequest {
        uri: &uri,
        token: &token,
        client_id: &reply.client_id,
        client_secret: reply.client_secret.as_ref(),
        metadata: &reply.metadata.updated_by(&reply.metadata),
    }
    .to_http();
    let Ok(Value::Object(said)) = serde_json::from_slice(request.body()) else {
        panic!("an update that is no object")
    };
    assert_eq!(said.get("client_id"), Some(&json!(reply.client_id)));
    let secret = reply.client_secret.as_ref().map(|secret| json!(secret.expose()));
    assert_eq!(said.get("client_secret"), secret.as_ref());
    for name in ["registration_access_token", "registration_client_uri", "client_secret_expires_at"]
    {
        assert!(!said.contains_key(name), "{name} is sent");
    }
    let written = serde_json::to_vec(&reply.metadata).unwrap_or_default();
    let Ok(stored) = serde_json::from_slice::<Registered>(&written) else {
        panic!("metadata that can't be stored")
    };
    assert_eq!(stored, reply.metadata);
}

/// The answer to a token request, after two bytes for its status.
pub fn token_reply(data: &[u8]) {
    let Some((status, headers, body)) = response(data) else { return };
    match TokenReply::parse(status, &headers, body, NOW) {
        Ok(reply) => {
            assert!(status.is_success());
            let token = reply.access_token.expose();
            assert!(!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
            assert!(reply.refresh_token.as_ref().is_none_or(|token| !token.expose().is_empty()));
            let hundred_years = 101 * 366 * 86_400;
            assert!(reply.expires_in.is_none_or(|life| life.as_secs() < hundred_years));
            let read = |body: &[u8]| TokenReply::parse(status, &headers, body, NOW).ok();
            assert_hides(body, read, |reply| {
                [Some(&reply.access_token), reply.refresh_token.as_ref()]
            });
        }
        Err(failure) => assert_failure(&failure),
    }
}

/// What comes to the callback address while a person is in the browser; `STATE` in it stands for the
/// state that was sent. Only the answer to the request that is out leads on.
pub fn redirect(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(mut play) = Play::new(mcp_auth::Config::default()) else { return };
    let Some(state) = play.wait_for_person() else { panic!("nobody is asked") };
    // Once: a server that writes the state into its own words shows it itself.
    let text = text.replacen("STATE", &state, 1);
    let response = AuthorizationResponse::parse(&text);
    if let Ok(response) = &response {
        for shown in [&response.error, &response.error_description, &response.error_uri] {
            shown.iter().for_each(|shown| assert_printable(shown));
        }
    }
    let genuine = response.ok().filter(|response| {
        let issuer = Some("https://auth.example.com");
        response.state == Some(Secret::new(state))
            && response.duplicated.is_none()
            && response.iss.as_deref() == issuer
    });
    match play.arrive(&text) {
        Arrival::Waiting | Arrival::Failed => {}
        Arrival::Paid(code) => {
            let code = Some(Secret::new(code));
            assert!(genuine.is_some_and(|genuine| genuine.code == code && genuine.error.is_none()));
        }
    }
    play.end();
}

/// Two addresses, a server's and one that it names: whatever the second is dressed up as, it gets no
/// further than it would in its own clothes.
pub fn reach(data: &[u8]) {
    let Some((server, data)) = data.split_first_chunk::<16>() else { return };
    let Some((named, _)) = data.split_first_chunk::<16>() else { return };
    let (server, named) = (Ipv6Addr::from(*server), Ipv6Addr::from(*named));
    let public = Reach::of_server_at(Ipv4Addr::new(93, 184, 216, 34).into());
    let reach = Reach::of_server_at(server.into());
    let allows = |address: IpAddr| reach.allows(address).is_ok();
    assert!(
        public.allows(named.into()).is_err() || allows(named.into()),
        "public is for everybody"
    );
    assert!(allows(server.into()), "{server}");
    let inside = named.is_loopback()
        || named.is_unique_local()
        || named.is_unicast_link_local()
        || named.is_multicast();
    assert!(!inside || public.allows(named.into()).is_err(), "{named}");
    let [.., a, b, c, d] = named.octets();
    let v4 = Ipv4Addr::new(a, b, c, d);
    let inside = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast();
    assert!(!inside || public.allows(v4.into()).is_err(), "{v4}");
    let [high, low] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
    for disguise in [
        v4.to_ipv6_mapped(),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
    ] {
        assert_eq!(allows(disguise.into()), allows(v4.into()), "{disguise}");
    }
    if let Err(refused) = reach.allows(named.into()) {
        assert_printable(&refused.to_string());
    }
}

fn response(data: &[u8]) -> Option<(StatusCode, HeaderMap, &[u8])> {
    let (status, body) = data.split_first_chunk::<2>()?;
    let status = StatusCode::from_u16(100 + u16::from_le_bytes(*status) % 500).ok()?;
    Some((status, HeaderMap::new(), body))
}

/// Law: a URL that is accepted leads to `https` or this machine, and nowhere else.
fn assert_safe(url: &url::Url) {
    let local = url.scheme() == "http" && address::is_loopback(url);
    assert!(url.scheme() == "https" || local, "{url}");
    assert!(url.has_host() && url.username().is_empty() && url.password().is_none(), "{url}");
    assert_eq!(url.fragment(), None, "{url}");
}

/// Law: foreign text that is shown is one bounded line.
fn assert_printable(shown: &str) {
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    assert!(shown.chars().count() <= 210, "{} characters", shown.chars().count());
}

fn assert_failure(failure: &Failure) {
    let shown = failure.to_string();
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    assert!(shown.len() < 4096, "{} bytes", shown.len());
    if let Failure::Passing { retry_after: Some(wait), .. } = failure {
        assert!(wait.as_secs() <= 86_400);
    }
}

/// Law: what is printed says nothing of a secret but its length: with another in its place it is the
/// same. (To look for the secret in it would take a secret that is called `Secret` for a leak.)
pub(super) fn assert_hides<T: Debug, const N: usize>(
    body: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
    secrets: impl for<'a> Fn(&'a T) -> [Option<&'a Secret>; N],
) {
    let Some(reply) = read(body) else { return };
    for (which, secret) in secrets(&reply).into_iter().enumerate() {
        let Some((changed, other)) = secret.and_then(|secret| exchanged(body, secret.expose()))
        else {
            continue;
        };
        // What was exchanged may have been some other field, of the same text.
        let Some(changed) = read(&changed) else { continue };
        if secrets(&changed)[which].is_some_and(|secret| *secret.expose() == other) {
            assert_eq!(format!("{changed:?}"), format!("{reply:?}"), "a secret is shown");
        }
    }
}

/// The body with another secret of the same length, and that; `None` where the secret isn't in it just
/// once.
fn exchanged(body: &[u8], secret: &str) -> Option<(Vec<u8>, String)> {
    let length = secret.len();
    let mut places =
        (0..body.len()).filter(|at| length > 0 && body[*at..].starts_with(secret.as_bytes()));
    let at = places.next().filter(|_| places.next().is_none())?;
    let other = if secret.contains('x') { "y" } else { "x" }.repeat(length);
    let mut changed = body.to_vec();
    changed[at..at + length].copy_from_slice(other.as_bytes());
    Some((changed, other))
}
