//! GET a document: redirects are followed here, as new asks, within the origin only.

use http::StatusCode;
use http::header::{ACCEPT, LOCATION};
use url::Url;

use crate::error::{ErrorKind, unanswered};
use crate::flow::{Ask, HttpResult, Notes};
use crate::notice::Notice;
use crate::output::{Purpose, TransportErrorKind};
use crate::text::printable_url;
use crate::wire::failure::{describe, is_passing};
use crate::wire::url as address;

const MAX_HOPS: u8 = 3;

/// A document on its way.
pub(crate) struct Fetch {
    url: Url,
    purpose: Purpose,
    hops: u8,
}

pub(crate) enum Fetched {
    /// A redirect was followed.
    Ask(Fetch, Ask),
    /// 200, with a body.
    Body(http::Response<Vec<u8>>),
    /// It leads where it may not: nothing was asked.
    Refused(ErrorKind),
    /// Anything else: the next candidate's turn. `passing`: it may be different later.
    Nothing { why: String, passing: bool },
}

impl Fetch {
    /// `None` where the URL can't be put into a request.
    pub(crate) fn start(url: Url, purpose: Purpose) -> Option<(Self, Ask)> {
        Self { url, purpose, hops: 0 }.ask()
    }

    fn ask(self) -> Option<(Self, Ask)> {
        let request = http::Request::get(self.url.as_str())
            .header(ACCEPT, "application/json")
            .body(Vec::new())
            .ok()?;
        let ask = Ask::http(request, self.purpose);
        Some((self, ask))
    }

    pub(crate) fn on_http(mut self, reply: HttpResult, notes: &mut Notes) -> Fetched {
        let response = match reply {
            Ok(response) => response,
            Err(error) if error.kind == TransportErrorKind::Refused => {
                let url = printable_url(self.url.as_str());
                return Fetched::Refused(unanswered(url, self.purpose, error));
            }
            Err(error) => {
                let passing = error.kind != TransportErrorKind::TooLarge;
                return Fetched::Nothing { why: error.to_string(), passing };
            }
        };
        let status = response.status();
        if status == StatusCode::OK {
            return Fetched::Body(response);
        }
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            let (headers, body) = (response.headers(), response.body());
            let passing = is_passing(status, headers, body);
            return Fetched::Nothing { why: describe(status, headers, body), passing };
        }
        if self.hops >= MAX_HOPS {
            return Fetched::Nothing { why: "too many redirects".into(), passing: false };
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        match address::redirect_target(&self.url, location.unwrap_or_default()) {
            Ok(target) => {
                notes.push(Notice::Followed { url: printable_url(target.as_str()) });
                self.url = target;
                self.hops += 1;
                match self.ask() {
                    Some((fetch, ask)) => Fetched::Ask(fetch, ask),
                    None => Fetched::Nothing { why: "an unusable redirect".into(), passing: false },
                }
            }
            Err(error) => Fetched::Nothing { why: error.to_string(), passing: false },
        }
    }
}
