//! Manners: exit statuses, signals, users, output, and errors that say what to do.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use tests::{
    environment::Python,
    harness::{Bench, Finished, Running, finish, is_root, llmtap, signal, workspace},
    tracer::Tracer,
};

use crate::bench;

const NOBODY: u32 = 65534;

fn owned(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

fn sh(script: &str) -> Vec<String> {
    owned(&["sh", "-c", script])
}

/// One line on stderr, with each of `words` in it.
fn expect_line(finished: &Finished, status: i32, words: &[&str]) -> anyhow::Result<()> {
    let lines = finished.lines_on_stderr();
    ensure!(finished.status.code() == Some(status), "{}, not {status}: {lines:?}", finished.status);
    ensure!(lines.len() == 1, "not one line: {lines:#?}");
    for word in words {
        ensure!(lines[0].contains(word), "`{word}` is not in: {}", lines[0]);
    }
    Ok(())
}

fn run(arguments: &[&str]) -> anyhow::Result<Finished> {
    finish(Command::new(llmtap()?).args(arguments))
}

#[test]
fn status_is_that_of_the_command() -> anyhow::Result<()> {
    let bench = bench!();
    for (line, status) in [
        (sh("exit 0"), 0),
        (sh("exit 7"), 7),
        (sh("kill -TERM $$"), 128 + 15),
        (sh("kill -KILL $$"), 128 + 9),
        (owned(&["/nonexistent/program"]), 127),
        (owned(&["no-such-program-on-the-path"]), 127),
        (owned(&["/etc/hostname"]), 126),
    ] {
        let finished = finish(&mut bench.traced(&[], &line)?)?;
        ensure!(
            finished.status.code() == Some(status),
            "{line:?}: {}, not {status}: {}",
            finished.status,
            finished.stderr
        );
    }
    let unwritable = finish(Command::new(llmtap()?).args(["run", "-o", "/nonexistent/spans", "--", "true"]))?;
    expect_line(&unwritable, 125, &["/nonexistent/spans"])
}

#[test]
fn interrupt_is_left_to_the_command() -> anyhow::Result<()> {
    let bench = bench!();
    let call = bench.script("openai_sync.py", &["plain"])?.join(" ");
    let line = sh(&format!("trap '{call}; exit 5' INT; echo ready; while :; do sleep 0.05; done"));
    let mut command = bench.traced(&[], &line)?;
    let mut running = Running::start(command.process_group(0))?;
    running.wait_for_line("ready")?;
    signal("INT", -i64::from(running.id()))?;
    let finished = running.finish()?;
    ensure!(finished.status.code() == Some(5), "{}: {}", finished.status, finished.stderr);
    // What the command did after the signal is traced, too.
    bench.expect_exact(1)?;
    Ok(())
}

#[test]
fn sudo_runs_the_command_as_the_caller() -> anyhow::Result<()> {
    let bench = bench!();
    let folder = bench.path("caller");
    fs::create_dir(&folder)?;
    std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY))?;
    let file = folder.join("spans.jsonl");
    let who = sh("id -u; id -g; id -G; echo $HOME; cat /proc/self/status | grep CapEff");
    let start = |as_root: &[&str]| {
        let mut command = Command::new(llmtap()?);
        command.args(["run", "--output", "jsonl", "-o"]).arg(&file).args(as_root).arg("--").args(&who);
        command.env("SUDO_UID", NOBODY.to_string()).env("SUDO_GID", NOBODY.to_string()).env("SUDO_USER", "nobody");
        finish(bench.equip(&mut command))
    };
    let finished = start(&[])?;
    let lines: Vec<&str> = finished.stdout.lines().collect();
    ensure!(finished.status.success(), "{}", finished.stderr);
    ensure!(lines[..3] == ["65534"; 3], "{lines:?}");
    ensure!(lines[3] == "/nonexistent", "HOME is {}, not that of nobody", lines[3]);
    ensure!(lines[4].ends_with("0000000000000000"), "capabilities are left: {}", lines[4]);
    ensure!(fs::metadata(&file)?.uid() == NOBODY, "the output belongs to uid {}", fs::metadata(&file)?.uid());
    fs::remove_file(&file)?;
    let finished = start(&["--as-root"])?;
    ensure!(finished.stdout.starts_with("0\n0\n"), "{}", finished.stdout);
    Ok(())
}

/// A full-screen program stays intact: nothing is written to its terminal before it has ended.
#[test]
fn output_waits_for_the_command_on_its_terminal() -> anyhow::Result<()> {
    let bench = bench!();
    // The stream gives a live tracer seconds to show the call before it.
    let client = bench.script("openai_sync.py", &["plain", "slow"])?;
    let transcript = |live: &[&str]| -> anyhow::Result<String> {
        let mut command = Command::new(Python::Clients.prepared()?);
        // A pseudo-terminal of its own, whose output is copied to stdout.
        command.args(["-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"]);
        command.arg(llmtap()?).arg("run").args(live).arg("--").args(&client);
        let finished = finish(bench.equip(&mut command))?;
        ensure!(finished.status.success(), "{}: {}", finished.status, finished.stdout);
        Ok(finished.stdout)
    };
    let held = transcript(&[])?;
    let done = held.find("done").context("the client's own output")?;
    let first = held.find("gpt-5").context("no call in the output")?;
    ensure!(done < first, "written before the command's end:\n{held}");
    let live = transcript(&["--live"])?;
    let first = live.find("gpt-5").context("no call in the output")?;
    ensure!(first < live.find("done").context("the client's own output")?, "--live waited:\n{live}");
    Ok(())
}

#[test]
fn trace_of_a_running_process() -> anyhow::Result<()> {
    let bench = bench!();
    let mut client = bench.waiting("openai_sync.py", &["wait", "plain", "stream", "tools"])?;
    let tracer = Tracer::start(bench.tracer()?.args(["--pid", &client.id().to_string()]))?;
    // Attached once a probe stands in the client's libssl.
    crate::robustness::wait_for_probes(client.id())?;
    client.tell("go")?;
    let client = client.finish()?;
    ensure!(client.status.success(), "{}", client.stderr);
    std::thread::sleep(Duration::from_millis(300));
    tracer.stop()?;
    bench.expect_exact(4)?;
    Ok(())
}

#[test]
fn wrong_pid() -> anyhow::Result<()> {
    let _bench = bench!();
    // Above the largest possible pid (proc(5), pid_max).
    expect_line(&run(&["trace", "--pid", "4194305"])?, 1, &["4194305"])
}

#[test]
fn unknown_option() -> anyhow::Result<()> {
    expect_line(&run(&["trace", "--no-such-option"])?, 2, &["--no-such-option", "--help"])
}

#[test]
fn unreadable_capture_file() -> anyhow::Result<()> {
    expect_line(&run(&["replay", "/nonexistent/capture.jsonl"])?, 1, &["/nonexistent/capture.jsonl"])?;
    let folder = tempfile::tempdir()?;
    let other = folder.path().join("notes.txt");
    fs::write(&other, "these are notes\n")?;
    expect_line(&run(&["replay", &other.display().to_string()])?, 1, &["notes.txt"])
}

#[test]
fn truncated_capture_file() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let capture = folder.path().join("cut.jsonl");
    fs::write(
        &capture,
        "{\"llmtap_capture\":1}\n{\"k\":\"open\",\"ts\":1,\"conn\":\"a\"}\n{\"k\":\"data\",\"ts\":2,\"co",
    )?;
    expect_line(&run(&["replay", &capture.display().to_string()])?, 1, &["cut.jsonl", "3"])?;
    let squeezed = folder.path().join("cut.jsonl.zst");
    let frame = zstd::encode_all(&fs::read(&capture)?.repeat(50)[..], 3)?;
    fs::write(&squeezed, &frame[..frame.len() / 2])?;
    expect_line(&run(&["replay", &squeezed.display().to_string()])?, 1, &["cut.jsonl.zst"])
}

#[test]
fn no_privileges() -> anyhow::Result<()> {
    if !is_root() {
        println!("skipped: needs root, to give it up");
        return Ok(());
    }
    // Where anyone may execute it.
    let folder = tempfile::tempdir()?;
    let binary = folder.path().join("llmtap");
    fs::copy(llmtap()?, &binary)?;
    std::os::unix::fs::chown(folder.path(), Some(NOBODY), None)?;
    let start = |arguments: &[&str]| finish(Command::new(&binary).args(arguments).uid(NOBODY).gid(NOBODY));
    expect_line(&start(&["trace", "--all"])?, 77, &["root"])?;
    expect_line(&start(&["run", "--", "true"])?, 125, &["root"])
}

#[test]
fn no_btf() -> anyhow::Result<()> {
    let bench = bench!();
    // Hidden in a mount namespace of the one command: nothing of it remains.
    let hide = "mount -t tmpfs none /sys/kernel/btf || exit 99; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", hide, "sh"]).arg(llmtap()?).args(["trace", "--all", "--duration", "100ms"]);
    let finished = finish(bench.equip(&mut command))?;
    if finished.status.code() == Some(99) {
        println!("skipped: cannot hide /sys/kernel/btf");
        return Ok(());
    }
    // Either it does without, or it says what is missing.
    if finished.status.success() { Ok(()) } else { expect_line(&finished, 77, &["BTF"]) }
}

#[test]
fn unreachable_endpoint_is_said_and_harms_nothing() -> anyhow::Result<()> {
    let bench = bench!();
    let line = bench.script("openai_sync.py", &["plain"])?;
    // Port 9 (discard) of loopback: nobody listens.
    let options = ["--otlp-endpoint", "http://127.0.0.1:9"];
    let finished = bench.run_traced(&options, &line)?;
    ensure!(finished.stdout == "done\n", "{}", finished.stdout);
    let said: Vec<&str> = finished.lines_on_stderr().into_iter().filter(|line| line.contains("127.0.0.1:9")).collect();
    let of = |signal: &str| said.iter().filter(|line| line.contains(&format!("cannot send {signal} to"))).count();
    ensure!(said.len() == 2 && of("spans") == 1 && of("metrics") == 1, "a line of each signal: {}", finished.stderr);
    bench.expect_exact(1)?;
    Ok(())
}

#[test]
fn recording_replays_to_the_same_spans_without_credentials() -> anyhow::Result<()> {
    let bench = bench!();
    let capture = bench.path("capture.jsonl.zst").display().to_string();
    let line = bench.script("openai_sync.py", &["plain", "stream", "tools", "errors", "encodings", "others"])?;
    let finished = bench.run_traced(&["--record", &capture], &line)?;
    bench.expect_exact(20)?;
    let plain = zstd::decode_all(fs::File::open(&capture)?)?;
    for (what, bytes) in [
        ("capture", plain.as_slice()),
        ("spans", &fs::read(bench.path("spans.jsonl"))?),
        ("stderr", finished.stderr.as_bytes()),
    ] {
        let secret = tests::harness::SECRET.as_bytes();
        ensure!(!bytes.windows(secret.len()).any(|window| window == secret), "the key is in the {what}");
    }
    let replayed = bench.path("replayed.jsonl");
    for _ in 0..2 {
        let earlier = fs::read(&replayed).ok();
        let again = run(&["replay", &capture, "--output", "jsonl", "-o", &replayed.display().to_string()])?;
        ensure!(again.status.success(), "{}", again.stderr);
        ensure!(earlier.is_none_or(|earlier| fs::read(&replayed).is_ok_and(|now| now == earlier)), "replays differ");
    }
    compare_file(&bench, &replayed)
}

fn compare_file(bench: &Bench, spans: &Path) -> anyhow::Result<()> {
    let report = tests::compare::compare(&bench.truth(), &tests::spans::read(spans)?);
    ensure!(report.exact(), "\n{report}");
    Ok(())
}

/// What is asked for and reaches nobody is said, and what to do.
#[test]
fn contents_that_nobody_gets_are_told_of() -> anyhow::Result<()> {
    let capture = workspace().join("tests/fixtures/openai_chat/plain/capture.jsonl").display().to_string();
    let replay = |options: &[&str]| -> anyhow::Result<Finished> {
        let mut command = Command::new(llmtap()?);
        finish(command.arg("replay").args(options).arg(&capture))
    };
    for to in ["events", "both"] {
        let finished = replay(&["--capture-content", "full", "--content-to", to])?;
        expect_line(&finished, 2, &["--content-to", to, "--otlp-endpoint", "--output jsonl", "--content-to spans"])?;
        let finished = replay(&["--capture-content", "full", "--content-to", to, "--output", "jsonl"])?;
        ensure!(finished.status.success() && !finished.stderr.contains("content"), "{to}: {}", finished.stderr);
        ensure!(finished.stdout.contains("gen_ai.client.inference.operation.details"), "{to}: no event");
    }
    let finished = replay(&["--capture-content", "redacted"])?;
    expect_line(&finished, 0, &["WARN", "nobody gets spans", "--otlp-endpoint", "--output jsonl"])?;
    let finished = replay(&["--content-to", "events"])?;
    expect_line(&finished, 0, &["WARN", "no contents are told", "--capture-content"])?;
    let finished = replay(&[])?;
    ensure!(finished.status.success() && finished.stderr.is_empty(), "{}", finished.stderr);
    Ok(())
}
