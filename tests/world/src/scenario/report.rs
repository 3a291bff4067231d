//! What a story asks afterwards: who was asked what, what was told, and whether a secret was shown.

use mcp_auth::Notice;
use url::form_urlencoded;

use super::Scenario;
use super::program::place;
use crate::laws::SecretKind;
use crate::log::{By, Exchange};

impl Scenario {
    /// The requests since the log was last taken, one a line: `POST mcp.example.com/mcp 401`. The
    /// browser's begin with `browser`; one without an answer ends with the reason.
    pub fn take_log(&mut self) -> Vec<String> {
        let since = std::mem::replace(&mut self.logged, self.world.log.len());
        self.world.log.iter().skip(since).map(line).collect()
    }

    /// How often a browser was opened.
    pub fn browser_opened(&self) -> usize {
        self.browsed.len()
    }

    /// A parameter of the last authorization request.
    pub fn authorize_param(&self, name: &str) -> Option<String> {
        let url = self.browsed.last()?;
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// A field of the last request with a form.
    pub fn form_field(&self, name: &str) -> Option<String> {
        let mut forms = self.world.log.iter().rev().filter(|exchange| {
            let form = exchange.request.headers().get("content-type");
            form.is_some_and(|form| form.as_bytes().starts_with(b"application/x-www-form"))
        });
        let form = form_urlencoded::parse(forms.next()?.request.body());
        form.into_owned().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Whether any request to this origin held this text, as it was sent or decoded.
    pub fn was_sent(&self, origin: &str, text: &str) -> bool {
        let mut there = self.world.log.iter().filter(|exchange| exchange.origin == origin);
        there.any(|exchange| exchange.read_aloud().contains(text))
    }

    /// How many notices are of this kind.
    pub fn told(&self, kind: impl Fn(&Notice) -> bool) -> usize {
        self.notices.iter().filter(|notice| kind(notice)).count()
    }

    /// All notices, one a line.
    pub fn notices(&self) -> Vec<String> {
        self.notices.iter().map(ToString::to_string).collect()
    }

    /// From now on, remembers every `Debug` and `Display` that a log could hold.
    pub fn eavesdrop(&mut self) {
        self.overheard.get_or_insert_default();
    }

    /// What was printed since.
    pub fn overheard(&self) -> &str {
        self.overheard.as_deref().unwrap_or_default()
    }

    /// The laws that every story keeps: no secret was shown to a server that it is not for, and,
    /// since [`eavesdrop`](Self::eavesdrop), none was printed.
    ///
    /// # Panics
    ///
    /// If one was.
    #[track_caller]
    pub fn check_secrets(&self) {
        let leaks = self.world.leaks();
        assert!(leaks.is_empty(), "{leaks:?}");
        for secret in self.secrets() {
            assert!(!self.overheard().contains(&secret), "{secret} was printed");
        }
    }

    /// What must not be printed: all that the servers issued, and all that the program made up.
    fn secrets(&self) -> Vec<String> {
        let issued = self.world.authorization.iter().flat_map(|server| server.secrets());
        let issued = issued.filter(|(kind, _)| *kind != SecretKind::ClientId);
        let mut secrets: Vec<String> = issued.map(|(_, secret)| secret.to_owned()).collect();
        let own = ["state", "code_verifier", "client_secret", "assertion"];
        for exchange in &self.world.log {
            let query = exchange.request.uri().query().unwrap_or_default();
            for text in [query.as_bytes(), exchange.request.body()] {
                let pairs = form_urlencoded::parse(text).into_owned();
                secrets.extend(pairs.filter(|(k, _)| own.contains(&k.as_str())).map(|(_, v)| v));
            }
        }
        secrets.extend(self.config.client_secret.iter().map(|secret| secret.expose().clone()));
        secrets.extend(self.config.headers.values().map(|secret| secret.expose().clone()));
        secrets.extend(self.secrets.values().map(|secret| secret.trim().to_owned()));
        secrets.extend(self.config.bearer_token.iter().map(|secret| secret.expose().clone()));
        secrets
    }

    pub(super) fn overhear(&mut self, text: impl FnOnce() -> String) {
        if let Some(overheard) = &mut self.overheard {
            overheard.push_str(&text());
            overheard.push('\n');
        }
    }
}

fn line(exchange: &Exchange) -> String {
    let request = &exchange.request;
    let sender = match exchange.by {
        By::Program => request.method().as_str(),
        By::Browser => "browser",
    };
    let place = place(request.uri());
    match exchange.answer {
        Ok(status) => format!("{sender} {place} {status}"),
        Err(error) => format!("{sender} {place}: {error}"),
    }
}

/// Fails unless an [`Answer`](crate::scenario::Answer) is a failure of this kind.
#[macro_export]
macro_rules! assert_fails {
    ($answer:expr, $kind:pat $(if $guard:expr)?) => {
        match $answer.kind() {
            $kind $(if $guard)? => {}
            other => panic!("expected {}, got {other:?}", stringify!($kind)),
        }
    };
}
