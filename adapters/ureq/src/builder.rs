//! What a session is made of.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use mcp_auth::Error;
use mcp_auth_host::setup::Setup;

use crate::network::{Lookup, Road};
use crate::session::Session;

/// Builds a [`Session`].
///
/// ```
/// use std::time::Duration;
///
/// use mcp_auth::Config;
/// use mcp_auth_ureq::{Session, store::FileStore};
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path().join("logins");
/// let url = "https://mcp.example.com/mcp";
/// let session = Session::builder(url)
///     .config(Config { refresh_proactively: true, ..Config::default() })
///     .store(FileStore::open(dir)?.entry(url, "work"))
///     .on_notice(|notice| println!("{notice}"))
///     .timeout(Duration::from_secs(300))
///     .program_name("Notes")
///     .build()?;
/// assert!(session.load()?.is_none()); // nobody has logged in yet
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Builder {
    pub(crate) setup: Setup,
    pub(crate) agent: Option<ureq::Agent>,
    pub(crate) resolver: Option<Lookup>,
    pub(crate) road: Road,
}

impl Builder {
    pub(crate) fn new(server: String) -> Self {
        Self::from(Setup::new(server))
    }

    mcp_auth_host::setup_methods!();

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

    /// The session. Nothing is read or sent yet.
    ///
    /// # Errors
    ///
    /// A URL or setting that can't be used.
    pub fn build(self) -> Result<Session, Error> {
        Session::start(self)
    }
}

impl From<Setup> for Builder {
    fn from(setup: Setup) -> Self {
        Self { setup, agent: None, resolver: None, road: Arc::new(|address| address) }
    }
}
