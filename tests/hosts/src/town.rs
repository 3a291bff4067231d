//! A simulated world on loopback sockets, and people with browsers.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use mcp_auth_host::browser::{Browser, BrowserError};
use mcp_auth_host::serve::{Listening, Server};
use mcp_auth_host::setup::Setup;
use mcp_auth_world::{What, World};

use crate::host::Build;

/// An MCP server and its authorization server, on two ports.
pub struct Town<H> {
    world: Arc<Mutex<World>>,
    gate: Arc<Gate>,
    mcp: String,
    servers: Vec<Server>,
    host: PhantomData<H>,
}

/// What answers a request.
pub(crate) type Answering = dyn Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync;

/// Holds requests back.
#[derive(Default)]
struct Gate {
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Default)]
struct Held {
    /// Those with this path.
    path: Option<String>,
    waiting: usize,
}

impl Gate {
    fn pass(&self, path: &str) {
        let mut held = self.held.lock().unwrap();
        held.waiting += 1;
        held = self.changed.wait_while(held, |held| held.path.as_deref() == Some(path)).unwrap();
        held.waiting -= 1;
    }
}

impl<H> Drop for Town<H> {
    fn drop(&mut self) {
        // A test that fails meanwhile must end, too.
        self.release();
    }
}

impl<H> Default for Town<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H> Town<H> {
    /// With nobody logged in.
    ///
    /// # Panics
    ///
    /// Without free ports.
    pub fn new() -> Self {
        let mcp = Listening::bind().unwrap();
        let mut town = Self::around(&mcp.url());
        let answering = town.answering();
        town.servers.push(mcp.start(move |request| answering(request)).unwrap());
        town
    }

    /// The rest of a town whose MCP server is at this origin, where somebody else listens.
    ///
    /// # Panics
    ///
    /// Without free ports.
    pub fn around(origin: &str) -> Self {
        let issuer = Listening::bind().unwrap();
        let mcp = format!("{origin}/mcp");
        let world = Arc::new(Mutex::new(World::with_urls(&mcp, &[&issuer.url()])));
        let mut town =
            Self { world, gate: Arc::default(), mcp, servers: Vec::new(), host: PhantomData };
        let answering = town.answering();
        town.servers.push(issuer.start(move |request| answering(request)).unwrap());
        town
    }

    /// What the world says to requests, once they get through.
    pub(crate) fn answering(&self) -> Arc<Answering> {
        let (world, gate) = (self.world.clone(), self.gate.clone());
        Arc::new(move |request| {
            gate.pass(request.uri().path());
            answer(&world, &request)
        })
    }

    /// Requests with this path get no answer, until [`release`](Self::release).
    pub fn hold(&self, path: &str) {
        self.gate.held.lock().unwrap().path = Some(path.to_owned());
    }

    /// How many requests are held.
    pub fn held(&self) -> usize {
        self.gate.held.lock().unwrap().waiting
    }

    /// All that were held go on.
    pub fn release(&self) {
        self.gate.held.lock().unwrap().path = None;
        self.gate.changed.notify_all();
    }

    /// What happens in it.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The MCP server's.
    pub fn url(&self) -> &str {
        &self.mcp
    }

    /// A session whose person approves.
    pub fn setup(&self) -> Setup {
        Setup {
            browser: Box::new(Visitor::default()),
            timeout: Some(Duration::from_secs(20)),
            ..Setup::new(self.mcp.clone())
        }
    }

    /// The same for this host.
    pub fn session(&self) -> Build<H> {
        Build::from(self.setup())
    }

    /// How often that happened.
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

/// The wall clock, in seconds.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A browser without a window, and the person in front of it.
#[derive(Clone, Debug, Default)]
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
    /// From now on nobody looks at the browser.
    pub fn leave(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    /// And from now on somebody does.
    pub fn come_back(&self) {
        self.away.store(false, Ordering::SeqCst);
    }

    /// How often the browser was opened.
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
