//! Tokens that are bound to a key of the host's (DPoP, RFC 9449 §5): each token request has a proof.

use http::HeaderMap;

use crate::config::{Config, DpopUse};
use crate::entropy::Identifiers;
use crate::error::{Error, ErrorKind};
use crate::flow::Ask;
use crate::flow::sign::{Jwt, SignerResult};
use crate::output::HostError;
use crate::secret::{Secret, SecretRef};
use crate::session::record::Discovery;
use crate::time::UnixTime;
use crate::wire::dpop::{self, DpopProof};
use crate::wire::jws::PublicKey;

/// What a key is called in errors.
pub(crate) const DPOP_KEY: &str = "the DPoP key";

/// The last nonce of a token endpoint: its next proof shall have it (RFC 9449 §8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nonce {
    pub(crate) endpoint: String,
    pub(crate) value: String,
}

impl Nonce {
    /// The one that an answer of this endpoint has.
    pub(crate) fn of(endpoint: &str, headers: &HeaderMap) -> Option<Self> {
        let (endpoint, value) = (endpoint.to_owned(), dpop::nonce(headers)?.to_owned());
        Some(Self { endpoint, value })
    }
}

/// The proofs of one exchange.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    jwt: Jwt,
    place: SecretRef,
    taken: Option<Vec<String>>,
    /// The key that the refresh token is bound to.
    bound_to: Option<PublicKey>,
    nonce: Option<Nonce>,
    /// A nonce was given, and the request made again: once.
    asked_anew: bool,
}

impl Binding {
    /// Whether the tokens of a new login are to be bound. `nonce`: what is known from before.
    pub(crate) fn wanted(config: &Config, found: &Discovery, nonce: Option<Nonce>) -> Option<Self> {
        let taken = found.server.dpop_signing_alg_values_supported.clone();
        let offered = taken.as_ref().is_some_and(|taken| !taken.is_empty());
        match config.dpop {
            DpopUse::Never => None,
            DpopUse::Auto if !offered => None,
            DpopUse::Auto | DpopUse::Always => Self::new(config, taken, None, nonce),
        }
    }

    /// The same for tokens that are renewed: what was bound stays so.
    pub(crate) fn renewed(
        config: &Config,
        found: Option<&Discovery>,
        bound_to: Option<&PublicKey>,
        nonce: Option<Nonce>,
    ) -> Result<Option<Self>, Error> {
        let Some(key) = bound_to else { return Ok(None) };
        let taken = found.and_then(|f| f.server.dpop_signing_alg_values_supported.clone());
        match Self::new(config, taken, Some(key.clone()), nonce) {
            Some(binding) => Ok(Some(binding)),
            None => Err(foreign("(none)".to_owned())),
        }
    }

    fn new(
        config: &Config,
        taken: Option<Vec<String>>,
        bound_to: Option<PublicKey>,
        nonce: Option<Nonce>,
    ) -> Option<Self> {
        let place = config.dpop_key.clone()?;
        let jwt = Jwt::new(DPOP_KEY, place.clone());
        Some(Self { jwt, place, taken, bound_to, nonce, asked_anew: false })
    }

    /// What is to be asked of the host's signer before there is a proof for this endpoint.
    pub(crate) fn prove(
        &mut self,
        url: &str,
        issued_at: UnixTime,
        ids: &mut Identifiers,
    ) -> Result<Option<Ask>, Error> {
        if let (Some(bound_to), Some(key)) = (&self.bound_to, self.jwt.public())
            && bound_to != key
        {
            return Err(foreign(self.place.to_string()));
        }
        let nonce = self.nonce.as_ref().filter(|nonce| nonce.endpoint == url);
        let nonce = nonce.map(|nonce| nonce.value.as_str());
        let compose = |algorithm, key: &PublicKey| {
            let id = ids.next();
            let (method, access_token) = ("POST", None);
            let proof =
                DpopProof { key, algorithm, method, url, id: &id, issued_at, nonce, access_token };
            proof.signing_input()
        };
        self.jwt.wanted(compose, self.taken.as_deref())
    }

    pub(crate) fn waits(&self) -> bool {
        self.jwt.waits()
    }

    pub(crate) fn on_signer(&mut self, result: SignerResult) -> Result<(), Error> {
        self.jwt.on_signer(result)
    }

    pub(crate) fn proof(&self) -> Option<&Secret> {
        self.jwt.token()
    }

    pub(crate) fn key(&self) -> Option<&PublicKey> {
        self.jwt.public()
    }

    pub(crate) fn spend(&mut self) {
        self.jwt.spend();
    }

    /// For another request, which may be made again, too.
    pub(crate) fn anew(self) -> Self {
        Self { asked_anew: false, ..self }
    }

    /// A nonce came; whether the request is worth another try with it.
    pub(crate) fn takes_nonce(&mut self, nonce: Option<Nonce>, refused_for_it: bool) -> bool {
        let Some(nonce) = nonce else { return false };
        let is_new = self.nonce.replace(nonce) != self.nonce;
        refused_for_it && is_new && !std::mem::replace(&mut self.asked_anew, true)
    }
}

fn foreign(key: String) -> Error {
    let source =
        HostError::new("the tokens are bound to another key: put that back, or log in anew");
    ErrorKind::SigningFailed { what: DPOP_KEY, key, source }.into()
}
