use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use mcp_auth_world::{Person, RequiresLogin, ResourceMetadata, Visit, What};

use crate::stage::{Stage, run};
use crate::walker::walk;

#[test]
fn a_login_gives_a_token_until_the_logout() {
    let stage = Stage::new();
    stage.run(&["token", stage.url()]).exits_with(3).says("mcp-auth login").prints_nothing();
    stage.run(&["login", stage.url()]).exits_with(0).says("Logged in").prints_nothing();
    let token = stage.run(&["token", stage.url()]).exits_with(0).stdout;
    assert_eq!(token, format!("{}\n", stage.newest_token()));
    stage.run(&["logout", stage.url()]).exits_with(0).says("Forgot").prints_nothing();
    stage.run(&["token", stage.url()]).exits_with(3).prints_nothing();
    assert_eq!(stage.servers.world().registrations(), 1);
}

#[test]
fn a_fresh_login_registers_a_client_of_its_own() {
    let stage = Stage::logged_in();
    stage.run(&["login", stage.url()]).exits_with(0);
    assert_eq!(stage.servers.world().registrations(), 1);
    stage.run(&["login", "--fresh", stage.url()]).exits_with(0);
    assert_eq!(stage.servers.world().registrations(), 2);
}

#[test]
fn a_login_is_told_to_programs_as_json() {
    let stage = Stage::new();
    let login = stage.run(&["login", "--json", stage.url()]).exits_with(0).json();
    assert_eq!(login["status"], "logged_in");
    assert_eq!(login["server"], stage.url());
    assert_eq!(login["issuer"], stage.servers.issuer.as_str());
    assert_eq!(login["refreshable"], true);
    assert!(login["scopes"].as_array().unwrap().iter().any(|scope| scope == "notes:read"));
    assert!(login["expires_at"].as_u64().unwrap() > login["obtained_at"].as_u64().unwrap());
}

#[test]
fn a_denial_names_access_denied_and_stands_in_nobodys_way_later() {
    let stage = Stage::new();
    stage.servers.world().person = Person::Denies;
    let denied = stage.run(&["login", "--json", stage.url()]).exits_with(1);
    assert_eq!(denied.json()["error"]["oauth"]["error"], "access_denied");
    denied.says("access_denied").says("fault: the person").says("advice: Log in again");
    stage.servers.world().person = Person::Approves;
    stage.run(&["login", stage.url()]).exits_with(0);
    stage.run(&["token", stage.url()]).exits_with(0);
}

#[test]
fn without_a_browser_the_address_is_printed_and_waited_for() {
    let stage = Stage::new();
    let mut login = stage.start(&["login", "--no-browser", stage.url()]);
    let address = login.address();
    assert!(address.starts_with(&stage.servers.issuer), "{address}");
    assert_eq!(walk(&address).unwrap(), 200);
    login.ends().exits_with(0).prints_nothing();
    stage.run(&["token", stage.url()]).exits_with(0);
}

#[test]
fn over_ssh_the_address_that_the_browser_ended_at_is_pasted() {
    let stage = Stage::new();
    let mut login = stage.start(&["login", "--paste", stage.url()]);
    let address = login.address();
    let visit = stage.servers.world().visit(now(), &address, &Person::Approves);
    let Visit::Redirect(redirect) = visit else { panic!("{visit:?}") };
    let mut terminal = login.child.stdin.take().unwrap();
    writeln!(terminal, "\nhttp://127.0.0.1/callback?code=guess&state=wrong").unwrap();
    login.hear("Paste it again");
    writeln!(terminal, "  {redirect} ").unwrap();
    login.ends().exits_with(0);
    stage.run(&["token", stage.url()]).exits_with(0);
}

#[test]
fn a_paste_from_a_pipe_that_closes_at_once_counts() {
    let stage = Stage::new();
    let mut login = stage.start(&["login", "--paste", stage.url()]);
    let address = login.address();
    let visit = stage.servers.world().visit(now(), &address, &Person::Approves);
    let Visit::Redirect(redirect) = visit else { panic!("{visit:?}") };
    login.child.stdin.take().unwrap().write_all(redirect.as_bytes()).unwrap();
    login.ends().exits_with(0);
}

#[test]
fn the_browser_may_be_faster_than_the_paste() {
    let stage = Stage::new();
    let mut login = stage.start(&["login", "--paste", stage.url()]);
    let address = login.address();
    // Nothing is typed, and the input stays open.
    let terminal = login.child.stdin.take().unwrap();
    assert_eq!(walk(&address).unwrap(), 200);
    login.ends().exits_with(0).says("Logged in");
    drop(terminal);
    assert_eq!(stage.count(What::CodeExchanges), 1);
}

/// At a terminal, of the program `script`.
#[cfg(target_os = "linux")]
#[test]
fn at_a_terminal_the_address_may_be_pasted_without_having_been_asked_for() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let stage = Stage::new();
    for pasted in [true, false] {
        let words = stage.command(&["login", "--no-browser", stage.url()]);
        let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
        let line: Vec<_> =
            [words.get_program()].into_iter().chain(words.get_args()).map(quoted).collect();
        let mut terminal = Command::new("script")
            .args(["-qefc", &line.join(" "), "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux has `script`");
        let mut typed = terminal.stdin.take().unwrap();
        let mut shown = BufReader::new(terminal.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = shown.find(|line| line.contains("/authorize?")).expect("an address");
        assert!(shown.any(|line| line.contains("paste that page's address")));
        if pasted {
            let visit = stage.servers.world().visit(now(), address.trim(), &Person::Approves);
            let Visit::Redirect(redirect) = visit else { panic!("{visit:?}") };
            writeln!(typed, "{redirect}").unwrap();
        } else {
            assert_eq!(walk(address.trim()).unwrap(), 200);
        }
        assert!(shown.any(|line| line.contains("Logged in")));
        assert!(terminal.wait().unwrap().success());
    }
    assert_eq!(stage.count(What::CodeExchanges), 2);
}

#[test]
fn when_nothing_is_pasted_the_login_ends() {
    let stage = Stage::new();
    let start = Instant::now();
    stage.run(&["login", "--paste", stage.url()]).exits_with(1).says("The input ended");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_port_that_is_taken_is_told_with_what_to_do() {
    let stage = Stage::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    stage.authorization(|server| {
        server.preregister("by-hand", None);
    });
    stage
        .run(&["login", "--client-id", "by-hand", "--callback-port", &port, stage.url()])
        .exits_with(1)
        .says(&port)
        .says("fault: this machine")
        .says("`--callback-port`");
    assert_eq!(stage.count(What::Authorizations), 0);
    // A client that is registered for this login is registered with another.
    let taken = format!("port {port} is taken");
    stage.run(&["login", "--callback-port", &port, stage.url()]).exits_with(0).says(&taken);
}

#[test]
fn the_callback_is_where_it_was_asked_for() {
    let stage = Stage::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = free.to_string();
    let args = ["login", "--callback-host", "localhost", "--callback-port", &port, stage.url()];
    stage.run(&args).exits_with(0);
    let world = stage.servers.world();
    let asked = world.authorization_requests().next().unwrap();
    assert_eq!(asked.redirect_uri, format!("http://localhost:{port}/callback"));
}

#[test]
fn a_browser_that_does_not_start_is_told_with_what_to_do() {
    let stage = Stage::new();
    let mut command = stage.command(&["login", stage.url()]);
    let ran = crate::stage::run(command.env("BROWSER", "/nonexistent/browser"));
    ran.exits_with(1).says("fault: this machine").says("--no-browser").says("--paste");
}

#[test]
fn a_person_who_never_comes_is_not_waited_for_beyond_the_timeout() {
    let stage = Stage::new();
    stage.servers.world().person = Person::Ignores;
    let start = Instant::now();
    stage
        .run(&["login", "--timeout", "1", stage.url()])
        .exits_with(1)
        .says("1 s")
        .says("--timeout");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_that_wants_no_authorization_has_an_exit_code_of_its_own() {
    let stage = Stage::new();
    stage.servers.world().resource.requires_login = RequiresLogin::Never;
    let described =
        std::mem::replace(&mut stage.servers.world().resource.metadata, ResourceMetadata::Absent);
    stage.run(&["login", stage.url()]).exits_with(4).says("no authorization");
    let token = stage.run(&["token", "--json", stage.url()]).exits_with(4);
    assert_eq!(token.json()["status"], "not_required");
    stage.run(&["request", stage.url()]).exits_with(0).prints("protocolVersion");
    assert_eq!(stage.count(What::Authorizations), 0);
    // One that lets everybody in, and says where to log in.
    stage.servers.world().resource.metadata = described;
    stage.run(&["token", stage.url()]).exits_with(4);
    stage.run(&["login", stage.url()]).exits_with(0);
    stage.run(&["token", stage.url()]).exits_with(0);
}

#[test]
fn a_client_registered_by_hand_uses_its_secret_and_the_settings_file() {
    let stage = Stage::new();
    stage.authorization(|server| {
        server.preregister("by-hand", Some("hush"));
        server.registration.open = false;
    });
    stage.run(&["login", stage.url()]).exits_with(1).says("`--client-id`");
    let secret = stage.file("secret", " hush\n");
    let config = stage.file("config", r#"{ "client_id": "wrong", "scopes": "notes:write" }"#);
    let client = ["--client-id", "by-hand", "--client-secret-file", &secret, "--config", &config];
    stage.run(&[&["login", stage.url()], &client[..]].concat()).exits_with(0);
    assert_eq!(stage.servers.world().registrations(), 0);
    let status = stage.run(&["status", "--json", stage.url()]).exits_with(0).json();
    assert_eq!(status["client_id"], "by-hand");
    assert!(status["scopes"].as_array().unwrap().iter().any(|scope| scope == "notes:write"));
}

#[test]
fn a_leniency_is_asked_for_by_name_and_told() {
    let stage = Stage::new();
    stage.authorization(|server| server.challenge_methods = None);
    stage.run(&["login", stage.url()]).exits_with(1).says("`--assume-s256`");
    stage.run(&["login", "--assume-s256", stage.url()]).exits_with(0).says("note: leniency");

    let stage = Stage::new();
    let claimed = "https://other.example";
    stage.authorization(|server| server.claimed_issuer = Some(claimed.into()));
    stage.run(&["login", stage.url()]).exits_with(1).says("`--trust-issuer`");
    stage.run(&["login", "--trust-issuer", claimed, stage.url()]).exits_with(0);
}

fn now() -> u64 {
    mcp_auth_host::system::clock().0
}

#[test]
fn whoever_is_sent_back_sees_a_page_even_if_the_command_ends_with_it() {
    for person in [Person::Approves, Person::Denies] {
        let stage = Stage::new();
        stage.servers.world().person = person.clone();
        let mut login = stage.start(&["login", "--no-browser", stage.url()]);
        let page = walk(&login.address());
        assert!(page.is_ok(), "{person:?}: {page:?}");
        login.ends();
    }
}

#[test]
fn toolhives_own_configuration_is_taken_in_each_of_its_forms() {
    let stage = Stage::new();
    stage.authorization(|server| {
        server.preregister("by-hand", Some("hush"));
        server.redirects = mcp_auth_world::Redirects::LoopbackAnyPort;
    });
    let (secret, issuer) = (stage.file("secret", " hush\n"), &stage.servers.issuer);
    let forms = [
        format!(
            r#"{{"client_id":"by-hand","client_secret_file":"{secret}","use_pkce":true,
            "timeout":20000000000,"skip_browser":true,"colour":"red"}}"#
        ),
        format!(
            r#"{{"ClientID":"by-hand","ClientSecret":"hush","UsePKCE":true,"SkipBrowser":true,
            "Timeout":20000000000,"Resource":"unknown","Issuer":"{issuer}"}}"#
        ),
        format!(
            "client_id: by-hand\nclient_secret_file: {secret}\nuse_pkce: true\ntimeout: 20s\n\
            skip_browser: true\nshape: round\n"
        ),
    ];
    for (number, form) in forms.iter().enumerate() {
        let config = stage.file(&format!("config{number}"), form);
        let mut login = stage.start(&["login", "--config", &config, stage.url()]);
        login.hear("is no setting of ToolHive's");
        // Nobody opens a browser, as the file says.
        let address = login.address();
        assert!(address.contains("client_id=by-hand"), "{address}");
        assert!(address.contains("redirect_uri=http%3A%2F%2Flocalhost%3A"), "{address}");
        assert_eq!(walk(&address).unwrap(), 200);
        login.ends().exits_with(0);
    }
    assert_eq!(stage.count(What::Registrations), 0);
    let named = r#"{"client_id":"a","client_secret":"NOTES,target=oauth_secret","use_pkce":true}"#;
    let named = stage.file("named", &named.replace(r#":"a""#, r#":"by-hand""#));
    let args = ["login", "--config", &named, stage.url()];
    stage.run(&args).exits_with(1).says("the secret NOTES").says("fault: the settings");
    let mut login = stage.command(&args);
    run(login.env("TOOLHIVE_SECRET_NOTES", "hush")).exits_with(0);
}

#[test]
fn a_login_that_toolhive_has_cached_is_taken_up_without_a_browser() {
    let stage = Stage::logged_in();
    let cached = stage.cached_login();
    let config = serde_json::json!({
        "use_pkce": true, "cached_refresh_token_ref": "NOTES", "cached_client_id": cached.client_id,
    });
    let config = stage.file("toolhive.json", &config.to_string());
    let store = stage.file("elsewhere", "");
    std::fs::remove_file(&store).unwrap();
    let mut token = crate::stage::plain(&["token", "--config", &config, stage.url()]);
    token.args(["--store", &store]).env("TOOLHIVE_SECRET_NOTES", &cached.refresh_token);
    let token = run(&mut token).exits_with(0).stdout;
    assert_eq!(token, format!("{}\n", stage.newest_token()));
    assert_eq!((stage.count(What::Refreshes), stage.count(What::Authorizations)), (1, 1));
    // From now on it is in our own store.
    run(crate::stage::plain(&["token", stage.url()]).args(["--store", &store])).exits_with(0);
    assert_eq!(stage.count(What::Refreshes), 1);
}

#[test]
fn a_bearer_token_comes_from_the_environment() {
    let stage = Stage::logged_in();
    let token = stage.newest_token();
    let elsewhere = stage.file("elsewhere", "");
    std::fs::remove_file(&elsewhere).unwrap();
    let toolhive = stage.file("toolhive.yaml", "use_pkce: true\n");
    let args = ["request", "--store", &elsewhere, stage.url()];
    for (name, config) in
        [("MCP_AUTH_BEARER_TOKEN", None), ("TOOLHIVE_REMOTE_AUTH_BEARER_TOKEN", Some(&toolhive))]
    {
        let mut command = crate::stage::plain(&args);
        command.env(name, &token);
        if let Some(config) = config {
            command.args(["--config", config]);
        }
        run(&mut command).exits_with(0);
    }
    // ToolHive's variable is for ToolHive's configuration alone.
    let mut command = crate::stage::plain(&args);
    run(command.env("TOOLHIVE_REMOTE_AUTH_BEARER_TOKEN", &token)).exits_with(3);
    assert_eq!(stage.count(What::Registrations), 1);
}
