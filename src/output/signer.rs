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
    pub fn answer(self, result: Result<PublicKey, HostError>) -> Event {
        answer(self.id, AnswerContent::Signer(result.map(SignerAnswer::Key)))
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
