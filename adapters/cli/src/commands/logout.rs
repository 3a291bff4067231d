//! `mcp-auth logout URL`

use mcp_auth::Config;
use serde_json::json;

use super::Call;
use crate::args::LogoutArgs;
use crate::failure::{Exit, Failure};

pub fn run(args: &LogoutArgs, call: Call) -> Result<Exit, Failure> {
    let session = call.session(&args.target.entry()?, Config::default())?;
    session.logout()?;
    let (server, account) = (&args.target.url.0, args.target.store.account());
    let data = json!({ "status": "logged_out", "server": server, "account": account });
    call.report.confirm(format_args!("Forgot the login at {server}."), data)?;
    Ok(Exit::Done)
}
