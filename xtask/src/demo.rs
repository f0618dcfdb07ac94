//! The demo: real, unmodified programs against a mock provider, traced, and the trace compared with what the mock
//! really sent.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{setup, test};

/// Runs the demo; an error when a traced call differs from what the mock sent.
pub fn run() -> Result<()> {
    for (program, package) in [("curl", "curl"), ("python3", "python3 python3-venv")] {
        ensure!(setup::which(program).is_some(), "{program} is missing: on Debian `apt-get install {package}`");
    }
    step(1, "building llmtap and the mock provider (minutes the first time, then seconds)");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built =
        Command::new(cargo).current_dir(setup::root()).arg("build").args(test::PACKAGES).arg("--bins").status()?;
    ensure!(built.success(), "the build failed; its output above says why");
    let binaries = target().join("debug");

    step(2, "preparing the Python SDKs in a virtual environment under target/ (some 20 seconds the first time)");
    let python = setup::output(Command::new(binaries.join("mock-provider")).arg("prepare-demo"))?;

    step(3, "starting the mock provider");
    let folder = target().join("demo");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let mut mock = Mock::start(&binaries, &folder)?;
    println!("      it serves at {}", mock.url);

    step(4, "tracing curl and the openai and anthropic SDKs");
    let capture = folder.join("capture.jsonl");
    trace(&binaries, &folder, &mock.url, &python, &capture)?;

    step(5, "comparing the trace with what the mock really sent");
    mock.stop()?;
    let spans = folder.join("spans.jsonl");
    let replayed = Command::new(binaries.join("llmtap"))
        .args(["replay", "--output", "jsonl", "--output-file"])
        .arg(&spans)
        .arg(&capture)
        .status()?;
    ensure!(replayed.success(), "the recording does not replay");
    let compared = Command::new(binaries.join("mock-provider"))
        .arg("compare")
        .arg("--log")
        .arg(folder.join("mock.jsonl"))
        .arg("--spans")
        .arg(&spans)
        .status()?;
    ensure!(compared.success(), "the trace differs from what the mock sent; the lines above say where");

    let llmtap = relative(&binaries.join("llmtap"));
    println!("\nTry next:");
    for (command, what) in [
        (format!("sudo {llmtap} run -- python your_program.py"), "trace a program of your own"),
        (format!("sudo {llmtap} trace --all"), "trace everything that runs on this machine"),
        (format!("{llmtap} replay {}", relative(&capture)), "the same trace again, without root"),
        (format!("{} --help", relative(&binaries.join("mock-provider"))), "the mock provider, for your own trials"),
    ] {
        println!("  {command:58} {what}");
    }
    Ok(())
}

fn step(number: u32, what: &str) {
    println!("[{number}/5] {what}");
}

fn target() -> PathBuf {
    setup::root().join("target")
}

/// As someone in the checkout would write it.
fn relative(path: &Path) -> String {
    path.strip_prefix(setup::root()).unwrap_or(path).display().to_string()
}

/// The mock, which ends with us however we end: it watches its standard input.
pub struct Mock {
    child: Child,
    pub url: String,
}

impl Mock {
    /// Starts the mock of this folder of binaries; its authority, log and URL go to `folder`.
    pub fn start(binaries: &Path, folder: &Path) -> Result<Self> {
        let url_file = folder.join("url");
        let child = Command::new(binaries.join("mock-provider"))
            .args(["--listen", "127.0.0.1:0", "--until-stdin-ends", "--ca-file"])
            .arg(folder.join("ca.pem"))
            .arg("--log")
            .arg(folder.join("mock.jsonl"))
            .arg("--url-file")
            .arg(&url_file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the mock provider")?;
        let mut mock = Self { child, url: String::new() };
        let end = Instant::now() + Duration::from_secs(10);
        while mock.url.is_empty() {
            mock.url = fs::read_to_string(&url_file).unwrap_or_default();
            if let Some(status) = mock.child.try_wait()? {
                bail!("the mock provider ended at once: {status}");
            }
            ensure!(Instant::now() < end, "the mock provider does not serve");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(mock)
    }

    /// Ends it in order, so that its log is whole.
    fn stop(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        ensure!(self.child.wait()?.success(), "the mock provider failed");
        Ok(())
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn trace(binaries: &Path, folder: &Path, url: &str, python: &str, capture: &Path) -> Result<()> {
    let authority = folder.join("ca.pem").display().to_string();
    let environment = [
        ("OPENAI_BASE_URL", format!("{url}/v1")),
        ("ANTHROPIC_BASE_URL", url.to_owned()),
        ("OPENAI_API_KEY", "sk-demo".to_owned()),
        ("ANTHROPIC_API_KEY", "sk-demo".to_owned()),
        ("SSL_CERT_FILE", authority.clone()),
        ("REQUESTS_CA_BUNDLE", authority.clone()),
        ("CURL_CA_BUNDLE", authority),
        ("NO_PROXY", "localhost".to_owned()),
        ("no_proxy", "localhost".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ];
    let root = setup::output(Command::new("id").arg("-u"))? == "0";
    let mut command = if root {
        Command::new("env")
    } else {
        ensure!(setup::which("sudo").is_some(), "tracing needs root, and sudo is missing: run this as root");
        println!("      tracing needs root: sudo may ask for your password; the programs themselves run as you");
        let mut sudo = Command::new("sudo");
        sudo.arg("env");
        sudo
    };
    // sudo drops the environment: env(1) sets it again behind it.
    command.args(environment.iter().map(|(name, value)| format!("{name}={value}")));
    command.arg(binaries.join("llmtap")).args(["run", "--record"]).arg(capture).arg("--");
    command.arg("sh").arg(setup::root().join("tests/clients/demo.sh")).arg(python);
    println!("      llmtap run -- sh tests/clients/demo.sh\n");
    let status = command.status()?;
    println!();
    ensure!(status.success(), "the traced programs failed: {status}");
    Ok(())
}
