//! Real containers, with Debian's podman and runc: own mount, PID and cgroup namespaces, an overlay as root.
//!
//! `cargo xtask test containers` takes the network away and runs them. A machine without podman or runc skips them.

use std::{fs, path::Path, process::Command};

use anyhow::ensure;
use tests::{
    harness::{Running, finish, llmtap, signal, wait_for},
    yard::{Yard, yard},
};

/// A line of a shell's.
fn quoted(line: &[String]) -> String {
    line.iter().map(|word| format!("'{word}' ")).collect()
}

#[test]
fn a_container_is_traced_from_its_first_call() -> anyhow::Result<()> {
    let Some(yard) = yard()? else { return Ok(()) };
    yard.bench.run_traced(&["-v"], &yard.container(&[], &["plain", "stream"])?)?;
    println!("{}", yard.bench.expect_exact(2)?);
    Ok(())
}

/// Their libraries are one inode, which both overlays show under numbers of their own.
#[test]
fn two_containers_that_share_a_layer_tell_each_call_once() -> anyhow::Result<()> {
    let Some(yard) = yard()? else { return Ok(()) };
    let one = quoted(&yard.container(&[], &["plain", "stream"])?);
    let both = format!("{one} & first=$!; {one} && wait $first");
    yard.bench.run_traced(&[], &["/bin/sh", "-c", &both].map(str::to_owned))?;
    println!("{}", yard.bench.expect_exact(4)?);
    Ok(())
}

/// The tracer stands before the container; its cgroup is below the one that was selected. The user in it is not root.
#[test]
fn containers_of_a_cgroup_are_traced_when_they_start_later() -> anyhow::Result<()> {
    let Some(yard) = yard()? else { return Ok(()) };
    let name = format!("llmtap-test-{}", std::process::id());
    let found = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(|place| Path::new(place).join(&name));
    let Some(cgroup) =
        found.into_iter().find(|path| fs::create_dir(path).is_ok() && path.join("cgroup.procs").exists())
    else {
        println!("skipped: no cgroup can be made");
        return Ok(());
    };
    let traced = in_cgroup(&yard, &name, &cgroup);
    // Podman makes them in every hierarchy, with others inside.
    let leave = "find /sys/fs/cgroup -depth -type d -path \"*/$0*\" -exec rmdir {} +";
    finish(Command::new("sh").args(["-c", leave, &name]))?;
    traced
}

fn in_cgroup(yard: &Yard, name: &str, cgroup: &Path) -> anyhow::Result<()> {
    let bench = &yard.bench;
    let mut tracer = Command::new(llmtap()?);
    tracer.args(["trace", "-v", "--output", "jsonl", "-o"]).arg(bench.path("spans.jsonl"));
    let tracer = Running::start(tracer.arg("--cgroup").arg(cgroup))?;
    wait_for("the tracer", || tracer.stderr().contains("tracing begins").then_some(()))?;
    let parent = format!("--cgroup-parent=/{name}");
    let line = yard.container(&[&parent, "--user", "1234:1234"], &["plain"])?;
    for _ in 0..3 {
        let client = bench.run_untraced(&line)?;
        ensure!(client.status.success(), "{}", client.stderr);
    }
    signal("INT", tracer.id().into())?;
    let finished = tracer.finish()?;
    ensure!(finished.status.success(), "{}", finished.stderr);
    println!("{}", bench.expect_exact(3)?);
    Ok(())
}
