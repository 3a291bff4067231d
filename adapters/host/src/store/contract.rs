//! What a [`Store`] promises, as a check for a test of one's own:
//!
//! ```
//! use mcp_auth_host::store::{FileStore, contract};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let store = FileStore::open(dir.path().join("logins"))?;
//! contract::check(|login| store.entry("https://mcp.example.com/mcp", login))?;
//! # Ok(())
//! # }
//! ```

use std::fmt::{self, Debug, Display};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mcp_auth::{HostError, Revision};

use super::Store;

/// How long to wait for a lock that isn't free.
const IMPATIENT: Duration = Duration::from_millis(100);
/// How long to wait for a lock that becomes free.
const PATIENT: Duration = Duration::from_secs(30);
/// What an impatient wait may take on a slow machine.
const SLOW: Duration = Duration::from_secs(10);

const OLD: &[u8] =
    br#"{"spacing" : [1, 2.50],"number":10000000000000000000000,"text":"\u00e9 \u2028"}"#;
const NEW: &[u8] = b"{}";

const WRITERS: u32 = 4;
const TURNS: u32 = 10;

/// A promise that a store broke.
///
/// ```
/// use mcp_auth_host::store::{MemoryStore, contract};
///
/// // Opened twice, it would have to be the same place.
/// let broken = contract::check(|_login| MemoryStore::new()).unwrap_err();
/// assert!(broken.to_string().contains("this promise: what was saved is loaded"), "{broken}");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("a store must keep this promise: {promise}; {found}")]
pub struct Broken {
    promise: &'static str,
    found: String,
}

/// Puts a store through every promise of [`Store`] that can be seen from one process. It takes about
/// a second.
///
/// `open` opens the place of the login with that name, one of a few words in letters. The places are
/// empty at first. Opened twice, it is the same place through another handle, as another process
/// would have it. Records are JSON.
///
/// What can't be seen from here is left to the store's own tests: that a lock dies with its process,
/// that what was saved survives a power cut, who else can read it.
///
/// # Errors
///
/// The first promise that was found broken.
pub fn check<S: Store>(open: impl Fn(&str) -> S) -> Result<(), Broken> {
    keeps_what_was_saved(&open("kept"), &open("kept"))?;
    erases(&open("erased"), &open("erased"))?;
    sets_aside(&open("aside"), &open("aside"))?;
    compares(&open("compared"), &open("compared"))?;
    keeps_logins_apart(&open("mine"), &open("theirs"))?;
    locks(&open("locked"), &open("locked"), &open("unlocked"))?;
    replaces_atomically(&open("torn"), &open("torn"))?;
    has_one_winner(|| open("raced"))?;
    loses_no_update(|| open("counted"))?;
    loses_no_update_without_lock(|| open("swapped"))
}

fn keeps_what_was_saved(store: &impl Store, other: &impl Store) -> Result<(), Broken> {
    const PROMISE: &str = "what was saved is loaded, byte for byte, and nothing where nothing was";
    holds(PROMISE, store, None)?;
    let long = long('a');
    for record in [OLD, long.as_bytes(), NEW, b"\"a\"", OLD] {
        done(PROMISE, replace(store, record))?;
        holds(PROMISE, store, Some(record))?;
        holds(PROMISE, other, Some(record))?;
    }
    Ok(())
}

fn erases(store: &impl Store, other: &impl Store) -> Result<(), Broken> {
    const PROMISE: &str = "what was erased is gone, and erasing nothing is no error";
    done(PROMISE, store.erase(Some(Revision::NOTHING)))?;
    done(PROMISE, other.save(OLD, Revision::NOTHING))?;
    done(PROMISE, store.erase(Some(Revision::of(Some(OLD)))))?;
    holds(PROMISE, other, None)?;
    done(PROMISE, other.save(NEW, Revision::NOTHING))?;
    for _ in 0..2 {
        done(PROMISE, store.erase(None))?;
        holds(PROMISE, other, None)?;
    }
    done(PROMISE, other.save(NEW, Revision::NOTHING))?;
    holds(PROMISE, store, Some(NEW))
}

fn sets_aside(store: &impl Store, other: &impl Store) -> Result<(), Broken> {
    const PROMISE: &str = "what was set aside is no longer the record, as often as that happens";
    done(PROMISE, store.set_aside(Revision::NOTHING))?;
    for record in [OLD, NEW] {
        done(PROMISE, store.save(record, Revision::NOTHING))?;
        done(PROMISE, store.set_aside(Revision::of(Some(record))))?;
        holds(PROMISE, other, None)?;
    }
    done(PROMISE, store.save(OLD, Revision::NOTHING))?;
    holds(PROMISE, other, Some(OLD))
}

fn compares(store: &impl Store, other: &impl Store) -> Result<(), Broken> {
    const PROMISE: &str = "where something else is stored than is expected, nothing is changed, and `conflict` is told";
    for stored in [None, Some(OLD), Some(NEW)] {
        if let Some(record) = stored {
            done(PROMISE, replace(other, record))?;
        }
        let others = [None, Some(OLD), Some(NEW)].into_iter().filter(|other| *other != stored);
        for expected in others.map(Revision::of) {
            for changed in [
                store.save(b"\"mine\"", expected),
                store.erase(Some(expected)),
                store.set_aside(expected),
            ] {
                match changed {
                    Ok(()) => return broken(PROMISE, "it was changed"),
                    Err(error) if !error.is_conflict() => return broken(PROMISE, Told(&error)),
                    Err(_) => holds(PROMISE, other, stored)?,
                }
            }
        }
    }
    Ok(())
}

fn keeps_logins_apart(mine: &impl Store, theirs: &impl Store) -> Result<(), Broken> {
    const PROMISE: &str = "one login is not touched by what is done to another";
    done(PROMISE, theirs.save(OLD, Revision::NOTHING))?;
    done(PROMISE, replace(mine, NEW))?;
    holds(PROMISE, theirs, Some(OLD))?;
    done(PROMISE, mine.set_aside(Revision::of(Some(NEW))))?;
    done(PROMISE, mine.erase(None))?;
    holds(PROMISE, theirs, Some(OLD))
}

fn locks(store: &impl Store, other: &impl Store, apart: &impl Store) -> Result<(), Broken> {
    const EXCLUSIVE: &str = "a lock has one holder, and who waits in vain is told `busy`, in time";
    const HOLDER: &str = "whoever holds the lock can load, save and erase, and so can others";
    const ENDS: &str = "a lock ends when it is dropped, on any thread";
    const APART: &str = "each login has a lock of its own";

    let lock = done(ENDS, store.lock(Duration::ZERO))?;
    for handle in [store as &dyn Store, other] {
        for timeout in [Duration::ZERO, IMPATIENT] {
            let began = Instant::now();
            match handle.lock(timeout) {
                Ok(_) => return broken(EXCLUSIVE, "a second lock was given"),
                Err(error) if !error.is_busy() => return broken(EXCLUSIVE, Told(&error)),
                Err(_) => {}
            }
            let waited = began.elapsed();
            if waited < timeout || waited > timeout + SLOW {
                return broken(EXCLUSIVE, format_args!("{waited:?} instead of {timeout:?}"));
            }
        }
    }
    done(APART, apart.lock(Duration::ZERO)).map(drop)?;
    for (one, another) in [(store as &dyn Store, other as &dyn Store), (other, store)] {
        done(HOLDER, one.save(OLD, Revision::NOTHING))?;
        holds(HOLDER, another, Some(OLD))?;
        done(HOLDER, one.erase(Some(Revision::of(Some(OLD)))))?;
    }

    thread::scope(|scope| {
        let waiting = scope.spawn(|| other.lock(PATIENT).map(drop));
        scope.spawn(move || {
            thread::sleep(IMPATIENT);
            drop(lock);
        });
        done(ENDS, waiting.join().unwrap_or_else(|_| Err(HostError::new("it panicked"))))
    })?;
    done(ENDS, store.lock(IMPATIENT)).map(drop)
}

fn replaces_atomically(store: &impl Store, other: &impl Store) -> Result<(), Broken> {
    const PROMISE: &str = "a reader sees the old record or the new one, whole, and never none";
    let (old, new) = (long('a'), NEW);
    done(PROMISE, replace(store, old.as_bytes()))?;
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let write = |_| replace(store, new).and_then(|()| replace(store, old.as_bytes()));
            let written = (0..TURNS).try_for_each(write);
            ended.store(true, Ordering::SeqCst);
            written
        });
        let mut seen = Ok(());
        while seen.is_ok() && !ended.load(Ordering::SeqCst) {
            let found = done(PROMISE, other.load());
            seen = found.and_then(|found| match found.as_deref() {
                Some(record) if record == old.as_bytes() || record == new => Ok(()),
                other => broken(PROMISE, found_is(other)),
            });
        }
        let written = writer.join().unwrap_or_else(|_| Err(HostError::new("it panicked")));
        seen.and(done(PROMISE, written))
    })
}

/// The reason for the comparison: who has read the same, and writes at the same time.
fn has_one_winner<S: Store>(open: impl Fn() -> S) -> Result<(), Broken> {
    const PROMISE: &str =
        "of those who replace the same revision, one succeeds, and the others are told `conflict`";
    let handles: Vec<S> = (0..WRITERS).map(|_| open()).collect();
    for turn in 0..TURNS {
        let expected = Revision::of(done(PROMISE, open().load())?.as_deref());
        let start = Barrier::new(handles.len());
        let results: Vec<_> = thread::scope(|scope| {
            let race = |(writer, store): (usize, _)| {
                let (start, record) = (&start, format!("[{turn},{writer}]"));
                scope.spawn(move || {
                    start.wait();
                    (S::save(store, record.as_bytes(), expected), record)
                })
            };
            let writers: Vec<_> = handles.iter().enumerate().map(race).collect();
            writers.into_iter().filter_map(|writer| writer.join().ok()).collect()
        });
        let mut winners = Vec::new();
        for (result, record) in results {
            match result {
                Ok(()) => winners.push(record),
                Err(error) if !error.is_conflict() => return broken(PROMISE, Told(&error)),
                Err(_) => {}
            }
        }
        let [winner] = &winners[..] else {
            return broken(PROMISE, format_args!("{} succeeded", winners.len()));
        };
        holds(PROMISE, &open(), Some(winner.as_bytes()))?;
    }
    Ok(())
}

/// The reason for the lock: load, decide, save.
fn loses_no_update<S: Store>(open: impl Fn() -> S) -> Result<(), Broken> {
    const PROMISE: &str = "under the lock, what is loaded is still there when it is replaced";
    all_count(PROMISE, open, |store| {
        let _lock = store.lock(PATIENT)?;
        add_one(store)
    })
}

/// Who holds the lock may hang: others go on without it.
fn loses_no_update_without_lock<S: Store>(open: impl Fn() -> S) -> Result<(), Broken> {
    const PROMISE: &str = "without the lock, what was told to be saved is lost to nobody";
    all_count(PROMISE, open, |store| {
        loop {
            match add_one(store) {
                Err(error) if error.is_conflict() => {}
                result => return result,
            }
        }
    })
}

fn all_count<S: Store>(
    promise: &'static str,
    open: impl Fn() -> S,
    add_one: impl Fn(&S) -> Result<(), HostError> + Sync,
) -> Result<(), Broken> {
    let handles: Vec<S> = (0..WRITERS).map(|_| open()).collect();
    thread::scope(|scope| {
        let add_one = &add_one;
        let start = |store| scope.spawn(move || (0..TURNS).try_for_each(|_| add_one(store)));
        let writers: Vec<_> = handles.iter().map(start).collect();
        writers.into_iter().try_for_each(|writer| {
            done(promise, writer.join().unwrap_or_else(|_| Err(HostError::new("it panicked"))))
        })
    })?;
    match count(done(promise, open().load())?.as_deref()) {
        all if all == WRITERS * TURNS => Ok(()),
        found => broken(promise, format_args!("{found} of {} updates", WRITERS * TURNS)),
    }
}

fn add_one(store: &impl Store) -> Result<(), HostError> {
    let stored = store.load()?;
    let more = (count(stored.as_deref()) + 1).to_string();
    store.save(more.as_bytes(), Revision::of(stored.as_deref()))
}

fn count(record: Option<&[u8]>) -> u32 {
    let text = record.and_then(|record| std::str::from_utf8(record).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Saves in the place of whatever is there.
fn replace(store: &impl Store, record: &[u8]) -> Result<(), HostError> {
    let stored = store.load()?;
    store.save(record, Revision::of(stored.as_deref()))
}

fn long(letter: char) -> String {
    format!("\"{}\"", String::from(letter).repeat(50_000))
}

fn holds(
    promise: &'static str,
    store: &(impl Store + ?Sized),
    expected: Option<&[u8]>,
) -> Result<(), Broken> {
    let found = done(promise, store.load())?;
    if found.as_deref() == expected { Ok(()) } else { broken(promise, found_is(found.as_deref())) }
}

fn found_is(record: Option<&[u8]>) -> String {
    match record {
        Some(record) => {
            let start = record.get(..80).unwrap_or(record);
            format!("found {} bytes: {}", record.len(), String::from_utf8_lossy(start))
        }
        None => "found nothing".into(),
    }
}

fn done<T>(promise: &'static str, result: Result<T, HostError>) -> Result<T, Broken> {
    result.or_else(|error| broken(promise, Told(&error)))
}

fn broken<T>(promise: &'static str, found: impl Display) -> Result<T, Broken> {
    Err(Broken { promise, found: found.to_string() })
}

struct Told<'a>(&'a HostError);

impl Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it said: {}", self.0)
    }
}
