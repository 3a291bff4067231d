//! What a stored record says, for hosts that keep a part of it elsewhere too.

use crate::secret::Secret;
use crate::session::record::{Record, Registration};
use crate::session::tokens::Tokens;
use crate::time::UnixTime;
use crate::toolhive::CachedSession;
use crate::wire::Malformed;
use crate::wire::token::AuthMethod;

/// A stored login, read for its credentials. A store's hooks tell by it what has changed.
///
/// ```
/// use mcp_auth::SavedLogin;
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.log_in().unwrap();
/// # let record = s.store.text().into_bytes();
///
/// let login = SavedLogin::read(&record)?; // what `SaveCall::record` was
/// assert!(login.session.is_some(), "it renews itself");
/// println!("the access token expires at {:?}", login.expires_at);
/// # assert!(login.expires_at.is_some());
/// # Ok::<(), mcp_auth::wire::Malformed>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SavedLogin {
    /// The refresh token and whom it belongs to, if there is one.
    pub session: Option<CachedSession>,
    /// When the access token expires, if the server said so.
    pub expires_at: Option<UnixTime>,
    /// The client that was registered for it, if one was.
    pub client: Option<SavedClient>,
}

/// A client that was registered dynamically (RFC 7591), and what manages it (RFC 7592).
///
/// ```
/// use mcp_auth::SavedLogin;
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.log_in().unwrap();
/// # let record = s.store.text().into_bytes();
///
/// let client = SavedLogin::read(&record)?.client.unwrap();
/// println!("{} was registered with {}", client.client_id, client.issuer);
/// assert_eq!(client.callback_port(), Some(49152)); // of http://127.0.0.1:49152/callback
/// # Ok::<(), mcp_auth::wire::Malformed>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SavedClient {
    /// Whom it was registered with.
    pub issuer: String,
    /// Its identifier.
    pub client_id: String,
    /// Its secret, if it has one.
    pub client_secret: Option<Secret>,
    /// When that expires; `None` means never.
    pub secret_expires_at: Option<UnixTime>,
    /// The registration access token.
    pub registration_access_token: Option<Secret>,
    /// Where the registration is managed.
    pub registration_client_uri: Option<String>,
    /// How it authenticates at the token endpoint.
    pub auth_method: AuthMethod,
    /// The redirect URI that it was registered with.
    pub redirect_uri: String,
}

impl SavedLogin {
    /// Reads what a [`SaveCall`](crate::output::SaveCall) stored.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for anything else. No value is quoted.
    pub fn read(record: &[u8]) -> Result<Self, Malformed> {
        let record = Record::read(record)?;
        let tokens = record.tokens.as_ref();
        let mut clients = record.registrations.values().chain(&record.former);
        let own = tokens.and_then(|tokens| clients.find(|client| client.bought(tokens)));
        let client = own.or_else(|| record.registrations.values().next());
        Ok(Self {
            session: tokens.and_then(session),
            expires_at: tokens.and_then(|tokens| tokens.expires_at),
            client: client.map(SavedClient::of),
        })
    }
}

impl SavedClient {
    fn of(client: &Registration) -> Self {
        Self {
            issuer: client.issuer.clone(),
            client_id: client.client_id.clone(),
            client_secret: client.client_secret.clone(),
            secret_expires_at: client.secret_expires_at,
            registration_access_token: client.management_token.clone(),
            registration_client_uri: client.management_uri.clone(),
            auth_method: client.auth_method,
            redirect_uri: client.redirect_uri.clone(),
        }
    }

    /// The port of the redirect URI, if it names one.
    pub fn callback_port(&self) -> Option<u16> {
        url::Url::parse(&self.redirect_uri).ok()?.port()
    }
}

pub(crate) fn session(tokens: &Tokens) -> Option<CachedSession> {
    let token = tokens.refresh_token.clone()?;
    Some(CachedSession::new(token, &tokens.issuer, &tokens.token_endpoint))
}
