//! Compares the spans that `llmtap replay` tells of a capture with the values expected of each of its exchanges.
//!
//! A folder of recordings holds pairs `NAME.capture.jsonl.zst` and `NAME.expected.jsonl`; an expected row names its
//! exchange by connection and index, says whether it is a model call (`is_llm`: true, false, or null where either is
//! right), the value of each field, null where there must be none, and in `unscored` the fields on which it has no opinion.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

/// Lowest share of equal values, for each field but `span`, which must be found each time.
pub const GOAL: f64 = 0.999;

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

/// Nanoseconds by which the time to the first token may differ.
const FIRST_TOKEN_SLACK: f64 = 1e6;

type Attributes = Map<String, Value>;

/// Values that are equal, and those that were compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    pub equal: u64,
    pub compared: u64,
}

impl Share {
    fn add(&mut self, equal: bool) {
        self.equal += u64::from(equal);
        self.compared += 1;
    }

    pub fn ratio(self) -> f64 {
        self.equal as f64 / self.compared as f64
    }
}

/// Where an exchange's span is not what was expected of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The expected row's own name for its exchange.
    pub source: String,
    pub field: String,
    pub expected: Value,
    pub found: Value,
}

#[derive(Debug, Default)]
pub struct Score {
    /// Shapes of exchanges that are compared, by the rows' `family`; empty is all.
    pub families: Vec<String>,
    pub exchanges: u64,
    pub fields: BTreeMap<String, Share>,
    /// By provider and field.
    pub providers: BTreeMap<String, BTreeMap<String, Share>>,
    pub differences: Vec<Difference>,
    /// Spans of exchanges that are no model calls, and of none at all.
    pub false_spans: u64,
    /// Second spans of one exchange.
    pub doubled: u64,
}

impl Score {
    /// Replays every capture in `folder` through the program `llmtap`.
    pub fn folder(&mut self, folder: &Path, llmtap: &Path) -> Result<()> {
        for capture in captures(folder)? {
            let expected = PathBuf::from(capture.to_string_lossy().replace(".capture.jsonl.zst", ".expected.jsonl"));
            let rows = fs::read_to_string(&expected).with_context(|| format!("cannot read {}", expected.display()))?;
            self.file(replayed(llmtap, &capture)?, &rows)
                .with_context(|| format!("{} is not as it should be", expected.display()))?;
        }
        ensure!(self.exchanges > 0, "{} holds no NAME.capture.jsonl.zst", folder.display());
        Ok(())
    }

    /// What misses its threshold, in words.
    pub fn failures(&self, goal: f64) -> Vec<String> {
        let mut failures = Vec::new();
        for (what, count) in [("false spans", self.false_spans), ("doubled spans", self.doubled)] {
            if count > 0 {
                failures.push(format!("{what}: {count}"));
            }
        }
        for (field, share) in &self.fields {
            let goal = if field == "span" { 1.0 } else { goal };
            if share.ratio() < goal {
                failures.push(format!("{field}: {} of {}", share.equal, share.compared));
            }
        }
        failures
    }

    fn file(&mut self, replayed: Vec<Attributes>, rows: &str) -> Result<()> {
        let mut spans: HashMap<(String, u64), Vec<Attributes>> = HashMap::new();
        for span in replayed {
            let connection = span.get("llmtap.connection.id").and_then(Value::as_str).unwrap_or_default().to_owned();
            let index = span.get("llmtap.exchange.index").and_then(Value::as_u64).unwrap_or_default();
            spans.entry((connection, index)).or_default().push(span);
        }
        for line in rows.lines() {
            let row: Value = serde_json::from_str(line)?;
            self.exchanges += 1;
            let key =
                (row["conn"].as_str().context("a row has no conn")?.to_owned(), row["index"].as_u64().unwrap_or(0));
            let found = spans.remove(&key).unwrap_or_default();
            match row["is_llm"].as_bool() {
                Some(true) => self.row(&row, &found),
                Some(false) if !found.is_empty() => {
                    self.false_spans += found.len() as u64;
                    self.differ(&row, "span", Value::Null, "a span of what is no model call".into());
                }
                // Either is right.
                _ => {}
            }
        }
        for (key, stray) in spans {
            self.false_spans += stray.len() as u64;
            self.differ(&Value::Null, "span", Value::Null, format!("a span of no exchange, {key:?}").into());
        }
        Ok(())
    }

    fn row(&mut self, row: &Value, found: &[Attributes]) {
        let family = row["family"].as_str().unwrap_or_default();
        if !self.families.is_empty() && !self.families.iter().any(|other| other == family) {
            return;
        }
        self.count(row, "span", !found.is_empty(), || ("one".into(), Value::Null));
        let Some(span) = found.first() else { return };
        if found.len() > 1 {
            self.doubled += found.len() as u64 - 1;
            self.differ(row, "span", 1.into(), found.len().into());
        }
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
            self.count(row, field, equal, || (row[field].clone(), have.clone()));
        }
        if !unscored.contains(&"tool_calls") {
            let (have, wanted) = (told_calls(span), expected_calls(row));
            self.count(row, "tool_calls", have == wanted, || (wanted.clone(), have.clone()));
        }
        if !unscored.contains(&"stream") {
            let have = span.get("gen_ai.request.stream").and_then(Value::as_bool).unwrap_or(false);
            let wanted = row["stream"].as_bool().unwrap_or(false);
            self.count(row, "stream", have == wanted, || (wanted.into(), have.into()));
        }
        if let (Some(loose), false) = (row["ttfc_ns"].as_f64(), unscored.contains(&"ttfc_ns")) {
            let have = span.get("llmtap.time.first_token").and_then(Value::as_f64);
            let strict = row["ttfc_strict_ns"].as_f64();
            let near = |wanted: f64| have.is_some_and(|have| (have * 1e9 - wanted).abs() <= FIRST_TOKEN_SLACK);
            let equal = near(loose) || strict.is_some_and(near);
            self.count(row, "first_token", equal, || ((loose / 1e9).into(), have.into()));
        }
    }

    /// `values` are the expected and the found one.
    fn count(&mut self, row: &Value, field: &str, equal: bool, values: impl Fn() -> (Value, Value)) {
        self.fields.entry(field.to_owned()).or_default().add(equal);
        let provider = row["provider"].as_str().unwrap_or("(any)").to_owned();
        self.providers.entry(provider).or_default().entry(field.to_owned()).or_default().add(equal);
        if !equal {
            let (expected, found) = values();
            self.differ(row, field, expected, found);
        }
    }

    fn differ(&mut self, row: &Value, field: &str, expected: Value, found: Value) {
        let source = row["source"].as_str().unwrap_or_default().to_owned();
        self.differences.push(Difference { source, field: field.to_owned(), expected, found });
    }
}

/// The captures in a folder, in the order of their names.
pub fn captures(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut captures: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    captures.retain(|path| path.to_string_lossy().ends_with(".capture.jsonl.zst"));
    captures.sort();
    Ok(captures)
}

/// Name and id of each tool call that the span tells. Where an API has no ids, the span has no list of them.
fn told_calls(span: &Attributes) -> Value {
    let list = |name: &str| span.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (names, ids) = (list("llmtap.tool_calls.names"), list("llmtap.tool_calls.ids"));
    let ids = ids.into_iter().chain(std::iter::repeat(Value::from("")));
    names.into_iter().zip(ids).map(|(name, id)| Value::from(vec![name, id])).collect()
}

fn expected_calls(row: &Value) -> Value {
    let text = |call: &Value, key: &str| Value::from(call[key].as_str().unwrap_or_default());
    let calls = row["tool_calls"].as_array().into_iter().flatten();
    calls.map(|call| Value::from(vec![text(call, "name"), text(call, "id")])).collect()
}

/// 3 and 3.0 are the same number.
fn same(have: &Value, wanted: &Value) -> bool {
    match (have.as_f64(), wanted.as_f64()) {
        (Some(have), Some(wanted)) => have == wanted,
        _ => have == wanted,
    }
}

/// Attributes of every span of a model call. Spans that llmtap puts together from several exchanges belong to none, and
/// requests of MCP and queries of vector stores have no expected rows.
fn replayed(llmtap: &Path, capture: &Path) -> Result<Vec<Attributes>> {
    let output = Command::new(llmtap).args(["replay", "--output", "jsonl"]).arg(capture).output();
    let output = output.with_context(|| format!("cannot run {}", llmtap.display()))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "replay of {} failed: {}", capture.display(), complaint.trim());
    let mut spans = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let data: Value = serde_json::from_slice(line)?;
        let items = |of: &Value, key: &str| of[key].as_array().cloned().unwrap_or_default();
        for resource in items(&data, "resourceSpans") {
            for scope in items(&resource, "scopeSpans") {
                spans.extend(items(&scope, "spans").iter().map(|span| attributes(&items(span, "attributes"))));
            }
        }
    }
    let other = |span: &Attributes| {
        let operation = span.get("gen_ai.operation.name").and_then(Value::as_str);
        matches!(operation, Some("invoke_agent" | "execute_tool" | "retrieval")) || span.contains_key("mcp.method.name")
    };
    spans.retain(|span| !other(span));
    Ok(spans)
}

fn attributes(list: &[Value]) -> Attributes {
    list.iter().map(|one| (one["key"].as_str().unwrap_or_default().to_owned(), plain(&one["value"]))).collect()
}

/// An OTLP/JSON `AnyValue` as plain JSON.
fn plain(any: &Value) -> Value {
    let Some((kind, inner)) = any.as_object().and_then(|any| any.iter().next()) else { return Value::Null };
    match kind.as_str() {
        "intValue" => inner.as_str().and_then(|digits| digits.parse::<i64>().ok()).into(),
        "arrayValue" => inner["values"].as_array().into_iter().flatten().map(plain).collect(),
        _ => inner.clone(),
    }
}
