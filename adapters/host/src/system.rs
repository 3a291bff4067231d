//! The arguments that the core takes instead of asking for: time and randomness.

use std::io;
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
