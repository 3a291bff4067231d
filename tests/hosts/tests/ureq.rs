//! The contract of hosts, over the blocking one.

mod stories;

use http::{Request, Response};
use mcp_auth::output::Page;
use mcp_auth::{Discovery, Error, Grant, Logout, Need, TokenStatus};
use mcp_auth_host::desk::{Asking, SendError};
use mcp_auth_host::setup::Setup;
use mcp_auth_ureq::{Builder, Session};

#[derive(Clone)]
struct Host(Session);

impl mcp_auth_hosts::Host for Host {
    fn open(setup: Setup) -> Result<Self, Error> {
        Builder::from(setup).build().map(Self)
    }

    fn token(&self, need: &Need, asking: Asking) -> Result<Option<Grant>, Error> {
        self.0.token(need, asking)
    }

    fn login(&self) -> Result<Option<Grant>, Error> {
        self.0.login()
    }

    fn inspect(&self) -> Result<Option<Discovery>, Error> {
        self.0.inspect()
    }

    fn logout(&self) -> Result<Logout, Error> {
        self.0.logout()
    }

    fn forget(&self) -> Result<(), Error> {
        self.0.forget()
    }

    fn load(&self) -> Result<Option<TokenStatus>, Error> {
        self.0.load()
    }

    fn send(
        &self,
        request: Request<Vec<u8>>,
        need: &Need,
        asking: Asking,
    ) -> Result<Response<Vec<u8>>, SendError> {
        self.0.send(request, need, asking)
    }

    fn redirected(&self, url: String) {
        self.0.redirected(url);
    }

    fn came_back(&self, url: String) -> Page {
        self.0.came_back(url)
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
