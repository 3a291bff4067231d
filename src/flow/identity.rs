//! Which client are we to this authorization server? Configured → client ID metadata document →
//! registered earlier → to be registered. Each is shown only to the issuer that it belongs to.

use crate::config::{AssertionAudience, ClientCertificate, Config};
use crate::entropy::Identifiers;
use crate::error::{Error, ErrorKind};
use crate::flow::secret::{FindSecret, SecretResult};
use crate::flow::sign::Jwt;
use crate::flow::{Ask, Notes, Step};
use crate::notice::ClientSource;
use crate::secret::{Secret, SecretRef};
use crate::session::record::{ClientHome, Discovery, Record, Registration};
use crate::session::tokens::Tokens;
use crate::text::printable_url;
use crate::time::UnixTime;
use crate::wire::assertion::ClientAssertion;
use crate::wire::jws::PublicKey;
use crate::wire::server_metadata::ServerMetadata;
use crate::wire::token::{AuthMethod, basic_token};

/// What a secret of a client is called in errors.
const CLIENT_SECRET: &str = "the client's secret";

/// A client and how it proves itself at the token endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<Secret>,
    /// Where its secret is, if it isn't here.
    pub(crate) secret_from: Vec<SecretRef>,
    pub(crate) auth_method: AuthMethod,
    /// What it signs its assertions with, where it proves itself by them.
    pub(crate) key: Option<Box<ClientKey>>,
    /// What it shows when it connects, where it proves itself by that.
    pub(crate) certificate: Option<ClientCertificate>,
    pub(crate) source: ClientSource,
}

/// The certificate that is shown to this server, and what the server calls that.
fn certificate(
    config: &Config,
    supported: Option<&[String]>,
) -> Option<(ClientCertificate, AuthMethod)> {
    let methods = [AuthMethod::TlsClientAuth, AuthMethod::SelfSignedTlsClientAuth];
    let listed = |method: &AuthMethod| {
        supported.is_none_or(|names| {
            names.is_empty() || names.iter().any(|name| name == method.as_str())
        })
    };
    Some((config.client_certificate.clone()?, methods.into_iter().find(listed)?))
}

/// A key, and what its server wants of it.
#[derive(Clone, Debug)]
pub(crate) struct ClientKey {
    pub(crate) place: SecretRef,
    id: Option<String>,
    /// `None`: the token endpoint.
    audience: Option<String>,
    pub(crate) taken: Option<Vec<String>>,
}

impl ClientKey {
    /// `None` where there is none, or the server takes no assertions.
    fn of(config: &Config, found: Option<&Discovery>, issuer: &str) -> Option<Self> {
        let place = config.client_key.clone()?;
        let server = found.map(|found| &found.server);
        let methods = server.and_then(|s| s.token_endpoint_auth_methods_supported.as_deref());
        let listed =
            |names: &[String]| names.iter().any(|name| name == AuthMethod::PrivateKeyJwt.as_str());
        // One that lists nothing means Basic (RFC 8414 §2), and whoever gave it a key knows better.
        if !methods.is_none_or(|names| names.is_empty() || listed(names)) {
            return None;
        }
        let at_endpoint = config.client_assertion_audience == AssertionAudience::TokenEndpoint;
        if at_endpoint && !config.client_belongs_to(issuer) {
            return None;
        }
        let audience = found.map_or(issuer, Discovery::audience).to_owned();
        let audience = Some(audience).filter(|_| !at_endpoint);
        let taken = server.and_then(|s| s.token_endpoint_auth_signing_alg_values_supported.clone());
        Some(Self { place, id: config.client_key_id.clone(), audience, taken })
    }

    /// What is to be asked of the host's signer before there is an assertion.
    pub(crate) fn prove(
        &self,
        jwt: &mut Jwt,
        client_id: &str,
        token_endpoint: &str,
        issued_at: UnixTime,
        ids: &mut Identifiers,
    ) -> Result<Option<Ask>, Error> {
        let compose = |algorithm, _: &PublicKey| {
            let id = ids.next();
            let assertion = ClientAssertion {
                client_id,
                audience: self.audience.as_deref().unwrap_or(token_endpoint),
                id: &id,
                key_id: self.id.as_deref(),
                algorithm,
                issued_at,
            };
            assertion.signing_input()
        };
        jwt.wanted(compose, self.taken.as_deref())
    }

    pub(crate) fn jwt(&self) -> Jwt {
        Jwt::new("the client's key", self.place.clone())
    }
}

impl Identity {
    /// The server's metadata as this client sees it.
    pub(crate) fn sees(&self, server: &ServerMetadata) -> ServerMetadata {
        match &self.certificate {
            Some(_) => server.with_certificate(),
            None => server.clone(),
        }
    }

    /// Whether it has a secret, here or elsewhere.
    pub(crate) fn has_secret(&self) -> bool {
        self.client_secret.is_some() || !self.secret_from.is_empty()
    }

    /// What a request of it shows of its secret: that itself, or what Basic makes of both.
    pub(crate) fn shown(&self) -> impl Iterator<Item = Secret> {
        let basic = |secret: &Secret| basic_token(&self.client_id, secret);
        self.client_secret.iter().flat_map(move |secret| [secret.clone(), basic(secret)])
    }

    /// The search for its secret, where that must be read first.
    pub(crate) fn find_secret(&self) -> Option<(FindSecret, Ask)> {
        if self.client_secret.is_some() || !self.auth_method.needs_secret() {
            return None;
        }
        FindSecret::start(CLIENT_SECRET, &self.secret_from)
    }

    /// Takes what was found at the last place; `Some`: there is another to look at.
    pub(crate) fn on_secret(
        &mut self,
        find: FindSecret,
        result: SecretResult,
        notes: &mut Notes,
    ) -> Result<Option<(FindSecret, Ask)>, Error> {
        match find.on_secret(result, notes)? {
            Step::Ask(find, ask) => Ok(Some((find, ask))),
            Step::Done(Some(secret)) => {
                self.client_secret = Some(secret);
                Ok(None)
            }
            Step::Done(None) => Err(FindSecret::missing(CLIENT_SECRET, &self.secret_from)),
        }
    }
}

pub(crate) enum Choice {
    Use(Identity),
    Register,
}

/// What the choice rests on.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) config: &'a Config,
    /// The person is shown a code: no browser comes back, and the client must be one for codes.
    pub(crate) by_code: bool,
    pub(crate) registration: Option<&'a Registration>,
    pub(crate) document_rejected: bool,
    pub(crate) client_home: Option<&'a ClientHome>,
}

/// Why it is not shown there.
pub(crate) const LIVES_ELSEWHERE: &str = "the configured client has a secret, key or certificate and logged in with another issuer before (name its issuer in `client_issuer`)";

impl Known<'_> {
    /// The issuer that the configured client has logged in with.
    fn home(&self) -> Option<&str> {
        let ours = |home: &&ClientHome| Some(&home.client_id) == self.config.client_id.as_ref();
        self.client_home.filter(ours).map(|home| home.issuer.as_str())
    }

    pub(crate) fn lives_at(&self, issuer: &str) -> bool {
        self.home() == Some(issuer)
    }

    /// A server that names another authorization server must not get what was made for the first one:
    /// the client's secret, or what its key or certificate proves.
    pub(crate) fn lives_elsewhere(&self, issuer: &str) -> bool {
        let bound = self.config.client_home().is_some();
        let elsewhere = self.home().is_some_and(|home| home != issuer);
        !bound && self.config.client_proves_itself() && elsewhere
    }
}

pub(crate) fn choose(
    known: Known<'_>,
    found: &Discovery,
    redirect_uri: &str,
    now: UnixTime,
) -> Result<Choice, ErrorKind> {
    let Known { config, registration, document_rejected, by_code, .. } = known;
    let server = &found.server;
    let refuse = |why: &str| {
        Err(ErrorKind::NoClient { issuer: printable_url(&found.issuer), why: why.to_owned() })
    };
    let mut closed = Vec::new();
    match &config.client_id {
        Some(_) if known.lives_elsewhere(&found.issuer) => {
            closed.push(LIVES_ELSEWHERE);
        }
        Some(_) if config.client_belongs_to(&found.issuer) => {
            return match configured(config, Some(found), &found.issuer) {
                Some(identity) => Ok(Choice::Use(identity)),
                None => refuse(
                    "the server accepts no authentication method that the configured client can use",
                ),
            };
        }
        Some(_) => closed.push("the configured client belongs to another issuer"),
        None => closed.push("no client is configured"),
    }
    match &config.client_metadata_url {
        Some(_) if document_rejected => closed.push("our client ID metadata document was rejected"),
        Some(url) if server.client_id_metadata_document_supported => {
            return Ok(Choice::Use(document(config, url, Some(found), &found.issuer)));
        }
        Some(_) => closed.push("the server supports no client ID metadata documents"),
        None => closed.push("no client ID metadata document is configured"),
    }
    // A server may insist on the very port that was registered.
    match registration {
        Some(known) if known.serves(redirect_uri, by_code) && is_good(known, now) => {
            Ok(Choice::Use(registered(known, ClientSource::Remembered)))
        }
        _ if server.registration_endpoint().is_some() => Ok(Choice::Register),
        // A doubtful one is better than none.
        Some(known) if known.serves(redirect_uri, by_code) && !known.is_expired(now) => {
            Ok(Choice::Use(registered(known, ClientSource::Remembered)))
        }
        _ => {
            closed.push("the server offers no dynamic registration");
            refuse(&closed.join(", "))
        }
    }
}

fn is_good(known: &Registration, now: UnixTime) -> bool {
    !known.suspect && !known.expires_soon(now)
}

/// The client that tokens were issued to, as it is known now; `None` if it isn't any more, or has a
/// secret that has expired.
pub(crate) fn recall(config: &Config, record: &Record, now: UnixTime) -> Option<Identity> {
    let tokens = record.tokens.as_ref()?;
    let identity = buyer(config, record, tokens, now)?;
    let by_secret = identity.client_secret.is_some() && identity.auth_method.needs_secret();
    let auth_method = tokens.auth_method.filter(|_| by_secret);
    Some(Identity { auth_method: auth_method.unwrap_or(identity.auth_method), ..identity })
}

fn buyer(config: &Config, record: &Record, tokens: &Tokens, now: UnixTime) -> Option<Identity> {
    match tokens.client_source.kind() {
        ClientSource::Registered => {
            let buyer = record.buyer().filter(|buyer| !buyer.is_expired(now));
            buyer.map(|known| registered(known, ClientSource::Remembered))
        }
        ClientSource::MetadataDocument => {
            let ours = config.client_metadata_url.as_ref() == Some(&tokens.client_id);
            let found = discovered(record, tokens);
            ours.then(|| document(config, &tokens.client_id, found, &tokens.issuer))
        }
        _ => {
            let ours = config.client_id.as_ref() == Some(&tokens.client_id);
            if !ours || !config.client_belongs_to(&tokens.issuer) {
                return None;
            }
            configured(config, discovered(record, tokens), &tokens.issuer)
        }
    }
}

fn discovered<'a>(record: &'a Record, tokens: &Tokens) -> Option<&'a Discovery> {
    record.discovery.as_ref().filter(|found| found.issuer == tokens.issuer)
}

pub(crate) fn registered(known: &Registration, source: ClientSource) -> Identity {
    Identity {
        client_id: known.client_id.clone(),
        client_secret: known.client_secret.clone(),
        secret_from: Vec::new(),
        auth_method: known.auth_method,
        key: None,
        certificate: None,
        source,
    }
}

pub(crate) fn configured(
    config: &Config,
    found: Option<&Discovery>,
    issuer: &str,
) -> Option<Identity> {
    let client_secret = config.client_secret.clone();
    let has_secret = config.has_client_secret();
    let key = ClientKey::of(config, found, issuer).map(Box::new);
    let supported =
        found.and_then(|found| found.server.token_endpoint_auth_methods_supported.as_deref());
    let by = certificate(config, supported).filter(|_| key.is_none());
    let proves = config.client_key.is_some() || config.client_certificate.is_some();
    let auth_method = match (AuthMethod::choose(supported, has_secret), &by) {
        _ if key.is_some() => AuthMethod::PrivateKeyJwt,
        (_, Some((_, method))) => *method,
        // It was given a key, not to be believed without.
        _ if !has_secret && proves => return None,
        (Some(method), None) => method,
        // Many servers list only methods with a secret and accept public clients all the same.
        (None, None) if !has_secret => AuthMethod::None,
        (None, None) => return None,
    };
    let source = ClientSource::Configured;
    let client_id = config.client_id.clone()?;
    let secret_from = config.client_secret_from.clone();
    let certificate = by.map(|(certificate, _)| certificate);
    Some(Identity { client_id, client_secret, secret_from, auth_method, key, certificate, source })
}

pub(crate) fn document(
    config: &Config,
    url: &str,
    found: Option<&Discovery>,
    issuer: &str,
) -> Identity {
    let key = ClientKey::of(config, found, issuer).map(Box::new);
    let supported =
        found.and_then(|found| found.server.token_endpoint_auth_methods_supported.as_deref());
    let by = certificate(config, supported).filter(|_| key.is_none());
    let auth_method = match &by {
        _ if key.is_some() => AuthMethod::PrivateKeyJwt,
        Some((_, method)) => *method,
        None => AuthMethod::None,
    };
    Identity {
        client_id: url.to_owned(),
        client_secret: None,
        secret_from: Vec::new(),
        auth_method,
        key,
        certificate: by.map(|(certificate, _)| certificate),
        source: ClientSource::MetadataDocument,
    }
}
