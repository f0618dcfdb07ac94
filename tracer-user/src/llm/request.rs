//! The one reader of requests that all JSON dialects share. A dialect gives a [`Shape`] that says where its API states
//! what; what the statements mean is the same everywhere, and stands here.

use std::collections::VecDeque;

use super::{
    call::Request,
    decode::{CallLimits, Evidence, Keep, RequestReader},
    instructions::Instructions,
    json::{Container, Scalar, Shape, Sink},
};
use crate::proto::Part;

/// What a place of a request tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    Model,
    /// What the model is given to work on, where that is not a list of messages: text, tokens, a list of inputs. It makes
    /// a request one of its API.
    Prompt,
    /// The messages. They, too, make a request one of its API; a string in their place is one message.
    Messages,
    Message,
    /// An entry among the messages that is a message only if it states a role, or by its type.
    Entry,
    EntryType,
    Role,
    /// Text of a message, or of a part of one: instructions, if the role is the system's.
    Text,
    /// Instructions outside of the messages.
    System,
    /// Id of the tool call whose result this is.
    ToolResult,
    /// The same in an [`Field::Entry`], where only the entry's type tells whether it is a result.
    EntryCallId,
    Tools,
    Tool,
    MaxTokens,
    /// The newer name of the same bound, which goes first.
    MaxTokensNewer,
    Temperature,
    TopP,
    TopK,
    FrequencyPenalty,
    PresencePenalty,
    Stop,
    Seed,
    ChoiceCount,
    Stream,
    ReasoningLevel,
    ServiceTier,
    /// `text`, a media type, `json_schema`, or the schema itself.
    Format,
    /// One of the kinds of content that the answer may have.
    Modality,
    Dimensions,
    PreviousResponse,
    Conversation,
    Background,
    /// The type of a message that says itself what it asks for, as over a WebSocket.
    Announcement,
}

use Field as F;

/// A string, or a list of strings.
pub const STOP: Shape<F> = Shape::value(F::Stop).items(&Shape::value(F::Stop));
pub const TOOLS: Shape<F> = Shape::container(F::Tools).items(&Shape::container(F::Tool));
/// Settings that go by the same names nearly everywhere.
pub const SAMPLING: &[(&str, Shape<F>)] = &[
    ("temperature", Shape::value(F::Temperature)),
    ("top_p", Shape::value(F::TopP)),
    ("top_k", Shape::value(F::TopK)),
    ("frequency_penalty", Shape::value(F::FrequencyPenalty)),
    ("presence_penalty", Shape::value(F::PresencePenalty)),
    ("max_new_tokens", Shape::value(F::MaxTokens)),
    ("max_tokens", Shape::value(F::MaxTokens)),
    ("seed", Shape::value(F::Seed)),
    ("random_seed", Shape::value(F::Seed)),
    ("stop", STOP),
    ("stop_sequences", STOP),
    ("n", Shape::value(F::ChoiceCount)),
];
/// `{"type": …}`
pub const FORMAT: Shape<F> = Shape::through().members(&[("type", Shape::value(F::Format))]);

/// An entry until it is whole: its `type` may stand last.
#[derive(Default)]
struct Entry {
    is_message: bool,
    is_result: bool,
    call_id: Option<String>,
}

/// Reads the request of any dialect by its shape.
pub struct Draft {
    shape: &'static Shape<Field>,
    keep: Keep,
    request: Request,
    /// The model that the path names, for services that state it there. It goes before the body's.
    path_model: Option<String>,
    needs_model: bool,
    is_object: bool,
    has_prompt: bool,
    is_announced: bool,
    max_tokens_newer: Option<u64>,
    tool_results: VecDeque<String>,
    entry: Entry,
    instructions: Instructions,
    /// Of the leading messages of system or developer, for requests without other instructions.
    leading_messages: Instructions,
    /// Only messages of system or developer were seen so far: what comes later is part of the conversation.
    leading: bool,
    /// Of the message that is being read: `None` = not stated yet.
    is_system: Option<bool>,
}

impl Draft {
    pub fn new(shape: &'static Shape<Field>, limits: CallLimits) -> Self {
        Self {
            shape,
            keep: Keep::new(limits),
            request: Request::default(),
            path_model: None,
            needs_model: false,
            is_object: false,
            has_prompt: false,
            is_announced: false,
            max_tokens_newer: None,
            tool_results: VecDeque::new(),
            entry: Entry::default(),
            instructions: Instructions::default(),
            leading_messages: Instructions::default(),
            leading: true,
            is_system: None,
        }
    }

    /// For services that state the model in the path.
    pub fn with_model(self, path_model: Option<String>) -> Self {
        Self { path_model, ..self }
    }

    /// For services that state in the path whether they stream.
    pub fn with_stream(mut self, stream: Option<bool>) -> Self {
        self.request.stream = stream;
        self
    }

    /// For endpoints that make one kind of output.
    pub fn with_output_type(mut self, output_type: Option<&'static str>) -> Self {
        self.request.output_type = output_type;
        self
    }

    /// Only a body that names a model is a request of this API.
    pub fn needing_model(self) -> Self {
        Self { needs_model: true, ..self }
    }

    fn begin_message(&mut self) {
        self.is_system = None;
        if self.leading {
            self.leading_messages.begin_message();
        }
    }

    fn end_message(&mut self) {
        if self.leading {
            self.leading = self.is_system == Some(true);
            self.leading_messages.end_message(self.leading);
        }
    }

    fn count_message(&mut self) {
        self.request.messages = Some(self.request.messages.unwrap_or(0) + 1);
    }

    fn end_entry(&mut self) {
        let entry = std::mem::take(&mut self.entry);
        if self.is_system.is_some() || entry.is_message {
            self.count_message();
        }
        self.end_message();
        if let (true, Some(id)) = (entry.is_result, entry.call_id) {
            self.keep.latest(&mut self.tool_results, &id);
        }
    }
}

impl Sink<Field> for Draft {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        let (request, keep) = (&mut self.request, &mut self.keep);
        match field {
            F::Model => keep.first(&mut request.model, value),
            F::Prompt => self.has_prompt |= value.is_present(),
            F::Messages if value.is_present() => {
                self.has_prompt = true;
                request.messages = Some(1);
            }
            F::Message if value.is_present() => {
                self.has_prompt = true;
                self.count_message();
            }
            F::EntryType => {
                let kind = value.str().unwrap_or_default();
                self.entry.is_result = is_result(kind);
                self.entry.is_message = matches!(kind, "user_input" | "model_output");
            }
            F::Role => self.is_system = Some(matches!(value.str(), Some("system" | "developer" | "SYSTEM"))),
            F::Text => self.leading_messages.end_part(),
            F::System => self.instructions.end_part(),
            F::ToolResult => {
                if let Some(id) = value.str() {
                    keep.latest(&mut self.tool_results, id);
                }
            }
            F::EntryCallId => self.entry.call_id = value.str().map(str::to_owned),
            // Negative numbers stand for no bound.
            F::MaxTokens => request.max_tokens = value.count(),
            F::MaxTokensNewer => self.max_tokens_newer = value.count(),
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
            F::Stream => request.stream = value.bool().or(request.stream),
            F::ReasoningLevel => keep.first(&mut request.reasoning_level, value),
            F::ServiceTier => keep.first(&mut request.service_tier, value),
            F::Format => request.output_type = value.str().and_then(output_type).or(request.output_type),
            F::Modality => {
                // Text is what an answer mostly has besides.
                let kind = value.str().unwrap_or_default();
                if kind.eq_ignore_ascii_case("audio") {
                    request.output_type = Some("speech");
                } else if kind.eq_ignore_ascii_case("image") {
                    request.output_type = Some("image");
                }
            }
            F::Dimensions => request.embedding_dimensions = value.count(),
            F::PreviousResponse => keep.first(&mut request.previous_response_id, value),
            F::Background => request.background = value.bool() == Some(true),
            F::Announcement => self.is_announced = value.str() == Some("response.create"),
            F::Conversation => keep.first(&mut request.conversation_id, value),
            _ => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        match (field, container) {
            (F::Root, Container::Object) => self.is_object = true,
            (F::Prompt, _) => self.has_prompt = true,
            (F::Messages, container) => {
                self.has_prompt = true;
                // One message may stand there without a list around it.
                let count = u64::from(container == Container::Object);
                self.request.messages.get_or_insert(count);
            }
            (F::Message, Container::Object) => {
                self.count_message();
                self.begin_message();
            }
            (F::Entry, Container::Object) => {
                self.entry = Entry::default();
                self.begin_message();
            }
            (F::Tools, Container::Array) => {
                self.request.tools.get_or_insert(0);
            }
            (F::Tool, Container::Object) => self.request.tools = self.request.tools.map(|count| count + 1),
            // A JSON schema.
            (F::Format, Container::Object) => self.request.output_type = self.request.output_type.or(Some("json")),
            _ => {}
        }
    }

    fn close(&mut self, field: Field) {
        match field {
            F::Message => self.end_message(),
            F::Entry => self.end_entry(),
            _ => {}
        }
    }

    fn wants_text(&mut self, field: Field) -> bool {
        field == F::System || (self.leading && self.is_system != Some(false))
    }

    fn text(&mut self, field: Field, piece: &[u8]) {
        match field {
            F::System => self.instructions.text(piece),
            _ => self.leading_messages.text(piece),
        }
    }
}

/// Whether an entry of this type is the result of a tool call.
fn is_result(kind: &str) -> bool {
    kind.ends_with("_call_output") || matches!(kind, "function_result" | "function.result")
}

/// `gen_ai.output.type` of what a request calls a format.
fn output_type(format: &str) -> Option<&'static str> {
    Some(match format {
        "text" | "text/plain" => "text",
        "json" | "json_object" | "json_schema" | "application/json" | "grammar" | "regex" => "json",
        _ => return None,
    })
}

impl RequestReader for Draft {
    type Field = Field;

    fn shape(&self) -> &'static Shape<Field> {
        self.shape
    }

    /// A form's parts are members by their names; lists repeat a part as `name[]`. All values are text.
    fn part(&mut self, part: &Part) {
        self.is_object = true;
        let name = part.name.strip_suffix(b"[]").unwrap_or(&part.name);
        let Some(field) = self.shape.member(name).and_then(Shape::field) else { return };
        let Some(value) = part.value.as_deref().and_then(|value| std::str::from_utf8(value).ok()) else {
            // A file, or a text too long to keep.
            self.has_prompt |= field == F::Prompt;
            return;
        };
        let value = value.trim();
        self.scalar(
            field,
            match field {
                F::Stream => Scalar::Bool(value.eq_ignore_ascii_case("true")),
                F::Model | F::Prompt | F::Format | F::ServiceTier => Scalar::Text { value, cut: false },
                _ => Scalar::Number(value),
            },
        );
    }

    fn evidence(&self) -> Evidence {
        let has_model = !self.needs_model || self.request.model.is_some();
        // What goes on from an earlier response may have nothing to add.
        let continues = self.request.model.is_some() || self.request.previous_response_id.is_some();
        let has_prompt = self.has_prompt || (self.is_announced && continues);
        Evidence::of(self.is_object && has_prompt && has_model, self.is_object)
    }

    fn names_model(&self) -> bool {
        self.request.model.is_some() || self.path_model.is_some()
    }

    fn finish(&mut self, request: &mut Request) -> u64 {
        let hash = std::mem::take(&mut self.instructions).hash();
        let mut read = std::mem::take(&mut self.request);
        *request = Request {
            model: self.path_model.take().or(read.model.take()),
            max_tokens: self.max_tokens_newer.or(read.max_tokens),
            system_prompt_hash: hash.or_else(|| std::mem::take(&mut self.leading_messages).hash()),
            tool_results: std::mem::take(&mut self.tool_results).into(),
            body_bytes: request.body_bytes,
            ..read
        };
        self.keep.dropped
    }
}
