//! Export: finished calls out of the process: lines for people, OTLP, lines of OTLP/JSON.

pub mod convert;
pub mod jsonl;
pub mod otlp;
pub mod pretty;

pub use jsonl::Jsonl;
pub use otlp::{ExportHandle, ExportStats, Otlp};
pub use pretty::Pretty;
