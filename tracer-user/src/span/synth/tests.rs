use super::*;
use crate::{
    exchange::ExchangeId,
    span::samples::{MS, T0, bare_call, connection, cost, failed_call, full_call, process},
};

fn synth() -> Synth {
    let mut synth = Synth::new(Ids::replay(), Host::default());
    synth.process(&process());
    synth
}

/// One line per fact, in the order of the record; values as JSON.
fn render(record: &SpanRecord) -> String {
    let kind = match record.kind {
        Kind::Internal => "internal",
        Kind::Client => "client",
    };
    let status = if record.status == Status::Error { "error" } else { "unset" };
    let parent = match record.parent {
        None => "none".to_owned(),
        Some(Parent { span_id, remote }) => format!("{span_id:?}{}", if remote { " remote" } else { "" }),
    };
    let mut text = format!(
        "{}\nkind {kind}, status {status}\ntrace {:?}\nspan {:?}\nparent {parent}\nflags {}, state {}\n{} +{}\n",
        record.name,
        record.trace_id,
        record.span_id,
        record.flags,
        record.trace_state.as_deref().unwrap_or("none"),
        record.start,
        record.end - record.start,
    );
    for (name, value) in &record.attributes {
        text.push_str(&format!("{name} = {}\n", json(value)));
    }
    text
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => serde_json::json!(text),
        Value::Content(text) => serde_json::json!(text),
        Value::Shared(text) => serde_json::json!(text),
        Value::Int(number) => serde_json::json!(number),
        Value::Double(number) => serde_json::json!(number),
        Value::Bool(flag) => serde_json::json!(flag),
        Value::Texts(texts) => serde_json::json!(texts),
    }
}

#[test]
fn a_streamed_call_tells_everything() {
    let record = synth().call(&full_call(), None, Some(&cost()));
    insta::assert_snapshot!(render(&record));
}

#[test]
fn a_bare_call_tells_nothing_that_is_not_known() {
    let record = synth().call(&bare_call(), None, None);
    insta::assert_snapshot!(render(&record));
}

#[test]
fn a_failed_call_under_a_trace_parent() {
    let record = synth().call(&failed_call(), None, None);
    insta::assert_snapshot!(render(&record));
    assert!(!record.sampled());
}

#[test]
fn every_attribute_is_a_known_name_and_stands_once() {
    let mut synth = synth();
    for call in [full_call(), bare_call(), failed_call()] {
        let record = synth.call(&call, None, Some(&cost()));
        let mut names: Vec<&str> = record.attributes.iter().map(|(name, _)| *name).collect();
        for name in &names {
            assert!(semconv::ALL.iter().any(|(known, _)| known == name), "{name}");
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(count, names.len());
    }
}

#[test]
fn the_cost_alias_can_be_switched_off() {
    let record = synth().without_cost_alias().call(&full_call(), None, Some(&cost()));
    assert_eq!(record.attribute(semconv::USAGE_COST), None);
    assert_eq!(record.attribute(semconv::COST_TOTAL), Some(&Value::Double(0.0125)));
}

#[test]
fn numbers_that_json_cannot_carry_are_left_out() {
    let mut call = full_call();
    call.request.temperature = Some(f64::NAN);
    call.request.top_p = Some(f64::INFINITY);
    call.usage.input = Some(u64::MAX);
    let record = synth().call(&call, None, None);
    assert_eq!(record.attribute(semconv::REQUEST_TEMPERATURE), None);
    assert_eq!(record.attribute(semconv::REQUEST_TOP_P), None);
    assert_eq!(record.attribute(semconv::USAGE_INPUT_TOKENS), Some(&Value::Int(i64::MAX)));
}

#[test]
fn times_out_of_order_are_absent_and_the_end_is_never_before_the_start() {
    let mut call = full_call();
    call.times.end = T0 - MS;
    call.times.first_byte = Some(T0 + MS);
    let record = synth().call(&call, None, None);
    assert_eq!(record.end, record.start);
    assert_eq!(record.attribute(semconv::TIME_WAIT), None);
}

#[test]
fn an_answer_that_streams_was_asked_for() {
    let mut call = bare_call();
    call.response.streamed = true;
    let record = synth().call(&call, None, None);
    assert_eq!(record.attribute(semconv::REQUEST_STREAM), Some(&Value::Bool(true)));
    call.response.streamed = false;
    call.request.stream = Some(false);
    let record = synth().call(&call, None, None);
    assert_eq!(record.attribute(semconv::REQUEST_STREAM), Some(&Value::Bool(false)));
}

#[test]
fn openai_names_are_kept_for_openai_shapes() {
    let mut call = full_call();
    call.api_type = None;
    call.provider = Cow::Borrowed("anthropic");
    let record = synth().call(&call, None, None);
    assert!(record.attributes.iter().all(|(name, _)| !name.starts_with("openai.")));
}

#[test]
fn speed_counts_from_where_tokens_are_made() {
    let mut call = full_call();
    assert_eq!(tokens_per_second(&call), Some(300.0 / 1.5));
    // Hidden reasoning comes before the first visible token.
    call.usage.reasoning = Some(100);
    assert_eq!(tokens_per_second(&call), Some(300.0 / 1.65));
    // All in one read: no time between first and last token.
    call.usage.reasoning = None;
    call.times.first_token = call.times.last_token;
    assert_eq!(tokens_per_second(&call), Some(300.0 / 1.65));
    call.response.streamed = false;
    assert_eq!(tokens_per_second(&call), Some(300.0 / 1.698));
    call.usage.output = Some(0);
    assert_eq!(tokens_per_second(&call), None);
}

#[test]
fn a_turn_is_one_trace() {
    let mut synth = synth();
    let first = full_call();
    let first_ref = CallRef { id: first.id, connection: Arc::clone(&first.connection), trace_parent: None };
    let mut second = full_call();
    second.id = ExchangeId { index: 4, ..second.id };
    let first = synth.call(&first, Some(&Place::Turn(first_ref.clone())), None);
    let second = synth.call(&second, Some(&Place::Turn(first_ref.clone())), None);
    let tool = synth.tool(&ToolRun {
        asked_by: first_ref.clone(),
        turn: Some(first_ref.clone()),
        number: 0,
        name: "weather".to_owned(),
        id: "call_1".to_owned(),
        start: T0,
        end: T0 + MS,
    });
    let root = synth.turn(&Turn { first: first_ref, provider: Cow::Borrowed("openai"), start: T0, end: T0 + 9 * MS });
    let mut spans = vec![root.span_id];
    for child in [&first, &second, &tool] {
        assert_eq!(child.trace_id, root.trace_id);
        assert_eq!(child.parent, Some(Parent { span_id: root.span_id, remote: false }));
        spans.push(child.span_id);
    }
    spans.sort_unstable();
    spans.dedup();
    assert_eq!(spans.len(), 4);
    insta::assert_snapshot!(format!("{}\n{}", render(&tool), render(&root)));
}

#[test]
fn resources_follow_the_process() {
    let host = Host {
        name: Some("node-1".to_owned()),
        id: Some("abc".to_owned()),
        users: [(1000, "ada".to_owned())].into(),
        attributes: vec![
            ("service.name".to_owned(), "llmtap-itself".to_owned()),
            ("cloud.region".to_owned(), "eu".to_owned()),
            ("service.namespace".to_owned(), "default".to_owned()),
        ],
    };
    let mut synth = Synth::new(Ids::replay(), host);
    let seen = |resource: &crate::span::Resource, name: &str| {
        resource.attribute(name).map(|value| value.as_str().unwrap_or_default().to_owned())
    };
    let unknown = synth.call(&full_call(), None, None).resource;
    assert_eq!(seen(&unknown, "service.name").as_deref(), Some("python3"));
    assert_eq!(seen(&unknown, "process.owner"), None);

    synth.process(&process());
    let known = synth.call(&full_call(), None, None).resource;
    let without_version = known.attributes.iter().filter(|(name, _)| &**name != "telemetry.distro.version");
    let facts: Vec<String> = without_version.map(|(name, value)| format!("{name} = {}", json(value))).collect();
    insta::assert_snapshot!(facts.join("\n"));
    assert!(Arc::ptr_eq(&known, &synth.call(&full_call(), None, None).resource));

    let replaced = Process { service: Some("other".into()), ..(*process()).clone() };
    synth.process(&Arc::new(replaced));
    let replaced = synth.call(&full_call(), None, None).resource;
    assert_eq!(seen(&replaced, "service.name").as_deref(), Some("other"));

    let mut anonymous = full_call();
    anonymous.connection = Arc::new(crate::capture::Connection { pid: None, comm: None, ..connection() });
    let anonymous = synth.call(&anonymous, None, None).resource;
    assert_eq!(seen(&anonymous, "service.name").as_deref(), Some("unknown_service"));
}

#[test]
fn the_newer_release_has_names_of_its_own() {
    let mut call = full_call();
    (call.usage.cache_write, call.usage.input_text, call.usage.output_audio) = (Some(7), Some(5), Some(3));
    let written = |release| {
        let mut synth = synth();
        synth.set_release(release);
        let record = synth.call(&call, None, None);
        ["cache_creation.input", "cache_write.input", "text.input", "audio.output"]
            .map(|part| record.attribute(&format!("gen_ai.usage.{part}_tokens")).cloned())
    };
    let number = |number: u64| Some(Value::from(number));
    assert_eq!(written(Release::Core), [number(7), None, None, None]);
    assert_eq!(written(Release::Next), [None, number(7), number(5), number(3)]);
}
