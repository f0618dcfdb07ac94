//! Export: finished spans out of the process, as OTLP or as lines of OTLP/JSON.

pub mod convert;
pub mod jsonl;
pub mod otlp;

pub use jsonl::Jsonl;
pub use otlp::{ExportHandle, ExportStats, Otlp};
