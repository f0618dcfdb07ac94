//! The same input gives the same bytes, whoever packs it and whenever.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::{VERSION, archive, package};
use crate::setup::{output, which};

/// What two users make of the same program, one after the other; the second one's mask lets nobody else read.
fn twice(pack: impl Fn(&Path, &Path) -> Result<()>, name: &str) -> Result<TempDir> {
    let (one, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    for (folder, mode) in [(&one, 0o755), (&other, 0o700)] {
        let program = folder.path().join("program");
        fs::write(&program, "as it was built")?;
        fs::set_permissions(&program, fs::Permissions::from_mode(mode))?;
        pack(folder.path(), &program)?;
        // Archives know whole seconds.
        std::thread::sleep(Duration::from_millis(1100));
    }
    let [first, second] = [&one, &other].map(|folder| fs::read(folder.path().join(name)));
    ensure!(first? == second?, "{name} differs");
    Ok(one)
}

#[test]
fn archives_do_not_say_who_made_them_and_when() -> Result<()> {
    let name = format!("llmtap-{VERSION}-linux-x86_64.tar.gz");
    let folder = twice(|out, program| archive::pack(out, "x86_64", program), &name)?;
    let list = output(Command::new("tar").args(["--numeric-owner", "-tvzf"]).arg(folder.path().join(&name)))?;
    for file in ["llmtap", "deploy/llmtap.yaml", "docs/operations.md"] {
        ensure!(list.lines().any(|line| line.ends_with(&format!("linux-x86_64/{file}"))), "no {file}: {list}");
    }
    for line in list.lines() {
        let is_open = line.ends_with('/') || line.ends_with("/llmtap");
        let expected = if is_open { "rwxr-xr-x 0/0" } else { "rw-r--r-- 0/0" };
        ensure!(line.get(1..).is_some_and(|rest| rest.starts_with(expected)), "{list}");
    }
    Ok(())
}

#[test]
fn packages_do_not_say_who_made_them_and_when() -> Result<()> {
    if which("dpkg-deb").is_none() {
        println!("skipped: no dpkg-deb (Debian package dpkg)");
        return Ok(());
    }
    let name = format!("llmtap_{VERSION}_amd64.deb");
    let folder = twice(package::build, &name)?;
    let list = output(Command::new("dpkg-deb").arg("--contents").arg(folder.path().join(&name)))?;
    let all_roots = list.lines().all(|line| line.split_whitespace().nth(1) == Some("root/root"));
    ensure!(all_roots && list.contains("./usr/bin/llmtap"), "{list}");
    Ok(())
}
