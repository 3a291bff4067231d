//! Settings of a session, and what it is made of.

use std::time::Duration;

use mcp_auth::{Config, Error, Notice};
use mcp_auth_host::browser::{Browser, SystemBrowser};
use mcp_auth_host::store::{MemoryStore, Store};

use crate::session::Session;

/// Builds a [`Session`].
pub struct Builder {
    server: String,
    config: Config,
    store: Box<dyn Store>,
    browser: Box<dyn Browser>,
    on_notice: Box<dyn Fn(&Notice) + Send + Sync>,
    timeout: Option<Duration>,
    program: Option<String>,
    agent: Option<ureq::Agent>,
    max_body: usize,
}

impl Builder {
    pub(crate) fn new(server: String) -> Self {
        Self {
            server,
            config: Config::default(),
            store: Box::new(MemoryStore::new()),
            browser: Box::new(SystemBrowser::new()),
            on_notice: Box::new(|_| {}),
            timeout: None,
            program: None,
            agent: None,
            max_body: 16 << 20,
        }
    }

    /// The settings. Default: those of the specification.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// Where the login is kept. Default: in memory, until the program ends.
    #[must_use]
    pub fn store(self, store: impl Store + 'static) -> Self {
        Self { store: Box::new(store), ..self }
    }

    /// What shows the person a URL. Default: the system's browser.
    #[must_use]
    pub fn browser(self, browser: impl Browser + 'static) -> Self {
        Self { browser: Box::new(browser), ..self }
    }

    /// Is told each transition, in order, from whichever thread made it.
    #[must_use]
    pub fn on_notice(self, tell: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self { on_notice: Box::new(tell), ..self }
    }

    /// Bounds each call as a whole.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// The name that the page at the end of a login calls the program by.
    #[must_use]
    pub fn program_name(self, name: impl Into<String>) -> Self {
        Self { program: Some(name.into()), ..self }
    }

    /// Sends requests with this agent.
    #[must_use]
    pub fn agent(self, agent: ureq::Agent) -> Self {
        Self { agent: Some(agent), ..self }
    }

    /// The largest response body that [`Session::send`] takes, in bytes. Default 16 MiB.
    #[must_use]
    pub fn max_body(self, bytes: usize) -> Self {
        Self { max_body: bytes, ..self }
    }

    /// The session. Nothing is read or sent yet.
    ///
    /// # Errors
    ///
    /// A URL or setting that can't be used.
    pub fn build(self) -> Result<Session, Error> {
        Session::start(self)
    }
}
