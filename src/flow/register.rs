//! Dynamic client registration (RFC 7591 §3). The reply decides what the client is.

use url::Url;

use crate::config::Config;
use crate::error::{Error, ErrorKind, unanswered};
use crate::flow::{Ask, HttpResult, Notes, Step, redact};
use crate::notice::Notice;
use crate::output::Purpose;
use crate::session::record::{Discovery, Registration};
use crate::text::printable_url;
use crate::time::UnixTime;
use crate::wire::device;
use crate::wire::failure::{Failure, OAuthError, describe};
use crate::wire::registration::{
    self, ApplicationType, ClientMetadata, Registered, RegistrationReply,
};
use crate::wire::scope::ScopeSet;
use crate::wire::token::AuthMethod;
use crate::wire::url as address;
use std::time::Duration;

pub(crate) struct Register {
    issuer: String,
    endpoint: Url,
    client: ClientMetadata,
    redirect_uri: String,
    /// What may still be tried after a refusal.
    without_scope: bool,
    other_type: bool,
}

impl Register {
    pub(crate) fn start(
        found: &Discovery,
        config: &Config,
        redirect_uri: &str,
        grants: &'static [&'static str],
        scope: ScopeSet,
    ) -> Result<Step<Self, Registration>, Error> {
        let server = &found.server;
        let Some(endpoint) = server.registration_endpoint() else {
            let (issuer, why) = (printable_url(&found.issuer), "no registration endpoint".into());
            return Err(ErrorKind::NoClient { issuer, why }.into());
        };
        let mut client = ClientMetadata::new(redirect_uri, config.client_name.clone());
        client.client_uri.clone_from(&config.client_uri);
        client.token_endpoint_auth_method =
            method(server.token_endpoint_auth_methods_supported.as_deref());
        client.grant_types = grants;
        client.scope = scope;
        let (without_scope, other_type) = (!client.scope.is_empty(), true);
        let redirect_uri = redirect_uri.to_owned();
        let issuer = found.issuer.clone();
        Ok(Self { issuer, endpoint, client, redirect_uri, without_scope, other_type }.ask(config))
    }

    fn ask(self, config: &Config) -> Step<Self, Registration> {
        // Made for one server; any other that an MCP server names is not to see it.
        let token =
            config.initial_access_token.as_ref().filter(|_| config.client_belongs_to(&self.issuer));
        let request = registration::request(&self.endpoint, &self.client, token);
        Step::Ask(self, Ask::http(request, Purpose::Registration))
    }

    pub(crate) fn on_http(
        mut self,
        config: &Config,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Result<Step<Self, Registration>, Error> {
        let url = printable_url(self.endpoint.as_str());
        let response =
            reply.map_err(|source| unanswered(url.clone(), Purpose::Registration, source))?;
        let (head, body) = response.into_parts();
        let parse = |body: &[u8]| RegistrationReply::parse(head.status, &head.headers, body, now);
        match redact::read(&body, config.initial_access_token.clone().into_iter(), parse) {
            Ok(reply) => Ok(Step::Done(self.conclude(config, reply, now)?)),
            Err(Failure::Refused { error, .. }) => {
                let why = error.to_string();
                // Servers refuse scopes they don't manage, and loopback addresses of a "web" client
                // or any of a "native" one, in the same words.
                if std::mem::take(&mut self.without_scope)
                    && matches!(error.error.as_str(), "invalid_client_metadata" | "invalid_scope")
                {
                    self.client.scope = ScopeSet::new();
                } else if std::mem::take(&mut self.other_type)
                    && matches!(
                        error.error.as_str(),
                        "invalid_client_metadata" | "invalid_redirect_uri"
                    )
                {
                    self.client.application_type = match self.client.application_type {
                        ApplicationType::Native => ApplicationType::Web,
                        ApplicationType::Web => ApplicationType::Native,
                    };
                } else {
                    return Err(ErrorKind::RegistrationRefused { url, error }.into());
                }
                notes.push(Notice::Skipped { url, why });
                Ok(self.ask(config))
            }
            Err(Failure::Passing { retry_after, .. }) => {
                let retry_in = retry_after.unwrap_or(RETRY);
                let what = describe(head.status, &head.headers, &body);
                Err(ErrorKind::Passing { url, what, retry_in }.into())
            }
            Err(Failure::Unauthorized { message: description }) => {
                let error = OAuthError { description, ..OAuthError::code("invalid_token") };
                Err(ErrorKind::RegistrationRefused { url, error }.into())
            }
            Err(Failure::Malformed(what)) => Err(ErrorKind::Unusable { url, what }.into()),
        }
    }

    fn conclude(
        self,
        config: &Config,
        reply: RegistrationReply,
        now: UnixTime,
    ) -> Result<Registration, Error> {
        let auth_method =
            reply.auth_method(self.client.token_endpoint_auth_method).map_err(|what| {
                ErrorKind::Unusable { url: printable_url(self.endpoint.as_str()), what }
            })?;
        // The management token goes to the server that gave it, and to no other.
        let management_uri = reply.registration_client_uri.filter(|uri| {
            address::parse("registration_client_uri", uri)
                .is_ok_and(|uri| address::same_origin(&uri, &self.endpoint))
        });
        let metadata = Registered::asked(&self.client).updated_by(&reply.metadata);
        let registration = Registration {
            issuer: self.issuer,
            client_id: reply.client_id,
            client_secret: reply.client_secret,
            // A secret that had expired before it was issued is a server's mistake about "never".
            secret_expires_at: reply.client_secret_expires_at.filter(|at| *at > now),
            auth_method,
            redirect_uri: self.redirect_uri,
            wanted_port: config.callback_port.filter(|port| *port != 0),
            registered_at: now,
            management_token: reply.registration_access_token,
            management_uri,
            metadata: Some(metadata),
            changes: 0,
            unrenewed: None,
            suspect: false,
            confirmed: false,
            by_code: self.client.grant_types.contains(&device::GRANT_TYPE),
        };
        Ok(registration.without_needless_metadata())
    }
}

const RETRY: Duration = Duration::from_secs(10);

/// A public client where the server allows one, or doesn't say: a secret on everybody's disk is
/// none.
fn method(supported: Option<&[String]>) -> AuthMethod {
    match supported {
        Some(list) if !lists(list, "none") => {
            AuthMethod::choose(supported, true).unwrap_or(AuthMethod::None)
        }
        _ => AuthMethod::None,
    }
}

fn lists(list: &[String], name: &str) -> bool {
    list.iter().any(|entry| entry == name)
}
