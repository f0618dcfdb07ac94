//! Bodies: from the bytes that the message framing yields, through the content codings, to [`Piece`]s.

mod coding;
mod framing;

pub(super) use coding::{Coding, Decoder};

use self::framing::Framing;
use super::{Fault, Limits, Piece, view::View};

/// What a body yields.
pub(super) enum Item<'a> {
    Piece(Piece<'a>),
    /// So many bytes were dropped: an event or line over its limit, or cut by a gap.
    Dropped(u64),
}

impl Item<'_> {
    /// The same, to be kept.
    pub(super) fn into_owned(self) -> Item<'static> {
        match self {
            Self::Piece(piece) => Item::Piece(piece.into_owned()),
            Self::Dropped(bytes) => Item::Dropped(bytes),
        }
    }
}

/// One body, read as it comes: memory does not grow with its length.
pub(super) struct Body {
    decoder: Option<Box<Decoder>>,
    framing: Framing,
    fault: Option<Fault>,
}

impl Body {
    /// `codings` in the order in which they were applied (RFC 9110 section 8.4). `sniff` allows a stream that the
    /// content type does not announce.
    pub(super) fn new(content_type: Option<&str>, codings: &[Coding], sniff: bool, limits: &Limits) -> Self {
        let (decoder, fault) = match Decoder::new(codings, limits) {
            Ok(decoder) => (decoder.map(Box::new), None),
            Err(fault) => (None, Some(fault)),
        };
        Self { decoder, framing: Framing::new(content_type, sniff), fault }
    }

    pub(super) fn push(&mut self, bytes: View<'_>, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        if self.fault.is_some() || bytes.is_empty() {
            return;
        }
        let Some(decoder) = &mut self.decoder else {
            return self.framing.push(bytes, limits, sink);
        };
        let framing = &mut self.framing;
        self.fault = decoder.push(&bytes, limits, &mut |decoded| framing.push(View::of(&decoded), limits, sink)).err();
    }

    /// Bytes of the body are missing. A coded body cannot go on: later bytes refer to the lost ones.
    pub(super) fn gap(&mut self, limits: &Limits, sink: &mut impl FnMut(Item<'_>)) {
        if self.decoder.is_some() {
            self.fault.get_or_insert(Fault::Lost);
            self.decoder = None;
        }
        self.framing.gap(limits, sink);
    }

    /// What comes next is known to begin an event, if these are events: a gap before it takes no more with it.
    pub(super) fn resume(&mut self, sink: &mut impl FnMut(Item<'_>)) {
        if let Framing::Sse(events) = &mut self.framing {
            events.resume(sink);
        }
    }

    /// Yields what was held back. `complete` says that the message framing was satisfied.
    pub(super) fn finish(
        &mut self,
        complete: bool,
        limits: &Limits,
        sink: &mut impl FnMut(Item<'_>),
    ) -> Result<(), Fault> {
        self.framing.finish(complete && self.fault.is_none(), limits, sink);
        self.fault.map_or(Ok(()), Err)
    }
}
