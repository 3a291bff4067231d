//! Find the authorization server's metadata: RFC 8414 §3.1, then OpenID Connect Discovery, for each
//! issuer in turn. The document must name the very issuer that was looked up (RFC 8414 §3.3).

use std::collections::VecDeque;
use std::time::Duration;

use url::Url;

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::flow::fetch::{Fetch, Fetched};
use crate::flow::resource::Doubt;
use crate::flow::{HttpResult, Notes, Step};
use crate::notice::{Leniency, Notice};
use crate::output::{Purpose, shared};
use crate::session::grant::Site;
use crate::session::record::{MetadataFreshness, Provenance};
use crate::text::printable_url;
use crate::time::UnixTime;
use crate::wire::Malformed;
use crate::wire::server_metadata::ServerMetadata;
use crate::wire::url as address;

/// An issuer to look up.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) issuer: String,
    pub(crate) provenance: Provenance,
}

/// An authorization server.
#[derive(Clone)]
pub(crate) struct Server {
    /// The identifier that was looked up.
    pub(crate) issuer: String,
    pub(crate) metadata: ServerMetadata,
    pub(crate) url: Option<Url>,
    pub(crate) provenance: Provenance,
    pub(crate) freshness: Option<MetadataFreshness>,
    pub(crate) leniencies: Vec<Leniency>,
}

impl Server {
    pub(crate) fn told(&self) -> Notice {
        Notice::ServerFound {
            issuer: printable_url(&self.metadata.issuer),
            url: self.url.as_ref().map(|url| printable_url(url.as_str())),
        }
    }
}

pub(crate) struct FindServer {
    current: Url,
    fetch: Fetch,
    hunt: Hunt,
}

/// Where to look next, and what was found so far.
struct Hunt {
    issuers: VecDeque<Candidate>,
    candidate: Candidate,
    urls: VecDeque<Url>,
    /// The candidate's document. One without a registration endpoint is not the last word: the
    /// issuer's other document may have it.
    found: Option<Server>,
    tried: Vec<String>,
    mismatch: Option<ErrorKind>,
    refused: Option<ErrorKind>,
    passing: Option<(String, String)>,
    /// Something answered at the candidate, or might have: it is not safe to assume defaults.
    uncertain: bool,
}

impl FindServer {
    /// `doubt`: the MCP server may have metadata that names other issuers.
    pub(crate) fn start(
        issuers: VecDeque<Candidate>,
        doubt: Doubt,
        config: &Config,
        site: &Site,
        notes: &mut Notes,
    ) -> Result<Step<Self, Server>, Error> {
        let nothing = Candidate { issuer: String::new(), provenance: Provenance::Configured };
        let unnamed = issuers.iter().all(|issuer| issuer.provenance == Provenance::Realm);
        let untried = (unnamed && !config.legacy_fallback).then(|| {
            let origin = site.url.origin().ascii_serialization();
            format!("{origin}: not tried, `legacy_fallback` is off")
        });
        let hunt = Hunt {
            issuers,
            candidate: nothing,
            urls: VecDeque::new(),
            found: None,
            tried: untried.into_iter().collect(),
            mismatch: None,
            uncertain: doubt.passing || doubt.refused.is_some(),
            refused: doubt.refused,
            passing: None,
        };
        hunt.next(config, site, notes)
    }

    pub(crate) fn on_http(
        self,
        config: &Config,
        site: &Site,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Result<Step<Self, Server>, Error> {
        let Self { current, fetch, mut hunt } = self;
        match fetch.on_http(reply, notes) {
            Fetched::Ask(fetch, ask) => return Ok(Step::Ask(Self { current, fetch, hunt }, ask)),
            Fetched::Body(response) => {
                match read(&response, &hunt.candidate, &current, config, now) {
                    Ok(other) => match &mut hunt.found {
                        Some(server) => {
                            server.metadata.complete_from(&other.metadata);
                            server.freshness =
                                server.freshness.zip(other.freshness).map(|(a, b)| a.and(b));
                        }
                        None => hunt.found = Some(other),
                    },
                    Err(kind) => {
                        hunt.uncertain = true;
                        hunt.skip(current.as_str(), &kind.to_string(), notes);
                        if matches!(kind, ErrorKind::IssuerMismatch { .. }) {
                            hunt.mismatch.get_or_insert(kind);
                        }
                    }
                }
            }
            Fetched::Refused(kind) => {
                hunt.skip(current.as_str(), &kind.to_string(), notes);
                hunt.uncertain = true;
                hunt.refused.get_or_insert(kind);
            }
            Fetched::Nothing { why, passing } => {
                hunt.skip(current.as_str(), &why, notes);
                if passing {
                    hunt.uncertain = true;
                    hunt.passing.get_or_insert((printable_url(current.as_str()), why));
                }
            }
        }
        hunt.next(config, site, notes)
    }
}

impl Hunt {
    /// The candidate's next URL, then what it gave, then the next candidate.
    fn next(
        mut self,
        config: &Config,
        site: &Site,
        notes: &mut Notes,
    ) -> Result<Step<FindServer, Server>, Error> {
        loop {
            let complete =
                self.found.as_ref().is_some_and(|server| !lacks_registration(server, config));
            let url = if complete { None } else { self.urls.pop_front() };
            if let Some(current) = url {
                if let Some((fetch, ask)) = Fetch::start(current.clone(), Purpose::ServerMetadata) {
                    return Ok(Step::Ask(FindServer { current, fetch, hunt: self }, ask));
                }
                continue;
            }
            if let Some(server) = self.found {
                return accept(server, config, notes);
            }
            if self.candidate.provenance == Provenance::Origin && !self.uncertain {
                return accept(legacy(site), config, notes);
            }
            let Some(candidate) = self.issuers.pop_front() else { return Err(self.error(site)) };
            match address::parse("the issuer", &candidate.issuer) {
                Ok(url) => self.urls = address::server_metadata_urls(&url).into(),
                Err(error) => self.skip(&candidate.issuer, &error.to_string(), notes),
            }
            self.candidate = candidate;
        }
    }

    fn skip(&mut self, url: &str, why: &str, notes: &mut Notes) {
        let url = printable_url(url);
        self.tried.push(format!("{url}: {why}"));
        notes.push(Notice::Skipped { url, why: why.to_owned() });
    }

    /// The most telling of what went wrong.
    fn error(self, site: &Site) -> Error {
        let server = printable_url(&site.text);
        Error::from(match (self.mismatch.or(self.refused), self.passing) {
            (Some(telling), _) => telling,
            (None, Some((url, what))) => ErrorKind::Passing { url, what, retry_in: RETRY },
            (None, None) => ErrorKind::NoAuthorizationServer { server, tried: self.tried },
        })
    }
}

/// A server that discovery couldn't reach is worth another try after this long.
const RETRY: Duration = Duration::from_secs(10);

pub(super) fn read(
    response: &http::Response<Vec<u8>>,
    candidate: &Candidate,
    url: &Url,
    config: &Config,
    now: UnixTime,
) -> Result<Server, ErrorKind> {
    let unusable = |what| ErrorKind::Unusable { url: printable_url(url.as_str()), what };
    let metadata = ServerMetadata::parse(response.body()).map_err(unusable)?;
    let mut leniencies = Vec::new();
    if metadata.issuer != candidate.issuer {
        let trusted = config.trusted_issuers.contains(&metadata.issuer);
        if address::issuers_match(&candidate.issuer, &metadata.issuer) {
            leniencies.push(Leniency::RootSlash);
        } else if trusted {
            leniencies.push(Leniency::TrustedIssuer);
        } else if config.trust_origin_issuer
            && address::is_origin_of(&metadata.issuer, &candidate.issuer)
        {
            leniencies.push(Leniency::OriginIssuer);
        } else {
            return Err(ErrorKind::IssuerMismatch {
                expected: printable_url(&candidate.issuer),
                got: printable_url(&metadata.issuer),
                metadata_url: printable_url(url.as_str()),
            });
        }
    }
    if candidate.provenance == Provenance::Origin {
        leniencies.push(Leniency::LegacyServer);
    }
    for (name, endpoint) in [
        ("authorization_endpoint", &metadata.authorization_endpoint),
        ("token_endpoint", &metadata.token_endpoint),
    ] {
        if endpoint.is_none() {
            return Err(unusable(Malformed::new("authorization server metadata", name, "none")));
        }
    }
    let (provenance, issuer) = (candidate.provenance, candidate.issuer.clone());
    let since = shared::came_at(response, now);
    let freshness = Some(MetadataFreshness::of(response.headers(), since));
    Ok(Server { issuer, metadata, url: Some(url.clone()), provenance, freshness, leniencies })
}

/// Whether a registration endpoint is wanted, and missing.
fn lacks_registration(server: &Server, config: &Config) -> bool {
    let metadata = &server.metadata;
    let configured = config.client_id.is_some() && config.client_belongs_to(&metadata.issuer);
    let document =
        config.client_metadata_url.is_some() && metadata.client_id_metadata_document_supported;
    metadata.registration_endpoint.is_none() && !configured && !document
}

/// The default endpoints of the specification of 2025-03-26.
fn legacy(site: &Site) -> Server {
    let metadata = ServerMetadata::legacy(&site.url);
    Server {
        issuer: metadata.issuer.clone(),
        metadata,
        url: None,
        provenance: Provenance::Origin,
        freshness: None,
        leniencies: vec![Leniency::LegacyEndpoints],
    }
}

fn accept(
    mut server: Server,
    config: &Config,
    notes: &mut Notes,
) -> Result<Step<FindServer, Server>, Error> {
    match server.metadata.supports_s256() {
        Some(true) => {}
        None if config.assume_s256 => server.leniencies.push(Leniency::AssumedS256),
        supported => {
            let issuer = printable_url(&server.metadata.issuer);
            return Err(ErrorKind::NoPkce { issuer, absent: supported.is_none() }.into());
        }
    }
    notes.push(server.told());
    notes.extend(server.leniencies.iter().copied().map(Notice::Lenient));
    Ok(Step::Done(server))
}
