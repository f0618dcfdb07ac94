//! Plain HTTP on chosen ports: unmodified clients of a mock without TLS.

use std::{process::Command, time::Duration};

use anyhow::ensure;
use tests::{
    compare,
    harness::{Bench, Running, llmtap, untraceable, wait_for},
    mock::Options,
    tracer::Tracer,
};

use crate::stacks::{has, line};

/// A mock without TLS and its port, or none with the reason printed.
fn bench() -> anyhow::Result<Option<(Bench, String)>> {
    if let Some(why) = untraceable() {
        println!("skipped: {why}");
        return Ok(None);
    }
    let bench = Bench::with(Options { plaintext: true, ..Options::default() })?;
    let port = port(&bench);
    let probe = ["trace", "--pid", "1", "--duration", "1ms", "--output", "none", "--plaintext", &port];
    let tried = Command::new(llmtap()?).args(probe).output()?;
    if tried.status.code() == Some(77) {
        println!("skipped: {}", String::from_utf8_lossy(&tried.stderr).trim());
        return Ok(None);
    }
    Ok(Some((bench, port)))
}

fn port(bench: &Bench) -> String {
    bench.mock.url().rsplit(':').next().unwrap_or_default().to_owned()
}

/// Traces a client script with the mock's port read, and compares.
fn exact(script: &str, scenarios: &[&str], least: usize) -> anyhow::Result<()> {
    let Some((bench, port)) = bench()? else { return Ok(()) };
    let line = bench.script(script, scenarios)?;
    compared(script, &bench, &port, &line, least)
}

fn compared(what: &str, bench: &Bench, port: &str, line: &[String], least: usize) -> anyhow::Result<()> {
    let finished = bench.run_traced(&["--plaintext", port], line)?;
    ensure!(finished.stdout == "done\n", "{}\n{}", finished.stdout, finished.stderr);
    let report = bench.expect_exact(least)?;
    // Some name another one in `Host`.
    let ports = [port.parse().ok(), Some(11434)];
    for span in bench.spans()?.iter().filter(|span| span.is_call()) {
        ensure!(span.text("llmtap.tls.library") == Some("none"), "{}: not plaintext", span.name);
        ensure!(ports.contains(&span.integer("server.port")), "{}: another port", span.name);
        ensure!(span.text("server.address").is_some(), "{}: no address", span.name);
    }
    print!("{what}, plain HTTP: {report}");
    Ok(())
}

#[test]
fn ollama_sdk() -> anyhow::Result<()> {
    let scenarios = ["plain", "stream", "thinking", "tools", "embeddings", "errors", "abort", "asynchronous"];
    exact("ollama_client.py", &scenarios, 15)
}

#[test]
fn openai_sdk() -> anyhow::Result<()> {
    exact("openai_sync.py", &["plain", "stream", "tools", "stream_tools", "encodings", "framings", "retry"], 20)
        .map(drop)
}

#[test]
fn openai_sdk_streams_that_end_early() -> anyhow::Result<()> {
    exact("openai_sync.py", &["abort", "broken", "plain"], 5)
}

#[test]
fn openai_asyncio_fifty_at_once() -> anyhow::Result<()> {
    exact("openai_asyncio.py", &["plain", "cancel", "concurrent=2", "concurrent_close"], 150)
}

#[test]
fn keep_alive_and_large_bodies() -> anyhow::Result<()> {
    exact("sockets.py", &["keep_alive"], 12)
}

#[test]
fn twenty_threads() -> anyhow::Result<()> {
    exact("sockets.py", &["threads"], 200)
}

#[test]
fn vectors_and_single_bytes() -> anyhow::Result<()> {
    exact("sockets.py", &["in_pieces"], 3)
}

#[test]
fn curl() -> anyhow::Result<()> {
    exact("curl.sh", &[], 26)
}

#[test]
fn node_fetch() -> anyhow::Result<()> {
    if Command::new("node").arg("--version").output().is_err() {
        println!("skipped: node is not installed");
        return Ok(());
    }
    exact("fetch.mjs", &[], 24)
}

/// Their TLS is their own, which no hook reaches: this way they can be traced.
#[test]
fn java() -> anyhow::Result<()> {
    let Some((bench, port)) = bench()? else { return Ok(()) };
    if has("java", &["--list-modules"], "default-jdk-headless") {
        compared("Java", &bench, &port, &line("java", "runtimes/Client.java", &[]), 7)?;
    }
    Ok(())
}

#[test]
fn erlang() -> anyhow::Result<()> {
    let Some((bench, port)) = bench()? else { return Ok(()) };
    if has("erl", &["-noshell", "-eval", "{ok, _} = application:ensure_all_started(inets), halt()."], "erlang-inets") {
        compared("Erlang", &bench, &port, &line("escript", "runtimes/client.erl", &[]), 7)?;
    }
    Ok(())
}

/// What goes from a file into the socket passes no buffer: it is not made up, and said.
#[test]
fn a_body_that_is_sent_as_a_file_is_said_to_be_missing() -> anyhow::Result<()> {
    let Some((bench, port)) = bench()? else { return Ok(()) };
    let finished =
        bench.run_traced(&["--plaintext", &port], &bench.script("sockets.py", &["sent_as_file", "keep_alive"])?)?;
    let spans = bench.spans()?;
    let calls: Vec<_> = spans.iter().filter(|span| span.is_call()).collect();
    ensure!(calls.len() == 13, "{} calls, not 13", calls.len());
    let partial = calls.iter().filter(|call| call.text("llmtap.completeness") != Some("full")).count();
    ensure!(partial == 1, "{partial} calls are not whole");
    ensure!(finished.stderr.contains("lost"), "nothing is said: {}", finished.stderr);
    Ok(())
}

/// TLS on a chosen port is the TLS hooks': nothing is told twice, nothing is taken for HTTP.
#[test]
fn tls_on_the_port_is_told_once() -> anyhow::Result<()> {
    let bench = crate::bench!();
    let port = port(&bench);
    let script = bench.script("openai_sync.py", &["plain", "stream", "tools"])?;
    bench.run_traced(&["--plaintext", &port], &script)?;
    bench.expect_exact(4)?;
    let spans = bench.spans()?;
    ensure!(
        spans.iter().all(|span| span.text("llmtap.tls.library") != Some("none")),
        "ciphertext was read as plaintext"
    );
    Ok(())
}

#[test]
fn without_the_option_nothing_is_seen() -> anyhow::Result<()> {
    let Some((bench, port)) = bench()? else { return Ok(()) };
    let other = (port.parse::<u16>()? ^ 1).to_string();
    for options in [&[][..], &["--plaintext", &other]] {
        bench.run_traced(options, &bench.script("sockets.py", &["keep_alive"])?)?;
        ensure!(bench.spans()?.iter().all(|span| !span.is_call()), "{options:?}: a call");
    }
    Ok(())
}

#[test]
fn a_process_that_is_no_target_is_not_seen() -> anyhow::Result<()> {
    let Some((bench, port)) = bench()? else { return Ok(()) };
    let line = bench.script("sockets.py", &["keep_alive=3"])?;
    let mut command = Command::new(&line[0]);
    let other = Running::start(bench.equip(command.args(&line[1..])))?;
    bench.run_traced(&["--plaintext", &port], &bench.script("ollama_client.py", &["plain", "stream"])?)?;
    ensure!(other.finish()?.status.success(), "the other client failed");
    let (mut calls, others): (Vec<_>, Vec<_>) =
        bench.truth().into_iter().partition(|truth| truth.request_model.as_deref() == Some("qwen3:8b"));
    ensure!(others.len() == 36, "{} calls of the other", others.len());
    calls.retain(|truth| truth.provider.is_some());
    let report = compare::compare(&calls, &bench.spans()?);
    ensure!(report.exact() && report.calls == 4, "{report}");
    Ok(())
}

/// A connection that was open before: its calls from then on are whole.
#[test]
fn an_open_connection_is_joined() -> anyhow::Result<()> {
    let Some((bench, port)) = bench()? else { return Ok(()) };
    let mut client = bench.waiting("sockets.py", &["waits"])?;
    let before = bench.truth().len();
    let tracer = Tracer::start(bench.tracer()?.args(["--plaintext", &port, "--pid", &client.id().to_string()]))?;
    // The client has a libssl, too: once that is hooked, the process is a target.
    wait_for("hooks", || tracer.stderr().contains("hooked").then_some(()))?;
    client.tell("go")?;
    ensure!(client.finish()?.status.success(), "the client failed");
    std::thread::sleep(Duration::from_millis(300));
    tracer.stop()?;
    let report = compare::compare(&bench.truth()[before..], &bench.spans()?);
    ensure!(report.exact() && report.calls == 2, "{report}");
    Ok(())
}

#[test]
fn a_port_must_be_one() -> anyhow::Result<()> {
    for wrong in ["0", "65536", "http", "8000,x"] {
        let output = Command::new(llmtap()?).args(["trace", "--all", "--plaintext", wrong]).output()?;
        ensure!(output.status.code() == Some(2), "{wrong}: {}", output.status);
    }
    Ok(())
}
