//! What a release consists of, under `target/dist-out`: static binaries in archives, a Debian package, the context of the
//! container image, Kubernetes manifests, and their checksums.
//!
//! Names depend on the version alone; archives hold no times, owners or orders of the machine that made them.

mod archive;
mod binary;
mod manifest;
mod package;
#[cfg(test)]
mod tests;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use self::binary::X86_64;
pub use self::manifest::can_render;
use crate::setup::{output, root};

/// Parts, in the order in which they are made.
const PARTS: [&str; 4] = ["manifests", "binaries", "image", "deb"];

/// The version of all packages of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes the named parts, or all.
pub fn run(parts: &[String]) -> Result<()> {
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("there is no part {unknown}; there are {}", PARTS.join(", "));
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|one| one == part);
    let out = folder()?;
    if wanted("manifests") {
        manifest::render_all(&out)?;
    }
    if wanted("binaries") {
        for target in binary::TARGETS {
            let llmtap = binary::build(&target)?;
            archive::pack(&out, target.architecture, &llmtap)?;
        }
    }
    if wanted("image") {
        image(&out, &binary::build(&X86_64)?)?;
    }
    if wanted("deb") {
        package::build(&out, &binary::build(&X86_64)?)?;
    }
    checksums(&out)
}

/// Where it is put.
fn folder() -> Result<PathBuf> {
    let out = target().join("dist-out");
    fs::create_dir_all(&out)?;
    Ok(out)
}

/// Cargo's folder for what it makes.
fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |named| root().join(named))
}

/// A virtual environment below the target folder with exactly the packages of `requirements`, pinned by hashes.
pub fn python_packages(name: &str, requirements: &Path, size: &str) -> Result<PathBuf> {
    let folder = target().join(name);
    let pinned = fs::read(requirements).with_context(|| requirements.display().to_string())?;
    let installed = folder.join("requirements.txt");
    if fs::read(&installed).is_ok_and(|found| found == pinned) {
        return Ok(folder);
    }
    println!("dist: installing {} into {} (once, {size})", requirements.display(), folder.display());
    output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .context("needs python3 with venv (Debian: apt install python3-venv)")?;
    let pip = ["-m", "pip", "install", "--quiet", "--require-hashes", "-r"];
    output(Command::new(folder.join("bin/python")).args(pip).arg(requirements))?;
    fs::write(installed, pinned)?;
    Ok(folder)
}

/// The project's files below these places, as paths within the project.
fn files(places: &[&str]) -> Result<Vec<PathBuf>> {
    fn walk(place: PathBuf, into: &mut Vec<PathBuf>) -> Result<()> {
        let full = root().join(&place);
        if !full.is_dir() {
            into.push(place);
            return Ok(());
        }
        let entries = fs::read_dir(&full).with_context(|| full.display().to_string())?;
        entries.into_iter().try_for_each(|entry| walk(place.join(entry?.file_name()), into))
    }
    let mut found = Vec::new();
    places.iter().try_for_each(|place| walk(place.into(), &mut found))?;
    Ok(found)
}

/// What `podman build -f deploy/Dockerfile FOLDER` takes; an unpacked archive has it, too.
fn image(out: &Path, llmtap: &Path) -> Result<()> {
    let context = out.join("image");
    let _ = fs::remove_dir_all(&context);
    fs::create_dir_all(context.join("deploy"))?;
    fs::copy(llmtap, context.join("llmtap"))?;
    fs::copy(root().join("deploy/llmtap.yaml"), context.join("deploy/llmtap.yaml"))?;
    println!("dist: {}: podman build --file deploy/Dockerfile --tag llmtap:{VERSION} that", context.display());
    Ok(())
}

/// `SHA256SUMS`, as sha256sum(1) writes and checks it.
fn checksums(out: &Path) -> Result<()> {
    let mut files: Vec<PathBuf> = fs::read_dir(out)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && path.file_name().is_some_and(|name| name != "SHA256SUMS"))
        .collect();
    files.sort();
    ensure!(!files.is_empty(), "nothing was made");
    let mut sums = String::new();
    for file in files {
        let name = file.file_name().context("a file without a name")?.to_string_lossy();
        // What an earlier version left is not of this release.
        if !name.contains(VERSION) {
            continue;
        }
        let digest: String = Sha256::digest(fs::read(&file)?).iter().map(|byte| format!("{byte:02x}")).collect();
        println!("dist: {digest}  {}", file.display());
        sums.push_str(&format!("{digest}  {name}\n"));
    }
    fs::write(out.join("SHA256SUMS"), sums)?;
    Ok(())
}
