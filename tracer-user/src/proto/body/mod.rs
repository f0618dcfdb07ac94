//! Bodies: from the bytes that the message framing yields, through the content codings, to [`Piece`]s.

mod coding;

pub(super) use coding::{Coding, Decoder};

use bytes::{Bytes, BytesMut};

use super::{
    Fault, Limits, Piece,
    lines::Lines,
    sse::{self, Likeness, Sse},
};

/// What a body yields.
pub(super) enum Item {
    Piece(Piece),
    /// So many bytes were dropped: an event or line over its limit, or cut by a gap.
    Dropped(u64),
}

/// One body, read as it comes: memory does not grow with its length.
pub(super) struct Body {
    decoder: Option<Box<Decoder>>,
    framing: Framing,
    fault: Option<Fault>,
}

/// How the decoded bytes divide into pieces.
enum Framing {
    Bytes,
    Sse(Box<Sse>),
    Lines(Box<Lines>),
    /// The first bytes tell: event streams come without their content type, and errors in JSON come with it.
    Unknown {
        held: BytesMut,
        announced: bool,
    },
}

impl Body {
    /// `codings` in the order in which they were applied (RFC 9110 section 8.4). `sniff` allows an event stream that
    /// the content type does not announce.
    pub(super) fn new(content_type: Option<&str>, codings: &[Coding], sniff: bool, limits: &Limits) -> Self {
        let (decoder, fault) = match Decoder::new(codings, limits) {
            Ok(decoder) => (decoder.map(Box::new), None),
            Err(fault) => (None, Some(fault)),
        };
        Self { decoder, framing: Framing::new(content_type, sniff), fault }
    }

    pub(super) fn push(&mut self, bytes: Bytes, limits: &Limits, sink: &mut impl FnMut(Item)) {
        if self.fault.is_some() || bytes.is_empty() {
            return;
        }
        let Some(decoder) = &mut self.decoder else {
            return self.framing.push(bytes, limits, sink);
        };
        let framing = &mut self.framing;
        self.fault = decoder.push(&bytes, limits, &mut |decoded| framing.push(decoded, limits, sink)).err();
    }

    /// Bytes of the body are missing. A coded body cannot go on: later bytes refer to the lost ones.
    pub(super) fn gap(&mut self, limits: &Limits, sink: &mut impl FnMut(Item)) {
        if self.decoder.is_some() {
            self.fault.get_or_insert(Fault::Lost);
            self.decoder = None;
        }
        self.framing.gap(limits, sink);
    }

    /// What comes next is known to begin an event, if these are events: a gap before it takes no more with it.
    pub(super) fn resume(&mut self, sink: &mut impl FnMut(Item)) {
        if let Framing::Sse(events) = &mut self.framing {
            events.resume(sink);
        }
    }

    /// Yields what was held back. `complete` says that the message framing was satisfied.
    pub(super) fn finish(&mut self, complete: bool, limits: &Limits, sink: &mut impl FnMut(Item)) -> Result<(), Fault> {
        self.framing.finish(complete && self.fault.is_none(), limits, sink);
        self.fault.map_or(Ok(()), Err)
    }
}

impl Framing {
    fn new(content_type: Option<&str>, sniff: bool) -> Self {
        let media_type = content_type.unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let is_any = |names: &[&str]| names.iter().any(|name| media_type.eq_ignore_ascii_case(name));
        if is_any(&["text/event-stream"]) {
            Self::Unknown { held: BytesMut::new(), announced: true }
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
        } else if sniff {
            Self::Unknown { held: BytesMut::new(), announced: false }
        } else {
            Self::Bytes
        }
    }

    fn push(&mut self, bytes: Bytes, limits: &Limits, sink: &mut impl FnMut(Item)) {
        match self {
            Self::Bytes => sink(Item::Piece(Piece::Bytes(bytes))),
            Self::Sse(events) => events.push(&bytes, limits, sink),
            Self::Lines(lines) => lines.push(&bytes, limits, sink),
            Self::Unknown { held, announced } => {
                let start = if held.is_empty() {
                    bytes
                } else {
                    held.extend_from_slice(&bytes);
                    held.split().freeze()
                };
                match sse::begins_event_stream(&start, *announced) {
                    Likeness::TooShort => return held.extend_from_slice(&start),
                    Likeness::Yes => *self = Self::Sse(Box::default()),
                    Likeness::No => *self = Self::Bytes,
                }
                self.push(start, limits, sink);
            }
        }
    }

    fn gap(&mut self, limits: &Limits, sink: &mut impl FnMut(Item)) {
        match self {
            Self::Bytes => {}
            Self::Sse(events) => events.gap(),
            Self::Lines(lines) => lines.gap(),
            Self::Unknown { announced: true, .. } => {
                let mut events = Box::<Sse>::default();
                events.gap();
                *self = Self::Sse(events);
            }
            Self::Unknown { .. } => {
                self.finish(false, limits, sink);
                *self = Self::Bytes;
            }
        }
    }

    fn finish(&mut self, complete: bool, limits: &Limits, sink: &mut impl FnMut(Item)) {
        match self {
            Self::Bytes => {}
            Self::Sse(events) => events.finish(complete, limits, sink),
            Self::Lines(lines) => lines.finish(complete, sink),
            Self::Unknown { held, .. } if !held.is_empty() => sink(Item::Piece(Piece::Bytes(held.split().freeze()))),
            Self::Unknown { .. } => {}
        }
    }
}
