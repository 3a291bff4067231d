//! A device code: it is asked for, shown, and polled with until the person has entered it
//! elsewhere (RFC 8628 §3.1 to §3.5).
//!
//! ```text
//! device authorization ─▶ show the code ─▶ pause ─▶ token request ─▶ tokens
//!                                            ▲            │
//!                                            └─ pending ──┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::config::Config;
use crate::entropy::{Entropy, Identifiers};
use crate::error::{Error, ErrorKind, unanswered};
use crate::flow::binding::Binding;
use crate::flow::exchange::{Bought, Exchange, Failed, PaidWith};
use crate::flow::identity::Identity;
use crate::flow::sign::{Jwt, SignerResult};
use crate::flow::{Ask, HttpResult, Notes, Step, redact};
use crate::notice::Notice;
use crate::output::{Purpose, UserCode};
use crate::session::record::Discovery;
use crate::session::tokens::Purchase;
use crate::text::printable_url;
use crate::time::UnixTime;
use crate::wire::device::{DeviceAuthorization, DeviceAuthorizationRequest};
use crate::wire::failure::{Failure, OAuthError, describe};

/// What `slow_down` adds to the interval, for good (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// After a device authorization request that failed in passing.
const RETRY: Duration = Duration::from_secs(10);

/// A device authorization request that is out, or about to be.
pub(crate) struct Request {
    purchase: Purchase,
    identity: Identity,
    endpoint: Url,
    binding: Option<Binding>,
    /// What the client proves itself by, where a key of its own does it.
    assertion: Option<Jwt>,
    ids: Identifiers,
}

/// A code that the person has, or is about to.
pub(crate) struct Device {
    exchange: Exchange,
    interval: Duration,
    /// Polls in a row that nothing came of.
    failures: u32,
    lives: Duration,
    polling: bool,
}

/// Why there is no code, or no token for it.
pub(crate) enum Ended {
    /// The server's final word, and whose.
    Refused(OAuthError, Box<ErrorKind>),
    Error(Error),
}

impl Ended {
    fn refused(error: OAuthError, kind: ErrorKind) -> Self {
        Ended::Refused(error, Box::new(kind))
    }
}

impl<E: Into<Error>> From<E> for Ended {
    fn from(error: E) -> Self {
        Ended::Error(error.into())
    }
}

impl Request {
    pub(crate) fn start(
        found: &Discovery,
        identity: Identity,
        purchase: Purchase,
        binding: Option<Binding>,
        config: &Config,
        entropy: &mut Entropy,
        now: UnixTime,
    ) -> Result<(Self, Ask), Error> {
        let Some(endpoint) = found.server.device_authorization_endpoint() else {
            return Err(ErrorKind::NoDeviceGrant { issuer: printable_url(&found.issuer) }.into());
        };
        let assertion = identity.key.as_ref().map(|key| key.jwt());
        let ids = Identifiers::new(entropy);
        Self { purchase, identity, endpoint, binding, assertion, ids }.go_on(config, now)
    }

    pub(crate) fn on_signer(
        mut self,
        config: &Config,
        result: SignerResult,
        now: UnixTime,
    ) -> Result<(Self, Ask), Error> {
        if let Some(jwt) = &mut self.assertion {
            jwt.on_signer(result)?;
        }
        self.go_on(config, now)
    }

    fn go_on(mut self, config: &Config, now: UnixTime) -> Result<(Self, Ask), Error> {
        if let (Some(key), Some(jwt)) = (&self.identity.key, &mut self.assertion) {
            let (client_id, endpoint) = (&self.identity.client_id, &self.purchase.token_endpoint);
            if let Some(ask) = key.prove(jwt, client_id, endpoint, now, &mut self.ids)? {
                return Ok((self, ask));
            }
        }
        let (identity, purchase) = (&self.identity, &self.purchase);
        let assertion = self.assertion.as_ref().and_then(Jwt::token);
        let extra: Vec<_> = config.oauth_params.clone().into_iter().collect();
        let request = DeviceAuthorizationRequest {
            endpoint: &self.endpoint,
            client_id: &identity.client_id,
            client_secret: assertion.or(identity.client_secret.as_ref()),
            auth_method: identity.auth_method,
            scope: &purchase.requested,
            scope_parameter: &config.scope_param_name,
            resource: purchase.resource.as_deref(),
            // As in an authorization request.
            prompt: purchase.requested.contains("offline_access").then_some("consent"),
            extra: &extra,
        };
        let certificate = identity.certificate.clone();
        let ask = Ask::http_as(request.to_http(), Purpose::DeviceAuthorization, certificate);
        Ok((self, ask))
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The code, to be shown before the first poll.
    pub(crate) fn on_http(
        self,
        config: &Arc<Config>,
        entropy: &mut Entropy,
        now: UnixTime,
        reply: HttpResult,
    ) -> Result<(Device, Ask), Ended> {
        let Self { purchase, identity, endpoint, binding, assertion, .. } = self;
        let url = printable_url(endpoint.as_str());
        let response = reply
            .map_err(|source| unanswered(url.clone(), Purpose::DeviceAuthorization, source))?;
        let (head, body) = response.into_parts();
        let parse = |body: &[u8]| DeviceAuthorization::parse(head.status, &head.headers, body, now);
        let assertion = assertion.as_ref().and_then(Jwt::token);
        let secrets = identity.shown().chain(assertion.cloned());
        let reply = match redact::read(&body, secrets, parse) {
            Ok(reply) => reply,
            Err(Failure::Refused { error, .. }) => {
                return Err(Ended::refused(error.clone(), ErrorKind::DeviceRefused { url, error }));
            }
            Err(Failure::Unauthorized { message: description }) => {
                let error = OAuthError { description, ..OAuthError::code("invalid_client") };
                return Err(Ended::refused(error.clone(), ErrorKind::DeviceRefused { url, error }));
            }
            Err(Failure::Passing { retry_after, .. }) => {
                let what = describe(head.status, &head.headers, &body);
                let retry_in = retry_after.unwrap_or(RETRY);
                return Err(ErrorKind::Passing { url, what, retry_in }.into());
            }
            Err(Failure::Malformed(what)) => return Err(ErrorKind::Unusable { url, what }.into()),
        };
        let paid_with = PaidWith::DeviceCode(reply.device_code);
        let (exchange, _) =
            Exchange::start(purchase, identity, paid_with, binding, config, entropy, now)?;
        let code = UserCode {
            user_code: reply.user_code,
            verification_uri: reply.verification_uri,
            verification_uri_complete: reply.verification_uri_complete,
            expires_in: reply.expires_in,
        };
        let (interval, lives) = (reply.interval, reply.expires_in);
        let exchange = exchange.without_quick_retry();
        let device = Device { exchange, interval, failures: 0, lives, polling: false };
        Ok((device, Ask::ShowCode(Box::new(code), interval)))
    }
}

impl Device {
    /// The token request that is out, should its answer come late.
    pub(crate) fn exchange(&self) -> Option<&Exchange> {
        self.polling.then_some(&self.exchange)
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.exchange.identity
    }

    pub(crate) fn poll(self, now: UnixTime) -> Result<(Self, Ask), Error> {
        let (exchange, ask) = self.exchange.anew().on_pause_over(now)?;
        Ok((Self { exchange, polling: true, ..self }, ask))
    }

    pub(crate) fn on_signer(
        self,
        result: SignerResult,
        now: UnixTime,
    ) -> Result<(Self, Ask), Error> {
        let (exchange, ask) = self.exchange.on_signer(result, now)?;
        Ok((Self { exchange, ..self }, ask))
    }

    pub(crate) fn on_http(
        mut self,
        config: &Config,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Result<Step<Self, Bought>, Ended> {
        let url = self.exchange.url();
        match self.exchange.answered(now, reply, notes) {
            Ok(Step::Ask((), ask)) => return Ok(Step::Ask(self, ask)),
            Ok(Step::Done(mut bought)) => {
                bought.purchase.logged_in_at = now;
                return Ok(Step::Done(bought));
            }
            Err(Failed::Refused(error)) => match error.error.as_str() {
                "authorization_pending" => self.failures = 0,
                "slow_down" => {
                    self.failures = 0;
                    self.interval += SLOWER;
                }
                "expired_token" => return Err(ErrorKind::CodeExpired { within: self.lives }.into()),
                "access_denied" => {
                    return Err(Ended::refused(error.clone(), ErrorKind::Denied(error)));
                }
                _ => {
                    let kind = ErrorKind::TokenRefused { url, error: error.clone() };
                    return Err(Ended::refused(error, kind));
                }
            },
            Err(Failed::Passing { what, retry_after }) => {
                self.failures = self.failures.saturating_add(1);
                let after = self.pause(config).max(retry_after.unwrap_or_default());
                let why = format!("the token endpoint failed ({what})");
                notes.push(Notice::Retrying { after, why });
                let device = Self { polling: false, ..self };
                return Ok(Step::Ask(device, Ask::Pause(after)));
            }
            Err(Failed::Error(error) | Failed::Rotated { error, .. }) => return Err(error.into()),
        }
        let pause = self.pause(config);
        Ok(Step::Ask(Self { polling: false, ..self }, Ask::Pause(pause)))
    }

    /// The interval, doubled for each failure in a row (RFC 8628 §3.5).
    fn pause(&self, config: &Config) -> Duration {
        let longest = Duration::from_secs(config.retry.longest_delay_seconds).max(self.interval);
        let times = 2_u32.saturating_pow(self.failures);
        self.interval.saturating_mul(times).min(longest)
    }
}
