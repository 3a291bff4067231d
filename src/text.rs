//! Text that a server chose, made safe to show: one line, no control characters, bounded.

/// The longest excerpt of foreign text that reaches an error or a notice, in characters.
const MAX: usize = 200;

/// `text` as one printable line of at most 200 characters.
///
/// Control and formatting characters (line breaks, escapes, bidirectional overrides) become `�`, so
/// that a server can neither forge a log line nor repaint a terminal.
pub(crate) fn printable(text: &str) -> String {
    printable_within(MAX, text)
}

/// The same for text of the host's own, which may hold a path and what to do about it.
pub(crate) fn printable_at_length(text: &str) -> String {
    printable_within(1000, text)
}

fn printable_within(max: usize, text: &str) -> String {
    let mut shown: String =
        text.chars().take(max).map(|c| if is_hostile(c) { '\u{FFFD}' } else { c }).collect();
    if text.chars().nth(max).is_some() {
        shown.push('…');
    }
    shown
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{00AD}' | '\u{061C}' | '\u{E0000}'..='\u{E007F}' | '\u{FEFF}')
}

/// A URL without what may hold a secret: user information, query and fragment.
pub(crate) fn printable_url(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (head, cut) = url.split_at(end);
    let head = match head.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find(['/', '\\']).unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or(authority);
            format!("{scheme}://{host}{path}")
        }
        None => head.to_owned(),
    };
    let mut shown = printable(&head);
    if !cut.is_empty() {
        shown.push_str("?…");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_forge_a_line_or_repaint_a_terminal() {
        assert_eq!(printable("no\r\nlogin ok\x1b[2J\u{202e}"), "no��login ok�[2J�");
        assert_eq!(printable(&"x".repeat(300)).chars().count(), 201);
        assert_eq!(printable_at_length(&"x".repeat(2000)).chars().count(), 1001);
    }

    #[test]
    fn a_shown_url_has_no_secret_part() {
        assert_eq!(printable_url("https://u:p@a.example/x?code=1#t"), "https://a.example/x?…");
        assert_eq!(printable_url("https://a.example/@me"), "https://a.example/@me");
        assert_eq!(printable_url("https://a.example"), "https://a.example");
    }
}
