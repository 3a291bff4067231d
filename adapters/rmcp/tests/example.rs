//! The example runs.

#[path = "../examples/notes/main.rs"]
#[allow(dead_code, reason = "its `main` has this test's arguments")]
mod notes;

#[tokio::test]
async fn connects_to_rmcps_server_behind_oauth_lists_its_tools_and_calls_one() {
    notes::run(None).await.unwrap();
}
