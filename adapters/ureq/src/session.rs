//! The session: what callers see.

use mcp_auth::{Discovery, Error, Grant, Need, TokenStatus};

use crate::builder::Builder;
use crate::error::SendError;

/// Whether a person may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asking {
    /// A background task: without a token it fails with "login required".
    Never,
    /// A person is there and expects a browser.
    Welcome,
}

/// One login at one MCP server. Clones are the same session.
#[derive(Clone)]
pub struct Session {}

impl Session {
    /// A session with the MCP server at this URL.
    pub fn builder(server: impl Into<String>) -> Builder {
        Builder::new(server.into())
    }

    pub(crate) fn start(_: Builder) -> Result<Self, Error> {
        unimplemented!()
    }

    /// A token for `need`; `None`: the server wants no authorization.
    pub fn token(&self, _need: &Need, _asking: Asking) -> Result<Option<Grant>, Error> {
        unimplemented!()
    }

    /// Logs in anew.
    pub fn login(&self) -> Result<Option<Grant>, Error> {
        unimplemented!()
    }

    /// Detection and discovery only; `None`: the server wants no authorization.
    pub fn inspect(&self) -> Result<Option<Discovery>, Error> {
        unimplemented!()
    }

    /// Forgets the login, in memory and in the store.
    pub fn logout(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Reads the stored record, and nothing else.
    pub fn load(&self) -> Result<Option<TokenStatus>, Error> {
        unimplemented!()
    }

    /// Sends a request with authorization.
    pub fn send(
        &self,
        _request: http::Request<Vec<u8>>,
        _need: &Need,
        _asking: Asking,
    ) -> Result<http::Response<Vec<u8>>, SendError> {
        unimplemented!()
    }

    /// Takes a redirect URL that the person pasted.
    pub fn redirected(&self, _url: String) {
        unimplemented!()
    }

    /// Ends what callers wait for.
    pub fn cancel(&self) {
        unimplemented!()
    }

    /// What discovery found when it was last done.
    pub fn discovery(&self) -> Option<Discovery> {
        unimplemented!()
    }

    /// The tokens at hand, described.
    pub fn status(&self) -> Option<TokenStatus> {
        unimplemented!()
    }
}
