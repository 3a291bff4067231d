//! What ToolHive keeps of a login in its secret provider: a bare refresh token, or an envelope that
//! says whom it belongs to.

use serde::{Deserialize, Serialize};

use crate::secret::{Secret, exposed};
use crate::wire::Malformed;
use crate::wire::url as address;

const VERSION: u32 = 1;
const DOCUMENT: &str = "the cached session";

/// A cached session. [`CachedSession::to_text`] is what ToolHive's `TokenPersister` is given.
///
/// ```
/// use mcp_auth::Secret;
/// use mcp_auth::toolhive::CachedSession;
///
/// let (issuer, token_url) = ("https://auth.example.com", "https://auth.example.com/token");
/// let session = CachedSession::new(Secret::from("tGzv3JOkF0XG5Qx2TlKWIA"), issuer, token_url);
/// let kept = session.to_text(); // says whom the token belongs to
/// assert!(kept.expose().contains(issuer));
/// assert_eq!(CachedSession::parse(&kept)?, session);
/// # Ok::<(), mcp_auth::wire::Malformed>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CachedSession {
    token: Secret,
    /// Issuer and token endpoint.
    home: Option<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    version: u32,
    #[serde(with = "exposed")]
    token: Secret,
    issuer: String,
    token_url: String,
}

impl CachedSession {
    /// A refresh token of this issuer, from this token endpoint.
    pub fn new(token: Secret, issuer: &str, token_url: &str) -> Self {
        Self { token, home: Some((issuer.to_owned(), token_url.to_owned())) }
    }

    /// Reads either form. What begins with `{` is an envelope.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for an envelope of another version, or without one of its parts; it is never
    /// taken for a bare token.
    pub fn parse(text: &Secret) -> Result<Self, Malformed> {
        let text = text.expose().trim();
        if !text.starts_with('{') {
            return Ok(Self { token: Secret::from(text), home: None });
        }
        let refuse = |got| Malformed::new(DOCUMENT, "an envelope of version 1", got);
        let envelope: Envelope =
            serde_json::from_str(text).map_err(|_| refuse("another JSON object"))?;
        let Envelope { version, token, issuer, token_url } = envelope;
        if version != VERSION {
            return Err(refuse("another version"));
        }
        if token.expose().is_empty() || issuer.is_empty() || token_url.is_empty() {
            return Err(refuse("one without token, issuer or token endpoint"));
        }
        Ok(Self { token, home: Some((issuer, token_url)) })
    }

    /// The text to keep: the envelope, or the bare token where its home isn't known.
    pub fn to_text(&self) -> Secret {
        let Some((issuer, token_url)) = self.home.clone() else { return self.token.clone() };
        let envelope = Envelope { version: VERSION, token: self.token.clone(), issuer, token_url };
        // Numbers and texts only: there is nothing to fail on.
        Secret::new(serde_json::to_string(&envelope).unwrap_or_default())
    }

    /// The refresh token.
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// The same, and nothing else.
    pub(crate) fn into_token(self) -> Secret {
        self.token
    }

    /// Whether it says whom it belongs to.
    pub(crate) fn is_bound(&self) -> bool {
        self.home.is_some()
    }

    /// Whether it may be sent to this token endpoint of this issuer.
    pub(crate) fn belongs_to(&self, issuer: &str, token_url: &str) -> bool {
        self.home.as_ref().is_none_or(|(own, endpoint)| {
            address::issuers_match(own, issuer) && endpoint == token_url
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<CachedSession, Malformed> {
        CachedSession::parse(&Secret::from(text))
    }

    #[test]
    fn an_envelope_is_written_as_toolhive_reads_it() {
        let session = CachedSession::new("hush".into(), "https://a.example", "https://a.example/t");
        let text = session.to_text();
        assert_eq!(
            text.expose(),
            r#"{"version":1,"token":"hush","issuer":"https://a.example","token_url":"https://a.example/t"}"#
        );
        assert_eq!(parse(text.expose()), Ok(session.clone()));
        assert!(session.belongs_to("https://a.example/", "https://a.example/t"));
        assert!(!session.belongs_to("https://b.example", "https://a.example/t"));
        assert!(!session.belongs_to("https://a.example", "https://a.example/other"));
        assert!(!format!("{session:?}").contains("hush"));
    }

    #[test]
    fn a_bare_token_is_anybodys_and_a_broken_envelope_is_no_token() {
        let bare = parse(" hush\n").unwrap();
        assert_eq!(
            (bare.token().expose().as_str(), bare.to_text().expose().as_str()),
            ("hush", "hush")
        );
        assert!(bare.belongs_to("https://a.example", "https://a.example/t"));
        for text in [
            "{",
            r#"{"version":2,"token":"hush","issuer":"i","token_url":"t"}"#,
            r#"{"version":1,"token":"hush","issuer":"","token_url":"t"}"#,
            r#"{"version":1,"token":"hush"}"#,
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("version 1") && !error.contains("hush"), "{error}");
        }
    }
}
