//! The arguments that the core takes instead of asking for: time and randomness.

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// Reads both clocks: wall time in seconds since the Unix epoch, and monotonic time since the
/// first call of this function in the process.
///
/// A wall clock set before 1970 reads as 0.
pub fn clock() -> (u64, Duration) {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (wall.as_secs(), start.elapsed())
}

/// Draws 32 bytes from the operating system's generator.
///
/// # Errors
///
/// When the system has no randomness to give; a login must not be tried then.
pub fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}

/// Whether a person at a terminal can be read from: standard input is one, and this program is in its
/// foreground. One in the background would be stopped for reading it.
pub fn has_terminal() -> bool {
    io::stdin().is_terminal() && is_in_foreground()
}

#[cfg(unix)]
fn is_in_foreground() -> bool {
    rustix::termios::tcgetpgrp(rustix::stdio::stdin())
        .is_ok_and(|foreground| foreground == rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn is_in_foreground() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_time_never_goes_back_and_wall_time_is_after_2024() {
        let (wall, first) = clock();
        let (_, second) = clock();
        assert!(second >= first);
        assert!(wall > 1_704_067_200);
    }

    #[test]
    fn two_seeds_differ() {
        assert_ne!(random_seed().unwrap(), random_seed().unwrap());
    }
}
