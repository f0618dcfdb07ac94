//! One signal's requests on their way to the endpoint: what an answer means, and when the next attempt is due.
//!
//! The rules are those of the OTLP specification, sections "OTLP/gRPC Response", "OTLP/gRPC Throttling", "OTLP/HTTP
//! Response" and "OTLP/HTTP Throttling".

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, StatusCode, header};
use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse},
    metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse},
    trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Code, codec::CompressionEncoding, codegen::http::uri::PathAndQuery, metadata::MetadataMap};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use super::{
    client::{Client, HttpClient},
    config::{Protocol, Settings},
    report::Report,
};
use crate::export::convert;

/// Pauses between attempts: 0.2 s, 0.4 s, … 5 s, each taken between half and one and a half of it.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// Longest time that an endpoint can ask to be left alone.
const ASKED_LONGEST: Duration = Duration::from_mins(10);

/// Bytes of an answer that are read. It holds a count and a sentence.
const ANSWER_BYTES: usize = 64 << 10;

const SILENT: &str = "the endpoint did not answer in time";

/// What a signal sends, and what it gets back.
pub trait Export: Message + Serialize + Clone + 'static {
    type Answer: Message + DeserializeOwned + Default + 'static;
    /// The method of gRPC.
    const METHOD: &'static str;
    /// The variable by which the signal is not sent, for endpoints that do not know it.
    const SWITCH: &'static str;

    /// Entries of the request that the endpoint says it did not take.
    fn rejected(answer: &Self::Answer) -> i64;
}

impl Export for ExportTraceServiceRequest {
    type Answer = ExportTraceServiceResponse;
    const METHOD: &'static str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    const SWITCH: &'static str = "if it takes no traces, set OTEL_TRACES_EXPORTER=none";

    fn rejected(answer: &Self::Answer) -> i64 {
        answer.partial_success.as_ref().map_or(0, |partial| partial.rejected_spans)
    }
}

impl Export for ExportMetricsServiceRequest {
    type Answer = ExportMetricsServiceResponse;
    const METHOD: &'static str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    const SWITCH: &'static str = "if it takes no metrics, set OTEL_METRICS_EXPORTER=none";

    fn rejected(answer: &Self::Answer) -> i64 {
        answer.partial_success.as_ref().map_or(0, |partial| partial.rejected_data_points)
    }
}

impl Export for ExportLogsServiceRequest {
    type Answer = ExportLogsServiceResponse;
    const METHOD: &'static str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    const SWITCH: &'static str = "if it takes no logs, set OTEL_LOGS_EXPORTER=none";

    fn rejected(answer: &Self::Answer) -> i64 {
        answer.partial_success.as_ref().map_or(0, |partial| partial.rejected_log_records)
    }
}

/// The way to one endpoint.
pub struct Sender {
    pub settings: Settings,
    pub client: Client,
    pub report: Arc<Report>,
    /// Turns true when the run ends: then there is no time for long pauses.
    pub ending: watch::Receiver<bool>,
    /// The endpoint asked to be left alone until then.
    pub asked: Option<Instant>,
}

/// Why an attempt failed, and when another one may go better.
struct Failure {
    error: String,
    again: Again,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Never,
    /// After the next pause.
    Soon,
    /// The endpoint says when.
    After(Duration),
}

impl Sender {
    /// Sends until the endpoint has taken or refused the request, for at most `limit`; what the endpoint asks to wait is
    /// not counted. Returns how many entries it rejected, or why the request is lost.
    pub async fn send<R: Export>(&mut self, request: R, limit: Duration) -> Result<u64, String> {
        let mut give_up = Instant::now() + limit;
        let mut pause = RETRY_FIRST;
        let body = match &self.client {
            Client::Grpc(_) => Bytes::new(),
            Client::Http(_) => self.body(&request)?,
        };
        loop {
            if let Some(asked) = self.asked.take() {
                give_up += asked.saturating_duration_since(Instant::now());
                sleep_until(asked).await;
            }
            let left = give_up.saturating_duration_since(Instant::now());
            let attempt = timeout(self.settings.timeout.min(left), self.attempt(&request, &body)).await;
            let Failure { error, again } = match attempt {
                Ok(Ok(rejected)) => return Ok(rejected),
                Ok(Err(failure)) => {
                    self.report.failed(&failure.error);
                    failure
                }
                Err(_) => {
                    // What failed before, or what the connection says, tells more.
                    self.report.lost(SILENT);
                    Failure::soon(SILENT.to_owned())
                }
            };
            match again {
                Again::Never => return Err(error),
                Again::After(asked) => self.asked = Some(Instant::now() + asked.min(ASKED_LONGEST)),
                Again::Soon => {
                    let jittered = pause.mul_f64(0.5 + fastrand::f64());
                    if Instant::now() + jittered >= give_up {
                        return Err(error);
                    }
                    // At the end of the run there is no time for long pauses. A handle that is gone ends nothing.
                    let is_ending = *self.ending.borrow() || self.ending.has_changed().is_err();
                    pause = if is_ending { RETRY_FIRST } else { (pause * 2).min(RETRY_LONGEST) };
                    tokio::select! {
                        () = sleep(jittered) => {}
                        _ = self.ending.changed(), if !is_ending => pause = RETRY_FIRST,
                    }
                }
            }
        }
    }

    async fn attempt<R: Export>(&self, request: &R, body: &Bytes) -> Result<u64, Failure> {
        let answer = match &self.client {
            Client::Grpc(channel) => self.call(channel.clone(), request.clone()).await?,
            Client::Http(client) => self.post::<R>(client, body.clone()).await?,
        };
        Ok(u64::try_from(R::rejected(&answer)).unwrap_or(0))
    }

    async fn call<R: Export>(&self, channel: tonic::transport::Channel, message: R) -> Result<R::Answer, Failure> {
        let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES);
        if self.settings.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
        }
        client.ready().await.map_err(|error| Failure::soon(root(&error)))?;
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(self.settings.headers.clone());
        let method = PathAndQuery::from_static(R::METHOD);
        let answer = client.unary(request, method, ProstCodec::<R, R::Answer>::default()).await;
        Ok(answer.map_err(|status| Failure::of_grpc::<R>(&status))?.into_inner())
    }

    async fn post<R: Export>(&self, client: &HttpClient, body: Bytes) -> Result<R::Answer, Failure> {
        let mut request = Request::post(self.settings.endpoint.clone())
            .header(header::CONTENT_TYPE, self.content_type())
            .body(Full::new(body))
            .map_err(|error| Failure { error: error.to_string(), again: Again::Never })?;
        if self.settings.gzip {
            request.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
        }
        request.headers_mut().extend(self.settings.headers.clone());
        let response = client.request(request).await.map_err(|error| Failure::soon(root(&error)))?;
        if !response.status().is_success() {
            return Err(Failure::of_http::<R, _>(&response));
        }
        // An answer that cannot be read says no worse than a success: the status is what counts.
        let Ok(body) = Limited::new(response.into_body(), ANSWER_BYTES).collect().await else {
            return Ok(R::Answer::default());
        };
        Ok(match self.settings.protocol {
            Protocol::HttpJson => serde_json::from_slice(&body.to_bytes()).unwrap_or_default(),
            _ => R::Answer::decode(body.to_bytes()).unwrap_or_default(),
        })
    }

    fn content_type(&self) -> &'static str {
        if self.settings.protocol == Protocol::HttpJson { "application/json" } else { "application/x-protobuf" }
    }

    /// What is posted, compressed if the settings say so: made once for all attempts.
    fn body<R: Export>(&self, request: &R) -> Result<Bytes, String> {
        let plain = match self.settings.protocol {
            Protocol::HttpJson => convert::json(request).map_err(|error| error.to_string())?,
            _ => request.encode_to_vec(),
        };
        if !self.settings.gzip {
            return Ok(plain.into());
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        std::io::Write::write_all(&mut gzip, &plain).map_err(|error| error.to_string())?;
        Ok(gzip.finish().map_err(|error| error.to_string())?.into())
    }
}

impl Failure {
    fn soon(error: String) -> Self {
        Self { error, again: Again::Soon }
    }

    fn of_http<R: Export, B>(response: &Response<B>) -> Self {
        let status = response.status();
        let again = match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let stated = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                stated.and_then(|value| retry_after(value, SystemTime::now())).map_or(Again::Soon, Again::After)
            }
            _ => Again::Never,
        };
        let unknown = if status == StatusCode::NOT_FOUND { format!(": {}", R::SWITCH) } else { String::new() };
        Self { error: format!("HTTP status {status}{unknown}"), again }
    }

    fn of_grpc<R: Export>(status: &tonic::Status) -> Self {
        if let Some(source) = std::error::Error::source(status) {
            // Made on this side: the connection failed, whatever code that got.
            return Self::soon(root(source));
        }
        let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let again = match (status.code(), delay) {
            (Code::ResourceExhausted, None) => Again::Never,
            (Code::ResourceExhausted | Code::Unavailable, Some(delay)) if !delay.is_zero() => Again::After(delay),
            (
                Code::Cancelled
                | Code::DeadlineExceeded
                | Code::ResourceExhausted
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss,
                _,
            ) => Again::Soon,
            _ => Again::Never,
        };
        let unknown = if status.code() == Code::Unimplemented { format!(": {}", R::SWITCH) } else { String::new() };
        // The endpoint's own words can be anything.
        Self { error: format!("gRPC status {:?}{unknown}", status.code()), again }
    }
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(value.trim()).ok()?.duration_since(now).unwrap_or_default()),
    }
}

/// The cause below all layers: what lies above only says that something failed.
fn root(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(status: u16, retry_after: Option<&str>) -> Again {
        let mut response = Response::builder().status(status);
        if let Some(value) = retry_after {
            response = response.header(header::RETRY_AFTER, value);
        }
        Failure::of_http::<ExportTraceServiceRequest, _>(&response.body(()).unwrap()).again
    }

    /// OTLP 1.x, "Retryable Response Codes".
    #[test]
    fn four_http_codes_are_tried_again_and_no_other() {
        for status in (300..600).filter(|status| ![304].contains(status)) {
            let retryable = [429, 502, 503, 504].contains(&status);
            assert_eq!(http(status, None), if retryable { Again::Soon } else { Again::Never }, "{status}");
            let stated = http(status, Some("7"));
            assert_eq!(stated, if retryable { Again::After(Duration::from_secs(7)) } else { Again::Never }, "{status}");
        }
        assert_eq!(http(503, Some("soon, we hope")), Again::Soon);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_mins(2)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("-1", now), None);
    }

    /// OTLP 1.x, the table of gRPC codes: RESOURCE_EXHAUSTED only with a RetryInfo.
    #[test]
    fn seven_grpc_codes_are_tried_again_and_no_other() {
        use tonic_types::ErrorDetails;
        let again = |status: &tonic::Status| Failure::of_grpc::<ExportTraceServiceRequest>(status).again;
        let retryable = [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ];
        for code in (1..=16).map(Code::from_i32) {
            let expected = if retryable.contains(&code) { Again::Soon } else { Again::Never };
            assert_eq!(again(&tonic::Status::new(code, "")), expected, "{code:?}");
        }
        let details = |seconds| ErrorDetails::with_retry_info(Some(Duration::from_secs(seconds)));
        for (code, seconds, expected) in [
            (Code::ResourceExhausted, 3, Again::After(Duration::from_secs(3))),
            (Code::ResourceExhausted, 0, Again::Soon),
            (Code::Unavailable, 4, Again::After(Duration::from_secs(4))),
            (Code::Unavailable, 0, Again::Soon),
            (Code::InvalidArgument, 5, Again::Never),
        ] {
            let status = tonic::Status::with_error_details(code, "", details(seconds));
            assert_eq!(again(&status), expected, "{code:?} {seconds}");
        }
    }
}
