//! Runs the fuzz targets. Each keeps what it finds under `fuzz/artifacts`; the corpus grows in `fuzz/corpus`.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::setup;

/// The release that the targets were tried with.
const CARGO_FUZZ: &str = "0.13.2";

/// Runs the named targets, or all, for `seconds` each.
pub fn run(names: &[String], seconds: u32) -> Result<()> {
    let fuzz = setup::root().join("fuzz");
    let targets = targets(&fuzz)?;
    if let Some(unknown) = names.iter().find(|name| !targets.contains(name)) {
        bail!("no fuzz target is called {unknown}; there are {}", targets.join(", "));
    }
    let tool = cargo_fuzz()?;
    eprintln!("fuzz: building the targets with instrumentation (minutes the first time)");
    let mut build = Command::new(&tool);
    build.current_dir(setup::root()).env("RUSTC_BOOTSTRAP", "1").args(["fuzz", "build", "--sanitizer", "none"]);
    if !build.status()?.success() {
        bail!("building the fuzz targets failed; its output above says why");
    }
    for target in targets.iter().filter(|target| names.is_empty() || names.contains(target)) {
        let corpus = fuzz.join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        println!("fuzz: {target} for {seconds} s");
        let status = Command::new(&tool)
            .current_dir(setup::root())
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["fuzz", "run", "--sanitizer", "none", target])
            .arg(&corpus)
            .arg(fuzz.join("seeds").join(target))
            .args([
                "--",
                &format!("-max_total_time={seconds}"),
                "-timeout=10",
                "-rss_limit_mb=2048",
                "-print_final_stats=1",
            ])
            .status()?;
        if !status.success() {
            bail!("{target} found an input that fails: see fuzz/artifacts/{target}");
        }
    }
    println!("fuzz: no failure");
    Ok(())
}

fn targets(fuzz: &Path) -> Result<Vec<String>> {
    let mut targets: Vec<String> = fs::read_dir(fuzz.join("fuzz_targets"))?
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    targets.sort();
    Ok(targets)
}

fn cargo_fuzz() -> Result<std::path::PathBuf> {
    let tools = setup::root().join("target/tools");
    let built = tools.join("bin/cargo-fuzz");
    if built.is_file() {
        return Ok(built);
    }
    if let Some(found) = setup::which("cargo-fuzz") {
        return Ok(found);
    }
    eprintln!("fuzz: building cargo-fuzz {CARGO_FUZZ} into target/tools (once)");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["install", "cargo-fuzz", "--version", CARGO_FUZZ, "--locked", "--root"])
        .arg(&tools)
        .env("CARGO_TARGET_DIR", tools.join("build"))
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("building cargo-fuzz failed; its output above says why");
    }
    let _ = fs::remove_dir_all(tools.join("build"));
    Ok(built)
}
