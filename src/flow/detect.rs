//! Does the server want authorization? Asked only when nothing is known: a GET, then a POST
//! `initialize`; the well-known documents, which come next anyway, settle what stays unclear.

use std::fmt;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION};
use url::Url;

use crate::error::ErrorKind;
use crate::flow::{Ask, HttpResult, Notes, Step};
use crate::notice::Notice;
use crate::output::{Purpose, TransportError};
use crate::session::grant::Site;
use crate::text::printable_url;
use crate::wire::challenge::BearerChallenge;
use crate::wire::failure::describe;
use crate::wire::url as address;

/// Every request to an MCP endpoint names both; some servers answer only then as they should.
const MCP_ACCEPT: &str = "application/json, text/event-stream";

pub(crate) enum Detect {
    Get,
    Post,
    /// Where the POST was redirected to.
    Moved(Url),
}

pub(crate) enum Detected {
    NotRequired,
    Required(Option<BearerChallenge>),
    /// The answers don't tell. `answered`: it spoke JSON-RPC without asking who we are.
    Unclear {
        answered: bool,
        why: Silence,
    },
}

/// What the probe got instead of an answer that tells.
pub(crate) enum Silence {
    Nothing(TransportError),
    Useless(String),
    /// There is no such endpoint, it says.
    NotFound,
}

impl Silence {
    /// The error, if nothing else tells either; `instead`: the URL that may be meant.
    pub(crate) fn into_error(self, site: &Site, instead: Option<String>) -> ErrorKind {
        let url = printable_url(&site.text);
        match self {
            Silence::Nothing(source) => ErrorKind::Unreachable { url, source },
            other => ErrorKind::ProbeFailed { url, what: other.to_string(), instead },
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silence::Nothing(error) => error.fmt(f),
            Silence::Useless(what) => f.write_str(what),
            Silence::NotFound => f.write_str("HTTP 404"),
        }
    }
}

impl Detect {
    pub(crate) fn start(site: &Site) -> Step<Self, Detected> {
        Self::Get.ask(site)
    }

    fn url<'a>(&'a self, site: &'a Site) -> &'a Url {
        if let Detect::Moved(url) = self { url } else { &site.url }
    }

    fn ask(self, site: &Site) -> Step<Self, Detected> {
        let url = self.url(site).as_str();
        let request = http::Request::builder().uri(url).header(ACCEPT, MCP_ACCEPT);
        let request = match self {
            Detect::Get => request.method("GET").body(Vec::new()),
            Detect::Post | Detect::Moved(_) => {
                request.method("POST").header(CONTENT_TYPE, "application/json").body(initialize())
            }
        };
        match request {
            Ok(mut request) => {
                site.dress(request.headers_mut());
                Step::Ask(self, Ask::http(request, Purpose::Probe))
            }
            Err(error) => Step::Done(Detected::Unclear {
                answered: false,
                why: Silence::Useless(error.to_string()),
            }),
        }
    }

    pub(crate) fn on_http(
        self,
        site: &Site,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Step<Self, Detected> {
        let why = match &reply {
            Ok(response) => {
                let (status, headers) = (response.status().as_u16(), response.headers());
                let challenge = BearerChallenge::from_headers(headers)
                    .map(|challenge| challenge.asked_at(self.url(site)));
                if status == 401 || (status == 403 && challenge.is_some()) {
                    return Step::Done(Detected::Required(challenge));
                }
                let conclusive = match self {
                    // A page for people says nothing about the endpoint; an event stream does.
                    Detect::Get => is(headers, "text/event-stream"),
                    Detect::Post | Detect::Moved(_) => {
                        is(headers, "text/event-stream")
                            || is(headers, "application/json")
                            || matches!(status, 202 | 204)
                    }
                };
                if response.status().is_success() && conclusive {
                    return Step::Done(Detected::NotRequired);
                }
                match status {
                    404 => Silence::NotFound,
                    _ => Silence::Useless(describe(response.status(), headers, response.body())),
                }
            }
            Err(error) => Silence::Nothing(error.clone()),
        };
        match (self, &reply) {
            (Detect::Get, _) => Detect::Post.ask(site),
            (Detect::Post, Ok(response)) if let Some(to) = moved(site, response) => {
                notes.push(Notice::Followed { url: printable_url(to.as_str()) });
                Detect::Moved(to).ask(site)
            }
            _ => {
                let told = Notice::Skipped { url: printable_url(&site.text), why: why.to_string() };
                notes.push(told);
                Step::Done(Detected::Unclear { answered: reply.is_ok_and(spoke_json_rpc), why })
            }
        }
    }
}

/// Some servers insist on a slash at the end, or on none.
fn moved(site: &Site, response: &http::Response<Vec<u8>>) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let moved = matches!(response.status().as_u16(), 307 | 308);
    moved.then(|| address::moved_to(&site.url, location))?
}

/// An error in the protocol's own form: the server looked at the message, not at the sender.
fn spoke_json_rpc(response: http::Response<Vec<u8>>) -> bool {
    matches!(response.status().as_u16(), 400 | 404)
        && serde_json::from_slice::<serde_json::Value>(response.body())
            .is_ok_and(|body| body.get("jsonrpc").is_some())
}

fn is(headers: &HeaderMap, media_type: &str) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case(media_type))
}

fn initialize() -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    serde_json::json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "mcp-auth", "version": version },
        },
    })
    .to_string()
    .into_bytes()
}
