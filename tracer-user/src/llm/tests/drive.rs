//! From the bytes of a capture file, or from a made-up exchange, to the calls.

use std::{collections::HashMap, sync::Arc};

use crate::{
    capture::{self, ClosedBy, Connection, ConnectionKey, replay::Replay},
    content,
    exchange::{self, ExchangeId, Exchanges, Outcome},
    flow,
    llm::{Calls, Limits, LlmCall, Options, could_be_model_call},
    proto::{self, End, Headers, Piece, RequestHead, ResponseHead},
};

/// All calls of a capture file, in the order in which they end. With a `step`, every record comes in pieces of that many
/// bytes.
pub fn capture(file: &[u8], step: Option<usize>) -> Vec<LlmCall> {
    let mut replay = Replay::new(file).unwrap();
    let mut flows = flow::Flows::new(flow::Limits::default());
    let mut connections = HashMap::new();
    let mut calls = Calls::new(Limits::default(), Options::default());
    calls = calls.with_content(content::Limits::default(), content::POOL_BYTES);
    let (mut captured, mut flowed, mut paired, mut found) = (vec![], vec![], vec![], vec![]);
    while replay.next(&mut captured).unwrap() {}
    for event in captured {
        recut(event, step, &mut |event| flows.push(event, &mut |event| flowed.push(event)));
    }
    flows.finish(&mut |event| flowed.push(event));
    let mut pair = |event: exchange::Event<'_>| paired.push(event.into_owned());
    for event in flowed {
        match event {
            flow::Event::Open { key, connection, .. } => {
                let decoder = proto::Connection::new(proto::Limits::default(), connection.role, could_be_model_call);
                connections.insert(key, (decoder, Exchanges::new(key, connection)));
            }
            flow::Event::Bytes { at, key, direction, bytes } => {
                let (decoder, exchanges) = connections.get_mut(&key).unwrap();
                decoder.push(at, direction, &bytes, &mut |event| exchanges.push(event, &mut pair));
            }
            flow::Event::Gap { at, key, direction, lost } => {
                let (decoder, exchanges) = connections.get_mut(&key).unwrap();
                decoder.gap(at, direction, lost, &mut |event| exchanges.push(event, &mut pair));
            }
            flow::Event::Close { at, key, by } => {
                let (mut decoder, mut exchanges) = connections.remove(&key).unwrap();
                decoder.close(at, by, &mut |event| exchanges.push(event, &mut pair));
                exchanges.close(at, by, &mut pair);
            }
            flow::Event::Abandon { at, key } => {
                let (mut decoder, mut exchanges) = connections.remove(&key).unwrap();
                decoder.abandon(at, &mut |event| exchanges.push(event, &mut pair));
                exchanges.abandon(at, &mut pair);
            }
        }
    }
    paired.iter().for_each(|event| {
        calls.push(event, &mut found);
    });
    assert_eq!(calls.open(), 0);
    found.into_iter().map(|call| *call).collect()
}

pub fn recut(event: capture::Event, step: Option<usize>, push: &mut impl FnMut(capture::Event)) {
    let (capture::Event::Data { at, key, direction, offset, bytes }, Some(step)) = (&event, step) else {
        return push(event);
    };
    for start in (0..bytes.len()).step_by(step) {
        let bytes = bytes.slice(start..bytes.len().min(start + step));
        push(capture::Event::Data { at: *at, key: *key, direction: *direction, offset: offset + start as u64, bytes });
    }
}

/// One exchange in the making. Each step happens a millisecond after the one before it.
pub struct Exchange {
    pub id: ExchangeId,
    pub at: u64,
    pub connection: Connection,
    pub head: RequestHead,
    pub events: Vec<exchange::Event<'static>>,
}

pub fn headers(fields: &[(&str, &str)]) -> Headers {
    fields.iter().copied().collect()
}

impl Exchange {
    /// A POST to `https://{authority}{path}`.
    pub fn post(authority: &str, path: &str) -> Self {
        let head = RequestHead {
            method: "POST".into(),
            path: path.into(),
            authority: Some(authority.into()),
            ..RequestHead::default()
        };
        Self {
            id: ExchangeId { connection: ConnectionKey(7), index: 0 },
            at: 1_000_000,
            connection: Connection { tls: Some("openssl".into()), ..Connection::default() },
            head,
            events: Vec::new(),
        }
    }

    /// An exchange whose request's head was not captured; it has begun.
    pub fn without_head() -> Self {
        Self { head: RequestHead::default(), ..Self::post("", "") }.begin()
    }

    pub fn with_headers(mut self, fields: &[(&str, &str)]) -> Self {
        self.head.headers = headers(fields);
        self
    }

    fn next(&mut self) -> u64 {
        self.at += 1_000_000;
        self.at
    }

    pub fn begin(mut self) -> Self {
        let (id, at) = (self.id, self.next());
        let (connection, head) = (Arc::new(self.connection.clone()), Some(Arc::new(self.head.clone())));
        self.events.push(exchange::Event::Request { id, at, connection, head });
        self
    }

    pub fn request(mut self, body: &str) -> Self {
        self = if self.events.is_empty() { self.begin() } else { self };
        let (id, at) = (self.id, self.next());
        let piece = Piece::Bytes(body.as_bytes().to_vec().into());
        self.events.push(exchange::Event::RequestPiece { id, at, piece });
        self.events.push(exchange::Event::RequestEnd { id, at, end: End::Complete });
        self
    }

    pub fn response(mut self, status: u16, fields: &[(&str, &str)]) -> Self {
        let (id, at) = (self.id, self.next());
        let head = Arc::new(ResponseHead { status, headers: headers(fields), ..ResponseHead::default() });
        self.events.push(exchange::Event::Response { id, at, head });
        self
    }

    pub fn piece(mut self, piece: Piece<'static>) -> Self {
        let (id, at) = (self.id, self.next());
        self.events.push(exchange::Event::ResponsePiece { id, at, piece });
        self
    }

    pub fn body(self, body: &str) -> Self {
        self.piece(Piece::Bytes(body.as_bytes().to_vec().into()))
    }

    pub fn sse(self, event: &str, data: &str) -> Self {
        self.piece(Piece::Sse { event: event.as_bytes().to_vec().into(), data: data.as_bytes().to_vec().into() })
    }

    pub fn lost(mut self, request: bool, bytes: Option<u64>) -> Self {
        let (id, at) = (self.id, self.next());
        self.events.push(exchange::Event::Lost { id, at, request, bytes });
        self
    }

    /// Ends it, without reading it.
    pub fn ending(mut self) -> Self {
        let (id, at) = (self.id, self.next());
        self.events.push(exchange::Event::End { id, at, outcome: Outcome::Complete });
        self
    }

    /// Ends it; none or one call.
    pub fn end(self, outcome: Outcome) -> Option<LlmCall> {
        self.end_with(outcome, Options::default())
    }

    pub fn end_with(mut self, outcome: Outcome, options: Options) -> Option<LlmCall> {
        let (id, at) = (self.id, self.next());
        self.events.push(exchange::Event::End { id, at, outcome });
        let (mut calls, mut found) = (Calls::new(Limits::default(), options), Vec::new());
        self.events.iter().for_each(|event| {
            calls.push(event, &mut found);
        });
        assert!(found.len() <= 1 && calls.open() == 0);
        found.pop().map(|call| *call)
    }

    pub fn complete(self) -> Option<LlmCall> {
        self.end(Outcome::Complete)
    }

    pub fn cut(self, by: ClosedBy) -> Option<LlmCall> {
        let response_started = self.events.iter().any(|event| matches!(event, exchange::Event::Response { .. }));
        self.end(Outcome::Cut { by, response_started })
    }
}
