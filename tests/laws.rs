//! Random stories: whatever happens to a machine, in whatever order, the laws hold. What each law
//! says is written where it is checked, in `mcp_auth_world::fuzz`.

use mcp_auth_world::fuzz;
use proptest::collection::vec;
use proptest::prelude::*;

/// A first byte for the settings, then four bytes for each thing that happens.
#[derive(Clone)]
struct Story(Vec<u8>);

impl std::fmt::Debug for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, that is: {}", self.0, fuzz::told(&self.0))
    }
}

fn story(most: usize) -> impl Strategy<Value = Story> {
    (any::<u8>(), vec(any::<[u8; 4]>(), 0..most)).prop_map(|(settings, ops)| {
        Story(std::iter::once(settings).chain(ops.into_iter().flatten()).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn the_laws_hold_in_short_stories(story in story(16)) {
        fuzz::machine(&story.0);
    }

    #[test]
    fn the_laws_hold_in_long_stories(story in story(96)) {
        fuzz::machine(&story.0);
    }
}
