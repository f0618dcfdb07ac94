//! Prompts and answers in telemetry: what the SDKs say that they sent and got, against what spans and events tell.

use std::{fs, process::Command};

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};
use tests::{
    harness::{Finished, finish, llmtap},
    receiver::Receiver,
    spans::Span,
};

use crate::bench;

/// A word of every prompt, instruction, tool description and tool result.
const MARK: &str = "zanzibar";

const NAMES: [(&str, &str); 4] = [
    ("gen_ai.system_instructions", "system"),
    ("gen_ai.input.messages", "input"),
    ("gen_ai.output.messages", "output"),
    ("gen_ai.tool.definitions", "tools"),
];

/// What the client says, a value a call.
fn said(finished: &Finished) -> anyhow::Result<Vec<Value>> {
    finished.stdout.lines().map(|line| serde_json::from_str(line).context("the client's line")).collect()
}

/// The same as spans tell it, in the order of the calls.
fn told(spans: &[Span]) -> anyhow::Result<Vec<Value>> {
    let mut calls: Vec<_> = spans.iter().filter(|span| span.is_call()).collect();
    calls.sort_by_key(|span| span.start);
    let of = |span: &&Span| {
        let present = NAMES.iter().filter_map(|(name, short)| Some((*short, span.text(name)?)));
        present
            .map(|(short, text)| Ok((short.to_owned(), serde_json::from_str(text)?)))
            .collect::<anyhow::Result<Map<_, _>>>()
    };
    calls.iter().map(|span| Ok(Value::Object(of(span)?))).collect()
}

fn expect(told: &[Value], said: &[Value]) -> anyhow::Result<()> {
    ensure!(told.len() == said.len() && said.len() == 8, "{} calls told, {} said", told.len(), said.len());
    for (told, said) in told.iter().zip(said) {
        ensure!(told == said, "told\n{told:#}\nsaid\n{said:#}");
    }
    Ok(())
}

#[test]
fn contents_on_spans_are_what_was_sent_and_answered() -> anyhow::Result<()> {
    let bench = bench!();
    let line = bench.script("contents.py", &[])?;
    let capture = bench.path("calls.cap");
    let capture = capture.to_str().context("a path")?;
    let finished = bench.run_traced(&["--capture-content", "full", "--record", capture], &line)?;
    let said = said(&finished)?;
    expect(&told(&bench.spans()?)?, &said)?;
    // A recording says the same.
    let replayed = bench.path("replayed.jsonl");
    let mut replay = Command::new(llmtap()?);
    replay.args(["replay", "--output", "jsonl", "--capture-content", "full", "-o"]).arg(&replayed).arg(capture);
    let finished = finish(&mut replay)?;
    ensure!(finished.status.success(), "{}", finished.stderr);
    expect(&told(&tests::spans::read(&replayed)?)?, &said)
}

#[test]
fn contents_as_events_are_structured_and_apart_from_spans() -> anyhow::Result<()> {
    let bench = bench!();
    let receiver = Receiver::start(0)?;
    let line = bench.script("contents.py", &[])?;
    let options =
        ["--capture-content", "full", "--content-to", "events", "--output", "none", "--otlp-endpoint", &receiver.url()];
    let mut command = bench.traced(&options, &line)?;
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    let finished = finish(&mut command)?;
    ensure!(finished.status.success() && finished.stderr.is_empty(), "{}", finished.stderr);
    let (mut spans, mut events) = (Vec::new(), Vec::new());
    for request in receiver.received() {
        match request.path.as_str() {
            "/v1/traces" => tests::spans::collect(&request.json()?, &mut spans)?,
            "/v1/logs" => {
                let records = request.json()?["resourceLogs"][0]["scopeLogs"][0]["logRecords"].clone();
                events.extend(records.as_array().context("no records")?.clone());
            }
            _ => {}
        }
    }
    ensure!(told(&spans)?.iter().all(|told| *told == json!({})), "spans tell contents");
    let mut calls: Vec<_> = spans.iter().filter(|span| span.is_call()).collect();
    calls.sort_by_key(|span| span.start);
    let event_of = |span: &&Span| {
        let event = events.iter().find(|event| event["spanId"] == span.span_id.as_str()).context("no event")?;
        ensure!(
            event["traceId"] == span.trace_id.as_str()
                && event["eventName"] == "gen_ai.client.inference.operation.details"
        );
        let attributes = event["attributes"].as_array().context("no attributes")?;
        let present = attributes.iter().filter_map(|attribute| {
            let short = NAMES.iter().find(|(name, _)| attribute["key"] == *name)?.1;
            Some((short.to_owned(), plain(&attribute["value"])))
        });
        Ok(Value::Object(present.collect()))
    };
    let told = calls.iter().map(event_of).collect::<anyhow::Result<Vec<_>>>()?;
    expect(&told, &said(&finished)?)
}

/// A value of OTLP/JSON as plain JSON.
fn plain(value: &Value) -> Value {
    let Some((kind, value)) = value.as_object().and_then(|members| members.iter().next()) else { return Value::Null };
    let values = || value["values"].as_array().into_iter().flatten();
    match kind.as_str() {
        "arrayValue" => values().map(plain).collect(),
        "kvlistValue" => values()
            .map(|pair| (pair["key"].as_str().unwrap_or_default().to_owned(), plain(&pair["value"])))
            .collect::<Map<_, _>>()
            .into(),
        "intValue" => value.as_str().and_then(|digits| digits.parse::<i64>().ok()).into(),
        _ => value.clone(),
    }
}

#[test]
fn without_content_no_text_is_in_any_output() -> anyhow::Result<()> {
    let bench = bench!();
    let receiver = Receiver::start(0)?;
    let line = bench.script("contents.py", &[])?;
    for output in ["jsonl", "pretty"] {
        let file = bench.path(output);
        let path = file.to_str().context("a path")?;
        let options = ["--output", output, "-o", path, "--otlp-endpoint", &receiver.url(), "-vv"];
        let mut command = bench.traced(&options, &line)?;
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
        let finished = finish(&mut command)?;
        ensure!(finished.status.success(), "{}", finished.stderr);
        let mut outputs = fs::read_to_string(&file)? + &finished.stderr;
        for request in receiver.received() {
            outputs += &request.json()?.to_string();
        }
        ensure!(outputs.contains("gpt-5"), "nothing was told");
        ensure!(!outputs.contains(MARK), "{output} holds a prompt");
        for said in said(&finished)? {
            for part in said["output"][0]["parts"].as_array().context("no parts")? {
                let text = part["content"].as_str().unwrap_or_default();
                ensure!(text.len() < 12 || !outputs.contains(text.trim()), "{output} holds an answer");
            }
        }
    }
    Ok(())
}

#[test]
fn redacted_contents_are_told_without_what_identifies_people() -> anyhow::Result<()> {
    let bench = bench!();
    let line = bench.script("contents.py", &["openai_plain"])?;
    bench.run_traced(&["--capture-content", "redacted"], &line)?;
    let lines = fs::read_to_string(bench.path("spans.jsonl"))?;
    ensure!(
        !lines.contains("ann@example.com") && lines.contains("[REDACTED:email]") && lines.contains(MARK),
        "{lines}"
    );
    Ok(())
}

#[test]
fn pretty_prints_no_contents() -> anyhow::Result<()> {
    let bench = bench!();
    let line = bench.script("contents.py", &["openai_plain", "anthropic_stream"])?;
    let finished = bench.run_traced(&["--capture-content", "full", "--output", "pretty"], &line)?;
    ensure!(finished.stderr.contains("gpt-5") && !finished.stderr.contains(MARK), "{}", finished.stderr);
    Ok(())
}
