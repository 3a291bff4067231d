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
///
/// ```
/// use std::collections::HashMap;
/// use mcp_auth::output::{FoundKey, KeyCall};
/// use mcp_auth::wire::jws::PublicKey;
/// use mcp_auth::{Event, HostError, SecretRef};
///
/// fn public_half(call: KeyCall, keys: &HashMap<SecretRef, PublicKey>) -> Event {
///     let found = keys.get(call.key()).cloned().map(FoundKey::new);
///     call.answer(found.ok_or_else(|| HostError::new("there is no such key")))
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # let place = SecretRef::File("dpop.pem".into());
/// # s.world.authorization[0].dpop = true;
/// # (s.config.dpop, s.config.dpop_key) = (mcp_auth::DpopUse::Always, Some(place.clone()));
/// # s.demand(mcp_auth::Demand::interactive(mcp_auth::Need::default()));
/// # let mcp_auth::Action::Key(call) = s.take_action("key") else { panic!() };
/// # let ours = mcp_auth_world::signer::public_key("ours");
/// # s.handle(public_half(call, &HashMap::from([(place, ours)])));
/// # let mcp_auth::Action::Sign(_) = s.take_action("sign") else { panic!() };
/// ```
#[derive(Debug)]
pub struct KeyCall {
    pub(crate) id: CallId,
    pub(crate) key: SecretRef,
}

/// The public half of a key, as it was found.
///
/// ```
/// use mcp_auth::output::FoundKey;
/// use mcp_auth::wire::jws::PublicKey;
///
/// let found = FoundKey::new(PublicKey::ed25519(&[7; 32])).exposed(); // its file's mode is 0644
/// assert!(found.is_exposed()); // `Notice::SecretExposed` will say so
/// assert_eq!(*found.public(), PublicKey::ed25519(&[7; 32]));
/// ```
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
///
/// ```
/// use mcp_auth::output::SignCall;
/// use mcp_auth::wire::jws::SigningAlgorithm;
/// use mcp_auth::{Event, HostError, SecretRef};
///
/// /// `p256`: the host's signer, which gives R and S, 32 bytes each.
/// fn sign(call: SignCall, p256: impl Fn(&SecretRef, &[u8]) -> [u8; 64]) -> Event {
///     match call.algorithm() {
///         SigningAlgorithm::Es256 => {
///             let signature = p256(call.key(), call.input());
///             call.answer(Ok(signature.to_vec()))
///         }
///         other => call.answer(Err(HostError::new(format!("no {} here", other.as_str())))),
///     }
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # let place = SecretRef::File("dpop.pem".into());
/// # s.world.authorization[0].dpop = true;
/// # s.keys.insert(place.clone(), "ours".into());
/// # (s.config.dpop, s.config.dpop_key) = (mcp_auth::DpopUse::Always, Some(place));
/// # let attempt = s.demand(mcp_auth::Demand::interactive(mcp_auth::Need::default()));
/// # let mcp_auth::Action::Sign(call) = s.take_action("sign") else { panic!() };
/// # let p256 = |_: &_, input: &[u8]| mcp_auth_world::signer::sign("ours", input).try_into().unwrap();
/// # s.handle(sign(call, p256));
/// # s.settle(attempt)?;
/// # Ok::<(), mcp_auth::Error>(())
/// ```
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
