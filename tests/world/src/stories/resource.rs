use super::*;
use crate::{Canned, Challenge, GetAnswer, Mood, RequiresLogin, ResourceMetadata, ScopeChallenge};

#[test]
fn a_client_finds_its_way_from_the_challenge_to_the_tool() {
    let mut world = World::new();
    let refused = call(&mut world, NOW, None, "whoami");
    assert_eq!(refused.status(), 401);
    let prm = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
    assert_eq!(
        challenge(&refused),
        format!("Bearer scope=\"notes:read\", resource_metadata=\"{prm}\"")
    );

    let metadata = body(&get(&mut world, prm));
    assert_eq!(metadata["resource"], MCP);
    assert_eq!(metadata["authorization_servers"], json!([AUTH]));
    let server =
        body(&get(&mut world, "https://auth.example.com/.well-known/oauth-authorization-server"));
    assert_eq!(server["issuer"], AUTH);

    let login = login(&mut world, "notes:read");
    let welcomed = call(&mut world, NOW, Some(&login.access), "whoami");
    assert_eq!(welcomed.status(), 200);
    assert_eq!(body(&welcomed)["result"]["structuredContent"]["client_id"], *login.client);
}

#[test]
fn a_token_ends_when_its_time_is_up() {
    let mut world = World::new();
    let login = login(&mut world, "notes:read");
    assert_eq!(call(&mut world, NOW + 3599, Some(&login.access), "whoami").status(), 200);
    let late = call(&mut world, NOW + 3600, Some(&login.access), "whoami");
    assert_eq!(late.status(), 401);
    assert!(challenge(&late).contains("error=\"invalid_token\""));
}

#[test]
fn a_tool_with_a_scope_of_its_own_names_what_is_missing() {
    let mut world = World::new();
    let login = login(&mut world, "notes:read");
    let forbidden = call(&mut world, NOW, Some(&login.access), "write_note");
    assert_eq!(forbidden.status(), 403);
    assert!(challenge(&forbidden).contains("error=\"insufficient_scope\""));
    assert!(challenge(&forbidden).contains("scope=\"notes:read notes:write\""));

    world.resource.scope_challenge = ScopeChallenge::NamesMissing;
    let forbidden = call(&mut world, NOW, Some(&login.access), "write_note");
    assert!(challenge(&forbidden).contains("scope=\"notes:write\""));

    let stepped_up = super::login(&mut world, "notes:read notes:write");
    assert_eq!(call(&mut world, NOW, Some(&stepped_up.access), "write_note").status(), 200);
}

#[test]
fn a_token_for_another_resource_is_refused_by_its_bytes() {
    let mut world = World::new();
    let login = login(&mut world, "notes:read");
    world.resource.identifier = Some(format!("{MCP}/"));
    assert_eq!(call(&mut world, NOW, Some(&login.access), "whoami").status(), 401);
}

#[test]
fn the_challenge_takes_every_form() {
    let mut world = World::new();
    world.resource.challenge = Challenge::WithoutMetadata;
    assert_eq!(challenge(&call(&mut world, NOW, None, "whoami")), "Bearer scope=\"notes:read\"");
    world.resource.challenge_names_scopes = false;
    assert_eq!(challenge(&call(&mut world, NOW, None, "whoami")), "Bearer");
    world.resource.challenge = Challenge::Absent;
    let bare = call(&mut world, NOW, None, "whoami");
    assert_eq!((bare.status().as_u16(), challenge(&bare).as_str()), (401, ""));
    world.resource.challenge =
        Challenge::Raw(vec!["Negotiate".to_owned(), "Bearer\r\n realm=\"folded\"".to_owned()]);
    let raw = call(&mut world, NOW, None, "whoami");
    let lines: Vec<_> = raw.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(lines, ["Negotiate", "Bearer   realm=\"folded\""]);
}

#[test]
fn the_metadata_moves_where_it_is_told() {
    let mut world = World::new();
    let at_path = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
    let at_root = "https://mcp.example.com/.well-known/oauth-protected-resource";
    let elsewhere = "https://docs.example.org/prm.json";
    let mut where_found = |place: ResourceMetadata| {
        world.resource.metadata = place;
        [at_path, at_root, elsewhere].map(|url| get(&mut world, url).status().as_u16())
    };
    assert_eq!(where_found(ResourceMetadata::AtPath), [200, 404, 502]);
    assert_eq!(where_found(ResourceMetadata::AtRoot), [404, 200, 502]);
    assert_eq!(where_found(ResourceMetadata::At(elsewhere.to_owned())), [404, 404, 200]);
    assert_eq!(where_found(ResourceMetadata::Absent), [404, 404, 502]);
    world.resource.metadata = ResourceMetadata::AtPath;
    world.resource.metadata_body = Some("\u{feff}{}".to_owned());
    assert_eq!(get(&mut world, at_path).body(), "\u{feff}{}".as_bytes());
}

#[test]
fn a_get_is_refused_in_one_of_two_ways() {
    let mut world = World::new();
    assert_eq!(get(&mut world, MCP).status(), 405);
    world.resource.get = GetAnswer::Unauthorized;
    assert_eq!(get(&mut world, MCP).status(), 401);
}

#[test]
fn a_login_may_be_needed_for_all_or_some_or_nothing() {
    let mut world = World::new();
    let list = rpc(None, "tools/list", &json!({}));
    let mut statuses = |requires| {
        world.resource.requires_login = requires;
        let listed = world.handle(NOW, &list).unwrap().status().as_u16();
        (listed, call(&mut world, NOW, None, "whoami").status().as_u16())
    };
    assert_eq!(statuses(RequiresLogin::Always), (401, 401));
    assert_eq!(statuses(RequiresLogin::ForToolCalls), (200, 401));
    assert_eq!(statuses(RequiresLogin::Never), (200, 200));
}

#[test]
fn good_tokens_are_refused_on_demand() {
    let mut world = World::new();
    let Login { access, .. } = login(&mut world, "notes:read");
    let status = |world: &mut World| call(world, NOW, Some(&access), "whoami").status();
    world.resource.refuse_once(&access);
    assert_eq!(status(&mut world), 401);
    assert_eq!(status(&mut world), 200);
    world.resource.refuse_next = 1;
    assert_eq!(status(&mut world), 401);
    assert_eq!(status(&mut world), 200);
    world.resource.mood = Mood::ForbidsAll;
    assert_eq!(status(&mut world), 403);
    world.resource.mood = Mood::RefusesAll;
    assert_eq!(status(&mut world), 401);
    world.resource.mood = Mood::Fair;
    world.resource.revoke(&access);
    assert_eq!(status(&mut world), 401);
    world.resource.bad_token_answer = Some(Canned::redirect(307, "https://mcp.example.com/login"));
    assert_eq!(status(&mut world), 307);
}

#[test]
fn the_scheme_must_be_spelled_bearer() {
    let mut world = World::new();
    let Login { access, .. } = login(&mut world, "notes:read");
    let mut request = rpc(None, "tools/list", &json!({}));
    let value = format!("bearer {access}").try_into().unwrap();
    request.headers_mut().insert("authorization", value);
    assert_eq!(world.handle(NOW, &request).unwrap().status(), 401);
}

#[test]
fn an_api_key_opens_every_door() {
    let mut world = World::new();
    world.resource.api_keys.insert("a-key".to_owned());
    assert_eq!(call(&mut world, NOW, Some("a-key"), "write_note").status(), 200);
    assert_eq!(call(&mut world, NOW, Some("b-key"), "write_note").status(), 401);
}

#[test]
fn after_a_migration_only_the_new_server_counts() {
    let mut world = World::with_urls(MCP, &[AUTH, "https://new.example.com"]);
    let Login { access, .. } = login(&mut world, "notes:read");
    world.migrate_to(1);
    assert_eq!(call(&mut world, NOW, Some(&access), "whoami").status(), 401);
    let prm = world.resource.metadata_url().unwrap();
    let metadata = body(&get(&mut world, &prm));
    assert_eq!(metadata["authorization_servers"], json!(["https://new.example.com"]));
}
