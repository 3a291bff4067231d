//! What every host of `mcp-auth` needs and the pure core may not touch.
//!
//! | module | for the action | what it does |
//! |---|---|---|
//! | [`store`] | load, save, lock, erase | one private file per login, replaced atomically |
//! | [`secrets`] | read a secret | files, variables, a provider of the program's own |
//! | [`signer`] | key, sign | keys in PEM files, an agent or a device of the program's own |
//! | [`listener`] | listen | the loopback redirect listener of RFC 8252 §7.3 |
//! | [`browser`] | browse | opens a URL without blocking or touching the terminal |
//! | [`identity`] | send, with a client's certificate | what was read of it |
//! | [`hands`] | all but HTTP and listen | performs them, with what [`setup`] gave it |
//! | [`desk`] | all of them | the machine, what it wants done, and who waits for it |
//! | [`system`] | — | the clock readings and randomness that the core takes as arguments |
//!
//! [`tokens`] has the traits of token sources, and persisters for whoever keeps refresh tokens
//! elsewhere.
//! [`settings`] reads and writes configuration files: JSON, and with the feature `yaml` YAML, in our
//! form or ToolHive's.
//!
//! Nothing here knows OAuth, and of the core only the types at its edge: blocking and async hosts
//! wire these parts to the machine's actions as they see fit.
//!
//! The feature `signer` brings [`signer`]. The feature `serve` adds a minimal loopback HTTP server for tests and demos.

#![warn(unreachable_pub)]

pub mod browser;
pub mod desk;
pub mod hands;
pub mod identity;
pub mod listener;
pub mod secrets;
#[cfg(feature = "serve")]
pub mod serve;
pub mod settings;
pub mod setup;
pub mod signer;
pub mod store;
pub mod system;
pub mod tokens;
