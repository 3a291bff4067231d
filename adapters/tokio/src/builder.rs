//! What a session is made of.

use std::sync::Arc;
use std::time::Duration;

use mcp_auth::{Config, Error, Notice};
use mcp_auth_host::browser::{Browser, SystemBrowser};
use mcp_auth_host::store::{MemoryStore, Store};
use tokio::sync::Semaphore;

use crate::http_client::HttpClient;
use crate::session::Session;
use crate::timer::Timer;

/// How many refreshes of one process are under way at once, unless the program says otherwise.
const REFRESHES: usize = 64;

/// Builds a [`Session`].
pub struct Builder {
    pub(crate) server: String,
    pub(crate) config: Arc<Config>,
    pub(crate) store: Box<dyn Store>,
    pub(crate) browser: Box<dyn Browser>,
    pub(crate) on_notice: Box<dyn Fn(&Notice) + Send + Sync>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) program: Option<String>,
    pub(crate) client: Option<Arc<dyn HttpClient>>,
    pub(crate) timer: Timer,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) max_body: usize,
}

impl Builder {
    pub(crate) fn new(server: String) -> Self {
        Self {
            server,
            config: Arc::default(),
            store: Box::new(MemoryStore::new()),
            browser: Box::new(SystemBrowser::new()),
            on_notice: Box::new(|_| {}),
            timeout: None,
            program: None,
            client: None,
            timer: Timer::new(),
            permits: Arc::new(Semaphore::new(REFRESHES)),
            max_body: 16 << 20,
        }
    }

    /// The settings; shared where many sessions have the same. Default: [`Config::default`], the
    /// specification's.
    #[must_use]
    pub fn config(self, config: impl Into<Arc<Config>>) -> Self {
        Self { config: config.into(), ..self }
    }

    /// Where the login is kept. Default: in memory, until the program ends. Its calls may block: they
    /// are made on the runtime's threads for that.
    #[must_use]
    pub fn store(self, store: impl Store + 'static) -> Self {
        Self { store: Box::new(store), ..self }
    }

    /// What shows the person a URL. Default: the system's browser.
    #[must_use]
    pub fn browser(self, browser: impl Browser + 'static) -> Self {
        Self { browser: Box::new(browser), ..self }
    }

    /// Is told each transition, in order: for logs and progress lines. By the time a call returns,
    /// all that led to its result has been told.
    ///
    /// It is called from any thread, one at a time, must not block, and must not call the session.
    #[must_use]
    pub fn on_notice(self, tell: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self { on_notice: Box::new(tell), ..self }
    }

    /// How long a call takes at the longest. Default: a minute more than a person may take in the
    /// browser.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// The program's name, for the page that the browser shows in the end.
    #[must_use]
    pub fn program_name(self, name: impl Into<String>) -> Self {
        Self { program: Some(name.into()), ..self }
    }

    /// The HTTP client. Default: reqwest, where the feature of that name is on.
    #[must_use]
    pub fn client(self, client: impl HttpClient) -> Self {
        self.shared_client(Arc::new(client))
    }

    /// An HTTP client that several sessions share.
    #[must_use]
    pub fn shared_client(self, client: Arc<dyn HttpClient>) -> Self {
        Self { client: Some(client), ..self }
    }

    /// The most bytes of a response's body that [`Session::send`] reads. Default 16 MiB.
    #[must_use]
    pub fn max_body(self, bytes: usize) -> Self {
        Self { max_body: bytes, ..self }
    }

    /// Builds the session. Nothing is read or sent yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSetting`](mcp_auth::ErrorKind::InvalidSetting) for a URL or settings that
    /// can't be used, [`ErrorKind::NoRandomness`](mcp_auth::ErrorKind::NoRandomness), and where there
    /// is no HTTP client.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn build(self) -> Result<Session, Error> {
        Session::start(self)
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}
