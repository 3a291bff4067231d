//! The file store, as a program that ends at once has to use it.

use std::time::Duration;

use mcp_auth::{HostError, Revision};
use mcp_auth_host::store::{Entry, Lock, Store};

/// Keeps the login of a store that can't be written to: a refresh would spend what is stored, and
/// its tokens would go with this process.
pub struct OneRun(pub Entry);

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
