//! Things that go wrong in place of an answer.

use std::fmt;

use http::Request;

use crate::text::{self, Response};

/// A request that got no HTTP response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkError {
    /// No connection could be made.
    Unreachable,
    /// No answer came in time.
    TimedOut,
    /// The connection broke before the answer was complete.
    Reset,
    /// The server's certificate was not accepted.
    Tls,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NetworkError::Unreachable => "no connection could be made",
            NetworkError::TimedOut => "no answer came in time",
            NetworkError::Reset => "the connection broke before the answer",
            NetworkError::Tls => "the certificate was not accepted",
        })
    }
}

impl std::error::Error for NetworkError {}

/// A response that is written out beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canned {
    /// The HTTP status; one that HTTP does not allow becomes 500.
    pub status: u16,
    /// Header names and values, in order; a name may come twice.
    pub headers: Vec<(String, String)>,
    /// The body, sent as it is.
    pub body: Vec<u8>,
}

impl Canned {
    /// A response without headers.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Canned {
        Canned { status, headers: Vec::new(), body: body.into() }
    }

    /// A response that says it is JSON, whatever the body is.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Canned {
        Canned::new(status, body).header("content-type", "application/json")
    }

    /// A redirect.
    pub fn redirect(status: u16, location: &str) -> Canned {
        Canned::new(status, Vec::new()).header("location", location)
    }

    /// The same with one more header.
    pub fn header(mut self, name: &str, value: &str) -> Canned {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn response(&self) -> Response {
        let mut response = text::response(self.status, "", self.body.clone());
        for (name, value) in &self.headers {
            text::add_header(&mut response, name, value);
        }
        response
    }
}

/// What a fault does to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The server never sees the request; this is answered instead.
    Answer(Canned),
    /// The request never arrives.
    Fails(NetworkError),
    /// The server acts on the request, and its answer is lost on the way: [`NetworkError::Reset`].
    AnswerLost,
}

/// An [`Effect`] waiting for a request that it fits. Each request meets at most one fault: the
/// first in [`World::faults`](crate::World::faults) that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The method that it fits, or `*` for any.
    pub method: String,
    /// The path that it fits, without the query, or `*` for any.
    pub path: String,
    /// The origin that it fits; `None` for any.
    pub origin: Option<String>,
    /// How many fitting requests pass unharmed before.
    pub after: u32,
    /// How many requests it befalls; at 0 it is spent.
    pub times: u32,
    /// What happens then.
    pub effect: Effect,
}

impl Fault {
    /// A fault that befalls the next request with this method and path, each `*` for any.
    pub fn new(method: &str, path: &str, effect: Effect) -> Fault {
        let (method, path) = (method.to_owned(), path.to_owned());
        Fault { method, path, origin: None, after: 0, times: 1, effect }
    }

    /// The next such request is answered with `canned`.
    pub fn answer(method: &str, path: &str, canned: Canned) -> Fault {
        Fault::new(method, path, Effect::Answer(canned))
    }

    /// The next such request never arrives.
    pub fn fails(method: &str, path: &str, error: NetworkError) -> Fault {
        Fault::new(method, path, Effect::Fails(error))
    }

    /// The next such request is acted on, and its answer is lost.
    pub fn answer_lost(method: &str, path: &str) -> Fault {
        Fault::new(method, path, Effect::AnswerLost)
    }

    /// The same for requests to one origin only.
    pub fn at(mut self, origin: &str) -> Fault {
        self.origin = Some(origin.to_owned());
        self
    }

    /// The same after `requests` fitting requests went well.
    pub fn after(mut self, requests: u32) -> Fault {
        self.after = requests;
        self
    }

    /// The same, that many times.
    pub fn times(mut self, times: u32) -> Fault {
        self.times = times;
        self
    }

    fn fits(&self, origin: &str, path: &str, request: &Request<Vec<u8>>) -> bool {
        self.times > 0
            && (self.method == "*" || self.method == request.method().as_str())
            && (self.path == "*" || self.path == path)
            && self.origin.as_deref().is_none_or(|wanted| text::origin(wanted) == origin)
    }
}

/// What befalls this request, if anything; spends the fault.
pub(crate) fn take(
    faults: &mut Vec<Fault>,
    origin: &str,
    path: &str,
    request: &Request<Vec<u8>>,
) -> Option<Effect> {
    let at = faults.iter().position(|fault| fault.fits(origin, path, request))?;
    let fault = faults.get_mut(at)?;
    if fault.after > 0 {
        fault.after -= 1;
        return None;
    }
    fault.times -= 1;
    let effect = fault.effect.clone();
    faults.retain(|fault| fault.times > 0);
    Some(effect)
}
