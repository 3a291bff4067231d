//! The management of registrations (RFC 7592).

use http::{Method, Request};
use serde_json::{Map, Value, json};

use super::AuthorizationServer;
use super::clients::Client;
use super::refusal::Refusal;
use crate::laws::SecretKind;
use crate::text::{self, Response};

/// What an update must not say (RFC 7592 §2.2).
const FORBIDDEN: [&str; 4] = [
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];

impl AuthorizationServer {
    /// RFC 7592 §2: read, change or delete a registration.
    pub(super) fn manage(
        &mut self,
        now: u64,
        id: &str,
        method: &Method,
        request: &Request<Vec<u8>>,
    ) -> Response {
        let token = text::credential(request, "Bearer");
        let client = self.client(id).cloned();
        let Some(client) = client
            .filter(|client| token.is_some() && client.registration_token.as_deref() == token)
        else {
            return Refusal::new("invalid_token", "not your registration")
                .with_status(401)
                .response();
        };
        match *method {
            Method::GET => text::json(200, &self.registered(now, &client)),
            Method::DELETE => {
                self.forget_client(id);
                text::empty(204)
            }
            Method::PUT => match self.change(now, client, request) {
                Ok(reply) => text::json(200, &reply),
                Err(refusal) => refusal.response(),
            },
            _ => text::empty(405),
        }
    }

    fn change(
        &mut self,
        now: u64,
        mut client: Client,
        request: &Request<Vec<u8>>,
    ) -> Result<Value, Refusal> {
        let invalid = |why| Refusal::new("invalid_client_metadata", why);
        let application = self.read_application(request)?;
        let said: Map<String, Value> =
            serde_json::from_slice(request.body()).map_err(|_| invalid("not a JSON object"))?;
        if FORBIDDEN.iter().any(|name| said.contains_key(*name)) {
            return Err(invalid("something that is for the server to say"));
        }
        let same = |name: &str, ours: &str| said.get(name).is_none_or(|theirs| *theirs == ours);
        if !said.contains_key("client_id") || !same("client_id", &client.id) {
            return Err(invalid("not this client's identifier"));
        }
        if !same("client_secret", client.secret.as_deref().unwrap_or_default()) {
            return Err(invalid("not this client's secret"));
        }
        // What is left out would be lost.
        let registered = client.metadata.keys().map(String::as_str);
        let all = ["redirect_uris", "grant_types", "response_types", "token_endpoint_auth_method"];
        if !registered.chain(all).all(|name| said.contains_key(name)) {
            return Err(invalid("not all that was registered"));
        }
        client.redirect_uris = application.redirect_uris;
        client.grant_types = application.grant_types;
        client.metadata.retain(|name, _| name == "x_tier");
        client.metadata.extend(application.echoed);
        self.renew_credentials(now, &mut client);
        let mut reply = self.registered(now, &client);
        if let Some(elsewhere) = &self.registration.manages_at {
            reply["registration_client_uri"] = json!(elsewhere);
        }
        self.state.clients.insert(client.id.clone(), client);
        Ok(reply)
    }

    /// New credentials in the place of the old.
    fn renew_credentials(&mut self, now: u64, client: &mut Client) {
        if self.registration.renews_secrets
            && let Some(old) = client.secret.take()
        {
            client.replaced.push((SecretKind::ClientSecret, old.clone()));
            let kept = self.registration.keeps_old_secrets;
            client.old_secret = kept.then_some((old, client.secret_expires_at));
            client.secret = Some(self.new_secret());
            let lifetime = self.registration.secret_lifetime;
            client.secret_expires_at = lifetime.map_or(0, |lifetime| now.saturating_add(lifetime));
        }
        if self.registration.rotates_tokens
            && let Some(old) = client.registration_token.take()
        {
            client.replaced.push((SecretKind::RegistrationToken, old));
            client.registration_token = Some(self.mint("registration"));
        }
    }
}
