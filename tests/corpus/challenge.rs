//! Challenges (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9728 §5.1).

use http::{Method, Request};
use mcp_auth::{Challenged, Demand, ErrorKind, Event, Need};
use mcp_auth_world::scenario::{Scenario, need};
use mcp_auth_world::{Canned, Fault, GetAnswer, ResourceMetadata, What, assert_fails};

use crate::entry::Entry;
use crate::runner::Check;
use crate::stage::{documents, meet, server};

pub const CHECKS: &[Check] = &[
    Check::new("CH-001", |entry| {
        let metadata = "https://api.githubcopilot.com/.well-known/oauth-protected-resource/mcp/";
        leads_to(entry, "https://api.githubcopilot.com/mcp/", metadata, None);
    }),
    Check::new("CH-005", |entry| {
        let metadata = "https://mcp.notion.com/.well-known/oauth-protected-resource/mcp";
        leads_to(entry, "https://mcp.notion.com/mcp", metadata, None);
        for method in [Method::GET, Method::POST] {
            let mut s = refused(entry, "https://mcp.notion.com/mcp");
            s.world.resource.get = GetAnswer::Unauthorized;
            let mut request = Request::new(Vec::new());
            *request.method_mut() = method;
            *request.uri_mut() = "https://mcp.notion.com/mcp".parse().unwrap();
            let refusal = s.world.handle(1_700_000_000, &request).unwrap();
            let challenged =
                Challenged::read(refusal.status(), refusal.headers(), None, &Need::default());
            s.handle(Event::Challenged(challenged.expect("a challenge")));
            assert!(s.obtain(&need("whoami"), Demand::interactive).unwrap().is_some());
        }
    }),
    Check::new("CH-007", |entry| {
        let metadata = "https://mcp.sentry.dev/.well-known/oauth-protected-resource/mcp";
        leads_to(entry, "https://mcp.sentry.dev/mcp", metadata, None);
    }),
    Check::new("CH-010", |entry| {
        let metadata = "https://mcp.figma.com/.well-known/oauth-protected-resource";
        let s = leads_to(entry, "https://mcp.figma.com/mcp", metadata, Some("mcp:connect"));
        // `authorization_uri` is neither opened nor read.
        assert!(s.browsed[0].as_str().starts_with("https://auth.example.com/authorize?"));
        assert_eq!(s.world.count(What::Strays), 0);
    }),
    Check::new("CH-011", |entry| {
        let metadata = "https://mcp.vercel.com/.well-known/oauth-protected-resource";
        leads_to(entry, "https://mcp.vercel.com", metadata, None);
    }),
    Check::new("CH-012", |entry| {
        let metadata = "https://mcp.supabase.com/.well-known/oauth-protected-resource/mcp";
        leads_to(entry, "https://mcp.supabase.com/mcp", metadata, None);
    }),
    Check::new("CH-014", |entry| {
        let host = "https://asana-mcp-server.asana-enterprise-account.workers.dev";
        let mut s = refused(entry, "https://mcp.asana.com/v2/mcp");
        s.world.resource.metadata =
            ResourceMetadata::At(format!("{host}/.well-known/oauth-protected-resource/v2"));
        s.world.resource.identifier = Some(entry.text("/prm/resource").to_owned());
        let answer = s.call_tool("whoami");
        assert_fails!(answer, ErrorKind::ResourceMismatch { .. });
        let told = answer.error().to_string();
        assert!(told.contains("https://mcp.asana.com/v2/mcp"), "{told}");
        assert!(told.contains(&format!("{host}/v2/mcp")), "{told}");
        assert_eq!((s.browser_opened(), s.world.registrations()), (0, 0));
    }),
    Check::new("CH-015", |entry| {
        assert!(entry.header("content-type").is_empty() && entry.body().is_empty());
        let metadata = "https://mcp.box.com/.well-known/oauth-protected-resource";
        leads_to(entry, "https://mcp.box.com", metadata, None);
    }),
    Check::new("CH-016", |entry| {
        let metadata = "https://mcp.calendly.com/.well-known/oauth-protected-resource";
        leads_to(entry, "https://mcp.calendly.com", metadata, None);
    }),
    Check::new("CH-018", |entry| {
        let url = "https://mcp.zapier.com/api/mcp/mcp";
        let mut s = refused(entry, url);
        meet(&mut s);
        let path = "mcp.zapier.com/.well-known/oauth-protected-resource/api/mcp/mcp";
        assert_eq!(documents(&mut s)[0], format!("{path} 200"));

        let mut s = refused(entry, url);
        s.world.resource.metadata = ResourceMetadata::Absent;
        s.inspect().unwrap();
        assert_eq!(
            documents(&mut s)[1..],
            [
                format!("{path} 404").as_str(),
                "mcp.zapier.com/.well-known/oauth-protected-resource 404",
                "mcp.zapier.com/.well-known/oauth-authorization-server 404",
                "mcp.zapier.com/.well-known/openid-configuration 404",
            ]
        );
    }),
    Check::new("CH-020", |entry| {
        let mut s = refused(entry, "https://mcp.xero.com/mcp");
        meet(&mut s);
        assert_eq!(
            documents(&mut s),
            [
                "mcp.xero.com/.well-known/oauth-protected-resource/mcp 200",
                "auth.example.com/.well-known/oauth-authorization-server 200",
            ]
        );
    }),
    Check::new("CH-022", |entry| {
        let metadata = "https://mcp.tavily.com/.well-known/oauth-protected-resource/mcp";
        let scope = Some("openid offline_access");
        leads_to(entry, "https://mcp.tavily.com/mcp", metadata, scope);
    }),
    Check::new("CH-023", |entry| {
        let url = "https://gitlab.com/api/v4/mcp";
        let metadata = "https://gitlab.com/.well-known/oauth-protected-resource/api/v4/mcp";
        leads_to(entry, url, metadata, Some("mcp"));
        let mut s = refused(entry, url);
        let all = ["mcp", "api", "sudo", "admin_mode", "user:*"].map(str::to_owned);
        s.world.authorization[0].scopes_supported = all.to_vec();
        meet(&mut s);
        assert_eq!(s.authorize_param("scope").as_deref(), Some("mcp"));
    }),
    Check::new("CH-025", |entry| {
        let mut s = refused(entry, "https://mcp.mercadopago.com/mcp");
        let metadata = entry.text("/prm");
        s.world.resource.metadata = ResourceMetadata::At(metadata.to_owned());
        meet(&mut s);
        let first = documents(&mut s).swap_remove(0);
        assert_eq!(format!("https://{first}"), format!("{metadata} 200"));
    }),
    Check::new("CH-027", |entry| {
        let mut s = refused(entry, "https://app.hubspot.com/mcp/v1/http");
        meet(&mut s);
        let first = "app.hubspot.com/.well-known/oauth-protected-resource/mcp/v1/http 200";
        assert_eq!(documents(&mut s)[0], first);
        // The bare URL is no challenge: nobody goes there.
        assert_eq!(s.world.count(What::Strays), 0);
    }),
    Check::new("CH-028", |entry| {
        assert_eq!(entry.header("www-authenticate").len(), 2);
        let metadata = "http://localhost:1031/.well-known/oauth-protected-resource";
        leads_to(entry, "http://localhost:1031", metadata, None);
    }),
    Check::new("CH-029", |entry| {
        let mut s = refused(entry, "https://mcp.example.com/mcp");
        meet(&mut s);
        let first = "mcp.example.com/.well-known/oauth-protected-resource/mcp 200";
        assert_eq!(documents(&mut s)[0], first);
    }),
    Check::new("CH-032", |entry| {
        leads_to(entry, "https://example.com/mcp", "https://example.com/.well-known/x", None);
    }),
    Check::new("CH-033", |entry| {
        let metadata = "https://example.com/.well-known/oauth-protected-resource";
        leads_to(entry, "https://example.com/mcp", metadata, None);
    }),
    Check::new("CH-034", |entry| {
        let s = leads_to(entry, "https://mcp.example.com/mcp", "https://mcp.example.com/prm", None);
        assert_eq!(s.world.count(What::Strays), 0);
    }),
    Check::new("CH-036", |entry| {
        let url = "https://dbc.cloud.databricks.com/api/2.0/mcp";
        meet(&mut refused(entry, url));
        // The edge in front of apps sends everybody to a login page, and nobody goes along.
        let login = "https://dbc.cloud.databricks.com/oidc/oauth2/v2.0/authorize?client_id=edge";
        let edge = || Fault::answer("*", "/api/2.0/mcp", Canned::redirect(302, login)).times(2);
        let mut s = refused(entry, url);
        s.world.faults.push(edge());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(!s.take_log().iter().any(|line| line.contains("/oidc/")));
        let mut s = refused(entry, url);
        s.world.faults.push(edge());
        s.world.resource.metadata = ResourceMetadata::Absent;
        s.world.authorization[0].preregister("by-hand", None);
        s.config.client_id = Some("by-hand".to_owned());
        s.config.issuer = Some("https://auth.example.com".to_owned());
        assert_eq!(s.call_tool("whoami").status(), 200);
        assert!(!s.take_log().iter().any(|line| line.contains("/oidc/")));
    }),
    Check::new("CH-038", |entry| {
        let mut s = refused(entry, "http://localhost:3001/mcp");
        meet(&mut s);
        let first = "localhost/.well-known/oauth-protected-resource/mcp 200";
        assert_eq!(documents(&mut s)[0], first);
    }),
    Check::new("CH-039", |entry| {
        let metadata = "https://api.example.com/meta";
        leads_to(entry, "https://api.example.com/mcp", metadata, Some("read"));
    }),
    Check::new("CH-040", |entry| {
        assert!(entry.header("www-authenticate")[0].contains("\n "));
        let metadata = "https://mcp.example.com/.well-known/oauth-protected-resource";
        leads_to(entry, "https://mcp.example.com/mcp", metadata, Some("files:read"));
    }),
];

/// A server that refuses whoever brings no token, in the very bytes of the entry.
fn refused(entry: &Entry, url: &str) -> Scenario {
    let mut s = server(url, "https://auth.example.com");
    s.world.resource.no_token_answer = Some(entry.canned());
    s
}

/// The challenge leads to the metadata that it names, and to a login that asks for its scopes. So it
/// does with another URL in the same bytes, which nobody could guess.
#[track_caller]
fn leads_to(entry: &Entry, url: &str, metadata: &str, scope: Option<&str>) -> Scenario {
    let elsewhere = url::Url::parse(url).unwrap().join("/elsewhere").unwrap();
    for place in [elsewhere.as_str(), metadata] {
        let mut s = refused(entry, url);
        let answer = s.world.resource.no_token_answer.as_mut().unwrap();
        for (_, value) in &mut answer.headers {
            *value = value.replace(metadata, place);
        }
        s.world.resource.metadata = ResourceMetadata::At(place.to_owned());
        meet(&mut s);
        let first = documents(&mut s).swap_remove(0);
        let host_and_path = place.split_once("://").unwrap().1.replace(":1031", "");
        assert_eq!(first, format!("{host_and_path} 200"));
        assert_eq!(s.authorize_param("scope").as_deref(), scope);
        if place == metadata {
            return s;
        }
    }
    unreachable!("the last place is its own")
}
