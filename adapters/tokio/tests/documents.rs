//! Sessions of one registry share what servers publish of themselves: on real sockets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use mcp_auth::output::Limits;
use mcp_auth::{Config, Need, Reach, Revision};
use mcp_auth_hosts::{Visitor, eventually, redirect_of};
use mcp_auth_tokio::store::{MemoryStore, Store as _};
use mcp_auth_tokio::{
    Answering, Asking, Builder, HttpClient, Key, Registry, ReqwestClient, Session,
};
use mcp_auth_world::{Canned, Fault, What};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

const SESSIONS: usize = 200;
const RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp";
const SERVER: &str = "/.well-known/oauth-authorization-server";

type Town = mcp_auth_hosts::Town<()>;

/// So many requests at a time: the town's servers take no more connections.
struct Door(ReqwestClient, Semaphore);

impl Door {
    fn client() -> Arc<dyn HttpClient> {
        Arc::new(Self(ReqwestClient::new().unwrap(), Semaphore::new(40)))
    }
}

impl HttpClient for Door {
    fn send(&self, request: Request<Vec<u8>>, limits: Limits, reach: Reach) -> Answering<'_> {
        Box::pin(async move {
            let _turn = self.1.acquire().await;
            self.0.send(request, limits, reach).await
        })
    }
}

/// What is kept of each account: a store, and who sits in front of the browser.
#[derive(Clone, Default)]
struct Accounts(Arc<Mutex<HashMap<String, (MemoryStore, Visitor)>>>);

impl Accounts {
    fn of(&self, account: &str) -> (MemoryStore, Visitor) {
        self.0.lock().unwrap().entry(account.to_owned()).or_default().clone()
    }

    /// Sessions over these stores, in a process of their own.
    fn registry(
        &self,
        more: impl Fn(Builder, &Key) -> Builder + Send + Sync + 'static,
    ) -> Registry {
        let this = self.clone();
        Registry::with(Door::client(), 64, move |session, key| {
            let (store, visitor) = this.of(&key.account);
            more(session.store(store).browser(visitor), key)
        })
    }
}

fn plain(session: Builder, _: &Key) -> Builder {
    session
}

fn sessions(town: &Town, registry: &Registry) -> Vec<(String, Session)> {
    let session = |number: usize| {
        let account = number.to_string();
        (account.clone(), registry.session(town.url(), account).unwrap())
    };
    (0..SESSIONS).map(session).collect()
}

/// How often each document was asked for.
fn asked(town: &Town) -> HashMap<String, usize> {
    let mut asked = HashMap::new();
    for exchange in town.world().log.iter().filter(|it| it.path.starts_with("/.well-known/")) {
        *asked.entry(exchange.path.clone()).or_default() += 1;
    }
    asked
}

fn times(town: &Town, path: &str) -> usize {
    asked(town).get(path).copied().unwrap_or_default()
}

async fn inspect(session: &Session) -> bool {
    session.inspect().await.is_ok_and(|found| found.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn crowds_ask_for_each_document_once() {
    let town = Town::new();
    let accounts = Accounts::default();
    let registry = accounts.registry(plain);
    let mut logins = JoinSet::new();
    for (account, session) in sessions(&town, &registry) {
        let (_, visitor) = accounts.of(&account);
        visitor.leave();
        logins.spawn(async move { session.login().await.unwrap().is_some() });
    }
    // All are at their browsers before the first comes back.
    for (account, session) in sessions(&town, &registry) {
        let (_, visitor) = accounts.of(&account);
        while visitor.times_opened() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        let url = visitor.opened.lock().unwrap()[0].clone();
        session.redirected(spawn_blocking(move || redirect_of(&url)).await.unwrap());
    }
    assert!(logins.join_all().await.iter().all(|done| *done));
    let once = |path: &str| (path.to_owned(), 1);
    assert_eq!(asked(&town), [once(RESOURCE), once(SERVER)].into());
    assert!(registry.shutdown(Duration::from_secs(10)).await.is_empty());

    // The next day, in another process: the tokens have expired, and the metadata is stale.
    for number in 0..SESSIONS {
        let (store, _) = accounts.of(&number.to_string());
        let record = store.load().unwrap().unwrap();
        let old = set(set(String::from_utf8(record.clone()).unwrap(), "expires_at"), "since");
        store.save(old.as_bytes(), Revision::of(Some(&record))).unwrap();
    }
    let registry = accounts.registry(plain);
    let mut tokens = JoinSet::new();
    for (_, session) in sessions(&town, &registry) {
        let token = async move { session.token(&Need::default(), Asking::Never).await };
        tokens.spawn(async move { token.await.unwrap().is_some() });
    }
    assert!(tokens.join_all().await.iter().all(|done| *done));
    assert_eq!(town.count(What::Refreshes), SESSIONS);
    assert_eq!((times(&town, RESOURCE), times(&town, SERVER)), (1, 2));
}

/// The record with this moment long ago.
fn set(record: String, moment: &str) -> String {
    let (before, after) = record.split_once(&format!("\"{moment}\":")).unwrap();
    let (_, after) = after.split_once(',').unwrap();
    format!("{before}\"{moment}\":1000,{after}")
}

#[tokio::test]
async fn with_other_bounds_or_another_client_it_is_asked_for_again() {
    let town = Town::new();
    let registry = Accounts::default().registry(|session, key| match &*key.account {
        "lenient" => session.config(Config {
            allow_private_addresses: vec!["10.0.0.0/8".to_owned()],
            ..Config::default()
        }),
        "apart" => session.client(ReqwestClient::new().unwrap()),
        _ => session,
    });
    let session = |account: &str| registry.session(town.url(), account).unwrap();
    for (account, resource, server) in [
        ("alice", 1, 1),
        ("bob", 1, 1),
        // The MCP server's own may be anywhere, and so is the same for both.
        ("lenient", 1, 2),
        ("apart", 2, 3),
        ("carol", 2, 3),
    ] {
        assert!(inspect(&session(account)).await, "{account}");
        assert_eq!((times(&town, RESOURCE), times(&town, SERVER)), (resource, server), "{account}");
    }
    // So does another process, and a session of none.
    let other = Accounts::default().registry(plain);
    assert!(inspect(&other.session(town.url(), "alice").unwrap()).await);
    let alone = Builder::from(town.setup()).build().unwrap();
    assert!(inspect(&alone).await && inspect(&alone).await);
    assert_eq!((times(&town, RESOURCE), times(&town, SERVER)), (5, 6));
}

#[tokio::test]
async fn one_that_fails_is_not_kept_and_one_that_is_missing_is_for_a_moment() {
    let town = Town::new();
    let registry = Accounts::default().registry(plain);
    let session = |account: &str| registry.session(town.url(), account).unwrap();
    let down = Canned::new(503, "");
    town.world().faults.push(Fault::answer("GET", SERVER, down).times(2));
    assert!(!inspect(&session("alice")).await);
    // The server is back for the next one.
    town.world().faults.clear();
    assert!(inspect(&session("bob")).await && inspect(&session("alice")).await);
    assert_eq!(times(&town, SERVER), 2);

    let town = Town::new();
    let missing = Canned::new(404, "");
    town.world().faults.push(Fault::answer("GET", RESOURCE, missing).times(9));
    let session = |account: &str| registry.session(town.url(), account).unwrap();
    let (_, _) = (inspect(&session("alice")).await, inspect(&session("bob")).await);
    assert_eq!(times(&town, RESOURCE), 1);
}

#[test]
fn who_asks_first_may_go_with_its_runtime_and_the_others_are_served() {
    let town = Arc::new(Town::new());
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (first, others) = (runtime(), runtime());
    let registry = Accounts::default().registry(plain);
    let begin = |account: &str| {
        let session = registry.session(town.url(), account).unwrap();
        tokio::spawn(async move { inspect(&session).await })
    };
    town.hold(RESOURCE);
    first.block_on(async { drop(begin("alice")) });
    eventually("a request", || town.held() == 1);
    let waiting = others.block_on(async { ["bob", "carol"].map(begin) });
    // They have asked whether they need a login, and wait.
    eventually("their probes", || town.count(What::McpRequests) >= 3);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(town.held(), 1);
    drop(first);
    // One of them asks in its place.
    eventually("another request", || town.held() == 2);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(town.held(), 2);
    town.release();
    for one in waiting {
        assert!(others.block_on(one).unwrap());
    }
    // Also the one whose asker has gone is served in the end.
    eventually("both", || times(&town, RESOURCE) == 2);
    assert_eq!(times(&town, SERVER), 1);
}
