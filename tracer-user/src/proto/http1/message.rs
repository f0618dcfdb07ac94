//! One direction of an HTTP/1.x connection: collects heads, counts bodies.

use bytes::{Bytes, BytesMut};

use super::{
    super::{
        End, Event, Fault, Limits, Out, StreamIndex,
        body::Body,
        message::{Kind, emitter},
        sse::Likeness,
        view::View,
    },
    chunked::{Chunked, Found},
    head::Length,
    hunt::{Hunt, Trace},
};

#[derive(Default)]
pub(super) enum State {
    /// Between messages, or inside a head.
    #[default]
    Head,
    Body(Framing),
    /// Bytes were lost or make no sense: skipped up to a record that begins with a provable message start.
    Searching,
    /// Behind CONNECT or an upgrade: not HTTP/1.x any more.
    Opaque,
}

pub(super) enum Framing {
    /// Bytes that remain.
    Known(u64),
    Chunked(Chunked),
    /// Chunked, and the place of the next chunk was lost.
    Hunt(Hunt),
    UntilClose,
}

impl From<Length> for Framing {
    fn from(length: Length) -> Self {
        match length {
            Length::Known(bytes) => Self::Known(bytes),
            Length::Chunked => Self::Chunked(Chunked::default()),
            Length::UntilClose => Self::UntilClose,
        }
    }
}

/// The message whose body is being read.
pub(super) struct Current {
    pub(super) stream: StreamIndex,
    /// `None` when nobody wants the exchange: then the body is counted and not decoded.
    pub(super) body: Option<Body>,
}

/// A head, or why there is none yet.
pub(super) enum Progress {
    /// More input is needed.
    Partial,
    Head(Bytes),
    /// The bytes begin no message.
    Foreign,
    /// The head is over its limit.
    TooLong,
}

pub(super) struct Direction {
    kind: Kind,
    pub(super) state: State,
    /// A head begun by earlier input.
    partial: BytesMut,
    /// The part of `partial` where no head ends.
    scanned: usize,
    proven: bool,
    /// When the first byte of the current message came.
    pub(super) first_byte_at: u64,
    /// When the latest byte of the current message came.
    pub(super) last_byte_at: u64,
    pub(super) current: Option<Current>,
}

impl Direction {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            state: State::default(),
            partial: BytesMut::new(),
            scanned: 0,
            proven: false,
            first_byte_at: 0,
            last_byte_at: 0,
            current: None,
        }
    }

    /// The framing of the current message was lost and is searched for.
    pub(super) fn is_hunting(&self) -> bool {
        matches!(self.state, State::Body(Framing::Hunt(_)))
    }

    /// Between messages, or where a message may begin.
    pub(super) fn is_between(&self) -> bool {
        match self.state {
            State::Head => self.partial.is_empty(),
            State::Searching => true,
            State::Body(_) | State::Opaque => false,
        }
    }

    /// Takes a whole head from the start of `input`, or keeps what there is of it. A head that lies in one record is
    /// not copied.
    pub(super) fn take_head(
        &mut self,
        at: u64,
        input: &mut View<'_>,
        limits: &Limits,
        proof: impl Fn(&[u8]) -> Likeness,
    ) -> Progress {
        if self.partial.is_empty() {
            // Empty lines before a message are tolerated (RFC 9112 section 2.2).
            let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            input.advance(blank);
            if input.is_empty() {
                return Progress::Partial;
            }
            self.first_byte_at = at;
            self.scanned = 0;
            self.proven = false;
        }
        self.last_byte_at = at;
        let held = self.partial.len();
        // Most heads end within the record that begins them.
        let direct = held == 0;
        if !direct {
            let room = (limits.head_bytes + 1).saturating_sub(held).min(input.len());
            self.partial.extend_from_slice(&input[..room]);
        }
        let bytes = if direct { input.bytes() } else { &self.partial[..] };
        if !self.proven {
            match proof(bytes) {
                Likeness::Yes => self.proven = true,
                Likeness::TooShort if bytes.len() <= limits.head_bytes => {
                    if direct {
                        self.partial.extend_from_slice(input);
                    }
                    input.clear();
                    return Progress::Partial;
                }
                Likeness::TooShort => return Progress::TooLong,
                Likeness::No => return Progress::Foreign,
            }
        }
        match head_end(bytes, self.scanned) {
            Some(end) if end > limits.head_bytes => Progress::TooLong,
            Some(end) if direct => Progress::Head(input.split_to(end).keep()),
            Some(end) => {
                let head = self.partial.split_to(end).freeze();
                self.partial.clear();
                input.advance(end - held);
                Progress::Head(head)
            }
            None if bytes.len() > limits.head_bytes => Progress::TooLong,
            None => {
                // The blank line may be cut: at most its last two bytes can be here already.
                self.scanned = bytes.len().saturating_sub(2);
                if direct {
                    self.partial.extend_from_slice(input);
                }
                input.clear();
                Progress::Partial
            }
        }
    }

    /// Reads as much of the current body as `input` holds. A fault means that the body's framing is broken.
    pub(super) fn take_body(
        &mut self,
        at: u64,
        input: &mut View<'_>,
        limits: &Limits,
        out: &mut Out<'_>,
    ) -> Result<Taken, Fault> {
        self.last_byte_at = at;
        while !input.is_empty() {
            let State::Body(framing) = &mut self.state else {
                return Ok(Taken::Part);
            };
            let data = match framing {
                Framing::UntilClose => input.len(),
                Framing::Hunt(hunt) => match hunt.push(input) {
                    Trace::Cold => {
                        input.clear();
                        return Ok(Taken::Part);
                    }
                    Trace::Found { tail, chunks } => {
                        *framing = Framing::Chunked(Chunked::default());
                        if let Some(Current { stream, body: Some(body) }) = &mut self.current {
                            let tail = tail.freeze();
                            body.push(View::of(&tail), limits, &mut emitter(self.kind, at, *stream, out));
                        }
                        return Ok(Taken::Found(chunks.freeze()));
                    }
                    Trace::Lost => return Err(Fault::Lost),
                },
                Framing::Known(remaining) => {
                    let length = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len());
                    *remaining -= length as u64;
                    length
                }
                Framing::Chunked(chunked) => match chunked.next(input, limits)? {
                    Found::Data(length) => length,
                    Found::Framing(length) => {
                        input.advance(length);
                        continue;
                    }
                    Found::End(length) => {
                        input.advance(length);
                        return Ok(Taken::Whole);
                    }
                },
            };
            let whole = matches!(framing, Framing::Known(0));
            let data = input.split_to(data);
            if let Some(Current { stream, body: Some(body) }) = &mut self.current {
                body.push(data, limits, &mut emitter(self.kind, at, *stream, out));
            }
            if whole {
                return Ok(Taken::Whole);
            }
        }
        Ok(Taken::Part)
    }

    /// Ends the current message, if there is one, and goes to `next`. Gives the message's stream if it was wanted.
    pub(super) fn end_message(
        &mut self,
        at: u64,
        end: End,
        next: State,
        limits: &Limits,
        out: &mut Out<'_>,
    ) -> Option<StreamIndex> {
        // The end may have been among the lost bytes.
        let end = if self.is_hunting() { End::Undecodable(Fault::Lost) } else { end };
        self.state = next;
        self.forget_head();
        let Current { stream, body } = self.current.take()?;
        let mut end = end;
        if let Some(mut body) = body {
            let decoded = body.finish(end == End::Complete, limits, &mut emitter(self.kind, at, stream, out));
            if let (Err(fault), End::Complete | End::Truncated) = (decoded, end) {
                end = End::Undecodable(fault);
            }
            out(match self.kind {
                Kind::Request => Event::RequestEnd { at, stream, end },
                Kind::Response => Event::ResponseEnd { at, stream, end },
            });
        }
        Some(stream)
    }

    pub(super) fn forget_head(&mut self) {
        self.partial = BytesMut::new();
        self.scanned = 0;
        self.proven = false;
    }

    /// Skips `lost` bytes of the current body. False when the framing is lost with them.
    pub(super) fn skip(&mut self, at: u64, lost: Option<u64>, limits: &Limits, out: &mut Out<'_>) -> Skip {
        let State::Body(framing) = &mut self.state else {
            return Skip::FramingLost;
        };
        let (kept, whole) = match (framing, lost) {
            (Framing::UntilClose, _) => (true, false),
            (Framing::Known(remaining), Some(lost)) if lost <= *remaining => {
                *remaining -= lost;
                (true, *remaining == 0)
            }
            (Framing::Known(_), _) => (false, false),
            (Framing::Chunked(chunked), Some(lost)) if chunked.holds(lost) => {
                chunked.gap(lost);
                (true, false)
            }
            (framing @ (Framing::Chunked(_) | Framing::Hunt(_)), _) => {
                *framing = Framing::Hunt(Hunt::default());
                (true, false)
            }
        };
        if let Some(Current { stream, body: Some(body) }) = &mut self.current {
            out(Event::Lost { at, stream: *stream, request: self.kind == Kind::Request, bytes: lost });
            body.gap(limits, &mut emitter(self.kind, at, *stream, out));
        }
        match (kept, whole) {
            (false, _) => Skip::FramingLost,
            (true, true) => Skip::MessageEnds,
            (true, false) => Skip::Kept,
        }
    }
}

/// How far a body is read.
pub(super) enum Taken {
    /// More input is needed.
    Part,
    Whole,
    /// Its framing was found again: these bytes, with which it goes on, take the place of the input.
    Found(Bytes),
}

/// What a gap leaves of the current message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    Kept,
    MessageEnds,
    FramingLost,
}

/// Where the head ends: behind the first blank line. Lines may end with a bare LF (RFC 9112 section 2.2).
fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &bytes[from..]).map(|end| from + end).find_map(|end| match bytes.get(end + 1..) {
        Some([b'\n', ..]) => Some(end + 2),
        Some([b'\r', b'\n', ..]) => Some(end + 3),
        _ => None,
    })
}
