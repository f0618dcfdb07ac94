//! A tracer beside its clients: `llmtap trace`, and the node's agent as a service manager has it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::harness::{Bench, Finished, Running, llmtap, signal, wait_for};

/// `llmtap trace`, from when its hooks can be placed until ^C.
pub struct Tracer(Running);

impl Bench {
    /// `llmtap trace` with its spans in the bench's file; it needs selectors, and is not yet started.
    pub fn tracer(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(llmtap()?);
        command.args(["trace", "-v", "--output", "jsonl", "-o"]).arg(self.path("spans.jsonl"));
        Ok(command)
    }

    /// A script that waits for a line on its stdin, with a libssl of its own.
    pub fn waiting(&self, script: &str, scenarios: &[&str]) -> anyhow::Result<Running> {
        let line = self.script(script, scenarios)?;
        let (program, arguments) = line.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        self.own_libssl(&mut command)?;
        let mut client = Running::start(self.equip(command.args(arguments)))?;
        client.wait_for_line("waiting")?;
        Ok(client)
    }
}

impl Tracer {
    /// Starts a command that is or becomes a tracer with `-v`, and waits until it traces.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let tracer = Self(Running::start(command)?);
        let begins = || tracer.0.stderr().contains("tracing begins");
        wait_for("the tracer", || (begins() || tracer.0.has_ended()).then_some(()))?;
        ensure!(begins(), "it ended at once: {}", tracer.0.stderr());
        Ok(tracer)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn stderr(&self) -> String {
        self.0.stderr()
    }

    /// ^C, after which it must end well.
    pub fn stop(self) -> anyhow::Result<Finished> {
        let id = self.id();
        self.stop_by(id)
    }

    /// The same by way of another process, where what was started does not hand signals on.
    pub fn stop_by(self, id: u32) -> anyhow::Result<Finished> {
        signal("INT", id.into())?;
        let finished = self.0.finish()?;
        ensure!(finished.status.success(), "{}: {}", finished.status, finished.stderr);
        Ok(finished)
    }
}

/// What a service manager would hear, with when.
struct Manager {
    path: PathBuf,
    heard: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Manager {
    fn new(bench: &Bench) -> anyhow::Result<Self> {
        let path = bench.path("notify");
        let socket = UnixDatagram::bind(&path)?;
        let heard: Arc<Mutex<Vec<_>>> = Arc::default();
        let shared = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
                let over = text.contains("STOPPING=1");
                shared.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), text));
                if over {
                    return;
                }
            }
        });
        Ok(Self { path, heard })
    }

    fn first(&self, state: &str) -> Option<Instant> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().find(|(_, text)| text.lines().any(|line| line == state)).map(|(at, _)| *at)
    }
}

/// `llmtap daemon` with a file of its own.
pub struct Daemon {
    running: Running,
    manager: Manager,
    file: PathBuf,
    /// From its start until it was ready.
    pub took: Duration,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    pub fn start(bench: &Bench, text: &str) -> anyhow::Result<Self> {
        let file = bench.path("llmtap.yaml");
        fs::write(&file, text)?;
        let manager = Manager::new(bench)?;
        let mut command = Command::new(llmtap()?);
        command.args(["daemon", "--config"]).arg(&file).env("NOTIFY_SOCKET", &manager.path);
        // Spans are to come soon.
        command.env("OTEL_BSP_SCHEDULE_DELAY", "200");
        let began = Instant::now();
        let running = Running::start(&mut command)?;
        wait_for("readiness", || (manager.first("READY=1").is_some() || running.has_ended()).then_some(()))?;
        let ready = manager.first("READY=1").with_context(|| format!("it ended at once: {}", running.stderr()))?;
        Ok(Self { running, manager, file, took: ready.duration_since(began) })
    }

    pub fn id(&self) -> u32 {
        self.running.id()
    }

    pub fn stderr(&self) -> String {
        self.running.stderr()
    }

    /// How often the service manager has heard this.
    pub fn told(&self, state: &str) -> usize {
        let heard = self.manager.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().filter(|(_, text)| text.lines().any(|line| line == state)).count()
    }

    /// Has it read a new file; returns when it has said that it has, or that it has not.
    pub fn reload(&self, text: &str) -> anyhow::Result<()> {
        fs::write(&self.file, text)?;
        let before = self.told("READY=1");
        signal("HUP", self.id().into())?;
        wait_for("the end of the reload", || (self.told("READY=1") > before).then_some(()))
    }

    /// As a service manager stops it; it must end well.
    pub fn stop(self) -> anyhow::Result<Finished> {
        signal("TERM", self.id().into())?;
        let Self { running, manager, .. } = self;
        let finished = running.finish()?;
        ensure!(finished.status.success(), "{}: {}", finished.status, finished.stderr);
        wait_for("word of the end", || manager.first("STOPPING=1"))?;
        Ok(finished)
    }
}

pub fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Status line and body of a page.
pub fn page(address: &str, path: &str) -> anyhow::Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no answer")?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}
