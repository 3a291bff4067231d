//! A store for `mcp-auth` whose files are sealed with a key from the system's keyring: the Keychain
//! on macOS, the Credential Manager on Windows, the Secret Service elsewhere.
//!
//! ```text
//! the keyring:  one key of 256 bits for each store
//! the files:    { server, account, sealed: { key's name, nonce, encrypted record } }
//! ```
//!
//! Keyrings keep little (2.5 KB on Windows), and have neither locks nor a way to replace what is
//! still as it was read. So they keep the key alone, and the files are those of
//! [`FileStore`](mcp_auth_host::store::FileStore), with its locks, its atomic replacement and its
//! private modes; only what is in them is sealed (XChaCha20-Poly1305, a nonce drawn for each save, the
//! server and the account as associated data).
//!
//! ```no_run
//! use mcp_auth_host::store::FileStore;
//! use mcp_auth_keyring::{SealedStore, SystemKeyring};
//!
//! let store = SealedStore::new(FileStore::open("logins")?, SystemKeyring::new());
//! let entry = store.entry("https://mcp.example.com/mcp", "default");
//! // Give it to a session, as any other store.
//! # fn session(store: impl mcp_auth_host::store::Store) {}
//! # session(entry);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A host with a vault of its own implements [`Keyring`]: two methods.
//!
//! # What it protects
//!
//! Whoever gets the files gets no tokens: from a backup, a synchronised folder, a disk. Which servers
//! and accounts there are is not secret: [`SealedStore::list`] names them without the keyring. A program that runs as the same user may ask most keyrings for the
//! key, as this one does.
//!
//! Whoever can *write* to the files can remove a login or put back an older one of the same place. He
//! can't make one, nor pass one off as another's; but while plain records are read, to seal them with
//! the next save, he can put one of those there. [`Policy::SealedOnly`] refuses them: turn it on once
//! the logins have moved.
//!
//! # What can go wrong
//!
//! A record that can't be opened is an error, and never replaced, set aside or taken for nothing:
//!
//! | what | until |
//! |---|---|
//! | the keyring is locked, can't be reached, or doesn't answer in time | it is unlocked, or works |
//! | it has no key of that name, or another | the right keyring is back, or the file is removed |
//! | the file was changed, or is another login's | it is removed |
//!
//! A login that is removed, by a person or by `mcp-auth logout --local`, can be made again. A store
//! whose key is missing gets a new one only when no file is left that is sealed with it. Each program
//! asks the keyring once; if that is locked later, the program goes on.
//!
//! Several programs that start together make one key: it is made under a lock of the store.

#![warn(unreachable_pub)]

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
