//! Exchange: pairs each request with its response and says how the pair ended.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    capture::{ByConnection, ClosedBy, Connection, ConnectionKey},
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
    /// `at` is the time of the first request byte. `head` is `None` when capture joined in the middle.
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
/// requests.
#[derive(Debug, Default)]
pub struct Exchanges {
    connections: ByConnection<Open>,
}

#[derive(Debug)]
struct Open {
    connection: Arc<Connection>,
    exchanges: VecDeque<Exchange>,
    last_at: u64,
}

/// An exchange whose `End` has not been given.
#[derive(Debug)]
struct Exchange {
    index: u32,
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
        let open = Open { connection, exchanges: VecDeque::new(), last_at: 0 };
        self.connections.insert(key, open);
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
                open.exchanges.push_back(Exchange::new(stream));
            }
            proto::Event::RequestBody { at, stream, piece } => {
                open.last_at = at;
                out.push(Event::RequestPiece { id: id(stream), at, piece });
            }
            proto::Event::RequestEnd { at, stream, end } => {
                open.last_at = at;
                out.push(Event::RequestEnd { id: id(stream), at, end });
                if let Some(exchange) = open.exchange(stream) {
                    exchange.request_ended = true;
                }
                open.settle(key, stream, out);
            }
            proto::Event::ResponseHead { at, stream, head, first_byte_at } => {
                open.last_at = at;
                if open.exchange(stream).is_none() {
                    // The request was not captured.
                    let connection = open.connection.clone();
                    out.push(Event::Request { id: id(stream), at: first_byte_at, connection, head: None });
                    open.exchanges.push_back(Exchange { request_ended: true, ..Exchange::new(stream) });
                }
                if let Some(exchange) = open.exchange(stream) {
                    exchange.response_started = true;
                }
                out.push(Event::Response { id: id(stream), at: first_byte_at, head });
            }
            proto::Event::ResponseBody { at, stream, piece } => {
                open.last_at = at;
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
                if let Some(exchange) = open.exchange(stream) {
                    exchange.ended.get_or_insert((at, outcome));
                }
                open.settle(key, stream, out);
            }
            proto::Event::Lost { at, stream, request, bytes } => {
                open.last_at = at;
                if let Some(exchange) = open.exchange(stream) {
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
        for exchange in open.exchanges {
            let (at, outcome) = exchange.ended.unwrap_or_else(|| (at, cut(&exchange)));
            out.push(Event::End { id: ExchangeId { connection: key, index: exchange.index }, at, outcome });
        }
    }
}

impl Open {
    fn exchange(&mut self, stream: u32) -> Option<&mut Exchange> {
        self.exchanges.iter_mut().find(|exchange| exchange.index == stream)
    }

    /// Ends the exchange once both of its sides have ended.
    fn settle(&mut self, key: ConnectionKey, stream: u32, out: &mut Vec<Event>) {
        let Some(position) = self.exchanges.iter().position(|exchange| exchange.index == stream) else { return };
        let Exchange { request_ended: true, ended: Some((at, outcome)), .. } = self.exchanges[position] else {
            return;
        };
        self.exchanges.remove(position);
        out.push(Event::End { id: ExchangeId { connection: key, index: stream }, at, outcome });
    }
}

impl Exchange {
    fn new(index: u32) -> Self {
        Self { index, request_ended: false, response_started: false, ended: None }
    }
}

#[cfg(test)]
mod tests;
