//! What a POST that failed says: RFC 6749 §5.2 and RFC 7591 §3.2.2, and what real servers, and what
//! stands before them, send instead.

use std::fmt;
use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{Malformed, date};
use crate::UnixTime;
use crate::text::{printable, printable_url};

mod fields;
pub(super) use fields::Fields;

/// The longest wait that a server may ask for.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Codes with which a server says "not now" (RFC 6749 §4.1.2.1, RFC 8628 §3.5).
const PASSING: [&str; 3] = ["server_error", "temporarily_unavailable", "slow_down"];

/// An OAuth error, each text made printable and bounded.
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use mcp_auth::UnixTime;
/// use mcp_auth::wire::failure::Failure;
///
/// let body = br#"{ "error": "invalid_grant", "error_description": "it was used before" }"#;
/// let (headers, now) = (HeaderMap::new(), UnixTime(1_790_000_000));
/// let failure = Failure::read("token reply", StatusCode::BAD_REQUEST, &headers, body, now);
/// let Failure::Refused { error, .. } = failure else { panic!("{failure}") };
/// assert!(error.is_dead_grant(), "only a login helps");
/// assert_eq!(error.to_string(), "invalid_grant (it was used before)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthError {
    /// The code as the server wrote it, e.g. `invalid_grant`.
    pub error: String,
    /// What the server adds for a person.
    pub description: Option<String>,
    /// A page about the error; `https` or `http`.
    pub uri: Option<String>,
}

impl OAuthError {
    /// An error that is only a code.
    pub(crate) fn code(error: &str) -> Self {
        Self { error: printable(error), description: None, uri: None }
    }

    /// What SAP's UAA says in place of an error: a list of messages.
    fn listed(body: &[u8]) -> Option<String> {
        let list: Vec<Value> = serde_json::from_slice(fields::content(body)).ok()?;
        list.first()?.get("message")?.as_str().map(printable)
    }

    /// Finds the error in a body: JSON or a form, with `error` a string or, as some servers have it,
    /// an object with a code and a message.
    fn find(body: &[u8]) -> Option<Self> {
        let mut fields = Fields::json_or_form("error", body).ok()?;
        let (error, message) = match fields.text("error") {
            Some(error) => (error, None),
            None => {
                let mut inner = fields.object("error")?;
                let codes = ["code", "error", "type", "status"];
                let code = codes.into_iter().find_map(|name| inner.text(name));
                let message = inner.text("message");
                (code.or_else(|| message.clone())?, message)
            }
        };
        let description = fields.text("error_description");
        let description = description.or(message).or_else(|| fields.text("message"));
        let uri = fields.text("error_uri");
        Some(Self {
            error: printable(&error),
            description: description.as_deref().map(printable),
            uri: uri
                .filter(|uri| uri.starts_with("https://") || uri.starts_with("http://"))
                .as_deref()
                .map(printable),
        })
    }

    /// Whether the code or refresh token that was sent is dead: `invalid_grant`, and what GitHub and
    /// Slack say instead.
    pub fn is_dead_grant(&self) -> bool {
        matches!(
            self.error.as_str(),
            "invalid_grant"
                | "bad_refresh_token"
                | "bad_verification_code"
                | "invalid_refresh_token"
        )
    }

    /// Whether some specification knows the code (RFC 6749 §4.1.2.1 and §5.2, RFC 8707 §2, OpenID
    /// Connect Core §3.1.2.6), or a vendor means a dead grant by it. A framework's or a proxy's own
    /// error, such as `Not Found`, decides nothing about a grant.
    pub fn is_known(&self) -> bool {
        self.is_dead_grant()
            || matches!(
                self.error.as_str(),
                "invalid_request"
                    | "invalid_client"
                    | "invalid_scope"
                    | "invalid_target"
                    | "unauthorized_client"
                    | "unsupported_grant_type"
                    | "access_denied"
                    | "invalid_dpop_proof"
                    | "use_dpop_nonce"
                    | "login_required"
                    | "interaction_required"
                    | "consent_required"
                    | "account_selection_required"
            )
    }

    /// Whether the server doesn't know the client: `invalid_client`, or an `invalid_request` that
    /// says in words that it isn't registered.
    pub fn is_unknown_client(&self) -> bool {
        self.error == "invalid_client"
            || self.error == "invalid_request"
                && self.description.as_ref().is_some_and(|text| {
                    let text = text.to_ascii_lowercase();
                    text.contains("client") && text.contains("not registered")
                })
    }

    /// Whether it says in words, for the codes differ, that the client must show its secret.
    pub fn wants_client_secret(&self) -> bool {
        self.description.as_ref().is_some_and(|text| {
            let text = text.to_ascii_lowercase();
            text.contains("client") && text.contains("secret") && text.contains("required")
        })
    }

    /// Whether the resource indicator was refused: `invalid_target` (RFC 8707 §2), or Entra ID's
    /// numbers for it.
    pub fn is_refused_resource(&self) -> bool {
        self.error == "invalid_target"
            || self
                .description
                .as_ref()
                .is_some_and(|text| text.contains("AADSTS9010010") || text.contains("AADSTS901002"))
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        if let Some(description) = &self.description {
            write!(f, " ({description})")?;
        }
        if let Some(uri) = &self.uri {
            write!(f, ", see {uri}")?;
        }
        Ok(())
    }
}

/// Why a POST to an authorization server brought nothing.
///
/// It never holds text of the body but an OAuth error's.
///
/// ```
/// use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
/// use mcp_auth::UnixTime;
/// use mcp_auth::wire::failure::Failure;
///
/// let mut headers = HeaderMap::new();
/// headers.insert(RETRY_AFTER, 120.into());
/// let (status, now) = (StatusCode::SERVICE_UNAVAILABLE, UnixTime(1_790_000_000));
/// match Failure::read("token reply", status, &headers, b"<html>", now) {
///     Failure::Passing { retry_after, .. } => {
///         assert_eq!(retry_after.map(|wait| wait.as_secs()), Some(120)); // keep all, try again then
///     }
///     other => panic!("{other}"), // the server's last word
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The server's final word: asking the same again is of no use.
    #[error("refused (HTTP {status}): {error}")]
    Refused {
        /// The HTTP status; some servers refuse with 200.
        status: u16,
        /// The reason.
        error: OAuthError,
    },
    /// Nothing was decided; asking again later may help.
    #[error("HTTP {status}{}", .error.as_ref().map(|e| format!(": {e}")).unwrap_or_default())]
    Passing {
        /// The HTTP status.
        status: u16,
        /// How long to wait, if the server said so; at most 24 h.
        retry_after: Option<Duration>,
        /// The reason, if the server gave one.
        error: Option<OAuthError>,
    },
    /// 401 without an OAuth error: the server doesn't take the client (RFC 6749 §5.2), or something
    /// before the server wants to know who we are. Nobody can tell; it is for the caller to say which
    /// of the two costs less to believe.
    #[error("HTTP 401{}", .message.as_ref().map_or(", without a reason".into(), |m| format!(": {m}")))]
    Unauthorized {
        /// The message of a list, as SAP's UAA sends it.
        message: Option<String>,
    },
    /// The answer doesn't have its form, so it decides nothing; waiting won't mend it.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Failure {
    /// Whether it holds words of the server's own: some quote what they were sent.
    pub(crate) fn has_words(&self) -> bool {
        matches!(
            self,
            Failure::Refused { .. }
                | Failure::Passing { error: Some(_), .. }
                | Failure::Unauthorized { message: Some(_) }
        )
    }

    /// Reads the answer to a failed POST; `document` says to which.
    ///
    /// - An OAuth error is [`Failure::Refused`] at any status, except `server_error`,
    ///   `temporarily_unavailable`, `slow_down`, 408, 425, 429 and 5xx: those pass.
    /// - Without one, 404, 405 and 410 say that there is no such endpoint; a web page comes from
    ///   something before the server and passes; 401 is [`Failure::Unauthorized`]. 400, 415, 422,
    ///   redirects and successes are malformed; any other 4xx passes.
    pub fn read(
        document: &'static str,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: UnixTime,
    ) -> Failure {
        let error = if is_page(headers, body) { None } else { OAuthError::find(body) };
        let code = status.as_u16();
        let passes = status.is_server_error()
            || matches!(code, 408 | 425 | 429)
            || error.as_ref().is_some_and(|e| PASSING.contains(&e.error.as_str()));
        let passing = |error| Failure::Passing {
            status: code,
            retry_after: retry_after(headers, now),
            error,
        };
        let malformed = |expected: &str, got: &str| {
            Failure::Malformed(Malformed::new(document, expected, format!("HTTP {status}{got}")))
        };
        match (error, code) {
            (error, _) if passes => passing(error),
            (Some(error), _) => Failure::Refused { status: code, error },
            (None, 404 | 405 | 410) => malformed("an endpoint that takes POST", ""),
            (None, _) if is_page(headers, body) => passing(None),
            (None, 401) => Failure::Unauthorized { message: OAuthError::listed(body) },
            (None, 300..=399) => malformed("no redirect", &destination(headers)),
            (None, 400 | 415 | 422 | 100..=299) => {
                malformed("a reply or an OAuth error", " with neither")
            }
            (None, _) => passing(None),
        }
    }
}

/// Whether the body is a web page: from a firewall, a proxy, a login portal.
pub(super) fn is_page(headers: &HeaderMap, body: &[u8]) -> bool {
    let body = fields::content(body);
    let html = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"text/html"));
    // A program that forgot to name the type of its JSON often claims HTML.
    body.starts_with(b"<") || html && !body.starts_with(b"{")
}

/// ` to …`, where a redirect leads; nothing where it doesn't say.
fn destination(headers: &HeaderMap) -> String {
    let to = headers.get(LOCATION).and_then(|to| to.to_str().ok()).map(printable_url);
    to.map(|to| format!(" to {to}")).unwrap_or_default()
}

/// An answer that is of no use, in words: its status, where it leads, and whether it is a page for
/// people.
pub fn describe(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    let page = match is_page(headers, body) {
        true if is_bot_protection(headers, body) => ", a bot protection page",
        true => ", a web page",
        false => "",
    };
    let to = if status.is_redirection() { destination(headers) } else { String::new() };
    format!("HTTP {}{to}{page}", status.as_u16())
}

/// Whether something before the server wants to see a browser, or a person: Cloudflare says so in a
/// header field, or in the page's title.
pub fn is_bot_protection(headers: &HeaderMap, body: &[u8]) -> bool {
    const TITLES: [&[u8]; 2] = [b"<title>Just a moment...</title>", b"<title>Attention Required!"];
    headers.get("cf-mitigated").is_some_and(|value| value == "challenge")
        || is_page(headers, body)
            && TITLES.iter().any(|title| body.windows(title.len()).any(|text| text == *title))
}

/// Whether an answer without a document says nothing of whether there is one: it may be another later.
pub(crate) fn is_passing(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    // A page that wants to see a browser says nothing of what is behind it.
    status.is_server_error()
        || matches!(status.as_u16(), 408 | 425 | 429)
        || is_bot_protection(headers, body)
}

/// How long a server wants to be left alone (RFC 9110 §10.2.3): seconds or a date; zero if the date
/// has passed; at most 24 h.
pub fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // Only too many digits fail here.
        value.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        now.until(date::parse(value)?)
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests;
