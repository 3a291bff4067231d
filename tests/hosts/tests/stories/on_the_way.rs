//! Callers that go while something is on its way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

#[test]
fn a_cancellation_during_the_token_exchange_loses_no_token() {
    let town = Town::new();
    let session = town.session().build().unwrap();
    town.hold("/token");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| session.login());
        eventually("a token request", || town.held() == 1);
        session.cancel();
        let error = waiting.join().unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Cancelled), "{error}");
    });
    assert_eq!(session.status(), None);
    town.release();
    eventually("tokens", || session.status().is_some_and(|status| status.saved));
    assert!(session.token(&need(), Asking::Never).unwrap().is_some());
    assert_eq!(town.count(What::CodeExchanges), 1);
}

#[test]
fn a_caller_whose_time_is_up_during_a_refresh_loses_no_token() {
    let town = Town::new();
    let store = MemoryStore::new();
    town.session().store(store.clone()).build().unwrap().login().unwrap();
    town.world().resource.refuse_next = 1;
    town.hold("/token");
    let session = town.session().store(store).timeout(Duration::from_secs(2)).build().unwrap();
    let error = session.send(town.call("whoami"), &need(), Asking::Never).unwrap_err();
    let SendError::Auth(error) = error else { panic!("{error:?}") };
    assert!(matches!(error.kind(), ErrorKind::TimedOut(_)), "{error}");
    let old = session.status().unwrap().generation;
    town.release();
    eventually("new tokens", || session.status().unwrap().generation != old);
    let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(town.count(What::Refreshes), 1);
    assert!(!town.world().reuse_seen());
}

#[test]
fn when_all_handles_are_gone_what_the_server_has_made_is_saved() {
    let town = Town::new();
    let store = MemoryStore::new();
    let session = town.session().store(store.clone()).build().unwrap();
    session.login().unwrap();
    let before = store.load().unwrap();
    town.world().resource.refuse_next = 1;
    town.hold("/token");
    let caller = {
        let (session, call) = (session.clone(), town.call("whoami"));
        thread::spawn(move || {
            let _ = session.send(call, &need(), Asking::Never);
        })
    };
    eventually("a refresh", || town.held() == 1);
    session.cancel();
    caller.join().unwrap();
    drop(session);
    town.release();
    // Before it, that a refresh was sent; after it, what came of it.
    eventually("a save", || town.count(What::Refreshes) == 1 && store.load().unwrap() != before);
    let later = town.session().store(store).build().unwrap();
    eventually("the new tokens", || {
        let sent = later.send(town.call("whoami"), &need(), Asking::Never);
        sent.unwrap().status() == 200
    });
    assert_eq!(town.count(What::Refreshes), 1);
    assert!(!town.world().reuse_seen());
}

/// A store that notices when it is used by two at once.
#[derive(Clone, Default)]
struct Lonely {
    inner: MemoryStore,
    busy: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    crowded: Arc<AtomicBool>,
}

impl Lonely {
    fn alone<T>(&self, act: impl FnOnce(&MemoryStore) -> T) -> T {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.busy.swap(true, Ordering::SeqCst) {
            self.crowded.store(true, Ordering::SeqCst);
        }
        thread::sleep(Duration::from_millis(20));
        let result = act(&self.inner);
        self.busy.store(false, Ordering::SeqCst);
        result
    }
}

impl Store for Lonely {
    fn load(&self) -> Result<Option<Vec<u8>>, HostError> {
        self.alone(Store::load)
    }
    fn save(&self, record: &[u8], expected: Revision) -> Result<(), HostError> {
        self.alone(|store| store.save(record, expected))
    }
    fn erase(&self, expected: Option<Revision>) -> Result<(), HostError> {
        self.alone(|store| store.erase(expected))
    }
    fn set_aside(&self, expected: Revision) -> Result<(), HostError> {
        self.alone(|store| store.set_aside(expected))
    }
    fn lock(&self, timeout: Duration) -> Result<Lock, HostError> {
        self.alone(|store| store.lock(timeout))
    }
}

#[test]
fn there_is_one_driver_however_many_callers() {
    let town = Town::new();
    let store = Lonely::default();
    let telling = Arc::new(AtomicBool::new(false));
    let crowded = store.crowded.clone();
    let notice = move |_: &Notice| {
        if telling.swap(true, Ordering::SeqCst) {
            crowded.store(true, Ordering::SeqCst);
        }
        thread::sleep(Duration::from_millis(1));
        telling.store(false, Ordering::SeqCst);
    };
    let session = town.session().store(store.clone()).on_notice(notice).build().unwrap();
    for _ in 0..3 {
        thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let sent = session.send(town.call("whoami"), &need(), Asking::Welcome);
                    assert_eq!(sent.unwrap().status(), 200);
                });
            }
        });
        let old = town.world().newest_access_token().unwrap().to_owned();
        town.world().resource.revoke(&old);
    }
    assert!(store.calls.load(Ordering::SeqCst) > 10);
    assert!(!store.crowded.load(Ordering::SeqCst));
    assert_eq!((town.count(What::CodeExchanges), town.count(What::Refreshes)), (1, 2));
    assert!(!town.world().reuse_seen());
}
