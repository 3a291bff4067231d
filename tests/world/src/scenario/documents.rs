//! What the sessions of one process hand to each other.

use std::time::Duration;

use http::{Response, Uri};
use mcp_auth::TransportError;
use mcp_auth::output::HttpCall;

type Reply = Result<Response<Vec<u8>>, TransportError>;

/// Answers by the request's URI, with when they came and until when they serve.
#[derive(Debug, Default)]
pub(super) struct Documents(Vec<(Uri, Reply, Duration, Duration)>);

impl Documents {
    /// What such a call was answered, and how long ago.
    pub(super) fn find(&self, call: &HttpCall, now: Duration) -> Option<(Reply, Duration)> {
        let fits = |uri: &Uri, until: Duration| uri == call.request().uri() && now < until;
        let found = self.0.iter().find(|(uri, _, _, until)| fits(uri, *until))?;
        call.is_shareable().then(|| (found.1.clone(), now - found.2))
    }

    pub(super) fn keep(&mut self, call: &HttpCall, reply: &Reply, now: Duration) {
        let until = now + call.share_for(reply);
        self.0.insert(0, (call.request().uri().clone(), reply.clone(), now, until));
    }
}
