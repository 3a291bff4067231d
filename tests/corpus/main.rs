//! The corpus: what real servers were seen to do, each entry a test of the machine.
//!
//! `vendors.json` has 26 servers, `quirks.json` 146 quirks. A check takes the bytes of its entry (a
//! header, a document, a status, a URL), lets the simulated servers send them, and asserts what the
//! machine makes of it. Each area is a module with a table: the entry's id and its check, in the order
//! of the file. Where the machine doesn't do what the entry wishes, the table says why.
//!
//! An entry without a check fails the run, and so does a check without an entry, or one that passes
//! with other bytes in the entry, too.
//!
//! ```sh
//! cargo test --test corpus            # all, with the counts at the end
//! cargo test --test corpus CH-0       # those whose name contains this
//! ```

mod as_metadata;
mod callback;
mod challenge;
mod dcr;
mod entry;
mod prm;
mod runner;
mod session;
mod stage;
mod token;
mod transport;
mod vendors;
mod window;

use std::process::ExitCode;

use runner::Area;

const AREAS: &[Area] = &[
    Area::new("vendors", vendors::CHECKS).with_summary(vendors::table),
    Area::new("challenge", challenge::CHECKS),
    Area::new("prm", prm::CHECKS),
    Area::new("as_metadata", as_metadata::CHECKS),
    Area::new("dcr", dcr::CHECKS),
    Area::new("callback", callback::CHECKS),
    Area::new("token", token::CHECKS),
    Area::new("session", session::CHECKS),
    Area::new("transport", transport::CHECKS),
];

fn main() -> ExitCode {
    runner::run(AREAS)
}
