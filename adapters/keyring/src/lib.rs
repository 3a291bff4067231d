//! A store of `mcp-auth` whose files are sealed with a key from the system's keyring.

mod error;
mod keyring;
mod keys;
mod seal;
mod store;
#[cfg(any(windows, target_os = "macos", all(unix, not(target_vendor = "apple"))))]
mod system;

pub use error::KeyringError;
pub use keyring::Keyring;
pub use store::{Policy, SealedEntry, SealedStore};
#[cfg(any(windows, target_os = "macos", all(unix, not(target_vendor = "apple"))))]
pub use system::SystemKeyring;
