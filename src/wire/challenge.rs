//! `WWW-Authenticate`: RFC 9110 §11.6.1, with what RFC 6750 §3, RFC 9449 §7.1 and RFC 9728 §5.1 say
//! in it.
//!
//! The grammar is ambiguous on its face (a comma separates parameters and challenges alike) and
//! servers bend it, so the reader below decides by what comes next:
//!
//! ```text
//! word, then "="                           a parameter of the current challenge
//! word after a comma, or at the start      a new scheme, with a token68 if one follows
//! "Bearer" or "DPoP" without a comma       a new scheme too: nobody else's word
//! anything else                            skipped up to the next space or comma
//! ```
//!
//! A quoted string is opaque wherever it stands: what a server quotes, for instance what a caller
//! sent it, never becomes a parameter.

use ::url::Url;
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

use super::scope::ScopeSet;
use super::url;
use crate::text::printable;

/// How much of all header lines together is read, in bytes; a line that doesn't fit is left out.
const MAX_TOTAL: usize = 64 * 1024;

/// The most challenges of one response.
const MAX_CHALLENGES: usize = 64;

/// The most parameters of one challenge.
const MAX_PARAMS: usize = 64;

/// The most metadata URLs of one response: each may cost a request.
const MAX_CANDIDATES: usize = 8;

/// One challenge of a response: a scheme and what it says.
///
/// ```
/// use mcp_auth::wire::challenge::Challenge;
///
/// let line = br#"Negotiate, Bearer realm="example", error="invalid_token""#;
/// let challenges = Challenge::parse_all([&line[..]]);
/// assert_eq!(challenges.len(), 2);
/// let bearer = challenges.iter().find(|challenge| challenge.is("bearer")).unwrap();
/// assert_eq!(bearer.first("error"), Some("invalid_token"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme as the server wrote it; compare with [`Challenge::is`].
    pub scheme: String,
    /// The single value that some schemes have in place of parameters.
    pub token68: Option<String>,
    /// Names in lower case and unescaped values, in the order they came, repeats included.
    pub params: Vec<(String, String)>,
}

impl Challenge {
    /// Reads the challenges of all `WWW-Authenticate` lines of a response.
    ///
    /// Never fails: what can't be read is skipped. Takes linear time, and reads at most 64 KiB, 64
    /// challenges, and 64 parameters of each.
    pub fn parse_all<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Vec<Challenge> {
        let mut found = Vec::new();
        let mut budget = MAX_TOTAL;
        for value in values {
            let Some(left) = budget.checked_sub(value.len()) else { continue };
            budget = left;
            Reader { rest: &String::from_utf8_lossy(value) }.read_into(&mut found);
            if found.len() == MAX_CHALLENGES {
                break;
            }
        }
        found
    }

    /// Whether this is a challenge of `scheme`, in any case.
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The values of the parameter `name` (given in lower case), in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.params.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The first value of the parameter `name` (given in lower case).
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }
}

/// What the `Bearer` and `DPoP` challenges of a response say together.
///
/// Where two differ the first counts, except that every metadata URL is kept: servers repeat a
/// challenge with less in it. An empty value counts as none.
///
/// ```
/// use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
/// use mcp_auth::wire::challenge::BearerChallenge;
///
/// // RFC 6750 §3 and RFC 9728 §5.1.
/// let mut headers = HeaderMap::new();
/// for line in [
///     r#"Bearer realm="example", error="invalid_token", error_description="The access token expired""#,
///     r#"Bearer resource_metadata="https://resource.example.com/.well-known/oauth-protected-resource""#,
/// ] {
///     headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(line));
/// }
/// let challenge = BearerChallenge::from_headers(&headers).unwrap();
/// assert!(challenge.is_invalid_token());
/// let metadata = "https://resource.example.com/.well-known/oauth-protected-resource";
/// assert_eq!(challenge.resource_metadata, [metadata]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BearerChallenge {
    /// Candidates for the URL of the protected resource metadata, as written and unchecked, in
    /// order; at most 8. A relative one is so to what was asked: [`BearerChallenge::asked_at`].
    pub resource_metadata: Vec<String>,
    /// The scopes that the request needs.
    pub scope: Option<ScopeSet>,
    /// The error code of RFC 6750 §3.1, made safe to show. Often absent, and no hint of how grave it
    /// is: servers say `invalid_request` where no token was sent.
    pub error: Option<String>,
    /// The server's explanation, made safe to show.
    pub error_description: Option<String>,
    /// The protection space, as written: not safe to show.
    pub realm: Option<String>,
}

impl BearerChallenge {
    /// Reads the headers of a 401 or 403; `None` if no challenge asks for a token.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(WWW_AUTHENTICATE).iter().map(|value| value.as_bytes());
        let mut challenges = Challenge::parse_all(lines);
        challenges.retain(|c| takes_a_token(&c.scheme));
        if challenges.is_empty() {
            return None;
        }
        let all = |name: &'static str| {
            challenges.iter().flat_map(move |c| c.all(name)).filter(|value| !value.is_empty())
        };
        let mut resource_metadata: Vec<String> = Vec::new();
        for url in all("resource_metadata") {
            if resource_metadata.len() == MAX_CANDIDATES {
                break;
            }
            if !resource_metadata.iter().any(|known| known == url) {
                resource_metadata.push(url.to_owned());
            }
        }
        Some(Self {
            resource_metadata,
            scope: all("scope").map(ScopeSet::parse).find(|scopes| !scopes.is_empty()),
            error: all("error").next().map(printable),
            error_description: all("error_description").next().map(printable),
            realm: all("realm").next().map(str::to_owned),
        })
    }

    /// The same as the answer to a request for `asked`: relative URLs are resolved against it, where
    /// they lead to its origin.
    #[must_use]
    pub fn asked_at(mut self, asked: &Url) -> Self {
        for text in &mut self.resource_metadata {
            if let Ok(url) = url::resolve("resource_metadata", asked, text)
                && Url::parse(text).is_err()
            {
                *text = url.into();
            }
        }
        self
    }

    /// Whether the token was good but may not do this (RFC 6750 §3.1).
    pub fn is_insufficient_scope(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }

    /// Whether the server says that the token is expired, revoked or malformed (RFC 6750 §3.1).
    pub fn is_invalid_token(&self) -> bool {
        self.error.as_deref() == Some("invalid_token")
    }
}

fn takes_a_token(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("Bearer") || scheme.eq_ignore_ascii_case("DPoP")
}

/// A cursor over one header line. Every step consumes what it looked at, or looks at it once more.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn read_into(mut self, found: &mut Vec<Challenge>) {
        // Where parameters go: before the first scheme of this line, nowhere.
        let mut current: Option<Challenge> = None;
        let mut may_begin = true;
        loop {
            may_begin |= self.skip_separators();
            if self.rest.is_empty() || found.len() == MAX_CHALLENGES {
                break;
            }
            let start = self.rest;
            let word = self.take_while(is_token_char);
            let word_ends = self.rest.starts_with(is_separator) || self.rest.is_empty();
            if !word.is_empty() && self.skip_equals() {
                let value = self.value();
                if let Some(challenge) = &mut current
                    && challenge.params.len() < MAX_PARAMS
                {
                    challenge.params.push((word.to_ascii_lowercase(), value));
                }
            } else if !word.is_empty() && word_ends && (may_begin || takes_a_token(word)) {
                found.extend(current.take());
                let token68 = self.token68().map(str::to_owned);
                current = Some(Challenge { scheme: word.to_owned(), token68, params: Vec::new() });
            } else {
                self.rest = start;
                self.bare_value();
            }
            may_begin = false;
        }
        if found.len() < MAX_CHALLENGES {
            found.extend(current);
        }
    }

    /// Skips whitespace and commas; tells whether there was a comma.
    fn skip_separators(&mut self) -> bool {
        self.take_while(is_separator).contains(',')
    }

    /// Skips `=` and the whitespace around it, if there is one.
    fn skip_equals(&mut self) -> bool {
        let Some(rest) = self.rest.trim_ascii_start().strip_prefix('=') else { return false };
        self.rest = rest.trim_ascii_start();
        true
    }

    fn value(&mut self) -> String {
        if let Some(rest) = self.rest.strip_prefix('"') {
            self.rest = rest;
            return self.quoted();
        }
        // Single quotes are ordinary characters by the grammar, but some servers mean them.
        if let Some(rest) = self.rest.strip_prefix('\'')
            && let Some(end) = rest.find(['\'', '"'])
            && rest[end..].starts_with('\'')
        {
            self.rest = &rest[end + 1..];
            return rest[..end].to_owned();
        }
        self.bare_value().to_owned()
    }

    /// The rest of a quoted string, unescaped. One that isn't closed goes to the end of the line.
    fn quoted(&mut self) -> String {
        let mut value = String::new();
        let mut chars = self.rest.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => value.extend(chars.next()),
                c => value.push(c),
            }
        }
        self.rest = chars.as_str();
        value
    }

    /// Whatever stands before the next space or comma: unquoted URLs have many a character that the
    /// grammar forbids. A quoted part belongs to it as a whole.
    fn bare_value(&mut self) -> &'a str {
        let start = self.rest;
        loop {
            self.take_while(|c| c != '"' && !is_separator(c));
            let Some(rest) = self.rest.strip_prefix('"') else { break };
            self.rest = rest;
            self.quoted();
        }
        &start[..start.len() - self.rest.len()]
    }

    /// The token68 after a scheme, if that's all that stands before the next comma.
    fn token68(&mut self) -> Option<&'a str> {
        let start = self.rest.trim_ascii_start();
        let end = start.trim_start_matches(is_token68_char);
        if end.len() == start.len() {
            return None;
        }
        let end = end.trim_start_matches('=');
        let after = end.trim_ascii_start();
        if !after.is_empty() && !after.starts_with(',') {
            return None;
        }
        self.rest = after;
        Some(&start[..start.len() - end.len()])
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let (head, rest) =
            self.rest.split_at(self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len()));
        self.rest = rest;
        head
    }
}

fn is_separator(c: char) -> bool {
    c == ',' || c.is_ascii_whitespace()
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// `token68` of RFC 9110 §11.2, without the padding.
fn is_token68_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/".contains(c)
}

#[cfg(test)]
mod tests;
