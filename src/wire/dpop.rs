//! Proofs of possession: DPoP (RFC 9449 §4). What is signed is composed here; the key is the host's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::jws::{PublicKey, SigningAlgorithm, signing_input};
use crate::{Secret, UnixTime};

/// The header field of a proof (§4.1).
pub const PROOF: HeaderName = HeaderName::from_static("dpop");

/// The header field of a nonce that the next proof shall have (§8).
pub const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The longest nonce, in bytes.
const MAX_NONCE: usize = 1024;

/// Proof that whoever sends a request has a key.
///
/// ```
/// use mcp_auth::UnixTime;
/// use mcp_auth::wire::dpop::DpopProof;
/// use mcp_auth::wire::jws::{PublicKey, SigningAlgorithm, signed};
/// # let sign = |input: &[u8]| [input.len() as u8; 64];
///
/// // RFC 9449 §4.1.
/// let key: PublicKey = serde_json::from_str(r#"{
///     "kty": "EC", "crv": "P-256",
///     "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
///     "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"
/// }"#)?;
/// let proof = DpopProof {
///     key: &key,
///     algorithm: SigningAlgorithm::Es256,
///     method: "POST",
///     url: "https://server.example.com/token",
///     id: "-BwC3ESc6acc2lTc",
///     issued_at: UnixTime(1_562_262_616),
///     nonce: None,
///     access_token: None,
/// };
/// let input = proof.signing_input();
/// let header = signed(&input, &sign(input.as_bytes())); // `DPoP: …`, signed by the private key
/// assert_eq!(header.expose().split('.').count(), 3);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DpopProof<'a> {
    /// The key: `jwk`.
    pub key: &'a PublicKey,
    /// What it is signed with: `alg`.
    pub algorithm: SigningAlgorithm,
    /// The request's method: `htm`.
    pub method: &'a str,
    /// The request's URL; its query and fragment are left out: `htu`.
    pub url: &'a str,
    /// Never the same twice: `jti`.
    pub id: &'a str,
    /// Now: `iat`.
    pub issued_at: UnixTime,
    /// What the server wants to see again: `nonce`.
    pub nonce: Option<&'a str>,
    /// The access token that comes with it, at a resource: `ath`.
    pub access_token: Option<&'a Secret>,
}

impl DpopProof<'_> {
    /// What is to be signed.
    pub fn signing_input(&self) -> String {
        let (algorithm, key) = (self.algorithm.as_str(), self.key.jwk());
        let header = json!({ "typ": "dpop+jwt", "alg": algorithm, "jwk": key });
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        let mut claims =
            json!({ "jti": self.id, "htm": self.method, "htu": url, "iat": self.issued_at });
        if let Some(claims) = claims.as_object_mut() {
            if let Some(nonce) = self.nonce {
                claims.insert("nonce".to_owned(), json!(nonce));
            }
            if let Some(token) = self.access_token {
                let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(token.expose()));
                claims.insert("ath".to_owned(), json!(hash));
            }
        }
        signing_input(&header, &claims)
    }
}

/// The nonce that a server wants in the next proof, if it says one that can be used (§8.1).
pub fn nonce(headers: &HeaderMap) -> Option<&str> {
    let nonce = headers.get(NONCE)?.to_str().ok()?;
    let usable = !nonce.is_empty() && nonce.len() <= MAX_NONCE;
    // RFC 9449 §8.1: `1*NQCHAR`.
    let fits = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    (usable && nonce.bytes().all(fits)).then_some(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn it_says_what_the_example_of_the_specification_says() {
        // RFC 9449 §4.1 and §7.1.
        let key = r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#;
        let key: PublicKey = serde_json::from_str(key).unwrap();
        let token = Secret::from("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
        let proof = DpopProof {
            key: &key,
            algorithm: SigningAlgorithm::Es256,
            method: "GET",
            url: "https://resource.example.org/protectedresource?a=b#c",
            id: "e1j3V_bKic8-LAEB",
            issued_at: UnixTime(1_562_262_618),
            nonce: None,
            access_token: Some(&token),
        };
        let part = |input: &str, at: usize| -> Value {
            let part = URL_SAFE_NO_PAD.decode(input.split('.').nth(at).unwrap()).unwrap();
            serde_json::from_slice(&part).unwrap()
        };
        let input = proof.signing_input();
        assert_eq!(part(&input, 0), json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk() }));
        assert_eq!(
            part(&input, 1),
            json!({
                "jti": "e1j3V_bKic8-LAEB", "htm": "GET",
                "htu": "https://resource.example.org/protectedresource", "iat": 1_562_262_618,
                "ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo",
            })
        );
        let with_nonce = DpopProof { nonce: Some("n-1"), access_token: None, ..proof };
        assert_eq!(part(&with_nonce.signing_input(), 1)["nonce"], "n-1");
    }

    proptest! {
        #[test]
        fn a_nonce_is_one_word_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                headers.insert(NONCE, value);
            }
            if let Some(nonce) = nonce(&headers) {
                prop_assert!(!nonce.is_empty() && !nonce.contains(['"', '\\', ' ']));
            }
        }
    }
}
