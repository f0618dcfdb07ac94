//! The exporter's thread: collects batches and sends each, one request a traced process.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::Instant,
};

use super::{
    Exporters,
    report::{Report, SdkEvents},
};
use crate::{
    export::convert,
    span::{Resource, SpanRecord},
};

/// Requests in flight at a time.
const CONCURRENT_REQUESTS: usize = 8;

pub(super) struct Worker {
    pub receiver: mpsc::Receiver<SpanRecord>,
    pub queued_bytes: Arc<AtomicUsize>,
    pub exporters: Exporters,
    pub report: Arc<Report>,
    /// Stop at once: the deadline of the shutdown has passed.
    pub abort: Arc<Notify>,
}

impl Worker {
    /// Runs until the queue is closed and empty, or the abort.
    pub fn run(mut self, runtime: &tokio::runtime::Runtime) {
        let events = Arc::new(SdkEvents::default());
        let _listening = tracing::dispatcher::set_default(&tracing::Dispatch::from(Arc::clone(&events)));
        let abort = Arc::clone(&self.abort);
        runtime.block_on(async {
            tokio::select! {
                () = self.export_all(&events) => {}
                () = abort.notified() => {}
            }
        });
    }

    async fn export_all(&mut self, events: &SdkEvents) {
        let mut batch = Vec::new();
        while self.collect(&mut batch).await {
            let timeout = self.exporters.settings.batch.timeout;
            let count = batch.len() as u64;
            if tokio::time::timeout(timeout, self.export(&mut batch, events)).await.is_err() {
                self.report.lost("the endpoint did not answer in time");
            }
            self.report.settled(count);
            batch.clear();
        }
    }

    /// Waits for a full batch, or for the delay after its first span. `false` when nothing is left to come.
    async fn collect(&mut self, batch: &mut Vec<SpanRecord>) -> bool {
        let limits = self.exporters.settings.batch;
        let Some(first) = self.receiver.recv().await else { return false };
        self.take(first, batch);
        let deadline = Instant::now() + limits.delay;
        while batch.len() < limits.size {
            match tokio::time::timeout_at(deadline, self.receiver.recv()).await {
                Ok(Some(record)) => self.take(record, batch),
                // Closed, or the delay is over.
                Ok(None) | Err(_) => break,
            }
        }
        true
    }

    fn take(&self, record: SpanRecord, batch: &mut Vec<SpanRecord>) {
        self.queued_bytes.fetch_sub(record.weight(), Ordering::Relaxed);
        batch.push(record);
    }

    async fn export(&self, batch: &mut Vec<SpanRecord>, events: &SdkEvents) {
        let mut requests = JoinSet::new();
        for (resource, spans) in by_resource(batch) {
            if requests.len() >= CONCURRENT_REQUESTS {
                self.done(requests.join_next().await, events);
            }
            let mut exporter = match self.exporters.exporter() {
                Ok(exporter) => exporter,
                Err(error) => {
                    self.report.lost(&error.to_string());
                    continue;
                }
            };
            exporter.set_resource(&convert::sdk_resource(&resource));
            requests.spawn(async move {
                let count = spans.len() as u64;
                exporter.export(spans).await.map(|()| count)
            });
        }
        while !requests.is_empty() {
            self.done(requests.join_next().await, events);
        }
    }

    fn done(
        &self,
        result: Option<Result<Result<u64, opentelemetry_sdk::error::OTelSdkError>, tokio::task::JoinError>>,
        events: &SdkEvents,
    ) {
        match result {
            Some(Ok(Ok(count))) => {
                let rejected = events.take_rejected().min(count);
                self.report.succeeded(count - rejected, rejected);
            }
            Some(Ok(Err(error))) => self.report.lost(&error.to_string()),
            Some(Err(error)) => self.report.lost(&error.to_string()),
            None => {}
        }
    }
}

/// Spans by traced process, in the order of their first span. Resources are shared per process, so their addresses
/// tell them apart.
fn by_resource(batch: &mut Vec<SpanRecord>) -> Vec<(Arc<Resource>, Vec<SpanData>)> {
    let mut groups: Vec<(Arc<Resource>, Vec<SpanData>)> = Vec::new();
    for record in batch.drain(..) {
        let resource = Arc::clone(&record.resource);
        let data = convert::span_data(record);
        match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &resource) || *known == resource) {
            Some((_, spans)) => spans.push(data),
            None => groups.push((resource, vec![data])),
        }
    }
    groups
}
