//! Requests of the Messages API, and of the older one, which has a `prompt` in place of messages.

use crate::llm::{
    call::Request,
    decode::{CallLimits, Evidence, Keep, RequestReader},
    instructions::Instructions,
    json::{Container, Scalar, Shape, Sink},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    Model,
    MaxTokens,
    Temperature,
    TopP,
    TopK,
    Stop,
    Stream,
    Effort,
    ServiceTier,
    FormatType,
    System,
    SystemText,
    Prompt,
    Messages,
    Message,
    ToolUseId,
    Tools,
    Tool,
}

use Field as F;

const STOP: Shape<F> = Shape::value(F::Stop);
const SYSTEM_BLOCK: Shape<F> = Shape::through().members(&[("text", Shape::text(F::SystemText))]);
const BLOCK: Shape<F> = Shape::through().members(&[("tool_use_id", Shape::value(F::ToolUseId))]);
const MESSAGE: Shape<F> = Shape::container(F::Message).members(&[("content", Shape::through().items(&BLOCK))]);
const TOOL: Shape<F> = Shape::container(F::Tool);
const FORMAT: Shape<F> = Shape::through().members(&[("type", Shape::value(F::FormatType))]);

const REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("model", Shape::value(F::Model)),
    ("messages", Shape::container(F::Messages).items(&MESSAGE)),
    ("prompt", Shape::presence(F::Prompt)),
    ("max_tokens", Shape::value(F::MaxTokens)),
    ("max_tokens_to_sample", Shape::value(F::MaxTokens)),
    ("temperature", Shape::value(F::Temperature)),
    ("top_p", Shape::value(F::TopP)),
    ("top_k", Shape::value(F::TopK)),
    ("stop_sequences", Shape::through().items(&STOP)),
    ("stream", Shape::value(F::Stream)),
    ("service_tier", Shape::value(F::ServiceTier)),
    ("system", Shape::text(F::System).items(&SYSTEM_BLOCK)),
    ("tools", Shape::container(F::Tools).items(&TOOL)),
    ("output_config", Shape::through().members(&[("effort", Shape::value(F::Effort)), ("format", FORMAT)])),
    ("output_format", FORMAT),
]);

pub struct AnthropicRequest {
    keep: Keep,
    request: Request,
    /// The model that the path names, for services that state it there.
    path_model: Option<String>,
    is_object: bool,
    has_prompt: bool,
    instructions: Instructions,
}

impl AnthropicRequest {
    pub fn new(path_model: Option<String>, limits: CallLimits) -> Self {
        Self {
            keep: Keep::new(limits),
            request: Request::default(),
            path_model,
            is_object: false,
            has_prompt: false,
            instructions: Instructions::default(),
        }
    }
}

impl Sink<Field> for AnthropicRequest {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        let (request, keep) = (&mut self.request, &mut self.keep);
        match field {
            F::Model => keep.first(&mut request.model, value),
            F::Prompt => self.has_prompt |= value.is_present(),
            F::MaxTokens => request.max_tokens = value.count(),
            F::Temperature => request.temperature = value.float(),
            F::TopP => request.top_p = value.float(),
            F::TopK => request.top_k = value.float(),
            F::Stop => {
                let stops = request.stop_sequences.get_or_insert_default();
                if let Scalar::Text { value, cut: false } = value
                    && keep.entry(stops.len())
                {
                    stops.extend(keep.text(value));
                }
            }
            F::Stream => request.stream = value.bool(),
            F::Effort => keep.first(&mut request.reasoning_level, value),
            F::ServiceTier => keep.first(&mut request.service_tier, value),
            F::FormatType if value.str() == Some("json_schema") => request.output_type = Some("json"),
            F::System | F::SystemText => self.instructions.end_part(),
            F::ToolUseId => {
                if let Some(id) = value.str()
                    && keep.entry(request.tool_results.len())
                {
                    request.tool_results.extend(keep.text(id));
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        let request = &mut self.request;
        match (field, container) {
            (F::Root, Container::Object) => self.is_object = true,
            (F::Messages, Container::Array) => {
                self.has_prompt = true;
                request.messages = Some(0);
            }
            (F::Message, Container::Object) => request.messages = request.messages.map(|count| count + 1),
            (F::Tools, Container::Array) => request.tools = Some(0),
            (F::Tool, Container::Object) => request.tools = request.tools.map(|count| count + 1),
            _ => {}
        }
    }

    fn text(&mut self, _: Field, piece: &[u8]) {
        self.instructions.text(piece);
    }
}

impl RequestReader for AnthropicRequest {
    type Field = Field;
    const SHAPE: &'static Shape<Field> = &REQUEST;

    fn evidence(&self) -> Evidence {
        match (self.is_object, self.has_prompt) {
            (true, true) => Evidence::Fits,
            (true, false) => Evidence::Contradicts,
            (false, _) => Evidence::None,
        }
    }

    fn finish(&mut self, request: &mut Request) -> u64 {
        let mut read = std::mem::take(&mut self.request);
        *request = Request {
            model: read.model.take().or(self.path_model.take()),
            system_prompt_hash: std::mem::take(&mut self.instructions).hash(),
            body_bytes: request.body_bytes,
            ..read
        };
        self.keep.dropped
    }
}
