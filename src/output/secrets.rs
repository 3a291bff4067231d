//! Secrets that the settings don't hold: they are read when they are needed, and then dropped.

use std::time::Duration;

use super::{CallId, HostError, answer};
use crate::event::{AnswerContent, Event};
use crate::secret::{Secret, SecretRef};

/// Read a secret.
///
/// ```
/// use std::collections::BTreeMap;
/// use mcp_auth::output::{FoundSecret, SecretCall};
/// use mcp_auth::{Event, HostError, Secret, SecretRef};
///
/// fn find(call: SecretCall, vault: &BTreeMap<String, String>) -> Event {
///     let found = match call.place() {
///         SecretRef::Name(name) => Ok(vault.get(name).cloned()),
///         SecretRef::Env(name) => Ok(std::env::var(name).ok()),
///         SecretRef::File(path) => std::fs::read_to_string(path).map(Some).map_err(HostError::new),
///     };
///     call.answer(found.map(|text| text.map(|text| FoundSecret::new(Secret::new(text)))))
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.config.bearer_token_from = vec![SecretRef::Name("NOTES".into())];
/// # s.demand(mcp_auth::Demand::background(mcp_auth::Need::default()));
/// # let mcp_auth::Action::Secret(call) = s.take_action("secret") else { panic!() };
/// # s.handle(find(call, &BTreeMap::from([("NOTES".into(), "hush\n".into())])));
/// # assert_eq!(s.grant().access_token().expose(), "hush");
/// ```
#[derive(Debug)]
pub struct SecretCall {
    pub(crate) id: CallId,
    pub(crate) place: SecretRef,
}

/// A secret that was found, as it was found: the machine takes off the whitespace around it.
///
/// ```
/// use mcp_auth::Secret;
/// use mcp_auth::output::FoundSecret;
///
/// let found = FoundSecret::new(Secret::from("gX1fBat3bV\n")).exposed(); // the file's mode is 0644
/// assert!(found.is_exposed()); // `Notice::SecretExposed` will say so
/// assert_eq!(found.value().expose(), "gX1fBat3bV\n");
/// ```
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
