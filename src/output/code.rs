//! A code that a person enters on another device (RFC 8628 §3.3).

use std::fmt;
use std::time::Duration;

use url::Url;

use super::{CallId, HostError, answer};
use crate::event::{AnswerContent, Event};
use crate::text::printable_url;

/// What a person is shown.
pub(crate) struct UserCode {
    pub(crate) user_code: String,
    pub(crate) verification_uri: Url,
    pub(crate) verification_uri_complete: Option<Url>,
    pub(crate) expires_in: Duration,
}

/// Show a person a code, and where to enter it: on any device that has a browser. Nothing comes back
/// from there; the machine asks the server by itself. The code stays good, and shown, until
/// [`Output::Dismiss`](super::Output::Dismiss).
///
/// ```
/// use mcp_auth::Event;
/// use mcp_auth::output::ShowCodeCall;
///
/// fn show(call: ShowCodeCall) -> Event {
///     println!("On any device, open {} and enter {}", call.verification_uri(), call.user_code());
///     println!("It is good for {} minutes.", call.expires_in().as_secs() / 60);
///     call.answer(Ok(()))
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.world.authorization[0].device = true;
/// # s.config.device_grant = mcp_auth::DeviceGrant::Always;
/// # s.demand(mcp_auth::Demand::interactive(mcp_auth::Need::default()));
/// # let mcp_auth::Action::ShowCode(call) = s.take_action("code") else { panic!() };
/// # s.handle(show(call));
/// # let mcp_auth::Action::Http(call) = s.take_action("POST auth.example.com/token") else { panic!() };
/// # assert!(String::from_utf8_lossy(call.request().body()).contains("device_code="));
/// ```
pub struct ShowCodeCall {
    pub(crate) id: CallId,
    pub(crate) code: Box<UserCode>,
}

impl ShowCodeCall {
    /// The code, one line of printable text. Show it as it is, also beside
    /// [`verification_uri_complete`](Self::verification_uri_complete): the person compares the two
    /// (RFC 8628 §3.3.1). It is nobody else's to see.
    pub fn user_code(&self) -> &str {
        &self.code.user_code
    }

    /// Where to enter it.
    pub fn verification_uri(&self) -> &Url {
        &self.code.verification_uri
    }

    /// The same place with the code in it, where the server has one: for a QR code or a link.
    pub fn verification_uri_complete(&self) -> Option<&Url> {
        self.code.verification_uri_complete.as_ref()
    }

    /// How long the person has from now on.
    pub fn expires_in(&self) -> Duration {
        self.code.expires_in
    }

    /// `Ok` once the person can see it.
    pub fn answer(self, result: Result<(), HostError>) -> Event {
        answer(self.id, AnswerContent::CodeShown(result))
    }
}

impl fmt::Debug for ShowCodeCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShowCodeCall({})", printable_url(self.code.verification_uri.as_str()))
    }
}
