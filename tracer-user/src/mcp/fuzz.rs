//! Feeds arbitrary bodies to the reader of MCP. Nothing may panic, and how the bodies are cut must not matter.

use std::{borrow::Cow, sync::Arc};

use super::{Limits, Request, Requests};
use crate::{
    capture::{Connection, ConnectionKey},
    exchange::{Event, ExchangeId, Outcome},
    proto::{End, Piece, RequestHead, ResponseHead},
};

/// The first byte chooses the transport, the second the cuts; then the request's and the response's bodies, half and
/// half. A response with events has one a line.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let [mode, step, bodies @ ..] = data else { return };
    let (request, response) = bodies.split_at(bodies.len() / 2);
    let step = usize::from(*step % 64) + 1;
    let whole = requests(*mode, &[request], &[response]);
    let cut = requests(*mode, &request.chunks(step).collect::<Vec<_>>(), &response.chunks(step).collect::<Vec<_>>());
    assert!(whole == cut, "cutting changes the requests");
}

fn requests(mode: u8, request: &[&[u8]], response: &[&[u8]]) -> Vec<Request> {
    let fields: &[(&str, &str)] = match mode % 3 {
        0 => &[("accept", "application/json, text/event-stream")],
        1 => &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "=?base64?YQ==?=")],
        _ => &[],
    };
    let post = RequestHead {
        method: "POST".into(),
        path: "/mcp".into(),
        authority: Some("localhost:1".into()),
        headers: fields.iter().copied().collect(),
        ..RequestHead::default()
    };
    let accept = [("accept", "text/event-stream")].into_iter().collect();
    let get = RequestHead { method: "GET".into(), headers: accept, ..post.clone() };
    let id = |index| ExchangeId { connection: ConnectionKey(0), index };
    let (mut all, mut out) = (Requests::new(Limits::default()), Vec::new());
    let connection = Arc::new(Connection::default());
    let mut push = |event: Event| {
        all.push(&event, &mut out);
    };
    let answer = Arc::new(ResponseHead { status: 200, ..ResponseHead::default() });
    push(Event::Request { id: id(0), at: 0, connection: connection.clone(), head: Some(Arc::new(get)) });
    push(Event::RequestEnd { id: id(0), at: 0, end: End::Complete });
    push(Event::Response { id: id(0), at: 0, head: answer.clone() });
    push(Event::Request { id: id(1), at: 1, connection, head: Some(Arc::new(post)) });
    for piece in request {
        push(Event::RequestPiece { id: id(1), at: 2, piece: Piece::Bytes(Cow::Borrowed(piece)) });
    }
    let end = if mode & 32 == 0 { End::Complete } else { End::Truncated };
    push(Event::RequestEnd { id: id(1), at: 3, end });
    push(Event::Response { id: id(1), at: 4, head: answer });
    let stream = if mode & 64 == 0 { id(1) } else { id(0) };
    if mode & 128 == 0 {
        let body = response.concat();
        for line in body.split(|byte| *byte == b'\n') {
            let piece = Piece::Sse { event: Cow::default(), data: Cow::Borrowed(line) };
            push(Event::ResponsePiece { id: stream, at: 5, piece });
        }
    } else {
        for piece in response {
            push(Event::ResponsePiece { id: stream, at: 5, piece: Piece::Bytes(Cow::Borrowed(piece)) });
        }
    }
    push(Event::End { id: id(1), at: 6, outcome: Outcome::Complete });
    push(Event::End { id: id(0), at: 7, outcome: Outcome::Complete });
    all.finish(&mut out);
    assert_eq!(all.open(), 0);
    out
}
