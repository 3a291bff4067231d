//! Takes a login's lock and keeps it until it is killed: the other process of a test.

use std::io::Write as _;
use std::time::Duration;

use mcp_auth_host::store::FileStore;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(server), Some(account)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: holder DIR SERVER ACCOUNT".into());
    };
    let _guard = FileStore::open(dir)?.entry(&server, &account).lock(Duration::ZERO)?;
    writeln!(std::io::stdout(), "locked")?;
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}
