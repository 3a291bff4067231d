//! What every host promises: whole logins and calls, over real sockets on the loopback address.

mod on_the_way;
mod proofs;

use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use http::{Request, Response, header};
use mcp_auth::output::Page;
use mcp_auth::{
    Config, Ending, ErrorKind, HostError, Need, Notice, Revision, SecretRef, TransportErrorKind,
};
use mcp_auth_host::browser::{Browser, BrowserError};
use mcp_auth_host::desk::{Asking, SendError};
use mcp_auth_host::serve::Server;
use mcp_auth_host::store::{FileStore, Lock, MemoryStore, Store};
use mcp_auth_hosts::{Host as _, Visitor, eventually, redirect_of, unix_now};
use mcp_auth_world::{Canned, Fault, Person, RequiresLogin, ResourceMetadata, Visit, What};

use crate::Host;

type Town = mcp_auth_hosts::Town<Host>;

/// How much later than its limit something may end on a crowded machine: without a limit it would take
/// ten seconds at least.
const SLACK: Duration = Duration::from_secs(5);

fn need() -> Need {
    Need::default()
}

fn operation(name: &str) -> Need {
    Need { operation: Some(name.to_owned()), ..Need::default() }
}

#[test]
fn a_person_logs_in_and_the_token_is_used_again() {
    let town = Town::new();
    let visitor = Visitor::default();
    let session =
        town.session().browser(visitor.clone()).program_name("Notes & Co").build().unwrap();

    let grant = session.token(&need(), Asking::Welcome).unwrap().unwrap();
    let again = session.token(&need(), Asking::Never).unwrap().unwrap();

    assert_eq!(grant.generation(), again.generation());
    assert_eq!(visitor.times_opened(), 1);
    assert_eq!(town.count(What::CodeExchanges), 1);
    eventually("a page", || !visitor.pages.lock().unwrap().is_empty());
    let pages = visitor.pages.lock().unwrap();
    assert!(pages[0].contains("Authorization received") && pages[0].contains("Notes &amp; Co"));
    let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
    assert_eq!(response.status(), 200);
    assert!(town.world().leaks().is_empty());
}

#[test]
fn in_the_background_nobody_is_asked() {
    let town = Town::new();
    let visitor = Visitor::default();
    let session = town.session().browser(visitor.clone()).build().unwrap();
    let error = session.token(&need(), Asking::Never).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LoginRequired { .. }), "{error}");
    assert_eq!(visitor.times_opened(), 0);
}

#[test]
fn a_server_that_wants_no_authorization_is_called_without() {
    let town = Town::new();
    town.world().resource.requires_login = RequiresLogin::Never;
    town.world().resource.metadata = ResourceMetadata::Absent;
    let session = town.session().build().unwrap();
    assert!(session.token(&need(), Asking::Never).unwrap().is_none());
    assert!(session.inspect().unwrap().is_none());
    assert!(session.login().unwrap().is_none());
    let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
    assert_eq!(response.status(), 200);
    let world = town.world();
    assert!(world.log.iter().all(|e| !e.request.headers().contains_key(header::AUTHORIZATION)));
}

#[test]
fn an_inspection_finds_the_server_and_changes_nothing_there() {
    let town = Town::new();
    let session = town.session().build().unwrap();
    let found = session.inspect().unwrap().unwrap();
    assert_eq!(found.server.issuer, town.world().authorization[0].issuer);
    assert_eq!(town.count(What::Registrations), 0);
    assert_eq!(town.count(What::Authorizations), 0);
    assert_eq!(session.discovery(), Some(found));
}

#[test]
fn an_expired_token_is_refreshed_before_it_is_used() {
    let town = Town::new();
    town.world().authorization[0].token_lifetime = 1;
    let session = town.session().build().unwrap();
    let first = session.token(&need(), Asking::Welcome).unwrap().unwrap();
    thread::sleep(Duration::from_millis(2100));
    // The next one outlives the slowest machine.
    town.world().authorization[0].token_lifetime = 3600;
    let before = town.count(What::Refreshes);
    let second = session.token(&need(), Asking::Never).unwrap().unwrap();
    assert_ne!(first.generation(), second.generation());
    assert_eq!(town.count(What::Refreshes), before + 1);
}

#[test]
fn a_refused_token_is_refreshed_and_the_request_sent_again() {
    let town = Town::new();
    let session = town.session().build().unwrap();
    session.login().unwrap();
    town.world().resource.refuse_next = 1;
    let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(town.count(What::Refreshes), 1);
    assert_eq!(town.count(What::CodeExchanges), 1);
}

#[test]
fn a_client_secret_is_read_where_the_settings_say() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let town = Town::new();
    town.world().authorization[0].preregister("by-hand", Some("hush"));
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let provider = move |name: &str| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok((name == "NOTES").then(|| "hush".into()))
    };
    let config = Config {
        client_id: Some("by-hand".to_owned()),
        client_secret_from: vec![SecretRef::Name("NOTES".to_owned())],
        ..Config::default()
    };
    let session = town.session().config(config.clone()).secrets(provider).build().unwrap();
    session.login().unwrap().unwrap();
    assert_eq!(town.count(What::CodeExchanges), 1);
    assert_eq!((town.count(What::Registrations), asked.load(Ordering::SeqCst)), (0, 2));
    // A provider that panics is a failure of this action, and of nothing else.
    let panics = |_: &str| -> Result<_, HostError> { panic!("the vault is on fire") };
    let session = town.session().config(config).secrets(panics).build().unwrap();
    let error = session.login().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::SecretUnavailable { .. }), "{error}");
}

#[test]
fn a_redirect_to_the_same_path_is_followed_and_one_to_a_login_page_means_a_refresh() {
    let town = Town::new();
    let session = town.session().build().unwrap();
    session.login().unwrap();
    let moved = |path: &str| Fault::answer("POST", path, Canned::redirect(307, "/mcp"));
    town.world().faults.push(moved("/mcp/"));
    let mut request = town.call("whoami");
    *request.uri_mut() = format!("{}/", town.url()).parse().unwrap();
    let response = session.send(request, &need(), Asking::Never).unwrap();
    assert_eq!((response.status().as_u16(), town.count(What::Refreshes)), (200, 0));

    // Just obtained, a token is not suspected: the same URL again is nowhere to go to.
    town.world().faults.push(moved("/mcp").times(99));
    let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
    assert_eq!((response.status().as_u16(), town.count(What::Refreshes)), (307, 0));
    let elsewhere = Canned::redirect(307, "http://127.0.0.1:9/login");
    town.world().faults = vec![Fault::answer("POST", "/mcp", elsewhere)];
    let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
    assert_eq!(response.status(), 307);
    assert!(town.world().leaks().is_empty());
}

#[test]
fn an_operation_that_needs_more_is_stepped_up_once() {
    let town = Town::new();
    let visitor = Visitor::default();
    let session = town.session().browser(visitor.clone()).build().unwrap();
    session.login().unwrap();
    let writing = operation("tools/call write_note");
    for _ in 0..2 {
        let response = session.send(town.call("write_note"), &writing, Asking::Welcome).unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(visitor.times_opened(), 2);
    assert!(session.status().unwrap().scopes.contains("notes:write"));
}

#[test]
fn without_a_person_a_step_up_fails_and_the_token_stays_good_for_the_rest() {
    let town = Town::new();
    let session = town.session().build().unwrap();
    session.login().unwrap();
    let writing = operation("tools/call write_note");
    let error = session.send(town.call("write_note"), &writing, Asking::Never).unwrap_err();
    let SendError::Auth(error) = error else { panic!("{error:?}") };
    assert!(matches!(error.kind(), ErrorKind::LoginRequired { .. }), "{error}");
    let reading = operation("tools/call whoami");
    let response = session.send(town.call("whoami"), &reading, Asking::Never).unwrap();
    assert_eq!(response.status(), 200);
}

#[test]
fn while_one_thread_waits_in_the_browser_another_is_lent_a_good_token_at_once() {
    let town = Town::new();
    let visitor = Visitor::default();
    let session = town.session().browser(visitor.clone()).build().unwrap();
    session.login().unwrap();
    visitor.leave();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| session.login());
        eventually("a second window", || visitor.times_opened() == 2);
        let start = Instant::now();
        assert!(session.token(&need(), Asking::Never).unwrap().is_some());
        let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
        assert_eq!(response.status(), 200);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(!waiting.is_finished());

        // Refused meanwhile, it is also renewed.
        town.world().resource.refuse_next = 1;
        let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(town.count(What::Refreshes), 1);

        let url = visitor.opened.lock().unwrap()[1].clone();
        session.redirected(redirect_of(&url));
        assert!(waiting.join().unwrap().unwrap().is_some());
    });
}

#[test]
fn ten_threads_that_are_refused_at_once_make_one_refresh() {
    let town = Town::new();
    let session = town.session().build().unwrap();
    session.login().unwrap();
    let old = town.world().newest_access_token().unwrap().to_owned();
    town.world().resource.revoke(&old);
    let start = Barrier::new(10);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..10)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    session.send(town.call("whoami"), &need(), Asking::Never).unwrap().status()
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap(), 200);
        }
    });
    assert_eq!(town.count(What::Refreshes), 1);
    assert!(!town.world().reuse_seen());
}

#[test]
fn ten_threads_without_a_login_open_one_browser() {
    let town = Town::new();
    let visitor = Visitor::default();
    let session = town.session().browser(visitor.clone()).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| session.token(&need(), Asking::Welcome).unwrap().unwrap());
        }
    });
    assert_eq!(visitor.times_opened(), 1);
    assert_eq!(town.count(What::CodeExchanges), 1);
}

#[test]
fn nobody_comes_to_the_browser_and_a_later_login_works() {
    let town = Town::new();
    let visitor = Visitor::default();
    visitor.leave();
    let limit = Duration::from_secs(2);
    let session = town.session().browser(visitor.clone()).timeout(limit).build().unwrap();
    let start = Instant::now();
    let error = session.login().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TimedOut(_)), "{error}");
    assert!(start.elapsed() >= limit && start.elapsed() < limit + SLACK, "{:?}", start.elapsed());
    visitor.come_back();
    assert!(session.login().unwrap().is_some());
}

#[test]
fn the_machines_own_patience_with_a_person_ends_too() {
    let town = Town::new();
    let visitor = Visitor::default();
    visitor.leave();
    let config = Config { login_timeout_seconds: 1, ..Config::default() };
    let session = town.session().browser(visitor).config(config).build().unwrap();
    let error = session.login().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NobodyCame { .. }), "{error}");
}

#[test]
fn a_cancellation_ends_the_wait_of_everybody() {
    let town = Town::new();
    let visitor = Visitor::default();
    visitor.leave();
    let session = town.session().browser(visitor.clone()).build().unwrap();
    thread::scope(|scope| {
        let waiting = [0, 1].map(|_| scope.spawn(|| session.login()));
        eventually("a window", || visitor.times_opened() == 1);
        thread::sleep(Duration::from_millis(50));
        session.cancel();
        for waiting in waiting {
            let error = waiting.join().unwrap().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Cancelled), "{error}");
        }
    });
    visitor.come_back();
    assert!(session.login().unwrap().is_some());
}

#[test]
fn one_who_leaves_does_not_end_what_another_still_waits_for() {
    let town = Town::new();
    let visitor = Visitor::default();
    visitor.leave();
    let limit = Duration::from_secs(4);
    let session = town.session().browser(visitor.clone()).timeout(limit).build().unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| session.login());
        eventually("a window", || visitor.times_opened() == 1);
        thread::sleep(limit / 2);
        let second = scope.spawn(|| session.login());
        let error = first.join().unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TimedOut(_)), "{error}");
        let url = visitor.opened.lock().unwrap()[0].clone();
        session.redirected(redirect_of(&url));
        assert!(second.join().unwrap().unwrap().is_some());
    });
    assert_eq!(visitor.times_opened(), 1);
}

#[test]
fn a_forged_redirect_does_not_end_the_login() {
    let town = Town::new();
    let visitor = Visitor { forger: true, ..Visitor::default() };
    let ignored = Arc::new(Mutex::new(0));
    let count = ignored.clone();
    let session = town
        .session()
        .browser(visitor.clone())
        .on_notice(move |notice| {
            if matches!(notice, Notice::RedirectIgnored { .. }) {
                *count.lock().unwrap() += 1;
            }
        })
        .build()
        .unwrap();
    assert!(session.login().unwrap().is_some());
    assert_eq!(*ignored.lock().unwrap(), 1);
    eventually("two pages", || visitor.pages.lock().unwrap().len() == 2);
    let pages = visitor.pages.lock().unwrap();
    assert!(
        pages[0].contains("Nothing to see here") && pages[1].contains("Authorization received")
    );
}

#[test]
fn a_web_app_hands_in_the_query_and_is_told_what_to_show() {
    let town = Town::new();
    let visitor = Visitor::default();
    visitor.leave();
    let redirect_uri = Some("https://app.example.com/oauth/back".to_owned());
    let config = Config { redirect_uri, ..Config::default() };
    let session = town.session().config(config).browser(visitor.clone()).build().unwrap();
    let caller = session.clone();
    let caller = thread::spawn(move || caller.token(&need(), Asking::Welcome));
    eventually("a browser", || visitor.times_opened() == 1);
    let back = redirect_of(&visitor.opened.lock().unwrap()[0]);
    let (place, query) = back.split_once('?').unwrap();
    assert_eq!(place, "https://app.example.com/oauth/back");
    assert_eq!(session.came_back("code=stolen&state=guessed".to_owned()), Page::NotForUs);
    assert_eq!(session.came_back(query.to_owned()), Page::Success);
    assert!(caller.join().unwrap().unwrap().is_some());
    assert_eq!(session.came_back(query.to_owned()), Page::Success, "browsers repeat themselves");
    assert_eq!(town.count(What::CodeExchanges), 1);
}

#[test]
fn a_callback_port_in_use_is_named_in_the_error() {
    let town = Town::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    town.world().authorization[0].preregister("by-hand", None);
    let client_id = Some("by-hand".to_owned());
    let config = Config { client_id, callback_port: Some(port), ..Config::default() };
    let session = town.session().config(config).build().unwrap();
    let error = session.login().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Listener(_)), "{error}");
    assert!(error.to_string().contains(&format!("port {port} is taken")), "{error}");
    drop(taken);
    assert!(session.login().unwrap().is_some());
}

#[test]
fn a_browser_that_cannot_open_is_an_error() {
    struct None;
    impl Browser for None {
        fn open(&self, _: &str) -> Result<(), BrowserError> {
            Err(BrowserError::Headless)
        }
    }
    let town = Town::new();
    let session = town.session().browser(None).build().unwrap();
    let error = session.login().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Browser(_)), "{error}");
}

/// No browser can be opened here.
struct NoBrowser;

impl Browser for NoBrowser {
    fn open(&self, _: &str) -> Result<(), BrowserError> {
        Err(BrowserError::Headless)
    }
}

#[test]
fn without_a_browser_a_code_is_shown_and_without_a_screen_it_is_an_error() {
    let town = Town::new();
    town.world().authorization[0].device = true;
    town.world().authorization[0].poll_interval = Some(1);
    let session = town.session().browser(NoBrowser).build().unwrap();
    let error = session.token(&need(), Asking::Welcome).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Browser(_)), "{error}");
    assert_eq!(town.count(What::DeviceAuthorizations), 0);

    let codes = Arc::new(Mutex::new(Vec::new()));
    let shown = codes.clone();
    let session = town.session().browser(NoBrowser).show_code(move |code| {
        shown.lock().unwrap().push(code.user_code().to_owned());
        Ok(())
    });
    let session = session.build().unwrap();
    let caller = session.clone();
    let caller = thread::spawn(move || caller.token(&need(), Asking::Welcome));
    eventually("a poll", || town.count(What::Polls) > 0);
    let code = codes.lock().unwrap().pop().unwrap();
    let visit = town.world().enter_code(unix_now(), &code, &Person::Approves);
    assert!(matches!(visit, Visit::Page(_)), "{visit:?}");
    assert!(caller.join().unwrap().unwrap().is_some());
    let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
    assert_eq!(response.status(), 200);
    assert!(town.world().leaks().is_empty());
}

#[test]
fn a_login_survives_a_restart_on_disk_and_ends_with_a_logout() {
    let town = Town::new();
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path().join("logins")).unwrap();
    let entry = store.entry(town.url(), "");
    let start = || town.session().store(entry.clone()).build().unwrap();

    start().login().unwrap();
    let later = start();
    assert_eq!(later.status(), None);
    let requests = town.world().log.len();
    let status = later.load().unwrap().unwrap();
    assert!(status.saved && status.refreshable);
    assert_eq!(town.world().log.len(), requests, "loading sends nothing");
    assert!(later.token(&need(), Asking::Never).unwrap().is_some());
    assert_eq!(town.world().log.len(), requests, "nor does a stored token");

    // Refreshed under the store's lock, which is free afterwards.
    town.world().resource.refuse_next = 1;
    later.send(town.call("whoami"), &need(), Asking::Never).unwrap();
    assert_eq!(town.count(What::Refreshes), 1);
    drop(entry.lock(Duration::from_secs(5)).unwrap());

    let report = later.logout().unwrap();
    assert!(matches!(report.refresh_token, Ending::Ended), "{report:?}");
    assert!(matches!(report.access_token, Ending::Ended), "{report:?}");
    assert!(matches!(report.registration, Ending::NotOffered), "{report:?}");
    assert!(report.erased.is_ok() && report.is_complete());
    assert_eq!(town.count(What::Revocations), 2);
    assert_eq!(town.world().newest_refresh_token(), None);
    drop(entry.lock(Duration::from_secs(5)).unwrap());
    assert_eq!(later.status(), None);
    assert!(entry.load().unwrap().is_none());
    assert!(start().load().unwrap().is_none());
    let error = later.token(&need(), Asking::Never).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LoginRequired { .. }), "{error}");
}

#[test]
fn two_sessions_that_share_a_store_spend_no_refresh_token_twice() {
    let town = Town::new();
    let store = MemoryStore::new();
    let sessions = [0, 1].map(|_| town.session().store(store.clone()).build().unwrap());
    sessions[0].login().unwrap();
    sessions[1].load().unwrap();
    let old = town.world().newest_access_token().unwrap().to_owned();
    town.world().resource.revoke(&old);
    let start = Barrier::new(2);
    thread::scope(|scope| {
        for session in &sessions {
            scope.spawn(|| {
                start.wait();
                session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
            });
        }
    });
    assert_eq!(town.count(What::Refreshes), 1);
    assert!(!town.world().reuse_seen());
}

/// A store that can be broken.
#[derive(Clone, Default)]
struct Fragile {
    inner: MemoryStore,
    broken: Arc<Mutex<bool>>,
}

impl Fragile {
    fn check(&self) -> Result<(), HostError> {
        if *self.broken.lock().unwrap() {
            Err(HostError::new("the disk is on fire"))
        } else {
            Ok(())
        }
    }
}

impl Store for Fragile {
    fn load(&self) -> Result<Option<Vec<u8>>, HostError> {
        self.check().and_then(|()| self.inner.load())
    }
    fn save(&self, record: &[u8], expected: Revision) -> Result<(), HostError> {
        self.check().and_then(|()| self.inner.save(record, expected))
    }
    fn erase(&self, expected: Option<Revision>) -> Result<(), HostError> {
        self.check().and_then(|()| self.inner.erase(expected))
    }
    fn set_aside(&self, expected: Revision) -> Result<(), HostError> {
        self.check().and_then(|()| self.inner.set_aside(expected))
    }
    fn lock(&self, timeout: Duration) -> Result<Lock, HostError> {
        self.inner.lock(timeout)
    }
}

#[test]
fn a_store_that_fails_is_an_error_when_read_and_a_warning_when_written() {
    let town = Town::new();
    let store = Fragile::default();
    *store.broken.lock().unwrap() = true;
    let session = town.session().store(store.clone()).build().unwrap();
    let error = session.login().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Store(_)), "{error}");
    assert!(error.to_string().contains("on fire"));

    *store.broken.lock().unwrap() = false;
    assert_eq!(session.load().unwrap(), None);
    *store.broken.lock().unwrap() = true;
    assert!(session.login().unwrap().is_some());
    assert!(!session.status().unwrap().saved);

    let report = session.logout().unwrap();
    assert!(matches!(report.refresh_token, Ending::Ended), "{report:?}");
    assert!(report.erased.unwrap_err().to_string().contains("on fire"));
    let error = session.forget().unwrap_err();
    assert!(error.to_string().contains("on fire"), "{error}");
    *store.broken.lock().unwrap() = false;
    assert!(session.logout().unwrap().is_complete());
    assert!(store.inner.load().unwrap().is_none());
}

#[test]
fn forgetting_tells_no_server() {
    let town = Town::new();
    let store = MemoryStore::new();
    let session = town.session().store(store.clone()).build().unwrap();
    session.login().unwrap();
    let requests = town.world().log.len();
    session.forget().unwrap();
    assert_eq!((session.status(), store.load().unwrap()), (None, None));
    assert_eq!(town.world().log.len(), requests);
}

#[test]
fn threads_that_log_out_at_once_share_one_logout() {
    let town = Town::new();
    let session = town.session().build().unwrap();
    session.login().unwrap();
    let start = Barrier::new(2);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                assert!(session.logout().unwrap().is_complete());
            });
        }
    });
    assert_eq!(town.count(What::Revocations), 2);
}

#[test]
fn a_panic_in_somebody_elses_code_costs_one_action_only() {
    struct Bomb(Mutex<bool>, Visitor);
    impl Browser for Bomb {
        fn open(&self, url: &str) -> Result<(), BrowserError> {
            let first = std::mem::take(&mut *self.0.lock().unwrap());
            assert!(!first, "as the test wants it");
            self.1.open(url)
        }
    }
    let town = Town::new();
    let bomb = Bomb(Mutex::new(true), Visitor::default());
    let session = town
        .session()
        .browser(bomb)
        .on_notice(|notice| {
            assert!(!matches!(notice, Notice::Browsing), "as the test wants it");
        })
        .build()
        .unwrap();
    let error = session.login().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Browser(_)), "{error}");
    assert!(session.login().unwrap().is_some());
}

#[test]
fn a_token_is_not_sent_to_another_server_nor_does_its_refusal_count() {
    let town = Town::new();
    let elsewhere = Server::start(|_| {
        let refusal = Response::builder().status(401).header("www-authenticate", "Bearer");
        refusal.body(Vec::new()).unwrap()
    })
    .unwrap();
    let session = town.session().build().unwrap();
    session.login().unwrap();
    let foreign = Request::get(elsewhere.url()).body(Vec::new()).unwrap();
    let error = session.send(foreign, &need(), Asking::Welcome).unwrap_err();
    let SendError::Auth(error) = error else { panic!("{error:?}") };
    assert!(matches!(error.kind(), ErrorKind::ForeignRequest { .. }), "{error}");
}

#[test]
fn notices_are_told_in_order_and_before_the_call_returns() {
    let town = Town::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let lines = told.clone();
    let session = town
        .session()
        .on_notice(move |notice| lines.lock().unwrap().push(notice.to_string()))
        .build()
        .unwrap();
    session.login().unwrap();
    let told = told.lock().unwrap();
    let at = |what: &str| {
        let found = told.iter().position(|line| line.contains(what));
        found.unwrap_or_else(|| panic!("{what} is not in {told:#?}"))
    };
    assert!(at("wants authorization") < at("waiting for the person"));
    assert!(at("waiting for the person") < at("authorization came back"));
    assert!(at("authorization came back") < at("new tokens"));
}

/// A server for what the world doesn't play, without authorization.
fn open_session(handler: fn(Request<Vec<u8>>) -> Response<Vec<u8>>) -> (Server, Host) {
    let server = Server::start(handler).unwrap();
    let session = Host::builder(server.url())
        .timeout(Duration::from_secs(10))
        .max_body(1000)
        .build()
        .unwrap();
    (server, session)
}

fn post(server: &Server, path: &str) -> Request<Vec<u8>> {
    Request::post(format!("{}{path}", server.url())).body(Vec::new()).unwrap()
}

#[test]
fn a_response_is_read_up_to_its_limit_and_no_further() {
    let (server, session) = open_session(|request| {
        let length = request.uri().path().trim_start_matches('/').parse().unwrap_or(0);
        Response::new(vec![b'x'; length])
    });
    let fits = session.send(post(&server, "/1000"), &need(), Asking::Never).unwrap();
    assert_eq!(fits.body().len(), 1000);
    let error = session.send(post(&server, "/1001?secret"), &need(), Asking::Never).unwrap_err();
    let SendError::Transport { url, source } = error else { panic!("{error:?}") };
    assert_eq!(source.kind, TransportErrorKind::TooLarge);
    assert_eq!(url, format!("{}/1001", server.url()));
}

#[test]
fn a_redirect_is_handed_over_as_it_is() {
    let (server, session) = open_session(|request| match request.uri().path() {
        "/moved" => Response::builder()
            .status(308)
            .header("location", "/elsewhere")
            .body(b"moved".to_vec())
            .unwrap(),
        "/elsewhere" => panic!("it was followed"),
        _ => Response::new(Vec::new()),
    });
    let response = session.send(post(&server, "/moved"), &need(), Asking::Never).unwrap();
    assert_eq!((response.status().as_u16(), response.body().as_slice()), (308, &b"moved"[..]));
    assert_eq!(response.headers()["location"], "/elsewhere");
}

#[test]
fn a_probe_does_not_wait_for_the_end_of_an_endless_stream() {
    use std::io::{Read, Write};
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", socket.local_addr().unwrap());
    thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
                let _ = stream.write_all(head.as_bytes());
                while stream.write_all(b": still here\n\n").is_ok() {
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    let session = Host::builder(url).timeout(Duration::from_secs(8)).build().unwrap();
    let start = Instant::now();
    assert!(session.token(&need(), Asking::Never).unwrap().is_none());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn an_open_server_that_refuses_the_probe_in_its_own_words_is_open() {
    let (_server, session) = open_session(|_| {
        let refusal =
            r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32022,"message":"no such version"}}"#;
        Response::builder()
            .status(400)
            .header("Content-Type", "application/json")
            .body(refusal.as_bytes().to_vec())
            .unwrap()
    });
    assert!(session.token(&need(), Asking::Never).unwrap().is_none());
}

#[test]
fn a_server_that_does_not_answer_is_given_up_on_in_time() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", socket.local_addr().unwrap());
    let limit = Duration::from_secs(1);
    let session = Host::builder(&url).timeout(limit).build().unwrap();
    let start = Instant::now();
    let request = Request::post(&url).body(Vec::new()).unwrap();
    let error = session.send(request, &need(), Asking::Never).unwrap_err();
    assert!(matches!(&error, SendError::Transport { source, .. }
        if source.kind == TransportErrorKind::Timeout));
    assert!(start.elapsed() < limit + SLACK, "{:?}", start.elapsed());

    let start = Instant::now();
    let error = session.token(&need(), Asking::Never).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TimedOut(_)));
    assert!(start.elapsed() < limit + SLACK, "{:?}", start.elapsed());
}

#[test]
fn a_server_that_cannot_be_reached_is_named() {
    let (server, session) = open_session(|_| Response::new(Vec::new()));
    let request = post(&server, "/mcp?secret");
    session.send(request.clone(), &need(), Asking::Never).unwrap();
    let url = server.url();
    drop(server);
    let error = session.send(request, &need(), Asking::Never).unwrap_err();
    assert_eq!(error.to_string(), format!("the request to {url}/mcp failed"));
    let SendError::Transport { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind, TransportErrorKind::Connect, "{source}");

    let error = Host::builder(&url).build().unwrap().login().unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}
