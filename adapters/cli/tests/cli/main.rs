//! The built command against a simulated MCP server and authorization server behind sockets.

#[cfg(all(target_os = "linux", feature = "keyring"))]
#[path = "../../../keyring/tests/desktop/mod.rs"]
mod desktop;
#[path = "../../src/demo/servers.rs"]
mod servers;
mod stage;
#[path = "../../src/walker.rs"]
mod walker;

mod demo;
mod device;
mod inspect;
#[cfg(all(target_os = "linux", feature = "keyring"))]
mod keyring;
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
