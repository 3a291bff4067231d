//! A cached login is taken up: its secrets are read, and its refresh token is spent; by one program at a
//! time, as a person is asked. One that crashes there is followed by another that tries once more, as
//! after any refresh that was sent.
//!
//! ```text
//! claim the turn ─▶ read the refresh token ─▶ (the client's secrets) ─▶ exchange ─▶ tokens of our own
//!                              │                        │                   │
//!                              └───── not there ────────┴──── refused ──────┴─▶ a login
//! ```

use super::{Ended, Login, Stage as LoginStage, Turn, rejects_client, stray};
use crate::error::ErrorKind;
use crate::flow::exchange::{Bought, Exchange, Failed, PaidWith};
use crate::flow::identity::{self, registered};
use crate::flow::job::Job;
use crate::flow::secret::{FindSecret, SecretResult};
use crate::flow::sign::SignerResult;
use crate::flow::{HttpResult, Learned, Notes, Step};
use crate::notice::{ClientSource, Notice};
use crate::restore::{CachedClient, CachedLogin, CachedRegistration};
use crate::secret::{Secret, SecretSource};
use crate::session::record::{Discovery, Provenance, Registration};
use crate::time::UnixTime;
use crate::toolhive::CachedSession;
use crate::wire::token::AuthMethod;
use crate::wire::url as address;

pub(super) struct Restore {
    cached: CachedLogin,
    found: Box<Discovery>,
    token: Option<Secret>,
    client_secret: Option<Secret>,
    management_token: Option<Secret>,
    stage: Stage,
}

enum Stage {
    Reading(Part, FindSecret),
    /// The client is among what is learned if it was registered.
    Paying(Box<Exchange>, Option<Registration>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Token,
    ClientSecret,
    ManagementToken,
}

const PARTS: [Part; 3] = [Part::Token, Part::ClientSecret, Part::ManagementToken];

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Token => "the cached refresh token",
            Part::ClientSecret => "the cached client's secret",
            Part::ManagementToken => "the cached registration access token",
        }
    }

    fn source(self, cached: &CachedLogin) -> Option<&SecretSource> {
        let client = match &cached.client {
            CachedClient::Registered(client) => Some(client),
            _ => None,
        };
        match self {
            Part::Token => Some(&cached.refresh_token),
            Part::ClientSecret => client?.client_secret.as_ref(),
            Part::ManagementToken => client?.registration_access_token.as_ref(),
        }
    }
}

fn useless(why: impl Into<String>) -> Turn {
    Ok(Step::Done(Ended::NotRestored(why.into())))
}

impl Restore {
    /// The token request that is out.
    pub(super) fn exchange(&self) -> Option<(&Exchange, Option<Registration>)> {
        match &self.stage {
            Stage::Paying(exchange, client) => Some((exchange, client.clone())),
            Stage::Reading(..) => None,
        }
    }

    fn put(&mut self, part: Part, secret: Secret) {
        let place = match part {
            Part::Token => &mut self.token,
            Part::ClientSecret => &mut self.client_secret,
            Part::ManagementToken => &mut self.management_token,
        };
        *place = Some(secret);
    }
}

impl Login {
    pub(super) fn restore(
        job: Job,
        cached: CachedLogin,
        found: Box<Discovery>,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        let stage = FindSecret::nowhere(Part::Token.name());
        let stage = Stage::Reading(Part::Token, stage);
        let restore = Restore {
            cached,
            found,
            token: None,
            client_secret: None,
            management_token: None,
            stage,
        };
        Self::read_part(job, restore, &PARTS, now, notes)
    }

    /// The first of these parts that isn't at hand is read.
    fn read_part(
        job: Job,
        mut restore: Restore,
        parts: &[Part],
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        for part in parts {
            match part.source(&restore.cached).cloned() {
                None => {}
                Some(SecretSource::Value(secret)) => restore.put(*part, secret),
                Some(SecretSource::At(place)) => {
                    if let Some((find, ask)) = FindSecret::start(part.name(), &[place]) {
                        restore.stage = Stage::Reading(*part, find);
                        let stage = LoginStage::Restore(Box::new(restore));
                        return Ok(Step::Ask(Self { job, stage }, ask));
                    }
                }
            }
        }
        Self::spend(job, restore, now, notes)
    }

    pub(super) fn restored_secret(
        job: Job,
        mut restore: Restore,
        result: SecretResult,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Turn {
        let (part, find) = match restore.stage {
            Stage::Reading(part, find) => (part, find),
            Stage::Paying(exchange, client) => {
                let (exchange, ask) = exchange.on_secret(result, now, notes)?;
                restore.stage = Stage::Paying(Box::new(exchange), client);
                let stage = LoginStage::Restore(Box::new(restore));
                return Ok(Step::Ask(Self { job, stage }, ask));
            }
        };
        restore.stage = Stage::Reading(part, find.clone());
        let later = PARTS.iter().position(|known| *known == part).map_or(0, |at| at + 1);
        let later = PARTS.get(later..).unwrap_or_default();
        if matches!(result, Ok(None)) {
            return match part {
                // Without it the registration can't be managed, and that is all.
                Part::ManagementToken => Self::read_part(job, restore, later, now, notes),
                _ => useless(format!("{} is gone", part.name())),
            };
        }
        match find.on_secret(result, notes)? {
            Step::Done(Some(secret)) => {
                restore.put(part, secret);
                Self::read_part(job, restore, later, now, notes)
            }
            _ => useless(format!("{} is gone", part.name())),
        }
    }

    fn spend(mut job: Job, mut restore: Restore, now: UnixTime, notes: &mut Notes) -> Turn {
        let found = &restore.found;
        let Some(token) = restore.token.take() else { return Err(stray("restore")) };
        let session = match CachedSession::parse(&token) {
            Ok(session) => session,
            Err(malformed) => return useless(malformed.to_string()),
        };
        let endpoint = found.server.token_endpoint.clone().unwrap_or_default();
        if !session.belongs_to(&found.issuer, &endpoint) {
            return useless("the cached refresh token belongs to another authorization server");
        }
        let (identity, client) = match &restore.cached.client {
            CachedClient::Configured if !job.config.client_belongs_to(&found.issuer) => {
                return useless("the configured client belongs to another issuer");
            }
            CachedClient::Configured if job.known(found).lives_elsewhere(&found.issuer) => {
                return useless(identity::LIVES_ELSEWHERE);
            }
            CachedClient::Configured
                if job.config.client_proves_itself()
                    && !session.is_bound()
                    && !is_named(&job, found)
                    && !job.known(found).lives_at(&found.issuer) =>
            {
                return useless(
                    "nothing says that the configured client's secret, key or certificate belongs to this authorization server (name its issuer in `client_issuer`)",
                );
            }
            CachedClient::Configured => {
                (identity::configured(&job.config, Some(found), &found.issuer), None)
            }
            CachedClient::MetadataDocument(url) => {
                (Some(identity::document(&job.config, url, Some(found), &found.issuer)), None)
            }
            CachedClient::Registered(cached)
                if cached.client_secret.is_some()
                    && !session.is_bound()
                    && !is_home(&job, cached, found) =>
            {
                return useless(
                    "nothing says that the cached client's secret belongs to this authorization server (name it in `issuer`)",
                );
            }
            CachedClient::Registered(cached) => {
                let secrets = (restore.client_secret.take(), restore.management_token.take());
                let client = registration(&job, cached, secrets, found, now);
                let identity = (!client.is_expired(now))
                    .then(|| registered(&client, ClientSource::Remembered));
                (identity, Some(client))
            }
        };
        let Some(identity) = identity else {
            return useless(
                "the client of the cached login is not configured, or its secret has expired",
            );
        };
        notes.push(super::tell(&identity));
        let (requested, resource) = (job.scopes(found), job.resource(found));
        let purchase = job.purchase(found, &identity, requested, resource, now);
        let scope = purchase.scope_on_refresh.then(|| purchase.requested.clone());
        let paid_with = PaidWith::RefreshToken { token: session.into_token(), scope };
        let (exchange, ask) = Exchange::start(
            purchase,
            identity,
            paid_with,
            // ToolHive's are bearer tokens.
            None,
            &job.config,
            &mut job.entropy,
            now,
        )?;
        let exchange = if job.tried_before { exchange.without_quick_retry() } else { exchange };
        restore.stage = Stage::Paying(Box::new(exchange), client);
        Ok(Step::Ask(Self { job, stage: LoginStage::Restore(Box::new(restore)) }, ask))
    }

    pub(super) fn restored(
        job: Job,
        mut restore: Restore,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Turn {
        let Stage::Paying(exchange, client) = restore.stage else { return Err(stray("http")) };
        let (identity, url) = (exchange.identity.clone(), exchange.url());
        match exchange.on_http(now, reply, notes) {
            Ok(Step::Ask(exchange, ask)) => {
                restore.stage = Stage::Paying(Box::new(exchange), client);
                Ok(Step::Ask(Self { job, stage: LoginStage::Restore(Box::new(restore)) }, ask))
            }
            Ok(Step::Done(Bought { reply, purchase })) => {
                let learned =
                    Learned { registered: client, ..job.learned_as(&identity, &restore.found) };
                Ok(Step::Done(Ended::Obtained {
                    reply: Box::new(reply),
                    purchase: Box::new(purchase),
                    learned,
                }))
            }
            Err(Failed::Refused(error)) if error.is_dead_grant() || rejects_client(&error) => {
                notes.push(Notice::GrantEnded { why: error.to_string() });
                useless(format!("the cached refresh token was refused: {error}"))
            }
            Err(Failed::Refused(error)) => Err(ErrorKind::TokenRefused { url, error }.into()),
            // How long it is waited for follows from the settings, unless the server asks for more.
            Err(Failed::Passing { what, retry_after }) => {
                let retry_in = retry_after.unwrap_or_default();
                Err(ErrorKind::Passing { url, what, retry_in }.into())
            }
            Err(failed) => Err(failed.into_error(url)),
        }
    }

    pub(super) fn restored_signer(
        job: Job,
        mut restore: Restore,
        result: SignerResult,
        now: UnixTime,
    ) -> Turn {
        let Stage::Paying(exchange, client) = restore.stage else { return Err(stray("sign")) };
        let (exchange, ask) = exchange.on_signer(result, now)?;
        restore.stage = Stage::Paying(Box::new(exchange), client);
        Ok(Step::Ask(Self { job, stage: LoginStage::Restore(Box::new(restore)) }, ask))
    }

    pub(super) fn restore_again(job: Job, mut restore: Restore, now: UnixTime) -> Turn {
        let Stage::Paying(exchange, client) = restore.stage else { return Err(stray("tick")) };
        let (exchange, ask) = exchange.on_pause_over(now)?;
        restore.stage = Stage::Paying(Box::new(exchange), client);
        Ok(Step::Ask(Self { job, stage: LoginStage::Restore(Box::new(restore)) }, ask))
    }

    pub(super) fn restoring(&self, restore: &Restore) -> Option<(Exchange, Learned)> {
        let (exchange, registered) = restore.exchange()?;
        let (exchange, learned) = self.paying(exchange, &restore.found);
        Some((exchange, Learned { registered, ..learned }))
    }
}

/// Whether the operator named this server. What an MCP server names is its word, and no more.
fn is_named(job: &Job, found: &Discovery) -> bool {
    let home = job.config.client_home();
    home.is_some_and(|home| address::issuers_match(home, &found.issuer))
        || found.provenance == Provenance::Configured
}

/// Whether the client is known to be this server's: the operator named it, or its registration is kept
/// at its origin.
fn is_home(job: &Job, cached: &CachedRegistration, found: &Discovery) -> bool {
    let origin = |url: &str| address::parse("the cached client", url).ok();
    let kept = cached.registration_client_uri.as_deref().and_then(origin);
    is_named(job, found)
        || kept.zip(origin(&found.issuer)).is_some_and(|(a, b)| address::same_origin(&a, &b))
}

fn registration(
    job: &Job,
    cached: &CachedRegistration,
    (client_secret, management_token): (Option<Secret>, Option<Secret>),
    found: &Discovery,
    now: UnixTime,
) -> Registration {
    let named = cached.auth_method.as_deref().and_then(AuthMethod::parse);
    let auth_method = match (named, &client_secret) {
        (Some(method), _) => method,
        (None, Some(_)) => AuthMethod::Basic,
        (None, None) => AuthMethod::None,
    };
    // The management token goes to the server that gave it, and to no other.
    let endpoint = found.server.registration_endpoint();
    let management_uri = cached.registration_client_uri.clone().filter(|uri| {
        address::parse("registration_client_uri", uri)
            .is_ok_and(|uri| endpoint.is_some_and(|own| address::same_origin(&uri, &own)))
    });
    Registration {
        issuer: found.issuer.clone(),
        client_id: cached.client_id.clone(),
        client_secret,
        secret_expires_at: cached.secret_expires_at,
        auth_method,
        redirect_uri: cached.redirect_uri.clone().unwrap_or_default(),
        wanted_port: job.config.callback_port.filter(|port| *port != 0),
        registered_at: now,
        management_token,
        management_uri,
        // Not among what was cached: the server is asked for it before it is needed.
        metadata: None,
        changes: 0,
        unrenewed: None,
        suspect: false,
        confirmed: false,
        by_code: false,
    }
}
