//! The forms of the configuration: today's names, the old PascalCase ones, and what Go's decoder
//! makes of them. Names are compared as Go's `encoding/json` does: exactly, else in any case.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize as _, Serializer};
use serde_json::{Map, Value};

use super::{RemoteConfig, Warning, go};
use crate::secret::Secret;
use crate::text::printable;
use crate::time::UnixTime;
use crate::wire::Malformed;

const DOCUMENT: &str = "ToolHive's configuration";

/// A setting: its name today, the one in the old form if it was there, and whether ours has one of
/// the same name, then what is expected of it.
struct Field {
    name: &'static str,
    old: &'static str,
    ours: bool,
    expected: &'static str,
}

const fn field(name: &'static str, old: &'static str, ours: bool, expected: &'static str) -> Field {
    Field { name, old, ours, expected }
}

const TEXT: &str = "a text";
const SWITCH: &str = "true or false";
const PORT: &str = "a port, 0 to 65535";
const TIME: &str = "an RFC 3339 time";

/// `OLD_FORM` is what an old configuration is recognised by.
const OLD_FORM: &str = "ClientID";

const FIELDS: [Field; 28] = [
    field("client_id", OLD_FORM, true, TEXT),
    field("client_secret", "ClientSecret", true, TEXT),
    field("client_secret_file", "ClientSecretFile", false, TEXT),
    field("scopes", "Scopes", true, "a list of texts"),
    field("skip_browser", "SkipBrowser", false, SWITCH),
    field("timeout", "Timeout", false, "nanoseconds, or a duration such as `5m`"),
    field("callback_port", "CallbackPort", true, PORT),
    field("use_pkce", "UsePKCE", false, SWITCH),
    field("resource", "", true, TEXT),
    field("issuer", "Issuer", true, TEXT),
    field("authorize_url", "AuthorizeURL", true, TEXT),
    field("token_url", "TokenURL", true, TEXT),
    field("headers", "Headers", true, "a list of header fields"),
    field("env_vars", "EnvVars", false, "a list of environment variables"),
    field("oauth_params", "OAuthParams", true, "an object of texts"),
    field("scope_param_name", "", true, TEXT),
    field("bearer_token", "BearerToken", true, TEXT),
    field("bearer_token_file", "BearerTokenFile", false, TEXT),
    field("cached_refresh_token_ref", "", false, TEXT),
    field("cached_token_expiry", "", false, TIME),
    field("cached_client_id", "", false, TEXT),
    field("cached_client_secret_ref", "", false, TEXT),
    field("cached_secret_expiry", "", false, TIME),
    field("cached_reg_token_ref", "", false, TEXT),
    field("cached_cimd_client_id", "", false, TEXT),
    field("cached_reg_client_uri", "", false, TEXT),
    field("cached_token_auth_method", "", false, TEXT),
    field("cached_dcr_callback_port", "", false, PORT),
];

impl RemoteConfig {
    /// Reads the JSON of any version of ToolHive, today's or the old one, which is recognised by a
    /// member `ClientID`. A member that isn't known is a warning.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it isn't a JSON object, or names the first member without the form that it
    /// should have. No value is quoted.
    pub fn from_json(text: &[u8]) -> Result<(Self, Vec<Warning>), Malformed> {
        let refuse = |expected: &str, got: &str| Malformed::new(DOCUMENT, expected, got);
        let value = serde_json::from_slice(text).map_err(|e| {
            refuse(
                "a JSON object",
                &format!("an error in line {}, column {}", e.line(), e.column()),
            )
        })?;
        let Value::Object(members) = value else {
            return Err(refuse("a JSON object", "another value"));
        };
        let is_old = members.contains_key(OLD_FORM);
        let (mut known, mut warnings) = (Map::new(), Vec::new());
        for (name, value) in members {
            let own = |field: &Field| if is_old { field.old } else { field.name };
            let fits = |field: &&Field| own(field).eq_ignore_ascii_case(&name);
            let Some(field) = FIELDS.iter().find(fits).filter(|_| !name.is_empty()) else {
                warnings.push(ignored(&name));
                continue;
            };
            if own(field) == name || !known.contains_key(field.name) {
                known.insert(field.name.to_owned(), in_lower_case(value));
            }
        }
        for field in &FIELDS {
            let Some(value) = known.get(field.name) else { continue };
            let alone = Map::from_iter([(field.name.to_owned(), value.clone())]);
            if Self::deserialize(Value::Object(alone)).is_err() {
                let expected = format!("`{}`, {}", field.name, field.expected);
                return Err(refuse(&expected, "something else"));
            }
        }
        let config = Self::deserialize(Value::Object(known))
            .map_err(|_| refuse("members of their form", "something else"))?;
        Ok((config, warnings))
    }

    /// Whether a configuration with members of these names is one of ToolHive's, rather than one of
    /// ours: ToolHive always writes `use_pkce`, or `ClientID` in the old form. Where no name is
    /// ToolHive's own, both mean the same.
    pub fn is_written_as<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
        let theirs = |name| FIELDS.iter().any(|field| field.name == name && !field.ours);
        names.into_iter().any(|name| name == OLD_FORM || theirs(name))
    }

    /// The warnings for members that aren't known, in a form whose names are compared exactly: YAML.
    pub fn unknown<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Warning> {
        let unknown = |name: &&str| FIELDS.iter().all(|field| field.name != *name);
        names.into_iter().filter(unknown).map(ignored).collect()
    }
}

fn ignored(name: &str) -> Warning {
    Warning(format!("`{}` is no setting of ToolHive's: it is ignored", printable(name)))
}

/// The members of the objects in a list: their names are all in lower case.
fn in_lower_case(value: Value) -> Value {
    match value {
        Value::Array(entries) => Value::Array(entries.into_iter().map(lower_names).collect()),
        other => other,
    }
}

fn lower_names(entry: Value) -> Value {
    match entry {
        Value::Object(members) => {
            let lower = |(name, value): (String, Value)| (name.to_ascii_lowercase(), value);
            Value::Object(members.into_iter().map(lower).collect())
        }
        other => other,
    }
}

/// Go takes `null` for any value, and leaves the zero in place.
pub(super) fn or_zero<'de, D: Deserializer<'de>, T>(from: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.filter(|text| !text.is_empty()))
}

pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    Ok(text(from)?.map(Secret::new))
}

pub(super) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let entries = Option::<Vec<Option<T>>>::deserialize(from)?;
    Ok(entries.into_iter().flatten().flatten().collect())
}

pub(super) fn texts<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let entries = Option::<BTreeMap<String, Option<String>>>::deserialize(from)?;
    let entries = entries.unwrap_or_default().into_iter();
    Ok(entries.map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

pub(super) fn port<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    Ok(Option::<u16>::deserialize(from)?.filter(|port| *port != 0))
}

pub(super) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<UnixTime>, D::Error> {
    match text(from)? {
        Some(text) => go::parse_time(&text).ok_or_else(|| D::Error::custom(TIME)),
        None => Ok(None),
    }
}

pub(super) fn write_time<S: Serializer>(time: &Option<UnixTime>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.serialize_str(&go::format_time(*time)),
        None => to.serialize_str(go::ZERO_TIME),
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    struct Nanoseconds;

    impl Visitor<'_> for Nanoseconds {
        type Value = i64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("nanoseconds, or a duration such as `5m`")
        }

        fn visit_i64<E>(self, count: i64) -> Result<i64, E> {
            Ok(count)
        }

        fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<i64, E> {
            i64::try_from(count).map_err(E::custom)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<i64, E> {
            go::parse_duration(text).ok_or_else(|| E::custom("no duration"))
        }

        fn visit_unit<E>(self) -> Result<i64, E> {
            Ok(0)
        }
    }

    let count = from.deserialize_any(Nanoseconds)?;
    // Nothing and less mean ToolHive's default, for it as well.
    Ok(u64::try_from(count).ok().filter(|count| *count > 0).map(Duration::from_nanos))
}

pub(super) fn write_duration<S: Serializer>(
    duration: &Option<Duration>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let count = duration.map_or(0, |duration| duration.as_nanos());
    i64::try_from(count).unwrap_or(i64::MAX).serialize(to)
}
