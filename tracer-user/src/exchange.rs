//! Exchange: pairs each request with its response and says how the pair ended.

use std::sync::Arc;

use crate::{
    capture::{ClosedBy, Connection, ConnectionKey},
    proto::{End, Piece, RequestHead, ResponseHead},
};

/// One request and its response on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId {
    pub connection: ConnectionKey,
    /// 0-based number on its connection, in the order of the requests.
    pub index: u32,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Request and response are whole.
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
