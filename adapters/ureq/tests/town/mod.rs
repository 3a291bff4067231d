//! A simulated world on loopback sockets, and people with browsers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use mcp_auth_host::serve::{Listening, Server};
use mcp_auth_ureq::browser::{Browser, BrowserError};
use mcp_auth_ureq::{Builder, Session};
use mcp_auth_world::{What, World};

/// An MCP server and its authorization server, on two ports.
pub struct Town {
    world: Arc<Mutex<World>>,
    mcp: String,
    _servers: [Server; 2],
}

impl Town {
    pub fn new() -> Self {
        let (mcp, issuer) = (Listening::bind().unwrap(), Listening::bind().unwrap());
        let url = format!("{}/mcp", mcp.url());
        let world = Arc::new(Mutex::new(World::with_urls(&url, &[&issuer.url()])));
        let _servers = [mcp, issuer].map(|socket| {
            let world = world.clone();
            socket.start(move |request| answer(&world, &request)).unwrap()
        });
        Self { world, mcp: url, _servers }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn url(&self) -> &str {
        &self.mcp
    }

    /// A session whose person approves.
    pub fn session(&self) -> Builder {
        Session::builder(&self.mcp).browser(Visitor::default()).timeout(Duration::from_secs(20))
    }

    pub fn count(&self, what: What) -> usize {
        self.world().count(what)
    }

    /// A call of this tool.
    pub fn call(&self, tool: &str) -> Request<Vec<u8>> {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#
        );
        Request::post(&self.mcp).body(body.into_bytes()).unwrap()
    }
}

fn answer(world: &Mutex<World>, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    world.handle(unix_now(), request).unwrap_or_else(|_| {
        let mut failed = Response::new(Vec::new());
        *failed.status_mut() = http::StatusCode::BAD_GATEWAY;
        failed
    })
}

pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A browser without a window, and the person in front of it.
#[derive(Clone, Default)]
pub struct Visitor {
    /// Nobody looks at the browser.
    pub away: Arc<AtomicBool>,
    /// Somebody else on this machine talks to the callback address first.
    pub forger: bool,
    /// The URLs that were opened.
    pub opened: Arc<Mutex<Vec<String>>>,
    /// What the browser showed in the end.
    pub pages: Arc<Mutex<Vec<String>>>,
}

impl Visitor {
    pub fn leave(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    pub fn come_back(&self) {
        self.away.store(false, Ordering::SeqCst);
    }

    pub fn times_opened(&self) -> usize {
        self.opened.lock().unwrap().len()
    }
}

impl Browser for Visitor {
    fn open(&self, url: &str) -> Result<(), BrowserError> {
        self.opened.lock().unwrap().push(url.to_owned());
        if !self.away.load(Ordering::SeqCst) {
            let (this, url) = (self.clone(), url.to_owned());
            thread::spawn(move || {
                let back = redirect_of(&url);
                if this.forger {
                    let (callback, _) = back.split_once('?').unwrap();
                    this.show(&format!("{callback}?code=stolen&state=guessed"));
                }
                this.show(&back);
            });
        }
        Ok(())
    }
}

impl Visitor {
    fn show(&self, url: &str) {
        let page = get(url).into_body().read_to_string().unwrap();
        self.pages.lock().unwrap().push(page);
    }
}

/// Where the authorization server sends the browser back to.
pub fn redirect_of(authorize_url: &str) -> String {
    let response = get(authorize_url);
    response.headers()["location"].to_str().unwrap().to_owned()
}

fn get(url: &str) -> Response<ureq::Body> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    agent.get(url).call().unwrap()
}

/// Waits until it is so, for at most ten seconds.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}
