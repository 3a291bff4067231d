//! Authorization requests that the browser doesn't carry (RFC 9126), or carries as one signed value (RFC
//! 9101).

use http::Request;
use serde_json::{Value, json};

use super::AuthorizationServer;
use super::refusal::{Refusal, check_form};
use crate::signer::Jwt;
use crate::text::{self, Form, Response};

/// How long a reference is good, in seconds.
const LIFETIME: u64 = 60;

impl AuthorizationServer {
    pub(super) fn take_pushed(&mut self, now: u64, request: &Request<Vec<u8>>) -> Response {
        match self.pushed(now, request) {
            Ok(reference) => {
                text::json(201, &json!({ "request_uri": reference, "expires_in": LIFETIME }))
            }
            Err(refusal) => refusal.response(),
        }
    }

    fn pushed(&mut self, now: u64, request: &Request<Vec<u8>>) -> Result<String, Refusal> {
        let form = Form::parse(request.body());
        check_form(request, &form)?;
        let (client, _) = self.authenticate(now, request, &form)?;
        if form.get("request_uri").is_some() {
            return Err(Refusal::invalid_request("a reference can't be pushed"));
        }
        let form = self.opened(now, form).map_err(Refusal::invalid_request)?;
        if form.get("client_id") != Some(client.id.as_str()) {
            return Err(Refusal::invalid_request("the request of another client"));
        }
        let redirect = form.get("redirect_uri").unwrap_or_default();
        if !self.takes_redirect(&client, redirect) {
            return Err(Refusal::invalid_request("another redirect URI"));
        }
        let reference = format!("urn:ietf:params:oauth:request_uri:{}", self.mint("request"));
        self.state.pushed.insert(reference.clone(), (form, now.saturating_add(LIFETIME)));
        Ok(reference)
    }

    /// The parameters that a browser's request stands for; or what the person is shown instead.
    pub(super) fn stands_for(&mut self, now: u64, query: Form) -> Result<Form, &'static str> {
        let Some(reference) = query.get("request_uri") else {
            return match self.requires_pushed_requests {
                true => Err("Authorization requests have to be pushed here."),
                false => self.opened(now, query),
            };
        };
        // Once, and by whoever pushed it.
        let (form, end) =
            self.state.pushed.remove(reference).ok_or("This request is not known here.")?;
        let same = form.get("client_id") == query.get("client_id");
        if same && now < end { Ok(form) } else { Err("This request has expired.") }
    }

    /// The parameters inside a request object count, and no others (RFC 9101 §6.3).
    fn opened(&self, now: u64, form: Form) -> Result<Form, &'static str> {
        let Some(object) = form.get("request") else {
            return match self.requires_signed_requests {
                true => Err("Authorization requests have to be signed here."),
                false => Ok(form),
            };
        };
        let client = self.find_client(form.get("client_id").unwrap_or_default());
        let key = client.and_then(|client| client.key).ok_or("This client has no key.")?;
        let jwt = Jwt::read(object).ok_or("This request can't be read.")?;
        let fits = jwt.header["typ"] == "oauth-authz-req+jwt"
            && jwt.is_signed_with(&key)
            && jwt.text("iss") == form.get("client_id").unwrap_or_default()
            && jwt.text("client_id") == jwt.text("iss")
            && jwt.text("aud") == self.said_issuer()
            && jwt.number("exp") > now;
        let inside =
            jwt.claims.as_object().filter(|_| fits).ok_or("This request is not signed.")?;
        let texts = inside.iter().filter_map(|(name, value)| match value {
            Value::String(text) => Some((name.clone(), text.clone())),
            _ => None,
        });
        let texts: Vec<_> =
            texts.filter(|(name, _)| !["iss", "aud", "jti"].contains(&name.as_str())).collect();
        Ok(Form::parse(text::encode(&texts).as_bytes()))
    }
}
