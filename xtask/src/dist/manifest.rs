//! Kubernetes manifests: what Kustomize makes of `deploy/kustomize`, one file a way of deployment.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::VERSION;
use crate::setup::{output, root, which};

/// Renders the base and every overlay.
pub fn render_all(out: &Path) -> Result<()> {
    let kustomize = root().join("deploy/kustomize");
    write(out, &kustomize.join("base"), "")?;
    for overlay in fs::read_dir(kustomize.join("overlays"))? {
        let overlay = overlay?.path();
        let name = overlay.file_name().context("an overlay without a name")?.to_string_lossy().into_owned();
        write(out, &overlay, &format!("-{name}"))?;
    }
    Ok(())
}

fn write(out: &Path, folder: &Path, suffix: &str) -> Result<()> {
    let text = render(folder)?;
    let image = format!("image: llmtap:{VERSION}\n");
    ensure!(text.contains(&image), "{} has no `{}`: change newTag in base", folder.display(), image.trim());
    fs::write(out.join(format!("llmtap-{VERSION}-kubernetes{suffix}.yaml")), text)?;
    Ok(())
}

/// Whether this machine has a program that renders them.
pub fn can_render() -> bool {
    which("kustomize").or_else(|| which("kubectl")).is_some()
}

/// By kustomize, or by kubectl, which has it inside.
fn render(folder: &Path) -> Result<String> {
    let mut command = match (which("kustomize"), which("kubectl")) {
        (Some(kustomize), _) => {
            let mut command = Command::new(kustomize);
            command.arg("build");
            command
        }
        (None, Some(kubectl)) => {
            let mut command = Command::new(kubectl);
            command.arg("kustomize");
            command
        }
        (None, None) => anyhow::bail!("manifests need kustomize, or kubectl"),
    };
    Ok(output(command.arg(folder))? + "\n")
}
