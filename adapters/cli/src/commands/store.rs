//! The logins of a directory, as a program that ends at once has to use them.

use std::path::PathBuf;
use std::time::Duration;

use mcp_auth::{HostError, Revision};
#[cfg(not(feature = "keyring"))]
pub use mcp_auth_host::store::{Entry as Place, FileStore as Logins};
use mcp_auth_host::store::{FileStore, Lock, Store};
#[cfg(feature = "keyring")]
pub use mcp_auth_keyring::{SealedEntry as Place, SealedStore as Logins};

use crate::args::StoreArgs;
use crate::failure::Failure;

/// Opens a directory. No keyring is asked for anything yet.
#[cfg(feature = "keyring")]
pub fn open(dir: PathBuf, args: &StoreArgs) -> Result<Logins, Failure> {
    use mcp_auth_keyring::{Policy, SystemKeyring};
    let policy = args.keyring.unwrap_or(Policy::AsFound);
    Ok(Logins::new(FileStore::open(dir)?, SystemKeyring::new()).policy(policy))
}

/// Opens a directory.
#[cfg(not(feature = "keyring"))]
pub fn open(dir: PathBuf, _: &StoreArgs) -> Result<Logins, Failure> {
    if std::env::var_os("MCP_AUTH_KEYRING").is_some() {
        let why = "MCP_AUTH_KEYRING is set, and this `mcp-auth` was built without the keyring";
        return Err(Failure::Usage(why.into()));
    }
    Ok(FileStore::open(dir)?)
}

/// Keeps the login of a store that can't be written to: a refresh would spend what is stored, and
/// its tokens would go with this process.
pub struct OneRun(pub Place);

impl Store for OneRun {
    fn load(&self) -> Result<Option<Vec<u8>>, HostError> {
        Store::load(&self.0)
    }

    fn save(&self, record: &[u8], expected: Revision) -> Result<(), HostError> {
        Store::save(&self.0, record, expected)
    }

    fn erase(&self, expected: Option<Revision>) -> Result<(), HostError> {
        Store::erase(&self.0, expected)
    }

    fn set_aside(&self, expected: Revision) -> Result<(), HostError> {
        Store::set_aside(&self.0, expected)
    }

    fn lock(&self, timeout: Duration) -> Result<Lock, HostError> {
        let required =
            |error: HostError| if error.is_busy() { error } else { HostError::required(error) };
        let lock = Store::lock(&self.0, timeout).map_err(required)?;
        self.0.rehearse().map_err(HostError::required)?;
        Ok(lock)
    }
}
