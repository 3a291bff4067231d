//! Values that must not be seen: tokens, codes, verifiers, client secrets; and where such values are.

use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize;

use crate::text::printable;

/// A value that doesn't print, is wiped when dropped, and compares in constant time.
///
/// There is no `Display` and no `Serialize`: whoever needs the value says so with
/// [`Secret::expose`], and a reviewer can search for that word.
///
/// ```
/// use mcp_auth::Secret;
///
/// let token = Secret::new(String::from("hunter2"));
/// assert_eq!(format!("{token:?}"), "Secret(7 bytes)");
/// assert_eq!(token.expose(), "hunter2");
/// ```
#[derive(Clone)]
pub struct Secret<T: Zeroize + AsRef<[u8]> = String>(T);

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl From<&str> for Secret<String> {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().ct_eq(other.0.as_ref()).into()
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<T: Zeroize + AsRef<[u8]>> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.as_ref().len())
    }
}

impl<T: Zeroize + AsRef<[u8]>> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Where a secret is, in the place of the secret. It is read when it is needed, and not kept.
///
/// In JSON `{ "file": "/run/secrets/client" }`, `{ "env": "CLIENT_SECRET" }` or
/// `{ "name": "notes-client" }`.
///
/// ```
/// use mcp_auth::{Config, SecretRef};
///
/// let config: Config = serde_json::from_str(
///     r#"{ "client_id": "my-program", "client_secret_from": [{ "file": "/run/secrets/client" }] }"#,
/// )?;
/// let place = &config.client_secret_from[0];
/// assert_eq!(*place, SecretRef::File("/run/secrets/client".into()));
/// assert_eq!(place.to_string(), "the file /run/secrets/client");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// In this file; whitespace around it doesn't count.
    File(String),
    /// In this variable of the environment, if that is set.
    Env(String),
    /// With the program's secret provider, by this name.
    Name(String),
}

impl SecretRef {
    /// Reads ToolHive's `NAME,target=TARGET`; what the target is doesn't matter here.
    pub fn parse_toolhive(text: &str) -> Option<Self> {
        let (name, target) = text.split_once(',')?;
        let target = target.strip_prefix("target=")?;
        (!name.is_empty() && !target.is_empty()).then(|| Self::Name(name.to_owned()))
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::File(path) => write!(f, "the file {}", printable(path)),
            SecretRef::Env(name) => write!(f, "the environment variable {}", printable(name)),
            SecretRef::Name(name) => write!(f, "the secret {}", printable(name)),
        }
    }
}

/// A secret, or where it is.
///
/// ```
/// use mcp_auth::{CachedLogin, Secret, SecretRef, SecretSource};
///
/// let at_hand = CachedLogin::new(Secret::from("tGzv3JOkF0XG5Qx2TlKWIA"));
/// assert!(matches!(at_hand.refresh_token, SecretSource::Value(_)));
/// let elsewhere = CachedLogin::new(SecretRef::Env("REFRESH_TOKEN".into()));
/// assert!(matches!(elsewhere.refresh_token, SecretSource::At(SecretRef::Env(_))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The secret itself.
    Value(Secret),
    /// It is read from here when it is needed.
    At(SecretRef),
}

impl From<Secret> for SecretSource {
    fn from(secret: Secret) -> Self {
        Self::Value(secret)
    }
}

impl From<SecretRef> for SecretSource {
    fn from(place: SecretRef) -> Self {
        Self::At(place)
    }
}

/// `serde(with = …)` for the few fields that are meant to be written down: the record's.
pub(crate) mod exposed {
    use super::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(s: &Secret<String>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(s.expose())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(Secret::new)
    }

    /// The same for secrets by name.
    pub(crate) mod map {
        use std::collections::BTreeMap;

        use super::*;

        pub(crate) fn serialize<S: Serializer>(
            secrets: &BTreeMap<String, Secret>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            to.collect_map(secrets.iter().map(|(name, secret)| (name, secret.expose())))
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<BTreeMap<String, Secret>, D::Error> {
            let exposed = BTreeMap::<String, String>::deserialize(from)?;
            Ok(exposed.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
        }
    }

    /// The same for an optional secret.
    pub(crate) mod option {
        use super::*;

        pub(crate) fn serialize<S: Serializer>(
            s: &Option<Secret<String>>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match s {
                Some(s) => to.serialize_some(s.expose()),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Secret>, D::Error> {
            Ok(Option::<String>::deserialize(from)?.map(Secret::new))
        }
    }
}
