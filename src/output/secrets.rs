//! Secrets that the settings don't hold: they are read when they are needed, and then dropped.

use std::time::Duration;

use super::{CallId, HostError, answer};
use crate::event::{AnswerContent, Event};
use crate::secret::{Secret, SecretRef};

/// Read a secret.
#[derive(Debug)]
pub struct SecretCall {
    pub(crate) id: CallId,
    pub(crate) place: SecretRef,
}

/// A secret that was found, as it was found: the machine takes off the whitespace around it.
#[derive(Debug)]
pub struct FoundSecret {
    pub(crate) value: Secret,
    pub(crate) exposed: bool,
}

impl FoundSecret {
    /// From what is there.
    pub fn new(value: Secret) -> Self {
        Self { value, exposed: false }
    }

    /// What was found.
    pub fn value(&self) -> &Secret {
        &self.value
    }

    /// Whether others can read it there.
    pub fn is_exposed(&self) -> bool {
        self.exposed
    }

    /// The same, and others than its owner can read it there: people are told.
    #[must_use]
    pub fn exposed(self) -> Self {
        Self { exposed: true, ..self }
    }
}

/// Somebody may have to unlock a keychain; but the store's lock may be held meanwhile.
pub(crate) const SECRET_DEADLINE: Duration = Duration::from_secs(20);

impl SecretCall {
    /// Where it is.
    pub fn place(&self) -> &SecretRef {
        &self.place
    }

    /// How long this may take.
    pub fn deadline(&self) -> Duration {
        SECRET_DEADLINE
    }

    /// The secret; `None` where there is none of that name.
    pub fn answer(self, result: Result<Option<FoundSecret>, HostError>) -> Event {
        answer(self.id, AnswerContent::Secret(result))
    }
}
