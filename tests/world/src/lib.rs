//! A simulated world for `mcp-auth`: one MCP server, any number of authorization servers and the
//! person in front of the browser.
//!
//! The world is pure and deterministic: requests and the time go in, responses come out. It opens
//! no socket, reads no clock and draws no randomness (opaque values are hashes of a counter), and
//! it answers any request without panicking. What it was asked is kept in [`World::log`], so that
//! a test can state laws about a whole story: no refresh token was spent twice, no secret went
//! astray ([`World::leaks`]).
//!
//! The servers are strict by default and really verify what they are told; each oddity of real
//! servers is a field with a name. What no field covers is played by a [`Fault`], which takes the
//! place of an answer.
//!
//! ```
//! use mcp_auth_world::{Challenge, World};
//!
//! let mut world = World::new();
//! world.resource.challenge = Challenge::WithoutMetadata;
//! let request = http::Request::post("https://mcp.example.com/mcp").body(Vec::new())?;
//! let response = world.handle(1_700_000_000, &request).expect("no fault is queued");
//! assert_eq!(response.status(), 401);
//! # Ok::<(), http::Error>(())
//! ```

mod authorization_server;
mod faults;
pub mod fuzz;
mod laws;
mod log;
mod marks;
mod mcp;
mod person;
mod resource_server;
pub mod scenario;
pub mod signer;
mod text;
pub mod traps;
mod world;

pub use authorization_server::{
    AccessToken, AuthorizationServer, Cimd, Client, ClientAuthentication, ExpiresIn, IssParameter,
    MetadataPlace, Presented, Redirects, RefreshTokens, Registration, ResourceIndicators,
    ScopeGrant, TokenReply,
};
pub use faults::{Canned, Effect, Fault, NetworkError};
pub use laws::{Leak, SecretKind, What};
pub use log::{
    AuthorizationRequest, By, Decision, Detail, Exchange, Lineage, Outcome, TokenRequest, Who,
};
pub use person::{Person, Visit};
pub use resource_server::{
    Challenge, GetAnswer, Mood, RequiresLogin, ResourceMetadata, ResourceServer, ScopeChallenge,
    Versions,
};
pub use world::World;

#[cfg(test)]
mod stories;
