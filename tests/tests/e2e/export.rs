//! OTLP to a receiver that is not ours but for these lines.

use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tests::{
    compare,
    harness::{Bench, Running, wait_for},
    receiver::Receiver,
    spans::Span,
    tracer::{Daemon, free_address, page},
};

use crate::{
    bench,
    daemon::{self, interpreter, many},
    robustness::{status_number, tracer_processes},
};

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

/// How much more memory an outage of this length may take, MiB; 64 is what the queue may by default.
const OUTAGE_MEMORY: u64 = 16;

/// Nobody listens while a program calls and calls, and more ends than the queue holds. By default for some seconds;
/// `LLMTAP_OUTAGE_SECONDS` makes it as long as one likes.
#[test]
fn an_outage_of_the_collector_costs_what_the_queue_does_not_hold() -> anyhow::Result<()> {
    let bench = bench!();
    let seconds = std::env::var("LLMTAP_OUTAGE_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(4.0);
    // A loop of `many.py` makes up to 50 calls a second.
    let queue = (seconds * 10.0) as usize;
    let (collector, metrics) = (free_address()?, free_address()?);
    let python = interpreter(&bench, "tap-python")?;
    let text = format!(
        "select: {{include: [{{exe: {}}}]}}\nexporters:\n  otlp: [{{endpoint: 'http://{collector}', protocol: http/json, \
         signals: [traces]}}]\n  prometheus: [{{listen: '{metrics}'}}]\nlimits: {{queue_spans: {queue}}}\n",
        python.display(),
    );
    let daemon = Daemon::start(&bench, &text)?;
    let mut client = Running::start(&mut many(&bench, &python, &["1", "2", "1000", "busy", "1"])?)?;
    client.wait_for_line("one has ended")?;
    let tracer = tracer_processes(daemon.id())?;
    let [_, _, parser] = tracer[..] else { anyhow::bail!("two halves and a keeper were expected, not {tracer:?}") };
    // Without the ring, whose pages are all used after a while. What the other half takes depends on what else is started
    // on this machine.
    let own_memory = || status_number(parser, "RssAnon:").context("the parsing half is gone");
    let before = own_memory()?;
    let mut most = before;
    let over = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < over {
        std::thread::sleep(Duration::from_millis(50));
        most = most.max(own_memory()?);
    }
    ensure!(dropped(&metrics)? > 0, "nothing was lost: the queue was not full");

    let receiver = Receiver::start_at(&collector, 0)?;
    let back = Instant::now();
    wait_for("spans of the outage", || (daemon::exported(&receiver).ok()?.len() > queue).then_some(()))?;
    let took = back.elapsed();
    // As if nothing had been.
    let begun = bench.mock.truth(Duration::ZERO).len();
    wait_for("more calls", || (bench.mock.truth(Duration::ZERO).len() > begun + 10).then_some(()))?;
    client.tell("end")?;
    ensure!(client.finish()?.stdout.ends_with("done\n"), "the client failed");
    let dropped = dropped(&metrics)?;
    let finished = daemon.stop()?;

    let (calls, spans) = (bench.truth().len(), daemon::exported(&receiver)?);
    // Thousands are set off by commas.
    let told = finished.stderr.lines().last().unwrap_or_default().replace(',', "");
    ensure!(told.ends_with(&format!("spans dropped: {dropped}")), "not {dropped}: {told}");
    ensure!(spans.len() as u64 + dropped == calls as u64, "{} and {dropped} of {calls} calls", spans.len());
    // The first, a stream, overlaps others.
    let short: Vec<&Span> = spans.iter().filter(|span| span.boolean("gen_ai.request.stream") != Some(true)).collect();
    ensure!(short.len() + 1 == spans.len(), "{} of {}", short.len(), spans.len());
    ensure!(short.is_sorted_by(|one, next| one.start < next.start), "not in order");
    ensure!(most < before + (OUTAGE_MEMORY << 10), "{most} KiB, {before} before");
    println!(
        "{seconds} s, {calls} calls: {} exported in order, the first {took:.1?} after the end of the outage, {dropped} \
         dropped and counted; memory of the parsing half's own {before} KiB before, {most} KiB at most",
        spans.len()
    );
    Ok(())
}

/// What llmtap itself says that it has lost.
fn dropped(metrics: &str) -> anyhow::Result<u64> {
    let (_, body) = page(metrics, "/metrics")?;
    let line =
        body.lines().find(|line| line.starts_with("llmtap_self_spans_dropped_total")).context("no such metric")?;
    Ok(line.rsplit(' ').next().unwrap_or_default().parse::<f64>()? as u64)
}
