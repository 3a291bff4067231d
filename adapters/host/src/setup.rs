//! What a session is made of, whatever host it runs on. The builders of hosts have one, and offer its
//! settings by [`setup_methods!`](crate::setup_methods).

use std::sync::Arc;
use std::time::Duration;

use mcp_auth::{
    AuthMachine, CachedLogin, Config, Entropy, Error, ErrorKind, Event, HostError, Notice,
};

use crate::browser::{Browser, SystemBrowser};
use crate::desk::Desk;
use crate::hands::{Hands, ShowCode};
use crate::secrets::SecretProvider;
use crate::signer::Signer;
use crate::store::{HookedStore, MemoryStore, Store};
use crate::system;
use crate::tokens::{ClientCredentialsPersister, Hooks, TokenPersister};

/// What a call is given beside the time that a person may take in the browser.
const MARGIN: Duration = Duration::from_secs(60);

/// Who is told notices.
///
/// ```
/// use mcp_auth_host::setup::{OnNotice, Setup};
///
/// let tell: OnNotice = Box::new(|notice| println!("{notice}"));
/// let setup = Setup { on_notice: tell, ..Setup::new("https://mcp.example.com/mcp".into()) };
/// assert!(setup.open().is_ok());
/// ```
pub type OnNotice = Box<dyn Fn(&Notice) + Send + Sync>;

/// The parts of a session.
///
/// ```
/// use std::time::Duration;
///
/// use mcp_auth::Error;
/// use mcp_auth_host::setup::{Opened, Setup};
///
/// /// Builds the sessions of a host.
/// struct Builder {
///     setup: Setup,
/// }
///
/// impl Builder {
///     mcp_auth_host::setup_methods!();
///
///     fn build(self) -> Result<Opened, Error> {
///         self.setup.open()
///     }
/// }
///
/// let builder = Builder { setup: Setup::new("https://mcp.example.com/mcp".into()) };
/// let opened = builder.timeout(Duration::from_secs(30)).program_name("Notes").build()?;
/// assert_eq!(opened.timeout, Duration::from_secs(30));
/// # Ok::<(), Error>(())
/// ```
#[expect(missing_docs, reason = "`setup_methods!` has the words")]
pub struct Setup {
    pub server: String,
    pub config: Arc<Config>,
    pub store: Box<dyn Store>,
    pub browser: Box<dyn Browser>,
    pub show_code: Option<ShowCode>,
    pub secrets: Option<Box<dyn SecretProvider>>,
    pub signer: Option<Box<dyn Signer>>,
    pub cached: Option<CachedLogin>,
    pub token_persister: Option<Box<dyn TokenPersister>>,
    pub client_credentials_persister: Option<Box<dyn ClientCredentialsPersister>>,
    pub on_notice: OnNotice,
    pub timeout: Option<Duration>,
    pub program: Option<String>,
    pub max_body: usize,
}

/// A session that has begun, in parts.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use mcp_auth_host::desk::Desk;
/// use mcp_auth_host::hands::Hands;
/// use mcp_auth_host::setup::{Opened, Setup};
///
/// /// A session, as its callers and its driver share it.
/// struct Session {
///     /// Held for one call at a time.
///     desk: Mutex<Desk>,
///     /// Whoever uses them may be blocked.
///     hands: Arc<Hands>,
/// }
///
/// let Opened { desk, hands, max_body, .. } = Setup::new("https://mcp.example.com/mcp".into()).open()?;
/// let session = Session { desk: Mutex::new(desk), hands: Arc::new(hands) };
/// assert!(!session.desk.lock().unwrap().has_work()); // nothing is read or sent yet
/// assert_eq!(max_body, 16 << 20);
/// # assert!(session.hands.not_persisted().is_none());
/// # Ok::<(), mcp_auth::Error>(())
/// ```
pub struct Opened {
    /// The machine, and who waits.
    pub desk: Desk,
    /// What actions need.
    pub hands: Hands,
    /// Who is told notices.
    pub on_notice: OnNotice,
    /// How long each call may take.
    pub timeout: Duration,
    /// The largest response body that is read, in bytes.
    pub max_body: usize,
}

impl Setup {
    /// A session with the MCP server at this URL.
    pub fn new(server: String) -> Self {
        Self {
            server,
            config: Arc::default(),
            store: Box::new(MemoryStore::new()),
            browser: Box::new(SystemBrowser::new()),
            show_code: None,
            secrets: None,
            signer: None,
            cached: None,
            token_persister: None,
            client_credentials_persister: None,
            on_notice: Box::new(|_| {}),
            timeout: None,
            program: None,
            max_body: 16 << 20,
        }
    }

    /// Begins it. Nothing is read or sent yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSetting`] for a URL or a setting that can't be used;
    /// [`ErrorKind::NoRandomness`].
    pub fn open(self) -> Result<Opened, Error> {
        let person = Duration::from_secs(self.config.login_timeout_seconds);
        let timeout = self.timeout.unwrap_or_else(|| person.saturating_add(MARGIN));
        let machine = AuthMachine::new(&self.server, self.config, entropy()?)?;
        let hooks = Hooks::new(self.token_persister, self.client_credentials_persister);
        let hooks = Arc::new(hooks);
        let hands = Hands {
            store: Box::new(HookedStore::new(self.store, hooks.clone())),
            hooks,
            browser: self.browser,
            show_code: self.show_code,
            secrets: self.secrets,
            signer: self.signer,
            program: self.program,
        };
        let mut desk = Desk::new(machine);
        if let Some(cached) = self.cached {
            desk.feed(Event::Restore(cached));
        }
        let (on_notice, max_body) = (self.on_notice, self.max_body);
        Ok(Opened { desk, hands, on_notice, timeout, max_body })
    }
}

/// The system's randomness.
pub(crate) fn entropy() -> Result<Entropy, Error> {
    let seed =
        system::random_seed().map_err(|error| ErrorKind::NoRandomness(HostError::new(error)))?;
    Ok(Entropy::from_bytes(seed))
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("desk", &self.desk).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The settings that every host's builder has, for one with a field `setup: Setup`.
#[doc(hidden)]
#[macro_export]
macro_rules! setup_methods {
    () => {
        /// The settings; shared where many sessions have the same. Default:
        /// [`Config::default`](mcp_auth::Config::default), the specification's.
        #[must_use]
        pub fn config(mut self, config: impl Into<::std::sync::Arc<::mcp_auth::Config>>) -> Self {
            self.setup.config = config.into();
            self
        }

        /// Where the login is kept. Default: in memory, until the program ends.
        #[must_use]
        pub fn store(mut self, store: impl $crate::store::Store + 'static) -> Self {
            self.setup.store = ::std::boxed::Box::new(store);
            self
        }

        /// What shows the person a URL. Default: the system's browser.
        #[must_use]
        pub fn browser(mut self, browser: impl $crate::browser::Browser + 'static) -> Self {
            self.setup.browser = ::std::boxed::Box::new(browser);
            self
        }

        /// Shows the person a code to enter on another device (RFC 8628), and where, and returns: where
        /// no browser can be opened, or always, as
        /// [`device_grant`](mcp_auth::Config::device_grant) says. Default: nothing does.
        ///
        /// ```
        /// # use mcp_auth::output::ShowCodeCall;
        /// # use mcp_auth::HostError;
        /// let show_code = |code: &ShowCodeCall| -> Result<(), HostError> {
        ///     println!("Open {} and enter {}", code.verification_uri(), code.user_code());
        ///     Ok(())
        /// };
        /// ```
        #[must_use]
        pub fn show_code(
            mut self,
            show: impl Fn(
                &::mcp_auth::output::ShowCodeCall,
            ) -> ::std::result::Result<(), ::mcp_auth::HostError>
            + Send
            + Sync
            + 'static,
        ) -> Self {
            self.setup.show_code = Some(::std::boxed::Box::new(show));
            self
        }

        /// What keeps the secrets that the settings [name](mcp_auth::SecretRef::Name). Default:
        /// nothing; files and variables are read all the same.
        #[must_use]
        pub fn secrets(mut self, provider: impl $crate::secrets::SecretProvider + 'static) -> Self {
            self.setup.secrets = Some(::std::boxed::Box::new(provider));
            self
        }

        /// What has the keys that the settings name
        /// ([`client_key`](mcp_auth::Config::client_key)), and signs with them. Default: PEM files,
        /// variables, and the [secret provider](Self::secrets) for names, where the host's feature
        /// `signer` is on.
        #[must_use]
        pub fn signer(mut self, signer: impl $crate::signer::Signer + 'static) -> Self {
            self.setup.signer = Some(::std::boxed::Box::new(signer));
            self
        }

        /// A login that another program has made: it is taken up when a token is first needed,
        /// unless the store has one.
        #[must_use]
        pub fn restore(mut self, cached: ::mcp_auth::CachedLogin) -> Self {
            self.setup.cached = Some(cached);
            self
        }

        /// Is told each refresh token: the stored one when it is first read, and each new one once
        /// the store has it, before a token is lent.
        #[must_use]
        pub fn token_persister(
            mut self,
            persister: impl $crate::tokens::TokenPersister + 'static,
        ) -> Self {
            self.setup.token_persister = Some(::std::boxed::Box::new(persister));
            self
        }

        /// Is told the client that is registered dynamically, likewise.
        #[must_use]
        pub fn client_credentials_persister(
            mut self,
            persister: impl $crate::tokens::ClientCredentialsPersister + 'static,
        ) -> Self {
            let persister = ::std::boxed::Box::new(persister);
            self.setup.client_credentials_persister = Some(persister);
            self
        }

        /// Is told each transition, in order: for logs and progress lines. By the time a call
        /// returns, all that led to its result has been told.
        ///
        /// It is called from any thread, one at a time. It must not wait for the session.
        #[must_use]
        pub fn on_notice(
            mut self,
            tell: impl Fn(&::mcp_auth::Notice) + Send + Sync + 'static,
        ) -> Self {
            self.setup.on_notice = ::std::boxed::Box::new(tell);
            self
        }

        /// Bounds each call as a whole. Default: a minute more than a person may take in the
        /// browser (`login_timeout_seconds`).
        ///
        /// When it passes, the call returns; an attempt that nobody else waits for is cancelled.
        #[must_use]
        pub fn timeout(mut self, timeout: ::std::time::Duration) -> Self {
            self.setup.timeout = Some(timeout);
            self
        }

        /// The name that the page at the end of a login calls the program by.
        #[must_use]
        pub fn program_name(mut self, name: impl Into<::std::string::String>) -> Self {
            self.setup.program = Some(name.into());
            self
        }

        /// The largest response body that `send` takes, in bytes. Default 16 MiB.
        #[must_use]
        pub fn max_body(mut self, bytes: usize) -> Self {
            self.setup.max_body = bytes;
            self
        }
    };
}
