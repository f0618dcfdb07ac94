use serde_json::{Value, json};

use super::*;
use crate::mock::{Times, Usage};

fn call() -> Truth {
    Truth {
        exchange: 7,
        provider: Some("openai".into()),
        operation: Some("chat".into()),
        request_model: Some("gpt-5".into()),
        response_model: Some("gpt-5-2026-10-01".into()),
        response_id: Some("chatcmpl-7".into()),
        stream: true,
        status: 200,
        finish_reasons: vec!["stop".into()],
        usage: Usage { input: Some(10), output: Some(5), cache_read: Some(0), ..Usage::default() },
        times: Times {
            request_first: 1_000_000,
            request_last: 1_100_000,
            first_byte: 1_200_000,
            first_token: 5_100_000,
            last_token: 6_000_000,
            end: 6_100_000,
        },
        ..Truth::default()
    }
}

fn span() -> Span {
    let attributes = json!({
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5",
        "gen_ai.response.model": "gpt-5-2026-10-01", "gen_ai.response.id": "chatcmpl-7",
        "gen_ai.response.finish_reasons": ["stop"], "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 0, "http.response.status_code": 200, "gen_ai.request.stream": true,
        "llmtap.time.first_token": 0.0045,
    });
    let Value::Object(attributes) = attributes else { unreachable!() };
    Span {
        name: "chat gpt-5".into(),
        start: 900_000,
        end: 6_300_000,
        attributes: attributes.into_iter().collect(),
        ..Span::default()
    }
}

fn with(key: &str, value: Value) -> Span {
    let mut span = span();
    if value.is_null() {
        span.attributes.remove(key)
    } else {
        span.attributes.insert(key.into(), value)
    };
    span
}

fn fields(report: &Report) -> Vec<&'static str> {
    report.differences.iter().map(|difference| difference.field).collect()
}

#[test]
fn equal_is_exact() {
    let report = compare(&[call()], &[span()]);
    assert_eq!(report.differences, []);
    assert_eq!((report.calls, report.exact), (1, 1));
    assert_eq!(report.first_token_errors, [500_000]);
    assert_eq!(report.to_string().lines().last(), Some("1 calls, 1 exact"));
}

#[test]
fn every_field_counts() {
    for (key, value, field) in [
        ("gen_ai.provider.name", json!("anthropic"), "provider"),
        ("gen_ai.request.model", json!("gpt-4"), "request model"),
        ("gen_ai.response.model", Value::Null, "response model"),
        ("gen_ai.response.finish_reasons", json!(["length"]), "finish reasons"),
        ("gen_ai.usage.input_tokens", json!(11), "input tokens"),
        ("gen_ai.usage.cache_read.input_tokens", Value::Null, "cached tokens"),
        ("gen_ai.usage.reasoning.output_tokens", json!(0), "reasoning tokens"),
        ("llmtap.tool_calls.names", json!(["made_up"]), "tool calls"),
        ("http.response.status_code", json!(500), "status"),
        ("gen_ai.request.stream", json!(false), "stream"),
        ("error.type", json!("oops"), "error type"),
    ] {
        let report = compare(&[call()], &[with(key, value)]);
        assert_eq!(fields(&report), [field]);
        assert!(!report.exact());
    }
}

#[test]
fn lost_doubled_and_stray_spans_show() {
    assert_eq!(fields(&compare(&[call()], &[])), ["span"]);
    assert_eq!(fields(&compare(&[call()], &[span(), span()])), ["span"]);
    let other = with("gen_ai.response.id", json!("chatcmpl-8"));
    let report = compare(&[call()], &[span(), other]);
    assert_eq!(fields(&report), ["a span that belongs to no call"]);
    assert!(!report.exact());
    let no_model_call = Truth { provider: None, ..call() };
    assert_eq!(fields(&compare(&[no_model_call], &[span()])), ["a span that belongs to no call"]);
}

#[test]
fn agent_and_tool_spans_are_no_calls() {
    let tool = with("gen_ai.operation.name", json!("execute_tool"));
    assert!(compare(&[call()], &[span(), tool]).exact());
}

#[test]
fn errors_pair_without_ids() {
    let failed = Truth {
        status: 429,
        response_id: None,
        response_model: None,
        finish_reasons: Vec::new(),
        usage: Usage::default(),
        error_type: Some("rate_limit_exceeded".into()),
        ..call()
    };
    let mut traced = span();
    traced.attributes.retain(|key, _| !key.starts_with("gen_ai.response") && !key.starts_with("gen_ai.usage"));
    traced.attributes.insert("http.response.status_code".into(), json!(429));
    traced.attributes.insert("error.type".into(), json!("rate_limit_exceeded"));
    traced.status = 2;
    assert_eq!(compare(&[failed.clone(), call()], &[span(), traced.clone()]).differences, []);
    traced.status = 0;
    assert_eq!(fields(&compare(&[failed], &[traced])), ["span status"]);
}

#[test]
fn abandoned_answers_may_state_less_but_nothing_else() {
    let gone = Truth { ended: Ended::ClientGone, ..call() };
    let mut traced = with("gen_ai.usage.input_tokens", Value::Null);
    traced.attributes.insert("llmtap.aborted".into(), json!(true));
    assert_eq!(compare(std::slice::from_ref(&gone), &[traced.clone()]).differences, []);
    traced.attributes.insert("gen_ai.usage.input_tokens".into(), json!(3));
    assert_eq!(fields(&compare(std::slice::from_ref(&gone), &[traced])), ["input tokens"]);
    assert_eq!(fields(&compare(&[gone], &[span()])), ["aborted"]);
}

#[test]
fn quantiles_are_of_sizes() {
    let report = Report { first_token_errors: vec![-3_000_000, 1_000_000, 2_000_000], ..Report::default() };
    assert_eq!(report.first_token_error(0.5), Some(2.0));
    assert_eq!(report.first_token_error(1.0), Some(3.0));
    assert_eq!(Report::default().first_token_error(0.5), None);
}
