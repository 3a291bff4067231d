//! The contract of stores: ours keep it, and the check sees each way to break it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_auth::HostError;
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

impl Store for Faulty {
    fn load(&self) -> Result<Option<Vec<u8>>, HostError> {
        self.store.load()
    }

    fn save(&self, record: &[u8]) -> Result<(), HostError> {
        match self.fault {
            Fault::Deaf => Ok(()),
            Fault::Trims => {
                let text = String::from_utf8_lossy(record).replace(' ', "");
                self.store.save(text.as_bytes())
            }
            Fault::Torn => {
                self.store.save(record.get(..1).unwrap_or_default())?;
                std::thread::sleep(Duration::from_millis(2));
                self.store.save(record)
            }
            _ => self.store.save(record),
        }
    }

    fn erase(&self) -> Result<(), HostError> {
        match self.fault {
            Fault::KeepsErased => Ok(()),
            Fault::NothingToErase if self.store.load()?.is_none() => {
                Err(HostError::new("nothing there"))
            }
            _ => self.store.erase(),
        }
    }

    fn set_aside(&self) -> Result<(), HostError> {
        if self.fault == Fault::KeepsAside { Ok(()) } else { self.store.set_aside() }
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
