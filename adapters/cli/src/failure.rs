//! What goes wrong, whose fault it is, what to do about it, and the exit codes.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use mcp_auth::wire::failure::OAuthError;
use mcp_auth::{Error, ErrorKind, Fault, TransportError};
use mcp_auth_host::store::StoreError;
use mcp_auth_ureq::SendError;

/// How a command ends. `--help` documents the numbers: they are for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    LoginRequired = 3,
    NotRequired = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command has no result.
#[derive(Debug)]
pub enum Failure {
    /// There is no token.
    Auth(Error),
    /// The request got no answer.
    Unanswered { url: String, source: TransportError },
    /// An option or a file that it names can't be used.
    Usage(String),
    /// The directory of the logins can't be used.
    Store(StoreError),
    /// No login is stored for this server and account.
    NoLogin { server: String, account: String },
    /// The login was made and will be forgotten.
    NotKept,
    /// Something about this machine.
    Machine(String),
}

impl Failure {
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Usage(_) => Exit::Usage,
            Failure::NoLogin { .. } => Exit::LoginRequired,
            Failure::Auth(error) => match error.kind() {
                ErrorKind::LoginRequired { .. } => Exit::LoginRequired,
                ErrorKind::InvalidSetting(_) => Exit::Usage,
                _ => Exit::Failed,
            },
            _ => Exit::Failed,
        }
    }

    pub fn fault(&self) -> Fault {
        match self {
            Failure::Auth(error) => error.fault(),
            Failure::NoLogin { .. } => Fault::User,
            Failure::Unanswered { .. } => Fault::Network,
            Failure::Usage(_) => Fault::Settings,
            Failure::Store(_) | Failure::NotKept | Failure::Machine(_) => Fault::Host,
        }
    }

    /// What to do next, in a sentence; none where the message says it.
    pub fn advice(&self) -> Option<String> {
        Some(match self {
            Failure::Auth(error) => match error.kind() {
                ErrorKind::LoginRequired { scopes, .. } if !scopes.is_empty() => {
                    let scopes: Vec<_> = scopes.iter().map(|s| format!("--scope {s}")).collect();
                    let scopes = scopes.join(" ");
                    format!(
                        "Run `mcp-auth login {scopes}` with this URL, or repeat with `--login`."
                    )
                }
                ErrorKind::LoginRequired { .. } => "Run `mcp-auth login` with this URL.".into(),
                ErrorKind::TimedOut(_) => "Try again, or allow more with `--timeout`.".into(),
                _ => as_options(&error.advice()),
            },
            Failure::Unanswered { .. } => "Check the network, then try again.".into(),
            Failure::NoLogin { .. } => "Run `mcp-auth login` with this URL.".into(),
            Failure::NotKept => "Mend the store, or choose another with `--store`.".into(),
            Failure::Store(_) => "Mend its place, or choose another with `--store`.".into(),
            Failure::Usage(_) | Failure::Machine(_) => return None,
        })
    }

    /// What an authorization server said, in its own code.
    pub fn oauth(&self) -> Option<&OAuthError> {
        let Failure::Auth(error) = self else { return None };
        match error.kind() {
            ErrorKind::Denied(said)
            | ErrorKind::TokenRefused { error: said, .. }
            | ErrorKind::DeviceRefused { error: said, .. }
            | ErrorKind::RegistrationRefused { error: said, .. } => Some(said),
            _ => None,
        }
    }

    pub fn retry_in(&self) -> Option<Duration> {
        match self {
            Failure::Auth(error) => error.retry_in(),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Auth(error) => error.fmt(f),
            Failure::Unanswered { url, source } => write!(f, "{url} did not answer: {source}"),
            Failure::Usage(why) | Failure::Machine(why) => f.write_str(why),
            Failure::Store(error) => error.fmt(f),
            Failure::NoLogin { server, account } => {
                write!(f, "no login is stored for {server} (account {account})")
            }
            Failure::NotKept => f.write_str("the login was made, but it could not be stored"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Auth(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Store(error)
    }
}

#[cfg(feature = "keyring")]
impl From<mcp_auth_keyring::KeyringError> for Failure {
    fn from(error: mcp_auth_keyring::KeyringError) -> Self {
        match error {
            mcp_auth_keyring::KeyringError::Store(error) => Failure::Store(error),
            error => Failure::Machine(error.to_string()),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Auth(error) => Failure::Auth(error),
            SendError::Transport { url, source } => Failure::Unanswered { url, source },
            other => Failure::Machine(other.to_string()),
        }
    }
}

/// Who can do something about it: for programs, and for people.
pub fn culprit(fault: Fault) -> (&'static str, &'static str) {
    match fault {
        Fault::Settings => ("settings", "the settings"),
        Fault::Host => ("host", "this machine"),
        Fault::User => ("user", "the person"),
        Fault::ResourceServer => ("resource_server", "the MCP server"),
        Fault::AuthorizationServer => ("authorization_server", "the authorization server"),
        Fault::Network => ("network", "the network"),
        _ => ("unknown", "unknown"),
    }
}

/// The library's advice names settings; here they are options.
fn as_options(advice: &str) -> String {
    const OPTIONS: [(&str, &str); 14] = [
        ("`issuer`", "`--issuer`"),
        ("`authorize_url`", "`--authorize-url`"),
        ("`token_url`", "`--token-url`"),
        ("`trusted_issuers`", "`--trust-issuer`"),
        ("`assume_s256`", "`--assume-s256`"),
        ("`allow_private_addresses`", "`--allow-private`"),
        ("`client_id`", "`--client-id`"),
        ("`client_secret`", "`--client-secret-file`"),
        ("`client_metadata_url`", "`--client-metadata-url`"),
        ("`callback_port`", "`--callback-port`"),
        ("`resource`", "`--resource`"),
        ("`scopes`", "`--scope`"),
        ("`initial_access_token`", "`initial_access_token` in the `--config` file"),
        ("`bearer_token`", "`bearer_token` in the `--config` file"),
    ];
    let replace = |text: String, (setting, option): &(&str, &str)| text.replace(setting, option);
    OPTIONS.iter().fold(advice.to_owned(), replace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_option_rather_than_the_setting() {
        let error =
            Error::from(ErrorKind::NoPkce { issuer: "https://a.example".into(), absent: true });
        assert!(Failure::from(error).advice().unwrap().contains("`--assume-s256`"));
    }

    #[test]
    fn an_unusable_setting_is_a_usage_error_and_a_missing_login_has_its_own_code() {
        let bad = mcp_auth::Config { callback_port: Some(1), ..Default::default() };
        assert_eq!(Failure::from(bad.check().unwrap_err()).exit(), Exit::Usage);
        let missing = Error::from(ErrorKind::LoginRequired {
            reason: "x".into(),
            scopes: mcp_auth::wire::scope::ScopeSet::new(),
        });
        assert_eq!(Failure::from(missing).exit(), Exit::LoginRequired);
        assert_eq!(Failure::from(Error::from(ErrorKind::Cancelled)).exit(), Exit::Failed);
    }
}
