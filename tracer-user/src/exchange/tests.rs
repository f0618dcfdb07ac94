use bytes::Bytes;

use super::*;
use crate::{
    capture::{Direction, Role},
    proto::{Fault, Limits},
};

const KEY: ConnectionKey = ConnectionKey(3);
const POST: &str = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes";

/// Real decoders before the exchanges, so that the pair is tested as it works.
struct Line {
    decoders: proto::Connection,
    exchanges: Exchanges,
    at: u64,
    events: Vec<Event<'static>>,
}

impl Line {
    fn new() -> Self {
        let exchanges = Exchanges::new(KEY, Arc::new(Connection::default()));
        let decoders = proto::Connection::new(Limits::default(), Role::Client, |head| head.path != "/unwanted");
        Self { decoders, exchanges, at: 0, events: Vec::new() }
    }

    fn step(mut self, step: impl FnOnce(&mut proto::Connection, u64, &mut proto::Out<'_>)) -> Self {
        self.at += 1;
        let Self { decoders, exchanges, at, events } = &mut self;
        step(decoders, *at, &mut |event| exchanges.push(event, &mut |event| events.push(event.into_owned())));
        self
    }

    fn client(self, bytes: &str) -> Self {
        let bytes = Bytes::copy_from_slice(bytes.as_bytes());
        self.step(|decoders, at, out| decoders.push(at, Direction::Send, &bytes, out))
    }

    fn server(self, bytes: &str) -> Self {
        let bytes = Bytes::copy_from_slice(bytes.as_bytes());
        self.step(|decoders, at, out| decoders.push(at, Direction::Receive, &bytes, out))
    }

    fn gap(self, direction: Direction, lost: u64) -> Self {
        self.step(|decoders, at, out| decoders.gap(at, direction, Some(lost), out))
    }

    fn close(self, by: ClosedBy) -> Vec<String> {
        let Self { exchanges, at, mut events, .. } = self.step(|decoders, at, out| decoders.close(at, by, out));
        exchanges.close(at, by, &mut |event| events.push(event.into_owned()));
        told(&events)
    }

    fn abandon(self) -> Vec<String> {
        let Self { exchanges, at, mut events, .. } = self.step(|decoders, at, out| decoders.abandon(at, out));
        exchanges.abandon(at, &mut |event| events.push(event.into_owned()));
        told(&events)
    }

    fn told(&self) -> Vec<String> {
        told(&self.events)
    }
}

fn told(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| match event {
        Event::Request { id, at, head, .. } => {
            format!("{} {at} request {}", id.index, head.as_ref().map_or("unseen", |head| &head.method))
        }
        Event::RequestPiece { id, at, .. } => format!("{} {at} request piece", id.index),
        Event::RequestEnd { id, at, end } => format!("{} {at} request end {end:?}", id.index),
        Event::Response { id, at, head } => format!("{} {at} response {}", id.index, head.status),
        Event::ResponsePiece { id, at, .. } => format!("{} {at} response piece", id.index),
        Event::Lost { id, at, request, bytes } => format!("{} {at} lost {request} {bytes:?}", id.index),
        Event::End { id, at, outcome } => format!("{} {at} end {outcome:?}", id.index),
    };
    events.iter().map(line).collect()
}

#[test]
fn a_pair_in_its_order_and_with_its_times() {
    let (first, second) = POST.split_at(10);
    let (head, body) = OK.split_at(12);
    assert_eq!(
        Line::new().client(first).client(second).server(head).server(body).told(),
        [
            "0 1 request POST",
            "0 2 request piece",
            "0 2 request end Complete",
            "0 3 response 200",
            "0 4 response piece",
            "0 4 end Complete"
        ]
    );
}

#[test]
fn an_early_response_waits_for_the_request_to_end() {
    let (first, second) = POST.split_at(POST.len() - 1);
    let told = Line::new().client(first).server(OK).client(second).told();
    assert_eq!(told.last_chunk::<3>().unwrap(), &["0 3 request piece", "0 3 request end Complete", "0 2 end Complete"]);
    let told = Line::new().client(first).server(OK).close(ClosedBy::Local);
    assert_eq!(told.last_chunk::<2>().unwrap(), &["0 3 request end Truncated", "0 2 end Complete"]);
}

#[test]
fn indices_count_unwanted_exchanges() {
    let told = Line::new()
        .client("GET /unwanted HTTP/1.1\r\n\r\n")
        .server(OK)
        .client(POST)
        .server(OK)
        .client(POST)
        .close(ClosedBy::Peer);
    assert_eq!(told[0], "1 3 request POST");
    assert_eq!(told.last().unwrap(), "2 6 end Cut { by: Peer, response_started: false }");
}

#[test]
fn a_cut_says_by_whom_and_how_far_it_came() {
    for by in [ClosedBy::Local, ClosedBy::Peer, ClosedBy::Reset, ClosedBy::Exit, ClosedBy::Unknown] {
        let waiting = Line::new().client(POST).close(by);
        assert_eq!(waiting.last().unwrap(), &format!("0 2 end Cut {{ by: {by:?}, response_started: false }}"));
        let started = Line::new().client(POST).server(&OK[..39]).close(by);
        assert_eq!(started.last().unwrap(), &format!("0 3 end Cut {{ by: {by:?}, response_started: true }}"));
    }
}

#[test]
fn a_close_can_complete_a_response() {
    let answer = "HTTP/1.1 200 OK\r\n\r\nyes";
    assert_eq!(Line::new().client(POST).server(answer).close(ClosedBy::Peer).last().unwrap(), "0 2 end Complete");
    let reset = Line::new().client(POST).server(answer).close(ClosedBy::Reset);
    assert_eq!(reset.last().unwrap(), "0 3 end Cut { by: Reset, response_started: true }");
}

#[test]
fn what_is_open_when_we_stop_is_unfinished() {
    assert_eq!(Line::new().client(POST).abandon().last().unwrap(), "0 2 end Unfinished");
    assert_eq!(Line::new().client(POST).server(&OK[..20]).abandon().last().unwrap(), "0 3 end Unfinished");
    let between = Line::new().client(POST).server(OK).abandon();
    assert_eq!(between.iter().filter(|line| line.contains(" end ")).count(), 2);
}

#[test]
fn a_response_that_cannot_be_decoded() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope";
    let told = Line::new().client(POST).server(answer).told();
    assert_eq!(told.last().unwrap(), &format!("0 2 end {:?}", Outcome::Undecodable(Fault::Malformed)));
}

#[test]
fn losses_are_told_of_their_side() {
    let told = Line::new()
        .client("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhi")
        .gap(Direction::Send, 7)
        .gap(Direction::Receive, 60)
        .client(POST)
        .server(OK)
        .told();
    assert_eq!(
        told[2..],
        [
            "0 2 lost true Some(7)",
            "0 2 request end Complete",
            "0 3 lost false Some(60)",
            "0 4 end Undecodable(Lost)",
            "1 4 request POST",
            "1 4 request piece",
            "1 4 request end Complete",
            "1 5 response 200",
            "1 5 response piece",
            "1 5 end Complete"
        ]
    );
    let cut = Line::new().client(POST).gap(Direction::Receive, 60).close(ClosedBy::Peer);
    assert_eq!(cut.last().unwrap(), "0 3 end Cut { by: Peer, response_started: true }");
}

#[test]
fn a_response_whose_request_was_not_captured() {
    let told = Line::new().client("tail of something").server(OK).told();
    assert_eq!(told, ["0 2 request unseen", "0 2 response 200", "0 2 response piece", "0 2 end Complete"]);
}
