//! `mcp-auth status [URL]`: what is stored; no server is asked.

use std::fmt::Write;

use mcp_auth::{Config, TokenStatus, UnixTime};
use mcp_auth_host::store::{Entry, StoreError};
use mcp_auth_host::system::clock;
use serde_json::{Value, json};

use super::Call;
use crate::args::{ServerUrl, StatusArgs};
use crate::failure::{Exit, Failure};
use crate::report::{tame, when};

pub fn run(args: &StatusArgs, call: Call) -> Result<Exit, Failure> {
    match &args.url {
        Some(url) => one(url, args, call),
        None => all(args, call),
    }
}

/// Also answers, by its exit code, whether a program can go on without a person.
fn one(url: &ServerUrl, args: &StatusArgs, call: Call) -> Result<Exit, Failure> {
    let entry = args.store.open()?.entry(&url.0, args.store.account());
    let Some(tokens) = load(&entry, call)? else {
        let (server, account) = (entry.server().to_owned(), entry.account().to_owned());
        return Err(Failure::NoLogin { server, account });
    };
    let (text, data) = (text(&entry, Some(&tokens)), data(&url.0, entry.account(), Some(&tokens)));
    call.report.result(text, data)?;
    Ok(if is_usable(&tokens) { Exit::Done } else { Exit::LoginRequired })
}

/// One that can't be read is told in its place; the others are shown all the same.
fn all(args: &StatusArgs, call: Call) -> Result<Exit, Failure> {
    let store = args.store.open()?;
    let (mut texts, mut logins, mut exit) = (String::new(), Vec::new(), Exit::Done);
    let wanted = |entry: &Result<Entry, StoreError>| match (entry, &args.store.account) {
        (Ok(entry), Some(account)) => entry.account() == account,
        _ => true,
    };
    for entry in store.list()?.into_iter().filter(wanted) {
        let shown = entry.map_err(Failure::from).and_then(|entry| {
            let tokens = load(&entry, call)?;
            let data = data(entry.server(), entry.account(), tokens.as_ref());
            Ok((text(&entry, tokens.as_ref()), data))
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

fn load(entry: &Entry, call: Call) -> Result<Option<TokenStatus>, Failure> {
    Ok(call.session(entry, Config::default())?.load()?)
}

/// The login as programs read it; times in seconds since 1970.
pub fn data(server: &str, account: &str, tokens: Option<&TokenStatus>) -> Value {
    let Some(tokens) = tokens else {
        return json!({ "status": "logged_out", "server": server, "account": account });
    };
    json!({
        "status": if is_usable(tokens) { "usable" } else { "expired" },
        "server": server,
        "account": account,
        "issuer": tokens.issuer,
        "client_id": tokens.client_id,
        "scopes": tokens.scopes.iter().collect::<Vec<_>>(),
        "obtained_at": tokens.obtained_at.0,
        "expires_at": tokens.expires_at.map(|at| at.0),
        "refreshable": tokens.refreshable,
    })
}

fn text(entry: &Entry, tokens: Option<&TokenStatus>) -> String {
    let mut text = format!("{} (account {})\n", tame(entry.server()), tame(entry.account()));
    let mut line = |name: &str, value: String| {
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "  {name:<9}{}", tame(&value));
    };
    let Some(tokens) = tokens else {
        line("login", "none".into());
        return text;
    };
    line("login", format!("at {} as client {}", tokens.issuer, tokens.client_id));
    line("scopes", tokens.scopes.to_string());
    line(
        "token",
        match tokens.expires_at {
            Some(at) if at > now() => format!("expires {}", when(now(), at)),
            Some(at) => format!("expired {}", when(now(), at)),
            None => "without an announced end".into(),
        },
    );
    line("renewal", if tokens.refreshable { "without you" } else { "by a new login" }.into());
    text
}

fn is_usable(tokens: &TokenStatus) -> bool {
    tokens.refreshable || tokens.expires_at.is_none_or(|at| at > now())
}

fn now() -> UnixTime {
    UnixTime(clock().0)
}
