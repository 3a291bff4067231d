//! Token revocation: RFC 7009 §2. The client proves itself as at the token endpoint.

use ::url::{Url, form_urlencoded};
use http::{HeaderMap, Request, StatusCode};

use super::failure::{Failure, is_page};
use super::token::{AuthMethod, basic_credentials, identify, post, set_authorization};
use crate::{Secret, UnixTime};

const DOCUMENT: &str = "revocation reply";

/// What kind of token is given back: `token_type_hint` (RFC 7009 §2.1).
///
/// ```
/// use mcp_auth::wire::revocation::TokenTypeHint;
///
/// // The refresh token first: access tokens end with it.
/// let order = [TokenTypeHint::RefreshToken, TokenTypeHint::AccessToken];
/// assert_eq!(order.map(TokenTypeHint::as_str), ["refresh_token", "access_token"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenTypeHint {
    /// `refresh_token`. Servers should end the access tokens of the same grant with it.
    RefreshToken,
    /// `access_token`.
    AccessToken,
}

impl TokenTypeHint {
    /// The registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RefreshToken => "refresh_token",
            Self::AccessToken => "access_token",
        }
    }
}

/// Everything that a revocation request says.
///
/// ```
/// use mcp_auth::wire::revocation::{RevocationRequest, TokenTypeHint};
/// use mcp_auth::wire::token::AuthMethod;
///
/// // RFC 7009 §2.1.
/// let request = RevocationRequest {
///     endpoint: &"https://server.example.com/revoke".parse()?,
///     token: &"45ghiukldjahdnhzdauz".into(),
///     hint: TokenTypeHint::RefreshToken,
///     client_id: "s6BhdRkqt3",
///     client_secret: Some(&"gX1fBat3bV".into()),
///     auth_method: AuthMethod::Basic,
/// };
/// let post = request.to_http();
/// assert_eq!(post.headers()["authorization"], "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
/// assert!(post.body().starts_with(b"token=45ghiukldjahdnhzdauz&token_type_hint=refresh_token"));
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Clone, Copy)]
pub struct RevocationRequest<'a> {
    /// The revocation endpoint.
    pub endpoint: &'a Url,
    /// The token that shall end.
    pub token: &'a Secret<String>,
    /// Its kind.
    pub hint: TokenTypeHint,
    /// The client that it was issued to.
    pub client_id: &'a str,
    /// That client's secret; without one the client is public, whatever `auth_method` says.
    pub client_secret: Option<&'a Secret<String>>,
    /// How the secret travels.
    pub auth_method: AuthMethod,
}

impl RevocationRequest<'_> {
    /// The POST to send. It holds secrets: the header is marked sensitive, the body is the caller's
    /// to keep out of logs.
    pub fn to_http(&self) -> Request<Vec<u8>> {
        let mut params =
            vec![("token", self.token.expose().as_str()), ("token_type_hint", self.hint.as_str())];
        let basic = identify(&mut params, self.client_id, self.client_secret, self.auth_method);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&params).finish();
        let mut request = post(self.endpoint, "application/x-www-form-urlencoded", body.into());
        if let Some(secret) = basic {
            set_authorization(&mut request, &basic_credentials(self.client_id, secret));
        }
        request
    }
}

/// What a server did with something that was given back.
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use mcp_auth::UnixTime;
/// use mcp_auth::wire::revocation::{self, Revoked};
///
/// let (headers, now) = (HeaderMap::new(), UnixTime(1_790_000_000));
/// let ended = revocation::read(StatusCode::OK, &headers, b"", now)?;
/// assert_eq!(ended, Revoked::Done);
/// let body = br#"{ "error": "unsupported_token_type" }"#; // RFC 7009 §2.2.1
/// let kept = revocation::read(StatusCode::BAD_REQUEST, &headers, body, now)?;
/// assert_eq!(kept, Revoked::Unsupported);
/// # Ok::<(), mcp_auth::wire::failure::Failure>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// It has ended, or was not known any more, which is the same.
    Done,
    /// The server doesn't end this kind; it lives until it expires.
    Unsupported,
}

/// Reads the answer of a revocation endpoint (RFC 7009 §2.2): any success means that the token is
/// invalid, also where the server never knew it; its body says nothing, unless it is a web page, from
/// something before the server.
///
/// # Errors
///
/// See [`Failure::read`]; but `unsupported_token_type` (§2.2.1) is [`Revoked::Unsupported`].
pub fn read(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: UnixTime,
) -> Result<Revoked, Failure> {
    if status.is_success() && !is_page(headers, body) {
        return Ok(Revoked::Done);
    }
    match Failure::read(DOCUMENT, status, headers, body, now) {
        Failure::Refused { error, .. } if error.error == "unsupported_token_type" => {
            Ok(Revoked::Unsupported)
        }
        failure => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{AUTHORIZATION, CONTENT_TYPE};
    use proptest::prelude::*;

    fn said(status: u16, body: &str) -> Result<Revoked, Failure> {
        let status = StatusCode::from_u16(status).unwrap();
        read(status, &HeaderMap::new(), body.as_bytes(), UnixTime(0))
    }

    fn request(secret: Option<&Secret>, auth_method: AuthMethod) -> Request<Vec<u8>> {
        let endpoint = Url::parse("https://a.example/revoke").unwrap();
        let (token, hint) = (Secret::from("t&1"), TokenTypeHint::RefreshToken);
        RevocationRequest {
            endpoint: &endpoint,
            token: &token,
            hint,
            client_id: "c",
            client_secret: secret,
            auth_method,
        }
        .to_http()
    }

    #[test]
    fn a_public_client_names_itself_in_the_form() {
        let request = request(None, AuthMethod::None);
        assert_eq!(request.uri(), "https://a.example/revoke");
        assert_eq!(request.body(), b"token=t%261&token_type_hint=refresh_token&client_id=c");
        assert!(!request.headers().contains_key(AUTHORIZATION));
        assert_eq!(request.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
    }

    #[test]
    fn a_secret_travels_as_at_the_token_endpoint() {
        let secret = Secret::from("s");
        let post = request(Some(&secret), AuthMethod::Post);
        assert!(post.body().ends_with(b"&client_id=c&client_secret=s"));
        let basic = request(Some(&secret), AuthMethod::Basic);
        assert!(basic.body().ends_with(b"&client_id=c"));
        assert_eq!(basic.headers()[AUTHORIZATION], "Basic Yzpz");
        assert!(basic.headers()[AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn any_success_ends_the_token_whatever_it_says() {
        for body in ["", "{}", "no JSON", r#"{"error":"ignored"}"#] {
            assert_eq!(said(200, body), Ok(Revoked::Done), "{body}");
        }
        assert_eq!(said(204, ""), Ok(Revoked::Done));
    }

    #[test]
    fn a_kind_that_the_server_does_not_end_is_no_failure() {
        let unsupported = r#"{"error":"unsupported_token_type"}"#;
        assert_eq!(said(400, unsupported), Ok(Revoked::Unsupported));
    }

    #[test]
    fn a_page_or_an_error_ends_nothing() {
        assert!(matches!(said(200, "<html>log in</html>"), Err(Failure::Passing { .. })));
        assert!(matches!(said(503, ""), Err(Failure::Passing { status: 503, .. })));
        let refused = said(401, r#"{"error":"invalid_client"}"#);
        assert!(matches!(refused, Err(Failure::Refused { status: 401, .. })));
        assert!(matches!(said(404, ""), Err(Failure::Malformed(_))));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(
            status in 100u16..600,
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let status = StatusCode::from_u16(status).unwrap();
            let _ = read(status, &HeaderMap::new(), &body, UnixTime(0));
        }
    }
}
