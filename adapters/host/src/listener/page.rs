//! The pages that the user sees at the end of a login: self-contained, without scripts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mcp_auth::output;
use sha2::{Digest, Sha256};

/// The longest text of ours or of a server's that is shown, in characters.
const MAX_TEXT: usize = 2000;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2024;--paper:#fff;--edge:#12805c}\
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);\
color:var(--ink);font:1.125rem/1.6 system-ui,sans-serif}\
main{max-width:34rem;margin:2rem;padding-left:1.5rem;border-left:.375rem solid var(--edge)}\
main.failure{--edge:#c62a2f}\
h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25}\
p{margin:.5rem 0;white-space:pre-line;overflow-wrap:anywhere}\
@media (prefers-color-scheme:dark){:root{--ink:#edeef0;--paper:#111113;--edge:#3dd68c}\
main.failure{--edge:#ff9592}}";

/// What the user's browser shows after a redirect. All texts are plain; they are escaped here.
///
/// ```
/// use mcp_auth::output;
/// use mcp_auth_host::listener::Page;
///
/// // What a web app that serves the redirect URI itself answers with.
/// let page = Page::of(output::Page::Failure("<b>you</b> said no".into()), Some("Notes"));
/// let response = http::Response::builder()
///     .status(page.status())
///     .header("content-type", "text/html; charset=utf-8")
///     .body(page.html())?;
/// assert_eq!(response.status(), 400);
/// assert!(response.body().contains("&lt;b&gt;you&lt;/b&gt; said no"));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// The authorization came back, and the person's part is done. Whether the login works is
    /// known only when the program has exchanged it for tokens.
    Success {
        /// The program that finishes the login, by the name that its user knows.
        program: Option<String>,
    },
    /// The login failed, or the redirect couldn't be used.
    Failure {
        /// What happened, in a few words.
        title: String,
        /// Why, and what to do. Lines are kept.
        explanation: String,
    },
    /// Not a redirect that anybody here waits for.
    NotForUs,
    /// The right address, and no answer in it: it may stand behind a `#`.
    Bare,
    /// The answer to a login that was given up on.
    Expired,
}

impl Page {
    /// The core's page in words for a person, who knows the program by that name.
    pub fn of(page: output::Page, program: Option<&str>) -> Self {
        match page {
            output::Page::Success => Self::Success { program: program.map(str::to_owned) },
            output::Page::Failure(explanation) => {
                Self::Failure { title: "The sign-in failed".into(), explanation }
            }
            output::Page::Unusable(why) => Self::Failure {
                title: "This answer can't be used".into(),
                explanation: format!("It was ignored: {why}. The sign-in goes on."),
            },
            output::Page::Bare => Self::Bare,
            output::Page::Expired => Self::Expired,
            // And what a newer core has besides.
            _ => Self::NotForUs,
        }
    }

    /// The HTTP status: 200, 400, 404 and 410.
    pub fn status(&self) -> u16 {
        match self {
            Self::Success { .. } | Self::Bare => 200,
            Self::Failure { .. } => 400,
            Self::NotForUs => 404,
            Self::Expired => 410,
        }
    }

    /// The page as an HTML document.
    pub fn html(&self) -> String {
        let (class, title, text) = match self {
            Self::Success { program } => {
                let program = program.as_deref().unwrap_or("The program");
                (
                    "success",
                    "Authorization received",
                    format!("{program} finishes the login. You can close this tab."),
                )
            }
            Self::Failure { title, explanation } => {
                ("failure", title.as_str(), explanation.clone())
            }
            Self::NotForUs => (
                "failure",
                "Nothing to see here",
                "This address only waits for the end of a sign-in. You can close this tab."
                    .to_owned(),
            ),
            Self::Bare => (
                "failure",
                "The answer didn't come through",
                "The program still waits for it. If the address of this page has a # in it, the \
                 answer stands behind that, where only you can see it: copy the whole address, and \
                 paste the URL into the program (mcp-auth login --paste takes it)."
                    .to_owned(),
            ),
            Self::Expired => (
                "failure",
                "This sign-in has expired",
                "The program doesn't wait for it any more. Run the login again.".to_owned(),
            ),
        };
        let (title, text) = (escape(title), escape(&text));
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <main class=\"{class}\">\n<h1>{title}</h1>\n<p>{text}</p>\n</main>\n</body>\n</html>\n"
        )
    }
}

/// Makes text safe for element content and attributes. Control and direction characters, which
/// could reorder what the user reads, go.
fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars().take(MAX_TEXT) {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' => html.push(c),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => {}
            c => html.push(c),
        }
    }
    html
}

/// A whole HTTP response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    status: u16,
    page: Option<Page>,
    fields: &'static str,
}

impl Response {
    pub(super) fn page(page: Page) -> Self {
        Self { status: page.status(), page: Some(page), fields: "" }
    }

    pub(super) fn not_for_us() -> Self {
        Self::page(Page::NotForUs)
    }

    pub(super) fn malformed() -> Self {
        Self { status: 400, ..Self::not_for_us() }
    }

    pub(super) fn misdirected() -> Self {
        Self { status: 421, ..Self::not_for_us() }
    }

    pub(super) fn too_long() -> Self {
        Self {
            status: 431,
            ..Self::page(Page::Failure {
                title: "The answer is too long".to_owned(),
                explanation: "The sign-in's answer is longer than this program accepts.".to_owned(),
            })
        }
    }

    /// What link scanners and previews get: nothing happens.
    pub(super) fn looked_at() -> Self {
        Self { status: 200, page: None, fields: "" }
    }

    pub(super) fn wrong_method() -> Self {
        Self {
            status: 405,
            fields: "Allow: GET\r\n",
            ..Self::page(Page::Failure {
                title: "This kind of answer is not understood".to_owned(),
                explanation: "The sign-in must end with a redirect (a GET request). \
                              The server may be set to another response mode, such as form_post."
                    .to_owned(),
            })
        }
    }

    /// Allows a page to send the user here; it tells nobody anything.
    pub(super) fn preflight() -> Self {
        Self {
            status: 204,
            page: None,
            fields: "Access-Control-Allow-Origin: *\r\n\
                     Access-Control-Allow-Methods: GET\r\n\
                     Access-Control-Allow-Private-Network: true\r\n",
        }
    }

    pub(super) fn without_body(self) -> Self {
        Self { page: None, ..self }
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        let Self { status, page, fields } = self;
        let reason = match status {
            200 => "OK",
            204 => "No Content",
            404 => "Not Found",
            405 => "Method Not Allowed",
            410 => "Gone",
            421 => "Misdirected Request",
            431 => "Request Header Fields Too Large",
            _ => "Bad Request",
        };
        let body = page.map(|page| page.html()).unwrap_or_default();
        // No page, no length: a 204 may not have one (RFC 9110 §8.6).
        let content = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n", body.len())
        };
        // The hash lets our own style in, and nothing else.
        let style = STANDARD.encode(Sha256::digest(STYLE));
        format!(
            "HTTP/1.1 {status} {reason}\r\n{content}{fields}\
             Content-Security-Policy: default-src 'none'; style-src 'sha256-{style}'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
             X-Content-Type-Options: nosniff\r\n\
             X-Frame-Options: DENY\r\n\
             Referrer-Policy: no-referrer\r\n\
             Cache-Control: no-store\r\n\
             Connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_text_cannot_become_markup() {
        let page = Page::Failure {
            title: "</title><script>1</script>".into(),
            explanation: "<script>alert('x')</script> & \"q\"\u{202e}\0\nnext".into(),
        };
        let html = page.html();
        assert!(!html.contains("<script") && html.matches("</title>").count() == 1, "{html}");
        assert!(
            html.contains(
                "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;q&quot;\nnext"
            )
        );
    }

    #[test]
    fn a_programs_name_is_escaped_too() {
        let html = Page::Success { program: Some("<b>".into()) }.html();
        assert!(html.contains("<p>&lt;b&gt; finishes"));
    }

    #[test]
    fn a_page_that_comes_before_the_tokens_does_not_say_that_the_login_worked() {
        for program in [None, Some("Notes".to_owned())] {
            let html = Page::Success { program }.html();
            assert!(html.contains("You can close this tab"), "{html}");
            for claim in ["signed in", "logged in", "complete"] {
                assert!(!html.contains(claim), "{claim}: {html}");
            }
        }
    }

    #[test]
    fn a_long_explanation_is_cut() {
        let page = Page::Failure { title: "t".into(), explanation: "&".repeat(1 << 20) };
        assert!(page.html().len() < 20_000);
    }

    #[test]
    fn pages_load_nothing_from_anywhere() {
        for page in [Page::Success { program: None }, Page::NotForUs, Page::Bare, Page::Expired] {
            let html = page.html();
            for word in ["<script", "src=", "href=", "url(", "@import", "style="] {
                assert!(!html.contains(word), "{word}");
            }
        }
    }
}
