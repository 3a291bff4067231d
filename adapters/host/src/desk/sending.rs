//! A request of the program's own on its way to the MCP server, however often it is sent.

use http::header::AUTHORIZATION;
use http::{Request, Response};
use mcp_auth::wire::dpop;
use mcp_auth::{Challenged, Error, Grant, Need, Proof, TransportError, Verdict};

use super::{Desk, now};
use crate::setup::entropy;

/// How often one request is sent. The machine ends it sooner: see `step_up_limit`.
const MAX_SENDS: usize = 8;

/// Why there is no response to a request of the program's own.
///
/// ```
/// use mcp_auth::{TransportError, TransportErrorKind};
/// use mcp_auth_host::desk::SendError;
///
/// fn may_help_to_try_again(error: &SendError) -> bool {
///     match error {
///         SendError::Auth(error) => error.retry_in().is_some(),
///         _ => true,
///     }
/// }
///
/// let url = "https://mcp.example.com/mcp?key=hush".parse()?;
/// let lost = TransportError::new(TransportErrorKind::Connect, "the cable is out");
/// let error = SendError::transport(&url, lost);
/// assert!(may_help_to_try_again(&error));
/// assert!(!error.to_string().contains("hush"));
/// # Ok::<(), http::uri::InvalidUri>(())
/// ```
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
///
/// ```
/// use http::{Request, Response};
/// use mcp_auth::{Event, Need};
/// use mcp_auth_host::desk::{Next, Sending};
/// use mcp_auth_host::setup::{Opened, Setup};
///
/// let Opened { mut desk, .. } = Setup::new("https://mcp.example.com/mcp".into()).open()?;
/// let mut request = Request::post("https://mcp.example.com/mcp").body(())?;
/// let mut sending = Sending::new(None); // what a quest has brought
///
/// assert!(sending.prepare(&desk, &mut request)?.is_none()); // nothing to be signed
/// let response = Response::builder().status(401).header("www-authenticate", "Bearer").body(())?;
/// let next = sending.answered(&desk, &Need::default(), &mut request, &response);
/// let Next::Refused(challenged) = next else { panic!("{next:?}") };
/// desk.feed(Event::Challenged(*challenged));
/// // Another quest follows. Had it brought no token, the caller would get the refusal.
/// assert!(!sending.renewed(None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sending {
    grant: Option<Grant>,
    sends: usize,
    /// The server wants the same token with another proof.
    again: bool,
}

/// What follows from an answer.
///
/// ```
/// use http::{Request, Response};
/// use mcp_auth::Need;
/// use mcp_auth_host::desk::{Next, Sending};
/// use mcp_auth_host::setup::{Opened, Setup};
///
/// # let Opened { desk, .. } = Setup::new("https://mcp.example.com/mcp".into()).open()?;
/// let mut request = Request::get("https://mcp.example.com/mcp").body(())?;
/// let mut answered = |response: Response<()>| {
///     let mut sending = Sending::new(None);
///     sending.prepare(&desk, &mut request)?;
///     Ok::<_, mcp_auth::Error>(sending.answered(&desk, &Need::default(), &mut request, &response))
/// };
/// let ok = Response::new(());
/// assert!(matches!(answered(ok)?, Next::Deliver));
/// let moved = Response::builder().status(308).header("location", "/mcp/").body(())?;
/// assert!(matches!(answered(moved)?, Next::Again));
/// let refused = Response::builder().status(401).body(())?;
/// assert!(matches!(answered(refused)?, Next::Refused(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum Next {
    /// The caller has it.
    Deliver,
    /// The request is sent again, as it is now.
    Again,
    /// The machine is told, and asked for a token; then see [`Sending::renewed`].
    Refused(Box<Challenged>),
}

impl Sending {
    /// With the token that it is first sent with, if one is known to be needed.
    pub fn new(grant: Option<Grant>) -> Self {
        Self { grant, sends: 0, again: false }
    }

    /// Adds to the request what it is sent with. To be called each time before it is sent. Where a token
    /// is bound to a key, this says what is to be signed first ([`Hands::prove`](crate::hands::Hands::prove),
    /// which may block, so not at the desk), and [`proven`](Self::proven) adds it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`](mcp_auth::ErrorKind::ForeignRequest) where it goes to another
    /// server; [`ErrorKind::NoRandomness`](mcp_auth::ErrorKind::NoRandomness).
    pub fn prepare<B>(
        &mut self,
        desk: &Desk,
        request: &mut Request<B>,
    ) -> Result<Option<Proof>, Error> {
        if self.sends > 0 {
            // Ours, of the last time.
            request.headers_mut().remove(dpop::PROOF);
            if self.grant.is_none() {
                request.headers_mut().remove(AUTHORIZATION);
            }
        }
        self.sends += 1;
        match &self.grant {
            Some(grant) => authorize(request, grant),
            None => desk.machine.prepare(request).map(|()| None),
        }
    }

    /// Adds the token and the proof that was signed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignRequest`](mcp_auth::ErrorKind::ForeignRequest), likewise.
    pub fn proven<B>(
        &self,
        request: &mut Request<B>,
        proof: &Proof,
        signature: &[u8],
    ) -> Result<(), Error> {
        self.grant.iter().try_for_each(|grant| grant.authorize_with(request, proof, signature))
    }

    /// What the server's answer calls for; `need` is what the request is for.
    pub fn answered<B, C>(
        &mut self,
        desk: &Desk,
        need: &Need,
        request: &mut Request<B>,
        response: &Response<C>,
    ) -> Next {
        self.again = false;
        if self.sends >= MAX_SENDS {
            return Next::Deliver;
        }
        let grant = self.grant.as_ref();
        match desk.machine.judge(now(), request, response, grant, need) {
            Verdict::Refused(challenged) => Next::Refused(Box::new(challenged)),
            Verdict::Again(challenged) => {
                self.again = true;
                Next::Refused(Box::new(challenged))
            }
            Verdict::Moved(uri) => {
                *request.uri_mut() = uri;
                Next::Again
            }
            _ => Next::Deliver,
        }
    }

    /// The token after a refusal: whether the request is sent again, for it is another, or the refusal
    /// was of the proof alone.
    pub fn renewed(&mut self, grant: Option<Grant>) -> bool {
        let generation = |grant: &Option<Grant>| grant.as_ref().map(Grant::generation);
        let is_another = generation(&grant) != generation(&self.grant);
        self.grant = grant;
        is_another || self.again
    }
}

/// Adds a token to a request, or says what is to be signed before that can be done by
/// [`Grant::authorize_with`].
///
/// # Errors
///
/// As [`Sending::prepare`].
pub fn authorize<B>(request: &mut Request<B>, grant: &Grant) -> Result<Option<Proof>, Error> {
    match grant.proof(now(), request, entropy()?) {
        None => grant.authorize(request).map(|()| None),
        proof => Ok(proof),
    }
}
