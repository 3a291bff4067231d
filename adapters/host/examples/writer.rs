//! Saves two records in turn, without end: the writer that a test kills.

use std::io::Write as _;

use mcp_auth::Revision;
use mcp_auth_host::store::FileStore;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, server, account, old, new] = &args[..] else {
        return Err("usage: writer DIR SERVER ACCOUNT OLD NEW".into());
    };
    let entry = FileStore::open(dir)?.entry(server, account);
    let mut stdout = std::io::stdout();
    for record in [old, new].into_iter().cycle() {
        let _guard = entry.lock(std::time::Duration::from_secs(10))?;
        let stored = entry.load()?;
        entry.save(record.as_bytes(), Revision::of(stored.as_deref()))?;
        writeln!(stdout, "saved")?;
    }
    Ok(())
}
