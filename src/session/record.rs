//! What is saved: one versioned JSON record for a server and account.

mod migrate;

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::notice::{ClientSource, Leniency};
use crate::secret::{Secret, exposed};
pub use crate::session::freshness::MetadataFreshness;

use crate::session::client::Unrenewed;
use crate::session::clock::ClockSkew;
use crate::session::pending::{EarlierClient, Ended, PendingLogin};
use crate::session::tokens::{Generation, Tokens};
use crate::session::trouble::Trouble;
use crate::time::UnixTime;
use crate::wire::Malformed;
use crate::wire::registration::Registered;
use crate::wire::scope::ScopeSet;
use crate::wire::server_metadata::ServerMetadata;
use crate::wire::token::AuthMethod;
use crate::wire::url as address;

/// The version that is written. Older ones are read as if they were of this one, and written back as
/// that with the next save; a record of a newer program is kept aside.
const VERSION: u64 = 2;

/// Everything about one server that must survive a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u64,
    server: String,
    #[serde(default)]
    pub(crate) tokens: Option<Tokens>,
    /// Counts on when tokens are dropped, so that no generation is used twice.
    #[serde(default)]
    pub(crate) last_generation: Generation,
    /// By issuer: a client is shown to the server that it was registered with, and to no other.
    #[serde(default)]
    pub(crate) registrations: BTreeMap<String, Registration>,
    /// The client that the tokens were issued to, where another has taken its place since: no other
    /// can renew them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) former: Option<Registration>,
    /// Issuers that rejected our client ID metadata document.
    #[serde(default)]
    pub(crate) document_rejected_by: BTreeSet<String>,
    /// Where the configured client was used: it isn't shown elsewhere unless the settings say so.
    #[serde(default)]
    pub(crate) client_home: Option<ClientHome>,
    #[serde(default)]
    pub(crate) discovery: Option<Discovery>,
    #[serde(default)]
    pub(crate) step_ups: Vec<StepUp>,
    /// A program asks its person.
    #[serde(
        default,
        deserialize_with = "PendingLogin::read",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) login: Option<PendingLogin>,
    /// A login of another program could not be taken up yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) untaken: Option<Trouble>,
    /// Where the MCP server was last seen: what it has named is judged by it, also after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_at: Option<IpAddr>,
    /// What the last answers said of our clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clock_skew: Option<ClockSkew>,
}

/// A client that was registered dynamically (RFC 7591 §3.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registration {
    /// Whom it was registered with.
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    #[serde(default, with = "exposed::option", skip_serializing_if = "Option::is_none")]
    pub(crate) client_secret: Option<Secret>,
    #[serde(default)]
    pub(crate) secret_expires_at: Option<UnixTime>,
    pub(crate) auth_method: AuthMethod,
    pub(crate) redirect_uri: String,
    /// The callback port that the settings asked for then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wanted_port: Option<u16>,
    /// When it was registered, or its secret was last renewed.
    pub(crate) registered_at: UnixTime,
    #[serde(default, with = "exposed::option", skip_serializing_if = "Option::is_none")]
    pub(crate) management_token: Option<Secret>,
    #[serde(default)]
    pub(crate) management_uri: Option<String>,
    /// All that the server has registered, where it gave something to manage it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Registered>,
    /// Counts what the server has changed about it since.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) changes: u32,
    /// A renewal of its secret that was begun, and is not known to have worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unrenewed: Option<Unrenewed>,
    /// A browser went to the server with it and never came back: the server may not know it any
    /// more. The next login asks the server, or registers afresh.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) suspect: bool,
    /// It may use the device authorization grant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) by_code: bool,
    /// The server was asked then, and knew it. Once is enough.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) confirmed: bool,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The issuer that a configured client has logged in with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientHome {
    pub(crate) client_id: String,
    pub(crate) issuer: String,
}

impl Registration {
    /// Whether these tokens were issued to this client.
    pub(crate) fn bought(&self, tokens: &Tokens) -> bool {
        tokens.client_source == ClientSource::Registered
            && (&self.issuer, &self.client_id) == (&tokens.issuer, &tokens.client_id)
    }
}

/// The scopes that an operation was refused for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepUp {
    pub(crate) operation: Option<String>,
    pub(crate) scopes: ScopeSet,
    pub(crate) rounds: u8,
    pub(crate) last: UnixTime,
    /// The generation that was refused and not yet replaced.
    pub(crate) refused: Option<Generation>,
}

impl StepUp {
    pub(crate) fn new(operation: Option<String>) -> Self {
        let (scopes, last) = (ScopeSet::new(), UnixTime::default());
        Self { operation, scopes, rounds: 0, last, refused: None }
    }
}

/// What discovery found, where, and which leniency it needed.
///
/// ```
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.demanded(mcp_auth::Demand::inspect())?;
/// # let machine = s.machine();
/// let found = machine.discovery().unwrap(); // after `Demand::inspect`
/// println!("{} asks {} for tokens", found.resource, found.issuer);
/// assert_eq!(found.server.supports_s256(), Some(true));
/// assert!(found.leniencies.is_empty(), "to the letter");
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Discovery {
    /// The authorization server's identifier, as it was looked up: what credentials are kept by.
    /// The metadata's own `issuer` differs from it only by a named leniency.
    pub issuer: String,
    /// Whether `issuer` is one that somebody named: not where endpoints were configured without.
    pub knows_issuer: bool,
    /// The resource indicator (RFC 8707), byte for byte as it is sent.
    pub resource: String,
    /// Where the protected resource metadata was; `None` where there was none.
    pub resource_metadata_url: Option<String>,
    /// The scopes that the resource suggests.
    pub scopes_supported: Option<ScopeSet>,
    /// The authorization server's metadata.
    pub server: ServerMetadata,
    /// Where it was; `None` where it was configured or assumed.
    pub server_metadata_url: Option<String>,
    /// How the authorization server became known.
    pub provenance: Provenance,
    /// How long that metadata is trusted; then it is looked up again before it is relied on. `None`
    /// where it was configured or assumed, or is from before this was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<MetadataFreshness>,
    /// What had to be overlooked.
    pub leniencies: Vec<Leniency>,
}

impl Discovery {
    /// Whom it is for what a client signs (`aud`): assertions (RFC 7523 §3) and request objects (RFC 9101
    /// §4). It is the issuer in the server's own words, unless they name somebody else, who could be shown
    /// it then; and the token endpoint where nobody knows the issuer.
    pub(crate) fn audience(&self) -> &str {
        let own = self.server.issuer.as_str();
        match self.server.token_endpoint.as_deref() {
            Some(endpoint) if !self.knows_issuer => endpoint,
            _ if address::issuers_match(own, &self.issuer) => own,
            _ => &self.issuer,
        }
    }
}

/// How the authorization server became known.
///
/// ```
/// use mcp_auth::{Config, Provenance};
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # assert_eq!(s.inspect()?.unwrap().provenance, Provenance::ResourceMetadata);
/// # s.crash();
///
/// let config = Config { issuer: Some("https://auth.example.com".into()), ..Config::default() };
/// # s.config = config;
/// # s.demanded(mcp_auth::Demand::inspect())?;
/// # let machine = s.machine();
/// // Whatever the MCP server names:
/// assert_eq!(machine.discovery().unwrap().provenance, Provenance::Configured);
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Provenance {
    /// `issuer`, or `authorize_url` and `token_url`, in the configuration.
    Configured,
    /// `authorization_servers` in the protected resource metadata.
    ResourceMetadata,
    /// The challenge's realm, an issuer URL.
    Realm,
    /// The MCP server's own origin (specification of 2025-03-26).
    Origin,
}

#[derive(Deserialize)]
struct Header {
    version: Option<u64>,
}

impl Record {
    pub(crate) fn new(server: &str) -> Self {
        Self {
            version: VERSION,
            server: server.to_owned(),
            tokens: None,
            last_generation: Generation::default(),
            registrations: BTreeMap::new(),
            former: None,
            document_rejected_by: BTreeSet::new(),
            client_home: None,
            discovery: None,
            step_ups: Vec::new(),
            login: None,
            untaken: None,
            server_at: None,
            clock_skew: None,
        }
    }

    /// Whether it is of a login after this moment.
    pub(crate) fn is_newer(&self, moment: UnixTime) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.logged_in_at > moment)
    }

    /// Without anything of the login in it, after a logout. Generations go on, so that the refusal of
    /// an old token isn't taken for a new one's; and a program that goes on running knows whose its
    /// configured client is. Alone, neither is worth storing.
    pub(crate) fn emptied(&self) -> Self {
        let Self { last_generation, server_at, ref client_home, .. } = *self;
        let client_home = client_home.clone();
        Self { last_generation, server_at, client_home, ..Self::new(&self.server) }
    }

    /// `theirs`, which another process has saved in the place of this. Tokens that aren't ours are
    /// newer, whatever their number: they get one that was not used here, and keep it when they are
    /// read again.
    pub(crate) fn replaced_by(&self, mut theirs: Self) -> Self {
        let last = self.last_generation;
        if let Some(tokens) = &mut theirs.tokens {
            let ours = self.tokens.as_ref().filter(|ours| ours.is_same_set(tokens));
            tokens.generation = match ours {
                Some(ours) => ours.generation,
                None if tokens.generation <= last => last.next(),
                None => tokens.generation,
            };
        }
        theirs.last_generation =
            theirs.last_generation.max(last).max(theirs.generation().unwrap_or_default());
        theirs.catch_up(self);
        theirs.step_ups.clone_from(&self.step_ups);
        theirs.clock_skew.clone_from(&self.clock_skew);
        theirs
    }

    /// What another program says of the renewal of the same tokens stays, unless we have something of
    /// our `own` to say; but that it is renewing them stays in any case. Whether ours is gone.
    pub(crate) fn heed_renewal(&mut self, theirs: &Self, own: bool) -> bool {
        let (Some(ours), Some(theirs)) = (&mut self.tokens, &theirs.tokens) else { return false };
        let renewal = &theirs.renewal;
        let marked = renewal.mark.is_some() && renewal.mark != ours.renewal.mark;
        let heeds = ours.is_same_set(theirs) && (marked || !own);
        if heeds {
            ours.renewal = renewal.clone();
        }
        heeds
    }

    /// The next login registers afresh.
    pub(crate) fn suspect(&mut self, earlier: &EarlierClient) {
        let client = self.registrations.get_mut(&earlier.issuer);
        if let Some(client) = client.filter(|client| client.client_id == earlier.client_id) {
            client.suspect = true;
        }
    }

    /// The registered clients as a login finds them: in doubt where that is wished, and where they
    /// were of no use to anybody for so long that the server may have cleared them away.
    pub(crate) fn clients(
        &self,
        all_doubtful: bool,
        config: &Config,
        now: UnixTime,
    ) -> BTreeMap<String, Registration> {
        let mut clients = self.registrations.clone();
        for client in clients.values_mut() {
            // What is wished isn't to be talked out of by the server.
            client.confirmed |= all_doubtful;
            let tokens = self.tokens.as_ref().filter(|tokens| client.bought(tokens));
            let used = tokens.map_or(client.registered_at, |tokens| tokens.obtained_at);
            let idle =
                config.client_idle_seconds.is_some_and(|most| used.until(now).as_secs() > most);
            client.suspect |= all_doubtful || idle;
        }
        clients
    }

    /// Whether the tokens of both are the same.
    pub(crate) fn same_tokens(&self, other: &Self) -> bool {
        match (&self.tokens, &other.tokens) {
            (Some(ours), Some(theirs)) => ours.same(theirs),
            (None, None) => true,
            _ => false,
        }
    }

    /// Reads a stored record of this server.
    pub(crate) fn parse(bytes: &[u8], server: &str) -> Result<Self, Malformed> {
        let record = Self::read(bytes)?;
        if record.server != server {
            let got = "a record of another server";
            return Err(Malformed::new("the stored record", server, got));
        }
        Ok(record)
    }

    /// Whether a newer version of this program has written it: what that means is not ours to judge.
    pub(crate) fn is_of_newer_version(bytes: &[u8]) -> bool {
        let header: Option<Header> = serde_json::from_slice(bytes).ok();
        header.and_then(|header| header.version).is_some_and(|version| version > VERSION)
    }

    /// Reads a stored record of any server.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let bad = |expected: &str, got: &str| Malformed::new("the stored record", expected, got);
        // What serde says of a broken value may quote it: only the place is told.
        let at = |e: serde_json::Error| {
            bad("a JSON record", &format!("an error at {}:{}", e.line(), e.column()))
        };
        let header: Header = serde_json::from_slice(bytes).map_err(at)?;
        let expected = || format!("version {} to {VERSION}", migrate::OLDEST);
        let record = match header.version {
            Some(VERSION) => serde_json::from_slice(bytes),
            Some(older @ migrate::OLDEST..VERSION) => migrate::migrated(bytes, older)
                .and_then(|bytes| serde_json::from_slice(bytes.expose())),
            Some(version) => return Err(bad(&expected(), &format!("version {version}"))),
            None => return Err(bad(&expected(), "no version")),
        };
        let record: Self = record.map_err(at)?;
        // Nobody counts so far: from there on no new tokens could be told from old ones.
        if record.next_generation() == Generation::LAST {
            return Err(bad("a generation that was counted", "the last one"));
        }
        Ok(record)
    }

    pub(crate) fn to_bytes(&self) -> Secret<Vec<u8>> {
        // A map with string keys and plain values always serialises.
        Secret::new(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Nothing in it is worth storing.
    pub(crate) fn is_blank(&self) -> bool {
        self.tokens.is_none()
            && self.registrations.is_empty()
            && self.document_rejected_by.is_empty()
            && self.discovery.is_none()
            && self.untaken.is_none()
            && self.login.as_ref().is_none_or(|login| login.ended() == Some(Ended::Obtained))
    }

    pub(crate) fn generation(&self) -> Option<Generation> {
        self.tokens.as_ref().map(|tokens| tokens.generation)
    }

    /// Whether tokens of this generation are gone, and not because of a logout: that takes along the
    /// client that these, which descend from them, were issued to.
    pub(crate) fn has_ended(&self, generation: Generation, bought: &Tokens) -> bool {
        let known = match bought.client_source {
            ClientSource::Registered => self.registrations.values().any(|c| c.bought(bought)),
            _ => self.discovery.is_some(),
        };
        self.tokens.is_none() && generation <= self.last_generation && known
    }

    fn next_generation(&self) -> Generation {
        self.last_generation.max(self.generation().unwrap_or_default()).next()
    }

    /// Takes up new tokens: the next generation.
    pub(crate) fn put(&mut self, mut tokens: Tokens) {
        tokens.generation = self.next_generation();
        self.last_generation = tokens.generation;
        self.former.take_if(|former| !former.bought(&tokens));
        // Alive after all: the person just didn't come.
        let client = self.registrations.get_mut(&tokens.issuer);
        if let Some(client) = client.filter(|client| client.bought(&tokens)) {
            (client.suspect, client.confirmed) = (false, false);
        }
        self.tokens = Some(tokens);
        self.untaken = None;
    }

    /// Every registered client that is known.
    pub(crate) fn known_clients(&self) -> impl Iterator<Item = &Registration> {
        self.registrations.values().chain(&self.former)
    }

    /// The registered client that the tokens were issued to.
    pub(crate) fn buyer(&self) -> Option<&Registration> {
        let tokens = self.tokens.as_ref()?;
        self.known_clients().find(|client| client.bought(tokens))
    }

    /// Takes over what has become of our clients elsewhere.
    pub(crate) fn catch_up(&mut self, other: &Self) {
        for known in self.registrations.values_mut().chain(&mut self.former) {
            let newer =
                other.known_clients().find(|other| other.is(known) && other.is_newer_than(known));
            if let Some(newer) = newer {
                known.clone_from(newer);
            }
        }
    }

    /// Remembers what has become of a client, if it is still known.
    pub(crate) fn update(&mut self, client: Registration) {
        let known = self.registrations.values_mut().chain(&mut self.former);
        let ours = |known: &&mut Registration| known.is(&client) && !known.is_newer_than(&client);
        if let Some(known) = known.into_iter().find(ours) {
            *known = client;
        }
    }

    /// Whether this is what is known of the client.
    pub(crate) fn knows(&self, client: &Registration) -> bool {
        self.known_clients().any(|known| known == client)
    }

    /// Remembers a client, and the one that it replaces as long as its tokens live.
    pub(crate) fn register(&mut self, registration: Registration) {
        // A login that began before its client was renewed knows an older secret.
        let newer =
            |known: &&Registration| known.is(&registration) && known.is_newer_than(&registration);
        let registration = self.known_clients().find(newer).cloned().unwrap_or(registration);
        let replaced = self.registrations.insert(registration.issuer.clone(), registration);
        let tokens = self.tokens.as_ref();
        if let Some(replaced) = replaced.filter(|old| tokens.is_some_and(|t| old.bought(t))) {
            self.former = Some(replaced);
        }
    }
}
