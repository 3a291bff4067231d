//! What is lent to callers: a token that knows where it belongs.

use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::Url;

use crate::entropy::{Entropy, Identifiers};
use crate::error::{Error, ErrorKind};
use crate::flow::binding::DPOP_KEY;
use crate::output::HostError;
use crate::secret::{Secret, SecretRef};
use crate::session::tokens::{Generation, Tokens};
use crate::text::printable_url;
use crate::time::{Now, UnixTime};
use crate::wire::dpop::{self, DpopProof};
use crate::wire::jws::{self, PublicKey, SigningAlgorithm};
use crate::wire::url::resource_indicator;

/// The MCP server, as its operator wrote it and as it is compared.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) text: String,
    pub(crate) url: Url,
    /// What the settings add to requests to it.
    pub(crate) headers: HeaderMap,
}

impl Site {
    /// The server's URL as a resource indicator (RFC 8707 §2).
    pub(crate) fn indicator(&self) -> String {
        resource_indicator(&self.text).unwrap_or_else(|| self.text.clone())
    }

    /// Adds what the settings say, where the request hasn't its own, after
    /// [`check_home`](Self::check_home).
    pub(crate) fn dress(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            if !headers.contains_key(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
    }

    /// Whether a request to `uri` stays at this server's origin.
    pub(crate) fn check_home(&self, uri: &http::Uri) -> Result<(), Error> {
        let url = &self.url;
        let default = match uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        };
        let is_home = uri.scheme_str() == Some(url.scheme())
            && uri.host().zip(url.host_str()).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
            && Some(uri.port_u16().unwrap_or(default)) == url.port_or_known_default();
        if is_home {
            return Ok(());
        }
        Err(Error::from(ErrorKind::ForeignRequest {
            server: printable_url(&self.text),
            request: printable_url(&uri.to_string()),
        }))
    }
}

/// The loan of a valid token. Cheap to clone.
///
/// ```
/// use http::Request;
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.log_in()?;
/// # let grant = s.grant();
///
/// let mut request = Request::post("https://mcp.example.com/mcp").body(r#"{"jsonrpc":"2.0"}"#)?;
/// grant.authorize(&mut request)?;
/// assert!(request.headers()["authorization"].is_sensitive());
/// // To another server, the token doesn't go.
/// let mut foreign = Request::post("https://elsewhere.example/mcp").body("")?;
/// assert!(grant.authorize(&mut foreign).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Grant {
    site: Arc<Site>,
    header: HeaderValue,
    generation: Generation,
    expires_at: Option<UnixTime>,
    bound: Option<Arc<Bound>>,
}

/// What a token is bound to.
pub(crate) struct Bound {
    place: SecretRef,
    key: PublicKey,
    token: Secret,
    /// What the MCP server wants to see again.
    nonce: Option<String>,
}

impl Grant {
    /// `key`: where the key is that the tokens are bound to, and the server's nonce. `None` where they are
    /// bound, and nobody knows where it is.
    pub(crate) fn new(
        site: Arc<Site>,
        header: HeaderValue,
        tokens: &Tokens,
        key: Option<&SecretRef>,
        nonce: Option<&String>,
    ) -> Option<Self> {
        let bound = match &tokens.dpop {
            None => None,
            Some(public) => Some(Arc::new(Bound {
                place: key?.clone(),
                key: public.clone(),
                token: tokens.access_token.clone(),
                nonce: nonce.cloned(),
            })),
        };
        let (generation, expires_at) = (tokens.generation, tokens.expires_at);
        Some(Self { site, header, generation, expires_at, bound })
    }

    /// A token from the configuration, of which nothing is known.
    pub(crate) fn fixed(site: Arc<Site>, header: HeaderValue, generation: Generation) -> Self {
        Self { site, header, generation, expires_at: None, bound: None }
    }

    /// Adds `Authorization` to a request for the MCP server (RFC 6750 §2.1), replacing one that is
    /// there, and the settings' [`headers`](crate::Config::headers) that it hasn't.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`] where the request goes to another origin, and
    /// [`ErrorKind::ProofMissing`] where the token is [bound to a key](Self::proof); it is left as it was.
    pub fn authorize<B>(&self, request: &mut http::Request<B>) -> Result<(), Error> {
        self.site.check_home(request.uri())?;
        if self.bound.is_some() {
            return Err(ErrorKind::ProofMissing.into());
        }
        self.site.dress(request.headers_mut());
        request.headers_mut().insert(AUTHORIZATION, self.header.clone());
        Ok(())
    }

    /// What is to be signed before this request can be sent: the token is bound to a key, and whoever
    /// sends it proves to have that (DPoP, RFC 9449 §7). `None`: it is a bearer token. A proof is for one
    /// request, which is sent at once: also for the same request again it takes another.
    pub fn proof<B>(
        &self,
        now: Now,
        request: &http::Request<B>,
        mut entropy: Entropy,
    ) -> Option<Proof> {
        let bound = self.bound.as_ref()?;
        let id = Identifiers::new(&mut entropy).next();
        let algorithm = bound.key.algorithm(None)?;
        let proof = DpopProof {
            key: &bound.key,
            algorithm,
            method: request.method().as_str(),
            url: &request.uri().to_string(),
            id: &id,
            issued_at: now.wall,
            nonce: bound.nonce.as_deref(),
            access_token: Some(&bound.token),
        };
        Some(Proof { key: bound.place.clone(), algorithm, input: proof.signing_input() })
    }

    /// As [`authorize`](Self::authorize), with the proof for this very request and its signature.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`] where the request goes to another origin; it is left as it was.
    pub fn authorize_with<B>(
        &self,
        request: &mut http::Request<B>,
        proof: &Proof,
        signature: &[u8],
    ) -> Result<(), Error> {
        self.site.check_home(request.uri())?;
        let mut value = HeaderValue::from_str(jws::signed(&proof.input, signature).expose())
            .map_err(|_| ErrorKind::ProofMissing)?;
        value.set_sensitive(true);
        self.site.dress(request.headers_mut());
        request.headers_mut().insert(AUTHORIZATION, self.header.clone());
        request.headers_mut().insert(dpop::PROOF, value);
        Ok(())
    }

    /// Whether it is sent with proofs.
    pub(crate) fn is_bound(&self) -> bool {
        self.bound.is_some()
    }

    /// Whether the server wants another nonce than the proofs of this grant have.
    pub(crate) fn wants_nonce(&self, nonce: &str) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.nonce.as_deref() != Some(nonce))
    }

    /// Which generation of tokens this is: a refusal names it again.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// When the token expires, if the server said so.
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.expires_at
    }

    /// The access token itself, for transports that don't speak `http` types.
    pub fn access_token(&self) -> Secret {
        let value = self.header.to_str().unwrap_or_default();
        Secret::from(value.split_once(' ').unwrap_or_default().1)
    }
}

/// What is to be signed for one request: see [`Grant::proof`].
///
/// ```
/// use http::Request;
/// # use mcp_auth::{DpopUse, Entropy, SecretRef};
/// # use mcp_auth_world::scenario::Scenario;
/// # let mut s = Scenario::new();
/// # let place = SecretRef::File("dpop.pem".into());
/// # s.world.authorization[0].dpop = true;
/// # (s.config.dpop, s.config.dpop_key) = (DpopUse::Always, Some(place.clone()));
/// # s.keys.insert(place, "ours".into());
/// # s.log_in()?;
/// # let (now, entropy, grant) = (s.now(), Entropy::from_bytes([7; 32]), s.grant());
/// # let sign = |_: &SecretRef, _, input: &[u8]| mcp_auth_world::signer::sign("ours", input);
///
/// let mut request = Request::post("https://mcp.example.com/mcp").body("")?;
/// match grant.proof(now, &request, entropy) {
///     None => grant.authorize(&mut request)?, // a bearer token
///     Some(proof) => {
///         // By the host's signer, which has the private key.
///         let signature = sign(proof.key(), proof.algorithm(), proof.input());
///         grant.authorize_with(&mut request, &proof, &signature)?;
///     }
/// }
/// assert!(request.headers().contains_key("dpop"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Proof {
    key: SecretRef,
    algorithm: SigningAlgorithm,
    input: String,
}

impl Proof {
    /// With which key.
    pub fn key(&self) -> &SecretRef {
        &self.key
    }

    /// With which algorithm.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The message.
    pub fn input(&self) -> &[u8] {
        self.input.as_bytes()
    }

    /// Why there is no signature, as an error.
    pub fn failed(&self, source: HostError) -> Error {
        let key = self.key.to_string();
        ErrorKind::SigningFailed { what: DPOP_KEY, key, source }.into()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof({} with {})", self.algorithm.as_str(), self.key)
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("server", &printable_url(&self.site.text))
            .field("generation", &self.generation)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// `Bearer …`, marked sensitive; `None` if the token doesn't fit a header field.
pub(crate) fn bearer(token: &Secret) -> Option<HeaderValue> {
    authorization("Bearer", token)
}

/// The same for any scheme.
pub(crate) fn authorization(scheme: &str, token: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}
