//! The contract of stores: ours keep it, and the check sees each way to break it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_auth::{HostError, Revision};
use mcp_auth_host::store::{FileStore, Lock, MemoryStore, Store, contract};

#[test]
fn the_file_store_keeps_its_promises() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path().join("logins")).unwrap();
    contract::check(|login| store.entry("https://mcp.example.com/mcp", login)).unwrap();
}

#[test]
fn the_memory_store_keeps_its_promises() {
    contract::check(memory()).unwrap();
}

#[test]
fn a_store_that_breaks_a_promise_is_found_out() {
    for (fault, promise) in [
        (Fault::Trims, "byte for byte"),
        (Fault::Deaf, "byte for byte"),
        (Fault::NothingToErase, "erasing nothing is no error"),
        (Fault::KeepsErased, "is gone"),
        (Fault::KeepsAside, "no longer the record"),
        (Fault::OverwritesAnything, "something else is stored than is expected"),
        (Fault::ErasesAnything, "something else is stored than is expected"),
        (Fault::SetsAsideAnything, "something else is stored than is expected"),
        (Fault::NotConflict, "`conflict` is told"),
        (Fault::ComparesFirst, "one succeeds"),
        (Fault::OnePlace, "not touched"),
        (Fault::NoLock, "one holder"),
        (Fault::OneLock, "a lock of its own"),
        (Fault::Torn, "old record or the new one"),
        (Fault::NotBusy, "told `busy`"),
    ] {
        let open = memory();
        let found = contract::check(|login| Faulty {
            store: open(if fault == Fault::OnePlace && login == "theirs" { "mine" } else { login }),
            shared: open("shared"),
            fault,
        });
        let broken = found.expect_err(&format!("{fault:?}")).to_string();
        assert!(broken.contains(promise), "{fault:?}: {broken}");
    }
}

fn memory() -> impl Fn(&str) -> MemoryStore {
    let places = Arc::new(Mutex::new(HashMap::new()));
    move |login| {
        let mut places = places.lock().unwrap();
        places.entry(login.to_owned()).or_insert_with(MemoryStore::new).clone()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Trims,
    Deaf,
    NothingToErase,
    KeepsErased,
    KeepsAside,
    OverwritesAnything,
    ErasesAnything,
    SetsAsideAnything,
    NotConflict,
    /// And saves then, without looking again.
    ComparesFirst,
    OnePlace,
    NoLock,
    OneLock,
    Torn,
    NotBusy,
}

struct Faulty {
    store: MemoryStore,
    /// What all logins have in common.
    shared: MemoryStore,
    fault: Fault,
}

impl Faulty {
    fn there(&self) -> Result<Revision, HostError> {
        Ok(Revision::of(self.store.load()?.as_deref()))
    }

    fn overwrite(&self, record: &[u8]) -> Result<(), HostError> {
        loop {
            match self.store.save(record, self.there()?) {
                Err(error) if error.is_conflict() => {}
                result => return result,
            }
        }
    }
}

impl Store for Faulty {
    fn load(&self) -> Result<Option<Vec<u8>>, HostError> {
        self.store.load()
    }

    fn save(&self, record: &[u8], expected: Revision) -> Result<(), HostError> {
        match self.fault {
            Fault::Deaf => Ok(()),
            Fault::Trims => {
                let text = String::from_utf8_lossy(record).replace(' ', "");
                self.store.save(text.as_bytes(), expected)
            }
            Fault::Torn => {
                let half = record.get(..1).unwrap_or_default();
                self.store.save(half, expected)?;
                std::thread::sleep(Duration::from_millis(2));
                self.store.save(record, Revision::of(Some(half)))
            }
            Fault::OverwritesAnything => self.overwrite(record),
            Fault::ComparesFirst => {
                if self.there()? != expected {
                    return Err(HostError::conflict("changed"));
                }
                std::thread::sleep(Duration::from_millis(20));
                self.overwrite(record)
            }
            Fault::NotConflict => {
                let told = |error: HostError| HostError::new(error.to_string());
                self.store.save(record, expected).map_err(told)
            }
            _ => self.store.save(record, expected),
        }
    }

    fn erase(&self, expected: Option<Revision>) -> Result<(), HostError> {
        match self.fault {
            Fault::KeepsErased => Ok(()),
            Fault::NothingToErase if self.store.load()?.is_none() => {
                Err(HostError::new("nothing there"))
            }
            Fault::ErasesAnything => self.store.erase(None),
            _ => self.store.erase(expected),
        }
    }

    fn set_aside(&self, expected: Revision) -> Result<(), HostError> {
        match self.fault {
            Fault::KeepsAside => Ok(()),
            Fault::SetsAsideAnything => self.store.set_aside(self.there()?),
            _ => self.store.set_aside(expected),
        }
    }

    fn lock(&self, timeout: Duration) -> Result<Lock, HostError> {
        match self.fault {
            Fault::NoLock => Ok(Box::new(())),
            Fault::OneLock => self.shared.lock(timeout),
            Fault::NotBusy => {
                self.store.lock(timeout).map_err(|error| HostError::new(error.to_string()))
            }
            _ => self.store.lock(timeout),
        }
    }
}
