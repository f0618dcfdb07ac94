//! Static binaries, for machines with another C library or none: musl, with one C compiler for every target.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{python_packages, target};
use crate::setup::{output, root};

/// An architecture that is released.
pub struct Target {
    /// As uname(1) says it.
    pub architecture: &'static str,
    triple: &'static str,
}

pub const X86_64: Target = Target { architecture: "x86_64", triple: "x86_64-unknown-linux-musl" };
/// Live tracing is not for it yet: `replay` is.
const AARCH64: Target = Target { architecture: "aarch64", triple: "aarch64-unknown-linux-musl" };

pub const TARGETS: [Target; 2] = [X86_64, AARCH64];

/// Builds `llmtap` and returns its path.
pub fn build(target: &Target) -> Result<PathBuf> {
    let tools = tools()?;
    let path = env::join_paths(
        [tools.join("bin")].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    )?;
    println!("dist: building for {} (minutes)", target.triple);
    let status = Command::new(tools.join("bin/cargo-zigbuild"))
        .current_dir(root())
        .args(["zigbuild", "--profile", "dist", "--locked", "--target", target.triple])
        .args(["--package", "tracer-user", "--bin", "llmtap"])
        .env("PATH", path)
        .env("CARGO_ENCODED_RUSTFLAGS", remapped()?.join("\x1f"))
        .status()?;
    if !status.success() {
        bail!("building for {} failed; is the target there? `rustup toolchain install` adds it", target.triple);
    }
    Ok(self::target().join(target.triple).join("dist/llmtap"))
}

/// Panics name source files: those of no machine in particular.
fn remapped() -> Result<Vec<String>> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"))).context("no CARGO_HOME")?;
    // The last that fits counts: cargo's own folder need not be below the project's.
    let from_to =
        [(root(), "/llmtap"), (self::target(), "/llmtap/target"), (home, "/cargo"), (PathBuf::from(sysroot), "/rust")];
    Ok(from_to.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect())
}

/// zig and cargo-zigbuild.
fn tools() -> Result<PathBuf> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dist/requirements.txt");
    python_packages("venv-dist", &requirements, "100 MB")
}
