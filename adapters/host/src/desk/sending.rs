//! A request of the program's own on its way to the MCP server, however often it is sent.

use http::header::AUTHORIZATION;
use http::{Request, Response};
use mcp_auth::{Challenged, Error, Grant, Need, TransportError, Verdict};

use super::{Desk, now};

/// How often one request is sent. The machine ends it sooner: see `step_up_limit`.
const MAX_SENDS: usize = 8;

/// Why there is no response to a request of the program's own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no token to send it with.
    #[error("there is no authorization for the request")]
    Auth(#[from] Error),
    /// It didn't reach the server, or its answer didn't come back whole.
    #[error("the request to {url} failed")]
    Transport {
        /// Where it went, without its query.
        url: String,
        /// What went wrong.
        source: TransportError,
    },
}

impl SendError {
    /// Of the transport, on the way to this URL.
    pub fn transport(uri: &http::Uri, source: TransportError) -> Self {
        // Without userinfo and query: both may hold secrets.
        let scheme = uri.scheme_str().unwrap_or_default();
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        let url = format!("{scheme}://{}{port}{}", uri.host().unwrap_or_default(), uri.path());
        Self::Transport { url, source }
    }
}

/// One request: what it was last sent with, and how often.
#[derive(Debug)]
pub struct Sending {
    grant: Option<Grant>,
    sends: usize,
}

/// What follows from an answer.
#[derive(Debug)]
pub enum Next {
    /// The caller has it.
    Deliver,
    /// The request is sent again, as it is now.
    Again,
    /// The machine is told, and asked for a token; then see [`Sending::renewed`].
    Refused(Challenged),
}

impl Sending {
    /// With the token that it is first sent with, if one is known to be needed.
    pub fn new(grant: Option<Grant>) -> Self {
        Self { grant, sends: 0 }
    }

    /// Adds to the request what it is sent with. To be called each time before it is sent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`](mcp_auth::ErrorKind::ForeignRequest) where it goes to another
    /// server.
    pub fn prepare<B>(&mut self, desk: &Desk, request: &mut Request<B>) -> Result<(), Error> {
        match &self.grant {
            Some(grant) => grant.authorize(request)?,
            None => desk.machine.prepare(request)?,
        }
        if self.grant.is_none() && self.sends > 0 {
            // Ours, of the last time.
            request.headers_mut().remove(AUTHORIZATION);
        }
        self.sends += 1;
        Ok(())
    }

    /// What the server's answer calls for; `need` is what the request is for.
    pub fn answered<B, C>(
        &self,
        desk: &Desk,
        need: &Need,
        request: &mut Request<B>,
        response: &Response<C>,
    ) -> Next {
        if self.sends >= MAX_SENDS {
            return Next::Deliver;
        }
        let grant = self.grant.as_ref();
        match desk.machine.judge(now(), request, response, grant, need) {
            Verdict::Refused(challenged) => Next::Refused(challenged),
            Verdict::Moved(uri) => {
                *request.uri_mut() = uri;
                Next::Again
            }
            _ => Next::Deliver,
        }
    }

    /// The token after a refusal: whether it is another, so that the request is sent again.
    pub fn renewed(&mut self, grant: Option<Grant>) -> bool {
        let generation = |grant: &Option<Grant>| grant.as_ref().map(Grant::generation);
        let is_another = generation(&grant) != generation(&self.grant);
        self.grant = grant;
        is_another
    }
}
