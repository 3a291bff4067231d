//! Scopes: RFC 6749 §3.3.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most scopes that a set holds, and the most entries of a list that are looked at.
const MAX_SCOPES: usize = 256;

/// The longest scope, in bytes.
const MAX_SCOPE_LEN: usize = 256;

/// Scopes in the order they were named, each once.
///
/// At most 256 scopes of at most 256 bytes; what doesn't fit, or isn't a scope token, is left out.
/// Serialised as one string, separated by spaces, which is also how it travels.
///
/// ```
/// use mcp_auth::wire::scope::ScopeSet;
///
/// let asked = ScopeSet::parse("mcp:read mcp:write mcp:read");
/// assert_eq!(asked.to_string(), "mcp:read mcp:write");
/// assert!(asked.contains("mcp:write"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeSet(Vec<Box<str>>);

impl ScopeSet {
    /// No scope at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a list separated by ASCII whitespace; entries that aren't scope tokens are dropped.
    pub fn parse(text: &str) -> Self {
        text.split_ascii_whitespace().collect()
    }

    /// Whether there is no scope, in which case no `scope` parameter is sent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|scope| &**scope)
    }

    /// Whether `scope` is in the set; scopes are case-sensitive.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|held| held == scope)
    }

    /// Whether every scope of `other` is in this set.
    pub fn contains_all(&self, other: &ScopeSet) -> bool {
        other.iter().all(|scope| self.contains(scope))
    }

    /// These scopes, then those of `other` that aren't among them.
    pub fn union(&self, other: &ScopeSet) -> ScopeSet {
        let mut both = self.clone();
        other.iter().for_each(|scope| both.insert(scope));
        both
    }

    /// Adds one scope at the end, unless it's there already, isn't a scope token, or the set is
    /// full.
    pub fn insert(&mut self, scope: &str) {
        if self.0.len() < MAX_SCOPES && is_scope_token(scope) && !self.contains(scope) {
            self.0.push(scope.into());
        }
    }
}

/// `scope-token` of RFC 6749 appendix A.4.
fn is_scope_token(text: &str) -> bool {
    (1..=MAX_SCOPE_LEN).contains(&text.len())
        && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}

impl<S: AsRef<str>> FromIterator<S> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = S>>(scopes: I) -> Self {
        let mut set = Self::new();
        // Each insertion searches the set, so the number of tries is bounded, not only of successes.
        scopes.into_iter().take(MAX_SCOPES).for_each(|scope| set.insert(scope.as_ref()));
        set
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, scope) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self::parse(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_scope_keeps_its_place_and_comes_once() {
        let set = ScopeSet::parse(" write  read\twrite\r\nadmin ");
        assert_eq!(set.iter().collect::<Vec<_>>(), ["write", "read", "admin"]);
        assert_eq!(set.to_string(), "write read admin");
    }

    #[test]
    fn what_is_no_scope_token_is_dropped() {
        assert_eq!(ScopeSet::parse("a \"b\" c\\d é x\u{7f} !#[]~").to_string(), "a !#[]~");
        let mut set = ScopeSet::new();
        set.insert("two words");
        set.insert("");
        assert!(set.is_empty());
        assert_eq!(ScopeSet::parse(&"x".repeat(257)), ScopeSet::new());
        assert!(ScopeSet::parse(&"x".repeat(256)).contains(&"x".repeat(256)));
    }

    #[test]
    fn scopes_that_are_urls_are_whole() {
        let graph = "https://graph.microsoft.com/.default";
        assert!(ScopeSet::parse(&format!("openid {graph}")).contains(graph));
    }

    #[test]
    fn scopes_are_case_sensitive() {
        assert!(!ScopeSet::parse("Read").contains("read"));
    }

    #[test]
    fn a_set_is_bounded() {
        let mut set: ScopeSet = (0..5_000).map(|n| format!("s{n}")).collect();
        assert_eq!(set.iter().count(), 256);
        set.insert("one-more");
        assert!(!set.contains("one-more"));
    }

    #[test]
    fn on_disk_it_is_one_string() {
        let set = ScopeSet::parse("b a");
        let json = serde_json::to_string(&set).unwrap();
        assert_eq!(json, r#""b a""#);
        assert_eq!(serde_json::from_str::<ScopeSet>(&json).unwrap(), set);
        assert!(serde_json::from_str::<ScopeSet>(r#"["a"]"#).is_err());
    }

    fn sets() -> impl Strategy<Value = ScopeSet> {
        proptest::collection::vec("[a-e]{1,2}", 0..12).prop_map(|v| v.into_iter().collect())
    }

    proptest! {
        #[test]
        fn union_is_a_union(a in sets(), b in sets(), c in sets()) {
            let ab = a.union(&b);
            prop_assert!(ab.contains_all(&a) && ab.contains_all(&b));
            prop_assert!(ab.iter().all(|s| a.contains(s) || b.contains(s)));
            prop_assert!(ab.iter().zip(a.iter()).all(|(x, y)| x == y), "the left side comes first");
            prop_assert_eq!(&ab.union(&b), &ab);
            prop_assert_eq!(&a.union(&ScopeSet::new()), &a);
            prop_assert_eq!(&ScopeSet::new().union(&a), &a);
            prop_assert_eq!(ab.union(&c), a.union(&b.union(&c)));
        }

        #[test]
        fn what_is_shown_parses_back(text in ".*") {
            let set = ScopeSet::parse(&text);
            prop_assert_eq!(ScopeSet::parse(&set.to_string()), set);
        }
    }
}
