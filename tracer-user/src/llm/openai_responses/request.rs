//! Requests of the Responses API.

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
    Input,
    Item,
    ItemType,
    Role,
    Content,
    PartText,
    CallId,
    Instructions,
    MaxOutputTokens,
    Temperature,
    TopP,
    Stream,
    Effort,
    ServiceTier,
    FormatType,
    Tools,
    Tool,
    PreviousResponse,
    Conversation,
    Background,
    Type,
}

use Field as F;

const PART: Shape<F> = Shape::through().members(&[("text", Shape::text(F::PartText))]);
const ITEM: Shape<F> = Shape::container(F::Item).members(&[
    ("type", Shape::value(F::ItemType)),
    ("role", Shape::value(F::Role)),
    ("content", Shape::text(F::Content).items(&PART)),
    ("call_id", Shape::value(F::CallId)),
]);
const TOOL: Shape<F> = Shape::container(F::Tool);

const REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("model", Shape::value(F::Model)),
    ("input", Shape::presence(F::Input).items(&ITEM)),
    ("instructions", Shape::text(F::Instructions)),
    ("max_output_tokens", Shape::value(F::MaxOutputTokens)),
    ("temperature", Shape::value(F::Temperature)),
    ("top_p", Shape::value(F::TopP)),
    ("stream", Shape::value(F::Stream)),
    ("reasoning", Shape::through().members(&[("effort", Shape::value(F::Effort))])),
    ("service_tier", Shape::value(F::ServiceTier)),
    (
        "text",
        Shape::through().members(&[("format", Shape::through().members(&[("type", Shape::value(F::FormatType))]))]),
    ),
    ("tools", Shape::container(F::Tools).items(&TOOL)),
    ("previous_response_id", Shape::value(F::PreviousResponse)),
    ("background", Shape::value(F::Background)),
    ("type", Shape::value(F::Type)),
    ("conversation", Shape::value(F::Conversation).members(&[("id", Shape::value(F::Conversation))])),
]);

/// An item of the input, until it is whole: its `type` may stand last.
#[derive(Default)]
struct Item {
    /// `None` = not stated yet.
    is_system: Option<bool>,
    is_output: bool,
    call_id: Option<String>,
}

pub struct ResponsesRequest {
    keep: Keep,
    request: Request,
    is_object: bool,
    has_input: bool,
    /// A WebSocket's message says itself that it asks for a response.
    creates: bool,
    item: Item,
    instructions: Instructions,
    /// Of the leading messages of system or developer, for requests without `instructions`.
    leading_messages: Instructions,
    leading: bool,
}

impl ResponsesRequest {
    pub fn new(limits: CallLimits) -> Self {
        Self {
            keep: Keep::new(limits),
            request: Request::default(),
            is_object: false,
            has_input: false,
            creates: false,
            item: Item::default(),
            instructions: Instructions::default(),
            leading_messages: Instructions::default(),
            leading: true,
        }
    }

    /// Over a WebSocket the answer is a stream always: requests need not say so.
    pub fn streamed(mut self) -> Self {
        self.request.stream = Some(true);
        self
    }

    fn end_item(&mut self) {
        let item = std::mem::take(&mut self.item);
        if item.is_system.is_some() {
            self.request.messages = self.request.messages.map(|count| count + 1);
        }
        if self.leading {
            self.leading = item.is_system == Some(true);
            self.leading_messages.end_message(self.leading);
        }
        if let (true, Some(id)) = (item.is_output, item.call_id)
            && self.keep.entry(self.request.tool_results.len())
        {
            self.request.tool_results.extend(self.keep.text(&id));
        }
    }
}

impl Sink<Field> for ResponsesRequest {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        let (request, keep) = (&mut self.request, &mut self.keep);
        match field {
            F::Model => keep.first(&mut request.model, value),
            F::Input if value.is_present() => {
                self.has_input = true;
                request.messages = Some(1);
            }
            F::ItemType => {
                self.item.is_output = value.str().is_some_and(|kind| kind.ends_with("_call_output"));
            }
            F::Role => self.item.is_system = Some(matches!(value.str(), Some("system" | "developer"))),
            F::Content | F::PartText => self.leading_messages.end_part(),
            F::CallId => self.item.call_id = value.str().map(str::to_owned),
            F::Instructions => self.instructions.end_part(),
            F::MaxOutputTokens => request.max_tokens = value.count(),
            F::Temperature => request.temperature = value.float(),
            F::TopP => request.top_p = value.float(),
            F::Stream => request.stream = value.bool().or(request.stream),
            F::Effort => keep.first(&mut request.reasoning_level, value),
            F::ServiceTier => keep.first(&mut request.service_tier, value),
            F::FormatType => {
                request.output_type = match value.str() {
                    Some("text") => Some("text"),
                    Some("json_object" | "json_schema") => Some("json"),
                    _ => None,
                }
            }
            F::PreviousResponse => keep.first(&mut request.previous_response_id, value),
            F::Background => request.background = value.bool() == Some(true),
            F::Type => self.creates = value.str() == Some("response.create"),
            F::Conversation => keep.first(&mut request.conversation_id, value),
            _ => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        match (field, container) {
            (F::Root, Container::Object) => self.is_object = true,
            (F::Input, Container::Array) => {
                self.has_input = true;
                self.request.messages = Some(0);
            }
            (F::Item, Container::Object) => {
                self.item = Item::default();
                if self.leading {
                    self.leading_messages.begin_message();
                }
            }
            (F::Tools, Container::Array) => self.request.tools = Some(0),
            (F::Tool, Container::Object) => self.request.tools = self.request.tools.map(|count| count + 1),
            _ => {}
        }
    }

    fn close(&mut self, field: Field) {
        if field == F::Item {
            self.end_item();
        }
    }

    fn wants_text(&mut self, field: Field) -> bool {
        field == F::Instructions || (self.leading && self.item.is_system != Some(false))
    }

    fn text(&mut self, field: Field, piece: &[u8]) {
        match field {
            F::Instructions => self.instructions.text(piece),
            _ => self.leading_messages.text(piece),
        }
    }
}

impl RequestReader for ResponsesRequest {
    type Field = Field;
    const SHAPE: &'static Shape<Field> = &REQUEST;

    fn evidence(&self) -> Evidence {
        let continues = self.request.model.is_some() || self.request.previous_response_id.is_some();
        match (self.is_object, self.has_input || (self.creates && continues)) {
            (true, true) => Evidence::Fits,
            (true, false) => Evidence::Contradicts,
            (false, _) => Evidence::None,
        }
    }

    fn finish(&mut self, request: &mut Request) -> u64 {
        let hash = std::mem::take(&mut self.instructions).hash();
        *request = Request {
            system_prompt_hash: hash.or_else(|| std::mem::take(&mut self.leading_messages).hash()),
            body_bytes: request.body_bytes,
            ..std::mem::take(&mut self.request)
        };
        self.keep.dropped
    }
}
