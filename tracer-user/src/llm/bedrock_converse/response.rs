//! Responses of Converse, whole or as the messages of a stream, and of Amazon's Nova models, which name each event by a
//! member around it.

use crate::llm::{
    bedrock,
    call::{LlmCall, ToolCall, Usage},
    decode::{CallLimits, Evidence, Keep, ResponseReader, Seen},
    failure::{Failure, Part},
    json::{Container, Scalar, Shape, Sink},
};
use crate::proto::ResponseHead;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    /// What only this API's responses have.
    Proof,
    Metadata,
    Text,
    /// The input of a tool, as text in pieces or as a value.
    ToolUse,
    ToolUseId,
    ToolName,
    ToolType,
    StopReason,
    InputTokens,
    OutputTokens,
    CacheRead,
    CacheWrite,
    CacheDetail,
    DetailTtl,
    DetailTokens,
    Latency,
    ServiceTier,
    PerformanceLatency,
    Failure(Part),
}

use Field as F;

const TOOL_USE: Shape<F> = Shape::container(F::ToolUse).members(&[
    ("toolUseId", Shape::value(F::ToolUseId)),
    ("name", Shape::value(F::ToolName)),
    ("type", Shape::value(F::ToolType)),
]);
const REASONING: Shape<F> = Shape::through().members(&[
    ("text", Shape::presence(F::Text)),
    ("redactedContent", Shape::presence(F::Text)),
    ("reasoningText", Shape::through().members(&[("text", Shape::presence(F::Text))])),
]);
const BLOCK: Shape<F> = Shape::through().members(&[
    ("text", Shape::presence(F::Text)),
    ("toolUse", TOOL_USE),
    ("reasoningContent", REASONING),
]);
const DELTA: Shape<F> = Shape::through().members(&[
    ("text", Shape::presence(F::Text)),
    ("toolUse", Shape::through().members(&[("input", Shape::presence(F::Text))])),
    ("reasoningContent", REASONING),
    ("image", Shape::through().members(&[("source", Shape::container(F::Text))])),
]);
const START: Shape<F> = Shape::through().members(&[("toolUse", TOOL_USE)]);
const CACHE_DETAIL: Shape<F> = Shape::container(F::CacheDetail)
    .members(&[("ttl", Shape::value(F::DetailTtl)), ("inputTokens", Shape::value(F::DetailTokens))]);
const USAGE: Shape<F> = Shape::through().members(&[
    ("inputTokens", Shape::value(F::InputTokens)),
    ("outputTokens", Shape::value(F::OutputTokens)),
    ("cacheReadInputTokens", Shape::value(F::CacheRead)),
    ("cacheWriteInputTokens", Shape::value(F::CacheWrite)),
    ("cacheDetails", Shape::through().items(&CACHE_DETAIL)),
    // Nova's names; Converse states both.
    ("cacheReadInputTokenCount", Shape::value(F::CacheRead)),
    ("cacheWriteInputTokenCount", Shape::value(F::CacheWrite)),
]);
const METRICS: Shape<F> = Shape::through().members(&[("latencyMs", Shape::value(F::Latency))]);
const TIER: Shape<F> = Shape::through().members(&[("type", Shape::value(F::ServiceTier))]);
const PERFORMANCE: Shape<F> = Shape::through().members(&[("latency", Shape::value(F::PerformanceLatency))]);
const RESPONSE: Shape<F> = Shape::container(F::Root).members(&[
    // Events of a stream, the most frequent one first.
    ("delta", DELTA),
    ("start", START),
    ("stopReason", Shape::value(F::StopReason)),
    ("usage", USAGE),
    ("metrics", METRICS),
    ("serviceTier", TIER),
    ("performanceConfig", PERFORMANCE),
    // A whole response has these and the five above.
    (
        "output",
        Shape::container(F::Proof)
            .members(&[("message", Shape::through().members(&[("content", Shape::through().items(&BLOCK))]))]),
    ),
    // Events as Nova wraps them.
    ("messageStart", Shape::container(F::Proof)),
    ("contentBlockDelta", Shape::container(F::Proof).members(&[("delta", DELTA)])),
    ("contentBlockStart", Shape::container(F::Proof).members(&[("start", START)])),
    ("messageStop", Shape::container(F::Proof).members(&[("stopReason", Shape::value(F::StopReason))])),
    ("metadata", Shape::container(F::Metadata).members(&[("usage", USAGE), ("metrics", METRICS)])),
    // An error's name, where no header has it.
    ("__type", Shape::value(F::Failure(Part::Type))),
    ("code", Shape::value(F::Failure(Part::TopCode))),
]);

/// A tool use, until it is whole: its `type` may stand last.
#[derive(Default)]
struct ToolUse {
    id: Option<String>,
    name: Option<String>,
    /// The service runs the tool itself.
    is_server: bool,
}

pub struct ConverseResponse {
    keep: Keep,
    fits: bool,
    is_object: bool,
    stop_reason: Option<String>,
    tool_use: ToolUse,
    calls: Vec<ToolCall>,
    usage: Usage,
    detail: (bool, u64),
    latency_ms: Option<f64>,
    service_tier: Option<String>,
    performance: Option<String>,
    failure: Failure,
    ends: bool,
    seen: Seen,
}

impl ConverseResponse {
    pub fn new(limits: CallLimits) -> Self {
        Self {
            keep: Keep::new(limits),
            fits: false,
            is_object: false,
            stop_reason: None,
            tool_use: ToolUse::default(),
            calls: Vec::new(),
            usage: Usage::default(),
            detail: (false, 0),
            latency_ms: None,
            service_tier: None,
            performance: None,
            failure: Failure::default(),
            ends: false,
            seen: Seen::default(),
        }
    }

    fn latest(&mut self, place: fn(&mut Usage) -> &mut Option<u64>, value: Scalar<'_>) {
        if let Some(count) = value.count() {
            *place(&mut self.usage) = Some(count);
            self.seen.news = true;
        }
    }

    fn end_tool_use(&mut self) {
        let ToolUse { id, name, is_server } = std::mem::take(&mut self.tool_use);
        self.seen.content = true;
        if !is_server && self.keep.entry(self.calls.len()) {
            let name = name.and_then(|name| self.keep.text(&name)).unwrap_or_default();
            self.calls.push(ToolCall { name, id: id.and_then(|id| self.keep.text(&id)) });
            self.seen.news = true;
        }
    }
}

impl Sink<Field> for ConverseResponse {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        match field {
            F::Text => self.seen.content |= value.is_present(),
            F::ToolUseId => self.tool_use.id = value.str().map(str::to_owned),
            F::ToolName => self.tool_use.name = value.str().map(str::to_owned),
            F::ToolType => self.tool_use.is_server = value.str() == Some("server_tool_use"),
            F::StopReason => {
                if let Some(reason) = value.str() {
                    self.fits = true;
                    self.stop_reason = Some(reason.to_owned());
                    self.seen.news = true;
                }
            }
            F::InputTokens => self.latest(|usage| &mut usage.input, value),
            F::OutputTokens => self.latest(|usage| &mut usage.output, value),
            F::CacheRead => self.latest(|usage| &mut usage.cache_read, value),
            F::CacheWrite => self.latest(|usage| &mut usage.cache_write, value),
            F::DetailTtl => self.detail.0 = value.str() == Some("1h"),
            F::DetailTokens => self.detail.1 = value.count().unwrap_or(0),
            F::Latency => {
                self.latency_ms = value.float().filter(|ms| *ms >= 0.0);
                self.seen.news = true;
            }
            F::ServiceTier => {
                self.keep.first(&mut self.service_tier, value);
                self.seen.news = true;
            }
            F::PerformanceLatency => {
                self.keep.first(&mut self.performance, value);
                self.seen.news = true;
            }
            F::Failure(Part::Type) => {
                if let Some(name) = value.str() {
                    bedrock::named(name, &mut self.failure);
                    self.seen.news = true;
                }
            }
            F::Failure(part) => {
                self.failure.scalar(part, value);
                self.seen.news |= value.is_present();
            }
            _ => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        match (field, container) {
            (F::Root, Container::Object) => self.is_object = true,
            (F::Proof, Container::Object) => self.fits = true,
            (F::Metadata, Container::Object) => {
                self.fits = true;
                self.ends = true;
                self.seen.news = true;
            }
            (F::ToolUse, Container::Object) => self.tool_use = ToolUse::default(),
            (F::Text, _) => self.seen.content = true,
            (F::CacheDetail, Container::Object) => self.detail = (false, 0),
            _ => {}
        }
    }

    fn close(&mut self, field: Field) {
        match field {
            F::ToolUse => self.end_tool_use(),
            F::CacheDetail if self.detail.0 => {
                self.usage.cache_write_1h = Some(self.detail.1);
                self.seen.news = true;
            }
            _ => {}
        }
    }
}

impl ResponseReader for ConverseResponse {
    type Field = Field;

    fn shape(&self) -> &'static Shape<Field> {
        &RESPONSE
    }

    fn head(&mut self, head: &ResponseHead) {
        bedrock::failed(head, &mut self.failure);
    }

    fn begin_event(&mut self, name: &[u8]) -> bool {
        self.seen = Seen { data: true, ..Seen::default() };
        // Usage stands in the last message.
        self.ends = name == b"metadata";
        self.fits |= matches!(name, b"messageStart" | b"contentBlockDelta" | b"contentBlockStart" | b"metadata");
        true
    }

    fn end_event(&mut self) -> Seen {
        Seen { end: self.ends, ..self.seen }
    }

    fn exception(&mut self, name: &[u8]) {
        bedrock::named(&String::from_utf8_lossy(name), &mut self.failure);
    }

    fn evidence(&self) -> Evidence {
        Evidence::of(self.fits, self.is_object && !self.failure.is_present())
    }

    fn finish(&mut self, call: &mut LlmCall) -> u64 {
        call.usage = Usage { input: bedrock::whole_input(self.usage.input, &self.usage), ..self.usage };
        call.error = self.failure.error(call.response.status);
        let response = &mut call.response;
        response.processing_ms = response.processing_ms.or(self.latency_ms);
        response.service_tier = self.service_tier.take();
        response.finish_reasons = self.stop_reason.take().into_iter().collect();
        response.tool_calls = std::mem::take(&mut self.calls);
        bedrock::priced_latency(call, self.performance.as_deref());
        self.keep.dropped
    }
}
