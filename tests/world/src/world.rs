//! The servers side by side: routes each request to the one it is for, and writes it down.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use http::{Request, header};

use crate::authorization_server::{AuthorizationServer, Endpoint, IssParameter, MetadataPlace};
use crate::faults::{self, Effect, Fault, NetworkError};
use crate::log::{By, Detail, Exchange, Who};
use crate::person::{Person, Visit};
use crate::resource_server::{Challenge, ResourceMetadata, ResourceServer};
use crate::text::{self, Response};

/// An MCP server, its authorization servers, and a person: all that a client meets.
#[derive(Debug, Clone)]
pub struct World {
    /// The MCP server.
    pub resource: ResourceServer,
    /// The authorization servers; the MCP server trusts the one at [`ResourceServer::home`].
    pub authorization: Vec<AuthorizationServer>,
    /// Who decides when a real browser fetches the authorization endpoint through
    /// [`World::handle`]. One who [`Ignores`](Person::Ignores) gets a page with two links.
    pub person: Person,
    /// By how many seconds the servers' clocks are ahead of the time that they are asked at.
    pub clock_ahead: i64,
    /// What will go wrong, in order.
    pub faults: Vec<Fault>,
    /// Where host names lead; all others lead to a public address. A server answers at whatever its
    /// name leads to.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// Every request so far. It grows without bound; clear it as you like.
    pub log: Vec<Exchange>,
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

/// Where names lead that nobody has said anything about.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34));

/// Who a request is for.
enum Destination {
    Resource,
    Authorization(usize, Endpoint),
    Nowhere(Who),
}

impl World {
    /// An MCP server `https://mcp.example.com/mcp` that wants a login for everything, and an
    /// authorization server `https://auth.example.com` with all that the specification asks for:
    /// open registration, S256, resource indicators, `iss`, rotating refresh tokens.
    pub fn new() -> World {
        World::with_urls("https://mcp.example.com/mcp", &["https://auth.example.com"])
    }

    /// The same with other URLs: the MCP endpoint, and one issuer for each authorization server.
    pub fn with_urls(resource: &str, issuers: &[&str]) -> World {
        World {
            resource: ResourceServer::new(resource),
            authorization: issuers.iter().map(|issuer| AuthorizationServer::new(issuer)).collect(),
            person: Person::Approves,
            clock_ahead: 0,
            faults: Vec::new(),
            names: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    /// Makes a host name lead to these addresses.
    ///
    /// # Panics
    ///
    /// If one of them is none.
    pub fn name(&mut self, host: &str, addresses: &[&str]) {
        let address = |text: &&str| match text.parse() {
            Ok(address) => address,
            Err(_) => panic!("{text} is no address"),
        };
        self.names.insert(host.to_owned(), addresses.iter().map(address).collect());
    }

    /// Where a host leads: an address to itself, a name of this machine to this machine.
    pub fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return vec![address];
        }
        let here = host == "localhost" || host.ends_with(".localhost");
        match self.names.get(host) {
            _ if here => vec![Ipv4Addr::LOCALHOST.into()],
            Some(addresses) => addresses.clone(),
            None => vec![PUBLIC],
        }
    }

    /// A world as of 2025-03-26: no metadata anywhere, and the MCP server's origin is its own
    /// authorization server.
    pub fn legacy(resource: &str) -> World {
        let mut world = World::with_urls(resource, &[&text::origin(resource)]);
        world.resource.challenge = Challenge::WithoutMetadata;
        world.resource.metadata = ResourceMetadata::Absent;
        if let Some(server) = world.authorization.first_mut() {
            server.metadata = MetadataPlace::Absent;
            server.iss = IssParameter::Silent;
        }
        world
    }

    /// Makes the MCP server trust another authorization server from now on, and it alone.
    pub fn migrate_to(&mut self, index: usize) {
        self.resource.home = index;
        self.resource.authorization_servers = None;
    }

    /// Answers one request at `now` (Unix seconds). The origin comes from an absolute URI, else
    /// from the `Host` header. An unknown origin gets 502 and is logged as [`Who::Stray`].
    pub fn handle(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, NetworkError> {
        let person = self.person.clone();
        self.exchange(now, By::Program, request, &person).0
    }

    /// The browser opens an authorization URL, and `person` does what this person does.
    pub fn visit(&mut self, now: u64, authorize_url: &str, person: &Person) -> Visit {
        let url = authorize_url.split('#').next().unwrap_or_default();
        let Ok(request) = Request::get(url).body(Vec::new()) else {
            return Visit::Page("The browser can't open this address.".to_owned());
        };
        match self.exchange(now, By::Browser, &request, person) {
            (Err(_), _) => Visit::Nothing,
            (Ok(_), Some(visit)) => visit,
            (Ok(response), None) => seen(&response),
        }
    }

    /// The person enters a code that they were shown, on a device of theirs: what its page says.
    pub fn enter_code(&mut self, now: u64, user_code: &str, person: &Person) -> Visit {
        match self.authorization.iter().find_map(|server| server.page_for(user_code)) {
            Some(page) => self.visit(now, &page, person),
            None => Visit::Nothing,
        }
    }

    fn exchange(
        &mut self,
        now: u64,
        by: By,
        request: &Request<Vec<u8>>,
        person: &Person,
    ) -> (Result<Response, NetworkError>, Option<Visit>) {
        let now = now.saturating_add_signed(self.clock_ahead);
        let origin = self.origin(request);
        let path = request.uri().path().to_owned();
        let destination = self.destination(&origin, &path);
        let who = destination.who();
        let fault = faults::take(&mut self.faults, &origin, &path, request);
        let (mut answer, detail, visit) = match fault {
            Some(Effect::Answer(canned)) => {
                (Ok(canned.response()), self.unheard(&destination, request), None)
            }
            Some(Effect::Fails(error)) => (Err(error), self.unheard(&destination, request), None),
            Some(Effect::AnswerLost) => {
                let (_, detail, _) = self.perform(now, &destination, request, person);
                (Err(NetworkError::Reset), detail, None)
            }
            None => {
                let (response, detail, visit) = self.perform(now, &destination, request, person);
                (Ok(response), detail, visit)
            }
        };
        if let Ok(response) = &mut answer {
            text::add_date(response, now);
        }
        let status = answer.as_ref().map(|response| response.status().as_u16()).map_err(|e| *e);
        let request = request.clone();
        self.log.push(Exchange { at: now, by, who, origin, path, request, answer: status, detail });
        (answer, visit)
    }

    fn perform(
        &mut self,
        now: u64,
        destination: &Destination,
        request: &Request<Vec<u8>>,
        person: &Person,
    ) -> (Response, Detail, Option<Visit>) {
        let nothing_here = |status| (text::empty(status), Detail::Other, None);
        match destination {
            Destination::Nowhere(Who::Stray) => nothing_here(502),
            Destination::Nowhere(_) => nothing_here(404),
            Destination::Resource => {
                let (response, detail) = self.resource.handle(now, request, &self.authorization);
                (response, detail, None)
            }
            Destination::Authorization(index, endpoint) => {
                match self.authorization.get_mut(*index) {
                    Some(server) => server.handle(now, endpoint, request, person),
                    None => nothing_here(404),
                }
            }
        }
    }

    /// What can be said of a request that no server saw.
    fn unheard(&self, destination: &Destination, request: &Request<Vec<u8>>) -> Detail {
        match destination {
            Destination::Resource => self.resource.read(request),
            Destination::Authorization(_, endpoint) => endpoint.read(request),
            Destination::Nowhere(_) => Detail::Other,
        }
    }

    /// Servers may share an origin: the path decides.
    fn destination(&self, origin: &str, path: &str) -> Destination {
        if self.resource.serves(origin, path) {
            return Destination::Resource;
        }
        let mut servers = self.authorization.iter().enumerate();
        if let Some((index, endpoint)) =
            servers.find_map(|(index, server)| Some((index, server.endpoint(origin, path)?)))
        {
            return Destination::Authorization(index, endpoint);
        }
        let own = |server: &AuthorizationServer| text::origin(&server.issuer) == origin;
        Destination::Nowhere(if text::origin(&self.resource.url) == origin {
            Who::Resource
        } else {
            self.authorization.iter().position(own).map_or(Who::Stray, Who::Authorization)
        })
    }

    fn origin(&self, request: &Request<Vec<u8>>) -> String {
        let uri = request.uri();
        if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
            return text::origin(&format!("{scheme}://{authority}"));
        }
        // A request that came through a socket: the scheme is the server's own.
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.unwrap_or_default();
        let own = std::iter::once(&self.resource.url)
            .chain(self.authorization.iter().map(|server| &server.issuer))
            .chain(self.authorization.iter().filter_map(|server| server.mtls_origin.as_ref()))
            .map(|url| text::origin(url));
        let at_host = |own: &String| {
            own.split_once("://")
                .is_some_and(|(scheme, _)| *own == text::origin(&format!("{scheme}://{host}")))
        };
        own.into_iter().find(at_host).unwrap_or_else(|| text::origin(&format!("http://{host}")))
    }
}

impl Destination {
    fn who(&self) -> Who {
        match self {
            Destination::Resource => Who::Resource,
            Destination::Authorization(index, _) => Who::Authorization(*index),
            Destination::Nowhere(who) => *who,
        }
    }
}

/// What a browser makes of a response.
fn seen(response: &Response) -> Visit {
    let location = response.headers().get(header::LOCATION);
    match location.and_then(|location| location.to_str().ok()) {
        Some(location) if response.status().is_redirection() => {
            Visit::Redirect(location.to_owned())
        }
        _ => Visit::Page(String::from_utf8_lossy(response.body()).into_owned()),
    }
}
