//! `mcp-auth logout URL`

use mcp_auth::{Ending, Logout};
use serde_json::{Value, json};

use super::Call;
use crate::args::LogoutArgs;
use crate::failure::{Exit, Failure};

pub fn run(args: &LogoutArgs, call: Call) -> Result<Exit, Failure> {
    let session = call.session(&args.target.entry()?, args.settings.alone(call.report)?)?;
    let (server, account) = (&args.target.url.0, args.target.store.account());
    let mut data = json!({ "status": "logged_out", "server": server, "account": account });
    if args.local {
        session.forget()?;
        call.report
            .confirm(format_args!("Forgot the login at {server}; no server was told."), data)?;
        return Ok(Exit::Done);
    }
    let Logout { refresh_token, access_token, registration, erased, .. } = session.logout()?;
    // Each part was told when it was over.
    data["refresh_token"] = told(&refresh_token);
    data["access_token"] = told(&access_token);
    data["registration"] = told(&registration);
    erased?;
    call.report.confirm(format_args!("Forgot the login at {server}."), data)?;
    Ok(Exit::Done)
}

fn told(ending: &Ending) -> Value {
    let status = match ending {
        Ending::NoneKnown => "none",
        Ending::Kept => "kept",
        Ending::Ended => "ended",
        Ending::NotOffered => "not_offered",
        Ending::Failed(_) => "failed",
        _ => "unknown",
    };
    match ending {
        Ending::Failed(error) => {
            json!({ "status": status, "message": error.to_string(), "advice": error.advice() })
        }
        _ => json!({ "status": status }),
    }
}
