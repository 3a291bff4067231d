//! Before the browser opens: where the server or the settings want it, the authorization request is
//! signed (RFC 9101), and goes to the server itself (RFC 9126); the browser carries a reference.
//!
//! ```text
//! request ─▶ (sign it) ─▶ (the client's secret or assertion ─▶ push it) ─▶ the URL to open
//! ```

use url::Url;

use crate::config::Config;
use crate::entropy::{Entropy, Identifiers};
use crate::error::{Error, ErrorKind, unanswered};
use crate::flow::authorize::Authorize;
use crate::flow::identity::Identity;
use crate::flow::secret::{FindSecret, SecretResult};
use crate::flow::sign::{Jwt, SignerResult};
use crate::flow::{Ask, HttpResult, Notes, Step, redact};
use crate::notice::ClientSource;
use crate::output::Purpose;
use crate::secret::Secret;
use crate::text::printable_url;
use crate::time::UnixTime;
use crate::wire::authorization::by_reference;
use crate::wire::failure::{Failure, OAuthError, describe};
use crate::wire::pushed::{PushedReply, PushedRequest, request_object};

/// A request that is on its way to be one.
pub(crate) struct Prepare {
    pub(crate) authorize: Box<Authorize>,
    /// With its secret, where that had to be read: it is dropped with this.
    identity: Identity,
    params: Vec<(String, String)>,
    object: Option<Jwt>,
    push_to: Option<Url>,
    assertion: Option<Jwt>,
    finding: Option<FindSecret>,
    ids: Identifiers,
}

/// Why there is none.
pub(crate) enum Unprepared {
    Refused(OAuthError),
    Error(Error),
}

impl From<Error> for Unprepared {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

type Turn = Result<Step<Box<Prepare>, (Box<Authorize>, Url)>, Unprepared>;

impl Prepare {
    pub(crate) fn start(
        authorize: Box<Authorize>,
        config: &Config,
        entropy: &mut Entropy,
        now: UnixTime,
    ) -> Turn {
        let server = &authorize.found.server;
        let signs = config.sign_requests || server.require_signed_request_object;
        let pushes = config.push_requests || server.require_pushed_authorization_requests;
        let refuse = |why: &str| {
            let issuer = printable_url(&authorize.found.issuer);
            Unprepared::Error(ErrorKind::NoClient { issuer, why: why.to_owned() }.into())
        };
        // One that is registered as we go has none: it is another client's.
        let has_key = authorize.identity.source.kind() != ClientSource::Registered;
        let key = config.client_key.as_ref().filter(|_| has_key);
        let key = key.map(|key| Jwt::new("the client's key", key.clone()));
        let object = match (signs, key) {
            (true, None) => {
                return Err(refuse(
                    "authorization requests are to be signed, and this client has no `client_key`",
                ));
            }
            (signs, key) => key.filter(|_| signs),
        };
        let push_to = authorize.identity.sees(server).pushed_authorization_request_endpoint();
        let push_to = match (pushes, push_to) {
            (true, None) => {
                return Err(refuse(
                    "authorization requests are to be pushed, and the server has no endpoint for that",
                ));
            }
            (pushes, endpoint) => endpoint.filter(|_| pushes),
        };
        let identity = authorize.identity.clone();
        let assertion = identity.key.as_ref().map(|key| key.jwt());
        let (params, ids) = (authorize.params(config), Identifiers::new(entropy));
        let (authorize, finding) = (authorize, None);
        Self { authorize, identity, params, object, push_to, assertion, finding, ids }
            .go_on(config, now)
    }

    fn go_on(mut self, config: &Config, now: UnixTime) -> Turn {
        if let Some(ask) = self.sign(config, now)? {
            return Ok(Step::Ask(Box::new(self), ask));
        }
        let Some(push_to) = self.push_to.clone() else {
            let object = self.object.as_ref().and_then(Jwt::token);
            let url = match object {
                Some(object) => self.reference("request", object.expose()),
                None => self.authorize.url(config),
            };
            return self.done(url);
        };
        if let Some((find, ask)) = self.identity.find_secret() {
            self.finding = Some(find);
            return Ok(Step::Ask(Box::new(self), ask));
        }
        let token_endpoint = self.authorize.found.server.token_endpoint.clone().unwrap_or_default();
        if let (Some(key), Some(jwt)) = (&self.identity.key, &mut self.assertion) {
            let client_id = &self.identity.client_id;
            if let Some(ask) = key.prove(jwt, client_id, &token_endpoint, now, &mut self.ids)? {
                return Ok(Step::Ask(Box::new(self), ask));
            }
        }
        let signed = self.object.as_ref().and_then(Jwt::token);
        let signed = signed.map(|object| vec![("request".to_owned(), object.expose().clone())]);
        let assertion = self.assertion.as_ref().and_then(Jwt::token);
        let request = PushedRequest {
            endpoint: &push_to,
            client_id: &self.identity.client_id,
            client_secret: assertion.or(self.identity.client_secret.as_ref()),
            auth_method: self.identity.auth_method,
            params: signed.as_deref().unwrap_or(&self.params),
        };
        let certificate = self.identity.certificate.clone();
        let ask = Ask::http_as(request.to_http(), Purpose::PushedAuthorization, certificate);
        Ok(Step::Ask(Box::new(self), ask))
    }

    fn sign(&mut self, config: &Config, now: UnixTime) -> Result<Option<Ask>, Error> {
        let Some(jwt) = &mut self.object else { return Ok(None) };
        let (found, ids) = (&self.authorize.found, &mut self.ids);
        let taken = found.server.request_object_signing_alg_values_supported.as_deref();
        let (params, client_id) = (&self.params, &self.identity.client_id);
        let (audience, key_id) = (found.audience(), config.client_key_id.as_deref());
        jwt.wanted(
            |algorithm, _| {
                let id = ids.next();
                request_object(params, client_id, audience, &id, key_id, algorithm, now)
            },
            taken,
        )
    }

    pub(crate) fn on_signer(
        mut self,
        config: &Config,
        result: SignerResult,
        now: UnixTime,
    ) -> Turn {
        match (&mut self.object, &mut self.assertion) {
            (Some(object), _) if object.waits() => object.on_signer(result)?,
            (_, Some(assertion)) => assertion.on_signer(result)?,
            _ => {}
        }
        self.go_on(config, now)
    }

    pub(crate) fn on_secret(
        mut self,
        config: &Config,
        result: SecretResult,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        if let Some(find) = self.finding.take()
            && let Some((find, ask)) = self.identity.on_secret(find, result, notes)?
        {
            self.finding = Some(find);
            return Ok(Step::Ask(Box::new(self), ask));
        }
        self.go_on(config, now)
    }

    pub(crate) fn on_http(self, now: UnixTime, reply: HttpResult) -> Turn {
        let endpoint = self.push_to.as_ref().map(Url::as_str).unwrap_or_default();
        let url = printable_url(endpoint);
        let response = reply.map_err(|error| {
            Error::from(unanswered(url.clone(), Purpose::PushedAuthorization, error))
        })?;
        let (head, body) = response.into_parts();
        let parse = |body: &[u8]| PushedReply::parse(head.status, &head.headers, body, now);
        match redact::read(&body, self.secrets(), parse) {
            Ok(reply) => {
                let url = self.reference("request_uri", &reply.request_uri);
                self.done(url)
            }
            Err(Failure::Refused { error, .. }) => Err(Unprepared::Refused(error)),
            Err(Failure::Unauthorized { message: description }) => {
                let error = OAuthError { description, ..OAuthError::code("invalid_client") };
                Err(Unprepared::Refused(error))
            }
            Err(Failure::Malformed(what)) => {
                Err(Unprepared::Error(ErrorKind::Unusable { url, what }.into()))
            }
            Err(Failure::Passing { retry_after, .. }) => {
                let what = describe(head.status, &head.headers, &body);
                let retry_in = retry_after.unwrap_or(std::time::Duration::from_secs(10));
                Err(Unprepared::Error(ErrorKind::Passing { url, what, retry_in }.into()))
            }
        }
    }

    /// Where it was to be pushed, for people.
    pub(crate) fn url(&self) -> String {
        printable_url(self.push_to.as_ref().map(Url::as_str).unwrap_or_default())
    }

    fn secrets(&self) -> impl Iterator<Item = Secret> {
        let jwts = [&self.object, &self.assertion].into_iter().flatten().filter_map(Jwt::token);
        let own = jwts.chain([self.authorize.state()]).cloned();
        own.chain(self.identity.shown())
    }

    fn reference(&self, name: &str, value: &str) -> Option<Url> {
        let endpoint = self.authorize.found.server.authorization_endpoint()?;
        Some(by_reference(&endpoint, &self.identity.client_id, name, value))
    }

    fn done(self, url: Option<Url>) -> Turn {
        match url {
            Some(url) => Ok(Step::Done((self.authorize, url))),
            None => Err(Error::from(ErrorKind::Unanswered { action: "browse" }).into()),
        }
    }
}
