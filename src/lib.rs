//! Authenticate a program to remote MCP servers: a pure, sans-IO state machine.

mod secret;
mod text;
mod time;
pub mod wire;

pub use secret::Secret;
pub use time::{Mono, Now, UnixTime};
