//! Authorization server metadata (RFC 8414), where the switches put it.

use serde_json::{Value, json};

use super::{AuthorizationServer, Cimd, IssParameter, MetadataPlace};
use crate::text::{self, Response};

impl AuthorizationServer {
    /// The URL of the metadata, if there is any.
    pub fn metadata_url(&self) -> Option<String> {
        // A slash at the end of the issuer goes (RFC 8414 §3.1).
        let inserted = |well_known: &str| {
            let path = text::path(&self.issuer).trim_end_matches('/');
            Some(text::insert_well_known(&self.issuer, well_known, path))
        };
        match self.metadata {
            MetadataPlace::Rfc8414 => inserted("oauth-authorization-server"),
            MetadataPlace::OidcInserted => inserted("openid-configuration"),
            MetadataPlace::OidcAppended => Some(self.url(".well-known/openid-configuration")),
            MetadataPlace::Rfc8414Appended => {
                Some(self.url(".well-known/oauth-authorization-server"))
            }
            MetadataPlace::Absent => None,
        }
    }

    /// What it says its issuer is.
    pub(super) fn said_issuer(&self) -> &str {
        self.claimed_issuer.as_deref().unwrap_or(&self.issuer)
    }

    pub(super) fn describe(&self) -> Response {
        let body = self.metadata_body.clone().unwrap_or_else(|| self.document().to_string());
        let mut response = text::response(200, "application/json", body);
        if let Some(value) = &self.metadata_cache_control {
            text::add_header(&mut response, "cache-control", value);
        }
        response
    }

    fn document(&self) -> Value {
        let methods: Vec<&str> =
            self.client_authentication.iter().map(|method| method.as_str()).collect();
        let mut document = json!({
            "issuer": self.said_issuer(),
            "authorization_endpoint": self.url("authorize"),
            "token_endpoint": self.url("token"),
            "response_types_supported": ["code"],
            "grant_types_supported": self.grant_types,
            "token_endpoint_auth_methods_supported": methods,
        });
        let Value::Object(members) = &mut document else { return document };
        let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
        if self.registration.open {
            add("registration_endpoint", json!(self.url("register")));
        }
        if self.revocation {
            add("revocation_endpoint", json!(self.url("revoke")));
        }
        self.announce_devices(&mut add);
        if !self.scopes_supported.is_empty() {
            add("scopes_supported", json!(self.scopes_supported));
        }
        if let Some(methods) = &self.challenge_methods {
            add("code_challenge_methods_supported", json!(methods));
        }
        if let Some(origin) = &self.mtls_origin {
            let at = |endpoint: &str| format!("{origin}{}", text::path(&self.url(endpoint)));
            add(
                "mtls_endpoint_aliases",
                json!({
                    "token_endpoint": at("token"),
                    "revocation_endpoint": at("revoke"),
                    "pushed_authorization_request_endpoint": at("par"),
                }),
            );
        }
        if self.takes_pushed_requests {
            add("pushed_authorization_request_endpoint", json!(self.url("par")));
        }
        if self.requires_pushed_requests {
            add("require_pushed_authorization_requests", json!(true));
        }
        if self.requires_signed_requests {
            add("require_signed_request_object", json!(true));
        }
        if self.dpop {
            add("dpop_signing_alg_values_supported", json!(["ES256"]));
        }
        if self.cimd != Cimd::Unsupported {
            add("client_id_metadata_document_supported", json!(true));
        }
        match self.iss {
            IssParameter::Silent | IssParameter::SentUnannounced | IssParameter::Unexpected(_) => {}
            IssParameter::Sent
            | IssParameter::Missing
            | IssParameter::Wrong(_)
            | IssParameter::TrailingSlash => {
                add("authorization_response_iss_parameter_supported", json!(true));
            }
        }
        if matches!(self.metadata, MetadataPlace::OidcInserted | MetadataPlace::OidcAppended) {
            add("jwks_uri", json!(self.url("jwks")));
            add("subject_types_supported", json!(["public"]));
            add("id_token_signing_alg_values_supported", json!(["RS256"]));
        }
        for (name, value) in &self.metadata_changes {
            match value {
                Value::Null => members.remove(name),
                value => members.insert(name.clone(), value.clone()),
            };
        }
        document
    }
}
