//! The contract of hosts: what each of them promises, whatever it runs on.
//!
//! The stories are in `tests/stories`; a host is put through them by a test that implements [`Host`]
//! for it, and says `mod stories`. What servers may not lead to is in [`traps`](mod@traps), and who
//! sees a client's certificate in [`mutual`](mod@mutual): they need a look inside, so that each host calls
//! them from its own tests.

mod city;
mod dropped;
mod guard;
mod host;
pub mod mutual;
mod proxy;
mod town;
pub mod traps;
mod vault;

pub use city::{City, PUBLIC, URL, ip};
pub use dropped::Dropped;
pub use host::{Build, Host};
pub use proxy::Proxy;
pub use town::{Town, Visitor, eventually, redirect_of, unix_now};
pub use vault::Vault;

/// What the README shows does compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
