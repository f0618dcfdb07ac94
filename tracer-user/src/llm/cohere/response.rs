//! Responses of Cohere's API. Version 2 streams Server-Sent Events whose parts stand under `delta`; version 1 streams
//! lines, the last of which carries the whole response under `response`.

use super::Cohere;
use crate::llm::{
    call::{LlmCall, ToolCall, Usage},
    decode::{CallLimits, Evidence, Keep, ResponseReader, Seen},
    failure::{Failure, Part},
    json::{Container, Scalar, Shape, Sink},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    Type,
    Finished,
    Id,
    FinishReason,
    Text,
    ToolCall,
    ToolName,
    ToolId,
    BilledInput,
    BilledOutput,
    Input,
    Output,
    Cached,
    Generations,
    Embeddings,
    Failure(Part),
}

use Field as F;

const USAGE: Shape<F> = Shape::through().members(&[
    (
        "billed_units",
        Shape::through().members(&[
            ("input_tokens", Shape::value(F::BilledInput)),
            ("output_tokens", Shape::value(F::BilledOutput)),
        ]),
    ),
    (
        "tokens",
        Shape::through()
            .members(&[("input_tokens", Shape::value(F::Input)), ("output_tokens", Shape::value(F::Output))]),
    ),
    ("cached_tokens", Shape::value(F::Cached)),
]);
const PART: Shape<F> =
    Shape::through().members(&[("text", Shape::presence(F::Text)), ("thinking", Shape::presence(F::Text))]);
/// Version 1 states the name itself, and no id.
const TOOL_CALL: Shape<F> = Shape::container(F::ToolCall).members(&[
    ("id", Shape::value(F::ToolId)),
    ("name", Shape::value(F::ToolName)),
    (
        "function",
        Shape::through().members(&[("name", Shape::value(F::ToolName)), ("arguments", Shape::presence(F::Text))]),
    ),
]);
const MESSAGE: Shape<F> = Shape::through().members(&[
    ("content", PART.items(&PART)),
    ("tool_plan", Shape::presence(F::Text)),
    ("tool_calls", TOOL_CALL.items(&TOOL_CALL)),
]);
const GENERATION: Shape<F> = Shape::through().members(&[("finish_reason", Shape::value(F::FinishReason))]);
const RESPONSE: Shape<F> = Shape::container(F::Root).members(&[
    ("type", Shape::value(F::Type)),
    ("event_type", Shape::value(F::Type)),
    // Version 1; on Bedrock the events of a text have no type.
    ("is_finished", Shape::value(F::Finished)),
    ("id", Shape::value(F::Id)),
    ("response_id", Shape::value(F::Id)),
    ("finish_reason", Shape::value(F::FinishReason)),
    ("text", Shape::presence(F::Text)),
    ("message", MESSAGE),
    ("tool_calls", TOOL_CALL.items(&TOOL_CALL)),
    (
        "delta",
        Shape::through().members(&[
            ("finish_reason", Shape::value(F::FinishReason)),
            ("message", MESSAGE),
            ("usage", USAGE),
        ]),
    ),
    ("response", Shape::through().members(&[("response_id", Shape::value(F::Id)), ("meta", USAGE)])),
    ("usage", USAGE),
    ("meta", USAGE),
    ("generations", Shape::container(F::Generations).items(&GENERATION)),
    ("embeddings", Shape::container(F::Embeddings)),
    ("error_type", Shape::value(F::Failure(Part::TopType))),
]);

pub struct CohereResponse {
    api: Cohere,
    keep: Keep,
    fits: bool,
    is_object: bool,
    id: Option<String>,
    finish_reasons: Vec<String>,
    calls: Vec<ToolCall>,
    call: ToolCall,
    usage: Usage,
    billed_input: Option<u64>,
    billed_output: Option<u64>,
    failure: Failure,
    ends: bool,
    seen: Seen,
}

impl CohereResponse {
    pub fn new(api: Cohere, limits: CallLimits) -> Self {
        Self {
            api,
            keep: Keep::new(limits),
            fits: false,
            is_object: false,
            id: None,
            finish_reasons: Vec::new(),
            calls: Vec::new(),
            call: ToolCall::default(),
            usage: Usage::default(),
            billed_input: None,
            billed_output: None,
            failure: Failure::default(),
            ends: false,
            seen: Seen::default(),
        }
    }

    fn latest(&mut self, place: fn(&mut Self) -> &mut Option<u64>, value: Scalar<'_>) {
        if let Some(count) = value.count() {
            *place(self) = Some(count);
            self.seen.news = true;
        }
    }

    fn end_call(&mut self) {
        let call = std::mem::take(&mut self.call);
        // Fragments of the arguments come without a name.
        if !call.name.is_empty() && self.keep.entry(self.calls.len()) {
            let name = self.keep.text(&call.name).unwrap_or_default();
            self.calls.push(ToolCall { name, id: call.id.and_then(|id| self.keep.text(&id)) });
            self.seen.content = true;
            self.seen.news = true;
        }
    }
}

impl Sink<Field> for CohereResponse {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        match field {
            F::Type => {
                let kind = value.str().unwrap_or_default();
                self.fits |= matches!(kind, "message-start" | "stream-start" | "text-generation");
                self.ends |= matches!(kind, "message-end" | "stream-end");
                self.seen.news |= self.ends;
            }
            F::Finished => {
                self.fits |= self.api != Cohere::Embed;
                self.ends |= value.bool() == Some(true);
                self.seen.news |= self.ends;
            }
            F::Id if self.id.is_none() => {
                self.keep.first(&mut self.id, value);
                self.seen.news = true;
            }
            F::FinishReason => {
                if let Some(reason) = value.str()
                    && self.keep.entry(self.finish_reasons.len())
                {
                    self.fits |= self.api == Cohere::Chat;
                    self.finish_reasons.extend(self.keep.text(reason));
                    self.seen.news = true;
                }
            }
            F::Text => self.seen.content |= value.is_present(),
            F::ToolName => self.call.name = value.str().unwrap_or_default().to_owned(),
            F::ToolId => self.call.id = value.str().map(str::to_owned),
            F::BilledInput => self.latest(|all| &mut all.billed_input, value),
            F::BilledOutput => self.latest(|all| &mut all.billed_output, value),
            F::Input => self.latest(|all| &mut all.usage.input, value),
            F::Output => self.latest(|all| &mut all.usage.output, value),
            F::Cached => self.latest(|all| &mut all.usage.cache_read, value),
            F::Failure(part) => self.failure.scalar(part, value),
            _ => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        match (field, container) {
            (F::Root, Container::Object) => self.is_object = true,
            (F::ToolCall, Container::Object) => self.call = ToolCall::default(),
            (F::Generations, Container::Array) => self.fits |= self.api == Cohere::Generate,
            (F::Embeddings, _) => self.fits |= self.api == Cohere::Embed,
            _ => {}
        }
    }

    fn close(&mut self, field: Field) {
        if field == F::ToolCall {
            self.end_call();
        }
    }
}

impl ResponseReader for CohereResponse {
    type Field = Field;
    const SHAPE: &'static Shape<Field> = &RESPONSE;

    fn begin_event(&mut self, _: &[u8]) -> bool {
        self.seen = Seen { data: true, ..Seen::default() };
        self.ends = false;
        true
    }

    fn end_event(&mut self) -> Seen {
        Seen { end: self.ends, ..self.seen }
    }

    fn evidence(&self) -> Evidence {
        match (self.fits, self.is_object) {
            (true, _) => Evidence::Fits,
            (false, true) => Evidence::Contradicts,
            (false, false) => Evidence::None,
        }
    }

    fn finish(&mut self, call: &mut LlmCall) -> u64 {
        // What is billed is what counts; what was read and written is stated beside it.
        call.usage = Usage {
            input: self.billed_input.or(self.usage.input),
            output: self.billed_output.or(self.usage.output),
            ..self.usage
        };
        call.error = self.failure.error(call.response.status);
        let response = &mut call.response;
        // The id of an error is no answer's.
        response.id = self.id.take().filter(|_| self.fits);
        response.finish_reasons = std::mem::take(&mut self.finish_reasons);
        response.tool_calls = std::mem::take(&mut self.calls);
        self.keep.dropped
    }
}
