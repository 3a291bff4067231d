//! Who a token is about: the claims of a JWT (RFC 7519 §4; OpenID Connect Core §2, §5.1), decoded to be
//! shown to people. No signature is checked, so nothing may ever be decided by them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::failure::Fields;
use crate::secret::Secret;
use crate::text::printable;

/// The longest token that is looked into, in bytes.
const MAX_LEN: usize = 64 * 1024;

/// The person, or the account, that a server says a token is about. For display only: each text is the
/// server's, one printable line of at most 200 characters.
///
/// ```
/// use mcp_auth::Secret;
/// use mcp_auth::wire::jwt::Person;
///
/// let id_token = Secret::from("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIiwibmFtZSI6IkFkYSJ9.");
/// let person = Person::read(&id_token).unwrap();
/// assert_eq!(person.subject.as_deref(), Some("1"));
/// assert_eq!(format!("logged in as {person}"), "logged in as Ada");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Person {
    /// The server's own identifier, `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Person {
    /// Reads an ID token, or an access token that is a JWT. `None` for any other, an encrypted one
    /// among them, and for one that names nobody.
    pub fn read(token: &Secret) -> Option<Self> {
        let token = Some(token.expose()).filter(|token| token.len() <= MAX_LEN)?;
        let mut parts = token.split('.');
        let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        let mut claims = Fields::json("token claims", &payload).ok()?;
        let mut text = |name| claims.text(name).map(|text| printable(&text));
        let person = Self { subject: text("sub"), email: text("email"), name: text("name") };
        Some(person).filter(|person| *person != Self::default())
    }

    /// The same, whoever has written it: a record may come from anywhere.
    pub(crate) fn tamed(&self) -> Self {
        let tame = |text: &Option<String>| text.as_deref().map(printable);
        Self { subject: tame(&self.subject), email: tame(&self.email), name: tame(&self.name) }
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.email, &self.subject) {
            (Some(name), Some(email), _) => write!(f, "{name} <{email}>"),
            (Some(one), None, _) | (None, Some(one), _) | (None, None, Some(one)) => {
                f.write_str(one)
            }
            (None, None, None) => f.write_str("nobody in particular"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn jwt(claims: &str) -> Secret {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        Secret::new(format!(
            "{}.{}.{}",
            encode(r#"{"alg":"RS256"}"#),
            encode(claims),
            encode("sig")
        ))
    }

    fn shown(claims: &str) -> String {
        Person::read(&jwt(claims)).map_or_else(|| "none".to_owned(), |person| person.to_string())
    }

    #[test]
    fn the_best_that_is_known_is_shown() {
        assert_eq!(
            shown(r#"{"sub":"1","email":"ada@example.com","name":"Ada"}"#),
            "Ada <ada@example.com>"
        );
        assert_eq!(shown(r#"{"sub":"1","email":"ada@example.com"}"#), "ada@example.com");
        assert_eq!(shown(r#"{"sub":"1","name":"Ada"}"#), "Ada");
        assert_eq!(shown(r#"{"sub":"1","email":7,"name":null}"#), "1");
        assert_eq!(shown(r#"{"iss":"https://a.example"}"#), "none");
        assert_eq!(shown("[]"), "none");
    }

    #[test]
    fn what_is_no_signed_jwt_names_nobody() {
        let real = jwt(r#"{"sub":"1"}"#).expose().clone();
        let payload = real.split('.').nth(1).unwrap();
        for token in [
            "",
            "opaque",
            payload,
            &format!("{payload}.{payload}"),
            &format!("a.{payload}.c.d.e"),
            "a.!!!.c",
            "..",
            &format!("a.{}.c", "A".repeat(MAX_LEN)),
        ] {
            assert_eq!(Person::read(&Secret::from(token)), None, "{token}");
        }
        assert!(Person::read(&Secret::new(format!("a.{payload}==.c"))).is_some());
    }

    #[test]
    fn nobody_can_repaint_a_terminal_by_their_name() {
        let name = format!("Ada\\r\\n\\u001b[2J{}", "x".repeat(300));
        let shown = shown(&format!(r#"{{"name":"{name}"}}"#));
        assert!(
            shown.starts_with("Ada\u{FFFD}\u{FFFD}\u{FFFD}[2J") && shown.chars().count() == 201
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(token in ".*", claims in ".*") {
            let _ = Person::read(&Secret::new(token));
            let _ = Person::read(&jwt(&claims));
        }
    }
}
