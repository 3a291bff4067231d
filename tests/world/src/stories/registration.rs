use super::*;
use crate::{ClientAuthentication, What};

#[test]
fn a_client_gets_what_it_asked_for() {
    let mut world = World::new();
    let reply = register_with(&mut world, AUTH, &json!({ "client_name": "Notes" }));
    assert_eq!(reply.status(), 201);
    let reply = body(&reply);
    assert_eq!(reply["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(reply["client_secret_expires_at"], 0);
    assert_eq!(reply["client_name"], "Notes");
    let secret = reply["client_secret"].as_str().unwrap();
    assert!(secret.ends_with(":+%/="), "the secret needs encoding: {secret}");
    let none = json!({ "token_endpoint_auth_method": "none" });
    let public = body(&register_with(&mut world, AUTH, &none));
    assert_eq!(public.get("client_secret"), None);
    assert_ne!(public["client_id"], reply["client_id"]);
    assert_eq!(world.registrations(), 2);
}

#[test]
fn a_registration_may_be_refused() {
    let mut world = World::new();
    let nowhere = json!({ "redirect_uris": [] });
    assert_eq!(error(&register_with(&mut world, AUTH, &nowhere)), "invalid_redirect_uri");
    let strange = json!({ "token_endpoint_auth_method": "tls_client_auth" });
    assert_eq!(error(&register_with(&mut world, AUTH, &strange)), "invalid_client_metadata");
    world.authorization[0].registration.refuses_application_type = Some("native".to_owned());
    assert_eq!(error(&register_with(&mut world, AUTH, &json!({}))), "invalid_client_metadata");
    let web = json!({ "application_type": "web" });
    assert_eq!(register_with(&mut world, AUTH, &web).status(), 201);
    world.authorization[0].registration.initial_access_token = Some("ticket".to_owned());
    assert_eq!(register_with(&mut world, AUTH, &web).status(), 401);
    world.authorization[0].registration.open = false;
    assert_eq!(register_with(&mut world, AUTH, &web).status(), 404);
    let url = world.authorization[0].metadata_url().unwrap();
    assert_eq!(body(&get(&mut world, &url)).get("registration_endpoint"), None);
    assert_eq!((world.count(What::Registrations), world.registrations()), (5, 1));
}

#[test]
fn a_server_may_answer_with_another_method_and_status() {
    let mut world = World::new();
    world.authorization[0].registration.status = 200;
    world.authorization[0].registration.assigns = Some(ClientAuthentication::Post);
    let none = json!({ "token_endpoint_auth_method": "none" });
    let reply = register_with(&mut world, AUTH, &none);
    assert_eq!(reply.status(), 200);
    let reply = body(&reply);
    assert_eq!(reply["token_endpoint_auth_method"], "client_secret_post");
    let id = reply["client_id"].as_str().unwrap();
    let code = approved_code(&mut world, AUTH, id, "notes:read");
    assert_eq!(error(&redeem(&mut world, NOW, id, &code, VERIFIER)), "invalid_client");
}

#[test]
fn a_client_secret_may_run_out() {
    let mut world = World::new();
    world.authorization[0].registration.secret_lifetime = Some(100);
    let reply = body(&register_with(&mut world, AUTH, &json!({})));
    assert_eq!(reply["client_secret_expires_at"], NOW + 100);
    let (id, secret) =
        (reply["client_id"].as_str().unwrap(), reply["client_secret"].as_str().unwrap());
    let fields = [("grant_type", "refresh_token"), ("refresh_token", "unknown")];
    let request = basic_post(&format!("{AUTH}/token"), id, secret, &fields);
    assert_eq!(error(&world.handle(NOW + 99, &request).unwrap()), "invalid_grant");
    let late = world.handle(NOW + 100, &request).unwrap();
    assert_eq!((late.status().as_u16(), error(&late).as_str()), (401, "invalid_client"));
    assert!(late.headers().contains_key("www-authenticate"));
}

#[test]
fn a_forgotten_client_is_unknown_at_the_token_endpoint() {
    let mut world = World::new();
    let login = login(&mut world, "notes:read");
    assert!(world.authorization[0].forget_client(&login.client));
    assert!(!world.authorization[0].forget_client(&login.client));
    let refused = refresh(&mut world, NOW, &login.client, &login.refresh);
    assert_eq!((refused.status().as_u16(), error(&refused).as_str()), (401, "invalid_client"));
    // A token that is out is out.
    assert_eq!(call(&mut world, NOW, Some(&login.access), "whoami").status(), 200);
}

#[test]
fn a_client_manages_its_own_registration_alone() {
    let mut world = World::new();
    world.authorization[0].registration.manageable = true;
    let reply = body(&register_with(&mut world, AUTH, &json!({})));
    let url = reply["registration_client_uri"].as_str().unwrap();
    let token = reply["registration_access_token"].as_str().unwrap();
    let mut send = |method: &str, token: &str, body: &str| {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", format!("Bearer {token}"))
            .body(body.as_bytes().to_vec())
            .unwrap();
        world.handle(NOW, &request).unwrap().status().as_u16()
    };
    assert_eq!(send("GET", token, ""), 200);
    assert_eq!(send("GET", "guess", ""), 401);
    assert_eq!(send("PUT", token, r#"{"redirect_uris":["http://[::1]/new"]}"#), 400);
    assert_eq!(send("PUT", token, "[]"), 400);
    assert_eq!(send("DELETE", "guess", ""), 401);
    assert_eq!(send("DELETE", token, ""), 204);
    assert_eq!(send("GET", token, ""), 401);
    assert_eq!(world.authorization[0].clients().count(), 0);
}

#[test]
fn a_change_says_everything_again_and_brings_new_credentials() {
    let mut world = World::new();
    world.authorization[0].registration.manageable = true;
    world.authorization[0].registration.secret_lifetime = Some(100);
    let registered = body(&register_with(&mut world, AUTH, &json!({ "client_name": "Notes" })));
    let mut said = registered.clone();
    for name in [
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    ] {
        said.as_object_mut().unwrap().remove(name);
    }
    let mut put = |token: &serde_json::Value, said: &serde_json::Value| {
        let request = Request::put(registered["registration_client_uri"].as_str().unwrap())
            .header("authorization", format!("Bearer {}", token.as_str().unwrap()))
            .body(said.to_string().into_bytes())
            .unwrap();
        world.handle(NOW + 50, &request).unwrap()
    };
    let token = &registered["registration_access_token"];
    for (name, value) in [
        ("client_id", json!("another")),
        ("client_secret", json!("another")),
        ("client_secret_expires_at", json!(0)),
        ("client_name", json!(null)),
        ("x_tier", json!(null)),
    ] {
        let mut wrong = said.clone();
        wrong[name] = value;
        if wrong[name].is_null() {
            wrong.as_object_mut().unwrap().remove(name);
        }
        assert_eq!(error(&put(token, &wrong)), "invalid_client_metadata", "{name}");
    }
    let changed = body(&put(token, &said));
    assert_eq!(changed["client_secret_expires_at"], NOW + 150);
    for name in ["client_secret", "registration_access_token"] {
        assert_ne!(changed[name], registered[name], "{name}");
    }
    for name in ["client_id", "client_name", "x_tier", "redirect_uris"] {
        assert_eq!(changed[name], registered[name], "{name}");
    }
    assert_eq!(put(token, &said).status(), 401, "spent");
    assert_eq!(world.count(What::RegistrationUpdates), 7);
}
