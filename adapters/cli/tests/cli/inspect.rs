use mcp_auth_world::{RequiresLogin, ResourceMetadata, What};

use crate::stage::Stage;

#[test]
fn an_inspection_tells_what_the_server_says_and_what_a_login_would_do() {
    let stage = Stage::new();
    let issuer = stage.servers.issuer.clone();
    stage
        .run(&["inspect", stage.url()])
        .exits_with(0)
        .prints(&format!("- probe: GET {}", stage.url()))
        .prints("wants authorization")
        .prints(&format!("{issuer}/.well-known/oauth-authorization-server"))
        .prints(&format!("{issuer}/token"))
        .prints("S256")
        .prints("register a client of its own first")
        .prints("notes:read")
        .prints(&format!("for the resource {}", stage.url()));
    for what in [What::Registrations, What::Authorizations, What::TokenRequests] {
        assert_eq!(stage.count(what), 0, "{what:?}");
    }
}

#[test]
fn an_inspection_is_told_to_programs_as_json() {
    let stage = Stage::new();
    let found = stage.run(&["inspect", "--json", stage.url()]).exits_with(0).json();
    assert_eq!(found["authorization_required"], true);
    assert_eq!(found["resource"], stage.url());
    assert_eq!(found["issuer"], stage.servers.issuer.as_str());
    assert_eq!(found["issuer_known_from"], "resource_metadata");
    assert_eq!(found["login"]["client"], "to_be_registered");
    assert_eq!(found["login"]["possible"], true);
    assert_eq!(found["login"]["scopes"][0], "notes:read");
    assert_eq!(found["leniencies"].as_array().unwrap().len(), 0);
    assert!(found["steps"].as_array().unwrap().len() > 3);
}

#[test]
fn the_client_that_a_login_would_use_is_named() {
    let stage = Stage::logged_in();
    let known = stage.run(&["inspect", "--json", stage.url()]).exits_with(0).json();
    assert_eq!(known["login"]["client"], "registered_earlier");
    let configured = stage.run(&["inspect", "--client-id", "mine", stage.url()]).exits_with(0);
    configured.prints("configured client mine");
    stage.run(&["token", stage.url()]).exits_with(0);
    assert_eq!(stage.count(What::Authorizations), 1);
}

#[test]
fn a_login_that_has_no_client_to_go_as_is_foretold() {
    let stage = Stage::new();
    stage.authorization(|server| server.registration.open = false);
    let ran = stage.run(&["inspect", stage.url()]).exits_with(0);
    ran.prints("fail: no client identity").prints("`--client-id`");
    let found = stage.run(&["inspect", "--json", stage.url()]).exits_with(0).json();
    assert_eq!(found["login"]["possible"], false);
}

#[test]
fn a_leniency_that_a_login_would_need_is_named() {
    let stage = Stage::new();
    stage.authorization(|server| server.challenge_methods = None);
    stage.run(&["inspect", stage.url()]).exits_with(1).says("`--assume-s256`");
    let found = stage.run(&["inspect", "--json", "--assume-s256", stage.url()]).json();
    assert_eq!(found["leniencies"][0], "assumed_s256");
}

#[test]
fn a_server_that_wants_nothing_is_no_failure() {
    let stage = Stage::new();
    stage.servers.world().resource.requires_login = RequiresLogin::Never;
    stage.run(&["inspect", stage.url()]).exits_with(0).prints("wants no authorization");
    let found = stage.run(&["inspect", "--json", stage.url()]).exits_with(0).json();
    assert_eq!(found["authorization_required"], false);
}

#[test]
fn without_metadata_and_without_the_old_way_nothing_is_found() {
    let stage = Stage::new();
    stage.servers.world().resource.metadata = ResourceMetadata::Absent;
    stage
        .run(&["inspect", "--no-legacy", stage.url()])
        .exits_with(1)
        .says("no authorization server found")
        .says("`--issuer`");
    let issuer = stage.servers.issuer.clone();
    stage.run(&["inspect", "--issuer", &issuer, stage.url()]).exits_with(0).prints("the settings");
}
