//! What spans say beyond the single call: attempts, whom a call is for, which spans are exported.

use std::{fs, process::Command};

use anyhow::{Context, ensure};
use tests::{
    environment::Python,
    harness::{Bench, clients, wait_for},
    receiver::Receiver,
    registry,
    spans::Span,
    tracer::{Daemon, free_address, page},
};

use crate::{
    bench,
    clients::exact,
    daemon::{exported, succeeds},
};

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

/// A quarter of what is well and all that failed goes to the collector; metrics count every call.
#[test]
fn a_ratio_of_calls_and_all_errors_are_exported() -> anyhow::Result<()> {
    let bench = bench!();
    let receiver = Receiver::start(0)?;
    // Chosen by its path, which nobody else has.
    for file in ["openai_sync.py", "scenario.py"] {
        fs::copy(clients().join(file), bench.path(file))?;
    }
    let (script, metrics) = (bench.path("openai_sync.py"), free_address()?);
    let text = format!(
        "select: {{include: [{{command_line: '*{}*'}}]}}\nexporters:\n  otlp: [{{endpoint: '{}', protocol: http/json, signals: [traces, metrics]}}]\n  \
         prometheus: [{{listen: '{metrics}'}}]\nsampling: {{rules: [{{error: true}}], ratio: 0.25}}\nattribution: {{rules: \
         [{{attribute: llmtap.tenant, from: [{{env: TEAM}}], metric_values: 5}}, {{attribute: team.place, from: [{{env: PLACE}}], \
         metric_values: 1}}]}}\n",
        script.display(),
        receiver.url(),
    );
    registry::allow_own(&["team.place"])?;
    let daemon = Daemon::start(&bench, &text)?;
    let mut client = Command::new(Python::Clients.prepared()?);
    client.arg(&script).args(["plain=80", "errors"]).env("TEAM", "blue").env("PLACE", "ada@example.org");
    bench.equip(&mut client);
    succeeds(client)?;
    let truth = bench.truth();
    let (failed, well): (Vec<_>, Vec<_>) = truth.iter().partition(|truth| truth.error_type.is_some());
    ensure!(failed.len() > 5 && well.len() >= 80, "{} failed, {} did not", failed.len(), well.len());
    wait_for("all calls at /metrics", || {
        let (_, body) = page(&metrics, "/metrics").ok()?;
        let count = |line: &str| line.rsplit_once(' ')?.1.parse::<f64>().ok();
        let counted = body.lines().filter(|line| {
            line.starts_with("gen_ai_client_operation_duration_seconds_count{")
                && line.contains("llmtap_tenant=\"blue\"")
        });
        (counted.filter_map(count).sum::<f64>() as usize == truth.len()).then_some(())
    })?;
    daemon.stop()?;

    let spans = exported(&receiver)?;
    let (errors, others): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.status == 2);
    ensure!(errors.len() == failed.len(), "{} of {} errors", errors.len(), failed.len());
    ensure!(errors.iter().all(|span| span.trace_state == "ot=th:0"), "{errors:?}");
    // 80 draws with a chance of a quarter: fewer than 4 or more than 40 come once in a million times.
    ensure!((4..=40).contains(&others.len()), "{} of {} others", others.len(), well.len());
    for span in others {
        ensure!(span.trace_state == "ot=th:c", "{span:?}");
        let randomness = u64::from_str_radix(&span.trace_id[18..], 16)?;
        ensure!(randomness >= 0xc0_0000_0000_0000, "{} is below the threshold", span.trace_id);
    }
    ensure!(spans.iter().all(|span| span.text("llmtap.tenant") == Some("blue")), "no tenant");
    let place = Some("[REDACTED:email]");
    ensure!(spans.iter().all(|span| span.text("team.place") == place), "{place:?} is not on all spans");
    // What the receiver got was checked against the registry.
    let metrics: String = receiver
        .received()
        .iter()
        .filter(|export| export.path == "/v1/metrics")
        .map(|export| export.json().map(|data| data.to_string()))
        .collect::<anyhow::Result<_>>()?;
    for attribute in [r#"{"key":"llmtap.tenant","value":{"stringValue":"blue"}}"#, r#""key":"team.place""#] {
        ensure!(metrics.contains(attribute), "no metric by OTLP has {attribute}");
    }
    Ok(())
}
