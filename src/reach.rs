//! What a request may reach: the one place that decides it. Hosts enforce what it says, on the
//! address that is really dialled.

mod range;
mod rule;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

use crate::config::Config;
use crate::session::grant::Site;
use crate::wire::url as address;

use range::{Kind, Range};
pub(crate) use rule::Rule;

/// What a request may reach, as [`HttpCall::reach`](crate::output::HttpCall::reach) says.
///
/// A URL that the operator gave leads where it leads. A URL that a server supplied (in a challenge, a
/// document, a registration) may be an attempt to make this program knock at doors that the server
/// can't reach itself: this machine's own services, the network behind the firewall, the cloud's
/// metadata service. The rule, for discovery, registration, tokens and revocation alike:
///
/// - The **operator named it**: it has the origin of the MCP server's URL, or of `issuer`,
///   `client_issuer` or `token_url` in the [`Config`]. It may lead anywhere. Trust goes by origin, so
///   the endpoints of a configured issuer are as good as the issuer where they are at its own.
/// - **Anything else** may lead to public addresses, and to what the MCP server **could reach
///   itself**: a server on this machine may name this machine and its networks; one in a private
///   network may name private addresses, but not this machine, which is none of its business; one on
///   a link, or in a laboratory, its like. Where the server is, its connection tells
///   ([`PeerAddress`]): not a second lookup, which could say something else.
/// - **Metadata services** of clouds are no authorization servers: they are reached by nobody but who
///   names the very address in `allow_private_addresses`.
///
/// That a public endpoint is at another origin than its issuer is no reason to distrust it: the
/// issuer's own document (RFC 8414 §3.3) vouches for it, and large providers have their endpoints
/// elsewhere (`accounts.google.com` and `oauth2.googleapis.com`). What holds credentials together is
/// the issuer that they are kept by; the token endpoint is remembered with the tokens.
///
/// ```
/// use core::net::IpAddr;
/// use mcp_auth::Reach;
///
/// /// Of what a lookup has found, what may be dialled.
/// fn dialable(reach: &Reach, found: &[IpAddr]) -> Vec<IpAddr> {
///     found.iter().copied().filter(|address| reach.allows(*address).is_ok()).collect()
/// }
///
/// let reach = Reach::of_server_at("93.184.216.34".parse()?); // `HttpCall::reach`
/// let (public, local) = ("93.184.216.35".parse()?, "127.0.0.1".parse()?);
/// assert_eq!(dialable(&reach, &[local, public]), [public]);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reach(Option<Bounds>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bounds {
    /// Where the MCP server is.
    from: Range,
    /// The operator's exceptions.
    allowed: Vec<Rule>,
}

/// The address at the other end of a connection. A host puts it into the extensions of the responses
/// that it answers with: that is how the machine knows where the operator's server is.
///
/// Only of a connection to the server itself: a proxy's address says nothing. Without it, a server
/// whose URL holds neither an address nor a name of this machine counts as a public one.
///
/// ```
/// use mcp_auth::PeerAddress;
///
/// # let peer: std::net::IpAddr = "10.0.0.5".parse()?;
/// let mut response = http::Response::new(Vec::<u8>::new());
/// response.extensions_mut().insert(PeerAddress(peer)); // `TcpStream::peer_addr()?.ip()`
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// An address that a request may not reach. Its `Display` says which range it is in.
///
/// ```
/// use mcp_auth::{Reach, TransportError, TransportErrorKind};
///
/// let reach = Reach::of_server_at("93.184.216.34".parse()?);
/// let Err(why) = reach.allows("192.168.0.1".parse()?) else { panic!() };
/// assert_eq!(why.to_string(), "192.168.0.1 is a private address (RFC 1918)");
/// let answer = TransportError::new(TransportErrorKind::Refused, why); // for `HttpCall::answer`
/// # assert_eq!(answer.to_string(), why.to_string());
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfReach {
    address: IpAddr,
}

/// What was learned of the connection that an answer came by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Witness {
    pub(crate) address: IpAddr,
    /// It led to the operator's own server.
    pub(crate) home: bool,
    /// Only `allow_private_addresses` let it.
    pub(crate) lenient: bool,
}

impl Reach {
    /// No bounds: for requests that the program itself makes.
    pub fn anywhere() -> Self {
        Self(None)
    }

    /// What a server at this address may name on another origin than its own.
    ///
    /// ```
    /// use mcp_auth::Reach;
    ///
    /// let public = Reach::of_server_at("93.184.216.34".parse()?);
    /// assert!(public.allows("10.0.0.1".parse()?).is_err());
    /// let private = Reach::of_server_at("192.168.0.1".parse()?);
    /// assert!(private.allows("10.0.0.1".parse()?).is_ok());
    /// assert!(private.allows("127.0.0.1".parse()?).is_err());
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    pub fn of_server_at(address: IpAddr) -> Self {
        Self(Some(Bounds { from: Range::of(address), allowed: Vec::new() }))
    }

    /// Whether there are no bounds, so that there is nothing to enforce.
    pub fn is_anywhere(&self) -> bool {
        self.0.is_none()
    }

    /// What a request to `url` may reach. `server_at`: where the MCP server was last seen.
    pub(crate) fn of(url: &Url, site: &Site, config: &Config, server_at: Option<IpAddr>) -> Self {
        let settings = [&config.issuer, &config.client_issuer, &config.token_url];
        let named = settings.into_iter().flatten().filter_map(|text| Url::parse(text).ok());
        if named.chain([site.url.clone()]).any(|own| address::same_origin(&own, url)) {
            return Self::anywhere();
        }
        let host = url.host();
        let rules = config.allow_private_addresses.iter().filter_map(|text| Rule::parse(text));
        let allowed = rules.filter_map(|rule| rule.at(host.as_ref())).collect();
        let from = server_at.or_else(|| literal(&site.url)).map_or(Range::PUBLIC, Range::of);
        Self(Some(Bounds { from, allowed }))
    }

    /// Whether this address may be dialled.
    ///
    /// # Errors
    ///
    /// [`OutOfReach`] says what kind of address it is.
    pub fn allows(&self, address: IpAddr) -> Result<(), OutOfReach> {
        let Some(bounds) = &self.0 else { return Ok(()) };
        let address = address.to_canonical();
        if bounds.reaches(address) || bounds.excepts(address) {
            return Ok(());
        }
        Err(OutOfReach { address })
    }

    /// The same for a URL that needs no lookup, because its host is an address or a name of this
    /// machine.
    pub(crate) fn allows_url(&self, url: &Url) -> Result<(), OutOfReach> {
        literal(url).map_or(Ok(()), |address| self.allows(address))
    }

    /// Whether this address is allowed by the operator's exceptions alone.
    pub(crate) fn is_lenient(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.as_ref().is_some_and(|bounds| !bounds.reaches(address) && bounds.excepts(address))
    }
}

impl Bounds {
    /// What the server could reach itself.
    fn reaches(&self, address: IpAddr) -> bool {
        let to = Range::of(address);
        match (self.from.kind, to.kind) {
            (_, Kind::Public) => true,
            (Kind::Public, _) => false,
            (_, Kind::Private) => true,
            (Kind::Loopback, Kind::Loopback) | (Kind::LinkLocal, Kind::LinkLocal) => true,
            _ => self.from.name == to.name,
        }
    }

    fn excepts(&self, address: IpAddr) -> bool {
        let exact = Range::of(address).kind == Kind::Metadata;
        self.allowed.iter().any(|rule| rule.covers(address, exact))
    }
}

/// The address that a URL leads to without a lookup.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => address::is_loopback(url).then_some(Ipv4Addr::LOCALHOST.into()),
    }
}

impl OutOfReach {
    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl fmt::Display for OutOfReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { name, embedded, .. } = Range::of(self.address);
        write!(f, "{} ", self.address)?;
        match embedded {
            Some(within) => write!(f, "stands for {within}, {name}"),
            None => write!(f, "is {name}"),
        }
    }
}

impl std::error::Error for OutOfReach {}

#[cfg(test)]
mod tests;
