//! A client that does what it is told, under llmtap or not, against the mock provider; and llmtap's processes beside it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Places;
use crate::{demo::Mock, setup};

/// What sessions share: a mock that serves, and a Python with the client's packages.
pub struct Stage {
    pub mock: Mock,
    folder: PathBuf,
    python: PathBuf,
}

impl Stage {
    pub fn set(places: &Places) -> Result<Self> {
        let folder = setup::root().join("target/bench");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let python = python()?;
        own_library(&python, &folder)?;
        Ok(Self { mock: Mock::start(&places.binaries, &folder)?, folder, python })
    }

    /// Where a traced session's spans go.
    pub fn spans(&self) -> PathBuf {
        self.folder.join("spans.jsonl")
    }

    /// Starts the client; under llmtap where it is named.
    pub fn client(&self, llmtap: Option<&Path>, arguments: &[&str], content: bool) -> Result<Session> {
        let command = match llmtap {
            Some(llmtap) => {
                let mut command = Command::new(llmtap);
                command.args(["run", "--output", "jsonl", "-o"]).arg(self.spans()).arg("--").arg(&self.python);
                command
            }
            None => Command::new(&self.python),
        };
        self.start(command, arguments, content, &[])
    }

    /// Starts the client under llmtap that sends spans by OTLP and nowhere else.
    pub fn exporting(&self, llmtap: &Path, endpoint: &str, compression: &str) -> Result<Session> {
        let mut command = Command::new(llmtap);
        command.args(["run", "--output", "none", "--otlp-endpoint", endpoint, "--"]).arg(&self.python);
        let telemetry = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ("OTEL_BSP_SCHEDULE_DELAY", "1000"),
        ];
        self.start(command, &[], false, &telemetry)
    }

    fn start(
        &self,
        mut command: Command,
        arguments: &[&str],
        content: bool,
        telemetry: &[(&str, &str)],
    ) -> Result<Session> {
        command.arg(setup::root().join("tests/bench/client.py")).args(arguments);
        let others =
            std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("OTEL_"));
        for name in others {
            command.env_remove(name);
        }
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        let mut child = command
            .envs(telemetry.iter().copied())
            .env("OPENAI_BASE_URL", format!("{}/v1", self.mock.url))
            .env("OPENAI_API_KEY", "sk-bench")
            .env("LD_LIBRARY_PATH", &self.folder)
            .env("SSL_CERT_FILE", self.folder.join("ca.pem"))
            .env("TRACELOOP_TRACE_CONTENT", if content { "true" } else { "false" })
            // The same hash tables in every process.
            .env("PYTHONHASHSEED", "0")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the client")?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("the client has no stdout")?);
        let mut session = Session { child, input, output };
        session.answer()?;
        Ok(session)
    }
}

/// The Python of a virtual environment with the client's packages, made when it is missing or stale.
fn python() -> Result<PathBuf> {
    let folder = setup::root().join("target/venv-bench");
    let requirements = setup::root().join("tests/bench/requirements.txt");
    let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.installed"));
    let wanted = fs::read(&requirements)?;
    if python.exists() && fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    println!("preparing the OpenAI SDK and OpenLLMetry in target/venv-bench (half a minute the first time)");
    let _ = fs::remove_dir_all(&folder);
    setup::output(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    setup::output(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(&requirements))?;
    fs::write(&stamp, wanted)?;
    Ok(python)
}

/// Puts a copy of the Python's libssl into the folder, which the clients load: other tracers on this machine probe the
/// installed file, and would be measured with us. A Python without a libssl of its own is left as it is.
fn own_library(python: &Path, folder: &Path) -> Result<()> {
    let script =
        "import ssl\nfor line in open('/proc/self/maps'):\n if 'libssl' in line: print(line.split()[-1]); break";
    let path = setup::output(Command::new(python).args(["-c", script]))?;
    if let Some(name) = Path::new(&path).file_name() {
        fs::copy(&path, folder.join(name))?;
    }
    Ok(())
}

/// A client that runs.
pub struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Session {
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("the client was ended")?;
        Ok(writeln!(input, "{line}")?)
    }

    pub fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).context("the client failed; what it said stands above")
    }

    pub fn ask(&mut self, line: &str) -> Result<Value> {
        self.tell(line)?;
        self.answer()
    }

    /// llmtap's halves: the privileged one and the parsing one.
    pub fn halves(&self) -> Result<[Process; 2]> {
        let tracer = self.child.id();
        let executable = |pid: u32| fs::read_link(format!("/proc/{pid}/exe"));
        let own = executable(tracer)?;
        let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children"))?;
        let parser = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .filter(|pid| executable(*pid).is_ok_and(|path| path == own))
            .find(|pid| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() != "llmtap-keeper")
            })
            .context("llmtap has no parsing half")?;
        Ok([Process(tracer), Process(parser)])
    }

    /// Ends it in order.
    pub fn end(mut self) -> Result<()> {
        drop(self.input.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "the client failed: {status}");
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that is looked at from outside.
#[derive(Clone, Copy)]
pub struct Process(u32);

impl Process {
    /// Processor time of all its threads, milliseconds.
    pub fn processor_ms(self) -> Result<f64> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += text.split_whitespace().next().and_then(|time| time.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(nanoseconds as f64 / 1e6)
    }

    /// A field of `/proc/PID/status` that is given in kB, in MiB.
    pub fn memory(self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(number.with_context(|| format!("no {field} in the status of a process"))? / 1024.0)
    }

    /// Begins to measure the highest resident memory (`VmHWM`) anew.
    pub fn forget_peak(self) -> Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.0), "5")?)
    }
}
