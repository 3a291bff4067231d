//! Requests that take a key's signature.

use mcp_auth::{DpopUse, Grant};
use mcp_auth_hosts::Vault;
use mcp_auth_world::signer::public_key;

use super::*;

/// A town that knows DPoP, and a program that wants it.
fn bound() -> (Town, Host, Vault) {
    let (town, vault) = (Town::new(), Vault::default());
    town.world().authorization[0].dpop = true;
    let config =
        Config { dpop: DpopUse::Always, dpop_key: Some(Vault::place()), ..Config::default() };
    let session = town.session().config(config).signer(vault.clone()).build().unwrap();
    session.login().unwrap();
    (town, session, vault)
}

fn generation(session: &Host) -> Option<mcp_auth::Generation> {
    let grant = session.token(&need(), Asking::Never).unwrap();
    grant.as_ref().map(Grant::generation)
}

/// How often the MCP server was called.
fn calls(town: &Town) -> usize {
    town.world().log.iter().filter(|exchange| exchange.path == "/mcp").count()
}

#[test]
fn each_has_one_of_its_own_and_a_new_nonce_costs_no_token() {
    let (town, session, vault) = bound();
    let first = generation(&session);
    let before = vault.signed();
    for nonce in [None, Some("m-1"), Some("m-1"), Some("m-2")] {
        town.world().resource.dpop_nonce = nonce.map(str::to_owned);
        let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
        assert_eq!(response.status(), 200);
    }
    // Four, and two once more.
    assert_eq!(vault.signed(), before + 6);
    assert_eq!(generation(&session), first);
    assert_eq!((town.count(What::TokenRequests), town.count(What::Authorizations)), (1, 1));
    // A token that is refused is another matter.
    town.world().resource.refuse_next = 1;
    let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
    assert_eq!((response.status().as_u16(), town.count(What::Refreshes)), (200, 1));
    assert!(town.world().leaks().is_empty());
}

#[test]
fn a_server_that_is_never_content_is_not_asked_for_ever() {
    let (town, session, _) = bound();
    for n in 0..20 {
        let answer = Canned::json(401, r#"{"error":"use_dpop_nonce"}"#);
        let answer = answer.header("dpop-nonce", &format!("n-{n}"));
        let answer = answer.header("www-authenticate", r#"DPoP error="use_dpop_nonce""#);
        town.world().faults.push(Fault::answer("POST", "/mcp", answer));
    }
    let before = calls(&town);
    let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(calls(&town), before + 8);
    assert_eq!(town.count(What::TokenRequests), 1);
}

#[test]
fn without_it_nothing_is_sent_and_the_login_is_kept() {
    let (town, session, vault) = bound();
    let before = calls(&town);
    vault.lock(true);
    let error = session.send(town.call("whoami"), &need(), Asking::Never).unwrap_err();
    let SendError::Auth(error) = error else { panic!("{error:?}") };
    assert!(matches!(error.kind(), ErrorKind::SigningFailed { .. }), "{error}");
    assert!(error.to_string().contains("the vault is locked"), "{error}");
    assert_eq!(calls(&town), before);
    vault.lock(false);
    let response = session.send(town.call("whoami"), &need(), Asking::Never).unwrap();
    assert_eq!((response.status().as_u16(), town.count(What::TokenRequests)), (200, 1));
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_told_of() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("client.pem");
    mcp_auth_host::signer::generate(&path).unwrap();
    for (mode, exposed) in [(0o600, false), (0o644, true)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let (town, told) = (Town::new(), Arc::new(Mutex::new(Vec::new())));
        let place = SecretRef::File(path.to_str().unwrap().to_owned());
        let config = Config {
            client_id: Some("by-hand".to_owned()),
            client_key: Some(place.clone()),
            ..Config::default()
        };
        town.world().authorization[0].preregister_key("by-hand", public_key("another"));
        let lines = told.clone();
        let session = town.session().config(config).on_notice(move |notice| {
            if let Notice::SecretExposed { place } = notice {
                lines.lock().unwrap().push(place.clone());
            }
        });
        // The key is looked at before anybody is asked. The server knows another.
        let error = session.build().unwrap().login().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TokenRefused { .. }), "{error}");
        let told = told.lock().unwrap();
        assert_eq!(told.first(), Some(&place.to_string()).filter(|_| exposed), "{mode:o}");
    }
}
