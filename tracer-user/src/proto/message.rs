//! What the message framings share: which message it is, and how its body becomes events.

use super::{Event, Out, StreamIndex, body::Item};

/// Which of the two messages of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

/// Turns what a body yields into events of its stream.
pub(super) fn emitter(kind: Kind, at: u64, stream: StreamIndex, out: &mut Out<'_>) -> impl FnMut(Item<'_>) {
    move |item: Item<'_>| {
        out(match (item, kind) {
            (Item::Piece(piece), Kind::Request) => Event::RequestBody { at, stream, piece },
            (Item::Piece(piece), Kind::Response) => Event::ResponseBody { at, stream, piece },
            (Item::Dropped(bytes), _) => Event::Lost { at, stream, request: kind == Kind::Request, bytes: Some(bytes) },
        });
    }
}
