//! The metrics, at intervals.
//!
//! Sums are kept until the endpoint has taken them: what one export could not send is in the next one, whichever the
//! temporality.

use std::sync::{Arc, OnceLock};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use tokio::{sync::watch, time::Instant};

use super::{
    client::Client,
    config::{ConfigError, MetricOptions, ReadFile, Settings, Signal, Temporality},
    connect::{self, Resolve},
    report::Report,
    send::Sender,
};
use crate::{
    environment,
    export::convert,
    metrics::{Sums, store::Snapshot},
    span::semconv::metric::{Kind, Metric},
};

/// An exporter with all its files read, ready to start.
pub struct OtlpMetrics {
    settings: Settings,
    options: MetricOptions,
    tls: Option<rustls::ClientConfig>,
}

impl OtlpMetrics {
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
        let Some(settings) = Settings::read(Signal::Metrics, endpoint, env, file)? else { return Ok(None) };
        let options = MetricOptions::read(env)?;
        let tls = settings.tls.as_ref().map(connect::tls_config).transpose()?;
        Ok(Some(Self { settings, options, tls }))
    }

    /// What tells one exporter from another.
    pub fn settings(&self) -> (Settings, MetricOptions) {
        (self.settings.clone(), self.options)
    }

    /// The exporter, which ends soon after `ending` has turned true; then it tells `last`, or else what there is then.
    /// What has come since `sent` is to be told, where only that is told. Call it within a runtime. No file is opened
    /// from here on.
    pub fn exporter(
        self,
        sums: Arc<Sums>,
        sent: Snapshot,
        resolver: Arc<dyn Resolve>,
        ending: watch::Receiver<bool>,
        last: Arc<OnceLock<Snapshot>>,
    ) -> Result<MetricExporter, ConfigError> {
        let report = Arc::new(Report::new("metrics", self.settings.shown_endpoint()));
        let client = Client::new(&self.settings, self.tls, resolver, Arc::clone(&report))?;
        let sender = Sender { settings: self.settings, client, report, ending, asked: None };
        Ok(MetricExporter { sender, options: self.options, sums, sent, last })
    }
}

pub struct MetricExporter {
    sender: Sender,
    options: MetricOptions,
    sums: Arc<Sums>,
    /// As the endpoint last took them, where what came since is told.
    sent: Snapshot,
    /// Where it is to end.
    last: Arc<OnceLock<Snapshot>>,
}

impl MetricExporter {
    /// Exports at intervals, and once more at the end.
    pub async fn run(mut self) {
        let mut ending = self.sender.ending.clone();
        let mut next = Instant::now() + self.options.interval;
        loop {
            let over = tokio::select! {
                // An error is the other end's being gone: it is over, too.
                _ = ending.wait_for(|over| *over) => true,
                () = tokio::time::sleep_until(next) => false,
            };
            // Never broken off but by the deadline: whether the endpoint took it would not be known.
            let now = self.last.get().cloned().unwrap_or_else(|| self.sums.snapshot());
            self.export(now).await;
            if over {
                return;
            }
            next = (next + self.options.interval).max(Instant::now());
        }
    }

    async fn export(&mut self, now: Snapshot) {
        let told = self.told(&now);
        if told.metrics.is_empty() {
            return;
        }
        let request = ExportMetricsServiceRequest {
            resource_metrics: convert::resource_metrics(&told, |metric| self.is_delta(metric)),
        };
        match self.sender.send(request, self.options.timeout).await {
            Ok(rejected) => {
                self.sender.report.succeeded(1, rejected);
                if self.options.temporality != Temporality::Cumulative {
                    self.sent = now;
                }
            }
            Err(error) => self.sender.report.lost(&error),
        }
    }

    /// What is to be sent: sums that are told as what came since they were last sent begin there.
    fn told(&self, now: &Snapshot) -> Snapshot {
        now.delta(&self.sent, |metric| self.is_delta(metric))
    }

    /// OTLP metrics exporter specification, "temporality preference".
    fn is_delta(&self, metric: &Metric) -> bool {
        match self.options.temporality {
            Temporality::Cumulative => false,
            Temporality::Delta => matches!(metric.kind, Kind::Counter | Kind::Histogram(_)),
            // What is counted elsewhere and only read is not what saves memory.
            Temporality::LowMemory => {
                matches!(metric.kind, Kind::Counter | Kind::Histogram(_)) && !metric.name.starts_with("llmtap.self.")
            }
        }
    }
}

#[cfg(test)]
mod tests;
