//! HTTP/1.x (RFC 9112), both directions of one connection, as an observer in between: it must follow the traffic of
//! two peers whom it cannot ask, so that it tolerates what they tolerate.

mod chunked;
mod head;
mod hunt;
mod message;

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use self::{
    head::{BodyFacts, Length},
    message::{Current, Direction, Progress, Skip, State, Taken},
};
use super::{
    End, Event, Fault, Headers, Limits, Out, Protocol, RequestHead, StreamIndex,
    body::Body,
    detect,
    message::Kind,
    sse::Likeness,
    view::View,
    websocket::{self, Subject, WebSocket},
};

/// A request whose response has not begun.
struct Pending {
    stream: StreamIndex,
    wanted: bool,
    /// Its response has no body, whatever the head says.
    head_only: bool,
    connect: bool,
    /// It asks for a WebSocket that is of interest.
    upgrade: Option<Arc<RequestHead>>,
}

pub(super) struct Http1 {
    wants: fn(&RequestHead) -> bool,
    requests: Direction,
    responses: Direction,
    pending: VecDeque<Pending>,
    next_stream: StreamIndex,
    /// Request bytes were lost, so that a response can have a request that was not seen.
    requests_lost: bool,
    protocol: Protocol,
    /// Bytes searched in vain, while nothing is proven.
    undecided: u64,
    /// What the connection was upgraded to.
    websocket: Option<Box<WebSocket>>,
    upgraded: bool,
}

impl Http1 {
    pub(super) fn new(wants: fn(&RequestHead) -> bool) -> Self {
        Self {
            wants,
            requests: Direction::new(Kind::Request),
            responses: Direction::new(Kind::Response),
            pending: VecDeque::new(),
            next_stream: 0,
            requests_lost: false,
            protocol: Protocol::Undecided,
            undecided: 0,
            websocket: None,
            upgraded: false,
        }
    }

    /// To HTTP/2: nothing more is decoded.
    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self.websocket.as_ref().map(|websocket| websocket.subject()) {
            None | Some(Subject::Unknown) => self.protocol,
            Some(Subject::Responses) => Protocol::WebSocket,
            Some(Subject::Realtime) => Protocol::Realtime,
            Some(Subject::Other) => Protocol::Other,
        }
    }

    pub(super) fn push_request(&mut self, at: u64, record: &Bytes, limits: &Limits, out: &mut Out<'_>) {
        let mut input = View::of(record);
        let mut record_start = true;
        if self.joins_websocket(&input) {
            self.join_websocket(at, limits, out);
        }
        if self.requests.is_hunting() && detect::request_line(&input) == Likeness::Yes {
            self.requests.end_message(at, End::Undecodable(Fault::Lost), State::Head, limits, out);
        }
        while !input.is_empty() {
            match &self.requests.state {
                State::Opaque => {
                    if let Some(websocket) = &mut self.websocket {
                        websocket.push_client(at, input, limits, out);
                    }
                    return;
                }
                State::Searching if !record_start || detect::request_line(&input) == Likeness::No => {
                    return self.search_in_vain(input.len(), limits);
                }
                State::Searching => self.requests.state = State::Head,
                State::Head => {
                    match self.requests.take_head(at, &mut input, limits, detect::request_line) {
                        Progress::Partial => return,
                        Progress::Head(bytes) => self.request_head(&bytes, limits, out),
                        Progress::Foreign => {
                            self.search_in_vain(input.len(), limits);
                            self.lose_requests(at, Fault::Malformed, limits, out);
                        }
                        Progress::TooLong => self.lose_requests(at, Fault::Limit, limits, out),
                    }
                    record_start = false;
                }
                State::Body(_) => {
                    match self.requests.take_body(at, &mut input, limits, out) {
                        Ok(Taken::Part) => {}
                        Ok(Taken::Whole) => {
                            self.requests.end_message(at, End::Complete, State::Head, limits, out);
                        }
                        Ok(Taken::Found(chunks)) => return self.push_request(at, &chunks, limits, out),
                        Err(fault) => self.lose_requests(at, fault, limits, out),
                    }
                    record_start = false;
                }
            }
        }
    }

    pub(super) fn push_response(&mut self, at: u64, record: &Bytes, limits: &Limits, out: &mut Out<'_>) {
        let mut input = View::of(record);
        let mut record_start = true;
        if self.responses.is_hunting() && detect::status_line(&input) == Likeness::Yes {
            self.responses.end_message(at, End::Undecodable(Fault::Lost), State::Head, limits, out);
        }
        while !input.is_empty() {
            match &self.responses.state {
                State::Opaque => {
                    if let Some(websocket) = &mut self.websocket {
                        websocket.push_server(at, input, limits, out);
                    }
                    return;
                }
                State::Searching if !record_start || detect::status_line(&input) == Likeness::No => {
                    return self.search_in_vain(input.len(), limits);
                }
                State::Searching => self.responses.state = State::Head,
                State::Head => {
                    match self.responses.take_head(at, &mut input, limits, detect::status_line) {
                        Progress::Partial => return,
                        Progress::Head(bytes) => self.response_head(&bytes, limits, out),
                        Progress::Foreign => {
                            self.search_in_vain(input.len(), limits);
                            self.lose_responses(at, Fault::Malformed, limits, out);
                        }
                        Progress::TooLong => self.lose_responses(at, Fault::Limit, limits, out),
                    }
                    record_start = false;
                }
                State::Body(_) => {
                    match self.responses.take_body(at, &mut input, limits, out) {
                        Ok(Taken::Part) => {}
                        Ok(Taken::Whole) => {
                            self.responses.end_message(at, End::Complete, State::Head, limits, out);
                        }
                        Ok(Taken::Found(chunks)) => return self.push_response(at, &chunks, limits, out),
                        Err(fault) => self.lose_responses(at, fault, limits, out),
                    }
                    record_start = false;
                }
            }
        }
    }

    pub(super) fn gap_request(&mut self, at: u64, lost: Option<u64>, limits: &Limits, out: &mut Out<'_>) {
        if let Some(websocket) = &mut self.websocket {
            return websocket.gap_client(at, lost, limits, out);
        }
        if matches!(self.requests.state, State::Opaque) {
            return;
        }
        match self.requests.skip(at, lost, limits, out) {
            Skip::Kept => {}
            Skip::MessageEnds => {
                self.requests.end_message(at, End::Complete, State::Head, limits, out);
            }
            Skip::FramingLost => self.lose_requests(at, Fault::Lost, limits, out),
        }
    }

    pub(super) fn gap_response(&mut self, at: u64, lost: Option<u64>, limits: &Limits, out: &mut Out<'_>) {
        if let Some(websocket) = &mut self.websocket {
            return websocket.gap_server(at, lost, limits, out);
        }
        if matches!(self.responses.state, State::Opaque) {
            return;
        }
        if let (State::Head, Some(Pending { stream, wanted: true, .. })) = (&self.responses.state, self.pending.front())
        {
            out(Event::Lost { at, stream: *stream, request: false, bytes: lost });
        }
        match self.responses.skip(at, lost, limits, out) {
            Skip::Kept => {}
            Skip::MessageEnds => {
                self.responses.end_message(at, End::Complete, State::Head, limits, out);
            }
            Skip::FramingLost => self.lose_responses(at, Fault::Lost, limits, out),
        }
    }

    /// The connection ended. `orderly` is false when it was reset or cut: then a body that lasts until the close is not
    /// known to be whole.
    pub(super) fn close(&mut self, at: u64, orderly: bool, limits: &Limits, out: &mut Out<'_>) {
        if let Some(websocket) = &mut self.websocket {
            websocket.close(at, out);
        }
        self.requests.end_message(at, End::Truncated, State::Opaque, limits, out);
        if orderly && matches!(self.responses.state, State::Body(message::Framing::UntilClose)) {
            let last = self.responses.last_byte_at;
            self.responses.end_message(last, End::Complete, State::Opaque, limits, out);
        }
        self.responses.end_message(at, End::Truncated, State::Opaque, limits, out);
    }

    fn request_head(&mut self, bytes: &Bytes, limits: &Limits, out: &mut Out<'_>) {
        let (first_byte_at, at) = (self.requests.first_byte_at, self.requests.last_byte_at);
        let (head, BodyFacts { length, codings }) = match head::request(bytes) {
            Ok(head) => head,
            Err(fault) => return self.lose_requests(at, fault, limits, out),
        };
        self.protocol = Protocol::Http1;
        // Pipelining aside, a client asks again once it has the answer: the lost bytes were those of the answers.
        if self.responses.is_hunting() {
            self.lose_responses(at, Fault::Lost, limits, out);
        }
        if matches!(self.responses.state, State::Searching) {
            self.abandon_pending(at, Fault::Lost, out);
        }
        if self.pending.len() >= limits.pending_requests {
            self.lose_responses(at, Fault::Limit, limits, out);
            self.abandon_pending(at, Fault::Limit, out);
        }
        let stream = self.next_stream;
        self.next_stream += 1;
        let wanted = (self.wants)(&head);
        let (head_only, connect) = (head.method == "HEAD", head.method == "CONNECT");
        let head = Arc::new(head);
        // An upgrade is no exchange of interest itself: those come behind it.
        let upgrade = (wanted && head.is_websocket()).then(|| head.clone());
        let wanted = wanted && upgrade.is_none();
        self.pending.push_back(Pending { stream, wanted, head_only, connect, upgrade });
        let body = wanted.then(|| Body::new(head.headers.get("content-type"), &codings, false, limits));
        if wanted {
            out(Event::RequestHead { at, first_byte_at, stream, head });
        }
        self.requests.current = Some(Current { stream, body });
        match length {
            // Without a length a request has no body.
            Ok(None | Some(Length::Known(0))) => {
                self.requests.end_message(at, End::Complete, State::Head, limits, out);
            }
            Ok(Some(Length::UntilClose)) => {
                self.lose_requests(at, Fault::Malformed, limits, out);
            }
            Ok(Some(length)) => self.requests.state = State::Body(length.into()),
            Err(fault) => self.lose_requests(at, fault, limits, out),
        }
    }

    fn response_head(&mut self, bytes: &Bytes, limits: &Limits, out: &mut Out<'_>) {
        let (first_byte_at, at) = (self.responses.first_byte_at, self.responses.last_byte_at);
        let (head, BodyFacts { length, codings }) = match head::response(bytes) {
            Ok(head) => head,
            Err(fault) => return self.lose_responses(at, fault, limits, out),
        };
        self.protocol = Protocol::Http1;
        let status = head.status;
        if matches!(status, 100..=199) && status != 101 {
            return;
        }
        let pending = self.pending.pop_front().unwrap_or_else(|| self.unseen_request());
        let Pending { stream, wanted, head_only, connect, upgrade } = pending;
        self.upgraded |=
            status == 101 && head.headers.get("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("h2c"));
        let tunnel = status == 101 || connect && matches!(status, 200..=299);
        let bodiless = head_only || tunnel || matches!(status, 204 | 304);
        let body = wanted.then(|| content_body(&head.headers, &codings, bodiless, limits));
        if let (101, Some(request)) = (status, upgrade) {
            let websocket = WebSocket::upgraded(request, &head, self.next_stream, limits);
            self.websocket = Some(Box::new(websocket));
        }
        if wanted {
            out(Event::ResponseHead { at, stream, head: Arc::new(head), first_byte_at });
        }
        self.responses.current = Some(Current { stream, body });
        if tunnel {
            self.responses.end_message(at, End::Complete, State::Opaque, limits, out);
            self.requests.end_message(at, End::Complete, State::Opaque, limits, out);
            return;
        }
        match length {
            _ if bodiless => {
                self.responses.end_message(at, End::Complete, State::Head, limits, out);
            }
            Ok(Some(Length::Known(0))) => {
                self.responses.end_message(at, End::Complete, State::Head, limits, out);
            }
            Ok(length) => self.responses.state = State::Body(length.unwrap_or(Length::UntilClose).into()),
            Err(fault) => self.lose_responses(at, fault, limits, out),
        }
    }

    /// A response without a request. It is of interest only where the request can have been missed; otherwise the
    /// server spoke unasked (408 on an idle connection).
    fn unseen_request(&mut self) -> Pending {
        let stream = self.next_stream;
        self.next_stream += u32::from(self.requests_lost);
        Pending { stream, wanted: self.requests_lost, head_only: false, connect: false, upgrade: None }
    }

    fn lose_requests(&mut self, at: u64, fault: Fault, limits: &Limits, out: &mut Out<'_>) {
        if matches!(self.requests.state, State::Opaque) {
            return;
        }
        self.requests_lost = true;
        self.requests.end_message(at, End::Undecodable(fault), State::Searching, limits, out);
    }

    fn lose_responses(&mut self, at: u64, fault: Fault, limits: &Limits, out: &mut Out<'_>) {
        if matches!(self.responses.state, State::Opaque) {
            return;
        }
        self.responses.end_message(at, End::Undecodable(fault), State::Searching, limits, out);
    }

    /// The responses to all requests so far are lost.
    fn abandon_pending(&mut self, at: u64, fault: Fault, out: &mut Out<'_>) {
        for Pending { stream, wanted, .. } in self.pending.drain(..) {
            if wanted {
                out(Event::ResponseEnd { at, stream, end: End::Undecodable(fault) });
            }
        }
    }

    /// Whether a record of the client shows that the connection was upgraded unseen.
    fn joins_websocket(&self, record: &[u8]) -> bool {
        let possible = match self.protocol {
            Protocol::Undecided => true,
            _ => self.pending.back().is_some_and(|pending| pending.upgrade.is_some()),
        };
        possible && self.requests.is_between() && websocket::begins(record)
    }

    fn join_websocket(&mut self, at: u64, limits: &Limits, out: &mut Out<'_>) {
        let request = self.pending.pop_back().and_then(|pending| pending.upgrade);
        self.abandon_pending(at, Fault::Lost, out);
        self.responses.end_message(at, End::Undecodable(Fault::Lost), State::Opaque, limits, out);
        self.requests.end_message(at, End::Undecodable(Fault::Lost), State::Opaque, limits, out);
        self.websocket = Some(Box::new(WebSocket::joined(request, self.next_stream, limits)));
    }

    fn search_in_vain(&mut self, bytes: usize, limits: &Limits) {
        if self.protocol == Protocol::Undecided {
            self.undecided += bytes as u64;
            if self.undecided > limits.undecided_bytes {
                self.give_up(Protocol::Other);
            }
        }
    }

    fn give_up(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.requests.forget_head();
        self.responses.forget_head();
        self.requests.state = State::Opaque;
        self.responses.state = State::Opaque;
    }
}

fn content_body(headers: &Headers, codings: &[super::body::Coding], bodiless: bool, limits: &Limits) -> Body {
    // A response without a body can still announce what the body would be.
    let codings = if bodiless { &[] } else { codings };
    Body::new(headers.get("content-type"), codings, true, limits)
}
