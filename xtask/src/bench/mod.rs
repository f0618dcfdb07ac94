//! What llmtap costs, each figure beside a baseline of the same run: hooks, a real client, the user side, memory,
//! and what a node needs for a given traffic.
//!
//! Builds are release builds. A busy machine is expected: variants take turns, processor time is measured rather than
//! the clock where both would do, and medians are shown.

mod attach;
mod capacity;
mod client;
mod hooks;
mod memory;
mod replay;
mod session;
mod sink;

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail, ensure};

use crate::setup;

/// One part of the benchmark.
struct Part {
    name: &'static str,
    what: &'static str,
    root: bool,
    run: fn(&Places) -> Result<Vec<Goal>>,
}

const PARTS: [Part; 6] = [
    Part { name: "hooks", what: "the hooks, per SSL_write and SSL_read", root: true, run: hooks::run },
    Part {
        name: "attach",
        what: "starts of programs, many processes, others beside them",
        root: true,
        run: attach::run,
    },
    Part { name: "client", what: "the real OpenAI client, streaming", root: true, run: client::run },
    Part { name: "replay", what: "the user side, on one core", root: false, run: replay::run },
    Part { name: "memory", what: "resident memory and start-up", root: true, run: memory::run },
    Part { name: "capacity", what: "what a node needs for calls and streams", root: true, run: capacity::run },
];

/// Where what is measured stands.
struct Places {
    binaries: PathBuf,
    llmtap: PathBuf,
    examples: PathBuf,
}

/// A figure with its goal.
struct Goal {
    what: String,
    figure: f64,
    /// As it is written: `<= 0.25`.
    goal: &'static str,
    met: bool,
}

impl Goal {
    fn at_most(what: impl Into<String>, figure: f64, limit: f64, goal: &'static str) -> Self {
        Self { what: what.into(), figure, goal, met: figure <= limit }
    }

    fn at_least(what: impl Into<String>, figure: f64, limit: f64, goal: &'static str) -> Self {
        Self { what: what.into(), figure, goal, met: figure >= limit }
    }
}

/// Runs the named parts, or all. A missed goal is shown, and is no error: figures of a busy machine decide nothing.
pub fn run(names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !PARTS.iter().any(|part| part.name == **name)) {
        bail!("no part is called {unknown}; there are {}", PARTS.map(|part| part.name).join(", "));
    }
    let root = setup::output(Command::new("id").arg("-u"))? == "0";
    let places = build()?;
    let mut goals = Vec::new();
    for part in PARTS.iter().filter(|part| names.is_empty() || names.iter().any(|name| name == part.name)) {
        println!("\n== {}: {}", part.name, part.what);
        if part.root && !root {
            println!("skipped: needs root");
            continue;
        }
        goals.extend((part.run)(&places)?);
    }
    println!("\n{:<72} {:>8}  {:<10}", "goal", "figure", "wanted");
    for Goal { what, figure, goal, met } in &goals {
        println!("{what:<72} {figure:>8.3}  {goal:<10} {}", if *met { "met" } else { "MISSED" });
    }
    Ok(())
}

fn build() -> Result<Places> {
    println!("building what is measured (release; minutes the first time)");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let examples = ["--example", "hook_cost", "--example", "replay_cost"];
    for arguments in
        [&["-p", "tracer-user", "-p", "tests", "--bins"][..], &[&["-p", "tracer-user"], &examples[..]].concat()]
    {
        let status = Command::new(&cargo)
            .current_dir(setup::root())
            .args(["build", "--release", "--quiet"])
            .args(arguments)
            .status()?;
        ensure!(status.success(), "the build failed; its output above says why");
    }
    let release = setup::root().join("target/release");
    Ok(Places { llmtap: release.join("llmtap"), examples: release.join("examples"), binaries: release })
}

/// The JSON lines that a measuring program prints.
fn json_lines(command: &mut Command) -> Result<Vec<serde_json::Value>> {
    let text = setup::output(command)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn number(value: &serde_json::Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or(f64::NAN)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}
