//! The thread that gives metrics away by OTLP at intervals.

use std::{
    io,
    sync::{Arc, OnceLock, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::otlp::{OtlpMetrics, Resolve};
use crate::metrics::{Sums, store::Snapshot};

/// How long the thread may take to stop once it was told to.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// The running thread.
#[derive(Debug)]
pub struct MetricsThread {
    end: watch::Sender<bool>,
    /// What is told last, set before the end.
    last: Arc<OnceLock<Snapshot>>,
    abort: Arc<Notify>,
    stopped: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl MetricsThread {
    /// Starts it; it tells what comes after `sent`, where only that is told. No file is opened from here on.
    pub fn start(sums: Arc<Sums>, sent: Snapshot, otlp: OtlpMetrics, resolver: Arc<dyn Resolve>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (end, ending) = watch::channel(false);
        let last = Arc::new(OnceLock::new());
        let exporter = {
            // The channel of gRPC spawns its driver when it is made.
            let _inside = runtime.enter();
            otlp.exporter(sums, sent, resolver, ending, Arc::clone(&last)).map_err(io::Error::other)?
        };
        let (done, stopped) = mpsc::channel();
        let abort = Arc::new(Notify::new());
        let aborted = Arc::clone(&abort);
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = exporter.run() => {}
                    () = aborted.notified() => {}
                }
            });
            runtime.shutdown_background();
            // The handle may be gone.
            let _ = done.send(());
        })?;
        Ok(Self { end, last, abort, stopped, thread })
    }

    /// Exports once more, for at most `deadline`, and ends. What it tells last is `last`, or what there is then.
    pub fn shutdown(self, last: Option<Snapshot>, deadline: Duration) {
        if let Some(last) = last {
            // It is told to end once.
            let _ = self.last.set(last);
        }
        self.end.send_replace(true);
        let stopped = self.stopped.recv_timeout(deadline).is_ok() || {
            self.abort.notify_one();
            self.stopped.recv_timeout(STOP_TIMEOUT).is_ok()
        };
        if stopped {
            let _ = self.thread.join();
        }
    }
}
