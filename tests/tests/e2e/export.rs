//! OTLP to a receiver that is not ours but for these lines.

use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;
use tests::{compare, harness::Bench, receiver::Receiver};

use crate::bench;

fn exported(bench: &Bench, receiver: &Receiver, environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let line = bench.script("openai_sync.py", &["plain", "stream", "tools", "error_in_stream"])?;
    let mut command = bench.traced(&["--output", "none", "--otlp-endpoint", &receiver.url()], &line)?;
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json").env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue");
    command.envs(environment.iter().copied());
    let finished = tests::harness::finish(&mut command)?;
    ensure!(finished.status.success(), "{}: {}", finished.status, finished.stderr);
    let mut received = receiver.received();
    received.retain(|request| request.path != "/v1/metrics");
    ensure!(!received.is_empty(), "nothing came: {}", finished.stderr);
    let mut spans = Vec::new();
    for request in &received {
        ensure!(request.path == "/v1/traces", "{}", request.path);
        ensure!(request.header("x-tenant") == Some("blue"), "the header is missing");
        tests::spans::collect(&request.json()?, &mut spans)?;
    }
    let report = compare::compare(&bench.truth(), &spans);
    ensure!(report.exact() && report.calls == 5, "\n{report}");
    let distribution = spans[0].resource.get("telemetry.distro.name").and_then(|name| name.as_str());
    ensure!(distribution == Some("llmtap"), "{distribution:?}");
    Ok(())
}

#[test]
fn every_span_arrives_once() -> anyhow::Result<()> {
    let bench = bench!();
    exported(&bench, &Receiver::start(0)?, &[])
}

#[test]
fn compressed_when_asked() -> anyhow::Result<()> {
    let bench = bench!();
    let receiver = Receiver::start(0)?;
    exported(&bench, &receiver, &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")])?;
    ensure!(
        receiver.received().iter().all(|request| request.header("content-encoding") == Some("gzip")),
        "not compressed"
    );
    Ok(())
}

#[test]
fn refused_requests_are_repeated() -> anyhow::Result<()> {
    let bench = bench!();
    exported(&bench, &Receiver::start(2)?, &[])
}

#[test]
fn an_endpoint_by_its_name() -> anyhow::Result<()> {
    let bench = bench!();
    let receiver = Receiver::start(0)?;
    let url = receiver.url().replace("127.0.0.1", "localhost");
    let line = bench.script("openai_sync.py", &["plain"])?;
    let mut command = bench.traced(&["--output", "none", "--otlp-endpoint", &url], &line)?;
    // Nothing is sent before the end.
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json").env("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let finished = tests::harness::finish(&mut command)?;
    ensure!(finished.status.success() && finished.stderr.is_empty(), "{}: {}", finished.status, finished.stderr);
    let paths: Vec<String> = receiver.received().into_iter().map(|export| export.path).collect();
    for path in ["/v1/traces", "/v1/metrics"] {
        ensure!(paths.iter().filter(|other| *other == path).count() == 1, "{paths:?}");
    }
    Ok(())
}

#[test]
fn a_dead_endpoint_delays_the_end_by_one_deadline() -> anyhow::Result<()> {
    // Accepts connections and answers none.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let capture = tests::harness::workspace().join("tests/fixtures/anthropic/tool_call/capture.jsonl");
    let mut command = Command::new(tests::harness::llmtap()?);
    command.args(["replay", "--output", "none", "--otlp-endpoint", &format!("http://{}", silent.local_addr()?)]);
    let begun = Instant::now();
    let finished = tests::harness::finish(command.arg(capture))?;
    ensure!(finished.status.success(), "{}: {}", finished.status, finished.stderr);
    ensure!(finished.stderr.contains("spans dropped"), "{}", finished.stderr);
    let taken = begun.elapsed();
    // Spans and metrics together; one after the other would be ten seconds.
    ensure!(taken > Duration::from_millis(4500) && taken < Duration::from_secs(8), "{taken:?}");
    Ok(())
}
