//! Connections: names are looked up once, what came of it is judged, and that is dialled.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use mcp_auth::Reach;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::task::spawn_blocking;

/// Host names to addresses. It may block.
pub(crate) type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// Where the road to an address leads: there. Only this crate's tests build others, to servers that
/// stand in for those of the wide world.
#[derive(Clone)]
pub(crate) struct Road {
    /// Port 0: as the URL says.
    pub(crate) to: Arc<dyn Fn(IpAddr) -> SocketAddr + Send + Sync>,
    /// The address that a connection was meant for.
    pub(crate) from: Arc<dyn Fn(SocketAddr) -> IpAddr + Send + Sync>,
}

impl Default for Road {
    fn default() -> Self {
        let to = Arc::new(|address| SocketAddr::new(address, 0));
        Self { to, from: Arc::new(|peer| peer.ip()) }
    }
}

/// Of the addresses that a name has, those that requests may reach.
#[derive(Clone)]
pub(crate) struct Names {
    pub(crate) lookup: Option<Lookup>,
    pub(crate) road: Road,
    pub(crate) reach: Reach,
}

impl Names {
    async fn look_up(&self, host: String) -> io::Result<Vec<IpAddr>> {
        // Names of this machine lead to it: whoever answered for them would get tokens in clear text
        // (RFC 6761 §6.3).
        let bare = host.trim_end_matches('.').to_ascii_lowercase();
        if bare == "localhost" || bare.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        match self.lookup.clone() {
            Some(lookup) => spawn_blocking(move || lookup(&host)).await?,
            None => {
                let found = tokio::net::lookup_host((host, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            }
        }
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let (mut allowed, mut refused) = (Vec::new(), None);
            for address in this.look_up(name.as_str().to_owned()).await? {
                match this.reach.allows(address) {
                    Ok(()) => allowed.push((this.road.to)(address)),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
            match refused {
                Some(error) if allowed.is_empty() => Err(error.into()),
                _ if allowed.is_empty() => Err("the host name has no address".into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}
