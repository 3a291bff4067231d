//! Sealed logins on a real disk, with a keyring in memory.

mod vault;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use mcp_auth::{HostError, Revision};
use mcp_auth_host::store::{FileStore, Store, contract};
use mcp_auth_keyring::{KeyringError, Policy, SealedEntry, SealedStore};
use tempfile::TempDir;

use vault::Vault;

const SERVER: &str = "https://mcp.example.com/mcp";
const RECORD: &[u8] = br#"{"token": "s3cret", "n": 10000000000000000000000.50}"#;
const OTHER: &[u8] = br#"{"token": "another"}"#;

/// One directory and one keyring; every store opened in it is as another process would have it.
struct World {
    dir: TempDir,
    vault: Vault,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), vault: Vault::default() }
    }

    fn files(&self) -> FileStore {
        FileStore::open(self.dir.path().join("logins")).unwrap()
    }

    fn store(&self, policy: Policy) -> SealedStore {
        SealedStore::new(self.files(), self.vault.clone()).policy(policy)
    }

    fn entry(&self, account: &str) -> SealedEntry {
        self.store(Policy::Seal).entry(SERVER, account)
    }

    /// The login as it lies on disk.
    fn file(&self, account: &str) -> String {
        fs::read_to_string(self.files().entry(SERVER, account).path()).unwrap_or_default()
    }

    /// Whether this is in any file of the directory.
    fn shows(&self, text: &str) -> bool {
        fs::read_dir(self.files().dir()).unwrap().any(|file| {
            String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap()).contains(text)
        })
    }

    /// The key is not in the keyring; what is returned would bring it back.
    fn lose_the_key(&self) -> BTreeMap<String, Vec<u8>> {
        self.vault.replace(BTreeMap::new())
    }
}

/// Saves where nothing is stored.
fn put(entry: &impl Store, record: &[u8]) -> Result<(), HostError> {
    entry.save(record, Revision::NOTHING)
}

/// Saves in the place of a record.
fn replace(entry: &impl Store, old: &[u8], new: &[u8]) -> Result<(), HostError> {
    entry.save(new, Revision::of(Some(old)))
}

/// Whatever is stored.
fn erase(entry: &impl Store) {
    entry.erase(None).unwrap();
}

fn told<T>(result: Result<T, HostError>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn the_store_keeps_its_contract() {
    for policy in [Policy::Seal, Policy::SealedOnly, Policy::AsFound, Policy::Unseal] {
        let world = World::new();
        contract::check(|login| world.store(policy).entry(SERVER, login))
            .unwrap_or_else(|broken| panic!("{policy:?}: {broken}"));
    }
}

#[test]
fn nothing_secret_is_on_disk_and_the_logins_are_named_without_the_keyring() {
    let world = World::new();
    put(&world.entry("work"), RECORD).unwrap();
    assert_eq!(world.entry("work").load().unwrap().unwrap(), RECORD);
    for secret in ["s3cret", "token"] {
        assert!(!world.shows(secret), "{}", world.file("work"));
    }
    let asked = world.vault.asked();
    let listed = world.store(Policy::Seal).list().unwrap();
    let listed: Vec<_> = listed.iter().flatten().map(|e| (e.server(), e.account())).collect();
    assert_eq!(listed, [(SERVER, "work")]);
    assert_eq!(world.vault.asked(), asked);
}

#[test]
fn programs_that_start_together_make_one_key() {
    const PROGRAMS: usize = 8;
    let world = World::new();
    let start = Barrier::new(PROGRAMS);
    let accounts: Vec<_> = (0..PROGRAMS).map(|n| format!("account{n}")).collect();
    thread::scope(|scope| {
        for account in &accounts {
            scope.spawn(|| {
                let entry = world.entry(account);
                start.wait();
                put(&entry, RECORD).unwrap();
            });
        }
    });
    assert_eq!(world.vault.names().len(), 1);
    for account in &accounts {
        assert_eq!(world.entry(account).load().unwrap().unwrap(), RECORD);
    }
}

#[test]
fn the_keyring_is_asked_once_by_each_program_and_may_be_locked_after_that() {
    let world = World::new();
    put(&world.entry("work"), RECORD).unwrap();
    let asked = world.vault.asked();
    let store = world.store(Policy::Seal);
    let entry = store.entry(SERVER, "work");
    entry.load().unwrap();
    world.vault.lock(true);
    drop(entry.lock(Duration::ZERO).unwrap());
    replace(&entry, RECORD, OTHER).unwrap();
    put(&store.entry(SERVER, "home"), OTHER).unwrap();
    assert_eq!(entry.load().unwrap().unwrap(), OTHER);
    assert_eq!(world.vault.asked(), asked + 1);
}

#[test]
fn while_the_keyring_is_locked_nothing_is_read_and_nothing_replaced() {
    let world = World::new();
    put(&world.entry("work"), RECORD).unwrap();
    let before = world.file("work");
    world.vault.lock(true);
    let entry = world.entry("work");
    for told in [
        told(entry.load()),
        told(replace(&entry, RECORD, OTHER)),
        told(put(&entry, OTHER)),
        told(entry.erase(Some(Revision::of(Some(RECORD))))),
        told(entry.set_aside(Revision::of(Some(RECORD)))),
        told(entry.lock(Duration::ZERO)),
        entry.rehearse().unwrap_err().to_string(),
    ] {
        assert!(told.contains("locked") && told.contains("unlock"), "{told}");
    }
    assert_eq!(world.file("work"), before);
    world.vault.lock(false);
    assert_eq!(world.entry("work").load().unwrap().unwrap(), RECORD);
}

#[test]
fn whoever_has_not_unlocked_the_keyring_is_not_asked_for_each_login_anew() {
    let world = World::new();
    for account in ["a", "b", "c"] {
        put(&world.entry(account), RECORD).unwrap();
    }
    let asked = world.vault.asked();
    world.vault.lock(true);
    let store = world.store(Policy::Seal);
    let load = |account| store.entry(SERVER, account).load();
    for account in ["a", "b", "c"] {
        assert!(told(load(account)).contains("unlock"));
    }
    assert_eq!(world.vault.asked(), asked + 1);
    world.vault.lock(false);
    thread::sleep(Duration::from_millis(2100));
    assert_eq!(load("a").unwrap().unwrap(), RECORD);
}

#[test]
fn a_first_login_is_not_kept_where_the_keyring_is_locked_and_that_is_known_before() {
    let world = World::new();
    world.vault.lock(true);
    let entry = world.entry("work");
    assert_eq!(entry.load().unwrap(), None);
    assert!(entry.rehearse().unwrap_err().to_string().contains("unlock"));
    assert!(told(put(&entry, RECORD)).contains("unlock"));
    assert_eq!(entry.load().unwrap(), None);
    world.vault.lock(false);
    put(&world.entry("work"), RECORD).unwrap();
    assert_eq!(world.entry("work").load().unwrap().unwrap(), RECORD);
}

#[test]
fn a_key_that_is_missing_is_not_replaced_by_another_while_logins_need_it() {
    let world = World::new();
    put(&world.entry("work"), RECORD).unwrap();
    let before = world.file("work");
    let items = world.lose_the_key();
    let entry = world.entry("work");
    let name = items.keys().next().unwrap();
    for told in [
        told(entry.load()),
        told(replace(&entry, RECORD, OTHER)),
        told(put(&world.entry("home"), OTHER)),
    ] {
        assert!(told.contains(name.as_str()) && told.contains("log in again"), "{told}");
        assert!(told.contains(world.files().entry(SERVER, "work").path().to_str().unwrap()));
    }
    assert_eq!(world.file("work"), before);
    assert!(world.vault.names().is_empty());
    world.vault.replace(items);
    assert_eq!(entry.load().unwrap().unwrap(), RECORD);
}

#[test]
fn a_key_that_is_gone_with_all_its_logins_is_replaced() {
    let world = World::new();
    put(&world.entry("work"), RECORD).unwrap();
    let first = world.lose_the_key();
    erase(&world.entry("work"));
    put(&world.entry("work"), OTHER).unwrap();
    assert_eq!(world.entry("work").load().unwrap().unwrap(), OTHER);
    let names = world.vault.names();
    assert_eq!(names.len(), 1);
    assert!(!first.contains_key(&names[0]));
}

#[test]
fn another_key_under_its_name_is_told_from_a_changed_file() {
    let world = World::new();
    put(&world.entry("work"), RECORD).unwrap();
    let name = world.vault.names().remove(0);
    for wrong in ["A".repeat(43), "what?".into()] {
        world.vault.replace(BTreeMap::from([(name.clone(), wrong.into())]));
        let entry = world.entry("work");
        for told in [told(entry.load()), told(replace(&entry, RECORD, OTHER))] {
            assert!(told.contains(&name) && told.contains("restore"), "{told}");
        }
    }
}

#[test]
fn a_keyring_that_does_not_keep_the_key_is_found_out_before_anything_is_sealed() {
    let world = World::new();
    world.vault.forget_from_now_on();
    assert!(told(put(&world.entry("work"), RECORD)).contains("did not keep"));
    assert!(world.file("work").is_empty());
    assert!(!world.files().private("key").path().exists());
}

#[test]
fn a_file_that_was_changed_or_exchanged_is_an_error_and_stays_as_it_is() {
    let world = World::new();
    put(&world.entry("work"), RECORD).unwrap();
    put(&world.entry("home"), OTHER).unwrap();
    let (work, home) = (world.file("work"), world.file("home"));
    // Under its own name, with the other's contents.
    let exchanged = home.replace(r#""account":"home""#, r#""account":"work""#);
    let flipped = work.replacen(r#""text":""#, r#""text":"AAAA"#, 1);
    let cut = work.replacen(r#""nonce""#, r#""once""#, 1);
    for changed in [exchanged, flipped, cut] {
        assert_ne!(changed, work);
        let path = world.files().entry(SERVER, "work").path().to_owned();
        fs::write(&path, &changed).unwrap();
        let told = told(world.entry("work").load());
        assert!(told.contains("changed") && told.contains(path.to_str().unwrap()), "{told}");
        assert_eq!(world.file("work"), changed);
    }
    assert_eq!(world.entry("home").load().unwrap().unwrap(), OTHER);
    erase(&world.entry("work"));
    assert_eq!(world.entry("work").load().unwrap(), None);
}

#[test]
fn what_another_program_has_sealed_meanwhile_is_not_overwritten() {
    let world = World::new();
    put(&world.entry("work"), RECORD).unwrap();
    let entry = world.entry("work");
    entry.load().unwrap();
    // The same record, sealed anew: that is no other revision.
    replace(&world.entry("work"), RECORD, RECORD).unwrap();
    replace(&entry, RECORD, OTHER).unwrap();
    replace(&world.entry("work"), OTHER, RECORD).unwrap();
    for error in [
        replace(&entry, OTHER, b"{}").unwrap_err(),
        put(&entry, b"{}").unwrap_err(),
        entry.erase(Some(Revision::of(Some(OTHER)))).unwrap_err(),
        entry.set_aside(Revision::of(Some(OTHER))).unwrap_err(),
        // A program that doesn't know the key.
        put(&world.files().entry(SERVER, "work"), b"{}").unwrap_err(),
    ] {
        assert!(error.is_conflict(), "{error}");
    }
    assert_eq!(entry.load().unwrap().unwrap(), RECORD);
}

#[test]
fn a_plain_login_is_sealed_by_the_next_save_and_no_plain_copy_stays() {
    let world = World::new();
    put(&world.files().entry(SERVER, "work"), RECORD).unwrap();
    let entry = world.entry("work");
    assert_eq!(entry.load().unwrap().unwrap(), RECORD);
    assert_eq!(world.vault.asked(), 0);
    assert!(world.shows("s3cret"));
    replace(&entry, RECORD, RECORD).unwrap();
    assert!(!world.shows("s3cret"));
    assert_eq!(entry.load().unwrap().unwrap(), RECORD);
    // A program that knows of no seals leaves it alone, and says why.
    assert!(told(Store::load(&world.files().entry(SERVER, "work"))).contains("keyring"));
}

#[test]
fn a_sealed_login_goes_back_to_a_plain_file() {
    let world = World::new();
    put(&world.entry("work"), RECORD).unwrap();
    let entry = world.store(Policy::Unseal).entry(SERVER, "work");
    assert_eq!(entry.load().unwrap().unwrap(), RECORD);
    replace(&entry, RECORD, RECORD).unwrap();
    assert_eq!(Store::load(&world.files().entry(SERVER, "work")).unwrap().unwrap(), RECORD);
}

#[test]
fn where_only_sealed_logins_are_accepted_a_plain_one_cannot_be_slipped_in() {
    let world = World::new();
    let strict = || world.store(Policy::SealedOnly).entry(SERVER, "work");
    put(&strict(), RECORD).unwrap();
    assert_eq!(strict().load().unwrap().unwrap(), RECORD);
    erase(&strict());
    put(&world.files().entry(SERVER, "work"), OTHER).unwrap();
    let before = world.file("work");
    assert!(told(strict().load()).contains("only sealed logins are accepted"));
    assert!(told(strict().lock(Duration::ZERO)).contains("only sealed logins are accepted"));
    assert_eq!(world.file("work"), before);
    erase(&strict());
    put(&strict(), RECORD).unwrap();
    assert!(!world.shows("s3cret"));
}

#[test]
fn as_found_leaves_each_login_as_it_is() {
    let world = World::new();
    let as_found = |account| world.store(Policy::AsFound).entry(SERVER, account);
    put(&as_found("plain"), RECORD).unwrap();
    replace(&as_found("plain"), RECORD, OTHER).unwrap();
    assert!(world.vault.names().is_empty() && world.shows("another"));

    put(&world.entry("sealed"), RECORD).unwrap();
    let entry = as_found("sealed");
    assert_eq!(entry.load().unwrap().unwrap(), RECORD);
    replace(&entry, RECORD, RECORD).unwrap();
    assert!(!world.shows("s3cret"));
    // Another program logs out meanwhile.
    erase(&world.entry("sealed"));
    put(&entry, RECORD).unwrap();
    assert!(!world.shows("s3cret"));
}

#[test]
fn a_key_that_could_not_be_named_is_not_made() {
    // What stands in the way of reading the name, and of writing it.
    for obstacle in ["key", "key.turn"] {
        let world = World::new();
        fs::create_dir(world.files().dir().join(obstacle)).unwrap();
        assert!(told(put(&world.entry("work"), RECORD)).contains("plain file"));
        assert!(world.vault.names().is_empty(), "{obstacle}");
    }
}

#[test]
fn an_error_has_a_variant_for_programs() {
    let world = World::new();
    put(&world.entry("work"), RECORD).unwrap();
    world.lose_the_key();
    let error = world.entry("work").rehearse().unwrap_err();
    assert!(matches!(error, KeyringError::NoKey { path, .. } if Path::new(&path).is_file()));
}
