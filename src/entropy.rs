//! Randomness is an argument: one seed, moved in, spent once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

/// 256 bits of randomness, from the host's secure generator.
///
/// The machine takes one at its start and draws each `state` and PKCE verifier from it by a hash
/// ratchet: what was drawn can't be computed back from what is left. It is neither `Clone` nor
/// `Copy`, so that one seed can't serve two machines.
///
/// ```
/// use mcp_auth::Entropy;
///
/// let for_a_test = Entropy::from_bytes([7; 32]); // deterministic
/// assert_eq!(format!("{for_a_test:?}"), "Entropy(…)");
/// ```
pub struct Entropy([u8; 32]);

impl Entropy {
    /// A seed that the host drew itself. Reusing one reuses every secret drawn from it.
    pub fn from_bytes(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// A seed from any cryptographically secure generator.
    pub fn from_rng(rng: &mut impl rand_core::CryptoRng) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self(seed)
    }

    /// 32 fresh bytes; the seed moves on.
    pub(crate) fn draw(&mut self) -> [u8; 32] {
        let drawn = self.hash(b"draw");
        self.0 = self.hash(b"next");
        drawn
    }

    /// A seed of its own for a flow that draws later.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.draw())
    }

    fn hash(&self, label: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.0).chain_update(label).finalize().into()
    }
}

/// Identifiers that don't come twice. A clone repeats the original: only one of the two may go on.
#[derive(Clone, Debug)]
pub(crate) struct Identifiers {
    seed: [u8; 32],
    count: u64,
}

impl Identifiers {
    pub(crate) fn new(entropy: &mut Entropy) -> Self {
        Self { seed: entropy.draw(), count: 0 }
    }

    pub(crate) fn next(&mut self) -> String {
        self.count += 1;
        let hash = Sha256::new().chain_update(self.seed).chain_update(self.count.to_le_bytes());
        URL_SAFE_NO_PAD.encode(hash.finalize())
    }
}

impl Drop for Entropy {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_alike() {
        let mut entropy = Entropy::from_bytes([1; 32]);
        let mut child = entropy.split();
        let drawn = [entropy.draw(), entropy.draw(), child.draw(), child.draw()];
        for (i, a) in drawn.iter().enumerate() {
            assert!(drawn.iter().skip(i + 1).all(|b| a != b));
        }
    }
}
