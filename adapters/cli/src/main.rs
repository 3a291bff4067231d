//! `mcp-auth`: log in to remote MCP servers, use the logins, see what a server wants.
//!
//! | module | what it holds |
//! |---|---|
//! | [`args`] | what can be asked for |
//! | [`settings`] | how options and the configuration file become a [`mcp_auth::Config`] |
//! | [`commands`] | what is done, one file per command |
//! | [`prompt`] | how the person gets the URL, and how a pasted redirect comes back |
//! | [`report`] | what is said, to people and to programs |
//! | [`failure`] | what goes wrong, and the exit codes |
//! | [`demo`] | the whole story against servers of its own |
//!
//! Everything about OAuth is decided in `mcp-auth`; here nothing is.

mod args;
mod commands;
mod demo;
mod failure;
mod interrupt;
mod prompt;
mod report;
mod settings;
mod walker;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        // Help and the version are "errors" here too; a closed pipe is nobody's concern.
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { failure::Exit::Usage } else { failure::Exit::Done }
                .into();
        }
    };
    commands::run(args).into()
}
