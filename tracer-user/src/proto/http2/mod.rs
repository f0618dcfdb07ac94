//! HTTP/2 (RFC 9113), both directions of one connection, as an observer in between. It sees no more than passes: settings
//! bind the two peers, windows are theirs, and what a server pushes nobody asked for. All of that is read over.
//!
//! The size of the header table needs no settings either: an encoder states each change in its next header block (RFC
//! 7541 section 4.2), and none uses more than the acknowledged setting allows.

pub mod frame;
#[doc(hidden)]
pub mod fuzz;
mod head;
pub mod hpack;
pub mod search;
mod side;
mod stream;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use self::{
    head::Fields,
    search::{Found, Origin},
    side::{Item, Missing, Side},
    stream::Stream,
};
use super::{
    End, Event, Fault, Headers, Limits, Out, RequestHead, StreamIndex,
    body::{Body, Coding},
    message::Kind,
    view::View,
};
use crate::capture::{Direction, Role};

/// Streams whose end is remembered, so that late frames do not open them again.
const CLOSED: usize = 256;

/// The method of OTLP over gRPC that takes spans.
pub const OTLP_TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What was seen and is not told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Streams that were not followed because too many were open.
    pub refused_streams: u64,
    /// Requests of gRPC, which is not decoded.
    pub grpc: u64,
}

pub struct Http2 {
    wants: fn(&RequestHead) -> bool,
    /// The direction in which requests travel.
    requests: Direction,
    /// Frames were found in one direction at least.
    recognised: bool,
    /// The preface, or a header block, proves `requests`.
    proven: bool,
    send: Side,
    receive: Side,
    /// By the stream's own identifier.
    streams: BTreeMap<u32, Stream>,
    closed: VecDeque<u32>,
    next_index: StreamIndex,
    /// Request bytes were lost, so that a stream can have a request that was not seen.
    requests_lost: bool,
    counters: Counters,
}

impl Http2 {
    pub fn new(wants: fn(&RequestHead) -> bool, requests: Direction, limits: &Limits) -> Self {
        Self {
            wants,
            requests,
            recognised: false,
            proven: false,
            send: Side::new(limits),
            receive: Side::new(limits),
            streams: BTreeMap::new(),
            closed: VecDeque::new(),
            next_index: 0,
            requests_lost: true,
            counters: Counters::default(),
        }
    }

    /// Whether the bytes prove that the connection speaks HTTP/2. Until then nothing is told.
    pub fn is_proven(&self) -> bool {
        self.recognised
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub fn push(&mut self, at: u64, direction: Direction, record: &Bytes, limits: &Limits, out: &mut Out<'_>) {
        if self.side(direction).is_found() {
            return self.read(at, direction, View::of(record), limits, out);
        }
        let Some(Found { frames, origin }) = self.side(direction).look(record) else { return };
        self.recognised = true;
        if origin == Origin::Preface {
            self.requests = direction;
            self.proven = true;
            self.requests_lost = false;
            out(Event::Role(Role::requesting(direction)));
            let other = opposite(direction);
            if let Some(earlier) = self.side(other).begin() {
                self.read(at, other, View::of(&earlier), limits, out);
            }
        }
        self.read(at, direction, View::of(&frames), limits, out);
    }

    /// `lost` bytes are missing here; `None` when their number is unknown.
    pub fn gap(&mut self, at: u64, direction: Direction, lost: Option<u64>, limits: &Limits, out: &mut Out<'_>) {
        let kind = self.kind(direction);
        match self.side(direction).gap(lost) {
            Missing::Nothing => {}
            Missing::Data { stream, bytes } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.lose(at, kind, Some(bytes), out);
                }
            }
            Missing::Position => self.lose(at, kind, lost, out),
        }
        self.read(at, direction, View::of(&Bytes::new()), limits, out);
    }

    /// The connection ended.
    pub fn close(&mut self, at: u64, limits: &Limits, out: &mut Out<'_>) {
        for (_, mut stream) in std::mem::take(&mut self.streams) {
            stream.end_both(at, End::Truncated, limits, out);
        }
    }

    fn read(&mut self, at: u64, direction: Direction, mut input: View<'_>, limits: &Limits, out: &mut Out<'_>) {
        if !self.side(direction).is_found() {
            return;
        }
        while let Some(item) = self.side(direction).next(at, &mut input, limits) {
            match item {
                Item::Data { stream, bytes, begins, end } => {
                    self.data(at, direction, stream, bytes, begins, end, limits, out);
                }
                Item::Block { stream, block, pushed, end, first_byte_at } => {
                    let fields = self.fields(direction, block);
                    // What a server pushes has even numbers.
                    if !pushed && stream % 2 == 1 {
                        self.head(at, direction, stream, fields, end, first_byte_at, limits, out);
                    }
                }
                Item::Reset { stream } => {
                    self.end(at, stream, End::Reset { by_peer: direction == Direction::Receive }, limits, out);
                }
                Item::GoAway { last } if self.kind(direction) == Kind::Response => {
                    // Their requests were not and will not be handled (RFC 9113 section 6.8).
                    let refused: Vec<u32> = last
                        .checked_add(1)
                        .map_or_else(Vec::new, |next| self.streams.range(next..).map(|(id, _)| *id).collect());
                    for stream in refused {
                        self.end(at, stream, End::Reset { by_peer: direction == Direction::Receive }, limits, out);
                    }
                }
                Item::GoAway { .. } => {}
                Item::Nonsense => {
                    self.side(direction).lose();
                    let kind = self.kind(direction);
                    return self.lose(at, kind, None, out);
                }
            }
        }
    }

    fn fields(&mut self, direction: Direction, block: Option<Bytes>) -> Fields {
        let hpack = &mut self.side(direction).hpack;
        let Some(block) = block else {
            hpack.lose();
            self.requests_lost |= direction == self.requests;
            return Fields::unknown();
        };
        let mut fields = Fields::default();
        if hpack.decode(&block, |field| fields.push(field)).is_err() {
            fields.lose_rest();
            self.requests_lost |= direction == self.requests;
        }
        fields
    }

    #[expect(clippy::too_many_arguments, reason = "one header block's facts, and where its parts go")]
    fn head(
        &mut self,
        at: u64,
        direction: Direction,
        id: u32,
        fields: Fields,
        end: bool,
        first_byte_at: u64,
        limits: &Limits,
        out: &mut Out<'_>,
    ) {
        self.learn_role(at, direction, &fields, limits, out);
        match (self.kind(direction), fields.are_request()) {
            (Kind::Request, Some(true)) if !self.streams.contains_key(&id) => {
                self.request_head(at, id, fields, first_byte_at, limits, out);
            }
            (Kind::Response, Some(false)) => self.response_head(at, id, fields, end, first_byte_at, limits, out),
            // A head that is lost, or trailers.
            (kind, _) => {
                if let Some(stream) = self.stream(at, id, kind, limits, out)
                    && !stream.half(kind).begun
                {
                    stream.begin(kind, || body(fields.headers(), kind == Kind::Response, limits));
                    if stream.wanted {
                        out(Event::Lost { at, stream: stream.index, request: kind == Kind::Request, bytes: None });
                    }
                }
            }
        }
        if end {
            self.end_half(at, id, self.kind(direction), limits, out);
        }
    }

    fn request_head(
        &mut self,
        at: u64,
        id: u32,
        fields: Fields,
        first_byte_at: u64,
        limits: &Limits,
        out: &mut Out<'_>,
    ) {
        let body = body(fields.headers(), false, limits);
        let head = fields.into_request();
        let grpc = head.headers.get("content-type").is_some_and(|value| value.starts_with("application/grpc"));
        // Of gRPC only what tells which processes export telemetry themselves is read.
        let grpc = grpc && head.path != OTLP_TRACES;
        self.counters.grpc += u64::from(grpc);
        let judged = !head.method.is_empty() && !head.path.is_empty();
        let wanted = !grpc && (!judged || (self.wants)(&head));
        let Some(stream) = self.open(at, id, wanted, limits, out) else { return };
        stream.begin(Kind::Request, || body);
        if wanted {
            out(Event::RequestHead { at, first_byte_at, stream: stream.index, head: head.into() });
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one header block's facts, and where its parts go")]
    fn response_head(
        &mut self,
        at: u64,
        id: u32,
        fields: Fields,
        end: bool,
        first_byte_at: u64,
        limits: &Limits,
        out: &mut Out<'_>,
    ) {
        if !end && matches!(fields.status(), Some(100..=199)) {
            return;
        }
        let Some(stream) = self.stream(at, id, Kind::Response, limits, out) else { return };
        if stream.response.begun || stream.response.ended {
            return;
        }
        stream.begin(Kind::Response, || body(fields.headers(), true, limits));
        if stream.wanted {
            let stream = stream.index;
            out(match fields.into_response() {
                Some(head) => Event::ResponseHead { at, stream, head, first_byte_at },
                None => Event::Lost { at, stream, request: false, bytes: None },
            });
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one frame's facts, and where its parts go")]
    fn data(
        &mut self,
        at: u64,
        direction: Direction,
        id: u32,
        bytes: View<'_>,
        begins: bool,
        end: bool,
        limits: &Limits,
        out: &mut Out<'_>,
    ) {
        let kind = self.kind(direction);
        if let Some(stream) = self.stream(at, id, kind, limits, out)
            && !bytes.is_empty()
        {
            stream.data(at, kind, bytes, begins, limits, out);
        }
        if end {
            self.end_half(at, id, kind, limits, out);
        }
    }

    /// The stream, or a new one whose request's head was not seen.
    fn stream(&mut self, at: u64, id: u32, kind: Kind, limits: &Limits, out: &mut Out<'_>) -> Option<&mut Stream> {
        if self.streams.contains_key(&id) {
            return self.streams.get_mut(&id);
        }
        if !self.requests_lost || id.is_multiple_of(2) || self.closed.contains(&id) {
            return None;
        }
        let stream = self.open(at, id, true, limits, out)?;
        // Answers come to requests that have been sent.
        stream.request.ended = kind == Kind::Response;
        Some(stream)
    }

    fn open(&mut self, at: u64, id: u32, wanted: bool, limits: &Limits, out: &mut Out<'_>) -> Option<&mut Stream> {
        if self.streams.len() >= limits.streams {
            // Those whose end may be lost would stay for ever.
            let lossy = |stream: &Stream| stream.request.lossy || stream.response.lossy;
            let Some(victim) = self.streams.iter().find(|(_, stream)| lossy(stream)).map(|(id, _)| *id) else {
                self.counters.refused_streams += 1;
                self.remember_closed(id);
                return None;
            };
            if let Some(mut stream) = self.streams.remove(&victim) {
                stream.end_both(at, End::Undecodable(Fault::Lost), limits, out);
            }
            self.remember_closed(victim);
        }
        let index = self.next_index;
        self.next_index += 1;
        Some(self.streams.entry(id).or_insert_with(|| Stream::new(index, wanted)))
    }

    fn end_half(&mut self, at: u64, id: u32, kind: Kind, limits: &Limits, out: &mut Out<'_>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.end(at, kind, End::Complete, limits, out);
        if stream.has_ended() {
            self.forget(id);
        }
    }

    fn end(&mut self, at: u64, id: u32, end: End, limits: &Limits, out: &mut Out<'_>) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.end_both(at, end, limits, out);
            self.forget(id);
        }
    }

    fn forget(&mut self, id: u32) {
        self.streams.remove(&id);
        self.remember_closed(id);
    }

    fn remember_closed(&mut self, id: u32) {
        if self.closed.len() >= CLOSED {
            self.closed.pop_front();
        }
        self.closed.push_back(id);
    }

    /// The frames of a direction are lost: every stream that is open in it may have lost bytes, and if it is one alone
    /// it is known how many.
    fn lose(&mut self, at: u64, kind: Kind, lost: Option<u64>, out: &mut Out<'_>) {
        self.requests_lost |= kind == Kind::Request;
        let open = self.streams.values().filter(|stream| stream.wanted && !stream.has_ended_half(kind)).count();
        let bytes = if open == 1 { lost } else { None };
        for stream in self.streams.values_mut() {
            stream.lose(at, kind, bytes, out);
        }
    }

    /// Sources that do not know the role say client: the first block that tells decides.
    fn learn_role(&mut self, at: u64, direction: Direction, fields: &Fields, limits: &Limits, out: &mut Out<'_>) {
        let Some(request) = fields.are_request().filter(|_| !self.proven) else { return };
        self.proven = true;
        if request != (direction == self.requests) {
            self.requests = opposite(self.requests);
            // What was opened until now was taken for the contrary.
            for (_, mut stream) in std::mem::take(&mut self.streams) {
                stream.end_both(at, End::Undecodable(Fault::Lost), limits, out);
            }
        }
        out(Event::Role(Role::requesting(self.requests)));
    }

    fn kind(&self, direction: Direction) -> Kind {
        if direction == self.requests { Kind::Request } else { Kind::Response }
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Send => &mut self.send,
            Direction::Receive => &mut self.receive,
        }
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Send => Direction::Receive,
        Direction::Receive => Direction::Send,
    }
}

/// A response without a content type may be an event stream.
fn body(headers: &Headers, sniff: bool, limits: &Limits) -> Body {
    Body::new(headers.get("content-type"), &Coding::of_content(headers), sniff, limits)
}
