//! What came of a logout, part by part.

use std::fmt;

use crate::error::Error;

/// The report of a logout: a part that failed did not stop the others.
///
/// ```
/// use mcp_auth::{AttemptId, AuthMachine};
///
/// /// After `Event::Logout`, which began `attempt`.
/// fn report(machine: &AuthMachine, attempt: AttemptId) -> Option<String> {
///     let logout = machine.logged_out(attempt)?; // `None`: it is still under way
///     match logout.is_complete() {
///         true => Some("logged out".into()),
///         false => Some(format!("refresh token: {}", logout.refresh_token)),
///     }
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.log_in()?;
/// # let attempt = s.begin_logout();
/// # assert_eq!(report(s.machine(), attempt), None);
/// # assert!(s.finish_logout(attempt).is_complete());
/// # assert_eq!(report(s.machine(), attempt).as_deref(), Some("logged out"));
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "the record may still be there"]
#[non_exhaustive]
pub struct Logout {
    /// The refresh token (RFC 7009). Where several were known, the worst that came of one.
    pub refresh_token: Ending,
    /// The access token (RFC 7009).
    pub access_token: Ending,
    /// The client that was registered dynamically (RFC 7592 §2.3).
    pub registration: Ending,
    /// The stored record; where it could not be erased, that is tried again while the machine
    /// lives.
    pub erased: Result<(), Error>,
}

/// What a server is asked to end.
///
/// ```
/// use mcp_auth::{Credential, Ending, Notice};
///
/// /// What a server was left with that can still be used.
/// fn leaves_behind(notice: &Notice) -> Option<Credential> {
///     match notice {
///         Notice::Ended { what, ending: Ending::NotOffered | Ending::Failed(_) } => Some(*what),
///         _ => None,
///     }
/// }
///
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.log_in()?;
/// # s.world.authorization[0].registration.manageable = false;
/// # assert!(s.log_out().is_complete());
/// # let left: Vec<_> = s.notices.iter().filter_map(leaves_behind).collect();
/// # assert_eq!(left, [Credential::Registration]);
/// assert_eq!(Credential::Registration.to_string(), "client registration");
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Credential {
    /// The refresh token.
    RefreshToken,
    /// The access token.
    AccessToken,
    /// The client's registration.
    Registration,
}

/// What came of one part of a logout; the later ones are worse.
///
/// ```
/// use mcp_auth::Ending;
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.world.authorization[0].revocation = false;
/// # s.log_in()?;
/// # let logout = s.log_out();
///
/// match &logout.access_token {
///     Ending::Failed(error) => println!("it may live on: {error}. {}", error.advice()),
///     ending => println!("access token: {ending}"),
/// }
/// # assert!(matches!(logout.access_token, Ending::NotOffered));
/// assert_eq!(Ending::Ended.to_string(), "ended at the server");
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Ending {
    /// None was known.
    #[default]
    NoneKnown,
    /// It was kept, as the settings say.
    Kept,
    /// The server has ended it.
    Ended,
    /// The server offers no way to end it: it lives until it expires.
    NotOffered,
    /// The server didn't end it, or nobody knows: it may live until it expires.
    Failed(Error),
}

impl Logout {
    /// Whether no part has failed. A server may still offer no way to end something.
    pub fn is_complete(&self) -> bool {
        let parts = [&self.refresh_token, &self.access_token, &self.registration];
        self.erased.is_ok() && parts.iter().all(|part| !matches!(part, Ending::Failed(_)))
    }

    /// With nothing done yet.
    pub(crate) fn new() -> Self {
        let none = || Ending::NoneKnown;
        Self { refresh_token: none(), access_token: none(), registration: none(), erased: Ok(()) }
    }

    pub(crate) fn add(&mut self, what: Credential, ending: Ending) {
        let part = match what {
            Credential::RefreshToken => &mut self.refresh_token,
            Credential::AccessToken => &mut self.access_token,
            Credential::Registration => &mut self.registration,
        };
        if ending.rank() > part.rank() {
            *part = ending;
        }
    }
}

impl Ending {
    fn rank(&self) -> u8 {
        match self {
            Ending::NoneKnown => 0,
            Ending::Kept => 1,
            Ending::Ended => 2,
            Ending::NotOffered => 3,
            Ending::Failed(_) => 4,
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::RefreshToken => "refresh token",
            Credential::AccessToken => "access token",
            Credential::Registration => "client registration",
        })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::NoneKnown => f.write_str("none known"),
            Ending::Kept => f.write_str("kept"),
            Ending::Ended => f.write_str("ended at the server"),
            Ending::NotOffered => {
                f.write_str("left as it is, for the server offers no way to end it")
            }
            Ending::Failed(error) => write!(f, "not ended: {error}"),
        }
    }
}
