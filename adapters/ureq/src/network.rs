//! Connections: names are looked up once, what came of it is judged, and that is dialled.
//!
//! ureq has a resolver and a connector for it, and neither knows which request it works for. So a
//! request with bounds gets an agent of its own: no connection that was dialled under other bounds
//! is there to be reused.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::Authority;
use mcp_auth::Reach;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector,
    SocksConnector, TcpConnector, Transport,
};
use ureq::{Agent, Error};

/// Host names to addresses.
pub(crate) type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;
/// Where the road to an address leads: there. Only this crate's tests build others, to servers that
/// stand in for those of the wide world.
pub(crate) type Road = Arc<dyn Fn(SocketAddr) -> SocketAddr + Send + Sync>;

/// As many addresses as ureq takes.
const MOST_ADDRESSES: usize = 16;
/// An address is given at least this long to answer.
const SHORTEST_TRY: Duration = Duration::from_millis(10);

/// All that requests go through.
pub(crate) struct Network {
    config: Config,
    names: Names,
    road: Road,
    /// For requests without bounds; it keeps connections for the next ones.
    open: Agent,
}

impl Network {
    pub(crate) fn new(config: Config, lookup: Option<Lookup>, road: Road) -> Self {
        let names = Names(lookup);
        let open = agent(config.clone(), &road, names.clone());
        Self { config, names, road, open }
    }

    /// The settings of its agents.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The agent for a request to `uri`; `alone`: on a connection that no other request has.
    pub(crate) fn agent(&self, reach: &Reach, uri: &Uri, alone: bool) -> Agent {
        match uri.authority() {
            Some(target) if !reach.is_anywhere() => {
                let (names, reach, target) = (self.names.clone(), reach.clone(), target.clone());
                agent(self.config.clone(), &self.road, Guard { names, reach, target })
            }
            _ if alone => agent(self.config.clone(), &self.road, self.names.clone()),
            _ => self.open.clone(),
        }
    }
}

/// As ureq's own, but for the middle link: proxies first, TLS last.
fn agent(config: Config, road: &Road, resolver: impl Resolver) -> Agent {
    let connector =
        ().chain(SocksConnector::default())
            .chain(ConnectProxyConnector::default())
            .chain(Dialler(road.clone()))
            .chain(RustlsConnector::default());
    Agent::with_parts(config, connector, resolver)
}

/// The system's names, or the program's.
#[derive(Clone)]
struct Names(Option<Lookup>);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let (Some(lookup), Some(host)) = (&self.0, uri.host()) else {
            return DefaultResolver::default().resolve(uri, config, timeout);
        };
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return DefaultResolver::default().resolve(uri, config, timeout);
        }
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => 1080,
        });
        let found = lookup(host)?.into_iter().map(|address| SocketAddr::new(address, port));
        let found: Vec<_> = found.collect();
        let mut wanted = self.empty();
        for address in config.ip_family().keep_wanted(found.into_iter()).take(MOST_ADDRESSES) {
            wanted.push(address);
        }
        if wanted.is_empty() { Err(Error::HostNotFound) } else { Ok(wanted) }
    }
}

/// Of the addresses of one host, those that a request may reach.
#[derive(Debug)]
struct Guard {
    names: Names,
    reach: Reach,
    target: Authority,
}

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        // A proxy is the operator's own.
        if uri.authority() != Some(&self.target) {
            return Ok(found);
        }
        let mut allowed = self.empty();
        let mut refused = None;
        for address in &found {
            match self.reach.allows(address.ip()) {
                Ok(()) => allowed.push(*address),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            Some(error) if allowed.is_empty() => Err(Error::Other(Box::new(error))),
            _ => Ok(allowed),
        }
    }
}

/// Opens the socket, unless a proxy has.
struct Dialler(Road);

impl<In: Transport> Connector<In> for Dialler {
    type Out = Witnessed<<TcpConnector as Connector<In>>::Out>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if chained.is_some() {
            let tunnel = TcpConnector::default().connect(details, chained)?;
            return Ok(tunnel.map(|transport| Witnessed { transport, peer: None }));
        }
        let (start, within) = (Instant::now(), details.timeout.not_zero().map(|time| *time));
        let mut failed = Error::HostNotFound;
        // One at a time, because the connector doesn't say which has answered. Each is given half of
        // the time that is left.
        for (index, address) in details.addrs.iter().enumerate() {
            let left = within.map(|within| within.saturating_sub(start.elapsed()));
            let is_last = index + 1 == details.addrs.len();
            let share = left.map(|left| if is_last { left } else { left / 2 }.max(SHORTEST_TRY));
            let mut timeout = details.timeout;
            timeout.after = share.map_or(timeout.after, Into::into);
            let mut addrs = details.resolver.empty();
            addrs.push((self.0)(*address));
            let one = ConnectionDetails {
                uri: details.uri,
                addrs,
                config: details.config,
                request_level: details.request_level,
                resolver: details.resolver,
                now: details.now,
                timeout,
                current_time: details.current_time.clone(),
                run_connector: details.run_connector.clone(),
                register_shutdown: details.register_shutdown.clone(),
            };
            match TcpConnector::default().connect(&one, None) {
                Ok(found) => {
                    let peer = Some(address.ip());
                    return Ok(found.map(|transport| Witnessed { transport, peer }));
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

thread_local! {
    /// ureq tells nobody which connection a request went over, but it works on the thread that asks.
    static PEER: Cell<Option<IpAddr>> = const { Cell::new(None) };
}

/// What `act` gives, and the address of the last connection that it sent something over: `None` where
/// a proxy was between.
pub(crate) fn witness<T>(act: impl FnOnce() -> T) -> (T, Option<IpAddr>) {
    PEER.set(None);
    let result = act();
    (result, PEER.take())
}

/// A connection that says where it leads, also when it is used again.
#[derive(Debug)]
struct Witnessed<T> {
    transport: T,
    peer: Option<IpAddr>,
}

impl<T: Transport> Transport for Witnessed<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let sent = self.transport.transmit_output(amount, timeout);
        // Afterwards: in a tunnel is the connection to the proxy.
        PEER.set(self.peer);
        sent
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.transport.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialler")
    }
}

#[cfg(test)]
mod tests;
