//! `mcp-auth status [URL]`: what is stored; no server is asked.

use std::fmt::Write;

use mcp_auth::{ClientSource, ClockSkew, Config, SessionState, TokenStatus, UnixTime};
use mcp_auth_host::store::StoreError;
use mcp_auth_host::system::clock;
use mcp_auth_ureq::Session;
use serde_json::{Value, json};

use super::Call;
use super::store::Place;
use crate::args::{ServerUrl, StatusArgs};
use crate::failure::{Exit, Failure};
use crate::report::{clock_skew, tame, when};
use crate::settings::Chosen;

/// What is stored for one server and account.
pub struct Stored {
    tokens: Option<TokenStatus>,
    state: SessionState,
    clock_skew: Option<ClockSkew>,
    /// Where a login was begun.
    issuer: Option<String>,
}

pub fn run(args: &StatusArgs, call: Call) -> Result<Exit, Failure> {
    match &args.url {
        Some(url) => one(url, args, call),
        None => all(args, call),
    }
}

/// Also answers, by its exit code, whether a program can go on without a person.
fn one(url: &ServerUrl, args: &StatusArgs, call: Call) -> Result<Exit, Failure> {
    let entry = args.store.open()?.entry(&url.0, args.store.account());
    let stored = Stored::load(&entry, call)?;
    if stored.status() == "logged_out" {
        let (server, account) = (entry.server().to_owned(), entry.account().to_owned());
        return Err(Failure::NoLogin { server, account });
    }
    call.report.result(stored.text(&entry), stored.data(&url.0, entry.account()))?;
    Ok(if stored.status() == "usable" { Exit::Done } else { Exit::LoginRequired })
}

/// One that can't be read is told in its place; the others are shown all the same.
fn all(args: &StatusArgs, call: Call) -> Result<Exit, Failure> {
    let store = args.store.open()?;
    let (mut texts, mut logins, mut exit) = (String::new(), Vec::new(), Exit::Done);
    let wanted = |entry: &Result<Place, StoreError>| match (entry, &args.store.account) {
        (Ok(entry), Some(account)) => entry.account() == account,
        _ => true,
    };
    for entry in store.list()?.into_iter().filter(wanted) {
        let shown = entry.map_err(Failure::from).and_then(|entry| {
            let stored = Stored::load(&entry, call)?;
            Ok((stored.text(&entry), stored.data(entry.server(), entry.account())))
        });
        match shown {
            Ok((text, data)) => {
                texts.push_str(&text);
                logins.push(data);
            }
            Err(failure) => {
                call.report.say(format_args!("warning: {failure}"));
                exit = Exit::Failed;
            }
        }
    }
    if texts.is_empty() {
        texts = format!("No logins in {}.\n", store.dir().display());
    }
    call.report.result(texts, json!({ "logins": logins }))?;
    Ok(exit)
}

impl Stored {
    fn load(entry: &Place, call: Call) -> Result<Self, Failure> {
        let mut session = call.session(entry, Chosen::default())?;
        let mut tokens = session.load()?;
        if let Some(config) = tokens.as_ref().and_then(settings) {
            session = call.session(entry, Chosen { config, ..Chosen::default() })?;
            tokens = session.load()?;
        }
        Ok(Self::of(&session, tokens))
    }

    /// What a session knows.
    pub fn of(session: &Session, tokens: Option<TokenStatus>) -> Self {
        let issuer = session.discovery().map(|found| found.issuer);
        Self { tokens, state: session.state(), clock_skew: session.clock_skew(), issuer }
    }

    fn status(&self) -> &'static str {
        match (&self.tokens, self.state) {
            (Some(_), SessionState::LoginRequired) => "expired",
            (Some(_), _) => "usable",
            (None, _) if self.issuer.is_some() => "unfinished",
            (None, _) => "logged_out",
        }
    }

    /// The login as programs read it; times in seconds since 1970.
    pub fn data(&self, server: &str, account: &str) -> Value {
        let status = self.status();
        let skew = self.clock_skew.as_ref().map(clock_skew);
        let Some(tokens) = &self.tokens else {
            return json!({
                "status": status,
                "server": server,
                "account": account,
                "issuer": self.issuer,
                "clock_skew": skew,
            });
        };
        let (state, retrying) = match self.state {
            SessionState::Authorized => ("authorized", None),
            SessionState::Retrying { since, next } => {
                ("retrying", Some(json!({ "since": since.0, "next": next.0 })))
            }
            SessionState::LoginRequired => ("login_required", None),
            _ => ("unknown", None),
        };
        json!({
            "status": status,
            "state": state,
            "retrying": retrying,
            "server": server,
            "account": account,
            "issuer": tokens.issuer,
            "client_id": tokens.client_id,
        "person": tokens.person.as_ref().map(|person| {
            json!({ "sub": person.subject, "email": person.email, "name": person.name })
        }),
            "scopes": tokens.scopes.iter().collect::<Vec<_>>(),
            "obtained_at": tokens.obtained_at.0,
            "expires_at": tokens.expires_at.map(|at| at.0),
            "refreshable": tokens.refreshable,
            "client_secret_expires_at": tokens.client_secret_expires_at.map(|at| at.0),
            "clock_skew": skew,
        })
    }

    fn text(&self, entry: &Place) -> String {
        let mut text = format!("{} (account {})\n", tame(entry.server()), tame(entry.account()));
        let mut line = |name: &str, value: String| {
            // Writing to a string doesn't fail.
            let _ = writeln!(text, "  {name:<9}{}", tame(&value));
        };
        match (&self.tokens, &self.issuer) {
            (Some(tokens), _) => {
                line("login", format!("at {} as client {}", tokens.issuer, tokens.client_id));
                line("state", state(self.state));
                if let Some(person) = &tokens.person {
                    line("person", person.to_string());
                }
                line("scopes", tokens.scopes.to_string());
                line("token", end(tokens));
                let renewal = if tokens.refreshable { "without you" } else { "by a new login" };
                line("renewal", renewal.into());
                if let Some(at) = tokens.client_secret_expires_at {
                    let ends = if at > now() { "ends" } else { "ended" };
                    line("secret", format!("of the client {ends} {}", when(now(), at)));
                }
            }
            (None, Some(issuer)) => {
                line("login", format!("begun at {issuer}, and not finished"));
                line("state", state(SessionState::LoginRequired));
            }
            (None, None) => line("login", "none".into()),
        }
        if let Some(skew) = &self.clock_skew {
            line("clock", format!("{skew} (seen {})", when(now(), skew.seen_at)));
            line("", skew.advice());
        }
        text
    }
}

/// The settings that tell a machine of the client which these tokens are for.
fn settings(tokens: &TokenStatus) -> Option<Config> {
    let client = Some(tokens.client_id.clone());
    match tokens.client_source {
        ClientSource::Configured => Some(Config { client_id: client, ..Config::default() }),
        ClientSource::MetadataDocument => {
            Some(Config { client_metadata_url: client, ..Config::default() })
        }
        _ => None,
    }
}

fn state(state: SessionState) -> String {
    match state {
        SessionState::Retrying { since, next } => {
            let next = if next > now() { when(now(), next) } else { "when somebody asks".into() };
            format!("retrying since {}, next try {next}", when(now(), since))
        }
        other => other.to_string(),
    }
}

fn end(tokens: &TokenStatus) -> String {
    match tokens.expires_at {
        Some(at) if at > now() => format!("expires {}", when(now(), at)),
        Some(at) => format!("expired {}", when(now(), at)),
        None => "without an announced end".into(),
    }
}

fn now() -> UnixTime {
    UnixTime(clock().0)
}
