//! OTLP over gRPC, HTTP with protobuf, or HTTP with JSON: spans in batches, metrics at intervals.
//!
//! A bounded queue stands between the pipeline and one thread of the exporter's own. A full queue or an endpoint that
//! does not answer costs spans, which are counted; it never costs memory, and nobody waits.

mod client;
mod config;
mod connect;
mod metrics;
mod report;
mod send;
mod worker;

use std::{
    io,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use opentelemetry_proto::tonic::collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest};
use tokio::sync::{Notify, mpsc as queue, watch};

use self::{client::Client, report::Report, send::Sender, worker::Worker};
pub use self::{
    config::{ConfigError, MetricOptions, Protocol, ReadFile, Settings, Signal, exemplars},
    connect::{BoxFuture, Resolve, SystemResolver, Tcp, roots_config},
    metrics::{MetricExporter, OtlpMetrics},
    report::{ExportStats, Progress},
};
use crate::{
    environment,
    export::convert,
    span::{EventRecord, SpanRecord},
};

/// How long the exporter's thread may take to stop once it was told to.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a sender that waits for room bears an endpoint that fails.
const FULL_PATIENCE: Duration = Duration::from_secs(10);

/// How often a sender that waits looks for room.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// What is exported one by one as it comes: spans and events.
pub trait Record: Sized + Send + 'static {
    const SIGNAL: Signal;
    /// For diagnostics.
    const WHAT: &'static str;
    /// The exporter's thread.
    const THREAD: &'static str;
    type Request: send::Export + Send + Sync;

    /// Roughly the memory that it holds, in bytes.
    fn weight(&self) -> usize;

    fn request(records: Vec<Self>) -> Self::Request;
}

impl Record for SpanRecord {
    const SIGNAL: Signal = Signal::Traces;
    const WHAT: &'static str = "spans";
    const THREAD: &'static str = "otlp";
    type Request = ExportTraceServiceRequest;

    fn weight(&self) -> usize {
        self.weight()
    }

    fn request(records: Vec<Self>) -> Self::Request {
        ExportTraceServiceRequest { resource_spans: convert::resource_spans(records) }
    }
}

impl Record for EventRecord {
    const SIGNAL: Signal = Signal::Logs;
    const WHAT: &'static str = "events";
    const THREAD: &'static str = "otlp-logs";
    type Request = ExportLogsServiceRequest;

    fn weight(&self) -> usize {
        self.weight()
    }

    fn request(records: Vec<Self>) -> Self::Request {
        ExportLogsServiceRequest { resource_logs: convert::resource_logs(records) }
    }
}

/// The exporter of spans.
pub type Otlp = Exporter<SpanRecord>;
/// The exporter of events, as OTLP logs.
pub type OtlpLogs = Exporter<EventRecord>;

/// An exporter with all its files read, ready to start.
pub struct Exporter<R> {
    settings: Settings,
    tls: Option<rustls::ClientConfig>,
    when_full: WhenFull,
    of: PhantomData<fn(R)>,
}

/// What happens to a span for which the queue has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It is dropped and counted: a traced program must not wait.
    #[default]
    Drop,
    /// The sender waits as long as the endpoint takes spans, or does not for [`FULL_PATIENCE`]. For a replay, which
    /// nobody's work waits for.
    Wait,
}

impl<R> std::fmt::Debug for Exporter<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

impl<R: Record> Exporter<R> {
    /// Reads `--otlp-endpoint` and the standard variables of this process. `None` when no endpoint is named.
    pub fn from_environment(endpoint: Option<&str>) -> Result<Option<Self>, ConfigError> {
        Self::new(endpoint, &environment::variable)
    }

    /// The same with the variables given.
    pub fn new(endpoint: Option<&str>, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        Self::with_files(endpoint, env, &|path| std::fs::read(path))
    }

    /// The same with the files given, too.
    pub fn with_files(
        endpoint: Option<&str>,
        env: &dyn Fn(&str) -> Option<String>,
        file: ReadFile<'_>,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(settings) = Settings::read(R::SIGNAL, endpoint, env, file)? else { return Ok(None) };
        let tls = settings.tls.as_ref().map(connect::tls_config).transpose()?;
        Ok(Some(Self { settings, tls, when_full: WhenFull::default(), of: PhantomData }))
    }

    pub fn when_full(self, when_full: WhenFull) -> Self {
        Self { when_full, ..self }
    }

    /// Waiting spans may hold so many bytes.
    pub fn with_queue_memory(mut self, bytes: usize) -> Self {
        self.settings.batch.memory = bytes;
        self
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Starts the exporter's thread. No file is opened and no program started from here on.
    pub fn start(self, resolver: Arc<dyn Resolve>) -> io::Result<Handle<R>> {
        let report = Arc::new(Report::new(R::WHAT, self.settings.shown_endpoint()));
        let when_full = self.when_full;
        let settings = self.settings.clone();
        let (sender, receiver) = queue::channel(settings.batch.queue);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let (done, stopped) = mpsc::channel();
        let abort = Arc::new(Notify::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let client = {
            // The channel of gRPC spawns its driver when it is made.
            let _inside = runtime.enter();
            Client::new(&self.settings, self.tls, resolver, Arc::clone(&report)).map_err(io::Error::other)?
        };
        let (end, ending) = watch::channel(false);
        let worker = Worker::<R> {
            receiver,
            queued_bytes: Arc::clone(&queued_bytes),
            sender: Sender { settings: self.settings, client, report: Arc::clone(&report), ending, asked: None },
            abort: Arc::clone(&abort),
        };
        let thread = std::thread::Builder::new().name(R::THREAD.to_owned()).spawn(move || {
            runtime.block_on(worker.run());
            // Threads that still resolve a name are left behind, not waited for.
            runtime.shutdown_background();
            // The handle may be gone.
            let _ = done.send(());
        })?;
        Ok(Handle { settings, sender, queued_bytes, when_full, report, end, abort, stopped, thread })
    }
}

/// The running exporter of spans.
pub type ExportHandle = Handle<SpanRecord>;
/// The running exporter of events.
pub type LogsHandle = Handle<EventRecord>;

/// The pipeline's end of a running exporter.
#[derive(Debug)]
pub struct Handle<R> {
    settings: Settings,
    sender: queue::Sender<R>,
    queued_bytes: Arc<AtomicUsize>,
    when_full: WhenFull,
    report: Arc<Report>,
    end: watch::Sender<bool>,
    abort: Arc<Notify>,
    stopped: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl<R: Record> Handle<R> {
    /// Hands a record over that is sampled.
    pub fn send(&self, record: R) {
        self.report.offered();
        let weight = record.weight();
        let mut waiting = record;
        while let Err(back) = self.try_send(waiting, weight) {
            let lasting =
                self.report.failing_for().is_some_and(|time| time > self.settings.batch.timeout.min(FULL_PATIENCE));
            if self.when_full == WhenFull::Drop || lasting || self.sender.is_closed() {
                self.report.overflowed();
                return;
            }
            waiting = back;
            std::thread::sleep(FULL_PAUSE);
        }
    }

    /// Gives the record back when the queue has no room for it.
    fn try_send(&self, record: R, weight: usize) -> Result<(), R> {
        let before = self.queued_bytes.fetch_add(weight, Ordering::Relaxed);
        let result = if before > 0 && before + weight > self.settings.batch.memory {
            Err(record)
        } else {
            self.sender.try_send(record).map_err(queue::error::TrySendError::into_inner)
        };
        if result.is_err() {
            self.queued_bytes.fetch_sub(weight, Ordering::Relaxed);
        }
        result
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How it stands while it runs.
    pub fn progress(&self) -> Progress {
        self.report.progress()
    }

    pub fn stats(&self) -> ExportStats {
        self.report.stats()
    }

    /// Sends what waits, for at most `deadline`. What could not be sent by then counts as dropped.
    pub fn shutdown(self, deadline: Duration) -> ExportStats {
        drop(self.sender);
        self.end.send_replace(true);
        let stopped = self.stopped.recv_timeout(deadline).is_ok() || {
            self.report.unfinished();
            self.abort.notify_one();
            self.stopped.recv_timeout(STOP_TIMEOUT).is_ok()
        };
        // A thread that panicked has disconnected: its spans are counted as dropped all the same.
        if stopped {
            let _ = self.thread.join();
        }
        self.report.stats()
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod tests;
