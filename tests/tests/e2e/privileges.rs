//! What llmtap can do with which capabilities (docs/operations.md, "Privileges"), and what it keeps.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use tests::harness::{Bench, Running, clients, finish, llmtap, signal, wait_for};

use crate::{bench, robustness::tracer_processes};

/// All that tracing takes on Linux 6.6 and later when programs are not held at their start.
const RESTRICTED: [&str; 7] =
    ["bpf", "perfmon", "sys_ptrace", "dac_read_search", "checkpoint_restore", "setuid", "setgid"];
/// The same, and what holds programs at their start.
const USUAL: [&str; 5] = ["sys_admin", "sys_ptrace", "dac_read_search", "setuid", "setgid"];

/// Where the clients' libraries are: in the root that the tracer has, too; in a mount namespace of the client's own;
/// nowhere any more.
const PLACES: [&str; 3] = ["here", "apart", "deleted"];

/// A user without a name.
const OTHER: &str = "setpriv --reuid 1234 --regid 1234 --clear-groups --bounding-set -all";

#[test]
fn every_capability_has_its_use() -> anyhow::Result<()> {
    let bench = bench!();
    let Some(python) = python() else {
        println!("skipped: no python3 that other users may run");
        return Ok(());
    };
    let all = BTreeSet::from(PLACES);
    for set in [&RESTRICTED[..], &USUAL[..]] {
        let outcome = Outcome::of(&bench, &python, &set.join(",+"))?;
        ensure!(outcome.status == 0 && outcome.traced == all, "with {set:?}: {outcome:?}");
        let held = !outcome.stderr.contains("programs are not held at their start");
        ensure!(held == set.contains(&"sys_admin"), "{outcome:?}");
    }
    for (set, without, status, traced, told) in [
        (&RESTRICTED[..], "bpf", 77, &[][..], "CAP_BPF is missing (load programs and maps)"),
        (&RESTRICTED, "perfmon", 77, &[], "CAP_PERFMON is missing (attach uprobes"),
        (
            &RESTRICTED,
            "setuid",
            77,
            &[],
            "CAP_SETUID is missing, with which the half that parses traffic becomes another",
        ),
        (
            &RESTRICTED,
            "setgid",
            77,
            &[],
            "CAP_SETGID is missing, with which the half that parses traffic becomes another",
        ),
        (&RESTRICTED, "sys_ptrace", 0, &["here"], ""),
        (&RESTRICTED, "dac_read_search", 0, &["here", "apart"], ""),
        (&RESTRICTED, "checkpoint_restore", 0, &["here", "apart"], ""),
        (&USUAL, "sys_admin", 77, &[], "CAP_BPF is missing"),
        (&USUAL, "sys_ptrace", 0, &["here"], ""),
        (&USUAL, "dac_read_search", 0, &["here", "apart"], ""),
    ] {
        let kept: Vec<&str> = set.iter().copied().filter(|one| *one != without).collect();
        let outcome = Outcome::of(&bench, &python, &kept.join(",+"))?;
        let expected = (status, traced.iter().copied().collect::<BTreeSet<_>>());
        ensure!((outcome.status, outcome.traced.clone()) == expected, "without {without}: {outcome:?}");
        ensure!(outcome.stderr.contains(told), "without {without}: {outcome:?}");
        println!("without {without} of {set:?}: status {status}, traced {traced:?}");
    }
    Ok(())
}

/// A Python that a user without rights may run.
fn python() -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        let tried = format!("{OTHER} {} -c 'import ssl'", path.display());
        Command::new("sh").args(["-c", &tried]).output().is_ok_and(|output| output.status.success())
    };
    Some(PathBuf::from("/usr/bin/python3")).filter(runs)
}

#[derive(Debug)]
struct Outcome {
    status: i32,
    traced: BTreeSet<&'static str>,
    stderr: String,
}

impl Outcome {
    /// Traces the clients with nothing but the capabilities of `set`.
    fn of(bench: &Bench, python: &Path, set: &str) -> anyhow::Result<Self> {
        let mut waiting: Vec<Running> =
            PLACES.iter().map(|place| client(bench, python, place)).collect::<anyhow::Result<_>>()?;
        for client in &mut waiting {
            client.wait_for_line("waiting")?;
        }
        fs::remove_dir_all(bench.path("deleted"))?;
        let spans = bench.path("spans.jsonl");
        let mut tracer = Command::new("setpriv");
        tracer.args(["--bounding-set", &format!("-all,+{set}")]).arg(llmtap()?);
        tracer.args(["trace", "-v", "--output", "jsonl", "-o"]).arg(&spans);
        for client in &waiting {
            tracer.args(["--pid", &client.id().to_string()]);
        }
        let tracer = Running::start(&mut tracer)?;
        let begins = || tracer.stderr().contains("tracing begins");
        wait_for("the tracer", || (begins() || tracer.has_ended()).then_some(()))?;
        for client in &mut waiting {
            client.tell("go")?;
            client.wait_for_line("done")?;
        }
        if !tracer.has_ended() {
            signal("INT", tracer.id().into())?;
        }
        let finished = tracer.finish()?;
        let told = if finished.status.success() { bench.spans()? } else { Vec::new() };
        let models: Vec<&str> = told.iter().filter_map(|span| span.text("gen_ai.request.model")).collect();
        let traced: BTreeSet<_> = PLACES.into_iter().filter(|place| models.contains(place)).collect();
        ensure!(models.len() == traced.len(), "a call was told twice: {models:?}");
        let _ = fs::remove_file(spans);
        Ok(Self { status: finished.status.code().unwrap_or(-1), traced, stderr: finished.stderr })
    }
}

/// Another user's client that waits, with its TLS library at one of [`PLACES`]. It names the place as the model.
fn client(bench: &Bench, python: &Path, place: &str) -> anyhow::Result<Running> {
    const START: &str = r#"
copy() { mkdir -p "$1" && cp "$library" "$(dirname "$library")"/libcrypto.so.3 "$1" && export LD_LIBRARY_PATH="$1"; }
library=$1 folder=$2 place=$3
shift 3
case $place in
    here) exec "$@" ;;
    deleted) copy "$folder" ;;
    apart) mkdir -p "$folder" && mount -t tmpfs none "$folder" && copy "$folder" ;;
esac && exec "$@""#;

    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", START, "sh"]);
    command.arg(library(python)?).arg(bench.path(place)).arg(place);
    command.args(OTHER.split(' ')).arg(python).arg(clients().join("ordinary.py")).arg(place);
    Running::start(bench.equip(&mut command))
}

/// The libssl of an interpreter.
fn library(python: &Path) -> anyhow::Result<String> {
    const PRINT: &str = "import ssl; print([l.split()[-1] for l in open('/proc/self/maps') if '/libssl' in l][0])";
    let found = finish(Command::new(python).args(["-c", PRINT]))?;
    found.stdout.lines().next().map(str::to_owned).context("this Python maps no libssl file")
}

/// Once it traces, the privileged half and the keeper have what tracing takes, the parsing half nothing; and no way to
/// more.
#[test]
fn what_is_not_needed_any_more_is_given_up() -> anyhow::Result<()> {
    // CAP_DAC_READ_SEARCH, KILL, SYS_PTRACE, SYS_ADMIN, PERFMON, BPF, CHECKPOINT_RESTORE (linux/capability.h).
    let kept = [2_u32, 5, 19, 21, 38, 39, 40].iter().fold(0_u64, |set, number| set | 1 << number);
    let bench = bench!();
    let line = bench.script("openai_sync.py", &["wait", "plain"])?;
    let mut running = Running::start(&mut bench.traced(&[], &line)?)?;
    running.wait_for_line("waiting")?;
    let halves = tracer_processes(running.id())?;
    ensure!(halves.len() == 3, "two halves and a keeper were expected, not {halves:?}");
    for (pid, expected) in halves.into_iter().zip([kept, kept, 0]) {
        let settled = || sets(pid).ok().filter(|sets| sets[0] == expected);
        let found = wait_for("privileges to be given up", settled).or_else(|_| sets(pid))?;
        ensure!(found == [expected, expected, 0, 0, 0, 1], "{pid}: {found:x?}");
    }
    // The command has what root has.
    let client = fs::read_to_string(format!("/proc/{}/task/{0}/children", running.id()))?;
    let sets: Vec<_> = client.split_whitespace().filter_map(|pid| sets(pid.parse().ok()?).ok()).collect();
    let own = self::sets(std::process::id())?;
    ensure!(sets.contains(&own), "no child has {own:x?}: {sets:x?}");
    running.tell("go")?;
    ensure!(running.finish()?.status.success());
    bench.expect_exact(1)?;
    Ok(())
}

/// Effective, permitted, inheritable, ambient and bounding set, and whether new privileges are barred.
fn sets(pid: u32) -> anyhow::Result<[u64; 6]> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":"));
        u64::from_str_radix(found.unwrap_or_default().trim(), 16).with_context(|| format!("no {name}"))
    };
    Ok([value("CapEff")?, value("CapPrm")?, value("CapInh")?, value("CapAmb")?, value("CapBnd")?, value("NoNewPrivs")?])
}
