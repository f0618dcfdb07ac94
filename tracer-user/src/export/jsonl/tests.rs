use serde_json::{Value as Json, json};

use super::*;
use crate::span::{
    Host, Ids, Synth,
    samples::{cost, failed_call, full_call, process},
};

fn lines() -> Vec<u8> {
    let mut synth = Synth::new(Ids::replay(), Host::default());
    synth.process(&process());
    let mut jsonl = Jsonl::new(Vec::new());
    for call in [full_call(), failed_call()] {
        let record = synth.call(&call, None, Some(&cost()));
        jsonl.write(record).unwrap();
    }
    jsonl.into_inner()
}

#[test]
fn output_is_the_same_on_every_run_and_pinned() {
    let first = lines();
    assert_eq!(first, lines());
    // The golden file outlives the release.
    let version = format!("{:?}", crate::span::semconv::SCOPE_VERSION);
    insta::assert_snapshot!(String::from_utf8(first).unwrap().replace(&version, r#""VERSION""#));
}

#[test]
fn a_line_is_otlp_json() {
    let lines = lines();
    let line = lines.split(|byte| *byte == b'\n').next().unwrap();
    let data: Json = serde_json::from_slice(line).unwrap();
    let span = &data["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["kind"], 3);
    assert_eq!(span["startTimeUnixNano"], "1767225600000000000");
    assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
    let attribute = |name: &str| {
        let attributes = span["attributes"].as_array().unwrap();
        attributes.iter().find(|attribute| attribute["key"] == name).unwrap()["value"].clone()
    };
    assert_eq!(attribute("gen_ai.usage.input_tokens"), json!({"intValue": "1200"}));
    assert_eq!(attribute("gen_ai.request.temperature"), json!({"doubleValue": 0.5}));
    assert_eq!(attribute("gen_ai.request.stream"), json!({"boolValue": true}));
    let ids = json!({"arrayValue": {"values": [{"stringValue": "call_1"}, {"stringValue": ""}]}});
    assert_eq!(attribute("llmtap.tool_calls.ids"), ids);

    let back: TracesData = serde_json::from_slice(line).unwrap();
    assert_eq!(serde_json::to_vec(&back).unwrap(), line);
}
