//! Metrics against what the mock did: at `/metrics`, read by Prometheus' own parsers, and by OTLP.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    process::Command,
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;
use tests::{
    environment::Python,
    harness::{Running, clients, finish, wait_for},
    mock::Truth,
    receiver::Receiver,
};

use crate::bench;

/// Dollars per million tokens of what the mock's models are.
const PRICES: &str = r#"{ "version": "test", "models": [
    { "provider": "openai", "model": ["*"], "input": 2, "output": 8 } ] }"#;

#[derive(Debug, Deserialize)]
struct Sample {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    labels: BTreeMap<String, String>,
    value: f64,
    trace_id: Option<String>,
}

/// What `/metrics` gives: as Prometheus' own text, and as OpenMetrics.
fn scrape(url: &str) -> anyhow::Result<[Vec<Sample>; 2]> {
    let script = clients().join("scrape.py");
    let scraped = finish(Command::new(Python::Metrics.prepared()?).arg(script).arg(url))?;
    ensure!(scraped.status.success(), "{}", scraped.stderr);
    Ok(serde_json::from_str(&scraped.stdout)?)
}

fn total<'a>(samples: impl IntoIterator<Item = &'a Sample>, name: &str, label: Option<(&str, &str)>) -> f64 {
    let wanted = |sample: &&Sample| {
        sample.name == name && label.is_none_or(|(key, value)| sample.labels.get(key).is_some_and(|own| own == value))
    };
    samples.into_iter().filter(wanted).map(|sample| sample.value).sum()
}

/// What all calls come to, by the names of OpenTelemetry.
fn expected(truths: &[Truth]) -> BTreeMap<&'static str, f64> {
    let calls: Vec<&Truth> = truths.iter().filter(|truth| truth.provider.is_some()).collect();
    let count = |wanted: &dyn Fn(&Truth) -> bool| calls.iter().filter(|truth| wanted(truth)).count() as f64;
    let sum =
        |tokens: &dyn Fn(&Truth) -> Option<u64>| calls.iter().filter_map(|truth| tokens(truth)).sum::<u64>() as f64;
    let (input, output) = (sum(&|truth| truth.usage.input), sum(&|truth| truth.usage.output));
    let priced = |tokens: &dyn Fn(&Truth) -> Option<u64>| {
        sum(&|truth| truth.usage.input.and(truth.usage.output).and_then(|_| tokens(truth)))
    };
    let cost = (priced(&|truth| truth.usage.input) * 2.0 + priced(&|truth| truth.usage.output) * 8.0) / 1e6;
    BTreeMap::from([
        ("calls", calls.len() as f64),
        ("input", input),
        ("output", output),
        ("cost", cost),
        ("errors", count(&|truth| truth.error_type.is_some())),
        ("retries", count(&|truth| truth.retry.is_some_and(|retry| retry > 0))),
        ("cached", sum(&|truth| truth.usage.cache_read)),
        ("reasoning", sum(&|truth| truth.usage.reasoning)),
        ("first tokens", count(&|truth| truth.stream && truth.times.first_token > 0)),
        ("finish reasons", calls.iter().map(|truth| truth.finish_reasons.len()).sum::<usize>() as f64),
        ("tool calls", calls.iter().map(|truth| truth.tool_calls.len()).sum::<usize>() as f64),
        ("active", 0.0),
    ])
}

fn at_prometheus(samples: &[Sample]) -> BTreeMap<&'static str, f64> {
    let tokens = |kind| total(samples, "gen_ai_client_token_usage_sum", Some(("gen_ai_token_type", kind)));
    let plain = |name| total(samples, name, None);
    BTreeMap::from([
        ("calls", plain("gen_ai_client_operation_duration_seconds_count")),
        ("input", tokens("input")),
        ("output", tokens("output")),
        ("cost", plain("llmtap_client_cost_total")),
        ("errors", plain("llmtap_client_errors_total")),
        ("retries", plain("llmtap_client_retries_total")),
        ("cached", plain("llmtap_client_tokens_cached_total")),
        ("reasoning", plain("llmtap_client_tokens_reasoning_total")),
        ("first tokens", plain("llmtap_client_time_to_first_token_seconds_count")),
        ("finish reasons", plain("llmtap_client_finish_reasons_total")),
        ("tool calls", plain("llmtap_client_tool_calls_total")),
        ("active", plain("llmtap_client_active_requests")),
    ])
}

/// The points of all metrics, by the metric's name, and the resource of each.
fn points(exports: &[Value]) -> Vec<(&str, &Value, &Value)> {
    let mut points = Vec::new();
    for resource in exports.iter().flat_map(|export| export["resourceMetrics"].as_array().into_iter().flatten()) {
        for scope in resource["scopeMetrics"].as_array().into_iter().flatten() {
            for metric in scope["metrics"].as_array().into_iter().flatten() {
                let data = ["sum", "gauge", "histogram"].iter().find_map(|kind| metric.get(*kind));
                for point in data.and_then(|data| data["dataPoints"].as_array()).into_iter().flatten() {
                    points.push((metric["name"].as_str().unwrap_or_default(), point, &resource["resource"]));
                }
            }
        }
    }
    points
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn by_otlp(exports: &[Value]) -> BTreeMap<&'static str, f64> {
    let points = points(exports);
    let sum = |name: &str, field: &str, kind: Option<&str>| -> f64 {
        let of_kind = |point: &Value| {
            let attributes = point["attributes"].as_array().into_iter().flatten();
            let mut values = attributes.filter(|attribute| attribute["key"] == "gen_ai.token.type");
            kind.is_none_or(|kind| values.any(|attribute| attribute["value"]["stringValue"] == kind))
        };
        let found = points.iter().filter(|(other, point, _)| *other == name && of_kind(point));
        found.filter_map(|(_, point, _)| number(&point[field])).sum()
    };
    let count = |name| sum(name, "count", None);
    let whole = |name| sum(name, "asInt", None);
    BTreeMap::from([
        ("calls", count("gen_ai.client.operation.duration")),
        ("input", sum("gen_ai.client.token.usage", "sum", Some("input"))),
        ("output", sum("gen_ai.client.token.usage", "sum", Some("output"))),
        ("cost", sum("llmtap.client.cost", "asDouble", None)),
        ("errors", whole("llmtap.client.errors")),
        ("retries", whole("llmtap.client.retries")),
        ("cached", whole("llmtap.client.tokens.cached")),
        ("reasoning", whole("llmtap.client.tokens.reasoning")),
        ("first tokens", count("llmtap.client.time_to_first_token")),
        ("finish reasons", whole("llmtap.client.finish_reasons")),
        ("tool calls", whole("llmtap.client.tool_calls")),
        ("active", whole("llmtap.client.active_requests")),
    ])
}

/// Sums of doubles depend on their order by some last digits.
fn same(expected: &BTreeMap<&str, f64>, found: &BTreeMap<&str, f64>) -> bool {
    expected.iter().all(|(name, value)| (value - found[name]).abs() < 1e-9)
}

#[test]
fn the_sums_are_the_truth_at_both_ends() -> anyhow::Result<()> {
    let bench = bench!();
    let receiver = Receiver::start(0)?;
    let prices = bench.path("prices.json");
    fs::write(&prices, PRICES)?;
    // Free a moment ago, and nobody else on this machine asks for it.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let scenarios = [
        "plain",
        "stream",
        "reasoning",
        "tools",
        "stream_tools",
        "errors",
        "error_in_stream",
        "retry",
        "others",
        "wait",
    ];
    let line = bench.script("openai_sync.py", &scenarios)?;
    let options = ["--output", "none", "--otlp-endpoint", &receiver.url(), "--metrics-listen", &address, "--prices"];
    let mut command = bench.traced(&[&options[..], &[&prices.display().to_string()]].concat(), &line)?;
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json").env("OTEL_METRIC_EXPORT_INTERVAL", "3600000");
    let mut running = Running::start(&mut command)?;
    running.wait_for_line("waiting")?;

    let expected = expected(&bench.truth());
    for (name, value) in &expected {
        ensure!(*value > 0.0 || *name == "active", "the client makes no {name}");
    }
    let url = format!("http://{address}/metrics");
    let mut last = BTreeMap::new();
    let scraped = wait_for("the sums at /metrics", || {
        let scraped = scrape(&url);
        match &scraped {
            Ok([plain, _]) => last = at_prometheus(plain),
            Err(_) => return Some(scraped),
        }
        // The verdicts come after a while.
        let all = same(&expected, &last)
            && scraped.iter().flatten().all(|samples| total(samples, "llmtap_self_processes", None) > 0.0);
        all.then_some(scraped)
    });
    let [plain, open] = scraped.with_context(|| format!("{expected:?}\n{last:?}"))??;
    let both = at_prometheus(&open);
    ensure!(same(&expected, &both), "{expected:?}\n{both:?}");
    ensure!(plain.iter().all(|sample| sample.trace_id.is_none()), "exemplars where they cannot be");
    let verdicts: Vec<_> = plain.iter().filter(|sample| sample.name == "llmtap_self_processes").collect();
    ensure!(verdicts.iter().all(|verdict| verdict.labels["llmtap_reason"].starts_with("ok")), "{verdicts:?}");
    ensure!(plain.iter().any(|sample| sample.name == "llmtap_self_memory_bytes" && sample.value > 1e6), "no memory");
    ensure!(open.iter().all(|sample| sample.kind != "unknown"), "a sample without a family");

    running.tell("go on")?;
    let finished = running.finish()?;
    ensure!(finished.status.success(), "{}: {}", finished.status, finished.stderr);
    let received = receiver.received();
    let exports: Vec<Value> = received
        .iter()
        .filter(|export| export.path == "/v1/metrics")
        .map(|export| export.json())
        .collect::<Result<_, _>>()?;
    ensure!(exports.len() == 1, "{} exports, not the last one alone: {}", exports.len(), finished.stderr);
    let by_otlp = by_otlp(&exports);
    ensure!(same(&expected, &by_otlp), "{expected:?}\n{by_otlp:?}");
    let of_process = |key: &str| key.starts_with("process.") || key == "container.id";
    for (name, _, resource) in points(&exports) {
        let mut keys = resource["attributes"].as_array().into_iter().flatten().filter_map(|key| key["key"].as_str());
        ensure!(!keys.any(of_process), "{name} tells of one process: {resource}");
    }

    // What an exemplar names is a trace that was exported.
    let mut spans = Vec::new();
    for export in received.iter().filter(|export| export.path == "/v1/traces") {
        tests::spans::collect(&export.json()?, &mut spans)?;
    }
    let traces: BTreeSet<&str> = spans.iter().map(|span| span.trace_id.as_str()).collect();
    let named: Vec<&str> = open.iter().filter_map(|sample| sample.trace_id.as_deref()).collect();
    ensure!(!named.is_empty() && named.iter().all(|trace| traces.contains(trace)), "{named:?}\n{traces:?}");
    Ok(())
}

#[test]
fn an_address_in_use_ends_it_before_the_command() -> anyhow::Result<()> {
    let bench = bench!();
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let mark = bench.path("ran").display().to_string();
    let line = ["touch".to_owned(), mark.clone()];
    let finished = finish(&mut bench.traced(&["--output", "none", "--metrics-listen", &address], &line)?)?;
    ensure!(finished.status.code() == Some(125), "{}: {}", finished.status, finished.stderr);
    ensure!(finished.stderr.contains(&address) && finished.lines_on_stderr().len() == 1, "{}", finished.stderr);
    ensure!(!fs::exists(&mark)?, "the command ran");
    Ok(())
}

#[test]
fn a_replay_tells_of_then() -> anyhow::Result<()> {
    let receiver = Receiver::start(0)?;
    let capture = tests::harness::workspace().join("tests/fixtures/anthropic/tool_call/capture.jsonl");
    let mut command = Command::new(tests::harness::llmtap()?);
    command.args(["replay", "--output", "none", "--otlp-endpoint", &receiver.url()]).arg(capture);
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    let finished = finish(&mut command)?;
    ensure!(finished.status.success(), "{}", finished.stderr);
    let received = receiver.received();
    let mut spans = Vec::new();
    for export in received.iter().filter(|export| export.path == "/v1/traces") {
        tests::spans::collect(&export.json()?, &mut spans)?;
    }
    let metrics: Vec<Value> = received
        .iter()
        .filter(|export| export.path == "/v1/metrics")
        .map(|export| export.json())
        .collect::<Result<_, _>>()?;
    let calls: Vec<_> = spans.iter().filter(|span| span.name.starts_with("chat")).collect();
    let (start, end) = (calls.iter().map(|span| span.start).min(), calls.iter().map(|span| span.end).max());
    let points = points(&metrics);
    let duration = points.iter().find(|(name, ..)| *name == "gen_ai.client.operation.duration");
    let (_, point, _) = duration.context("no duration")?;
    let time = |field: &str| point[field].as_str().and_then(|nanos| nanos.parse::<u64>().ok());
    ensure!((time("startTimeUnixNano"), time("timeUnixNano")) == (start, end), "{point}\n{start:?} {end:?}");
    ensure!(points.iter().any(|(name, ..)| *name == "llmtap.tool.round_trip"), "no tool was timed");
    Ok(())
}
