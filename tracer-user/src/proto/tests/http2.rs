//! HTTP/2 from frames built by hand: what the standard allows, what a loss leaves, what nonsense does.

use super::*;
use crate::proto::http2::frame::PREFACE;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(super) const END: u8 = 1;
pub(super) const HEAD: u8 = 4;
const PAD: u8 = 8;

/// A field that enters no table.
fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// A field that enters the table.
fn stored(name: &str, value: &str) -> Vec<u8> {
    [&[0x40, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// `:method: POST` and a path.
pub(super) fn post(path: &str) -> Vec<u8> {
    [vec![0x83], literal(":path", path)].concat()
}

const OK: &[u8] = &[0x88];

fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(0, flags, stream, bytes)
}

fn head(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(1, flags, stream, block)
}

pub(super) fn settings() -> Vec<u8> {
    frame(4, 0, 0, &[0, 3, 0, 0, 0, 100])
}

fn begun() -> Talk {
    begun_with(Limits::default(), |_| true)
}

fn begun_with(limits: Limits, wants: fn(&RequestHead) -> bool) -> Talk {
    Talk::with(limits, wants).client([PREFACE, &settings()].concat()).server(settings())
}

fn event_stream() -> Vec<u8> {
    [OK, &literal("content-type", "text/event-stream")].concat()
}

#[test]
fn http2_is_recognised_however_it_is_cut() {
    let preface = [PREFACE, &settings()].concat();
    for cut in 0..preface.len() {
        let talk = Talk::new().client(&preface[..cut]).client(&preface[cut..]).client(head(1, HEAD | END, &post("/a")));
        assert_eq!(talk.protocol(), Protocol::Http2, "cut at {cut}");
        assert_eq!(talk.told(), ["0> POST /a", "0> end"], "cut at {cut}");
    }
}

#[test]
fn streams_are_kept_apart() {
    let talk = begun()
        .client([head(1, HEAD, &post("/a")), head(3, HEAD, &post("/b"))].concat())
        .client([data(3, END, b"{b}"), data(1, 0, b"{"), data(1, END, b"a}")].concat())
        .server([head(3, HEAD, &event_stream()), head(1, HEAD, OK)].concat())
        .server(
            [data(3, 0, b"data: 1\n\n"), data(1, 0, b"{1"), data(3, END, b"data: 2\n\n"), data(1, END, b"}")].concat(),
        );
    assert_eq!(
        talk.told(),
        [
            "0> POST /a",
            "1> POST /b",
            "1> bytes {b}",
            "1> end",
            "0> bytes {a}",
            "0> end",
            "1< 200",
            "0< 200",
            "1< sse [] 1",
            "0< bytes {1",
            "1< sse [] 2",
            "1< end",
            "0< bytes }",
            "0< end"
        ]
    );
}

#[test]
fn padding_priority_continuation_and_trailers() {
    let block = [post("/a"), literal("content-type", "application/json")].concat();
    let (first, rest) = block.split_at(5);
    let padded = [&[3, 0, 0, 0, 0, 16][..], first, &[0; 3]].concat();
    let talk = begun()
        .client(head(1, PAD | 0x20, &padded))
        .client([frame(9, 0, 1, &rest[..2]), frame(9, HEAD, 1, &rest[2..])].concat())
        .client(data(1, PAD | END, b"\x04body\0\0\0\0"))
        .server([head(1, HEAD, &[0x08, 3, b'1', b'0', b'3']), head(1, HEAD, OK)].concat())
        .server(data(1, PAD, b"\0yes"))
        .server([frame(8, 0, 1, &[0, 0, 1, 0]), frame(6, 0, 0, &[0; 8]), frame(0xfe, 0xff, 9, b"extension")].concat())
        .server(head(1, HEAD | END, &literal("grpc-status", "0")));
    assert_eq!(talk.told(), ["0> POST /a", "0> bytes body", "0> end", "0< 200", "0< bytes yes", "0< end"]);
}

#[test]
fn heads_say_what_http1_heads_say() {
    let block = [
        post("/v1/x?key=secret&alt=sse"),
        literal(":authority", "api.example:8443"),
        literal("authorization", "Bearer secret"),
        literal("x-a", "1"),
    ]
    .concat();
    let talk = begun().client(head(1, HEAD | END, &block));
    let Event::RequestHead { head, .. } = &talk.events[0] else { panic!("{:?}", talk.events) };
    assert_eq!((head.method.as_str(), head.path.as_str(), head.query.as_str()), ("POST", "/v1/x", "alt=sse"));
    assert_eq!(head.authority.as_deref(), Some("api.example:8443"));
    assert_eq!(head.version, crate::proto::Version::Http2);
    assert_eq!(head.headers.get("x-a"), Some("1"));
    assert_eq!(head.headers.get("authorization"), Some(""));
    assert!(!head.partial);
}

#[test]
fn times_are_those_of_first_and_last_bytes() {
    let block = head(1, HEAD, &post("/a"));
    let talk = begun().client(&block[..5]).client(&block[5..]).client(data(1, END, b"x"));
    let told: Vec<_> = talk
        .events
        .iter()
        .map(|event| match event {
            Event::RequestHead { at, first_byte_at, .. } => (*first_byte_at, *at),
            Event::RequestEnd { at, .. } | Event::RequestBody { at, .. } => (*at, *at),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(3, 4), (5, 5), (5, 5)]);
}

#[test]
fn resets_say_by_whom() {
    for (client, by_peer) in [(true, false), (false, true)] {
        let reset = frame(3, 0, 1, &[0, 0, 0, 8]);
        let talk = begun().client(head(1, HEAD | END, &post("/a"))).server(head(1, HEAD, OK));
        let talk = if client { talk.client(reset) } else { talk.server(reset) };
        let end = End::Reset { by_peer };
        assert!(matches!(talk.events.last(), Some(Event::ResponseEnd { end: found, .. }) if *found == end));
        // What was on its way does not open the stream again.
        assert_eq!(talk.server(data(1, END, b"late")).told().len(), 4);
    }
    let refused = begun().client([head(1, HEAD | END, &post("/a")), head(3, HEAD, &post("/b"))].concat());
    let refused = refused.server(frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0, b'?'])).server(head(1, HEAD | END, OK));
    assert_eq!(refused.told()[2..], ["1> POST /b", "1> reset", "1< reset", "0< 200", "0< end"]);
}

#[test]
fn what_a_server_pushes_is_read_over_and_its_fields_are_kept() {
    let promise = [&[0, 0, 0, 2][..], &stored("x-pushed", "1")].concat();
    let talk = begun()
        .client(head(1, HEAD | END, &post("/a")))
        .server(frame(5, HEAD, 1, &promise))
        .server([head(2, HEAD, OK), data(2, END, b"pushed"), head(1, HEAD | END, &[0x88, 0xbe])].concat());
    assert_eq!(talk.told(), ["0> POST /a", "0> end", "0< 200", "0< end"]);
    let Some(Event::ResponseHead { head, .. }) = talk.events.get(2) else { panic!() };
    assert_eq!(head.headers.get("x-pushed"), Some("1"));
}

#[test]
fn unwanted_streams_are_counted_and_their_fields_are_kept() {
    let talk = begun_with(Limits::default(), |head| head.path != "/no")
        .client(head(1, HEAD, &[post("/no"), stored("x-a", "1")].concat()))
        .client([data(1, END, b"x"), head(3, HEAD | END, &[&post("/yes")[..], &[0xbe]].concat())].concat())
        .server([head(1, HEAD, OK), data(1, END, b"no"), head(3, HEAD | END, OK)].concat());
    assert_eq!(talk.told(), ["1> POST /yes", "1> end", "1< 200", "1< end"]);
    let Some(Event::RequestHead { head, .. }) = talk.events.first() else { panic!() };
    assert_eq!(head.headers.get("x-a"), Some("1"));
}

#[test]
fn grpc_is_named_and_not_told() {
    let block = [post("/pkg.Service/Method"), literal("content-type", "application/grpc+proto")].concat();
    let talk = begun().client([head(1, HEAD, &block), data(1, END, b"\0\0\0\0\x01x")].concat());
    assert_eq!(talk.told(), Vec::<String>::new());
    assert_eq!(talk.connection.http2_counters().grpc, 1);
}

#[test]
fn exports_of_spans_are_told_although_they_are_grpc() {
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let block = [post(path), literal("content-type", "application/grpc")].concat();
    let talk = begun().client([head(1, HEAD, &block), data(1, END, b"\0\0\0\0\x01x")].concat());
    assert_eq!(talk.told().first().map(String::as_str), Some(&*format!("0> POST {path}")));
    assert_eq!(talk.connection.http2_counters().grpc, 0);
}

#[test]
fn too_many_streams_are_refused_and_counted() {
    let limits = Limits { streams: 2, ..Limits::default() };
    let talk = begun_with(limits, |_| true)
        .client([1, 3, 5].map(|stream| head(stream, HEAD | END, &post("/a"))).concat())
        .server([5, 1].map(|stream| head(stream, HEAD | END, OK)).concat())
        .client(head(7, HEAD | END, &post("/b")));
    assert_eq!(
        talk.told(),
        ["0> POST /a", "0> end", "1> POST /a", "1> end", "0< 200", "0< end", "2> POST /b", "2> end"]
    );
    assert_eq!(talk.connection.http2_counters().refused_streams, 1);
}

#[test]
fn a_loss_inside_a_body_is_that_streams_alone() {
    let talk = begun()
        .client([head(1, HEAD | END, &post("/a")), head(3, HEAD | END, &post("/b"))].concat())
        .server([head(1, HEAD, OK), head(3, HEAD, OK)].concat())
        .server(&data(1, END, &[b'x'; 100])[..59])
        .gap(SERVER, 40)
        .server([b"xxxxxxxxxx".to_vec(), data(3, END, b"y")].concat());
    let x = "x".repeat(50);
    let tail = "x".repeat(10);
    assert_eq!(
        talk.told()[6..],
        [
            format!("0< bytes {x}"),
            "0< lost 40".into(),
            format!("0< bytes {tail}"),
            "0< end".into(),
            "1< bytes y".into(),
            "1< end".into()
        ]
    );
}

#[test]
fn a_loss_of_frames_is_every_open_streams_and_reading_goes_on() {
    let talk = begun()
        .client([head(1, HEAD | END, &post("/a")), head(3, HEAD | END, &post("/b"))].concat())
        .server([head(1, HEAD, &event_stream()), head(3, HEAD, &event_stream())].concat())
        .server(data(1, 0, b"data: 1\n\n"))
        .gap(SERVER, 1000)
        .server(data(1, 0, b"data: 3\n\n"))
        .server([data(3, END, b"ta: 5\n\ndata: 6\n\n"), data(1, END, b"data: 4\n\n")].concat());
    assert_eq!(
        talk.told()[7..],
        ["0< lost", "1< lost", "0< sse [] 3", "1< lost 5", "1< sse [] 6", "1< end", "0< sse [] 4", "0< end"]
    );
}

#[test]
fn frames_are_found_inside_records_as_well() {
    let long = [data(1, 0, &[b' '; 3000]), data(1, 0, b"data: 2\n\n"), data(1, END, b"data: 3\n\n")].concat();
    let talk = begun()
        .client(head(1, HEAD | END, &post("/a")))
        .server(head(1, HEAD, &event_stream()))
        .gap(SERVER, 1000)
        .server(&long[1000..]);
    assert_eq!(talk.told()[3..], ["0< lost 1000", "0< sse [] 2", "0< sse [] 3", "0< end"]);
}

#[test]
fn after_a_loss_fields_are_unknown_and_never_guessed() {
    let block = [post("/a"), stored("x-a", "1")].concat();
    let talk = begun()
        .client(head(1, HEAD | END, &block))
        .gap(CLIENT, 77)
        .client(head(5, HEAD | END, &[&post("/b")[..], &[0xbe], &stored("x-b", "2"), &[0xbe]].concat()))
        .client(head(7, HEAD | END, &[0x83, 0xbf, 0xbe]))
        .server(head(7, HEAD | END, OK));
    let heads: Vec<_> = talk
        .events
        .iter()
        .filter_map(|event| match event {
            Event::RequestHead { head, .. } => Some((head.path.as_str(), head.partial, head.headers.len())),
            _ => None,
        })
        .collect();
    assert_eq!(heads, [("/a", false, 1), ("/b", true, 2), ("", true, 1)]);
}

#[test]
fn joining_in_the_middle_reads_bodies_without_heads() {
    let talk = Talk::new()
        .server(data(1, 0, b"data: 1\n\n"))
        .client([data(3, 0, b"{\"a\""), data(3, END, b":1}")].concat())
        .server([data(1, END, b"data: [DONE]\n\n"), head(3, HEAD, OK), data(3, END, b"{}")].concat());
    assert_eq!(talk.protocol(), Protocol::Http2);
    assert_eq!(
        talk.told(),
        [
            "0< sse [] 1",
            "1> bytes {\"a\":1}",
            "1> end",
            "0< sse [] [DONE]",
            "0< end",
            "1< 200",
            "1< bytes {}",
            "1< end"
        ]
    );
}

#[test]
fn joining_in_the_middle_tells_the_role() {
    let answer = [head(1, HEAD, OK), data(1, END, b"{}")].concat();
    let talk = Talk::new().client(answer).server(head(3, HEAD | END, &post("/a")));
    assert_eq!(talk.role, Role::Server);
    assert_eq!(talk.told(), ["0< 200", "0< bytes {}", "0< end", "1> POST /a", "1> end"]);
}

#[test]
fn a_server_speaks_first() {
    let talk = Talk::new()
        .client(settings())
        .server([PREFACE, &settings(), &head(1, HEAD | END, &post("/a"))].concat())
        .client(head(1, HEAD | END, OK));
    assert_eq!(talk.role, Role::Server);
    assert_eq!(talk.told(), ["0> POST /a", "0> end", "0< 200", "0< end"]);
}

#[test]
fn other_bytes_are_no_frames() {
    for record in
        ["\x16\x03\x01\x02\x00\x01\x00\x01\x00\x01", "\0\0\0\x2a\0\x12\0\x03\0\0\0\x01", "\0\0\0\0\0\0\0\0\0\0"]
    {
        let limits = Limits { undecided_bytes: 1000, ..Limits::default() };
        let mut talk = Talk::with(limits, |_| true);
        for _ in 0..200 {
            talk = talk.client(record).server(record);
        }
        assert_eq!(talk.protocol(), Protocol::Other, "{record:?}");
    }
}

#[test]
fn nonsense_ends_no_more_than_it_must() {
    let talk = begun()
        .client(head(1, HEAD | END, &post("/a")))
        .client(frame(9, HEAD, 5, b"no block is open"))
        .client(b"and no frames at all come for a while")
        .client(head(7, HEAD | END, &post("/b")))
        .server([head(1, HEAD | END, OK), head(7, HEAD | END, OK)].concat());
    assert_eq!(talk.told(), ["0> POST /a", "0> end", "1> POST /b", "1> end", "0< 200", "0< end", "1< 200", "1< end"]);
    let long = vec![b'a'; 70_000];
    let many: Vec<u8> = long.chunks(16_000).flat_map(|part| frame(9, 0, 1, part)).collect();
    let talk = begun().client([head(1, END, &post("/a")), many, frame(9, HEAD, 1, b"")].concat()).client(head(
        3,
        HEAD | END,
        &post("/b"),
    ));
    assert_eq!(talk.told()[talk.told().len() - 2..], ["1> POST /b", "1> end"]);
}

#[test]
fn what_is_open_at_the_end_is_cut() {
    let talk = begun().client(head(1, HEAD, &post("/a"))).server(head(1, HEAD, OK)).close(ClosedBy::Reset);
    assert_eq!(talk.told(), ["0> POST /a", "0< 200", "0> truncated", "0< truncated"]);
}
