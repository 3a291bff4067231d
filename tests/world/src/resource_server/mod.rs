//! The MCP server as OAuth sees it: who may come in, and what those who may not are told.

mod settings;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::authorization_server::AuthorizationServer;
use crate::faults::Canned;
use crate::log::Detail;
use crate::mcp::{self, Caller, Message};
use crate::signer::Jwt;
use crate::text::{self, Response};

pub use settings::{
    Challenge, GetAnswer, Mood, RequiresLogin, ResourceMetadata, ResourceServer, ScopeChallenge,
    Versions,
};

const WELL_KNOWN: &str = "oauth-protected-resource";

enum Verdict {
    Welcome(Caller),
    NoToken,
    BadToken,
    WithoutNonce,
    Lacks { missing: Vec<String>, needed: Vec<String> },
}

impl ResourceServer {
    /// Refuses this access token from now on.
    pub fn revoke(&mut self, token: &str) {
        self.revoked.insert(token.to_owned());
    }

    /// Refuses this access token the next time it comes.
    pub fn refuse_once(&mut self, token: &str) {
        self.refused_once.insert(token.to_owned());
    }

    /// The `resource` that its tokens must be for.
    pub fn identifier(&self) -> &str {
        self.identifier.as_deref().unwrap_or(&self.url)
    }

    /// The URL of the metadata, if there is any.
    pub fn metadata_url(&self) -> Option<String> {
        match &self.metadata {
            // Only the slash after the host goes (RFC 9728 §3.1).
            ResourceMetadata::AtPath => {
                let path = Some(text::path(&self.url)).filter(|path| *path != "/");
                Some(text::insert_well_known(&self.url, WELL_KNOWN, path.unwrap_or_default()))
            }
            ResourceMetadata::AtRoot => Some(text::insert_well_known(&self.url, WELL_KNOWN, "")),
            ResourceMetadata::At(url) => Some(url.clone()),
            ResourceMetadata::Absent => None,
        }
    }

    pub(crate) fn serves(&self, origin: &str, path: &str) -> bool {
        self.is_endpoint(origin, path) || self.is_metadata(origin, path)
    }

    fn is_endpoint(&self, origin: &str, path: &str) -> bool {
        text::origin(&self.url) == origin && same_path(text::path(&self.url), path)
    }

    fn is_metadata(&self, origin: &str, path: &str) -> bool {
        let at = |url: String| text::origin(&url) == origin && same_path(text::path(&url), path);
        self.metadata_url().is_some_and(at)
    }

    /// What a request is about, as far as it tells itself.
    pub(crate) fn read(&self, request: &Request<Vec<u8>>) -> Detail {
        if !same_path(text::path(&self.url), request.uri().path()) {
            return Detail::ResourceMetadata;
        }
        let message = Message::read(request).ok();
        let tool = message.as_ref().and_then(Message::tool);
        Detail::Mcp { tool, method: message.map(|message| message.method) }
    }

    pub(crate) fn handle(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
        issuers: &[AuthorizationServer],
    ) -> (Response, Detail) {
        let detail = self.read(request);
        let response = match (&detail, request.method()) {
            (Detail::ResourceMetadata, &Method::GET) => self.describe(issuers),
            (Detail::ResourceMetadata, _) => text::empty(405),
            _ => self.call(now, request, issuers),
        };
        (response, detail)
    }

    /// The protected resource metadata (RFC 9728 §2).
    fn describe(&self, issuers: &[AuthorizationServer]) -> Response {
        if let Some(body) = &self.metadata_body {
            return text::response(200, "application/json", body.clone());
        }
        let home = || issuers.get(self.home).map(|server| server.issuer.clone());
        let servers = self.authorization_servers.clone();
        let mut document = json!({
            "resource": self.identifier(),
            "authorization_servers": servers.unwrap_or_else(|| home().into_iter().collect()),
            "bearer_methods_supported": ["header"],
        });
        if let (false, Value::Object(members)) = (self.scopes_supported.is_empty(), &mut document) {
            members.insert("scopes_supported".to_owned(), json!(self.scopes_supported));
        }
        text::json(200, &document)
    }

    /// Authorization comes before the message is understood, as it does with middleware.
    fn call(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
        issuers: &[AuthorizationServer],
    ) -> Response {
        let accept = request.headers().get(http::header::ACCEPT);
        let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let (Some(canned), false) = (&self.without_accept, accept.contains("text/event-stream"))
        {
            return canned.response();
        }
        let message = Message::read(request);
        let method = request.method();
        let asks = match (method, &message) {
            (&Method::POST, Ok(message)) => match self.requires_login {
                RequiresLogin::Always => true,
                RequiresLogin::Never => false,
                RequiresLogin::ForToolCalls => message.method == "tools/call",
            },
            (&Method::POST, Err(_)) => self.requires_login == RequiresLogin::Always,
            (&Method::GET, _) => self.get == GetAnswer::Unauthorized,
            _ => false,
        };
        let tool = message.as_ref().ok().and_then(Message::tool);
        let caller = if asks {
            match self.judge(now, request, tool.as_deref(), issuers) {
                Verdict::Welcome(caller) => caller,
                Verdict::NoToken => return self.refuse(None, self.no_token_answer.as_ref()),
                Verdict::BadToken => {
                    return self.refuse(Some("invalid_token"), self.bad_token_answer.as_ref());
                }
                Verdict::WithoutNonce => return self.wants_nonce(),
                Verdict::Lacks { missing, needed } => return self.forbidden(&missing, &needed),
            }
        } else {
            Caller::anonymous()
        };
        match *method {
            Method::POST => mcp::answer(self.versions, request, message, &caller),
            _ => {
                let mut response = text::empty(405);
                text::add_header(&mut response, "allow", "POST");
                response
            }
        }
    }

    fn judge(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
        tool: Option<&str>,
        issuers: &[AuthorizationServer],
    ) -> Verdict {
        let mut needed = self.scopes.clone();
        let tool_scopes = tool.and_then(|tool| self.tool_scopes.get(tool));
        needed.extend(tool_scopes.into_iter().flatten().cloned());
        let bound = text::credential(request, "DPoP");
        let Some(token) = bound.or(text::credential(request, "Bearer")) else {
            return match request.headers().contains_key(http::header::AUTHORIZATION) {
                true => Verdict::BadToken,
                false => Verdict::NoToken,
            };
        };
        match self.mood {
            Mood::Fair => {}
            Mood::RefusesAll => return Verdict::BadToken,
            Mood::ForbidsAll => return Verdict::Lacks { missing: needed.clone(), needed },
        }
        if self.revoked.contains(token) || self.refused_once.remove(token) {
            return Verdict::BadToken;
        }
        if self.api_keys.contains(token) {
            return Verdict::Welcome(Caller { client_id: "api-key".to_owned(), scopes: needed });
        }
        let issuer = issuers.get(self.home);
        let Some(known) = issuer.and_then(|issuer| issuer.live_access_token(now, token)) else {
            return Verdict::BadToken;
        };
        if known.jkt.is_some() != bound.is_some() {
            return Verdict::BadToken;
        }
        if let Some(jkt) = &known.jkt {
            let origin = text::origin(&self.url);
            let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(token));
            match Jwt::proof(now, request, &origin, &mut self.proofs_seen) {
                Some((by, jwt)) if by == *jkt && jwt.text("ath") == hash => {
                    if self.dpop_nonce.as_deref().is_some_and(|nonce| jwt.text("nonce") != nonce) {
                        return Verdict::WithoutNonce;
                    }
                }
                _ => return Verdict::BadToken,
            }
        }
        if known.audience.as_deref().is_some_and(|audience| audience != self.identifier()) {
            return Verdict::BadToken;
        }
        if self.refuse_next > 0 {
            self.refuse_next -= 1;
            return Verdict::BadToken;
        }
        let lacks = |scope: &&String| !known.scopes.contains(scope);
        let missing: Vec<String> = needed.iter().filter(lacks).cloned().collect();
        if !missing.is_empty() {
            return Verdict::Lacks { missing, needed };
        }
        Verdict::Welcome(Caller {
            client_id: known.client_id.clone(),
            scopes: known.scopes.clone(),
        })
    }

    fn wants_nonce(&self) -> Response {
        let mut response = text::json(401, &json!({ "error": "use_dpop_nonce" }));
        text::add_header(&mut response, "www-authenticate", "DPoP error=\"use_dpop_nonce\"");
        let nonce = self.dpop_nonce.as_deref().unwrap_or_default();
        text::add_header(&mut response, "dpop-nonce", nonce);
        response
    }

    fn refuse(&self, error: Option<&str>, instead: Option<&Canned>) -> Response {
        instead.map_or_else(|| self.unauthorized(error), Canned::response)
    }

    fn unauthorized(&self, error: Option<&str>) -> Response {
        let mut response = text::json(401, &json!({ "error": error.unwrap_or("unauthorized") }));
        if let Challenge::Raw(lines) = &self.challenge {
            for line in lines {
                text::add_header(&mut response, "www-authenticate", line);
            }
            return response;
        }
        let scopes = if self.challenge_names_scopes { self.scopes.as_slice() } else { &[] };
        self.add_challenge(&mut response, error, scopes);
        response
    }

    fn forbidden(&self, missing: &[String], needed: &[String]) -> Response {
        let mut response = text::json(403, &json!({ "error": "insufficient_scope" }));
        let scopes = match self.scope_challenge {
            ScopeChallenge::NamesMissing => missing,
            ScopeChallenge::NamesAll => needed,
        };
        self.add_challenge(&mut response, Some("insufficient_scope"), scopes);
        response
    }

    /// RFC 6750 §3, RFC 9728 §5.1.
    fn add_challenge(&self, response: &mut Response, error: Option<&str>, scopes: &[String]) {
        if self.challenge == Challenge::Absent {
            return;
        }
        let mut parameters = Vec::new();
        parameters.extend(error.map(|error| format!("error={}", text::quoted(error))));
        if !scopes.is_empty() {
            parameters.push(format!("scope={}", text::quoted(&scopes.join(" "))));
        }
        if self.challenge != Challenge::WithoutMetadata {
            let url = self.metadata_url();
            parameters.extend(url.map(|url| format!("resource_metadata={}", text::quoted(&url))));
        }
        let value = format!("Bearer {}", parameters.join(", "));
        text::add_header(response, "www-authenticate", value.trim_end());
    }
}

/// A URL without a path is the one with `/`.
fn same_path(left: &str, right: &str) -> bool {
    let rooted = |path: &str| path.is_empty() || path == "/";
    left == right || (rooted(left) && rooted(right))
}
