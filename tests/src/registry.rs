//! What llmtap may emit, read from `docs/registry.yaml`, and the check of OTLP/JSON against it: names, types, units,
//! what must be there, and nothing that is not listed. Every span that a test reads and every export that the tests'
//! receiver takes goes through it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Mutex, OnceLock, PoisonError},
};

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

use crate::harness::workspace;

/// The registry with its groups by what they are for.
#[derive(Debug, Default)]
pub struct Registry {
    /// Type of each attribute, wherever it is defined.
    types: BTreeMap<String, Type>,
    spans: BTreeMap<String, Group>,
    metrics: BTreeMap<String, Group>,
    events: BTreeMap<String, Group>,
    entities: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Debug, Clone, Deserialize)]
struct Group {
    id: String,
    /// The group whose attributes it has, too.
    extends: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    span_kind: Option<String>,
    metric_name: Option<String>,
    instrument: Option<String>,
    unit: Option<String>,
    #[serde(default)]
    annotations: Value,
    #[serde(default)]
    attributes: Vec<Attribute>,
}

#[derive(Debug, Clone, Deserialize)]
struct Attribute {
    id: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    #[serde(rename = "type")]
    kind: Option<Type>,
    /// A word, or a word with a condition.
    requirement_level: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Type {
    Plain(String),
    Enum { members: Vec<Member> },
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Member {
    value: String,
}

/// Types of the conventions' attributes (release 1.41.1) that are no strings; the registry only refers to them.
const CONVENTIONS: [(&str, &[&str]); 4] = [
    (
        "int",
        &[
            "gen_ai.request.max_tokens",
            "gen_ai.request.choice.count",
            "gen_ai.request.seed",
            "gen_ai.embeddings.dimension.count",
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.reasoning.output_tokens",
            "http.response.status_code",
            "server.port",
            "process.pid",
            "db.response.returned_rows",
        ],
    ),
    (
        "double",
        &[
            "gen_ai.request.temperature",
            "gen_ai.request.top_p",
            "gen_ai.request.top_k",
            "gen_ai.request.frequency_penalty",
            "gen_ai.request.presence_penalty",
            "gen_ai.response.time_to_first_chunk",
        ],
    ),
    ("string[]", &["gen_ai.request.stop_sequences", "gen_ai.response.finish_reasons", "container.image.tags"]),
    ("boolean", &["gen_ai.request.stream", "otel.metric.overflow"]),
];

const STRUCTURED: [&str; 4] =
    ["gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions"];

/// Stands for series past a cap: it has this and nothing else.
const OVERFLOW: &str = "otel.metric.overflow";

/// What only has it where calls are attributed.
const ATTRIBUTED: &str = "llmtap.tenant";

/// Attributes of rules that tests configure.
static OWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.1";

/// The registry of this checkout.
pub fn registry() -> anyhow::Result<&'static Registry> {
    static REGISTRY: OnceLock<Result<Registry, String>> = OnceLock::new();
    let read = || -> anyhow::Result<Registry> {
        let path = workspace().join("docs/registry.yaml");
        Registry::parse(&fs::read_to_string(&path).with_context(|| path.display().to_string())?)
    };
    let registry = REGISTRY.get_or_init(|| read().map_err(|error| format!("{error:#}")));
    registry.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

/// From now on rules of `attribution` that a test configures may fill these attributes. What the registry says of their
/// names, in the group `attributes.llmtap.attribution`, must hold.
pub fn allow_own(names: &[&str]) -> anyhow::Result<()> {
    let known = registry()?;
    for name in names {
        let is_word = |word: &str| {
            word.starts_with(|letter: char| letter.is_ascii_lowercase())
                && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let groups = known.spans.values().chain(known.metrics.values()).chain(known.events.values());
        let listed = known.types.contains_key(*name) || groups.flat_map(Group::names).any(|other| other == *name);
        anyhow::ensure!(
            name.split('.').all(is_word) && !is_ours(name) && !listed,
            "{name} cannot be an attribute of one's own"
        );
    }
    OWN.lock().unwrap_or_else(PoisonError::into_inner).extend(names.iter().map(|name| (*name).to_owned()));
    Ok(())
}

fn is_own(name: &str) -> bool {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
}

fn is_short_text(value: &Value) -> bool {
    value["stringValue"].as_str().is_some_and(|text| text.len() <= 256)
}

/// An error that names everything in an OTLP/JSON object (traces, metrics or logs) that the registry does not have so.
pub fn check(data: &Value) -> anyhow::Result<()> {
    let faults = registry()?.faults(data);
    anyhow::ensure!(faults.is_empty(), "not as docs/registry.yaml has it:\n{}", faults.join("\n"));
    Ok(())
}

impl Registry {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut file: File = serde_saphyr::from_str(text)?;
        let shared: BTreeMap<String, Vec<Attribute>> =
            file.groups.iter().map(|group| (group.id.clone(), group.attributes.clone())).collect();
        for group in &mut file.groups {
            if let Some(extended) = &group.extends {
                let attributes = shared.get(extended).with_context(|| format!("{}: no group {extended}", group.id))?;
                group.attributes.extend_from_slice(attributes);
            }
        }
        let mut registry = Self::default();
        for (kind, names) in CONVENTIONS {
            registry.types.extend(names.iter().map(|name| ((*name).to_owned(), Type::Plain(kind.to_owned()))));
        }
        for group in file.groups {
            for attribute in &group.attributes {
                if let (Some(id), Some(kind)) = (&attribute.id, &attribute.kind) {
                    registry.types.insert(id.clone(), kind.clone());
                }
            }
            match group.kind.as_str() {
                "span" => drop(registry.spans.insert(group.id.clone(), group)),
                "metric" => drop(registry.metrics.insert(group.metric_name.clone().unwrap_or_default(), group)),
                "event" => drop(registry.events.insert(group.name.clone().unwrap_or_default(), group)),
                "entity" => registry.entities.push(group),
                _ => {}
            }
        }
        Ok(registry)
    }

    /// Everything in the object that is not as the registry has it, in words.
    pub fn faults(&self, data: &Value) -> Vec<String> {
        let mut faults = BTreeSet::new();
        let resources =
            [("resourceSpans", "scopeSpans"), ("resourceMetrics", "scopeMetrics"), ("resourceLogs", "scopeLogs")];
        for (outer, inner) in resources {
            for entry in list(data, outer) {
                self.resource(&entry["resource"], &mut faults);
                schema(outer, entry, &mut faults);
                for scope in list(entry, inner) {
                    schema(inner, scope, &mut faults);
                    if scope["scope"]["name"] != "llmtap" {
                        faults.insert(format!("{inner}: scope {}", scope["scope"]["name"]));
                    }
                    list(scope, "spans").iter().for_each(|span| self.span(span, &mut faults));
                    list(scope, "metrics").iter().for_each(|metric| self.metric(metric, &mut faults));
                    list(scope, "logRecords").iter().for_each(|record| self.event(record, &mut faults));
                }
            }
        }
        faults.into_iter().collect()
    }

    /// Whether `/metrics` can have a sample of this name.
    pub fn is_prometheus_metric(&self, name: &str) -> bool {
        self.metrics.values().any(|group| {
            let unit = match group.unit.as_deref() {
                Some("s") => "_seconds",
                Some("By") => "_bytes",
                _ => "",
            };
            let base = group.metric_name.as_deref().unwrap_or_default().replace('.', "_") + unit;
            match group.instrument.as_deref() {
                Some("counter") => name == base + "_total",
                Some("histogram") => ["_bucket", "_sum", "_count"].iter().any(|end| name == base.clone() + end),
                _ => name == base,
            }
        })
    }

    /// Whether a series at `/metrics` can have this label for an attribute: one of a metric, or one that attribution adds.
    pub fn is_prometheus_label(&self, name: &str) -> bool {
        let own = self.types.keys().map(String::as_str);
        self.metrics.values().flat_map(Group::names).chain(own).any(|attribute| attribute.replace('.', "_") == name)
    }

    fn span(&self, span: &Value, faults: &mut BTreeSet<String>) {
        let name = span["name"].as_str().unwrap_or_default();
        let attributes = attributes(span);
        let text = |key: &str| attributes.get(key).and_then(|value| value["stringValue"].as_str());
        let id = match text("gen_ai.operation.name") {
            _ if attributes.contains_key("mcp.method.name") => "span.llmtap.mcp",
            Some("execute_tool") => "span.llmtap.execute_tool",
            Some("invoke_agent") => "span.llmtap.invoke_agent",
            Some("retrieval") => "span.llmtap.retrieval",
            _ => "span.llmtap.inference",
        };
        let Some(group) = self.spans.get(id) else {
            faults.insert(format!("{id}: no such group"));
            return;
        };
        // OTLP `Span.SpanKind`: 1 internal, 3 client.
        let kind = match span["kind"].as_u64() {
            Some(1) => "internal",
            Some(3) => "client",
            _ => "another",
        };
        if group.span_kind.as_deref() != Some(kind) {
            faults.insert(format!("{name}: kind {}", span["kind"]));
        }
        let first = text("mcp.method.name").or(text("gen_ai.operation.name")).unwrap_or_default();
        if name != first && !name.starts_with(&format!("{first} ")) {
            faults.insert(format!("{name}: the name does not begin with {first}"));
        }
        for (field, digits) in [("traceId", 32), ("spanId", 16)] {
            let id = span[field].as_str().unwrap_or_default();
            let valid = id.len() == digits && id.bytes().all(|digit| digit.is_ascii_hexdigit());
            if !valid || id.bytes().all(|digit| digit == b'0') {
                faults.insert(format!("{name}: {field} {id:?}"));
            }
        }
        match (number(&span["startTimeUnixNano"]), number(&span["endTimeUnixNano"])) {
            (Some(start), Some(end)) if start <= end && start > 0.0 => {}
            times => drop(faults.insert(format!("{name}: times {times:?}"))),
        }
        // 2 is an error: it has a type, and a span with a type is one.
        if (span["status"]["code"].as_u64() == Some(2)) != attributes.contains_key("error.type") {
            faults.insert(format!("{name}: status {} with error.type {:?}", span["status"], text("error.type")));
        }
        self.attributes(id, group, &attributes, faults);
    }

    fn metric(&self, metric: &Value, faults: &mut BTreeSet<String>) {
        let name = metric["name"].as_str().unwrap_or_default();
        let Some(group) = self.metrics.get(name) else {
            faults.insert(format!("{name}: no such metric"));
            return;
        };
        if metric["unit"].as_str() != group.unit.as_deref() {
            faults.insert(format!("{name}: unit {} instead of {:?}", metric["unit"], group.unit));
        }
        let data = |kind: &str| metric.get(kind).filter(|data| data.is_object());
        let monotonic = |data: &Value| data["isMonotonic"].as_bool().unwrap_or_default();
        let (kind, data) = match (data("sum"), data("gauge"), data("histogram")) {
            (Some(sum), None, None) if monotonic(sum) => ("counter", sum),
            (Some(sum), None, None) => ("updowncounter", sum),
            (None, Some(gauge), None) => ("gauge", gauge),
            (None, None, Some(histogram)) => ("histogram", histogram),
            _ => {
                faults.insert(format!("{name}: no data, or several"));
                return;
            }
        };
        if group.instrument.as_deref() != Some(kind) {
            faults.insert(format!("{name}: {kind} instead of {:?}", group.instrument));
        }
        for point in list(data, "dataPoints") {
            point_is_whole(name, kind, point, faults);
            let value = if group.is_whole() { "asInt" } else { "asDouble" };
            if kind != "histogram" && point.get(value).is_none_or(Value::is_null) {
                faults.insert(format!("{name}: no {value}"));
            }
            let attributes = attributes(point);
            if attributes.contains_key(OVERFLOW) {
                if attributes.len() != 1 {
                    faults.insert(format!("{name}: {OVERFLOW} with others"));
                }
                continue;
            }
            self.attributes(name, group, &attributes, faults);
        }
    }

    fn event(&self, record: &Value, faults: &mut BTreeSet<String>) {
        let name = record["eventName"].as_str().unwrap_or_default();
        match self.events.get(name) {
            Some(group) => self.attributes(name, group, &attributes(record), faults),
            None => drop(faults.insert(format!("{name:?}: no such event"))),
        }
    }

    /// Whatever a traced process says of itself may stand in a resource, but in nobody else's name space.
    fn resource(&self, resource: &Value, faults: &mut BTreeSet<String>) {
        let attributes = attributes(resource);
        let known: BTreeSet<&str> = self.entities.iter().flat_map(Group::names).collect();
        for (name, value) in &attributes {
            if known.contains(name) {
                self.typed("resource", name, value, faults);
            } else if is_ours(name) {
                faults.insert(format!("resource: {name} is not listed"));
            }
        }
        for name in ["service.name", "telemetry.distro.name", "telemetry.distro.version"] {
            if !attributes.contains_key(name) {
                faults.insert(format!("resource: {name} is missing"));
            }
        }
    }

    fn attributes(&self, of: &str, group: &Group, attributes: &BTreeMap<&str, &Value>, faults: &mut BTreeSet<String>) {
        let listed: BTreeSet<&str> = group.names().collect();
        // Only calls are attributed.
        let is_attributed = listed.contains(ATTRIBUTED);
        for (name, value) in attributes {
            if listed.contains(name) {
                self.typed(of, name, value, faults);
            } else if is_attributed && is_own(name) {
                if !is_short_text(value) {
                    faults.insert(format!("{of}: {name} is no text of up to 256 bytes"));
                }
            } else {
                faults.insert(format!("{of}: {name} is not listed"));
            }
        }
        for name in group.required() {
            if !attributes.contains_key(name) {
                faults.insert(format!("{of}: {name} is missing"));
            }
        }
    }

    fn typed(&self, of: &str, name: &str, value: &Value, faults: &mut BTreeSet<String>) {
        // Structured on events, JSON texts on spans.
        if STRUCTURED.contains(&name) && self.events.contains_key(of) {
            if !value["arrayValue"].is_object() {
                faults.insert(format!("{of}: {name} is not structured"));
            }
            return;
        }
        let is_texts = || list(&value["arrayValue"], "values").iter().all(|value| value["stringValue"].is_string());
        let fits = match self.types.get(name) {
            None => value["stringValue"].is_string(),
            Some(Type::Enum { members }) => {
                value["stringValue"].as_str().is_some_and(|text| members.iter().any(|member| member.value == text))
            }
            Some(Type::Plain(kind)) => match kind.as_str() {
                "string" => value["stringValue"].is_string(),
                "int" => number(&value["intValue"]).is_some(),
                "double" => value["doubleValue"].is_number(),
                "boolean" => value["boolValue"].is_boolean(),
                "string[]" => value["arrayValue"].is_object() && is_texts(),
                _ => false,
            },
        };
        if !fits {
            // The kind alone: values can be payload.
            let kind = value.as_object().and_then(|value| value.keys().next());
            faults.insert(format!("{of}: {name} is a {}", kind.map_or("nothing", String::as_str)));
        }
    }
}

impl Group {
    /// Whether a metric's values are whole numbers.
    fn is_whole(&self) -> bool {
        self.annotations.pointer("/code_generation/metric_value_type").and_then(Value::as_str) == Some("int")
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().filter_map(|attribute| attribute.reference.as_deref().or(attribute.id.as_deref()))
    }

    fn required(&self) -> impl Iterator<Item = &str> {
        let required =
            self.attributes.iter().filter(|attribute| attribute.requirement_level == Some("required".into()));
        required.filter_map(|attribute| attribute.reference.as_deref())
    }
}

fn point_is_whole(name: &str, kind: &str, point: &Value, faults: &mut BTreeSet<String>) {
    match (number(&point["startTimeUnixNano"]).unwrap_or(0.0), number(&point["timeUnixNano"])) {
        (start, Some(at)) if start <= at && (start > 0.0 || kind == "gauge") => {}
        times => drop(faults.insert(format!("{name}: times {times:?}"))),
    }
    if kind != "histogram" {
        let value = number(&point["asInt"]).or(number(&point["asDouble"]));
        if value.is_none_or(|value| !value.is_finite() || value < 0.0) {
            faults.insert(format!("{name}: value {value:?}"));
        }
        return;
    }
    let numbers = |key: &str| list(point, key).iter().filter_map(number).collect::<Vec<_>>();
    let (bounds, counts) = (numbers("explicitBounds"), numbers("bucketCounts"));
    let is_whole = counts.len() == bounds.len() + 1 && Some(counts.iter().sum()) == number(&point["count"]);
    if !is_whole || !bounds.is_sorted_by(|one, other| one < other) {
        faults.insert(format!("{name}: buckets {bounds:?} {counts:?} of {}", point["count"]));
    }
}

fn schema(of: &str, entry: &Value, faults: &mut BTreeSet<String>) {
    if entry["schemaUrl"] != SCHEMA_URL {
        faults.insert(format!("{of}: schema {}", entry["schemaUrl"]));
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with("gen_ai.") || name.starts_with("llmtap.")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn attributes(holder: &Value) -> BTreeMap<&str, &Value> {
    let pairs = list(holder, "attributes").iter();
    pairs.filter_map(|attribute| Some((attribute["key"].as_str()?, attribute.get("value")?))).collect()
}

/// OTLP/JSON writes 64-bit integers as strings.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests;
