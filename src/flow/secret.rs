//! Find a secret that the settings name instead of holding it: in the first of its places that has
//! it. A variable of the environment may be unset; a file or a name that has nothing is an error, and
//! so is a blank file.

use std::collections::VecDeque;

use crate::error::{Error, ErrorKind};
use crate::flow::{Ask, Notes, Step};
use crate::notice::Notice;
use crate::output::{FoundSecret, HostError};
use crate::secret::{Secret, SecretRef};

/// The longest secret, in bytes.
const MAX_LEN: usize = 64 * 1024;

/// A secret that is looked for.
#[derive(Clone, Debug)]
pub(crate) struct FindSecret {
    what: &'static str,
    asked: SecretRef,
    rest: VecDeque<SecretRef>,
}

/// What the host found at one place.
pub(crate) type SecretResult = Result<Option<FoundSecret>, HostError>;

impl FindSecret {
    /// `None` where no place is named.
    pub(crate) fn start(what: &'static str, places: &[SecretRef]) -> Option<(Self, Ask)> {
        Self::next(what, places.iter().cloned().collect())
    }

    /// One that is not looked for yet.
    pub(crate) fn nowhere(what: &'static str) -> Self {
        Self { what, asked: SecretRef::Name(String::new()), rest: VecDeque::new() }
    }

    /// Where it is looked for now, for people.
    pub(crate) fn place(&self) -> String {
        self.asked.to_string()
    }

    fn next(what: &'static str, mut rest: VecDeque<SecretRef>) -> Option<(Self, Ask)> {
        let asked = rest.pop_front()?;
        let ask = Ask::Secret(asked.clone());
        Some((Self { what, asked, rest }, ask))
    }

    /// The outcome is `None` where all places are variables, and none of them is set.
    pub(crate) fn on_secret(
        self,
        result: SecretResult,
        notes: &mut Notes,
    ) -> Result<Step<Self, Option<Secret>>, Error> {
        let place = self.place();
        let fail = |source| {
            let (what, place) = (self.what, place.clone());
            Err(Error::from(ErrorKind::SecretUnavailable { what, place, source }))
        };
        let may_be_unset = matches!(self.asked, SecretRef::Env(_));
        let found = match result {
            Ok(found) => found,
            Err(source) => return fail(source),
        };
        let exposed = found.as_ref().is_some_and(|found| found.exposed);
        let is_there = found.is_some();
        let value = found.map(|found| Secret::from(found.value.expose().trim()));
        match value.filter(|value| !value.expose().is_empty()) {
            Some(value) if value.expose().len() > MAX_LEN => {
                fail(HostError::new("it is longer than 64 KiB"))
            }
            Some(value) => {
                if exposed {
                    notes.push(Notice::SecretExposed { place });
                }
                Ok(Step::Done(Some(value)))
            }
            None if may_be_unset => Ok(match Self::next(self.what, self.rest) {
                Some((next, ask)) => Step::Ask(next, ask),
                None => Step::Done(None),
            }),
            None if is_there => fail(HostError::new("it is empty")),
            None => fail(HostError::new("there is none")),
        }
    }

    /// Where none of the places had it, and it can't be done without.
    pub(crate) fn missing(what: &'static str, places: &[SecretRef]) -> Error {
        let place = places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let source = HostError::new("it is not set");
        ErrorKind::SecretUnavailable { what, place, source }.into()
    }
}
