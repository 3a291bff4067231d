//! Records of older versions, made into ones of today. Each step leads from one version to the next.

use serde_json::{Map, Value, json};
use zeroize::Zeroize as _;

use crate::secret::Secret;
use crate::session::record::VERSION;

type Object = Map<String, Value>;

/// The oldest version that is read.
pub(super) const OLDEST: u64 = 1;

/// The steps, from the oldest version on.
const STEPS: [fn(&mut Object); (VERSION - OLDEST) as usize] = [to_2];

/// A record of this version, as JSON of today's.
pub(super) fn migrated(bytes: &[u8], version: u64) -> Result<Secret<Vec<u8>>, serde_json::Error> {
    let mut record: Object = serde_json::from_slice(bytes)?;
    let done = usize::try_from(version - OLDEST).unwrap_or(STEPS.len());
    STEPS.iter().skip(done).for_each(|step| step(&mut record));
    record.insert("version".to_owned(), json!(VERSION));
    let bytes = serde_json::to_vec(&record).map(Secret::new);
    record.values_mut().for_each(wipe);
    bytes
}

/// Version 1 was extended while nobody but its makers used it: what the first programs left out is
/// filled in, as far as they knew it.
fn to_2(record: &mut Object) {
    let source = record.get("tokens").map(|tokens| bought_as(tokens, record.get("registrations")));
    let registrations = record.get_mut("registrations").and_then(Value::as_object_mut);
    for (issuer, client) in registrations.into_iter().flatten() {
        fill(client, "issuer", || json!(issuer));
    }
    if let Some(tokens) = record.get_mut("tokens") {
        let obtained_at = tokens["obtained_at"].clone();
        fill(tokens, "client_source", || json!(source));
        fill(tokens, "logged_in_at", || obtained_at);
    }
    if let Some(found) = record.get_mut("discovery") {
        let issuer = found["server"]["issuer"].clone();
        let named = found["provenance"] != "configured";
        fill(found, "issuer", || issuer);
        fill(found, "knows_issuer", || json!(named));
    }
}

/// The kind of client that bought the tokens: one that is registered with their issuer, one that is
/// named by a document's URL, or else one of the settings.
fn bought_as(tokens: &Value, registrations: Option<&Value>) -> &'static str {
    let issuer = tokens["issuer"].as_str().unwrap_or_default();
    let client = registrations.and_then(|clients| clients.get(issuer));
    let client_id = &tokens["client_id"];
    match client.and_then(|client| client.get("client_id")) {
        Some(registered) if registered == client_id => "registered",
        _ if client_id.as_str().is_some_and(|id| id.starts_with("https://")) => "metadata_document",
        _ => "configured",
    }
}

fn fill(value: &mut Value, name: &str, with: impl FnOnce() -> Value) {
    if let Some(object) = value.as_object_mut() {
        object.entry(name).or_insert_with(with);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(values) => values.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::Record;

    const SERVER: &str = "https://mcp.example.com/mcp";

    fn version_1() -> Value {
        serde_json::from_str(include_str!("version_1.json")).unwrap()
    }

    #[test]
    fn the_kind_of_client_that_bought_the_tokens_is_told_by_what_else_is_there() {
        for (client_id, kind) in [
            (None, "registered"),
            (Some("https://client.example.com/mcp.json"), "metadata_document"),
            (Some("by-hand"), "configured"),
        ] {
            let mut old = version_1();
            if let Some(client_id) = client_id {
                old["tokens"]["client_id"] = json!(client_id);
            }
            let record = Record::parse(old.to_string().as_bytes(), SERVER).unwrap();
            let new: Value = serde_json::from_slice(record.to_bytes().expose()).unwrap();
            assert_eq!(new["tokens"]["client_source"], kind);
        }
    }

    #[test]
    fn whatever_a_record_of_an_older_version_lacks_or_is_nothing_panics() {
        for broken in [
            json!([1]),
            json!({ "version": 1 }),
            json!({ "version": 1, "tokens": 7, "registrations": [], "discovery": "" }),
            json!({ "version": 1, "tokens": {}, "registrations": { "a": 1 }, "discovery": {} }),
        ] {
            assert!(Record::parse(broken.to_string().as_bytes(), SERVER).is_err(), "{broken}");
        }
        for name in ["tokens", "registrations", "discovery", "server"] {
            for value in [Value::Null, json!(1), json!("a"), json!([]), json!({})] {
                let mut old = version_1();
                old[name] = value;
                let _ = Record::parse(old.to_string().as_bytes(), SERVER);
            }
        }
    }
}
