//! Requests of Ollama's own API.

use super::Ollama;
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
    Prompt,
    System,
    Messages,
    Message,
    Role,
    Content,
    Stream,
    Format,
    Think,
    Temperature,
    TopP,
    TopK,
    Seed,
    MaxTokens,
    Stop,
    FrequencyPenalty,
    PresencePenalty,
    Dimensions,
    Tools,
    Tool,
}

use Field as F;

const STOP: Shape<F> = Shape::value(F::Stop);
const TOOL: Shape<F> = Shape::container(F::Tool);
const MESSAGE: Shape<F> =
    Shape::container(F::Message).members(&[("role", Shape::value(F::Role)), ("content", Shape::text(F::Content))]);
const REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("model", Shape::value(F::Model)),
    ("prompt", Shape::presence(F::Prompt)),
    ("input", Shape::presence(F::Prompt)),
    ("system", Shape::text(F::System)),
    ("messages", Shape::container(F::Messages).items(&MESSAGE)),
    ("stream", Shape::value(F::Stream)),
    ("format", Shape::value(F::Format)),
    ("think", Shape::value(F::Think)),
    ("dimensions", Shape::value(F::Dimensions)),
    (
        "options",
        Shape::through().members(&[
            ("temperature", Shape::value(F::Temperature)),
            ("top_p", Shape::value(F::TopP)),
            ("top_k", Shape::value(F::TopK)),
            ("seed", Shape::value(F::Seed)),
            ("num_predict", Shape::value(F::MaxTokens)),
            ("stop", Shape::value(F::Stop).items(&STOP)),
            ("frequency_penalty", Shape::value(F::FrequencyPenalty)),
            ("presence_penalty", Shape::value(F::PresencePenalty)),
        ]),
    ),
    ("tools", Shape::container(F::Tools).items(&TOOL)),
]);

pub struct OllamaRequest {
    api: Ollama,
    keep: Keep,
    request: Request,
    is_object: bool,
    has_prompt: bool,
    instructions: Instructions,
    /// Only system messages were seen so far.
    leading: bool,
    is_system: Option<bool>,
}

impl OllamaRequest {
    pub fn new(api: Ollama, limits: CallLimits) -> Self {
        Self {
            api,
            keep: Keep::new(limits),
            request: Request::default(),
            is_object: false,
            has_prompt: false,
            instructions: Instructions::default(),
            leading: true,
            is_system: None,
        }
    }
}

impl Sink<Field> for OllamaRequest {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        let (request, keep) = (&mut self.request, &mut self.keep);
        match field {
            F::Model => keep.first(&mut request.model, value),
            F::Prompt => self.has_prompt |= value.is_present(),
            F::System | F::Content => self.instructions.end_part(),
            F::Role => self.is_system = Some(value.str() == Some("system")),
            F::Stream => request.stream = value.bool(),
            F::Format if value.str() == Some("json") => request.output_type = Some("json"),
            F::Think => keep.first(&mut request.reasoning_level, value),
            F::Temperature => request.temperature = value.float(),
            F::TopP => request.top_p = value.float(),
            F::TopK => request.top_k = value.float(),
            F::Seed => request.seed = value.signed(),
            // Negative numbers stand for no bound.
            F::MaxTokens => request.max_tokens = value.count(),
            F::Stop => {
                let stops = request.stop_sequences.get_or_insert_default();
                if let Scalar::Text { value, cut: false } = value
                    && keep.entry(stops.len())
                {
                    stops.extend(keep.text(value));
                }
            }
            F::FrequencyPenalty => request.frequency_penalty = value.float(),
            F::PresencePenalty => request.presence_penalty = value.float(),
            F::Dimensions => request.embedding_dimensions = value.count(),
            _ => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        match (field, container) {
            (F::Root, Container::Object) => self.is_object = true,
            (F::Prompt, Container::Array) => self.has_prompt = true,
            // A JSON schema.
            (F::Format, Container::Object) => self.request.output_type = Some("json"),
            (F::Messages, Container::Array) => {
                self.has_prompt |= self.api == Ollama::Chat;
                self.request.messages = Some(0);
            }
            (F::Message, Container::Object) => {
                self.request.messages = self.request.messages.map(|count| count + 1);
                self.is_system = None;
                if self.leading {
                    self.instructions.begin_message();
                }
            }
            (F::Tools, Container::Array) => self.request.tools = Some(0),
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

    fn wants_text(&mut self, field: Field) -> bool {
        field == F::System || (self.leading && self.is_system != Some(false))
    }

    fn text(&mut self, _: Field, piece: &[u8]) {
        self.instructions.text(piece);
    }
}

impl RequestReader for OllamaRequest {
    type Field = Field;
    const SHAPE: &'static Shape<Field> = &REQUEST;

    fn evidence(&self) -> Evidence {
        match (self.is_object, self.has_prompt && self.request.model.is_some()) {
            (true, true) => Evidence::Fits,
            (true, false) => Evidence::Contradicts,
            (false, _) => Evidence::None,
        }
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
