//! What the machine knows about its store: loaded? damaged? saved? locked?

use std::time::Duration;

use crate::notice::Notice;
use crate::output::HostError;
use crate::time::Mono;

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) loaded: bool,
    /// What is stored can't be read: the next save sets it aside.
    pub(super) damaged: bool,
    /// We hold the exclusive lock.
    pub(super) locked: bool,
    /// Something of ours is stored: if it is gone, somebody has logged out.
    pub(super) present: bool,
    unsaved: Option<Unsaved>,
}

#[derive(Debug)]
struct Unsaved {
    retry_at: Mono,
    delay: Duration,
}

const FIRST_DELAY: Duration = Duration::from_secs(10);
const LONGEST_DELAY: Duration = Duration::from_secs(120);

impl Store {
    pub(super) fn is_saved(&self) -> bool {
        self.unsaved.is_none()
    }

    pub(super) fn retry_at(&self) -> Option<Mono> {
        self.unsaved.as_ref().map(|unsaved| unsaved.retry_at)
    }

    /// Takes a save's answer; told once when it begins to fail, and once when it works again.
    pub(super) fn answered(
        &mut self,
        now: Mono,
        result: Result<(), HostError>,
        erased: bool,
    ) -> Option<Notice> {
        match result {
            Ok(()) => {
                self.damaged = false;
                self.present = !erased;
                self.unsaved.take().map(|_| Notice::SaveRecovered)
            }
            Err(error) => {
                let first = self.unsaved.is_none();
                let delay = match &self.unsaved {
                    Some(unsaved) => (unsaved.delay * 2).min(LONGEST_DELAY),
                    None => FIRST_DELAY,
                };
                self.unsaved = Some(Unsaved { retry_at: now.plus(delay), delay });
                first.then_some(Notice::SaveFailed(error))
            }
        }
    }

    /// A try is due: whether, and not again before its answer.
    pub(super) fn take_due(&mut self, now: Mono) -> bool {
        match &mut self.unsaved {
            Some(unsaved) if unsaved.retry_at <= now => {
                unsaved.retry_at = now.plus(LONGEST_DELAY);
                true
            }
            _ => false,
        }
    }
}
