//! How the story is told: steps, what happens in them, and claims that are checked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use mcp_auth::{ClientSource, Ending, Notice};
use serde_json::{Value, json};

use crate::report;

/// Tells as it goes, and remembers which claims were true.
pub struct Story {
    quiet: bool,
    steps: AtomicUsize,
    claims: Mutex<Vec<(String, bool)>>,
}

impl Story {
    pub fn new(quiet: bool) -> Self {
        Self { quiet, steps: AtomicUsize::new(0), claims: Mutex::default() }
    }

    /// Text between the steps.
    pub fn tell(&self, text: &str) {
        if !self.quiet {
            // The claims decide how the demo ends, not who listens.
            let _ = report::print(format_args!("{text}\n"));
        }
    }

    pub fn step(&self, title: &str, explanation: &str) {
        let number = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
        self.tell(&format!("\n{number}. {title}"));
        for line in explanation.lines() {
            self.tell(&format!("   {}", line.trim()));
        }
    }

    /// What the story says has just happened: was it so?
    pub fn claim(&self, is_so: bool, what: &str) {
        self.tell(&format!("   {} {what}", if is_so { "✓" } else { "✗ NOT TRUE:" }));
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.push((what.to_owned(), is_so));
    }

    /// The transitions that mean something to everybody, in plain words.
    pub fn notice(&self, notice: &Notice) {
        let text = match notice {
            Notice::Asking { purpose, method, url } => format!("  → {method} {url} ({purpose})"),
            Notice::Required => "  ← \"401\": the server wants authorization, and says where to \
                                 read about it"
                .into(),
            Notice::ResourceFound { .. } => "  ← its metadata, a small document, names the \
                                             authorization server, which hands out access"
                .into(),
            Notice::ServerFound { .. } => "  ← the authorization server's own metadata lists its \
                                           addresses and what it can do"
                .into(),
            Notice::Client { source: ClientSource::Registered, .. } => {
                "  ← we are registered: the server now knows this program by a name of its own \
                 (a client ID)"
                    .into()
            }
            Notice::Client { .. } => "  · we are known there already".into(),
            Notice::Browsing => "  · the browser opens: the person signs in there, and never \
                                 gives this program a password"
                .into(),
            Notice::Authorized => "  ← the browser comes back to this program with a code, good \
                                   once and for a minute"
                .into(),
            Notice::Renewed { expires_in: Some(seconds), .. } => format!(
                "  ← an access token, a key that the MCP server accepts for {} min, and a \
                 refresh token to get the next one with; both are stored",
                seconds / 60
            ),
            Notice::Ended { what, ending: Ending::Ended } => {
                format!("  ← the {what} has ended")
            }
            _ => return,
        };
        self.tell(&format!("   {text}"));
    }

    /// Whether every claim was true.
    pub fn is_true(&self) -> bool {
        self.claims().iter().all(|(_, is_so)| *is_so)
    }

    pub fn data(&self) -> Value {
        let claims = self.claims();
        let claims: Vec<_> =
            claims.iter().map(|(what, is_so)| json!({ "claim": what, "true": is_so })).collect();
        json!({ "status": if self.is_true() { "done" } else { "failed" }, "claims": claims })
    }

    fn claims(&self) -> Vec<(String, bool)> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
