//! Errors without secrets: some servers quote in theirs what they were sent.

use std::cmp::Reverse;

use url::form_urlencoded;

use crate::secret::Secret;
use crate::wire::failure::Failure;

/// What `parse` makes of an answer; of the server's own words, without the secrets that it was sent.
pub(super) fn read<T>(
    body: &[u8],
    sent: impl Iterator<Item = Secret>,
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
fn without(secrets: impl Iterator<Item = Secret>, body: &[u8]) -> Vec<u8> {
    let mut quotes: Vec<_> = secrets.flat_map(|secret| quotes(secret.expose())).collect();
    quotes.retain(|quote| !quote.expose().is_empty());
    // One may be part of another.
    quotes.sort_by_key(|quote| Reverse(quote.expose().len()));
    let hide = |text: &str| {
        quotes.iter().fold(text.to_owned(), |text, quote| text.replace(quote.expose(), "…"))
    };
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

/// How a text may quote a secret: as it is, as it was sent in a form, as others encode URLs, and as in
/// JSON.
fn quotes(secret: &str) -> Vec<Secret> {
    let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let percent = form.replace('+', "%20");
    // RFC 3986 §2.3 leaves the tilde, JavaScript's `encodeURIComponent` some more.
    let [tilde, uri] = [&form, &percent].map(|text| text.replace("%7E", "~"));
    let component = [("%21", "!"), ("%27", "'"), ("%28", "("), ("%29", ")")];
    let component = component.iter().fold(uri.clone(), |text, (code, c)| text.replace(code, c));
    let encoded = [form, percent, tilde, uri, component];
    let small = encoded.each_ref().map(|text| in_small_hex(text));
    let json = serde_json::Value::from(secret).to_string();
    let json = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    let json = [json.to_owned(), json.replace('/', "\\/")];
    let all = encoded.into_iter().chain(small).chain(json);
    std::iter::once(secret.to_owned()).chain(all).map(Secret::new).collect()
}

fn in_small_hex(encoded: &str) -> String {
    let small = |(at, part): (usize, &str)| match part.split_at_checked(2) {
        Some((hex, rest)) if at > 0 => format!("%{}{rest}", hex.to_ascii_lowercase()),
        _ => part.to_owned(),
    };
    encoded.split('%').enumerate().map(small).collect()
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
