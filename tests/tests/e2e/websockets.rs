//! Responses over WebSockets, by real clients: every response one span, and every field of it exact.

use std::process::Command;

use anyhow::ensure;
use tests::{harness, mock::Ended};

use crate::{bench, clients::exact};

#[test]
fn openai_websocket() -> anyhow::Result<()> {
    let bench = bench!();
    let scenarios = ["stream=5", "chain", "plain_frames", "compressed_anew", "split", "long_prompt", "lanes", "tools"];
    let report = exact(&bench, "openai_websocket.py", &scenarios, 19)?;
    print!("openai over WebSockets: {report}");
    let spans = bench.spans()?;
    let index = |span: &tests::spans::Span| span.integer("llmtap.exchange.index");
    ensure!(spans.iter().any(|span| index(span) == Some(3)), "the exchanges of a connection are numbered");
    Ok(())
}

#[test]
fn openai_websocket_that_ends_early() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "openai_websocket.py", &["errors", "abort", "broken", "stream"], 9)?;
    let truth = bench.truth();
    for end in [Ended::ClientGone, Ended::Closed, Ended::ErrorEvent, Ended::Complete] {
        ensure!(truth.iter().any(|truth| truth.ended == end), "{end:?} did not happen");
    }
    Ok(())
}

#[test]
fn openai_websockets_side_by_side() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "openai_websocket.py", &["concurrent"], 40)?;
    Ok(())
}

#[test]
fn openai_websocket_with_threads() -> anyhow::Result<()> {
    exact(&bench!(), "openai_websocket.py", &["threads"], 10)?;
    Ok(())
}

#[test]
fn node_websocket() -> anyhow::Result<()> {
    let bench = bench!();
    // Its own since release 22.
    let fetched = harness::workspace().join("target/fixtures/node-22/bin/node");
    let node = if fetched.exists() { fetched.display().to_string() } else { "node".to_owned() };
    let has = Command::new(&node).args(["-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"]).status();
    if !has.is_ok_and(|status| status.success()) {
        println!("skipped: no node with a WebSocket of its own");
        return Ok(());
    }
    let script = harness::clients().join("websocket.mjs").display().to_string();
    let finished = bench.run_traced(&[], &[node, script])?;
    ensure!(finished.stdout == "done\n", "{}\n{}", finished.stdout, finished.stderr);
    bench.expect_exact(13)?;
    Ok(())
}
