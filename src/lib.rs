//! Authenticate a program to remote MCP servers: a pure, sans-IO state machine.
//!
//! [`AuthMachine`] finds out whether a server wants authorization, discovers its authorization
//! server, gets a client identity, takes a person through the browser, keeps the tokens fresh, steps
//! up scopes, and survives restarts: the MCP authorization specification 2026-07-28. It does no I/O:
//! it emits [`Action`]s and consumes their answers.
//!
//! ```text
//!             Event ──────────────▶ ┌─────────────┐ ──────────▶ Output
//!   answers, demands, challenges,   │ AuthMachine │   Do(Action): Load Save Secret Http Listen Browse ShowCode
//!   redirects, cancel, tick         └─────────────┘   Tell(Notice), Wait(deadline), …
//! ```
//!
//! Most programs use an adapter: the blocking `mcp-auth-ureq`, the async `mcp-auth-tokio`, and over that
//! `mcp-auth-tower` and `mcp-auth-rmcp`. A host of one's own is a loop:
//!
//! ```
//! use mcp_auth::{Action, AuthMachine, Event, HostError, Now, Output, TransportError, TransportErrorKind};
//!
//! /// Performs what comes out until the machine waits for something from outside.
//! fn drive(machine: &mut AuthMachine, now: impl Fn() -> Now) {
//!     loop {
//!         let answer: Event = match machine.poll_output() {
//!             Output::Do(Action::Load(call)) => call.answer(Ok(None)), // read your store, locked if call.lock()
//!             // Write call.record() in the place of what call.expected() says, or of nothing.
//!             Output::Do(Action::Save(call)) => call.answer(Ok(())),
//!             Output::Do(Action::Http(call)) => {
//!                 // Look its host up once, dial what call.reach() allows, send call.request() within
//!                 // call.limits(), follow no redirect, and tell the PeerAddress with the response.
//!                 let kind = TransportErrorKind::Connect;
//!                 call.answer(Err(TransportError::new(kind, "this example has no network")))
//!             }
//!             Output::Do(Action::Listen(call)) => call.answer(Err(HostError::new("no listener"))),
//!             Output::Do(Action::Browse(call)) => call.answer(Err(HostError::new("no browser"))),
//!             Output::Do(Action::ShowCode(call)) => call.answer(Err(HostError::new("no screen"))),
//!             Output::Tell(notice) => { println!("{notice}"); continue }
//!             Output::Wait(_deadline) => return, // sleep until then, send Event::Tick
//!             _ => continue, // Secret, Key and Sign want answers, too; Release gives the lock back
//!         };
//!         machine.handle(now(), answer);
//!     }
//! }
//! # use std::sync::Arc;
//! # use mcp_auth::{Config, Demand, Entropy, Need};
//! # let mut machine = AuthMachine::new("https://mcp.example.com", Arc::new(Config::default()), Entropy::from_bytes([0; 32]))?;
//! # machine.handle(Now::default(), Event::Demand(Demand::background(Need::default())));
//! # drive(&mut machine, Now::default);
//! # let id = machine.last_attempt().unwrap();
//! # assert!(machine.failure(id).is_some());
//! # Ok::<(), mcp_auth::Error>(())
//! ```
//!
//! What the server answers to requests of the program's own goes through [`AuthMachine::judge`]: it
//! tells a refusal from any other answer.
//!
//! # What it guarantees
//!
//! - **Total.** No event in any state panics; a failure is a state that can be read.
//! - **Linear.** An action is answered once, by consuming it. At most one exchange (store or
//!   network) and one prompt (listener, browser or code) are unanswered, and what is pending has a
//!   deadline.
//! - **Save before lend.** New tokens are lent only after their save was answered, yes or no.
//! - **A grant once sent is seen through.** A cancelled or timed-out token request still counts
//!   when its answer comes.
//! - **Nothing is overwritten unread.** A save replaces only the [`Revision`] that was read; whoever was
//!   overtaken reads again.
//! - **One refresh.** Refusals name the [`Generation`] that they refused; before a refresh the store
//!   is locked and read again, and a newer record is adopted instead.
//! - **The user is asked only when asked for.** A background [`Demand`] never opens a browser.
//! - **One browser.** Of the programs on one store that need a login, one asks its person; the others
//!   wait for what comes of it, and take over if it gives up or is gone.
//! - **A server leads nowhere that it couldn't go itself**: see [`Reach`].
//! - **Secrets don't print**, and **tokens go home only.**
//! - **Anywhere.** It needs no operating system: it runs on `wasm32-unknown-unknown`, and imports
//!   nothing there.
//!
//! # Layout
//!
//! `flow` is what happens, in order; `session` is what stays between flows; [`wire`] is how it
//! looks. The machine routes between them.

#![warn(unreachable_pub)]

mod config;
mod entropy;
mod error;
pub mod event;
mod flow;
mod logout;
mod machine;
mod notice;
pub mod output;
mod preset;
mod reach;
mod restore;
mod secret;
mod session;
mod text;
mod time;
pub mod toolhive;
pub mod wire;

pub use config::{
    AssertionAudience, ClientCertificate, Config, DeviceGrant, DpopUse, Retry, SendResource,
};
pub use entropy::Entropy;
pub use error::{Error, ErrorKind, Fault};
pub use event::{AttemptId, Challenged, Demand, Event, Need, Redirected};
pub use logout::{Credential, Ending, Logout};
pub use machine::{AuthMachine, TokenState, TokenStatus, Verdict};
pub use notice::{ClientSource, Leniency, Notice, Proposal};
pub use output::{Action, HostError, Output, Revision, TransportError, TransportErrorKind};
pub use preset::Preset;
pub use reach::{OutOfReach, PeerAddress, Reach};
pub use restore::{CachedClient, CachedLogin, CachedRegistration};
pub use secret::{Secret, SecretRef, SecretSource};
pub use session::clock::ClockSkew;
pub use session::grant::{Grant, Proof};
pub use session::record::{Discovery, MetadataFreshness, Provenance};
pub use session::saved::{SavedClient, SavedLogin};
pub use session::tokens::Generation;
pub use session::trouble::SessionState;
pub use time::{Mono, Now, UnixTime};
