//! What the async host alone promises: futures that are dropped, a runtime that is not held up, many
//! sessions in one process, and their end.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use mcp_auth::output::Limits;
use mcp_auth::{Config, ErrorKind, HostError, Need, Reach, Revision, SessionState};
use mcp_auth_hosts::{Dropped, Visitor, mutual, redirect_of};
use mcp_auth_tokio::store::{Lock, MemoryStore, Store};
use mcp_auth_tokio::tokens::AsyncTokenSource as _;
use mcp_auth_tokio::{
    Answering, Asking, Builder, HttpClient, Key, Registry, ReqwestClient, SendError, Session,
};
use mcp_auth_world::{Presented, What};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(10);

type Town = mcp_auth_hosts::Town<()>;

fn session(town: &Town) -> Builder {
    town.setup().into()
}

fn need() -> Need {
    Need::default()
}

async fn call(town: &Town, session: &Session) -> u16 {
    let sent = session.send(town.call("whoami"), &need(), Asking::Never).await;
    sent.unwrap().status().as_u16()
}

/// Waits until it is so, for at most ten seconds.
async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if so() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// As often as it may be polled before it is ready, and at each of those moments.
async fn dropped_at_each_turn<T, F: Future<Output = T>>(start: impl Fn() -> F) -> T {
    for turns in 1.. {
        if let Some(result) = Dropped(Box::pin(start()), turns).await {
            return result;
        }
        assert!(turns < 1000, "it never ends");
    }
    unreachable!()
}

#[tokio::test]
async fn a_login_that_is_dropped_at_any_turn_leaves_the_next_one_free() {
    let town = Town::new();
    let session = session(&town).build().unwrap();
    let grant = dropped_at_each_turn(|| session.login()).await;
    assert!(grant.unwrap().is_some());
    assert_eq!(call(&town, &session).await, 200);
    assert!(town.world().leaks().is_empty() && !town.world().reuse_seen());
}

#[tokio::test]
async fn a_request_that_is_dropped_at_any_turn_loses_no_refresh() {
    let town = Town::new();
    let store = MemoryStore::new();
    let session = session(&town).store(store.clone()).build().unwrap();
    session.login().await.unwrap();
    let old = town.world().newest_access_token().unwrap().to_owned();
    town.world().resource.revoke(&old);
    let need = need();
    let start = || session.send(town.call("whoami"), &need, Asking::Never);
    let response = dropped_at_each_turn(start).await.unwrap();
    assert_eq!(response.status(), 200);
    eventually("a save", || session.status().is_some_and(|status| status.saved)).await;
    // However often a caller has gone: what the server gave last is what is stored.
    let newest = town.world().newest_refresh_token().unwrap().to_owned();
    assert_eq!(session.cached_session().unwrap().token().expose(), &newest);
    let stored = store.load().unwrap().unwrap();
    assert!(String::from_utf8(stored).unwrap().contains(&newest));
    assert_eq!(town.count(What::Refreshes), 1);
    assert!(!town.world().reuse_seen());
}

#[tokio::test]
async fn who_is_dropped_does_not_end_what_another_waits_for_and_the_last_one_does() {
    let town = Town::new();
    let visitor = Visitor::default();
    visitor.leave();
    let session = session(&town).browser(visitor.clone()).build().unwrap();
    let login = || {
        let session = session.clone();
        tokio::spawn(async move { session.login().await })
    };
    let (first, second) = (login(), login());
    eventually("a window", || visitor.times_opened() == 1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let url = visitor.opened.lock().unwrap()[0].clone();
    session.redirected(redirect_of(&url));
    assert!(second.await.unwrap().unwrap().is_some());
    assert_eq!(visitor.times_opened(), 1);

    let last = login();
    eventually("another window", || visitor.times_opened() == 2).await;
    let url = visitor.opened.lock().unwrap()[1].clone();
    last.abort();
    let _ = last.await;
    // Its redirect is nobody's any more.
    session.redirected(redirect_of(&url));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(town.count(What::CodeExchanges), 1);
}

#[tokio::test]
async fn a_caller_that_is_dropped_during_the_exchange_loses_no_token_answer() {
    let town = Town::new();
    let store = MemoryStore::new();
    let session = session(&town).store(store.clone()).build().unwrap();
    town.hold("/token");
    {
        let mut login = pin!(session.login());
        let held = eventually("a token request", || town.held() == 1);
        tokio::select! {
            _ = &mut login => panic!("without an answer"),
            () = held => {}
        }
    }
    town.release();
    eventually("tokens", || session.status().is_some_and(|status| status.saved)).await;
    assert_eq!(call(&town, &session).await, 200);
    assert_eq!(town.count(What::CodeExchanges), 1);
}

/// Slow, and broken if so wanted.
#[derive(Clone, Default)]
struct Slow {
    inner: MemoryStore,
    pause: Duration,
    broken: Arc<AtomicBool>,
}

impl Slow {
    fn act<T>(
        &self,
        act: impl FnOnce(&MemoryStore) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        std::thread::sleep(self.pause);
        match self.broken.load(Ordering::SeqCst) {
            true => Err(HostError::new("the disk is on fire")),
            false => act(&self.inner),
        }
    }
}

impl Store for Slow {
    fn load(&self) -> Result<Option<Vec<u8>>, HostError> {
        self.act(Store::load)
    }
    fn save(&self, record: &[u8], expected: Revision) -> Result<(), HostError> {
        self.act(|store| store.save(record, expected))
    }
    fn erase(&self, expected: Option<Revision>) -> Result<(), HostError> {
        self.act(|store| store.erase(expected))
    }
    fn set_aside(&self, expected: Revision) -> Result<(), HostError> {
        self.act(|store| store.set_aside(expected))
    }
    fn lock(&self, timeout: Duration) -> Result<Lock, HostError> {
        self.act(|store| store.lock(timeout))
    }
}

#[tokio::test]
async fn a_slow_store_does_not_hold_up_the_runtime() {
    let town = Town::new();
    let store = Slow { pause: Duration::from_millis(200), ..Slow::default() };
    let session = session(&town).store(store).build().unwrap();
    let login = async {
        session.login().await.unwrap();
        true
    };
    let mut turns = 0;
    let others = async {
        loop {
            sleep(Duration::from_millis(5)).await;
            turns += 1;
        }
    };
    tokio::select! {
        _ = login => {}
        () = others => {}
    }
    // One thread has done all of it: a read and two saves would have left none.
    assert!(turns > 60, "{turns}");
}

#[tokio::test]
async fn a_panic_in_the_http_client_costs_one_request_only() {
    struct Bomb(ReqwestClient, AtomicBool);
    impl HttpClient for Bomb {
        fn send(&self, request: Request<Vec<u8>>, limits: Limits, reach: Reach) -> Answering<'_> {
            assert!(!self.1.swap(false, Ordering::SeqCst), "as the test wants it");
            self.0.send(request, limits, reach)
        }
    }
    let town = Town::new();
    let bomb = Arc::new(Bomb(ReqwestClient::new().unwrap(), AtomicBool::new(true)));
    let session = session(&town).shared_client(bomb.clone()).build().unwrap();
    // It was the probe, which has a second form.
    assert!(session.login().await.unwrap().is_some());
    assert!(!bomb.1.load(Ordering::SeqCst));
}

/// Its locks go off when they are given back.
#[derive(Clone, Default)]
struct Mined(MemoryStore);

struct Mine(#[expect(dead_code, reason = "it is held")] Lock);

impl Drop for Mine {
    fn drop(&mut self) {
        panic!("as the test wants it");
    }
}

impl Store for Mined {
    fn load(&self) -> Result<Option<Vec<u8>>, HostError> {
        self.0.load()
    }
    fn save(&self, record: &[u8], expected: Revision) -> Result<(), HostError> {
        self.0.save(record, expected)
    }
    fn erase(&self, expected: Option<Revision>) -> Result<(), HostError> {
        self.0.erase(expected)
    }
    fn set_aside(&self, expected: Revision) -> Result<(), HostError> {
        self.0.set_aside(expected)
    }
    fn lock(&self, timeout: Duration) -> Result<Lock, HostError> {
        Ok(Box::new(Mine(self.0.lock(timeout)?)))
    }
}

#[tokio::test]
async fn a_panic_of_a_lock_that_is_given_back_holds_up_nobody() {
    let town = Town::new();
    let session = session(&town).store(Mined::default()).build().unwrap();
    let story = async {
        session.login().await.unwrap();
        town.world().resource.refuse_next = 1;
        assert_eq!(call(&town, &session).await, 200);
        assert_eq!(town.count(What::Refreshes), 1);
        assert!(session.logout().await.unwrap().is_complete());
        session.shutdown(PATIENCE).await.unwrap();
    };
    timeout(PATIENCE, story).await.expect("somebody waits for ever");
}

#[tokio::test]
async fn a_source_of_tokens_renews_them() {
    let town = Town::new();
    town.world().authorization[0].token_lifetime = 1;
    let session = session(&town).build().unwrap();
    session.login().await.unwrap();
    let source = session.token_source();
    let first = source.token().await.unwrap();
    sleep(Duration::from_millis(2100)).await;
    let second = source.token().await.unwrap();
    assert_ne!(first.access_token, second.access_token);
    assert!(second.session.is_some());
    assert_eq!(town.count(What::Refreshes), 1);
}

#[tokio::test]
async fn a_client_that_shows_no_certificates_sends_no_request_that_has_to() {
    struct Plain(ReqwestClient);
    impl HttpClient for Plain {
        fn send(&self, request: Request<Vec<u8>>, limits: Limits, reach: Reach) -> Answering<'_> {
            self.0.send(request, limits, reach)
        }
    }
    let town = Town::new();
    let ours = Presented("ours".to_owned());
    town.world().authorization[0].preregister_certificate("by-hand", ours);
    let plain = Plain(ReqwestClient::new().unwrap());
    let session = session(&town).client(plain).config(mutual::config()).build().unwrap();
    let error = session.token(&need(), Asking::Welcome).await.unwrap_err();
    assert!(error.to_string().contains("shows no client certificates"), "{error}");
    assert!(town.world().log.iter().all(|exchange| exchange.path != "/token"));
}

mod shutdown {
    use super::*;

    #[tokio::test]
    async fn saves_what_a_server_has_made_and_begins_nothing_more() {
        let town = Town::new();
        let store = MemoryStore::new();
        let session = session(&town).store(store.clone()).build().unwrap();
        town.hold("/token");
        let login = {
            let session = session.clone();
            tokio::spawn(async move { session.login().await })
        };
        eventually("a token request", || town.held() == 1).await;
        let mut end = pin!(session.shutdown(PATIENCE));
        assert!(timeout(Duration::from_millis(100), &mut end).await.is_err());
        let error = login.await.unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Cancelled), "{error}");
        town.release();
        end.await.unwrap();
        let stored = String::from_utf8(store.load().unwrap().unwrap()).unwrap();
        let newest = town.world().newest_refresh_token().unwrap().to_owned();
        assert!(stored.contains(&newest));

        let requests = town.world().log.len();
        for error in [
            session.login().await.unwrap_err(),
            session.load().await.unwrap_err(),
            session.logout().await.unwrap_err(),
        ] {
            assert!(matches!(error.kind(), ErrorKind::Cancelled), "{error}");
        }
        let forgotten = session.forget().await.unwrap_err();
        assert!(matches!(forgotten.kind(), ErrorKind::Cancelled), "{forgotten}");
        assert!(store.load().unwrap().is_some());
        assert_eq!(town.world().log.len(), requests);
    }

    #[tokio::test]
    async fn saves_what_could_not_be_saved_before_and_tells_where_it_still_cannot() {
        for mended in [true, false] {
            let town = Town::new();
            let store = Slow::default();
            let session = session(&town).store(store.clone()).build().unwrap();
            assert_eq!(session.load().await.unwrap(), None);
            store.broken.store(true, Ordering::SeqCst);
            session.login().await.unwrap();
            assert!(!session.status().unwrap().saved);
            store.broken.store(!mended, Ordering::SeqCst);
            let ended = session.shutdown(Duration::from_millis(500)).await;
            assert_eq!(ended.is_ok(), mended, "{ended:?}");
            assert_eq!(store.inner.load().unwrap().is_some(), mended);
        }
    }

    #[tokio::test]
    async fn of_an_idle_session_is_over_at_once() {
        let town = Town::new();
        let session = session(&town).build().unwrap();
        session.login().await.unwrap();
        timeout(Duration::from_secs(1), session.shutdown(PATIENCE)).await.unwrap().unwrap();
        // What is there is lent all the same.
        assert!(session.token(&need(), Asking::Never).await.unwrap().is_some());
    }
}

mod registry {
    use super::*;

    /// Counts token requests that are under way at once, by server and in all.
    struct Counting {
        client: ReqwestClient,
        counts: Mutex<std::collections::HashMap<String, (usize, usize)>>,
    }

    impl Counting {
        fn count(&self, server: &str, change: impl Fn(usize) -> usize) {
            let mut counts = self.counts.lock().unwrap();
            for who in [server, "all"] {
                let (now, most) = counts.entry(who.to_owned()).or_default();
                *now = change(*now);
                *most = (*most).max(*now);
            }
        }
    }

    impl HttpClient for Counting {
        fn send(&self, request: Request<Vec<u8>>, limits: Limits, reach: Reach) -> Answering<'_> {
            if request.uri().path() != "/token" {
                return self.client.send(request, limits, reach);
            }
            let server = request.uri().authority().unwrap().to_string();
            Box::pin(async move {
                self.count(&server, |now| now + 1);
                let sent: Result<Response<Vec<u8>>, _> =
                    self.client.send(request, limits, reach).await;
                sleep(Duration::from_millis(50)).await;
                self.count(&server, |now| now - 1);
                sent
            })
        }
    }

    /// Stores by account, and the town's person.
    fn registry(
        town: &Town,
        client: Arc<dyn HttpClient>,
        refreshes: usize,
        config: Config,
    ) -> Registry {
        let stores: Mutex<std::collections::HashMap<Key, MemoryStore>> = Mutex::default();
        let config = Arc::new(config);
        let _ = town;
        Registry::with(client, refreshes, move |session, key| {
            let store = stores.lock().unwrap().entry(key.clone()).or_default().clone();
            session.store(store).browser(Visitor::default()).config(config.clone())
        })
    }

    #[tokio::test]
    async fn has_one_session_for_each_account_at_each_server() {
        let town = Town::new();
        let client = Arc::new(ReqwestClient::new().unwrap());
        let registry = registry(&town, client, 8, Config::default());
        let alice = registry.session(town.url(), "alice").unwrap();
        alice.login().await.unwrap();
        assert!(registry.session(town.url(), "alice").unwrap().status().is_some());
        assert!(registry.session(town.url(), "bob").unwrap().status().is_none());
        assert!(registry.session("not a url", "bob").is_err());
        assert_eq!(registry.keys().len(), 2);

        let key = Key { server: town.url().to_owned(), account: "alice".to_owned() };
        assert!(registry.remove(&key).is_some());
        // Another one, over the same store.
        let alice = registry.session(town.url(), "alice").unwrap();
        assert_eq!(alice.status(), None);
        assert_eq!(call(&town, &alice).await, 200);
        assert_eq!(town.count(What::CodeExchanges), 1);
    }

    #[tokio::test]
    async fn bounds_how_many_refreshes_are_under_way_at_once() {
        let towns = [(); 3].map(|()| Arc::new(Town::new()));
        let client = ReqwestClient::new().unwrap();
        let client = Arc::new(Counting { client, counts: Mutex::default() });
        let registry = registry(&towns[0], client.clone(), 6, Config::default());
        let mut calls = tokio::task::JoinSet::new();
        for town in &towns {
            for number in 0..8 {
                let session = registry.session(town.url(), number.to_string()).unwrap();
                session.login().await.unwrap();
            }
            town.world().resource.refuse_next = 8;
        }
        client.counts.lock().unwrap().clear();
        for (town, number) in towns.iter().flat_map(|town| (0..8).map(move |number| (town, number)))
        {
            let session = registry.session(town.url(), number.to_string()).unwrap();
            let town = town.clone();
            calls.spawn(async move { call(&town, &session).await });
        }
        assert_eq!(calls.join_all().await, [200; 24]);
        assert!(towns.iter().all(|town| town.count(What::Refreshes) == 8));
        let mut counts = client.counts.lock().unwrap();
        assert_eq!(counts.remove("all"), Some((0, 6)));
        // Half of them at one server.
        let most: Vec<_> = counts.values().map(|(_, most)| *most).collect();
        assert!(most.len() == 3 && most.iter().max() == Some(&3), "{most:?}");
    }

    #[tokio::test]
    async fn lets_no_server_that_hangs_hold_up_the_others() {
        let (hanging, sound) = (Town::new(), Arc::new(Town::new()));
        let client = Arc::new(ReqwestClient::new().unwrap());
        let registry = registry(&sound, client, 4, Config::default());
        let logged_in = async |town: &Town, count: usize| {
            let mut sessions = Vec::new();
            for number in 0..count {
                let session = registry.session(town.url(), number.to_string()).unwrap();
                session.login().await.unwrap();
                sessions.push(session);
            }
            town.world().resource.refuse_next = count.try_into().unwrap();
            sessions
        };
        let (stuck, well) = (logged_in(&hanging, 8).await, logged_in(&sound, 8).await);
        hanging.hold("/token");
        let hanging = Arc::new(hanging);
        for session in stuck {
            let town = hanging.clone();
            tokio::spawn(async move { call(&town, &session).await });
        }
        eventually("as many as may", || hanging.held() >= 2).await;
        sleep(Duration::from_millis(200)).await;
        assert_eq!(hanging.held(), 2);
        let mut calls = tokio::task::JoinSet::new();
        for session in well {
            let town = sound.clone();
            calls.spawn(async move { call(&town, &session).await });
        }
        let calls = timeout(PATIENCE, calls.join_all()).await;
        assert_eq!(calls.expect("they have to wait for another server's"), [200; 8]);
        assert_eq!(sound.count(What::Refreshes), 8);
        // Those who waited come after all.
        hanging.release();
        eventually("all of them", || hanging.count(What::Refreshes) == 8).await;
    }

    /// From some moment on it refuses what comes, and never answers a refresh.
    struct Stuck {
        client: ReqwestClient,
        stuck: AtomicBool,
    }

    impl HttpClient for Stuck {
        fn send(&self, request: Request<Vec<u8>>, limits: Limits, reach: Reach) -> Answering<'_> {
            if !self.stuck.load(Ordering::SeqCst) {
                return self.client.send(request, limits, reach);
            }
            Box::pin(async move {
                if request.uri().path() == "/token" {
                    std::future::pending::<()>().await;
                }
                Ok(Response::builder().status(401).body(Vec::new()).unwrap())
            })
        }
    }

    #[tokio::test]
    async fn tells_who_had_no_turn_to_come_again_and_takes_no_holder_for_one_that_hangs() {
        let town = Town::new();
        let client = ReqwestClient::new().unwrap();
        let client = Arc::new(Stuck { client, stuck: AtomicBool::new(false) });
        let registry = registry(&town, client.clone(), 1, Config::default());
        let mut sessions = Vec::new();
        for number in 0..8 {
            let session = registry.session(town.url(), number.to_string()).unwrap();
            session.login().await.unwrap();
            sessions.push(session);
        }
        client.stuck.store(true, Ordering::SeqCst);
        tokio::time::pause();
        let mut waiting = tokio::task::JoinSet::new();
        for session in sessions {
            let request = town.call("whoami");
            waiting.spawn(async move {
                session.send(request, &need(), Asking::Never).await.unwrap_err()
            });
        }
        let errors = waiting.join_all().await;
        // A turn may be over before the others have waited for as long as they may.
        let throttled = |error: &&SendError| match error {
            SendError::Auth(error) => {
                matches!(error.kind(), ErrorKind::Store(why) if why.is_throttled())
            }
            _ => false,
        };
        assert!(errors.iter().filter(throttled).count() >= 4, "{errors:?}");
    }

    #[tokio::test]
    async fn has_one_task_for_all_that_is_to_be_renewed_ahead_of_time() {
        let town = Town::new();
        let client = Arc::new(ReqwestClient::new().unwrap());
        let config = Config { refresh_proactively: true, ..Config::default() };
        let registry = registry(&town, client, 8, config);
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let mut sessions = Vec::new();
        for number in 0..40 {
            let session = registry.session(town.url(), number.to_string()).unwrap();
            session.login().await.unwrap();
            assert!(matches!(session.state(), SessionState::Authorized));
            sessions.push(session);
        }
        eventually("one task", || tasks() == 1).await;
        // Nobody waits for a moment any more.
        assert!(registry.shutdown(PATIENCE).await.is_empty());
        drop(sessions);
        eventually("none", || tasks() == 0).await;
    }

    #[tokio::test]
    async fn shuts_all_of_them_down_and_tells_whose_tokens_could_not_be_saved() {
        let town = Town::new();
        let (good, bad) = (Slow::default(), Slow::default());
        let stores = [("good", good.clone()), ("bad", bad.clone())];
        let client = Arc::new(ReqwestClient::new().unwrap());
        let registry = Registry::with(client, 8, move |session, key| {
            let store = stores.iter().find(|(account, _)| *account == key.account).unwrap();
            session.store(store.1.clone()).browser(Visitor::default())
        });
        let sessions = ["good", "bad"].map(|name| registry.session(town.url(), name).unwrap());
        for session in &sessions {
            session.load().await.unwrap();
        }
        bad.broken.store(true, Ordering::SeqCst);
        for session in &sessions {
            session.login().await.unwrap();
        }
        let failed = registry.shutdown(Duration::from_millis(500)).await;
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].0.account, "bad");
        assert!(matches!(failed[0].1.kind(), ErrorKind::TimedOut(_)));
        assert!(good.inner.load().unwrap().is_some() && registry.keys().is_empty());
    }
}

#[tokio::test]
async fn a_session_outlives_the_future_that_made_its_request_fail() {
    let town = Town::new();
    let session = session(&town).timeout(Duration::from_millis(300)).build().unwrap();
    town.hold("/mcp");
    let error = session.send(town.call("whoami"), &need(), Asking::Never).await.unwrap_err();
    assert!(matches!(error, SendError::Transport { .. }), "{error}");
    town.release();
    session.login().await.unwrap();
}

#[test]
fn a_runtime_that_ends_takes_what_is_under_way_along_and_nobody_hangs() {
    let town = Town::new();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let within = runtime();
    let (config, store) =
        (Config { refresh_proactively: true, ..Config::default() }, MemoryStore::new());
    let open = || session(&town).config(config.clone()).store(store.clone()).build().unwrap();
    let session = within.block_on(async { open() });
    within.block_on(session.login()).unwrap();
    town.world().resource.refuse_next = 1;
    town.hold("/token");
    let caller = {
        let (session, request) = (session.clone(), town.call("whoami"));
        within.spawn(async move { session.send(request, &need(), Asking::Never).await })
    };
    while town.held() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(within);
    town.release();
    let after = runtime();
    assert!(after.block_on(caller).unwrap_err().is_cancelled());
    assert!(session.status().is_some());
    session.cancel();
    let ended = after.block_on(session.shutdown(Duration::from_millis(50))).unwrap_err();
    assert!(matches!(ended.kind(), ErrorKind::TimedOut(_)), "{ended}");
    drop(session);

    // As after a crash: the next one tries once, and the server has given the answer to nobody.
    let next = after.block_on(async { open() });
    let sent = after.block_on(next.send(town.call("whoami"), &need(), Asking::Never));
    assert!(sent.is_ok() || matches!(sent, Err(SendError::Auth(_))), "{sent:?}");
}
