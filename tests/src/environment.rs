//! What the client scripts need, installed with the ordinary package clients into `target/`, pinned by hashes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, bail, ensure};

use crate::harness::{clients, last_line, workspace};

/// Python interpreters with packages: virtual environments, each with a list of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Python {
    /// The two SDKs of the demo: quick to install.
    Demo,
    /// Every SDK that the end-to-end tests run.
    Clients,
    /// HTTP clients whose wheels bring a TLS library.
    Wheels,
    /// An HTTP client on pyOpenSSL, whose OpenSSL is inside a module and has no symbols.
    PyOpenSsl,
    /// LiteLLM, which wants an older openai than the others.
    LiteLlm,
    /// Prometheus' parsers.
    Metrics,
    /// Arize Phoenix, a back end.
    Phoenix,
}

impl Python {
    /// The folder under `target/`, the list of packages in `tests/clients/`, and how long the installation takes.
    fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Demo => ("venv-demo", "requirements-demo.txt", "some 20 seconds"),
            Self::Clients => ("venv", "requirements.txt", "about a minute"),
            Self::Wheels => ("venv-wheels", "requirements-wheels.txt", "some 20 seconds"),
            Self::PyOpenSsl => ("venv-pyopenssl", "requirements-pyopenssl.txt", "some 10 seconds"),
            Self::LiteLlm => ("venv-litellm", "requirements-litellm.txt", "about a minute"),
            Self::Metrics => ("venv-metrics", "requirements-metrics.txt", "some 10 seconds"),
            Self::Phoenix => ("venv-phoenix", "requirements-phoenix.txt", "some minutes"),
        }
    }

    /// The interpreter's path. Its environment is made when it is missing or stale; the error says what this machine
    /// lacks.
    pub fn prepared(self) -> anyhow::Result<PathBuf> {
        let (folder, requirements, takes) = self.parts();
        let folder = workspace().join("target").join(folder);
        let requirements = clients().join(requirements);
        let python = folder.join("bin/python");
        prepare(&folder, &[&requirements], takes, || {
            let made = Command::new("python3").args(["-m", "venv"]).arg(&folder).output();
            let made = made.context("python3 is not installed")?;
            ensure!(
                made.status.success(),
                "python3 -m venv failed (Debian: apt install python3-venv): {}",
                last_line(&made)
            );
            // The lists are whole: nothing is to be resolved, which would take longer than the installation.
            let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r"];
            let installed = Command::new(&python).args(pip).arg(&requirements).output()?;
            ensure!(installed.status.success(), "pip install failed: {}", last_line(&installed));
            Ok(())
        })?;
        Ok(python)
    }
}

/// A Node.js that the SDKs accept: one that `cargo xtask fixture` fetched, else the machine's own.
pub fn node() -> anyhow::Result<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let fetched =
        ["24", "26", "22"].map(|release| workspace().join(format!("target/fixtures/node-{release}/bin/node")));
    let recent = |program: &Path| {
        let version = Command::new(program).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&version.stdout).trim().strip_prefix('v')?.split('.').next()?.parse();
        version.ok().filter(|major: &u32| *major >= 22)
    };
    let candidates = || fetched.into_iter().chain([PathBuf::from("node")]).find(|path| recent(path).is_some());
    FOUND
        .get_or_init(candidates)
        .clone()
        .context("needs Node.js 22 or later: `cargo xtask fixture` fetches it with npm")
}

/// A folder with the Node packages and copies of the scripts of `tests/clients/node`: modules are looked up from where
/// a script lies.
pub fn node_scripts() -> anyhow::Result<PathBuf> {
    let folder = workspace().join("target/node-clients");
    let source = clients().join("node");
    let lists = ["package.json", "package-lock.json"].map(|name| source.join(name));
    prepare(&folder, &lists.each_ref().map(PathBuf::as_path), "some 10 seconds", || {
        fs::create_dir_all(&folder)?;
        for list in &lists {
            fs::copy(list, folder.join(list.file_name().unwrap_or_default()))?;
        }
        let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        let installed = Command::new("npm").args(npm).current_dir(&folder).output().context("npm is not installed")?;
        ensure!(installed.status.success(), "npm ci failed: {}", last_line(&installed));
        Ok(())
    })?;
    for entry in fs::read_dir(&source)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "mjs") {
            fs::copy(&path, folder.join(path.file_name().unwrap_or_default()))?;
        }
    }
    Ok(folder)
}

/// Has `make` fill a folder anew, unless it was made from the same lists before.
fn prepare(
    folder: &Path,
    lists: &[&Path],
    takes: &str,
    make: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    fs::create_dir_all(folder.parent().unwrap_or(folder))?;
    // Test binaries may run at the same time: one of them makes it.
    let lock = fs::File::create(folder.with_extension("lock"))?;
    lock.lock()?;
    let mut wanted = Vec::new();
    for list in lists {
        wanted.extend(fs::read(list).with_context(|| format!("cannot read {}", list.display()))?);
    }
    let stamp = folder.join("installed");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    eprintln!("making {} (once, {takes})", folder.display());
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => bail!("{}: {error}", folder.display()),
        _ => make()?,
    }
    Ok(fs::write(&stamp, wanted)?)
}
