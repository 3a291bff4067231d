//! Counts on from what is stored, without the lock, and says each number that it has saved: one of
//! several processes of a test.

use std::io::Write as _;

use mcp_auth::Revision;
use mcp_auth_host::store::{FileStore, StoreError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, server, account, turns] = &args[..] else {
        return Err("usage: counter DIR SERVER ACCOUNT TURNS".into());
    };
    let entry = FileStore::open(dir)?.entry(server, account);
    let mut stdout = std::io::stdout();
    for _ in 0..turns.parse::<u32>()? {
        loop {
            let stored = entry.load()?;
            let last = match &stored {
                Some(number) => std::str::from_utf8(number)?.parse()?,
                None => 0_u64,
            };
            let next = (last + 1).to_string();
            match entry.save(next.as_bytes(), Revision::of(stored.as_deref())) {
                Ok(()) => {
                    writeln!(stdout, "{next}")?;
                    break;
                }
                Err(StoreError::Changed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
