//! The metrics, at intervals. The SDK's exporter cannot serve: what it takes, only the SDK itself can make.
//!
//! Sums are kept until the endpoint has taken them: what one export could not send is in the next one, whichever the
//! temporality.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::{Request, StatusCode, header};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse, metrics_service_client::MetricsServiceClient,
};
use prost::Message as _;
use tokio::{sync::oneshot, time::Instant};
use tonic::{Code, codec::CompressionEncoding, metadata::MetadataMap};

use super::{
    RETRY_FIRST, RETRY_LONGEST,
    client::Client,
    config::{ConfigError, MetricOptions, Protocol, ReadFile, Settings, Signal, Temporality},
    connect::{self, Resolve},
    report::Report,
};
use crate::{
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
        let Some(settings) = Settings::read(Signal::Metrics, endpoint, env, file)? else { return Ok(None) };
        let options = MetricOptions::read(env)?;
        let tls = settings.tls.as_ref().map(connect::tls_config).transpose()?;
        Ok(Some(Self { settings, options, tls }))
    }

    /// What tells one exporter from another.
    pub fn settings(&self) -> (Settings, MetricOptions) {
        (self.settings.clone(), self.options)
    }

    /// What has come since `sent` is to be told, where only that is told. Call it within a runtime. No file is opened
    /// from here on.
    pub fn exporter(
        self,
        sums: Arc<Sums>,
        sent: Snapshot,
        resolver: Arc<dyn Resolve>,
    ) -> Result<MetricExporter, ConfigError> {
        let report = Arc::new(Report::new("metrics", self.settings.shown_endpoint()));
        let client = Client::new(&self.settings, self.tls, resolver, Arc::clone(&report))?;
        let (settings, options) = (self.settings, self.options);
        Ok(MetricExporter { settings, options, client, sums, report, sent })
    }
}

pub struct MetricExporter {
    settings: Settings,
    options: MetricOptions,
    client: Client,
    sums: Arc<Sums>,
    report: Arc<Report>,
    /// As the endpoint last took them, where what came since is told.
    sent: Snapshot,
}

/// Why an attempt failed, and when another one may go better.
struct Failure {
    error: String,
    /// `None`: never.
    again: Option<Duration>,
}

impl MetricExporter {
    /// Exports at intervals, and once more at `end`: what it gives, or else what there is then.
    pub async fn run(mut self, mut end: oneshot::Receiver<Snapshot>) {
        let mut next = Instant::now() + self.options.interval;
        loop {
            let last = tokio::select! {
                last = &mut end => Some(last.unwrap_or_else(|_| self.sums.snapshot())),
                () = tokio::time::sleep_until(next) => None,
            };
            let over = last.is_some();
            // Never broken off but by the deadline: whether the endpoint took it would not be known.
            self.export(last.unwrap_or_else(|| self.sums.snapshot())).await;
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
        let sending = self.send_with_retries(&request);
        match tokio::time::timeout(self.options.timeout, sending).await {
            Ok(Ok(rejected)) => {
                self.report.succeeded(1, rejected);
                if self.options.temporality != Temporality::Cumulative {
                    self.sent = now;
                }
            }
            Ok(Err(error)) => self.report.lost(&error),
            Err(_) => self.report.lost("the endpoint did not answer in time"),
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

    async fn send_with_retries(&self, request: &ExportMetricsServiceRequest) -> Result<u64, String> {
        let mut pause = RETRY_FIRST;
        loop {
            let Failure { error, again } = match self.send(request).await {
                Ok(rejected) => return Ok(rejected),
                Err(failure) => failure,
            };
            self.report.failed(&error);
            let Some(asked) = again else { return Err(error) };
            tokio::time::sleep(asked.max(pause)).await;
            pause = (pause * 2).min(RETRY_LONGEST);
        }
    }

    /// One attempt; returns the number of data points that the endpoint rejected.
    async fn send(&self, request: &ExportMetricsServiceRequest) -> Result<u64, Failure> {
        let response = match &self.client {
            Client::Grpc(channel) => {
                let mut client = MetricsServiceClient::new(channel.clone());
                if self.settings.gzip {
                    client = client.send_compressed(CompressionEncoding::Gzip);
                }
                let mut request = tonic::Request::new(request.clone());
                *request.metadata_mut() = MetadataMap::from_headers(self.settings.headers.clone());
                client.export(request).await.map_err(|status| Failure::of_grpc(&status))?.into_inner()
            }
            Client::Http(client) => {
                let request = self.http_request(request).map_err(Failure::for_good)?;
                let response = client
                    .send_bytes(request)
                    .await
                    .map_err(|error| Failure { error: error.to_string(), again: Some(Duration::ZERO) })?;
                if !response.status().is_success() {
                    return Err(Failure::of_http(&response));
                }
                // An answer that cannot be read says no worse than a success.
                match self.settings.protocol {
                    Protocol::HttpJson => serde_json::from_slice(response.body()).unwrap_or_default(),
                    _ => ExportMetricsServiceResponse::decode(response.into_body()).unwrap_or_default(),
                }
            }
        };
        let rejected = response.partial_success.map_or(0, |partial| partial.rejected_data_points);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }

    fn http_request(&self, request: &ExportMetricsServiceRequest) -> Result<Request<Bytes>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let (kind, mut body) = match self.settings.protocol {
            Protocol::HttpJson => ("application/json", convert::metrics_json(request).map_err(|error| text(&error))?),
            _ => ("application/x-protobuf", request.encode_to_vec()),
        };
        let mut builder = Request::post(self.settings.endpoint.clone()).header(header::CONTENT_TYPE, kind);
        if self.settings.gzip {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            std::io::Write::write_all(&mut gzip, &body).map_err(|error| text(&error))?;
            body = gzip.finish().map_err(|error| text(&error))?;
            builder = builder.header(header::CONTENT_ENCODING, "gzip");
        }
        let mut request = builder.body(Bytes::from(body)).map_err(|error| text(&error))?;
        request.headers_mut().extend(self.settings.headers.clone());
        Ok(request)
    }
}

impl Failure {
    fn for_good(error: String) -> Self {
        Self { error, again: None }
    }

    /// OTLP specification, "failures" of OTLP/HTTP.
    fn of_http<B>(response: &hyper::Response<B>) -> Self {
        let status = response.status();
        let seconds = || response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok();
        let again = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        )
        .then(|| Duration::from_secs(seconds().unwrap_or(0)));
        let mut error = format!("HTTP status {status}");
        if status == StatusCode::NOT_FOUND {
            error += WITHOUT_METRICS;
        }
        Self { error, again }
    }

    /// OTLP specification, "failures" of OTLP/gRPC.
    fn of_grpc(status: &tonic::Status) -> Self {
        let again = matches!(
            status.code(),
            Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss
        )
        .then_some(Duration::ZERO);
        // The endpoint's own words can be anything.
        let mut error = format!("gRPC status {:?}", status.code());
        if status.code() == Code::Unimplemented {
            error += WITHOUT_METRICS;
        }
        Self { error, again }
    }
}

const WITHOUT_METRICS: &str = ": if it takes no metrics, set OTEL_METRICS_EXPORTER=none";

#[cfg(test)]
mod tests;
