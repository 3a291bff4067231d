//! The token endpoint: a code or a refresh token for tokens (RFC 6749 §4.1.3, §6). Refresh and code
//! exchange are one flow with another grant.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::config::{Config, DpopUse, SendResource};
use crate::entropy::{Entropy, Identifiers};
use crate::error::{Error, ErrorKind, unanswered};
use crate::flow::binding::{Binding, Nonce};
use crate::flow::identity::Identity;
use crate::flow::secret::{FindSecret, SecretResult};
use crate::flow::sign::{Jwt, SignerResult};
use crate::flow::{Ask, HttpResult, Notes, Step, redact};
use crate::notice::{Leniency, Notice};
use crate::output::{Purpose, TransportError, TransportErrorKind};
use crate::secret::Secret;
use crate::session::tokens::Purchase;
use crate::text::printable_url;
use crate::time::UnixTime;
use crate::wire::failure::{Failure, OAuthError, describe};
use crate::wire::scope::ScopeSet;
use crate::wire::token::{AuthMethod, Grant, TokenReply, TokenRequest};
use crate::wire::{Malformed, dpop, url as address};

/// A token request that is out, or about to be.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) purchase: Purchase,
    pub(crate) identity: Identity,
    config: Arc<Config>,
    endpoint: Url,
    paid_with: PaidWith,
    retried: bool,
    /// The client's secret is looked for.
    finding: Option<FindSecret>,
    /// What the client proves itself by, where a key of its own does it.
    assertion: Option<Jwt>,
    /// What binds the tokens to a key, if anything does.
    binding: Option<Binding>,
    ids: Identifiers,
}

#[derive(Clone)]
pub(crate) enum PaidWith {
    Code {
        code: Secret,
        redirect_uri: String,
        verifier: Secret,
    },
    /// Asked with again and again (RFC 8628 §3.4).
    DeviceCode(Secret),
    /// The scopes are named only where they have to be.
    RefreshToken {
        token: Secret,
        scope: Option<ScopeSet>,
    },
}

/// Tokens, and what they were issued for.
pub(crate) struct Bought {
    pub(crate) reply: TokenReply,
    pub(crate) purchase: Purchase,
}

/// Why an answer holds no tokens.
pub(crate) enum Trouble {
    Refused(OAuthError),
    Passing {
        what: String,
        retry_after: Option<Duration>,
    },
    Unusable(Malformed),
    /// Tokens that can't be used, and a refresh token that replaces the one that was spent.
    OfAnotherType {
        rotated: Option<Secret>,
        what: Malformed,
    },
    OutOfReach(TransportError),
}

pub(crate) enum Failed {
    /// The server's final word.
    Refused(OAuthError),
    /// Nothing was decided; another time it may work.
    Passing { what: String, retry_after: Option<Duration> },
    /// The answer can't be used; nothing was decided.
    Error(Error),
    /// The same, but the refresh token has been replaced by this one.
    Rotated { token: Secret, error: Error },
}

impl Failed {
    /// What a caller is told who isn't to wait.
    pub(crate) fn into_error(self, url: String) -> Error {
        match self {
            Failed::Refused(error) => ErrorKind::TokenRefused { url, error }.into(),
            Failed::Passing { what, retry_after } => {
                let retry_in = retry_after.unwrap_or(RETRY);
                ErrorKind::Passing { url, what, retry_in }.into()
            }
            Failed::Error(error) | Failed::Rotated { error, .. } => error,
        }
    }
}

/// One quick retry inside the attempt helps against a lost answer (some servers allow the same
/// refresh token once more) or a hiccup; anything longer is for the caller to wait.
const QUICK_RETRY: Duration = Duration::from_secs(1);
const LONGEST_QUICK_RETRY: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(10);

impl Exchange {
    pub(crate) fn start(
        purchase: Purchase,
        identity: Identity,
        paid_with: PaidWith,
        binding: Option<Binding>,
        config: &Arc<Config>,
        entropy: &mut Entropy,
        now: UnixTime,
    ) -> Result<(Self, Ask), Error> {
        let endpoint = address::parse("token_endpoint", &purchase.token_endpoint)
            .map_err(|what| ErrorKind::Unusable { url: printable_url(&purchase.issuer), what })?;
        let assertion = identity.key.as_ref().map(|key| key.jwt());
        let mut exchange = Self {
            purchase,
            identity,
            config: config.clone(),
            endpoint,
            paid_with,
            retried: false,
            finding: None,
            assertion,
            binding,
            ids: Identifiers::new(entropy),
        };
        let ask = exchange.ask(now)?;
        Ok((exchange, ask))
    }

    /// One that was tried before has had its hiccup.
    pub(crate) fn without_quick_retry(mut self) -> Self {
        self.retried = true;
        self
    }

    /// What is asked next is another request, and no try of the last one.
    pub(crate) fn anew(mut self) -> Self {
        self.binding = self.binding.map(Binding::anew);
        self
    }

    fn ask(&mut self, now: UnixTime) -> Result<Ask, Error> {
        if let Some((find, ask)) = self.identity.find_secret() {
            self.finding = Some(find);
            return Ok(ask);
        }
        if let Some(ask) = self.prove(now)? {
            return Ok(ask);
        }
        let grant = match &self.paid_with {
            PaidWith::Code { code, redirect_uri, verifier } => Grant::AuthorizationCode {
                code: code.expose(),
                redirect_uri,
                code_verifier: verifier.expose(),
            },
            PaidWith::DeviceCode(code) => Grant::DeviceCode { device_code: code.expose() },
            PaidWith::RefreshToken { token, scope } => {
                Grant::RefreshToken { refresh_token: token.expose(), scope: scope.as_ref() }
            }
        };
        let extra: Vec<_> = self.config.token_params.clone().into_iter().collect();
        let request = TokenRequest {
            endpoint: &self.endpoint,
            client_id: &self.identity.client_id,
            client_secret: self.proof(),
            auth_method: self.identity.auth_method,
            grant,
            resource: self.purchase.resource.as_deref(),
            extra: &extra,
        };
        let mut request = request.to_http();
        let proof = self.binding.as_ref().and_then(Binding::proof);
        if let Some(proof) = proof.and_then(|proof| proof.expose().parse().ok()) {
            request.headers_mut().insert(dpop::PROOF, proof);
        }
        let certificate = self.identity.certificate.clone();
        Ok(Ask::http_as(request, Purpose::Token, certificate))
    }

    /// What is to be signed first.
    fn prove(&mut self, now: UnixTime) -> Result<Option<Ask>, Error> {
        let (client_id, endpoint) = (&self.identity.client_id, &self.purchase.token_endpoint);
        if let (Some(key), Some(jwt)) = (&self.identity.key, &mut self.assertion)
            && let Some(ask) = key.prove(jwt, client_id, endpoint, now, &mut self.ids)?
        {
            return Ok(Some(ask));
        }
        match &mut self.binding {
            Some(binding) => binding.prove(self.endpoint.as_str(), now, &mut self.ids),
            None => Ok(None),
        }
    }

    /// Its secret, or its assertion.
    fn proof(&self) -> Option<&Secret> {
        match &self.assertion {
            Some(jwt) => jwt.token(),
            None if self.identity.certificate.is_some() => None,
            None => self.identity.client_secret.as_ref(),
        }
    }

    pub(crate) fn on_pause_over(mut self, now: UnixTime) -> Result<(Self, Ask), Error> {
        let ask = self.ask(now)?;
        Ok((self, ask))
    }

    pub(crate) fn on_signer(
        mut self,
        result: SignerResult,
        now: UnixTime,
    ) -> Result<(Self, Ask), Error> {
        match (&mut self.assertion, &mut self.binding) {
            (_, Some(binding)) if binding.waits() => binding.on_signer(result)?,
            (Some(jwt), _) => jwt.on_signer(result)?,
            (None, _) => {}
        }
        self.on_pause_over(now)
    }

    /// The client's secret is known once one of its places has it; then the request goes out.
    pub(crate) fn on_secret(
        mut self,
        result: SecretResult,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Result<(Self, Ask), Error> {
        if let Some(find) = self.finding.take()
            && let Some((find, ask)) = self.identity.on_secret(find, result, notes)?
        {
            self.finding = Some(find);
            return Ok((self, ask));
        }
        self.on_pause_over(now)
    }

    pub(crate) fn on_http(
        mut self,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Result<Step<Self, Bought>, Failed> {
        Ok(match self.answered(now, reply, notes)? {
            Step::Ask((), ask) => Step::Ask(self, ask),
            Step::Done(bought) => Step::Done(bought),
        })
    }

    /// The same, for whoever asks again after an error: a nonce that came with it is kept.
    pub(crate) fn answered(
        &mut self,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Result<Step<(), Bought>, Failed> {
        let endpoint = self.endpoint.as_str();
        let nonce = reply.as_ref().ok().and_then(|reply| Nonce::of(endpoint, reply.headers()));
        let answer = self.read(now, reply);
        self.assertion.iter_mut().for_each(Jwt::spend);
        if let Some(binding) = &mut self.binding {
            binding.spend();
            let refused =
                matches!(&answer, Err(Trouble::Refused(e)) if e.error == "use_dpop_nonce");
            if binding.takes_nonce(nonce, refused) {
                return Ok(Step::Ask((), self.ask(now).map_err(Failed::Error)?));
            }
        }
        let (what, retry_after) = match answer {
            Ok(reply) => {
                let purchase = self.purchase_of(&reply);
                return Ok(Step::Done(Bought { reply, purchase }));
            }
            Err(Trouble::OfAnotherType { rotated, what }) => {
                let error = ErrorKind::Unusable { url: self.url(), what }.into();
                return Err(match rotated {
                    Some(token) => Failed::Rotated { token, error },
                    None => Failed::Error(error),
                });
            }
            Err(Trouble::Refused(error)) => {
                return match self.otherwise(&error) {
                    Some(leniency) => {
                        notes.push(Notice::Lenient(leniency));
                        Ok(Step::Ask((), self.ask(now).map_err(Failed::Error)?))
                    }
                    None => Err(Failed::Refused(error)),
                };
            }
            Err(Trouble::Unusable(what)) => {
                return Err(Failed::Error(ErrorKind::Unusable { url: self.url(), what }.into()));
            }
            Err(Trouble::OutOfReach(error)) => {
                return Err(Failed::Error(unanswered(self.url(), Purpose::Token, error).into()));
            }
            Err(Trouble::Passing { what, retry_after }) => (what, retry_after),
        };
        let pause = retry_after.unwrap_or(QUICK_RETRY);
        if !self.retried && pause <= LONGEST_QUICK_RETRY {
            self.retried = true;
            let why = format!("the token endpoint failed ({what})");
            notes.push(Notice::Retrying { after: pause, why });
            return Ok(Step::Ask((), Ask::Pause(pause)));
        }
        Err(Failed::Passing { what, retry_after })
    }

    /// Whether the request may be made in another way after this refusal. Servers look at the client
    /// and at the resource before they spend what was paid with: the same is good once more.
    fn otherwise(&mut self, error: &OAuthError) -> Option<Leniency> {
        let auto = self.config.send_resource == SendResource::Auto;
        if auto && error.is_refused_resource() && self.purchase.resource.take().is_some() {
            return Some(Leniency::ResourceOmitted);
        }
        let identity = &mut self.identity;
        let refused = error.is_unknown_client() || error.wants_client_secret();
        let otherwise = identity.key.is_some() || identity.certificate.is_some();
        let by_secret = identity.has_secret() && !otherwise;
        let untried = by_secret && identity.auth_method != AuthMethod::Post;
        if self.config.retry_secret_in_body && refused && untried {
            identity.auth_method = AuthMethod::Post;
            self.purchase.auth_method = Some(AuthMethod::Post);
            return Some(Leniency::SecretInBody);
        }
        None
    }

    /// Reads an answer of any time: a late one is as good as any.
    pub(crate) fn read(&self, now: UnixTime, reply: HttpResult) -> Result<TokenReply, Trouble> {
        let response = reply.map_err(|error| match error.kind {
            TransportErrorKind::Refused => Trouble::OutOfReach(error),
            _ => Trouble::Passing { what: error.to_string(), retry_after: None },
        })?;
        let (head, body) = response.into_parts();
        let parse = |body: &[u8]| TokenReply::parse(head.status, &head.headers, body, now);
        let reply = redact::read(&body, self.secrets(), parse);
        if let Ok(reply) = &reply
            && let Some((expected, got)) = self.dislikes(reply)
        {
            let what = Malformed::new("token reply", expected, got);
            let rotated = reply.refresh_token.clone().filter(|_| self.is_refresh());
            return Err(Trouble::OfAnotherType { rotated, what });
        }
        let kept = match &self.paid_with {
            PaidWith::RefreshToken { token, .. } => Some(token),
            PaidWith::Code { .. } | PaidWith::DeviceCode(_) => None,
        };
        // The same one stays good where none comes (RFC 6749 §6).
        let reply = reply.map(|reply| TokenReply {
            refresh_token: reply.refresh_token.or_else(|| kept.cloned()),
            ..reply
        });
        reply.map_err(|failure| match failure {
            // A framework's or a proxy's own error decides nothing about a grant.
            Failure::Refused { error, .. } if self.is_refresh() && !error.is_known() => {
                Trouble::Passing { what: error.to_string(), retry_after: None }
            }
            Failure::Refused { error, .. } => Trouble::Refused(error),
            // Here these are words for the flow, whatever status they come with (RFC 8628 §3.5).
            Failure::Passing { error: Some(error), .. }
                if matches!(self.paid_with, PaidWith::DeviceCode(_))
                    && matches!(error.error.as_str(), "slow_down" | "authorization_pending") =>
            {
                Trouble::Refused(error)
            }
            // A proxy's word must not cost a login that lives; a new one has a way to go on.
            Failure::Unauthorized { .. } if self.is_refresh() => {
                Trouble::Passing { what: failure.to_string(), retry_after: None }
            }
            Failure::Unauthorized { message: description } => {
                Trouble::Refused(OAuthError { description, ..OAuthError::code("invalid_client") })
            }
            Failure::Malformed(what) => Trouble::Unusable(what),
            Failure::Passing { retry_after, .. } => {
                let what = describe(head.status, &head.headers, &body);
                Trouble::Passing { what, retry_after }
            }
        })
    }

    /// What was expected, and what came, where the token's type is not to be used.
    fn dislikes(&self, reply: &TokenReply) -> Option<(&'static str, &'static str)> {
        match (&self.binding, is_bound(reply)) {
            // Bound to a key that was never shown: it would be refused as a bearer token.
            (None, true) => Some(("a bearer token", "a DPoP-bound one")),
            (Some(_), false) if self.config.dpop == DpopUse::Always => {
                Some(("a DPoP-bound token (`dpop`: `always`)", "a bearer token"))
            }
            _ => None,
        }
    }

    /// What the tokens of this reply were issued for.
    pub(crate) fn purchase_of(&self, reply: &TokenReply) -> Purchase {
        let key = self.binding.as_ref().and_then(Binding::key);
        let dpop = key.filter(|_| is_bound(reply)).cloned();
        Purchase { dpop, ..self.purchase.clone() }
    }

    fn is_refresh(&self) -> bool {
        matches!(self.paid_with, PaidWith::RefreshToken { .. })
    }

    /// What the request holds.
    fn secrets(&self) -> impl Iterator<Item = Secret> {
        let (first, second) = match &self.paid_with {
            PaidWith::Code { code, verifier, .. } => (code, Some(verifier)),
            PaidWith::RefreshToken { token, .. } | PaidWith::DeviceCode(token) => (token, None),
        };
        let assertion = self.assertion.as_ref().and_then(Jwt::token);
        let proof = self.binding.as_ref().and_then(Binding::proof);
        let own = [Some(first), second, assertion, proof].into_iter().flatten();
        own.cloned().chain(self.identity.shown())
    }

    pub(crate) fn url(&self) -> String {
        printable_url(self.endpoint.as_str())
    }
}

fn is_bound(reply: &TokenReply) -> bool {
    reply.token_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("dpop"))
}
