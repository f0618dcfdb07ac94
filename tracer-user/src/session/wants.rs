//! What is to receive telemetry, and what does.

use std::{fs::File, path::PathBuf, sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{
    export::{
        MetricsThread, Otlp, OtlpLogs,
        listen::{Listener, Server},
        otlp::{MetricOptions, OtlpMetrics, Resolve, Settings},
        prometheus,
    },
    live::health::{self, Health},
    llm,
    metrics::Sums,
    output::Output,
    price::Prices,
};

/// All receivers that a run is to have, and how calls are recognised and priced.
#[derive(Default)]
pub struct Wants {
    pub otlp: Vec<Otlp>,
    /// Of events.
    pub otlp_logs: Vec<OtlpLogs>,
    pub otlp_metrics: Vec<OtlpMetrics>,
    /// Files of spans; `None` is one that is open already.
    pub lines: Vec<(PathBuf, Option<File>)>,
    /// Pages; `None` is one that is served already.
    pub pages: Vec<(Page, Option<Listener>)>,
    pub recognise: llm::Options,
    pub prices: Option<Prices>,
    /// What they were read from.
    pub prices_text: Option<Vec<u8>>,
}

/// A page for machines, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Page {
    Metrics(String),
    Health(String),
}

impl Page {
    pub fn address(&self) -> &str {
        match self {
            Self::Metrics(address) | Self::Health(address) => address,
        }
    }

    /// The key of the daemon's file that names the address.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Metrics(_) => "exporters.prometheus.listen",
            Self::Health(_) => "health.listen",
        }
    }

    pub fn tells(&self) -> &'static str {
        match self {
            Self::Metrics(_) => "metrics (/metrics) are",
            Self::Health(_) => "health (/healthz, /readyz) is",
        }
    }
}

impl Wants {
    /// Whether anybody but the terminal gets events.
    pub fn has_events(&self) -> bool {
        !self.otlp_logs.is_empty() || !self.lines.is_empty()
    }

    pub fn has_metrics(&self) -> bool {
        !self.otlp_metrics.is_empty() || self.pages.iter().any(|(page, _)| matches!(page, Page::Metrics(_)))
    }
}

/// What gives metrics and pages away, each on a thread of its own.
#[derive(Default)]
pub struct Running {
    exporters: Vec<(Settings, MetricOptions, MetricsThread)>,
    pages: Vec<(Page, Server)>,
    /// Threads that end.
    leaving: Vec<JoinHandle<()>>,
    /// Whether there was anything before.
    began: bool,
}

impl Running {
    /// Makes the receivers of spans and events be those that are wanted; those that stay go on untouched. What those that
    /// go have, they send for at most `deadline`.
    pub fn change_spans(
        otlp: Vec<Otlp>,
        otlp_logs: Vec<OtlpLogs>,
        lines: Vec<(PathBuf, Option<File>)>,
        output: &mut Output,
        resolver: &Arc<dyn Resolve>,
        deadline: Duration,
    ) -> Result<()> {
        output.spans().change(otlp, resolver, deadline).context("no exporter thread")?;
        output.events().change(otlp_logs, resolver, deadline).context("no exporter thread")?;
        output.retain_lines(|path| lines.iter().any(|(wanted, _)| wanted == path));
        for (path, file) in lines {
            if let Some(file) = file {
                output.add_lines(path, Box::new(file));
            }
        }
        Ok(())
    }

    /// The same for metrics and pages. One that goes and one that comes share a moment: what is told as what came since
    /// the last time is told once.
    pub fn change_metrics(
        &mut self,
        wanted: Vec<OtlpMetrics>,
        pages: Vec<(Page, Option<Listener>)>,
        sums: Option<&Arc<Sums>>,
        health: &Arc<Health>,
        resolver: &Arc<dyn Resolve>,
        deadline: Duration,
    ) -> Result<()> {
        self.leaving.retain(|leaving| !leaving.is_finished());
        let now = sums.filter(|_| self.began).map(|sums| sums.snapshot()).unwrap_or_default();
        let began = std::mem::replace(&mut self.began, true);
        for (settings, options, thread) in std::mem::take(&mut self.exporters) {
            if wanted.iter().any(|otlp| otlp.settings() == (settings.clone(), options)) {
                self.exporters.push((settings, options, thread));
            } else {
                let last = began.then(|| now.clone());
                self.leaving.push(std::thread::spawn(move || thread.shutdown(last, deadline)));
            }
        }
        for otlp in wanted {
            let (settings, options) = otlp.settings();
            let runs = self.exporters.iter().any(|(known, own, _)| *known == settings && *own == options);
            if let (Some(sums), false) = (sums, runs) {
                let thread = MetricsThread::start(Arc::clone(sums), now.clone(), otlp, Arc::clone(resolver));
                self.exporters.push((settings, options, thread.context("no thread for metrics")?));
            }
        }
        self.pages.retain(|(page, _)| pages.iter().any(|(wanted, _)| wanted == page));
        for (page, listener) in pages {
            let answers = match (&page, sums) {
                (Page::Metrics(_), Some(sums)) => prometheus::page(Arc::clone(sums)),
                (Page::Metrics(_), None) => continue,
                (Page::Health(_), _) => health::page(Arc::clone(health)),
            };
            if let Some(listener) = listener {
                let server = Server::start(listener, answers).context("no thread for a page")?;
                self.pages.push((page, server));
            }
        }
        Ok(())
    }

    /// Sends what is left, all at the same time, for at most `deadline`.
    pub fn end(&mut self, deadline: Duration) {
        for (_, _, thread) in self.exporters.drain(..) {
            self.leaving.push(std::thread::spawn(move || thread.shutdown(None, deadline)));
        }
        for leaving in self.leaving.drain(..) {
            // One that has panicked sends nothing more.
            let _ = leaving.join();
        }
        self.pages.clear();
    }
}
