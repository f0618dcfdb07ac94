use serde_json::json;

use super::*;

/// A program that answers `replay` with these lines.
fn scored(spans: &str, rows: &str) -> Score {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = std::env::temp_dir().join(format!("llmtap-score-{}-{:p}", std::process::id(), rows));
    std::fs::create_dir_all(&folder).expect("a folder");
    let program = folder.join("llmtap");
    std::fs::write(&program, format!("#!/bin/sh\ncat <<'END'\n{spans}\nEND\n")).expect("a program");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    std::fs::write(folder.join("a.capture.jsonl.zst"), "").expect("a capture");
    std::fs::write(folder.join("a.expected.jsonl"), rows).expect("rows");
    let mut score = Score::default();
    score.folder(&folder, &program).expect("a score");
    std::fs::remove_dir_all(&folder).expect("an end");
    score
}

fn span(attributes: serde_json::Value) -> String {
    let any = |value: &serde_json::Value| match value {
        serde_json::Value::Number(number) => json!({"intValue": number.to_string()}),
        other => json!({"stringValue": other}),
    };
    let list: Vec<_> = attributes
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| json!({"key": key, "value": any(value)}))
        .collect();
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": list}]}]}]}).to_string()
}

#[test]
fn a_wrong_value_a_missing_span_and_a_false_one_are_all_seen() {
    let call = |conn: &str, tokens: u64| {
        span(json!({
            "llmtap.connection.id": conn, "llmtap.exchange.index": 0, "gen_ai.provider.name": "openai",
            "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": tokens,
        }))
    };
    let row = |conn: &str, is_llm: Option<bool>| {
        json!({"conn": conn, "index": 0, "source": conn, "is_llm": is_llm, "provider": "openai", "operation": "chat",
               "input_tokens": 7, "tool_calls": [], "stream": false})
        .to_string()
    };
    let spans = [call("right", 7), call("wrong", 8), call("other", 7), call("either", 7)].join("\n");
    let rows = [
        row("right", Some(true)),
        row("wrong", Some(true)),
        row("missing", Some(true)),
        row("other", Some(false)),
        row("either", None),
    ]
    .join("\n");
    let score = scored(&spans, &rows);
    assert_eq!((score.exchanges, score.false_spans, score.doubled), (5, 1, 0));
    assert_eq!(score.failures(0.999), ["false spans: 1", "input_tokens: 1 of 2", "span: 2 of 3"]);
    assert_eq!(score.failures(0.5), ["false spans: 1", "span: 2 of 3"]);
    assert!(score.differences.iter().any(|other| other.source == "wrong" && other.found == json!(8)));
}

#[test]
fn what_is_right_has_no_difference() {
    let attributes = json!({"llmtap.connection.id": "a", "llmtap.exchange.index": 1, "gen_ai.operation.name": "chat"});
    let row = json!({"conn": "a", "index": 1, "is_llm": true, "operation": "chat", "tool_calls": [], "stream": false});
    let score = scored(&span(attributes), &row.to_string());
    assert_eq!(score.failures(1.0), [""; 0]);
    assert_eq!(score.differences, []);
}
