//! A host, as the stories see it.

use std::marker::PhantomData;

use http::{Request, Response};
use mcp_auth::output::Page;
use mcp_auth::{Discovery, Error, Grant, Logout, Need, TokenStatus};
use mcp_auth_host::desk::{Asking, SendError};
use mcp_auth_host::setup::Setup;

/// One session of a host. Its methods are those of the host's own session; all may block.
#[expect(missing_docs, reason = "they are documented there")]
#[expect(clippy::missing_errors_doc, reason = "see above")]
pub trait Host: Clone + Send + Sync + 'static {
    fn open(setup: Setup) -> Result<Self, Error>;
    fn token(&self, need: &Need, asking: Asking) -> Result<Option<Grant>, Error>;
    fn login(&self) -> Result<Option<Grant>, Error>;
    fn inspect(&self) -> Result<Option<Discovery>, Error>;
    fn logout(&self) -> Result<Logout, Error>;
    fn forget(&self) -> Result<(), Error>;
    fn load(&self) -> Result<Option<TokenStatus>, Error>;
    fn send(
        &self,
        request: Request<Vec<u8>>,
        need: &Need,
        asking: Asking,
    ) -> Result<Response<Vec<u8>>, SendError>;
    fn redirected(&self, url: String);
    fn came_back(&self, url: String) -> Page;
    fn cancel(&self);
    fn discovery(&self) -> Option<Discovery>;
    fn status(&self) -> Option<TokenStatus>;

    /// A session with the MCP server at this URL.
    fn builder(server: impl Into<String>) -> Build<Self> {
        Setup::new(server.into()).into()
    }
}

/// What a session of some host is made of.
pub struct Build<H> {
    /// As hosts take it.
    pub setup: Setup,
    host: PhantomData<H>,
}

impl<H> From<Setup> for Build<H> {
    fn from(setup: Setup) -> Self {
        Self { setup, host: PhantomData }
    }
}

impl<H: Host> Build<H> {
    mcp_auth_host::setup_methods!();

    /// The session.
    ///
    /// # Errors
    ///
    /// As the host has them.
    pub fn build(self) -> Result<H, Error> {
        H::open(self.setup)
    }
}
