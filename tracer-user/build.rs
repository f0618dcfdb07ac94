//! Builds the eBPF object (`tracer-ebpf`) and places it where `include_bytes_aligned!` finds it.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The eBPF target: 64-bit little endian, as x86-64 and aarch64 kernels want it.
const TARGET: &str = "bpfel-unknown-none";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    for path in ["tracer-ebpf/src", "tracer-ebpf/Cargo.toml", "tracer-common/src", "tracer-common/Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo::rerun-if-env-changed=BPF_LINKER");

    let Some(linker) = bpf_linker(&root) else {
        return Err("bpf-linker is missing: run `cargo xtask setup` once (it builds it into target/tools)".into());
    };
    // Line information would otherwise name folders of the machine that builds, and differ from machine to machine.
    let sysroot = Command::new(env::var("RUSTC")?).args(["--print", "sysroot"]).output()?.stdout;
    let home = env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", env::var("HOME").unwrap_or_default()));
    let flags = [
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("-Clinker={}", linker.display()),
        format!("--remap-path-prefix={}=/llmtap", root.display()),
        format!("--remap-path-prefix={home}=/cargo"),
        format!("--remap-path-prefix={}=/rust", String::from_utf8(sysroot)?.trim()),
    ];
    let status = Command::new(env::var("CARGO")?)
        .current_dir(&root)
        .args(["build", "--package", "tracer-ebpf", "--release", "--target", TARGET, "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(out.join("ebpf"))
        // build-std is unstable; the flag lets the pinned stable toolchain use it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("RUSTC")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()?;
    if !status.success() {
        return Err(format!("building tracer-ebpf failed ({status})").into());
    }
    fs::copy(out.join("ebpf").join(TARGET).join("release/tracer-ebpf"), out.join("tracer-ebpf"))?;
    Ok(())
}

/// The linker that `cargo xtask setup` built, or the one on `PATH`.
fn bpf_linker(root: &Path) -> Option<PathBuf> {
    let named = env::var_os("BPF_LINKER").map(PathBuf::from);
    let built = root.join("target/tools/bin/bpf-linker");
    let on_path = env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join("bpf-linker")).collect::<Vec<_>>();
    named.into_iter().chain([built]).chain(on_path).find(|path| path.is_file())
}
