//! A simulated world in the wide one: a name server and roads of our own, on which public addresses
//! lead to servers with TLS here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use http::{Request, Response};
use mcp_auth::Notice;
use mcp_auth_host::browser::{Browser, BrowserError};
use mcp_auth_host::serve::{Listening, Server};
use mcp_auth_host::setup::Setup;
use mcp_auth_world::{Person, Visit, World};

use crate::town::unix_now;

/// Where names lead of which nothing else is said.
pub const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34));
/// The MCP server's.
pub const URL: &str = "https://mcp.example.com/mcp";

/// A world behind TLS, the name server that everybody asks, and who was dialled.
#[derive(Clone, Default)]
pub struct City {
    world: Arc<Mutex<World>>,
    /// The servers that stand in for those at other addresses.
    doors: Arc<Mutex<HashMap<IpAddr, Server>>>,
    /// What each name leads to, the next time and from then on; all others to a public address.
    names: Arc<Mutex<HashMap<String, Vec<Vec<IpAddr>>>>>,
    asked: Arc<Mutex<Vec<String>>>,
    dialled: Arc<Mutex<Vec<IpAddr>>>,
    notices: Arc<Mutex<Vec<String>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address that this text is.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl City {
    /// Where nobody has asked for anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What happens in it.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// Sets what a name leads to: one answer after the other; the last one stays.
    pub fn name(&self, host: &str, answers: &[&[&str]]) {
        let answers = answers.iter().map(|answer| answer.iter().map(|text| ip(text)).collect());
        lock(&self.names).insert(host.to_owned(), answers.collect());
    }

    /// The name server.
    pub fn look_up(&self, host: &str) -> Vec<IpAddr> {
        lock(&self.asked).push(host.to_owned());
        match lock(&self.names).get_mut(host) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => vec![PUBLIC],
        }
    }

    /// Where a connection to this address leads, which is noted as dialled. To this machine's own
    /// addresses there is no other road, so that a trap there is a real one: `None`.
    pub fn dial(&self, address: IpAddr) -> Option<SocketAddr> {
        lock(&self.dialled).push(address);
        let here = address.to_canonical().is_loopback();
        (!here).then(|| self.door(address))
    }

    /// The server that stands in for the one at this address.
    pub fn door(&self, address: IpAddr) -> SocketAddr {
        let answer = answering(self.world.clone());
        let mut doors = lock(&self.doors);
        let door = doors.entry(address);
        door.or_insert_with(|| Listening::bind().unwrap().start_tls(answer).unwrap()).address()
    }

    /// From now on, the server at this address lets in nobody without a certificate under this root, in
    /// DER. `note` sees each request first.
    ///
    /// # Panics
    ///
    /// Without free ports, and where the root is none.
    pub fn demand_certificate(
        &self,
        address: IpAddr,
        root: &[u8],
        note: impl Fn(&mut Request<Vec<u8>>) + Send + Sync + 'static,
    ) {
        let answer = answering(self.world.clone());
        let handler = move |mut request| {
            note(&mut request);
            answer(request)
        };
        let server = Listening::bind().unwrap().start_mutual_tls(root, handler).unwrap();
        lock(&self.doors).insert(address, server);
    }

    /// The address that this server stands in for.
    pub fn behind(&self, door: SocketAddr) -> IpAddr {
        let doors = lock(&self.doors);
        let found = doors.iter().find(|(_, server)| server.address() == door);
        found.map_or(door.ip(), |(address, _)| *address)
    }

    /// The names that were looked up, and then forgotten.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.asked))
    }

    /// The addresses that were dialled, and then forgotten.
    pub fn dialled(&self) -> Vec<IpAddr> {
        std::mem::take(&mut lock(&self.dialled))
    }

    /// The leniencies that were told.
    pub fn notices(&self) -> Vec<String> {
        lock(&self.notices).clone()
    }

    /// A session whose person approves.
    pub fn setup(&self) -> Setup {
        let notices = self.notices.clone();
        Setup {
            browser: Box::new(Visitor(self.world.clone())),
            on_notice: Box::new(move |notice| {
                if let Notice::Lenient(leniency) = notice {
                    lock(&notices).push(format!("{leniency:?}"));
                }
            }),
            timeout: Some(Duration::from_secs(20)),
            ..Setup::new(URL.to_owned())
        }
    }

    /// A tool call.
    pub fn request() -> Request<Vec<u8>> {
        let body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}"#;
        Request::post(URL).body(body.to_vec()).unwrap()
    }
}

fn answering(world: Arc<Mutex<World>>) -> impl Fn(Request<Vec<u8>>) -> Response<Vec<u8>> {
    move |request| {
        let answer = lock(&world).handle(unix_now(), &request);
        answer.unwrap_or_else(|_| Response::builder().status(502).body(Vec::new()).unwrap())
    }
}

/// A person who approves.
struct Visitor(Arc<Mutex<World>>);

impl Browser for Visitor {
    fn open(&self, url: &str) -> Result<(), BrowserError> {
        let (world, url) = (self.0.clone(), url.to_owned());
        thread::spawn(move || {
            let visit = lock(&world).visit(unix_now(), &url, &Person::Approves);
            if let Visit::Redirect(back) = visit {
                let agent =
                    ureq::Agent::new_with_config(ureq::Agent::config_builder().proxy(None).build());
                let _ = agent.get(&back).call();
            }
        });
        Ok(())
    }
}
