//! Exchange: pairs each request with its response and says how the pair ended.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use crate::{
    capture::{ClosedBy, Connection, ConnectionKey},
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
pub enum Event<'a> {
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
        piece: Piece<'a>,
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
        piece: Piece<'a>,
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

impl Event<'_> {
    /// The same, to be kept.
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Self::RequestPiece { id, at, piece } => Event::RequestPiece { id, at, piece: piece.into_owned() },
            Self::ResponsePiece { id, at, piece } => Event::ResponsePiece { id, at, piece: piece.into_owned() },
            Self::Request { id, at, connection, head } => Event::Request { id, at, connection, head },
            Self::RequestEnd { id, at, end } => Event::RequestEnd { id, at, end },
            Self::Response { id, at, head } => Event::Response { id, at, head },
            Self::Lost { id, at, request, bytes } => Event::Lost { id, at, request, bytes },
            Self::End { id, at, outcome } => Event::End { id, at, outcome },
        }
    }

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

/// Pairs requests with responses on one connection. What it holds is bounded by the decoders' cap of pending requests or
/// open streams.
#[derive(Debug)]
pub struct Exchanges {
    key: ConnectionKey,
    connection: Arc<Connection>,
    /// By their index: HTTP/2 has hundreds open at once.
    open: BTreeMap<u32, Exchange>,
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
    pub fn new(key: ConnectionKey, connection: Arc<Connection>) -> Self {
        Self { key, connection, open: BTreeMap::new() }
    }

    /// Takes the decoders' next event.
    pub fn push(&mut self, event: proto::Event<'_>, sink: &mut impl FnMut(Event<'_>)) {
        match event {
            proto::Event::Role(role) if self.connection.role == role => {}
            proto::Event::Role(role) => Arc::make_mut(&mut self.connection).role = role,
            proto::Event::RequestHead { first_byte_at, stream, head, .. } => {
                let connection = self.connection.clone();
                sink(Event::Request { id: self.id(stream), at: first_byte_at, connection, head: Some(head) });
                self.open.insert(stream, Exchange::default());
            }
            proto::Event::RequestBody { at, stream, piece } => {
                self.seen(stream, at, false, sink);
                sink(Event::RequestPiece { id: self.id(stream), at, piece });
            }
            proto::Event::RequestEnd { at, stream, end } => {
                let Some(exchange) = self.open.get_mut(&stream) else { return };
                exchange.request_ended = true;
                sink(Event::RequestEnd { id: self.id(stream), at, end });
                self.settle(stream, sink);
            }
            proto::Event::ResponseHead { stream, head, first_byte_at, .. } => {
                self.seen(stream, first_byte_at, true, sink);
                sink(Event::Response { id: self.id(stream), at: first_byte_at, head });
            }
            proto::Event::ResponseBody { at, stream, piece } => {
                self.seen(stream, at, true, sink);
                sink(Event::ResponsePiece { id: self.id(stream), at, piece });
            }
            proto::Event::ResponseEnd { at, stream, end } => {
                let outcome = match end {
                    End::Complete => Outcome::Complete,
                    // The connection's end follows and says by whom.
                    End::Truncated => return,
                    End::Reset { by_peer } => Outcome::Reset { by_peer },
                    End::Undecodable(fault) => Outcome::Undecodable(fault),
                };
                if let Some(exchange) = self.open.get_mut(&stream) {
                    exchange.ended.get_or_insert((at, outcome));
                }
                self.settle(stream, sink);
            }
            proto::Event::Lost { at, stream, request, bytes } => {
                if let Some(exchange) = self.open.get_mut(&stream) {
                    exchange.response_started |= !request;
                    sink(Event::Lost { id: self.id(stream), at, request, bytes });
                }
            }
        }
    }

    /// The connection ended: after the decoders' own close, so that what it completes is complete.
    pub fn close(self, at: u64, by: ClosedBy, sink: &mut impl FnMut(Event<'_>)) {
        self.end_all(at, |exchange| Outcome::Cut { by, response_started: exchange.response_started }, sink);
    }

    /// llmtap gave the connection up: what is open stays unfinished.
    pub fn abandon(self, at: u64, sink: &mut impl FnMut(Event<'_>)) {
        self.end_all(at, |_| Outcome::Unfinished, sink);
    }

    fn end_all(self, at: u64, cut: impl Fn(&Exchange) -> Outcome, sink: &mut impl FnMut(Event<'_>)) {
        for (index, exchange) in self.open {
            let (at, outcome) = exchange.ended.unwrap_or_else(|| (at, cut(&exchange)));
            sink(Event::End { id: ExchangeId { connection: self.key, index }, at, outcome });
        }
    }

    fn id(&self, stream: u32) -> ExchangeId {
        ExchangeId { connection: self.key, index: stream }
    }

    /// A part of the exchange was seen, of the response if `response`. Where the request's head was not captured it begins
    /// the exchange.
    fn seen(&mut self, stream: u32, at: u64, response: bool, sink: &mut impl FnMut(Event<'_>)) {
        let exchange = match self.open.entry(stream) {
            Entry::Occupied(exchange) => exchange.into_mut(),
            Entry::Vacant(place) => {
                let id = ExchangeId { connection: self.key, index: stream };
                sink(Event::Request { id, at, connection: self.connection.clone(), head: None });
                place.insert(Exchange { request_ended: response, ..Exchange::default() })
            }
        };
        exchange.response_started |= response;
    }

    /// Ends the exchange once both of its sides have ended.
    fn settle(&mut self, stream: u32, sink: &mut impl FnMut(Event<'_>)) {
        let Some(Exchange { request_ended: true, ended: Some((at, outcome)), .. }) = self.open.get(&stream) else {
            return;
        };
        let (at, outcome) = (*at, *outcome);
        self.open.remove(&stream);
        sink(Event::End { id: self.id(stream), at, outcome });
    }
}

#[cfg(test)]
mod tests;
