//! What a message needs a token for.

use mcp_auth::Need;
use rmcp::model::ClientJsonRpcMessage;
use serde_json::Value;

/// The method, and which tool, prompt or resource it is for.
pub(crate) fn need_of(message: &ClientJsonRpcMessage) -> Need {
    let operation = match message {
        ClientJsonRpcMessage::Request(request) => serde_json::to_value(&request.request).ok(),
        // Answers and notifications are for the server as a whole.
        _ => None,
    };
    Need { operation: operation.as_ref().and_then(read), ..Need::default() }
}

fn read(request: &Value) -> Option<String> {
    let method = request.get("method")?.as_str()?;
    let object = ["name", "uri"].iter().find_map(|key| request.get("params")?.get(key)?.as_str());
    Some(object.map_or_else(|| method.to_owned(), |object| format!("{method} {object}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_method_and_what_it_is_for() {
        let of = |text: &str| need_of(&serde_json::from_str(text).unwrap()).operation;
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"sum","arguments":{"uri":"x"}}}"#;
        assert_eq!(of(call).as_deref(), Some("tools/call sum"));
        let read =
            r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"note://1"}}"#;
        assert_eq!(of(read).as_deref(), Some("resources/read note://1"));
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).as_deref(), Some("ping"));
        let told = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(of(told), None);
    }
}
