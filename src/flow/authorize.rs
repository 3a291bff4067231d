//! The person's turn: the authorization request, and what the browser brings back (RFC 6749 §4.1,
//! RFC 9207). The order of checks is the point: `state`, then `iss`, then `error` or `code`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use crate::config::Config;
use crate::entropy::Entropy;
use crate::error::ErrorKind;
use crate::flow::identity::Identity;
use crate::notice::Leniency;
use crate::output::Page;
use crate::secret::Secret;
use crate::session::record::Discovery;
use crate::text::printable;
use crate::wire::authorization::{AuthorizationRequest, AuthorizationResponse};
use crate::wire::failure::OAuthError;
use crate::wire::pkce::Pkce;
use crate::wire::scope::ScopeSet;

/// An authorization request that is out.
pub(crate) struct Authorize {
    pub(crate) found: Box<Discovery>,
    pub(crate) identity: Identity,
    pub(crate) redirect_uri: String,
    pub(crate) requested: ScopeSet,
    pub(crate) resource: Option<String>,
    pub(crate) pkce: Pkce,
    state: Secret,
}

/// What a redirect turned out to be.
pub(crate) enum Landing {
    /// Forged, unrelated, or unusable: the login goes on as if it had not come.
    Ignored(&'static str, Page),
    /// The code, and whether its server was named otherwise than it calls itself.
    Code(Secret, Option<Leniency>),
    /// The server that was asked says no.
    Refused(OAuthError),
    /// Another server answered.
    MixUp(ErrorKind),
}

impl Authorize {
    pub(crate) fn start(
        found: Box<Discovery>,
        identity: Identity,
        redirect_uri: String,
        requested: ScopeSet,
        resource: Option<String>,
        entropy: &mut Entropy,
    ) -> Self {
        let state = Secret::new(URL_SAFE_NO_PAD.encode(entropy.draw()));
        let pkce = Pkce::from_random(entropy.draw());
        Self { found, identity, redirect_uri, requested, resource, pkce, state }
    }

    /// Where the person goes; `None` if the record's endpoint is unusable.
    pub(crate) fn url(&self, config: &Config) -> Option<Url> {
        let endpoint = self.found.server.authorization_endpoint()?;
        let extra: Vec<_> = config.oauth_params.clone().into_iter().collect();
        Some(self.request(config, &endpoint, &extra).to_url())
    }

    fn request<'a>(
        &'a self,
        config: &'a Config,
        endpoint: &'a Url,
        extra: &'a [(String, String)],
    ) -> AuthorizationRequest<'a> {
        AuthorizationRequest {
            endpoint,
            client_id: &self.identity.client_id,
            redirect_uri: &self.redirect_uri,
            state: self.state.expose(),
            code_challenge: self.pkce.challenge(),
            scope: &self.requested,
            scope_parameter: &config.scope_param_name,
            resource: self.resource.as_deref(),
            // OpenID Connect Core §11: without it the server must ignore the request for a refresh
            // token.
            prompt: self.requested.contains("offline_access").then_some("consent"),
            extra,
        }
    }

    /// The same parameters, for another way to the server.
    pub(crate) fn params(&self, config: &Config) -> Vec<(String, String)> {
        let Some(endpoint) = self.found.server.authorization_endpoint() else { return Vec::new() };
        let extra: Vec<_> = config.oauth_params.clone().into_iter().collect();
        self.request(config, &endpoint, &extra).pairs()
    }

    /// Where the login stands before this.
    pub(crate) fn back(&self) -> (Identity, (Box<Discovery>, String)) {
        (self.identity.clone(), (self.found.clone(), self.redirect_uri.clone()))
    }

    /// The state, to recognise the same redirect should it come again.
    pub(crate) fn state(&self) -> &Secret {
        &self.state
    }

    pub(crate) fn on_redirect(&self, url: &Secret, config: &Config) -> Landing {
        let response = match parse_at(&self.redirect_uri, url) {
            Ok(response) => response,
            Err(stray) => return Landing::Ignored(stray.why(), stray.page()),
        };
        if response.state.as_ref() != Some(&self.state) {
            return Landing::Ignored("its state is not the one that was sent", Page::NotForUs);
        }
        if response.duplicated.is_some() {
            let why = "a parameter came twice";
            return Landing::Ignored(why, Page::Unusable(why));
        }
        let leniency = match self.check_issuer(response.iss.as_deref(), config) {
            Ok(leniency) => leniency,
            // An error from who knows where is neither acted on nor shown (RFC 9207 §2.4).
            Err(_) if response.code.is_none() => {
                let why = "an error that is not from the server that was asked";
                return Landing::Ignored(why, Page::NotForUs);
            }
            Err(mix_up) => return Landing::MixUp(mix_up),
        };
        match (response.error, response.code) {
            (Some(error), _) => Landing::Refused(OAuthError {
                error,
                description: response.error_description,
                uri: response.error_uri,
            }),
            (None, Some(code)) => Landing::Code(code, leniency),
            (None, None) => {
                let why = "it has neither code nor error";
                Landing::Ignored(why, Page::Unusable(why))
            }
        }
    }

    /// The specification's table: advertised → must be there and equal; not advertised → if there,
    /// must be equal. Strings are compared as they are.
    fn check_issuer(
        &self,
        got: Option<&str>,
        config: &Config,
    ) -> Result<Option<Leniency>, ErrorKind> {
        let server = &self.found.server;
        match got {
            // Endpoints from the settings, without an issuer: nothing to compare with.
            _ if !self.found.knows_issuer => Ok(None),
            Some(got) if got == server.issuer => Ok(None),
            Some(got) if config.trusted_issuers.iter().any(|trusted| trusted == got) => {
                Ok(Some(Leniency::TrustedIssuer))
            }
            None if !server.authorization_response_iss_parameter_supported => Ok(None),
            got => Err(ErrorKind::MixUp {
                expected: printable(&server.issuer),
                got: got.map(printable),
            }),
        }
    }
}

/// What is no answer of an authorization server.
#[derive(Clone, Copy)]
pub(crate) enum Stray {
    Empty,
    NoUrl,
    Elsewhere,
    /// It is for us, and says nothing.
    Bare,
}

impl Stray {
    fn why(self) -> &'static str {
        match self {
            Stray::Empty => "it is empty",
            Stray::NoUrl => "it is no URL",
            Stray::Elsewhere => "it is not for the redirect URI",
            Stray::Bare => "it has no parameters",
        }
    }

    fn page(self) -> Page {
        match self {
            Stray::Bare => Page::Bare,
            Stray::Empty | Stray::NoUrl | Stray::Elsewhere => Page::NotForUs,
        }
    }
}

/// Reads a redirect, given as a whole URL, as a path and query, or as a query with or without its `?`, if
/// it is one to `redirect_uri`.
pub(crate) fn parse_at(redirect_uri: &str, url: &Secret) -> Result<AuthorizationResponse, Stray> {
    let text = url.expose().trim().trim_matches(['"', '\'', '<', '>']);
    let (Ok(ours), false) = (Url::parse(redirect_uri), text.is_empty()) else {
        return Err(Stray::Empty);
    };
    if !is_query(text) {
        let theirs = match Url::parse(text) {
            Ok(theirs) => theirs,
            Err(_) => ours.join(text).map_err(|_| Stray::NoUrl)?,
        };
        if place(&theirs) != place(&ours) {
            return Err(Stray::Elsewhere);
        }
    }
    AuthorizationResponse::parse(text).map_err(|_| Stray::Bare)
}

/// Whether only the parameters were handed over, as web frameworks do; nobody else but the host could
/// have had them.
fn is_query(text: &str) -> bool {
    let name = text.split('=').next().unwrap_or_default();
    text.starts_with('?')
        || text.contains('=') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What has to agree. Of a native app's own scheme (RFC 8252 §7.1), systems write the host in lower
/// case, and a slash behind it.
fn place(url: &Url) -> (&str, Option<String>, Option<u16>, &str) {
    let path = if url.path().is_empty() { "/" } else { url.path() };
    let host = url.host_str().map(str::to_ascii_lowercase);
    (url.scheme(), host, url.port_or_known_default(), path)
}
