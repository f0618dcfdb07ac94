//! One stream: a request and its response, each up to its end.

use super::super::{
    End, Event, Fault, Limits, Out, StreamIndex,
    body::Body,
    message::{Kind, emitter},
    sse::{self, Likeness},
    view::View,
};

pub struct Stream {
    pub index: StreamIndex,
    /// Otherwise nobody wants the exchange: its bodies are not decoded, and nothing is told.
    pub wanted: bool,
    pub request: Half,
    pub response: Half,
}

/// One direction of a stream.
#[derive(Default)]
pub struct Half {
    /// Something of it was seen.
    pub begun: bool,
    pub ended: bool,
    /// Bytes of it may be lost: so may be its end.
    pub lossy: bool,
    body: Option<Body>,
    /// The head was not seen, and with it what the body is.
    unknown: bool,
    /// A loss came after the latest byte.
    broken: bool,
}

impl Stream {
    pub fn new(index: StreamIndex, wanted: bool) -> Self {
        Self { index, wanted, request: Half::default(), response: Half::default() }
    }

    pub fn half(&mut self, kind: Kind) -> &mut Half {
        match kind {
            Kind::Request => &mut self.request,
            Kind::Response => &mut self.response,
        }
    }

    pub fn has_ended_half(&self, kind: Kind) -> bool {
        match kind {
            Kind::Request => self.request.ended,
            Kind::Response => self.response.ended,
        }
    }

    pub fn has_ended(&self) -> bool {
        self.request.ended && self.response.ended
    }

    /// The head was read, and says what body follows.
    pub fn begin(&mut self, kind: Kind, body: impl FnOnce() -> Body) {
        let body = self.wanted.then(body);
        let half = self.half(kind);
        half.begun = true;
        half.body = body;
    }

    pub fn data(&mut self, at: u64, kind: Kind, bytes: View<'_>, begins: bool, limits: &Limits, out: &mut Out<'_>) {
        let (index, wanted) = (self.index, self.wanted);
        let half = self.half(kind);
        if half.ended || !wanted {
            return;
        }
        if !half.begun {
            half.begun = true;
            half.unknown = true;
            half.body = Some(Body::new(None, &[], false, limits));
        }
        let mut emit = emitter(kind, at, index, out);
        // Servers write an event as a frame: behind a loss, or without a head, that proves one.
        let event = || begins && sse::begins_event_stream(&bytes, false) == Likeness::Yes;
        if half.unknown && kind == Kind::Response && event() {
            half.unknown = false;
            half.body = Some(Body::new(Some("text/event-stream"), &[], true, limits));
        }
        let Some(body) = &mut half.body else { return };
        if std::mem::take(&mut half.broken) {
            body.gap(limits, &mut emit);
            if event() {
                body.resume(&mut emit);
            }
        }
        body.push(bytes, limits, &mut emit);
    }

    /// Bytes are missing, or may be: `None` is an unknown number.
    pub fn lose(&mut self, at: u64, kind: Kind, bytes: Option<u64>, out: &mut Out<'_>) {
        let (stream, wanted) = (self.index, self.wanted);
        let half = self.half(kind);
        if half.ended {
            return;
        }
        half.lossy = true;
        half.broken = true;
        if wanted {
            out(Event::Lost { at, stream, request: kind == Kind::Request, bytes });
        }
    }

    pub fn end(&mut self, at: u64, kind: Kind, end: End, limits: &Limits, out: &mut Out<'_>) {
        let (stream, wanted) = (self.index, self.wanted);
        let half = self.half(kind);
        if std::mem::replace(&mut half.ended, true) || !wanted {
            return;
        }
        let mut end = end;
        if let Some(mut body) = half.body.take() {
            let mut emit = emitter(kind, at, stream, out);
            if half.broken {
                body.gap(limits, &mut emit);
            }
            let decoded = body.finish(end == End::Complete, limits, &mut emit);
            if let (Err(fault), End::Complete | End::Truncated) = (decoded, end) {
                end = End::Undecodable(fault);
            }
        }
        out(match kind {
            Kind::Request => Event::RequestEnd { at, stream, end },
            Kind::Response => Event::ResponseEnd { at, stream, end },
        });
        // A whole answer to a request whose end is lost: it will not come any more.
        if kind == Kind::Response && self.request.lossy {
            self.end(at, Kind::Request, End::Undecodable(Fault::Lost), limits, out);
        }
    }

    /// Ends what has not ended, the request first.
    pub fn end_both(&mut self, at: u64, end: End, limits: &Limits, out: &mut Out<'_>) {
        self.end(at, Kind::Request, end, limits, out);
        self.end(at, Kind::Response, end, limits, out);
    }
}
