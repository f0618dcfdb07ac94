//! What agents talk to beside models: a server of the Model Context Protocol at `…/mcp`, in the generation with sessions
//! (2025-11-25) and the one without (2026-07-28), and two vector stores, Qdrant and Chroma. Each knows one tool or one
//! collection; whoever asks for another gets the error of its kind.

use serde_json::{Value, json};

use super::{
    http1::Request,
    plan::{Body, Plan, Stated, Step, event},
};

const STATELESS: &str = "2026-07-28";
const WITH_SESSIONS: &str = "2025-11-25";
const COLLECTION: &str = "rivers";

/// The answer, if the request is for one of these servers.
pub fn answer(request: &Request, path: &str, serial: &str) -> Option<Plan> {
    if path.ends_with("/mcp") {
        return Some(mcp(request, serial));
    }
    if request.method != "POST" {
        return None;
    }
    let body = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        [.., "collections", collection, "points", "query"] => Some(qdrant(collection, &body)),
        [.., "collections", collection, "query"] => Some(chroma(collection, &body)),
        _ => None,
    }
}

fn mcp(request: &Request, serial: &str) -> Plan {
    match request.method.as_str() {
        "POST" => {}
        "DELETE" => return plain(200, Vec::new(), &Value::Null),
        // It offers no stream of its own messages.
        _ => {
            return plain(
                405,
                Vec::new(),
                &json!({"jsonrpc": "2.0", "error": {"code": -32000, "message": "POST only"}}),
            );
        }
    }
    let Ok(message) = serde_json::from_slice::<Value>(&request.body) else {
        return plain(400, Vec::new(), &json!({"jsonrpc": "2.0", "error": {"code": -32700, "message": "no JSON"}}));
    };
    let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
    let Some(id) = message.get("id").filter(|_| !method.is_empty()) else {
        return plain(202, Vec::new(), &Value::Null);
    };
    let stateless = request.header("mcp-protocol-version") == Some(STATELESS);
    let mut headers = Vec::new();
    let outcome = match method {
        "server/discover" if stateless => Ok(json!({
            "supportedVersions": [STATELESS], "capabilities": {"tools": {}},
            "serverInfo": {"name": "mock", "version": "1"}, "ttlMs": 0, "cacheScope": "private",
        })),
        "initialize" if !stateless => {
            headers.push(("mcp-session-id", format!("session-{serial}")));
            let server = json!({"name": "mock", "version": "1"});
            Ok(json!({"protocolVersion": WITH_SESSIONS, "capabilities": {"tools": {}}, "serverInfo": server}))
        }
        "ping" if !stateless => Ok(json!({})),
        "tools/list" => Ok(json!({"tools": [tool("weather"), tool("fails")], "ttlMs": 0, "cacheScope": "private"})),
        "tools/call" => call(message.pointer("/params/name").and_then(Value::as_str).unwrap_or_default()),
        _ => Err((-32601, "no such method")),
    };
    let status = if stateless && outcome.is_err() { 404 } else { 200 };
    let answer = match outcome {
        Ok(mut result) => {
            if stateless {
                result["resultType"] = "complete".into();
            }
            json!({"jsonrpc": "2.0", "id": id, "result": result})
        }
        Err((code, message)) => json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}),
    };
    if method != "tools/call" || status != 200 {
        return plain(status, headers, &answer);
    }
    // Progress first, as long as it does no harm: whoever did not ask for it passes it over.
    let notice =
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "debug", "data": "…"}});
    let steps = [notice, answer].iter().map(|message| Step::silent(event(Some("message"), message))).collect();
    let failure = Box::new(Step::silent(event(Some("error"), &json!({"error": "over"}))));
    Plan { status, headers, body: Body::Stream { steps, keep_alive_event: ": keep-alive\n\n".to_owned(), failure } }
}

fn tool(name: &str) -> Value {
    json!({"name": name, "description": "A tool of the mock's.", "inputSchema": {"type": "object"}})
}

fn call(name: &str) -> Result<Value, (i32, &'static str)> {
    let text = |text: &str| json!([{"type": "text", "text": text}]);
    match name {
        "weather" => Ok(json!({"content": text("12 degrees"), "isError": false})),
        "fails" => Ok(json!({"content": text("no thermometer"), "isError": true})),
        _ => Err((-32602, "no such tool")),
    }
}

fn qdrant(collection: &str, body: &Value) -> Plan {
    if collection != COLLECTION {
        let status = json!({"error": format!("Not found: Collection `{collection}` doesn't exist!")});
        return plain(404, Vec::new(), &json!({"status": status, "time": 0.001}));
    }
    let limit = body.get("limit").and_then(Value::as_u64).unwrap_or(10).min(3);
    let points: Vec<Value> = (0..limit)
        .map(|id| json!({"id": id, "version": 0, "score": 0.9, "payload": {"text": "The Elbe flows through Dresden."}}))
        .collect();
    plain(200, Vec::new(), &json!({"result": {"points": points}, "status": "ok", "time": 0.001}))
}

fn chroma(collection: &str, body: &Value) -> Plan {
    if collection != COLLECTION {
        return plain(404, Vec::new(), &json!({"error": "NotFoundError", "message": "no such collection"}));
    }
    let queries = body.get("query_embeddings").and_then(Value::as_array).map_or(1, Vec::len);
    let ids = vec![vec!["a", "b"]; queries];
    let documents = vec![vec!["The Elbe.", "The Oder."]; queries];
    plain(200, Vec::new(), &json!({"ids": ids, "documents": documents, "distances": vec![vec![0.1, 0.2]; queries]}))
}

fn plain(status: u16, headers: Vec<(&'static str, String)>, body: &Value) -> Plan {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Plan { status, headers, body: Body::Whole { bytes, states: Stated::default() } }
}
