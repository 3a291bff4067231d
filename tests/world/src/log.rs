//! What the world was asked.

use http::Request;

use crate::authorization_server::ClientAuthentication;
use crate::faults::NetworkError;
use crate::text::Form;

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// When it was sent, in Unix seconds.
    pub at: u64,
    /// Who sent it.
    pub by: By,
    /// Who received it.
    pub who: Who,
    /// The origin that it was sent to.
    pub origin: String,
    /// The path that it was sent to, without the query.
    pub path: String,
    /// The request itself, with all the secrets that it held.
    pub request: Request<Vec<u8>>,
    /// The status of the response, or why the sender saw none.
    pub answer: Result<u16, NetworkError>,
    /// What it was about.
    pub detail: Detail,
}

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The program, through [`World::handle`](crate::World::handle).
    Program,
    /// The person's browser, through [`World::visit`](crate::World::visit).
    Browser,
}

/// Who received a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The MCP server.
    Resource,
    /// The authorization server with this index in [`World::authorization`](crate::World::authorization).
    Authorization(usize),
    /// An origin that nobody in this world answers for.
    Stray,
}

/// What a request was about. A request that a [`Fault`](crate::Fault) caught is described as far
/// as its sender went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// Nothing that the world knows.
    Other,
    /// A message for the MCP server.
    Mcp {
        /// The JSON-RPC method, if the body could be read.
        method: Option<String>,
        /// The tool that `tools/call` names.
        tool: Option<String>,
    },
    /// The protected resource metadata was asked for (RFC 9728).
    ResourceMetadata,
    /// Authorization server metadata was asked for (RFC 8414).
    ServerMetadata,
    /// A client asked to be registered (RFC 7591).
    Registration {
        /// The identifier it got; `None` if it was refused.
        client_id: Option<String>,
    },
    /// A client read, changed or deleted its registration (RFC 7592).
    Management {
        /// The client that the URL names.
        client_id: String,
    },
    /// An authorization request (RFC 6749 §4.1.1).
    Authorization(AuthorizationRequest),
    /// An authorization request was pushed (RFC 9126).
    Pushed,
    /// A token request (RFC 6749 §3.2).
    Token(TokenRequest),
    /// A code for another device was asked for (RFC 8628 §3.1).
    DeviceAuthorization {
        /// Was it given?
        granted: bool,
    },
    /// A token was given back (RFC 7009).
    Revocation {
        /// Did this end a token that was known?
        revoked: bool,
    },
}

/// What an authorization request asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthorizationRequest {
    /// The client that it names.
    pub client_id: String,
    /// Where it wants the response.
    pub redirect_uri: String,
    /// The scopes that it asks for.
    pub scopes: Vec<String>,
    /// Its resource indicator (RFC 8707).
    pub resource: Option<String>,
    /// What became of it.
    pub decision: Decision,
}

/// What became of an authorization request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Decision {
    /// The person did not answer, or a fault took the request.
    #[default]
    Open,
    /// A code was issued for these scopes.
    Approved(Vec<String>),
    /// The program was told this `error`.
    Refused(String),
    /// The browser showed an error page, and the program was told nothing.
    Page,
}

/// What a token request held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenRequest {
    /// The `grant_type`; empty if it was missing.
    pub grant_type: String,
    /// The client that it claims to come from; empty if it names none.
    pub client_id: String,
    /// How the client authenticated; `None` if that could not be told.
    pub authentication: Option<ClientAuthentication>,
    /// Its resource indicator (RFC 8707).
    pub resource: Option<String>,
    /// Its `scope`.
    pub scope: Option<String>,
    /// Where the refresh token comes from, if it is one that this server issued.
    pub refresh: Option<Lineage>,
    /// Was a code or a refresh token presented that had been spent before?
    pub reused: bool,
    /// What became of it.
    pub outcome: Outcome,
}

/// Where a refresh token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage {
    /// The login that it descends from.
    pub family: u64,
    /// 0 for the first of its family, one more with each rotation.
    pub generation: u64,
}

/// What became of a token request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Outcome {
    /// A fault took the request before the server saw it.
    #[default]
    Unheard,
    /// Tokens were issued, even if the answer was lost afterwards.
    Granted,
    /// The server answered this `error`.
    Refused(String),
}

impl TokenRequest {
    /// What can be told from the request alone.
    pub(crate) fn read(request: &Request<Vec<u8>>) -> TokenRequest {
        let form = Form::parse(request.body());
        TokenRequest {
            grant_type: form.owned("grant_type").unwrap_or_default(),
            client_id: form.owned("client_id").unwrap_or_default(),
            resource: form.owned("resource"),
            scope: form.owned("scope"),
            ..TokenRequest::default()
        }
    }
}
