//! The authorization endpoint (RFC 6749 §4.1.1, RFC 7636, RFC 8707, RFC 9207).

use http::Request;
use url::Url;

use super::state::{Code, Grant};
use super::{AuthorizationServer, Cimd, IssParameter, ResourceIndicators, ScopeGrant};
use crate::log::{AuthorizationRequest, Decision};
use crate::person::{Person, Visit};
use crate::text::{self, Form};

/// How long a code is good, in seconds.
const CODE_LIFETIME: u64 = 60;

impl AuthorizationRequest {
    /// What can be told from the request alone.
    pub(crate) fn read(request: &Request<Vec<u8>>) -> AuthorizationRequest {
        AuthorizationRequest::of(&Form::parse(request.uri().query().unwrap_or_default().as_bytes()))
    }

    pub(super) fn of(query: &Form) -> AuthorizationRequest {
        AuthorizationRequest {
            client_id: query.owned("client_id").unwrap_or_default(),
            redirect_uri: query.owned("redirect_uri").unwrap_or_default(),
            scopes: query.get("scope").map(text::words).unwrap_or_default(),
            resource: query.owned("resource"),
            decision: Decision::Open,
        }
    }
}

impl AuthorizationServer {
    pub(super) fn authorize(
        &mut self,
        now: u64,
        query: &Form,
        person: &Person,
        asked: &mut AuthorizationRequest,
    ) -> Visit {
        // Without a client and a redirect URI that belong together nothing may be sent anywhere.
        if let Err(reason) = self.check_client(query, asked) {
            asked.decision = Decision::Page;
            return Visit::Page(reason.to_owned());
        }
        match self.consider(now, query, person, asked) {
            None => Visit::Nothing,
            Some(Ok((code, scopes))) => {
                asked.decision = Decision::Approved(scopes);
                self.send_back(query, &asked.redirect_uri, ("code", &code))
            }
            Some(Err(error)) => {
                asked.decision = Decision::Refused(error.to_owned());
                self.send_back(query, &asked.redirect_uri, ("error", error))
            }
        }
    }

    fn check_client(&self, query: &Form, asked: &AuthorizationRequest) -> Result<(), &'static str> {
        if query.repeats() {
            return Err("A parameter is given twice.");
        }
        let client = self.find_client(&asked.client_id).ok_or("This client is not known here.")?;
        if self.cimd == Cimd::RefusedWithPage && self.client(&asked.client_id).is_none() {
            return Err("This client is not trusted here.");
        }
        if !self.takes_redirect(&client, &asked.redirect_uri) {
            return Err("This redirect URI is not registered for the client.");
        }
        let url = Url::parse(&asked.redirect_uri).ok();
        let host = url.as_ref().and_then(Url::host_str);
        if host.is_some() && host == self.refuses_redirect_host.as_deref() {
            return Err("This redirect URI is not allowed here.");
        }
        Ok(())
    }

    /// A code and its scopes, an error for the client, or `None` while the person is silent.
    fn consider(
        &mut self,
        now: u64,
        query: &Form,
        person: &Person,
        asked: &AuthorizationRequest,
    ) -> Option<Result<(String, Vec<String>), &'static str>> {
        let challenge = match self.check_request(query, asked) {
            Ok(challenge) => challenge,
            Err(error) => return Some(Err(error)),
        };
        let mut scopes = match asked.scopes.is_empty() {
            true => self.default_scopes.clone(),
            false => asked.scopes.clone(),
        };
        if let ScopeGrant::Only(granted) = &self.grants {
            scopes.retain(|scope| granted.contains(scope));
        }
        match person {
            Person::Approves => {}
            Person::ApprovesOnly(agreed) => scopes.retain(|scope| agreed.contains(scope)),
            Person::Denies => return Some(Err("access_denied")),
            Person::Ignores => return None,
        }
        let grant = Grant {
            client_id: asked.client_id.clone(),
            scopes: scopes.clone(),
            audience: self.audience(asked.resource.as_deref()),
            family: self.new_family(),
            refreshable: self
                .refresh_needs_parameters
                .iter()
                .all(|(name, value)| query.get(name) == Some(value)),
        };
        let code = self.mint("code");
        let issued = Code {
            grant,
            redirect_uri: asked.redirect_uri.clone(),
            challenge,
            challenge_method: challenge_method(query).to_owned(),
            expires_at: now.saturating_add(CODE_LIFETIME),
            spent: false,
        };
        self.state.codes.insert(code.clone(), issued);
        Some(Ok((code, scopes)))
    }

    /// The code challenge of a request that is in order, or the error that it isn't.
    fn check_request(
        &self,
        query: &Form,
        asked: &AuthorizationRequest,
    ) -> Result<String, &'static str> {
        let by_url = self.client(&asked.client_id).is_none();
        let client = self.find_client(&asked.client_id);
        if (by_url && self.cimd == Cimd::RefusedWithRedirect)
            || !client.is_some_and(|client| client.may("authorization_code"))
        {
            return Err("unauthorized_client");
        }
        if query.get("response_type") != Some("code") {
            return Err("unsupported_response_type");
        }
        let method = challenge_method(query);
        let known = match &self.challenge_methods {
            Some(methods) => methods.iter().any(|known| known == method),
            None => method == "S256",
        };
        let challenge = query.owned("code_challenge").filter(|_| known).ok_or("invalid_request")?;
        if self.resources != ResourceIndicators::RefusedAtToken {
            self.check_resource(asked.resource.as_deref(), None)?;
        }
        let exists = |scope| self.scopes_supported.contains(scope);
        if !self.scopes_supported.is_empty() && !asked.scopes.iter().all(exists) {
            return Err("invalid_scope");
        }
        Ok(challenge)
    }

    /// Is this the `resource` to send? At the token endpoint it must also be the one that was
    /// `agreed` on (RFC 8707 §2.2).
    pub(super) fn check_resource(
        &self,
        resource: Option<&str>,
        agreed: Option<&str>,
    ) -> Result<(), &'static str> {
        let well_formed = |resource: &str| {
            Url::parse(resource).is_ok_and(|url| url.fragment().is_none())
                && agreed.is_none_or(|agreed| agreed == resource)
        };
        let fits = match &self.resources {
            ResourceIndicators::Required => resource.is_some_and(well_formed),
            ResourceIndicators::Only(only) => resource == Some(only),
            ResourceIndicators::Ignored => true,
            ResourceIndicators::Refused | ResourceIndicators::RefusedAtToken => resource.is_none(),
        };
        if fits { Ok(()) } else { Err("invalid_target") }
    }

    pub(super) fn audience(&self, resource: Option<&str>) -> Option<String> {
        let bound =
            matches!(self.resources, ResourceIndicators::Required | ResourceIndicators::Only(_));
        resource.filter(|_| bound).map(str::to_owned)
    }

    fn send_back(&self, query: &Form, redirect_uri: &str, result: (&str, &str)) -> Visit {
        let mut pairs = vec![(result.0.to_owned(), result.1.to_owned())];
        pairs.extend(query.owned("state").map(|state| ("state".to_owned(), state)));
        pairs.extend(self.iss().map(|iss| ("iss".to_owned(), iss)));
        let separator = if redirect_uri.contains('?') { '&' } else { '?' };
        Visit::Redirect(format!("{redirect_uri}{separator}{}", text::encode(&pairs)))
    }

    fn iss(&self) -> Option<String> {
        match &self.iss {
            IssParameter::Sent | IssParameter::SentUnannounced => {
                Some(self.said_issuer().to_owned())
            }
            IssParameter::Silent | IssParameter::Missing => None,
            IssParameter::Wrong(other) | IssParameter::Unexpected(other) => Some(other.clone()),
            IssParameter::TrailingSlash => Some(format!("{}/", self.said_issuer())),
        }
    }
}

/// RFC 7636 §4.3: plain if the request doesn't say.
fn challenge_method(query: &Form) -> &str {
    query.get("code_challenge_method").unwrap_or("plain")
}
