//! Arize Phoenix: spans by OTLP, read back through its GraphQL interface.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tests::{
    environment::Python,
    harness::{Bench, Running, finish, untraceable},
};

use crate::{curl, free_port};

/// It imports much, and makes a database.
const START: Duration = Duration::from_secs(240);

/// How long spans may take from its door to its database.
const INGEST: Duration = Duration::from_secs(60);

const QUERY: &str = "{ projects { edges { node { spans(first: 100) { edges { node { name spanKind statusCode \
                     tokenCountPrompt tokenCountCompletion costSummary { total { cost } } attributes context { traceId } } } } } } } }";

struct Phoenix {
    url: String,
    _running: Running,
}

impl Phoenix {
    fn start(bench: &Bench) -> anyhow::Result<Self> {
        let (port, grpc) = (free_port()?, free_port()?);
        let mut command = Command::new(Python::Phoenix.prepared()?);
        command.args(["-m", "phoenix.server.main", "serve"]).env("PHOENIX_WORKING_DIR", bench.path("phoenix"));
        command.env("PHOENIX_HOST", "127.0.0.1").env("PHOENIX_PORT", port.to_string());
        command.env("PHOENIX_GRPC_PORT", grpc.to_string()).env("PHOENIX_TELEMETRY_ENABLED", "false");
        let running = Running::start(&mut command)?;
        let url = format!("http://127.0.0.1:{port}");
        let phoenix = Self { url, _running: running };
        let end = Instant::now() + START;
        while phoenix.spans().is_err() {
            ensure!(Instant::now() < end, "Phoenix does not serve: {}", phoenix._running.stderr());
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(phoenix)
    }

    /// All spans of all projects.
    fn spans(&self) -> anyhow::Result<Vec<Value>> {
        let query = json!({"query": QUERY}).to_string();
        let url = format!("{}/graphql", self.url);
        let answer = curl(&["--header", "content-type: application/json", "--data", &query, &url])?;
        let projects = answer.pointer("/data/projects/edges").and_then(Value::as_array).context("no projects")?;
        let of_project = |project: &Value| project.pointer("/node/spans/edges").and_then(Value::as_array).cloned();
        Ok(projects.iter().filter_map(of_project).flatten().map(|edge| edge["node"].clone()).collect())
    }

    /// A page of the first project, its spans or a trace, as Debian's Chromium shows it.
    fn screenshot(&self, page: &str, file: &Path) -> anyhow::Result<()> {
        let query = json!({"query": "{ projects { edges { node { id } } } }"}).to_string();
        let url = format!("{}/graphql", self.url);
        let answer = curl(&["--header", "content-type: application/json", "--data", &query, &url])?;
        let id = answer.pointer("/data/projects/edges/0/node/id").and_then(Value::as_str).context("no project")?;
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", "--hide-scrollbars"]);
        command.args(["--window-size=3200,1200", "--virtual-time-budget=20000"]);
        command.arg(format!("--user-data-dir={}", folder.path().display()));
        command.arg(format!("--screenshot={}", file.display())).arg(format!("{}/projects/{id}/{page}", self.url));
        let taken = finish(&mut command)?;
        ensure!(taken.status.success() && file.exists(), "{}", taken.stderr);
        Ok(())
    }

    fn wait_for_spans(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        let end = Instant::now() + INGEST;
        loop {
            let spans = self.spans()?;
            if spans.len() >= count {
                return Ok(spans);
            }
            ensure!(Instant::now() < end, "{} spans of {count} after {INGEST:?}", spans.len());
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// An attribute by its path: Phoenix nests what dots divide.
fn attribute<'a>(span: &'a Value, attributes: &'a Value, name: &str) -> anyhow::Result<&'a Value> {
    let path = format!("/{}", name.replace('.', "/"));
    attributes.pointer(&path).with_context(|| format!("{}: no {name}", span["name"]))
}

#[test]
fn phoenix_shows_models_tokens_cost_and_messages() -> anyhow::Result<()> {
    if let Some(why) = untraceable() {
        println!("skipped: {why}");
        return Ok(());
    }
    if let Err(error) = Python::Phoenix.prepared() {
        println!("skipped: no Phoenix: {error:#}");
        return Ok(());
    }
    let bench = Bench::new()?;
    let phoenix = Phoenix::start(&bench)?;
    let line = bench.script("openai_sync.py", &["plain", "stream", "tools", "reasoning"])?;
    let options = ["--output", "none", "--capture-content", "full", "--otlp-endpoint", &phoenix.url];
    let mut command = bench.traced(&options, &line)?;
    let finished = finish(command.env("OTEL_METRICS_EXPORTER", "none"))?;
    // Nothing lost, nothing to complain of.
    ensure!(finished.status.success(), "{}: {}", finished.status, finished.stderr);
    ensure!(!finished.stderr.contains("dropped"), "{}", finished.stderr);

    let truth = bench.truth();
    let calls: Vec<_> = truth.iter().filter(|truth| truth.provider.is_some()).collect();
    // The turn with its two tools stands beside its calls.
    let spans = phoenix.wait_for_spans(calls.len() + 3)?;
    let mut expected: Vec<_> = calls
        .iter()
        .map(|truth| (truth.request_model.clone().unwrap_or_default(), truth.usage.input, truth.usage.output))
        .collect();
    let mut shown = Vec::new();
    for span in spans.iter().filter(|span| span["spanKind"] == "llm") {
        let Some(text) = span["attributes"].as_str() else { bail!("no attributes: {span}") };
        let attributes: Value = serde_json::from_str(text)?;
        let model = attribute(span, &attributes, "gen_ai.request.model")?.as_str().unwrap_or_default().to_owned();
        shown.push((model, span["tokenCountPrompt"].as_u64(), span["tokenCountCompletion"].as_u64()));
        // What Phoenix calls the model, and what it makes of our cost.
        ensure!(attribute(span, &attributes, "llm.model_name")?.is_string(), "{attributes}");
        ensure!(attribute(span, &attributes, "llmtap.cost.total")?.as_f64() > Some(0.0), "{attributes}");
        // The conversation, from what was asked to what was answered.
        let asked = attribute(span, &attributes, "llm.input_messages")?;
        let question = asked.pointer("/0/message/content").and_then(Value::as_str);
        ensure!(question.is_some_and(|text| text.starts_with("mock: ")), "{asked}");
        let answered = attribute(span, &attributes, "llm.output_messages")?;
        ensure!(answered.to_string().contains("The stream runs"), "{answered}");
        let own = span.pointer("/costSummary/total/cost").and_then(Value::as_f64);
        ensure!(own > Some(0.0), "Phoenix shows no cost: {span}");
    }
    expected.sort();
    shown.sort();
    ensure!(shown == expected, "{shown:?}\n{expected:?}");
    let tools = spans.iter().filter(|span| span["spanKind"] == "tool").count();
    ensure!(tools == 2, "{tools} tools");
    println!("{} calls, {tools} tools", shown.len());
    // To look at: LLMTAP_SCREENSHOT=/tmp/phoenix makes /tmp/phoenix-spans.png and /tmp/phoenix-trace.png, of one call.
    if let Some(start) = std::env::var_os("LLMTAP_SCREENSHOT") {
        let call = spans.iter().find(|span| span["name"] == "chat gpt-5").context("no call of gpt-5")?;
        let trace = call.pointer("/context/traceId").and_then(Value::as_str).context("no trace")?;
        for (name, page) in [("spans", "spans".to_owned()), ("trace", format!("traces/{trace}"))] {
            let file = format!("{}-{name}.png", start.display());
            phoenix.screenshot(&page, Path::new(&file))?;
        }
    }
    Ok(())
}
