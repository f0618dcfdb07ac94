//! The binary for aarch64, under qemu's emulation of a program.

use std::{fs, path::PathBuf, process::Command};

use anyhow::ensure;
use tests::harness::{Bench, Finished, finish, llmtap, untraceable, workspace};

use crate::is_there;

const EMULATOR: &str = "qemu-aarch64";

fn binary() -> Option<PathBuf> {
    let binary = workspace().join("target/aarch64-unknown-linux-musl/dist/llmtap");
    let why = match (binary.exists(), is_there(EMULATOR)) {
        (true, true) => return Some(binary),
        (false, _) => "no binary for aarch64: `cargo xtask dist binaries` makes it",
        (_, false) => "no qemu-aarch64 (Debian package qemu-user)",
    };
    println!("skipped: {why}");
    None
}

fn emulated(binary: &PathBuf, arguments: &[&str]) -> anyhow::Result<Finished> {
    finish(Command::new(EMULATOR).arg(binary).args(arguments))
}

/// Every recording of the tests' data, all dialects.
#[test]
fn it_reads_every_dialect_as_this_machine_does() -> anyhow::Result<()> {
    let Some(binary) = binary() else { return Ok(()) };
    let mut count = 0;
    for dialect in fs::read_dir(workspace().join("tests/fixtures"))? {
        for case in fs::read_dir(dialect?.path())? {
            let recording = case?.path().join("capture.jsonl");
            if !recording.exists() {
                continue;
            }
            let arguments = ["replay", "--output", "jsonl", &recording.display().to_string()];
            let (here, there) = (finish(Command::new(llmtap()?).args(arguments))?, emulated(&binary, &arguments)?);
            ensure!(here.status.success() && here.stdout == there.stdout, "{arguments:?}: {}", there.stderr);
            count += 1;
        }
    }
    ensure!(count > 50, "only {count} recordings");
    println!("{count} recordings, the same bytes");
    Ok(())
}

/// The same bytes from a recording that real clients made here.
#[test]
fn it_replays_as_this_machine_does() -> anyhow::Result<()> {
    let Some(binary) = binary() else { return Ok(()) };
    if let Some(why) = untraceable() {
        println!("skipped: {why}");
        return Ok(());
    }
    let bench = Bench::new()?;
    let recording = bench.path("session.jsonl.zst").display().to_string();
    bench.run_traced(&["--record", &recording], &bench.script("openai_sync.py", &["plain", "stream", "tools"])?)?;
    for output in ["jsonl", "pretty"] {
        let arguments = ["replay", "--output", output, &recording];
        let here = finish(Command::new(llmtap()?).args(arguments))?;
        let there = emulated(&binary, &arguments)?;
        ensure!(here.status.success() && there.status.success(), "{}\n{}", here.stderr, there.stderr);
        ensure!(!here.stdout.is_empty() && here.stdout == there.stdout, "{}\n---\n{}", here.stdout, there.stdout);
        println!("{output}: {} bytes, the same", there.stdout.len());
    }
    Ok(())
}

#[test]
fn it_says_what_it_cannot_do() -> anyhow::Result<()> {
    let Some(binary) = binary() else { return Ok(()) };
    let version = emulated(&binary, &["--version"])?;
    ensure!(version.stdout == format!("llmtap {}\n", env!("CARGO_PKG_VERSION")), "{}", version.stderr);
    let traced = emulated(&binary, &["trace", "--pid", "1", "--duration", "1s"])?;
    ensure!(traced.status.code() == Some(77), "{}: {}", traced.status, traced.stderr);
    ensure!(
        traced.stderr == "llmtap: live tracing is for x86-64 machines, and this is aarch64: replay works here\n",
        "{}",
        traced.stderr
    );
    Ok(())
}
