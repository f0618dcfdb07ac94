//! One connection: tells its protocol and runs that protocol's decoders over both directions.

use bytes::Bytes;

use super::{Event, Limits, RequestHead, http1::Http1};
use crate::capture::{ClosedBy, Direction, Role};

/// What a connection speaks, as far as its bytes prove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Nothing is proven yet: it has just begun, or capture joined in the middle of a message.
    Undecided,
    Http1,
    /// Recognised by its preface; not decoded.
    Http2,
    /// Not HTTP. Its bytes are skipped.
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

    pub fn push(&mut self, at: u64, direction: Direction, bytes: Bytes, out: &mut Vec<Event>) {
        if direction == self.requests {
            self.http1.push_request(at, bytes, &self.limits, out);
        } else {
            self.http1.push_response(at, bytes, &self.limits, out);
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
