//! How the decoded bytes of a body divide into pieces, by its content type and by its first bytes.

use bytes::BytesMut;

use super::{
    super::{
        Limits, Piece,
        array::{Array, begins_array},
        eventstream::{EventStream, begins_message},
        form::Form,
        lines::Lines,
        sse::{Likeness, Sse, begins_event_stream},
        view::View,
    },
    Item,
};

pub(super) enum Framing {
    Bytes,
    Sse(Box<Sse>),
    Lines(Box<Lines>),
    EventStream(Box<EventStream>),
    Array(Box<Array>),
    Form(Box<Form>),
    /// The first bytes tell: streams come without their content type, and errors in JSON come with it.
    Unknown {
        held: BytesMut,
        expected: Expected,
    },
}

/// What a body whose first bytes are awaited can be, beside bytes without framing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// An event stream: the content type announces one.
    Sse,
    /// An AWS event stream: the content type announces one.
    EventStream,
    /// An event stream or an array of objects that the content type does not announce.
    Json,
    /// An event stream that the content type does not announce.
    Any,
}

impl Framing {
    pub(super) fn new(content_type: Option<&str>, sniff: bool) -> Self {
        let content_type = content_type.unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let is_any = |names: &[&str]| names.iter().any(|name| media_type.eq_ignore_ascii_case(name));
        let expected = |expected| Self::Unknown { held: BytesMut::new(), expected };
        if is_any(&["text/event-stream"]) {
            expected(Expected::Sse)
        } else if is_any(&["application/vnd.amazon.eventstream"]) {
            expected(Expected::EventStream)
        } else if is_any(&[
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "application/x-jsonl",
            "application/jsonlines",
            "application/x-jsonlines",
            "application/stream+json",
        ]) {
            Self::Lines(Box::default())
        } else if is_any(&["multipart/form-data"]) {
            Form::new(content_type).map_or(Self::Bytes, |form| Self::Form(Box::new(form)))
        } else if !sniff {
            Self::Bytes
        } else if is_any(&["application/json", "text/json", ""]) {
            expected(Expected::Json)
        } else {
            expected(Expected::Any)
        }
    }

    pub(super) fn push(&mut self, bytes: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        match self {
            Self::Bytes => sink(Item::Piece(Piece::Bytes(bytes.borrow()))),
            Self::Sse(events) => events.push(bytes, limits, sink),
            Self::Lines(lines) => lines.push(bytes, limits, sink),
            Self::EventStream(messages) => messages.push(bytes, limits, sink),
            Self::Array(elements) => elements.push(bytes, limits, sink),
            Self::Form(parts) => parts.push(bytes, limits, sink),
            Self::Unknown { held, expected } => {
                if held.is_empty() {
                    match expected.framing(&bytes) {
                        Some(framing) => *self = framing,
                        None => return held.extend_from_slice(&bytes),
                    }
                    return self.push(bytes, limits, sink);
                }
                held.extend_from_slice(&bytes);
                if let Some(framing) = expected.framing(held) {
                    let start = held.split().freeze();
                    *self = framing;
                    self.push(View::of(&start), limits, sink);
                }
            }
        }
    }

    pub(super) fn gap(&mut self, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        match self {
            Self::Bytes => {}
            Self::Sse(events) => events.gap(),
            Self::Lines(lines) => lines.gap(),
            Self::EventStream(messages) => messages.gap(),
            Self::Array(elements) => elements.gap(),
            Self::Form(parts) => parts.gap(sink),
            Self::Unknown { expected: Expected::Sse, .. } => {
                *self = Self::Sse(Box::default());
                self.gap(limits, sink);
            }
            Self::Unknown { expected: Expected::EventStream, .. } => {
                *self = Self::EventStream(Box::default());
                self.gap(limits, sink);
            }
            Self::Unknown { .. } => {
                self.finish(false, limits, sink);
                *self = Self::Bytes;
            }
        }
    }

    pub(super) fn finish(&mut self, complete: bool, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        match self {
            Self::Bytes => {}
            Self::Sse(events) => events.finish(complete, limits, sink),
            Self::Lines(lines) => lines.finish(complete, sink),
            Self::EventStream(messages) => messages.finish(sink),
            Self::Array(elements) => elements.finish(sink),
            Self::Form(parts) => parts.finish(sink),
            Self::Unknown { held, .. } if !held.is_empty() => {
                sink(Item::Piece(Piece::Bytes(held.split().as_ref().into())))
            }
            Self::Unknown { .. } => {}
        }
    }
}

impl Expected {
    /// What the first bytes show; `None` while they are too few.
    fn framing(self, start: &[u8]) -> Option<Framing> {
        let sse = match self {
            Self::EventStream => Likeness::No,
            _ => begins_event_stream(start, self == Self::Sse),
        };
        let messages = if self == Self::EventStream { begins_message(start) } else { Likeness::No };
        let array = if self == Self::Json { begins_array(start) } else { Likeness::No };
        match (sse, messages, array) {
            (Likeness::Yes, ..) => Some(Framing::Sse(Box::default())),
            (_, Likeness::Yes, _) => Some(Framing::EventStream(Box::default())),
            (.., Likeness::Yes) => Some(Framing::Array(Box::default())),
            (Likeness::No, Likeness::No, Likeness::No) => Some(Framing::Bytes),
            _ => None,
        }
    }
}
