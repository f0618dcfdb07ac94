//! The tracer's memory, and what remains when it dies.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use tests::harness::{Bench, Running, llmtap, signal, wait_for};

use crate::bench;

/// The processes of a tracer: the one that was started, then its children of the same executable, the keeper before the
/// parsing half.
pub fn tracer_processes(main: u32) -> anyhow::Result<Vec<u32>> {
    let binary = fs::canonicalize(llmtap()?)?;
    let is_parser =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name != "llmtap-keeper\n");
    let mut found = vec![main];
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let ours = fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == binary);
        if ours && status_number(pid, "PPid:") == Some(u64::from(main)) {
            found.push(pid);
        }
    }
    found[1..].sort_by_key(is_parser);
    Ok(found)
}

pub fn status_number(pid: u32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

/// Resident memory of all of them, in KiB. `status` may be behind by some dozens of pages (proc(5)), which a sum of
/// mappings is not; but that takes long.
fn resident_exactly(pids: &[u32]) -> u64 {
    let rollup = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let rss = |text: String| {
        text.lines().find_map(|line| line.strip_prefix("Rss:")?.split_whitespace().next()?.parse::<u64>().ok())
    };
    pids.iter().filter_map(|pid| rollup(pid).and_then(rss)).sum::<u64>()
}

fn resident(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| status_number(*pid, "VmRSS:")).sum()
}

/// Bytes of the executable mappings of libssl, one of the test's own, in which the process differs from the file: the probes that stand.
fn probes(pid: u32) -> anyhow::Result<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut count = 0;
    for line in maps.lines().filter(|line| line.contains("libssl") && line.contains("r-xp")) {
        let mut fields = line.split_whitespace();
        let (range, offset, path) = (fields.next(), fields.nth(1), fields.nth(2));
        let (start, end) = range.and_then(|range| range.split_once('-')).context("a range")?;
        let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        let offset = u64::from_str_radix(offset.context("an offset")?, 16)?;
        let mut mapped = vec![0; (end - start) as usize];
        memory.read_exact_at(&mut mapped, start)?;
        let file = File::open(path.context("a path")?)?;
        let mut stored = vec![0; mapped.len()];
        let length = read_up_to(&file, &mut stored, offset)?;
        count += mapped[..length].iter().zip(&stored[..length]).filter(|(mapped, stored)| mapped != stored).count();
    }
    Ok(count)
}

/// The last page of a mapping may reach beyond the file.
fn read_up_to(file: &File, into: &mut [u8], offset: u64) -> anyhow::Result<usize> {
    let mut length = 0;
    while length < into.len() {
        match file.read_at(&mut into[length..], offset + length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

pub fn wait_for_probes(pid: u32) -> anyhow::Result<()> {
    wait_for("probes in libssl", || probes(pid).is_ok_and(|count| count > 0).then_some(()))
}

/// The client among a tracer's children.
fn client_of(tracer: u32) -> anyhow::Result<u32> {
    wait_for("the client", || {
        let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).ok()?;
        let mut pids = children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
        pids.find(|pid| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.to_string_lossy().contains("python"))
        })
    })
}

#[test]
fn memory_stays_flat_with_long_prompts_and_streams() -> anyhow::Result<()> {
    let bench = bench!();
    let line = bench.script("openai_sync.py", &["plain", "stream", "wait", "big", "long", "big", "long", "wait"])?;
    let mut running = Running::start(&mut bench.traced(&[], &line)?)?;
    running.wait_for_line("waiting")?;
    std::thread::sleep(Duration::from_millis(200));
    let pids = tracer_processes(running.id())?;
    ensure!(pids.len() == 3, "two halves and a keeper were expected, not {pids:?}");
    let before = resident_exactly(&pids);

    let over = Arc::new(AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let (pids, over) = (pids.clone(), Arc::clone(&over));
        move || {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(resident(&pids));
                std::thread::sleep(Duration::from_millis(2));
            }
            peak
        }
    });
    running.tell("go")?;
    wait_for("the second wait", || (running.stdout().matches("waiting").count() == 2).then_some(()))?;
    std::thread::sleep(Duration::from_millis(200));
    let after = resident_exactly(&pids);
    over.store(true, Ordering::Relaxed);
    let peak = watcher.join().map_err(|_| anyhow::anyhow!("the watcher failed"))?;
    running.tell("go")?;
    let finished = running.finish()?;
    ensure!(finished.status.success(), "{}", finished.stderr);

    println!(
        "resident memory of the tracer: {before} KiB before, {peak} KiB at most, {after} KiB after two prompts of 1 MiB and two streams of 10,000 events"
    );
    bench.expect_exact(6)?;
    ensure!(peak.saturating_sub(before) < 8 * 1024, "grew by {} KiB", peak - before);
    Ok(())
}

/// Kills one of the tracer's processes in the middle of a stream.
fn killed(bench: &Bench, which: usize) -> anyhow::Result<()> {
    let line = bench.script("openai_sync.py", &["slow", "wait", "plain"])?;
    let mut command = bench.traced(&[], &line)?;
    bench.own_libssl(&mut command)?;
    let mut running = Running::start(&mut command)?;
    let client = client_of(running.id())?;
    running.wait_for_line("streaming")?;
    ensure!(probes(client)? > 0, "no probe stood: this test would see nothing");
    let pids = tracer_processes(running.id())?;
    ensure!(pids.len() == 3, "two halves and a keeper were expected, not {pids:?}");
    signal("KILL", pids[which].into())?;

    // The client goes on, in a stream that it then finishes.
    wait_for("the client's wait", || running.stdout().lines().any(|line| line == "waiting").then_some(()))?;
    wait_for("the probes' end", || probes(client).is_ok_and(|count| count == 0).then_some(()))?;
    wait_for("the other half's end", || {
        let alive = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        // The half that started the command may well wait for it.
        pids.iter().skip(1).all(|pid| !alive(pid)).then_some(())
    })?;
    running.tell("go")?;
    wait_for("the client's end", || running.stdout().lines().any(|line| line == "done").then_some(()))?;
    drop(running);
    ensure!(bench.truth().iter().all(|truth| truth.status == 200), "a call failed");
    Ok(())
}

#[test]
fn killed_tracer_harms_nothing() -> anyhow::Result<()> {
    let bench = bench!();
    killed(&bench, 0)?;
    drop(bench);
    // The next start works.
    let bench = bench!();
    bench.run_traced(&[], &bench.script("openai_sync.py", &["plain", "stream"])?)?;
    bench.expect_exact(2)?;
    Ok(())
}

#[test]
fn killed_decoder_harms_nothing() -> anyhow::Result<()> {
    let bench = bench!();
    killed(&bench, 2)
}

/// A target whose seccomp filter kills it for the system calls of return probes must not die of ours.
#[test]
fn seccomp_filtered_target_lives() -> anyhow::Result<()> {
    let bench = bench!();
    if !cfg!(target_arch = "x86_64") {
        println!("skipped: the filter names x86-64 system calls");
        return Ok(());
    }
    let finished = bench.run_traced(&[], &bench.script("seccomp.py", &["plain", "stream", "tools"])?)?;
    ensure!(finished.stdout == "done\n", "{}\n{}", finished.stdout, finished.stderr);
    bench.expect_exact(4)?;
    Ok(())
}

/// Programs are then not held any more; the tracing goes on.
#[test]
fn killed_keeper_harms_nothing() -> anyhow::Result<()> {
    let bench = bench!();
    let line = bench.script("openai_sync.py", &["plain", "wait", "plain"])?;
    let mut running = Running::start(&mut bench.traced(&[], &line)?)?;
    running.wait_for_line("waiting")?;
    let pids = tracer_processes(running.id())?;
    ensure!(pids.len() == 3, "two halves and a keeper were expected, not {pids:?}");
    signal("KILL", pids[1].into())?;
    running.tell("go")?;
    let finished = running.finish()?;
    ensure!(finished.status.success(), "{}", finished.stderr);
    bench.expect_exact(2)?;
    Ok(())
}
