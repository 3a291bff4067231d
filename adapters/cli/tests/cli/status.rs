use std::fs;

use mcp_auth_world::{ExpiresIn, RefreshTokens};

use crate::stage::Stage;

#[test]
fn a_login_is_shown_without_asking_anybody_and_without_a_token() {
    let stage = Stage::logged_in();
    let asked = stage.servers.world().log.len();
    let ran = stage.run(&["status", stage.url()]).exits_with(0);
    assert!(!ran.stdout.contains(&stage.newest_token()));
    let issuer = stage.servers.issuer.clone();
    ran.prints(stage.url()).prints(&issuer).prints("notes:read").prints("expires in ");
    assert_eq!(stage.servers.world().log.len(), asked);
}

#[test]
fn a_login_that_is_not_there_has_the_exit_code_of_one_that_is_required() {
    let stage = Stage::new();
    stage.run(&["status", stage.url()]).exits_with(3).says("no login is stored").prints_nothing();
}

#[test]
fn a_login_that_has_ended_is_shown_and_told_by_the_exit_code() {
    let stage = Stage::new();
    stage.authorization(|server| {
        server.expires_in = ExpiresIn::Zero;
        server.refresh_tokens = RefreshTokens::Never;
    });
    stage.run(&["login", stage.url()]).exits_with(0);
    let ran = stage.run(&["status", "--json", stage.url()]).exits_with(3);
    assert_eq!(ran.json()["status"], "expired");
    assert_eq!(ran.json()["refreshable"], false);
}

#[test]
fn all_logins_are_listed() {
    let stage = Stage::new();
    stage.run(&["status"]).exits_with(0).prints("No logins");
    stage.run(&["login", stage.url()]).exits_with(0);
    stage.run(&["login", "--account", "work", stage.url()]).exits_with(0);
    stage.run(&["status"]).exits_with(0).prints("account default").prints("account work");
    let all = stage.run(&["status", "--json"]).exits_with(0).json();
    assert_eq!(all["logins"].as_array().unwrap().len(), 2);
    assert_eq!(all["logins"][0]["status"], "usable");
    let work = stage.run(&["status", "--json", "--account", "work"]).exits_with(0).json();
    assert_eq!(work["logins"].as_array().unwrap().len(), 1);
    stage.run(&["logout", stage.url()]).exits_with(0);
    let rest = stage.run(&["status", "--json"]).exits_with(0).json();
    assert_eq!(rest["logins"][0]["account"], "work");
    assert_eq!(rest["logins"].as_array().unwrap().len(), 1);
}

#[test]
fn a_damaged_file_does_not_hide_the_other_logins() {
    let stage = Stage::logged_in();
    let damaged = stage.store().join("a.json");
    fs::write(&damaged, "{").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&damaged, fs::Permissions::from_mode(0o600)).unwrap();
    }
    stage.run(&["status"]).exits_with(1).prints(stage.url()).says("a.json");
}

#[test]
#[cfg(unix)]
fn a_store_that_others_can_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new();
    fs::create_dir(stage.store()).unwrap();
    fs::set_permissions(stage.store(), fs::Permissions::from_mode(0o777)).unwrap();
    let store = stage.store();
    stage
        .run(&["login", stage.url()])
        .exits_with(1)
        .says(store.to_str().unwrap())
        .says("fault: this machine");
    assert!(stage.servers.world().log.is_empty());
}

#[test]
fn a_store_that_cannot_be_made_is_told() {
    let stage = Stage::new();
    let file = stage.file("store", "in the way");
    stage.run(&["status"]).exits_with(1).says(&file).says("--store");
}
