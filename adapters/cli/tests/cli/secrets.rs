use mcp_auth_world::{Detail, ExpiresIn};

use crate::stage::{Ran, Stage};

/// What a program on the way could have seen of the secrets.
fn secrets(stage: &Stage) -> Vec<String> {
    let world = stage.servers.world();
    let mut secrets = vec!["planted-client-secret".to_owned()];
    secrets.extend(world.newest_access_token().map(str::to_owned));
    secrets.extend(world.newest_refresh_token().map(str::to_owned));
    for exchange in &world.log {
        if let Detail::Token(_) = exchange.detail {
            let form = url::form_urlencoded::parse(exchange.request.body());
            let secret = ["code", "code_verifier", "refresh_token", "client_secret"];
            secrets.extend(
                form.filter(|(key, _)| secret.contains(&&**key)).map(|(_, value)| value.into()),
            );
        }
        let sent = exchange.request.headers().get("authorization");
        secrets
            .extend(sent.and_then(|value| value.to_str().ok()?.split(' ').nth(1)).map(Into::into));
    }
    secrets
}

#[test]
fn however_much_is_told_no_secret_is() {
    let stage = Stage::new();
    stage.authorization(|server| {
        server.preregister("by-hand", Some("planted-client-secret"));
        server.expires_in = ExpiresIn::Zero;
    });
    let file = stage.file("secret", "planted-client-secret");
    let client = ["--client-id", "by-hand", "--client-secret-file", &file, "-v"];
    let with_client = |command: &[&str]| stage.run(&[command, &[stage.url()], &client].concat());

    let mut told = String::new();
    let mut keep = |ran: Ran| {
        told.push_str(&ran.stdout);
        told.push_str(&ran.stderr);
    };
    keep(with_client(&["inspect"]).exits_with(0));
    keep(with_client(&["login"]).exits_with(0));
    keep(with_client(&["request"]).exits_with(0));
    stage.servers.pass(3601);
    keep(with_client(&["request", "-i"]).exits_with(0));
    keep(Ran { stdout: String::new(), ..with_client(&["token"]).exits_with(0) });
    keep(stage.run(&["status", "-v", stage.url()]).exits_with(0));
    keep(stage.run(&["status", "-v", "--json"]).exits_with(0));
    let secrets = secrets(&stage);
    keep(stage.run(&["logout", "-v", stage.url()]).exits_with(0));
    stage.authorization(|server| server.revoke_everything());
    keep(with_client(&["token"]).exits_with(3));

    assert!(secrets.len() > 8, "{secrets:?}");
    for secret in secrets {
        assert!(!told.contains(&secret), "{secret} was told:\n{told}");
    }
    assert!(told.contains("token request"), "{told}");
}

#[test]
fn the_steps_are_told_only_where_they_are_wanted() {
    let stage = Stage::logged_in();
    let quiet = stage.run(&["request", stage.url()]).exits_with(0);
    assert_eq!(quiet.stderr, "");
    stage.servers.pass(3601);
    stage.run(&["request", "-v", stage.url()]).exits_with(0).says("token request: 200");
}
