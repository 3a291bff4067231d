//! What must not be shown, and where it may go.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, header};
use mcp_auth::output::Purpose;
use mcp_auth::wire::device::DeviceAuthorization;
use mcp_auth::wire::registration::RegistrationReply;
use mcp_auth::wire::server_metadata::ServerMetadata;
use mcp_auth::wire::token::TokenReply;
use mcp_auth::wire::url as address;
use mcp_auth::{Config, UnixTime};
use url::{Url, form_urlencoded};

use crate::text::{self, Form, Response};

/// Anything shorter may stand in a text by chance.
const SHORTEST: usize = 12;

/// Where a secret may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// To this origin.
    At(String),
    /// To the endpoints that this issuer names.
    OfIssuer(String),
    /// To the token endpoint of whoever has its authorization endpoint at this origin.
    OfAuthorization(String),
    /// To the token endpoint of whoever gives device codes at this origin.
    OfDevice(String),
    /// To the token, device authorization or revocation endpoint of whoever has its registration
    /// endpoint at this origin.
    OfRegistration(String),
    /// To the revocation endpoint of whoever has its token endpoint at this origin, to be revoked.
    Revoked(String),
    /// To this origin, to manage the registration that it is for.
    Managed(String),
}

/// All secrets that came up, and what the servers said about themselves.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    known: BTreeMap<String, Vec<Home>>,
    /// What the fuzzer wrote itself: a secret that it has guessed is none.
    guesses: String,
    /// With the origins that their metadata came from.
    servers: Vec<(String, ServerMetadata)>,
    /// Origins of the endpoints that the settings name: whoever authorizes there is paid there.
    configured: Option<(String, String)>,
}

impl Secrets {
    /// The endpoints that the settings name.
    pub(super) fn configured(&mut self, config: &Config) {
        let named = |url: &Option<String>| url.as_deref().map(origin_of);
        self.configured = named(&config.authorize_url).zip(named(&config.token_url));
    }

    /// The world is deterministic: whoever fuzzes long enough spells its codes and tokens, those to
    /// come and those that are there.
    pub(super) fn guessed(&mut self, text: &str) {
        self.guesses = text.to_owned();
        self.known.retain(|secret, _| !text.contains(secret));
    }

    /// A secret without a home is sent nowhere.
    pub(super) fn add(&mut self, secret: &str, home: Option<Home>) {
        if secret.len() >= SHORTEST && !self.guesses.contains(secret) {
            self.known.entry(secret.to_owned()).or_default().extend(home);
        }
    }

    /// Tokens that came from the token endpoint at this origin. The machine lends the access token,
    /// and sends it nowhere itself but to its end.
    pub(super) fn add_tokens(&mut self, access: &str, refresh: &str, origin: String) {
        self.add(access, Some(Home::Revoked(origin.clone())));
        self.add(refresh, Some(Home::Revoked(origin.clone())));
        self.add(refresh, Some(Home::At(origin)));
    }

    /// Learns the secrets of an answer that a machine gets.
    pub(super) fn read(
        &mut self,
        purpose: Purpose,
        from: &str,
        response: &Response,
        now: UnixTime,
    ) {
        let (status, headers, body) = (response.status(), response.headers(), response.body());
        let origin = origin_of(from);
        match purpose {
            Purpose::ServerMetadata => {
                self.servers.extend(ServerMetadata::parse(body).map(|server| (origin, server)));
            }
            Purpose::Registration | Purpose::Upkeep => {
                let Ok(reply) = RegistrationReply::parse(status, headers, body, now) else {
                    return;
                };
                if let Some(secret) = reply.client_secret {
                    self.add(secret.expose(), Some(Home::OfRegistration(origin.clone())));
                }
                if let Some(token) = reply.registration_access_token {
                    self.add(token.expose(), Some(Home::Managed(origin)));
                }
            }
            Purpose::DeviceAuthorization => {
                let Ok(reply) = DeviceAuthorization::parse(status, headers, body, now) else {
                    return;
                };
                self.add(reply.device_code.expose(), Some(Home::OfDevice(origin)));
            }
            Purpose::Token => {
                let Ok(reply) = TokenReply::parse(status, headers, body, now) else { return };
                self.add_tokens(
                    reply.access_token.expose(),
                    reply.refresh_token.as_ref().map_or("", |token| token.expose()),
                    origin,
                );
            }
            _ => {}
        }
    }

    /// A code and a state on their way back from the authorization endpoint at `from`.
    pub(super) fn read_redirect(&mut self, redirect: &str, from: &str) {
        let query = Form::parse(redirect.split_once('?').unwrap_or_default().1.as_bytes());
        if let Some(code) = query.get("code") {
            self.add(code, Some(Home::OfAuthorization(origin_of(from))));
        }
        self.read_state(&query);
    }

    pub(super) fn read_state(&mut self, query: &Form) {
        if let Some(state) = query.get("state") {
            self.add(state, None);
        }
    }

    /// Law: what is shown to people, or written to logs, holds no secret.
    pub(super) fn assert_hidden(&self, what: &str, shown: &str) {
        let seen = self.known.keys().find(|secret| shown.contains(secret.as_str()));
        assert_eq!(seen, None, "{what} shows a secret: {shown}");
    }

    /// Law: a request goes to `https` or this machine, and shows the receiver its own secrets only.
    pub(super) fn assert_home(&mut self, request: &Request<Vec<u8>>, purpose: Purpose) {
        let uri = request.uri().to_string();
        assert!(address::parse("a request", &uri).is_ok(), "a request to {uri}");
        let bare =
            matches!(purpose, Purpose::Probe | Purpose::ResourceMetadata | Purpose::ServerMetadata);
        let headers = request.headers();
        assert!(!bare || !headers.contains_key(header::AUTHORIZATION), "a {purpose} with a token");
        let origin = origin_of(&uri);
        if let Some(verifier) = Form::parse(request.body()).get("code_verifier") {
            self.add(verifier, Some(Home::At(origin.clone())));
        }
        let aloud = read_aloud(request);
        for (secret, homes) in self.known.iter().filter(|(secret, _)| aloud.contains(*secret)) {
            assert!(!uri.contains(secret), "a secret in the URL {uri}");
            let home = homes.iter().any(|home| self.is_at(home, &origin, purpose));
            assert!(home, "{uri} is shown a secret that belongs to {homes:?}");
        }
    }

    fn is_at(&self, home: &Home, origin: &str, purpose: Purpose) -> bool {
        let named = |endpoint: &Option<String>| endpoint.as_deref().map(origin_of);
        let is_here = |endpoints: &[&Option<String>]| {
            endpoints.iter().any(|endpoint| named(endpoint).as_deref() == Some(origin))
        };
        let of = |at: &str, own: fn(&ServerMetadata) -> &Option<String>| {
            // Without metadata all endpoints are at one origin.
            at == origin
                || self.configured.as_ref().is_some_and(|(from, to)| at == from && origin == to)
                || self.servers.iter().any(|(_, server)| {
                    named(own(server)).as_deref() == Some(at)
                        && is_here(&[
                            &server.token_endpoint,
                            &server.revocation_endpoint,
                            &server.pushed_authorization_request_endpoint,
                            &server.device_authorization_endpoint,
                        ])
                })
        };
        match home {
            Home::At(at) => at == origin,
            // Endpoints that are configured beside their issuer have no metadata to vouch for them.
            Home::OfIssuer(issuer) => {
                origin_of(issuer) == origin
                    || self.configured.as_ref().is_some_and(|(_, to)| to == origin)
                    || self.servers.iter().any(|(from, server)| {
                        *from == origin_of(issuer)
                            && address::issuers_match(issuer, &server.issuer)
                            && is_here(&[
                                &server.token_endpoint,
                                &server.registration_endpoint,
                                &server.pushed_authorization_request_endpoint,
                                &server.revocation_endpoint,
                                &server.device_authorization_endpoint,
                            ])
                    })
            }
            Home::OfAuthorization(at) => of(at, |s| &s.authorization_endpoint),
            Home::OfDevice(at) => {
                purpose == Purpose::Token && of(at, |s| &s.device_authorization_endpoint)
            }
            Home::OfRegistration(at) => of(at, |s| &s.registration_endpoint),
            Home::Revoked(at) => purpose == Purpose::Revocation && of(at, |s| &s.token_endpoint),
            Home::Managed(at) => {
                matches!(purpose, Purpose::Management | Purpose::Upkeep) && at == origin
            }
        }
    }
}

/// As it stands in a request: whoever spells a host in his own script means the same one.
fn origin_of(url: &str) -> String {
    Url::parse(url).map_or_else(|_| text::origin(url), |url| text::origin(url.as_str()))
}

/// Everything that the receiver can read, as it comes and decoded.
fn read_aloud(request: &Request<Vec<u8>>) -> String {
    let uri = request.uri().to_string();
    let mut parts = vec![String::from_utf8_lossy(request.body()).into_owned()];
    let pairs = |bytes: &[u8]| -> String {
        form_urlencoded::parse(bytes).map(|(name, value)| format!("{name}={value}\n")).collect()
    };
    parts.extend([pairs(request.body()), pairs(uri.as_bytes()), uri]);
    for value in request.headers().values() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let basic = value.strip_prefix("Basic ").and_then(|text| STANDARD.decode(text).ok());
        parts.extend(basic.map(|basic| pairs(&basic)));
        parts.push(value);
    }
    parts.join("\n")
}
