//! Protected resource metadata: RFC 9728 §2 and §3.

use super::Malformed;
use super::failure::Fields;
use super::scope::ScopeSet;

/// The most authorization servers that are kept.
const MAX_SERVERS: usize = 16;

/// What a resource server says about itself.
///
/// ```
/// use mcp_auth::wire::resource_metadata::ResourceMetadata;
///
/// // RFC 9728 §3.2.
/// let metadata = ResourceMetadata::parse(br#"{
///     "resource": "https://resource.example.com",
///     "authorization_servers": ["https://as1.example.com", "https://as2.example.net"],
///     "bearer_methods_supported": ["header", "body"],
///     "scopes_supported": ["profile", "email", "phone"]
/// }"#)?;
/// assert_eq!(metadata.resource.as_deref(), Some("https://resource.example.com"));
/// assert_eq!(metadata.authorization_servers[0], "https://as1.example.com");
/// assert!(metadata.scopes_supported.unwrap().contains("email"));
/// # Ok::<(), mcp_auth::wire::Malformed>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceMetadata {
    /// The resource identifier, the server's own bytes: they come back as the resource indicator
    /// (RFC 8707). Required by the RFC, yet some servers leave it out.
    pub resource: Option<String>,
    /// The issuers that give tokens for it, the server's own bytes, in its order; at most 16.
    pub authorization_servers: Vec<String>,
    /// The scopes to ask for when no challenge names any. An empty list means none.
    pub scopes_supported: Option<ScopeSet>,
    /// A name for people. Chosen by the server: make it printable before it is shown.
    pub resource_name: Option<String>,
}

impl ResourceMetadata {
    /// Reads the document. Nothing is checked here but its form: whether it speaks for the server is
    /// [`resource_covers`](super::url::resource_covers)' question.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the body isn't a JSON object, or `resource` isn't a string.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::json("protected resource metadata", body)?;
        let mut authorization_servers = fields.texts("authorization_servers").unwrap_or_default();
        authorization_servers.truncate(MAX_SERVERS);
        Ok(Self {
            resource: fields.text_or_nothing("resource")?,
            authorization_servers,
            scopes_supported: fields.scopes("scopes_supported"),
            resource_name: fields.text("resource_name"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(json: &str) -> ResourceMetadata {
        ResourceMetadata::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn identifiers_keep_their_bytes() {
        let slack = parse(
            r#"{"resource":"https://mcp.slack.com","authorization_servers":["https://mcp.slack.com"],
                "bearer_methods_supported":["header","form"],"resource_name":"Slack API",
                "tls_client_certificate_bound_access_tokens":false}"#,
        );
        assert_eq!(slack.resource.as_deref(), Some("https://mcp.slack.com"));
        assert_eq!(slack.authorization_servers, ["https://mcp.slack.com"]);
        assert_eq!(slack.resource_name.as_deref(), Some("Slack API"));
        assert_eq!(slack.scopes_supported, None);
    }

    #[test]
    fn no_scopes_and_an_empty_list_of_scopes_are_told_apart() {
        assert_eq!(parse(r#"{"scopes_supported":[]}"#).scopes_supported, Some(ScopeSet::new()));
        assert_eq!(parse(r#"{"scopes_supported":null}"#).scopes_supported, None);
        let scopes = parse(r#"{"scopes_supported":["a",1,"https://graph/.default",null]}"#);
        assert_eq!(scopes.scopes_supported.unwrap().to_string(), "a https://graph/.default");
    }

    #[test]
    fn a_missing_resource_is_left_to_the_flow_but_a_wrong_one_is_refused() {
        assert_eq!(parse(r#"{"authorization_servers":["https://a.example"]}"#).resource, None);
        assert_eq!(parse(r#"{"resource":null}"#).resource, None);
        let refused = ResourceMetadata::parse(br#"{"resource":["https://a.example"]}"#);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "protected resource metadata: expected `resource`, a string, got an array"
        );
    }

    #[test]
    fn useless_servers_are_dropped_and_the_list_is_bounded() {
        let servers = |json: &str| {
            parse(&format!(r#"{{"authorization_servers":{json}}}"#)).authorization_servers
        };
        assert_eq!(servers(r#"["https://a/t1",7,{},"",null,"https://b/"]"#).len(), 2);
        assert_eq!(servers(r#""https://a""#), ["https://a"]);
        assert_eq!(servers(r#"{"url":"https://a"}"#), [""; 0]);
        let many = serde_json::to_string(&vec!["https://a"; 100]).unwrap();
        assert_eq!(servers(&many).len(), 16);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_the_last_duplicate_counts() {
        let twice = parse("\u{feff} {\"resource\":\"https://a\",\"resource\":\"https://b\"}\r\n");
        assert_eq!(twice.resource.as_deref(), Some("https://b"));
    }

    #[test]
    fn what_came_instead_of_a_document_is_said_without_its_text() {
        let got = |body: &[u8]| ResourceMetadata::parse(body).unwrap_err().got;
        assert_eq!(got(b""), "nothing");
        assert_eq!(got(b"  <html>secret"), "a page");
        assert_eq!(got(b"[]"), "an array");
        assert_eq!(got(b"null"), "nothing");
        assert_eq!(got(b"{\"a\": secret}"), "an error in line 1, column 7");
        assert!(got(&b"[".repeat(100_000)).starts_with("an error"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ResourceMetadata::parse(&body);
        }
    }
}
