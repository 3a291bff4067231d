//! The members of one object that a server sent, read leniently.

use std::mem;

use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::Secret;
use crate::wire::Malformed;
use crate::wire::scope::ScopeSet;

/// The most entries of a list that are kept; a scope list has its own bound.
const MAX_ENTRIES: usize = 64;
/// The longest entry of a list, and the longest identifier, in bytes: they end up in the record.
const MAX_TEXT: usize = 2048;

/// The members of a JSON object (RFC 8259) or a form. Members are taken out, so that a secret is
/// moved and never copied.
///
/// Absent, `null` and `""` mean the same: servers use them so. Of duplicates the last one counts. An
/// optional member of a wrong type is ignored, because nobody can use it and the rest is good.
pub(in crate::wire) struct Fields {
    document: &'static str,
    members: Map<String, Value>,
}

impl Fields {
    /// Reads a JSON object; a byte order mark before it is skipped.
    pub(in crate::wire) fn json(document: &'static str, body: &[u8]) -> Result<Self, Malformed> {
        let body = content(body);
        let expected = "a JSON object";
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self { document, members }),
            Ok(other) => Err(Malformed::new(document, expected, kind(Some(&other)))),
            Err(_) if body.is_empty() => Err(Malformed::new(document, expected, "nothing")),
            Err(_) if body.starts_with(b"<") => Err(Malformed::new(document, expected, "a page")),
            // The parser's own message could quote the text; its position can't.
            Err(e) => {
                let got = format!("an error in line {}, column {}", e.line(), e.column());
                Err(Malformed::new(document, expected, got))
            }
        }
    }

    /// Reads a JSON object, or else a form: the older replies are forms, whatever type they claim.
    pub(in crate::wire) fn json_or_form(
        document: &'static str,
        body: &[u8],
    ) -> Result<Self, Malformed> {
        let text = content(body);
        if text.is_empty() || text.starts_with(b"{") || text.starts_with(b"[") {
            return Self::json(document, body);
        }
        let members = form_urlencoded::parse(text)
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect();
        Ok(Self { document, members })
    }

    /// A string that says something.
    pub(in crate::wire) fn text(&mut self, name: &str) -> Option<String> {
        match self.members.get_mut(name)? {
            Value::String(text) if !text.is_empty() => Some(mem::take(text)),
            _ => None,
        }
    }

    /// A string that has to be there; the error names the member and never shows a value.
    pub(in crate::wire) fn required_text(&mut self, name: &str) -> Result<String, Malformed> {
        match self.members.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            other => {
                let expected = format!("`{name}`, a string");
                Err(Malformed::new(self.document, expected, kind(other.as_ref())))
            }
        }
    }

    /// A name that has to be there, short enough to be remembered.
    pub(in crate::wire) fn identifier(&mut self, name: &str) -> Result<String, Malformed> {
        let text = self.required_text(name)?;
        if text.len() <= MAX_TEXT {
            return Ok(text);
        }
        let expected = format!("`{name}`, at most {MAX_TEXT} bytes");
        Err(Malformed::new(self.document, expected, format!("{} bytes", text.len())))
    }

    /// A string that has to be one if it's there at all.
    pub(in crate::wire) fn text_or_nothing(
        &mut self,
        name: &str,
    ) -> Result<Option<String>, Malformed> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(_) => self.required_text(name).map(Some),
        }
    }

    /// A string that mustn't be seen.
    pub(in crate::wire) fn secret(&mut self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    /// The strings of an array, at most 64; a lone string is an array of one.
    pub(in crate::wire) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        match self.members.remove(name)? {
            Value::Array(entries) => {
                Some(entries.into_iter().filter_map(into_text).take(MAX_ENTRIES).collect())
            }
            lone => into_text(lone).map(|text| vec![text]),
        }
    }

    /// Scopes as metadata has them, in an array, or as messages have them, in one string. A list
    /// with commas and no space is one that the server separates by commas.
    pub(in crate::wire) fn scopes(&mut self, name: &str) -> Option<ScopeSet> {
        match self.members.remove(name)? {
            Value::Array(entries) => Some(entries.into_iter().filter_map(into_text).collect()),
            Value::String(text) if text.contains(',') && !text.trim().contains(' ') => {
                Some(text.split(',').map(str::trim).collect())
            }
            Value::String(text) if !text.is_empty() => Some(ScopeSet::parse(&text)),
            _ => None,
        }
    }

    /// Whether a switch is on.
    pub(in crate::wire) fn flag(&mut self, name: &str) -> bool {
        self.members.remove(name) == Some(Value::Bool(true))
    }

    /// A number, or a string that is one.
    pub(in crate::wire) fn number(&mut self, name: &str) -> Option<f64> {
        let number = match self.members.remove(name)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|n| n.is_finite())
    }

    /// The object inside.
    pub(in crate::wire) fn object(&mut self, name: &str) -> Option<Fields> {
        match self.members.get_mut(name)? {
            Value::Object(members) => {
                Some(Self { document: self.document, members: mem::take(members) })
            }
            _ => None,
        }
    }

    /// All members that were not taken out yet.
    pub(in crate::wire) fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// Whether a member says something.
    pub(in crate::wire) fn has(&self, name: &str) -> bool {
        match self.members.get(name) {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
        }
    }
}

/// A body without byte order mark and the whitespace around it.
pub(super) fn content(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii()
}

fn into_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() && text.len() <= MAX_TEXT => Some(text),
        _ => None,
    }
}

/// What a value is, without the value.
fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None | Some(Value::Null) => "nothing",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(text)) if text.is_empty() => "an empty string",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
    }
}
