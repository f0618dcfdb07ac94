//! Requests of Converse, and of Amazon's Nova models, whose own shape is nearly the same.

use crate::llm::{
    call::Request,
    decode::{CallLimits, Evidence, Keep, RequestReader},
    instructions::Instructions,
    json::{Container, Scalar, Shape, Sink},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    Messages,
    Message,
    ToolUseId,
    SystemText,
    MaxTokens,
    Temperature,
    TopP,
    TopK,
    Stop,
    Tools,
    Tool,
    Guardrail,
    ServiceTier,
    Effort,
    FormatType,
}

use Field as F;

const STOP: Shape<F> = Shape::value(F::Stop);
const BLOCK: Shape<F> =
    Shape::through().members(&[("toolResult", Shape::through().members(&[("toolUseId", Shape::value(F::ToolUseId))]))]);
const MESSAGE: Shape<F> = Shape::container(F::Message).members(&[("content", Shape::through().items(&BLOCK))]);
const SYSTEM_BLOCK: Shape<F> = Shape::through().members(&[("text", Shape::text(F::SystemText))]);
/// Cache points stand among the tools.
const TOOL: Shape<F> =
    Shape::through().members(&[("toolSpec", Shape::container(F::Tool)), ("systemTool", Shape::container(F::Tool))]);
/// Nova writes some names in another way.
const INFERENCE: Shape<F> = Shape::through().members(&[
    ("maxTokens", Shape::value(F::MaxTokens)),
    ("max_new_tokens", Shape::value(F::MaxTokens)),
    ("temperature", Shape::value(F::Temperature)),
    ("topP", Shape::value(F::TopP)),
    ("top_p", Shape::value(F::TopP)),
    ("topK", Shape::value(F::TopK)),
    ("top_k", Shape::value(F::TopK)),
    ("stopSequences", Shape::through().items(&STOP)),
    ("reasoningConfig", REASONING),
]);
/// Nova's.
const REASONING: Shape<F> = Shape::through().members(&[("maxReasoningEffort", Shape::value(F::Effort))]);
/// Parameters that Converse does not know, in each model's own words.
const ADDITIONAL: Shape<F> = Shape::through().members(&[
    ("top_k", Shape::value(F::TopK)),
    ("topK", Shape::value(F::TopK)),
    ("inferenceConfig", Shape::through().members(&[("topK", Shape::value(F::TopK))])),
    ("reasoning_effort", Shape::value(F::Effort)),
    ("reasoningConfig", REASONING),
    ("output_config", Shape::through().members(&[("effort", Shape::value(F::Effort))])),
]);
const REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("messages", Shape::container(F::Messages).items(&MESSAGE)),
    ("system", Shape::text(F::SystemText).items(&SYSTEM_BLOCK)),
    ("inferenceConfig", INFERENCE),
    ("toolConfig", Shape::through().members(&[("tools", Shape::container(F::Tools).items(&TOOL))])),
    ("additionalModelRequestFields", ADDITIONAL),
    ("guardrailConfig", Shape::through().members(&[("guardrailIdentifier", Shape::value(F::Guardrail))])),
    ("serviceTier", Shape::through().members(&[("type", Shape::value(F::ServiceTier))])),
    (
        "outputConfig",
        Shape::through().members(&[
            ("effort", Shape::value(F::Effort)),
            ("textFormat", Shape::through().members(&[("type", Shape::value(F::FormatType))])),
        ]),
    ),
]);

pub struct ConverseRequest {
    keep: Keep,
    request: Request,
    is_object: bool,
    has_prompt: bool,
    instructions: Instructions,
}

impl ConverseRequest {
    /// `model` and `stream` as the path tells them.
    pub fn new(model: Option<String>, stream: Option<bool>, limits: CallLimits) -> Self {
        Self {
            keep: Keep::new(limits),
            request: Request { model, stream, ..Request::default() },
            is_object: false,
            has_prompt: false,
            instructions: Instructions::default(),
        }
    }
}

impl Sink<Field> for ConverseRequest {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        let (request, keep) = (&mut self.request, &mut self.keep);
        match field {
            F::ToolUseId => {
                if let Some(id) = value.str()
                    && keep.entry(request.tool_results.len())
                {
                    request.tool_results.extend(keep.text(id));
                }
            }
            F::SystemText => self.instructions.end_part(),
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
            F::Guardrail => keep.first(&mut request.guardrail_id, value),
            F::ServiceTier => keep.first(&mut request.service_tier, value),
            F::Effort => keep.first(&mut request.reasoning_level, value),
            F::FormatType if value.str() == Some("json_schema") => request.output_type = Some("json"),
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

impl RequestReader for ConverseRequest {
    type Field = Field;

    fn shape(&self) -> &'static Shape<Field> {
        &REQUEST
    }

    fn evidence(&self) -> Evidence {
        Evidence::of(self.is_object && self.has_prompt, self.is_object)
    }

    fn finish(&mut self, request: &mut Request) -> u64 {
        *request = Request {
            system_prompt_hash: std::mem::take(&mut self.instructions).hash(),
            body_bytes: request.body_bytes,
            ..std::mem::take(&mut self.request)
        };
        self.keep.dropped
    }
}
