use super::*;
use crate::{
    ClientAuthentication, ExpiresIn, Outcome, RefreshTokens, ResourceIndicators, TokenReply,
};

#[test]
fn a_wrong_verifier_gets_no_token_and_burns_the_code() {
    let mut world = World::new();
    let client = register_at(&mut world, AUTH);
    let code = approved_code(&mut world, AUTH, &client, "notes:read");
    let wrong = redeem(&mut world, NOW, &client, &code, &VERIFIER.replace('a', "b"));
    assert_eq!((wrong.status().as_u16(), error(&wrong).as_str()), (400, "invalid_grant"));
    let too_late = redeem(&mut world, NOW, &client, &code, VERIFIER);
    assert_eq!(error(&too_late), "invalid_grant");
    assert!(world.reuse_seen());
}

#[test]
fn a_code_lives_for_a_minute() {
    let mut world = World::new();
    let client = register_at(&mut world, AUTH);
    let first = approved_code(&mut world, AUTH, &client, "notes:read");
    assert_eq!(redeem(&mut world, NOW + 59, &client, &first, VERIFIER).status(), 200);
    let second = approved_code(&mut world, AUTH, &client, "notes:read");
    assert_eq!(error(&redeem(&mut world, NOW + 60, &client, &second, VERIFIER)), "invalid_grant");
}

#[test]
fn a_code_that_comes_twice_ends_what_it_gave() {
    let mut world = World::new();
    let client = register_at(&mut world, AUTH);
    let code = approved_code(&mut world, AUTH, &client, "notes:read");
    let reply = body(&redeem(&mut world, NOW, &client, &code, VERIFIER));
    let access = reply["access_token"].as_str().unwrap();
    assert_eq!(call(&mut world, NOW, Some(access), "whoami").status(), 200);
    redeem(&mut world, NOW, &client, &code, VERIFIER);
    assert_eq!(call(&mut world, NOW, Some(access), "whoami").status(), 401);
}

#[test]
fn a_code_is_for_one_client_one_redirect_and_one_resource() {
    let mut world = World::new();
    let client = register_at(&mut world, AUTH);
    let other = register_at(&mut world, AUTH);
    let mut attempt = |client: &str, redirect: &str, resource: &str| {
        let owner = world.authorization[0].clients().next().unwrap().id.clone();
        let code = approved_code(&mut world, AUTH, &owner, "notes:read");
        let client = if client.is_empty() { owner } else { client.to_owned() };
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", &client),
            ("code", &code),
            ("redirect_uri", redirect),
            ("code_verifier", VERIFIER),
            ("resource", resource),
        ];
        error(&post(&mut world, NOW, &format!("{AUTH}/token"), &fields))
    };
    assert_eq!(attempt("", REDIRECT, MCP), "");
    let stranger = if client < other { &other } else { &client };
    assert_eq!(attempt(stranger, REDIRECT, MCP), "invalid_grant");
    assert_eq!(attempt("", "http://127.0.0.1:1/callback", MCP), "invalid_grant");
    assert_eq!(attempt("", REDIRECT, "https://mcp.example.com/"), "invalid_target");
    assert_eq!(attempt("", REDIRECT, ""), "invalid_target");
}

#[test]
fn one_who_is_refused_for_the_resource_may_try_without_it() {
    let mut world = World::new();
    world.authorization[0].resources = ResourceIndicators::RefusedAtToken;
    let client = register_at(&mut world, AUTH);
    let code = approved_code(&mut world, AUTH, &client, "notes:read");
    assert_eq!(error(&redeem(&mut world, NOW, &client, &code, VERIFIER)), "invalid_target");
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", &client),
        ("code", &code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    let reply = body(&post(&mut world, NOW, &format!("{AUTH}/token"), &fields));
    let access = reply["access_token"].as_str().unwrap();
    assert_eq!(call(&mut world, NOW, Some(access), "whoami").status(), 200);
    assert!(!world.reuse_seen());
}

#[test]
fn refresh_tokens_rotate_and_keep_their_lineage() {
    let mut world = World::new();
    let login = login(&mut world, "notes:read");
    let second = body(&refresh(&mut world, NOW + 10, &login.client, &login.refresh));
    let second = second["refresh_token"].as_str().unwrap();
    assert_ne!(second, login.refresh);
    assert_eq!(world.newest_refresh_token(), Some(second));
    assert_eq!(refresh(&mut world, NOW + 20, &login.client, second).status(), 200);
    let generations: Vec<_> =
        world.token_requests().filter_map(|t| t.refresh).map(|l| l.generation).collect();
    assert_eq!(generations, [0, 1]);
    assert!(!world.reuse_seen());
}

#[test]
fn a_spent_refresh_token_ends_its_family() {
    let mut world = World::new();
    let login = login(&mut world, "notes:read");
    let reply = body(&refresh(&mut world, NOW, &login.client, &login.refresh));
    let (access, newest) =
        (reply["access_token"].as_str().unwrap(), reply["refresh_token"].as_str().unwrap());
    assert!(world.authorization[0].takes_refresh_token(NOW, newest));
    assert_eq!(error(&refresh(&mut world, NOW, &login.client, &login.refresh)), "invalid_grant");
    assert!(world.reuse_seen());
    assert_eq!(error(&refresh(&mut world, NOW, &login.client, newest)), "invalid_grant");
    assert_eq!(call(&mut world, NOW, Some(access), "whoami").status(), 401);
    assert_eq!(world.newest_refresh_token(), None);
}

#[test]
fn a_grace_period_forgives_one_who_retries_soon() {
    let mut world = World::new();
    world.authorization[0].reuse_grace = Some(30);
    let login = login(&mut world, "notes:read");
    assert_eq!(refresh(&mut world, NOW, &login.client, &login.refresh).status(), 200);
    assert_eq!(refresh(&mut world, NOW + 30, &login.client, &login.refresh).status(), 200);
    assert!(!world.reuse_seen());
    let late = refresh(&mut world, NOW + 31, &login.client, &login.refresh);
    assert_eq!(error(&late), "invalid_grant");
    assert!(world.reuse_seen());
}

#[test]
fn some_servers_repeat_the_refresh_token_or_say_nothing_or_have_none() {
    let mut world = World::new();
    let mut first_and_next = |mode| {
        world.authorization[0].refresh_tokens = mode;
        let login = login(&mut world, "notes:read");
        let next = body(&refresh(&mut world, NOW, &login.client, &login.refresh));
        (login.refresh, next["refresh_token"].as_str().map(str::to_owned))
    };
    let (first, next) = first_and_next(RefreshTokens::Repeated);
    assert_eq!(Some(first), next);
    let (first, next) = first_and_next(RefreshTokens::Omitted);
    assert_eq!((first.is_empty(), next), (false, None));
    let (first, _) = first_and_next(RefreshTokens::Never);
    assert_eq!(first, "");
}

#[test]
fn a_refresh_token_may_cost_offline_access_or_a_registered_grant() {
    let mut world = World::new();
    world.authorization[0].refresh_needs_offline_access = true;
    assert_eq!(login(&mut world, "notes:read").refresh, "");
    assert_ne!(login(&mut world, "notes:read offline_access").refresh, "");
    let members = json!({ "grant_types": null, "token_endpoint_auth_method": "none" });
    let client = body(&register_with(&mut world, AUTH, &members));
    let client = client["client_id"].as_str().unwrap();
    let code = approved_code(&mut world, AUTH, client, "notes:read offline_access");
    let reply = body(&redeem(&mut world, NOW, client, &code, VERIFIER));
    assert_eq!(reply.get("refresh_token"), None);
    assert!(reply.get("access_token").is_some());
}

#[test]
fn a_refresh_never_widens_the_scopes_and_names_the_resource() {
    let mut world = World::new();
    let login = login(&mut world, "notes:read");
    let url = format!("{AUTH}/token");
    let mut fields = refresh_fields(&login.client, &login.refresh).to_vec();
    fields.push(("scope", "notes:read notes:write"));
    assert_eq!(error(&post(&mut world, NOW, &url, &fields)), "invalid_scope");
    let without_resource = &refresh_fields(&login.client, &login.refresh)[..3];
    assert_eq!(error(&post(&mut world, NOW, &url, without_resource)), "invalid_target");
    assert_eq!(refresh(&mut world, NOW, &login.client, &login.refresh).status(), 200);
}

#[test]
fn the_lifetime_is_told_in_many_ways() {
    let mut world = World::new();
    let mut told = |how| {
        world.authorization[0].expires_in = how;
        let client = register_at(&mut world, AUTH);
        let code = approved_code(&mut world, AUTH, &client, "notes:read");
        body(&redeem(&mut world, NOW, &client, &code, VERIFIER)).get("expires_in").cloned()
    };
    assert_eq!(told(ExpiresIn::Number), Some(json!(3600)));
    assert_eq!(told(ExpiresIn::String), Some(json!("3600")));
    assert_eq!(told(ExpiresIn::Absent), None);
    assert_eq!(told(ExpiresIn::Zero), Some(json!(0)));
    assert_eq!(told(ExpiresIn::Negative), Some(json!(-1)));
    assert_eq!(told(ExpiresIn::Raw(json!(3599.7))), Some(json!(3599.7)));
}

#[test]
fn a_reply_comes_as_a_form_or_nested_or_as_an_error_in_disguise() {
    let mut world = World::new();
    let client = register_at(&mut world, AUTH);
    let reply = |world: &mut World, form| {
        world.authorization[0].reply = form;
        let code = approved_code(world, AUTH, &client, "notes:read");
        redeem(world, NOW, &client, &code, VERIFIER)
    };
    let form = reply(&mut world, TokenReply::FormEncoded);
    assert_eq!(form.headers()["content-type"], "application/x-www-form-urlencoded");
    assert!(form.body().starts_with(b"access_token=access-"));
    let nested = body(&reply(&mut world, TokenReply::InsideAuthedUser));
    assert!(nested["authed_user"]["access_token"].is_string());
    world.authorization[0].reply = TokenReply::ErrorsWith200;
    let disguised = redeem(&mut world, NOW, &client, "no-such-code", VERIFIER);
    assert_eq!((disguised.status().as_u16(), error(&disguised).as_str()), (200, "invalid_grant"));
}

#[test]
fn a_client_secret_counts_only_where_it_was_agreed_on() {
    let mut world = World::new();
    let url = format!("{AUTH}/token");
    world.authorization[0].preregister("the app", Some("s:+%/ &=ö"));
    let fields = [("grant_type", "refresh_token"), ("refresh_token", "unknown")];
    let mut ask = |request: Request<Vec<u8>>| error(&world.handle(NOW, &request).unwrap());
    assert_eq!(ask(basic_post(&url, "the app", "s:+%/ &=ö", &fields)), "invalid_grant");
    assert_eq!(ask(basic_post(&url, "the app", "guess", &fields)), "invalid_client");
    let id_too = [fields[0], fields[1], ("client_id", "the app")];
    assert_eq!(ask(basic_post(&url, "the app", "s:+%/ &=ö", &id_too)), "invalid_grant");
    let in_form = [id_too[0], id_too[1], id_too[2], ("client_secret", "s:+%/ &=ö")];
    assert_eq!(ask(form_post(&url, &in_form)), "invalid_grant");
    assert_eq!(ask(basic_post(&url, "the app", "s:+%/ &=ö", &in_form)), "invalid_request");
    assert_eq!(ask(form_post(&url, &id_too)), "invalid_client");
    world.authorization[0].client_authentication = vec![ClientAuthentication::Basic];
    let mut ask = |request: Request<Vec<u8>>| error(&world.handle(NOW, &request).unwrap());
    assert_eq!(ask(form_post(&url, &in_form)), "invalid_client");
    assert_eq!(ask(basic_post(&url, "the app", "s:+%/ &=ö", &fields)), "invalid_grant");
}

#[test]
fn a_machine_needs_no_person() {
    let mut world = World::new();
    world.authorization[0].preregister("robot", Some("oil"));
    let fields = [("grant_type", "client_credentials"), ("resource", MCP)];
    let request = basic_post(&format!("{AUTH}/token"), "robot", "oil", &fields);
    assert_eq!(error(&world.handle(NOW, &request).unwrap()), "unsupported_grant_type");
    world.authorization[0].grant_types.push("client_credentials".to_owned());
    let reply = body(&world.handle(NOW, &request).unwrap());
    assert_eq!(reply.get("refresh_token"), None);
    let access = reply["access_token"].as_str().unwrap();
    assert_eq!(call(&mut world, NOW, Some(access), "whoami").status(), 200);
}

#[test]
fn a_token_given_back_is_dead_and_takes_its_family_along() {
    let mut world = World::new();
    let login = login(&mut world, "notes:read");
    let stranger = register_at(&mut world, AUTH);
    let url = format!("{AUTH}/revoke");
    let mut give_back = |client: &str| {
        let fields = [("token", login.refresh.as_str()), ("client_id", client)];
        post(&mut world, NOW, &url, &fields).status().as_u16()
    };
    assert_eq!(give_back(&stranger), 400);
    assert_eq!(give_back(&login.client), 200);
    assert_eq!(give_back(&login.client), 200);
    assert_eq!(call(&mut world, NOW, Some(&login.access), "whoami").status(), 401);
    assert_eq!(error(&refresh(&mut world, NOW, &login.client, &login.refresh)), "invalid_grant");
    assert!(!world.reuse_seen());
}

#[test]
fn a_request_that_is_no_form_is_told_so() {
    let mut world = World::new();
    let request = Request::post(format!("{AUTH}/token"))
        .header("content-type", "application/json")
        .body(b"grant_type=authorization_code&client_id=x".to_vec())
        .unwrap();
    assert_eq!(error(&world.handle(NOW, &request).unwrap()), "invalid_request");
    let twice = [("grant_type", "refresh_token"), ("client_id", "a"), ("client_id", "b")];
    assert_eq!(error(&post(&mut world, NOW, &format!("{AUTH}/token"), &twice)), "invalid_request");
    let outcomes: Vec<_> = world.token_requests().map(|token| token.outcome.clone()).collect();
    assert_eq!(outcomes, vec![Outcome::Refused("invalid_request".to_owned()); 2]);
}
