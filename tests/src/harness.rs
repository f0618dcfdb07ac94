//! Runs real clients, traced and not, and makes what they need on the spot.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::{
    compare::{self, Report},
    environment::{self, Python},
    mock::{MockProvider, Options, Truth},
    spans::{self, Span},
};

/// A credential that the clients send, to be looked for where it must never show.
pub const SECRET: &str = "sk-mock-0123456789-secret";

/// How long a client or a tracer may take before the harness kills it.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

pub fn clients() -> PathBuf {
    workspace().join("tests/clients")
}

/// The binary under test: `LLMTAP_BIN`, or the one beside the running test in the target directory.
pub fn llmtap() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("LLMTAP_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let beside = test.ancestors().skip(1).take(2).map(|folder| folder.join("llmtap")).find(|path| path.exists());
    beside.context("no llmtap binary: run `cargo build` first")
}

pub(crate) fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
    text.trim_end().lines().last().unwrap_or_default().to_owned()
}

/// Why a traced test cannot run here, if it cannot.
pub fn untraceable() -> Option<String> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let reason = || {
        if !is_root() {
            return Some("needs root".to_owned());
        }
        let binary = match llmtap() {
            Ok(binary) => binary,
            Err(error) => return Some(error.to_string()),
        };
        // The contract: 77 says what this machine or these privileges lack.
        let own = std::process::id().to_string();
        match Command::new(binary).args(["trace", "--pid", &own, "--duration", "1ms", "--output", "none"]).output() {
            Ok(output) if output.status.code() == Some(77) => Some(last_line(&output)),
            Ok(_) => None,
            Err(error) => Some(format!("llmtap does not start: {error}")),
        }
    };
    REASON.get_or_init(reason).clone()
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// A mock and a folder of its own for each test. While one exists, other tests wait: they share few cores, and times
/// are looked at.
pub struct Bench {
    pub mock: MockProvider,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// What a finished command left.
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    pub fn lines_on_stderr(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| !line.trim().is_empty()).collect()
    }
}

impl Bench {
    pub fn new() -> anyhow::Result<Self> {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new().prefix("llmtap-test-").tempdir()?;
        // Clients may run as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let mock = MockProvider::start(&Options {
            authority_file: Some(folder.path().join("ca.pem")),
            server_file: Some(folder.path().join("server.pem")),
            ..options
        })?;
        Ok(Self { mock, folder, _alone: alone })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Points every kind of client at the mock. Proxies of the environment would lead them elsewhere.
    pub fn equip<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let authority = self.path("ca.pem");
        for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
            command.env(name, &authority);
        }
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_DIR"]
        {
            command.env_remove(name);
        }
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTEL_")) {
            command.env_remove(name);
        }
        let url = self.mock.url();
        command
            .env("OPENAI_BASE_URL", format!("{url}/v1"))
            .env("ANTHROPIC_BASE_URL", &url)
            .env("OLLAMA_HOST", &url)
            .env("MOCK_URL", &url)
            .env("OPENAI_API_KEY", SECRET)
            .env("ANTHROPIC_API_KEY", SECRET)
            // LiteLLM would fetch prices from elsewhere.
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .env("PYTHONDONTWRITEBYTECODE", "1")
    }

    /// Gives Python a libssl of its own: probes stand in files, so that those of any other tracer on this machine show in
    /// every process that maps the same file.
    pub fn own_libssl(&self, command: &mut Command) -> anyhow::Result<()> {
        let path = self.libssl()?;
        let name = path.file_name().context("this Python maps no libssl file")?;
        let folder = self.path("lib");
        fs::create_dir_all(&folder)?;
        fs::copy(&path, folder.join(name))?;
        command.env("LD_LIBRARY_PATH", folder);
        Ok(())
    }

    /// The libssl that Python uses.
    pub fn libssl(&self) -> anyhow::Result<PathBuf> {
        const PRINT: &str = "import ssl; print([l.split()[-1] for l in open('/proc/self/maps') if '/libssl' in l][0])";
        let found = Command::new(Python::Clients.prepared()?).args(["-c", PRINT]).output()?;
        Ok(PathBuf::from(String::from_utf8_lossy(&found.stdout).trim()))
    }

    /// A client script with its scenarios, as a command line.
    pub fn script(&self, script: &str, scenarios: &[&str]) -> anyhow::Result<Vec<String>> {
        let path = clients().join(script).display().to_string();
        let mut line = match script.rsplit_once('.') {
            Some((name, "py")) if name.starts_with("litellm") => {
                vec![Python::LiteLlm.prepared()?.display().to_string(), path]
            }
            Some((_, "py")) => vec![Python::Clients.prepared()?.display().to_string(), path],
            Some((_, "mjs")) => match script.strip_prefix("node/") {
                Some(script) => {
                    let path = environment::node_scripts()?.join(script);
                    vec![environment::node()?.display().to_string(), path.display().to_string()]
                }
                None => vec!["node".to_owned(), path],
            },
            _ => vec!["/bin/sh".to_owned(), path],
        };
        line.extend(scenarios.iter().map(|scenario| (*scenario).to_owned()));
        Ok(line)
    }

    pub fn run_untraced(&self, line: &[String]) -> anyhow::Result<Finished> {
        let [program, arguments @ ..] = line else { bail!("an empty command") };
        finish(self.equip(&mut Command::new(program)).args(arguments))
    }

    /// `llmtap run OPTIONS -- LINE`, not yet started, with its spans in a file unless the options say otherwise.
    pub fn traced(&self, options: &[&str], line: &[String]) -> anyhow::Result<Command> {
        let mut command = Command::new(llmtap()?);
        command.arg("run");
        if !options.contains(&"--output") {
            command.args(["--output", "jsonl", "-o"]).arg(self.path("spans.jsonl"));
        }
        command.args(options).arg("--").args(line);
        self.equip(&mut command);
        Ok(command)
    }

    /// Runs a script under `llmtap run`; it must succeed.
    pub fn run_traced(&self, options: &[&str], line: &[String]) -> anyhow::Result<Finished> {
        let finished = finish(&mut self.traced(options, line)?)?;
        ensure!(finished.status.success(), "{}: {}\n{}", finished.status, line.join(" "), finished.stderr);
        Ok(finished)
    }

    pub fn spans(&self) -> anyhow::Result<Vec<Span>> {
        spans::read(&self.path("spans.jsonl"))
    }

    pub fn truth(&self) -> Vec<Truth> {
        self.mock.truth(Duration::from_secs(3))
    }

    /// Compares the traced spans with the mock's log: at least `least` calls, all exact.
    pub fn expect_exact(&self, least: usize) -> anyhow::Result<Report> {
        let report = compare::compare(&self.truth(), &self.spans()?);
        ensure!(report.exact(), "\n{report}");
        ensure!(report.calls >= least, "only {} calls reached the mock, not {least}", report.calls);
        Ok(report)
    }
}

/// Runs to the end, with its output, within the harness's patience.
pub fn finish(command: &mut Command) -> anyhow::Result<Finished> {
    Running::start(command)?.finish()
}

/// A child with its output read in the background; killed when it is dropped unfinished.
pub struct Running {
    child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    /// Takes a child whose stdout and stderr are pipes, or are not wanted.
    pub fn new(mut child: Child) -> Self {
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = [drain(child.stdout.take(), &stdout), drain(child.stderr.take(), &stderr)];
        Self { child, stdout, stderr, readers: readers.into_iter().flatten().collect() }
    }

    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Ok(Self::new(child.with_context(|| format!("cannot start {:?}", command.get_program()))?))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Also while nobody has taken its status yet.
    pub fn has_ended(&self) -> bool {
        fs::read_link(format!("/proc/{}/exe", self.id())).is_err()
    }

    /// What came on stdout so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Writes a line to its stdin.
    pub fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut().context("stdin is no pipe")?;
        stdin.write_all(format!("{line}\n").as_bytes())?;
        Ok(stdin.flush()?)
    }

    /// Waits until a line of its stdout is `line`.
    pub fn wait_for_line(&mut self, line: &str) -> anyhow::Result<()> {
        let stdout = Arc::clone(&self.stdout);
        let child = &mut self.child;
        let mut over = false;
        wait_for(&format!("`{line}`"), || {
            let seen = text(&stdout).lines().any(|seen| seen == line);
            // Its last words may come after its end: look once more.
            let ended = std::mem::replace(&mut over, matches!(child.try_wait(), Ok(Some(_))));
            (seen || ended).then_some(seen)
        })
        .and_then(|seen| {
            ensure!(seen, "ended without `{line}`: {}", text(&self.stderr));
            Ok(())
        })
    }

    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let end = Instant::now() + PATIENCE;
        drop(self.child.stdin.take());
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "not done after {PATIENCE:?}: {}", text(&self.stderr));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn finish(mut self) -> anyhow::Result<Finished> {
        let status = self.wait()?;
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        Ok(Finished { status, stdout: self.stdout(), stderr: self.stderr() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

fn drain(pipe: Option<impl Read + Send + 'static>, into: &Arc<Mutex<Vec<u8>>>) -> Option<JoinHandle<()>> {
    let (mut pipe, into) = (pipe?, Arc::clone(into));
    Some(std::thread::spawn(move || {
        let mut piece = [0; 8192];
        while let Ok(length @ 1..) = pipe.read(&mut piece) {
            into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..length]);
        }
    }))
}

/// Sends a signal by name, to a process or (negative) to a group.
pub fn signal(name: &str, pid: i64) -> anyhow::Result<()> {
    let status = Command::new("sh").args(["-c", &format!("kill -s {name} -- {pid}")]).status()?;
    ensure!(status.success(), "kill -s {name} {pid} failed");
    Ok(())
}

/// Polls until `ready` gives a value.
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = ready() {
            return Ok(value);
        }
        ensure!(Instant::now() < end, "waited 20 s for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
