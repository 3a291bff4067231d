//! What the server's answer to a request of the host's own calls for.
//!
//! | answer | the token it was sent with | then |
//! |---|---|---|
//! | 401 `use_dpop_nonce`, and there is a nonce that the proof didn't have | bound to a key | again |
//! | 401 `use_dpop_nonce`, and there is none | bound to a key | delivered: no other token helps |
//! | 401, 403 `insufficient_scope` | | refused |
//! | 307, 308 to the same URL but for its last slash | | moved |
//! | any other redirect | not just obtained, and can be renewed | refused: one refresh |
//! | 5xx | about to expire, and can be renewed | refused: one refresh |
//! | anything else | | delivered |

use http::header::{HeaderMap, LOCATION};
use http::{Request, Response, Uri};
use url::Url;

use crate::event::{Challenged, Need};
use crate::machine::AuthMachine;
use crate::session::grant::Grant;
use crate::time::Now;
use crate::wire::{dpop, url as address};

/// What a host does with the server's answer to a request of its own: see
/// [`AuthMachine::judge`].
///
/// ```
/// use http::{Request, Response};
/// use mcp_auth::{Event, Need, Verdict};
/// # use std::sync::Arc;
/// # use mcp_auth::{AuthMachine, Config, Entropy};
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.log_in()?;
/// # let (now, grant, need) = (s.now(), s.grant(), Need::default());
/// # let (url, config) = ("https://mcp.example.com/mcp", Arc::new(Config::default()));
/// # let mut machine = AuthMachine::new(url, config, Entropy::from_bytes([7; 32]))?;
/// # let mut request = Request::post(url).body(())?;
///
/// let response = Response::builder().status(401).body("who are you?")?; // by the server
/// match machine.judge(now, &request, &response, Some(&grant), &need) {
///     Verdict::Refused(challenged) | Verdict::Again(challenged) => {
///         // Send it again, with the token that `machine.token` has then.
///         machine.handle(now, Event::Challenged(challenged));
///     }
///     Verdict::Moved(uri) => *request.uri_mut() = uri, // send it again
///     _ => println!("{}", response.body()), // the caller's to see
/// }
/// # assert!(matches!(machine.judge(now, &request, &response, Some(&grant), &need), Verdict::Refused(_)));
/// # let response = Response::builder().status(200).body("")?;
/// # assert!(matches!(machine.judge(now, &request, &response, Some(&grant), &need), Verdict::Deliver));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// Hand it to the caller.
    Deliver,
    /// Tell the machine by [`Event::Challenged`](crate::Event::Challenged), get a token, and send the
    /// request again. Where the token is still the same one, hand the answer to the caller.
    Refused(Challenged),
    /// Tell the machine by [`Event::Challenged`](crate::Event::Challenged), ask for the token at hand again,
    /// and send the request once more with a new [proof](Grant::proof): its nonce alone was wrong
    /// (RFC 9449 §9).
    Again(Challenged),
    /// Send the same request there, body, token and all: it is the same URL but for its last slash.
    Moved(Uri),
}

impl AuthMachine {
    /// What the answer to a request that was sent with `grant` calls for; `need` is what it was for.
    /// It changes nothing.
    ///
    /// A 401 and a 403 `insufficient_scope` are refusals; but a 401 `use_dpop_nonce` is one of the proof
    /// (RFC 9449 §9), and no other token helps. Some servers say otherwise that a token has
    /// expired, by 500 or by a redirect to a login page: where that may be meant, one refresh is
    /// tried, without a person, and no other before the new token is a minute old. The one redirect
    /// that is followed keeps the method (307, 308), and leads to the same URL with a slash at the end
    /// or without; all others are the caller's to see. Nothing is read from the body: what a server
    /// says there in prose is no protocol.
    ///
    /// Where the response's extensions hold the [`PeerAddress`](crate::PeerAddress) of its connection,
    /// a refusal tells the machine where its server is.
    ///
    /// The host bounds how often it sends one request.
    pub fn judge<B, C>(
        &self,
        now: Now,
        request: &Request<B>,
        response: &Response<C>,
        grant: Option<&Grant>,
        need: &Need,
    ) -> Verdict {
        let (status, headers) = (response.status(), response.headers());
        let generation = grant.map(Grant::generation);
        if let Some(challenged) = Challenged::read(status, headers, generation, need) {
            if let Some(grant) = grant.filter(|grant| grant.is_bound())
                && challenged.error() == Some("use_dpop_nonce")
            {
                // Where it isn't shown, another request may have seen it.
                let nonce = dpop::nonce(headers).or(self.session.nonce.as_deref());
                let nonce = nonce.filter(|nonce| grant.wants_nonce(nonce)).map(str::to_owned);
                return match nonce {
                    Some(_) => Verdict::Again(Challenged { nonce, ..challenged }),
                    None => Verdict::Deliver,
                };
            }
            let challenged = challenged.asked_at(request.uri());
            return Verdict::Refused(challenged.seen_at(response.extensions().get().copied()));
        }
        let redirected = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
        if matches!(status.as_u16(), 307 | 308)
            && let Some(to) = moved(request.uri(), headers)
        {
            return Verdict::Moved(to);
        }
        if (redirected || status.is_server_error())
            && let Some(sent_with) = generation
            && self.session.may_have_expired(now, &self.config, sent_with, redirected)
        {
            return Verdict::Refused(Challenged::suspicion(status, sent_with, need));
        }
        Verdict::Deliver
    }
}

fn moved(from: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let from = Url::parse(&from.to_string()).ok()?;
    let to = address::moved_to(&from, headers.get(LOCATION)?.to_str().ok()?)?;
    to.as_str().parse().ok()
}
