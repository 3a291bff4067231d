//! The built command against a simulated MCP server and authorization server behind sockets.

#[path = "../../src/demo/servers.rs"]
mod servers;
mod stage;
#[path = "../../src/walker.rs"]
mod walker;

mod demo;
mod inspect;
mod login;
mod logout;
#[cfg(unix)]
mod one_browser;
mod request;
mod secrets;
mod status;
#[cfg(unix)]
mod store;
mod token;
mod usage;
