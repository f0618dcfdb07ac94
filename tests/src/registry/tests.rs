use serde_json::json;

use super::*;

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn resource() -> Value {
    json!({"attributes": [
        text("service.name", "a"), text("telemetry.distro.name", "llmtap"), text("telemetry.distro.version", "0"),
        text("team", "blue"),
    ]})
}

fn spans(change: impl FnOnce(&mut Value)) -> Value {
    let mut span = json!({
        "name": "chat m", "kind": 3, "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
        "startTimeUnixNano": "5", "endTimeUnixNano": "9", "status": {},
        "attributes": [
            text("gen_ai.operation.name", "chat"), text("gen_ai.provider.name", "openai"),
            text("network.protocol.version", "1.1"), text("llmtap.completeness", "full"),
            text("llmtap.connection.id", "1-2"), text("llmtap.tls.library", "openssl"),
            {"key": "llmtap.exchange.index", "value": {"intValue": "0"}},
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "7"}},
        ],
    });
    change(&mut span);
    json!({"resourceSpans": [{"resource": resource(), "schemaUrl": SCHEMA_URL, "scopeSpans": [
        {"scope": {"name": "llmtap"}, "schemaUrl": SCHEMA_URL, "spans": [span]},
    ]}]})
}

fn metrics(change: impl FnOnce(&mut Value)) -> Value {
    let mut metric = json!({
        "name": "gen_ai.client.operation.duration", "unit": "s", "histogram": {"dataPoints": [{
            "startTimeUnixNano": "1", "timeUnixNano": "2", "count": "3", "sum": 1.5,
            "explicitBounds": [0.1, 0.2], "bucketCounts": ["1", "1", "1"],
            "attributes": [text("gen_ai.operation.name", "chat"), text("gen_ai.provider.name", "openai")],
        }]},
    });
    change(&mut metric);
    json!({"resourceMetrics": [{"resource": resource(), "schemaUrl": SCHEMA_URL, "scopeMetrics": [
        {"scope": {"name": "llmtap"}, "schemaUrl": SCHEMA_URL, "metrics": [metric]},
    ]}]})
}

fn faults(data: &Value) -> Vec<String> {
    registry().unwrap().faults(data)
}

#[test]
fn what_is_listed_passes() {
    assert_eq!(faults(&spans(|_| {})), Vec::<String>::new());
    assert_eq!(faults(&metrics(|_| {})), Vec::<String>::new());
    let overflow = json!([{"key": "otel.metric.overflow", "value": {"boolValue": true}}]);
    let data = metrics(|metric| metric["histogram"]["dataPoints"][0]["attributes"] = overflow);
    assert_eq!(faults(&data), Vec::<String>::new());
}

#[test]
fn every_departure_of_a_span_is_named() {
    let push = |attribute: Value| move |span: &mut Value| span["attributes"].as_array_mut().unwrap().push(attribute);
    let cases: Vec<(Value, &str)> = vec![
        (spans(push(text("gen_ai.nonsense", "x"))), "gen_ai.nonsense is not listed"),
        (spans(push(text("user.name", "x"))), "user.name is not listed"),
        (spans(push(text("llmtap.attempt", "2"))), "llmtap.attempt is a stringValue"),
        (spans(push(text("llmtap.cost.source", "guess"))), "llmtap.cost.source is a stringValue"),
        (spans(push(text("error.type", "500"))), "with error.type"),
        (spans(|span| span["attributes"][1]["key"] = json!("llmtap.price.version")), "gen_ai.provider.name is missing"),
        (
            spans(|span| span["attributes"][7]["value"] = json!({"doubleValue": 7.0})),
            "gen_ai.usage.input_tokens is a double",
        ),
        (spans(|span| span["kind"] = json!(1)), "kind 1"),
        (spans(|span| span["name"] = json!("completion m")), "the name does not begin with chat"),
        (spans(|span| span["traceId"] = json!("0".repeat(32))), "traceId"),
        (spans(|span| span["endTimeUnixNano"] = json!("4")), "times"),
        (spans(|span| span["status"] = json!({"code": 2})), "status"),
    ];
    for (data, wanted) in cases {
        let found = faults(&data);
        assert!(found.len() == 1 && found[0].contains(wanted), "{wanted}: {found:?}");
    }
}

#[test]
fn every_departure_of_a_metric_is_named() {
    let point = |change: fn(&mut Value)| metrics(|metric| change(&mut metric["histogram"]["dataPoints"][0]));
    let cases: Vec<(Value, &str)> = vec![
        (metrics(|metric| metric["name"] = json!("llmtap.client.nonsense")), "no such metric"),
        (metrics(|metric| metric["unit"] = json!("ms")), "unit"),
        (metrics(|metric| metric["name"] = json!("llmtap.client.time_to_first_chunk")), "no such metric"),
        (point(|point| point["bucketCounts"][0] = json!("2")), "buckets"),
        (point(|point| point["startTimeUnixNano"] = json!("3")), "times"),
        (point(|point| drop(point["attributes"].as_array_mut().unwrap().pop())), "gen_ai.provider.name is missing"),
        (point(|point| point["attributes"][0]["key"] = json!("process.pid")), "process.pid is not listed"),
    ];
    for (data, wanted) in cases {
        let found = faults(&data);
        assert!(found.iter().any(|fault| fault.contains(wanted)), "{wanted}: {found:?}");
    }
    let cost = metrics(|metric| {
        *metric = json!({"name": "llmtap.client.cost", "unit": "{USD}", "sum": {"isMonotonic": true, "dataPoints": [{
            "startTimeUnixNano": "1", "timeUnixNano": "2", "asInt": "3",
            "attributes": [text("gen_ai.operation.name", "chat"), text("gen_ai.provider.name", "openai")],
        }]}});
    });
    assert_eq!(faults(&cost), ["llmtap.client.cost: no asDouble"]);
    let gauge = metrics(|metric| {
        let histogram = metric["histogram"].take();
        metric["gauge"] = histogram;
    });
    assert!(faults(&gauge).iter().any(|fault| fault.contains("gauge instead of")), "{:?}", faults(&gauge));
}

#[test]
fn resources_scopes_and_events_are_looked_at() {
    let mut data = spans(|_| {});
    data["resourceSpans"][0]["schemaUrl"] = json!("");
    data["resourceSpans"][0]["scopeSpans"][0]["scope"]["name"] = json!("other");
    data["resourceSpans"][0]["resource"]["attributes"] =
        json!([text("service.name", "a"), text("llmtap.mood", "good")]);
    let found = faults(&data).join("\n");
    for wanted in ["schema", "scope", "llmtap.mood is not listed", "telemetry.distro.name is missing"] {
        assert!(found.contains(wanted), "{wanted}: {found}");
    }
    let registry = Registry::parse(
        "groups:\n  - id: e\n    type: event\n    name: llmtap.test\n    attributes:\n      - ref: gen_ai.operation.name\n        \
         requirement_level: required\n",
    );
    let log = |name: &str, attribute: Value| {
        json!({"resourceLogs": [{"resource": resource(), "schemaUrl": SCHEMA_URL, "scopeLogs": [
            {"scope": {"name": "llmtap"}, "schemaUrl": SCHEMA_URL, "logRecords": [
                {"eventName": name, "attributes": [attribute]},
            ]},
        ]}]})
    };
    let registry = registry.unwrap();
    assert_eq!(registry.faults(&log("llmtap.test", text("gen_ai.operation.name", "chat"))), Vec::<String>::new());
    assert_eq!(registry.faults(&log("llmtap.other", text("gen_ai.operation.name", "chat"))).len(), 1);
    assert_eq!(registry.faults(&log("llmtap.test", text("gen_ai.request.model", "m"))).len(), 2);
}

/// Metrics of calls have what attribution finds, where it is configured; others do not.
#[test]
fn attribution_is_on_metrics_of_calls_alone() {
    let with = |name: &str, attribute: Value| {
        metrics(|metric| {
            metric["name"] = name.into();
            metric["histogram"]["dataPoints"][0]["attributes"].as_array_mut().unwrap().push(attribute);
        })
    };
    let duration = "gen_ai.client.operation.duration";
    for name in ["user.id", "session.id", "llmtap.tenant", "llmtap.feature", "llmtap.client.request_id"] {
        assert_eq!(faults(&with(duration, text(name, "blue"))), Vec::<String>::new());
    }
    let refusals = faults(&with("llmtap.client.refusals", text("llmtap.tenant", "blue")));
    assert!(refusals.contains(&"llmtap.client.refusals: llmtap.tenant is not listed".to_owned()), "{refusals:?}");
    let number = json!({"key": "llmtap.tenant", "value": {"intValue": "1"}});
    assert_eq!(faults(&with(duration, number)), [format!("{duration}: llmtap.tenant is a intValue")]);
}

#[test]
fn attributes_of_one_s_own_are_those_that_were_configured() {
    let span = |attribute: Value| spans(|span| span["attributes"].as_array_mut().unwrap().push(attribute));
    assert_eq!(faults(&span(text("unit.test", "a"))), ["span.llmtap.inference: unit.test is not listed"]);
    allow_own(&["unit.test"]).unwrap();
    assert_eq!(faults(&span(text("unit.test", "a"))), Vec::<String>::new());
    let fault = "span.llmtap.inference: unit.test is no text of up to 256 bytes";
    assert_eq!(faults(&span(text("unit.test", &"a".repeat(257)))), [fault]);
    assert_eq!(faults(&span(json!({"key": "unit.test", "value": {"boolValue": true}}))), [fault]);
    for name in ["llmtap.mine", "gen_ai.mine", "server.address", "user.id", "Mine", "a..b"] {
        assert!(allow_own(&[name]).is_err(), "{name}");
    }
}
