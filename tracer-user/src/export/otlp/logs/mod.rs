//! Events, as OTLP logs: a bounded queue and a thread of their own, as spans have them.

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

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use tokio::{
    sync::{Notify, mpsc as queue},
    time::Instant,
};

use super::{
    FULL_PAUSE, QUEUE_BYTES, STOP_TIMEOUT, WhenFull,
    client::Client,
    config::{ConfigError, Settings, Signal},
    connect::{self, Resolve},
    report::{ExportStats, Report},
    sender::Sender,
};
use crate::{export::convert, span::EventRecord};

/// Contents are large: a request ends at so many bytes, well below the 4 MiB that receivers take by default.
const BATCH_BYTES: usize = 2 << 20;

/// An exporter with all its files read, ready to start.
#[derive(Debug)]
pub struct OtlpLogs {
    settings: Settings,
    tls: Option<rustls::ClientConfig>,
    when_full: WhenFull,
}

impl OtlpLogs {
    /// Reads `--otlp-endpoint` and the standard variables of this process. `None` when no endpoint is named.
    pub fn from_environment(endpoint: Option<&str>) -> Result<Option<Self>, ConfigError> {
        Self::new(endpoint, &|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))
    }

    /// The same with the variables given.
    pub fn new(endpoint: Option<&str>, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let Some(settings) = Settings::read(Signal::Logs, endpoint, env)? else { return Ok(None) };
        let tls = settings.tls.as_ref().map(connect::tls_config).transpose()?;
        Ok(Some(Self { settings, tls, when_full: WhenFull::default() }))
    }

    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        Self { when_full, ..self }
    }

    /// Starts the exporter's thread. No file is opened and no program started from here on.
    pub fn start(self, resolver: Arc<dyn Resolve>) -> io::Result<LogsHandle> {
        let report = Arc::new(Report::new("events", self.settings.shown_endpoint()));
        let when_full = self.when_full;
        let (sender, receiver) = queue::channel(self.settings.batch.queue);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let (done, stopped) = mpsc::channel();
        let abort = Arc::new(Notify::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let client = {
            // The channel of gRPC spawns its driver when it is made.
            let _inside = runtime.enter();
            Client::new(&self.settings, self.tls, resolver, Arc::clone(&report)).map_err(io::Error::other)?
        };
        let mut worker = Worker {
            receiver,
            queued_bytes: Arc::clone(&queued_bytes),
            sender: Sender { settings: self.settings, client },
            report: Arc::clone(&report),
            over: None,
        };
        let aborted = Arc::clone(&abort);
        let thread = std::thread::Builder::new().name("otlp-logs".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = worker.run() => {}
                    () = aborted.notified() => {}
                }
            });
            runtime.shutdown_background();
            // The handle may be gone.
            let _ = done.send(());
        })?;
        Ok(LogsHandle { sender, queued_bytes, when_full, report, abort, stopped, thread })
    }
}

/// The pipeline's end of a running exporter.
#[derive(Debug)]
pub struct LogsHandle {
    sender: queue::Sender<EventRecord>,
    queued_bytes: Arc<AtomicUsize>,
    when_full: WhenFull,
    report: Arc<Report>,
    abort: Arc<Notify>,
    stopped: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl LogsHandle {
    /// Hands an event over. One whose span its own program does not sample is not for export.
    pub fn send(&self, record: EventRecord) {
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
            waiting = *back;
            std::thread::sleep(FULL_PAUSE);
        }
    }

    /// Gives the event back when the queue has no room for it.
    fn try_send(&self, record: EventRecord, weight: usize) -> Result<(), Box<EventRecord>> {
        let before = self.queued_bytes.fetch_add(weight, Ordering::Relaxed);
        let result = if before > 0 && before + weight > QUEUE_BYTES {
            Err(record)
        } else {
            self.sender.try_send(record).map_err(queue::error::TrySendError::into_inner)
        };
        if result.is_err() {
            self.queued_bytes.fetch_sub(weight, Ordering::Relaxed);
        }
        result.map_err(Box::new)
    }

    /// Sends what waits, for at most `deadline`. What could not be sent by then counts as dropped.
    pub fn shutdown(self, deadline: Duration) -> ExportStats {
        drop(self.sender);
        let stopped = self.stopped.recv_timeout(deadline).is_ok() || {
            self.report.unfinished();
            self.abort.notify_one();
            self.stopped.recv_timeout(STOP_TIMEOUT).is_ok()
        };
        // A thread that panicked has disconnected: its events are counted as dropped all the same.
        if stopped {
            let _ = self.thread.join();
        }
        self.report.stats()
    }
}

struct Worker {
    receiver: queue::Receiver<EventRecord>,
    queued_bytes: Arc<AtomicUsize>,
    sender: Sender,
    report: Arc<Report>,
    /// It did not fit into the batch before.
    over: Option<EventRecord>,
}

impl Worker {
    /// Runs until the queue is closed and empty.
    async fn run(&mut self) {
        let mut batch = Vec::new();
        while self.collect(&mut batch).await {
            let count = batch.len() as u64;
            let request = ExportLogsServiceRequest { resource_logs: convert::resource_logs(std::mem::take(&mut batch)) };
            let timeout = self.sender.settings.batch.timeout;
            match tokio::time::timeout(timeout, self.sender.send(&request, &self.report)).await {
                Ok(Ok(rejected)) => {
                    let rejected = rejected.min(count);
                    self.report.succeeded(count - rejected, rejected);
                }
                Ok(Err(error)) => self.report.lost(&error),
                Err(_) => self.report.lost("the endpoint did not answer in time"),
            }
            self.report.settled(count);
        }
    }

    /// Waits for a full batch, or for the delay after its first event. `false` when nothing is left to come.
    async fn collect(&mut self, batch: &mut Vec<EventRecord>) -> bool {
        let limits = self.sender.settings.batch;
        let first = match self.over.take() {
            Some(first) => first,
            None => match self.receiver.recv().await {
                Some(first) => first,
                None => return false,
            },
        };
        let mut bytes = self.take(first, batch);
        let deadline = Instant::now() + limits.delay;
        while batch.len() < limits.size {
            match tokio::time::timeout_at(deadline, self.receiver.recv()).await {
                Ok(Some(record)) if bytes + record.weight() > BATCH_BYTES => {
                    self.over = Some(record);
                    break;
                }
                Ok(Some(record)) => bytes += self.take(record, batch),
                // Closed, or the delay is over.
                Ok(None) | Err(_) => break,
            }
        }
        true
    }

    fn take(&self, record: EventRecord, batch: &mut Vec<EventRecord>) -> usize {
        let weight = record.weight();
        self.queued_bytes.fetch_sub(weight, Ordering::Relaxed);
        batch.push(record);
        weight
    }
}

#[cfg(test)]
mod tests;
