//! `mcp-auth token URL`: the one command that prints a token.

use mcp_auth_ureq::Asking;
use serde_json::json;

use super::Call;
use crate::args::TokenArgs;
use crate::failure::{Exit, Failure};

pub fn run(args: &TokenArgs, call: Call) -> Result<Exit, Failure> {
    let session = call.session(&args.target.entry()?, args.settings.alone(call.report)?)?;
    let grant = session.token(&args.settings.need(), Asking::Never);
    let Some(grant) = grant? else {
        return call.report.not_required(&args.target.url.0);
    };
    let token = grant.access_token();
    let token = token.expose();
    let data = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_at": grant.expires_at().map(|at| at.0),
    });
    call.report.result(format_args!("{token}\n"), data)?;
    Ok(Exit::Done)
}
