//! Many sessions in one process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp_auth::Error;

use crate::builder::{Builder, REFRESHES};
use crate::documents::Documents;
use crate::http_client::HttpClient;
use crate::session::Session;
use crate::timer::Common;

/// Whose session it is.
///
/// ```
/// use mcp_auth_tokio::{Key, Registry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mcp_auth::Error> {
/// let url = "https://mcp.example.com/mcp";
/// let sessions = Registry::new(|session, _key| session)?;
/// sessions.session(url, "alice")?;
///
/// let alice = Key { server: url.into(), account: "alice".into() };
/// assert_eq!(sessions.keys(), [alice.clone()]);
/// assert!(sessions.remove(&alice).is_some()); // she has left
/// assert!(sessions.keys().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The URL of the MCP server.
    pub server: String,
    /// Whose login it is, by the program's own name for them.
    pub account: String,
}

/// The sessions of a process, by server and account: as many as there are, with one HTTP client, one
/// task that renews tokens ahead of time, and a bound to how many refreshes are under way at once, in
/// all and at one server. Clones are the same registry.
///
/// What servers publish of themselves (RFC 9728, RFC 8414) is asked for once by all of its sessions, and
/// what came is handed on for as long as [the core says](mcp_auth::output::HttpCall::share_for): five
/// minutes at the most, for requests that are the same to the last byte and within the same bounds. So a
/// login, or [`Session::inspect`], may see what another session was answered minutes ago. Sessions
/// that are given an [HTTP client](Builder::client) of their own ask for themselves.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use mcp_auth::Config;
/// use mcp_auth_tokio::{Registry, store::FileStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("logins");
/// let files = FileStore::open(dir)?;
/// let config = Arc::new(Config { refresh_proactively: true, ..Config::default() });
/// let sessions = Registry::new(move |session, key| {
///     session.config(config.clone()).store(files.entry(&key.server, &key.account))
/// })?;
///
/// let alice = sessions.session("https://mcp.example.com/mcp", "alice")?;
/// assert!(alice.load().await?.is_none()); // she has not logged in yet
/// // Before the runtime ends:
/// assert!(sessions.shutdown(Duration::from_secs(10)).await.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Registry(Arc<Shared>);

type Furnish = Box<dyn Fn(Builder, &Key) -> Builder + Send + Sync>;

struct Shared {
    client: Arc<dyn HttpClient>,
    common: Common,
    furnish: Furnish,
    sessions: Mutex<HashMap<Key, Session>>,
}

impl Registry {
    /// With the default HTTP client. `furnish` says what is particular to a session: its store, above
    /// all. It must not call the registry.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoHttpClient`](mcp_auth::ErrorKind::NoHttpClient).
    pub fn new(
        furnish: impl Fn(Builder, &Key) -> Builder + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        Ok(Self::with(crate::default_client()?, REFRESHES, furnish))
    }

    /// With this HTTP client, and so many refreshes at a time at the most, half of them (rounded up) at
    /// one server: one that hangs leaves the rest to the others. Further ones wait for their turn, for 90 s, and then
    /// fail with [`HostError::throttled`](mcp_auth::HostError::throttled).
    ///
    /// Fewer than some hundreds leave threads for other blocking work, since each may wait for a store's
    /// lock.
    pub fn with(
        client: Arc<dyn HttpClient>,
        refreshes: usize,
        furnish: impl Fn(Builder, &Key) -> Builder + Send + Sync + 'static,
    ) -> Self {
        let documents = Some(Arc::new(Documents::new(client.clone())));
        let common = Common { documents, ..Common::new(refreshes) };
        let furnish = Box::new(furnish);
        Self(Arc::new(Shared { client, common, furnish, sessions: Mutex::default() }))
    }

    /// The session of this account at this server, made where there is none yet.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn session(
        &self,
        server: impl Into<String>,
        account: impl Into<String>,
    ) -> Result<Session, Error> {
        let key = Key { server: server.into(), account: account.into() };
        let mut sessions = self.sessions();
        if let Some(session) = sessions.get(&key) {
            return Ok(session.clone());
        }
        let builder = Session::builder(key.server.clone());
        let builder = builder.shared_client(self.0.client.clone()).common(self.0.common.clone());
        let session = (self.0.furnish)(builder, &key).build()?;
        sessions.insert(key, session.clone());
        Ok(session)
    }

    /// Takes a session out. It lives on with whoever has it, and in its store; nobody else renews its
    /// tokens ahead of time.
    pub fn remove(&self, key: &Key) -> Option<Session> {
        self.sessions().remove(key)
    }

    /// Whose sessions there are.
    pub fn keys(&self) -> Vec<Key> {
        self.sessions().keys().cloned().collect()
    }

    /// [Shuts down](Session::shutdown) all sessions at once, and takes them out: those that something
    /// is still on its way for, or that could not be saved.
    ///
    /// Cancel safe: it goes on, as long as the runtime does.
    pub async fn shutdown(&self, within: Duration) -> Vec<(Key, Error)> {
        let sessions: Vec<_> = self.sessions().drain().collect();
        // Tasks of their own: whoever drops this ends none of them.
        let ends: Vec<_> = sessions
            .into_iter()
            .map(|(key, session)| {
                (key, tokio::spawn(async move { session.shutdown(within).await }))
            })
            .collect();
        let mut failed = Vec::new();
        for (key, end) in ends {
            if let Ok(Err(error)) = end.await {
                failed.push((key, error));
            }
        }
        failed
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Key, Session>> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("sessions", &self.sessions().len()).finish_non_exhaustive()
    }
}
