//! A server of notes, by rmcp's own server code, behind an OAuth guard on this machine.

use std::sync::Arc;

use mcp_auth_hosts::Town;
use rmcp::model::{
    CallToolResult, ContentBlock, ProgressNotificationParam, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, tool, tool_handler, tool_router};

/// The guard wants the scope `notes:write` for `write_note`.
#[derive(Clone)]
pub struct Notes;

#[tool_router]
impl Notes {
    #[tool(description = "Read the note")]
    fn read_note(&self) -> String {
        "Buy milk.".to_owned()
    }

    #[tool(description = "Write the note, slowly")]
    async fn write_note(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        // On the stream that is the answer.
        if let Some(token) = context.meta.get_progress_token() {
            for part in [1.0, 2.0, 3.0] {
                let progress = ProgressNotificationParam::new(token.clone(), part);
                let _ = context.peer.notify_progress(progress).await;
            }
        }
        let _ = context.peer.notify_tool_list_changed().await;
        Ok(CallToolResult::success(vec![ContentBlock::text("written")]))
    }
}

#[tool_handler]
impl ServerHandler for Notes {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

/// The server, its guard, and the authorization server.
pub async fn town() -> Town<()> {
    let sessions = Arc::new(LocalSessionManager::default());
    let config = StreamableHttpServerConfig::default();
    let service = StreamableHttpService::new(|| Ok(Notes), sessions, config);
    Town::guarding(move |request| {
        let service = service.clone();
        async move { service.handle(request).await }
    })
    .await
}
