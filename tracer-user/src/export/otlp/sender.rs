//! Sends one request after another to an endpoint, with retries: for the signals whose SDK exporters cannot serve, since
//! what these take only the SDK itself can make.

use std::time::Duration;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::{Request, StatusCode, header};
use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse, logs_service_client::LogsServiceClient},
    metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse, metrics_service_client::MetricsServiceClient,
    },
};
use prost::Message;
use serde::de::DeserializeOwned;
use tonic::{Code, Status, codec::CompressionEncoding, metadata::MetadataMap, transport::Channel};

use super::{
    RETRY_FIRST, RETRY_LONGEST,
    client::Client,
    config::{Protocol, Settings},
    report::Report,
};
use crate::export::convert;

/// What one signal's service takes and answers.
pub trait Export: Message + Clone + 'static {
    type Answer: Message + Default + DeserializeOwned;

    /// What to do with an endpoint that does not have the service.
    const WITHOUT: &str;

    fn json(&self) -> serde_json::Result<Vec<u8>>;

    fn call(
        request: tonic::Request<Self>,
        channel: Channel,
        gzip: bool,
    ) -> impl Future<Output = Result<Self::Answer, Status>> + Send;

    /// What the endpoint did not take of a request that it took.
    fn rejected(answer: &Self::Answer) -> i64;
}

impl Export for ExportMetricsServiceRequest {
    type Answer = ExportMetricsServiceResponse;

    const WITHOUT: &str = ": if it takes no metrics, set OTEL_METRICS_EXPORTER=none";

    fn json(&self) -> serde_json::Result<Vec<u8>> {
        convert::metrics_json(self)
    }

    async fn call(request: tonic::Request<Self>, channel: Channel, gzip: bool) -> Result<Self::Answer, Status> {
        let client = MetricsServiceClient::new(channel);
        let mut client = if gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client };
        Ok(client.export(request).await?.into_inner())
    }

    fn rejected(answer: &Self::Answer) -> i64 {
        answer.partial_success.as_ref().map_or(0, |partial| partial.rejected_data_points)
    }
}

impl Export for ExportLogsServiceRequest {
    type Answer = ExportLogsServiceResponse;

    const WITHOUT: &str = ": if it takes no logs, set OTEL_LOGS_EXPORTER=none";

    fn json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    async fn call(request: tonic::Request<Self>, channel: Channel, gzip: bool) -> Result<Self::Answer, Status> {
        let client = LogsServiceClient::new(channel);
        let mut client = if gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client };
        Ok(client.export(request).await?.into_inner())
    }

    fn rejected(answer: &Self::Answer) -> i64 {
        answer.partial_success.as_ref().map_or(0, |partial| partial.rejected_log_records)
    }
}

pub struct Sender {
    pub settings: Settings,
    pub client: Client,
}

/// Why an attempt failed, and when another one may go better.
struct Failure {
    error: String,
    /// `None`: never.
    again: Option<Duration>,
}

impl Sender {
    /// Sends until the endpoint takes it or says that it never will; returns what it rejected of it. It has no end of its
    /// own: the caller's timeout is one.
    pub async fn send<R: Export>(&self, request: &R, report: &Report) -> Result<u64, String> {
        let mut pause = RETRY_FIRST;
        loop {
            let Failure { error, again } = match self.attempt(request).await {
                Ok(rejected) => return Ok(rejected),
                Err(failure) => failure,
            };
            report.failed(&error);
            let Some(asked) = again else { return Err(error) };
            tokio::time::sleep(asked.max(pause)).await;
            pause = (pause * 2).min(RETRY_LONGEST);
        }
    }

    async fn attempt<R: Export>(&self, request: &R) -> Result<u64, Failure> {
        let answer = match &self.client {
            Client::Grpc(channel) => {
                let mut request = tonic::Request::new(request.clone());
                *request.metadata_mut() = MetadataMap::from_headers(self.settings.headers.clone());
                let answer = R::call(request, channel.clone(), self.settings.gzip).await;
                answer.map_err(|status| Failure::of_grpc(&status, R::WITHOUT))?
            }
            Client::Http(client) => {
                let request = self.http_request(request).map_err(Failure::for_good)?;
                let response = client
                    .send_bytes(request)
                    .await
                    .map_err(|error| Failure { error: error.to_string(), again: Some(Duration::ZERO) })?;
                if !response.status().is_success() {
                    return Err(Failure::of_http(&response, R::WITHOUT));
                }
                // An answer that cannot be read says no worse than a success.
                match self.settings.protocol {
                    Protocol::HttpJson => serde_json::from_slice(response.body()).unwrap_or_default(),
                    _ => R::Answer::decode(response.into_body()).unwrap_or_default(),
                }
            }
        };
        Ok(u64::try_from(R::rejected(&answer)).unwrap_or(0))
    }

    fn http_request<R: Export>(&self, request: &R) -> Result<Request<Bytes>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let (kind, mut body) = match self.settings.protocol {
            Protocol::HttpJson => ("application/json", request.json().map_err(|error| text(&error))?),
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
    fn of_http<B>(response: &hyper::Response<B>, without: &str) -> Self {
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
            error += without;
        }
        Self { error, again }
    }

    /// OTLP specification, "failures" of OTLP/gRPC.
    fn of_grpc(status: &Status, without: &str) -> Self {
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
            error += without;
        }
        Self { error, again }
    }
}
