//! Requests of Cohere's API.

use super::Cohere;
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
    /// Version 1: the newest message, and those before it.
    Message,
    History,
    Preamble,
    /// Version 2.
    Messages,
    Entry,
    Role,
    Content,
    PartText,
    ToolCallId,
    Prompt,
    Texts,
    Stream,
    MaxTokens,
    Temperature,
    TopP,
    TopK,
    Seed,
    Stop,
    FrequencyPenalty,
    PresencePenalty,
    ChoiceCount,
    FormatType,
    Dimensions,
    Tools,
    Tool,
}

use Field as F;

const STOP: Shape<F> = Shape::value(F::Stop);
const TOOL: Shape<F> = Shape::container(F::Tool);
const PART: Shape<F> = Shape::through().members(&[("text", Shape::text(F::PartText))]);
const ENTRY: Shape<F> = Shape::container(F::Entry).members(&[
    ("role", Shape::value(F::Role)),
    ("content", Shape::text(F::Content).items(&PART)),
    ("tool_call_id", Shape::value(F::ToolCallId)),
]);
const PAST: Shape<F> = Shape::container(F::History);
const REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("model", Shape::value(F::Model)),
    ("message", Shape::presence(F::Message)),
    ("chat_history", Shape::through().items(&PAST)),
    ("preamble", Shape::text(F::Preamble)),
    ("messages", Shape::container(F::Messages).items(&ENTRY)),
    ("prompt", Shape::presence(F::Prompt)),
    ("texts", Shape::container(F::Texts)),
    ("inputs", Shape::container(F::Texts)),
    ("images", Shape::container(F::Texts)),
    ("stream", Shape::value(F::Stream)),
    ("max_tokens", Shape::value(F::MaxTokens)),
    ("temperature", Shape::value(F::Temperature)),
    ("p", Shape::value(F::TopP)),
    ("k", Shape::value(F::TopK)),
    ("seed", Shape::value(F::Seed)),
    ("stop_sequences", Shape::through().items(&STOP)),
    ("frequency_penalty", Shape::value(F::FrequencyPenalty)),
    ("presence_penalty", Shape::value(F::PresencePenalty)),
    ("num_generations", Shape::value(F::ChoiceCount)),
    ("response_format", Shape::through().members(&[("type", Shape::value(F::FormatType))])),
    ("output_dimension", Shape::value(F::Dimensions)),
    ("tools", Shape::container(F::Tools).items(&TOOL)),
]);

pub struct CohereRequest {
    api: Cohere,
    keep: Keep,
    request: Request,
    is_object: bool,
    has_prompt: bool,
    messages: u64,
    instructions: Instructions,
    /// Only system messages were seen so far.
    leading: bool,
    is_system: Option<bool>,
}

impl CohereRequest {
    pub fn new(api: Cohere, limits: CallLimits) -> Self {
        Self {
            api,
            keep: Keep::new(limits),
            request: Request::default(),
            is_object: false,
            has_prompt: false,
            messages: 0,
            instructions: Instructions::default(),
            leading: true,
            is_system: None,
        }
    }
}

impl Sink<Field> for CohereRequest {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        let (request, keep) = (&mut self.request, &mut self.keep);
        match field {
            F::Model => keep.first(&mut request.model, value),
            F::Message if self.api == Cohere::Chat && value.is_present() => {
                self.has_prompt = true;
                self.messages += 1;
            }
            F::Prompt => self.has_prompt |= self.api == Cohere::Generate && value.is_present(),
            F::Preamble | F::Content | F::PartText => self.instructions.end_part(),
            F::Role => self.is_system = Some(matches!(value.str(), Some("system" | "developer"))),
            F::ToolCallId => {
                if let Some(id) = value.str()
                    && keep.entry(request.tool_results.len())
                {
                    request.tool_results.extend(keep.text(id));
                }
            }
            F::Stream => request.stream = value.bool(),
            F::MaxTokens => request.max_tokens = value.count(),
            F::Temperature => request.temperature = value.float(),
            F::TopP => request.top_p = value.float(),
            F::TopK => request.top_k = value.float(),
            F::Seed => request.seed = value.signed(),
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
            F::ChoiceCount => request.choice_count = value.count(),
            F::FormatType => {
                request.output_type = match value.str() {
                    Some("text") => Some("text"),
                    Some("json_object") => Some("json"),
                    _ => None,
                }
            }
            F::Dimensions => request.embedding_dimensions = value.count(),
            _ => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        match (field, container) {
            (F::Root, Container::Object) => self.is_object = true,
            (F::History, Container::Object) => self.messages += 1,
            (F::Messages, Container::Array) => self.has_prompt |= self.api == Cohere::Chat,
            (F::Entry, Container::Object) => {
                self.messages += 1;
                self.is_system = None;
                if self.leading {
                    self.instructions.begin_message();
                }
            }
            (F::Texts, Container::Array) => self.has_prompt |= self.api == Cohere::Embed,
            (F::Tools, Container::Array) => self.request.tools = Some(0),
            (F::Tool, Container::Object) => self.request.tools = self.request.tools.map(|count| count + 1),
            _ => {}
        }
    }

    fn close(&mut self, field: Field) {
        if field == F::Entry && self.leading {
            self.leading = self.is_system == Some(true);
            self.instructions.end_message(self.leading);
        }
    }

    fn wants_text(&mut self, field: Field) -> bool {
        field == F::Preamble || (self.leading && self.is_system != Some(false))
    }

    fn text(&mut self, _: Field, piece: &[u8]) {
        self.instructions.text(piece);
    }
}

impl RequestReader for CohereRequest {
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
        *request = Request {
            messages: (self.api == Cohere::Chat && self.has_prompt).then_some(self.messages),
            system_prompt_hash: std::mem::take(&mut self.instructions).hash(),
            body_bytes: request.body_bytes,
            ..std::mem::take(&mut self.request)
        };
        self.keep.dropped
    }
}
