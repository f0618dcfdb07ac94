//! What makes an exchange one of MCP.

use super::message::Message;
use crate::{llm::recognise::segments, proto::RequestHead};

/// Methods that nobody else has. `initialize` is also the Language Server Protocol's, `tasks/…` also A2A's, `ping`
/// anybody's: those need more.
const OWN_METHODS: [&str; 18] = [
    "tools/call",
    "tools/list",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "resources/templates/list",
    "completion/complete",
    "logging/setLevel",
    "server/discover",
    "subscriptions/listen",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
    "notifications/elicitation/complete",
];

/// Header fields of the protocol's own: the session (2025-03-26), the version (2025-06-18), method and name (2026-07-28).
const HEADERS: [&str; 3] = ["mcp-protocol-version", "mcp-session-id", "mcp-method"];

/// Whether a request's bodies are worth reading, as its head tells: it has the protocol's own header fields, or accepts
/// JSON as well as event streams, as every client of Streamable HTTP must, or has a path or query as the servers of the
/// older transport hand out. It proves nothing.
pub fn could_be_mcp(head: &RequestHead) -> bool {
    match head.method.as_str() {
        "POST" => has_own_headers(head) || accepts_both(head) || has_usual_path(head),
        "GET" => accepts(head, "text/event-stream") && (has_own_headers(head) || has_usual_path(head)),
        _ => false,
    }
}

pub fn has_own_headers(head: &RequestHead) -> bool {
    HEADERS.iter().any(|name| head.headers.has(name))
}

/// Whether the answer may come on another connection: the transport of 2024-11-05 knows neither sessions in header
/// fields nor answers of two kinds.
pub fn is_legacy(head: &RequestHead) -> bool {
    head.method == "POST"
        && !accepts_both(head)
        && !head.headers.has("mcp-session-id")
        && !head.headers.has("mcp-method")
}

/// Whether the message is MCP's, by itself or because its exchange says so.
pub fn is_mcp(message: &Message, own_headers: bool) -> bool {
    let Some(method) = &message.method else { return false };
    own_headers
        || OWN_METHODS.contains(&method.as_str())
        || (method == "initialize" && message.protocol_version.is_some())
}

fn accepts(head: &RequestHead, media_type: &str) -> bool {
    let long_enough = |value: &&[u8]| value.len() >= media_type.len();
    head.headers.all("accept").filter(long_enough).filter_map(|value| std::str::from_utf8(value).ok()).any(|value| {
        value
            .split(',')
            .any(|range| range.split(';').next().is_some_and(|range| range.trim().eq_ignore_ascii_case(media_type)))
    })
}

fn accepts_both(head: &RequestHead) -> bool {
    // Fewer accept the second.
    accepts(head, "text/event-stream") && accepts(head, "application/json")
}

fn has_usual_path(head: &RequestHead) -> bool {
    let is = |segment: &str, names: &[&str]| names.iter().any(|name| segment.eq_ignore_ascii_case(name));
    segments(&head.path).any(|segment| is(segment, &["mcp", "sse"]))
        // The SDKs' servers of the older transport give each client an address of this kind.
        || (segments(&head.path).next().is_some_and(|last| is(last, &["message", "messages"]))
            && head.query.split('&').any(|pair| pair.starts_with("session_id=") || pair.starts_with("sessionId=")))
}
