//! The person in front of the browser, and what the browser comes back with.

/// What the person does with the page that asks for consent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Person {
    /// Agrees to all that is asked.
    #[default]
    Approves,
    /// Says no: the program gets `access_denied`.
    Denies,
    /// Closes the tab, or leaves it open for ever.
    Ignores,
    /// Agrees, but only to those of the asked scopes that are listed here.
    ApprovesOnly(Vec<String>),
}

/// How a visit to the authorization endpoint ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visit {
    /// The browser was sent to this URL: the program's redirect URI and an authorization response.
    Redirect(String),
    /// The browser stayed on a page with this text, and the program learns nothing.
    Page(String),
    /// Nothing came back.
    Nothing,
}
