//! Errors without secrets: some servers quote in theirs what they were sent.

use url::form_urlencoded;

use crate::secret::Secret;
use crate::wire::failure::Failure;

/// What `parse` makes of an answer; of the server's own words, without the secrets that it was sent.
pub(super) fn read<'a, T>(
    body: &[u8],
    sent: impl Iterator<Item = &'a Secret>,
    parse: impl Fn(&[u8]) -> Result<T, Failure>,
) -> Result<T, Failure> {
    match parse(body) {
        Err(failure) if failure.has_words() => {
            Err(parse(&without(sent, body)).err().unwrap_or(failure))
        }
        read => read,
    }
}

/// A body without the secrets that its sender was sent.
fn without<'a>(secrets: impl Iterator<Item = &'a Secret>, body: &[u8]) -> Vec<u8> {
    let secrets = secrets.map(|secret| secret.expose().as_str());
    let secrets: Vec<_> = secrets.filter(|secret| !secret.is_empty()).collect();
    let hide =
        |text: &str| secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "…"));
    // In the decoded texts: there are many ways to write the same characters.
    if let Ok(mut json) = serde_json::from_slice(body) {
        hide_in(&mut json, &hide);
        return json.to_string().into_bytes();
    }
    let mut form = form_urlencoded::Serializer::new(String::new());
    form_urlencoded::parse(body).for_each(|(name, value)| {
        form.append_pair(&hide(&name), &hide(&value));
    });
    form.finish().into_bytes()
}

fn hide_in(json: &mut serde_json::Value, hide: &dyn Fn(&str) -> String) {
    use serde_json::Value;
    match json {
        Value::String(text) => *text = hide(text),
        Value::Array(entries) => entries.iter_mut().for_each(|entry| hide_in(entry, hide)),
        Value::Object(members) => members.values_mut().for_each(|member| hide_in(member, hide)),
        _ => {}
    }
}
