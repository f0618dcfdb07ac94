//! Plain HTTP on chosen ports: unmodified clients of a mock without TLS.

use anyhow::ensure;
use tests::{
    compare::Report,
    harness::{Bench, untraceable},
    mock::Options,
};

/// A mock without TLS, or none with the reason printed.
fn bench() -> anyhow::Result<Option<(Bench, String)>> {
    if let Some(why) = untraceable() {
        println!("skipped: {why}");
        return Ok(None);
    }
    let bench = Bench::with(Options { plaintext: true, ..Options::default() })?;
    let port = bench.mock.url().rsplit(':').next().unwrap_or_default().to_owned();
    Ok(Some((bench, port)))
}

/// Traces a client script with its port read, and compares.
fn exact(script: &str, scenarios: &[&str], least: usize) -> anyhow::Result<Option<Report>> {
    let Some((bench, port)) = bench()? else { return Ok(None) };
    let finished = bench.run_traced(&["--plaintext", &port], &bench.script(script, scenarios)?)?;
    ensure!(finished.stdout == "done\n", "{}\n{}", finished.stdout, finished.stderr);
    let report = bench.expect_exact(least)?;
    let port: u64 = port.parse()?;
    for span in bench.spans()?.iter().filter(|span| span.is_call()) {
        ensure!(span.text("llmtap.tls.library") == Some("none"), "{}: not plaintext", span.name);
        ensure!([Some(port), Some(11434)].contains(&span.integer("server.port")), "{}: another port", span.name);
        ensure!(span.text("server.address").is_some(), "{}: no address", span.name);
    }
    print!("{script}, plain HTTP: {report}");
    Ok(Some(report))
}

#[test]
fn ollama_sdk() -> anyhow::Result<()> {
    exact("ollama_client.py", &[], 10)?;
    Ok(())
}
