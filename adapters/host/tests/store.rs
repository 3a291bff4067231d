//! The file store against a real file system, other threads and another process.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mcp_auth::{HostError, Revision};
use mcp_auth_host::store::{Entry, FileStore, StoreError, Stored};
use tempfile::TempDir;

const SERVER: &str = "https://mcp.example.com/mcp";
const RECORD: &[u8] = br#"{"token": "s3cret", "n": 10000000000000000000000.50}"#;

/// A user that no test runs as.
const NOBODY: u32 = 65534;

fn entry() -> (TempDir, FileStore, Entry) {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path().join("a/b")).unwrap();
    let entry = store.entry(SERVER, "work");
    (dir, store, entry)
}

/// Saves in the place of whatever is there.
fn put(entry: &Entry, record: &[u8]) {
    entry.save(record, there(entry)).unwrap();
}

fn there(entry: &Entry) -> Revision {
    Revision::of(entry.load().unwrap().as_deref())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_record_comes_back_as_it_was_saved_and_is_gone_when_erased() {
    let (_dir, _, entry) = entry();
    assert_eq!(entry.load().unwrap(), None);
    put(&entry, b"{}");
    put(&entry, RECORD);
    assert_eq!(entry.load().unwrap().unwrap(), RECORD);
    entry.erase(None).unwrap();
    assert_eq!(entry.load().unwrap(), None);
    entry.erase(None).unwrap();
}

#[test]
fn a_sealed_record_is_left_to_whoever_can_open_it() {
    let (_dir, store, entry) = entry();
    for bytes in [&br#"{"nonce": "a"}"#[..], b"null"] {
        let sealed = Stored::Sealed(bytes.to_vec());
        let stored = entry.read().unwrap().map_or(Revision::NOTHING, |stored| stored.revision());
        for other in [Revision::of(Some(b"1")), Revision::of(Some(bytes))] {
            assert!(matches!(entry.write(&sealed, other), Err(StoreError::Changed { .. })));
        }
        entry.write(&sealed, stored).unwrap();
        assert!(entry.read().unwrap() == Some(sealed));
        let told = entry.load().unwrap_err().to_string();
        assert!(
            told.contains("keyring") && told.contains(entry.path().to_str().unwrap()),
            "{told}"
        );
        let listed = store.list().unwrap().remove(0).unwrap();
        assert_eq!((listed.server(), listed.account()), (SERVER, "work"));
    }
    entry.write(&Stored::Plain(b"null".to_vec()), Revision::of(Some(b"null"))).unwrap();
    assert_eq!(entry.load().unwrap().unwrap(), b"null");
}

#[test]
fn what_a_store_remembers_for_itself_is_no_login() {
    let (_dir, store, _) = entry();
    let private = store.private("key");
    put(&private, b"\"a name\"");
    let _guard = private.lock(Duration::ZERO).unwrap();
    assert_eq!(store.private("key").load().unwrap().unwrap(), b"\"a name\"");
    assert_eq!(mode(private.path()), 0o600);
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn two_accounts_at_one_server_do_not_share_a_file() {
    let (_dir, store, work) = entry();
    let home = store.entry(SERVER, "home");
    put(&work, b"1");
    put(&home, b"2");
    assert_eq!(work.load().unwrap().unwrap(), b"1");
    assert_eq!(home.load().unwrap().unwrap(), b"2");
}

#[test]
fn directory_and_files_are_for_their_owner_only() {
    let (_dir, store, entry) = entry();
    put(&entry, RECORD);
    let _guard = entry.lock(Duration::ZERO).unwrap();
    assert_eq!(mode(store.dir()), 0o700);
    let files: Vec<_> = fs::read_dir(store.dir()).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "a record and its two locks, nothing temporary: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600);
    }
}

#[test]
fn a_store_directory_that_others_can_write_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o770)).unwrap();
    let error = FileStore::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::OpenDirectory { .. }));
    assert!(error.to_string().contains(&format!("chmod 700 {}", dir.path().display())));
}

/// Only root can give a file away.
fn give_away(path: &Path) -> bool {
    chown(path, Some(NOBODY), None).is_ok()
}

#[test]
fn a_store_directory_of_another_user_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, whose) =
        if give_away(dir.path()) { (dir.path(), NOBODY) } else { (Path::new("/"), 0) };
    let error = FileStore::open(path).unwrap_err();
    assert!(matches!(error, StoreError::NotOurs { owner, .. } if owner == whose), "{error}");
    assert_eq!(error.path(), path);
    assert!(error.to_string().contains(&format!("belongs to user {whose}")), "{error}");
}

#[test]
fn a_file_of_another_user_is_neither_read_nor_locked() {
    let (_dir, store, entry) = entry();
    put(&entry, RECORD);
    drop(entry.lock(Duration::ZERO).unwrap());
    if !give_away(entry.path()) || !give_away(&entry.path().with_extension("lock")) {
        return;
    }
    assert!(matches!(entry.load().unwrap_err(), StoreError::NotOurs { owner: NOBODY, .. }));
    assert!(matches!(store.list().unwrap()[..], [Err(StoreError::NotOurs { .. })]));
    assert!(matches!(entry.lock(Duration::ZERO).unwrap_err(), StoreError::NotOurs { .. }));
    // Nor overwritten, though it holds what we have saved; who logs out removes it.
    let ours = Revision::of(Some(RECORD));
    assert!(matches!(entry.save(b"1", ours).unwrap_err(), StoreError::Changed { .. }));
    entry.erase(None).unwrap();
    put(&entry, RECORD);
    assert_eq!(entry.load().unwrap().unwrap(), RECORD);
}

#[test]
fn a_file_that_others_can_read_is_refused_until_its_mode_is_mended() {
    let (_dir, _, entry) = entry();
    put(&entry, RECORD);
    for bits in [0o640, 0o604, 0o620] {
        fs::set_permissions(entry.path(), Permissions::from_mode(bits)).unwrap();
        let error = entry.load().unwrap_err();
        assert!(matches!(error, StoreError::Exposed { mode, .. } if mode == bits));
        let text = error.to_string();
        assert!(text.contains("chmod 600") && text.contains(&format!("{bits:o}")), "{text}");
        assert!(!text.contains("s3cret"));
    }
    // A program that knows what is in it replaces it by a private one.
    entry.save(b"1", Revision::of(Some(RECORD))).unwrap();
    assert_eq!(entry.load().unwrap().unwrap(), b"1");
    fs::set_permissions(entry.path(), Permissions::from_mode(0o600)).unwrap();
    assert!(entry.load().unwrap().is_some());
}

#[test]
fn a_link_is_never_followed_and_only_a_logout_removes_it() {
    let (dir, store, entry) = entry();
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, RECORD).unwrap();
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o600)).unwrap();
    symlink(&elsewhere, entry.path()).unwrap();
    assert!(matches!(entry.load().unwrap_err(), StoreError::NotAFile { .. }));
    assert!(matches!(store.list().unwrap()[..], [Err(StoreError::NotAFile { .. })]));

    for expected in [Revision::of(Some(RECORD)), Revision::NOTHING] {
        assert!(matches!(entry.save(b"1", expected).unwrap_err(), StoreError::Changed { .. }));
    }
    entry.erase(None).unwrap();
    put(&entry, b"1");
    assert_eq!(entry.load().unwrap().unwrap(), b"1");
    assert_eq!(fs::read(&elsewhere).unwrap(), RECORD);

    for lock in ["lock", "turn"].map(|lock| entry.path().with_extension(lock)) {
        let _ = fs::remove_file(&lock);
        symlink(&elsewhere, lock).unwrap();
    }
    assert!(matches!(entry.lock(Duration::ZERO).unwrap_err(), StoreError::NotAFile { .. }));
    let saved = entry.save(b"2", Revision::of(Some(b"1")));
    assert!(matches!(saved.unwrap_err(), StoreError::NotAFile { .. }));
    assert_eq!(
        (entry.load().unwrap().unwrap(), fs::read(&elsewhere).unwrap()),
        (b"1".to_vec(), RECORD.to_vec())
    );
}

#[test]
fn a_pipe_or_a_directory_in_the_place_of_a_record_neither_blocks_nor_loads() {
    let (_dir, _, entry) = entry();
    assert!(Command::new("mkfifo").arg(entry.path()).status().unwrap().success());
    assert!(matches!(entry.load().unwrap_err(), StoreError::NotAFile { .. }));
    fs::remove_file(entry.path()).unwrap();
    fs::create_dir(entry.path()).unwrap();
    assert!(matches!(entry.load().unwrap_err(), StoreError::NotAFile { .. }));
}

#[test]
fn a_lock_that_cannot_be_made_is_named_with_the_reason() {
    let (_dir, _, entry) = entry();
    let [lock, turn] = ["lock", "turn"].map(|lock| entry.path().with_extension(lock));
    fs::create_dir(&lock).unwrap();
    fs::create_dir(&turn).unwrap();
    let errors = [
        (entry.lock(Duration::ZERO).unwrap_err(), &lock),
        (entry.save(b"1", Revision::NOTHING).unwrap_err(), &turn),
        (entry.erase(None).unwrap_err(), &turn),
        (entry.rehearse().unwrap_err(), &turn),
    ];
    for (error, path) in errors {
        assert!(matches!(error, StoreError::NotAFile { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

/// Not for as long as it is stopped: they keep what they have, and try again later.
#[test]
fn whoever_is_stopped_in_its_turn_holds_others_up_for_seconds_only() {
    let (_dir, store, entry) = entry();
    put(&entry, RECORD);
    let turn = fs::File::open(entry.path().with_extension("turn")).unwrap();
    turn.lock().unwrap();
    let began = Instant::now();
    let error = entry.save(b"1", there(&entry)).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(HostError::from(error).is_busy());
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    // Another login is not held up, and whoever reads isn't either.
    put(&store.entry(SERVER, "home"), b"1");
    assert_eq!(entry.load().unwrap().unwrap(), RECORD);
    drop(turn);
    put(&entry, b"1");
}

#[test]
fn too_much_is_neither_read_nor_written() {
    let (_dir, _, entry) = entry();
    put(&entry, b"1");
    let huge = format!("\"{}\"", "x".repeat(1 << 20));
    let saved = entry.save(huge.as_bytes(), there(&entry));
    assert!(matches!(saved.unwrap_err(), StoreError::TooBig { .. }));
    assert_eq!(entry.load().unwrap().unwrap(), b"1");
    fs::write(entry.path(), huge).unwrap();
    assert!(matches!(entry.load().unwrap_err(), StoreError::TooBig { .. }));
}

#[test]
fn a_record_that_is_not_json_is_not_saved() {
    let (_dir, _, entry) = entry();
    for bytes in [&b"{"[..], b"", b"1 2", b"\xff", b"\"\xff\""] {
        let saved = entry.save(bytes, Revision::NOTHING);
        assert!(matches!(saved.unwrap_err(), StoreError::NotJson { .. }));
    }
    assert_eq!(entry.load().unwrap(), None);
}

#[test]
fn a_damaged_file_is_handed_over_raw_and_set_aside_without_overwriting() {
    let (_dir, store, entry) = entry();
    assert_eq!(entry.set_aside(Revision::NOTHING).unwrap(), None);
    let mut aside = Vec::new();
    for damage in [&b"{\"server\":"[..], b"\0\xff", b""] {
        put(&entry, b"1");
        fs::write(entry.path(), damage).unwrap();
        assert_eq!(entry.load().unwrap().unwrap(), damage);
        assert!(matches!(store.list().unwrap()[..], [Err(StoreError::Damaged { .. })]));
        let expected = Revision::of(Some(damage));
        assert!(matches!(entry.set_aside(Revision::NOTHING), Err(StoreError::Changed { .. })));
        let path = entry.set_aside(expected).unwrap().unwrap();
        assert_eq!(fs::read(&path).unwrap(), damage);
        assert_eq!(entry.load().unwrap(), None);
        aside.push(path);
    }
    aside.dedup();
    assert_eq!(aside.len(), 3);
    assert!(aside.iter().all(|path| path.exists()));
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn a_copied_file_is_not_another_servers_login() {
    let (_dir, store, entry) = entry();
    put(&entry, RECORD);
    let other = store.entry("https://evil.example/", "work");
    fs::copy(entry.path(), other.path()).unwrap();
    assert_ne!(other.load().unwrap().unwrap(), RECORD);
    let listed = store.list().unwrap();
    assert_eq!(listed.iter().flatten().collect::<Vec<_>>(), [&entry]);
    assert_eq!(listed.iter().filter(|item| item.is_err()).count(), 1);
}

#[test]
fn the_list_names_servers_and_accounts() {
    let (_dir, store, work) = entry();
    let other = store.entry("https://aaa.example/", "");
    put(&work, RECORD);
    put(&other, RECORD);
    let listed: Vec<_> = store.list().unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(listed, [other, work]);
    assert_eq!((listed[1].server(), listed[1].account()), (SERVER, "work"));
}

#[test]
fn what_a_dead_writer_left_is_removed_with_the_login() {
    let (_dir, store, entry) = entry();
    put(&entry, RECORD);
    let name = entry.path().file_name().unwrap().to_str().unwrap();
    let left = store.dir().join(format!(".{name}.abc123.tmp"));
    fs::write(&left, RECORD).unwrap();
    put(&entry, RECORD);
    assert!(left.exists(), "it may belong to a writer that is alive");
    fs::File::options()
        .write(true)
        .open(&left)
        .unwrap()
        .set_modified(std::time::SystemTime::now() - Duration::from_secs(3600))
        .unwrap();
    put(&entry, RECORD);
    assert!(!left.exists());
    fs::write(&left, RECORD).unwrap();
    entry.erase(None).unwrap();
    assert!(!left.exists());
}

#[test]
fn readers_see_the_old_record_or_the_new_one_and_nothing_else() {
    let (_dir, _, entry) = entry();
    let old = format!("\"{}\"", "a".repeat(100_000)).into_bytes();
    let new = format!("\"{}\"", "b".repeat(50_000)).into_bytes();
    put(&entry, &old);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..50 {
                put(&entry, &new);
                put(&entry, &old);
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            let seen = entry.load().unwrap().unwrap();
            assert!(seen == old || seen == new, "{} bytes", seen.len());
        }
    });
}

#[test]
fn one_guard_excludes_another_until_it_is_dropped() {
    let (_dir, store, entry) = entry();
    let guard = entry.lock(Duration::ZERO).unwrap();
    let error = store.entry(SERVER, "work").lock(Duration::from_millis(60)).unwrap_err();
    assert!(
        matches!(error, StoreError::Locked { waited, .. } if waited >= Duration::from_millis(60))
    );
    // Another account's login is another lock.
    let _other = store.entry(SERVER, "home").lock(Duration::ZERO).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| entry.lock(Duration::from_secs(10)).is_ok());
        thread::sleep(Duration::from_millis(50));
        drop(guard);
        assert!(waiting.join().unwrap());
    });
}

#[test]
fn a_lock_is_felt_in_another_process_and_dies_with_its_holder() {
    let (_dir, store, entry) = entry();
    let mut child = Command::new(example("holder"))
        .arg(store.dir())
        .args([SERVER, "work"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("locked")));
    assert!(matches!(entry.lock(Duration::ZERO).unwrap_err(), StoreError::Locked { .. }));
    child.kill().unwrap();
    child.wait().unwrap();
    let _guard = entry.lock(Duration::ZERO).unwrap();
}

#[test]
fn a_writer_that_is_killed_at_any_moment_leaves_the_old_record_or_the_new_one() {
    let (_dir, store, entry) = entry();
    let (old, new) = (format!("\"{}\"", "a".repeat(60_000)), format!("\"{}\"", "b".repeat(30_000)));
    let whole = |record: Option<Vec<u8>>| {
        let record = record.unwrap();
        assert!(record == old.as_bytes() || record == new.as_bytes(), "{} bytes", record.len());
    };
    put(&entry, old.as_bytes());
    for life in 0..40 {
        let mut writer = Command::new(example("writer"))
            .arg(store.dir())
            .args([SERVER, "work", &old, &new])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        let end = Instant::now() + Duration::from_micros(life * 370);
        while Instant::now() < end {
            whole(entry.load().unwrap());
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        whole(entry.load().unwrap());
        // Its lock died with it.
        drop(entry.lock(Duration::ZERO).unwrap());
    }
    assert_eq!(store.list().unwrap().len(), 1);
    // Whatever it had begun to write goes with the login.
    entry.erase(None).unwrap();
    let left: Vec<_> = fs::read_dir(store.dir()).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(
        left.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from(["lock", "turn"].map(|lock| entry.path().with_extension(lock)))
    );
}

/// Each number is saved by one process, and told by it, though none of them takes the lock. Some are
/// stopped for a while, wherever they are, and one is killed again and again.
#[test]
fn processes_that_save_without_the_lock_lose_no_update() {
    const PROCESSES: usize = 4;
    const TURNS: u64 = 50;
    let (_dir, store, entry) = entry();
    // Somebody hangs who holds it.
    let _guard = entry.lock(Duration::ZERO).unwrap();
    let count = |turns: u64| {
        let mut counter = Command::new(example("counter"));
        counter.arg(store.dir()).args([SERVER, "work", &turns.to_string()]);
        let mut child = counter.stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        (child, said.lines().map(|line| line.unwrap().parse::<u64>().unwrap()))
    };
    let done = &AtomicBool::new(false);
    let (told, kills) = thread::scope(|scope| {
        let killer = scope.spawn(move || {
            let (mut told, mut kills) = (Vec::new(), 0);
            while !done.load(Ordering::SeqCst) {
                let (mut child, numbers) = count(u64::MAX);
                thread::sleep(Duration::from_millis(20 + 7 * kills));
                child.kill().unwrap();
                told.extend(numbers);
                child.wait().unwrap();
                kills += 1;
            }
            (told, kills)
        });
        let (mut counters, said): (Vec<_>, Vec<_>) = (0..PROCESSES).map(|_| count(TURNS)).unzip();
        let stopper = scope.spawn(move || {
            while !done.load(Ordering::SeqCst) {
                for child in &mut counters {
                    for signal in ["-STOP", "-CONT"] {
                        // What has ended keeps its number until it is waited for.
                        let id = child.id().to_string();
                        Command::new("kill").args([signal, &id]).status().unwrap();
                        thread::sleep(Duration::from_millis(15));
                    }
                }
            }
            counters.into_iter().all(|mut child| child.wait().unwrap().success())
        });
        let mut told: Vec<_> = said.into_iter().flatten().collect();
        done.store(true, Ordering::SeqCst);
        assert!(stopper.join().unwrap());
        assert_eq!(told.len() as u64, PROCESSES as u64 * TURNS);
        let (others, kills) = killer.join().unwrap();
        told.extend(others);
        (told, kills)
    });
    let last: u64 = String::from_utf8(entry.load().unwrap().unwrap()).unwrap().parse().unwrap();
    let different: BTreeSet<_> = told.iter().collect();
    assert_eq!(different.len(), told.len(), "one number was saved twice");
    // Whoever was killed may have saved one that it didn't come to tell.
    let untold = last - told.len() as u64;
    assert!(untold <= kills, "{untold} of {last} updates are nobody's, and {kills} were killed");
    assert!(kills > 0);
}

/// Tests lie in `target/…/deps`, examples beside that folder.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.ancestors().nth(2).unwrap().join("examples").join(name)
}
