//! Sources of tokens: one small trait, and what can be made of it without the rest.
//!
//! ```
//! use mcp_auth_host::tokens::{BearerTokenSource, PersistingTokenSource, TokenSource};
//!
//! let source = BearerTokenSource::new("a-token-from-somewhere");
//! assert_eq!(source.token()?.access_token.expose(), "a-token-from-somewhere");
//! # Ok::<(), mcp_auth::Error>(())
//! ```

use std::future::{Future, ready};
use std::sync::{Mutex, PoisonError};

use mcp_auth::toolhive::CachedSession;
use mcp_auth::{Error, ErrorKind, Grant, HostError, SavedClient, SavedLogin, Secret, UnixTime};

/// An access token, and what is known of it.
///
/// ```
/// use http::HeaderValue;
/// use mcp_auth::{Secret, UnixTime};
/// use mcp_auth_host::tokens::Token;
///
/// let token = Token::new(Secret::from("hush")).with(Some(UnixTime(1_900_000_000)), None);
/// let mut header = HeaderValue::from_str(&format!("Bearer {}", token.access_token.expose()))?;
/// header.set_sensitive(true);
/// assert!(!format!("{token:?} {header:?}").contains("hush"));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Token {
    /// The token, for `Authorization: Bearer`.
    pub access_token: Secret,
    /// When it expires; `None` where nobody knows, or never.
    pub expires_at: Option<UnixTime>,
    /// The refresh token behind it, and whom that belongs to.
    pub session: Option<CachedSession>,
}

impl Token {
    /// A token of which nothing else is known.
    pub fn new(access_token: Secret) -> Self {
        Self { access_token, expires_at: None, session: None }
    }

    /// The same with its end, and what renews it.
    #[must_use]
    pub fn with(self, expires_at: Option<UnixTime>, session: Option<CachedSession>) -> Self {
        Self { expires_at, session, ..self }
    }

    /// What a session has lent to its token source.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LoginRequired`] where it has none to lend.
    pub fn lent(grant: Option<Grant>, session: Option<CachedSession>) -> Result<Self, Error> {
        let Some(grant) = grant else {
            let reason = "the server no longer asks for authorization".into();
            return Err(ErrorKind::LoginRequired { reason, scopes: Default::default() }.into());
        };
        Ok(Self::new(grant.access_token()).with(grant.expires_at(), session))
    }
}

/// Gives a valid token, renewing it if needed. It may block.
///
/// ```
/// use std::path::PathBuf;
///
/// use mcp_auth::{Error, ErrorKind, HostError, Secret};
/// use mcp_auth_host::tokens::{Token, TokenSource};
///
/// /// A token that something else renews, in a file.
/// struct Mounted(PathBuf);
///
/// impl TokenSource for Mounted {
///     fn token(&self) -> Result<Token, Error> {
///         let text = std::fs::read_to_string(&self.0);
///         let text = Secret::new(text.map_err(|error| ErrorKind::Store(HostError::new(error)))?);
///         Ok(Token::new(Secret::from(text.expose().trim())))
///     }
/// }
///
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("token");
/// let source = Mounted(path.clone());
/// assert!(source.token().is_err());
/// std::fs::write(&path, "hush\n")?;
/// assert_eq!(source.token()?.access_token.expose(), "hush");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait TokenSource: Send + Sync {
    /// A token that can be sent now.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn token(&self) -> Result<Token, Error>;
}

/// The same for programs that don't block. It needs no runtime.
///
/// ```
/// use mcp_auth::Error;
/// use mcp_auth_host::tokens::{AsyncTokenSource, BearerTokenSource};
///
/// async fn header(source: &impl AsyncTokenSource) -> Result<String, Error> {
///     Ok(format!("Bearer {}", source.token().await?.access_token.expose()))
/// }
///
/// # use std::task::{Context, Poll, Waker};
/// # let source = BearerTokenSource::new("hush");
/// # let mut future = std::pin::pin!(header(&source));
/// # let Poll::Ready(header) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!() };
/// # assert_eq!(header?, "Bearer hush");
/// # Ok::<(), Error>(())
/// ```
pub trait AsyncTokenSource: Send + Sync {
    /// A token that can be sent now.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn token(&self) -> impl Future<Output = Result<Token, Error>> + Send;
}

/// The same token each time.
///
/// ```
/// use mcp_auth_host::tokens::{BearerTokenSource, TokenSource};
///
/// let sources: Vec<Box<dyn TokenSource>> = vec![Box::new(BearerTokenSource::new("hush"))];
/// let token = sources[0].token()?;
/// assert_eq!((token.access_token.expose().as_str(), token.expires_at), ("hush", None));
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BearerTokenSource(Secret);

impl BearerTokenSource {
    /// Of this token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(Secret::new(token.into()))
    }
}

impl TokenSource for BearerTokenSource {
    fn token(&self) -> Result<Token, Error> {
        Ok(Token::new(self.0.clone()))
    }
}

impl AsyncTokenSource for BearerTokenSource {
    fn token(&self) -> impl Future<Output = Result<Token, Error>> + Send {
        ready(TokenSource::token(self))
    }
}

/// Keeps a refresh token somewhere: a keychain, a vault, ToolHive's secret manager. What is kept is
/// [`CachedSession::to_text`], or [`CachedSession::token`] for those who want it bare.
///
/// Errors are shown to people: they must hold no secrets.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
///
/// use mcp_auth::toolhive::CachedSession;
/// use mcp_auth::{HostError, Secret, UnixTime};
/// use mcp_auth_host::tokens::TokenPersister;
///
/// /// The refresh token of each login, by a name.
/// #[derive(Default)]
/// struct Vault(Mutex<HashMap<String, Secret>>);
///
/// impl TokenPersister for Vault {
///     fn persist(&self, session: &CachedSession, _: Option<UnixTime>) -> Result<(), HostError> {
///         let mut secrets = self.0.lock().map_err(|_| HostError::new("the vault is broken"))?;
///         secrets.insert("notes".into(), session.to_text());
///         Ok(())
///     }
/// }
///
/// let vault = Vault::default();
/// # let (issuer, token_url) = ("https://as.example.com", "https://as.example.com/token");
/// let session = CachedSession::new("a refresh token".into(), issuer, token_url);
/// vault.persist(&session, None)?;
/// // What is kept is read back by the next program.
/// let kept = vault.0.lock().unwrap().remove("notes").unwrap();
/// assert_eq!(CachedSession::parse(&kept)?, session);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait TokenPersister: Send + Sync {
    /// Is called each time the refresh token is another. `expires_at` is the access token's.
    ///
    /// # Errors
    ///
    /// Why it isn't kept. It is tried again; nobody fails for it.
    fn persist(
        &self,
        session: &CachedSession,
        expires_at: Option<UnixTime>,
    ) -> Result<(), HostError>;
}

impl<F> TokenPersister for F
where
    F: Fn(&CachedSession, Option<UnixTime>) -> Result<(), HostError> + Send + Sync,
{
    fn persist(
        &self,
        session: &CachedSession,
        expires_at: Option<UnixTime>,
    ) -> Result<(), HostError> {
        self(session, expires_at)
    }
}

/// Keeps the credentials of a client that was registered dynamically.
///
/// Errors are shown to people: they must hold no secrets.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use mcp_auth::{HostError, SavedClient};
/// use mcp_auth_host::setup::Setup;
/// use mcp_auth_host::tokens::ClientCredentialsPersister;
///
/// #[derive(Clone, Default)]
/// struct Known(Arc<Mutex<Option<SavedClient>>>);
///
/// impl ClientCredentialsPersister for Known {
///     fn persist(&self, client: &SavedClient) -> Result<(), HostError> {
///         let mut known = self.0.lock().map_err(|_| HostError::new("the vault is broken"))?;
///         *known = Some(client.clone());
///         Ok(())
///     }
/// }
///
/// let known = Known::default();
/// // What a builder's `client_credentials_persister` does:
/// let setup = Setup {
///     client_credentials_persister: Some(Box::new(known.clone())),
///     ..Setup::new("https://mcp.example.com/mcp".into())
/// };
/// # use mcp_auth::{Action, Demand, Revision};
/// # use mcp_auth_host::desk::{Attempt, Errand as _, Job};
/// # use mcp_auth_host::store::{MemoryStore, Store as _};
/// # const RECORD: &[u8] = br#"{ "version": 2, "server": "https://mcp.example.com/mcp",
/// #     "registrations": { "https://as.example.com": {
/// #         "issuer": "https://as.example.com", "client_id": "notes-1", "auth_method": "none",
/// #         "redirect_uri": "http://127.0.0.1:49152/callback", "registered_at": 1790000000 } } }"#;
/// # let store = MemoryStore::new();
/// # store.save(RECORD, Revision::NOTHING)?;
/// # let mut opened = Setup { store: Box::new(store), ..setup }.open()?;
/// # Attempt::at(Demand::load()).begin(&mut opened.desk);
/// # while let Some(job) = opened.desk.next_job() {
/// #     match job {
/// #         Job::Do(Action::Load(call)) => drop(opened.hands.load(&call, call.deadline())?),
/// #         _ => opened.desk.notices.clear(),
/// #     }
/// # }
/// // Once a login has been read or made:
/// assert_eq!(known.0.lock().unwrap().as_ref().unwrap().client_id, "notes-1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ClientCredentialsPersister: Send + Sync {
    /// Is called each time they are others.
    ///
    /// # Errors
    ///
    /// Why they aren't kept. It is tried again; nobody fails for it.
    fn persist(&self, client: &SavedClient) -> Result<(), HostError>;
}

impl<F> ClientCredentialsPersister for F
where
    F: Fn(&SavedClient) -> Result<(), HostError> + Send + Sync,
{
    fn persist(&self, client: &SavedClient) -> Result<(), HostError> {
        self(client)
    }
}

/// What was last kept, and why something isn't.
#[derive(Debug, Default)]
struct Kept {
    session: Option<CachedSession>,
    client: Option<SavedClient>,
    failure: Option<HostError>,
}

/// Hands the tokens of another source on, and their refresh tokens to a persister.
///
/// ```
/// use std::sync::Mutex;
///
/// use mcp_auth::UnixTime;
/// use mcp_auth::toolhive::CachedSession;
/// use mcp_auth_host::tokens::{PersistingTokenSource, TokenSource};
///
/// # use mcp_auth::Error;
/// # use mcp_auth_host::tokens::Token;
/// # struct Renewing;
/// # impl TokenSource for Renewing {
/// #     fn token(&self) -> Result<Token, Error> {
/// #         let (issuer, token_url) = ("https://as.example.com", "https://as.example.com/token");
/// #         let session = CachedSession::new("a refresh token".into(), issuer, token_url);
/// #         Ok(Token::new("hush".into()).with(None, Some(session)))
/// #     }
/// # }
/// # let source = Renewing;
/// let kept = Mutex::new(Vec::new());
/// let keep = |session: &CachedSession, _expires_at: Option<UnixTime>| {
///     kept.lock().unwrap().push(session.to_text());
///     Ok(())
/// };
/// let source = PersistingTokenSource::new(source, keep);
/// source.token()?;
/// source.token()?; // with the same refresh token behind it
/// assert_eq!(kept.lock().unwrap().len(), 1);
/// assert!(source.failure().is_none());
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Debug)]
pub struct PersistingTokenSource<S, P> {
    source: S,
    persister: P,
    kept: Mutex<Kept>,
}

impl<S, P: TokenPersister> PersistingTokenSource<S, P> {
    /// The first refresh token that comes is told, too.
    pub fn new(source: S, persister: P) -> Self {
        Self { source, persister, kept: Mutex::default() }
    }

    /// Why the last refresh token isn't kept, if it isn't.
    pub fn failure(&self) -> Option<HostError> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).failure.clone()
    }

    fn hand_on(&self, token: Token) -> Token {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &token.session {
            kept.session(session, token.expires_at, &self.persister);
        }
        token
    }
}

impl Kept {
    /// What could not be kept is tried again the next time.
    fn session(
        &mut self,
        session: &CachedSession,
        expires_at: Option<UnixTime>,
        persister: &dyn TokenPersister,
    ) {
        if self.session.as_ref() != Some(session) {
            match persister.persist(session, expires_at) {
                Ok(()) => (self.session, self.failure) = (Some(session.clone()), None),
                Err(error) => self.failure = Some(error),
            }
        }
    }

    fn client(&mut self, client: &SavedClient, persister: &dyn ClientCredentialsPersister) {
        if self.client.as_ref() != Some(client) {
            match persister.persist(client) {
                Ok(()) => (self.client, self.failure) = (Some(client.clone()), None),
                Err(error) => self.failure = Some(error),
            }
        }
    }
}

impl<S: TokenSource, P: TokenPersister> TokenSource for PersistingTokenSource<S, P> {
    fn token(&self) -> Result<Token, Error> {
        self.source.token().map(|token| self.hand_on(token))
    }
}

impl<S: AsyncTokenSource, P: TokenPersister> AsyncTokenSource for PersistingTokenSource<S, P> {
    async fn token(&self) -> Result<Token, Error> {
        self.source.token().await.map(|token| self.hand_on(token))
    }
}

/// Who is told when a record is saved: see [`HookedStore`](crate::store::HookedStore).
#[derive(Default)]
pub(crate) struct Hooks {
    tokens: Option<Box<dyn TokenPersister>>,
    client: Option<Box<dyn ClientCredentialsPersister>>,
    kept: Mutex<Kept>,
}

impl Hooks {
    pub(crate) fn new(
        tokens: Option<Box<dyn TokenPersister>>,
        client: Option<Box<dyn ClientCredentialsPersister>>,
    ) -> Self {
        Self { tokens, client, kept: Mutex::default() }
    }

    /// Why something isn't kept, if it isn't.
    pub(crate) fn failure(&self) -> Option<HostError> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).failure.clone()
    }

    /// Tells what is new in a record that was saved or loaded.
    pub(crate) fn seen(&self, record: &[u8]) {
        if self.tokens.is_none() && self.client.is_none() {
            return;
        }
        let Ok(login) = SavedLogin::read(record) else { return };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(client), Some(persister)) = (&login.client, &self.client) {
            kept.client(client, &**persister);
        }
        if let (Some(session), Some(persister)) = (&login.session, &self.tokens) {
            kept.session(session, login.expires_at, &**persister);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Gives these sessions in turn, the last one for ever.
    struct Turns(Vec<&'static str>, AtomicUsize);

    impl TokenSource for Turns {
        fn token(&self) -> Result<Token, Error> {
            let turn = self.1.fetch_add(1, Ordering::SeqCst).min(self.0.len() - 1);
            let session = Some(self.0[turn]).filter(|token| !token.is_empty());
            let session = session.map(|token| CachedSession::new(token.into(), "i", "t"));
            Ok(Token::new("access".into()).with(Some(UnixTime(7)), session))
        }
    }

    impl AsyncTokenSource for Turns {
        fn token(&self) -> impl Future<Output = Result<Token, Error>> + Send {
            ready(TokenSource::token(self))
        }
    }

    #[test]
    fn a_bearer_token_is_the_same_each_time_and_never_expires() {
        let source = BearerTokenSource::new("hush");
        for _ in 0..2 {
            let token = TokenSource::token(&source).unwrap();
            assert_eq!((token.access_token.expose().as_str(), token.expires_at), ("hush", None));
        }
        assert!(!format!("{source:?}").contains("hush"));
    }

    #[test]
    fn a_refresh_token_is_kept_when_it_is_another_and_a_failure_is_nobodys() {
        let seen = Mutex::new(Vec::new());
        let persister = |session: &CachedSession, expires_at: Option<UnixTime>| {
            assert_eq!(expires_at, Some(UnixTime(7)));
            let mut seen = seen.lock().unwrap();
            seen.push(session.token().expose().clone());
            if seen.len() == 1 { Err(HostError::new("the vault is locked")) } else { Ok(()) }
        };
        let source = Turns(vec!["", "a", "a", "a", "b", "b"], AtomicUsize::new(0));
        let source = PersistingTokenSource::new(source, persister);
        for turn in 0..8 {
            TokenSource::token(&source).unwrap();
            assert_eq!(source.failure().is_some(), turn == 1, "{turn}");
        }
        assert_eq!(*seen.lock().unwrap(), ["a", "a", "b"]);
    }

    #[test]
    fn it_works_without_blocking_and_without_a_runtime() {
        let count = AtomicUsize::new(0);
        let kept = |_: &CachedSession, _: Option<UnixTime>| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let source = PersistingTokenSource::new(Turns(vec!["a"], AtomicUsize::new(0)), kept);
        let mut future = std::pin::pin!(AsyncTokenSource::token(&source));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(token) = future.as_mut().poll(&mut context) else { panic!() };
        assert_eq!(token.unwrap().access_token.expose(), "access");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
