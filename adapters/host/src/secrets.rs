//! Secrets that the settings name instead of holding them: in files, in the environment, or with a
//! provider of the program's own, such as a keychain or a vault.
//!
//! ```
//! use mcp_auth::SecretRef;
//! use mcp_auth_host::secrets::{EnvSecrets, find};
//!
//! // As ToolHive's own environment provider: the secret NOTES is in TOOLHIVE_SECRET_NOTES.
//! let provider = EnvSecrets::new(["TOOLHIVE_SECRET_"]);
//! let unset = find(&SecretRef::Name("NOTES".into()), Some(&provider))?;
//! assert!(unset.is_none());
//! # Ok::<(), mcp_auth::HostError>(())
//! ```

use std::env::{self, VarError};
use std::fs::File;
use std::io::Read;

use mcp_auth::output::FoundSecret;
use mcp_auth::{HostError, Secret, SecretRef};

/// Where ToolHive's environment provider keeps the secret `NAME`: in `TOOLHIVE_SECRET_NAME`.
pub const TOOLHIVE_PREFIX: &str = "TOOLHIVE_SECRET_";

/// The variable that the command takes a bearer token from, where the settings have none.
pub const BEARER_TOKEN_ENV: &str = "MCP_AUTH_BEARER_TOKEN";

/// More than this is no secret, in bytes.
const MAX_LEN: u64 = 64 * 1024;

/// Keeps secrets by name. Calls may block for as long as the action's deadline says.
///
/// Errors are shown to people: they must hold no secrets.
///
/// ```
/// use std::collections::HashMap;
///
/// use mcp_auth::{HostError, Secret, SecretRef};
/// use mcp_auth_host::secrets::{SecretProvider, find};
///
/// struct Vault(HashMap<String, Secret>);
///
/// impl SecretProvider for Vault {
///     fn get(&self, name: &str) -> Result<Option<Secret>, HostError> {
///         Ok(self.0.get(name).cloned())
///     }
/// }
///
/// let vault = Vault(HashMap::from([("notes".into(), Secret::from("hush"))]));
/// // A closure will do, too.
/// let locked = |_: &str| Err(HostError::new("the vault is locked"));
///
/// let client_secret = SecretRef::Name("notes".into());
/// let found = find(&client_secret, Some(&vault))?.unwrap();
/// assert_eq!(found.value().expose(), "hush");
/// assert!(find(&client_secret, Some(&locked)).is_err());
/// # Ok::<(), HostError>(())
/// ```
pub trait SecretProvider: Send + Sync {
    /// The secret of this name; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Where there may be one, and it can't be had.
    fn get(&self, name: &str) -> Result<Option<Secret>, HostError>;
}

impl<F> SecretProvider for F
where
    F: Fn(&str) -> Result<Option<Secret>, HostError> + Send + Sync,
{
    fn get(&self, name: &str) -> Result<Option<Secret>, HostError> {
        self(name)
    }
}

/// Secrets in variables of the environment that begin with one of these prefixes.
///
/// ```
/// use mcp_auth_host::secrets::{EnvSecrets, SecretProvider};
///
/// // NOTES_SECRET_CLIENT, or else TOOLHIVE_SECRET_CLIENT.
/// let provider = EnvSecrets::new(["NOTES_SECRET_", "TOOLHIVE_SECRET_"]);
/// assert!(provider.get("CLIENT")?.is_none()); // neither is set
/// # assert!(EnvSecrets::new(["NO_SUCH_", "PA"]).get("TH")?.is_some()); // as PATH
/// # Ok::<(), mcp_auth::HostError>(())
/// ```
#[derive(Clone, Debug)]
pub struct EnvSecrets(Vec<String>);

impl EnvSecrets {
    /// The first prefix that has a name counts.
    pub fn new<S: Into<String>>(prefixes: impl IntoIterator<Item = S>) -> Self {
        Self(prefixes.into_iter().map(Into::into).collect())
    }
}

impl SecretProvider for EnvSecrets {
    fn get(&self, name: &str) -> Result<Option<Secret>, HostError> {
        let found = self.0.iter().map(|prefix| variable(&format!("{prefix}{name}")));
        found.into_iter().find_map(Result::transpose).transpose()
    }
}

/// What is at this place, as it is there.
///
/// # Errors
///
/// A file that can't be read; a text that isn't UTF-8; a name without a provider; what the provider
/// says.
pub fn find(
    place: &SecretRef,
    provider: Option<&dyn SecretProvider>,
) -> Result<Option<FoundSecret>, HostError> {
    match (place, provider) {
        (SecretRef::File(path), _) => file(path).map(Some),
        (SecretRef::Env(name), _) => Ok(variable(name)?.map(FoundSecret::new)),
        (SecretRef::Name(name), Some(provider)) => Ok(provider.get(name)?.map(FoundSecret::new)),
        (SecretRef::Name(_), None) => Err(HostError::new("the program has no secret provider")),
    }
}

fn variable(name: &str) -> Result<Option<Secret>, HostError> {
    match env::var(name) {
        // An empty one is as good as none: shells can't unset one for a single command.
        Ok(value) => Ok(Some(Secret::new(value)).filter(|value| !value.expose().is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(HostError::new("it is not UTF-8")),
    }
}

fn file(path: &str) -> Result<FoundSecret, HostError> {
    let file = File::open(path).map_err(HostError::new)?;
    let exposed = others_can_read(&file);
    let mut bytes = Vec::new();
    file.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(HostError::new)?;
    let bytes = Secret::new(bytes);
    let text =
        std::str::from_utf8(bytes.expose()).map_err(|_| HostError::new("it is not UTF-8"))?;
    let found = FoundSecret::new(Secret::from(text));
    Ok(if exposed { found.exposed() } else { found })
}

#[cfg(unix)]
fn others_can_read(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    // A pipe is for whoever opens it now.
    file.metadata().is_ok_and(|file| file.is_file() && file.mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_can_read(_: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(found: Result<Option<FoundSecret>, HostError>) -> String {
        match found {
            Ok(Some(found)) => format!("{:?}", found.value().expose()),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn at(place: SecretRef) -> String {
        shown(find(&place, None))
    }

    #[test]
    fn a_file_is_read_as_it_is_and_its_permissions_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let place = SecretRef::File(path.to_str().unwrap().to_owned());
        assert!(at(place.clone()).contains("No such file"), "{}", at(place));
        std::fs::write(&path, " hush\n").unwrap();
        assert_eq!(at(place.clone()), r#"" hush\n""#);
        #[cfg(unix)]
        for (mode, exposed) in [(0o644, true), (0o600, false), (0o640, true), (0o400, false)] {
            use std::os::unix::fs::PermissionsExt;
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, permissions).unwrap();
            assert_eq!(find(&place, None).unwrap().unwrap().is_exposed(), exposed, "{mode:o}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"hush \xff").unwrap();
        assert_eq!(at(place.clone()), "it is not UTF-8");
        std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        assert_eq!(at(place).len(), 64 * 1024 + 3);
    }

    #[test]
    fn a_variable_may_be_unset() {
        assert_eq!(at(SecretRef::Env("MCP_AUTH_NO_SUCH_VARIABLE".to_owned())), "none");
        assert!(at(SecretRef::Env("PATH".to_owned())).contains('/'));
    }

    #[test]
    fn a_name_is_for_the_provider() {
        let place = SecretRef::Name("NOTES".to_owned());
        assert_eq!(at(place.clone()), "the program has no secret provider");
        let provider = |name: &str| Ok((name == "NOTES").then(|| Secret::from("hush")));
        assert_eq!(shown(find(&place, Some(&provider))), r#""hush""#);
        let none = SecretRef::Name("OTHER".to_owned());
        assert_eq!(shown(find(&none, Some(&provider))), "none");
        let locked = |_: &str| Err(HostError::new("the vault is locked"));
        assert_eq!(shown(find(&place, Some(&locked))), "the vault is locked");
        // As PATH, with another beginning.
        let name = SecretRef::Name("ATH".to_owned());
        let variables = EnvSecrets::new(["MCP_AUTH_NO_SUCH_", "P"]);
        assert!(shown(find(&name, Some(&variables))).contains('/'));
    }
}
