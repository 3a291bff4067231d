//! Find the protected resource metadata (RFC 9728 §3): the challenge's URLs, then the path-inserted
//! well-known URL, then the root one. Only a 200 with a JSON object counts.

use std::collections::VecDeque;

use url::Url;

use crate::error::{Error, ErrorKind};
use crate::flow::fetch::{Fetch, Fetched};
use crate::flow::{HttpResult, Notes, Step};
use crate::notice::{Leniency, Notice};
use crate::output::Purpose;
use crate::session::grant::Site;
use crate::text::{printable, printable_url};
use crate::wire::challenge::BearerChallenge;
use crate::wire::resource_metadata::ResourceMetadata;
use crate::wire::scope::ScopeSet;
use crate::wire::url as address;

pub(crate) struct FindResource {
    rest: VecDeque<Url>,
    current: Url,
    fetch: Fetch,
    doubt: Doubt,
}

/// Why "there is none" isn't certain.
#[derive(Default)]
pub(crate) struct Doubt {
    /// Some candidate failed in a way that may pass.
    pub(crate) passing: bool,
    /// Some candidate leads where it may not.
    pub(crate) refused: Option<ErrorKind>,
}

/// What the metadata says, checked.
pub(crate) struct Resource {
    pub(crate) resource: String,
    pub(crate) url: Url,
    pub(crate) servers: Vec<String>,
    pub(crate) scopes: Option<ScopeSet>,
    pub(crate) leniency: Option<Leniency>,
}

pub(crate) enum Search {
    Found(Resource),
    None(Doubt),
}

impl FindResource {
    pub(crate) fn start(
        site: &Site,
        challenge: Option<&BearerChallenge>,
        notes: &mut Notes,
    ) -> Step<Self, Search> {
        let mut rest = VecDeque::new();
        for text in challenge.map(|c| c.resource_metadata.as_slice()).unwrap_or_default() {
            // RFC 9728 asks for an absolute URL; some servers send a path of their own.
            let url = address::resolve("resource_metadata", &site.url, text);
            match url {
                Ok(url) => rest.push_back(url),
                Err(error) => {
                    notes.push(Notice::Skipped { url: printable_url(text), why: error.to_string() })
                }
            }
        }
        for url in address::resource_metadata_urls(&site.url) {
            if !rest.contains(&url) {
                rest.push_back(url);
            }
        }
        Self::next(rest, Doubt::default())
    }

    fn next(mut rest: VecDeque<Url>, doubt: Doubt) -> Step<Self, Search> {
        while let Some(current) = rest.pop_front() {
            if let Some((fetch, ask)) = Fetch::start(current.clone(), Purpose::ResourceMetadata) {
                return Step::Ask(Self { rest, current, fetch, doubt }, ask);
            }
        }
        Step::Done(Search::None(doubt))
    }

    pub(crate) fn on_http(
        self,
        site: &Site,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Result<Step<Self, Search>, Error> {
        let Self { rest, current, fetch, mut doubt } = self;
        let why = match fetch.on_http(reply, notes) {
            Fetched::Ask(fetch, ask) => {
                return Ok(Step::Ask(Self { rest, current, fetch, doubt }, ask));
            }
            Fetched::Body(response) => match ResourceMetadata::parse(response.body()) {
                Ok(metadata) => match accept(metadata, &current, site)? {
                    Ok(found) => {
                        notes.push(Notice::ResourceFound {
                            resource: printable(&found.resource),
                            url: printable_url(current.as_str()),
                        });
                        notes.extend(found.leniency.map(Notice::Lenient));
                        return Ok(Step::Done(Search::Found(found)));
                    }
                    Err(why) => why,
                },
                Err(error) => error.to_string(),
            },
            Fetched::Refused(kind) => {
                let why = kind.to_string();
                doubt.refused.get_or_insert(kind);
                why
            }
            Fetched::Nothing { why, passing } => {
                doubt.passing |= passing;
                why
            }
        };
        notes.push(Notice::Skipped { url: printable_url(current.as_str()), why });
        Ok(Self::next(rest, doubt))
    }
}

/// RFC 9728 §3.3: a document for another resource is not passed over, it ends the login.
fn accept(
    metadata: ResourceMetadata,
    url: &Url,
    site: &Site,
) -> Result<Result<Resource, String>, Error> {
    let (resource, leniency) = match metadata.resource {
        Some(resource) if address::resource_covers(&resource, &site.url) => (resource, None),
        Some(got) => {
            return Err(Error::from(ErrorKind::ResourceMismatch {
                server: printable_url(&site.text),
                got: printable_url(&got),
                metadata_url: printable_url(url.as_str()),
            }));
        }
        None if address::same_origin(url, &site.url) => {
            (site.indicator(), Some(Leniency::ResourceAbsent))
        }
        None => return Ok(Err("no `resource`, and not from the server's own origin".into())),
    };
    Ok(Ok(Resource {
        resource,
        url: url.clone(),
        servers: metadata.authorization_servers,
        scopes: metadata.scopes_supported,
        leniency,
    }))
}
