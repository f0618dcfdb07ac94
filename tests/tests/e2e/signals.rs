//! What spans say beyond the single call: attempts, whom a call is for, which spans are exported.

use anyhow::{Context, ensure};
use tests::{harness::Bench, spans::Span};

use crate::{bench, clients::exact};

/// The calls in the order of their starts.
fn calls(bench: &Bench) -> anyhow::Result<Vec<Span>> {
    let mut calls: Vec<Span> = bench.spans()?.into_iter().filter(Span::is_call).collect();
    calls.sort_by_key(|span| span.start);
    Ok(calls)
}

/// Three calls, two of which failed: the later ones say what they repeat.
fn three_attempts(bench: &Bench, reason: &str) -> anyhow::Result<()> {
    let calls = calls(bench)?;
    let [first, repeated @ ..] = calls.as_slice() else { anyhow::bail!("no calls") };
    ensure!(repeated.len() == 2, "{} calls", calls.len());
    ensure!(first.links.is_empty() && first.text("llmtap.retry.reason").is_none(), "{first:?}");
    for (call, number) in repeated.iter().zip(2..) {
        ensure!(call.integer("llmtap.attempt") == Some(number), "{call:?}");
        ensure!(call.links == [(first.trace_id.clone(), first.span_id.clone())], "{call:?}");
        ensure!(call.text("llmtap.retry.reason") == Some(reason), "{call:?}");
        let wasted = (call.start - first.start) as f64 / 1e9;
        let told = call.double("llmtap.retry.wasted_time").context("no wasted time")?;
        ensure!((told - wasted).abs() < 1e-6, "{told} is not {wasted}");
    }
    Ok(())
}

#[test]
fn attempts_that_the_sdk_counts_are_linked() -> anyhow::Result<()> {
    for (script, status) in [("openai_sync.py", 503), ("openai_apis.py", 429)] {
        let bench = bench!();
        exact(&bench, script, &["retry"], 3)?;
        let first = calls(&bench)?.swap_remove(0);
        ensure!(first.integer("http.response.status_code") == Some(status), "{first:?}");
        three_attempts(&bench, first.text("error.type").context("the first did not fail")?)?;
    }
    Ok(())
}

/// google-genai repeats what was refused, and says so nowhere.
#[test]
fn attempts_that_nobody_counts_are_inferred() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "gemini_client.py", &["retry"], 3)?;
    let first = calls(&bench)?.swap_remove(0);
    ensure!(first.integer("llmtap.attempt").is_none(), "{first:?}");
    three_attempts(&bench, first.text("error.type").context("the first did not fail")?)
}

#[test]
fn calls_say_whom_they_are_for() -> anyhow::Result<()> {
    let bench = bench!();
    exact(&bench, "openai_sync.py", &["attributed"], 2)?;
    let calls = calls(&bench)?;
    let told = |name: &str| calls.iter().map(|call| call.text(name)).collect::<Vec<_>>();
    for (name, expected) in [
        ("user.id", [Some("user-1"), Some("hash-2")]),
        ("session.id", [Some("s-1"), None]),
        ("llmtap.tenant", [Some("blue"), None]),
        ("llmtap.feature", [Some("search"), None]),
        ("llmtap.client.request_id", [Some("request-1"), None]),
    ] {
        ensure!(told(name) == expected, "{name}: {:?}", told(name));
    }
    Ok(())
}
