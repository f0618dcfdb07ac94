//! What `cargo build` needs beyond the toolchain: rust-src (for the eBPF target's `core`) and bpf-linker.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// The release that the toolchain's LLVM was tried with.
const BPF_LINKER: &str = "0.13.0";

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// Prepares what is missing; quick when nothing is.
pub fn run() -> Result<()> {
    if which("cc").is_none() {
        bail!(
            "a C compiler is missing (some dependencies are C): install it, on Debian `apt-get install build-essential`"
        );
    }
    let sysroot = PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?);
    if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
        bail!(
            "rust-src is missing: run `rustup toolchain install` in this folder (rust-toolchain.toml names all parts)"
        );
    }
    bpf_linker(&sysroot)
}

fn bpf_linker(sysroot: &Path) -> Result<()> {
    let tools = root().join("target/tools");
    let built = tools.join("bin/bpf-linker");
    // A linker from an earlier toolchain cannot find its LLVM any more: it must run, not only exist.
    let works = |path: &Path| Command::new(path).arg("--version").output().is_ok_and(|out| out.status.success());
    if works(&built) || (!built.exists() && which("bpf-linker").is_some_and(|path| works(&path))) {
        return Ok(());
    }
    let llvm = tools.join("llvm/lib");
    fs::create_dir_all(&llvm)?;
    let library = fs::read_dir(sysroot.join("lib"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libLLVM.so")))
        .context("the toolchain has no libLLVM.so: use the toolchain that rust-toolchain.toml names")?;
    let link = llvm.join("libLLVM.so");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(&library, &link)?;

    eprintln!("setup: building bpf-linker {BPF_LINKER} into target/tools (once, about a minute)");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["install", "bpf-linker", "--version", BPF_LINKER, "--locked", "--force", "--root"])
        .arg(&tools)
        // Not the project's own target folder: a build may hold its lock.
        .env("CARGO_TARGET_DIR", tools.join("build"))
        .env("LLVM_PREFIX", tools.join("llvm"))
        .env("RUSTFLAGS", format!("-C link-arg=-Wl,-rpath,{}", sysroot.join("lib").display()))
        .status()?;
    if !status.success() {
        bail!("building bpf-linker failed; its output above says why");
    }
    let _ = fs::remove_dir_all(tools.join("build"));
    Ok(())
}

/// The first `name` on `PATH`.
pub fn which(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Standard output of a command that must succeed, trimmed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{} failed: {}", command.get_program().display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
