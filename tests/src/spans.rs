//! Reads what `llmtap --output jsonl` writes: OTLP/JSON, one `TracesData` object a line.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::Context;
use serde_json::Value;

use crate::registry;

/// One span, with its attributes as plain JSON values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Span {
    pub name: String,
    pub trace_id: String,
    pub span_id: String,
    pub parent_span_id: Option<String>,
    pub trace_state: String,
    /// Trace and span.
    pub links: Vec<(String, String)>,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    pub end: u64,
    /// 2 is an error (OTLP `Status.StatusCode`).
    pub status: u64,
    pub attributes: BTreeMap<String, Value>,
    pub resource: BTreeMap<String, Value>,
}

impl Span {
    pub fn text(&self, key: &str) -> Option<&str> {
        self.attributes.get(key)?.as_str()
    }

    pub fn integer(&self, key: &str) -> Option<u64> {
        self.attributes.get(key)?.as_u64()
    }

    pub fn double(&self, key: &str) -> Option<f64> {
        self.attributes.get(key)?.as_f64()
    }

    pub fn boolean(&self, key: &str) -> Option<bool> {
        self.attributes.get(key)?.as_bool()
    }

    /// A list of strings; empty when it is absent.
    pub fn list(&self, key: &str) -> Vec<String> {
        let items = self.attributes.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A span that stands for something seen on the wire, not one made up around it.
    pub fn is_call(&self) -> bool {
        !matches!(self.text("gen_ai.operation.name"), Some("invoke_agent" | "execute_tool" | "retrieval"))
            && self.text("mcp.method.name").is_none()
    }
}

pub fn read(path: &Path) -> anyhow::Result<Vec<Span>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut spans = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        let data = serde_json::from_str(&line).with_context(|| format!("{}: line {}", path.display(), index + 1))?;
        collect(&data, &mut spans).with_context(|| format!("{}: line {}", path.display(), index + 1))?;
    }
    Ok(spans)
}

/// All spans of one `TracesData` (or `ExportTraceServiceRequest`, which has the same shape). An error when they are not
/// as the registry has them.
pub fn collect(data: &Value, into: &mut Vec<Span>) -> anyhow::Result<()> {
    registry::check(data)?;
    parse(data, into)
}

fn parse(data: &Value, into: &mut Vec<Span>) -> anyhow::Result<()> {
    for resource_spans in array(data, "resourceSpans") {
        let resource = resource_spans.get("resource").map(attributes).unwrap_or_default();
        for scope_spans in array(resource_spans, "scopeSpans") {
            for span in array(scope_spans, "spans") {
                into.push(Span {
                    name: string(span, "name"),
                    trace_id: string(span, "traceId"),
                    span_id: string(span, "spanId"),
                    parent_span_id: Some(string(span, "parentSpanId")).filter(|id| !id.is_empty()),
                    trace_state: string(span, "traceState"),
                    links: array(span, "links")
                        .iter()
                        .map(|link| (string(link, "traceId"), string(link, "spanId")))
                        .collect(),
                    start: nanoseconds(span, "startTimeUnixNano")?,
                    end: nanoseconds(span, "endTimeUnixNano")?,
                    status: span.pointer("/status/code").and_then(Value::as_u64).unwrap_or(0),
                    attributes: attributes(span),
                    resource: resource.clone(),
                });
            }
        }
    }
    Ok(())
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn string(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// 64-bit integers are strings in OTLP/JSON, as in all of protobuf's JSON; readers accept numbers, too.
fn nanoseconds(span: &Value, key: &str) -> anyhow::Result<u64> {
    let value = span.get(key).with_context(|| format!("a span without {key}"))?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).with_context(|| format!("{key} is no number"))
}

fn attributes(holder: &Value) -> BTreeMap<String, Value> {
    array(holder, "attributes")
        .iter()
        .filter_map(|attribute| Some((attribute.get("key")?.as_str()?.to_owned(), plain(attribute.get("value")?)?)))
        .collect()
}

/// An `AnyValue` as plain JSON.
fn plain(value: &Value) -> Option<Value> {
    let (kind, inner) = value.as_object()?.iter().next()?;
    match kind.as_str() {
        "stringValue" | "boolValue" | "doubleValue" | "bytesValue" => Some(inner.clone()),
        "intValue" => inner.as_i64().or_else(|| inner.as_str()?.parse().ok()).map(Value::from),
        "arrayValue" => Some(array(inner, "values").iter().filter_map(plain).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_every_kind_of_value() {
        let data = json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "process.pid", "value": {"intValue": "42"}}]},
            "scopeSpans": [{"spans": [{
                "name": "chat gpt-5", "traceId": "01", "spanId": "02", "parentSpanId": "",
                "startTimeUnixNano": "1763700000000000000", "endTimeUnixNano": 1763700000900000000_u64,
                "status": {"code": 2},
                "attributes": [
                    {"key": "a", "value": {"stringValue": "x"}},
                    {"key": "b", "value": {"intValue": "7"}},
                    {"key": "c", "value": {"intValue": 8}},
                    {"key": "d", "value": {"doubleValue": 0.5}},
                    {"key": "e", "value": {"boolValue": true}},
                    {"key": "f", "value": {"arrayValue": {"values": [{"stringValue": "y"}, {"stringValue": "z"}]}}},
                ],
            }]}],
        }]});
        let mut spans = Vec::new();
        parse(&data, &mut spans).unwrap();
        let [span] = spans.as_slice() else { panic!("one span") };
        assert_eq!((span.start, span.end, span.status), (1_763_700_000_000_000_000, 1_763_700_000_900_000_000, 2));
        assert_eq!(span.parent_span_id, None);
        assert_eq!((span.text("a"), span.integer("b"), span.integer("c")), (Some("x"), Some(7), Some(8)));
        assert_eq!((span.double("d"), span.boolean("e")), (Some(0.5), Some(true)));
        assert_eq!(span.list("f"), ["y", "z"]);
        assert_eq!(span.list("absent"), Vec::<String>::new());
        assert_eq!(span.resource["process.pid"], 42);
    }
}
