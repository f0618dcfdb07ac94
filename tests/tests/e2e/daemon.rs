//! The node's agent: what it selects, where it tells it, and what a new configuration does to it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tests::{
    compare,
    environment::Python,
    harness::{Bench, Finished, Running, clients, finish, llmtap, wait_for, workspace},
    mock::Truth,
    receiver::Receiver,
    spans::{self, Span},
    tracer::{Daemon, free_address, page},
};

use crate::bench;

/// An interpreter of the test's own: what is chosen by its path is nobody else's.
pub fn interpreter(bench: &Bench, name: &str) -> anyhow::Result<PathBuf> {
    let original = fs::canonicalize(Python::Clients.prepared()?)?;
    let copy = bench.path(name);
    fs::copy(original, &copy)?;
    Ok(copy)
}

/// `many.py`, with what it is called by the mock as its last word.
pub fn many(bench: &Bench, interpreter: &Path, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(interpreter);
    command.arg(clients().join("many.py")).args(arguments);
    bench.equip(&mut command);
    Ok(command)
}

pub fn succeeds(mut command: Command) -> anyhow::Result<()> {
    let finished = finish(&mut command)?;
    ensure!(finished.stdout.ends_with("done\n"), "{}\n{}", finished.stdout, finished.stderr);
    Ok(())
}

pub fn exported(receiver: &Receiver) -> anyhow::Result<Vec<Span>> {
    let mut found = Vec::new();
    for export in receiver.received().iter().filter(|export| export.path == "/v1/traces") {
        spans::collect(&export.json()?, &mut found)?;
    }
    Ok(found)
}

/// The spans must be those of the agent's calls, each once.
fn expect(truths: &[Truth], agents: &[&str], spans: &[Span], what: &str) -> anyhow::Result<usize> {
    let of_agents = |truth: &&Truth| truth.user_agent.as_deref().is_some_and(|agent| agents.contains(&agent));
    let wanted: Vec<Truth> = truths.iter().filter(of_agents).cloned().collect();
    let report = compare::compare(&wanted, spans);
    ensure!(report.exact(), "{what}:\n{report}");
    let calls = spans.iter().filter(|span| span.is_call()).count();
    ensure!(calls == wanted.len(), "{what}: {calls} spans of {} calls", wanted.len());
    let mut ids: Vec<&str> = spans.iter().map(|span| &*span.span_id).collect();
    ids.sort_unstable();
    ids.dedup();
    ensure!(ids.len() == spans.len(), "{what}: a span came twice");
    Ok(wanted.len())
}

fn check(text: &str, environment: &[(&str, &str)]) -> anyhow::Result<Finished> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("llmtap.yaml");
    fs::write(&file, text)?;
    let mut command = Command::new(llmtap()?);
    command.args(["daemon", "--check", "--config"]).arg(&file).envs(environment.iter().copied());
    finish(&mut command)
}

#[test]
fn a_file_is_checked_without_privileges() -> anyhow::Result<()> {
    let example = fs::read_to_string(workspace().join("deploy/llmtap.yaml"))?;
    for (text, environment, status, told) in [
        (example.as_str(), &[][..], 0, "valid"),
        ("log: {level: '${env:LLMTAP_TEST_LEVEL}'}\n", &[("LLMTAP_TEST_LEVEL", "debug")], 0, "valid"),
        (
            "log: {level: '${env:LLMTAP_TEST_LEVEL}'}\n",
            &[],
            2,
            "line 1: log.level: the variable LLMTAP_TEST_LEVEL is not set",
        ),
        (
            "log: {level: '${env:LLMTAP_TEST_LEVEL}'}\n",
            &[("LLMTAP_TEST_LEVEL", "s3cret")],
            2,
            "line 1: log.level: use `warn`, `info`",
        ),
        ("exporter: {}\n", &[], 2, "line 1: exporter: unknown key; did you mean `exporters`?"),
        (
            "exporters:\n  otlp:\n    - endpont: x\n",
            &[],
            2,
            "line 3: exporters.otlp[0].endpont: unknown key; did you mean `endpoint`?",
        ),
        ("exporters: {otlp: [{endpoint: 'localhost:4318'}]}\n", &[], 2, "exporters.otlp[0].endpoint is not a URL"),
        (
            "content: {capture: full, to: events}\n",
            &[],
            2,
            "content.to: nobody gets the events; add an exporter by OTLP or a file of jsonl to `exporters`",
        ),
        ("content: {capture: full, to: both}\nexporters: {jsonl: [{path: /none/spans.jsonl}]}\n", &[], 0, "valid"),
        ("content: {capture: none, to: events}\n", &[], 0, "valid"),
        ("prices: {file: /none/prices.json}\n", &[], 2, "prices.file: /none/prices.json"),
        ("select: [\n", &[], 2, "not YAML"),
    ] {
        let finished = check(text, environment)?;
        ensure!(finished.status.code() == Some(status), "{text}: {}: {}", finished.status, finished.stderr);
        let output = if status == 0 { &finished.stdout } else { &finished.stderr };
        ensure!(output.contains(told) && output.lines().count() == 1, "{text}: {output}");
        ensure!(!output.contains("s3cret"), "{output}");
    }
    let mut command = Command::new(llmtap()?);
    let missing = finish(command.args(["daemon", "--check", "--config", "/none/llmtap.yaml"]))?;
    ensure!(missing.status.code() == Some(2) && missing.stderr.contains("/none/llmtap.yaml"), "{}", missing.stderr);
    Ok(())
}

#[test]
fn selected_processes_are_told_to_every_exporter() -> anyhow::Result<()> {
    let bench = bench!();
    let receiver = Receiver::start(0)?;
    let (chosen, other) = (interpreter(&bench, "tap-python")?, interpreter(&bench, "other-python")?);
    let (metrics, health) = (free_address()?, free_address()?);
    let text = format!(
        "select:\n  include:\n    - exe: {}\n  exclude:\n    - command_line: {{regex: ' left-out$'}}\nexporters:\n  otlp:\n    \
         - {{endpoint: '{}', protocol: http/json, headers: {{x-tenant: blue}}}}\n  jsonl:\n    - path: {}\n  prometheus:\n    \
         - listen: '{metrics}'\nhealth: {{listen: '{health}'}}\n",
        chosen.display(),
        receiver.url(),
        bench.path("spans.jsonl").display(),
    );
    // It runs already when the daemon starts.
    let mut early = Running::start(&mut many(&bench, &chosen, &["1", "2", "1000", "early", "1"])?)?;
    early.wait_for_line("one has ended")?;
    let before = bench.mock.truth(Duration::ZERO).len();
    let daemon = Daemon::start(&bench, &text)?;
    println!("ready {} ms after its start (debug build unless LLMTAP_BIN says otherwise)", daemon.took.as_millis());
    ensure!(daemon.took < Duration::from_secs(10), "ready after {:?}", daemon.took);
    ensure!(page(&health, "/healthz")? == ("HTTP/1.1 200 OK".into(), "ok\n".into()), "not healthy");
    wait_for("readiness", || page(&health, "/readyz").ok().filter(|(status, _)| status.contains("200")))?;
    ensure!(page(&health, "/metrics")?.0.contains("404"), "metrics at the health page");

    wait_for("calls of the early one", || (bench.mock.truth(Duration::ZERO).len() > before + 5).then_some(()))?;
    early.tell("end")?;
    ensure!(early.finish()?.stdout.ends_with("done\n"), "the early one failed");
    succeeds(many(&bench, &chosen, &["3", "5", "1000", "wanted"])?)?;
    succeeds(many(&bench, &chosen, &["3", "5", "1000", "left-out"])?)?;
    succeeds(many(&bench, &other, &["3", "5", "1000", "other"])?)?;
    wait_for("metrics", || {
        let (_, body) = page(&metrics, "/metrics").ok()?;
        body.contains("gen_ai_client_operation_duration_seconds_count").then_some(())
    })?;
    wait_for("a sign for the watchdog", || (daemon.told("WATCHDOG=1") > 1).then_some(()))?;
    daemon.stop()?;

    let truths = bench.truth();
    let (lines, exported) = (bench.spans()?, exported(&receiver)?);
    // The early one was joined in the middle.
    let early = truths.iter().filter(|truth| truth.user_agent.as_deref() == Some("early"));
    let last = early.map(|truth| truth.times.request_first).max().unwrap_or(0);
    let later = |spans: &[Span]| -> Vec<Span> { spans.iter().filter(|span| span.start > last).cloned().collect() };
    ensure!(expect(&truths, &["wanted"], &later(&lines), "jsonl")? == 3, "not three calls");
    expect(&truths, &["wanted"], &later(&exported), "OTLP")?;
    ensure!(lines.len() > 3 && lines.len() == exported.len(), "{} and {} spans", lines.len(), exported.len());
    let tenant = |export: &tests::receiver::Export| export.header("x-tenant") == Some("blue");
    ensure!(receiver.received().iter().all(tenant), "a header is missing");
    Ok(())
}

/// A cgroup of the test's own in the unified hierarchy.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> anyhow::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mount = mounts.lines().find(|line| line.contains(" cgroup2 ")).context("no unified hierarchy")?;
        let point = mount.split(' ').nth(1).context("no mount point")?;
        let path = Path::new(point).join(format!("llmtap-daemon-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_cgroup_is_selected_and_a_reload_selects_another_program() -> anyhow::Result<()> {
    let bench = bench!();
    let cgroup = match Cgroup::new() {
        Ok(cgroup) => cgroup,
        Err(error) => {
            println!("skipped: {error}");
            return Ok(());
        }
    };
    let python = interpreter(&bench, "tap-python")?;
    let jsonl = format!("exporters: {{jsonl: [{{path: {}}}]}}\n", bench.path("spans.jsonl").display());
    let by_cgroup = format!("select: {{include: [{{cgroup: {}}}]}}\n{jsonl}", cgroup.0.display());
    let daemon = Daemon::start(&bench, &by_cgroup)?;
    let inside = |agent: &str| -> anyhow::Result<()> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo $$ > \"$0\"/cgroup.procs && exec \"$@\""]).arg(&cgroup.0);
        command.arg(&python).arg(clients().join("many.py")).args(["2", "3", "1000", agent]);
        bench.equip(&mut command);
        succeeds(command)
    };
    inside("inside")?;
    succeeds(many(&bench, &python, &["2", "3", "1000", "outside"])?)?;

    // What is not good changes nothing, and says why.
    daemon.reload("select: {includ: []}\n")?;
    inside("still-inside")?;
    let refused = "the configuration stays as it was";
    wait_for("the log", || daemon.stderr().contains(refused).then_some(()))?;
    let told = daemon.stderr();
    ensure!(told.contains("line 1: select.includ: unknown key; did you mean `include`?"), "{told}");
    let status = "STATUS=tracing; the file's last change was refused: see the log";
    ensure!(daemon.told(status) == 1 && daemon.told("RELOADING=1") == 1, "the manager was not told");

    // Another selection, and what only a restart changes.
    let by_exe = format!("select: {{include: [{{exe: {}}}]}}\nlimits: {{ring: 8MiB}}\n{jsonl}", python.display());
    daemon.reload(&by_exe)?;
    succeeds(many(&bench, &python, &["2", "3", "1000", "now-inside"])?)?;
    let told = daemon.stderr();
    ensure!(told.contains("limits.ring changed: that needs a restart"), "{told}");

    // The file was moved away, as logs are.
    let moved = bench.path("spans.1");
    fs::rename(bench.path("spans.jsonl"), &moved)?;
    daemon.reload(&by_cgroup)?;
    succeeds(many(&bench, &python, &["2", "3", "1000", "outside-again"])?)?;
    inside("inside-again")?;
    daemon.stop()?;

    let truths = bench.truth();
    let first = expect(&truths, &["inside", "still-inside", "now-inside"], &spans::read(&moved)?, "before")?;
    let second = expect(&truths, &["inside-again"], &bench.spans()?, "after")?;
    ensure!((first, second) == (6, 2), "{first} and {second} calls");
    Ok(())
}

/// Calls in flight while the file is read again and again.
const IN_FLIGHT: usize = 1000;
const RELOADS: usize = 20;

#[test]
fn reloads_under_load_lose_and_double_nothing() -> anyhow::Result<()> {
    let bench = bench!();
    // The mock runs here: each connection takes a descriptor.
    let own = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &own, "--nofile=16384:"]).status();
    ensure!(raised.is_ok_and(|status| status.success()), "prlimit failed");
    let (steady, coming) = (Receiver::start(0)?, Receiver::start(0)?);
    let python = interpreter(&bench, "tap-python")?;
    let config = |turn: usize| {
        let (more, exclude) = match turn % 2 {
            0 => (String::new(), "nobody"),
            _ => (format!("\n    - {{endpoint: '{}', protocol: http/json}}", coming.url()), "no-one"),
        };
        format!(
            "select:\n  include:\n    - exe: {}\n  exclude:\n    - comm: {exclude}\nexporters:\n  otlp:\n    - {{endpoint: \
             '{}', protocol: http/json}}{more}\n  jsonl:\n    - path: {}\nproviders: {{host-{turn}.example: corp}}\nlimits: \
             {{ring: 64MiB, queue_spans: 8192}}\n",
            python.display(),
            steady.url(),
            bench.path("spans.jsonl").display(),
        )
    };
    let daemon = Daemon::start(&bench, &config(0))?;
    let mut client =
        Running::start(&mut many(&bench, &python, &[&IN_FLIGHT.to_string(), "60", "500000", "busy", "2"])?)?;
    client.wait_for_line("streaming")?;
    let began = Instant::now();
    for turn in 1..=RELOADS {
        daemon.reload(&config(turn))?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = began.elapsed();
    ensure!(!client.stdout().contains("one has ended"), "a stream ended before the reloads did, which took {took:?}");
    client.tell("end")?;
    let finished = client.finish()?;
    ensure!(finished.stdout.ends_with("done\n"), "{}\n{}", finished.stdout, finished.stderr);
    let finished = daemon.stop()?;
    let lost = finished.stderr.lines().find(|line| line.contains("lost") || line.contains("dropped"));
    ensure!(lost.is_none(), "{lost:?}");

    let truths = bench.truth();
    let (lines, steady) = (bench.spans()?, exported(&steady)?);
    let calls = expect(&truths, &["busy"], &lines, "jsonl")?;
    expect(&truths, &["busy"], &steady, "OTLP")?;
    ensure!(calls > IN_FLIGHT, "no call ended while the file was read");
    let sometimes = exported(&coming)?;
    ensure!(!sometimes.is_empty(), "the exporter that came and went got nothing");
    let known = |span: &Span| lines.iter().any(|line| line.span_id == span.span_id);
    ensure!(sometimes.iter().all(known), "an unknown span");
    println!(
        "{IN_FLIGHT} streams in flight, {RELOADS} reloads in {took:.1?}, {calls} calls: each once in both exporters; {} in one that came and went",
        sometimes.len()
    );
    Ok(())
}
