//! Tokens for programs that send their requests themselves.

use mcp_auth::{CachedLogin, Config, Error, Need};
use mcp_auth_host::desk::Asking;
use mcp_auth_host::tokens::{Token, TokenSource};

use crate::session::Session;

/// Lends a session's tokens, renewed when they have to be. Nobody is asked: where a person has to log
/// in anew, the error is [`ErrorKind::LoginRequired`](mcp_auth::ErrorKind::LoginRequired).
///
/// ```
/// use mcp_auth::{CachedLogin, Config};
/// use mcp_auth_ureq::SessionTokenSource;
/// use mcp_auth_ureq::tokens::TokenSource;
///
/// # let server = mcp_auth_host::serve::Server::start(|_| {
/// #     let answer = http::Response::builder().header("content-type", "application/json");
/// #     let tokens = br#"{"access_token":"fresh","token_type":"Bearer","expires_in":3600}"#;
/// #     answer.body(tokens.to_vec()).unwrap()
/// # })?;
/// # let url = server.url();
/// let config = Config {
///     client_id: Some("notes".into()),
///     issuer: Some(url.clone()),
///     authorize_url: Some(format!("{url}/authorize")),
///     token_url: Some(format!("{url}/token")),
///     ..Config::default()
/// };
/// let cached = CachedLogin::new(mcp_auth::Secret::from("a refresh token"));
/// let source = SessionTokenSource::from_cached(&url, config, cached)?;
/// assert_eq!(source.token()?.access_token.expose(), "fresh");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SessionTokenSource {
    session: Session,
}

impl SessionTokenSource {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }

    /// Of a login that another program has made: the first use spends its refresh token, and from
    /// then on it renews itself. With `authorize_url` and `token_url` in the settings, that is the
    /// only request.
    ///
    /// # Errors
    ///
    /// A URL or setting that can't be used. Nothing is sent yet.
    pub fn from_cached(
        server: impl Into<String>,
        config: Config,
        cached: CachedLogin,
    ) -> Result<Self, Error> {
        Ok(Session::builder(server).config(config).restore(cached).build()?.token_source())
    }

    /// The session: [`Session::send`] does more than a token can, such as a step-up.
    pub fn session(&self) -> &Session {
        &self.session
    }
}

impl TokenSource for SessionTokenSource {
    fn token(&self) -> Result<Token, Error> {
        let grant = self.session.token(&Need::default(), Asking::Never)?;
        Token::lent(grant, self.session.cached_session())
    }
}
