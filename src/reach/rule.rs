//! The operator's exceptions: `allow_private_addresses`.

use core::net::IpAddr;

use url::Host;

use super::range::covers;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// What this host name leads to.
    Host(String),
    /// These addresses: a network, or a single one.
    Network(IpAddr, u32),
    /// Any address, of a host that was named.
    Vouched,
}

impl Rule {
    /// A host name, an address, or a network as `10.0.0.0/8`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let address = |text: &str| {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            bare.unwrap_or(text).parse::<IpAddr>().ok().map(|address| address.to_canonical())
        };
        if let Some(address) = address(text) {
            return Some(Self::Network(address, width(address)));
        }
        if let Some((base, bits)) = text.split_once('/') {
            let (base, bits) = (address(base)?, bits.parse().ok()?);
            return (bits <= width(base)).then_some(Self::Network(base, bits));
        }
        match Host::parse(text).ok()? {
            Host::Domain(name) => Some(Self::Host(name)),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    /// What it says for a URL with this host; `None`: nothing.
    pub(super) fn at(self, host: Option<&Host<&str>>) -> Option<Self> {
        match (&self, host) {
            (Self::Host(name), Some(Host::Domain(host))) if name == host => Some(Self::Vouched),
            (Self::Host(_), _) => None,
            _ => Some(self),
        }
    }

    /// Whether it allows this address; `exact`: only one that names it.
    pub(super) fn covers(&self, address: IpAddr, exact: bool) -> bool {
        match self {
            Self::Network(base, bits) if !exact || *bits == width(*base) => {
                covers(*base, *bits, address)
            }
            Self::Vouched => !exact,
            Self::Network(..) | Self::Host(_) => false,
        }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}
