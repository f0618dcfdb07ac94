//! Containers of podman and runc, whose root is made of this machine's files: there is no image to be had without a
//! registry.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{
    environment::Python,
    harness::{Bench, clients, finish, untraceable},
};

/// A bench, and a root directory that containers lay an overlay over.
pub struct Yard {
    pub bench: Bench,
    pub root: PathBuf,
}

/// The yard, or a return from the test with the reason why it cannot run.
pub fn yard() -> anyhow::Result<Option<Yard>> {
    let missing = || {
        let is_there = |name: &str| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
        let missing = ["podman", "runc"].into_iter().find(|name| !is_there(name))?;
        Some(format!("no {missing} (Debian packages podman and runc)"))
    };
    if let Some(why) = untraceable().or_else(missing) {
        println!("skipped: {why}");
        return Ok(None);
    }
    let bench = Bench::new()?;
    let root = bench.path("root");
    fill(&root)?;
    Ok(Some(Yard { bench, root }))
}

/// A shell, curl where it is there, and the libraries of both and of Python, from the files of this machine.
fn fill(root: &Path) -> anyhow::Result<()> {
    const COPY: &str = r#"
set -e
mkdir -p "$1/etc" "$1/tmp" "$1/proc" "$1/sys" "$1/dev" "$1/bin"
modules() { "$python" -c "import sysconfig; print(sysconfig.get_path('$1'))"; }
python=$2
curl=$(command -v curl || true)
{ ldd "$2" /bin/sh $curl; find "$(modules stdlib)/lib-dynload" "$(modules platlib)" -name '*.so' -exec ldd {} + ; } 2>/dev/null |
    grep -o '/[^ ]*[^ :]' | grep '^/lib\|^/usr/lib' | sort -u | while read -r file; do
        mkdir -p "$1$(dirname "$file")" && cp -L "$file" "$1$file"
    done
cp -L /bin/sh $curl "$1/bin"
"#;
    fs::create_dir_all(root)?;
    let copied = finish(Command::new("sh").args(["-c", COPY, "sh"]).arg(root).arg(Python::Clients.prepared()?))?;
    ensure!(copied.status.success(), "no root for containers: {}", copied.stderr);
    Ok(())
}

impl Yard {
    /// `podman run` of a client, with the options in front of the image.
    pub fn container(&self, options: &[&str], scenarios: &[&str]) -> anyhow::Result<Vec<String>> {
        self.container_of(&["--rootfs", &format!("{}:O", self.root.display())], options, scenarios)
    }

    /// The same with another root than the yard's directory.
    pub fn container_of(&self, root: &[&str], options: &[&str], scenarios: &[&str]) -> anyhow::Result<Vec<String>> {
        self.container_with(root, options, &self.bench.script("openai_sync.py", scenarios)?)
    }

    /// The same with another client's command line.
    pub fn container_with(&self, root: &[&str], options: &[&str], client: &[String]) -> anyhow::Result<Vec<String>> {
        let folder = self.bench.path("");
        let python = Python::Clients.prepared()?;
        let venv = python.parent().and_then(Path::parent).context("no virtual environment")?;
        // Debian's crun refuses the cgroups of some machines.
        let mut line: Vec<String> =
            ["podman", "--log-level=error", "--runtime", "runc", "run", "--rm", "--network", "host", "--env-host"]
                .map(str::to_owned)
                .into();
        line.extend(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"].map(str::to_owned));
        let real = fs::canonicalize(&python)?;
        let base = real.parent().and_then(Path::parent).context("no Python")?.to_owned();
        for shared in [venv.to_owned(), fs::canonicalize(venv)?, base, clients(), folder] {
            line.push(format!("--volume={0}:{0}:ro", shared.display()));
        }
        line.extend(options.iter().map(|option| (*option).to_owned()));
        line.extend(root.iter().map(|word| (*word).to_owned()));
        line.extend(client.iter().cloned());
        Ok(line)
    }
}
