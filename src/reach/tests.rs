use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

const PUBLIC: &str = "a public address";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(text: &str) -> String {
    let range = Range::of(ip(text));
    match range.embedded {
        Some(within) => format!("{within}: {}", range.name),
        None => range.name.to_owned(),
    }
}

/// First and last address of each range, and its neighbours on both sides.
#[test]
fn every_range_begins_and_ends_where_its_registry_says() {
    let private = "a private address (RFC 1918)";
    let documentation = "a documentation address (RFC 5737)";
    let cgnat = "a carrier-grade NAT address (RFC 6598)";
    let this_network = "an address of \"this network\" (RFC 791)";
    for (before, first, last, after, expected) in [
        ("-", "0.0.0.0", "0.255.255.255", "1.0.0.0", this_network),
        ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0", private),
        ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0", cgnat),
        (
            "126.255.255.255",
            "127.0.0.0",
            "127.255.255.255",
            "128.0.0.0",
            "a loopback address (RFC 1122)",
        ),
        (
            "169.253.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "169.255.0.0",
            "a link-local address (RFC 3927)",
        ),
        ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0", private),
        (
            "191.255.255.255",
            "192.0.0.0",
            "192.0.0.255",
            "192.0.1.0",
            "reserved for protocols (RFC 6890)",
        ),
        ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0", documentation),
        (
            "192.88.98.255",
            "192.88.99.0",
            "192.88.99.255",
            "192.88.100.0",
            "a 6to4 relay (RFC 7526)",
        ),
        ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0", private),
        (
            "198.17.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.20.0.0",
            "a benchmarking address (RFC 2544)",
        ),
        ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0", documentation),
        ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0", documentation),
        ("223.255.255.255", "224.0.0.0", "239.255.255.255", "-", "a multicast address (RFC 5771)"),
        ("-", "240.0.0.0", "255.255.255.254", "-", "a reserved address (RFC 1112)"),
        ("-", "255.255.255.255", "255.255.255.255", "-", "the broadcast address (RFC 919)"),
        ("2000:ffff::", "2001:200::", "2001:db7:ffff::", "-", PUBLIC),
        ("-", "2001:2::", "2001:2:0:ffff::", "-", "a benchmarking address (RFC 5180)"),
        ("-", "2001:2:1::", "2001:1ff:ffff::", "2001:200::", "reserved for protocols (RFC 2928)"),
        (
            "2001:db7:ffff:ffff::",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db9::",
            "a documentation address (RFC 3849)",
        ),
        (
            "3ffe:ffff::",
            "3fff::",
            "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff:1000::",
            "a documentation address (RFC 9637)",
        ),
        ("-", "4000::", "5f00::1", "-", "a reserved address (RFC 4291)"),
        (
            "-",
            "fc00::",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "-",
            "a unique local address (RFC 4193)",
        ),
        (
            "-",
            "fe80::",
            "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "-",
            "a link-local address (RFC 4291)",
        ),
        (
            "-",
            "fec0::",
            "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "-",
            "a site-local address (RFC 3879)",
        ),
        (
            "-",
            "ff00::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "-",
            "a multicast address (RFC 4291)",
        ),
        ("-", "100::", "100::ffff:ffff:ffff:ffff", "-", "a discard-only address (RFC 6666)"),
        ("-", "::", "::", "-", "the unspecified address (RFC 4291)"),
        ("-", "::1", "::1", "-", "the loopback address (RFC 4291)"),
        (
            "-",
            "64:ff9b:1:1::",
            "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
            "-",
            "a local translation address (RFC 8215)",
        ),
    ] {
        for inside in [first, last] {
            assert_eq!(name(inside), expected, "{inside}");
        }
        for outside in [before, after].into_iter().filter(|outside| *outside != "-") {
            assert_eq!(name(outside), PUBLIC, "{outside}, beside {expected}");
        }
    }
}

#[test]
fn what_stands_for_an_ipv4_address_is_judged_by_it() {
    for (address, expected) in [
        // IPv4-mapped (RFC 4291 §2.5.5.2): the very same address.
        ("::ffff:127.0.0.1", "a loopback address (RFC 1122)"),
        ("::ffff:8.8.8.8", PUBLIC),
        // IPv4-compatible: no longer anybody's.
        ("::127.0.0.1", "a reserved address (RFC 4291)"),
        ("::8.8.8.8", "a reserved address (RFC 4291)"),
        // NAT64.
        ("64:ff9b::10.1.2.3", "10.1.2.3: a private address (RFC 1918)"),
        ("64:ff9b::169.254.169.254", "169.254.169.254: a cloud metadata address"),
        ("64:ff9b::8.8.8.8", PUBLIC),
        ("64:ff9b:1::127.0.0.1", "127.0.0.1: a loopback address (RFC 1122)"),
        ("64:ff9b:1::8.8.8.8", PUBLIC),
        ("64:ff9b:0:1::8.8.8.8", "a reserved address (RFC 4291)"),
        ("64:ff9b:1:0:1::8.8.8.8", "a local translation address (RFC 8215)"),
        // SIIT.
        ("::ffff:0:192.168.0.1", "192.168.0.1: a private address (RFC 1918)"),
        // 6to4.
        ("2002:a00:1::", "10.0.0.1: a private address (RFC 1918)"),
        ("2002:7f00:1::1", "127.0.0.1: a loopback address (RFC 1122)"),
        ("2002:808:808::1", PUBLIC),
        // Teredo: the server's address as it is, the client's with its bits flipped.
        ("2001:0:7f00:1::f7f7:f7f7", "127.0.0.1: a loopback address (RFC 1122)"),
        ("2001:0:808:808::80ff:fffe", "127.0.0.1: a loopback address (RFC 1122)"),
        ("2001:0:808:808::f7f7:f7f7", PUBLIC),
        // ISATAP, of a public prefix.
        ("2a00::5efe:10.0.0.1", "10.0.0.1: a private address (RFC 1918)"),
        ("2a00::200:5efe:127.0.0.1", "127.0.0.1: a loopback address (RFC 1122)"),
        ("2a00::200:5efe:8.8.8.8", PUBLIC),
        ("2a00::100:5efe:10.0.0.1", PUBLIC),
        ("fe80::5efe:10.0.0.1", "a link-local address (RFC 4291)"),
    ] {
        assert_eq!(name(address), expected, "{address}");
    }
}

#[test]
fn metadata_services_are_known_by_their_addresses() {
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
    ] {
        assert_eq!(name(address), "a cloud metadata address", "{address}");
    }
}

fn reach(server: &str, server_at: Option<&str>, url: &str, config: &Config) -> Reach {
    let site = Site {
        text: server.into(),
        url: Url::parse(server).unwrap(),
        headers: http::HeaderMap::new(),
    };
    Reach::of(&Url::parse(url).unwrap(), &site, config, server_at.map(ip))
}

fn from(server_at: &str) -> Reach {
    let config = Config::default();
    reach("https://mcp.example/mcp", Some(server_at), "https://as.example/token", &config)
}

const OUT_OF: [(&str, &str); 12] = [
    ("public", "93.184.216.34"),
    ("public v6", "2606:2800:220:1::1"),
    ("private", "10.0.0.1"),
    ("unique local", "fd12::1"),
    ("cgnat", "100.64.0.1"),
    ("link-local", "169.254.1.1"),
    ("link-local v6", "fe80::1"),
    ("loopback", "127.0.0.2"),
    ("loopback v6", "::1"),
    ("metadata", "169.254.169.254"),
    ("benchmarking", "198.18.0.1"),
    ("multicast", "224.0.0.1"),
];

#[test]
fn a_server_may_name_what_it_could_reach_itself() {
    for (server_at, expected) in [
        ("93.184.216.34", "public, public v6"),
        ("2606:2800:220:1::1", "public, public v6"),
        ("10.0.0.1", "public, public v6, private, unique local, cgnat"),
        ("fd12::1", "public, public v6, private, unique local, cgnat"),
        ("100.100.1.1", "public, public v6, private, unique local, cgnat"),
        ("fe80::1", "public, public v6, private, unique local, cgnat, link-local, link-local v6"),
        ("127.0.0.1", "public, public v6, private, unique local, cgnat, loopback, loopback v6"),
        ("::1", "public, public v6, private, unique local, cgnat, loopback, loopback v6"),
        ("198.19.0.1", "public, public v6, private, unique local, cgnat, benchmarking"),
    ] {
        let reach = from(server_at);
        let within = OUT_OF.iter().filter(|(_, address)| reach.allows(ip(address)).is_ok());
        let within: Vec<_> = within.map(|(name, _)| *name).collect();
        assert_eq!(within.join(", "), expected, "from {server_at}");
    }
}

#[test]
fn what_the_operator_named_may_lead_anywhere_and_nothing_beside_it() {
    let config = Config {
        issuer: Some("https://sso.corp.example/realms/a".into()),
        client_issuer: Some("https://other.corp.example".into()),
        token_url: Some("https://token.corp.example:8443/token".into()),
        ..Config::default()
    };
    for (url, anywhere) in [
        ("https://mcp.example/.well-known/oauth-protected-resource", true),
        ("https://MCP.example:443/other", true),
        ("https://mcp.example:8443/", false),
        ("https://sso.corp.example/register", true),
        ("https://sso.corp.example:444/register", false),
        ("https://other.corp.example/token", true),
        ("https://token.corp.example:8443/token", true),
        ("https://token.corp.example/token", false),
        ("https://as.example/token", false),
    ] {
        let reach = reach("https://mcp.example/mcp", Some("93.184.216.34"), url, &config);
        assert_eq!(reach.is_anywhere(), anywhere, "{url}");
        assert_eq!(reach.allows(ip("10.0.0.1")).is_ok(), anywhere, "{url}");
    }
}

#[test]
fn a_server_that_was_not_seen_is_where_its_url_says_and_else_public() {
    for (server, loopback, private) in [
        ("https://mcp.example/mcp", false, false),
        ("http://localhost:8000/mcp", true, true),
        ("https://mcp.localhost/mcp", true, true),
        ("http://127.0.0.5/mcp", true, true),
        ("http://[::1]:1/mcp", true, true),
        ("https://10.0.0.1/mcp", false, true),
        ("https://[fd00::1]/mcp", false, true),
        ("https://8.8.8.8/mcp", false, false),
    ] {
        let reach = reach(server, None, "https://as.example/token", &Config::default());
        assert_eq!(reach.allows(ip("127.0.0.1")).is_ok(), loopback, "{server}");
        assert_eq!(reach.allows(ip("10.0.0.1")).is_ok(), private, "{server}");
    }
    // What was seen counts more.
    let config = Config::default();
    let seen = reach("https://10.0.0.1/", Some("8.8.8.8"), "https://as.example", &config);
    assert!(seen.allows(ip("10.0.0.2")).is_err());
}

#[test]
fn exceptions_are_hosts_addresses_and_networks() {
    let config = |entries: &[&str]| Config {
        allow_private_addresses: entries.iter().map(|entry| (*entry).to_owned()).collect(),
        ..Config::default()
    };
    for (entry, url, address, allowed) in [
        ("10.1.0.0/16", "https://as.example/", "10.1.255.255", true),
        ("10.1.0.0/16", "https://as.example/", "10.2.0.0", false),
        ("10.1.0.0/16", "https://as.example/", "::ffff:10.1.0.1", true),
        ("10.1.2.3", "https://as.example/", "10.1.2.3", true),
        ("10.1.2.3", "https://as.example/", "10.1.2.4", false),
        ("::ffff:10.1.2.3", "https://as.example/", "10.1.2.3", true),
        ("fd00::/8", "https://as.example/", "fd12::1", true),
        ("fd00::/8", "https://as.example/", "fc12::1", false),
        ("[::1]", "https://as.example/", "::1", true),
        ("0.0.0.0/0", "https://as.example/", "127.0.0.1", true),
        ("0.0.0.0/0", "https://as.example/", "::1", false),
        ("::/0", "https://as.example/", "::1", true),
        ("as.example", "https://as.example/", "127.0.0.1", true),
        ("AS.Example", "https://as.example:8443/", "10.0.0.1", true),
        ("as.example", "https://b.as.example/", "10.0.0.1", false),
        ("example", "https://as.example/", "10.0.0.1", false),
        // Metadata services are named exactly, or not meant.
        ("169.254.0.0/16", "https://as.example/", "169.254.1.1", true),
        ("169.254.0.0/16", "https://as.example/", "169.254.169.254", false),
        ("as.example", "https://as.example/", "169.254.169.254", false),
        ("0.0.0.0/0", "https://as.example/", "169.254.169.254", false),
        ("169.254.169.254", "https://as.example/", "169.254.169.254", true),
    ] {
        let config = config(&[entry]);
        config.check().unwrap();
        let reach = reach("https://mcp.example/", Some("8.8.8.8"), url, &config);
        assert_eq!(reach.allows(ip(address)).is_ok(), allowed, "{entry}: {url} at {address}");
        assert_eq!(reach.is_lenient(ip(address)), allowed, "{entry}: {url} at {address}");
        assert!(!reach.is_lenient(ip("8.8.8.8")));
    }
    for entry in ["", "10.0.0.0/33", "10.0.0.0/", "fd00::/129", "a b", "1.2.3", "https://a.example"]
    {
        assert!(config(&[entry]).check().is_err(), "{entry}");
    }
}

#[test]
fn a_url_that_holds_an_address_is_judged_without_a_lookup() {
    let reach = from("93.184.216.34");
    for (url, allowed) in [
        ("https://127.0.0.1/", false),
        ("https://2130706433/", false),
        ("https://0x7f.1/", false),
        ("https://017700000001/", false),
        ("https://[::ffff:10.0.0.1]/", false),
        ("https://[fe80::1]/", false),
        ("https://localhost/", false),
        ("https://a.localhost:8443/", false),
        ("https://8.8.8.8/", true),
        ("https://[2606:2800:220:1::1]/", true),
        ("https://localhost.example/", true),
    ] {
        assert_eq!(reach.allows_url(&Url::parse(url).unwrap()).is_ok(), allowed, "{url}");
    }
}

#[test]
fn a_refusal_names_the_address_and_its_kind() {
    let refusal = |address| from("8.8.8.8").allows(ip(address)).unwrap_err().to_string();
    assert_eq!(refusal("10.0.0.1"), "10.0.0.1 is a private address (RFC 1918)");
    assert_eq!(refusal("::ffff:127.0.0.1"), "127.0.0.1 is a loopback address (RFC 1122)");
    assert_eq!(
        refusal("2002:a00:1::"),
        "2002:a00:1:: stands for 10.0.0.1, a private address (RFC 1918)"
    );
}

fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
    // Half of them near the edge of a range.
    let edge = prop::sample::select(vec![
        "10.0.0.0",
        "100.64.0.0",
        "127.0.0.0",
        "169.254.0.0",
        "172.16.0.0",
        "172.32.0.0",
        "192.0.0.0",
        "192.168.0.0",
        "198.18.0.0",
        "224.0.0.0",
        "169.254.169.254",
    ]);
    let near = (edge, -2i64..3).prop_map(|(edge, by)| {
        let edge: Ipv4Addr = edge.parse().unwrap();
        Ipv4Addr::from_bits(edge.to_bits().wrapping_add_signed(by as i32))
    });
    prop_oneof![near, any::<u32>().prop_map(Ipv4Addr::from_bits)]
}

proptest! {
    /// However an IPv4 address is written into an IPv6 one, it gets nowhere that it doesn't itself.
    #[test]
    fn no_disguise_helps(v4 in any_v4(), from_v4 in any_v4()) {
        let reach = from(&from_v4.to_string());
        let [a, b, c, d] = v4.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        for disguise in [
            v4.to_ipv6_mapped(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !0x808, !0x808),
            Ipv6Addr::new(0x2001, 0, 0x808, 0x808, 0, 0, !high, !low),
            Ipv6Addr::new(0x2a00, 1, 2, 3, 0, 0x5efe, high, low),
        ] {
            prop_assert_eq!(reach.allows(disguise.into()).is_ok(), reach.allows(v4.into()).is_ok());
        }
    }

    /// Without an exception, a public server leads nowhere but to public addresses; and the standard
    /// library's idea of the plain kinds is ours.
    #[test]
    fn a_public_server_leads_nowhere_private(bits in any::<u128>(), v4 in any_v4()) {
        let reach = from("93.184.216.34");
        let plain = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
            || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
        prop_assert!(!plain || reach.allows(v4.into()).is_err());
        let v6 = Ipv6Addr::from_bits(bits);
        let plain = v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast();
        prop_assert!(!plain || reach.allows(v6.into()).is_err());
        prop_assert!(reach.allows(v6.into()).is_err() || bits >> 125 == 1);
    }

    /// Whoever may name loopback addresses may name private ones, and all may name public ones.
    #[test]
    fn reaches_are_nested(server_at in any::<u128>(), v4 in any_v4(), target in any_v4()) {
        for at in [IpAddr::from(Ipv6Addr::from_bits(server_at)), v4.into()] {
            let reach = from(&at.to_string());
            let public = from("93.184.216.34");
            prop_assert!(reach.allows(target.into()).is_ok() || public.allows(target.into()).is_err());
            prop_assert!(
                reach.allows(ip("127.0.0.1")).is_err() || reach.allows(ip("10.0.0.1")).is_ok()
            );
        }
    }

    #[test]
    fn no_exception_makes_it_panic(text in "[0-9a-f:./\\[\\]]{0,24}|.{0,24}", bits in any::<u128>()) {
        if let Some(rule) = Rule::parse(&text) {
            rule.covers(Ipv6Addr::from_bits(bits).into(), bits % 2 == 0);
        }
    }
}
