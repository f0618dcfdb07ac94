//! Feeds arbitrary bodies to the reader of each vector store. Nothing may panic, and how the bodies are cut must not
//! matter.

use std::{borrow::Cow, sync::Arc};

use super::{Limits, Queries, Retrieval};
use crate::{
    capture::{Connection, ConnectionKey},
    exchange::{Event, ExchangeId, Outcome},
    proto::{End, Piece, RequestHead, ResponseHead},
};

/// One query of each store, and of each shape of its answers.
const PATHS: [&str; 10] = [
    "/collections/rivers/points/search",
    "/collections/rivers/points/query/batch",
    "/collections/rivers/points/search/groups",
    "/v1/graphql",
    "/query",
    "/records/namespaces/n/search",
    "/api/v2/tenants/t/databases/d/collections/c/query",
    "/v2/vectordb/entities/search",
    "/rivers/_search",
    "/api/v1/collections/c/search",
];

/// The first byte chooses the store, the second the cuts; then the request's and the response's bodies, half and half.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let [path, step, bodies @ ..] = data else { return };
    let (request, response) = bodies.split_at(bodies.len() / 2);
    let path = PATHS[usize::from(*path) % PATHS.len()];
    let step = usize::from(*step % 64) + 1;
    let whole = retrievals(path, &[request], &[response]);
    let cut = retrievals(path, &request.chunks(step).collect::<Vec<_>>(), &response.chunks(step).collect::<Vec<_>>());
    assert!(whole == cut, "cutting changes the query");
}

fn retrievals(path: &str, request: &[&[u8]], response: &[&[u8]]) -> Vec<Retrieval> {
    let id = ExchangeId { connection: ConnectionKey(0), index: 0 };
    let head = RequestHead {
        method: "POST".into(),
        path: path.into(),
        authority: Some("localhost:6333".into()),
        ..RequestHead::default()
    };
    let (mut all, mut out) = (Queries::new(Limits::default()), Vec::new());
    let mut push = |event: Event| {
        all.push(&event, &mut out);
    };
    let bytes = |piece| Piece::Bytes(Cow::Borrowed(piece));
    push(Event::Request { id, at: 0, connection: Arc::new(Connection::default()), head: Some(Arc::new(head)) });
    for piece in request {
        push(Event::RequestPiece { id, at: 1, piece: bytes(piece) });
    }
    push(Event::RequestEnd { id, at: 2, end: End::Complete });
    push(Event::Response { id, at: 3, head: Arc::new(ResponseHead { status: 200, ..ResponseHead::default() }) });
    for piece in response {
        push(Event::ResponsePiece { id, at: 4, piece: bytes(piece) });
    }
    push(Event::End { id, at: 5, outcome: Outcome::Complete });
    assert_eq!(all.open(), 0);
    out
}
