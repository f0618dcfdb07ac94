//! `llmtap-VERSION-linux-ARCHITECTURE.tar.gz`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{VERSION, files};
use crate::setup::{output, root};

/// Beside the binary, from the project, where the documents' links look for it.
const CONTENTS: [&str; 6] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "deploy", "docs"];

/// Packs the binary with what belongs to it. The same input gives the same bytes.
pub fn pack(out: &Path, architecture: &str, llmtap: &Path) -> Result<()> {
    let name = format!("llmtap-{VERSION}-linux-{architecture}");
    let folder = out.join("stage").join(&name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    fs::copy(llmtap, folder.join("llmtap"))?;
    for file in files(&CONTENTS)? {
        let to = folder.join(&file);
        fs::create_dir_all(to.parent().unwrap_or(&folder))?;
        fs::copy(root().join(file), to)?;
    }
    let archive = out.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=go=rX,u+rw,a-s", "--format=ustar"]);
    tar.arg(format!("--mtime=@{}", commit_time()?)).args(["--use-compress-program=gzip -9n", "--create", "--file"]);
    output(tar.arg(&archive).arg("--directory").arg(out.join("stage")).arg(&name))?;
    Ok(())
}

/// Of the last commit, seconds since the Unix epoch; `SOURCE_DATE_EPOCH` goes before it.
pub fn commit_time() -> Result<u64> {
    if let Ok(stated) = std::env::var("SOURCE_DATE_EPOCH") {
        return stated.parse().context("SOURCE_DATE_EPOCH is no number of seconds");
    }
    let time = output(Command::new("git").current_dir(root()).args(["log", "-1", "--format=%ct"]));
    Ok(time.context("outside of a git checkout SOURCE_DATE_EPOCH must say of when the release is")?.parse()?)
}
