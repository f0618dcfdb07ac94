//! Real clients: every call exactly one span, and every field of it exact.

use anyhow::ensure;
use tests::{compare::Report, harness::Bench, mock::Ended};

use crate::bench;

/// Traces a client script and compares; the script itself must be content, too.
pub fn exact(bench: &Bench, script: &str, scenarios: &[&str], least: usize) -> anyhow::Result<Report> {
    let finished = bench.run_traced(&[], &bench.script(script, scenarios)?)?;
    // CMD's stdout stays CMD's alone.
    ensure!(finished.stdout == "done\n", "{}\n{}", finished.stdout, finished.stderr);
    bench.expect_exact(least)
}

#[test]
fn openai_plain_streams_and_tools() -> anyhow::Result<()> {
    let bench = bench!();
    let scenarios = ["plain", "stream", "stream_without_usage", "reasoning", "choices", "tools", "stream_tools"];
    exact(&bench, "openai_sync.py", &scenarios, 9)?;
    Ok(())
}

#[test]
fn openai_errors_and_retries() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "openai_sync.py", &["errors", "error_in_stream", "retry"], 18)?;
    Ok(())
}

#[test]
fn openai_streams_that_end_early() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "openai_sync.py", &["abort", "broken", "plain"], 5)?;
    let ends: Vec<Ended> = bench.truth().iter().map(|truth| truth.ended).collect();
    for end in [Ended::ClientGone, Ended::Closed, Ended::Reset, Ended::Complete] {
        ensure!(ends.contains(&end), "{end:?} did not happen: {ends:?}");
    }
    Ok(())
}

#[test]
fn openai_encodings_and_framings() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "openai_sync.py", &["encodings", "framings"], 17)?;
    Ok(())
}

#[test]
fn openai_threads() -> anyhow::Result<()> {
    let bench = bench!();
    let report = exact(&bench, "openai_sync.py", &["threads"], 200)?;
    print!("20 threads, openai: {report}");
    Ok(())
}

#[test]
fn openai_asyncio() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "openai_asyncio.py", &["plain", "stream", "tools", "cancel"], 6)?;
    Ok(())
}

#[test]
fn fifty_streams_in_one_asyncio_process() -> anyhow::Result<()> {
    let bench = bench!();
    let report = exact(&bench, "openai_asyncio.py", &["concurrent=2", "concurrent_close"], 150)?;
    print!("50 streams at once, keep-alive and not: {report}");
    Ok(())
}

#[test]
fn fifty_streams_at_full_speed() -> anyhow::Result<()> {
    let bench = bench!();
    let report = exact(&bench, "openai_asyncio.py", &["full_speed"], 50)?;
    print!("50 streams at once, no pauses: {report}");
    Ok(())
}

#[test]
fn anthropic_plain_streams_and_tools() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "anthropic_sync.py", &["plain", "stream", "thinking", "tools", "stream_tools", "encodings"], 10)?;
    Ok(())
}

#[test]
fn anthropic_errors_retries_and_abort() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "anthropic_sync.py", &["errors", "error_in_stream", "retry", "abort", "plain"], 22)?;
    Ok(())
}

#[test]
fn anthropic_asyncio() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "anthropic_asyncio.py", &["plain", "stream", "concurrent", "concurrent_close"], 102)?;
    Ok(())
}

#[test]
fn requests_with_threads_prefixes_and_parents() -> anyhow::Result<()> {
    let bench = bench!();
    let scenarios = ["keep_alive", "new_connections", "threads", "azure", "gateway", "traceparent"];
    let report = exact(&bench, "requests_client.py", &scenarios, 224)?;
    print!("20 threads, requests: {report}");
    let child = bench.spans()?.into_iter().find(|span| span.parent_span_id.as_deref() == Some("b7ad6b7169203331"));
    ensure!(child.is_some_and(|child| child.trace_id == "0af7651916cd43dd8448eb211c80319c"), "no child of the caller");
    Ok(())
}

#[test]
fn curl() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "curl.sh", &[], 26)?;
    Ok(())
}

#[test]
fn node_fetch() -> anyhow::Result<()> {
    let bench = bench!();
    if std::process::Command::new("node").arg("--version").output().is_err() {
        println!("skipped: node is not installed");
        return Ok(());
    }
    exact(&bench, "fetch.mjs", &[], 24)?;
    Ok(())
}

#[test]
fn descendants_are_traced() -> anyhow::Result<()> {
    let bench = bench!();
    let one = bench.script("openai_sync.py", &["plain", "stream"])?.join(" ");
    let two = bench.script("anthropic_sync.py", &["plain", "stream"])?.join(" ");
    let line = ["sh", "-c", &format!("{one} & (exec {two}) & wait")].map(str::to_owned);
    bench.run_traced(&[], &line)?;
    bench.expect_exact(4)?;
    Ok(())
}

#[test]
fn other_traffic_gives_no_span() -> anyhow::Result<()> {
    let bench = bench!();
    bench.run_traced(&[], &bench.script("requests_client.py", &["others"])?)?;
    ensure!(bench.truth().len() == 7, "{} requests, not 7", bench.truth().len());
    bench.expect_exact(0)?;
    Ok(())
}

/// A figure, not an assertion: both clocks are the machine's own, the difference is loopback, the client's reading
/// and the tracer's error together.
#[test]
fn first_token_time() -> anyhow::Result<()> {
    let bench = bench!();
    let report = exact(&bench, "openai_sync.py", &["stream=60"], 60)?;
    ensure!(
        report.first_token_errors.len() == 60,
        "{} of 60 streams have a first token",
        report.first_token_errors.len()
    );
    print!("one stream after another: {report}");
    Ok(())
}
