//! Random stories: whatever happens to a machine, in whatever order, the laws hold. What each law
//! says is written where it is checked, in `mcp_auth_world::fuzz`.
//!
//! The same stories each time, so that a failure is the change's; `cargo +nightly fuzz run machine`
//! looks for others.

use mcp_auth_world::fuzz;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// A first byte for the settings, then four bytes for each thing that happens.
#[derive(Clone)]
struct Story(Vec<u8>);

impl std::fmt::Debug for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, that is: {}", self.0, fuzz::told(&self.0))
    }
}

/// Settings of any kind, and whatever happens.
fn story(most: usize) -> impl Strategy<Value = Story> {
    (any::<u8>(), ops(most)).prop_map(|(settings, ops)| Story([&[settings][..], &ops].concat()))
}

/// Program 0 logs in; an hour later its token has expired, and then whatever happens.
fn story_of_renewal(most: usize) -> impl Strategy<Value = Story> {
    const LOGGED_IN: [u8; 13] = [0, 0, 1, 0, 0, 8, 0, 0, 0, 44, 5, 0, 0];
    ops(most).prop_map(|ops| Story([&LOGGED_IN[..], &ops].concat()))
}

fn ops(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<[u8; 4]>(), 0..most).prop_map(|ops| ops.into_flattened())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1024,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_laws_hold_in_short_stories(story in story(16)) {
        fuzz::machine(&story.0);
    }

    #[test]
    fn the_laws_hold_in_long_stories(story in story(96)) {
        fuzz::machine(&story.0);
    }

    #[test]
    fn the_laws_hold_in_stories_of_renewal(story in story_of_renewal(32)) {
        fuzz::machine(&story.0);
    }
}
