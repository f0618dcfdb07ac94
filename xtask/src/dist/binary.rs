//! Static binaries, for machines with another C library or none: musl, with one C compiler for every target.

use std::{
    env, fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use memchr::memmem;

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
    let llmtap = self::target().join(target.triple).join("dist/llmtap");
    let bytes = fs::read(&llmtap)?;
    for (folder, _) in folders()? {
        let found = memmem::find(&bytes, folder.as_os_str().as_bytes());
        ensure!(found.is_none(), "{} names {}: it would differ elsewhere", llmtap.display(), folder.display());
    }
    Ok(llmtap)
}

/// Panics name source files: those of no machine in particular.
fn remapped() -> Result<Vec<String>> {
    Ok(folders()?.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect())
}

/// Where this machine has what is compiled, and the names that stand for it. The last that fits counts: cargo's folder
/// for what it makes need not be below the project's.
fn folders() -> Result<[(PathBuf, &'static str); 4]> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"))).context("no CARGO_HOME")?;
    Ok([(root(), "/llmtap"), (self::target(), "/llmtap/target"), (home, "/cargo"), (sysroot.into(), "/rust")])
}

/// zig and cargo-zigbuild.
fn tools() -> Result<PathBuf> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dist/requirements.txt");
    python_packages("venv-dist", &requirements, "100 MB")
}
