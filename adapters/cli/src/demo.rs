//! `mcp-auth demo`: the whole story against servers of its own, told to somebody who has never seen
//! OAuth. Every step checks in the servers' log that what it says is so.

mod servers;
mod story;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use http::{Request, StatusCode, header};
use mcp_auth::{Error, ErrorKind, Need};
use mcp_auth_host::browser::{Browser, BrowserError};
use mcp_auth_host::store::{Entry, FileStore};
use mcp_auth_ureq::{Asking, SendError, Session};
use mcp_auth_world::{Person, What, Who};
use serde_json::json;

use crate::args::DemoArgs;
use crate::failure::{Exit, Failure};
use crate::report::Report;
use crate::walker;
use servers::Servers;
use story::Story;

pub fn run(args: &DemoArgs, report: Report) -> Result<Exit, Failure> {
    let servers = Servers::start().map_err(|e| broken("the servers could not start", e))?;
    if args.serve {
        return serve(&servers, report);
    }
    // Gone with everything in it when the demo ends.
    let dir = tempfile::tempdir().map_err(|e| broken("no temporary directory", e))?;
    let entry = FileStore::open(dir.path().join("logins"))?.entry(&servers.mcp, "demo");
    let demo =
        Demo { story: Arc::new(Story::new(report.json)), servers, entry, opened: Arc::default() };
    demo.tell()?;
    if report.json {
        report.result("", demo.story.data())?;
    }
    Ok(if demo.story.is_true() { Exit::Done } else { Exit::Failed })
}

fn broken(what: &str, why: impl std::fmt::Display) -> Failure {
    Failure::Machine(format!("{what}: {why}"))
}

/// For a person with a real browser, who finds two links: approve and deny.
fn serve(servers: &Servers, report: Report) -> Result<Exit, Failure> {
    servers.world().person = Person::Ignores;
    let (url, issuer) = (&servers.mcp, &servers.issuer);
    let text = format!(
        "MCP server:           {url}\nauthorization server: {issuer}\n\n\
         Try, from another terminal:\n  mcp-auth inspect {url}\n  mcp-auth login {url}\n\n\
         Ctrl-C stops the servers.\n"
    );
    report.result(text, json!({ "status": "serving", "url": url, "issuer": issuer }))?;
    loop {
        thread::park();
    }
}

struct Demo {
    story: Arc<Story>,
    servers: Servers,
    entry: Entry,
    /// How often the browser was opened.
    opened: Arc<AtomicUsize>,
}

/// The browser of somebody who agrees to everything.
struct ScriptedBrowser {
    opened: Arc<AtomicUsize>,
}

impl Browser for ScriptedBrowser {
    fn open(&self, url: &str) -> Result<(), BrowserError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let url = url.to_owned();
        // As a browser does: it returns at once, and goes its way. Where that fails, nobody comes
        // back, and the login says so.
        thread::Builder::new()
            .spawn(move || walker::walk(&url))
            .map(drop)
            .map_err(|e| BrowserError::NotStarted { kind: e.kind() })
    }
}

impl Demo {
    fn tell(&self) -> Result<(), Failure> {
        let Self { story, servers, .. } = self;
        story.tell(&format!(
            "This is what mcp-auth does, against two small servers that now run on this machine:\n\
             \x20 the MCP server, whose tools we want to use:       {}\n\
             \x20 the authorization server, which lets people in:   {}\n\
             A scripted person agrees to everything. Every ✓ was checked in the servers' own log.",
            servers.mcp, servers.issuer
        ));
        let session = self.session()?;
        self.background(&session);
        self.login(&session)?;
        self.request(&session)?;
        self.expiry(&session)?;
        self.step_up(&session)?;
        drop(session);
        let session = self.restart()?;
        self.logout(&session)?;
        self.laws();
        Ok(())
    }

    fn session(&self) -> Result<Session, Failure> {
        let story = self.story.clone();
        let session = Session::builder(&self.servers.mcp)
            .store(self.entry.clone())
            .browser(ScriptedBrowser { opened: self.opened.clone() })
            .on_notice(move |notice| story.notice(notice))
            .build()?;
        Ok(session)
    }

    fn background(&self, session: &Session) {
        self.story.step(
            "A program in the background asks for access",
            "Nobody has logged in yet, and nobody may be there to do so.",
        );
        let answer = session.token(&Need::default(), Asking::Never);
        self.story.claim(
            answer.is_err_and(|e| is_login_required(&e)) && self.opened() == 0,
            "it is told that a login is required; no browser was opened",
        );
    }

    fn login(&self, session: &Session) -> Result<(), Failure> {
        self.story.step(
            "A person logs in",
            "Only the URL of the MCP server is known. Everything else is found out.",
        );
        session.login()?;
        let world = self.servers.world();
        let once = world.registrations() == 1 && world.count(What::CodeExchanges) == 1;
        drop(world);
        self.story.claim(once, "one registration, one code, exchanged once for tokens");
        self.story.claim(self.opened() == 1, "the browser was opened once");
        let scopes = session.status().map(|status| status.scopes.to_string()).unwrap_or_default();
        self.story.claim(
            scopes == "notes:read offline_access" || scopes == "notes:read",
            &format!("only what is needed was asked for (scopes, kinds of access): {scopes}"),
        );
        Ok(())
    }

    fn request(&self, session: &Session) -> Result<(), Failure> {
        self.story.step(
            "A tool is called",
            "The request carries the access token, and so the server knows whom it serves.",
        );
        let asked = self.asked_for_access();
        let status = self.call(session, "whoami", Asking::Never)?;
        self.story.claim(status == StatusCode::OK, "the MCP server answers the call");
        self.story.claim(
            self.asked_for_access() == asked,
            "the authorization server was not asked again: the token is still good",
        );
        Ok(())
    }

    fn expiry(&self, session: &Session) -> Result<(), Failure> {
        self.story.step(
            "An hour passes, and the access token ends",
            "Short lives limit what a stolen token is good for. (The servers' clock is moved.)",
        );
        self.servers.pass(3601);
        let opened = self.opened();
        let status = self.call(session, "whoami", Asking::Never)?;
        let refreshes = self.servers.world().count(What::Refreshes);
        self.story.claim(
            status == StatusCode::OK && refreshes == 1,
            "the call succeeds all the same, after exactly one renewal with the refresh token",
        );
        self.story.claim(self.opened() == opened, "the person was not bothered");
        Ok(())
    }

    fn step_up(&self, session: &Session) -> Result<(), Failure> {
        self.story.step(
            "A tool needs more access",
            "Writing notes needs a scope that nobody agreed to yet: the server answers \"403\".",
        );
        let refused = self.call(session, "write_note", Asking::Never);
        self.story.claim(
            matches!(refused, Err(SendError::Auth(e)) if is_login_required(&e)),
            "in the background that is an error: a person must agree",
        );
        let status = self.call(session, "write_note", Asking::Welcome)?;
        let scopes = session.status().map(|status| status.scopes).unwrap_or_default();
        self.story.claim(
            status == StatusCode::OK && self.opened() == 2,
            "with a person there, the browser opens once more, and the call succeeds (a step-up)",
        );
        self.story.claim(
            scopes.contains("notes:read") && scopes.contains("notes:write"),
            "the new access comes on top of the old; nothing is lost",
        );
        self.story.claim(
            self.servers.world().registrations() == 1,
            "the program did not register a second time",
        );
        Ok(())
    }

    fn restart(&self) -> Result<Session, Failure> {
        self.story.step(
            "The program ends and starts again",
            "All that it knew is in one file that only its user can read.",
        );
        let (asked, opened) = (self.asked_for_access(), self.opened());
        let session = self.session()?;
        let status = self.call(&session, "write_note", Asking::Never)?;
        self.story.claim(
            status == StatusCode::OK,
            "the first call after the restart succeeds, with the stored token",
        );
        self.story.claim(
            self.asked_for_access() == asked && self.opened() == opened,
            "neither the authorization server nor the person was asked",
        );
        Ok(session)
    }

    fn logout(&self, session: &Session) -> Result<(), Failure> {
        self.story.step(
            "The person logs out",
            "The tokens end at the server that issued them, and the program forgets all that it \
             was given.",
        );
        let report = session.logout()?;
        let world = self.servers.world();
        let ended = world.count(What::Revocations) == 2 && world.newest_refresh_token().is_none();
        let clients = world.authorization.iter().map(|server| server.clients().count());
        let no_client = clients.sum::<usize>() == 0;
        drop(world);
        self.story.claim(ended && report.is_complete(), "the server takes neither token any more");
        self.story.claim(no_client, "and doesn't know the program any more either");
        self.story.claim(self.entry.load()?.is_none(), "nothing is left in the store");
        let answer = session.token(&Need::default(), Asking::Never);
        self.story.claim(
            answer.is_err_and(|e| is_login_required(&e)),
            "the next call needs a login again",
        );
        Ok(())
    }

    fn laws(&self) {
        self.story.step("Looking back at all that was sent", "");
        let world = self.servers.world();
        let (leaks, reused) = (world.leaks(), world.reuse_seen());
        drop(world);
        self.story
            .claim(leaks.is_empty(), "no token, code or secret went to anybody but its owner");
        self.story.claim(!reused, "no code and no refresh token was used twice");
    }

    /// A call of a tool, as an MCP client makes it.
    fn call(&self, session: &Session, tool: &str, asking: Asking) -> Result<StatusCode, SendError> {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": tool, "arguments": {} },
        });
        let mut request = Request::new(message.to_string().into_bytes());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.servers.mcp.parse().unwrap_or_default();
        let headers = request.headers_mut();
        let json = header::HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        let need = Need { operation: Some(format!("tools/call {tool}")), ..Need::default() };
        self.story.tell(&format!("     → POST {} (tools/call {tool})", self.servers.mcp));
        let response = session.send(request, &need, asking)?;
        Ok(response.status())
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// How many requests the authorization server has had.
    fn asked_for_access(&self) -> usize {
        let world = self.servers.world();
        world.log.iter().filter(|exchange| exchange.who == Who::Authorization(0)).count()
    }
}

fn is_login_required(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::LoginRequired { .. })
}
