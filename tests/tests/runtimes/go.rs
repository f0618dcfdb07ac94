//! Go programs, built on the spot by four releases of its compiler: as they are, without symbols, and position-independent.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;
use tests::{
    harness::{Bench, clients, finish, untraceable, workspace},
    mock::{Ended, Options},
};

/// What builds are made with.
const PLAIN: &[&str] = &[];
const STRIPPED: &[&str] = &["-trimpath", "-ldflags=-s -w"];
const POSITION_INDEPENDENT: &[&str] = &["-buildmode=pie", "-trimpath", "-ldflags=-s -w"];

/// Every way of the client, with the calls that it makes. After an abort the mock may close the HTTP/2 connection: last.
const SCENARIOS: [&str; 7] = ["plain", "stream", "refused", "concurrent", "long", "reuse", "abort"];
const CALLS: usize = 67;

/// The client of `tests/clients/go`. The build needs nothing but the toolchain; what it has compiled of the standard
/// library is kept.
fn build(toolchain: &Path, flags: &[&str], program: &Path) -> anyhow::Result<()> {
    let root = toolchain.canonicalize()?;
    let kept = workspace().join("target/runtimes/go-cache");
    let built = finish(
        Command::new(root.join("bin/go"))
            .arg("build")
            .args(flags)
            .arg("-o")
            .arg(program)
            .arg(".")
            .current_dir(clients().join("go"))
            .env("GOROOT", &root)
            .env("GOCACHE", &kept)
            .env("GOPATH", kept.join("path"))
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local")
            .env("CGO_ENABLED", "0"),
    )?;
    ensure!(built.status.success(), "go build: {}", built.stderr);
    Ok(())
}

/// The toolchain, or why a test cannot run without it.
fn toolchain(release: &str) -> Result<PathBuf, String> {
    let folder = workspace().join("target/runtimes").join(format!("go-{release}")).join("go");
    match untraceable() {
        Some(why) => Err(why),
        None if folder.exists() => Ok(folder),
        None => Err(format!("no {}; `cargo xtask test runtimes` fetches it", folder.display())),
    }
}

/// Runs the client under `llmtap run`.
fn traced(bench: &Bench, toolchain: &Path, flags: &[&str], options: &[&str], scenarios: &[&str]) -> anyhow::Result<()> {
    let program = bench.path("client");
    build(toolchain, flags, &program)?;
    let line: Vec<String> =
        [&*program.display().to_string()].iter().chain(scenarios).map(|word| (*word).to_owned()).collect();
    let finished = bench.run_traced(options, &line)?;
    ensure!(finished.stdout == "done\n", "{}\n{}", finished.stdout, finished.stderr);
    ensure!(!finished.stderr.contains("untraced"), "{}", finished.stderr);
    Ok(())
}

/// Calls made and spans seen agree in every field over HTTP/1.1 and over HTTP/2, from the first call on.
fn exact(release: &str, flags: &[&str]) -> anyhow::Result<()> {
    let toolchain = match toolchain(release) {
        Ok(toolchain) => toolchain,
        Err(why) => return skip(&why),
    };
    for http2 in [false, true] {
        let bench = Bench::with(Options { http2, ..Options::default() })?;
        traced(&bench, &toolchain, flags, &[], &SCENARIOS)?;
        let report = bench.expect_exact(CALLS)?;
        let version = if http2 { "2" } else { "1.1" };
        for span in bench.spans()?.iter().filter(|span| span.is_call()) {
            ensure!(span.text("network.protocol.version") == Some(version), "{}", span.name);
            ensure!(span.text("llmtap.completeness") == Some("full"), "{}", span.name);
        }
        ensure!(bench.truth().iter().any(|truth| truth.ended == Ended::ClientGone), "no stream was aborted");
        print!("Go {release} {} HTTP/{version}: {report}", flags.join(" "));
    }
    Ok(())
}

fn skip(why: &str) -> anyhow::Result<()> {
    println!("skipped: {why}");
    Ok(())
}

/// Three calls, each by a server in the same process: it is a client twice and a server once.
#[test]
fn go_1_27_as_a_server() -> anyhow::Result<()> {
    let toolchain = match toolchain("1.27.3") {
        Ok(toolchain) => toolchain,
        Err(why) => return skip(&why),
    };
    for (options, ends) in [(&[][..], 2), (&["--server-side"][..], 3)] {
        let bench = Bench::new()?;
        traced(&bench, &toolchain, STRIPPED, options, &["gateway"])?;
        let mut tokens: Vec<u64> =
            bench.spans()?.iter().filter_map(|span| span.integer("gen_ai.usage.output_tokens")).collect();
        tokens.sort_unstable();
        let expected: Vec<u64> = [5, 6, 7].iter().flat_map(|tokens| vec![*tokens; ends]).collect();
        ensure!(tokens == expected, "{options:?}: {tokens:?}");
    }
    Ok(())
}

#[test]
fn go_1_19_stripped() -> anyhow::Result<()> {
    exact("1.19", STRIPPED)
}

#[test]
fn go_1_19_position_independent() -> anyhow::Result<()> {
    exact("1.19", POSITION_INDEPENDENT)
}

#[test]
fn go_1_21_stripped() -> anyhow::Result<()> {
    exact("1.21.13", STRIPPED)
}

#[test]
fn go_1_24_stripped() -> anyhow::Result<()> {
    exact("1.24.11", STRIPPED)
}

#[test]
fn go_1_27() -> anyhow::Result<()> {
    exact("1.27.3", PLAIN)
}

#[test]
fn go_1_27_stripped() -> anyhow::Result<()> {
    exact("1.27.3", STRIPPED)
}

#[test]
fn go_1_27_position_independent() -> anyhow::Result<()> {
    exact("1.27.3", POSITION_INDEPENDENT)
}
