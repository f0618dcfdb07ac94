//! HTTP/2: many calls on one connection, every call exactly one span, and every field of it exact.

use std::{collections::BTreeSet, process::Command};

use anyhow::ensure;
use tests::{
    compare::{self, Report},
    harness::{Bench, SECRET, finish, llmtap},
    mock::{Ended, Options},
    spans,
};

/// The bench with a mock that offers HTTP/2, or a return from the test with the reason why it cannot run.
macro_rules! bench {
    () => {
        match tests::harness::untraceable() {
            Some(why) => {
                println!("skipped: {why}");
                return Ok(());
            }
            None => Bench::with(Options { http2: true, ..Options::default() })?,
        }
    };
}

/// Traces a client script and compares; the spans say that it was HTTP/2.
fn exact(bench: &Bench, script: &str, scenarios: &[&str], least: usize) -> anyhow::Result<Report> {
    let finished = bench.run_traced(&[], &bench.script(script, scenarios)?)?;
    ensure!(finished.stdout == "done\n", "{}\n{}", finished.stdout, finished.stderr);
    ensure!(!finished.stderr.contains("untraced"), "{}", finished.stderr);
    let report = bench.expect_exact(least)?;
    for span in bench.spans()?.iter().filter(|span| span.is_call()) {
        let version = span.text("network.protocol.version");
        ensure!(version == Some("2"), "{} speaks {version:?}", span.name);
        ensure!(span.text("llmtap.completeness") == Some("full"), "{}", span.name);
    }
    Ok(report)
}

#[test]
fn curl() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "curl_http2.sh", &[], 24)?;
    Ok(())
}

#[test]
fn node() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "http2.mjs", &[], 24)?;
    let connections: BTreeSet<u64> = bench.truth().iter().map(|truth| truth.connection).collect();
    ensure!(connections.len() == 1, "{} connections, not one", connections.len());
    Ok(())
}

#[test]
fn openai_asyncio() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "openai_http2.py", &["plain", "stream", "tools", "cancel", "reset"], 8)?;
    let ends: Vec<Ended> = bench.truth().iter().map(|truth| truth.ended).collect();
    for end in [Ended::ClientGone, Ended::Reset] {
        ensure!(ends.contains(&end), "{end:?} did not happen: {ends:?}");
    }
    Ok(())
}

#[test]
fn fifty_streams_on_one_connection() -> anyhow::Result<()> {
    let bench = bench!();
    // The first call opens the connection that all others share.
    let report = exact(&bench, "openai_http2.py", &["plain", "concurrent", "full_speed"], 101)?;
    print!("50 streams at once on one HTTP/2 connection: {report}");
    let truth = bench.truth();
    let connections: BTreeSet<u64> = truth.iter().map(|truth| truth.connection).collect();
    ensure!(connections.len() == 1, "{} connections, not one", connections.len());
    let spans = bench.spans()?;
    let indices: BTreeSet<u64> = spans.iter().filter_map(|span| span.integer("llmtap.exchange.index")).collect();
    ensure!(indices == (0..truth.len() as u64).collect(), "{indices:?}");
    Ok(())
}

#[test]
fn a_recording_replays_to_the_same_spans() -> anyhow::Result<()> {
    let bench = bench!();
    let capture = bench.path("capture.jsonl").display().to_string();
    let line = bench.script("openai_http2.py", &["plain", "concurrent"])?;
    bench.run_traced(&["--record", &capture], &line)?;
    bench.expect_exact(51)?;
    let replayed = bench.path("replayed.jsonl");
    let mut command = Command::new(llmtap()?);
    command.args(["replay", &capture, "--output", "jsonl", "-o"]).arg(&replayed);
    let finished = finish(&mut command)?;
    ensure!(finished.status.success(), "{}", finished.stderr);
    let report = compare::compare(&bench.truth(), &spans::read(&replayed)?);
    ensure!(report.exact() && report.calls == 51, "\n{report}");
    ensure!(!std::fs::read_to_string(&capture)?.contains(SECRET), "a credential is in the recording");
    Ok(())
}
