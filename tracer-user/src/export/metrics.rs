//! The thread that gives metrics away: by OTLP at intervals, and to whoever asks at `/metrics`.

use std::{
    io,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::{
    otlp::{OtlpMetrics, Resolve},
    prometheus::{self, Listener},
};
use crate::metrics::Sums;

/// How long the thread may take to stop once it was told to.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// The running thread.
#[derive(Debug)]
pub struct MetricsThread {
    end: watch::Sender<bool>,
    abort: Arc<Notify>,
    stopped: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl MetricsThread {
    /// Starts it. No file is opened and no address bound from here on.
    pub fn start(
        sums: Arc<Sums>,
        otlp: Option<OtlpMetrics>,
        listener: Option<Listener>,
        resolver: Arc<dyn Resolve>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (end, mut ending) = watch::channel(false);
        let exporter = {
            // The channel of gRPC spawns its driver when it is made.
            let _inside = runtime.enter();
            otlp.map(|otlp| otlp.exporter(Arc::clone(&sums), resolver, ending.clone()))
                .transpose()
                .map_err(io::Error::other)?
        };
        let (done, stopped) = mpsc::channel();
        let abort = Arc::new(Notify::new());
        let aborted = Arc::clone(&abort);
        let run = async move {
            let serving = listener.map(|listener| tokio::spawn(prometheus::serve(listener, sums)));
            match exporter {
                Some(exporter) => exporter.run().await,
                // An error is the other end's being gone: it is over, too.
                None => drop(ending.wait_for(|over| *over).await),
            }
            if let Some(serving) = serving {
                serving.abort();
            }
        };
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = run => {}
                    () = aborted.notified() => {}
                }
            });
            runtime.shutdown_background();
            // The handle may be gone.
            let _ = done.send(());
        })?;
        Ok(Self { end, abort, stopped, thread })
    }

    /// Exports once more, for at most `deadline`, and ends.
    pub fn shutdown(self, deadline: Duration) {
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
