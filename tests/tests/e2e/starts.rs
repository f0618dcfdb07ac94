//! Programs from their first instruction on: short ones, whoever starts them, and with libraries that nobody has seen.

use std::{fs, path::Path, process::Command};

use anyhow::ensure;
use tests::{
    environment::Python,
    harness::{Bench, Running, finish, signal, wait_for},
    tracer::Tracer,
};

use crate::bench;

/// Runs its arguments with a copy of libssl of their own, in a mount namespace of their own, as often as the first says.
const FRESH: &str = r#"
turns=$1 library=$2 folder=$3
shift 3
for n in $(seq "$turns"); do
    unshare --mount sh -c 'mount -t tmpfs none "$1" && cp "$0" "$1" && export LD_LIBRARY_PATH="$1" && shift && exec "$@"' \
        "$library" "$folder" "$@" || exit 1
done"#;

/// A shell that starts a client again and again, each time as new.
fn fresh(bench: &Bench, turns: &str) -> anyhow::Result<Vec<String>> {
    let library = bench.libssl()?;
    let folder = bench.path("own");
    fs::create_dir_all(&folder)?;
    let mut line: Vec<String> = ["/bin/sh", "-c", FRESH, "sh", turns].map(str::to_owned).into();
    line.extend([library.display().to_string(), folder.display().to_string()]);
    line.extend(bench.script("openai_sync.py", &["plain"])?);
    Ok(line)
}

#[test]
fn clients_with_libraries_and_mount_namespaces_of_their_own_lose_nothing() -> anyhow::Result<()> {
    let bench = bench!();
    bench.run_traced(&[], &fresh(&bench, "5")?)?;
    let report = bench.expect_exact(5)?;
    println!("{report}");
    Ok(())
}

/// The tracer has never heard of the program before.
#[test]
fn a_program_chosen_by_its_name_is_traced_from_its_first_call() -> anyhow::Result<()> {
    let bench = bench!();
    let python = Python::Clients.prepared()?;
    // The name that a symbolic link gives.
    let name = format!("tap-{}", std::process::id());
    let link = python.with_file_name(&name);
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(python.file_name().unwrap_or_default(), &link)?;
    let traced = by_name(&bench, &name, &link);
    fs::remove_file(&link)?;
    traced
}

fn by_name(bench: &Bench, name: &str, program: &Path) -> anyhow::Result<()> {
    let tracer = Tracer::start(bench.tracer()?.args(["--comm", name]))?;
    let script = bench.script("openai_sync.py", &["plain"])?;
    for _ in 0..3 {
        let mut client = Command::new(program);
        bench.own_libssl(&mut client)?;
        let client = finish(bench.equip(&mut client).args(&script[1..]))?;
        ensure!(client.status.success(), "{}", client.stderr);
    }
    tracer.stop()?;
    println!("{}", bench.expect_exact(3)?);
    Ok(())
}

/// The one process of a tracer that answers for the starts of programs.
fn keeper_of(tracer: u32) -> anyhow::Result<u32> {
    wait_for("the keeper", || {
        let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).ok()?;
        let mut children = children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
        children.find(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "llmtap-keeper\n"))
    })
}

/// A stopped tracer holds nobody else's programs, and a killed one leaves nothing behind.
#[test]
fn neither_a_stopped_nor_a_killed_tracer_holds_programs() -> anyhow::Result<()> {
    let bench = bench!();
    let line = bench.script("openai_sync.py", &["wait"])?;
    let mut running = Running::start(&mut bench.traced(&["--output", "none"], &line)?)?;
    running.wait_for_line("waiting")?;
    let tracer = running.id();
    let keeper = keeper_of(tracer)?;
    let client = wait_for("the client", || {
        let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).ok()?;
        let mut children = children.split_whitespace().filter_map(|pid| pid.parse::<i64>().ok());
        children.find(|pid| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.to_string_lossy().contains("python"))
        })
    })?;
    signal("STOP", tracer.into())?;
    let other = finish(&mut Command::new("true"));
    let group = fs::read_to_string(format!("/proc/{keeper}/stat"));
    signal("KILL", tracer.into())?;
    ensure!(other?.status.success());
    let session = group?.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3)?.parse::<u32>().ok());
    ensure!(session == Some(keeper), "the terminal's signals must not reach the keeper");
    wait_for("the keeper's end", || {
        let state = fs::read_to_string(format!("/proc/{keeper}/stat")).unwrap_or_default();
        (state.is_empty() || state.contains(") Z ")).then_some(())
    })?;
    let switch = fs::read_to_string("/sys/kernel/rcu_expedited");
    let note = Path::new("/run/llmtap/rcu_expedited").exists();
    signal("KILL", client)?;
    ensure!(!note || switch.is_ok_and(|switch| switch.trim() == "0"), "the switch of the machine was left on");
    ensure!(finish(&mut Command::new("true"))?.status.success());
    Ok(())
}

/// A number that only the process's own namespace knows.
#[test]
fn a_pid_of_a_container_is_translated() -> anyhow::Result<()> {
    const INSIDE: &str = "echo 31998 > /proc/sys/kernel/ns_last_pid && \"$@\"; exit $?";
    let bench = bench!();
    let mut client = Command::new("unshare");
    client.args(["--pid", "--fork", "--mount-proc", "sh", "-c", INSIDE, "sh"]);
    bench.own_libssl(&mut client)?;
    let mut client = Running::start(bench.equip(client.args(bench.script("openai_sync.py", &["wait", "plain"])?)))?;
    client.wait_for_line("waiting")?;
    let inside = (31_999..32_100).find(|pid| numbered(*pid));
    let Some(inside) = inside.filter(|pid| !Path::new("/proc").join(pid.to_string()).exists()) else {
        println!("skipped: the numbers of processes cannot be chosen here");
        client.tell("go")?;
        client.finish()?;
        return Ok(());
    };
    let tracer = Tracer::start(bench.tracer()?.args(["--pid", &inside.to_string()]))?;
    client.tell("go")?;
    let client = client.finish()?;
    ensure!(client.status.success(), "{}", client.stderr);
    tracer.stop()?;
    println!("{}", bench.expect_exact(1)?);
    Ok(())
}

/// Whether a process of another PID namespace has this number inside.
fn numbered(pid: u32) -> bool {
    let inside = |status: String| {
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.to_owned();
        Some(numbers.split_whitespace().skip(1).last()?.parse() == Ok(pid))
    };
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok())
        .any(|status| inside(status) == Some(true))
}
