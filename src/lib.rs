//! Authenticate a program to remote MCP servers: a pure, sans-IO state machine.

mod config;
mod entropy;
mod error;
pub mod event;
mod flow;
mod machine;
mod notice;
pub mod output;
mod secret;
mod session;
mod text;
mod time;
pub mod wire;

pub use config::Config;
pub use entropy::Entropy;
pub use error::{Error, ErrorKind, Fault};
pub use event::{AttemptId, Challenged, Demand, Event, Need, Redirected};
pub use machine::{AuthMachine, TokenState, TokenStatus};
pub use notice::{ClientSource, Leniency, Notice, Proposal};
pub use output::{Action, HostError, Output, TransportError, TransportErrorKind};
pub use secret::Secret;
pub use session::grant::Grant;
pub use session::record::{Discovery, Provenance};
pub use session::tokens::Generation;
pub use time::{Mono, Now, UnixTime};
