//! Proof key for code exchange: RFC 7636. Only `S256`; `plain` protects nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

use crate::Secret;

/// One code verifier and its challenge: for one authorization request, then thrown away.
///
/// ```
/// use mcp_auth::wire::pkce::Pkce;
///
/// // RFC 7636, appendix B. A program draws these bytes afresh each time.
/// let random = [
///     116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186,
///     22, 212, 37, 77, 105, 214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
/// ];
/// let pkce = Pkce::from_random(random);
/// assert_eq!(pkce.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"); // goes with the browser
/// assert_eq!(pkce.verifier().expose(), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"); // with the code
/// ```
#[derive(Clone, Debug)]
pub struct Pkce {
    verifier: Secret<String>,
    challenge: String,
}

impl Pkce {
    /// The `code_challenge_method` that goes with [`Pkce::challenge`].
    pub const METHOD: &'static str = "S256";

    /// Makes a pair from 32 random bytes: 256 bits of entropy, as RFC 7636 §4.1 recommends.
    pub fn from_random(mut bytes: [u8; 32]) -> Self {
        let verifier = Secret::new(URL_SAFE_NO_PAD.encode(bytes));
        bytes.zeroize();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()));
        Self { verifier, challenge }
    }

    /// The `code_verifier` of the token request, 43 characters.
    pub fn verifier(&self) -> &Secret<String> {
        &self.verifier
    }

    /// The `code_challenge` of the authorization request, 43 characters; not a secret.
    pub fn challenge(&self) -> &str {
        &self.challenge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The octets of RFC 7636 appendix B.
    const OCTETS: [u8; 32] = [
        116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37,
        77, 105, 214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
    ];

    #[test]
    fn the_example_of_the_specification() {
        let pkce = Pkce::from_random(OCTETS);
        assert_eq!(pkce.verifier().expose(), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(pkce.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_shown_pair_keeps_its_verifier_to_itself() {
        let shown = format!("{:?}", Pkce::from_random(OCTETS));
        assert!(shown.contains("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
        assert!(!shown.contains("dBjftJeZ"));
    }
}
