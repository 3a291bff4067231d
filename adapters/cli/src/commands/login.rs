//! `mcp-auth login URL`

use super::{Call, status};
use crate::args::LoginArgs;
use crate::failure::{Exit, Failure};
use crate::settings::Chosen;

pub fn run(args: &LoginArgs, call: Call) -> Result<Exit, Failure> {
    let Chosen { config, person } = args.settings.choose(&args.person, call.report)?;
    let entry = args.target.entry()?;
    // Nobody is asked to log in where that could not be kept.
    entry.rehearse()?;
    let session = call.session_with(&entry, config, &person)?;
    let (server, account) = (&args.target.url.0, args.target.store.account());
    if session.login()?.is_none() {
        return call.report.not_required(server);
    }
    let Some(tokens) = session.status() else {
        let why = "`bearer_token` is set: there is nothing to log in to";
        return Err(Failure::Usage(why.into()));
    };
    if !tokens.saved {
        return Err(Failure::NotKept);
    }
    let mut data = status::data(server, account, Some(&tokens));
    data["status"] = "logged_in".into();
    call.report.confirm(format_args!("Logged in to {server}."), data)?;
    Ok(Exit::Done)
}
