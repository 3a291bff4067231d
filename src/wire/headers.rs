//! Header fields that the settings add to requests for the MCP server: which may be added (RFC 9110
//! §5), and which are somebody else's.

use std::collections::BTreeMap;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::Malformed;
use crate::secret::Secret;

const DOCUMENT: &str = "headers";

/// The most fields, and the longest value in bytes.
const MAX_FIELDS: usize = 64;
const MAX_VALUE: usize = 8 * 1024;

/// The token's own, the transport's (RFC 9110 §7.6.1), and what frames a message.
const FORBIDDEN: [&str; 14] = [
    "authorization",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "http2-settings",
];

/// Whether a field of this name, in any case, can't be set by settings.
pub fn is_forbidden(name: &str) -> bool {
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

/// Reads the fields, each marked sensitive: many are keys.
///
/// # Errors
///
/// [`Malformed`] for a name that is no token, is forbidden, or is there twice in another case; for a
/// value with control characters, which could begin another field; and for too many or too long ones.
/// No value is quoted.
pub fn read(fields: &BTreeMap<String, Secret>) -> Result<HeaderMap, Malformed> {
    let refuse = |expected: &str, got: &str| Err(Malformed::new(DOCUMENT, expected, got));
    if fields.len() > MAX_FIELDS {
        return refuse("at most 64 fields", "more");
    }
    let mut read = HeaderMap::new();
    for (name, value) in fields {
        if is_forbidden(name) {
            return refuse("fields that aren't the transport's or the token's", name);
        }
        let Ok(field) = HeaderName::try_from(name.as_str()) else {
            return refuse("the name of a field", name);
        };
        let value = Some(value.expose()).filter(|value| value.len() <= MAX_VALUE);
        let visible = |value: &&String| value.chars().all(|c| c == '\t' || !c.is_control());
        let value = value.filter(visible).and_then(|value| HeaderValue::from_str(value).ok());
        let Some(mut value) = value else {
            return refuse("a value of one line, at most 8 KiB", &format!("another for {name}"));
        };
        value.set_sensitive(true);
        if read.insert(field, value).is_some() {
            return refuse("each field once", name);
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(name: &str, value: &str) -> Result<HeaderMap, Malformed> {
        read(&BTreeMap::from([(name.to_owned(), Secret::from(value))]))
    }

    #[test]
    fn a_field_of_the_programs_own_is_taken_and_marked_as_a_secret() {
        let fields = one("X-API-Key", "hush").unwrap();
        assert_eq!(fields["x-api-key"], "hush");
        assert!(fields["x-api-key"].is_sensitive());
        assert!(one("X-Empty", "").is_ok());
    }

    #[test]
    fn nothing_can_begin_another_field_or_replace_one_that_is_not_ours() {
        for (name, value) in [
            ("X-Key", "hush\r\nX-Other: 1"),
            ("X-Key", "hush\n"),
            ("X-Key", "hush\0"),
            ("X-Key\r\nX-Other", "hush"),
            ("X Key", "hush"),
            ("", "hush"),
            ("X-Key", &"hush".repeat(3000)),
            ("AUTHORIZATION", "hush"),
            ("host", "hush"),
            ("Content-Length", "hush"),
            ("Transfer-Encoding", "hush"),
            ("Connection", "hush"),
            ("Proxy-Authorization", "hush"),
        ] {
            let error = one(name, value).unwrap_err();
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        let twice = ["X-Key", "x-key"].map(|name| (name.to_owned(), Secret::from("hush")));
        assert!(read(&BTreeMap::from(twice)).is_err());
        let many = (0..65).map(|n| (format!("X-{n}"), Secret::from("hush"))).collect();
        assert!(read(&many).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_break_out(name in ".{0,12}", value in ".{0,12}") {
            if let Ok(fields) = one(&name, &value) {
                let field = fields.values().next().unwrap();
                prop_assert!(!field.as_bytes().iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
            }
        }
    }
}
