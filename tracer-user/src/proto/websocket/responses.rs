//! OpenAI's Responses over a WebSocket: each response that a client asks for is an exchange.
//!
//! - <https://developers.openai.com/api/docs/guides/websocket-mode>; x.ai documents the same
//! - The events' types: `openai-python`, `types/responses/responses_client_event.py` and `responses_server_event.py`
//!
//! A client's `response.create` is a request, its members those of `POST /v1/responses` beside the `type`. The server's
//! events are those of an event stream, up to one that ends the response. Responses on different lanes (`stream_id`)
//! overlap; those of one lane come one after the other.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{
    super::{End, Event, Fault, Limits, Out, Piece, RequestHead, ResponseHead, StreamIndex},
    messages::Part,
};
use crate::json::{Scalar, Scanner, Shape, Sink};

/// What a WebSocket's messages are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Subject {
    /// Nothing is proven yet.
    Unknown,
    Responses,
    /// An API for audio in both directions (OpenAI's Realtime, Gemini's Live). Not decoded.
    Realtime,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Kind,
    Lane,
    ResponseId,
    Status,
}

const MESSAGE: Shape<Field> = Shape::through().members(&[
    ("type", Shape::value(Field::Kind)),
    ("stream_id", Shape::value(Field::Lane)),
    ("response", Shape::through().members(&[("id", Shape::value(Field::ResponseId))])),
    ("status", Shape::value(Field::Status)),
]);

/// What a message says about itself.
#[derive(Default)]
struct Told {
    kind: Option<Kind>,
    lane: Option<Box<str>>,
    response_id: Option<Box<str>>,
    /// It has an HTTP status: such an error speaks of a request rather than of a response that has begun.
    has_status: bool,
}

impl Sink<Field> for Told {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        match field {
            // The first one counts, so that it can be acted on before the rest has come.
            Field::Kind => self.kind = self.kind.or_else(|| value.str().map(Kind::of)),
            Field::Lane => self.lane = value.str().map(Into::into),
            Field::ResponseId => self.response_id = value.str().map(Into::into),
            Field::Status => self.has_status = value.count().is_some(),
        }
    }
}

/// What a message's `type` makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The client asks for a response.
    Create,
    /// A response begins.
    Begin,
    /// A response ends.
    Final,
    Error,
    /// Any other event of a response.
    Event,
    /// About the connection or about another message: acknowledgements, rate limits, timing.
    Aside,
    Realtime,
    /// No message of this API.
    Foreign,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            // Early releases of Codex continue a chain by `append`.
            "response.create" | "response.append" => Self::Create,
            "response.created" => Self::Begin,
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.done" => Self::Final,
            "response.processed" | "response.inject" | "response.steer" | "response.cancel" => Self::Aside,
            "error" => Self::Error,
            _ => match name.split_once('.').unwrap_or((name, "")) {
                ("response", rest) if rest.starts_with("inject.") || rest.starts_with("steer.") => Self::Aside,
                ("response", _) => Self::Event,
                ("codex" | "responsesapi", _) => Self::Aside,
                ("session" | "transcription_session" | "conversation", _)
                | ("input_audio_buffer" | "output_audio_buffer", _) => Self::Realtime,
                _ => Self::Foreign,
            },
        }
    }
}

/// Kinds of events that begin as the services write them, told without reading the rest. Most events of a response are of
/// the same type as the one before.
#[derive(Default)]
struct Starts {
    /// Up to the closing quote of the type, and its kind.
    latest: Option<(Box<[u8]>, Kind)>,
}

impl Starts {
    fn kind(&mut self, event: &[u8]) -> Option<Kind> {
        const MARK: &[u8] = br#"{"type":""#;
        /// Longest type that is remembered with its quotes and the mark.
        const MOST: usize = 128;
        if let Some((start, kind)) = &self.latest
            && event.starts_with(start)
        {
            return Some(*kind);
        }
        let rest = event.strip_prefix(MARK)?;
        let name = &rest[..memchr::memchr(b'"', rest)?];
        let kind = std::str::from_utf8(name).ok().filter(|name| !name.contains('\\')).map(Kind::of)?;
        let start = &event[..MARK.len() + name.len() + 1];
        self.latest = (start.len() <= MOST).then(|| (start.into(), kind));
        Some(kind)
    }
}

/// A response that was asked for and has not ended.
struct Open {
    stream: StreamIndex,
    /// `None` on the lane without a name.
    lane: Option<Box<str>>,
    id: Option<Box<str>>,
    /// Something of the response was seen.
    begun: bool,
    /// Bytes of the server were lost meanwhile: its end may have been among them.
    lost: bool,
}

/// The client's current message.
enum Writing {
    Nothing,
    /// What it is has not been said.
    Undecided {
        first_byte_at: u64,
        held: BytesMut,
    },
    Request(StreamIndex),
    /// It begins no exchange.
    Passed,
}

/// A message that is being collected. Most come in one piece, which is not copied.
enum Held {
    One(Bytes),
    Joined(BytesMut),
}

impl Held {
    fn len(&self) -> usize {
        match self {
            Self::One(bytes) => bytes.len(),
            Self::Joined(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, data: Bytes) {
        match self {
            Self::One(bytes) if bytes.is_empty() => *bytes = data,
            Self::One(bytes) => {
                let mut joined = BytesMut::with_capacity(bytes.len() + data.len());
                joined.extend_from_slice(bytes);
                joined.extend_from_slice(&data);
                *self = Self::Joined(joined);
            }
            Self::Joined(bytes) => bytes.extend_from_slice(&data),
        }
    }

    fn freeze(self) -> Bytes {
        match self {
            Self::One(bytes) => bytes,
            Self::Joined(bytes) => bytes.freeze(),
        }
    }
}

pub(super) struct Responses {
    head: Arc<RequestHead>,
    response_head: Arc<ResponseHead>,
    /// The upgrade's path is that of the API.
    named: bool,
    subject: Subject,
    next: StreamIndex,
    /// In the order of the requests.
    open: VecDeque<Open>,
    writing: Writing,
    request_scanner: Scanner<Field>,
    request_told: Told,
    /// The server's current message: when it began, and what there is of it.
    message: Option<(u64, Held)>,
    /// Bytes that did not fit.
    overflow: u64,
    event_scanner: Scanner<Field>,
    starts: Starts,
    /// Some message named a lane.
    lanes: bool,
    /// Bytes of the client were lost: a request can have been among them.
    requests_lost: bool,
    closed: bool,
}

impl Responses {
    pub(super) fn new(head: Arc<RequestHead>, status: u16, next: StreamIndex) -> Self {
        let mut segments = head.path.split('/').filter(|segment| !segment.is_empty());
        let named = head.path.rsplit('/').find(|segment| !segment.is_empty()) == Some("responses");
        let realtime = segments.any(|segment| segment == "realtime" || segment.ends_with("BidiGenerateContent"));
        // The upgrade's own headers speak of the upgrade: they are no response's.
        let response_head = ResponseHead { version: head.version, status, ..ResponseHead::default() };
        Self {
            head,
            response_head: Arc::new(response_head),
            named,
            subject: if realtime { Subject::Realtime } else { Subject::Unknown },
            next,
            open: VecDeque::new(),
            writing: Writing::Nothing,
            request_scanner: Scanner::new(&MESSAGE),
            request_told: Told::default(),
            message: None,
            overflow: 0,
            event_scanner: Scanner::new(&MESSAGE),
            starts: Starts::default(),
            lanes: false,
            requests_lost: false,
            closed: false,
        }
    }

    pub(super) fn subject(&self) -> Subject {
        self.subject
    }

    pub(super) fn client(&mut self, at: u64, part: Part, limits: &Limits, out: &mut Out<'_>) {
        if matches!(self.subject, Subject::Realtime | Subject::Other) {
            return;
        }
        match part {
            Part::Begin { first_byte_at } => {
                self.request_scanner.reset();
                self.request_told = Told::default();
                self.writing = Writing::Undecided { first_byte_at, held: BytesMut::new() };
            }
            Part::Data(data) => self.client_data(at, data, limits, out),
            Part::End(fault) => self.client_end(at, fault, out),
            Part::NotText => self.doubt(at, out),
            Part::Lost(bytes) => match self.writing {
                Writing::Request(stream) => out(Event::Lost { at, stream, request: true, bytes }),
                _ => self.requests_lost = true,
            },
            Part::Close => self.end_all(at, End::Reset { by_peer: false }, out),
        }
    }

    pub(super) fn server(&mut self, at: u64, part: Part, limits: &Limits, out: &mut Out<'_>) {
        if matches!(self.subject, Subject::Realtime | Subject::Other) || self.closed {
            return;
        }
        match part {
            Part::Begin { first_byte_at } => {
                self.message = Some((first_byte_at, Held::One(Bytes::new())));
                self.overflow = 0;
            }
            Part::Data(data) => {
                let Some((_, held)) = &mut self.message else { return };
                if self.overflow > 0 || held.len() + data.len() > limits.websocket_message_bytes {
                    self.overflow += (held.len() + data.len()) as u64;
                    *held = Held::One(Bytes::new());
                } else {
                    held.push(data);
                }
            }
            Part::End(fault) => {
                let Some((first_byte_at, message)) = self.message.take() else { return };
                match (fault, self.overflow) {
                    (None, 0) => self.event(at, first_byte_at, message.freeze(), limits, out),
                    (None, bytes) => self.lose_events(at, Some(bytes), out),
                    // The loss was told.
                    (Some(_), _) => {}
                }
            }
            Part::NotText => self.doubt(at, out),
            Part::Lost(bytes) => self.lose_events(at, bytes, out),
            Part::Close => self.end_all(at, End::Reset { by_peer: true }, out),
        }
    }

    /// The connection ended.
    pub(super) fn close(&mut self, at: u64, out: &mut Out<'_>) {
        self.end_all(at, End::Truncated, out);
    }

    fn client_data(&mut self, at: u64, mut data: Bytes, limits: &Limits, out: &mut Out<'_>) {
        let (first_byte_at, held) = match &mut self.writing {
            Writing::Passed | Writing::Nothing => return,
            Writing::Request(stream) => {
                let stream = *stream;
                self.request_scanner.push(&data, &mut self.request_told);
                return out(Event::RequestBody { at, stream, piece: Piece::Bytes((&*data).into()) });
            }
            Writing::Undecided { first_byte_at, held } => (*first_byte_at, held),
        };
        // What stands behind the cap decides nothing, however the message is cut.
        let room = limits.held_message_bytes.saturating_sub(held.len());
        let more = data.split_off(room.min(data.len()));
        self.request_scanner.push(&data, &mut self.request_told);
        let kind = match self.request_told.kind {
            None if more.is_empty() => return held.extend_from_slice(&data),
            None => Kind::Create,
            Some(kind) => kind,
        };
        let held = std::mem::take(held).freeze();
        if kind != Kind::Create {
            self.writing = Writing::Passed;
            return match kind {
                Kind::Realtime => self.give_up(at, Subject::Realtime, out),
                Kind::Foreign => self.doubt(at, out),
                _ => {}
            };
        }
        self.request_scanner.push(&more, &mut self.request_told);
        self.subject = Subject::Responses;
        let stream = self.begin(at, first_byte_at, None, limits, out);
        self.writing = Writing::Request(stream);
        let pieces = [held, data, more].into_iter().filter(|piece| !piece.is_empty());
        for piece in pieces {
            out(Event::RequestBody { at, stream, piece: Piece::Bytes((&*piece).into()) });
        }
    }

    fn client_end(&mut self, at: u64, fault: Option<Fault>, out: &mut Out<'_>) {
        match std::mem::replace(&mut self.writing, Writing::Nothing) {
            Writing::Request(stream) => {
                let lane = self.request_told.lane.take();
                self.lanes |= lane.is_some();
                if let Some(open) = self.open.iter_mut().find(|open| open.stream == stream) {
                    open.lane = lane;
                }
                out(Event::RequestEnd { at, stream, end: fault.map_or(End::Complete, End::Undecodable) });
            }
            Writing::Undecided { .. } if fault.is_none() => self.doubt(at, out),
            Writing::Undecided { .. } => self.requests_lost = true,
            Writing::Passed | Writing::Nothing => {}
        }
    }

    /// A message that is none of this API. Where nothing else speaks for it, the connection carries something else.
    fn doubt(&mut self, at: u64, out: &mut Out<'_>) {
        if self.subject == Subject::Unknown && !self.named {
            self.give_up(at, Subject::Other, out);
        }
    }

    fn give_up(&mut self, at: u64, subject: Subject, out: &mut Out<'_>) {
        self.end_all(at, End::Undecodable(Fault::Unsupported), out);
        self.subject = subject;
    }

    /// A new exchange; its request is still to come.
    fn begin(
        &mut self,
        at: u64,
        first_byte_at: u64,
        lane: Option<Box<str>>,
        limits: &Limits,
        out: &mut Out<'_>,
    ) -> StreamIndex {
        if self.open.len() >= limits.pending_requests
            && let Some(oldest) = self.open.pop_front()
        {
            oldest.end(at, End::Undecodable(Fault::Limit), out);
        }
        let stream = self.next;
        self.next = self.next.wrapping_add(1);
        out(Event::RequestHead { at, stream, head: self.head.clone(), first_byte_at });
        self.open.push_back(Open { stream, lane, id: None, begun: false, lost: false });
        stream
    }

    /// One whole message of the server.
    fn event(&mut self, at: u64, first_byte_at: u64, data: Bytes, limits: &Limits, out: &mut Out<'_>) {
        let told = match self.starts.kind(&data) {
            // While there is one lane only, nothing else of most events matters.
            Some(kind @ (Kind::Event | Kind::Aside)) if !self.lanes => Told { kind: Some(kind), ..Told::default() },
            _ => self.read(&data),
        };
        let kind = match told.kind {
            Some(Kind::Realtime) if self.subject == Subject::Unknown && !self.named => {
                return self.give_up(at, Subject::Realtime, out);
            }
            Some(kind @ (Kind::Begin | Kind::Final | Kind::Error | Kind::Event)) => kind,
            _ => return,
        };
        self.lanes |= told.lane.is_some();
        let found = match kind {
            Kind::Begin => self.beginning(&told),
            Kind::Final => self.ending(&told),
            Kind::Error => self.failing(&told),
            _ => self.current(&told.lane),
        };
        let position = match found {
            Some(position) if position > 0 => self.end_overtaken(at, position, out),
            Some(position) => position,
            // It goes on from another by itself (`response.steer`), or its request was lost.
            None if kind == Kind::Begin => self.begin_unasked(at, first_byte_at, told.lane, limits, out),
            None => return,
        };
        let Some(open) = self.open.get_mut(position) else { return };
        if kind == Kind::Begin {
            open.id = told.response_id;
        }
        let stream = open.stream;
        if !std::mem::replace(&mut open.begun, true) {
            out(Event::ResponseHead { at, stream, head: self.response_head.clone(), first_byte_at });
        }
        out(Event::ResponseBody { at, stream, piece: Piece::Sse { event: Cow::default(), data: (&*data).into() } });
        if matches!(kind, Kind::Final | Kind::Error) {
            out(Event::ResponseEnd { at, stream, end: End::Complete });
            self.open.remove(position);
        }
    }

    fn read(&mut self, data: &[u8]) -> Told {
        let mut told = Told::default();
        self.event_scanner.document(data, &mut told);
        told
    }

    /// The first response of the event's lane that has not begun, or the one with its id.
    fn beginning(&self, told: &Told) -> Option<usize> {
        let same = |open: &Open| open.lane == told.lane;
        let known = |open: &Open| told.response_id.is_some() && open.id == told.response_id;
        self.open
            .iter()
            .position(|open| same(open) && known(open))
            .or_else(|| self.open.iter().position(|open| same(open) && open.id.is_none()))
    }

    /// The response with the event's id; else, where ids are not known, the lane's.
    fn ending(&self, told: &Told) -> Option<usize> {
        if told.response_id.is_none() {
            return self.current(&told.lane);
        }
        self.open.iter().position(|open| open.id == told.response_id).or_else(|| self.beginning(told))
    }

    /// An error with a status answers a request; one without interrupts a response. Without a lane it may also concern
    /// the only response there is.
    fn failing(&self, told: &Told) -> Option<usize> {
        let waiting = || self.open.iter().position(|open| open.lane == told.lane && open.id.is_none());
        let found = match told.has_status {
            true => waiting().or_else(|| self.current(&told.lane)),
            false => self.current(&told.lane),
        };
        found.or_else(|| (told.lane.is_none() && self.open.len() == 1).then_some(0))
    }

    /// The response of the lane that began last; when none has begun, the first that waits.
    fn current(&self, lane: &Option<Box<str>>) -> Option<usize> {
        let same = |open: &Open| open.lane == *lane;
        self.open.iter().rposition(|open| same(open) && open.id.is_some()).or_else(|| self.open.iter().position(same))
    }

    fn begin_unasked(
        &mut self,
        at: u64,
        first_byte_at: u64,
        lane: Option<Box<str>>,
        limits: &Limits,
        out: &mut Out<'_>,
    ) -> usize {
        self.subject = Subject::Responses;
        let stream = self.begin(at, first_byte_at, lane, limits, out);
        if std::mem::take(&mut self.requests_lost) {
            out(Event::Lost { at, stream, request: true, bytes: None });
        }
        // There is no request whose last byte could have a time.
        out(Event::RequestEnd { at, stream, end: End::Truncated });
        self.open.len() - 1
    }

    /// A lane's responses come one after the other: those before the one at `position`, which goes on, are over. Where
    /// bytes were lost their ends were among them. Gives the new position.
    fn end_overtaken(&mut self, at: u64, position: usize, out: &mut Out<'_>) -> usize {
        let Some(lane) = self.open.get(position).map(|open| open.lane.clone()) else { return position };
        let (mut index, mut ended) = (0, 0);
        self.open.retain(|open| {
            let overtaken = index < position && open.lost && open.begun && open.lane == lane;
            index += 1;
            if overtaken {
                ended += 1;
                open.end(at, End::Undecodable(Fault::Lost), out);
            }
            !overtaken
        });
        position - ended
    }

    fn lose_events(&mut self, at: u64, bytes: Option<u64>, out: &mut Out<'_>) {
        for open in &mut self.open {
            open.lost = true;
            out(Event::Lost { at, stream: open.stream, request: false, bytes });
        }
    }

    fn end_all(&mut self, at: u64, end: End, out: &mut Out<'_>) {
        self.closed |= matches!(end, End::Reset { .. } | End::Truncated);
        self.message = None;
        if let Writing::Request(stream) = std::mem::replace(&mut self.writing, Writing::Nothing) {
            out(Event::RequestEnd { at, stream, end: End::Truncated });
        }
        for open in self.open.drain(..) {
            if open.begun || end != End::Truncated {
                open.end(at, end, out);
            }
        }
    }
}

impl Open {
    fn end(&self, at: u64, end: End, out: &mut Out<'_>) {
        out(Event::ResponseEnd { at, stream: self.stream, end });
    }
}
