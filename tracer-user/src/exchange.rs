//! Exchange: pairs each request with its response and says how the pair ended.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use crate::{
    capture::{ByConnection, ClosedBy, Connection, ConnectionKey, Role},
    proto::{self, End, Piece, RequestHead, ResponseHead},
};

/// One request and its response on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId {
    pub connection: ConnectionKey,
    /// 0-based number on its connection, in the order of the requests.
    pub index: u32,
}

/// How an exchange ended. It speaks of the response: how the request ended is said by its own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The response is whole.
    Complete,
    /// The connection ended first; `response_started` tells whether any response byte was seen.
    Cut { by: ClosedBy, response_started: bool },
    /// The HTTP/2 stream was reset.
    Reset { by_peer: bool },
    /// The response stopped being decodable; what was known until then stands.
    Undecodable(crate::proto::Fault),
    /// llmtap stopped, or evicted the connection, while the exchange was open.
    Unfinished,
}

/// In the order: `Request`, `RequestPiece`*, `RequestEnd`, `Response`, `ResponsePiece`*, `End`. A response may start before
/// the request's end; parts that were not captured are missing; `End` always comes, exactly once.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `at` is the time of the first request byte. `head` is `None` when it was not captured: what is first seen of the
    /// exchange begins it.
    Request {
        id: ExchangeId,
        at: u64,
        connection: Arc<Connection>,
        head: Option<Arc<RequestHead>>,
    },
    RequestPiece {
        id: ExchangeId,
        at: u64,
        piece: Piece,
    },
    /// `at` is the time of the last request byte.
    RequestEnd {
        id: ExchangeId,
        at: u64,
        end: End,
    },
    /// `at` is the time of the first byte of the final response.
    Response {
        id: ExchangeId,
        at: u64,
        head: Arc<ResponseHead>,
    },
    ResponsePiece {
        id: ExchangeId,
        at: u64,
        piece: Piece,
    },
    /// `None` = an unknown number of bytes.
    Lost {
        id: ExchangeId,
        at: u64,
        request: bool,
        bytes: Option<u64>,
    },
    /// `at` is the time of the last response byte, or of what ended the exchange.
    End {
        id: ExchangeId,
        at: u64,
        outcome: Outcome,
    },
}

impl Event {
    /// The exchange that it is about.
    pub fn id(&self) -> ExchangeId {
        match self {
            Self::Request { id, .. }
            | Self::RequestPiece { id, .. }
            | Self::RequestEnd { id, .. }
            | Self::Response { id, .. }
            | Self::ResponsePiece { id, .. }
            | Self::Lost { id, .. }
            | Self::End { id, .. } => *id,
        }
    }
}

/// Pairs requests with responses on every connection. What it holds for each is bounded by the decoders' cap of pending
/// requests or open streams.
#[derive(Debug, Default)]
pub struct Exchanges {
    connections: ByConnection<Open>,
}

#[derive(Debug)]
struct Open {
    connection: Arc<Connection>,
    /// By their index: HTTP/2 has hundreds open at once.
    exchanges: BTreeMap<u32, Exchange>,
    last_at: u64,
}

/// An exchange whose `End` has not been given.
#[derive(Debug, Default)]
struct Exchange {
    request_ended: bool,
    response_started: bool,
    /// The response's end: it waits for the request's.
    ended: Option<(u64, Outcome)>,
}

impl Exchanges {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn open(&mut self, key: ConnectionKey, connection: Arc<Connection>) {
        let open = Open { connection, exchanges: BTreeMap::new(), last_at: 0 };
        self.connections.insert(key, open);
    }

    /// Takes what the bytes prove of the connection `key`, before the events that they give: sources that do not know which
    /// end the traced process is say client.
    pub fn learn_role(&mut self, key: ConnectionKey, role: Role) {
        if let Some(open) = self.connections.get_mut(&key)
            && open.connection.role != role
        {
            Arc::make_mut(&mut open.connection).role = role;
        }
    }

    /// Takes the decoders' event of the connection `key`. Events of a connection that was not opened are ignored.
    pub fn push(&mut self, key: ConnectionKey, event: proto::Event, out: &mut Vec<Event>) {
        let Some(open) = self.connections.get_mut(&key) else { return };
        let id = |stream| ExchangeId { connection: key, index: stream };
        match event {
            proto::Event::RequestHead { at, first_byte_at, stream, head } => {
                open.last_at = at;
                let connection = open.connection.clone();
                out.push(Event::Request { id: id(stream), at: first_byte_at, connection, head: Some(head) });
                open.exchanges.insert(stream, Exchange::default());
            }
            proto::Event::RequestBody { at, stream, piece } => {
                open.last_at = at;
                open.seen(key, stream, at, false, out);
                out.push(Event::RequestPiece { id: id(stream), at, piece });
            }
            proto::Event::RequestEnd { at, stream, end } => {
                open.last_at = at;
                let Some(exchange) = open.exchanges.get_mut(&stream) else { return };
                exchange.request_ended = true;
                out.push(Event::RequestEnd { id: id(stream), at, end });
                open.settle(key, stream, out);
            }
            proto::Event::ResponseHead { at, stream, head, first_byte_at } => {
                open.last_at = at;
                open.seen(key, stream, first_byte_at, true, out);
                out.push(Event::Response { id: id(stream), at: first_byte_at, head });
            }
            proto::Event::ResponseBody { at, stream, piece } => {
                open.last_at = at;
                open.seen(key, stream, at, true, out);
                out.push(Event::ResponsePiece { id: id(stream), at, piece });
            }
            proto::Event::ResponseEnd { at, stream, end } => {
                open.last_at = at;
                let outcome = match end {
                    End::Complete => Outcome::Complete,
                    // The connection's end follows and says by whom.
                    End::Truncated => return,
                    End::Reset { by_peer } => Outcome::Reset { by_peer },
                    End::Undecodable(fault) => Outcome::Undecodable(fault),
                };
                if let Some(exchange) = open.exchanges.get_mut(&stream) {
                    exchange.ended.get_or_insert((at, outcome));
                }
                open.settle(key, stream, out);
            }
            proto::Event::Lost { at, stream, request, bytes } => {
                open.last_at = at;
                if let Some(exchange) = open.exchanges.get_mut(&stream) {
                    exchange.response_started |= !request;
                    out.push(Event::Lost { id: id(stream), at, request, bytes });
                }
            }
        }
    }

    /// The connection ended: after the decoders' own close, so that what it completes is complete.
    pub fn close(&mut self, key: ConnectionKey, at: u64, by: ClosedBy, out: &mut Vec<Event>) {
        self.end_all(key, at, |exchange| Outcome::Cut { by, response_started: exchange.response_started }, out);
    }

    /// llmtap gave the connection up.
    pub fn abandon(&mut self, key: ConnectionKey, at: u64, out: &mut Vec<Event>) {
        self.end_all(key, at, |_| Outcome::Unfinished, out);
    }

    /// llmtap stops: what is open stays unfinished.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        let mut keys: Vec<_> = self.connections.iter().map(|(key, open)| (*key, open.last_at)).collect();
        keys.sort_unstable();
        for (key, at) in keys {
            self.abandon(key, at, out);
        }
    }

    fn end_all(&mut self, key: ConnectionKey, at: u64, cut: impl Fn(&Exchange) -> Outcome, out: &mut Vec<Event>) {
        let Some(open) = self.connections.remove(&key) else { return };
        for (index, exchange) in open.exchanges {
            let (at, outcome) = exchange.ended.unwrap_or_else(|| (at, cut(&exchange)));
            out.push(Event::End { id: ExchangeId { connection: key, index }, at, outcome });
        }
    }
}

impl Open {
    /// A part of the exchange was seen, of the response if `response`. Where the request's head was not captured it begins
    /// the exchange.
    fn seen(&mut self, key: ConnectionKey, stream: u32, at: u64, response: bool, out: &mut Vec<Event>) {
        let exchange = match self.exchanges.entry(stream) {
            Entry::Occupied(exchange) => exchange.into_mut(),
            Entry::Vacant(place) => {
                let id = ExchangeId { connection: key, index: stream };
                out.push(Event::Request { id, at, connection: self.connection.clone(), head: None });
                place.insert(Exchange { request_ended: response, ..Exchange::default() })
            }
        };
        exchange.response_started |= response;
    }

    /// Ends the exchange once both of its sides have ended.
    fn settle(&mut self, key: ConnectionKey, stream: u32, out: &mut Vec<Event>) {
        let Some(Exchange { request_ended: true, ended: Some((at, outcome)), .. }) = self.exchanges.get(&stream) else {
            return;
        };
        let (at, outcome) = (*at, *outcome);
        self.exchanges.remove(&stream);
        out.push(Event::End { id: ExchangeId { connection: key, index: stream }, at, outcome });
    }
}

#[cfg(test)]
mod tests;
