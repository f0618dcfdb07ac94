//! Replays a folder of recordings and compares every span with what is expected of it.

mod score;

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use self::score::{Difference, GOAL, Score};
use crate::{setup, test::PACKAGES};

#[derive(Args)]
pub struct Arguments {
    /// Folder of NAME.capture.jsonl.zst and NAME.expected.jsonl
    #[arg(env = "LLMTAP_CORPUS")]
    folder: PathBuf,
    /// Build and use the release program rather than the one for development
    #[arg(long)]
    release: bool,
    /// Use this program, and build none
    #[arg(long, conflicts_with = "release")]
    llmtap: Option<PathBuf>,
    /// Compare only exchanges of these shapes
    #[arg(long = "family")]
    families: Vec<String>,
    /// Most differences that are listed
    #[arg(long, default_value_t = 40)]
    differences: usize,
    /// Lowest share of equal values for each field; every span must be there, and none that should not
    #[arg(long, default_value_t = GOAL)]
    goal: f64,
}

pub fn run(arguments: Arguments) -> Result<()> {
    let Arguments { folder, release, llmtap, families, differences, goal } = arguments;
    let llmtap = match llmtap {
        Some(llmtap) => llmtap,
        None => build(release)?,
    };
    let mut score = Score { families, ..Score::default() };
    score.folder(&folder, &llmtap)?;
    show(&score, differences);
    let failures = score.failures(goal);
    if !failures.is_empty() {
        bail!("below the threshold: {}", failures.join(", "));
    }
    Ok(())
}

fn build(release: bool) -> Result<PathBuf> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(setup::root()).arg("build");
    match release {
        true => command.args(["--release", "-p", "tracer-user", "--bins"]),
        false => command.args(PACKAGES).arg("--bins"),
    };
    ensure!(command.status().context("cannot run cargo")?.success(), "the build failed; its output above says why");
    let profile = if release { "release" } else { "debug" };
    Ok(setup::root().join("target").join(profile).join("llmtap"))
}

fn show(score: &Score, most: usize) {
    println!("{:32} {:>6} {:>8} {:>10}", "field", "equal", "compared", "");
    for (field, share) in &score.fields {
        println!("{field:32} {:>6} {:>8} {:>8.3} %", share.equal, share.compared, 100.0 * share.ratio());
    }
    println!("\n{:32} {:>6} {:>8} {:>10}  fields that differ", "provider", "equal", "compared", "");
    for (provider, fields) in &score.providers {
        let (mut equal, mut compared, mut below) = (0, 0, Vec::new());
        for (field, share) in fields {
            equal += share.equal;
            compared += share.compared;
            if share.equal < share.compared {
                below.push(format!("{field} {}/{}", share.equal, share.compared));
            }
        }
        let percent = 100.0 * equal as f64 / compared as f64;
        println!("{provider:32} {equal:>6} {compared:>8} {percent:>8.3} %  {}", below.join(", "));
    }
    println!("\n{} exchanges, false spans {}, doubled {}", score.exchanges, score.false_spans, score.doubled);
    for Difference { source, field, expected, found } in score.differences.iter().take(most) {
        println!("  {field}: expected {expected}, found {found}: {source}");
    }
    if score.differences.len() > most {
        println!("  … and {} more differences", score.differences.len() - most);
    }
}

#[cfg(test)]
mod tests;
