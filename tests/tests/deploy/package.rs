//! The Debian package: what is in it, and its way into a system and out of it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::{Context, ensure};
use tests::harness::{Finished, finish, is_root};

use crate::{is_there, released};

/// The package and a root directory with a shell and an empty package database.
struct Install {
    package: std::path::PathBuf,
    root: tempfile::TempDir,
}

fn install() -> anyhow::Result<Option<Install>> {
    let package = released(&format!("llmtap_{}_amd64.deb", env!("CARGO_PKG_VERSION")));
    let why = [
        (!package.exists(), "no package: `cargo xtask dist deb` makes it"),
        (!is_there("dpkg"), "no dpkg"),
        (!is_root(), "needs root"),
    ];
    if let Some((_, why)) = why.iter().find(|(applies, _)| *applies) {
        println!("skipped: {why}");
        return Ok(None);
    }
    let root = tempfile::tempdir()?;
    const FILL: &str = r#"
set -e
cd "$0"
mkdir -p bin usr/bin var/lib/dpkg/info var/lib/dpkg/updates var/cache
touch var/lib/dpkg/status var/lib/dpkg/available
for program in sh rm; do
    cp -L "$(command -v $program)" bin/
    ldd "bin/$program" | grep -o '/[^ ]*[^ :]' | while read -r file; do mkdir -p ".$(dirname "$file")" && cp -L "$file" ".$file"; done
done"#;
    let filled = finish(Command::new("sh").args(["-c", FILL]).arg(root.path()))?;
    ensure!(filled.status.success(), "{}", filled.stderr);
    Ok(Some(Install { package, root }))
}

impl Install {
    fn dpkg(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.root.path().display())).args(["--force-not-root", "--force-bad-path"]);
        let finished = finish(dpkg.args(arguments))?;
        ensure!(finished.status.success(), "{arguments:?}: {}", finished.stderr);
        Ok(finished)
    }

    fn has(&self, path: &str) -> bool {
        self.root.path().join(path).exists()
    }
}

#[test]
fn the_package_installs_and_leaves_nothing_behind() -> anyhow::Result<()> {
    let Some(install) = install()? else { return Ok(()) };
    let package = install.package.display().to_string();
    install.dpkg(&["--install", &package])?;
    let status = install.dpkg(&["--status", "llmtap"])?.stdout;
    ensure!(status.contains("Status: install ok installed"), "{status}");
    ensure!(status.contains(&format!("Version: {}", env!("CARGO_PKG_VERSION"))), "{status}");
    let llmtap = install.root.path().join("usr/bin/llmtap");
    ensure!(fs::metadata(&llmtap)?.permissions().mode() & 0o7777 == 0o755);
    // Static: it runs in a root that has no library of its own for it.
    let version = finish(Command::new("chroot").arg(install.root.path()).args(["/usr/bin/llmtap", "--version"]))?;
    ensure!(version.stdout == format!("llmtap {}\n", env!("CARGO_PKG_VERSION")), "{}", version.stderr);
    for path in ["usr/lib/systemd/system/llmtap.service", "usr/share/doc/llmtap/copyright", "etc/llmtap/config.yaml"] {
        ensure!(install.has(path), "no {path}");
    }
    let unit = fs::read_to_string(install.root.path().join("usr/lib/systemd/system/llmtap.service"))?;
    let document = unit.lines().find_map(|line| line.strip_prefix("Documentation=file:///")).context("no document")?;
    ensure!(install.has(document), "no {document}");
    // What the administrator wrote stays over an update, and when the package goes; until it is purged.
    let config = install.root.path().join("etc/llmtap/config.yaml");
    fs::write(&config, "select: {include: [{all: true}]}\n")?;
    install.dpkg(&["--install", "--force-confdef", &package])?;
    ensure!(fs::read_to_string(&config)?.starts_with("select: {"));
    fs::create_dir_all(install.root.path().join("var/cache/llmtap"))?;
    install.dpkg(&["--remove", "llmtap"])?;
    ensure!(!install.has("usr/bin/llmtap") && install.has("etc/llmtap/config.yaml") && install.has("var/cache/llmtap"));
    install.dpkg(&["--purge", "llmtap"])?;
    for path in ["etc/llmtap", "var/cache/llmtap", "usr/share/doc/llmtap", "usr/lib/systemd"] {
        ensure!(!install.has(path), "{path} was left behind");
    }
    Ok(())
}

#[test]
fn lintian_has_no_complaint() -> anyhow::Result<()> {
    let Some(install) = install()? else { return Ok(()) };
    if !is_there("lintian") {
        println!("skipped: no lintian (Debian package lintian)");
        return Ok(());
    }
    // It is linked statically, with parts of libraries of its own, on purpose; Debian itself has no bug for its upload.
    let known = "statically-linked-binary,embedded-library,initial-upload-closes-no-bugs,no-manual-page";
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--suppress-tags", known]);
    let finished = finish(lintian.arg(&install.package))?;
    ensure!(finished.status.success(), "{}", finished.stdout);
    Ok(())
}

#[test]
fn checksums_hold() -> anyhow::Result<()> {
    let sums = released("SHA256SUMS");
    if !sums.exists() {
        println!("skipped: nothing was released: `cargo xtask dist`");
        return Ok(());
    }
    let folder = sums.parent().unwrap_or(Path::new("."));
    let finished = finish(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(folder))?;
    ensure!(finished.status.success(), "{}", finished.stderr);
    print!("{}", finished.stdout);
    fs::read_to_string(&sums)?.lines().next().context("an empty list")?;
    Ok(())
}
