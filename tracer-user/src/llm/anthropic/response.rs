//! Responses of the Messages API, whole or as events: `message_start` carries the whole response's members under
//! `message`, each `content_block_start` an item of its `content`.

use crate::llm::{
    call::{Aside, LlmCall, Operation, ToolCall, Usage},
    decode::{CallLimits, Evidence, Keep, ResponseReader, Seen},
    failure::{Failure, Part},
    json::{Container, Scalar, Shape, Sink},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    Type,
    Id,
    Model,
    StopReason,
    Content,
    Block,
    BlockType,
    BlockId,
    BlockName,
    Text,
    Usage,
    /// What the parts of the work took, of which the usage leaves some out.
    Iterations,
    Iteration,
    IterationType,
    IterationModel,
    InputTokens,
    CacheRead,
    CacheWrite,
    CacheWrite1h,
    OutputTokens,
    ThinkingTokens,
    WebSearches,
    ServiceTier,
    Speed,
    Geography,
    Failure(Part),
}

use Field as F;

const TOKENS: &[(&str, Shape<F>)] = &[
    ("input_tokens", Shape::value(F::InputTokens)),
    ("cache_read_input_tokens", Shape::value(F::CacheRead)),
    ("cache_creation_input_tokens", Shape::value(F::CacheWrite)),
    ("cache_creation", Shape::through().members(&[("ephemeral_1h_input_tokens", Shape::value(F::CacheWrite1h))])),
    ("output_tokens", Shape::value(F::OutputTokens)),
];
const ITERATION: Shape<F> = Shape::container(F::Iteration)
    .members(TOKENS)
    .and(&[("type", Shape::value(F::IterationType)), ("model", Shape::value(F::IterationModel))]);
const USAGE: Shape<F> = Shape::container(F::Usage).members(TOKENS).and(&[
    ("iterations", Shape::container(F::Iterations).items(&ITERATION)),
    ("output_tokens_details", Shape::through().members(&[("thinking_tokens", Shape::value(F::ThinkingTokens))])),
    ("server_tool_use", Shape::through().members(&[("web_search_requests", Shape::value(F::WebSearches))])),
    ("service_tier", Shape::value(F::ServiceTier)),
    ("speed", Shape::value(F::Speed)),
    ("inference_geo", Shape::value(F::Geography)),
]);
const BLOCK: Shape<F> = Shape::container(F::Block).members(&[
    ("type", Shape::value(F::BlockType)),
    ("id", Shape::value(F::BlockId)),
    ("name", Shape::value(F::BlockName)),
    ("text", Shape::presence(F::Text)),
    ("thinking", Shape::presence(F::Text)),
]);
const DELTA: Shape<F> = Shape::through().members(&[
    ("stop_reason", Shape::value(F::StopReason)),
    ("text", Shape::presence(F::Text)),
    ("thinking", Shape::presence(F::Text)),
    ("partial_json", Shape::presence(F::Text)),
]);
const MESSAGE: Shape<F> = Shape::through().members(&[
    ("id", Shape::value(F::Id)),
    ("model", Shape::value(F::Model)),
    ("stop_reason", Shape::value(F::StopReason)),
    ("content", Shape::container(F::Content).items(&BLOCK)),
    ("usage", USAGE),
]);
const ERROR: Shape<F> = Shape::value(F::Failure(Part::Error))
    .members(&[("type", Shape::value(F::Failure(Part::Type))), ("code", Shape::value(F::Failure(Part::Code)))]);
const RESPONSE: Shape<F> = Shape::container(F::Root).members(&[
    ("type", Shape::value(F::Type)),
    ("delta", DELTA),
    ("content_block", BLOCK),
    ("message", MESSAGE),
    ("id", Shape::value(F::Id)),
    ("model", Shape::value(F::Model)),
    ("stop_reason", Shape::value(F::StopReason)),
    ("content", Shape::container(F::Content).items(&BLOCK)),
    ("usage", USAGE),
    // The older API's text.
    ("completion", Shape::presence(F::Text)),
    ("error", ERROR),
]);

/// A content block, until it is whole: its `type` may stand last.
#[derive(Default)]
struct Block {
    kind: BlockKind,
    id: Option<String>,
    name: Option<String>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    #[default]
    Other,
    ToolUse,
    /// A tool that the service itself runs, or reasoning that is not shown: content, but no call for the client.
    Silent,
}

/// An entry of `usage.iterations`. The usage beside it sums up the sampling of the model that answered: not the
/// compaction of the context, not what an advisor took, and not what a model took that another one fell back from.
#[derive(Default)]
struct Iteration {
    kind: IterationKind,
    model: Option<String>,
    usage: Usage,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum IterationKind {
    #[default]
    Message,
    Fallback,
    /// The usage leaves it out.
    Apart,
}

pub struct AnthropicResponse {
    keep: Keep,
    fits: bool,
    is_object: bool,
    operation: Option<Operation>,
    id: Option<String>,
    model: Option<String>,
    stop_reason: Option<String>,
    service_tier: Option<String>,
    speed: Option<String>,
    geography: Option<String>,
    calls: Vec<ToolCall>,
    block: Block,
    usage: Usage,
    iterations: Vec<Iteration>,
    /// The one that is being read.
    iteration: Option<Iteration>,
    /// `message_start` states the output tokens so far, which is not the call's number: only what a later event states,
    /// or the whole response, is.
    output_is_final: bool,
    event: EventKind,
    failure: Failure,
    seen: Seen,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum EventKind {
    #[default]
    Other,
    MessageStart,
    MessageStop,
    Ping,
}

impl AnthropicResponse {
    pub fn new(limits: CallLimits) -> Self {
        Self {
            keep: Keep::new(limits),
            fits: false,
            is_object: false,
            operation: None,
            id: None,
            model: None,
            stop_reason: None,
            service_tier: None,
            speed: None,
            geography: None,
            calls: Vec::new(),
            block: Block::default(),
            usage: Usage::default(),
            iterations: Vec::new(),
            iteration: None,
            output_is_final: false,
            event: EventKind::default(),
            failure: Failure::default(),
            seen: Seen::default(),
        }
    }

    fn latest(&mut self, place: fn(&mut Usage) -> &mut Option<u64>, value: Scalar<'_>) {
        if let Some(count) = value.count() {
            let usage = self.iteration.as_mut().map_or(&mut self.usage, |iteration| &mut iteration.usage);
            *place(usage) = Some(count);
            self.seen.news = true;
        }
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.seen.content |= block.kind != BlockKind::Other;
        if block.kind == BlockKind::ToolUse && self.keep.entry(self.calls.len()) {
            let name = block.name.and_then(|name| self.keep.text(&name)).unwrap_or_default();
            let id = block.id.and_then(|id| self.keep.text(&id));
            self.calls.push(ToolCall { name, id });
            self.seen.news = true;
        }
    }

    fn usage(&self) -> Usage {
        let usage = with_cache(self.usage);
        Usage { output: usage.output.filter(|_| self.output_is_final), ..usage }
    }

    fn end_iteration(&mut self) {
        let Some(iteration) = self.iteration.take() else { return };
        if self.keep.entry(self.iterations.len()) {
            self.iterations.push(iteration);
        }
    }

    fn fell_back(&self) -> bool {
        self.iterations.iter().any(|iteration| iteration.kind == IterationKind::Fallback)
    }

    /// What the usage leaves out.
    fn asides(&mut self) -> Vec<Aside> {
        let fell_back = self.fell_back();
        let mut iterations = std::mem::take(&mut self.iterations);
        iterations.retain(|iteration| match iteration.kind {
            IterationKind::Apart => true,
            IterationKind::Message => fell_back && iteration.model.is_some() && iteration.model != self.model,
            IterationKind::Fallback => false,
        });
        let aside = |Iteration { model, usage, .. }| Aside { model, usage: with_cache(usage) };
        iterations.into_iter().map(aside).collect()
    }
}

/// The service states the input without what came from or went to the cache.
fn with_cache(usage: Usage) -> Usage {
    let cache = usage.cache_read.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0));
    Usage { input: usage.input.map(|input| input.saturating_add(cache)), ..usage }
}

impl Sink<Field> for AnthropicResponse {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        match field {
            F::Type => {
                let kind = value.str().unwrap_or_default();
                self.fits |= matches!(
                    kind,
                    "message" | "completion" | "message_start" | "message_delta" | "content_block_delta" | "error"
                );
                match kind {
                    "completion" => self.operation = Some(Operation::TextCompletion),
                    "message" | "message_start" | "message_delta" | "content_block_delta" => {
                        self.operation = Some(Operation::Chat);
                    }
                    _ => {}
                }
                self.event = match kind {
                    "message_start" => EventKind::MessageStart,
                    "message_stop" => EventKind::MessageStop,
                    "ping" => EventKind::Ping,
                    _ => EventKind::Other,
                };
                if kind == "error" {
                    self.failure.begin();
                    self.seen.news = true;
                }
            }
            F::Id if self.id.is_none() => {
                self.keep.first(&mut self.id, value);
                self.seen.news = true;
            }
            F::Model if self.model.is_none() => {
                self.keep.first(&mut self.model, value);
                self.seen.news = true;
            }
            F::StopReason => {
                if let Some(reason) = value.str() {
                    self.stop_reason = Some(reason.to_owned());
                    self.seen.news = true;
                }
            }
            F::BlockType => {
                self.block.kind = match value.str() {
                    Some("tool_use") => BlockKind::ToolUse,
                    Some("server_tool_use" | "mcp_tool_use" | "redacted_thinking") => BlockKind::Silent,
                    _ => BlockKind::Other,
                }
            }
            F::IterationType => {
                if let Some(iteration) = &mut self.iteration {
                    iteration.kind = match value.str() {
                        Some("compaction" | "advisor_message") => IterationKind::Apart,
                        Some("fallback_message") => IterationKind::Fallback,
                        _ => IterationKind::Message,
                    };
                }
            }
            F::IterationModel => {
                if let (Some(iteration), Some(model)) = (&mut self.iteration, value.str()) {
                    iteration.model = self.keep.text(model);
                }
            }
            F::BlockId => self.block.id = value.str().map(str::to_owned),
            F::BlockName => self.block.name = value.str().map(str::to_owned),
            F::Text => self.seen.content |= value.is_present(),
            F::InputTokens => self.latest(|usage| &mut usage.input, value),
            F::CacheRead => self.latest(|usage| &mut usage.cache_read, value),
            F::CacheWrite => self.latest(|usage| &mut usage.cache_write, value),
            F::CacheWrite1h => self.latest(|usage| &mut usage.cache_write_1h, value),
            F::OutputTokens => {
                self.latest(|usage| &mut usage.output, value);
                self.output_is_final |= self.iteration.is_none();
            }
            F::ThinkingTokens => self.latest(|usage| &mut usage.reasoning, value),
            F::WebSearches => self.latest(|usage| &mut usage.web_searches, value),
            F::ServiceTier | F::Speed | F::Geography => {
                let place = match field {
                    F::ServiceTier => &mut self.service_tier,
                    F::Speed => &mut self.speed,
                    _ => &mut self.geography,
                };
                if place.is_none() {
                    self.keep.first(place, value);
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
            (F::Block, Container::Object) => self.block = Block::default(),
            // A stream states them more than once.
            (F::Iterations, Container::Array) => self.iterations.clear(),
            (F::Iteration, Container::Object) => self.iteration = Some(Iteration::default()),
            (F::Failure(Part::Error), Container::Object) => {
                self.failure.begin();
                self.seen.news = true;
            }
            _ => {}
        }
    }

    fn close(&mut self, field: Field) {
        match field {
            F::Block => self.end_block(),
            F::Iteration => self.end_iteration(),
            _ => {}
        }
    }
}

impl ResponseReader for AnthropicResponse {
    type Field = Field;

    fn shape(&self) -> &'static Shape<Field> {
        &RESPONSE
    }

    fn begin_event(&mut self, name: &[u8]) -> bool {
        self.seen = Seen { data: true, ..Seen::default() };
        // The name repeats the `type` of the data, which may stand after what depends on it.
        self.event = match name {
            b"message_start" => EventKind::MessageStart,
            b"message_stop" => EventKind::MessageStop,
            _ => EventKind::Other,
        };
        if name == b"error" {
            self.failure.begin();
            self.seen.news = true;
        }
        name != b"ping"
    }

    fn end_event(&mut self) -> Seen {
        let Seen { data, content, news, .. } = self.seen;
        self.output_is_final &= self.event != EventKind::MessageStart;
        Seen { data: data && self.event != EventKind::Ping, content, news, end: self.event == EventKind::MessageStop }
    }

    fn evidence(&self) -> Evidence {
        Evidence::of(self.fits, self.is_object && !self.failure.is_present())
    }

    fn operation(&self) -> Option<Operation> {
        self.operation
    }

    fn finish(&mut self, call: &mut LlmCall) -> u64 {
        call.usage = self.usage();
        call.fallback = self.fell_back().then_some(true).or(call.fallback);
        call.asides = self.asides();
        call.error = self.failure.error(call.response.status);
        let response = &mut call.response;
        response.id = self.id.take();
        response.model = self.model.take();
        response.service_tier = self.service_tier.take();
        response.speed = self.speed.take();
        response.geography = self.geography.take();
        response.finish_reasons = self.stop_reason.take().into_iter().collect();
        response.tool_calls = std::mem::take(&mut self.calls);
        self.keep.dropped
    }
}
