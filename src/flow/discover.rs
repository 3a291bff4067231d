//! From a challenge to an authorization server: the resource's metadata, then the server's.
//!
//! Order: configured endpoints or issuer → `authorization_servers` → a realm that is an issuer URL →
//! the MCP server's own origin (specification of 2025-03-26).

use std::collections::VecDeque;

use crate::config::Config;
use crate::error::Error;
use crate::flow::detect::Silence;
use crate::flow::resource::{Doubt, FindResource, Resource, Search};
use crate::flow::server::{Candidate, FindServer, Server};
use crate::flow::{HttpResult, Notes, Step};
use crate::notice::Notice;
use crate::session::grant::Site;
use crate::session::record::{Discovery, Provenance};
use crate::text::printable_url;
use crate::time::UnixTime;
use crate::wire::challenge::BearerChallenge;
use crate::wire::server_metadata::ServerMetadata;
use crate::wire::url as address;

/// What detection found out.
pub(crate) enum Evidence {
    Challenge(Option<BearerChallenge>),
    Unclear {
        answered: bool,
        why: Silence,
    },
    /// Everybody is let in, and a person wants to log in all the same.
    Open,
}

pub(crate) struct Discover {
    evidence: Evidence,
    stage: Stage,
}

enum Stage {
    Resource(FindResource),
    Server(Box<FindServer>, Option<Resource>),
}

pub(crate) enum Discovered {
    NotRequired,
    Found(Box<Discovery>),
}

impl Discover {
    /// What the settings say, where they name the endpoints: nothing is to be asked then.
    pub(crate) fn settled(config: &Config, site: &Site) -> Option<Discovery> {
        Some(conclude(None, configured_endpoints(config)?, config, site))
    }

    pub(crate) fn start(
        evidence: Evidence,
        config: &Config,
        site: &Site,
        notes: &mut Notes,
    ) -> Result<Step<Self, Discovered>, Error> {
        let step = FindResource::start(site, evidence.challenge(), notes);
        Self::after_resource(evidence, step, config, site, notes)
    }

    pub(crate) fn on_http(
        self,
        config: &Config,
        site: &Site,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Result<Step<Self, Discovered>, Error> {
        match self.stage {
            Stage::Resource(find) => {
                let step = find.on_http(site, reply, notes)?;
                Self::after_resource(self.evidence, step, config, site, notes)
            }
            Stage::Server(find, resource) => {
                let step = find.on_http(config, site, now, reply, notes)?;
                Ok(Self::after_server(self.evidence, resource, step, config, site))
            }
        }
    }

    fn after_resource(
        evidence: Evidence,
        step: Step<FindResource, Search>,
        config: &Config,
        site: &Site,
        notes: &mut Notes,
    ) -> Result<Step<Self, Discovered>, Error> {
        let (resource, doubt) = match step {
            Step::Ask(find, ask) => {
                return Ok(Step::Ask(Self { evidence, stage: Stage::Resource(find) }, ask));
            }
            Step::Done(Search::Found(resource)) => (Some(resource), Doubt::default()),
            Step::Done(Search::None(doubt)) => (None, doubt),
        };
        let named = config.issuer.is_some() || config.authorize_url.is_some();
        let evidence = match evidence {
            Evidence::Open if !named && resource.as_ref().is_none_or(|r| r.servers.is_empty()) => {
                return Ok(Step::Done(Discovered::NotRequired));
            }
            Evidence::Unclear { answered, why } if resource.is_none() && !named => {
                return match answered {
                    true => Ok(Step::Done(Discovered::NotRequired)),
                    false => Err(why.into_error(site, None).into()),
                };
            }
            // It isn't there, and its metadata is that of another URL: a login would bring nothing.
            Evidence::Unclear { answered: false, why: why @ Silence::NotFound } if !named => {
                let other = resource.as_ref().map(|found| found.resource.as_str());
                match other.filter(|other| !address::same_resource(other, &site.url)) {
                    Some(other) => {
                        return Err(why.into_error(site, Some(printable_url(other))).into());
                    }
                    None => Evidence::Unclear { answered: false, why },
                }
            }
            evidence => evidence,
        };
        if let Some(server) = configured_endpoints(config) {
            let (issuer, url) = (printable_url(&server.metadata.issuer), None);
            notes.push(Notice::ServerFound { issuer, url });
            return Ok(Self::after_server(evidence, resource, Step::Done(server), config, site));
        }
        let issuers = candidates(config, resource.as_ref(), evidence.challenge(), site);
        let step = FindServer::start(issuers, doubt, config, site, notes)?;
        Ok(Self::after_server(evidence, resource, step, config, site))
    }

    fn after_server(
        evidence: Evidence,
        resource: Option<Resource>,
        step: Step<FindServer, Server>,
        config: &Config,
        site: &Site,
    ) -> Step<Self, Discovered> {
        match step {
            Step::Ask(find, ask) => {
                Step::Ask(Self { evidence, stage: Stage::Server(Box::new(find), resource) }, ask)
            }
            Step::Done(server) => {
                Step::Done(Discovered::Found(Box::new(conclude(resource, server, config, site))))
            }
        }
    }
}

impl Evidence {
    fn challenge(&self) -> Option<&BearerChallenge> {
        match self {
            Evidence::Challenge(challenge) => challenge.as_ref(),
            Evidence::Unclear { .. } | Evidence::Open => None,
        }
    }
}

fn candidates(
    config: &Config,
    resource: Option<&Resource>,
    challenge: Option<&BearerChallenge>,
    site: &Site,
) -> VecDeque<Candidate> {
    let by = |provenance| move |issuer: String| Candidate { issuer, provenance };
    if let Some(issuer) = &config.issuer {
        return [by(Provenance::Configured)(issuer.clone())].into();
    }
    let named = resource.map(|found| found.servers.clone()).unwrap_or_default();
    if !named.is_empty() {
        return named.into_iter().map(by(Provenance::ResourceMetadata)).collect();
    }
    let realm = challenge
        .and_then(|challenge| challenge.realm.clone())
        .map(|realm| address::issuers_of_realm(&realm))
        .unwrap_or_default()
        .into_iter()
        .map(by(Provenance::Realm));
    let origin = config
        .legacy_fallback
        .then(|| by(Provenance::Origin)(site.url.origin().ascii_serialization()));
    realm.chain(origin).collect()
}

/// `authorize_url` and `token_url`: the operator vouches for them, so nothing is looked up.
fn configured_endpoints(config: &Config) -> Option<Server> {
    let token = address::parse("token_url", config.token_url.as_deref()?).ok()?;
    let metadata = ServerMetadata {
        issuer: config.issuer.clone().unwrap_or_else(|| token.origin().ascii_serialization()),
        authorization_endpoint: Some(config.authorize_url.clone()?),
        token_endpoint: config.token_url.clone(),
        registration_endpoint: None,
        ..ServerMetadata::legacy(&token)
    };
    let provenance = Provenance::Configured;
    let issuer = metadata.issuer.clone();
    let (freshness, leniencies) = (None, Vec::new());
    Some(Server { issuer, metadata, url: None, provenance, freshness, leniencies })
}

fn conclude(resource: Option<Resource>, server: Server, config: &Config, site: &Site) -> Discovery {
    let named = config.issuer.is_some();
    let mut leniencies = server.leniencies;
    let (indicator, url, scopes) = match resource {
        Some(found) => {
            leniencies.extend(found.leniency);
            (found.resource, Some(String::from(found.url)), found.scopes)
        }
        None => (site.indicator(), None, None),
    };
    Discovery {
        issuer: server.issuer,
        knows_issuer: server.url.is_some() || server.provenance != Provenance::Configured || named,
        resource: indicator,
        resource_metadata_url: url,
        scopes_supported: scopes.filter(|scopes| !scopes.is_empty()),
        server: server.metadata,
        server_metadata_url: server.url.map(String::from),
        provenance: server.provenance,
        freshness: server.freshness,
        leniencies,
    }
}
