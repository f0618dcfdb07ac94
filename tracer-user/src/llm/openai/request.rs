//! Requests of chat completions, completions and embeddings.

use crate::llm::{
    call::Request,
    decode::{CallLimits, Evidence, Keep, RequestReader},
    instructions::Instructions,
    json::{Container, Scalar, Shape, Sink},
    recognise::path_model,
};

/// The member that makes a request one of this API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    Messages,
    Text,
    Input,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    Model,
    MaxTokens,
    MaxCompletionTokens,
    Temperature,
    TopP,
    TopK,
    FrequencyPenalty,
    PresencePenalty,
    Stop,
    Seed,
    ChoiceCount,
    Stream,
    ReasoningEffort,
    ServiceTier,
    FormatType,
    Dimensions,
    Prompt,
    Input,
    Messages,
    Message,
    Role,
    Content,
    PartText,
    ToolCallId,
    Tools,
    Tool,
}

use Field as F;

const STOP: Shape<F> = Shape::value(F::Stop);
const PART: Shape<F> = Shape::through().members(&[("text", Shape::text(F::PartText))]);
const MESSAGE: Shape<F> = Shape::container(F::Message).members(&[
    ("role", Shape::value(F::Role)),
    ("content", Shape::text(F::Content).items(&PART)),
    ("tool_call_id", Shape::value(F::ToolCallId)),
]);
const TOOL: Shape<F> = Shape::container(F::Tool);
const TOOLS: Shape<F> = Shape::container(F::Tools).items(&TOOL);

const REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("model", Shape::value(F::Model)),
    ("messages", Shape::container(F::Messages).items(&MESSAGE)),
    ("prompt", Shape::presence(F::Prompt)),
    ("input", Shape::presence(F::Input)),
    ("max_tokens", Shape::value(F::MaxTokens)),
    ("max_completion_tokens", Shape::value(F::MaxCompletionTokens)),
    ("temperature", Shape::value(F::Temperature)),
    ("top_p", Shape::value(F::TopP)),
    ("top_k", Shape::value(F::TopK)),
    ("frequency_penalty", Shape::value(F::FrequencyPenalty)),
    ("presence_penalty", Shape::value(F::PresencePenalty)),
    ("stop", Shape::value(F::Stop).items(&STOP)),
    ("seed", Shape::value(F::Seed)),
    // Mistral's name for the same.
    ("random_seed", Shape::value(F::Seed)),
    ("n", Shape::value(F::ChoiceCount)),
    ("stream", Shape::value(F::Stream)),
    ("reasoning_effort", Shape::value(F::ReasoningEffort)),
    // OpenRouter's form.
    ("reasoning", Shape::through().members(&[("effort", Shape::value(F::ReasoningEffort))])),
    ("service_tier", Shape::value(F::ServiceTier)),
    ("response_format", Shape::through().members(&[("type", Shape::value(F::FormatType))])),
    ("dimensions", Shape::value(F::Dimensions)),
    ("tools", TOOLS),
    // The older form of tools.
    ("functions", TOOLS),
]);

pub struct OpenAiRequest {
    prompt: Prompt,
    /// The deployment that the path names, for services that state it there.
    path_model: Option<String>,
    keep: Keep,
    request: Request,
    is_object: bool,
    has_prompt: bool,
    max_completion_tokens: Option<u64>,
    instructions: Instructions,
    /// Only messages of the system or developer were seen so far: what comes later is part of the conversation.
    leading: bool,
    /// Of the message that is being read: `None` = not stated yet.
    is_system: Option<bool>,
}

impl OpenAiRequest {
    pub fn new(prompt: Prompt, limits: CallLimits) -> Self {
        Self {
            prompt,
            path_model: None,
            keep: Keep::new(limits),
            request: Request::default(),
            is_object: false,
            has_prompt: false,
            max_completion_tokens: None,
            instructions: Instructions::default(),
            leading: true,
            is_system: None,
        }
    }

    /// Takes the model from a path that names it.
    pub fn with_path_model(self, path: &str) -> Self {
        Self { path_model: path_model(path), ..self }
    }
}

impl Sink<Field> for OpenAiRequest {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        let (request, keep) = (&mut self.request, &mut self.keep);
        match field {
            F::Model => keep.first(&mut request.model, value),
            F::MaxTokens => request.max_tokens = value.count(),
            F::MaxCompletionTokens => self.max_completion_tokens = value.count(),
            F::Temperature => request.temperature = value.float(),
            F::TopP => request.top_p = value.float(),
            F::TopK => request.top_k = value.float(),
            F::FrequencyPenalty => request.frequency_penalty = value.float(),
            F::PresencePenalty => request.presence_penalty = value.float(),
            F::Stop => {
                let stops = request.stop_sequences.get_or_insert_default();
                match value {
                    Scalar::Text { value, cut: false } if keep.entry(stops.len()) => stops.extend(keep.text(value)),
                    Scalar::Null if stops.is_empty() => request.stop_sequences = None,
                    _ => {}
                }
            }
            F::Seed => request.seed = value.signed(),
            F::ChoiceCount => request.choice_count = value.count(),
            F::Stream => request.stream = value.bool(),
            F::ReasoningEffort => keep.first(&mut request.reasoning_level, value),
            F::ServiceTier => keep.first(&mut request.service_tier, value),
            F::FormatType => {
                request.output_type = match value.str() {
                    Some("text") => Some("text"),
                    Some("json_object" | "json_schema") => Some("json"),
                    _ => None,
                }
            }
            F::Dimensions => request.embedding_dimensions = value.count(),
            F::Prompt if self.prompt == Prompt::Text => self.has_prompt |= value.is_present(),
            F::Input if self.prompt == Prompt::Input => self.has_prompt |= value.is_present(),
            F::Role => {
                let is_system = matches!(value.str(), Some("system" | "developer"));
                self.is_system = Some(is_system);
            }
            F::Content | F::PartText => self.instructions.end_part(),
            F::ToolCallId => {
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
        match (field, container) {
            (F::Root, Container::Object) => self.is_object = true,
            (F::Messages, Container::Array) => {
                self.has_prompt |= self.prompt == Prompt::Messages;
                self.request.messages.get_or_insert(0);
            }
            (F::Message, Container::Object) => {
                self.request.messages = self.request.messages.map(|count| count + 1);
                self.is_system = None;
                if self.leading {
                    self.instructions.begin_message();
                }
            }
            (F::Prompt, _) => self.has_prompt |= self.prompt == Prompt::Text,
            (F::Input, _) => self.has_prompt |= self.prompt == Prompt::Input,
            (F::Tools, Container::Array) => {
                self.request.tools.get_or_insert(0);
            }
            (F::Tool, Container::Object) => self.request.tools = self.request.tools.map(|count| count + 1),
            _ => {}
        }
    }

    fn close(&mut self, field: Field) {
        if field == F::Message && self.leading {
            self.leading = self.is_system == Some(true);
            self.instructions.end_message(self.leading);
        }
    }

    fn wants_text(&mut self, _: Field) -> bool {
        self.leading && self.is_system != Some(false)
    }

    fn text(&mut self, _: Field, piece: &[u8]) {
        self.instructions.text(piece);
    }
}

impl RequestReader for OpenAiRequest {
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
            // Azure answers with the path's deployment whatever model the body names.
            model: self.path_model.take().or(read.model.take()),
            // The newer name of the same bound goes first.
            max_tokens: self.max_completion_tokens.or(read.max_tokens),
            system_prompt_hash: std::mem::take(&mut self.instructions).hash(),
            body_bytes: request.body_bytes,
            ..read
        };
        self.keep.dropped
    }
}
