//! `exporters`: where telemetry goes. Any number of each kind.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::config::values;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exporters {
    pub otlp: Vec<OtlpExporter>,
    pub jsonl: Vec<JsonlExporter>,
    pub prometheus: Vec<PrometheusExporter>,
}

/// OTLP to one endpoint.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpExporter {
    /// As in `OTEL_EXPORTER_OTLP_ENDPOINT`: with HTTP, `/v1/traces` and so on is added.
    pub endpoint: String,
    /// Without it, `grpc` at port 4317, else `http/protobuf`.
    #[serde(default)]
    pub protocol: Option<OtlpProtocol>,
    /// Values are credentials.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub compression: OtlpCompression,
    /// Bound of one export with all its retries.
    #[serde(default = "OtlpExporter::default_timeout", with = "values::duration")]
    pub timeout: Duration,
    #[serde(default = "OtlpExporter::default_signals")]
    pub signals: Vec<OtlpSignal>,
    /// Of metrics; without it, cumulative.
    #[serde(default)]
    pub temporality: Option<OtlpTemporality>,
    #[serde(default)]
    pub tls: TlsFiles,
}

impl OtlpExporter {
    fn default_timeout() -> Duration {
        Duration::from_secs(10)
    }

    fn default_signals() -> Vec<OtlpSignal> {
        vec![OtlpSignal::Traces, OtlpSignal::Metrics, OtlpSignal::Logs]
    }
}

impl fmt::Debug for OtlpExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpExporter").field("headers", &self.headers.keys()).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum OtlpProtocol {
    #[serde(rename = "grpc")]
    Grpc,
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
    #[serde(rename = "http/json")]
    HttpJson,
}

/// What the sums of an export are of: all time, or since the last export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtlpTemporality {
    Cumulative,
    Delta,
    LowMemory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtlpCompression {
    #[default]
    None,
    Gzip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtlpSignal {
    Traces,
    Metrics,
    Logs,
}

/// PEM files for an `https` endpoint, named as in the Collector.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsFiles {
    /// Who is trusted; without it, the machine's own bundle.
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

/// Spans as lines of OTLP/JSON.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonlExporter {
    pub path: PathBuf,
}

/// Metrics at `http://ADDR/metrics`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusExporter {
    /// `HOST:PORT`.
    pub listen: String,
}
