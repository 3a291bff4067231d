//! The disk: what survives a crash, who holds its lock, and how it fails.

use mcp_auth::output::SaveCall;
use mcp_auth::{HostError, Revision};

/// A store that programs share: one record, one lock.
///
/// What is in it changes only when a save is performed, if it is still what that expects, so a program that is dropped beforehand
/// leaves it as it was.
#[derive(Debug, Clone, Default)]
pub struct Store {
    /// What is stored.
    pub bytes: Option<Vec<u8>>,
    /// Records that could not be read and were kept aside, oldest first.
    pub set_aside: Vec<Vec<u8>>,
    /// How many saves have succeeded, erasures included.
    pub saves: usize,
    /// How many were refused because something else was stored than their program had read.
    pub conflicts: usize,
    /// The program that holds the lock.
    pub locked_by: Option<usize>,
    /// The lock is a lease: it ends once others have waited for it in vain.
    pub leases: bool,
    fails_saves: bool,
    fails_loads: bool,
    required: bool,
}

impl Store {
    /// Makes every save fail, or work again.
    pub fn fail_saves(&mut self, fail: bool) {
        self.fails_saves = fail;
    }

    pub(super) fn fails_loads(&self) -> bool {
        self.fails_loads
    }

    /// Makes every load fail, or work again.
    pub fn fail_loads(&mut self, fail: bool) {
        self.fails_loads = fail;
    }

    /// Makes every lock fail, for a program that must not refresh without it; or work again.
    pub fn require(&mut self, fail: bool) {
        self.required = fail;
    }

    /// What is stored, as text; empty where nothing is.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes.as_deref().unwrap_or_default()).into_owned()
    }

    /// Puts something else there, as a bad disk or an older version would.
    pub fn overwrite(&mut self, text: &str) {
        self.bytes = Some(text.as_bytes().to_vec());
    }

    /// Whether `program` may go on: nobody else holds the lock.
    pub(super) fn is_free_for(&self, program: usize) -> bool {
        self.locked_by.is_none_or(|holder| holder == program)
    }

    pub(super) fn load(
        &mut self,
        program: usize,
        lock: bool,
    ) -> Result<Option<Vec<u8>>, HostError> {
        if self.fails_loads {
            return Err(HostError::new("the disk can't be read"));
        }
        if lock && self.required {
            return Err(HostError::required("the disk is read-only"));
        }
        if lock {
            self.locked_by = Some(program);
        }
        Ok(self.bytes.clone())
    }

    pub(super) fn save(&mut self, call: &SaveCall) -> Result<(), HostError> {
        if self.fails_saves {
            return Err(HostError::new("the disk is full"));
        }
        let there = Revision::of(self.bytes.as_deref());
        assert!(call.record().is_none() || call.expected().is_some(), "it saves unread");
        if call.expected().is_some_and(|expected| expected != there) {
            self.conflicts += 1;
            return Err(HostError::conflict("another program has changed it"));
        }
        if call.set_aside() {
            self.set_aside.extend(self.bytes.take());
        }
        self.bytes = call.record().map(<[u8]>::to_vec);
        self.saves += 1;
        Ok(())
    }

    pub(super) fn release(&mut self, program: usize) {
        self.locked_by.take_if(|holder| *holder == program);
    }
}
