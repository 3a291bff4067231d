use super::*;
use crate::{Detail, Leak, SecretKind, What, Who};

#[test]
fn an_honest_story_leaks_nothing() {
    let mut world = World::new();
    let login = login(&mut world, "notes:read");
    call(&mut world, NOW, Some(&login.access), "whoami");
    refresh(&mut world, NOW, &login.client, &login.refresh);
    assert_eq!(world.leaks(), []);
    assert_eq!((world.count(What::Strays), world.count(What::McpRequests)), (0, 1));
    assert_eq!((world.count(What::CodeExchanges), world.count(What::TokenRequests)), (1, 2));
    assert_eq!(world.authorization_headers(MCP), [format!("Bearer {}", login.access)]);
    assert!(world.authorization_headers(AUTH).is_empty());
}

#[test]
fn a_secret_in_the_wrong_place_is_found_however_it_is_wrapped() {
    let other = "https://other.example.com";
    let mut world = World::with_urls(MCP, &[AUTH, other]);
    let Login { access, refresh, client } = login(&mut world, "notes:read");
    let secret = body(&register_with(&mut world, AUTH, &json!({})));
    let secret = secret["client_secret"].as_str().unwrap().to_owned();
    let start = world.log.len();
    assert_eq!(world.leaks(), []);

    get(&mut world, &format!("https://stray.example.com/?t={access}"));
    let request = basic_post(&format!("{other}/token"), "x", &secret, &[]);
    world.handle(NOW, &request).unwrap();
    let request = rpc(None, "ping", &json!({ "note": refresh }));
    world.handle(NOW, &request).unwrap();
    world.visit(NOW, &authorize_url(other, &client, &[]), &Person::Approves);

    let leak = |exchange, kind, shown_to| Leak { exchange, kind, issued_by: 0, shown_to };
    let expected = [
        leak(start, SecretKind::AccessToken, Who::Stray),
        leak(start + 1, SecretKind::ClientSecret, Who::Authorization(1)),
        leak(start + 2, SecretKind::RefreshToken, Who::Resource),
        leak(start + 3, SecretKind::ClientId, Who::Authorization(1)),
    ];
    assert_eq!(world.leaks(), expected);
    assert_eq!(world.count(What::Strays), 1);
}

#[test]
fn the_same_story_is_the_same_to_the_letter() {
    let tell = || {
        let mut world = World::new();
        let login = login(&mut world, "notes:read");
        (login.client, login.access, login.refresh)
    };
    assert_eq!(tell(), tell());
}

/// Each request of a good story, cut short at every length and with every byte changed in turn:
/// the world answers them all, and the next login is like any other. (The old one is gone: its code
/// was presented again.)
#[test]
fn no_mangled_request_upsets_the_world() {
    let mut world = World::new();
    let login = login(&mut world, "notes:read");
    call(&mut world, NOW, Some(&login.access), "whoami");
    let told: Vec<_> = world.log.drain(..).collect();
    for exchange in &told {
        let whole = exchange.request.body();
        let mut bodies: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
        for at in 0..whole.len() {
            for byte in [0, b'"', b'%', b'&', 0xff] {
                let mut body = whole.clone();
                body[at] = byte;
                bodies.push(body);
            }
        }
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PURGE"] {
            for body in &bodies {
                let mut request = exchange.request.clone();
                *request.method_mut() = method.parse().unwrap();
                *request.body_mut() = body.clone();
                let status = world.handle(u64::MAX, &request).unwrap().status().as_u16();
                assert!((200..500).contains(&status), "{status} for {method}");
            }
        }
    }
    let mcp = |exchange: &&crate::Exchange| matches!(exchange.detail, Detail::Mcp { .. });
    assert!(world.log.iter().filter(mcp).count() > 100);
    assert_eq!(call(&mut world, NOW, Some(&login.access), "whoami").status(), 401);
    let login = super::login(&mut world, "notes:read");
    assert_eq!(call(&mut world, NOW, Some(&login.access), "whoami").status(), 200);
    assert_eq!(refresh(&mut world, NOW, &login.client, &login.refresh).status(), 200);
}

#[test]
fn strange_addresses_go_astray() {
    let mut world = World::with_urls("not a url", &["", "https://user@auth.example.com:443/a?b#c"]);
    for uri in ["/", "*", "example.com:443", "ftp://x", "https://auth.example.com/a/authorize"] {
        let request = Request::builder().uri(uri).body(Vec::new()).unwrap();
        assert!(world.handle(0, &request).is_ok());
    }
    assert!(matches!(world.visit(0, "ht tp://", &Person::Approves), Visit::Page(_)));
    assert!(matches!(world.visit(0, "https://a.example/", &Person::Approves), Visit::Page(_)));
    world.resource.home = usize::MAX;
    assert_eq!(world.newest_refresh_token(), None);
}
