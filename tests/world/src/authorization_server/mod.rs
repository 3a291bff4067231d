//! The authorization server: its switches, what it remembers, and its endpoints.

mod authorize;
mod clients;
mod device;
mod manage;
mod metadata;
mod push;
mod refusal;
mod register;
mod revoke;
mod settings;
mod state;
mod token;

use http::{Method, Request};
use serde_json::Value;

use crate::log::{AuthorizationRequest, Detail, TokenRequest};
use crate::person::{Person, Visit};
use crate::text::{self, Form, Response};

pub use clients::{Client, ClientAuthentication, Presented};
pub use settings::{
    AuthorizationServer, Cimd, ExpiresIn, IssParameter, MetadataPlace, Redirects, RefreshTokens,
    Registration, ResourceIndicators, ScopeGrant, TokenReply,
};
pub use state::AccessToken;

/// What a path of an authorization server is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Metadata,
    Authorize,
    Token,
    Push,
    Register,
    /// The registration of this client.
    Manage(String),
    Revoke,
    DeviceAuthorization,
    /// Where codes are entered.
    Device,
}

impl Endpoint {
    /// What a request is about, as far as it tells itself.
    pub(crate) fn read(&self, request: &Request<Vec<u8>>) -> Detail {
        match self {
            Endpoint::Metadata => Detail::ServerMetadata,
            Endpoint::Authorize => Detail::Authorization(AuthorizationRequest::read(request)),
            Endpoint::Token => Detail::Token(TokenRequest::read(request)),
            Endpoint::Push => Detail::Pushed,
            Endpoint::Register => Detail::Registration { client_id: None },
            Endpoint::Manage(id) => Detail::Management { client_id: id.clone() },
            Endpoint::Revoke => Detail::Revocation { revoked: false },
            Endpoint::DeviceAuthorization => Detail::DeviceAuthorization { granted: false },
            Endpoint::Device => Detail::Other,
        }
    }
}

impl AuthorizationServer {
    /// What is at this path of this origin, if anything.
    pub(crate) fn endpoint(&self, origin: &str, path: &str) -> Option<Endpoint> {
        let at = |url: &str| text::origin(url) == origin && text::path(url) == path;
        if self.metadata_url().is_some_and(|url| at(&url)) {
            return Some(Endpoint::Metadata);
        }
        let alias = |endpoint: &str| {
            self.mtls_origin.as_ref().is_some_and(|at| {
                text::origin(at) == origin && text::path(&self.url(endpoint)) == path
            })
        };
        let serves =
            |member: &str, endpoint: &str| at(&self.announced(member, endpoint)) || alias(endpoint);
        if serves("authorization_endpoint", "authorize") {
            return Some(Endpoint::Authorize);
        }
        if serves("token_endpoint", "token") {
            return Some(Endpoint::Token);
        }
        if self.takes_pushed_requests && serves("pushed_authorization_request_endpoint", "par") {
            return Some(Endpoint::Push);
        }
        if self.registration.open && serves("registration_endpoint", "register") {
            return Some(Endpoint::Register);
        }
        if self.revocation && serves("revocation_endpoint", "revoke") {
            return Some(Endpoint::Revoke);
        }
        if self.device && serves("device_authorization_endpoint", "device_authorization") {
            return Some(Endpoint::DeviceAuthorization);
        }
        if self.device && at(&self.url("device")) {
            return Some(Endpoint::Device);
        }
        let managed = self.url("register/");
        let id = path.strip_prefix(text::path(&managed))?;
        (self.registration.manageable && text::origin(&managed) == origin)
            .then(|| Endpoint::Manage(id.to_owned()))
    }

    /// Where an endpoint is: at the URL that the metadata was changed to announce, on any origin, or
    /// at its usual place.
    fn announced(&self, member: &str, endpoint: &str) -> String {
        let changed = self.metadata_changes.get(member).and_then(Value::as_str);
        changed.map_or_else(|| self.url(endpoint), str::to_owned)
    }

    /// The URL of one of its endpoints.
    pub(crate) fn url(&self, endpoint: &str) -> String {
        format!("{}/{endpoint}", self.issuer.trim_end_matches('/'))
    }

    pub(crate) fn handle(
        &mut self,
        now: u64,
        endpoint: &Endpoint,
        request: &Request<Vec<u8>>,
        person: &Person,
    ) -> (Response, Detail, Option<Visit>) {
        let detail = endpoint.read(request);
        let (response, detail) = match (endpoint, request.method()) {
            (Endpoint::Metadata, &Method::GET) => (self.describe(), detail),
            (Endpoint::Authorize, &Method::GET) => {
                return self.serve_browser(now, request, person);
            }
            (Endpoint::Token, &Method::POST) => self.answer_token_request(now, request),
            (Endpoint::Push, &Method::POST) => (self.take_pushed(now, request), detail),
            (Endpoint::Register, &Method::POST) => self.register(now, request),
            (Endpoint::Manage(id), method) => (self.manage(now, id, method, request), detail),
            (Endpoint::Revoke, &Method::POST) => self.answer_revocation(now, request),
            (Endpoint::DeviceAuthorization, &Method::POST) => self.authorize_device(now, request),
            (Endpoint::Device, &Method::GET) => (self.enter_code(now, request, person), detail),
            _ => (text::empty(405), detail),
        };
        (response, detail, None)
    }

    fn serve_browser(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
        person: &Person,
    ) -> (Response, Detail, Option<Visit>) {
        let query = Form::parse(request.uri().query().unwrap_or_default().as_bytes());
        // The links of the consent page carry the person's decision.
        let person = match (person, query.get("decision")) {
            (Person::Ignores, Some("approve")) => &Person::Approves,
            (Person::Ignores, Some("deny")) => &Person::Denies,
            _ => person,
        };
        let query = match self.stands_for(now, query) {
            Ok(query) => query,
            Err(why) => {
                let response = text::response(400, "text/plain; charset=utf-8", why);
                let detail = Detail::Authorization(AuthorizationRequest::read(request));
                return (response, detail, Some(Visit::Page(why.to_owned())));
            }
        };
        let mut asked = AuthorizationRequest::of(&query);
        asked.scopes = query.get(&self.scope_parameter).map(text::words).unwrap_or_default();
        let visit = self.authorize(now, &query, person, &mut asked);
        let response = match &visit {
            Visit::Redirect(location) => {
                let mut response = text::empty(302);
                text::add_header(&mut response, "location", location);
                response
            }
            Visit::Page(text) => text::response(400, "text/plain; charset=utf-8", text.as_str()),
            Visit::Nothing => text::response(200, "text/html; charset=utf-8", consent_page(&query)),
        };
        (response, Detail::Authorization(asked), Some(visit))
    }
}

/// Two links and nothing of the request but its encoded parameters.
fn consent_page(query: &Form) -> String {
    let query = query.encode().replace('&', "&amp;");
    let link = |decision: &str, text: &str| {
        format!("<p><a href=\"?{query}&amp;decision={decision}\">{text}</a></p>")
    };
    format!(
        "<!doctype html><title>Sign in</title><h1>Let this program use your notes?</h1>{}{}",
        link("approve", "Approve"),
        link("deny", "Deny")
    )
}
