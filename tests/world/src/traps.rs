//! Server-side request forgery, as a table: each way in which a server can name a URL that leads into
//! the network of the program. Every host is put through it, on its own sockets.

use mcp_auth::output::Purpose;
use mcp_auth::{Error, ErrorKind};
use serde_json::json;

use crate::resource_server::{Challenge, ResourceMetadata};
use crate::world::World;
use crate::{Canned, Fault};

/// The host that the URLs name; a test's name server says where it leads.
pub const HOST: &str = "trap.example.com";

/// Where it leads: nowhere that a public server's URLs may.
pub const PLACES: [&str; 14] = [
    "127.0.0.1",
    "127.0.0.2",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "0.0.0.0",
    "::1",
    "::ffff:127.0.0.2",
    "::ffff:10.1.2.3",
    "fd00:ec2::254",
    "fe80::1",
    "64:ff9b::a00:1",
];

/// One way.
#[derive(Debug, Clone, Copy)]
pub struct Trap {
    /// What the URL is.
    pub name: &'static str,
    /// What a request to it is for; `None`: no request to another host is even thought of, and the
    /// login fails as it will.
    pub purpose: Option<Purpose>,
    set: fn(&mut World, &str),
}

impl Trap {
    /// Sets it up in a world with one MCP server and one authorization server, with URLs that begin
    /// with this origin.
    pub fn set(&self, world: &mut World, origin: &str) {
        (self.set)(world, origin);
    }

    /// The login failed as it should have: the error says which URL was not asked, and which setting
    /// would have helped.
    ///
    /// # Panics
    ///
    /// If it didn't.
    #[track_caller]
    pub fn assert_refused(&self, error: &Error) {
        match (error.kind(), self.purpose) {
            (ErrorKind::AddressRefused { url, purpose, .. }, Some(expected)) => {
                assert!(url.contains(HOST) || !url.contains("example.com"), "{}: {url}", self.name);
                assert_eq!(*purpose, expected, "{}", self.name);
                assert!(error.advice().contains("`allow_private_addresses`"), "{error}");
            }
            (_, None) => {}
            _ => panic!("{}: {error}", self.name),
        }
    }
}

/// All ways that lead into a login.
pub const TRAPS: [Trap; 6] = [
    Trap {
        name: "protected resource metadata",
        purpose: Some(Purpose::ResourceMetadata),
        set: |world, origin| {
            world.resource.metadata = ResourceMetadata::Absent;
            let challenge = format!("Bearer resource_metadata=\"{origin}/meta\"");
            world.resource.challenge = Challenge::Raw(vec![challenge]);
        },
    },
    Trap {
        name: "redirect",
        purpose: None,
        set: |world, origin| {
            let away = Canned::redirect(302, &format!("{origin}/meta"));
            world.faults.push(Fault::answer("GET", "*", away).times(u32::MAX));
        },
    },
    Trap {
        name: "issuer",
        purpose: Some(Purpose::ServerMetadata),
        set: |world, origin| {
            world.resource.authorization_servers = Some(vec![origin.to_owned()]);
        },
    },
    Trap {
        name: "realm",
        purpose: Some(Purpose::ServerMetadata),
        set: |world, origin| {
            world.resource.metadata = ResourceMetadata::Absent;
            world.resource.challenge =
                Challenge::Raw(vec![format!("Bearer realm=\"{origin}/issuer\"")]);
        },
    },
    Trap {
        name: "registration endpoint",
        purpose: Some(Purpose::Registration),
        set: |world, origin| change(world, "registration_endpoint", origin),
    },
    Trap {
        name: "token endpoint",
        purpose: Some(Purpose::Token),
        set: |world, origin| change(world, "token_endpoint", origin),
    },
];

/// The one that a logout meets.
pub const REVOCATION: Trap = Trap {
    name: "revocation endpoint",
    purpose: Some(Purpose::Revocation),
    set: |world, origin| change(world, "revocation_endpoint", origin),
};

fn change(world: &mut World, endpoint: &str, origin: &str) {
    for server in &mut world.authorization {
        let url = json!(format!("{origin}/{endpoint}"));
        server.metadata_changes.insert(endpoint.to_owned(), url);
    }
}
