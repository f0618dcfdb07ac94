//! Replays recorded exchanges and compares every span with the values expected of it, field by field.
//!
//! The recordings are not part of the project: the folder is `LLMTAP_CORPUS`, or `../shared/corpus` beside the checkout.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends at its first failure")]

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Shapes that llmtap reads today: of these every exchange must have its span. Of others a span is neither demanded
/// nor compared.
const FAMILIES: [&str; 14] = [
    "openai_chat",
    "openai_responses",
    "openai_completions",
    "openai_embeddings",
    "anthropic",
    "anthropic_complete",
    "gemini",
    "cohere_chat1",
    "cohere_chat2",
    "cohere_embed",
    "cohere_generate",
    "ollama_chat",
    "ollama_generate",
    "ollama_embed",
];

/// Lowest share of equal values, for each field.
const GOAL: f64 = 0.999;

/// An expected field and the attribute that tells it.
const FIELDS: [(&str, &str); 12] = [
    ("provider", "gen_ai.provider.name"),
    ("operation", "gen_ai.operation.name"),
    ("request_model", "gen_ai.request.model"),
    ("response_model", "gen_ai.response.model"),
    ("response_id", "gen_ai.response.id"),
    ("finish_reasons", "gen_ai.response.finish_reasons"),
    ("input_tokens", "gen_ai.usage.input_tokens"),
    ("output_tokens", "gen_ai.usage.output_tokens"),
    ("cache_read_input_tokens", "gen_ai.usage.cache_read.input_tokens"),
    ("cache_creation_input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    ("reasoning_output_tokens", "gen_ai.usage.reasoning.output_tokens"),
    ("error_type", "error.type"),
];

type Attributes = HashMap<String, Value>;

#[derive(Default)]
struct Score {
    /// Equal and compared, by field.
    fields: BTreeMap<String, (u64, u64)>,
    differences: Vec<String>,
    false_spans: u64,
    doubled: u64,
    /// Queries of vector stores and requests of MCP.
    beside: u64,
}

#[test]
fn recorded_exchanges_give_the_expected_spans() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = std::env::var_os("LLMTAP_CORPUS").map_or_else(|| root.join("../shared/corpus"), PathBuf::from);
    let mut captures: Vec<PathBuf> = fs::read_dir(&folder)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    captures.retain(|path| path.to_string_lossy().ends_with(".capture.jsonl.zst"));
    if captures.is_empty() {
        println!("skipped: no recordings (LLMTAP_CORPUS names their folder)");
        return;
    }
    let mut score = Score::default();
    for capture in captures {
        let expected = PathBuf::from(capture.to_string_lossy().replace(".capture.jsonl.zst", ".expected.jsonl"));
        score.file(&capture, &fs::read_to_string(expected).unwrap());
    }
    for (field, (equal, compared)) in &score.fields {
        println!("{field:32} {equal:6}/{compared:<6} {:8.4} %", 100.0 * *equal as f64 / *compared as f64);
    }
    println!("false spans {}, doubled {}, retrievals {}", score.false_spans, score.doubled, score.beside);
    for difference in &score.differences {
        println!("  {difference}");
    }
    assert_eq!((score.false_spans, score.doubled), (0, 0));
    let below = score.fields.iter().filter(|(_, (equal, compared))| (*equal as f64) < GOAL * *compared as f64);
    assert_eq!(below.count(), 0, "fields below {GOAL}");
    assert!(score.fields["span"].1 > 500, "the recordings hold fewer exchanges than they should");
}

impl Score {
    fn file(&mut self, capture: &Path, expected: &str) {
        let mut spans: HashMap<(String, u64), Vec<Attributes>> = HashMap::new();
        for span in replayed(capture) {
            let operation = span.get("gen_ai.operation.name").and_then(Value::as_str).unwrap_or_default();
            // What is scored are calls of models.
            let beside = operation == "retrieval" || span.contains_key("mcp.method.name");
            self.beside += u64::from(beside);
            if !beside && !matches!(operation, "invoke_agent" | "execute_tool") {
                let connection = span["llmtap.connection.id"].as_str().unwrap().to_owned();
                let index = span["llmtap.exchange.index"].as_u64().unwrap();
                spans.entry((connection, index)).or_default().push(span);
            }
        }
        for line in expected.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let key = (row["conn"].as_str().unwrap().to_owned(), row["index"].as_u64().unwrap());
            let found = spans.remove(&key).unwrap_or_default();
            match row["is_llm"].as_bool() {
                Some(true) => self.row(&row, &found),
                Some(false) => self.false_spans += found.len() as u64,
                // Either is right.
                None => {}
            }
        }
        self.false_spans += spans.values().map(|stray| stray.len() as u64).sum::<u64>();
    }

    fn row(&mut self, row: &Value, found: &[Attributes]) {
        let family = row["family"].as_str().unwrap_or_default();
        if !FAMILIES.contains(&family) {
            return;
        }
        self.doubled += (found.len() as u64).saturating_sub(1);
        self.count(row, "span", !found.is_empty());
        let Some(span) = found.first() else { return };
        let unscored: Vec<&str> = row["unscored"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (field, attribute) in FIELDS {
            let optional = matches!(field, "provider" | "operation") && row[field].is_null();
            if unscored.contains(&field) || optional {
                continue;
            }
            let have = span.get(attribute).unwrap_or(&Value::Null);
            let equal = match field {
                "error_type" if !row[field].is_null() => {
                    let accepted = row["error_type_accept"].as_array().into_iter().flatten().chain([&row[field]]);
                    let have = have.as_str().unwrap_or_default();
                    accepted.filter_map(Value::as_str).any(|accepted| accepted.eq_ignore_ascii_case(have))
                }
                _ => same(have, &row[field]),
            };
            self.count(row, field, equal);
        }
        if !unscored.contains(&"tool_calls") {
            let strings = |value: Option<&Value>| -> Vec<String> {
                value
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .map(|one| one.as_str().unwrap_or_default().into())
                    .collect()
            };
            let (names, mut ids) =
                (strings(span.get("llmtap.tool_calls.names")), strings(span.get("llmtap.tool_calls.ids")));
            // Where an API has no ids, the span has no list of them.
            ids.resize(names.len(), String::new());
            let wanted = |key: &str| -> Vec<String> {
                let calls = row["tool_calls"].as_array().into_iter().flatten();
                calls.map(|call| call[key].as_str().unwrap_or_default().into()).collect()
            };
            self.count(row, "tool_calls", names == wanted("name") && ids == wanted("id"));
        }
        if !unscored.contains(&"stream") {
            let have = span.get("gen_ai.request.stream").and_then(Value::as_bool).unwrap_or(false);
            self.count(row, "stream", have == row["stream"].as_bool().unwrap_or(false));
        }
        if let (Some(loose), false) = (row["ttfc_ns"].as_f64(), unscored.contains(&"ttfc_ns")) {
            let have = span.get("llmtap.time.first_token").and_then(Value::as_f64);
            let strict = row["ttfc_strict_ns"].as_f64();
            let near = |wanted: f64| have.is_some_and(|have| (have * 1e9 - wanted).abs() <= 1e6);
            self.count(row, "first_token", near(loose) || strict.is_some_and(near));
        }
    }

    fn count(&mut self, row: &Value, field: &str, equal: bool) {
        let count = self.fields.entry(field.to_owned()).or_default();
        count.0 += u64::from(equal);
        count.1 += 1;
        if !equal {
            self.differences.push(format!("{field}: {}", row["source"].as_str().unwrap_or_default()));
        }
    }
}

fn same(have: &Value, wanted: &Value) -> bool {
    match (have.as_f64(), wanted.as_f64()) {
        (Some(have), Some(wanted)) => have == wanted,
        _ => have == wanted,
    }
}

fn replayed(capture: &Path) -> Vec<Attributes> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_llmtap")).args(["replay", "--output", "jsonl"]).arg(capture).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut spans = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let data: Value = serde_json::from_slice(line).unwrap();
        for span in data["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap() {
            let attributes = span["attributes"].as_array().unwrap().iter();
            spans.push(attributes.map(|one| (one["key"].as_str().unwrap().to_owned(), value(&one["value"]))).collect());
        }
    }
    spans
}

/// An OTLP/JSON `AnyValue` as plain JSON.
fn value(any: &Value) -> Value {
    let (kind, inner) = any.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "intValue" => inner.as_str().unwrap().parse::<i64>().unwrap().into(),
        "arrayValue" => inner["values"].as_array().unwrap().iter().map(value).collect(),
        _ => inner.clone(),
    }
}
