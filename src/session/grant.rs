//! What is lent to callers: a token that knows where it belongs.

use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::Url;

use crate::error::{Error, ErrorKind};
use crate::secret::Secret;
use crate::session::tokens::{Generation, Tokens};
use crate::text::printable_url;
use crate::time::UnixTime;
use crate::wire::url::resource_indicator;

/// The MCP server, as its operator wrote it and as it is compared.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) text: String,
    pub(crate) url: Url,
    /// What the settings add to requests to it.
    pub(crate) headers: HeaderMap,
}

impl Site {
    /// The server's URL as a resource indicator (RFC 8707 §2).
    pub(crate) fn indicator(&self) -> String {
        resource_indicator(&self.text).unwrap_or_else(|| self.text.clone())
    }

    /// Adds what the settings say, where the request hasn't its own, after
    /// [`check_home`](Self::check_home).
    pub(crate) fn dress(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            if !headers.contains_key(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
    }

    /// Whether a request to `uri` stays at this server's origin.
    pub(crate) fn check_home(&self, uri: &http::Uri) -> Result<(), Error> {
        let url = &self.url;
        let default = match uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        };
        let is_home = uri.scheme_str() == Some(url.scheme())
            && uri.host().zip(url.host_str()).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
            && Some(uri.port_u16().unwrap_or(default)) == url.port_or_known_default();
        if is_home {
            return Ok(());
        }
        Err(Error::from(ErrorKind::ForeignRequest {
            server: printable_url(&self.text),
            request: printable_url(&uri.to_string()),
        }))
    }
}

/// The loan of a valid token. Cheap to clone.
#[derive(Clone)]
pub struct Grant {
    site: Arc<Site>,
    header: HeaderValue,
    generation: Generation,
    expires_at: Option<UnixTime>,
}

impl Grant {
    pub(crate) fn new(site: Arc<Site>, header: HeaderValue, tokens: &Tokens) -> Self {
        Self { site, header, generation: tokens.generation, expires_at: tokens.expires_at }
    }

    /// A token from the configuration, of which nothing is known.
    pub(crate) fn fixed(site: Arc<Site>, header: HeaderValue, generation: Generation) -> Self {
        Self { site, header, generation, expires_at: None }
    }

    /// Adds `Authorization` to a request for the MCP server (RFC 6750 §2.1), replacing one that is
    /// there, and the settings' [`headers`](crate::Config::headers) that it hasn't.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`] where the request goes to another origin; it is left as it was.
    pub fn authorize<B>(&self, request: &mut http::Request<B>) -> Result<(), Error> {
        self.site.check_home(request.uri())?;
        self.site.dress(request.headers_mut());
        request.headers_mut().insert(AUTHORIZATION, self.header.clone());
        Ok(())
    }

    /// Which generation of tokens this is: a refusal names it again.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// When the token expires, if the server said so.
    pub fn expires_at(&self) -> Option<UnixTime> {
        self.expires_at
    }

    /// The access token itself, for transports that don't speak `http` types.
    pub fn access_token(&self) -> Secret {
        let value = self.header.to_str().unwrap_or_default();
        Secret::from(value.strip_prefix("Bearer ").unwrap_or_default())
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("server", &printable_url(&self.site.text))
            .field("generation", &self.generation)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// `Bearer …`, marked sensitive; `None` if the token doesn't fit a header field.
pub(crate) fn bearer(token: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}
