//! Runs the test tiers, shows each test's output, and closes with counts that cannot hide a skipped tier.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::{dist, fixture, setup};

/// Every cargo command names the same packages: with another choice cargo would build the dependencies again, with
/// other features.
pub const PACKAGES: [&str; 3] = ["--workspace", "--exclude", "tracer-ebpf"];

/// A tier is one cargo command.
struct Tier {
    name: &'static str,
    targets: &'static [&'static str],
    /// Tests that load probes into the kernel or watch times share the machine badly.
    serial: bool,
    /// Runs in a network namespace with nothing but loopback, and only when it is named: it takes a large download, or
    /// packages that few machines have.
    alone: bool,
}

const TIERS: [Tier; 9] = [
    Tier { name: "unit", targets: &["--lib", "--bins"], serial: false, alone: false },
    Tier {
        name: "data",
        targets: &["--test", "corpus*", "--test", "locate*", "--test", "registry*", "--test", "large*"],
        serial: false,
        alone: false,
    },
    Tier { name: "kernel", targets: &["--test", "kernel*"], serial: true, alone: false },
    Tier { name: "e2e", targets: &["--test", "e2e*"], serial: true, alone: false },
    Tier { name: "files", targets: &["--test", "deploy", "files::"], serial: true, alone: false },
    Tier { name: "runtimes", targets: &["--test", "runtimes"], serial: true, alone: true },
    Tier { name: "backends", targets: &["--test", "backends"], serial: true, alone: true },
    Tier { name: "containers", targets: &["--test", "containers"], serial: true, alone: true },
    Tier { name: "deploy", targets: &["--test", "deploy"], serial: true, alone: true },
];

/// Where the recordings that `LLMTAP_CORPUS` names may lie, beside the checkout: they are not part of it.
const RECORDINGS: &str = "../shared/corpus";

/// Tests against real programs and a real clock that failed are tried once more, if they are few: what fails twice is
/// broken, and what passes then is named below the counts.
const MAX_RETRIED: usize = 3;

#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Names of the failed tests.
    failures: Vec<String>,
}

/// Runs the named tiers, or all that need no large download.
pub fn run(names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !TIERS.iter().any(|tier| tier.name == **name)) {
        bail!("no tier is called {unknown}; there are {}", TIERS.map(|tier| tier.name).join(", "));
    }
    let is_usual = |tier: &str| TIERS.iter().any(|known| known.name == tier && !known.alone);
    let runs = |tier: &str| names.is_empty() && is_usual(tier) || names.iter().any(|name| name == tier);
    if runs("data") || runs("kernel") || runs("e2e") {
        // Tests for which a build is missing say that they are skipped, and why.
        fixture::run()?;
    }
    if runs("runtimes") {
        fixture::runtimes()?;
    }
    if runs("backends") {
        fixture::backends()?;
    }
    if runs("deploy") || runs("files") {
        let requirements = setup::root().join("tests/clients/requirements-deploy.txt");
        dist::python_packages("venv-deploy", &requirements, "10 MB")?;
        let parts: &[&str] = if runs("deploy") { &["manifests", "image", "deb"] } else { &["manifests"] };
        // Without a program that renders them, the tests say that they are skipped.
        if runs("deploy") || dist::can_render() {
            dist::run(&parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>())?;
        }
    }
    // The end-to-end tests run the program itself.
    cargo(&[&["build"][..], &PACKAGES, &["--bins"]].concat())?;
    if runs("backends") {
        // While there is a network. What fails is skipped, and says why.
        let _ = Command::new(setup::root().join("target/debug/mock-provider")).arg("prepare-backends").status();
    }
    let mut total = Count::default();
    let mut lines = Vec::new();
    let mut unsteady = Vec::new();
    let mut broken = false;
    for tier in TIERS.iter().filter(|tier| runs(tier.name)) {
        println!("\n== {} tests", tier.name);
        let (mut count, mut ok) = run_tier(tier, &[])?;
        let names = std::mem::take(&mut count.failures);
        if tier.serial && names.len() as u64 == count.failed && (1..=MAX_RETRIED).contains(&names.len()) {
            println!("\n== {} tests, once more: {}", tier.name, names.join(" "));
            let again = run_tier(tier, &names)?;
            ok = again.1;
            count.passed += again.0.passed;
            count.failed = again.0.failed;
            unsteady.extend(names.into_iter().filter(|name| !again.0.failures.contains(name)));
        }
        broken |= !ok;
        lines.push(format!(
            "{:8} {} passed, {} failed, {} skipped",
            tier.name, count.passed, count.failed, count.skipped
        ));
        total.passed += count.passed;
        total.failed += count.failed;
        total.skipped += count.skipped;
    }
    println!("\n{}", lines.join("\n"));
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if !unsteady.is_empty() {
        println!("unsteady: passed at the second try only: {}", unsteady.join(" "));
    }
    if broken || total.failed > 0 {
        bail!("tests failed");
    }
    if total.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// One `cargo test`, of the tests with these names, or of all. A test that cannot run here prints `skipped: why` and
/// returns: such a line takes it out of the passed ones.
fn run_tier(tier: &Tier, names: &[String]) -> Result<(Count, bool)> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    if tier.alone {
        // Built with the network, run without.
        let build = Command::new(&cargo)
            .current_dir(setup::root())
            .args(["test", "--no-run"])
            .args(PACKAGES)
            .args(tier.targets)
            .status()?;
        if !build.success() {
            return Ok((Count::default(), false));
        }
        command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]).arg(&cargo);
        command.env("CARGO_NET_OFFLINE", "true");
    }
    command.current_dir(setup::root()).arg("test").arg("--no-fail-fast").args(PACKAGES).args(tier.targets);
    command.args(["--", "--nocapture"]);
    if tier.serial {
        command.arg("--test-threads=1");
    }
    if !names.is_empty() {
        command.arg("--exact").args(names);
    }
    if let (None, Ok(recordings)) = (env::var_os("LLMTAP_CORPUS"), setup::root().join(RECORDINGS).canonicalize()) {
        command.env("LLMTAP_CORPUS", recordings);
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut count = Count::default();
    let mut said_skipped = 0;
    let mut in_failures = false;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            said_skipped += u64::from(line.contains("skipped: "));
            // The closing list: a line of its own, then the names, indented.
            match line.strip_prefix("    ") {
                _ if line == "failures:" => in_failures = true,
                Some(name) if in_failures && !name.contains(' ') => count.failures.push(name.to_owned()),
                _ => in_failures = false,
            }
            if let Some(result) = line.strip_prefix("test result: ") {
                count.passed += number_before(result, " passed");
                count.failed += number_before(result, " failed");
                count.skipped += number_before(result, " ignored");
            }
        }
    }
    let ok = child.wait()?.success();
    count.passed = count.passed.saturating_sub(said_skipped);
    count.skipped += said_skipped;
    Ok((count, ok))
}

fn number_before(text: &str, word: &str) -> u64 {
    let Some((before, _)) = text.split_once(word) else { return 0 };
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn cargo(arguments: &[&str]) -> Result<()> {
    println!("== cargo {}", arguments.join(" "));
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(setup::root())
        .args(arguments)
        .status()?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}
