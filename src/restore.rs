//! A login that another program has made, to be taken up here.

use crate::secret::SecretSource;
use crate::time::UnixTime;

/// What another program, such as ToolHive, has kept of a login. Given to a machine that has no tokens
/// of its own ([`Event::Restore`](crate::Event::Restore)), the next demand for a token spends the
/// refresh token; what it brings is kept in the record, and this is not needed any more.
///
/// A failure of the network is waited out as one of a refresh is ([`Config::retry`](crate::Config::retry)):
/// by a few tries inside the attempt, then by a quiet phase in which callers get an error at once, with
/// the time until the next try ([`Error::retry_in`](crate::Error::retry_in)). It is saved, so that
/// restarts and the other programs on the store heed it; [`SessionState::Retrying`](crate::SessionState)
/// shows it. No person is asked meanwhile, unless a new login is asked for. Any other failure that may
/// pass keeps it for the next demand. Where the server refuses the refresh token, or nothing has worked
/// for `give_up_seconds`, a login is needed.
///
/// ```
/// use mcp_auth::{CachedClient, CachedLogin, CachedRegistration, Demand, Event, Need};
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.log_in()?;
/// # let saved = mcp_auth::SavedLogin::read(s.store.text().as_bytes()).unwrap();
/// # let (refresh_token, client_id) = (saved.session.unwrap().to_text(), saved.client.unwrap().client_id);
/// # s.crash();
/// # s.store = Default::default();
/// # let mut handle = |event| s.handle(event);
///
/// // What the other program has kept.
/// let client = CachedRegistration { client_id, ..CachedRegistration::default() };
/// let cached = CachedLogin::new(refresh_token).of(CachedClient::Registered(Box::new(client)));
/// handle(Event::Restore(cached));
/// handle(Event::Demand(Demand::background(Need::default()))); // nobody has to log in
/// # s.run();
/// # assert!(matches!(s.token(), mcp_auth::TokenState::Ready(_)));
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CachedLogin {
    /// The refresh token, or ToolHive's envelope around one, which says whom it belongs to: it is
    /// sent to no other then. A bare one goes to the server that the settings name, or, as ToolHive does
    /// it, to the one that the MCP server names where they name none: with a client that has nothing to
    /// prove itself by. Name its issuer in [`Config::client_issuer`](crate::Config::client_issuer), so
    /// that no other gets it.
    pub refresh_token: SecretSource,
    /// The client that it was issued to.
    pub client: CachedClient,
}

impl CachedLogin {
    /// Of the client that is configured.
    pub fn new(refresh_token: impl Into<SecretSource>) -> Self {
        Self { refresh_token: refresh_token.into(), client: CachedClient::Configured }
    }

    /// Of another client.
    #[must_use]
    pub fn of(self, client: CachedClient) -> Self {
        Self { client, ..self }
    }
}

/// The client of a [`CachedLogin`].
///
/// ```
/// use mcp_auth::{CachedClient, CachedLogin, Config, Secret};
///
/// let document = "https://notes.example.com/client.json".to_owned();
/// let cached = CachedLogin::new(Secret::from("tGzv3JOkF0XG5Qx2TlKWIA"))
///     .of(CachedClient::MetadataDocument(document.clone()));
/// let config = Config { client_metadata_url: Some(document), ..Config::default() };
/// config.check()?;
/// assert!(!matches!(cached.client, CachedClient::Configured));
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CachedClient {
    /// The configured one. With a secret, key or certificate it is shown to the authorization server
    /// that the settings or ToolHive's envelope name, or that it logged in with before; to none that was
    /// only discovered.
    Configured,
    /// This client ID metadata document; name it in `client_metadata_url` too, so that the tokens
    /// can be renewed.
    MetadataDocument(String),
    /// One that was registered dynamically. It is ours from now on, with its secrets.
    Registered(Box<CachedRegistration>),
}

/// A client that another program has registered (RFC 7591).
///
/// ```
/// use mcp_auth::toolhive::RemoteConfig;
/// use mcp_auth::{CachedClient, SecretRef};
///
/// let (remote, _) = RemoteConfig::from_json(br#"{
///     "cached_refresh_token_ref": "NOTES_REFRESH",
///     "cached_client_id": "s6BhdRkqt3", "cached_client_secret_ref": "NOTES_CLIENT",
///     "callback_port": 8666
/// }"#)?;
/// let CachedClient::Registered(client) = remote.import().cached.unwrap().client else { panic!() };
/// assert_eq!(client.client_id, "s6BhdRkqt3");
/// assert_eq!(client.client_secret, Some(SecretRef::Name("NOTES_CLIENT".into()).into()));
/// assert_eq!(client.redirect_uri.as_deref(), Some("http://localhost:8666/callback"));
/// # Ok::<(), mcp_auth::wire::Malformed>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CachedRegistration {
    /// Its identifier.
    pub client_id: String,
    /// Its secret, if it has one. It goes to the authorization server that the settings or ToolHive's
    /// envelope name, or that `registration_client_uri` is at; to none that was only discovered.
    pub client_secret: Option<SecretSource>,
    /// When that expires; `None` means never.
    pub secret_expires_at: Option<UnixTime>,
    /// `none`, `client_secret_basic` or `client_secret_post`. Default: `client_secret_basic` with a
    /// secret, else `none`.
    pub auth_method: Option<String>,
    /// The redirect URI that it was registered with.
    pub redirect_uri: Option<String>,
    /// The registration access token (RFC 7592).
    pub registration_access_token: Option<SecretSource>,
    /// Where the registration is managed (RFC 7592).
    pub registration_client_uri: Option<String>,
}
