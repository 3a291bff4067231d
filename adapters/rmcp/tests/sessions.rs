//! rmcp's client and rmcp's server, with our sessions between them, on the loopback address.

#[path = "../examples/notes/server.rs"]
mod server;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Once};
use std::time::Duration;

use http::{HeaderMap, header};
use mcp_auth::{
    CachedClient, CachedLogin, CachedRegistration, Config, DpopUse, ErrorKind, Need, Secret,
};
use mcp_auth_hosts::{Vault, Visitor};
use mcp_auth_rmcp::{AuthClient, auth_error};
use mcp_auth_tokio::store::{MemoryStore, Store as _};
use mcp_auth_tokio::{Asking, Builder, Session};
use mcp_auth_world::{Canned, Challenge, Fault, What};
use rmcp::model::{CallToolRequestParams, ProgressNotificationParam};
use rmcp::service::{ClientInitializeError, NotificationContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient as _, StreamableHttpClientTransportConfig,
};
use rmcp::{ClientHandler, RoleClient, ServiceError, ServiceExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

type Town = mcp_auth_hosts::Town<()>;
type Service = RunningService<RoleClient, Listener>;

/// A client that notes what it is told.
#[derive(Clone)]
struct Listener(mpsc::UnboundedSender<&'static str>);

impl ClientHandler for Listener {
    async fn on_progress(&self, _: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let _ = self.0.send("progress");
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.0.send("tools");
    }
}

fn session(town: &Town, visitor: &Visitor) -> Session {
    Builder::from(town.setup()).browser(visitor.clone()).build().unwrap()
}

fn http() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let builder = reqwest::Client::builder().no_proxy();
    builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

async fn connect_as(
    url: &str,
    session: &Session,
    asking: Asking,
) -> Result<(Service, mpsc::UnboundedReceiver<&'static str>), ClientInitializeError> {
    let client = AuthClient::new(session.clone(), http()).asking(asking);
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let (tell, told) = mpsc::unbounded_channel();
    let transport = StreamableHttpClientTransport::with_client(client, config);
    Ok((Listener(tell).serve(transport).await?, told))
}

async fn connect(town: &Town, session: &Session) -> Service {
    connect_as(town.url(), session, Asking::Welcome).await.unwrap().0
}

async fn call(service: &Service, tool: &'static str) -> Result<String, ServiceError> {
    let result = service.call_tool(CallToolRequestParams::new(tool)).await?;
    Ok(result.content[0].as_text().unwrap().text.clone())
}

/// What the MCP server's door was sent.
fn sent(town: &Town) -> Vec<(String, HeaderMap)> {
    let world = town.world();
    let sent = world.log.iter().filter(|exchange| exchange.path == "/mcp");
    sent.map(|e| (e.request.method().to_string(), e.request.headers().clone())).collect()
}

fn revoke_token(town: &Town) {
    let token = town.world().newest_access_token().unwrap().to_owned();
    town.world().resource.revoke(&token);
}

#[tokio::test]
async fn tools_are_listed_and_called_after_a_login_that_the_servers_refusal_led_to() {
    let (town, visitor) = (server::town().await, Visitor::default());
    let session = session(&town, &visitor);
    let service = connect(&town, &session).await;
    let tools = service.list_all_tools().await.unwrap();
    assert_eq!(tools.len(), 2);
    assert_eq!(call(&service, "read_note").await.unwrap(), "Buy milk.");
    assert_eq!((visitor.times_opened(), town.count(What::CodeExchanges)), (1, 1));
    // The refused message was the probe: none besides.
    let sent = sent(&town);
    assert!(!sent[0].1.contains_key(header::AUTHORIZATION));
    assert!(sent[1..].iter().all(|(_, headers)| headers.contains_key(header::AUTHORIZATION)));
    assert!(town.world().leaks().is_empty());
}

#[tokio::test]
async fn a_refused_token_is_refreshed_and_the_message_sent_again_in_the_same_mcp_session() {
    let (town, visitor) = (server::town().await, Visitor::default());
    let session = session(&town, &visitor);
    let service = connect(&town, &session).await;
    revoke_token(&town);
    let before = sent(&town).len();
    assert_eq!(call(&service, "read_note").await.unwrap(), "Buy milk.");
    assert_eq!((town.count(What::Refreshes), visitor.times_opened()), (1, 1));
    let sent = sent(&town);
    let posts: Vec<_> = sent[before..].iter().filter(|(method, _)| method == "POST").collect();
    assert_eq!(posts.len(), 2);
    assert_ne!(posts[0].1[header::AUTHORIZATION], posts[1].1[header::AUTHORIZATION]);
    for name in ["mcp-session-id", "mcp-protocol-version", "accept", "content-type"] {
        assert_eq!(posts[0].1[name], posts[1].1[name]);
    }
}

#[tokio::test]
async fn messages_that_are_refused_at_once_cost_one_refresh() {
    let (town, visitor) = (server::town().await, Visitor::default());
    let session = session(&town, &visitor);
    let service = Arc::new(connect(&town, &session).await);
    revoke_token(&town);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let service = service.clone();
        calls.spawn(async move { call(&service, "read_note").await.unwrap() });
    }
    assert_eq!(calls.join_all().await.len(), 10);
    assert_eq!((town.count(What::Refreshes), visitor.times_opened()), (1, 1));
}

#[tokio::test]
async fn a_tool_that_needs_more_is_stepped_up_once_and_its_streams_come_whole() {
    let (town, visitor) = (server::town().await, Visitor::default());
    let session = session(&town, &visitor);
    let connected = connect_as(town.url(), &session, Asking::Welcome).await;
    let (service, mut told) = connected.unwrap();
    for _ in 0..2 {
        assert_eq!(call(&service, "write_note").await.unwrap(), "written");
    }
    assert_eq!(visitor.times_opened(), 2);
    assert!(session.status().unwrap().scopes.contains("notes:write"));
    let mut seen = Vec::new();
    while seen.len() < 8 {
        seen.push(timeout(Duration::from_secs(10), told.recv()).await.unwrap().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, [["progress"; 6].as_slice(), &["tools"; 2]].concat());
}

#[tokio::test]
async fn without_a_person_rmcps_error_holds_ours_and_the_servers_challenge() {
    let (town, visitor) = (server::town().await, Visitor::default());
    let session = session(&town, &visitor);
    let connected = connect_as(town.url(), &session, Asking::Never).await;
    let error = connected.err().unwrap();
    let ours = auth_error(&error).expect("one of ours");
    assert!(matches!(ours.kind(), ErrorKind::LoginRequired { .. }), "{ours}");
    assert!(error.is_authorization_required());
    assert!(error.auth_challenge().unwrap().contains("resource_metadata"));
    assert!(error.to_string().contains(&ours.to_string()), "{error}");

    // In a session that has begun, too, and what it can do it goes on doing.
    session.login().await.unwrap();
    let (service, _told) = connect_as(town.url(), &session, Asking::Never).await.unwrap();
    let error = call(&service, "write_note").await.unwrap_err();
    let ours = auth_error(&error).expect("one of ours");
    assert!(matches!(ours.kind(), ErrorKind::LoginRequired { .. }), "{ours}");
    assert!(error.auth_challenge().unwrap().contains("notes:write"));
    assert_eq!(call(&service, "read_note").await.unwrap(), "Buy milk.");
    assert_eq!(visitor.times_opened(), 1);
}

#[tokio::test]
async fn a_refusal_without_a_challenge_is_one_too() {
    let (town, visitor) = (server::town().await, Visitor::default());
    town.world().resource.challenge = Challenge::Absent;
    let session = session(&town, &visitor);
    let service = connect(&town, &session).await;
    revoke_token(&town);
    assert_eq!(call(&service, "read_note").await.unwrap(), "Buy milk.");
    assert_eq!((town.count(What::Refreshes), visitor.times_opened()), (1, 1));
}

#[tokio::test]
async fn the_event_stream_and_the_end_of_the_session_are_authorized_too() {
    let (town, visitor) = (server::town().await, Visitor::default());
    town.world().resource.challenge = Challenge::Absent;
    let session = session(&town, &visitor);
    session.login().await.unwrap();
    let before = sent(&town).len();
    let service = connect(&town, &session).await;
    assert_eq!(call(&service, "read_note").await.unwrap(), "Buy milk.");
    service.cancel().await.unwrap();
    let sent = sent(&town);
    for method in ["POST", "GET", "DELETE"] {
        let mut those = sent[before..].iter().filter(|(m, _)| m == method).peekable();
        assert!(those.peek().is_some(), "{method}");
        assert!(those.all(|(_, headers)| headers.contains_key(header::AUTHORIZATION)), "{method}");
    }
}

#[tokio::test]
async fn the_refused_event_stream_is_opened_with_another_token() {
    let (town, visitor) = (server::town().await, Visitor::default());
    let session = session(&town, &visitor);
    session.login().await.unwrap();
    for challenge in [Challenge::WithoutMetadata, Challenge::Absent] {
        town.world().resource.challenge = challenge;
        revoke_token(&town);
        let client = AuthClient::new(session.clone(), http());
        let before = town.count(What::Refreshes);
        // Nobody has such a session: the guard lets it in all the same, and the server refuses it.
        let id = Some("nobody's".into());
        let opened = client.get_stream(town.url().into(), id, None, None, HashMap::new());
        let Err(error) = opened.await else { panic!("a stream of nobody's") };
        assert!(auth_error(&error).is_none(), "{error}");
        assert_eq!(town.count(What::Refreshes), before + 1);
    }
}

#[tokio::test]
async fn nobody_is_asked_for_the_end_of_a_session() {
    let (town, visitor) = (server::town().await, Visitor::default());
    let session = session(&town, &visitor);
    town.world().faults.push(Fault::answer("DELETE", "/mcp", Canned::new(401, "")));
    let client = AuthClient::new(session, http()).asking(Asking::Welcome);
    let ended = client.delete_session(town.url().into(), "seven".into(), None, HashMap::new());
    let error = ended.await.unwrap_err();
    let ours = auth_error(&error).expect("one of ours");
    assert!(matches!(ours.kind(), ErrorKind::LoginRequired { .. }), "{ours}");
    assert_eq!(visitor.times_opened(), 0);
}

#[tokio::test]
async fn a_login_that_rmcp_has_kept_goes_on() {
    let (town, visitor) = (server::town().await, Visitor::default());
    let store = MemoryStore::new();
    let before = Builder::from(town.setup()).store(store.clone()).build().unwrap();
    before.login().await.unwrap();
    let record = store.load().unwrap().unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let issuer = town.world().authorization[0].issuer.clone();
    let registered = &record["registrations"][issuer];

    // As the README shows it.
    let client = CachedRegistration {
        client_id: text(&registered["client_id"]),
        redirect_uri: Some(text(&registered["redirect_uri"])),
        ..CachedRegistration::default()
    };
    let kept = CachedLogin::new(Secret::from(text(&record["tokens"]["refresh_token"]).as_str()));
    let kept = kept.of(CachedClient::Registered(Box::new(client)));
    let session = Builder::from(town.setup()).browser(visitor.clone()).restore(kept);
    let session = session.build().unwrap();
    let (service, _told) = connect_as(town.url(), &session, Asking::Never).await.unwrap();
    assert_eq!(call(&service, "read_note").await.unwrap(), "Buy milk.");
    assert_eq!((town.count(What::Refreshes), visitor.times_opened()), (1, 0));
}

/// A guard that knows DPoP, and a session that wants it.
fn bound(town: &Town, visitor: &Visitor) -> Session {
    town.world().authorization[0].dpop = true;
    let (dpop, dpop_key) = (DpopUse::Always, Some(Vault::place()));
    let config = Config { dpop, dpop_key, ..Config::default() };
    let session = Builder::from(town.setup()).config(config).signer(Vault::default());
    session.browser(visitor.clone()).build().unwrap()
}

#[tokio::test]
async fn each_message_has_a_proof_where_the_tokens_are_bound_to_a_key() {
    let (town, visitor) = (server::town().await, Visitor::default());
    let session = bound(&town, &visitor);
    let service = connect(&town, &session).await;
    assert_eq!(call(&service, "read_note").await.unwrap(), "Buy milk.");
    assert_eq!(call(&service, "write_note").await.unwrap(), "written");
    revoke_token(&town);
    assert_eq!(call(&service, "read_note").await.unwrap(), "Buy milk.");
    assert_eq!((town.count(What::Refreshes), visitor.times_opened()), (1, 2));
    service.cancel().await.unwrap();
    let with_token = sent(&town).into_iter().filter_map(|(_, headers)| {
        let token = headers.get(header::AUTHORIZATION)?.to_str().unwrap().to_owned();
        Some((token, headers.get("dpop").cloned()))
    });
    let mut proofs = HashSet::new();
    for (token, proof) in with_token {
        assert!(token.starts_with("DPoP "), "{token}");
        assert!(proofs.insert(proof.expect("a proof")), "one that was sent before");
    }
    assert!(proofs.len() > 5);
    assert!(town.world().leaks().is_empty());
}

#[tokio::test]
async fn a_nonce_that_rmcp_does_not_show_costs_no_token_and_is_learned_by_the_session() {
    let (town, visitor) = (server::town().await, Visitor::default());
    let session = bound(&town, &visitor);
    let service = connect(&town, &session).await;
    for nonce in ["m-1", "m-2"] {
        town.world().resource.dpop_nonce = Some(nonce.to_owned());
        let error = call(&service, "read_note").await.unwrap_err();
        assert!(error.auth_challenge().unwrap().contains("use_dpop_nonce"), "{error}");
        assert!(auth_error(&error).is_none(), "{error}");
        assert_eq!((town.count(What::TokenRequests), visitor.times_opened()), (1, 1));
        // As the documentation shows it.
        let any = http::Request::post(town.url()).body(Vec::new()).unwrap();
        session.send(any, &Need::default(), Asking::Never).await.unwrap();
        assert_eq!(call(&service, "read_note").await.unwrap(), "Buy milk.");
    }
    assert_eq!((town.count(What::TokenRequests), visitor.times_opened()), (1, 1));
}

#[tokio::test]
async fn another_server_gets_no_token() {
    let (town, other) = (server::town().await, server::town().await);
    let session = session(&town, &Visitor::default());
    session.login().await.unwrap();
    let connected = connect_as(other.url(), &session, Asking::Welcome).await;
    let error = connected.err().unwrap();
    let ours = auth_error(&error).expect("one of ours");
    assert!(matches!(ours.kind(), ErrorKind::ForeignRequest { .. }), "{ours}");
    assert!(other.world().log.is_empty());
}
