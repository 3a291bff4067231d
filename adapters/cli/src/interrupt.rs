//! Ctrl-C while a person is asked: the login is given up in good order, so that programs that wait for
//! it learn of it at once, and the next one opens a browser without delay.

use std::process;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use mcp_auth_ureq::Session;

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// As shells have it: 128 and the number of the signal.
const INTERRUPTED: i32 = 130;

/// Gives up the login of a session that is still to be opened.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<OnceLock<Weak<Session>>>);

impl Interrupt {
    pub fn belongs_to(&self, session: &Arc<Session>) {
        let _ = self.0.set(Arc::downgrade(session));
    }

    /// From now on. Where it can't be, and until then, Ctrl-C ends the process as ever.
    pub fn arm(&self) {
        let session = self.0.clone();
        let _ = ctrlc::set_handler(move || {
            if let Some(session) = session.get().and_then(Weak::upgrade) {
                session.cancel();
            }
            // The command ends by itself, and this thread with it.
            thread::sleep(PATIENCE);
            process::exit(INTERRUPTED);
        });
    }
}
