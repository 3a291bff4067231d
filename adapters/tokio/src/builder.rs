//! What a session is made of.

use std::sync::Arc;

use mcp_auth::Error;
use mcp_auth_host::setup::Setup;

use crate::http_client::HttpClient;
use crate::session::Session;
use crate::timer::Common;

/// How many refreshes are under way at once, unless the program says otherwise.
pub(crate) const REFRESHES: usize = 64;

/// Builds a [`Session`].
///
/// Stores, browsers and secret providers may block: they are called on the runtime's threads for that.
pub struct Builder {
    pub(crate) setup: Setup,
    client: Option<Arc<dyn HttpClient>>,
    common: Option<Common>,
}

impl Builder {
    pub(crate) fn new(server: String) -> Self {
        Self::from(Setup::new(server))
    }

    mcp_auth_host::setup_methods!();

    /// The HTTP client. Default: a [`ReqwestClient`](crate::ReqwestClient) of its own, where the
    /// feature `reqwest` is on.
    #[must_use]
    pub fn client(self, client: impl HttpClient) -> Self {
        self.shared_client(Arc::new(client))
    }

    /// An HTTP client that others use, too.
    #[must_use]
    pub fn shared_client(self, client: Arc<dyn HttpClient>) -> Self {
        Self { client: Some(client), ..self }
    }

    /// The timer and the bounds of other sessions.
    pub(crate) fn common(self, common: Common) -> Self {
        Self { common: Some(common), ..self }
    }

    /// The session. Nothing is read or sent yet.
    ///
    /// # Errors
    ///
    /// A URL or setting that can't be used; [`ErrorKind::NoHttpClient`](mcp_auth::ErrorKind::NoHttpClient).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn build(self) -> Result<Session, Error> {
        let client = self.client.map_or_else(crate::default_client, Ok)?;
        let mut common = self.common.unwrap_or_else(|| Common::new(REFRESHES));
        common.documents = common.documents.filter(|documents| documents.are_of(&client));
        Ok(Session::open(self.setup.open()?, client, common))
    }
}

impl From<Setup> for Builder {
    fn from(setup: Setup) -> Self {
        Self { setup, client: None, common: None }
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("setup", &self.setup).finish_non_exhaustive()
    }
}
