//! Keys that the settings name and the host has: it tells their public half, and signs with them. The
//! core sees no private key.

use std::fmt;
use std::time::Duration;

use super::{CallId, HostError, answer};
use crate::event::{AnswerContent, Event, SignerAnswer};
use crate::secret::SecretRef;
use crate::wire::jws::{PublicKey, SigningAlgorithm};

/// Some keys are in devices that ask their owner.
pub(crate) const SIGNER_DEADLINE: Duration = Duration::from_secs(30);

/// Tell the public half of a key.
#[derive(Debug)]
pub struct KeyCall {
    pub(crate) id: CallId,
    pub(crate) key: SecretRef,
}

/// The public half of a key, as it was found.
#[derive(Debug)]
pub struct FoundKey {
    public: PublicKey,
    exposed: bool,
}

impl FoundKey {
    /// Of a key that its owner alone can read, or nobody.
    pub fn new(public: PublicKey) -> Self {
        Self { public, exposed: false }
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Whether others can read the private one.
    pub fn is_exposed(&self) -> bool {
        self.exposed
    }

    /// The same, and others than its owner can read the private one: people are told.
    #[must_use]
    pub fn exposed(self) -> Self {
        Self { exposed: true, ..self }
    }
}

impl KeyCall {
    /// Which key.
    pub fn key(&self) -> &SecretRef {
        &self.key
    }

    /// For the whole action.
    pub fn deadline(&self) -> Duration {
        SIGNER_DEADLINE
    }

    /// The public key, or why there is none.
    pub fn answer(self, result: Result<FoundKey, HostError>) -> Event {
        let Self { id, key } = self;
        let found = |FoundKey { public, exposed }| SignerAnswer::Key {
            public,
            exposed_at: exposed.then_some(key),
        };
        answer(id, AnswerContent::Signer(result.map(found)))
    }
}

/// Sign a message with a key.
pub struct SignCall {
    pub(crate) id: CallId,
    pub(crate) key: SecretRef,
    pub(crate) algorithm: SigningAlgorithm,
    pub(crate) input: String,
}

impl SignCall {
    /// Which key.
    pub fn key(&self) -> &SecretRef {
        &self.key
    }

    /// With which algorithm: one that the public key [can](PublicKey::algorithms).
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The message. Nobody else should see it before it is sent.
    pub fn input(&self) -> &[u8] {
        self.input.as_bytes()
    }

    /// For the whole action.
    pub fn deadline(&self) -> Duration {
        SIGNER_DEADLINE
    }

    /// The signature as a JSON Web Signature has it (see [`SigningAlgorithm`]), or why there is none.
    pub fn answer(self, result: Result<Vec<u8>, HostError>) -> Event {
        answer(self.id, AnswerContent::Signer(result.map(SignerAnswer::Signature)))
    }
}

impl fmt::Debug for SignCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignCall({} with {})", self.algorithm.as_str(), self.key)
    }
}
