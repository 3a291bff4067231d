//! Logins that are sealed with a key from a real keyring.

use std::process::Command;
use std::time::{Duration, Instant};

use mcp_auth_world::{ExpiresIn, What};

use crate::desktop::Desktop;
use crate::stage::{Ran, Stage, run};

/// A stage at a desktop.
struct Session {
    stage: Stage,
    desktop: Desktop,
}

impl Session {
    /// `None` where there is no keyring to test with.
    fn start() -> Option<Self> {
        let desktop = Desktop::start()?;
        Some(Self { stage: Stage::new(), desktop })
    }

    /// One whose login is sealed.
    fn sealed() -> Option<Self> {
        let session = Self::start()?;
        session.run(&["login", "--keyring"]).exits_with(0);
        Some(session)
    }

    /// The command, about the stage's server.
    fn run(&self, words: &[&str]) -> Ran {
        run(self.desktop.seat(&mut self.command(words)))
    }

    fn command(&self, words: &[&str]) -> Command {
        self.stage.command(&[words, &[self.stage.url()]].concat())
    }

    /// Whether the tokens can be read in the store's files.
    fn shows_tokens(&self) -> bool {
        let token = self.stage.newest_token();
        std::fs::read_dir(self.stage.store()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            String::from_utf8_lossy(&bytes).contains(&token)
        })
    }

    /// From now on tokens are as good as expired, as soon as another process looks at them.
    fn tokens_expire(&self) {
        self.stage.authorization(|server| server.expires_in = ExpiresIn::Zero);
    }
}

#[test]
fn a_sealed_login_is_used_like_any_other() {
    let Some(session) = Session::sealed() else { return };
    assert!(!session.shows_tokens());
    let token = session.run(&["token"]).exits_with(0).stdout;
    assert_eq!(token.trim(), session.stage.newest_token());
    session.run(&["request"]).exits_with(0);
    assert_eq!(session.run(&["status", "--json"]).exits_with(0).json()["status"], "usable");
    let all = run(session.desktop.seat(&mut session.stage.command(&["status", "--json"])));
    assert_eq!(all.exits_with(0).json()["logins"][0]["server"], session.stage.url());
    assert_eq!(session.desktop.keys(), 1);
    session.run(&["logout"]).exits_with(0);
    session.run(&["token"]).exits_with(3);
}

#[test]
fn a_refresh_leaves_a_login_as_it_is_sealed_or_plain() {
    let Some(session) = Session::start() else { return };
    session.tokens_expire();
    for (login, plain) in [(&["login"][..], true), (&["login", "--keyring"], false)] {
        session.run(login).exits_with(0);
        assert_eq!(session.shows_tokens(), plain);
        let before = session.stage.newest_token();
        session.run(&["token"]).exits_with(0);
        assert_ne!(session.stage.newest_token(), before);
        assert_eq!(session.shows_tokens(), plain);
    }
}

#[test]
fn a_login_moves_to_the_keyring_and_back_with_its_next_save() {
    let Some(session) = Session::start() else { return };
    session.tokens_expire();
    session.run(&["login"]).exits_with(0);
    for (words, plain) in [
        (&["token", "--keyring=on"][..], false),
        (&["token", "--keyring=only"], false),
        (&["token", "--keyring=off"], true),
    ] {
        session.run(words).exits_with(0);
        assert_eq!(session.shows_tokens(), plain, "{words:?}");
    }
    session.run(&["token", "--keyring=only"]).exits_with(1).says("only sealed logins are accepted");
    let mut command = session.command(&["token"]);
    run(session.desktop.seat(&mut command).env("MCP_AUTH_KEYRING", "on")).exits_with(0);
    assert!(!session.shows_tokens());
    assert_eq!(session.stage.count(What::Authorizations), 1);
    session.run(&["token", "--keyring=perhaps"]).exits_with(2).says("only");
}

#[test]
fn while_the_keyring_is_locked_nothing_is_spent_and_nobody_is_asked() {
    let Some(mut session) = Session::start() else { return };
    session.tokens_expire();
    session.run(&["login", "--keyring"]).exits_with(0);
    session.desktop.lock();
    for words in [&["token"][..], &["request"], &["status"], &["login"], &["login", "--keyring"]] {
        let ran = session.run(words).exits_with(1);
        ran.says("the keyring is locked").says("unlock").says("fault: this machine");
    }
    let all = run(session.desktop.seat(&mut session.stage.command(&["status"])));
    all.exits_with(1).says("warning").says("the keyring is locked");
    assert_eq!(session.stage.count(What::Refreshes), 0);
    assert_eq!(session.stage.count(What::Authorizations), 1);
    session.desktop.unlock();
    session.run(&["token"]).exits_with(0);
    assert_eq!(session.stage.count(What::Authorizations), 1);
}

#[test]
fn a_logout_while_the_keyring_is_locked_tells_what_it_could_not_end() {
    let Some(mut session) = Session::sealed() else { return };
    session.desktop.lock();
    let ended = session.run(&["logout", "--json"]).exits_with(0).says("unlock");
    assert_eq!(ended.json()["refresh_token"]["status"], "failed");
    session.run(&["token"]).exits_with(3);
}

#[test]
fn a_keyring_that_hangs_is_not_waited_for_beyond_the_timeout() {
    let Some(session) = Session::sealed() else { return };
    session.desktop.stop();
    let began = Instant::now();
    session.run(&["token", "--timeout", "1"]).exits_with(1).says("1 s");
    assert!(began.elapsed() < Duration::from_secs(10));
    session.desktop.go_on();
    session.run(&["token"]).exits_with(0);
}

#[test]
fn without_a_keyring_nobody_is_asked_to_log_in_and_a_lost_login_can_be_replaced() {
    let Some(session) = Session::sealed() else { return };
    let elsewhere = |words: &[&str]| {
        let nowhere = "unix:path=/nonexistent/bus";
        run(session.command(words).env("DBUS_SESSION_BUS_ADDRESS", nowhere))
    };
    elsewhere(&["token"]).exits_with(1).says("keyring can't be used");
    elsewhere(&["login"]).exits_with(1).says("keyring can't be used");
    elsewhere(&["logout", "--local"]).exits_with(0);
    elsewhere(&["token"]).exits_with(3);
    elsewhere(&["login", "--keyring"]).exits_with(1).says("plain file");
    assert_eq!(session.stage.count(What::Authorizations), 1);
    elsewhere(&["login"]).exits_with(0);
    assert!(session.shows_tokens());
}
