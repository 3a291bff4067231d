//! Connects to an MCP server that wants a login, lists its tools and calls one.
//!
//! `cargo run -p mcp-auth-rmcp --example notes`: to rmcp's own server on this machine, guarded by a
//! simulated authorization server whose person approves.
//!
//! `cargo run -p mcp-auth-rmcp --example notes -- URL`: to a server of yours, in your browser.

#![allow(clippy::print_stdout, reason = "examples talk")]

mod server;

use std::error::Error;

use mcp_auth_rmcp::AuthClient;
use mcp_auth_tokio::{Asking, Builder, Session};
use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(std::env::args().nth(1)).await
}

/// With the server at this URL, or with the one here.
pub async fn run(url: Option<String>) -> Result<(), Box<dyn Error>> {
    // The one that sessions bring: reqwest has none by itself here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Some(url) = url {
        let session = Session::builder(&url).program_name("Notes").build()?;
        return connect(&url, session).await;
    }
    let town = server::town().await;
    let session = Builder::from(town.setup()).build()?;
    connect(town.url(), session).await
}

async fn connect(url: &str, session: Session) -> Result<(), Box<dyn Error>> {
    // Which redirects are to be followed is the session's to say.
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let client = AuthClient::new(session.clone(), http).asking(Asking::Welcome);
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let service = ().serve(StreamableHttpClientTransport::with_client(client, config)).await?;

    let tools = service.list_all_tools().await?;
    println!("{url} has {} tools:", tools.len());
    for tool in &tools {
        println!("- {}: {}", tool.name, tool.description.as_deref().unwrap_or_default());
    }
    // One that can be called without arguments.
    if let Some(tool) = tools.iter().find(|tool| !tool.input_schema.contains_key("required")) {
        let result = service.call_tool(CallToolRequestParams::new(tool.name.clone())).await?;
        let texts = result.content.iter().filter_map(|content| content.as_text());
        let texts: Vec<_> = texts.map(|text| text.text.as_str()).collect();
        println!("{} says: {}", tool.name, texts.join(" "));
    }
    let scopes = session.status().map(|status| status.scopes.to_string());
    println!("scopes: {}", scopes.unwrap_or_default());

    service.cancel().await?;
    Ok(())
}
