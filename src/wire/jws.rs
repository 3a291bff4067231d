//! What is signed and by which key: JSON Web Signature (RFC 7515 §3, §5.1), its algorithms (RFC 7518
//! §3.1, RFC 8037), public keys as JSON Web Keys (RFC 7517) and their thumbprints (RFC 7638). Nothing is
//! signed here: that is the host's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Secret;

/// An algorithm that a client signs with.
///
/// ```
/// use mcp_auth::wire::jws::SigningAlgorithm;
///
/// let algorithm: SigningAlgorithm = serde_json::from_str(r#""ES256""#)?;
/// let signature_len = match algorithm {
///     SigningAlgorithm::Es256 | SigningAlgorithm::EdDsa => 64,
///     SigningAlgorithm::Es384 => 96,
///     _ => panic!("{} depends on the key", algorithm.as_str()),
/// };
/// assert_eq!(signature_len, 64);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SigningAlgorithm {
    /// ECDSA with P-256 and SHA-256; the signature is R and S, 32 bytes each.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA with P-384 and SHA-384; the signature is R and S, 48 bytes each.
    #[serde(rename = "ES384")]
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSA with PKCS #1 v1.5 and SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA with PSS and SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
}

impl SigningAlgorithm {
    /// The registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }
}

/// A public key, as a JSON Web Key with nothing in it but the key. Each member is base64url.
///
/// ```
/// use mcp_auth::wire::jws::{PublicKey, SigningAlgorithm};
///
/// // RFC 8037, appendix A.
/// let key: PublicKey = serde_json::from_str(
///     r#"{ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }"#,
/// )?;
/// assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
/// let server_takes = ["RS256".to_owned(), "EdDSA".to_owned()];
/// assert_eq!(key.algorithm(Some(&server_takes)), Some(SigningAlgorithm::EdDsa));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub enum PublicKey {
    /// An elliptic curve key (RFC 7518 §6.2): `P-256` or `P-384`.
    #[serde(rename = "EC")]
    Ec {
        /// The curve.
        crv: String,
        /// The first coordinate.
        x: String,
        /// The second one.
        y: String,
    },
    /// An RSA key (RFC 7518 §6.3).
    #[serde(rename = "RSA")]
    Rsa {
        /// The modulus.
        n: String,
        /// The exponent.
        e: String,
    },
    /// An Edwards curve key (RFC 8037 §2): `Ed25519`.
    #[serde(rename = "OKP")]
    Okp {
        /// The curve.
        crv: String,
        /// The key.
        x: String,
    },
}

impl PublicKey {
    /// A point of a curve: `P-256` or `P-384`.
    pub fn ec(curve: &str, x: &[u8], y: &[u8]) -> Self {
        Self::Ec { crv: curve.to_owned(), x: encode(x), y: encode(y) }
    }

    /// Modulus and exponent, both without leading zeros.
    pub fn rsa(n: &[u8], e: &[u8]) -> Self {
        Self::Rsa { n: encode(n), e: encode(e) }
    }

    /// An Ed25519 key.
    pub fn ed25519(x: &[u8]) -> Self {
        Self::Okp { crv: "Ed25519".to_owned(), x: encode(x) }
    }

    /// What it can sign with, best first; nothing for a curve that isn't known here.
    pub fn algorithms(&self) -> &'static [SigningAlgorithm] {
        match self {
            Self::Ec { crv, .. } if crv == "P-256" => &[SigningAlgorithm::Es256],
            Self::Ec { crv, .. } if crv == "P-384" => &[SigningAlgorithm::Es384],
            Self::Okp { crv, .. } if crv == "Ed25519" => &[SigningAlgorithm::EdDsa],
            Self::Rsa { .. } => &[SigningAlgorithm::Rs256, SigningAlgorithm::Ps256],
            Self::Ec { .. } | Self::Okp { .. } => &[],
        }
    }

    /// The best of these that a server takes, which lists them by name; any if it lists none.
    pub fn algorithm(&self, taken: Option<&[String]>) -> Option<SigningAlgorithm> {
        let takes = |algorithm: &SigningAlgorithm| {
            taken.is_none_or(|names| names.iter().any(|name| name == algorithm.as_str()))
        };
        self.algorithms().iter().copied().find(takes)
    }

    /// The JSON Web Key, its members in the order that a thumbprint needs.
    pub fn jwk(&self) -> Value {
        match self {
            Self::Ec { crv, x, y } => json!({ "crv": crv, "kty": "EC", "x": x, "y": y }),
            Self::Rsa { n, e } => json!({ "e": e, "kty": "RSA", "n": n }),
            Self::Okp { crv, x } => json!({ "crv": crv, "kty": "OKP", "x": x }),
        }
    }

    /// Its SHA-256 thumbprint (RFC 7638 §3), base64url: `jkt` (RFC 9449 §6.1).
    pub fn thumbprint(&self) -> String {
        encode(&Sha256::digest(self.jwk().to_string()))
    }
}

/// What is to be signed: header and claims, encoded and joined (RFC 7515 §5.1).
pub fn signing_input(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()))
}

/// The same with its signature: the compact serialization (RFC 7515 §7.1).
pub fn signed(input: &str, signature: &[u8]) -> Secret {
    Secret::new(format!("{input}.{}", encode(signature)))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(jwk: &str) -> PublicKey {
        serde_json::from_str(jwk).unwrap()
    }

    #[test]
    fn thumbprints_are_those_of_the_specifications() {
        // RFC 9449 §6.1, RFC 8037 §A.3, RFC 7638 §3.1.
        for (jwk, thumbprint) in [
            (
                r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#,
                "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
            ),
            (
                r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
                "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            ),
            (
                r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#,
                "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            ),
        ] {
            let key = key(jwk);
            assert_eq!(key.thumbprint(), thumbprint);
            assert_eq!(serde_json::from_value::<PublicKey>(key.jwk()).unwrap(), key);
            let written = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<PublicKey>(&written).unwrap(), key);
        }
    }

    #[test]
    fn a_key_signs_with_what_the_server_takes() {
        let rsa = PublicKey::rsa(&[9], &[1]);
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(rsa.algorithm(None), Some(SigningAlgorithm::Rs256));
        assert_eq!(rsa.algorithm(Some(&names(&["ES256", "PS256"]))), Some(SigningAlgorithm::Ps256));
        assert_eq!(rsa.algorithm(Some(&names(&["ES256", "HS256"]))), None);
        assert_eq!(rsa.algorithm(Some(&[])), None);
        assert_eq!(PublicKey::ec("P-521", &[1], &[2]).algorithm(None), None);
    }

    #[test]
    fn what_is_signed_is_header_and_claims() {
        let input = signing_input(&json!({ "alg": "ES256" }), &json!({ "iss": "a" }));
        assert_eq!(input, "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJhIn0");
        assert_eq!(signed(&input, &[0xff; 3]).expose(), &format!("{input}.____"));
    }
}
