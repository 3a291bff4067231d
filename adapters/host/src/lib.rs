//! What every host of `mcp-auth` needs and the pure core may not touch.
//!
//! | module | for the action | what it does |
//! |---|---|---|
//! | [`store`] | load, save, lock, erase | one private file per login, replaced atomically |
//! | [`listener`] | listen | the loopback redirect listener of RFC 8252 §7.3 |
//! | [`browser`] | browse | opens a URL without blocking or touching the terminal |
//! | [`system`] | — | the clock readings and randomness that the core takes as arguments |
//!
//! Nothing here knows OAuth, and nothing depends on the core's types: blocking and async hosts
//! wire these parts to the machine's actions as they see fit.

pub mod browser;
pub mod listener;
pub mod store;
pub mod system;
