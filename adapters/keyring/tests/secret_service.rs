//! A real keyring: GNOME Keyring over D-Bus, with programs that come and go.
#![cfg(target_os = "linux")]

mod desktop;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use desktop::Desktop;
use tempfile::TempDir;

/// A session, and a directory of logins.
struct World {
    desktop: Desktop,
    dir: TempDir,
}

impl World {
    fn start() -> Option<Self> {
        Some(Self { desktop: Desktop::start()?, dir: tempfile::tempdir().unwrap() })
    }

    fn keeper(&self, args: &[&str]) -> Command {
        let mut command = Command::new(keeper());
        command.arg("20").arg(self.dir.path().join("logins")).args(args);
        self.desktop.seat(&mut command);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.keeper(args).output().unwrap()
    }

    fn does(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "{}", text(&output.stdout));
        text(&output.stderr)
    }
}

#[test]
fn the_store_keeps_its_contract() {
    let Some(world) = World::start() else { return };
    world.does(&["contract"]);
    assert_eq!(world.desktop.keys(), 1);
}

#[test]
fn one_program_saves_and_another_loads() {
    let Some(world) = World::start() else { return };
    world.does(&["save", "work", r#"{"token":"s3cret"}"#]);
    assert_eq!(world.does(&["load", "work"]), r#"{"token":"s3cret"}"#);
    for file in std::fs::read_dir(world.dir.path().join("logins")).unwrap() {
        let path = file.unwrap().path();
        assert!(!text(&std::fs::read(&path).unwrap()).contains("s3cret"), "{}", path.display());
    }
}

#[test]
fn programs_that_start_together_make_one_key() {
    let Some(world) = World::start() else { return };
    let logins: Vec<_> = (0..6).map(|n| format!("login{n}")).collect();
    let save = |login: &String| world.keeper(&["save", login, "{}"]).spawn().unwrap();
    for mut child in logins.iter().map(save).collect::<Vec<_>>() {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(world.desktop.keys(), 1);
    for login in &logins {
        assert_eq!(world.does(&["load", login]), "{}");
    }
}

#[test]
fn a_locked_keyring_is_told_and_nothing_is_lost() {
    let Some(mut world) = World::start() else { return };
    world.does(&["save", "work", r#"{"token":1}"#]);
    world.desktop.lock();
    for args in [&["load", "work"][..], &["save", "work", "{}"], &["save", "home", "{}"]] {
        let told = world.fails(args);
        assert!(told.contains("the keyring is locked") && told.contains("unlock"), "{told}");
    }
    world.desktop.unlock();
    assert_eq!(world.does(&["load", "work"]), r#"{"token":1}"#);
    assert!(world.fails(&["load", "home"]).contains("nothing is stored"));
}

#[test]
fn a_keyring_that_hangs_does_not_hang_the_program() {
    let Some(world) = World::start() else { return };
    world.does(&["save", "work", r#"{"token":1}"#]);
    world.desktop.stop();
    let began = Instant::now();
    let mut command = Command::new(keeper());
    command.arg("1").arg(world.dir.path().join("logins")).args(["load", "work"]);
    let output = world.desktop.seat(&mut command).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("didn't answer within 1 s"), "{}", text(&output.stderr));
    assert!(began.elapsed() < Duration::from_secs(15));
    world.desktop.go_on();
    assert_eq!(world.does(&["load", "work"]), r#"{"token":1}"#);
}

#[test]
fn where_there_is_no_keyring_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(keeper());
    command.arg("20").arg(dir.path().join("logins")).args(["save", "work", "{}"]);
    command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus");
    let output = command.output().unwrap();
    let told = text(&output.stderr);
    assert!(!output.status.success());
    assert!(told.contains("keyring can't be used") && told.contains("plain file"), "{told}");
}

/// Tests lie in `target/…/deps`, examples beside that folder.
fn keeper() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let keeper = tests.ancestors().nth(2).map(|target| target.join("examples/keeper")).unwrap();
    assert!(Path::new(&keeper).exists(), "run `cargo build --examples -p mcp-auth-keyring` first");
    keeper
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
