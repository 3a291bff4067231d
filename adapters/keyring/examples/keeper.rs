//! Keeps logins with the system's keyring: what a test runs in a session of its own.

use std::io::Write as _;
use std::time::Duration;

use mcp_auth::Revision;
use mcp_auth_host::store::{FileStore, Store as _, contract};
use mcp_auth_keyring::{SealedStore, SystemKeyring};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [patience, dir, rest @ ..] = &args[..] else {
        return Err("usage: keeper SECONDS DIR contract | load LOGIN | save LOGIN RECORD".into());
    };
    let keyring = SystemKeyring::new().patience(Duration::from_secs(patience.parse()?));
    let store = SealedStore::new(FileStore::open(*dir)?, keyring);
    let open = |login: &str| store.entry("https://mcp.example.com/mcp", login);
    match rest {
        ["contract"] => contract::check(open)?,
        ["load", login] => {
            let record = open(login).load()?.ok_or("nothing is stored")?;
            std::io::stdout().write_all(&record)?;
        }
        ["save", login, record] => {
            let entry = open(login);
            let there = Revision::of(entry.load()?.as_deref());
            entry.save(record.as_bytes(), there)?;
        }
        _ => return Err("what?".into()),
    }
    Ok(())
}
