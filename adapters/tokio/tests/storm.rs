//! All tokens of a thousand sessions expire at once, while ten thousand requests are on their way: on
//! real sockets, over one HTTP client.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mcp_auth::output::Limits;
use mcp_auth::{CachedLogin, Config, Need, Reach, Secret};
use mcp_auth_tokio::{Answering, Asking, HttpClient, Registry, ReqwestClient, Session};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const SESSIONS: usize = 1_000;
const REQUESTS: usize = 10_000;
/// At the program's own door.
const AT_ONCE: usize = 200;
const REFRESHES: usize = 32;

/// Tokens by account: `a7.2` is the second access token of account 7, `r7.2` its refresh token.
#[derive(Default)]
struct Account {
    generation: usize,
    /// The first access token that isn't refused.
    valid_from: usize,
    /// Refresh tokens that were spent twice.
    reused: usize,
}

/// An MCP server and its authorization server.
#[derive(Default)]
struct Server {
    accounts: Mutex<HashMap<usize, Account>>,
    served: AtomicUsize,
    refused: AtomicUsize,
    refreshes: AtomicUsize,
    /// Refreshes that are under way, and the most that were.
    refreshing: AtomicUsize,
    most_refreshing: AtomicUsize,
}

/// What a token says of itself.
fn read(token: &str) -> Option<(usize, usize)> {
    let (account, generation) = token.get(1..)?.split_once('.')?;
    Some((account.parse().ok()?, generation.parse().ok()?))
}

fn bearer(headers: &http::HeaderMap) -> Option<(usize, usize)> {
    read(headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?)
}

impl Server {
    /// On a thread of its own, for as long as the test runs.
    fn start(self: &Arc<Self>) -> SocketAddr {
        let (tell, told) = std::sync::mpsc::channel();
        let this = self.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(socket.local_addr().unwrap()).unwrap();
                loop {
                    let (stream, _) = socket.accept().await.unwrap();
                    let this = this.clone();
                    let serve = service_fn(move |request| this.clone().answer(request));
                    let http = hyper::server::conn::http1::Builder::new();
                    tokio::spawn(http.serve_connection(TokioIo::new(stream), serve));
                }
            });
        });
        told.recv().unwrap()
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let response = if head.uri.path() == "/token" {
            let now = self.refreshing.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_refreshing.fetch_max(now, Ordering::SeqCst);
            // Others come meanwhile.
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.refreshing.fetch_sub(1, Ordering::SeqCst);
            self.refresh(&body)
        } else {
            self.serve(bearer(&head.headers))
        };
        Ok(response.map(Full::from))
    }

    fn serve(&self, token: Option<(usize, usize)>) -> Response<String> {
        let mut accounts = self.accounts.lock().unwrap();
        let good = token.is_some_and(|(account, generation)| {
            generation >= accounts.entry(account).or_default().valid_from
        });
        if good {
            self.served.fetch_add(1, Ordering::SeqCst);
            return Response::new("{}".into());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        let refusal = Response::builder().status(401);
        refusal
            .header("www-authenticate", "Bearer error=\"invalid_token\"")
            .body("".into())
            .unwrap()
    }

    fn refresh(&self, body: &[u8]) -> Response<String> {
        let form = String::from_utf8_lossy(body);
        let token = form.split('&').find_map(|pair| pair.strip_prefix("refresh_token="));
        let (number, generation) = token.and_then(read).unwrap();
        let mut accounts = self.accounts.lock().unwrap();
        let account = accounts.entry(number).or_default();
        if generation != account.generation {
            account.reused += 1;
            let error = r#"{"error":"invalid_grant"}"#;
            return Response::builder().status(400).body(error.into()).unwrap();
        }
        account.generation += 1;
        self.refreshes.fetch_add(1, Ordering::SeqCst);
        let next = account.generation;
        let tokens = format!(
            r#"{{"access_token":"a{number}.{next}","refresh_token":"r{number}.{next}","token_type":"Bearer","expires_in":3600}}"#
        );
        Response::builder().header("content-type", "application/json").body(tokens).unwrap()
    }

    /// After the first refresh of all.
    fn assert_each_was_refreshed_once(&self) {
        let accounts = self.accounts.lock().unwrap();
        assert_eq!(accounts.len(), SESSIONS);
        for (number, account) in &*accounts {
            assert_eq!((account.generation, account.reused), (2, 0), "session {number}");
        }
    }

    fn expire_all(&self) {
        for account in self.accounts.lock().unwrap().values_mut() {
            account.valid_from = account.generation + 1;
        }
    }
}

/// Knows, when a request is sent, which tokens have been sent before. The runtime has one thread, so
/// nothing comes between the loan of a token and this.
struct Witness {
    client: ReqwestClient,
    newest: Mutex<HashMap<usize, usize>>,
    stale: AtomicUsize,
}

impl HttpClient for Witness {
    fn send(&self, request: Request<Vec<u8>>, limits: Limits, reach: Reach) -> Answering<'_> {
        if let Some((account, generation)) = bearer(request.headers()) {
            let mut newest = self.newest.lock().unwrap();
            let newest = newest.entry(account).or_default();
            if generation < *newest {
                self.stale.fetch_add(1, Ordering::SeqCst);
            }
            *newest = generation.max(*newest);
        }
        self.client.send(request, limits, reach)
    }
}

async fn call(session: Session, url: String) -> u16 {
    let request = Request::post(url).body(b"{}".to_vec()).unwrap();
    let sent = session.send(request, &Need::default(), Asking::Never).await;
    sent.unwrap().status().as_u16()
}

/// File descriptors that are open, of the server too.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Resident memory, in KiB.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "for whoever looks at the numbers, with `--nocapture`")]
#[tokio::test]
async fn a_thousand_sessions_expire_at_once_and_each_is_refreshed_once() {
    let server = Arc::new(Server::default());
    let origin = format!("http://{}", server.start());
    let witness = Arc::new(Witness {
        client: ReqwestClient::new().unwrap(),
        newest: Mutex::default(),
        stale: AtomicUsize::new(0),
    });
    let config = Arc::new(Config {
        client_id: Some("gateway".to_owned()),
        issuer: Some(origin.clone()),
        authorize_url: Some(format!("{origin}/authorize")),
        token_url: Some(format!("{origin}/token")),
        ..Config::default()
    });
    let registry = Registry::with(witness.clone(), REFRESHES, move |session, key| {
        let cached = CachedLogin::new(Secret::from(format!("r{}.0", key.account).as_str()));
        session.config(config.clone()).restore(cached)
    });
    let url = format!("{origin}/mcp");
    let session = |number: usize| registry.session(&url, number.to_string()).unwrap();

    // Everybody takes up the login that another program has made.
    let mut first = JoinSet::new();
    for number in 0..SESSIONS {
        first.spawn(call(session(number), url.clone()));
    }
    assert!(first.join_all().await.iter().all(|status| *status == 200));
    assert_eq!(server.refreshes.load(Ordering::SeqCst), SESSIONS);

    // The storm's own are counted.
    server.most_refreshing.store(0, Ordering::SeqCst);

    server.expire_all();
    let (open, used, tasks) = (descriptors(), memory(), alive());
    let (start, door) = (Instant::now(), Arc::new(Semaphore::new(AT_ONCE)));
    let mut storm = JoinSet::new();
    let mut most_open = 0;
    for number in 0..REQUESTS {
        let permit = door.clone().acquire_owned().await.unwrap();
        // Ten of one session come one after the other.
        let (session, url) = (session(number * SESSIONS / REQUESTS), url.clone());
        storm.spawn(async move {
            let status = call(session, url).await;
            drop(permit);
            status
        });
        if number % 100 == 0 {
            most_open = most_open.max(descriptors());
        }
    }
    assert!(storm.join_all().await.iter().all(|status| *status == 200));
    println!(
        "{REQUESTS} requests over {SESSIONS} sessions in {:.1} s: {} refusals, {} descriptors and \
         {} KiB more than before",
        start.elapsed().as_secs_f32(),
        server.refused.load(Ordering::SeqCst),
        most_open.saturating_sub(open),
        memory().saturating_sub(used),
    );

    server.assert_each_was_refreshed_once();
    assert_eq!(server.served.load(Ordering::SeqCst), SESSIONS + REQUESTS);
    // Each has met a refusal: without a token in the beginning, with an old one now.
    assert!(server.refused.load(Ordering::SeqCst) >= 2 * SESSIONS);
    assert_eq!(witness.stale.load(Ordering::SeqCst), 0, "sent with a stale token");
    let most_refreshing = server.most_refreshing.load(Ordering::SeqCst);
    assert!((2..=REFRESHES).contains(&most_refreshing), "{most_refreshing} refreshes at once");
    // A connection has two ends here, and one that is being closed may be there beside its successor.
    assert!(most_open <= open + 4 * (AT_ONCE + REFRESHES), "{open}, then {most_open}");
    assert!(memory() <= used + (64 << 10), "{used} KiB, then {} KiB", memory());
    assert!(alive() <= tasks + 2 * (AT_ONCE + REFRESHES), "{tasks} tasks, then {}", alive());
    assert!(registry.shutdown(Duration::from_secs(10)).await.is_empty());
}

/// Tasks of this runtime: connections have some, sessions none.
fn alive() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
