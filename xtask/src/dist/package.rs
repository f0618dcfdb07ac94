//! `llmtap_VERSION_amd64.deb`: the binary, a hardened systemd unit, and the annotated configuration.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{VERSION, archive::commit_time, files};
use crate::setup::{output, root, which};

/// From the project to the package, with permissions.
const FILES: [(&str, &str, u32); 7] = [
    ("deploy/llmtap.yaml", "etc/llmtap/config.yaml", 0o644),
    ("deploy/systemd/llmtap.service", "usr/lib/systemd/system/llmtap.service", 0o644),
    ("deploy/debian/copyright", "usr/share/doc/llmtap/copyright", 0o644),
    ("deploy/debian/conffiles", "DEBIAN/conffiles", 0o644),
    ("deploy/debian/postinst", "DEBIAN/postinst", 0o755),
    ("deploy/debian/prerm", "DEBIAN/prerm", 0o755),
    ("deploy/debian/postrm", "DEBIAN/postrm", 0o755),
];

/// Below the package's folder of documents, where their links look for it.
const DOCUMENTS: [&str; 6] =
    ["README.md", "CHANGELOG.md", "docs", "deploy/llmtap.yaml", "deploy/grafana", "deploy/prometheus"];

/// Packs with dpkg-deb(1), which every Debian has. The same input gives the same bytes.
pub fn build(out: &Path, llmtap: &Path) -> Result<()> {
    which("dpkg-deb").context("the package needs dpkg-deb (Debian package dpkg)")?;
    let stage = out.join("stage/deb");
    let _ = fs::remove_dir_all(&stage);
    for (from, to, mode) in FILES {
        place(&root().join(from), &stage.join(to), mode)?;
    }
    for file in files(&DOCUMENTS)? {
        place(&root().join(&file), &stage.join("usr/share/doc/llmtap").join(&file), 0o644)?;
    }
    place(llmtap, &stage.join("usr/bin/llmtap"), 0o755)?;
    let time = commit_time()?;
    changelog(&stage.join("usr/share/doc/llmtap/changelog.gz"), time)?;
    let size = ["etc", "usr"].into_iter().map(|part| installed_size(&stage.join(part))).sum::<Result<u64>>()?;
    let control = fs::read_to_string(root().join("deploy/debian/control"))?;
    let control = control.replace("@VERSION@", VERSION).replace("@SIZE@", &size.to_string());
    write(&stage.join("DEBIAN/control"), &control)?;
    let sums = "cd \"$1\" && find . -type f ! -path './DEBIAN/*' -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 md5sum";
    let sums = output(Command::new("sh").args(["-c", sums, "sh"]).arg(&stage))? + "\n";
    write(&stage.join("DEBIAN/md5sums"), &sums)?;
    let package = out.join(format!("llmtap_{VERSION}_amd64.deb"));
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", "-Zxz", "--build"]).arg(&stage).arg(package);
    output(pack.env("SOURCE_DATE_EPOCH", time.to_string()))?;
    Ok(())
}

/// In KiB as Debian's policy counts: each file rounded up, one for whatever else. What folders take differs from file
/// system to file system.
fn installed_size(of: &Path) -> Result<u64> {
    let mut size = 1;
    for entry in fs::read_dir(of)? {
        let entry = entry?;
        size += if entry.file_type()?.is_dir() {
            installed_size(&entry.path())?
        } else {
            entry.metadata()?.len().div_ceil(1024)
        };
    }
    Ok(size)
}

/// Whatever this user's mask is.
fn write(to: &Path, text: &str) -> Result<()> {
    fs::write(to, text)?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o644))?)
}

fn place(from: &Path, to: &Path, mode: u32) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
        // Whatever this user's mask is.
        for folder in folder.ancestors().take_while(|folder| !folder.ends_with("stage")) {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
    }
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// As Debian wants it of a native package; what has changed is in the project's own file.
fn changelog(to: &Path, time: u64) -> Result<()> {
    let date = output(Command::new("date").args(["-u", "-R", "-d", &format!("@{time}")]).env("LC_ALL", "C"))?;
    let text = format!(
        "llmtap ({VERSION}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- llmtap maintainers \
         <maintainers@llmtap.invalid>  {date}\n"
    );
    let plain = to.with_extension("");
    write(&plain, &text)?;
    output(Command::new("gzip").args(["-9nf"]).arg(&plain))?;
    Ok(())
}
