//! What the exporter says of itself: counts, one warning an outage, and the last error.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{Dispatch, dispatcher::with_default};

/// Counts of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportStats {
    /// Spans that the endpoint took.
    pub exported: u64,
    /// Spans that it did not get or did not take: queue full, export failed, rejected, or not sent in time.
    pub dropped: u64,
    pub last_error: Option<String>,
}

/// How a running export stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub exported: u64,
    pub dropped: u64,
    /// Neither yet.
    pub waiting: u64,
}

#[derive(Debug)]
pub struct Report {
    /// What is exported.
    what: &'static str,
    endpoint: String,
    /// Where the caller's diagnostics go: the exporter's own thread has none of its own.
    outer: Dispatch,
    offered: AtomicU64,
    exported: AtomicU64,
    /// Of those offered, the ones whose fate is known.
    settled: AtomicU64,
    failing_since: Mutex<Option<Instant>>,
    full: AtomicBool,
    rejecting: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Report {
    pub fn new(what: &'static str, endpoint: String) -> Self {
        Self {
            what,
            endpoint,
            outer: tracing::dispatcher::get_default(Clone::clone),
            offered: AtomicU64::new(0),
            exported: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            failing_since: Mutex::new(None),
            full: AtomicBool::new(false),
            rejecting: AtomicBool::new(false),
            last_error: Mutex::new(None),
        }
    }

    pub fn offered(&self) {
        self.offered.fetch_add(1, Ordering::Relaxed);
    }

    /// So many spans have been exported or have not, for good.
    pub fn settled(&self, count: u64) {
        self.settled.fetch_add(count, Ordering::Relaxed);
    }

    pub fn progress(&self) -> Progress {
        let settled = self.settled.load(Ordering::Relaxed);
        let exported = self.exported.load(Ordering::Relaxed);
        let offered = self.offered.load(Ordering::Relaxed);
        Progress { exported, dropped: settled.saturating_sub(exported), waiting: offered.saturating_sub(settled) }
    }

    /// The queue took no more. Counted as what was offered and not exported.
    pub fn overflowed(&self) {
        self.settled(1);
        if !self.full.swap(true, Ordering::Relaxed) {
            tracing::warn!("spans come faster than {} takes them: some are dropped", self.endpoint);
        }
    }

    /// How long attempts have failed, if the last one did.
    pub fn failing_for(&self) -> Option<Duration> {
        Some(self.failing_since.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.elapsed())
    }

    /// An attempt failed. Says so once, until one succeeds.
    pub fn failed(&self, error: &str) {
        self.keep(error);
        let mut since = self.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = since.is_none();
        since.get_or_insert_with(Instant::now);
        drop(since);
        if begins {
            with_default(&self.outer, || tracing::warn!("cannot send {} to {}: {error}", self.what, self.endpoint));
        }
    }

    /// A batch is lost, or an attempt was, without a cause of its own. A cause that is known stays.
    pub fn lost(&self, error: &str) {
        if self.failing_for().is_none() {
            self.failed(error);
        }
    }

    /// The deadline of the shutdown has passed. A cause that is known says more.
    pub fn unfinished(&self) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        last.get_or_insert_with(|| format!("{} took too long", self.endpoint));
    }

    pub fn succeeded(&self, exported: u64, rejected: u64) {
        self.exported.fetch_add(exported, Ordering::Relaxed);
        let failed = self.failing_since.lock().unwrap_or_else(PoisonError::into_inner).take();
        if failed.is_some() {
            with_default(&self.outer, || tracing::info!("{} are sent to {} again", self.what, self.endpoint));
        }
        if rejected > 0 {
            self.keep(&format!("the endpoint rejected {rejected} {} of a batch", self.what));
            if !self.rejecting.swap(true, Ordering::Relaxed) {
                with_default(&self.outer, || {
                    tracing::warn!("{} took a batch but rejected {rejected} of its {}", self.endpoint, self.what);
                });
            }
        }
    }

    fn keep(&self, error: &str) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_owned());
    }

    pub fn stats(&self) -> ExportStats {
        let exported = self.exported.load(Ordering::Relaxed);
        ExportStats {
            exported,
            dropped: self.offered.load(Ordering::Relaxed).saturating_sub(exported),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
