//! Dynamic client registration (RFC 7591).

use http::Request;
use serde_json::{Map, Value, json};
use url::Url;

use super::AuthorizationServer;
use super::clients::{Client, ClientAuthentication};
use super::refusal::Refusal;
use crate::log::Detail;
use crate::text::{self, Response};

/// What a client says of itself.
pub(super) struct Application {
    pub(super) redirect_uris: Vec<String>,
    pub(super) grant_types: Vec<String>,
    authentication: ClientAuthentication,
    /// Members that are sent back as they came.
    pub(super) echoed: Map<String, Value>,
}

impl AuthorizationServer {
    pub(super) fn register(&mut self, now: u64, request: &Request<Vec<u8>>) -> (Response, Detail) {
        let token = text::credential(request, "Bearer");
        if self.registration.initial_access_token.as_deref().is_some_and(|t| token != Some(t)) {
            let refusal = Refusal::new("invalid_token", "registration needs a token");
            let response = refusal.with_status(401).response();
            return (response, Detail::Registration { client_id: None });
        }
        match self.read_application(request) {
            Ok(application) => {
                let client = self.new_client(now, application);
                let reply = self.registered(now, &client);
                let id = Some(client.id.clone());
                self.state.clients.insert(client.id.clone(), client);
                let response = text::json(self.registration.status, &reply);
                (response, Detail::Registration { client_id: id })
            }
            Err(refusal) => (refusal.response(), Detail::Registration { client_id: None }),
        }
    }

    pub(super) fn read_application(
        &self,
        request: &Request<Vec<u8>>,
    ) -> Result<Application, Refusal> {
        let invalid = |why| Refusal::new("invalid_client_metadata", why);
        let Ok(Value::Object(mut members)) = serde_json::from_slice(request.body()) else {
            return Err(invalid("not a JSON object"));
        };
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let application_type = text("application_type").unwrap_or("web");
        if self.registration.refuses_application_type.as_deref() == Some(application_type) {
            return Err(invalid("this application_type is not allowed"));
        }
        // Left out, RFC 7591 §2 makes it Basic.
        let asked = text("token_endpoint_auth_method").unwrap_or("client_secret_basic");
        let known = self.client_authentication.iter().find(|method| method.as_str() == asked);
        let authentication = self.registration.assigns.or(known.copied());
        let authentication = authentication.ok_or(invalid("unknown authentication method"))?;
        let redirect_uris = strings(members.get("redirect_uris")).unwrap_or_default();
        let sound = |uri: &String| Url::parse(uri).is_ok_and(|url| url.fragment().is_none());
        if redirect_uris.is_empty() || !redirect_uris.iter().all(sound) {
            return Err(Refusal::new("invalid_redirect_uri", "no sound redirect URI"));
        }
        let code_alone = || vec!["authorization_code".to_owned()];
        let mut grant_types = strings(members.get("grant_types")).unwrap_or_else(code_alone);
        grant_types.retain(|grant| self.has_grant(grant));
        let echoed = ["client_name", "client_uri", "application_type", "scope"];
        members.retain(|name, _| echoed.contains(&name.as_str()));
        Ok(Application { redirect_uris, grant_types, authentication, echoed: members })
    }

    /// With characters that a client must encode before they go into Basic or a form.
    pub(super) fn new_secret(&mut self) -> String {
        format!("{}:+%/=", self.mint("secret"))
    }

    fn new_client(&mut self, now: u64, application: Application) -> Client {
        let confidential = application.authentication != ClientAuthentication::None;
        let secret = confidential.then(|| self.new_secret());
        let lifetime = self.registration.secret_lifetime.filter(|_| confidential);
        let manageable = self.registration.manageable;
        let mut metadata = application.echoed;
        if manageable {
            // Of no meaning to anybody else, and to be sent back all the same.
            metadata.insert("x_tier".to_owned(), json!("standard"));
        }
        Client {
            id: self.mint("client"),
            secret,
            key: None,
            certificate: None,
            secret_expires_at: lifetime.map_or(0, |lifetime| now.saturating_add(lifetime)),
            authentication: Some(application.authentication),
            redirect_uris: application.redirect_uris,
            grant_types: application.grant_types,
            registration_token: manageable.then(|| self.mint("registration")),
            metadata,
            old_secret: None,
            replaced: Vec::new(),
            dynamic: true,
        }
    }

    /// RFC 7591 §3.2.1, RFC 7592 §3.
    pub(super) fn registered(&self, now: u64, client: &Client) -> Value {
        let mut members = client.metadata.clone();
        let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
        add("client_id", json!(client.id));
        add("client_id_issued_at", json!(now));
        add("redirect_uris", json!(client.redirect_uris));
        add("grant_types", json!(client.grant_types));
        add("response_types", json!(["code"]));
        let method = client.authentication.map(ClientAuthentication::as_str);
        add("token_endpoint_auth_method", json!(method));
        if let Some(secret) = &client.secret {
            add("client_secret", json!(secret));
            add("client_secret_expires_at", json!(client.secret_expires_at));
        }
        if let Some(token) = &client.registration_token {
            let url = format!("{}/{}", self.url("register"), client.id);
            add("registration_access_token", json!(token));
            add("registration_client_uri", json!(url));
        }
        Value::Object(members)
    }
}

fn strings(value: Option<&Value>) -> Option<Vec<String>> {
    let items = value?.as_array()?;
    items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}
