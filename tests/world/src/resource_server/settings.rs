//! The switches of the MCP server, and their defaults.

use std::collections::{BTreeMap, BTreeSet};

use crate::faults::Canned;

/// An MCP server that is a protected resource. Change a field at any time.
#[derive(Debug, Clone)]
pub struct ResourceServer {
    /// The MCP endpoint.
    pub url: String,
    /// What needs a login.
    pub requires_login: RequiresLogin,
    /// The form of the 401.
    pub challenge: Challenge,
    /// The scopes that every call needs, and that the 401 names.
    pub scopes: Vec<String>,
    /// Does the 401 name [`scopes`](Self::scopes)?
    pub challenge_names_scopes: bool,
    /// The scopes that a tool needs besides.
    pub tool_scopes: BTreeMap<String, Vec<String>>,
    /// Which scopes a 403 names.
    pub scope_challenge: ScopeChallenge,
    /// What a GET of the endpoint gets.
    pub get: GetAnswer,
    /// The protocol versions it speaks.
    pub versions: Versions,
    /// Where its metadata is.
    pub metadata: ResourceMetadata,
    /// Served in place of the metadata, byte for byte.
    pub metadata_body: Option<String>,
    /// The `resource` of the metadata and the audience of its tokens; `None` is the endpoint's URL.
    pub identifier: Option<String>,
    /// The `scopes_supported` of the metadata; left out when empty.
    pub scopes_supported: Vec<String>,
    /// The `authorization_servers` of the metadata; `None` lists the one at [`home`](Self::home).
    pub authorization_servers: Option<Vec<String>>,
    /// The index of the authorization server whose tokens it accepts.
    pub home: usize,
    /// Keys that let their bearer in beside all tokens, with every scope.
    pub api_keys: BTreeSet<String>,
    /// Whether it judges tokens fairly.
    pub mood: Mood,
    /// Sent to one whose `Accept` doesn't name event streams, whoever comes.
    pub without_accept: Option<Canned>,
    /// Sent in place of the 401 to one who came without a token, byte for byte.
    pub no_token_answer: Option<Canned>,
    /// Sent in place of the 401 to one who came with a bad token: some servers answer 500, 307 or
    /// even 200.
    pub bad_token_answer: Option<Canned>,
    /// How many calls with a good token get a 401 all the same.
    pub refuse_next: u32,
    /// Proofs must have this nonce (RFC 9449 §9).
    pub dpop_nonce: Option<String>,
    pub(super) proofs_seen: BTreeSet<String>,
    pub(super) refused_once: BTreeSet<String>,
    pub(super) revoked: BTreeSet<String>,
}

/// What needs a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiresLogin {
    /// Every message.
    Always,
    /// No message: tokens aren't looked at.
    Never,
    /// `tools/call` alone.
    ForToolCalls,
}

/// The `WWW-Authenticate` of a 401.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// `Bearer` with `resource_metadata`, and with scopes where there are any.
    Full,
    /// The same without `resource_metadata`.
    WithoutMetadata,
    /// No header at all.
    Absent,
    /// These values, each in a header line of its own.
    Raw(Vec<String>),
}

/// The scopes in the challenge of a 403 `insufficient_scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeChallenge {
    /// Those that the token lacks: a client must add them to what it has.
    NamesMissing,
    /// All that the call needs.
    NamesAll,
}

/// What a GET of the MCP endpoint gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GetAnswer {
    /// 405, with or without a token: no event stream is offered.
    MethodNotAllowed,
    /// The same 401 as a POST without a good token, else 405.
    Unauthorized,
}

/// The protocol versions that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// Both.
    Both,
    /// 2025-11-25 and before: `initialize` first.
    Stateful,
    /// 2026-07-28: each request stands alone.
    Stateless,
}

/// Where the protected resource metadata is (RFC 9728 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceMetadata {
    /// At the well-known URI with the endpoint's path.
    AtPath,
    /// At the well-known URI of the origin.
    AtRoot,
    /// At this absolute URL, on any origin.
    At(String),
    /// Nowhere.
    Absent,
}

/// Whether a server judges tokens fairly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// By issuer, audience, expiry and scopes.
    Fair,
    /// 401 to everybody, for ever.
    RefusesAll,
    /// 403 `insufficient_scope` to everybody who brings a token, for ever.
    ForbidsAll,
}

impl ResourceServer {
    /// A server that wants a login with `notes:read` for everything and `notes:write` for the tool
    /// `write_note`.
    pub fn new(url: &str) -> ResourceServer {
        let scopes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ResourceServer {
            url: url.to_owned(),
            requires_login: RequiresLogin::Always,
            challenge: Challenge::Full,
            scopes: scopes(&["notes:read"]),
            challenge_names_scopes: true,
            tool_scopes: BTreeMap::from([("write_note".to_owned(), scopes(&["notes:write"]))]),
            scope_challenge: ScopeChallenge::NamesAll,
            get: GetAnswer::MethodNotAllowed,
            versions: Versions::Both,
            metadata: ResourceMetadata::AtPath,
            metadata_body: None,
            identifier: None,
            scopes_supported: scopes(&["notes:read", "notes:write"]),
            authorization_servers: None,
            home: 0,
            api_keys: BTreeSet::new(),
            mood: Mood::Fair,
            without_accept: None,
            no_token_answer: None,
            bad_token_answer: None,
            refuse_next: 0,
            dpop_nonce: None,
            proofs_seen: BTreeSet::new(),
            refused_once: BTreeSet::new(),
            revoked: BTreeSet::new(),
        }
    }
}
