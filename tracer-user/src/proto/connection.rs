//! One connection: tells its protocol and runs that protocol's decoders over both directions.

use bytes::Bytes;

use super::{
    Event, Limits, Out, RequestHead, detect,
    http1::Http1,
    http2::{Counters, Http2},
    sse::Likeness,
};
use crate::capture::{ClosedBy, Direction, Role};

/// What a connection speaks, as far as its bytes prove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Nothing is proven yet: it has just begun, or capture joined in the middle of a message.
    Undecided,
    Http1,
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
    wants: fn(&RequestHead) -> bool,
    http1: Http1,
    /// There while HTTP/2 is possible: the first of the two decoders that can prove its protocol stays.
    http2: Option<Box<Http2>>,
}

impl Connection {
    /// `wants` tells from a request's head whether its exchange is of interest: the bodies of others are counted, not
    /// decoded, and nothing of them is reported.
    pub fn new(limits: Limits, role: Role, wants: fn(&RequestHead) -> bool) -> Self {
        let requests = match role {
            Role::Client => Direction::Send,
            Role::Server => Direction::Receive,
        };
        Self { limits, requests, wants, http1: Http1::new(wants), http2: None }
    }

    pub fn protocol(&self) -> Protocol {
        match &self.http2 {
            Some(http2) if http2.is_proven() => Protocol::Http2,
            _ => self.http1.protocol(),
        }
    }

    /// The peers went on with HTTP/2 in the middle of HTTP/1.1 (`Upgrade: h2c`), which RFC 9113 has given up. It is not
    /// decoded.
    pub fn is_upgraded(&self) -> bool {
        self.http1.is_upgraded()
    }

    /// What was seen of HTTP/2 and is not told.
    pub fn http2_counters(&self) -> Counters {
        self.http2.as_ref().map_or_else(Counters::default, |http2| http2.counters())
    }

    pub fn push(&mut self, at: u64, direction: Direction, bytes: &Bytes, out: &mut Out<'_>) {
        match self.protocol() {
            Protocol::Http2 => self.push_http2(at, direction, bytes, out),
            Protocol::Undecided => {
                self.learn_role(direction, bytes, out);
                self.push_http1(at, direction, bytes, out);
                match self.http1.protocol() {
                    Protocol::Undecided => self.push_http2(at, direction, bytes, out),
                    _ => self.http2 = None,
                }
            }
            Protocol::Http1 | Protocol::WebSocket | Protocol::Realtime | Protocol::Other => {
                self.push_http1(at, direction, bytes, out);
            }
        }
    }

    fn push_http1(&mut self, at: u64, direction: Direction, bytes: &Bytes, out: &mut Out<'_>) {
        if direction == self.requests {
            self.http1.push_request(at, bytes, &self.limits, out);
        } else {
            self.http1.push_response(at, bytes, &self.limits, out);
        }
    }

    fn push_http2(&mut self, at: u64, direction: Direction, bytes: &Bytes, out: &mut Out<'_>) {
        let begin = || Box::new(Http2::new(self.wants, self.requests, &self.limits));
        self.http2.get_or_insert_with(begin).push(at, direction, bytes, &self.limits, out);
    }

    /// Sources that do not know the role say client.
    fn learn_role(&mut self, direction: Direction, record: &[u8], out: &mut Out<'_>) {
        let contrary =
            if direction == self.requests { detect::status_line(record) } else { detect::request_line(record) };
        if contrary == Likeness::Yes {
            self.requests = match self.requests {
                Direction::Send => Direction::Receive,
                Direction::Receive => Direction::Send,
            };
            out(Event::Role(Role::requesting(self.requests)));
        }
    }

    /// `lost` bytes are missing here; `None` when their number is unknown.
    pub fn gap(&mut self, at: u64, direction: Direction, lost: Option<u64>, out: &mut Out<'_>) {
        if self.protocol() == Protocol::Undecided && self.http2.is_none() {
            // What comes behind the gap is not the connection's beginning.
            self.http2 = Some(Box::new(Http2::new(self.wants, self.requests, &self.limits)));
        }
        if let Some(http2) = &mut self.http2 {
            http2.gap(at, direction, lost, &self.limits, out);
        }
        if self.protocol() == Protocol::Http2 {
            return;
        }
        if direction == self.requests {
            self.http1.gap_request(at, lost, &self.limits, out);
        } else {
            self.http1.gap_response(at, lost, &self.limits, out);
        }
    }

    /// The connection ended; a body that lasts until then is whole, unless it was cut off.
    pub fn close(&mut self, at: u64, by: ClosedBy, out: &mut Out<'_>) {
        self.end(at, !matches!(by, ClosedBy::Reset | ClosedBy::Exit), out);
    }

    /// llmtap gives the connection up while it lives: what is open stays unfinished.
    pub fn abandon(&mut self, at: u64, out: &mut Out<'_>) {
        self.end(at, false, out);
    }

    fn end(&mut self, at: u64, orderly: bool, out: &mut Out<'_>) {
        match (self.protocol(), &mut self.http2) {
            (Protocol::Http2, Some(http2)) => http2.close(at, &self.limits, out),
            _ => self.http1.close(at, orderly, &self.limits, out),
        }
    }
}
