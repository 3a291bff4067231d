//! One entry of the corpus, as its check reads it.

use std::cell::RefCell;

use mcp_auth_world::Canned;
use serde_json::{Map, Value};

/// An entry of either file.
pub struct Entry {
    pub area: String,
    pub id: String,
    value: Value,
    /// Where the bytes are: what paths start from.
    root: &'static str,
    said: RefCell<Vec<String>>,
}

/// Paths are JSON pointers (RFC 6901) into a quirk's `wire`, e.g. `/json/resource`, or into a vendor.
/// All that read one panic where there is nothing, or something else.
impl Entry {
    /// A quirk: paths lead into its `wire`.
    pub fn quirk(value: Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Self::new(text("area"), text("id"), value, "/wire")
    }

    /// A vendor: its members are all that there is.
    pub fn vendor(value: Value) -> Self {
        let id = value["vendor"].as_str().unwrap_or_default().to_owned();
        Self::new("vendors".to_owned(), id, value, "")
    }

    fn new(area: String, id: String, value: Value, root: &'static str) -> Self {
        Self { area, id, value, root, said: RefCell::default() }
    }

    /// What is at the path; `None` where that is nothing or `null`.
    pub fn find(&self, path: &str) -> Option<&Value> {
        let found = self.value.pointer(&format!("{}{path}", self.root));
        found.filter(|value| !value.is_null())
    }

    /// What is at the path.
    #[track_caller]
    pub fn get(&self, path: &str) -> &Value {
        self.find(path).unwrap_or_else(|| panic!("the entry has no {path}"))
    }

    /// The string there.
    #[track_caller]
    pub fn text(&self, path: &str) -> &str {
        let value = self.get(path);
        value.as_str().unwrap_or_else(|| panic!("{path} is no string: {value}"))
    }

    /// The string there, with its placeholders `<name>` made good as `name`.
    #[track_caller]
    pub fn filled(&self, path: &str) -> String {
        self.text(path).replace(['<', '>'], "")
    }

    /// The strings of the array there.
    #[track_caller]
    pub fn texts(&self, path: &str) -> Vec<String> {
        let value = self.get(path);
        let texts = value.as_array().unwrap_or_else(|| panic!("{path} is no array: {value}"));
        texts.iter().map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The number there.
    #[track_caller]
    pub fn number(&self, path: &str) -> f64 {
        let value = self.get(path);
        value.as_f64().unwrap_or_else(|| panic!("{path} is no number: {value}"))
    }

    /// The members of the object there. `"<absent>"` stands for a member that isn't sent: `null`, as
    /// [`metadata_changes`](mcp_auth_world::AuthorizationServer::metadata_changes) has it.
    #[track_caller]
    pub fn members(&self, path: &str) -> Map<String, Value> {
        let value = self.get(path);
        let members = value.as_object().unwrap_or_else(|| panic!("{path} is no object: {value}"));
        let absent = |value: &Value| value == "<absent>";
        let sent = |value: &Value| if absent(value) { Value::Null } else { value.clone() };
        members.iter().map(|(name, value)| (name.clone(), sent(value))).collect()
    }

    /// The HTTP status that was sent.
    #[track_caller]
    pub fn status(&self) -> u16 {
        self.number("/status") as u16
    }

    /// The header fields that were sent, one for each line; a field that is `null` was not.
    pub fn headers(&self) -> Vec<(String, String)> {
        let Some(Value::Object(fields)) = self.find("/headers") else { return Vec::new() };
        let lines = |value: &Value| match value {
            Value::String(line) => vec![line.clone()],
            Value::Array(lines) => {
                lines.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let each = |(name, value): (&String, &Value)| {
            lines(value).into_iter().map(|line| (name.clone(), line)).collect::<Vec<_>>()
        };
        fields.iter().flat_map(each).collect()
    }

    /// The values of one header field.
    pub fn header(&self, name: &str) -> Vec<String> {
        self.headers().into_iter().filter(|(n, _)| n == name).map(|(_, value)| value).collect()
    }

    /// The body that was sent: text as it is, anything else as JSON; empty where there is none.
    pub fn body(&self) -> String {
        match self.find("/body") {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(json) => json.to_string(),
        }
    }

    /// Status (200 where none is given), header fields and body as the server sent them.
    pub fn canned(&self) -> Canned {
        let status = if self.find("/status").is_some() { self.status() } else { 200 };
        let canned = Canned::new(status, self.body());
        // The length is the transport's.
        let own = self.headers().into_iter().filter(|(name, _)| name != "content-length");
        own.fold(canned, |canned, (name, value)| canned.header(&name, &value))
    }

    /// What the entry tells for people, where its `wire` is only a remark.
    #[track_caller]
    pub fn symptom(&self) -> &str {
        let symptom = self.value["symptom"].as_str();
        symptom.unwrap_or_else(|| panic!("the entry has no symptom"))
    }

    /// A line that the run prints beneath the check.
    pub fn say(&self, line: impl Into<String>) {
        self.said.borrow_mut().push(line.into());
    }

    pub fn said(&self) -> Vec<String> {
        self.said.borrow().clone()
    }

    /// The same entry with other bytes in all places.
    pub fn spoiled(&self) -> Self {
        let mut value = self.value.clone();
        spoil(&mut value);
        Self::new(self.area.clone(), self.id.clone(), value, self.root)
    }
}

fn spoil(value: &mut Value) {
    match value {
        Value::Null => {}
        Value::Bool(flag) => *flag = !*flag,
        Value::Number(_) => *value = Value::from(0),
        Value::String(text) => *text = "spoiled".to_owned(),
        Value::Array(entries) => entries.iter_mut().for_each(spoil),
        Value::Object(members) => members.values_mut().for_each(spoil),
    }
}
