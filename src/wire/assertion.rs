//! A client's assertion about itself: RFC 7523 §2.2 and §3, RFC 7521 §4.2 (`private_key_jwt`).

use std::time::Duration;

use serde_json::json;

use super::jws::{SigningAlgorithm, signing_input};
use crate::UnixTime;

/// What `client_assertion_type` says (RFC 7523 §2.2).
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// It is made for one request, which is sent at once; clocks differ.
const LIFETIME: Duration = Duration::from_secs(60);

/// What a client says of itself.
///
/// ```
/// use mcp_auth::UnixTime;
/// use mcp_auth::wire::assertion::ClientAssertion;
/// use mcp_auth::wire::jws::{SigningAlgorithm, signed};
/// # let sign = |input: &[u8]| [input.len() as u8; 64];
///
/// let assertion = ClientAssertion {
///     client_id: "s6BhdRkqt3",
///     audience: "https://auth.example.com",
///     id: "jti-1",
///     key_id: None,
///     algorithm: SigningAlgorithm::Es256,
///     issued_at: UnixTime(1_790_000_000),
/// };
/// let input = assertion.signing_input();
/// let client_assertion = signed(&input, &sign(input.as_bytes())); // by the client's private key
/// assert_eq!(client_assertion.expose().split('.').count(), 3);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ClientAssertion<'a> {
    /// The client identifier: `iss` and `sub`.
    pub client_id: &'a str,
    /// Whom it is for: `aud`, one text.
    pub audience: &'a str,
    /// Never the same twice: `jti`.
    pub id: &'a str,
    /// The key's name at the server, if it has one: `kid`.
    pub key_id: Option<&'a str>,
    /// What it is signed with: `alg`.
    pub algorithm: SigningAlgorithm,
    /// Now: `iat`. It ends a minute later: `exp`.
    pub issued_at: UnixTime,
}

impl ClientAssertion<'_> {
    /// What is to be signed.
    pub fn signing_input(&self) -> String {
        let mut header = json!({ "alg": self.algorithm.as_str(), "typ": "JWT" });
        if let (Some(key_id), Some(header)) = (self.key_id, header.as_object_mut()) {
            header.insert("kid".to_owned(), json!(key_id));
        }
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "jti": self.id,
            "iat": self.issued_at,
            "exp": self.issued_at.plus(LIFETIME),
        });
        signing_input(&header, &claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::Value;

    #[test]
    fn it_says_who_for_whom_and_until_when() {
        let assertion = ClientAssertion {
            client_id: "c",
            audience: "https://a.example",
            id: "1",
            key_id: Some("k"),
            algorithm: SigningAlgorithm::Es256,
            issued_at: UnixTime(1000),
        };
        let part = |input: &str, at: usize| -> Value {
            let part = URL_SAFE_NO_PAD.decode(input.split('.').nth(at).unwrap()).unwrap();
            serde_json::from_slice(&part).unwrap()
        };
        let input = assertion.signing_input();
        assert_eq!(part(&input, 0), json!({ "alg": "ES256", "typ": "JWT", "kid": "k" }));
        assert_eq!(
            part(&input, 1),
            json!({ "iss": "c", "sub": "c", "aud": "https://a.example", "jti": "1", "iat": 1000, "exp": 1060 })
        );
        let unnamed = ClientAssertion { key_id: None, ..assertion }.signing_input();
        assert_eq!(part(&unnamed, 0), json!({ "alg": "ES256", "typ": "JWT" }));
    }
}
