//! Events over the wire: the machinery is that of spans, what it carries is not.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    LogsHandle, OtlpLogs, SystemResolver,
    fake::{Fake, Received, Reply},
};
use crate::{
    content::{Capture, Content, Message, Options, Part, Teller},
    redact,
    span::{
        EventRecord, Host, Ids, Synth,
        samples::{full_call, process},
    },
};

const PROTOCOLS: [&str; 3] = ["grpc", "http/protobuf", "http/json"];
const LONG: Duration = Duration::from_secs(20);

fn event(text: &str) -> EventRecord {
    let message = Message { role: "user".into(), parts: vec![Part::Text(text.to_owned())], ..Message::default() };
    let content = Content { input: vec![message], ..Content::default() };
    let options = Options { capture: Capture::Full, ..Options::default() };
    let told = Teller::new(options, &redact::Options::default()).unwrap().unwrap().tell(&content);
    let mut synth = Synth::new(Ids::replay(), Host::default());
    synth.process(&process());
    EventRecord::details(&synth.call(&full_call(), None, None), told)
}

fn start(fake: &Fake, protocol: &str, more: &[(&str, &str)]) -> LogsHandle {
    let variables = [&[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_BLRP_SCHEDULE_DELAY", "50")], more].concat();
    let env = |name: &str| Some(variables.iter().find(|(key, _)| *key == name)?.1.to_owned());
    let otlp = OtlpLogs::new(Some(&format!("http://{}", fake.address)), &env).unwrap().unwrap();
    otlp.start(Arc::new(SystemResolver)).unwrap()
}

fn fake(protocol: &str, replies: &[Reply]) -> Fake {
    if protocol == "grpc" { Fake::grpc(replies) } else { Fake::http(replies) }
}

#[test]
fn an_event_arrives_structured_by_every_protocol() {
    for protocol in PROTOCOLS {
        let fake = fake(protocol, &[Reply::Ok]);
        let handle = start(&fake, protocol, &[]);
        let sent = event("What is that?");
        handle.send(sent.clone());
        let stats = handle.shutdown(LONG);
        assert_eq!((stats.exported, stats.dropped), (1, 0), "{protocol}");
        let received = fake.next();
        let resource = &received.logs.resource_logs[0];
        let scope = &resource.scope_logs[0];
        let record = &scope.log_records[0];
        assert_eq!(record.event_name, "gen_ai.client.inference.operation.details");
        assert_eq!((&record.trace_id[..], &record.span_id[..]), (&sent.trace_id.0[..], &sent.span_id.0[..]));
        assert_eq!((record.time_unix_nano, record.flags), (sent.at, u32::from(sent.flags)));
        let told = serde_json::to_value(record).unwrap();
        let attribute = |name: &str| {
            let attributes = told["attributes"].as_array().unwrap();
            attributes.iter().find(|attribute| attribute["key"] == name).map(|attribute| attribute["value"].clone())
        };
        let part = json!({"kvlistValue": {"values": [
            {"key": "content", "value": {"stringValue": "What is that?"}},
            {"key": "type", "value": {"stringValue": "text"}},
        ]}});
        let parts = json!({"key": "parts", "value": {"arrayValue": {"values": [part]}}});
        let role = json!({"key": "role", "value": {"stringValue": "user"}});
        let message = json!({"kvlistValue": {"values": [parts, role]}});
        assert_eq!(attribute("gen_ai.input.messages"), Some(json!({"arrayValue": {"values": [message]}})));
        assert_eq!(attribute("gen_ai.operation.name"), Some(json!({"stringValue": "chat"})));
        assert_eq!(
            attribute("llmtap.connection.id"),
            None,
            "what the conventions do not give the event stays the span's"
        );
        assert!(resource.resource.as_ref().unwrap().attributes.iter().any(|attribute| attribute.key == "service.name"));
    }
}

#[test]
fn a_batch_ends_before_it_is_too_large_and_all_arrive() {
    let fake = Fake::http(&[Reply::Ok]);
    let handle = start(&fake, "http/protobuf", &[("OTEL_BLRP_SCHEDULE_DELAY", "10000")]);
    let large = event(&"many words ".repeat(5_500));
    // A batch ends with the event that fills 3 MiB.
    let most = (3 << 20) / large.weight() + 1;
    for _ in 0..most + 3 {
        handle.send(large.clone());
    }
    let stats = handle.shutdown(LONG);
    assert_eq!((stats.exported, stats.dropped), (most as u64 + 3, 0));
    let count = |received: Received| received.logs.resource_logs[0].scope_logs[0].log_records.len();
    assert_eq!(count(fake.next()), most);
    assert_eq!(count(fake.next()), 3);
}

#[test]
fn what_the_endpoint_refuses_is_counted() {
    let fake = Fake::http(&[Reply::Status(503, None), Reply::Ok]);
    let handle = start(&fake, "http/protobuf", &[]);
    handle.send(event("x"));
    assert_eq!(handle.shutdown(LONG).exported, 1, "it was tried again");
    let fake = Fake::http(&[Reply::Status(404, None)]);
    let handle = start(&fake, "http/protobuf", &[]);
    handle.send(event("x"));
    let stats = handle.shutdown(LONG);
    assert_eq!((stats.exported, stats.dropped), (0, 1));
    assert!(stats.last_error.unwrap().contains("OTEL_LOGS_EXPORTER=none"));
}
