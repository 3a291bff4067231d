//! Authorization server metadata is looked up again where it is relied on for longer than its server
//! said that it is fresh (RFC 9111 §4.2). A lookup that fails changes nothing: the old is better than
//! none.

use url::Url;

use crate::config::Config;
use crate::flow::fetch::{Fetch, Fetched};
use crate::flow::server::{self, Candidate};
use crate::flow::{Ask, HttpResult, Notes, Step};
use crate::notice::Notice;
use crate::output::Purpose;
use crate::session::record::{Discovery, MetadataFreshness};
use crate::text::printable_url;
use crate::time::UnixTime;
use crate::wire::url as address;

pub(crate) struct Freshen {
    found: Box<Discovery>,
    url: Url,
    fetch: Fetch,
}

impl Freshen {
    /// Where it is to be looked up. `None` while it is fresh, and where it was not looked up in the first
    /// place. `login`: when it was last used for one.
    pub(crate) fn stale(found: &Discovery, login: UnixTime, now: UnixTime) -> Option<Url> {
        let url = found.server_metadata_url.as_deref()?;
        if found.freshness.unwrap_or_else(|| MetadataFreshness::longest(login)).lasts(now) {
            return None;
        }
        address::parse("server_metadata_url", url).ok()
    }

    pub(crate) fn start(found: &Discovery, url: Url) -> Option<(Self, Ask)> {
        let (fetch, ask) = Fetch::start(url.clone(), Purpose::ServerMetadata)?;
        Some((Self { found: Box::new(found.clone()), url, fetch }, ask))
    }

    pub(crate) fn on_http(
        self,
        config: &Config,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Step<Self, Box<Discovery>> {
        let Self { mut found, url, fetch } = self;
        let why = match fetch.on_http(reply, notes) {
            Fetched::Ask(fetch, ask) => return Step::Ask(Self { found, url, fetch }, ask),
            Fetched::Body(response) => {
                let (issuer, provenance) = (found.issuer.clone(), found.provenance);
                match server::read(&response, &Candidate { issuer, provenance }, &url, config, now)
                {
                    Ok(server) => {
                        notes.push(server.told());
                        // It may have been put together from two documents.
                        let earlier = std::mem::replace(&mut found.server, server.metadata);
                        found.server.complete_from(&earlier);
                        found.freshness = server.freshness;
                        return Step::Done(found);
                    }
                    Err(kind) => kind.to_string(),
                }
            }
            Fetched::Refused(kind) => kind.to_string(),
            Fetched::Nothing { why, .. } => why,
        };
        notes.push(Notice::Skipped { url: printable_url(url.as_str()), why });
        found.freshness = Some(MetadataFreshness::shortest(now));
        Step::Done(found)
    }
}
