//! JSON-RPC 2.0 messages as the Model Context Protocol uses them (specification, "Base protocol"): of each only what its
//! span tells. Arguments, results and error messages are payload and pass by.

use crate::json::{Container, Ending, Scalar, Scanner, Shape, Sink};
use crate::llm::decode::{CallLimits, Keep};

/// Most messages of one body, and of a batch.
const MESSAGES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Message,
    JsonRpc,
    Id,
    Method,
    Name,
    Uri,
    ProtocolVersion,
    MetaProtocolVersion,
    TraceParent,
    TraceState,
    Result,
    IsError,
    Error,
    Code,
}

use Field as F;

/// A request names its tool or prompt `name`, its resource `uri`. `protocolVersion` is asked for in the parameters of
/// `initialize` and agreed on in its result; since 2026-07-28 each request states it in `_meta`.
const MESSAGE: Shape<F> = Shape::container(F::Message).members(&[
    ("jsonrpc", Shape::value(F::JsonRpc)),
    ("id", Shape::value(F::Id)),
    ("method", Shape::value(F::Method)),
    (
        "params",
        Shape::through().members(&[
            ("name", Shape::value(F::Name)),
            ("uri", Shape::value(F::Uri)),
            ("protocolVersion", Shape::value(F::ProtocolVersion)),
            (
                "_meta",
                Shape::through().members(&[
                    ("io.modelcontextprotocol/protocolVersion", Shape::value(F::MetaProtocolVersion)),
                    ("traceparent", Shape::value(F::TraceParent)),
                    ("tracestate", Shape::value(F::TraceState)),
                ]),
            ),
        ]),
    ),
    (
        "result",
        Shape::container(F::Result)
            .members(&[("isError", Shape::value(F::IsError)), ("protocolVersion", Shape::value(F::ProtocolVersion))]),
    ),
    ("error", Shape::container(F::Error).members(&[("code", Shape::value(F::Code))])),
]);
/// One message, or a batch as in 2025-03-26.
const BODY: Shape<F> = MESSAGE.items(&MESSAGE);

/// A JSON-RPC id: a number and a string of the same digits are not the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Id {
    Number(String),
    Text(String),
}

impl Id {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Number(text) | Self::Text(text) => text,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// It says `"jsonrpc": "2.0"`.
    pub is_json_rpc: bool,
    /// `None` for a notification, and for an error that belongs to no request in particular.
    pub id: Option<Id>,
    pub method: Option<String>,
    /// Of the tool or the prompt.
    pub name: Option<String>,
    pub uri: Option<String>,
    pub protocol_version: Option<String>,
    pub meta_protocol_version: Option<String>,
    pub trace_parent: Option<String>,
    pub trace_state: Option<String>,
    pub answer: Option<Answer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `tool_failed`: the result of a tool that says `isError`.
    Result {
        tool_failed: bool,
    },
    Error {
        code: Option<String>,
    },
}

/// Reads one body after another.
pub struct Messages {
    scanner: Scanner<Field>,
    read: Read,
}

struct Read {
    limits: CallLimits,
    keep: Keep,
    current: Option<Message>,
    messages: Vec<Message>,
}

impl Messages {
    pub fn new(limits: CallLimits) -> Self {
        let read = Read { limits, keep: Keep::new(limits), current: None, messages: Vec::new() };
        Self { scanner: Scanner::new(&BODY), read }
    }

    /// The next bytes of a body without message framing.
    pub fn push(&mut self, bytes: &[u8]) {
        self.scanner.push(bytes, &mut self.read);
    }

    /// One event of a stream: a body of its own.
    pub fn event(&mut self, data: &[u8]) -> Vec<Message> {
        self.read.keep = Keep::new(self.read.limits);
        self.element(data);
        self.take()
    }

    /// One message of a batch.
    pub fn element(&mut self, data: &[u8]) {
        let before = self.read.messages.len();
        let ending = self.scanner.document(data, &mut self.read);
        self.read.current = None;
        if ending != Ending::Complete {
            self.read.messages.truncate(before);
        }
    }

    pub fn gap(&mut self) {
        self.scanner.gap();
        self.read.current = None;
    }

    /// The whole messages so far.
    pub fn take(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.read.messages)
    }
}

impl Sink<Field> for Read {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        let Some(message) = &mut self.current else { return };
        let keep = &mut self.keep;
        match field {
            F::JsonRpc => message.is_json_rpc = value.str() == Some("2.0"),
            F::Id => {
                message.id = match value {
                    Scalar::Number(number) => keep.text(number).map(Id::Number),
                    Scalar::Text { value, cut: false } => keep.text(value).map(Id::Text),
                    _ => None,
                }
            }
            F::Method => keep.first(&mut message.method, value),
            F::Name => keep.first(&mut message.name, value),
            F::Uri => keep.first(&mut message.uri, value),
            F::ProtocolVersion => keep.first(&mut message.protocol_version, value),
            F::MetaProtocolVersion => keep.first(&mut message.meta_protocol_version, value),
            F::TraceParent => keep.first(&mut message.trace_parent, value),
            F::TraceState => keep.first(&mut message.trace_state, value),
            F::IsError => {
                if let (Some(Answer::Result { tool_failed }), Some(flag)) = (&mut message.answer, value.bool()) {
                    *tool_failed = flag;
                }
            }
            F::Code => {
                if let (Some(Answer::Error { code }), Some(number)) = (&mut message.answer, value.signed()) {
                    *code = Some(number.to_string());
                }
            }
            F::Message | F::Result | F::Error => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        match (field, &mut self.current) {
            (F::Message, _) => self.current = (container == Container::Object).then(Message::default),
            (F::Result, Some(message)) => message.answer = Some(Answer::Result { tool_failed: false }),
            (F::Error, Some(message)) => message.answer = Some(Answer::Error { code: None }),
            _ => {}
        }
    }

    fn close(&mut self, field: Field) {
        // The end of a batch closes the field once more, without a message.
        if field == F::Message
            && let Some(message) = self.current.take()
            && message.is_json_rpc
            && self.messages.len() < MESSAGES
        {
            self.messages.push(message);
        }
    }
}

/// What the message answers with, if it is an answer.
pub fn answer_of(message: &Message) -> Option<&Answer> {
    message.answer.as_ref().filter(|_| message.method.is_none())
}
