//! Span: from model calls to OpenTelemetry spans.

pub mod event;
pub mod ids;
pub mod record;
pub mod resource;
pub mod semconv;
pub mod synth;

pub use event::EventRecord;
pub use ids::Ids;
pub use record::{Kind, Parent, SpanRecord, Status, Value};
pub use resource::{Host, Resource};
pub use synth::{Synth, tokens_per_second};

#[cfg(test)]
pub(crate) mod samples;
