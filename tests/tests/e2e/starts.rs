//! Programs from their first instruction on: short ones, whoever starts them, and with libraries that nobody has seen.

use std::process::Command;

use anyhow::ensure;
use tests::{
    environment::Python,
    harness::{Bench, Running, finish, llmtap, signal, wait_for},
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
    std::fs::create_dir_all(&folder)?;
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
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(python.file_name().unwrap_or_default(), &link)?;
    let traced = by_name(&bench, &name, &link);
    std::fs::remove_file(&link)?;
    traced
}

fn by_name(bench: &Bench, name: &str, program: &std::path::Path) -> anyhow::Result<()> {
    let mut tracer = Command::new(llmtap()?);
    tracer.args(["trace", "--comm", name, "-v", "--output", "jsonl", "-o"]).arg(bench.path("spans.jsonl"));
    let tracer = Running::start(&mut tracer)?;
    wait_for("the tracer", || tracer.stderr().contains("tracing begins").then_some(()))?;
    let script = bench.script("openai_sync.py", &["plain"])?;
    for _ in 0..3 {
        let mut client = Command::new(program);
        bench.own_libssl(&mut client)?;
        let client = finish(bench.equip(&mut client).args(&script[1..]))?;
        ensure!(client.status.success(), "{}", client.stderr);
    }
    signal("INT", tracer.id().into())?;
    let finished = tracer.finish()?;
    ensure!(finished.status.success(), "{}", finished.stderr);
    println!("{}", bench.expect_exact(3)?);
    Ok(())
}
