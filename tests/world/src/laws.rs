//! The questions that laws put to the log.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header;
use url::form_urlencoded;

use crate::log::{AuthorizationRequest, Detail, Exchange, TokenRequest, Who};
use crate::text;
use crate::world::World;

/// A kind of request to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Messages for the MCP server.
    McpRequests,
    /// Requests for protected resource metadata.
    ResourceMetadata,
    /// Requests for authorization server metadata.
    ServerMetadata,
    /// Registration requests, granted or not.
    Registrations,
    /// Authorization requests, by browser or program.
    Authorizations,
    /// Token requests of any kind.
    TokenRequests,
    /// Token requests with an authorization code.
    CodeExchanges,
    /// Requests for a code for another device (RFC 8628), granted or not.
    DeviceAuthorizations,
    /// Token requests with a device code.
    Polls,
    /// Token requests with a refresh token.
    Refreshes,
    /// Revocation requests.
    Revocations,
    /// Requests that change a registration (RFC 7592 §2.2), granted or not.
    RegistrationUpdates,
    /// Requests to an origin that nobody answers for.
    Strays,
}

/// A kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// An access token: for its issuer and the MCP server.
    AccessToken,
    /// A refresh token: for its issuer alone, as all that follow.
    RefreshToken,
    /// An authorization code.
    Code,
    /// A device code (RFC 8628).
    DeviceCode,
    /// The code that a person enters: in the browser, and to be shown by no log.
    UserCode,
    /// A client's secret.
    ClientSecret,
    /// The identifier of a client that registered itself: no secret, but of use nowhere else.
    ClientId,
    /// The token that manages a registration (RFC 7592).
    RegistrationToken,
}

/// A secret that was shown to somebody it is not for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leak {
    /// The index in [`World::log`].
    pub exchange: usize,
    /// What leaked.
    pub kind: SecretKind,
    /// The index of the authorization server that issued it.
    pub issued_by: usize,
    /// Who saw it.
    pub shown_to: Who,
}

impl Exchange {
    pub(crate) fn is(&self, what: What) -> bool {
        let grant = |name| matches!(&self.detail, Detail::Token(t) if t.grant_type == name);
        match what {
            What::McpRequests => matches!(self.detail, Detail::Mcp { .. }),
            What::ResourceMetadata => self.detail == Detail::ResourceMetadata,
            What::ServerMetadata => self.detail == Detail::ServerMetadata,
            What::Registrations => matches!(self.detail, Detail::Registration { .. }),
            What::Authorizations => matches!(self.detail, Detail::Authorization(_)),
            What::TokenRequests => matches!(self.detail, Detail::Token(_)),
            What::CodeExchanges => grant("authorization_code"),
            What::DeviceAuthorizations => {
                matches!(self.detail, Detail::DeviceAuthorization { .. })
            }
            What::Polls => grant("urn:ietf:params:oauth:grant-type:device_code"),
            What::Refreshes => grant("refresh_token"),
            What::RegistrationUpdates => {
                matches!(self.detail, Detail::Management { .. })
                    && self.request.method() == http::Method::PUT
            }
            What::Revocations => matches!(self.detail, Detail::Revocation { .. }),
            What::Strays => self.who == Who::Stray,
        }
    }

    /// Everything that the receiver could read, as it came and decoded.
    pub(crate) fn read_aloud(&self) -> String {
        let uri = self.request.uri().to_string();
        let mut parts = vec![decoded(uri.as_bytes()), decoded(self.request.body()), uri];
        parts.push(String::from_utf8_lossy(self.request.body()).into_owned());
        for value in self.request.headers().values() {
            parts.push(String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
        for value in self.request.headers().get_all(header::AUTHORIZATION) {
            let basic = value.to_str().ok().and_then(|value| value.split_once(' '));
            let basic = basic.and_then(|(_, token)| STANDARD.decode(token.trim()).ok());
            let basic = basic.unwrap_or_default();
            parts.push(String::from_utf8_lossy(&basic).into_owned());
            parts.push(decoded(&basic));
        }
        parts.join("\n")
    }
}

fn decoded(text: &[u8]) -> String {
    let pairs = form_urlencoded::parse(text);
    pairs.map(|(key, value)| format!("{key}={value}\n")).collect()
}

impl World {
    /// How many requests of a kind were sent, whatever became of them.
    pub fn count(&self, what: What) -> usize {
        self.log.iter().filter(|exchange| exchange.is(what)).count()
    }

    /// The token requests, in order.
    pub fn token_requests(&self) -> impl Iterator<Item = &TokenRequest> {
        self.log.iter().filter_map(|exchange| match &exchange.detail {
            Detail::Token(token) => Some(token),
            _ => None,
        })
    }

    /// The authorization requests, in order.
    pub fn authorization_requests(&self) -> impl Iterator<Item = &AuthorizationRequest> {
        self.log.iter().filter_map(|exchange| match &exchange.detail {
            Detail::Authorization(request) => Some(request),
            _ => None,
        })
    }

    /// Was a spent code or refresh token ever presented again?
    pub fn reuse_seen(&self) -> bool {
        self.token_requests().any(|token| token.reused)
    }

    /// How many registrations were granted.
    pub fn registrations(&self) -> usize {
        let granted =
            |e: &&Exchange| matches!(e.detail, Detail::Registration { client_id: Some(_) });
        self.log.iter().filter(granted).count()
    }

    /// The refresh token that the MCP server's present authorization server issued last, if it is
    /// still good.
    pub fn newest_refresh_token(&self) -> Option<&str> {
        self.authorization.get(self.resource.home)?.newest_refresh_token()
    }

    /// The access token that the same server issued last.
    pub fn newest_access_token(&self) -> Option<&str> {
        self.authorization.get(self.resource.home)?.newest_access_token()
    }

    /// The secrets that were shown to somebody they are not for. Reads the whole log again: a law
    /// asks once, at the end of its story.
    pub fn leaks(&self) -> Vec<Leak> {
        let mut leaks = Vec::new();
        for (at, exchange) in self.log.iter().enumerate() {
            let text = exchange.read_aloud();
            for (issued_by, server) in self.authorization.iter().enumerate() {
                let strange = server.secrets().filter(|(kind, secret)| {
                    !exchange.who.may_see(*kind, issued_by)
                        && !secret.is_empty()
                        && text.contains(secret)
                });
                leaks.extend(strange.map(|(kind, _)| Leak {
                    exchange: at,
                    kind,
                    issued_by,
                    shown_to: exchange.who,
                }));
            }
        }
        leaks
    }

    /// The `Authorization` header values that an origin was sent, in order.
    pub fn authorization_headers(&self, origin: &str) -> Vec<String> {
        let origin = text::origin(origin);
        let here = self.log.iter().filter(|exchange| exchange.origin == origin);
        here.flat_map(|exchange| exchange.request.headers().get_all(header::AUTHORIZATION))
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    }
}

impl Who {
    fn may_see(self, kind: SecretKind, issued_by: usize) -> bool {
        match self {
            Who::Authorization(index) => index == issued_by,
            Who::Resource => kind == SecretKind::AccessToken,
            Who::Stray => false,
        }
    }
}
