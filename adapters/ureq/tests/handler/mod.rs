//! ToolHive's way in, and the hooks that it has.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_auth::toolhive::{CachedSession, RemoteConfig};
use mcp_auth::{
    CachedLogin, Config, ErrorKind, HostError, Retry, SavedClient, Secret, SecretRef, UnixTime,
};
use mcp_auth_hosts::Visitor;
use mcp_auth_ureq::tokens::{PersistingTokenSource, TokenSource};
use mcp_auth_ureq::{Handler, Session, SessionTokenSource};
use mcp_auth_world::{Canned, Fault, RequiresLogin, ResourceMetadata, What};

use crate::{Town, session};

/// A secret manager, and what the persisters put there.
#[derive(Clone, Default)]
struct Vault {
    session: Arc<Mutex<Option<Secret>>>,
    sessions: Arc<Mutex<Vec<CachedSession>>>,
    clients: Arc<Mutex<Vec<SavedClient>>>,
    /// So many times nothing can be put there.
    locked: Arc<Mutex<usize>>,
}

impl Vault {
    fn token_persister(
        &self,
    ) -> impl Fn(&CachedSession, Option<UnixTime>) -> Result<(), HostError> + use<> {
        let this = self.clone();
        move |session, expires_at| {
            assert!(expires_at.is_some());
            let mut locked = this.locked.lock().unwrap();
            if *locked > 0 {
                *locked -= 1;
                return Err(HostError::new("the vault is locked"));
            }
            *this.session.lock().unwrap() = Some(session.to_text());
            this.sessions.lock().unwrap().push(session.clone());
            Ok(())
        }
    }

    fn persisted(&self) -> usize {
        self.sessions.lock().unwrap().len()
    }
}

fn handler(config: &RemoteConfig, visitor: &Visitor, vault: &Vault) -> Handler {
    let (visitor, vault) = (visitor.clone(), vault.clone());
    Handler::new(config).configure(|session| {
        let (session_at, clients) = (vault.session.clone(), vault.clients.clone());
        session
            .browser(visitor)
            .timeout(Duration::from_secs(20))
            .secrets(move |name: &str| {
                Ok(session_at.lock().unwrap().clone().filter(|_| name == "REFRESH"))
            })
            .token_persister(vault.token_persister())
            .client_credentials_persister(move |client: &SavedClient| {
                clients.lock().unwrap().push(client.clone());
                Ok(())
            })
    })
}

fn config() -> RemoteConfig {
    RemoteConfig { use_pkce: true, callback_port: Some(0), ..RemoteConfig::default() }
}

/// The configuration after a login, as ToolHive keeps it.
fn kept(vault: &Vault) -> RemoteConfig {
    let clients = vault.clients.lock().unwrap();
    RemoteConfig {
        cached_refresh_token_ref: Some("REFRESH".to_owned()),
        cached_client_id: Some(clients[0].client_id.clone()),
        cached_dcr_callback_port: clients[0].callback_port(),
        cached_token_auth_method: Some(clients[0].auth_method.as_str().to_owned()),
        ..config()
    }
}

/// A login with a person, whose credentials are in the vault.
fn logged_in(town: &Town) -> (Vault, SessionTokenSource) {
    let (vault, visitor) = (Vault::default(), Visitor::default());
    let source = handler(&config(), &visitor, &vault).authenticate(town.url()).unwrap().unwrap();
    assert_eq!((visitor.times_opened(), vault.persisted()), (1, 1));
    (vault, source)
}

#[test]
fn a_static_token_comes_before_a_cached_login() {
    let town = Town::new();
    let (vault, _) = logged_in(&town);
    let config = RemoteConfig { bearer_token: Some("by-hand".into()), ..kept(&vault) };
    let visitor = Visitor::default();
    let source = handler(&config, &visitor, &vault).authenticate(town.url()).unwrap().unwrap();
    assert_eq!(source.token().unwrap().access_token.expose(), "by-hand");
    assert_eq!((visitor.times_opened(), town.count(What::Refreshes)), (0, 0));
}

#[test]
fn a_cached_login_comes_before_a_new_one_and_each_new_token_is_persisted() {
    let town = Town::new();
    town.world().authorization[0].token_lifetime = 1;
    let (vault, _) = logged_in(&town);
    assert_eq!(vault.clients.lock().unwrap().len(), 1);
    let visitor = Visitor::default();
    let cached = handler(&kept(&vault), &visitor, &vault);
    let source = cached.authenticate(town.url()).unwrap().unwrap();
    assert_eq!((visitor.times_opened(), town.count(What::Refreshes)), (0, 1));
    assert_eq!(vault.persisted(), 2);
    std::thread::sleep(Duration::from_millis(2100));
    let token = source.token().unwrap();
    assert_eq!((town.count(What::Refreshes), vault.persisted()), (2, 3));
    assert_eq!(token.session.as_ref(), vault.sessions.lock().unwrap().last());
    let distinct: std::collections::HashSet<_> =
        vault.sessions.lock().unwrap().iter().map(|s| s.token().expose().clone()).collect();
    assert_eq!(distinct.len(), 3);
    assert!(town.world().leaks().is_empty());
}

#[test]
fn a_client_that_was_registered_is_persisted_once() {
    let town = Town::new();
    let (vault, source) = logged_in(&town);
    source.session().login().unwrap();
    let clients = vault.clients.lock().unwrap();
    assert_eq!(clients.len(), 1);
    assert_eq!(clients[0].issuer, town.world().authorization[0].issuer);
    assert!(clients[0].callback_port().is_some() && !clients[0].client_id.is_empty());
}

#[test]
fn a_server_that_wants_no_authorization_has_no_source_of_tokens() {
    let town = Town::new();
    town.world().resource.requires_login = RequiresLogin::Never;
    town.world().resource.metadata = ResourceMetadata::Absent;
    let visitor = Visitor::default();
    let open = handler(&config(), &visitor, &Vault::default()).authenticate(town.url()).unwrap();
    assert!(open.is_none() && visitor.times_opened() == 0);
}

#[test]
fn an_outage_ends_no_cached_login_and_opens_no_browser() {
    let town = Town::new();
    let (vault, _) = logged_in(&town);
    let before = vault.session.lock().unwrap().clone();
    town.world().faults.push(Fault::answer("POST", "/token", Canned::new(503, "")).times(99));
    let visitor = Visitor::default();
    // It is waited for, and nobody waits for ever.
    let impatient = handler(&kept(&vault), &visitor, &vault)
        .configure(|session| session.timeout(Duration::from_secs(2)));
    let outage = impatient.authenticate(town.url()).unwrap_err();
    assert!(!matches!(outage.kind(), ErrorKind::LoginRequired { .. }), "{outage}");
    assert_eq!(visitor.times_opened(), 0);
    assert_eq!(*vault.session.lock().unwrap(), before);
    town.world().faults.clear();
    handler(&kept(&vault), &visitor, &vault).authenticate(town.url()).unwrap().unwrap();
    assert_eq!((visitor.times_opened(), vault.persisted()), (0, 2));
}

#[test]
fn what_cannot_be_persisted_is_told_and_tried_again_and_fails_nobody() {
    let town = Town::new();
    town.world().authorization[0].token_lifetime = 1;
    let vault = Vault::default();
    *vault.locked.lock().unwrap() = usize::MAX;
    let visitor = Visitor::default();
    let source = handler(&config(), &visitor, &vault).authenticate(town.url()).unwrap().unwrap();
    assert!(source.session().not_persisted().unwrap().to_string().contains("locked"));
    assert_eq!(vault.persisted(), 0);
    *vault.locked.lock().unwrap() = 0;
    std::thread::sleep(Duration::from_millis(2100));
    let token = source.token().unwrap();
    assert!(source.session().not_persisted().is_none());
    assert_eq!(vault.sessions.lock().unwrap().last(), token.session.as_ref());
}

#[test]
fn the_programs_own_http_client_is_used_throughout() {
    let town = Town::new();
    let agent: ureq::Agent = ureq::Agent::config_builder().user_agent("Notes/7").build().into();
    let handler = handler(&config(), &Visitor::default(), &Vault::default());
    handler.configure(|session| session.agent(agent)).authenticate(town.url()).unwrap().unwrap();
    let world = town.world();
    // The browser isn't the program's.
    let own = world.log.iter().filter(|e| !e.request.uri().path().contains("authorize"));
    let agents: Vec<_> = own.map(|e| e.request.headers().get("user-agent").cloned()).collect();
    assert!(agents.len() > 4 && agents.iter().all(|agent| agent.as_ref().unwrap() == "Notes/7"));
}

#[test]
fn a_cached_login_becomes_a_source_whose_first_use_refreshes_and_is_the_only_request() {
    let town = Town::new();
    town.world().authorization[0].preregister("by-hand", None);
    let known = Config { client_id: Some("by-hand".to_owned()), ..Config::default() };
    let visitor = Visitor::default();
    let session = session(&town).browser(visitor).config(known.clone()).build().unwrap();
    session.login().unwrap();
    let cached = session.cached_session().unwrap();
    let issuer = town.world().authorization[0].issuer.clone();
    let known = Config {
        issuer: Some(issuer.clone()),
        authorize_url: Some(format!("{issuer}/authorize")),
        token_url: Some(format!("{issuer}/token")),
        retry: Retry { tries: 1, quiet_seconds: 1, ..Retry::default() },
        ..known
    };
    town.world().log.clear();
    let cached = CachedLogin::new(cached.to_text());
    let source = SessionTokenSource::from_cached(town.url(), known.clone(), cached).unwrap();
    let vault = Vault::default();
    let source = PersistingTokenSource::new(source, vault.token_persister());
    assert!(town.world().log.is_empty());

    town.world().faults.push(Fault::answer("POST", "/token", Canned::new(503, "")).times(99));
    let outage = source.token().unwrap_err();
    assert_eq!(outage.retry_in(), Some(Duration::from_secs(1)));
    town.world().faults.clear();
    town.world().log.clear();
    std::thread::sleep(Duration::from_millis(1100));
    let first = source.token();
    let paths: Vec<_> =
        town.world().log.iter().map(|e| e.request.uri().path().to_owned()).collect();
    assert_eq!(paths, ["/token"], "{first:?}");
    assert_eq!(source.token().unwrap().access_token, first.unwrap().access_token);
    assert_eq!((town.count(What::Refreshes), vault.persisted()), (1, 1));
}

#[test]
fn a_secret_that_is_not_there_costs_the_cached_login_and_in_the_background_asks_nobody() {
    let town = Town::new();
    let cached = CachedLogin::new(SecretRef::Name("REFRESH".to_owned()));
    let session = Session::builder(town.url()).browser(Visitor::default()).restore(cached);
    let session = session.secrets(|_: &str| Ok(None));
    let error = session.build().unwrap().token_source().token().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LoginRequired { .. }), "{error}");
}
