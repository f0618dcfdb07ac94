//! Responses of Ollama's own API: one object, or a line for each piece and a last one with `done` and the counts.

use super::Ollama;
use crate::llm::{
    call::{LlmCall, ToolCall, Usage},
    decode::{CallLimits, Evidence, Keep, ResponseReader, Seen},
    failure::{Failure, Part},
    json::{Container, Scalar, Shape, Sink},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    Model,
    Text,
    ToolCall,
    ToolName,
    ToolId,
    Done,
    DoneReason,
    PromptTokens,
    OutputTokens,
    Embedding,
    Failure(Part),
}

use Field as F;

const TOOL_CALL: Shape<F> = Shape::container(F::ToolCall).members(&[
    ("id", Shape::value(F::ToolId)),
    ("function", Shape::through().members(&[("name", Shape::value(F::ToolName))])),
]);
const MESSAGE: Shape<F> = Shape::through().members(&[
    ("content", Shape::presence(F::Text)),
    ("thinking", Shape::presence(F::Text)),
    ("tool_calls", Shape::through().items(&TOOL_CALL)),
]);
const RESPONSE: Shape<F> = Shape::container(F::Root).members(&[
    ("model", Shape::value(F::Model)),
    ("message", MESSAGE),
    ("response", Shape::presence(F::Text)),
    ("thinking", Shape::presence(F::Text)),
    ("done", Shape::value(F::Done)),
    ("done_reason", Shape::value(F::DoneReason)),
    ("prompt_eval_count", Shape::value(F::PromptTokens)),
    ("eval_count", Shape::value(F::OutputTokens)),
    ("embedding", Shape::container(F::Embedding)),
    ("embeddings", Shape::container(F::Embedding)),
    ("error", Shape::presence(F::Failure(Part::Error))),
]);

pub struct OllamaResponse {
    api: Ollama,
    keep: Keep,
    fits: bool,
    is_object: bool,
    model: Option<String>,
    done_reason: Option<String>,
    done: bool,
    calls: Vec<ToolCall>,
    usage: Usage,
    failure: Failure,
    seen: Seen,
}

impl OllamaResponse {
    pub fn new(api: Ollama, limits: CallLimits) -> Self {
        Self {
            api,
            keep: Keep::new(limits),
            fits: false,
            is_object: false,
            model: None,
            done_reason: None,
            done: false,
            calls: Vec::new(),
            usage: Usage::default(),
            failure: Failure::default(),
            seen: Seen::default(),
        }
    }
}

impl Sink<Field> for OllamaResponse {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        match field {
            F::Model if self.model.is_none() => {
                self.keep.first(&mut self.model, value);
                self.seen.news = true;
            }
            F::Text => self.seen.content |= value.is_present(),
            F::ToolName => {
                if let (Some(call), Some(name)) = (self.calls.last_mut(), value.str()) {
                    call.name = self.keep.text(name).unwrap_or_default();
                }
            }
            F::ToolId => {
                if let (Some(call), Some(id)) = (self.calls.last_mut(), value.str()) {
                    call.id = self.keep.text(id);
                }
            }
            F::Done => {
                if let Some(done) = value.bool() {
                    self.seen.news |= !self.fits || self.done != done;
                    self.fits |= self.api != Ollama::Embed;
                    self.done = done;
                }
            }
            F::DoneReason => {
                self.keep.first(&mut self.done_reason, value);
                self.seen.news = true;
            }
            F::PromptTokens | F::OutputTokens => {
                let place = if field == F::PromptTokens { &mut self.usage.input } else { &mut self.usage.output };
                *place = value.count().or(*place);
                self.seen.news = true;
            }
            F::Failure(part) => {
                self.failure.scalar(part, value);
                // The text is a message; that there is one is all that is told.
                if value.is_present() {
                    self.failure.begin();
                    self.seen.news = true;
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        match (field, container) {
            (F::Root, Container::Object) => self.is_object = true,
            (F::ToolCall, Container::Object) => {
                self.seen.content = true;
                self.seen.news = true;
                if self.keep.entry(self.calls.len()) {
                    self.calls.push(ToolCall::default());
                }
            }
            (F::Embedding, Container::Array) => self.fits |= self.api == Ollama::Embed,
            _ => {}
        }
    }
}

impl ResponseReader for OllamaResponse {
    type Field = Field;
    const SHAPE: &'static Shape<Field> = &RESPONSE;

    fn begin_event(&mut self, _: &[u8]) -> bool {
        self.seen = Seen { data: true, ..Seen::default() };
        true
    }

    fn end_event(&mut self) -> Seen {
        Seen { end: self.done, ..self.seen }
    }

    fn evidence(&self) -> Evidence {
        match (self.fits, self.is_object && !self.failure.is_present()) {
            (true, _) => Evidence::Fits,
            (false, true) => Evidence::Contradicts,
            (false, false) => Evidence::None,
        }
    }

    fn finish(&mut self, call: &mut LlmCall) -> u64 {
        call.usage = self.usage;
        call.error = self.failure.error(call.response.status);
        let response = &mut call.response;
        response.model = self.model.take();
        response.finish_reasons = self.done_reason.take().into_iter().collect();
        response.tool_calls = std::mem::take(&mut self.calls);
        self.keep.dropped
    }
}
