//! Configuration files: JSON, and with the feature `yaml` YAML; in our form, or in ToolHive's.
//!
//! ```
//! use mcp_auth_host::settings::Settings;
//!
//! let ours = Settings::parse(r#"{ "client_id": "by-hand", "scopes": "notes:read" }"#)?;
//! assert!(matches!(ours, Settings::Ours(config) if config.client_id.is_some()));
//! let theirs = Settings::parse(r#"{ "client_id": "by-hand", "use_pkce": true }"#)?;
//! assert!(matches!(theirs, Settings::ToolHive(remote, _) if remote.use_pkce));
//! # Ok::<(), mcp_auth_host::settings::SettingsError>(())
//! ```

use std::collections::BTreeMap;

use mcp_auth::Config;
use mcp_auth::toolhive::{RemoteConfig, Warning};
use mcp_auth::wire::Malformed;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What a configuration file holds.
///
/// ```
/// use mcp_auth_host::settings::Settings;
///
/// let text = r#"{ "client_id": "by-hand", "use_pkce": true, "colour": "red" }"#;
/// let config = match Settings::parse(text)? {
///     Settings::Ours(config) => *config,
///     Settings::ToolHive(remote, warnings) => {
///         warnings.iter().for_each(|warning| println!("{warning}"));
/// #       assert_eq!(warnings.len(), 1);
///         remote.import().config
///     }
/// };
/// assert_eq!(config.client_id.as_deref(), Some("by-hand"));
/// # Ok::<(), mcp_auth_host::settings::SettingsError>(())
/// ```
#[derive(Debug)]
pub enum Settings {
    /// Our own settings. They are not [checked](Config::check) yet.
    Ours(Box<Config>),
    /// ToolHive's, and what is to be said about them.
    ToolHive(Box<RemoteConfig>, Vec<Warning>),
}

/// Why a configuration file can't be read. No value is quoted: it may be a secret.
///
/// ```
/// use mcp_auth_host::settings::{Settings, SettingsError};
///
/// let error = Settings::parse("{\n  \"client_secret\": hush\n}").unwrap_err();
/// assert!(matches!(error, SettingsError::Syntax { line: 2, .. }));
/// assert!(!error.to_string().contains("hush"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It isn't written as its format wants it, or a value doesn't have its form.
    #[error("line {line}, column {column}: expected the settings as {format}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What it was read as.
        format: &'static str,
    },
    /// A setting doesn't have its form.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// The names of the members alone.
type Names = BTreeMap<String, IgnoredAny>;

impl Settings {
    /// Reads a file. One that begins with `{` is JSON, any other YAML, as far as that is built in.
    /// ToolHive's form is [recognised](RemoteConfig::is_written_as) by its names.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] says where, or which setting.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        if cfg!(feature = "yaml") && !text.trim_start().starts_with('{') {
            return Self::yaml(text);
        }
        let names: Names = json(text)?;
        if RemoteConfig::is_written_as(names.keys().map(String::as_str)) {
            let (remote, warnings) = RemoteConfig::from_json(text.as_bytes())?;
            return Ok(Self::ToolHive(Box::new(remote), warnings));
        }
        Ok(Self::Ours(json(text)?))
    }

    /// Texts that look like numbers are read as they are written: each value is read as what its
    /// setting is.
    #[cfg(feature = "yaml")]
    fn yaml(text: &str) -> Result<Self, SettingsError> {
        let names: Names = yaml(text)?;
        let names = || names.keys().map(String::as_str);
        if RemoteConfig::is_written_as(names()) {
            return Ok(Self::ToolHive(yaml(text)?, RemoteConfig::unknown(names())));
        }
        Ok(Self::Ours(yaml(text)?))
    }

    #[cfg(not(feature = "yaml"))]
    fn yaml(text: &str) -> Result<Self, SettingsError> {
        Ok(Self::Ours(json(text)?))
    }
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, SettingsError> {
    serde_json::from_str(text).map_err(|e| SettingsError::Syntax {
        line: e.line(),
        column: e.column(),
        format: "JSON",
    })
}

#[cfg(feature = "yaml")]
fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, SettingsError> {
    // An empty file says nothing, and so does one of comments.
    let read = serde_saphyr::from_str::<Option<T>>(text);
    let at = |error: &serde_saphyr::Error| error.location();
    match read {
        Ok(Some(settings)) => Ok(settings),
        Ok(None) => json("{}"),
        Err(error) => {
            let place = at(&error).map(|at| (at.line(), at.column()));
            let (line, column) = place.map_or((1, 1), |(l, c)| (l as usize, c as usize));
            Err(SettingsError::Syntax { line, column, format: "YAML" })
        }
    }
}

/// ToolHive's configuration in YAML, as ToolHive reads it: durations are text there, and absent times
/// are left out. It holds secrets, where the configuration does.
#[cfg(feature = "yaml")]
pub fn to_yaml(remote: &RemoteConfig) -> String {
    use mcp_auth::toolhive::go::format_duration;
    use serde_json::Value;

    let mut value = serde_json::to_value(remote).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        if let Some(timeout) = members.get_mut("timeout") {
            *timeout = format_duration(timeout.as_i64().unwrap_or_default()).into();
        }
        for (name, time) in [
            ("cached_token_expiry", remote.cached_token_expiry),
            ("cached_secret_expiry", remote.cached_secret_expiry),
        ] {
            if time.is_none() {
                members.remove(name);
            }
        }
    }
    // Texts, numbers and lists only: there is nothing to fail on.
    serde_saphyr::to_string(&value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: &str = "hush";

    #[test]
    fn json_of_ours_has_our_names_and_scopes_as_a_text_or_a_list() {
        for scopes in [r#""a b""#, r#"["a","b"]"#] {
            let text = format!("\u{FEFF} {{\"client_id\":\"x\",\"scopes\":{scopes}}}");
            let Ok(Settings::Ours(config)) = Settings::parse(&text) else { panic!("{scopes}") };
            assert_eq!(config.scopes.unwrap().to_string(), "a b");
        }
    }

    #[test]
    fn what_cannot_be_read_is_placed_and_not_quoted() {
        for (text, said) in [
            (r#"{"client_secret":["hush"]}"#, "line 1, column 17"),
            (r#"{"client_secret":"hush"#, "line 1, column"),
            (r#"{"use_pkce":"hush"}"#, "`use_pkce`"),
        ] {
            let error = Settings::parse(text).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains(HIDDEN), "{error}");
        }
    }

    #[cfg(feature = "yaml")]
    mod yaml {
        use super::*;

        fn file(name: &str) -> String {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/toolhive");
            std::fs::read_to_string(format!("{folder}/{name}")).unwrap()
        }

        fn toolhive(text: &str) -> (RemoteConfig, Vec<Warning>) {
            match Settings::parse(text) {
                Ok(Settings::ToolHive(remote, warnings)) => (*remote, warnings),
                other => panic!("{other:?}"),
            }
        }

        #[test]
        fn toolhives_settings_are_the_same_in_both_formats() {
            let (yaml, warnings) = toolhive(&file("today.yaml"));
            assert_eq!(yaml, toolhive(&file("today.json")).0);
            assert!(warnings.is_empty());
        }

        #[test]
        fn what_is_written_is_read_again_in_toolhives_own_words() {
            let remote = toolhive(&file("today.json")).0;
            let text = to_yaml(&remote);
            assert!(text.contains("timeout: 5m0s\n"), "{text}");
            assert_eq!(toolhive(&text).0, remote);
            let nothing = to_yaml(&RemoteConfig::default());
            assert_eq!(nothing, "use_pkce: false\n");
        }

        #[test]
        fn texts_that_look_like_numbers_are_as_they_are_written() {
            let (remote, warnings) = toolhive(&file("scalars.yaml"));
            assert_eq!(remote.client_id.as_deref(), Some("0123"));
            assert_eq!(remote.client_secret, Some("1e5".into()));
            assert_eq!(remote.timeout.unwrap().as_secs(), 300);
            assert_eq!((remote.callback_port, remote.cached_token_expiry), (None, None));
            assert_eq!(warnings.len(), 1);
            assert!(warnings[0].to_string().starts_with("`colour`"));
        }

        #[test]
        fn ours_are_written_in_yaml_too() {
            let text = "client_id: 0123\nscopes:\n  - a\n  - b\nretry:\n  tries: 2\ncallback_host: localhost\n";
            let Ok(Settings::Ours(config)) = Settings::parse(text) else { panic!() };
            assert_eq!(config.client_id.as_deref(), Some("0123"));
            assert_eq!(config.scopes.unwrap().to_string(), "a b");
            assert_eq!(config.retry.tries, 2);
            for nothing in ["", "# nothing yet\n", "---\n"] {
                assert!(matches!(Settings::parse(nothing), Ok(Settings::Ours(_))), "{nothing:?}");
            }
        }

        #[test]
        fn what_cannot_be_read_is_placed_and_not_quoted() {
            for (text, line) in [
                ("client_id: a\nclient_secret: [hush", 2),
                ("use_pkce: true\nclient_secret:\n  - hush\n", 3),
                ("use_pkce: hush\n", 1),
                ("use_pkce: true\ntimeout: hush\n", 2),
                ("- hush\n", 1),
                ("a: &hush [*hush]\n", 1),
            ] {
                let error = Settings::parse(text).unwrap_err();
                let SettingsError::Syntax { line: at, .. } = &error else { panic!("{error}") };
                assert_eq!(*at, line, "{error}");
                assert!(!format!("{error} {error:?}").contains(HIDDEN), "{error:?}");
            }
        }
    }
}
