//! What agents do beside calling models: requests of the Model Context Protocol, queries of vector stores.

use std::process::Command;

use anyhow::{Context, ensure};
use tests::{
    harness::{Bench, Running, wait_for},
    spans::Span,
};

use crate::bench;

/// The SDK's own server, with a certificate that the bench's clients trust. It is not traced.
fn server(bench: &Bench, options: &[&str]) -> anyhow::Result<(Running, u16)> {
    let pem = bench.path("server.pem").display().to_string();
    let line = bench.script("mcp_server.py", &[&[pem.as_str()], options].concat())?;
    let server = Running::start(Command::new(&line[0]).args(&line[1..]))?;
    let port = wait_for("the MCP server", || server.stdout().lines().next()?.parse().ok())?;
    Ok((server, port))
}

/// What is told of each request: its name and how it failed.
fn told(spans: &[Span]) -> Vec<(String, Option<String>)> {
    let mut spans: Vec<&Span> = spans.iter().filter(|span| span.text("mcp.method.name").is_some()).collect();
    spans.sort_by_key(|span| span.start);
    spans.iter().map(|span| (span.name.clone(), span.text("error.type").map(str::to_owned))).collect()
}

fn trace(bench: &Bench, url: &str, mode: &str) -> anyhow::Result<Vec<Span>> {
    let requests = ["tools", "call=weather", "call=fails", "call=nothing"];
    let script = bench.script("mcp_client.py", &[&[url, mode], requests.as_slice()].concat())?;
    let finished = bench.run_traced(&[], &script)?;
    ensure!(finished.stdout.ends_with("done\n"), "{}\n{}", finished.stdout, finished.stderr);
    bench.spans()
}

fn expect(spans: &[Span], wanted: &[(&str, Option<&str>)]) -> anyhow::Result<()> {
    let told = told(spans);
    let found: Vec<(&str, Option<&str>)> = told.iter().map(|(name, error)| (name.as_str(), error.as_deref())).collect();
    ensure!(found == wanted, "{found:#?}\nnot {wanted:#?}");
    for span in spans.iter().filter(|span| span.text("mcp.method.name").is_some()) {
        ensure!(span.end >= span.start, "{}", span.name);
        ensure!(span.text("llmtap.completeness") == Some("full"), "{}: {:?}", span.name, span.attributes);
        ensure!((span.status == 2) == span.text("error.type").is_some(), "{}: {}", span.name, span.status);
        ensure!(!format!("{span:?}").contains("Dresden"), "{} tells an argument", span.name);
    }
    Ok(())
}

#[test]
fn mcp_sdk_without_sessions() -> anyhow::Result<()> {
    let bench = bench!();
    let (_server, port) = server(&bench, &[])?;
    let spans = trace(&bench, &format!("https://localhost:{port}/mcp"), "auto")?;
    expect(
        &spans,
        &[
            ("server/discover", None),
            ("tools/list", None),
            ("tools/call weather", None),
            ("tools/call fails", Some("tool_error")),
            ("tools/call nothing", Some("tool_error")),
        ],
    )?;
    let call = spans.iter().find(|span| span.name == "tools/call weather").context("no call")?;
    ensure!(call.text("mcp.protocol.version") == Some("2026-07-28"), "{:?}", call.attributes);
    ensure!(call.text("gen_ai.tool.name") == Some("weather"), "{:?}", call.attributes);
    ensure!(call.text("mcp.session.id").is_none(), "{:?}", call.attributes);
    Ok(())
}

#[test]
fn mcp_sdk_with_sessions() -> anyhow::Result<()> {
    for options in [[].as_slice(), &["json"]] {
        let bench = bench!();
        let (_server, port) = server(&bench, options)?;
        let spans = trace(&bench, &format!("https://localhost:{port}/mcp"), "legacy")?;
        expect(
            &spans,
            &[
                ("initialize", None),
                ("notifications/initialized", None),
                ("tools/list", None),
                ("tools/call weather", None),
                ("tools/call fails", Some("tool_error")),
                ("tools/call nothing", Some("tool_error")),
            ],
        )?;
        let sessions: Vec<_> = spans.iter().map(|span| span.text("mcp.session.id")).collect();
        ensure!(sessions[0].is_some() && sessions.iter().all(|id| *id == sessions[0]), "{sessions:?}");
    }
    Ok(())
}

#[test]
fn mcp_sdk_over_two_channels() -> anyhow::Result<()> {
    let bench = bench!();
    let (_server, port) = server(&bench, &["sse"])?;
    let spans = trace(&bench, &format!("https://localhost:{port}/sse"), "sse")?;
    expect(
        &spans,
        &[
            ("initialize", None),
            ("notifications/initialized", None),
            ("tools/list", None),
            ("tools/call weather", None),
            ("tools/call fails", Some("tool_error")),
            ("tools/call nothing", Some("tool_error")),
        ],
    )
}

#[test]
fn mcp_sdk_with_the_mock() -> anyhow::Result<()> {
    for (mode, first) in [("auto", "server/discover"), ("legacy", "initialize")] {
        let bench = bench!();
        let spans = trace(&bench, &format!("{}/mcp", bench.mock.url()), mode)?;
        let told = told(&spans);
        ensure!(told.first().is_some_and(|(name, error)| name == first && error.is_none()), "{told:?}");
        let last = [
            ("tools/call weather", None),
            ("tools/call fails", Some("tool_error")),
            ("tools/call nothing", Some("-32602")),
        ];
        let found: Vec<_> = told.iter().map(|(name, error)| (name.as_str(), error.as_deref())).collect();
        ensure!(found.ends_with(&last), "{found:?}");
    }
    Ok(())
}

#[test]
fn an_agent_that_looks_something_up_is_one_trace() -> anyhow::Result<()> {
    let bench = bench!();
    bench.run_traced(&[], &bench.script("retrieval.py", &["agent"])?)?;
    let spans = bench.spans()?;
    let one = |name: &str| spans.iter().find(|span| span.name == name).with_context(|| format!("no span {name}"));
    let (root, tool) = (one("invoke_agent")?, one("execute_tool search_rivers")?);
    let (embeddings, retrieval) = (one("embeddings text-embedding-3-small")?, one("retrieval rivers")?);
    ensure!(tool.parent_span_id.as_ref() == Some(&root.span_id), "the tool is not of the turn");
    for span in [embeddings, retrieval] {
        ensure!(span.parent_span_id.as_ref() == Some(&tool.span_id), "{} is not of the tool's run", span.name);
        ensure!(tool.start <= span.start && span.end <= tool.end, "{} is not within the tool's run", span.name);
    }
    ensure!(spans.len() == 6 && spans.iter().all(|span| span.trace_id == root.trace_id), "{} spans", spans.len());
    ensure!(retrieval.text("db.system.name") == Some("qdrant"), "{:?}", retrieval.attributes);
    ensure!(retrieval.integer("gen_ai.retrieval.top_k") == Some(2), "{:?}", retrieval.attributes);
    ensure!(retrieval.integer("db.response.returned_rows") == Some(2), "{:?}", retrieval.attributes);
    Ok(())
}

#[test]
fn vector_stores_and_their_errors() -> anyhow::Result<()> {
    let bench = bench!();
    bench.run_traced(&[], &bench.script("retrieval.py", &["alone", "stores"])?)?;
    let mut spans = bench.spans()?;
    spans.sort_by_key(|span| span.start);
    let told: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.text("error.type"))).collect();
    let wanted = [
        ("embeddings text-embedding-3-small", None),
        ("retrieval rivers", None),
        ("retrieval lakes", Some("404")),
        ("retrieval rivers", None),
        ("retrieval lakes", Some("NotFoundError")),
    ];
    ensure!(told == wanted, "{told:?}");
    ensure!(spans.iter().all(|span| span.parent_span_id.is_none()), "nothing says what belongs together");
    Ok(())
}
