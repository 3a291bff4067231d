//! The token endpoint (RFC 6749 §3.2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use serde_json::{Map, Value, json};

use super::clients::{Client, ClientAuthentication};
use super::device;
use super::refusal::{Refusal, check_form};
use super::state::{Grant, RefreshToken};
use super::{AuthorizationServer, ExpiresIn, RefreshTokens, TokenReply};
use crate::log::{Detail, Outcome, TokenRequest};
use crate::signer::Jwt;
use crate::text::{self, Form, Response};

/// The tokens of a reply.
pub(super) struct Issued {
    access: String,
    refresh: Option<String>,
    /// A person has just logged in.
    login: bool,
    scopes: Vec<String>,
}

impl AuthorizationServer {
    pub(super) fn answer_token_request(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
    ) -> (Response, Detail) {
        let form = Form::parse(request.body());
        // Some servers announce this one endpoint for both (RFC 7009 §2.1 needs no grant type).
        if self.revocation && form.get("grant_type").is_none() && form.get("token").is_some() {
            return self.answer_revocation(now, request);
        }
        let mut record = TokenRequest::read(request);
        let basic = request.headers().contains_key(http::header::AUTHORIZATION);
        let refused = self.refuses_basic.as_ref().filter(|_| basic);
        let unnamed = self.wants_client_id.as_ref().filter(|_| form.get("client_id").is_none());
        if let Some(answer) = refused.or(unnamed) {
            return (answer.response(), Detail::Token(record));
        }
        let response = match self.grant(now, request, &form, &mut record) {
            Ok(issued) => {
                record.outcome = Outcome::Granted;
                self.reply(&issued)
            }
            Err(refusal) => {
                record.outcome = Outcome::Refused(refusal.error.to_owned());
                match self.reply {
                    TokenReply::ErrorsWith200 => refusal.with_status(200).response(),
                    _ => refusal.response(),
                }
            }
        };
        let mut response = response;
        if self.dpop_nonce_rotates {
            self.dpop_nonce = Some(self.mint("nonce"));
        }
        if let (true, Some(nonce)) = (self.dpop, &self.dpop_nonce) {
            text::add_header(&mut response, "dpop-nonce", nonce);
        }
        (response, Detail::Token(record))
    }

    fn grant(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
        form: &Form,
        record: &mut TokenRequest,
    ) -> Result<Issued, Refusal> {
        check_form(request, form)?;
        self.state.jkt = self.check_proof(now, request)?;
        let (client, method) = self.authenticate(now, request, form)?;
        record.client_id.clone_from(&client.id);
        record.authentication = Some(method);
        let grant_type = record.grant_type.as_str();
        if !self.has_grant(grant_type) {
            return Err(Refusal::new("unsupported_grant_type", "not a grant of this server"));
        }
        if !client.may(grant_type) {
            return Err(Refusal::new("unauthorized_client", "not a grant of this client"));
        }
        match grant_type {
            "authorization_code" => self.redeem_code(now, &client, form, record),
            "refresh_token" => self.refresh(now, &client, form, record),
            "client_credentials" => self.trust_client(now, &client, method, form),
            device::GRANT_TYPE => self.poll(now, &client, form, record),
            _ => Err(Refusal::new("unsupported_grant_type", "not a grant of this server")),
        }
    }

    /// RFC 9449 §5, §8.
    fn check_proof(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
    ) -> Result<Option<String>, Refusal> {
        if !self.dpop {
            return Ok(None);
        }
        if !request.headers().contains_key("dpop") {
            return match self.dpop_required {
                true => Err(Refusal::new("invalid_dpop_proof", "a proof is required")),
                false => Ok(None),
            };
        }
        let origin = text::origin(&self.announced("token_endpoint", "token"));
        let proof = Jwt::proof(now, request, &origin, &mut self.state.seen_ids);
        let (jkt, jwt) =
            proof.ok_or(Refusal::new("invalid_dpop_proof", "the proof proves nothing"))?;
        match &self.dpop_nonce {
            Some(nonce) if jwt.text("nonce") != nonce => {
                Err(Refusal::new("use_dpop_nonce", "the proof needs a nonce"))
            }
            _ => Ok(Some(jkt)),
        }
    }

    pub(super) fn has_grant(&self, grant_type: &str) -> bool {
        self.grant_types.iter().any(|known| known == grant_type)
            || self.device && grant_type == device::GRANT_TYPE
    }

    fn redeem_code(
        &mut self,
        now: u64,
        client: &Client,
        form: &Form,
        record: &mut TokenRequest,
    ) -> Result<Issued, Refusal> {
        let presented = form.get("code").ok_or(Refusal::invalid_request("no code"))?;
        let Some(code) = self.state.codes.get(presented).cloned() else {
            return Err(Refusal::invalid_grant("unknown code"));
        };
        if code.grant.client_id != client.id {
            return Err(Refusal::invalid_grant("the code is for another client"));
        }
        if code.spent {
            // Whoever came first may have stolen it (RFC 6749 §4.1.2).
            record.reused = true;
            self.end_family(code.grant.family);
            return Err(Refusal::invalid_grant("the code was used before"));
        }
        // Before the code is spent: a client may try again without `resource`.
        self.check_resource(form.get("resource"), code.grant.audience.as_deref())
            .map_err(|error| Refusal::new(error, "not the resource that was agreed on"))?;
        if let Some(code) = self.state.codes.get_mut(presented) {
            code.spent = true;
        }
        if now >= code.expires_at {
            return Err(Refusal::invalid_grant("the code has expired"));
        }
        if form.get("redirect_uri") != Some(&code.redirect_uri) {
            return Err(Refusal::invalid_grant("another redirect URI"));
        }
        let verifier = form.get("code_verifier").unwrap_or_default();
        if !proves(verifier, &code.challenge_method, &code.challenge) {
            return Err(Refusal::invalid_grant("the verifier doesn't fit the challenge"));
        }
        Ok(self.issue(now, client, &code.grant))
    }

    fn refresh(
        &mut self,
        now: u64,
        client: &Client,
        form: &Form,
        record: &mut TokenRequest,
    ) -> Result<Issued, Refusal> {
        let presented =
            form.get("refresh_token").ok_or(Refusal::invalid_request("no refresh token"))?;
        let Some(token) = self.state.refresh_tokens.get(presented).cloned() else {
            return Err(Refusal::invalid_grant("unknown refresh token"));
        };
        record.refresh = Some(token.lineage);
        if token.grant.client_id != client.id {
            return Err(Refusal::invalid_grant("the refresh token is for another client"));
        }
        if self.dpop && token.jkt.is_some() && token.jkt != self.state.jkt {
            return Err(Refusal::invalid_grant("the refresh token is bound to another key"));
        }
        if self.is_spent(now, &token) {
            record.reused = true;
            if self.reuse_detection {
                self.end_family(token.lineage.family);
            }
            return Err(Refusal::invalid_grant("the refresh token was used before"));
        }
        if !self.is_good(now, &token) {
            return Err(Refusal::invalid_grant("the refresh token was revoked or has expired"));
        }
        self.check_resource(form.get("resource"), token.grant.audience.as_deref())
            .map_err(|error| Refusal::new(error, "not the resource that was agreed on"))?;
        let scopes = form.get("scope").map(text::words);
        let scopes = scopes.unwrap_or_else(|| token.grant.scopes.clone());
        if !scopes.iter().all(|scope| token.grant.scopes.contains(scope)) {
            return Err(Refusal::new("invalid_scope", "more than was agreed on"));
        }
        let mut narrowed = Grant { scopes: scopes.clone(), ..token.grant.clone() };
        if self.refresh_needs_scope && form.get("scope").is_none() {
            narrowed.audience = Some("https://elsewhere.example.com".to_owned());
        }
        let access = self.new_access_token(now, &narrowed);
        let refresh = self.renew(now, presented, &token);
        Ok(Issued { access, refresh, login: false, scopes })
    }

    /// The refresh token of a refresh reply. The new one keeps what was agreed on, not what this
    /// request narrowed it to (RFC 6749 §6).
    fn renew(&mut self, now: u64, presented: &str, token: &RefreshToken) -> Option<String> {
        match self.refresh_tokens {
            RefreshTokens::Rotating => {
                if let Some(spent) = self.state.refresh_tokens.get_mut(presented) {
                    // Within the grace period the first use counts.
                    spent.spent_at.get_or_insert(now);
                }
                Some(self.new_refresh_token(now, &token.grant, token.lineage.generation + 1))
            }
            RefreshTokens::Repeated => Some(presented.to_owned()),
            RefreshTokens::Omitted | RefreshTokens::Never => None,
        }
    }

    /// RFC 6749 §4.4: the client itself is who may come in.
    fn trust_client(
        &mut self,
        now: u64,
        client: &Client,
        method: ClientAuthentication,
        form: &Form,
    ) -> Result<Issued, Refusal> {
        if method == ClientAuthentication::None {
            return Err(Refusal::new("unauthorized_client", "not for public clients"));
        }
        self.check_resource(form.get("resource"), None)
            .map_err(|error| Refusal::new(error, "not a resource"))?;
        let scopes = form.get("scope").map(text::words);
        let scopes = scopes.unwrap_or_else(|| self.default_scopes.clone());
        let exists = |scope| self.scopes_supported.contains(scope);
        if !self.scopes_supported.is_empty() && !scopes.iter().all(exists) {
            return Err(Refusal::new("invalid_scope", "no such scope"));
        }
        let audience = self.audience(form.get("resource"));
        let family = self.new_family();
        let client_id = client.id.clone();
        let grant = Grant { client_id, scopes, audience, family, refreshable: false };
        let access = self.new_access_token(now, &grant);
        Ok(Issued { access, refresh: None, login: false, scopes: grant.scopes })
    }

    pub(super) fn issue(&mut self, now: u64, client: &Client, grant: &Grant) -> Issued {
        let asked = !self.refresh_needs_offline_access
            || grant.scopes.iter().any(|scope| scope == "offline_access");
        let refreshable = asked
            && grant.refreshable
            && self.refresh_tokens != RefreshTokens::Never
            && self.grant_types.iter().any(|known| known == "refresh_token")
            && client.may("refresh_token");
        let access = self.new_access_token(now, grant);
        let refresh = refreshable.then(|| self.new_refresh_token(now, grant, 0));
        Issued { access, refresh, login: true, scopes: grant.scopes.clone() }
    }

    fn reply(&self, issued: &Issued) -> Response {
        let mut members = Map::new();
        let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
        add("access_token", json!(issued.access));
        let bound = self.state.jkt.is_some();
        add("token_type", json!(if bound { "DPoP" } else { self.token_type.as_str() }));
        match &self.expires_in {
            ExpiresIn::Number => add("expires_in", json!(self.token_lifetime)),
            ExpiresIn::String => add("expires_in", json!(self.token_lifetime.to_string())),
            ExpiresIn::Absent => None,
            ExpiresIn::Zero => add("expires_in", json!(0)),
            ExpiresIn::Negative => add("expires_in", json!(-1)),
            ExpiresIn::Raw(value) => add("expires_in", value.clone()),
        };
        if let Some(refresh) = &issued.refresh {
            add("refresh_token", json!(refresh));
        }
        if let (Some(claims), true) = (&self.id_token, issued.login) {
            let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
            let header = json!({ "alg": "RS256" });
            add("id_token", json!(format!("{}.{}.{}", encode(&header), encode(claims), "c2ln")));
        }
        if self.reply_names_scopes {
            add("scope", json!(issued.scopes.join(" ")));
        }
        match self.reply {
            TokenReply::Json | TokenReply::ErrorsWith200 => {
                text::json(200, &Value::Object(members))
            }
            TokenReply::InsideAuthedUser => {
                text::json(200, &json!({ "ok": true, "authed_user": members }))
            }
            TokenReply::FormEncoded => {
                let plain = |value: Value| match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                let pairs: Vec<(String, String)> =
                    members.into_iter().map(|(name, value)| (name, plain(value))).collect();
                text::response(200, "application/x-www-form-urlencoded", text::encode(&pairs))
            }
        }
    }
}

/// RFC 7636 §4.1 and §4.6.
fn proves(verifier: &str, method: &str, challenge: &str) -> bool {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let well_formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved);
    let derived = if method == "plain" { verifier.to_owned() } else { text::s256(verifier) };
    well_formed && derived == challenge
}
