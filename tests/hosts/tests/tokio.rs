//! The contract of hosts, over the async one.

mod stories;

use std::sync::OnceLock;

use http::{Request, Response};
use mcp_auth::output::Page;
use mcp_auth::{Discovery, Error, Grant, Logout, Need, TokenStatus};
use mcp_auth_host::desk::{Asking, SendError};
use mcp_auth_host::setup::Setup;
use mcp_auth_tokio::{Builder, Session};
use tokio::runtime::Runtime;

/// One for all, as in a program.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

#[derive(Clone)]
struct Host(Session);

impl mcp_auth_hosts::Host for Host {
    fn open(setup: Setup) -> Result<Self, Error> {
        let _within = runtime().enter();
        Builder::from(setup).build().map(Self)
    }

    fn token(&self, need: &Need, asking: Asking) -> Result<Option<Grant>, Error> {
        runtime().block_on(self.0.token(need, asking))
    }

    fn login(&self) -> Result<Option<Grant>, Error> {
        runtime().block_on(self.0.login())
    }

    fn inspect(&self) -> Result<Option<Discovery>, Error> {
        runtime().block_on(self.0.inspect())
    }

    fn logout(&self) -> Result<Logout, Error> {
        runtime().block_on(self.0.logout())
    }

    fn forget(&self) -> Result<(), Error> {
        runtime().block_on(self.0.forget())
    }

    fn load(&self) -> Result<Option<TokenStatus>, Error> {
        runtime().block_on(self.0.load())
    }

    fn send(
        &self,
        request: Request<Vec<u8>>,
        need: &Need,
        asking: Asking,
    ) -> Result<Response<Vec<u8>>, SendError> {
        runtime().block_on(self.0.send(request, need, asking))
    }

    fn redirected(&self, url: String) {
        self.0.redirected(url);
    }

    fn came_back(&self, url: String) -> Page {
        runtime().block_on(self.0.came_back(url))
    }

    fn cancel(&self) {
        self.0.cancel();
    }

    fn discovery(&self) -> Option<Discovery> {
        self.0.discovery()
    }

    fn status(&self) -> Option<TokenStatus> {
        self.0.status()
    }
}
