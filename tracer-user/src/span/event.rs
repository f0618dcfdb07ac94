//! The event that tells a call's content apart from its span: `gen_ai.client.inference.operation.details`.

use std::{fmt, sync::Arc};

use super::{
    ids::{SpanId, TraceId},
    record::{SAMPLED, SpanRecord, Value},
    resource::Resource,
    semconv,
};
use crate::content::Rendered;

/// Attributes of the call's span that the conventions give the event, too.
const SHARED: &[&str] = &[
    semconv::OPERATION_NAME,
    semconv::PROVIDER_NAME,
    semconv::ERROR_TYPE,
    semconv::CONVERSATION_ID,
    semconv::OUTPUT_TYPE,
    semconv::REQUEST_CHOICE_COUNT,
    semconv::REQUEST_MODEL,
    semconv::REQUEST_SEED,
    semconv::REQUEST_FREQUENCY_PENALTY,
    semconv::REQUEST_MAX_TOKENS,
    semconv::REQUEST_PRESENCE_PENALTY,
    semconv::REQUEST_STOP_SEQUENCES,
    semconv::REQUEST_STREAM,
    semconv::REQUEST_TEMPERATURE,
    semconv::REQUEST_TOP_K,
    semconv::REQUEST_TOP_P,
    semconv::RESPONSE_FINISH_REASONS,
    semconv::RESPONSE_ID,
    semconv::RESPONSE_MODEL,
    semconv::USAGE_INPUT_TOKENS,
    semconv::USAGE_OUTPUT_TOKENS,
    semconv::USAGE_CACHE_READ_INPUT_TOKENS,
    semconv::USAGE_CACHE_CREATION_INPUT_TOKENS,
    semconv::USAGE_REASONING_OUTPUT_TOKENS,
    semconv::SERVER_ADDRESS,
    semconv::SERVER_PORT,
];

/// A finished event as plain data: what every exporter takes.
#[derive(Clone, PartialEq)]
pub struct EventRecord {
    pub trace_id: TraceId,
    /// The call's span.
    pub span_id: SpanId,
    /// W3C trace flags of the span.
    pub flags: u8,
    /// Nanoseconds since the Unix epoch: the end of the call.
    pub at: u64,
    pub attributes: Vec<(&'static str, Value)>,
    /// Structured attributes, as JSON texts.
    pub structured: Vec<(&'static str, String)>,
    pub resource: Arc<Resource>,
}

impl EventRecord {
    /// The event of the call that `span` tells.
    pub fn details(span: &SpanRecord, content: Rendered) -> Self {
        let mut attributes: Vec<_> =
            span.attributes.iter().filter(|(name, _)| SHARED.contains(name)).cloned().collect();
        attributes.extend(left_out(&content));
        Self {
            trace_id: span.trace_id,
            span_id: span.span_id,
            flags: span.flags,
            at: span.end,
            attributes,
            structured: texts(content),
            resource: Arc::clone(&span.resource),
        }
    }

    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Roughly the memory that the event holds, in bytes.
    pub fn weight(&self) -> usize {
        let values: usize = self.attributes.iter().map(|(_, value)| value.weight()).sum();
        512 + values + self.structured.iter().map(|(_, text)| text.len()).sum::<usize>()
    }
}

impl SpanRecord {
    /// Adds a call's content, as JSON texts.
    pub fn add_content(&mut self, content: Rendered) {
        self.attributes.extend(left_out(&content));
        self.attributes.extend(texts(content).into_iter().map(|(name, text)| (name, Value::Content(text))));
    }
}

fn texts(content: Rendered) -> Vec<(&'static str, String)> {
    let Rendered { system, input, output, tools, .. } = content;
    let named = [
        (semconv::SYSTEM_INSTRUCTIONS, system),
        (semconv::INPUT_MESSAGES, input),
        (semconv::OUTPUT_MESSAGES, output),
        (semconv::TOOL_DEFINITIONS, tools),
    ];
    named.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

fn left_out(content: &Rendered) -> Option<(&'static str, Value)> {
    (content.left_out_bytes > 0).then(|| (semconv::CONTENT_LEFT_OUT, Value::from(content.left_out_bytes)))
}

/// Contents are payload.
impl fmt::Debug for EventRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventRecord({} attributes, {} contents)", self.attributes.len(), self.structured.len())
    }
}
