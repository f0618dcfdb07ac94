//! OTLP over gRPC, HTTP with protobuf, or HTTP with JSON: spans in batches by the SDK's exporter, metrics at intervals.
//!
//! A bounded queue stands between the pipeline and one thread of the exporter's own. A full queue or an endpoint that
//! does not answer costs spans, which are counted; it never costs memory, and nobody waits.

mod client;
mod config;
mod connect;
mod metrics;
mod report;
mod worker;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use opentelemetry_otlp::{Compression, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use tokio::sync::{Notify, mpsc as queue};
use tonic::metadata::MetadataMap;

use self::{client::Client, report::Report, worker::Worker};
pub use self::{
    config::{ConfigError, MetricOptions, Protocol, ReadFile, Settings, Signal, exemplars},
    connect::{BoxFuture, Resolve, SystemResolver},
    metrics::{MetricExporter, OtlpMetrics},
    report::{ExportStats, Progress},
};
use crate::span::SpanRecord;

/// How long the exporter's thread may take to stop once it was told to.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// How often a sender that waits looks for room.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// The SDK retries within the export timeout: 0.2 s, 0.4 s, … 5 s apart, with jitter, or as the endpoint asks
/// (`Retry-After`, `RetryInfo`).
const RETRIES_MAX: usize = 16;
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// An exporter with all its files read, ready to start.
pub struct Otlp {
    settings: Settings,
    tls: Option<rustls::ClientConfig>,
    when_full: WhenFull,
}

/// What happens to a span for which the queue has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It is dropped and counted: a traced program must not wait.
    #[default]
    Drop,
    /// The sender waits as long as the endpoint takes spans. For a replay, which nobody's work waits for.
    Wait,
}

impl std::fmt::Debug for Otlp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

impl Otlp {
    /// Reads `--otlp-endpoint` and the standard variables of this process. `None` when no endpoint is named.
    pub fn from_environment(endpoint: Option<&str>) -> Result<Option<Self>, ConfigError> {
        Self::new(endpoint, &|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))
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
        let Some(settings) = Settings::read(Signal::Traces, endpoint, env, file)? else { return Ok(None) };
        let tls = settings.tls.as_ref().map(connect::tls_config).transpose()?;
        Ok(Some(Self { settings, tls, when_full: WhenFull::default() }))
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
    pub fn start(self, resolver: Arc<dyn Resolve>) -> io::Result<ExportHandle> {
        let report = Arc::new(Report::new("spans", self.settings.shown_endpoint()));
        let when_full = self.when_full;
        let settings = self.settings.clone();
        let (sender, receiver) = queue::channel(settings.batch.queue);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let (done, stopped) = mpsc::channel();
        let abort = Arc::new(Notify::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let exporters = {
            // The channel of gRPC spawns its driver when it is made.
            let _inside = runtime.enter();
            let client = Client::new(&self.settings, self.tls, resolver, Arc::clone(&report));
            Exporters { client: client.map_err(io::Error::other)?, settings: self.settings }
        };
        let worker = Worker {
            receiver,
            queued_bytes: Arc::clone(&queued_bytes),
            exporters,
            report: Arc::clone(&report),
            abort: Arc::clone(&abort),
        };
        let thread = std::thread::Builder::new().name("otlp".to_owned()).spawn(move || {
            worker.run(&runtime);
            // Threads that still resolve a name are left behind, not waited for.
            runtime.shutdown_background();
            // The handle may be gone.
            let _ = done.send(());
        })?;
        Ok(ExportHandle { settings, sender, queued_bytes, when_full, report, abort, stopped, thread })
    }
}

/// Makes the SDK's exporters, all on the same connections: each knows one resource, and every traced process is one.
struct Exporters {
    client: Client,
    settings: Settings,
}

impl Exporters {
    fn exporter(&self) -> Result<SpanExporter, opentelemetry_otlp::ExporterBuildError> {
        let settings = &self.settings;
        let retry = RetryPolicy::recommended()
            .with_max_retries(RETRIES_MAX)
            .with_initial_delay(RETRY_FIRST)
            .with_max_jitter(RETRY_FIRST)
            .with_max_delay(RETRY_LONGEST);
        match &self.client {
            Client::Grpc(channel) => {
                let builder = SpanExporter::builder()
                    .with_tonic()
                    .with_channel(channel.clone())
                    .with_timeout(settings.timeout)
                    .with_metadata(MetadataMap::from_headers(settings.headers.clone()))
                    .with_retry_policy(retry);
                if settings.gzip { builder.with_compression(Compression::Gzip) } else { builder }.build()
            }
            Client::Http(client) => {
                let headers = settings
                    .headers
                    .iter()
                    .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
                let builder = SpanExporter::builder()
                    .with_http()
                    .with_shared_http_client(Arc::clone(client))
                    .with_endpoint(settings.endpoint.to_string())
                    .with_protocol(match settings.protocol {
                        Protocol::HttpJson => opentelemetry_otlp::Protocol::HttpJson,
                        _ => opentelemetry_otlp::Protocol::HttpBinary,
                    })
                    .with_timeout(settings.timeout)
                    .with_headers(headers.collect())
                    .with_retry_policy(retry);
                if settings.gzip { builder.with_compression(Compression::Gzip) } else { builder }.build()
            }
        }
    }
}

/// The pipeline's end of a running exporter.
#[derive(Debug)]
pub struct ExportHandle {
    settings: Settings,
    sender: queue::Sender<SpanRecord>,
    queued_bytes: Arc<AtomicUsize>,
    when_full: WhenFull,
    report: Arc<Report>,
    abort: Arc<Notify>,
    stopped: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl ExportHandle {
    /// Hands a span over. One that its own program does not sample is not for export.
    pub fn send(&self, record: SpanRecord) {
        if !record.sampled() {
            return;
        }
        self.report.offered();
        let weight = record.weight();
        let mut waiting = record;
        while let Err(back) = self.try_send(waiting, weight) {
            if self.when_full == WhenFull::Drop || self.report.is_failing() || self.sender.is_closed() {
                self.report.overflowed();
                return;
            }
            waiting = back;
            std::thread::sleep(FULL_PAUSE);
        }
    }

    /// Gives the span back when the queue has no room for it.
    #[expect(clippy::result_large_err, reason = "the span itself comes back")]
    fn try_send(&self, record: SpanRecord, weight: usize) -> Result<(), SpanRecord> {
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
mod tests;
