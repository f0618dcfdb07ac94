//! Settings of the OTLP exporter: the standard variables (OpenTelemetry protocol exporter and SDK environment
//! specifications), which the command line's endpoint beats. A bad value is an error here, before tracing begins, and
//! files are read here, before they can no longer be opened.

use std::{io, path::Path, time::Duration};

use hyper::{
    HeaderMap, Uri,
    header::{HeaderName, HeaderValue},
};

use crate::{environment::percent_decode, metrics::Exemplars};

/// One line that names the variable or option and says what to do. It shows no header value and no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}{problem}")]
pub struct ConfigError {
    name: String,
    problem: String,
}

impl ConfigError {
    pub(super) fn new(name: &str, problem: impl Into<String>) -> Self {
        Self { name: name.to_owned(), problem: problem.into() }
    }

    /// The same problem of what goes by another name to whoever reads it.
    #[must_use]
    pub fn renamed(mut self, rename: impl Fn(&str) -> Option<String>) -> Self {
        // A file's name may stand behind the variable's.
        let end = self.name.find(' ').unwrap_or(self.name.len());
        if let Some(name) = rename(&self.name[..end]) {
            self.name.replace_range(..end, &name);
        }
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

/// Validated settings. Defaults are those of the specifications where nothing else is said.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    pub protocol: Protocol,
    /// Complete: for HTTP with the signal's path.
    pub endpoint: Uri,
    pub headers: HeaderMap,
    pub gzip: bool,
    /// Bound of one attempt.
    pub timeout: Duration,
    pub tls: Option<TlsFiles>,
    pub batch: Batch,
}

/// PEM texts for an `https` endpoint, already read.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub roots: Vec<u8>,
    /// Certificate chain and private key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// What `roots` came from, for error messages.
    pub roots_name: String,
}

/// `OTEL_BSP_*`; of events, `OTEL_BLRP_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Longest time that a span waits for others.
    pub delay: Duration,
    /// Spans that may wait; more are dropped and counted.
    pub queue: usize,
    /// Spans that leave together at most.
    pub size: usize,
    /// Bound of one batch's export with all its attempts.
    pub timeout: Duration,
    /// Memory that waiting spans may hold, whatever their number, bytes.
    pub memory: usize,
}

const DEFAULT_TIMEOUT_MS: u64 = 10_000;
const DEFAULT_DELAY_MS: u64 = 5_000;
const DEFAULT_LOGS_DELAY_MS: u64 = 1_000;
/// The specification has 30 s, after which an SDK drops a batch though nothing else waits. Here a batch outlasts an
/// outage of five minutes, as the Collector's does: what bounds memory is the queue.
const DEFAULT_BATCH_TIMEOUT_MS: u64 = 300_000;
const DEFAULT_METRIC_TIMEOUT_MS: u64 = 30_000;
const DEFAULT_INTERVAL_MS: u64 = 60_000;
const DEFAULT_MEMORY: usize = 64 << 20;
const DEFAULT_QUEUE: u64 = 2_048;
const DEFAULT_BATCH: u64 = 512;
/// A larger queue is surely a mistake: a span holds some KiB.
const QUEUE_MAX: u64 = 1 << 20;

/// Where distributions keep their CA bundle: Debian and Alpine, Fedora, openSUSE, RHEL, the BSDs' layout.
const CA_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const ENDPOINT_FLAG: &str = "--otlp-endpoint";
/// The port that the specification gives to OTLP over gRPC.
const GRPC_PORT: u16 = 4317;

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a file by its path.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// What is exported: each has variables and a path of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    /// As its variables say.
    fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }

    /// `OTEL_TRACES_EXPORTER` and `OTEL_METRICS_EXPORTER`: whether the signal is wanted at all.
    fn is_wanted(self, env: Env<'_>) -> Result<bool, ConfigError> {
        let Some((name, value)) = variable(env, &format!("OTEL_{}_EXPORTER", self.name())) else { return Ok(true) };
        match value.to_ascii_lowercase().as_str() {
            "otlp" => Ok(true),
            "none" => Ok(false),
            _ => Err(ConfigError::new(&name, format!(" is {value:?}: use otlp or none"))),
        }
    }
}

/// The variables of one signal.
#[derive(Clone, Copy)]
struct Variables<'a> {
    env: Env<'a>,
    signal: Signal,
    file: ReadFile<'a>,
}

impl Settings {
    /// `None` when neither the command line nor a variable names an endpoint, or the signal is not wanted: then it is
    /// not exported.
    pub fn read(of: Signal, flag: Option<&str>, env: Env<'_>, file: ReadFile<'_>) -> Result<Option<Self>, ConfigError> {
        if !of.is_wanted(env)? {
            return Ok(None);
        }
        let env = Variables { env, signal: of, file };
        let Some(endpoint) = Endpoint::find(flag, env) else { return Ok(None) };
        let protocol = protocol(&endpoint, env)?;
        let uri = endpoint.uri(protocol, env)?;
        let gzip = match signal(env, "COMPRESSION") {
            None => false,
            Some((name, value)) => match value.to_ascii_lowercase().as_str() {
                "gzip" => true,
                "none" => false,
                _ => return Err(ConfigError::new(&name, format!(" is {value:?}: use gzip or none"))),
            },
        };
        let tls = if uri.scheme_str() == Some("https") { Some(TlsFiles::read(env)?) } else { None };
        Ok(Some(Self {
            protocol,
            endpoint: uri,
            headers: headers(env)?,
            gzip,
            timeout: milliseconds(signal(env, "TIMEOUT"), DEFAULT_TIMEOUT_MS)?,
            tls,
            batch: Batch::read(of, env.env)?,
        }))
    }

    /// The endpoint as it may be shown.
    pub fn shown_endpoint(&self) -> String {
        let authority = self.endpoint.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}", self.endpoint.scheme_str().unwrap_or("http"))
    }
}

/// A set, non-empty variable; the specification treats empty ones as unset.
fn variable(env: Env<'_>, name: &str) -> Option<(String, String)> {
    let value = env(name)?;
    let value = value.trim();
    (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

/// The variable of the signal, else that of all signals.
fn signal(of: Variables<'_>, suffix: &str) -> Option<(String, String)> {
    variable(of.env, &format!("OTEL_EXPORTER_OTLP_{}_{suffix}", of.signal.name()))
        .or_else(|| variable(of.env, &format!("OTEL_EXPORTER_OTLP_{suffix}")))
}

struct Endpoint {
    /// The option or variable that it came from.
    name: String,
    value: String,
    /// The signal's own: its path is complete.
    complete: bool,
}

impl Endpoint {
    fn find(flag: Option<&str>, env: Variables<'_>) -> Option<Self> {
        if let Some(value) = flag {
            return Some(Self { name: ENDPOINT_FLAG.to_owned(), value: value.trim().to_owned(), complete: false });
        }
        let (name, value) = signal(env, "ENDPOINT")?;
        let complete = name != "OTEL_EXPORTER_OTLP_ENDPOINT";
        Some(Self { name, value, complete })
    }

    fn has_scheme(&self) -> bool {
        self.value.contains("://")
    }

    fn error(&self, problem: &str) -> ConfigError {
        ConfigError::new(&self.name, format!(" {problem}, as in http://localhost:4318"))
    }

    fn uri(&self, protocol: Protocol, env: Variables<'_>) -> Result<Uri, ConfigError> {
        let mut text = self.value.clone();
        if !self.has_scheme() && protocol == Protocol::Grpc {
            // Only gRPC knows endpoints without a scheme, and only for them this variable counts.
            let insecure = signal(env, "INSECURE").is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
            text = format!("{}://{text}", if insecure { "http" } else { "https" });
        }
        if protocol != Protocol::Grpc && !self.complete {
            text = format!("{}{}", text.trim_end_matches('/'), env.signal.path());
        }
        let uri: Uri = text.parse().map_err(|_| self.error("is not a URL: give scheme, host and port"))?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            _ => return Err(self.error("needs a scheme: use http:// or https://")),
        }
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let Some(authority) = authority else { return Err(self.error("names no host: give one")) };
        if authority.as_str().contains('@') {
            let problem = " holds credentials: give them in OTEL_EXPORTER_OTLP_HEADERS instead";
            return Err(ConfigError::new(&self.name, problem));
        }
        Ok(uri)
    }

    fn port(&self) -> Option<u16> {
        let rest = self.value.split_once("://").map_or(self.value.as_str(), |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next()?;
        authority.rsplit_once(':')?.1.parse().ok()
    }
}

/// `http/protobuf` is the specification's default. Without a stated protocol the port of gRPC means gRPC: nothing else
/// is answered there.
fn protocol(endpoint: &Endpoint, env: Variables<'_>) -> Result<Protocol, ConfigError> {
    match signal(env, "PROTOCOL") {
        None if endpoint.port() == Some(GRPC_PORT) => Ok(Protocol::Grpc),
        None => Ok(Protocol::HttpProtobuf),
        Some((name, value)) => match value.to_ascii_lowercase().as_str() {
            "grpc" => Ok(Protocol::Grpc),
            "http/protobuf" => Ok(Protocol::HttpProtobuf),
            "http/json" => Ok(Protocol::HttpJson),
            _ => Err(ConfigError::new(&name, format!(" is {value:?}: use grpc, http/protobuf or http/json"))),
        },
    }
}

/// `key=value` pairs, comma separated, values percent-encoded. Errors name the key at most: values are credentials.
fn headers(env: Variables<'_>) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    let Some((name, text)) = signal(env, "HEADERS") else { return Ok(headers) };
    for (number, pair) in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).enumerate() {
        let Some((key, value)) = pair.split_once('=') else {
            let problem = format!(": entry {} is not key=value; separate entries by commas", number + 1);
            return Err(ConfigError::new(&name, problem));
        };
        let header = HeaderName::try_from(key.trim())
            .map_err(|_| ConfigError::new(&name, format!(": the key of entry {} is not a header name", number + 1)))?;
        // A stray % stays as it is: tokens in the wild are often not encoded.
        let value = percent_decode(value.trim()).unwrap_or_else(|| value.trim().to_owned());
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| ConfigError::new(&name, format!(": the value of {header} cannot stand in a header")))?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

fn milliseconds(variable: Option<(String, String)>, default: u64) -> Result<Duration, ConfigError> {
    count(variable, default, u64::from(u32::MAX), "milliseconds").map(Duration::from_millis)
}

/// A whole number from 1 to `max`.
fn count(variable: Option<(String, String)>, default: u64, max: u64, unit: &str) -> Result<u64, ConfigError> {
    let Some((name, value)) = variable else { return Ok(default) };
    match value.parse() {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        _ => Err(ConfigError::new(&name, format!(" is {value:?}: give {unit} as a whole number from 1 to {max}"))),
    }
}

impl Batch {
    fn read(of: Signal, env: Env<'_>) -> Result<Self, ConfigError> {
        let (prefix, delay, what) = match of {
            Signal::Logs => ("BLRP", DEFAULT_LOGS_DELAY_MS, "events"),
            Signal::Traces | Signal::Metrics => ("BSP", DEFAULT_DELAY_MS, "spans"),
        };
        let name = |suffix: &str| format!("OTEL_{prefix}_{suffix}");
        let number = |suffix: &str, default| count(variable(env, &name(suffix)), default, QUEUE_MAX, what);
        let queue = number("MAX_QUEUE_SIZE", DEFAULT_QUEUE)?;
        let size = number("MAX_EXPORT_BATCH_SIZE", DEFAULT_BATCH.min(queue))?;
        if size > queue {
            let problem = format!(" is {size}: it must not be larger than {} ({queue})", name("MAX_QUEUE_SIZE"));
            return Err(ConfigError::new(&name("MAX_EXPORT_BATCH_SIZE"), problem));
        }
        Ok(Self {
            delay: milliseconds(variable(env, &name("SCHEDULE_DELAY")), delay)?,
            queue: usize::try_from(queue).unwrap_or(usize::MAX),
            size: usize::try_from(size).unwrap_or(usize::MAX),
            timeout: milliseconds(variable(env, &name("EXPORT_TIMEOUT")), DEFAULT_BATCH_TIMEOUT_MS)?,
            memory: DEFAULT_MEMORY,
        })
    }
}

/// What holds for metrics alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricOptions {
    pub interval: Duration,
    /// Bound of one export with all its retries.
    pub timeout: Duration,
    pub temporality: Temporality,
}

/// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temporality {
    Cumulative,
    Delta,
    LowMemory,
}

impl MetricOptions {
    pub fn read(env: Env<'_>) -> Result<Self, ConfigError> {
        let temporality = match variable(env, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE") {
            None => Temporality::Cumulative,
            Some((name, value)) => match value.to_ascii_lowercase().as_str() {
                "cumulative" => Temporality::Cumulative,
                "delta" => Temporality::Delta,
                "lowmemory" => Temporality::LowMemory,
                _ => {
                    return Err(ConfigError::new(&name, format!(" is {value:?}: use cumulative, delta or lowmemory")));
                }
            },
        };
        if let Some((name, value)) = variable(env, "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION")
            && !value.eq_ignore_ascii_case("explicit_bucket_histogram")
        {
            let problem = format!(" is {value:?}: llmtap has explicit_bucket_histogram only");
            return Err(ConfigError::new(&name, problem));
        }
        Ok(Self {
            interval: milliseconds(variable(env, "OTEL_METRIC_EXPORT_INTERVAL"), DEFAULT_INTERVAL_MS)?,
            timeout: milliseconds(variable(env, "OTEL_METRIC_EXPORT_TIMEOUT"), DEFAULT_METRIC_TIMEOUT_MS)?,
            temporality,
        })
    }
}

/// `OTEL_METRICS_EXEMPLAR_FILTER`, for all exporters of metrics.
pub fn exemplars(env: Env<'_>) -> Result<Exemplars, ConfigError> {
    let Some((name, value)) = variable(env, "OTEL_METRICS_EXEMPLAR_FILTER") else { return Ok(Exemplars::default()) };
    match value.to_ascii_lowercase().as_str() {
        "trace_based" => Ok(Exemplars::TraceBased),
        "always_on" => Ok(Exemplars::AlwaysOn),
        "always_off" => Ok(Exemplars::AlwaysOff),
        _ => Err(ConfigError::new(&name, format!(" is {value:?}: use trace_based, always_on or always_off"))),
    }
}

impl TlsFiles {
    fn read(env: Variables<'_>) -> Result<Self, ConfigError> {
        let file = |(name, path): (String, String)| match (env.file)(Path::new(&path)) {
            Ok(pem) => Ok((format!("{name} ({path})"), pem)),
            Err(error) => Err(ConfigError::new(&name, format!(": cannot read {path:?}: {error}"))),
        };
        let stated = signal(env, "CERTIFICATE").or_else(|| variable(env.env, "SSL_CERT_FILE"));
        let (roots_name, roots) = match stated {
            Some(stated) => file(stated)?,
            None => CA_BUNDLES
                .iter()
                .find_map(|path| Some(((*path).to_owned(), (env.file)(Path::new(path)).ok()?)))
                .ok_or_else(|| {
                    let problem = ": this machine has no CA bundle; name a PEM file of trusted certificates";
                    ConfigError::new("OTEL_EXPORTER_OTLP_CERTIFICATE", problem)
                })?,
        };
        let identity = match (signal(env, "CLIENT_CERTIFICATE"), signal(env, "CLIENT_KEY")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((file(certificate)?.1, file(key)?.1)),
            (Some((name, _)), None) => {
                return Err(ConfigError::new(&name, " needs OTEL_EXPORTER_OTLP_CLIENT_KEY beside it"));
            }
            (None, Some((name, _))) => {
                return Err(ConfigError::new(&name, " needs OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE beside it"));
            }
        };
        Ok(Self { roots, identity, roots_name })
    }
}

/// Header values and keys are credentials.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("protocol", &self.protocol)
            .field("endpoint", &self.shown_endpoint())
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("gzip", &self.gzip)
            .field("timeout", &self.timeout)
            .field("tls", &self.tls.is_some())
            .field("batch", &self.batch)
            .finish()
    }
}

#[cfg(test)]
mod tests;
