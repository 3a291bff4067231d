use std::fs;
use std::time::Duration;

use mcp_auth_world::{Canned, ClientAuthentication, ExpiresIn, Fault, Person, RefreshTokens, What};

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
fn a_login_that_only_a_person_can_renew_is_told_from_one_that_is_retried() {
    let stage = Stage::expired();
    let state = |stage: &Stage, code| {
        let data = stage.run(&["status", "--json", stage.url()]).exits_with(code).json();
        (data["state"].as_str().unwrap().to_owned(), data["retrying"].clone())
    };
    let nothing = serde_json::Value::Null;
    assert_eq!(state(&stage, 0), ("authorized".into(), nothing.clone()));
    stage.run(&["status", stage.url()]).exits_with(0).prints("state    authorized");

    let outage = Canned::new(503, "").header("retry-after", "7200");
    stage.servers.world().faults.push(Fault::answer("POST", "/token", outage));
    stage.run(&["token", stage.url()]).exits_with(1).says("passing failure");
    let (name, retrying) = state(&stage, 0);
    let seconds = |name: &str| retrying[name].as_u64().unwrap();
    assert_eq!((name.as_str(), seconds("next") - seconds("since")), ("retrying", 7200));
    let ran = stage.run(&["status", stage.url()]).exits_with(0);
    ran.prints("retrying since ").prints(" ago, next try in ");

    // A person doesn't wait for that.
    stage.authorization(|server| server.refresh_tokens = RefreshTokens::Never);
    stage.run(&["login", stage.url()]).exits_with(0);
    assert_eq!(state(&stage, 3), ("login_required".into(), nothing));
    stage.run(&["status", stage.url()]).exits_with(3).prints("state    login required");
}

#[test]
fn a_refused_renewal_needs_a_person() {
    let stage = Stage::expired();
    stage.authorization(|server| server.revoke_everything());
    stage.run(&["token", stage.url()]).exits_with(3);
    let ran = stage.run(&["status", "--json", stage.url()]).exits_with(3);
    assert_eq!(ran.json()["state"], "login_required");
    stage.run(&["status"]).exits_with(0).prints("login required");
}

#[test]
fn a_client_that_the_settings_name_can_renew_its_login() {
    let stage = Stage::new();
    stage.authorization(|server| {
        server.preregister("by-hand", None);
        server.expires_in = ExpiresIn::Zero;
    });
    stage.run(&["login", "--client-id", "by-hand", stage.url()]).exits_with(0);
    let data = stage.run(&["status", "--json", stage.url()]).exits_with(0).json();
    assert_eq!((&data["state"], &data["status"]), (&"authorized".into(), &"usable".into()));
}

#[test]
fn a_login_that_was_begun_is_told_from_none() {
    let stage = Stage::new();
    stage.servers.world().person = Person::Ignores;
    stage.run(&["login", "--timeout", "2", stage.url()]).exits_with(1);
    let issuer = stage.servers.issuer.clone();
    stage
        .run(&["status", stage.url()])
        .exits_with(3)
        .prints(&format!("begun at {issuer}, and not finished"))
        .prints("state    login required");
    let data = stage.run(&["status", "--json"]).exits_with(0).json();
    assert_eq!(data["logins"][0]["status"], "unfinished");
    assert_eq!(data["logins"][0]["issuer"], issuer.as_str());
}

#[test]
fn a_client_secret_that_ends_is_shown_and_renewed_behind_the_back_of_a_command() {
    let stage = Stage::new();
    stage.authorization(|server| {
        server.client_authentication = vec![ClientAuthentication::Basic];
        server.registration.secret_lifetime = Some(4);
    });
    stage.run(&["login", stage.url()]).exits_with(0);
    let ends = |stage: &Stage| {
        let data = stage.run(&["status", "--json", stage.url()]).exits_with(0).json();
        data["client_secret_expires_at"].as_u64().unwrap()
    };
    let first = ends(&stage);
    stage.run(&["status", stage.url()]).exits_with(0).prints("of the client ends in ");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(stage.count(What::RegistrationUpdates), 0, "whoever only looks sends nothing");
    let token = stage.run(&["token", stage.url()]).exits_with(0);
    assert_eq!(token.stdout.trim(), stage.newest_token());
    assert_eq!((stage.count(What::RegistrationUpdates), stage.count(What::Refreshes)), (1, 0));
    assert!(ends(&stage) > first);
    // A request that finds its token in the store is a use of it as well.
    std::thread::sleep(Duration::from_secs(2));
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    stage.run(&["request", stage.url(), "--data", call]).exits_with(0);
    assert_eq!((stage.count(What::RegistrationUpdates), stage.count(What::Refreshes)), (2, 0));
    // The new secret, and what manages it, are what the logout shows.
    stage.run(&["logout", stage.url()]).exits_with(0);
    assert_eq!(stage.servers.world().authorization[0].clients().count(), 0);
}

#[test]
fn a_wrong_clock_is_told_with_what_to_do() {
    let stage = Stage::new();
    stage.servers.world().clock_ahead = 7200;
    stage.run(&["inspect", stage.url()]).exits_with(0).prints("s behind that of ");
    let login = stage.run(&["login", stage.url()]).exits_with(0);
    login.says("warning: this machine's clock is 7").says("advice: Set this machine's clock");
    let ran = stage.run(&["status", stage.url()]).exits_with(0);
    ran.prints("clock    this machine's clock is 7").prints("Set this machine's clock");
    let data = stage.run(&["status", "--json", stage.url()]).exits_with(0).json();
    let seconds = data["clock_skew"]["seconds"].as_i64().unwrap();
    assert!((-7201..-7190).contains(&seconds), "{data}");
    stage.servers.world().clock_ahead = 0;
    stage.run(&["login", stage.url()]).exits_with(0);
    let data = stage.run(&["status", "--json", stage.url()]).exits_with(0).json();
    assert_eq!(data["clock_skew"], serde_json::Value::Null);
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

#[test]
fn the_person_is_named_at_the_login_and_in_the_status() {
    let stage = Stage::new();
    let claims = serde_json::json!({ "sub": "1", "email": "ada@example.com", "name": "Ada" });
    stage.authorization(|server| server.id_token = Some(claims.clone()));
    let login = stage.run(&["login", stage.url()]).exits_with(0);
    login.says("as Ada <ada@example.com>.");
    stage.run(&["status", stage.url()]).exits_with(0).prints("person   Ada <ada@example.com>");
    let status = stage.run(&["status", "--json", stage.url()]).json();
    assert_eq!(status["person"], claims);
}
