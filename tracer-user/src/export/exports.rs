//! All exporters of one signal: those that run, and those that were taken away and still send what they have.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use super::{
    ExportStats, Progress,
    otlp::{Exporter, Handle, Record, Resolve},
};

pub struct Exports<R> {
    running: Vec<Handle<R>>,
    /// Each with how it stood when it was taken away.
    leaving: Vec<(Progress, JoinHandle<ExportStats>)>,
    /// What those came to that have gone.
    gone: Progress,
}

impl<R> Default for Exports<R> {
    fn default() -> Self {
        Self { running: Vec::new(), leaving: Vec::new(), gone: Progress::default() }
    }
}

impl<R: Record> Exports<R> {
    /// Makes those run that are wanted; those that stay go on untouched. What those that go have, they send for at most
    /// `deadline`, while nobody waits.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn change(
        &mut self,
        wanted: Vec<Exporter<R>>,
        resolver: &Arc<dyn Resolve>,
        deadline: Duration,
    ) -> io::Result<()> {
        self.retain(|handle| wanted.iter().any(|exporter| exporter.settings() == handle.settings()), deadline);
        for exporter in wanted {
            if !self.running.iter().any(|handle| handle.settings() == exporter.settings()) {
                self.running.push(exporter.start(Arc::clone(resolver))?);
            }
        }
        Ok(())
    }

    pub fn running(&self) -> &[Handle<R>] {
        &self.running
    }

    /// How they stand together; `None` when there is and was none.
    pub fn progress(&self) -> Option<Progress> {
        if self.running.is_empty() && self.leaving.is_empty() && self.gone == Progress::default() {
            return None;
        }
        let mut all = self.gone;
        let running = self.running.iter().map(Handle::progress);
        for progress in running.chain(self.leaving.iter().map(|(progress, _)| *progress)) {
            all.exported += progress.exported;
            all.dropped += progress.dropped;
            all.waiting += progress.waiting;
        }
        Some(all)
    }

    /// Ends all of them at the same time; [`Self::ended`] waits.
    pub fn end(&mut self, deadline: Duration) {
        self.retain(|_| false, deadline);
    }

    /// Waits for those that end.
    pub fn ended(&mut self) -> ExportStats {
        self.reap(true);
        ExportStats { exported: self.gone.exported, dropped: self.gone.dropped, last_error: None }
    }

    fn retain(&mut self, keep: impl Fn(&Handle<R>) -> bool, deadline: Duration) {
        self.reap(false);
        let (kept, leaving) = std::mem::take(&mut self.running).into_iter().partition(keep);
        self.running = kept;
        for handle in leaving {
            let progress = handle.progress();
            self.leaving.push((progress, std::thread::spawn(move || handle.shutdown(deadline))));
        }
    }

    /// Counts what those that have gone came to.
    fn reap(&mut self, all: bool) {
        for (progress, leaving) in std::mem::take(&mut self.leaving) {
            if all || leaving.is_finished() {
                // A thread that has panicked has sent nothing more.
                let stats = leaving.join().unwrap_or(ExportStats {
                    exported: progress.exported,
                    dropped: progress.dropped + progress.waiting,
                    last_error: None,
                });
                self.gone.exported += stats.exported;
                self.gone.dropped += stats.dropped;
            } else {
                self.leaving.push((progress, leaving));
            }
        }
    }
}
