//! The exporter's thread: collects batches and sends one after the other, so that what comes first leaves first.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::{Record, send::Sender};

/// Bytes of records that leave together at most, unless one alone has more: gRPC endpoints refuse messages of more than
/// 4 MiB unless they are told otherwise.
const BATCH_BYTES: usize = 3 << 20;

pub(super) struct Worker<R> {
    pub receiver: mpsc::Receiver<R>,
    pub queued_bytes: Arc<AtomicUsize>,
    pub sender: Sender,
    /// Stop at once: the deadline of the shutdown has passed.
    pub abort: Arc<Notify>,
}

/// Records that leave together.
struct Batch<R> {
    records: Vec<R>,
    bytes: usize,
}

impl<R: Record> Worker<R> {
    /// Runs until the queue is closed and empty, or the abort.
    pub async fn run(mut self) {
        let abort = Arc::clone(&self.abort);
        tokio::select! {
            () = self.export_all() => {}
            () = abort.notified() => {}
        }
    }

    async fn export_all(&mut self) {
        while let Some(batch) = self.collect().await {
            let (count, bytes) = (batch.records.len() as u64, batch.bytes);
            let request = R::request(batch.records);
            let limit = self.sender.settings.batch.timeout;
            let result = self.sender.send(request, limit).await;
            let report = &self.sender.report;
            match result {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    report.succeeded(count - rejected, rejected);
                }
                Err(error) => report.lost(&error),
            }
            report.settled(count);
            // Only now: spans on their way are in memory like those that wait.
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Waits for a full batch, or for the delay after its first span. `None` when nothing is left to come.
    async fn collect(&mut self) -> Option<Batch<R>> {
        let limits = self.sender.settings.batch;
        let mut batch = Batch { records: Vec::new(), bytes: 0 };
        batch.take(self.receiver.recv().await?);
        let deadline = Instant::now() + limits.delay;
        while batch.records.len() < limits.size && batch.bytes < BATCH_BYTES {
            match tokio::time::timeout_at(deadline, self.receiver.recv()).await {
                Ok(Some(record)) => batch.take(record),
                // Closed, or the delay is over.
                Ok(None) | Err(_) => break,
            }
        }
        Some(batch)
    }
}

impl<R: Record> Batch<R> {
    fn take(&mut self, record: R) {
        self.bytes += record.weight();
        self.records.push(record);
    }
}
