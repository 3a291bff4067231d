//! What a session is made of.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mcp_auth::output::ShowCodeCall;
use mcp_auth::{CachedLogin, Config, Error, HostError, Notice};
use mcp_auth_host::browser::{Browser, SystemBrowser};
use mcp_auth_host::secrets::SecretProvider;
use mcp_auth_host::signer::Signer;
use mcp_auth_host::store::{MemoryStore, Store};
use mcp_auth_host::tokens::{ClientCredentialsPersister, Hooks, TokenPersister};

use crate::hands::ShowCode;
use crate::network::{Lookup, Road};
use crate::session::Session;

/// Builds a [`Session`].
pub struct Builder {
    pub(crate) server: String,
    pub(crate) config: Config,
    pub(crate) store: Box<dyn Store>,
    pub(crate) browser: Box<dyn Browser>,
    pub(crate) show_code: Option<ShowCode>,
    pub(crate) secrets: Option<Box<dyn SecretProvider>>,
    pub(crate) signer: Option<Box<dyn Signer>>,
    pub(crate) cached: Option<CachedLogin>,
    pub(crate) hooks: Hooks,
    pub(crate) on_notice: Box<dyn Fn(&Notice) + Send + Sync>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) program: Option<String>,
    pub(crate) agent: Option<ureq::Agent>,
    pub(crate) resolver: Option<Lookup>,
    pub(crate) road: Road,
    pub(crate) max_body: usize,
}

impl Builder {
    pub(crate) fn new(server: String) -> Self {
        Self {
            server,
            config: Config::default(),
            store: Box::new(MemoryStore::new()),
            browser: Box::new(SystemBrowser::new()),
            show_code: None,
            secrets: None,
            signer: None,
            cached: None,
            hooks: Hooks::default(),
            on_notice: Box::new(|_| {}),
            timeout: None,
            program: None,
            agent: None,
            resolver: None,
            road: Arc::new(|address| address),
            max_body: 16 << 20,
        }
    }

    /// The settings. Default: [`Config::default`], the specification's.
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

    /// Shows the person a code to enter on another device (RFC 8628), and where, and returns: where no
    /// browser can be opened, or always, as [`device_grant`](Config::device_grant) says. Default:
    /// nothing does.
    ///
    /// ```
    /// # let builder = mcp_auth_ureq::Session::builder("https://mcp.example.com/mcp");
    /// let builder = builder.show_code(|code| {
    ///     println!("Open {} and enter {}", code.verification_uri(), code.user_code());
    ///     Ok(())
    /// });
    /// ```
    #[must_use]
    pub fn show_code(
        self,
        show: impl Fn(&ShowCodeCall) -> Result<(), HostError> + Send + Sync + 'static,
    ) -> Self {
        Self { show_code: Some(Box::new(show)), ..self }
    }

    /// What keeps the secrets that the settings [name](mcp_auth::SecretRef::Name). Default: nothing;
    /// files and variables are read all the same.
    #[must_use]
    pub fn secrets(self, provider: impl SecretProvider + 'static) -> Self {
        Self { secrets: Some(Box::new(provider)), ..self }
    }

    /// What has the keys that the settings name ([`client_key`](mcp_auth::Config::client_key)), and signs
    /// with them. Default: PEM files, variables, and the [secret provider](Self::secrets) for names.
    #[must_use]
    pub fn signer(self, signer: impl Signer + 'static) -> Self {
        Self { signer: Some(Box::new(signer)), ..self }
    }

    /// A login that another program has made: it is taken up when a token is first needed, unless
    /// the store has one.
    #[must_use]
    pub fn restore(self, cached: CachedLogin) -> Self {
        Self { cached: Some(cached), ..self }
    }

    /// Is told each refresh token: the stored one when it is first read, and each new one once the
    /// store has it, before a token is lent.
    #[must_use]
    pub fn token_persister(mut self, persister: impl TokenPersister + 'static) -> Self {
        self.hooks.set_token_persister(persister);
        self
    }

    /// Is told the client that is registered dynamically, likewise.
    #[must_use]
    pub fn client_credentials_persister(
        mut self,
        persister: impl ClientCredentialsPersister + 'static,
    ) -> Self {
        self.hooks.set_client_credentials_persister(persister);
        self
    }

    /// Is told each transition, in order: for logs and progress lines. By the time a call returns,
    /// all that led to its result has been told.
    ///
    /// It is called from any thread, one at a time, and must not call the session's methods that
    /// block.
    #[must_use]
    pub fn on_notice(self, tell: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self { on_notice: Box::new(tell), ..self }
    }

    /// Bounds each call as a whole. Default: a minute more than a person may take in the browser
    /// (`login_timeout_seconds`).
    ///
    /// When it passes, the call returns; an attempt that nobody else waits for is cancelled.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// The name that the page at the end of a login calls the program by.
    #[must_use]
    pub fn program_name(self, name: impl Into<String>) -> Self {
        Self { program: Some(name.into()), ..self }
    }

    /// Sends all requests with the settings of this agent: its proxy, certificates, user agent,
    /// middleware. What this crate promises of redirects, status, time, this machine and [where
    /// requests may lead](crate#where-requests-may-lead) holds all the same.
    ///
    /// To keep that last promise, names are resolved and connections opened by this crate: a resolver
    /// or connector that the agent was made with isn't used ([`resolver`](Self::resolver) takes the
    /// one's place), nor are its open connections and cookies. TLS is rustls.
    #[must_use]
    pub fn agent(self, agent: ureq::Agent) -> Self {
        Self { agent: Some(agent), ..self }
    }

    /// Looks host names up here instead of at the system's resolver: for split-horizon DNS, and for
    /// tests. It is asked once for each request, for proxies too, and must come back in good time.
    ///
    /// What it answers is judged as any other answer is: it opens no way that is closed.
    #[must_use]
    pub fn resolver(
        self,
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { resolver: Some(Arc::new(lookup)), ..self }
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
