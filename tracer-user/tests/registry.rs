//! `docs/registry.yaml` against the code's names, and what comes out of all fixtures against the registry.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends at its first failure")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use llmtap::{
    capture::replay::Replay,
    content::{self, Capture, Teller, To},
    export::Jsonl,
    llm::{self, Calls},
    metrics::{
        Clock, Exemplars, Metrics,
        store::{Label, Snapshot},
    },
    output::{Output, View},
    pipeline::Pipeline,
    price::Prices,
    redact,
    span::{
        Host, Ids, Synth,
        semconv::{
            self, Origin,
            metric::{DURATION_BOUNDS, Kind, Metric, TOKEN_BOUNDS},
        },
    },
};
use serde_json::Value;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

struct Registry {
    groups: Vec<Value>,
}

impl Registry {
    fn read() -> Self {
        let text = fs::read_to_string(workspace().join("docs/registry.yaml")).unwrap();
        let registry: Value = serde_saphyr::from_str(&text).unwrap();
        Self { groups: registry["groups"].as_array().unwrap().clone() }
    }

    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.groups.iter().filter(move |group| group["type"] == kind)
    }

    fn group(&self, id: &str) -> &Value {
        self.groups.iter().find(|group| group["id"] == id).unwrap_or_else(|| panic!("the registry has no {id}"))
    }

    /// Attributes that are defined here, with their types.
    fn defined(&self) -> BTreeMap<&str, &Value> {
        let groups = self.of("attribute_group").flat_map(attributes);
        // Some groups only list what others define.
        groups.filter_map(|attribute| Some((attribute["id"].as_str()?, &attribute["type"]))).collect()
    }
}

fn attributes(group: &Value) -> impl Iterator<Item = &Value> {
    group["attributes"].as_array().into_iter().flatten()
}

/// Names that a group may have, and those that it must have.
fn names(group: &Value) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let all = attributes(group).map(|attribute| attribute["ref"].as_str().unwrap()).collect();
    let required = attributes(group).filter(|attribute| attribute["requirement_level"] == "required");
    (all, required.map(|attribute| attribute["ref"].as_str().unwrap()).collect())
}

#[test]
fn attributes_are_those_of_the_code() {
    let registry = Registry::read();
    let ours: BTreeSet<&str> =
        semconv::ALL.iter().filter(|(_, origin)| *origin != Origin::Core).map(|(name, _)| *name).collect();
    assert_eq!(registry.defined().into_keys().collect::<BTreeSet<_>>(), ours);
    let known: BTreeSet<&str> = semconv::ALL.iter().map(|(name, _)| *name).collect();
    let used: BTreeSet<&str> = ["span", "event", "metric", "entity"]
        .iter()
        .flat_map(|kind| registry.of(kind))
        .flat_map(|group| names(group).0)
        .collect();
    assert_eq!(used.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "not in the code");
    // It stands for series past a cap.
    let apart = BTreeSet::from([semconv::METRIC_OVERFLOW]);
    assert_eq!(known.difference(&used).copied().collect::<BTreeSet<_>>(), apart, "in no group");
}

#[test]
fn renamed_attributes_are_those_of_the_code() {
    let registry = Registry::read();
    let stated: Vec<(&str, &str)> = registry
        .of("attribute_group")
        .flat_map(attributes)
        .filter_map(|attribute| {
            Some((attribute["annotations"]["llmtap"]["replaces"].as_str()?, attribute["id"].as_str()?))
        })
        .collect();
    assert_eq!(stated, semconv::RENAMED);
}

#[test]
fn metrics_are_those_of_the_code() {
    let registry = Registry::read();
    let told: Vec<&str> = registry.of("metric").map(|group| group["metric_name"].as_str().unwrap()).collect();
    assert_eq!(told, Metric::ALL.iter().map(|metric| metric.name).collect::<Vec<_>>());
    for metric in Metric::ALL {
        let group = registry.group(&format!("metric.{}", metric.name));
        let (instrument, bounds) = match metric.kind {
            Kind::Counter => ("counter", None),
            Kind::UpDownCounter => ("updowncounter", None),
            Kind::Gauge => ("gauge", None),
            Kind::Histogram(bounds) => ("histogram", Some(bounds)),
        };
        let annotations = &group["annotations"];
        let stated = annotations["explicit_bucket_boundaries"].as_array();
        let stated = stated.map(|bounds| bounds.iter().filter_map(Value::as_f64).collect::<Vec<_>>());
        assert_eq!(stated.as_deref(), bounds.map(<[f64; 14]>::as_slice), "{}", metric.name);
        let value = if metric.whole { "int" } else { "double" };
        assert_eq!(
            (
                &group["instrument"],
                &group["unit"],
                &group["brief"],
                &annotations["code_generation"]["metric_value_type"]
            ),
            (&instrument.into(), &metric.unit.into(), &metric.brief.into(), &value.into())
        );
    }
    assert!(DURATION_BOUNDS.is_sorted() && TOKEN_BOUNDS.is_sorted());
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the whole line makes of a capture: OTLP/JSON lines, and all sums.
fn emitted(capture: &[u8]) -> (String, Snapshot) {
    let shared = Shared::default();
    let out: Box<dyn Write + Send> = Box::new(shared.clone());
    let options = llm::Options { server_side: true, ..llm::Options::default() };
    let calls =
        Calls::new(llm::Limits::default(), options).with_content(content::Limits::default(), content::POOL_BYTES);
    let told = content::Options { capture: Capture::Full, to: To::Both, ..content::Options::default() };
    let teller = Teller::new(told, &redact::Options::default()).unwrap();
    let output = Output::new(View::Jsonl(Jsonl::new(out)));
    let metrics = Metrics::new(&Host::default(), Clock::Calls, Exemplars::default());
    let sums = metrics.sums();
    let synth = Synth::new(Ids::replay(), Host::default());
    let mut pipeline =
        Pipeline::new(calls, Prices::builtin(), synth, output, None).with_metrics(Some(metrics)).with_contents(teller);
    let (mut replay, mut events) = (Replay::new(capture).unwrap(), Vec::new());
    while replay.next(&mut events).unwrap() {
        for event in events.drain(..) {
            pipeline.push(event).unwrap();
            pipeline.observe();
        }
    }
    pipeline.finish().unwrap();
    pipeline.observe();
    let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
    (text, sums.snapshot())
}

/// The attributes of an OTLP/JSON object: the value's type there, and the value.
fn members(of: &Value) -> BTreeMap<&str, (&str, &Value)> {
    let list = of["attributes"].as_array().into_iter().flatten();
    list.map(|attribute| {
        let (kind, value) = attribute["value"].as_object().unwrap().iter().next().unwrap();
        (attribute["key"].as_str().unwrap(), (kind.as_str(), value))
    })
    .collect()
}

fn check_span(registry: &Registry, span: &Value) -> &'static str {
    let found = members(span);
    let operation = found.get("gen_ai.operation.name").and_then(|(_, value)| value.as_str());
    let id = if found.contains_key("mcp.method.name") {
        "span.llmtap.mcp"
    } else {
        match operation {
            Some("retrieval") => "span.llmtap.retrieval",
            Some("execute_tool") => "span.llmtap.execute_tool",
            Some("invoke_agent") => "span.llmtap.invoke_agent",
            _ => "span.llmtap.inference",
        }
    };
    let group = registry.group(id);
    let (all, required) = names(group);
    let present: BTreeSet<&str> = found.keys().copied().collect();
    assert!(present.is_subset(&all), "{id}: {:?}", present.difference(&all).collect::<Vec<_>>());
    assert!(required.is_subset(&present), "{id} without {:?}", required.difference(&present).collect::<Vec<_>>());
    let kind = if group["span_kind"] == "client" { 3 } else { 1 };
    assert_eq!(span["kind"], kind, "{id}");
    let defined = registry.defined();
    for (name, (kind, value)) in found {
        let Some(stated) = defined.get(name) else { continue };
        let wanted = match stated.as_str() {
            Some("string") => "stringValue",
            Some("int") => "intValue",
            Some("double") => "doubleValue",
            Some("boolean") => "boolValue",
            Some("string[]") => "arrayValue",
            _ => {
                let members = stated["members"].as_array().unwrap();
                assert!(members.iter().any(|member| member["value"] == *value), "{name} is {value}");
                "stringValue"
            }
        };
        assert_eq!(kind, wanted, "{name}");
    }
    id
}

/// The event of a call's content, which is told before its span.
fn check_event(registry: &Registry, event: &Value) {
    assert_eq!(event["eventName"], semconv::DETAILS_EVENT);
    let (all, required) = names(registry.group(&format!("event.{}", semconv::DETAILS_EVENT)));
    let present: BTreeSet<&str> = members(event).into_keys().collect();
    assert!(present.is_subset(&all) && required.is_subset(&present), "{present:?}");
    assert!(["traceId", "spanId"].iter().all(|id| event[id].as_str().is_some_and(|id| !id.is_empty())));
}

fn check_metrics(registry: &Registry, snapshot: &Snapshot) -> BTreeSet<&'static str> {
    for (metric, series) in &snapshot.metrics {
        let group = registry.group(&format!("metric.{}", metric.name));
        let (all, required) = names(group);
        for series in series {
            let present: BTreeSet<&str> = series.attributes.iter().map(|(name, _)| *name).collect();
            assert!(present.is_subset(&all), "{}: {present:?}", metric.name);
            assert!(required.is_subset(&present), "{}: {present:?}", metric.name);
            assert!(!series.attributes.iter().any(|(_, label)| *label == Label::from("")), "{}", metric.name);
        }
    }
    snapshot.metrics.iter().map(|(metric, _)| metric.name).collect()
}

#[test]
fn what_all_fixtures_give_is_in_the_registry() {
    let registry = Registry::read();
    let (mut spans, mut metrics, mut events) = (BTreeSet::new(), BTreeSet::new(), 0);
    for dialect in fs::read_dir(workspace().join("tests/fixtures")).unwrap() {
        for case in fs::read_dir(dialect.unwrap().path()).unwrap() {
            let Ok(capture) = fs::read(case.unwrap().path().join("capture.jsonl")) else { continue };
            let (lines, snapshot) = emitted(&capture);
            for line in lines.lines() {
                let data: Value = serde_json::from_str(line).unwrap();
                if data.get("resourceLogs").is_some() {
                    check_event(&registry, &data["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]);
                    events += 1;
                    continue;
                }
                spans.insert(check_span(&registry, &data["resourceSpans"][0]["scopeSpans"][0]["spans"][0]));
            }
            metrics.extend(check_metrics(&registry, &snapshot));
        }
    }
    assert!(events > 100, "{events} events");
    // None of the registry's but what these captures cannot hold.
    let told: BTreeSet<&str> = registry.of("span").filter_map(|group| group["id"].as_str()).collect();
    assert_eq!(spans, told);
    let live = [
        "llmtap.client.model_changes",
        "llmtap.client.observations",
        "llmtap.client.structured_outputs",
        "llmtap.client.system_prompt_changes",
        "llmtap.self.events.lost",
        "llmtap.self.spans.exported",
        "llmtap.self.spans.dropped",
        "llmtap.self.queue.length",
        "llmtap.self.memory",
        "llmtap.self.attach.failures",
        "llmtap.self.processes",
        "llmtap.self.bytes.unread",
        "llmtap.self.unwatched",
    ];
    let all: BTreeSet<&str> = Metric::ALL.iter().map(|metric| metric.name).collect();
    let unseen: BTreeSet<&str> = all.difference(&metrics).copied().collect();
    assert!(unseen.is_subset(&live.into()), "{unseen:?}");
}
