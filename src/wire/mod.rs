//! HOW IT LOOKS: the wire formats, one file per RFC. No state, no policy, no I/O: bytes in, values
//! out, and back. Every parser is total, bounded, and fuzzed.

use std::fmt;

pub mod assertion;
pub mod authorization;
pub mod cache;
pub mod challenge;
pub(crate) mod date;
pub mod device;
pub mod dpop;
pub mod failure;
pub mod headers;
pub mod jws;
pub mod jwt;
pub mod pkce;
pub mod pushed;
pub mod registration;
pub mod resource_metadata;
pub mod revocation;
pub mod scope;
pub mod server_metadata;
pub mod token;
pub mod url;

/// A document or message that doesn't have its form: what was expected, and what came.
///
/// `got` names the kind or a short printable excerpt, never a secret value.
///
/// ```
/// use mcp_auth::wire::resource_metadata::ResourceMetadata;
///
/// let error = ResourceMetadata::parse(br#"["https://mcp.example.com"]"#).unwrap_err();
/// assert_eq!(error.to_string(), "protected resource metadata: expected a JSON object, got an array");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What was read, e.g. "protected resource metadata".
    pub document: &'static str,
    /// What its specification asks for.
    pub expected: String,
    /// What was there instead.
    pub got: String,
}

impl Malformed {
    pub(crate) fn new(
        document: &'static str,
        expected: impl Into<String>,
        got: impl AsRef<str>,
    ) -> Self {
        Self { document, expected: expected.into(), got: crate::text::printable(got.as_ref()) }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.document, self.expected, self.got)
    }
}

impl std::error::Error for Malformed {}
