//! The systemd unit: systemd's own opinion of it, and what a traced run asks of the kernel under it.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context, ensure};
use tests::{
    harness::{Bench, finish, llmtap, untraceable},
    tracer::Tracer,
};

use crate::{is_there, project, text};

const UNIT: &str = "deploy/systemd/llmtap.service";

/// systemd's exposure level of the unit, in tenths; a service without any hardening has 96.
const EXPOSURE: &str = "42";

#[test]
fn systemd_accepts_the_unit() -> anyhow::Result<()> {
    if !is_there("systemd-analyze") {
        println!("skipped: no systemd-analyze (Debian package systemd)");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let unit = folder.path().join("llmtap.service");
    // It must name programs that exist.
    fs::write(&unit, text(&project(UNIT))?.replace("/usr/bin/llmtap", &llmtap()?.display().to_string()))?;
    let verified = finish(Command::new("systemd-analyze").arg("verify").arg(&unit))?;
    // Other units of the machine are not ours to judge.
    let own: Vec<&str> = verified.stderr.lines().filter(|line| line.contains("llmtap.service")).collect();
    ensure!(verified.status.success() && own.is_empty(), "{}", verified.stderr);
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE}")]).arg(&unit);
    let security = finish(&mut security)?;
    ensure!(security.status.success(), "{}", security.stdout);
    println!("{}", security.stdout.lines().last().unwrap_or_default());
    Ok(())
}

/// What the filter does not let pass would fail with EPERM under systemd alone, where nobody looks.
#[test]
fn the_unit_lets_every_system_call_pass_that_tracing_makes() -> anyhow::Result<()> {
    if let Some(why) = untraceable().or_else(missing) {
        println!("skipped: {why}");
        return Ok(());
    }
    let unit = text(&project(UNIT))?;
    let filter = unit.lines().find_map(|line| line.strip_prefix("SystemCallFilter=")).context("no filter")?;
    let mut allowed = BTreeSet::new();
    for item in filter.split(' ') {
        expand(item, &mut allowed)?;
    }
    ensure!(!allowed.contains("mount") && !allowed.contains("ptrace") && allowed.contains("execve"), "{allowed:?}");

    let bench = Bench::new()?;
    let mut client = bench.waiting("openai_sync.py", &["wait", "plain", "stream"])?;
    let calls = bench.path("calls");
    let mut tracer = Command::new("strace");
    tracer.args(["--follow-forks", "--seccomp-bpf", "--quiet=all", "--signal=none", "--output"]).arg(&calls);
    tracer.arg(llmtap()?).args(["trace", "--pid", &client.id().to_string(), "-v", "--output", "jsonl", "-o"]);
    tracer.arg(bench.path("spans.jsonl")).args(["--metrics-listen", "127.0.0.1:0"]);
    let tracer = Tracer::start(&mut tracer)?;
    client.tell("go")?;
    client.finish()?;
    // strace hands no signals on: its first child is the tracer.
    let children = fs::read_to_string(format!("/proc/{}/task/{0}/children", tracer.id()))?;
    tracer.stop_by(children.split_whitespace().next().context("no child")?.parse()?)?;
    bench.expect_exact(2)?;

    let made: BTreeSet<String> = text(&calls)?.lines().filter_map(call).collect();
    ensure!(["bpf", "capset", "seccomp", "fanotify_init"].iter().all(|one| made.contains(*one)), "{made:?}");
    let refused: Vec<&String> = made.iter().filter(|one| !allowed.contains(*one)).collect();
    ensure!(refused.is_empty(), "the filter refuses {refused:?}");
    println!("{} system calls, all let pass", made.len());
    Ok(())
}

fn missing() -> Option<String> {
    let missing = ["strace", "systemd-analyze"].into_iter().find(|name| !is_there(name))?;
    Some(format!("no {missing} (Debian packages strace and systemd)"))
}

/// The system calls of a group, and of the groups in it, as systemd knows them.
fn expand(item: &str, into: &mut BTreeSet<String>) -> anyhow::Result<()> {
    if !item.starts_with('@') {
        into.insert(item.to_owned());
        return Ok(());
    }
    let listed = finish(Command::new("systemd-analyze").args(["--no-pager", "syscall-filter", item]))?;
    ensure!(listed.status.success(), "{}", listed.stderr);
    let members =
        listed.stdout.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    members.into_iter().try_for_each(|member| expand(member, into))
}

/// Of a line such as `1234 openat(AT_FDCWD, …) = 3`; lines that go on with a call name it again.
fn call(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(' ')?;
    let name: String = rest.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!name.is_empty() && rest.trim_start().as_bytes().get(name.len()) == Some(&b'(')).then_some(name)
}
