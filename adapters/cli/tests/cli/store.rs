//! Stores that can't be used, or not written to. A refresh spends what is stored: none is made
//! where its tokens couldn't be kept, and no person is asked in vain.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use mcp_auth_world::What;

use crate::stage::{Ran, Stage, run};

/// A user that no test runs as.
const NOBODY: u32 = 65534;

#[test]
fn on_a_full_disk_an_expired_token_is_an_error_and_the_login_lives() {
    let stage = Stage::expired();
    on_a_full_disk(&stage, &["token", stage.url()])
        .exits_with(1)
        .prints_nothing()
        .says("cannot write")
        .says(stage.store().to_str().unwrap())
        .says("Mend the store");
    stage.lost_nothing();
}

#[test]
fn on_a_full_disk_nobody_is_asked_to_log_in() {
    let stage = Stage::logged_in();
    let before = fs::read(only_record(&stage.store())).unwrap();
    on_a_full_disk(&stage, &["login", stage.url()])
        .exits_with(1)
        .says("cannot write")
        .says(stage.store().to_str().unwrap());
    assert_eq!(stage.count(What::Authorizations), 1);
    assert_eq!(fs::read(only_record(&stage.store())).unwrap(), before);
}

#[test]
fn on_a_full_disk_one_can_log_out() {
    let stage = Stage::logged_in();
    on_a_full_disk(&stage, &["logout", stage.url()]).exits_with(0);
    stage.run(&["token", stage.url()]).exits_with(3);
}

/// The system's own words for a disk without room, a file system that is mounted to be read only, and
/// one without locks.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const BAD_DISKS: [(&str, &str); 3] = [
    ("full", "No space left on device"),
    ("read-only", "Read-only file system"),
    ("lockless", "No locks available"),
];

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn on_a_bad_disk_an_expired_token_is_an_error_that_tells_why_and_the_login_lives() {
    for (disk, reason) in BAD_DISKS {
        let stage = Stage::expired();
        on_a_bad_disk(&stage, disk, &["token", stage.url()])
            .exits_with(1)
            .prints_nothing()
            .says(reason)
            .says(stage.store().to_str().unwrap())
            .says("Mend the store");
        stage.lost_nothing();
    }
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn on_a_bad_disk_a_good_token_is_printed() {
    let stage = Stage::logged_in();
    for (disk, _) in BAD_DISKS {
        let token = on_a_bad_disk(&stage, disk, &["token", stage.url()]).exits_with(0);
        assert_eq!(token.stdout.trim(), stage.newest_token(), "{disk}");
    }
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn on_a_bad_disk_nobody_is_asked_to_log_in() {
    for (disk, reason) in BAD_DISKS {
        let stage = Stage::new();
        // The directory is there.
        stage.run(&["status", stage.url()]);
        on_a_bad_disk(&stage, disk, &["login", stage.url()])
            .exits_with(1)
            .says(reason)
            .says(stage.store().to_str().unwrap());
        assert_eq!((stage.count(What::Registrations), stage.count(What::Authorizations)), (0, 0));
    }
    let stage = Stage::logged_in();
    on_a_bad_disk(&stage, "lockless", &["login", stage.url()])
        .exits_with(1)
        .says("a store needs a file system with locks")
        .says("choose another directory");
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn on_a_disk_without_locks_one_can_log_out() {
    let stage = Stage::logged_in();
    on_a_bad_disk(&stage, "lockless", &["logout", stage.url()]).exits_with(0);
    stage.run(&["token", stage.url()]).exits_with(3);
}

#[test]
fn in_a_directory_that_is_read_only_a_good_token_is_printed() {
    let stage = Stage::logged_in();
    let token = in_a_directory_that_is_read_only(&stage, &["token", stage.url()]).exits_with(0);
    assert_eq!(token.stdout.trim(), stage.newest_token());
}

#[test]
fn in_a_directory_that_is_read_only_an_expired_token_is_an_error_and_the_login_lives() {
    let stage = Stage::expired();
    // As an earlier refresh has left it, and without: a login needs none.
    let lock = only_record(&stage.store()).with_extension("lock");
    for lock_file in [false, true] {
        assert!(!lock.exists());
        if lock_file {
            fs::write(&lock, "").unwrap();
        }
        in_a_directory_that_is_read_only(&stage, &["token", stage.url()])
            .exits_with(1)
            .prints_nothing()
            .says("Permission denied")
            .says(stage.store().to_str().unwrap())
            .says("Mend the store");
    }
    stage.lost_nothing();
}

#[test]
fn a_directory_on_another_file_system_is_as_good_as_any() {
    let stage = Stage::new();
    let elsewhere = Path::new("/dev/shm");
    let elsewhere = if elsewhere.is_dir() { elsewhere } else { Path::new("/tmp") };
    let elsewhere = tempfile::tempdir_in(elsewhere).unwrap();
    symlink(elsewhere.path(), stage.store()).unwrap();
    stage.run(&["login", stage.url()]).exits_with(0);
    stage.run(&["token", stage.url()]).exits_with(0);
    assert!(only_record(elsewhere.path()).is_file());
}

#[test]
fn a_directory_that_cannot_be_is_named_with_the_reason() {
    let stage = Stage::new();
    let file = stage.file("file", "");
    for (dir, reason) in [
        (format!("{file}/store"), "Not a directory"),
        (file, "exists"),
        ("/dev/null/store".into(), "Not a directory"),
    ] {
        for command in ["login", "token"] {
            let args = [command, stage.url(), "--store", &dir, "--timeout", "9"];
            let ran = run(&mut crate::stage::plain(&args)).exits_with(1).says(&dir).says(reason);
            ran.says("choose another with `--store`");
        }
    }
    assert_eq!(stage.count(What::Registrations), 0);
}

impl Stage {
    fn lost_nothing(&self) {
        assert_eq!(self.count(What::Refreshes), 0);
        self.run(&["token", self.url()]).exits_with(0);
        assert!(!self.servers.world().reuse_seen());
        assert_eq!(self.count(What::Authorizations), 1);
    }
}

/// No file can grow: for a program that is the same.
fn on_a_full_disk(stage: &Stage, args: &[&str]) -> Ran {
    let command = stage.command(args);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    run(&mut limited)
}

/// The command, with a library that fails its system calls as such a disk does: see `disk.c`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn on_a_bad_disk(stage: &Stage, disk: &str, args: &[&str]) -> Ran {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/disk.c");
    let built = tempfile::tempdir().unwrap();
    let library = built.path().join("disk.so");
    // Whoever builds Rust programs has a C compiler to link them.
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
    assert!(compiler.status().unwrap().success());
    let mut command = stage.command(args);
    command.env("LD_PRELOAD", library).env("DISK", disk).env("DISK_DIR", stage.store());
    run(&mut command)
}

/// Permissions don't bind root: there, all of it is another user's for that time, who runs a copy of
/// the command.
fn in_a_directory_that_is_read_only(stage: &Stage, args: &[&str]) -> Ran {
    let store = stage.store();
    let mine = fs::metadata(&store).map(|dir| std::os::unix::fs::MetadataExt::uid(&dir)).unwrap();
    let mut command = stage.command(args);
    let all = || fs::read_dir(&store).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    let is_root = chown(&store, Some(NOBODY), None).is_ok();
    if is_root {
        all().iter().for_each(|path| chown(path, Some(NOBODY), None).unwrap());
        let (beside, program) = (store.parent().unwrap(), store.with_file_name("mcp-auth"));
        fs::set_permissions(beside, Permissions::from_mode(0o711)).unwrap();
        if !program.exists() {
            fs::copy(command.get_program(), &program).unwrap();
        }
        let mut copy = Command::new(program);
        copy.args(command.get_args()).current_dir("/").uid(NOBODY).gid(NOBODY);
        command = copy;
    }
    fs::set_permissions(&store, Permissions::from_mode(0o500)).unwrap();
    let ran = run(&mut command);
    fs::set_permissions(&store, Permissions::from_mode(0o700)).unwrap();
    if is_root {
        chown(&store, Some(mine), None).unwrap();
        all().iter().for_each(|path| chown(path, Some(mine), None).unwrap());
    }
    ran
}

fn only_record(dir: &Path) -> std::path::PathBuf {
    let mut paths = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|end| end == "json")).unwrap()
}
