//! Which addresses are special: the registries of IANA (RFC 6890, as they stand), what is embedded in
//! IPv6 addresses, and the metadata services of clouds.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Range {
    pub(super) kind: Kind,
    /// As in "10.0.0.1 is …".
    pub(super) name: &'static str,
    /// The IPv4 address that an IPv6 address stands for, where that decides.
    pub(super) embedded: Option<Ipv4Addr>,
}

/// How far an address can be reached from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Everywhere.
    Public,
    /// A private network.
    Private,
    /// One link.
    LinkLocal,
    /// This machine.
    Loopback,
    /// The virtual machine that it belongs to.
    Metadata,
    /// Nowhere that a server should be.
    Special,
}

use Kind::{LinkLocal, Loopback, Metadata, Private, Public, Special};

type Row<A> = (A, u32, Kind, &'static str);

const METADATA: &str = "a cloud metadata address";
const PRIVATE: &str = "a private address (RFC 1918)";
const DOCUMENTATION_V4: &str = "a documentation address (RFC 5737)";

/// The first row that fits counts.
#[rustfmt::skip]
const V4: [Row<Ipv4Addr>; 22] = [
    (v4(169, 254, 169, 254), 32, Metadata, METADATA), // AWS, Azure, Google and many others
    (v4(169, 254, 170, 2), 32, Metadata, METADATA), // AWS, credentials of containers
    (v4(169, 254, 170, 23), 32, Metadata, METADATA), // AWS, credentials of pods
    (v4(100, 100, 100, 200), 32, Metadata, METADATA), // Alibaba
    (v4(192, 0, 0, 192), 32, Metadata, METADATA), // Oracle
    (v4(168, 63, 129, 16), 32, Metadata, METADATA), // Azure
    (v4(0, 0, 0, 0), 8, Special, "an address of \"this network\" (RFC 791)"),
    (v4(10, 0, 0, 0), 8, Private, PRIVATE),
    (v4(100, 64, 0, 0), 10, Private, "a carrier-grade NAT address (RFC 6598)"),
    (v4(127, 0, 0, 0), 8, Loopback, "a loopback address (RFC 1122)"),
    (v4(169, 254, 0, 0), 16, LinkLocal, "a link-local address (RFC 3927)"),
    (v4(172, 16, 0, 0), 12, Private, PRIVATE),
    (v4(192, 0, 0, 0), 24, Special, "reserved for protocols (RFC 6890)"),
    (v4(192, 0, 2, 0), 24, Special, DOCUMENTATION_V4),
    (v4(192, 88, 99, 0), 24, Special, "a 6to4 relay (RFC 7526)"),
    (v4(192, 168, 0, 0), 16, Private, PRIVATE),
    (v4(198, 18, 0, 0), 15, Special, "a benchmarking address (RFC 2544)"),
    (v4(198, 51, 100, 0), 24, Special, DOCUMENTATION_V4),
    (v4(203, 0, 113, 0), 24, Special, DOCUMENTATION_V4),
    (v4(224, 0, 0, 0), 4, Special, "a multicast address (RFC 5771)"),
    (v4(255, 255, 255, 255), 32, Special, "the broadcast address (RFC 919)"),
    (v4(240, 0, 0, 0), 4, Special, "a reserved address (RFC 1112)"),
];

/// What stands for an IPv4 address comes before.
#[rustfmt::skip]
const V6: [Row<Ipv6Addr>; 17] = [
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]), 128, Metadata, METADATA), // AWS
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23]), 128, Metadata, METADATA), // AWS, credentials of pods
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]), 128, Metadata, METADATA), // Google
    (v6([0, 0, 0, 0, 0, 0, 0, 0]), 128, Special, "the unspecified address (RFC 4291)"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1]), 128, Loopback, "the loopback address (RFC 4291)"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0]), 48, Special, "a local translation address (RFC 8215)"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0]), 64, Special, "a discard-only address (RFC 6666)"),
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0]), 48, Special, "a benchmarking address (RFC 5180)"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]), 32, Special, "a documentation address (RFC 3849)"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0]), 23, Special, "reserved for protocols (RFC 2928)"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0]), 20, Special, "a documentation address (RFC 9637)"),
    (v6([0x2000, 0, 0, 0, 0, 0, 0, 0]), 3, Public, PUBLIC),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0]), 7, Private, "a unique local address (RFC 4193)"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0]), 10, LinkLocal, "a link-local address (RFC 4291)"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0]), 10, Private, "a site-local address (RFC 3879)"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0]), 8, Special, "a multicast address (RFC 4291)"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0]), 0, Special, "a reserved address (RFC 4291)"),
];

const PUBLIC: &str = "a public address";

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const fn v6(s: [u16; 8]) -> Ipv6Addr {
    Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7])
}

impl Range {
    pub(super) const PUBLIC: Self = Self { kind: Public, name: PUBLIC, embedded: None };

    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                find(&V4, |base, bits| covers(base.into(), bits, address.into()))
            }
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let itself = find(&V6, |base, bits| covers(base.into(), bits, address.into()));
        let (embedded, stands_for_it) = match translated(address) {
            Some(embedded) => (embedded, true),
            None if itself.kind == Public => ([isatap(address); 2], false),
            None => return itself,
        };
        // Whoever passes the packet on takes it to an address that is no better than this.
        for within in embedded.into_iter().flatten() {
            let range = Self::of(within.into());
            if range.kind != Public {
                return Self { embedded: Some(within), ..range };
            }
        }
        if stands_for_it { Self::PUBLIC } else { itself }
    }
}

fn find<A: Copy>(rows: &[Row<A>], covers: impl Fn(A, u32) -> bool) -> Range {
    let row = rows.iter().find(|(base, bits, ..)| covers(*base, *bits));
    row.map_or(Range::PUBLIC, |(_, _, kind, name)| Range { kind: *kind, name, embedded: None })
}

/// Whether `address` is in the network of `base` with a prefix of so many bits.
pub(super) fn covers(base: IpAddr, bits: u32, address: IpAddr) -> bool {
    let differ = match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            u128::from(base.to_bits() ^ address.to_bits()) << 96
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => base.to_bits() ^ address.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= bits
}

/// The IPv4 addresses that an address of these kinds leads to.
fn translated(address: Ipv6Addr) -> Option<[Option<Ipv4Addr>; 2]> {
    let pair =
        |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        // NAT64: the well-known prefix (RFC 6052), and the local one as it is most used (RFC 8215).
        [0x64, 0xff9b, 0 | 1, 0, 0, 0, a, b] => Some([pair(a, b), None]),
        // SIIT (RFC 2765).
        [0, 0, 0, 0, 0xffff, 0, a, b] => Some([pair(a, b), None]),
        // 6to4 (RFC 3056).
        [0x2002, a, b, ..] => Some([pair(a, b), None]),
        // Teredo (RFC 4380): the server, and the client with its bits flipped.
        [0x2001, 0, a, b, _, _, c, d] => Some([pair(a, b), pair(!c, !d)]),
        _ => None,
    }
}

/// ISATAP (RFC 5214): in the interface identifier, of any prefix.
fn isatap(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., universal, isatap, a, b] = address.segments();
    let found = universal & !0x0200 == 0 && isatap == 0x5efe;
    found.then(|| Ipv4Addr::from_bits(u32::from(a) << 16 | u32::from(b)))
}
