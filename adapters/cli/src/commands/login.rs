//! `mcp-auth login URL`

use super::Call;
use super::status::Stored;
use crate::args::LoginArgs;
use crate::failure::{Exit, Failure};

pub fn run(args: &LoginArgs, call: Call) -> Result<Exit, Failure> {
    let chosen = args.settings.choose(&args.person, call.report)?;
    let entry = args.target.entry()?;
    // Nobody is asked to log in where that could not be kept.
    entry.rehearse()?;
    let session = call.session_with(&entry, chosen)?;
    let (server, account) = (&args.target.url.0, args.target.store.account());
    let grant = if args.fresh { session.login_with_new_client() } else { session.login() }?;
    if grant.is_none() {
        return call.report.not_required(server);
    }
    let Some(tokens) = session.status() else {
        let why = "`bearer_token` is set: there is nothing to log in to";
        return Err(Failure::Usage(why.into()));
    };
    if !tokens.saved {
        return Err(Failure::NotKept);
    }
    let who = tokens.person.as_ref().map(|person| format!(" as {person}")).unwrap_or_default();
    let mut data = Stored::of(&session, Some(tokens)).data(server, account);
    data["status"] = "logged_in".into();
    call.report.confirm(format_args!("Logged in to {server}{who}."), data)?;
    if let Some(skew) = session.clock_skew() {
        call.report.say(format_args!("warning: {skew}\nadvice: {}", skew.advice()));
    }
    Ok(Exit::Done)
}
