//! Export: finished calls out of the process: lines for people, OTLP, lines of OTLP/JSON. And metrics.

pub mod convert;
mod exports;
pub mod jsonl;
pub mod listen;
pub mod metrics;
pub mod otlp;
pub mod pretty;
pub mod prometheus;

pub use exports::Exports;
pub use jsonl::Jsonl;
pub use metrics::MetricsThread;
pub use otlp::{ExportStats, Otlp, OtlpLogs, Progress};
pub use pretty::Pretty;
