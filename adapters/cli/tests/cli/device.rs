use mcp_auth_world::{Person, Visit, What};

use crate::stage::{Running, Stage, plain, run};
use crate::walker::walk;

/// A stage whose server gives codes, and wants to be asked every second.
fn stage() -> Stage {
    let stage = Stage::new();
    stage.authorization(|server| {
        server.device = true;
        server.poll_interval = Some(1);
    });
    stage
}

/// The code, as it is printed.
fn code(login: &mut Running) -> String {
    let line = login.hear("Enter the code: ");
    line.split(": ").last().unwrap().to_owned()
}

#[test]
fn a_code_is_printed_and_entered_on_another_device() {
    let stage = stage();
    let mut login = stage.start(&["login", "--device", stage.url()]);
    assert_eq!(login.hear("/device"), format!("{}/device", stage.servers.issuer));
    let code = code(&mut login);
    let page = login.hear("user_code=");
    assert!(page.ends_with(&code), "{page}");
    assert_eq!(walk(&page).unwrap(), 200);
    login.ends().exits_with(0).says("Logged in").prints_nothing();
    stage.run(&["token", stage.url()]).exits_with(0);
    assert_eq!((stage.count(What::Authorizations), stage.count(What::CodeExchanges)), (0, 0));
    assert!(stage.servers.world().leaks().is_empty());
}

#[test]
fn where_no_browser_can_be_opened_a_code_is_printed_without_being_asked_for() {
    let stage = stage();
    // Neither $BROWSER nor a desktop.
    let args =
        ["login", stage.url(), "--store", stage.store().to_str().unwrap()].map(str::to_owned);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    stage.servers.world().person = Person::Ignores;
    let mut login = Running::of(&mut plain(&args));
    let code = code(&mut login);
    let visit = stage.servers.world().enter_code(now(), &code, &Person::Approves);
    assert!(matches!(visit, Visit::Page(_)), "{visit:?}");
    login.ends().exits_with(0);
    stage.run(&["token", stage.url()]).exits_with(0);
    assert_eq!(stage.servers.world().registrations(), 1);
    // Where the server gives none, what to do is said as ever.
    let other = Stage::new();
    let store = other.store();
    run(&mut plain(&["login", other.url(), "--store", store.to_str().unwrap()]))
        .exits_with(1)
        .says("no desktop")
        .says("--paste");
}

#[test]
fn who_says_no_elsewhere_is_heard_here() {
    let stage = stage();
    let mut login = stage.start(&["login", "--device", "--json", stage.url()]);
    let code = code(&mut login);
    let _ = stage.servers.world().enter_code(now(), &code, &Person::Denies);
    let denied = login.ends().exits_with(1);
    assert_eq!(denied.json()["error"]["oauth"]["error"], "access_denied");
}

#[test]
fn a_server_that_gives_no_codes_is_told_at_once() {
    let stage = Stage::new();
    stage
        .run(&["login", "--device", stage.url()])
        .exits_with(1)
        .says("offers no device authorization grant")
        .says("fault: the settings")
        .says("--paste");
    assert_eq!(stage.servers.world().registrations(), 0);
    stage.run(&["login", "--device", "--paste", stage.url()]).exits_with(2);
}

#[test]
fn an_inspection_shows_where_codes_come_from() {
    let stage = stage();
    let endpoint = format!("{}/device_authorization", stage.servers.issuer);
    stage.run(&["inspect", stage.url()]).exits_with(0).prints(&endpoint);
    let found = stage.run(&["inspect", "--json", stage.url()]).json();
    assert_eq!(found["endpoints"]["device"], endpoint);
}

fn now() -> u64 {
    mcp_auth_host::system::clock().0
}
