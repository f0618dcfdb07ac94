//! One connection: tells its protocol and runs that protocol's decoders over both directions.

use bytes::Bytes;

use super::{Event, Limits, RequestHead, detect, http1::Http1, sse::Likeness};
use crate::capture::{ClosedBy, Direction, Role};

/// What a connection speaks, as far as its bytes prove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Nothing is proven yet: it has just begun, or capture joined in the middle of a message.
    Undecided,
    Http1,
    /// Recognised by its preface; not decoded.
    Http2,
    /// Upgraded to a WebSocket that carries a model API.
    WebSocket,
    /// Upgraded to a WebSocket that carries a realtime API (audio in and out); not decoded.
    Realtime,
    /// Neither HTTP nor a WebSocket that carries a known API. Its bytes are skipped.
    Other,
}

/// The decoders of one connection. Memory is bounded by the [`Limits`], whatever the traffic.
pub struct Connection {
    limits: Limits,
    /// The direction in which requests travel.
    requests: Direction,
    http1: Http1,
}

impl Connection {
    /// `wants` tells from a request's head whether its exchange is of interest: the bodies of others are counted, not
    /// decoded, and nothing of them is reported.
    pub fn new(limits: Limits, role: Role, wants: fn(&RequestHead) -> bool) -> Self {
        let requests = match role {
            Role::Client => Direction::Send,
            Role::Server => Direction::Receive,
        };
        Self { limits, requests, http1: Http1::new(wants) }
    }

    pub fn protocol(&self) -> Protocol {
        self.http1.protocol()
    }

    /// Which end the traced process is: as declared, unless the bytes prove the contrary.
    pub fn role(&self) -> Role {
        match self.requests {
            Direction::Send => Role::Client,
            Direction::Receive => Role::Server,
        }
    }

    pub fn push(&mut self, at: u64, direction: Direction, bytes: Bytes, out: &mut Vec<Event>) {
        if self.protocol() == Protocol::Undecided {
            self.learn_role(direction, &bytes);
        }
        if direction == self.requests {
            self.http1.push_request(at, bytes, &self.limits, out);
        } else {
            self.http1.push_response(at, bytes, &self.limits, out);
        }
    }

    /// Sources that do not know the role say client.
    fn learn_role(&mut self, direction: Direction, record: &[u8]) {
        let contrary =
            if direction == self.requests { detect::status_line(record) } else { detect::request_line(record) };
        if contrary == Likeness::Yes {
            self.requests = match self.requests {
                Direction::Send => Direction::Receive,
                Direction::Receive => Direction::Send,
            };
        }
    }

    /// `lost` bytes are missing here; `None` when their number is unknown.
    pub fn gap(&mut self, at: u64, direction: Direction, lost: Option<u64>, out: &mut Vec<Event>) {
        if direction == self.requests {
            self.http1.gap_request(at, lost, &self.limits, out);
        } else {
            self.http1.gap_response(at, lost, &self.limits, out);
        }
    }

    /// The connection ended; a body that lasts until then is whole, unless it was cut off.
    pub fn close(&mut self, at: u64, by: ClosedBy, out: &mut Vec<Event>) {
        let orderly = !matches!(by, ClosedBy::Reset | ClosedBy::Exit);
        self.http1.close(at, orderly, &self.limits, out);
    }

    /// llmtap gives the connection up while it lives: what is open stays unfinished.
    pub fn abandon(&mut self, at: u64, out: &mut Vec<Event>) {
        self.http1.close(at, false, &self.limits, out);
    }
}
