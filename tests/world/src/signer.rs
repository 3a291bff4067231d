//! Keys without cryptography: whoever has the public half can verify, and could sign as well. The real
//! thing is tested where it is, in the hosts.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcp_auth::wire::jws::PublicKey;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The public half of the key with this name: it looks like one of P-256.
pub fn public_key(name: &str) -> PublicKey {
    PublicKey::ec("P-256", &hash(&["x", name]), &hash(&["y", name]))
}

/// What that key signs.
pub fn sign(name: &str, input: &[u8]) -> Vec<u8> {
    signature(&public_key(name), input)
}

fn signature(public: &PublicKey, input: &[u8]) -> Vec<u8> {
    let input = String::from_utf8_lossy(input);
    let half = hash(&["signature", &public.thumbprint(), &input]);
    half.iter().chain(&half).copied().collect()
}

fn hash(parts: &[&str]) -> [u8; 32] {
    Sha256::digest(parts.join("\n")).into()
}

/// A JSON Web Token, taken apart.
#[derive(Debug)]
pub(crate) struct Jwt {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    input: String,
    signature: Vec<u8>,
}

impl Jwt {
    pub(crate) fn read(text: &str) -> Option<Jwt> {
        let (input, signature) = text.rsplit_once('.')?;
        let (header, claims) = input.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let json = |part: &str| serde_json::from_slice(&decode(part)?).ok();
        Some(Jwt {
            header: json(header)?,
            claims: json(claims)?,
            input: input.to_owned(),
            signature: decode(signature)?,
        })
    }

    /// Signed with this key, by the algorithm that it says.
    pub(crate) fn is_signed_with(&self, public: &PublicKey) -> bool {
        self.header["alg"] == "ES256" && self.signature == signature(public, self.input.as_bytes())
    }

    /// A proof of possession (RFC 9449 §4.3) for this request: the thumbprint of its key.
    pub(crate) fn proof(
        now: u64,
        request: &http::Request<Vec<u8>>,
        origin: &str,
        seen: &mut BTreeSet<String>,
    ) -> Option<(String, Jwt)> {
        let mut proofs = request.headers().get_all("dpop").iter();
        let (proof, None) = (proofs.next()?, proofs.next()) else { return None };
        let jwt = Jwt::read(proof.to_str().ok()?)?;
        let key: PublicKey = serde_json::from_value(jwt.header["jwk"].clone()).ok()?;
        let url = format!("{origin}{}", request.uri().path());
        let fits = jwt.header["typ"] == "dpop+jwt"
            && jwt.header["jwk"].get("d").is_none()
            && jwt.is_signed_with(&key)
            && jwt.text("htm") == request.method().as_str()
            && jwt.text("htu") == url
            && now.abs_diff(jwt.number("iat")) <= 60;
        let is_new = !jwt.text("jti").is_empty() && seen.insert(jwt.text("jti").to_owned());
        (fits && is_new).then(|| (key.thumbprint(), jwt))
    }

    pub(crate) fn text(&self, claim: &str) -> &str {
        self.claims[claim].as_str().unwrap_or_default()
    }

    pub(crate) fn number(&self, claim: &str) -> u64 {
        self.claims[claim].as_u64().unwrap_or_default()
    }
}
